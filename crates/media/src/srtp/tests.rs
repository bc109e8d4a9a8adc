//! Both directions of a stream, and what must not pass.

use super::*;

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

const SUITES: [Suite; 3] = [Suite::AesCm80, Suite::AesCm32, Suite::AesGcm];

fn master(suite: Suite, identifier: &[u8]) -> MasterKey {
    let salt = if suite == Suite::AesGcm { 12 } else { 14 };
    MasterKey { key: [3; 16], salt: vec![9; salt], identifier: identifier.to_vec() }
}

fn pair(suite: Suite, identifier: &[u8]) -> (Context, Context) {
    let master = master(suite, identifier);
    (Context::new(suite, &master).unwrap(), Context::new(suite, &master).unwrap())
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x55; 160]);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 3];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([7; 8]);
    packet
}

fn protect_rtp(context: &mut Context, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD, 0);
    let len = context.protect_rtp(&mut buffer, packet.len()).expect("it can be protected");
    buffer.truncate(len);
    buffer
}

fn protect_rtcp(context: &mut Context, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD, 0);
    let len = context.protect_rtcp(&mut buffer, packet.len()).expect("it can be protected");
    buffer.truncate(len);
    buffer
}

fn open_rtp(context: &mut Context, packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let len = context.open_rtp(&mut packet)?;
    packet.truncate(len);
    Some(packet)
}

fn open_rtcp(context: &mut Context, packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let len = context.open_rtcp(&mut packet)?;
    packet.truncate(len);
    Some(packet)
}

#[test]
fn packets_as_others_compute_them() {
    // What libsrtp's own tests expect of AES_CM_128_HMAC_SHA1_80.
    let key = MasterKey {
        key: bytes("e1f97a0d3e018be0d64fa32c06de4139").try_into().unwrap(),
        salt: bytes("0ec675ad498afeebb6960b3aabe6"),
        identifier: Vec::new(),
    };
    let mut context = Context::new(Suite::AesCm80, &key).unwrap();
    let plain = [bytes("800f1234decafbadcafebabe"), vec![0xab; 16]].concat();
    let sealed = protect_rtp(&mut context, &plain);
    assert_eq!(sealed, bytes("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"));
    let plain = [bytes("81c8000bcafebabe"), vec![0xab; 16]].concat();
    let sealed = protect_rtcp(&mut context, &plain);
    assert_eq!(sealed, bytes("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"));
}

#[test]
fn both_directions_over_two_rounds_of_numbers() {
    for suite in SUITES {
        for identifier in [&[][..], &[1], &[0, 0, 0, 9]] {
            let (mut send, mut receive) = pair(suite, identifier);
            for step in 0..3_000_u32 {
                let packet = rtp((65_000 + step * 50) as u16, 5);
                let sealed = protect_rtp(&mut send, &packet);
                assert_ne!(sealed[12..172], packet[12..]);
                assert_eq!(open_rtp(&mut receive, &sealed).as_deref(), Some(&packet[..]), "{suite:?} {step}");
                assert_eq!(open_rtp(&mut receive, &sealed), None, "it came before");
            }
            for _ in 0..300 {
                let sealed = protect_rtcp(&mut send, &rtcp(5));
                assert_eq!(open_rtcp(&mut receive, &sealed), Some(rtcp(5)));
                assert_eq!(open_rtcp(&mut receive, &sealed), None, "it came before");
            }
        }
    }
}

#[test]
fn nothing_else_is_opened_nor_changes_anything() {
    for suite in SUITES {
        let (mut send, mut receive) = pair(suite, &[]);
        let mut wrong = Context::new(suite, &MasterKey { key: [4; 16], ..master(suite, &[]) }).unwrap();
        let sealed = protect_rtp(&mut send, &rtp(1, 5));
        let report = protect_rtcp(&mut send, &rtcp(5));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open_rtp(&mut receive, &damaged), None, "{suite:?} {at}");
            assert_eq!(open_rtp(&mut receive, &sealed[..at]), None, "{suite:?} {at}");
        }
        for at in 0..report.len() {
            let mut damaged = report.clone();
            damaged[at] ^= 1;
            assert_eq!(open_rtcp(&mut receive, &damaged), None, "{suite:?} {at}");
            assert_eq!(open_rtcp(&mut receive, &report[..at]), None, "{suite:?} {at}");
        }
        assert_eq!(open_rtp(&mut receive, &protect_rtp(&mut wrong, &rtp(1, 5))), None);
        assert_eq!(open_rtp(&mut receive, &rtp(1, 5)), None, "in clear");
        assert_eq!(open_rtcp(&mut receive, &rtcp(5)), None, "in clear");
        assert_eq!(open_rtp(&mut receive, &vec![0x80; 9_000]), None);
        assert!(receive.sources.is_empty(), "what is not verified leaves no trace");
        assert_eq!(open_rtp(&mut receive, &sealed), Some(rtp(1, 5)));
        assert_eq!(open_rtcp(&mut receive, &report), Some(rtcp(5)));
    }
}

#[test]
fn late_packets_are_opened_and_very_late_ones_not() {
    let (mut send, mut receive) = pair(Suite::AesCm80, &[]);
    let sealed: Vec<Vec<u8>> =
        (0..300).map(|n| protect_rtp(&mut send, &rtp(65_400_u16.wrapping_add(n), 5))).collect();
    assert!(open_rtp(&mut receive, &sealed[0]).is_some());
    assert!(open_rtp(&mut receive, &sealed[299]).is_some());
    assert!(open_rtp(&mut receive, &sealed[299 - 127]).is_some());
    assert!(open_rtp(&mut receive, &sealed[299 - 128]).is_none());
}

#[test]
fn a_peer_may_leave_the_identifier_out() {
    for suite in [Suite::AesCm80, Suite::AesCm32] {
        let (mut send, _) = pair(suite, &[]);
        let (_, mut receive) = pair(suite, &[1]);
        // Among so many there are some whose text ends as if it were the identifier.
        for sequence in 0..2_000 {
            assert!(open_rtp(&mut receive, &protect_rtp(&mut send, &rtp(sequence, 5))).is_some());
        }
    }
}

#[test]
fn a_packet_shorter_than_the_identifier_is_nothing() {
    for suite in SUITES {
        let (_, mut receive) = pair(suite, &[7; 128]);
        for len in 0..140 {
            assert_eq!(open_rtp(&mut receive, &rtp(1, 5)[..len]), None);
            assert_eq!(open_rtcp(&mut receive, &vec![0x80; len]), None);
        }
    }
}

#[test]
fn many_sources_are_told_apart_within_a_limit() {
    let (mut send, mut receive) = pair(Suite::AesGcm, &[]);
    for ssrc in 0..100 {
        for sequence in 0..3 {
            assert!(open_rtp(&mut receive, &protect_rtp(&mut send, &rtp(sequence, ssrc))).is_some());
        }
    }
    assert_eq!((receive.sources.len(), receive.sources.capacity()), (MAX_SOURCES, MAX_SOURCES));
}

#[test]
fn a_number_is_protected_once() {
    let (mut send, _) = pair(Suite::AesGcm, &[]);
    let packet = rtp(7, 5);
    protect_rtp(&mut send, &packet);
    assert_eq!(send.protect_rtp(&mut [packet.clone(), vec![0; OVERHEAD]].concat(), packet.len()), None);
    assert_eq!(send.protect_rtp(&mut rtp(8, 5), 172), None, "no room");
    assert_eq!(send.protect_rtp(&mut [0; 400], 11), None, "no RTP");
}

#[test]
fn a_salt_of_another_suite_is_refused() {
    assert!(Context::new(Suite::AesGcm, &master(Suite::AesCm80, &[])).is_none());
    assert!(Context::new(Suite::AesCm80, &master(Suite::AesGcm, &[])).is_none());
    assert!(Context::new(Suite::AesCm80, &master(Suite::AesCm80, &[1; 129])).is_none());
}
