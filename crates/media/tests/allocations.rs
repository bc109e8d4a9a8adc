//! Nothing is allocated for a packet: neither for one that is taken, nor for one that is refused. One test in
//! a file of its own, because every allocation of the process counts.

use std::{alloc::System, net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Event, Flow, LegId, Port, Sink, rtcp,
    session::{Codec, Format, Kind, MasterKey, Protection, StreamSpec, Suite, TransportSpec},
    transport::{OVERHEAD, Received, Transport},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Nothing;

impl Sink for Nothing {
    fn send(&mut self, _: Port, _: SocketAddr, _: &[u8]) {}
    fn connect(&mut self, _: Port, _: SocketAddr) {}
    fn tell(&mut self, _: Event) {}
}

fn transport(suite: Option<Suite>, [send, receive]: [u8; 2]) -> Transport {
    let salt = vec![7; if suite == Some(Suite::AesGcm) { 12 } else { 14 }];
    let key = |byte| MasterKey { key: [byte; 16], salt: salt.clone(), identifier: vec![1] };
    let (send, receive) = (key(send), key(receive));
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    let spec = StreamSpec {
        send: Format { number: 0, codec: Codec::Pcmu },
        receive: vec![Format { number: 0, codec: Codec::Pcmu }],
        receive_events: None,
        packet_time: Duration::from_millis(20),
        we_send: true,
        we_receive: true,
        ssrc: 1,
        protection: suite.map(|suite| Protection { suite, send, receive, optional: false }),
        transport: TransportSpec::Plain { rtp: peer, rtcp: peer },
    };
    let port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
    Transport::new(Time::EPOCH, port, &spec, Entropy::from_seed([1; 32]))
}

#[test]
fn no_packet_costs_an_allocation() {
    for suite in [None, Some(Suite::AesCm80), Some(Suite::AesCm32), Some(Suite::AesGcm)] {
        // The thread that waits for this one may allocate meanwhile; not every time.
        let fewest = (0..5).map(|_| allocations(suite)).min();
        assert_eq!(fewest, Some(0), "{suite:?}");
    }
    let counted = Region::new(COUNTED);
    drop(std::hint::black_box(vec![1_u8; 10]));
    assert!(counted.change().allocations > 0, "the count counts");
}

/// Allocations of a thousand packets of each kind.
fn allocations(suite: Option<Suite>) -> usize {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    let stranger = SocketAddr::from(([203, 0, 113, 9], 9));
    let (mut ours, mut peers) = (transport(suite, [1, 2]), transport(suite, [2, 1]));
    let mut packet = [0x55; 200 + OVERHEAD];
    let counted = Region::new(COUNTED);
    for sequence in 0..1_000_u16 {
        // Another source now and then, more of them than are told apart.
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[8..12].copy_from_slice(&u32::from(sequence / 50).to_be_bytes());
        let len = peers.protect_rtp(&mut packet, 172).expect("each number comes once");
        let received = ours.receive(Time::EPOCH, Flow::Rtp, peer, &mut packet[..len], &mut Nothing);
        assert!(received != Received::Nothing, "{suite:?}");
        ours.receive(Time::EPOCH, Flow::Rtp, stranger, &mut packet[..len], &mut Nothing);
        ours.receive(Time::EPOCH, Flow::Rtp, peer, &mut packet[..7], &mut Nothing);
        let mut writer = rtcp::Writer::new(&mut packet);
        writer.receiver_report(9, &[rtcp::Report::default()]);
        let len = writer.finish().expect("it fits");
        let len = peers.protect_rtcp(&mut packet, len).expect("it can be protected");
        let received = ours.receive(Time::EPOCH, Flow::Rtp, peer, &mut packet[..len], &mut Nothing);
        let Received::Rtcp(compound) = received else { panic!("{suite:?}: {received:?}") };
        assert_eq!(rtcp::packets(compound).count(), 1);
    }
    counted.change().allocations
}
