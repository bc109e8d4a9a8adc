//! What clients offer, as they write it: each is understood, and printed as it was read.

#![expect(clippy::unwrap_used, reason = "a test")]

use confab_sip::{
    Sdp,
    sdp::{
        ice::IceDialect,
        rtp::{Direction, Encryption, RtpMedium},
    },
};

/// What is understood of an offer, in a line.
fn understood(text: &str) -> String {
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    assert_eq!(sdp.to_bytes(), text, "it is printed as it was read");
    let medium = RtpMedium::read(&sdp, &sdp.media[0]);
    let voices = ["opus", "G722", "PCMU", "PCMA", "telephone-event"];
    let known = |format: &&confab_sip::sdp::rtp::Format| {
        voices.iter().any(|voice| voice.eq_ignore_ascii_case(&format.encoding))
    };
    let formats: Vec<String> =
        medium.formats.iter().filter(known).map(|format| format.number.to_string()).collect();
    let rtcp = medium.rtcp_address().map_or(0, |address| address.port());
    let checks = medium.ice.as_ref().map_or("no checks".to_owned(), |ice| {
        let dialect = match ice.dialect {
            IceDialect::Draft6 => "draft 6",
            IceDialect::Draft19 => "draft 19",
            IceDialect::Rfc8445 => "RFC 8445",
        };
        format!("{dialect} with {}", ice.candidates.len())
    });
    let wanted = if medium.encryption == Some(Encryption::Optional) { " optional" } else { "" };
    let hold = if medium.direction == Direction::SendRecv { "" } else { ", on hold" };
    format!(
        "{} {} of {}, {} keys{wanted}, {checks}, RTCP {rtcp}{}{hold}",
        medium.profile.as_str(),
        formats.join(" "),
        medium.formats.len(),
        medium.crypto.len(),
        if medium.multiplexed { " or shared" } else { "" },
    )
}

#[test]
fn offers_of_clients_are_understood() {
    for (text, expect) in [
        (
            include_str!("samples/offers/pidgin-sipe-conference.sdp"),
            "RTP/AVP 96 0 8 9 100 101 102 103 104 of 16, 1 keys, draft 6 with 2, RTCP 51181",
        ),
        (
            include_str!("samples/offers/pidgin-sipe-call.sdp"),
            "RTP/AVP 96 0 8 9 102 of 6, 1 keys optional, draft 19 with 2, RTCP 49995",
        ),
        (
            include_str!("samples/offers/baresip.sdp"),
            "RTP/SAVP 96 9 0 8 101 of 5, 2 keys, no checks, RTCP 15163 or shared",
        ),
        (
            include_str!("samples/offers/linphone.sdp"),
            "RTP/AVPF 96 0 8 101 99 of 7, 0 keys, RFC 8445 with 2, RTCP 7079",
        ),
        (include_str!("samples/offers/sipp.sdp"), "RTP/AVP 8 96 of 2, 0 keys, no checks, RTCP 17001"),
        (
            include_str!("samples/offers/desk-phone-on-hold.sdp"),
            "RTP/AVP 9 0 8 127 of 5, 0 keys, no checks, RTCP 11781, on hold",
        ),
    ] {
        assert_eq!(understood(text), expect);
    }
}
