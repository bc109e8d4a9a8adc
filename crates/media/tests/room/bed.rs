//! Virtual endpoints around a room: each sends a tone and keeps what it hears.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    time::Duration,
};

use confab_machine::{Entropy, Time};
use confab_media::{
    Command, Event, Flow, LegId, Port, Room, Sink,
    codec::{Encoder, Rate, g711::Law, g722, opus},
    rtp::Packet,
    session::{Codec, Gate, Kind, StreamSpec},
};

use crate::sender::{Sender, payload_type, spec};

/// What a room sent and told.
#[derive(Default)]
pub struct Wire {
    pub sent: Vec<(Port, SocketAddr, Vec<u8>)>,
    pub events: Vec<Event>,
}

impl Sink for Wire {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        self.sent.push((port, to, datagram.to_vec()));
    }

    fn connect(&mut self, _port: Port, _from: SocketAddr) {}

    fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A telephone.
pub struct Phone {
    pub sender: Sender,
    g722: g722::Decoder,
    opus: opus::Decoder,
    /// What it heard, and the packets that brought it.
    pub heard: Vec<i16>,
    pub packets: Vec<Vec<u8>>,
    /// What it was told of them.
    pub reports: Vec<(Time, Vec<u8>)>,
}

/// What it sends is its own.
impl Deref for Phone {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl DerefMut for Phone {
    fn deref_mut(&mut self) -> &mut Sender {
        &mut self.sender
    }
}

/// A room with its telephones.
pub struct Bed {
    pub room: Room,
    pub now: Time,
    pub wire: Wire,
    pub phones: BTreeMap<LegId, Phone>,
}

pub fn law(codec: Codec) -> Law {
    if codec == Codec::Pcma { Law::A } else { Law::Mu }
}

/// How strong `hz` is in `sound`, 1 for a full tone of amplitude 8,000.
pub fn gain(sound: &[i16], rate: f32, hz: f32) -> f32 {
    let (mut re, mut im) = (0.0_f64, 0.0_f64);
    for (at, sample) in sound.iter().enumerate() {
        let angle = at as f64 * f64::from(hz) / f64::from(rate) * std::f64::consts::TAU;
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    (2.0 * (re * re + im * im).sqrt() / sound.len().max(1) as f64 / 8000.0) as f32
}

impl Phone {
    /// From now on it speaks another codec.
    pub fn switch(&mut self, codec: Codec) {
        self.codec = codec;
        self.number = payload_type(codec);
        self.encoder = Encoder::new(codec).unwrap();
    }

    fn hear(&mut self, packet: &[u8]) {
        let parsed = Packet::parse(packet).unwrap();
        let payload = parsed.payload;
        let mut sound = vec![0; 5760];
        let len = match parsed.header.payload_type {
            9 => {
                self.g722.decode(payload, &mut sound);
                2 * payload.len()
            }
            111 => self.opus.decode(payload, &mut sound),
            _ => {
                law(self.codec).decode(payload, &mut sound);
                payload.len()
            }
        };
        self.heard.extend(&sound[..len]);
        self.packets.push(packet.to_vec());
    }

    fn hz_heard(&self) -> f32 {
        self.frame() as f32 * 50.0
    }

    pub fn frame(&self) -> usize {
        self.codec.rate().map_or(160, Rate::frame)
    }

    /// How strong a tone is in what it heard last.
    pub fn hears(&self, hz: f32, frames: usize) -> f32 {
        let len = frames * self.frame();
        gain(&self.heard[self.heard.len().saturating_sub(len)..], self.hz_heard(), hz)
    }
}

impl Default for Bed {
    fn default() -> Bed {
        Bed {
            room: Room::new(Entropy::from_seed([3; 32])),
            now: Time::from_unix_secs(1_800_000_000),
            wire: Wire::default(),
            phones: BTreeMap::new(),
        }
    }
}

impl Bed {
    /// A telephone of `person` joins.
    pub fn join(&mut self, n: u64, person: u64, codec: Codec) -> LegId {
        self.join_with(n, person, codec, Gate::Open, |_| {})
    }

    pub fn join_with(
        &mut self,
        n: u64,
        person: u64,
        codec: Codec,
        gate: Gate,
        change: impl FnOnce(&mut StreamSpec),
    ) -> LegId {
        let leg = LegId(n);
        let mut spec = spec(n, person, codec);
        change(spec.audio.as_mut().unwrap());
        let phone = Phone {
            sender: Sender::new(n, codec),
            g722: g722::Decoder::new(),
            opus: opus::Decoder::new().unwrap(),
            heard: Vec::new(),
            packets: Vec::new(),
            reports: Vec::new(),
        };
        self.phones.insert(leg, phone);
        self.room.command(self.now, Command::Set { leg, spec: Box::new(spec), gate }, &mut self.wire);
        leg
    }

    pub fn command(&mut self, command: Command) {
        self.room.command(self.now, command, &mut self.wire);
    }

    pub fn gate(&mut self, id: u64, leg: LegId, gate: Gate) {
        self.command(Command::Gate { id, legs: vec![leg], gate });
    }

    pub fn phone(&mut self, leg: LegId) -> &mut Phone {
        self.phones.get_mut(&leg).unwrap()
    }

    /// Hands in a packet as from this telephone.
    pub fn deliver(&mut self, leg: LegId, mut packet: Vec<u8>) {
        let port = Port { leg, kind: Kind::Audio, flow: Flow::Rtp };
        let from = self.phones[&leg].address;
        self.room.receive(self.now, port, from, &mut packet, &mut self.wire);
    }

    /// Lets 20 ms go by without a word.
    pub fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(20);
        self.room.tick(self.now, &mut self.wire);
        for (port, _, packet) in std::mem::take(&mut self.wire.sent) {
            let Some(phone) = self.phones.get_mut(&port.leg) else { continue };
            match port.flow {
                Flow::Rtp => phone.hear(&packet),
                Flow::Rtcp => phone.reports.push((self.now, packet)),
            }
        }
    }

    /// Lets everybody speak for so many times 20 ms.
    pub fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for leg in self.phones.keys().copied().collect::<Vec<_>>() {
                let packet = self.phone(leg).speak();
                self.deliver(leg, packet);
            }
            self.tick();
        }
    }

    /// What was told since this was asked for the last time.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.wire.events)
    }

    /// The same without who speaks.
    pub fn answers(&mut self) -> Vec<Event> {
        let events = self.events().into_iter();
        events.filter(|event| !matches!(event, Event::Speaking { .. })).collect()
    }
}
