//! INVITE to BYE: what is offered, what is answered, and what the data plane is told.

use confab_mcu::{AvMcu, AvOptions, McuLimits};
use confab_media::session::{Codec, Command, Gate, IceDialect, LegId, LegSpec, Suite, TransportSpec};
use confab_schema::conference_info::{EndpointStatus, MediaFilter, MediaStatus};
use confab_sip::{Method, Sdp};

use crate::room::*;

pub const PHONE: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// No pictures, and no checks after draft 6.
pub const VOICES: AvOptions = AvOptions { draft6: false, draft19: true, rfc8445: true, video: false };

pub fn house(options: AvOptions) -> Room {
    Room::on(&mut AvMcu { options }, McuLimits::default())
}

/// A conference in which these people talk, by plain phones.
pub fn voices(names: &[&str]) -> Room {
    let mut room = house(VOICES);
    for name in names {
        room.expect(name);
        room.enter(name);
        room.client(name).sdp = Some(PHONE.to_owned());
        assert_eq!(room.join(name), 200);
    }
    room.notifications.clear();
    room
}

/// Offers this to a room of its own; the answer, and what the data plane was told.
fn offer(options: AvOptions, offer: &str) -> (u16, String, Option<LegSpec>) {
    let mut room = house(options);
    room.expect("ann");
    room.enter("ann");
    let response = room.invite("ann", "application/sdp", offer);
    let diagnostics =
        ["ms-diagnostics", "Warning"].map(|name| response.headers.get(name).map(ToString::to_string));
    let text = match response.status {
        200 => String::from_utf8(response.body.to_vec()).unwrap(),
        _ => diagnostics.into_iter().flatten().collect(),
    };
    let spec = room.commands.iter().rev().find_map(|command| match command {
        Command::Set { spec, .. } => Some((**spec).clone()),
        _ => None,
    });
    (response.status, text, spec)
}

fn lines<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn a_phone_joins_and_leaves() {
    let mut room = house(VOICES);
    room.expect("ann");
    room.enter("ann");
    let response = room.invite("ann", "application/sdp", PHONE);
    assert_eq!(response.status, 200);
    let answer = std::str::from_utf8(&response.body).unwrap();
    assert_eq!(lines(answer, "m="), ["m=audio 20000 RTP/AVP 0 101"]);
    assert_eq!(lines(answer, "c="), ["c=IN IP4 192.0.2.20", "c=IN IP4 192.0.2.20"]);
    assert_eq!(lines(answer, "a=rtcp:"), ["a=rtcp:20001"]);
    let [Command::Set { leg, spec, gate: Gate::Open }] = &room.commands[..] else {
        panic!("{:?}", room.commands)
    };
    let audio = spec.audio.as_ref().unwrap();
    assert_eq!((audio.send.codec, audio.receive_events), (Codec::Pcmu, Some(101)));
    let TransportSpec::Plain { rtp, rtcp } = audio.transport else { panic!("no checks were offered") };
    assert_eq!((rtp, rtcp), ("192.0.2.7:7000".parse().unwrap(), "192.0.2.7:7001".parse().unwrap()));
    let leg = *leg;

    room.ack("ann");
    let document = room.notifications.last().unwrap();
    let endpoint = &document.users.as_ref().unwrap().users[0].endpoints[0];
    assert_eq!(
        (endpoint.status, endpoint.session_type.as_deref()),
        (Some(EndpointStatus::Connected), Some("audio-video"))
    );
    let [media] = &endpoint.media[..] else { panic!("audio alone: {endpoint:?}") };
    assert_eq!(
        (media.id.as_str(), media.kind.as_str(), media.label.as_deref()),
        ("1", "audio", Some("main-audio"))
    );
    assert_eq!(
        (media.status, media.ingress_filter),
        (Some(MediaStatus::SendRecv), Some(MediaFilter::Unblock))
    );

    assert_eq!(room.send("ann", Method::Bye, "", "").status, 200);
    assert_eq!(room.commands.last(), Some(&Command::Close { leg }));
    assert_eq!(room.told(), ["ann deleted"]);
}

#[test]
fn the_best_codec_that_is_offered_is_taken() {
    for (formats, expect) in [
        ("0 8", "m=audio 20000 RTP/AVP 0"),
        ("8 0", "m=audio 20000 RTP/AVP 8"),
        ("0 9 8", "m=audio 20000 RTP/AVP 9"),
        ("0 96 9\r\na=rtpmap:96 opus/48000/2", "m=audio 20000 RTP/AVP 96"),
        ("0 96\r\na=rtpmap:96 OPUS/48000", "m=audio 20000 RTP/AVP 0"),
        ("3 18 0 13", "m=audio 20000 RTP/AVP 0"),
        (
            "96 97 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000",
            "m=audio 20000 RTP/AVP 96 97",
        ),
    ] {
        let (status, answer, _) =
            offer(VOICES, &format!("v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP {formats}\r\n"));
        assert_eq!((status, lines(&answer, "m=")), (200, vec![expect]), "{formats}");
    }
    let (status, why, spec) = offer(VOICES, "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP 3 18\r\n");
    assert_eq!((status, spec), (488, None));
    assert!(why.contains("Opus, G.722 and G.711"), "{why}");
}

#[test]
fn protection_is_answered_as_it_is_offered() {
    const KEY: &str = "ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW";
    let line = |suite: &str, rest: &str| format!("a=crypto:3 {suite} inline:{KEY}{rest}\r\n");
    let eighty = |rest: &str| line("AES_CM_128_HMAC_SHA1_80", rest);
    let gcm = "a=crypto:4 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==\r\n";
    let both = format!("{}{gcm}", eighty("|2^31"));
    for (profile, attributes, status, answered, suite) in [
        ("RTP/AVP", eighty("|2^31"), 200, "RTP/SAVP", Some((Suite::AesCm80, true))),
        ("RTP/AVP", format!("{}a=encryption:rejected\r\n", eighty("|2^31")), 200, "RTP/AVP", None),
        ("RTP/AVP", String::new(), 200, "RTP/AVP", None),
        ("RTP/SAVP", eighty(""), 200, "RTP/SAVP", Some((Suite::AesCm80, false))),
        (
            "RTP/SAVP",
            line("AES_CM_128_HMAC_SHA1_32", "|2^31"),
            200,
            "RTP/SAVP",
            Some((Suite::AesCm32, false)),
        ),
        ("RTP/SAVP", both, 200, "RTP/SAVP", Some((Suite::AesGcm, false))),
        ("RTP/SAVPF", eighty("|2^31"), 200, "RTP/SAVPF", Some((Suite::AesCm80, false))),
        ("RTP/SAVP", String::new(), 488, "", None),
        ("RTP/SAVP", line("F8_128_HMAC_SHA1_80", ""), 488, "", None),
        ("RTP/AVP", "a=encryption:required\r\n".to_owned(), 488, "", None),
        ("UDP/TLS/RTP/SAVPF", String::new(), 488, "", None),
    ] {
        let text = format!("v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 {profile} 0\r\n{attributes}");
        let (got, answer, spec) = offer(VOICES, &text);
        assert_eq!(got, status, "{text}");
        if status != 200 {
            assert!(answer.contains("Encryption Levels not compatible"), "{answer}");
            continue;
        }
        assert_eq!(lines(&answer, "m="), [format!("m=audio 20000 {answered} 0")], "{text}");
        let protection = spec.unwrap().audio.unwrap().protection;
        assert_eq!(protection.map(|protection| (protection.suite, protection.optional)), suite, "{text}");
        let crypto = lines(&answer, "a=crypto:");
        assert_eq!(crypto.len(), usize::from(suite.is_some()));
        assert!(crypto.iter().all(|line| line.ends_with("|2^31") && !line.contains(KEY)), "{crypto:?}");
    }
    let marked = format!("v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/SAVP 0\r\n{}", eighty("|2^31|1:4"));
    let (_, answer, spec) = offer(VOICES, &marked);
    assert!(lines(&answer, "a=crypto:")[0].ends_with("|2^31|1:4"), "sent because it was offered");
    assert_eq!(spec.unwrap().audio.unwrap().protection.unwrap().send.identifier, [0, 0, 0, 1]);
}

#[test]
fn connectivity_checks_are_answered_in_the_dialect_that_is_offered() {
    const DRAFT6: &str = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 48643 RTP/AVP 0\r\n\
        a=candidate:YG5/5vUaOA2pe8jVG74iJtRFT5snHUulDDedz/z82Yw 1 2EJXY+1UEqGKHiFXpQytPA UDP 0.830 192.0.2.2 48643\r\n\
        a=candidate:YG5/5vUaOA2pe8jVG74iJtRFT5snHUulDDedz/z82Yw 2 2EJXY+1UEqGKHiFXpQytPA UDP 0.830 192.0.2.2 51181\r\na=rtcp:51181\r\n";
    const DRAFT19: &str = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 34080 RTP/AVP 0\r\n\
        a=candidate:1 1 UDP 2028994815 192.0.2.2 34080 typ host \r\na=candidate:1 2 UDP 2028994814 192.0.2.2 49995 typ host \r\n\
        a=candidate:2 1 TCP-ACT 1013580031 192.0.2.2 59489 typ host \r\na=rtcp:49995\r\na=encryption:optional\r\n\
        a=ice-ufrag:Yqlg\r\na=ice-pwd:Oi5xgDBoike0BtGnrtdNSD\r\n";
    let (status, why, _) = offer(VOICES, DRAFT6);
    assert_eq!(status, 488);
    assert!(why.starts_with("7008;"), "{why}");

    let able = AvOptions { draft6: true, ..VOICES };
    let (_, answer, spec) = offer(able, DRAFT6);
    let TransportSpec::Ice(ice) = spec.unwrap().audio.unwrap().transport else { panic!("checks") };
    assert_eq!((ice.dialect, ice.controlling, ice.remote_candidates.len()), (IceDialect::Draft6, false, 2));
    let first = lines(&answer, "a=candidate:")[0];
    assert!(first.contains(&format!(" 1 {} UDP 0.830 192.0.2.20 20000", ice.local.password)), "{first}");
    assert_eq!(lines(&answer, "a=ice-"), [""; 0]);

    let (_, answer, spec) = offer(VOICES, DRAFT19);
    let TransportSpec::Ice(ice) = spec.unwrap().audio.unwrap().transport else { panic!("checks") };
    assert_eq!(
        (ice.dialect, ice.remote_candidates.len(), ice.local_candidates.len()),
        (IceDialect::Draft19, 2, 4)
    );
    assert!(
        lines(&answer, "a=candidate:")[0].ends_with(" UDP 2130706431 192.0.2.20 20000 typ host"),
        "{answer}"
    );
    assert_eq!(lines(&answer, "a=ice-ufrag:"), [format!("a=ice-ufrag:{}", ice.local.user)]);

    let browser = "v=0\r\na=ice-lite\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nc=IN IP4 192.0.2.2\r\n\
        m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\na=candidate:1 1 udp 1 192.0.2.2 4000 typ host\r\n";
    let (_, answer, spec) = offer(VOICES, browser);
    let TransportSpec::Ice(ice) = spec.unwrap().audio.unwrap().transport else { panic!("checks") };
    assert!(ice.multiplexed && ice.controlling, "he only answers checks: {ice:?}");
    assert_eq!((ice.dialect, ice.local_candidates.len()), (IceDialect::Rfc8445, 2));
    assert_eq!((lines(&answer, "a=rtcp-mux").len(), lines(&answer, "a=rtcp:").len()), (1, 0));

    let (status, answer, spec) = offer(AvOptions { rfc8445: false, ..able }, browser);
    assert_eq!(
        (status, lines(&answer, "a=ice-ufrag:").len()),
        (200, 0),
        "without checks he is found as he says"
    );
    assert!(
        matches!(spec.unwrap().audio.unwrap().transport, TransportSpec::Plain { rtp, rtcp } if rtp == rtcp)
    );
}

#[test]
fn the_other_media_of_an_offer_are_refused() {
    let (_, answer, spec) = offer(
        VOICES,
        "v=0\r\nc=IN IP6 2001:db8::7\r\nm=video 7002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n\
         m=audio 7000 RTP/SAVP 0\r\nm=audio 7000 RTP/AVP 8\r\na=sendonly\r\nm=text 9 RTP/AVP 98\r\n",
    );
    assert_eq!(
        lines(&answer, "m="),
        ["m=video 0 RTP/AVP 97", "m=audio 0 RTP/SAVP 0", "m=audio 20000 RTP/AVP 8", "m=text 0 RTP/AVP 98"]
    );
    assert_eq!((lines(&answer, "a=recvonly").len(), lines(&answer, "c=IN IP6 2001:db8::20").len()), (1, 2));
    let spec = spec.unwrap();
    let audio = spec.audio.unwrap();
    assert!(spec.video.is_none() && !audio.we_send && audio.we_receive);

    let able = AvOptions { video: true, ..VOICES };
    let (_, answer, spec) = offer(
        able,
        "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 7000 RTP/AVP 0\r\nm=video 7002 RTP/AVP 97 34\r\n\
         a=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=1\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:34 nack pli\r\n\
         a=rtcp-fb:97 ccm fir\r\na=rtcp-fb:* goog-remb\r\n",
    );
    assert_eq!(lines(&answer, "m="), ["m=audio 20000 RTP/AVP 0", "m=video 20002 RTP/AVP 97"]);
    assert_eq!(lines(&answer, "a=fmtp:97"), ["a=fmtp:97 packetization-mode=1"]);
    assert_eq!(lines(&answer, "a=rtcp-fb:"), ["a=rtcp-fb:* nack pli", "a=rtcp-fb:97 ccm fir"]);
    assert_eq!(spec.unwrap().video.unwrap().send.codec, Codec::H264);
}

#[test]
fn hold_and_resume() {
    let mut room = voices(&["ann"]);
    let version = |body: &[u8]| {
        let sdp = Sdp::parse(body).unwrap();
        sdp.session.value('o').unwrap().split(' ').nth(2).unwrap().parse::<u32>().unwrap()
    };
    let mut before = 1;
    for (attribute, answered, sends, receives, shown) in [
        ("a=sendonly\r\n", "a=recvonly", false, true, MediaStatus::SendOnly),
        ("a=inactive\r\n", "a=inactive", false, false, MediaStatus::Inactive),
        ("", "a=sendrecv", true, true, MediaStatus::SendRecv),
    ] {
        let response = room.send("ann", Method::Invite, "application/sdp", &format!("{PHONE}{attribute}"));
        let answer = std::str::from_utf8(&response.body).unwrap();
        assert_eq!((response.status, lines(answer, answered).len()), (200, 1), "{answer}");
        assert_eq!(lines(answer, "m=audio 20000 ").len(), 1, "the ports stay");
        assert!(version(&response.body) > before);
        before = version(&response.body);
        let Some(Command::Set { leg: LegId(1), spec, .. }) = room.commands.last() else { panic!("told") };
        let audio = spec.audio.as_ref().unwrap();
        assert_eq!((audio.we_send, audio.we_receive), (sends, receives));
        let users = room.notifications.last().unwrap().users.as_ref().unwrap();
        assert_eq!(users.users[0].endpoints[0].media[0].status, Some(shown));
    }
    let unusable = room.send("ann", Method::Invite, "application/sdp", "v=0\r\nm=audio 7000 RTP/AVP 3\r\n");
    assert_eq!(unusable.status, 488);
    assert_eq!(room.send("ann", Method::Update, "", "").status, 200, "the session goes on");
}

#[test]
fn an_invite_without_an_offer_gets_ours() {
    let mut room = house(VOICES);
    room.expect("ann");
    room.enter("ann");
    let response = room.invite("ann", "", "");
    let offer = std::str::from_utf8(&response.body).unwrap();
    assert_eq!(lines(offer, "m="), ["m=audio 20000 RTP/AVP 96 9 8 0 101"]);
    assert!(room.commands.is_empty(), "nothing is agreed on yet");
    let mut ack = room.build("ann", Method::Ack, "application/sdp", PHONE);
    ack.headers.push("P-Asserted-Identity", "<sip:ann@example.test>");
    room.send_ack("ann", ack);
    let [Command::Set { spec, .. }] = &room.commands[..] else { panic!("{:?}", room.commands) };
    assert_eq!(spec.audio.as_ref().unwrap().send.codec, Codec::Pcmu);

    room.expect("bob");
    room.enter("bob");
    assert_eq!(room.invite("bob", "", "").status, 200);
    room.ack("bob");
    assert!(matches!(room.commands.last(), Some(Command::Close { .. })), "an ACK without an answer ends it");
    assert_eq!(room.inbox("bob", &Method::Bye).len(), 1);
}

#[test]
fn nobody_without_a_port_gets_in() {
    let mut room = house(VOICES);
    room.has_ports = false;
    room.expect("ann");
    room.enter("ann");
    let response = room.invite("ann", "application/sdp", PHONE);
    assert_eq!(
        (response.status, response.headers.get("Retry-After").map(ToString::to_string)),
        (503, Some("30".into()))
    );
    assert_eq!(room.told(), ["ann deleted"]);
}

#[test]
fn whoever_is_ejected_is_closed_on_every_leg() {
    let mut room = voices(&["ann", "bob"]);
    assert_eq!(room.invite("ann", "application/sdp", PHONE).status, 200, "a second phone of hers");
    room.commands.clear();
    room.delete_user("ann");
    assert_eq!(room.commands, [Command::Close { leg: LegId(1) }, Command::Close { leg: LegId(3) }]);
    assert_eq!(room.told(), ["ann deleted"]);
}

#[test]
fn two_legs_of_one_person_are_one_person() {
    let mut room = voices(&["ann", "bob"]);
    assert_eq!(room.invite("ann", "application/sdp", PHONE).status, 200);
    let people: Vec<u64> = room
        .commands
        .iter()
        .filter_map(|command| match command {
            Command::Set { spec, .. } => Some(spec.person.0),
            _ => None,
        })
        .collect();
    assert_eq!(people, [1, 2, 1]);
}
