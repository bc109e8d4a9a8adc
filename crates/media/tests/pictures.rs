//! Pictures in a room: who speaks is seen, in packets as phones send and get them, protected for one of them.

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Command, Event, Flow, LegId, LegSpec, Port, Room, Sink,
    rtp::{Header, Packet},
    session::{Codec, Format, Gate, Kind, MasterKey, PersonId, Protection, StreamSpec, Suite, TransportSpec},
    transport::{OVERHEAD, Received, Transport},
};

const START: Time = Time::from_unix_secs(1_800_000_000);
const TICK: Duration = Duration::from_millis(20);
/// The leg whose picture is protected.
const PROTECTED: u64 = 3;

#[derive(Default)]
struct Wanted {
    pictures: Vec<(u64, Vec<u8>)>,
    told: Vec<Event>,
}

impl Sink for Wanted {
    fn send(&mut self, port: Port, _: SocketAddr, datagram: &[u8]) {
        if (port.kind, port.flow) == (Kind::Video, Flow::Rtp) {
            self.pictures.push((port.leg.0, datagram.to_vec()));
        }
    }

    fn connect(&mut self, _: Port, _: SocketAddr) {}

    fn tell(&mut self, event: Event) {
        self.told.push(event);
    }
}

fn peer(leg: u64, kind: Kind) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg as u8], if kind == Kind::Audio { 4000 } else { 4002 }))
}

fn stream(leg: u64, kind: Kind, codec: Codec) -> StreamSpec {
    let key = |byte| MasterKey { key: [byte; 16], salt: vec![5; 14], identifier: Vec::new() };
    let format = Format { number: if kind == Kind::Audio { 0 } else { 96 }, codec };
    let is_protected = kind == Kind::Video && leg == PROTECTED;
    let protection = is_protected.then(|| Protection {
        suite: Suite::AesCm80,
        send: key(1),
        receive: key(2),
        optional: false,
    });
    let address = peer(leg, kind);
    StreamSpec {
        send: format,
        receive: vec![format],
        receive_events: None,
        packet_time: TICK,
        we_send: true,
        we_receive: true,
        ssrc: 1_000 + leg as u32,
        protection,
        transport: TransportSpec::Plain {
            rtp: address,
            rtcp: SocketAddr::new(address.ip(), address.port() + 1),
        },
    }
}

struct Meeting {
    now: Time,
    room: Room,
    wanted: Wanted,
    /// The protected leg's own end.
    end: Transport,
    sequence: u16,
    legs: u64,
}

impl Meeting {
    fn new(legs: u64) -> Meeting {
        let mut meeting = Meeting {
            now: START,
            room: Room::new(Entropy::from_seed([1; 32])),
            wanted: Wanted::default(),
            end: {
                let mut spec = stream(PROTECTED, Kind::Video, Codec::H264);
                let keys = spec.protection.as_mut().expect("it is protected");
                std::mem::swap(&mut keys.send, &mut keys.receive);
                let port = Port { leg: LegId(PROTECTED), kind: Kind::Video, flow: Flow::Rtp };
                Transport::new(START, port, &spec, Entropy::from_seed([2; 32]))
            },
            sequence: 0,
            legs,
        };
        for leg in 1..=legs {
            let spec = Box::new(LegSpec {
                person: PersonId(leg),
                audio: Some(stream(leg, Kind::Audio, Codec::Pcmu)),
                video: Some(stream(leg, Kind::Video, Codec::H264)),
            });
            meeting.command(Command::Set { leg: LegId(leg), spec, gate: Gate::Open });
        }
        meeting
    }

    fn command(&mut self, command: Command) {
        self.room.command(self.now, command, &mut self.wanted);
    }

    /// Everybody sends a whole picture with his own number in it every 20 ms, and one of them speaks.
    fn run(&mut self, ticks: u32, speaker: u64) {
        for _ in 0..ticks {
            self.now = self.now + TICK;
            self.sequence = self.sequence.wrapping_add(1);
            for leg in 1..=self.legs {
                // The loudest there is, or silence.
                let sound = if leg == speaker { [0x00, 0x80].repeat(80) } else { vec![0xff; 160] };
                self.send(leg, Kind::Audio, &sound);
                self.send(leg, Kind::Video, &[0x65, leg as u8]);
            }
            self.room.tick(self.now, &mut self.wanted);
        }
    }

    fn send(&mut self, leg: u64, kind: Kind, payload: &[u8]) {
        let number = if kind == Kind::Audio { 0 } else { 96 };
        let timestamp = u32::from(self.sequence) * if kind == Kind::Audio { 160 } else { 1_800 };
        let header = Header {
            marker: kind == Kind::Video,
            payload_type: number,
            sequence: self.sequence,
            timestamp,
            ssrc: leg as u32,
        };
        let mut packet = vec![0; 12 + payload.len() + OVERHEAD];
        header.write(&[], &mut packet);
        packet[12..12 + payload.len()].copy_from_slice(payload);
        let mut len = 12 + payload.len();
        if (leg, kind) == (PROTECTED, Kind::Video) {
            len = self.end.protect_rtp(&mut packet, len).expect("it can be protected");
        }
        let port = Port { leg: LegId(leg), kind, flow: Flow::Rtp };
        self.room.receive(self.now, port, peer(leg, kind), &mut packet[..len], &mut self.wanted);
    }

    /// Whom each leg has seen since this was asked, in order and without repetitions.
    fn seen(&mut self) -> Vec<Vec<u8>> {
        let mut seen = vec![Vec::new(); self.legs as usize + 1];
        for (leg, mut datagram) in std::mem::take(&mut self.wanted.pictures) {
            let bytes = if leg == PROTECTED {
                assert!(Packet::parse(&datagram).is_some_and(|packet| packet.payload.len() > 2));
                let from = peer(leg, Kind::Video);
                let received =
                    self.end.receive(self.now, Flow::Rtp, from, &mut datagram, &mut Wanted::default());
                let Received::Rtp(bytes) = received else { panic!("{received:?}") };
                bytes.to_vec()
            } else {
                datagram
            };
            let packet = Packet::parse(&bytes).expect("a packet");
            assert_eq!(packet.header.ssrc, 1_000 + leg as u32);
            seen[leg as usize].push(packet.payload[1]);
        }
        seen.iter_mut().for_each(Vec::dedup);
        seen
    }
}

#[test]
fn whoever_speaks_is_seen_by_all_and_sees_who_spoke_before() {
    let mut meeting = Meeting::new(4);
    meeting.run(150, 1);
    meeting.seen();
    meeting.run(50, 1);
    let seen = meeting.seen();
    assert_eq!([&seen[2][..], &seen[3], &seen[4]], [[1], [1], [1]]);
    // The one who is protected speaks: he sees the first, and all others him.
    meeting.run(200, PROTECTED);
    meeting.seen();
    meeting.run(50, PROTECTED);
    let seen = meeting.seen();
    assert_eq!(seen[1..], [vec![3], vec![3], vec![1], vec![3]]);
}

#[test]
fn not_one_packet_of_a_muted_or_waiting_person_is_passed_on() {
    for gate in [Gate::Muted, Gate::Waiting] {
        let mut meeting = Meeting::new(3);
        meeting.run(100, 1);
        meeting.command(Command::Gate { id: 7, legs: vec![LegId(1)], gate });
        let is_so = |event: &Event| *event == Event::Gated { id: 7 };
        while !meeting.wanted.told.iter().any(is_so) {
            meeting.run(1, 1);
        }
        meeting.seen();
        meeting.run(300, 1);
        let seen = meeting.seen();
        assert!(!seen.concat().contains(&1), "{gate:?}: {seen:?}");
        assert_eq!(seen[1].is_empty(), gate == Gate::Waiting, "who waits sees nobody");
        assert_eq!([&seen[2][..], &seen[3]], [[3], [2]]);
    }
}

#[test]
fn who_is_gone_is_neither_sent_nor_seen() {
    let mut meeting = Meeting::new(3);
    meeting.run(150, 1);
    meeting.command(Command::Close { leg: LegId(1) });
    meeting.seen();
    meeting.run(100, 2);
    let seen = meeting.seen();
    assert_eq!(seen[1..], [vec![], vec![3], vec![2]]);
}
