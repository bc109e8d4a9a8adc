//! Nothing is allocated for a packet or for 20 ms, however many there are and whatever befalls them; and
//! how much one participant takes.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "room/sender.rs"]
mod sender;

use std::{alloc::System, net::SocketAddr, sync::Mutex, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Command, Event, Flow, LegId, Port, Room, Sink,
    session::{Codec, Gate, Kind},
};
use sender::{Sender, spec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted is counted for the whole process, so one test at a time counts.
static COUNTING: Mutex<()> = Mutex::new(());

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Sent(u64);

impl Sink for Sent {
    fn send(&mut self, port: Port, _to: SocketAddr, _datagram: &[u8]) {
        self.0 += u64::from(port.flow == Flow::Rtp);
    }

    fn connect(&mut self, _port: Port, _from: SocketAddr) {}

    fn tell(&mut self, event: Event) {
        assert!(matches!(event, Event::Speaking { .. }), "{event:?}");
    }
}

fn number(packet: &mut [u8], tick: u32, step: u32) {
    packet[2..4].copy_from_slice(&(tick as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(tick * step).to_be_bytes());
}

/// Allocations in `ticks` of a room with these codecs, of whom the first three talk.
fn allocations(codecs: &[Codec], ticks: u32) -> usize {
    let (mut room, mut sent) = (room(), Sent::default());
    let mut now = Time::from_unix_secs(1_800_000_000);
    let mut senders = Vec::new();
    for (n, codec) in (1..).zip(codecs) {
        join(&mut room, now, n, *codec, &mut sent);
        let mut sender = Sender::new(n, *codec);
        sender.talks = n <= 3;
        senders.push(sender);
    }
    // A few packets of each, to be sent again and again with other numbers.
    let mut packets: Vec<Vec<Vec<u8>>> =
        senders.iter_mut().map(|sender| (0..4).map(|_| sender.speak()).collect()).collect();
    let mut run = |from: u32, to: u32, hostile: bool| {
        for tick in from..to {
            for (at, packets) in packets.iter_mut().enumerate() {
                // Each loses packets, and sends some twice and some late.
                if hostile && (tick as usize + at).is_multiple_of(11) {
                    continue;
                }
                let packet = &mut packets[tick as usize % 4];
                let back = if hostile && (tick as usize + at).is_multiple_of(13) { 3 } else { 0 };
                number(packet, 1000 + tick - back, codecs[at].clock_step());
                let port = Port { leg: LegId(at as u64 + 1), kind: Kind::Audio, flow: Flow::Rtp };
                room.receive(now, port, senders[at].address, packet, &mut sent);
            }
            now = now + Duration::from_millis(20);
            room.tick(now, &mut sent);
        }
    };
    run(0, 100, false);
    let region = Region::new(MEMORY);
    run(100, 100 + ticks, true);
    let change = region.change();
    assert_eq!(sent.0, (codecs.len() as u32 * (100 + ticks)) as u64);
    change.allocations + change.reallocations
}

#[test]
fn nothing_is_allocated_for_a_packet_or_a_tick() {
    let _alone = COUNTING.lock();
    for codecs in [
        vec![Codec::Pcmu; 20],
        vec![Codec::G722; 4],
        vec![Codec::Opus; 4],
        vec![Codec::Pcma, Codec::G722, Codec::Opus, Codec::Pcmu],
    ] {
        let allocated = allocations(&codecs, 500);
        // Who speaks is told at most twice a second.
        assert!(allocated <= 20, "{:?} and others: {allocated}", codecs[0]);
    }
}

#[test]
fn a_participant_takes_less_than_twenty_kilobytes() {
    let _alone = COUNTING.lock();
    // What libopus takes for itself is not counted: some 25 kB for each talker at once, and for each mix.
    for (codec, most) in [(Codec::Pcmu, 20_000), (Codec::Opus, 70_000)] {
        for count in [4, 200] {
            let region = Region::new(MEMORY);
            let (mut room, mut sent) = (room(), Sent::default());
            for n in 1..=count {
                join(&mut room, Time::from_unix_secs(1), n, codec, &mut sent);
            }
            let change = region.change();
            let bytes = change.bytes_allocated - change.bytes_deallocated + size_of::<Room>();
            let each = bytes / count as usize;
            println!("{codec:?}, {count} people: {each} bytes each");
            assert!(each < most, "{codec:?} of {count}: {each}");
        }
    }
}

fn room() -> Room {
    Room::new(Entropy::from_seed([1; 32]))
}

/// Somebody joins who knows one codec.
fn join(room: &mut Room, now: Time, n: u64, codec: Codec, sink: &mut Sent) {
    let mut spec = spec(n, n, codec);
    spec.audio.as_mut().unwrap().receive.retain(|format| format.codec == codec);
    room.command(now, Command::Set { leg: LegId(n), spec: Box::new(spec), gate: Gate::Open }, sink);
}
