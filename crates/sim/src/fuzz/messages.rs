//! The text layer of SIP under any bytes: nothing panics, and what was read is printed so that it
//! reads the same again.

use std::net::Ipv4Addr;

use bytes::Bytes;
use confab_sip::{
    Dialog, Headers, Message, NameAddr, Response, Sdp,
    frame::{Frame, Framer},
    multipart,
    sdp::rtp::RtpMedium,
};

/// Every piece of a stream is at most this long, in bytes, when it comes in pieces.
const PIECE: usize = 7;

/// See [`super::SIP`].
pub fn sip(bytes: &[u8]) {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            read(message.headers(), message.body());
            let printed = message.to_bytes();
            let again = Message::parse(printed.clone()).expect("what was printed can be read");
            assert_eq!(again.to_bytes(), printed, "what was printed is printed the same again");
            match &message {
                Message::Request(request) => {
                    let response = Message::from(Response::to(request, 400)).to_bytes();
                    Message::parse(response).expect("a response to what can be read can be read");
                    if let Ok(mut dialog) = Dialog::from_invite(request, "tag") {
                        drop((dialog.id(), dialog.request(confab_sip::Method::Bye), dialog.accept(request)));
                    }
                }
                Message::Response(response) => drop(confab_sip::DialogId::of_answered(response)),
            }
        }
        Err(malformed) => {
            assert!((400..700).contains(&malformed.status()), "a refusal is one");
            if let Some(partial) = malformed.partial() {
                drop(Message::from(Response::to(partial, malformed.status())).to_bytes());
            }
        }
    }
    assert_eq!(frames(bytes, bytes.len().max(1)), frames(bytes, PIECE), "how a stream is cut says nothing");
}

/// Every typed value of a message.
fn read(headers: &Headers, body: &Bytes) {
    let addresses = |all: Result<Vec<NameAddr>, _>| {
        for address in all.unwrap_or_default() {
            let printed = address.to_string();
            let again: NameAddr = printed.parse().expect("a printed address can be read");
            assert_eq!(again.to_string(), printed, "an address is printed the same again");
            drop((address.uri.aor(), address.uri.equivalent(&again.uri)));
        }
    };
    addresses(headers.from().map(|from| vec![from]));
    addresses(headers.to().map(|to| vec![to]));
    addresses(headers.contacts());
    addresses(headers.routes());
    addresses(headers.record_routes());
    drop((headers.call_id().is_ok(), headers.cseq(), headers.vias(), headers.top_via()));
    drop((
        headers.max_forwards(),
        headers.expires(),
        headers.list("Supported"),
        headers.has_token("Supported", "x"),
    ));
    if let Some(content_type) = headers.content_type()
        && let Ok(parts) = multipart::parse(&content_type, body)
    {
        let boundary = multipart::boundary_for(&parts);
        drop(multipart::print(&parts, &boundary));
    }
    sdp(body);
}

/// The messages in a stream that comes in pieces of this length, and whether it broke.
fn frames(bytes: &[u8], piece: usize) -> (Vec<Bytes>, bool) {
    let mut framer = Framer::new(confab_sip::MAX_MESSAGE);
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(message))) => messages.push(message),
                Ok(Some(Frame::KeepAlive | Frame::Pong)) => {}
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// See [`super::SDP`].
pub fn sdp(bytes: &[u8]) {
    let Ok(sdp) = Sdp::parse(bytes) else { return };
    let printed = sdp.to_bytes();
    let again = Sdp::parse(&printed).expect("what was printed can be read");
    assert_eq!(again.to_bytes(), printed, "what was printed is printed the same again");
    drop((sdp.message().is_some(), sdp.accept_types()));
    for medium in &sdp.media {
        let rtp = RtpMedium::read(&sdp, medium);
        let _ = (rtp.rtp_address(), rtp.rtcp_address());
        let written = Sdp::of_media(Ipv4Addr::LOCALHOST.into(), 1, 1, vec![rtp.write()]).to_bytes();
        let again = Sdp::parse(&written).expect("what was written can be read");
        let again = RtpMedium::read(&again, &again.media[0]);
        assert_eq!((again.formats, again.crypto), (rtp.formats, rtp.crypto), "what was understood stays");
    }
}
