//! The way of a stream, with real bytes: who is listened to, where it goes, and what must not pass.

use std::net::SocketAddr;
use std::time::Duration;

use confab_machine::{Entropy, Time};
use confab_media::{
    Event, Flow, LegId, Port, Sink, rtcp,
    session::{Codec, Format, Kind, MasterKey, Protection, StreamSpec, Suite, TransportSpec},
    transport::{OVERHEAD, Received, Transport},
};

/// What the transport wanted done.
#[derive(Default)]
struct Wanted {
    connected: Vec<(Flow, SocketAddr)>,
    disconnected: Vec<Flow>,
}

impl Sink for Wanted {
    fn send(&mut self, _: Port, _: SocketAddr, _: &[u8]) {
        panic!("nothing is sent without connectivity checks");
    }

    fn connect(&mut self, port: Port, from: SocketAddr) {
        self.connected.push((port.flow, from));
    }

    fn disconnect(&mut self, port: Port) {
        self.disconnected.push(port.flow);
    }

    fn tell(&mut self, _: Event) {
        panic!("there is nothing to tell");
    }
}

const NOW: Time = Time::from_unix_secs(1_800_000_000);
const PORT: Port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The peer says he is at `rtp`, with RTCP on the port above.
fn spec(rtp: &str, protection: Option<Protection>) -> StreamSpec {
    let rtp = address(rtp);
    StreamSpec {
        send: Format { number: 0, codec: Codec::Pcmu },
        receive: vec![Format { number: 0, codec: Codec::Pcmu }],
        receive_events: None,
        packet_time: Duration::from_millis(20),
        we_send: true,
        we_receive: true,
        ssrc: 1,
        protection,
        transport: TransportSpec::Plain { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1) },
    }
}

fn keys(suite: Suite, optional: bool) -> Protection {
    let salt = vec![5; if suite == Suite::AesGcm { 12 } else { 14 }];
    let key = |byte| MasterKey { key: [byte; 16], salt: salt.clone(), identifier: Vec::new() };
    Protection { suite, send: key(1), receive: key(2), optional }
}

/// The peer's side of the same keys.
fn mirrored(ours: &Protection) -> Protection {
    Protection { send: ours.receive.clone(), receive: ours.send.clone(), ..ours.clone() }
}

fn transport(spec: &StreamSpec) -> Transport {
    Transport::new(NOW, PORT, spec, Entropy::from_seed([1; 32]))
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160, 0, 0, 0, 9]);
    packet.extend([0x55; 160]);
    packet
}

fn report() -> Vec<u8> {
    let mut buffer = [0; 100];
    let mut writer = rtcp::Writer::new(&mut buffer);
    writer.receiver_report(9, &[]);
    writer.description(9, "peer@example.test");
    let len = writer.finish().expect("it fits");
    buffer[..len].to_vec()
}

fn protect(by: &mut Transport, plain: &[u8], rtcp: bool) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + OVERHEAD, 0);
    let len = if rtcp {
        by.protect_rtcp(&mut buffer, plain.len())
    } else {
        by.protect_rtp(&mut buffer, plain.len())
    };
    buffer.truncate(len.expect("it can be protected"));
    buffer
}

/// Whether the transport takes the datagram from there.
fn takes(by: &mut Transport, wanted: &mut Wanted, flow: Flow, from: &str, datagram: &[u8]) -> bool {
    let rejected = by.rejected();
    let mut datagram = datagram.to_vec();
    let taken = by.receive(NOW, flow, address(from), &mut datagram, wanted) != Received::Nothing;
    assert_eq!(by.rejected() - rejected, u64::from(!taken), "what is not taken is counted");
    taken
}

const SAID: &str = "192.0.2.1:4000";
const FOUND: &str = "198.51.100.7:62000";
const STRANGER: &str = "203.0.113.9:9";

#[test]
fn without_keys_the_first_who_sends_a_run_is_the_peer() {
    let (mut ours, mut wanted) = (transport(&spec(SAID, None)), Wanted::default());
    assert_eq!(ours.destination(Flow::Rtp), Some(address(SAID)));
    assert_eq!(ours.destination(Flow::Rtcp), Some(address("192.0.2.1:4001")));
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &packet(1)));
    assert_eq!(ours.destination(Flow::Rtp), Some(address(FOUND)), "answered at once");
    assert_eq!(
        ours.destination(Flow::Rtcp),
        Some(address("198.51.100.7:62001")),
        "a guess until it is heard"
    );
    assert!(wanted.connected.is_empty());
    for sequence in 2..5 {
        assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &packet(sequence)));
    }
    assert_eq!(wanted.connected, [(Flow::Rtp, address(FOUND))]);
    for sequence in 0..100 {
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, STRANGER, &packet(sequence)));
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &packet(sequence)));
    }
    assert_eq!(ours.destination(Flow::Rtp), Some(address(FOUND)));
    // RTCP from the same machine is his, and shows where to send it.
    assert!(!takes(&mut ours, &mut wanted, Flow::Rtcp, STRANGER, &report()));
    assert!(takes(&mut ours, &mut wanted, Flow::Rtcp, "198.51.100.7:62009", &report()));
    assert_eq!(ours.destination(Flow::Rtcp), Some(address("198.51.100.7:62009")));
    assert_eq!(wanted.connected[1..], [(Flow::Rtcp, address("198.51.100.7:62009"))]);
}

#[test]
fn with_keys_the_first_verified_packet_decides() {
    for suite in [Suite::AesCm80, Suite::AesCm32, Suite::AesGcm] {
        let agreed = keys(suite, false);
        let mut ours = transport(&spec(SAID, Some(agreed.clone())));
        let mut peer = transport(&spec(SAID, Some(mirrored(&agreed))));
        let mut wanted = Wanted::default();
        for sequence in 0..50 {
            assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, STRANGER, &packet(sequence)));
        }
        assert_eq!(ours.destination(Flow::Rtp), Some(address(SAID)), "{suite:?}");
        let first = protect(&mut peer, &packet(1), false);
        assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &first));
        assert_eq!(ours.destination(Flow::Rtp), Some(address(FOUND)));
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, STRANGER, &first), "replayed");
        // Even a packet that is verified moves nothing: it may have been held back on its way.
        let second = protect(&mut peer, &packet(2), false);
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, STRANGER, &second));
        assert_eq!(wanted.connected, [(Flow::Rtp, address(FOUND))]);
        let compound = protect(&mut peer, &report(), true);
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtcp, FOUND, &report()), "in clear");
        assert!(takes(&mut ours, &mut wanted, Flow::Rtcp, "198.51.100.7:62001", &compound));
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtcp, "198.51.100.7:62001", &compound), "replayed");
    }
}

#[test]
fn packets_under_other_keys_are_nothing() {
    for suite in [Suite::AesCm80, Suite::AesCm32, Suite::AesGcm] {
        let agreed = keys(suite, false);
        let mut ours = transport(&spec(SAID, Some(agreed.clone())));
        let mut stranger = transport(&spec(SAID, Some(agreed)));
        let mut wanted = Wanted::default();
        for sequence in 0..50 {
            let sealed = protect(&mut stranger, &packet(sequence), false);
            assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &sealed));
        }
        assert!(wanted.connected.is_empty());
    }
}

#[test]
fn optional_keys_end_with_the_first_verified_packet() {
    let agreed = keys(Suite::AesCm80, true);
    let mut ours = transport(&spec(SAID, Some(agreed.clone())));
    let mut peer = transport(&spec(SAID, Some(mirrored(&agreed))));
    let mut wanted = Wanted::default();
    for sequence in 1..100 {
        assert!(takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &packet(sequence)));
    }
    assert!(wanted.connected.is_empty(), "nothing is proved yet");
    let sealed = protect(&mut peer, &packet(100), false);
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &sealed));
    for sequence in 101..110 {
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &packet(sequence)));
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &packet(sequence)));
    }
    assert_eq!(ours.destination(Flow::Rtp), Some(address(FOUND)));
}

#[test]
fn anything_odd_is_counted_and_nothing() {
    for protection in [None, Some(keys(Suite::AesCm80, true)), Some(keys(Suite::AesGcm, false))] {
        let (mut ours, mut wanted) = (transport(&spec(SAID, protection)), Wanted::default());
        let mut odd: Vec<Vec<u8>> = vec![
            vec![],
            vec![0x80],
            vec![0x80, 0],
            packet(1)[..11].to_vec(),
            // More contributing sources, or a longer extension, than there are bytes.
            [&[0x8f, 0], &packet(1)[2..40]].concat(),
            [&[0x90, 0], &packet(1)[2..12], &[0, 0, 0xff, 0xff]].concat(),
            // A check where none were negotiated, DTLS, RTP of version 1, RTCP cut short.
            [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat(),
            vec![22; 60],
            [&[0x40, 0], &packet(1)[2..]].concat(),
            vec![0x80, 201, 0, 0],
            vec![0; 9_000],
            vec![0xff; 9_000],
        ];
        odd.extend((0..=255).map(|byte| vec![byte; 3]));
        for datagram in &odd {
            for flow in [Flow::Rtp, Flow::Rtcp] {
                assert!(!takes(&mut ours, &mut wanted, flow, SAID, datagram), "{datagram:?}");
            }
        }
        assert_eq!(ours.rejected(), 2 * odd.len() as u64);
        assert!(!takes(&mut ours, &mut wanted, Flow::Rtcp, SAID, &packet(1)), "RTP where RTCP belongs");
        assert_eq!(ours.destination(Flow::Rtp), Some(address(SAID)));
    }
    // A whole packet of 9,000 bytes is as good as a small one.
    let (mut ours, mut wanted) = (transport(&spec(SAID, None)), Wanted::default());
    let large = [packet(1), vec![0; 8_828]].concat();
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &large));
}

#[test]
fn rtcp_may_share_the_port() {
    let mut shared = spec(SAID, None);
    shared.transport = TransportSpec::Plain { rtp: address(SAID), rtcp: address(SAID) };
    let (mut ours, mut wanted) = (transport(&shared), Wanted::default());
    assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &report()), "nobody was heard there");
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &report()));
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &packet(1)));
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &report()));
    assert_eq!(ours.destination(Flow::Rtcp), Some(address(FOUND)));
}

#[test]
fn ipv6_is_like_ipv4() {
    let (mut ours, mut wanted) = (transport(&spec("[2001:db8::1]:4000", None)), Wanted::default());
    for sequence in 1..5 {
        assert!(takes(&mut ours, &mut wanted, Flow::Rtp, "[2001:db8::2]:5000", &packet(sequence)));
    }
    assert_eq!(ours.destination(Flow::Rtp), Some(address("[2001:db8::2]:5000")));
    assert_eq!(wanted.connected, [(Flow::Rtp, address("[2001:db8::2]:5000"))]);
}

#[test]
fn a_peer_who_says_he_moved_is_found_anew() {
    let (mut ours, mut wanted) = (transport(&spec(SAID, None)), Wanted::default());
    for sequence in 1..5 {
        takes(&mut ours, &mut wanted, Flow::Rtp, FOUND, &packet(sequence));
    }
    ours.renegotiate(NOW, &spec(SAID, None));
    assert!(!ours.needs_ticks());
    assert_eq!(ours.destination(Flow::Rtp), Some(address(FOUND)), "the same description changes nothing");
    ours.renegotiate(NOW, &spec(STRANGER, None));
    assert_eq!(ours.destination(Flow::Rtp), Some(address(STRANGER)));
    assert!(ours.needs_ticks());
    ours.tick(NOW, &mut wanted);
    assert!(!ours.needs_ticks());
    assert_eq!(wanted.disconnected, [Flow::Rtp, Flow::Rtcp]);
    for sequence in 1..5 {
        assert!(takes(&mut ours, &mut wanted, Flow::Rtp, STRANGER, &packet(sequence)));
    }
    assert_eq!(wanted.connected[1..], [(Flow::Rtp, address(STRANGER))]);
}

#[test]
fn keys_are_kept_while_they_are_the_same() {
    let agreed = keys(Suite::AesCm80, false);
    let (mut ours, mut wanted) = (transport(&spec(SAID, Some(agreed.clone()))), Wanted::default());
    let mut peer = transport(&spec(SAID, Some(mirrored(&agreed))));
    let first = protect(&mut peer, &packet(1), false);
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &first));
    ours.renegotiate(NOW, &spec(SAID, Some(agreed.clone())));
    assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &first), "what came before is still known");
    // New keys: the old ones open nothing.
    let mut changed = agreed;
    changed.receive.key = [9; 16];
    ours.renegotiate(NOW, &spec(SAID, Some(changed.clone())));
    let mut new_peer = transport(&spec(SAID, Some(mirrored(&changed))));
    let old = protect(&mut peer, &packet(2), false);
    assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &old));
    let new = protect(&mut new_peer, &packet(2), false);
    assert!(takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &new));
}

#[test]
fn keys_that_cannot_be_let_nothing_pass() {
    let mut agreed = keys(Suite::AesCm80, true);
    agreed.send.salt.pop();
    let (mut ours, mut wanted) = (transport(&spec(SAID, Some(agreed))), Wanted::default());
    assert!(!takes(&mut ours, &mut wanted, Flow::Rtp, SAID, &packet(1)));
    assert_eq!(ours.protect_rtp(&mut [packet(1), vec![0; OVERHEAD]].concat(), 172), None);
}
