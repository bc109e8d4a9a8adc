//! A room of pictures, packet by packet.

use super::*;
use crate::{
    Event, Flow,
    rtp::Header,
    session::{Codec, Format, Kind, TransportSpec},
};

const START: Time = Time::from_unix_secs(1_800_000_000);
const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Wanted(Vec<(LegId, Flow, Vec<u8>)>);

impl Sink for Wanted {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        assert_eq!(to.ip(), place(port.leg.0, port.flow).ip());
        self.0.push((port.leg, port.flow, datagram.to_vec()));
    }

    fn connect(&mut self, _: Port, _: SocketAddr) {}

    fn tell(&mut self, _: Event) {}
}

fn place(leg: u64, flow: Flow) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg as u8], if flow == Flow::Rtp { 4000 } else { 4001 }))
}

/// Each leg is shown others under its own payload type and source.
fn spec(leg: u64, codec: Codec) -> StreamSpec {
    StreamSpec {
        send: Format { number: 100 + leg as u8, codec },
        receive: vec![Format { number: 96, codec }],
        receive_events: None,
        packet_time: TICK,
        we_send: true,
        we_receive: true,
        ssrc: 1_000 + leg as u32,
        protection: None,
        transport: TransportSpec::Plain { rtp: place(leg, Flow::Rtp), rtcp: place(leg, Flow::Rtcp) },
    }
}

/// What somebody sees.
#[derive(Debug, PartialEq)]
struct Seen {
    /// By the first byte behind what says whether the picture is whole.
    whose: u8,
    whole: bool,
    header: Header,
}

struct Hall {
    now: Time,
    switch: Switch,
    wanted: Wanted,
    entropy: Entropy,
    /// The next number of each leg's own stream.
    next: Vec<u16>,
    /// The numbers of the wishes that were counted.
    numbers: Vec<u8>,
}

const WHOLE: u8 = 0x65;
const PART: u8 = 0x41;

impl Hall {
    /// Legs 1 to `count`, each of the person with its number.
    fn new(count: u64) -> Hall {
        let mut hall = Hall {
            now: START,
            switch: Switch::new(),
            wanted: Wanted::default(),
            entropy: Entropy::from_seed([1; 32]),
            next: (0..=count).map(|leg| leg as u16 * 10_000).collect(),
            numbers: Vec::new(),
        };
        (1..=count).for_each(|leg| hall.join(leg, leg, Codec::H264));
        hall
    }

    fn join(&mut self, leg: u64, person: u64, codec: Codec) {
        let names = (LegId(leg), PersonId(person));
        self.switch.set(self.now, names, Gate::Open, Some(&spec(leg, codec)), &mut self.entropy);
    }

    /// A leg sends a packet of a picture.
    fn send(&mut self, leg: u64, unit: u8) {
        let sequence = self.next[leg as usize];
        self.next[leg as usize] = sequence.wrapping_add(1);
        self.send_numbered(leg, unit, sequence);
    }

    fn send_numbered(&mut self, leg: u64, unit: u8, sequence: u16) {
        self.send_payload(leg, sequence, &[unit, leg as u8]);
    }

    fn send_payload(&mut self, leg: u64, sequence: u16, payload: &[u8]) {
        let timestamp = u32::from(sequence).wrapping_mul(3_000);
        let header = Header { marker: true, payload_type: 96, sequence, timestamp, ssrc: leg as u32 };
        let mut packet = vec![0; 12];
        header.write(&[], &mut packet);
        packet.extend(payload);
        let port = Port { leg: LegId(leg), kind: Kind::Video, flow: Flow::Rtp };
        self.switch.receive(self.now, port, place(leg, Flow::Rtp), &mut packet, &mut self.wanted);
    }

    fn tick(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now = self.now + TICK;
            self.switch.tick(self.now, "room", &mut self.wanted);
        }
    }

    /// Somebody speaks from now on, and everybody goes on sending.
    fn speaks(&mut self, person: u64) {
        self.switch.speaks(PersonId(person));
    }

    /// What a leg was sent since this was asked.
    fn seen(&mut self, leg: u64) -> Vec<Seen> {
        let (own, rest) = std::mem::take(&mut self.wanted.0)
            .into_iter()
            .partition(|(to, flow, _)| (*to, *flow) == (LegId(leg), Flow::Rtp));
        self.wanted.0 = rest;
        own.iter()
            .map(|(_, _, datagram)| {
                let packet = Packet::parse(datagram).expect("a packet");
                let [unit, whose] = *packet.payload else { panic!("{packet:?}") };
                Seen { whose, whole: unit == WHOLE, header: packet.header }
            })
            .collect()
    }

    /// Whom a leg sees, packet by packet.
    fn faces(&mut self, leg: u64) -> Vec<u8> {
        self.seen(leg).iter().map(|seen| seen.whose).collect()
    }

    /// How often a leg was asked for a whole picture since this was asked.
    fn wishes(&mut self, leg: u64) -> usize {
        let (own, rest) = std::mem::take(&mut self.wanted.0)
            .into_iter()
            .partition(|(to, flow, _)| (*to, *flow) == (LegId(leg), Flow::Rtcp));
        self.wanted.0 = rest;
        let asks = |(_, _, datagram): &(LegId, Flow, Vec<u8>)| {
            let packets: Vec<Feedback<'_>> = rtcp::packets(datagram).collect();
            let is_loss = |packet: &Feedback<'_>| matches!(packet, Feedback::PictureLoss { media, .. } if u64::from(*media) == leg);
            let is_wish = |packet: &Feedback<'_>| matches!(packet, Feedback::FullIntra { media, .. } if u64::from(*media) == leg);
            assert_eq!(
                packets.iter().any(is_loss),
                packets.iter().any(is_wish),
                "some know one, some the other"
            );
            packets.iter().any(is_loss)
        };
        for (_, _, datagram) in &own {
            self.numbers.extend(rtcp::packets(datagram).filter_map(|packet| match packet {
                Feedback::FullIntra { sequence, .. } => Some(sequence),
                _ => None,
            }));
        }
        own.iter().filter(|sent| asks(sent)).count()
    }

    fn feedback(&mut self, leg: u64, write: impl FnOnce(&mut rtcp::Writer<'_>)) {
        let mut buffer = [0; 100];
        let mut writer = rtcp::Writer::new(&mut buffer);
        writer.receiver_report(leg as u32, &[]);
        write(&mut writer);
        let len = writer.finish().expect("it fits");
        let port = Port { leg: LegId(leg), kind: Kind::Video, flow: Flow::Rtcp };
        let from = place(leg, Flow::Rtcp);
        self.switch.receive(self.now, port, from, &mut buffer[..len], &mut self.wanted);
    }

    /// Two send, and one of them is shown to the others.
    fn with_speaker(count: u64, speaker: u64) -> Hall {
        let mut hall = Hall::new(count);
        hall.speaks(speaker);
        (1..=count).for_each(|leg| hall.send(leg, PART));
        hall.tick(1);
        (1..=count).for_each(|leg| hall.send(leg, WHOLE));
        hall.tick(150);
        hall.wanted.0.clear();
        // Everybody goes on, or would count as gone.
        (1..=count).for_each(|leg| hall.send(leg, PART));
        hall
    }
}

#[test]
fn everybody_sees_the_speaker_and_he_sees_who_spoke_before() {
    let mut hall = Hall::with_speaker(4, 1);
    assert_eq!([hall.faces(2), hall.faces(3), hall.faces(4)], [[1], [1], [1]]);
    hall.wanted.0.clear();
    hall.speaks(2);
    hall.tick(1);
    // Nothing of him is shown before a whole picture; until then the other one goes on.
    for leg in 1..=4 {
        hall.send(leg, PART);
    }
    assert_eq!([hall.faces(3), hall.faces(4)], [[1], [1]]);
    assert_eq!(hall.wishes(2), 1);
    for leg in 1..=4 {
        hall.send(leg, WHOLE);
    }
    for leg in 1..=4 {
        hall.send(leg, PART);
    }
    let faces: Vec<Vec<u8>> = (1..=4).map(|leg| hall.faces(leg)).collect();
    // The third and fourth saw the first until the second's whole picture came; these two see each other.
    assert_eq!(faces, [vec![2, 2, 2], vec![1, 1, 1], vec![1, 2, 2], vec![1, 2, 2]]);
}

#[test]
fn a_receiver_sees_one_stream_whoever_is_in_it() {
    let mut hall = Hall::with_speaker(3, 1);
    let mut all = hall.seen(3);
    for speaker in [2, 1, 2] {
        hall.speaks(speaker);
        for _ in 0..120 {
            hall.send(1, WHOLE);
            hall.send(2, WHOLE);
            hall.tick(1);
        }
        all.extend(hall.seen(3));
    }
    let changes = all.windows(2).filter(|pair| pair[0].whose != pair[1].whose).count();
    assert_eq!(changes, 3);
    for pair in all.windows(2) {
        let [old, new] = [&pair[0].header, &pair[1].header];
        assert_eq!(new.sequence, old.sequence.wrapping_add(1), "{pair:?}");
        assert!(new.timestamp.wrapping_sub(old.timestamp).cast_signed() > 0, "{pair:?}");
        assert_eq!((new.ssrc, new.payload_type), (1_003, 103));
    }
    // The clock went on while nobody was shown: three times 120 ticks of 20 ms, give or take.
    let [first, last] = [&all[0].header, &all[all.len() - 1].header];
    assert!(last.timestamp.wrapping_sub(first.timestamp) >= 3 * 120 * 1_800);
}

#[test]
fn what_was_lost_or_comes_late_stays_so() {
    let mut hall = Hall::with_speaker(2, 1);
    let before = hall.seen(2)[0].header.sequence;
    let next = hall.next[1];
    for sequence in [next, next + 3, next + 2] {
        hall.send_numbered(1, PART, sequence);
    }
    let numbers: Vec<u16> =
        hall.seen(2).iter().map(|seen| seen.header.sequence.wrapping_sub(before)).collect();
    assert_eq!(numbers, [1, 4, 3]);
    // What is older than the picture somebody began with is nothing to him.
    hall.join(3, 3, Codec::H264);
    hall.tick(1);
    hall.send_numbered(1, WHOLE, next + 10);
    hall.send_numbered(1, PART, next + 9);
    hall.send_numbered(1, PART, next + 11);
    assert_eq!(hall.seen(3).len(), 2);
    // Another source of his begins with a whole picture, too.
    hall.wanted.0.clear();
}

#[test]
fn muted_and_waiting_people_are_never_seen() {
    for gate in [Gate::Muted, Gate::Waiting] {
        let mut hall = Hall::with_speaker(3, 1);
        hall.wanted.0.clear();
        hall.switch.gate(LegId(1), gate);
        for _ in 0..200 {
            hall.send(1, WHOLE);
            hall.send(2, WHOLE);
            hall.send(3, WHOLE);
            hall.tick(1);
        }
        for leg in 1..=3 {
            let faces = hall.faces(leg);
            assert!(!faces.contains(&1), "{gate:?} {leg}");
            // Who waits sees nobody; who is muted sees the others.
            assert_eq!(faces.is_empty(), gate == Gate::Waiting && leg == 1, "{gate:?} {leg}");
        }
        hall.switch.gate(LegId(1), Gate::Open);
        for _ in 0..60 {
            hall.send(1, WHOLE);
            hall.tick(1);
        }
        assert!(hall.faces(2).contains(&1), "he is back");
    }
}

#[test]
fn who_is_held_or_gone_is_not_seen() {
    let mut hall = Hall::with_speaker(3, 1);
    hall.wanted.0.clear();
    let held = StreamSpec { we_receive: false, ..spec(1, Codec::H264) };
    hall.switch.set(hall.now, (LegId(1), PersonId(1)), Gate::Open, Some(&held), &mut hall.entropy);
    hall.send(1, WHOLE);
    assert!(hall.faces(2).is_empty());
    hall.switch.set(hall.now, (LegId(2), PersonId(2)), Gate::Open, None, &mut hall.entropy);
    hall.send(2, WHOLE);
    hall.send(3, WHOLE);
    hall.tick(1);
    hall.send(3, WHOLE);
    assert_eq!([hall.faces(1), hall.faces(2)], [vec![3], vec![]]);
}

#[test]
fn each_sees_only_what_he_can_show() {
    let mut hall = Hall::with_speaker(2, 1);
    hall.next.extend([0, 0]);
    hall.join(3, 3, Codec::Vp8);
    hall.join(4, 4, Codec::Vp8);
    hall.wanted.0.clear();
    for _ in 0..3 {
        hall.send(1, WHOLE);
        // A whole picture of VP8 is 0x10 and an even byte.
        hall.send(4, 0x10);
        hall.tick(1);
    }
    assert!(hall.faces(2).iter().all(|face| *face == 1));
    let faces = hall.faces(3);
    assert!(!faces.is_empty() && faces.iter().all(|face| *face == 4), "{faces:?}");
}

#[test]
fn wishes_are_merged_and_paced() {
    let mut hall = Hall::with_speaker(5, 1);
    hall.wishes(1);
    for _ in 0..50 {
        for leg in 2..=5 {
            hall.feedback(leg, |writer| writer.picture_loss(leg as u32, 1_000 + leg as u32));
            hall.feedback(leg, |writer| writer.full_intra(leg as u32, 1_000 + leg as u32, 1));
        }
        hall.tick(1);
    }
    assert_eq!(hall.wishes(1), 2, "four who lack a picture for a second");
    // One that comes ends them; a wish for another source is none.
    hall.feedback(2, |writer| writer.picture_loss(2, 1_002));
    hall.send(1, WHOLE);
    hall.feedback(3, |writer| writer.picture_loss(3, 99));
    hall.tick(100);
    assert_eq!(hall.wishes(1), 0);
    // Who waits for a first picture asks again until it comes.
    hall.send(2, PART);
    hall.speaks(2);
    hall.numbers.clear();
    let mut wishes = 0;
    for _ in 0..150 {
        hall.send(1, PART);
        hall.send(2, PART);
        hall.tick(1);
        wishes += hall.wishes(2);
    }
    assert!((3..=4).contains(&wishes), "{wishes}");
    let number = hall.numbers[0];
    assert!(hall.numbers.iter().all(|other| *other == number), "one wish, repeated");
    hall.send(2, WHOLE);
    hall.tick(50);
    assert_eq!(hall.wishes(2), 0);
    hall.feedback(3, |writer| writer.picture_loss(3, 1_003));
    hall.send(2, PART);
    hall.tick(1);
    assert_eq!((hall.wishes(2), hall.numbers.last()), (1, Some(&(number + 1))));
}

#[test]
fn nobody_is_switched_for_a_word() {
    let mut hall = Hall::with_speaker(3, 1);
    hall.wanted.0.clear();
    let mut faces = Vec::new();
    for round in 0..100 {
        hall.speaks(if round % 10 < 5 { 1 } else { 2 });
        hall.send(1, WHOLE);
        hall.send(2, WHOLE);
        hall.tick(1);
        faces.extend(hall.faces(3));
    }
    let changes = faces.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 1, "in two seconds {changes}");
}

#[test]
fn nobody_sees_himself_on_another_device() {
    let mut hall = Hall::with_speaker(2, 1);
    hall.next.push(0);
    hall.join(3, 1, Codec::H264);
    hall.wanted.0.clear();
    for _ in 0..50 {
        hall.send(1, WHOLE);
        hall.send(2, WHOLE);
        hall.send(3, WHOLE);
        hall.tick(1);
    }
    assert!(hall.faces(1).iter().chain(&hall.faces(3)).all(|face| *face == 2));
    assert!(hall.faces(2).iter().all(|face| *face == 1 || *face == 3));
}

#[test]
fn odd_packets_are_nothing() {
    let mut hall = Hall::with_speaker(2, 1);
    hall.wanted.0.clear();
    let port = |leg, flow| Port { leg: LegId(leg), kind: Kind::Video, flow };
    let mut large = [vec![0x80, 96, 0x7f, 0], vec![0; 8_996]].concat();
    for len in [0, 1, 11, 12, 13, 2_000, 9_000] {
        let mut datagram = large[..len].to_vec();
        hall.switch.receive(
            hall.now,
            port(1, Flow::Rtp),
            place(1, Flow::Rtp),
            &mut datagram,
            &mut hall.wanted,
        );
    }
    large[1] = 77;
    hall.switch.receive(
        hall.now,
        port(1, Flow::Rtp),
        place(1, Flow::Rtp),
        &mut large[..100],
        &mut hall.wanted,
    );
    hall.switch.receive(
        hall.now,
        port(9, Flow::Rtp),
        place(9, Flow::Rtp),
        &mut large[..100],
        &mut hall.wanted,
    );
    assert!(hall.seen(2).iter().all(|seen| seen.header.payload_type == 102));
}

#[test]
fn pictures_of_vp8_are_numbered_on_for_each_receiver() {
    let mut hall = Hall::new(3);
    (1..=3).for_each(|leg| hall.join(leg, leg, Codec::Vp8));
    let (mut next, mut seen) = ([0, 100, 30_000_u16], Vec::new());
    for speaker in [1, 2, 1] {
        hall.speaks(speaker);
        for _ in 0..120 {
            for leg in [1, 2] {
                let number = &mut next[leg as usize];
                *number = (*number + 1) % 0x8000;
                let [high, low] = (*number | 0x8000).to_be_bytes();
                hall.send_payload(leg, *number, &[0x90, 0x80, high, low, 0x50, leg as u8]);
            }
            hall.tick(1);
        }
        for (to, flow, datagram) in std::mem::take(&mut hall.wanted.0) {
            if (to, flow) == (LegId(3), Flow::Rtp) {
                let payload = Packet::parse(&datagram).expect("a packet").payload;
                seen.push((u16::from_be_bytes([payload[2], payload[3]]), payload[5]));
            }
        }
    }
    assert!(seen.iter().all(|(number, _)| number & 0x8000 != 0), "as long as they were");
    assert!(seen.windows(2).all(|pair| pair[1].0 | 0x8000 == pair[0].0.wrapping_add(1) | 0x8000));
    assert_eq!(
        seen.windows(2).filter(|pair| pair[0].1 != pair[1].1).count(),
        2,
        "he saw one, the other, the one"
    );
}
