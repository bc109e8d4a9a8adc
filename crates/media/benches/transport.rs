//! What protection costs: a packet of 172 bytes, which is 20 ms of G.711, in each suite and in clear.
//! `make bench BENCH=transport` runs this; the figures are in `docs/performance.md`.

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Event, Flow, LegId, Port, Sink,
    session::{Codec, Format, Kind, MasterKey, Protection, StreamSpec, Suite, TransportSpec},
    transport::{OVERHEAD, Received, Transport},
};
use divan::{Bencher, black_box, counter::ItemsCount};

const SUITES: [Option<Suite>; 4] = [None, Some(Suite::AesGcm), Some(Suite::AesCm80), Some(Suite::AesCm32)];
/// A packet with its header.
const PACKET: usize = 172;
/// Packets in one round, so that none is opened twice.
const BATCH: u16 = 1_000;

fn main() {
    divan::main();
}

struct Nothing;

impl Sink for Nothing {
    fn send(&mut self, _: Port, _: SocketAddr, _: &[u8]) {}
    fn connect(&mut self, _: Port, _: SocketAddr) {}
    fn tell(&mut self, _: Event) {}
}

fn transport(suite: Option<Suite>, [send, receive]: [u8; 2]) -> Transport {
    let salt = vec![7; if suite == Some(Suite::AesGcm) { 12 } else { 14 }];
    let key = |byte| MasterKey { key: [byte; 16], salt: salt.clone(), identifier: Vec::new() };
    let (send, receive) = (key(send), key(receive));
    let spec = StreamSpec {
        send: Format { number: 0, codec: Codec::Pcmu },
        receive: vec![Format { number: 0, codec: Codec::Pcmu }],
        receive_events: None,
        packet_time: Duration::from_millis(20),
        we_send: true,
        we_receive: true,
        ssrc: 1,
        protection: suite.map(|suite| Protection { suite, send, receive, optional: false }),
        transport: TransportSpec::Plain { rtp: peer(), rtcp: peer() },
    };
    let port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
    Transport::new(Time::EPOCH, port, &spec, Entropy::from_seed([1; 32]))
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

/// Protects a packet with this number into a buffer, and says how long it is.
fn protect(by: &mut Transport, sequence: u16, packet: &mut [u8; PACKET + OVERHEAD]) -> usize {
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    by.protect_rtp(packet, PACKET).expect("each number comes once")
}

#[divan::bench(args = SUITES)]
fn protect_172_bytes(bencher: Bencher<'_, '_>, suite: Option<Suite>) {
    bencher
        .counter(ItemsCount::new(u32::from(BATCH)))
        .with_inputs(|| (transport(suite, [1, 2]), [0x55; PACKET + OVERHEAD]))
        .bench_refs(|(ours, packet)| {
            for sequence in 0..BATCH {
                black_box(protect(ours, sequence, packet));
            }
        });
}

#[divan::bench(args = SUITES)]
fn open_172_bytes(bencher: Bencher<'_, '_>, suite: Option<Suite>) {
    bencher
        .counter(ItemsCount::new(u32::from(BATCH)))
        .with_inputs(|| {
            let mut peers = transport(suite, [2, 1]);
            let packets: Vec<Vec<u8>> = (0..BATCH)
                .map(|sequence| {
                    let mut packet = [0x55; PACKET + OVERHEAD];
                    let len = protect(&mut peers, sequence, &mut packet);
                    packet[..len].to_vec()
                })
                .collect();
            (transport(suite, [1, 2]), packets)
        })
        .bench_refs(|(ours, packets)| {
            for packet in packets {
                let received = ours.receive(Time::EPOCH, Flow::Rtp, peer(), packet, &mut Nothing);
                assert!(black_box(received) != Received::Nothing);
            }
        });
}
