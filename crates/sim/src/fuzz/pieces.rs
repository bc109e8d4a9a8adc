//! Pieces of SIP by themselves, deeper than whole messages reach: framing, bodies of several parts,
//! challenges and credentials.

use bytes::Bytes;
use confab_machine::Time;
use confab_sip::{
    MediaType, Method, Uri,
    auth::{self, Challenge, DigestAuthority, Ha1s, Verdict},
    frame::{Frame, Framer},
    multipart,
};

/// The realm that credentials of the corpus are for.
const REALM: &str = "example.test";
/// When they are shown.
const NOW: Time = Time::from_unix_secs(1_795_232_729);

/// See [`super::FRAME`]. The first byte chooses the longest message, in 16 bytes, the second how
/// long the pieces are; the stream follows.
pub fn frame(bytes: &[u8]) {
    let [max, piece, stream @ ..] = bytes else { return };
    let max = usize::from(*max) * 16;
    let whole = frames(stream, max, stream.len().max(1));
    assert_eq!(whole, frames(stream, max, usize::from(*piece).max(1)), "how a stream is cut says nothing");
    let lengths = whole.0.iter().map(Bytes::len);
    assert!(lengths.clone().all(|length| length <= max), "no message is longer than the limit");
    assert!(lengths.sum::<usize>() <= stream.len(), "nothing is told twice");
}

/// The messages in a stream that comes in pieces of this length, and whether it broke.
fn frames(stream: &[u8], max: usize, piece: usize) -> (Vec<Bytes>, bool) {
    let mut framer = Framer::new(max);
    let mut messages = Vec::new();
    for piece in stream.chunks(piece) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(message))) => messages.push(message),
                Ok(Some(Frame::KeepAlive | Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.next(), Err(error), "an error is final");
                    return (messages, true);
                }
            }
        }
    }
    (messages, false)
}

/// See [`super::MULTIPART`]. The first line is the content type, the rest the body.
pub fn multipart(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let Ok(kind) = String::from_utf8_lossy(head).trim_end().parse::<MediaType>() else { return };
    let printed = kind.to_string();
    assert_eq!(printed.parse::<MediaType>().as_ref(), Ok(&kind), "a printed media type reads the same");
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let Ok(parts) = multipart::parse(&kind, &body) else { return };
    let boundary = multipart::boundary_for(&parts);
    let related: MediaType =
        format!("multipart/related;boundary=\"{boundary}\"").parse().expect("this is a media type");
    let again = multipart::parse(&related, &multipart::print(&parts, &boundary));
    let again = again.expect("what was printed can be read");
    assert_eq!(again.len(), parts.len(), "no part is lost or comes about");
    for (part, again) in parts.iter().zip(&again) {
        // Printing adds a line end, for the sake of libpurple.
        let with_end = [&part.body[..], b"\r\n"].concat();
        assert_eq!(again.body, with_end, "a part holds what it held");
    }
}

/// See [`super::DIGEST`]. The bytes are the value of a header.
pub fn digest(bytes: &[u8]) {
    let header = String::from_utf8_lossy(bytes);
    if let Ok(challenge) = Challenge::parse(&header) {
        let printed = challenge.to_string();
        assert_eq!(
            Challenge::parse(&printed).map(|again| again.to_string()),
            Ok(printed),
            "a challenge is printed as it was read"
        );
    }
    drop(auth::strongest([&*header]));
    if auth::credentials(&header).is_err() {
        return;
    }
    let mut authority = DigestAuthority::new(REALM, [7; 32]);
    drop(authority.challenge(NOW, false));
    let ha1s = Ha1s::of("amy", REALM, "correct horse");
    let uri: Uri = "sip:example.test".parse().expect("this is a URI");
    let verdicts = [(); 2].map(|()| authority.verify(NOW, &Method::Register, &uri, &header, &ha1s));
    assert_ne!(verdicts, [Verdict::Accepted; 2], "the same answer does not do twice");
    let nobody = authority.verify(NOW, &Method::Register, &uri, &header, &Ha1s::default());
    assert_ne!(nobody, Verdict::Accepted, "who has no password proves nothing");
}
