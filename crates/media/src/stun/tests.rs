//! The vectors of RFC 5769, messages of Microsoft's dialects computed by another program, and any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::*;
use IceDialect::{Draft6, Draft19, Rfc8445};

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

const RFC_PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const RFC_REQUEST: &str = "00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74 00240004 6e0001ff 80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020 00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";
const RFC_RESPONSE_4: &str = "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220 00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96";
const RFC_RESPONSE_6: &str = "01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220 00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c";

/// A check of draft 6 and one of draft 19, and an answer with the wrong table, computed in Python from
/// what libnice does.
const OF_DRAFT_6: &str = "00010028909192939495969798999a9b9c9d9e9f0006000ca1b23a313ac3d4e53a310000
    00080014e4d7cd516dfca7f6e6dd73b4ff9369b9f7c90922";
const OF_DRAFT_19: &str = "000100542112a442101112131415161718191a1b002400046e7f1eff802900081122334455667788
    0006000c525546523a4c55465231320080540004310000008070000400000002
    000800140ea5247c1563dc157410bcfa9e6815096f66be4980280004a45a4252";
const WITH_TYPO: &str = "0101003c2112a44206060606060606060606060600200008
    0001a147e112a6430006000c4c5546523a5255465200000000080014
    8a6ccbb3dfe2facb4597681d52b37c5488c3c9b7802800042f721ed1";

/// Where the sender saw a check come from. Agents of ours do not need to know.
fn mapped_address(message: &Message<'_>) -> Option<SocketAddr> {
    let mask: &[u8; 16] = message.bytes[4..].first_chunk()?;
    let value = message.find(XOR_MAPPED_ADDRESS)?;
    let port = u16::from_be_bytes([value[2] ^ mask[0], value[3] ^ mask[1]]);
    let octets: Vec<u8> = value[4..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match value[1] {
        1 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

#[test]
fn vectors_of_rfc_5769() {
    let request = bytes(RFC_REQUEST);
    let message = Message::read(Rfc8445, &request).expect("it is one");
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.role(), Some((false, 0x932f_f9b1_5126_3b36)));
    assert!(message.is_by(RFC_PASSWORD) && !message.is_by(b"another") && !message.is_by(b""));
    for (response, seen) in [
        (RFC_RESPONSE_4, "192.0.2.1:32853"),
        (RFC_RESPONSE_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let response = bytes(response);
        let message = Message::read(Rfc8445, &response).expect("it is one");
        assert_eq!(message.class(), Class::Success);
        assert_eq!(mapped_address(&message), Some(seen.parse().unwrap()));
        assert!(message.is_by(RFC_PASSWORD));
        assert_eq!(message.transaction(), request[4..20]);
    }
}

#[test]
fn checks_of_microsofts_dialects_are_read_and_written() {
    let sent = bytes(OF_DRAFT_6);
    let password: Vec<u8> = (1..17).collect();
    let message = Message::read(Draft6, &sent).expect("it is one");
    assert_eq!(message.username(), Some(&b"\xa1\xb2:1:\xc3\xd4\xe5:1"[..]));
    assert!(message.is_by(&password));
    let mut builder = Builder::new(Draft6, Class::Request, &message.transaction());
    builder.username(message.whole_username().unwrap());
    assert_eq!(builder.finish(&password, false), sent);

    let sent = bytes(OF_DRAFT_19);
    let password = b"remote-password-of-22c";
    let message = Message::read(Draft19, &sent).expect("it is one");
    assert!(message.is_by(password) && message.has_version());
    assert_eq!(message.username(), Some(&b"RUFR:LUFR12"[..]));
    let mut builder = Builder::new(Draft19, Class::Request, &message.transaction());
    builder.priority(0x6e7f_1eff);
    builder.role(false, 0x1122_3344_5566_7788);
    builder.username(b"RUFR:LUFR12\0");
    builder.candidate_identifier("1");
    builder.version();
    assert_eq!(builder.finish(password, false), sent);
    assert!(!Message::read(Rfc8445, &sent).is_some_and(|message| message.is_by(password)));
}

#[test]
fn the_wrong_table_is_taken_from_peers_who_may_have_it() {
    let sent = bytes(WITH_TYPO);
    let message = Message::read(Draft19, &sent).expect("the fingerprint has the wrong entry");
    assert!(message.is_by(b"local-password"));
    assert!(Message::read(Rfc8445, &sent).is_none());
    // The same by us, and with a version in it, which excludes the wrong table.
    let mut builder = Builder::new(Draft19, Class::Success, &message.transaction());
    builder.mapped_address("192.0.2.1:32853".parse().unwrap());
    builder.username(b"LUFR:RUFR\0\0\0");
    assert_eq!(builder.finish(b"local-password", true), sent);
    assert_ne!(builder.finish(b"local-password", false), sent);
    let refused = (0..=255).any(|byte| {
        let transaction = Builder::transaction(Draft19, [byte; 16]);
        let mut builder = Builder::new(Draft19, Class::Success, &transaction);
        builder.version();
        Message::read(Draft19, builder.finish(b"x", true)).is_none()
    });
    assert!(refused);
}

#[test]
fn addresses_and_errors_survive_in_every_dialect() {
    for dialect in [Draft6, Draft19, Rfc8445] {
        for seen in ["192.0.2.1:32853", "[2001:db8::5]:1"] {
            let transaction = Builder::transaction(dialect, [0x77; 16]);
            let mut builder = Builder::new(dialect, Class::Error, &transaction);
            builder.mapped_address(seen.parse().unwrap());
            builder.error(487, "Role Conflict");
            builder.use_candidate();
            let sent = builder.finish(b"password", false);
            let message = Message::read(dialect, sent).expect("it is one");
            assert_eq!((message.class(), message.error()), (Class::Error, Some(487)), "{dialect:?}");
            assert_eq!(mapped_address(&message), Some(seen.parse().unwrap()));
            assert_eq!(message.transaction(), transaction);
            assert!(message.uses_candidate() && message.is_by(b"password"));
        }
    }
}

#[test]
fn what_stands_behind_the_integrity_does_not_count() {
    let mut sent = bytes(RFC_REQUEST);
    sent.truncate(sent.len() - 8);
    sent.extend([0, 0x25, 0, 0]);
    sent[3] -= 4;
    let message = Message::read(Rfc8445, &sent).expect("it is one");
    assert!(message.is_by(RFC_PASSWORD) && !message.uses_candidate());
}

#[test]
fn a_long_name_leaves_room_for_what_comes_last() {
    let mut builder = Builder::new(Draft6, Class::Request, &[1; 16]);
    builder.username(&[7; 520]);
    builder.role(true, 1);
    let sent = builder.finish(b"x", false);
    let message = Message::read(Draft6, sent).expect("it is one");
    assert!(sent.len() <= MAX_MESSAGE && message.is_by(b"x") && message.role().is_none());
}

#[test]
fn any_bytes_are_read_without_harm() {
    for whole in [RFC_REQUEST, RFC_RESPONSE_4, RFC_RESPONSE_6, OF_DRAFT_6, OF_DRAFT_19] {
        let whole = bytes(whole);
        for dialect in [Draft6, Draft19, Rfc8445] {
            for len in 0..whole.len() {
                assert!(Message::read(dialect, &whole[..len]).is_none(), "{dialect:?} {len}");
            }
            for at in 0..whole.len() {
                for value in [0, 1, 3, 0x20, 0x7f, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = value;
                    let Some(message) = Message::read(dialect, &damaged) else { continue };
                    let _ = (message.username(), message.priority(), message.role(), message.error());
                    let _ = (message.has_version(), message.uses_candidate(), message.transaction());
                    // The fingerprint stands behind what is protected.
                    let protected = at + 8 < whole.len() || damaged == whole;
                    assert!(damaged == whole || !protected || !message.is_by(RFC_PASSWORD));
                }
            }
        }
    }
}
