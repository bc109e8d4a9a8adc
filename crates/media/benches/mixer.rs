//! What 20 ms of a conference cost, from the datagrams that came to those that go out, without sockets:
//! everybody sends, three at a time talk in each room. The items are participants.
//!
//! `make bench BENCH=mixer` runs this; the figures are in `docs/performance.md`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/room/sender.rs"]
mod sender;

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Command, Event, Flow, LegId, Port, Room, Sink,
    session::{Codec, Gate, Kind},
};
use divan::{Bencher, black_box, counter::ItemsCount};
use sender::{Sender, spec};

fn main() {
    divan::main();
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        black_box((port, to, datagram));
    }

    fn connect(&mut self, _port: Port, _from: SocketAddr) {}

    fn tell(&mut self, _event: Event) {}
}

/// Rooms with people in them who send what was prepared.
struct Rooms {
    rooms: Vec<Room>,
    people: Vec<Person>,
    now: Time,
    tick: u32,
    step: u32,
}

struct Person {
    room: usize,
    port: Port,
    address: SocketAddr,
    packets: Vec<Vec<u8>>,
}

impl Rooms {
    fn new(rooms: usize, size: u64, codec: Codec) -> Rooms {
        let now = Time::from_unix_secs(1_800_000_000);
        let mut all = Rooms { rooms: Vec::new(), people: Vec::new(), now, tick: 0, step: codec.clock_step() };
        for number in 0..rooms {
            let mut room = Room::new(Entropy::from_seed([number as u8; 32]));
            for n in 1..=size {
                let mut spec = spec(n, n, codec);
                let audio = spec.audio.as_mut().unwrap();
                audio.receive.retain(|format| format.codec == codec);
                room.command(
                    now,
                    Command::Set { leg: LegId(n), spec: Box::new(spec), gate: Gate::Open },
                    &mut Nowhere,
                );
                let mut sender = Sender::new(n, codec);
                sender.talks = n <= 3;
                let port = Port { leg: LegId(n), kind: Kind::Audio, flow: Flow::Rtp };
                let packets = (0..8).map(|_| sender.speak()).collect();
                all.people.push(Person { room: number, port, address: sender.address, packets });
            }
            all.rooms.push(room);
        }
        for _ in 0..100 {
            all.tick();
        }
        all
    }

    /// Everybody's next packet, and then 20 ms.
    fn tick(&mut self) {
        self.tick += 1;
        for person in &mut self.people {
            let packet = &mut person.packets[self.tick as usize % 8];
            packet[2..4].copy_from_slice(&(self.tick as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(self.tick.wrapping_mul(self.step)).to_be_bytes());
            self.rooms[person.room].receive(self.now, person.port, person.address, packet, &mut Nowhere);
        }
        self.now = self.now + Duration::from_millis(20);
        for room in &mut self.rooms {
            room.tick(self.now, &mut Nowhere);
        }
    }
}

fn measure(bencher: Bencher<'_, '_>, rooms: usize, size: u64, codec: Codec) {
    let mut rooms_of = Rooms::new(rooms, size, codec);
    bencher.counter(ItemsCount::new(rooms as u64 * size)).bench_local(|| rooms_of.tick());
}

#[divan::bench]
fn pcmu_1x200(bencher: Bencher<'_, '_>) {
    measure(bencher, 1, 200, Codec::Pcmu);
}

#[divan::bench]
fn pcmu_1x1000(bencher: Bencher<'_, '_>) {
    measure(bencher, 1, 1000, Codec::Pcmu);
}

#[divan::bench]
fn pcmu_50x4(bencher: Bencher<'_, '_>) {
    measure(bencher, 50, 4, Codec::Pcmu);
}

#[divan::bench]
fn pcmu_400x4(bencher: Bencher<'_, '_>) {
    measure(bencher, 400, 4, Codec::Pcmu);
}

#[divan::bench]
fn g722_1x100(bencher: Bencher<'_, '_>) {
    measure(bencher, 1, 100, Codec::G722);
}

#[divan::bench]
fn opus_1x50(bencher: Bencher<'_, '_>) {
    measure(bencher, 1, 50, Codec::Opus);
}
