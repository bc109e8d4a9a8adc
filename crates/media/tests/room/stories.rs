//! Rooms to which everything happens in some order: whoever must not be heard is in no packet, which the
//! contributing sources tell, and each stream stays one.

use std::collections::{BTreeMap, BTreeSet};

use confab_media::{
    Command, Event, LegId, LegSpec,
    rtp::Packet,
    session::{Codec, Gate},
};

use crate::{bed::Bed, sender};

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
const GATES: [Gate; 3] = [Gate::Open, Gate::Muted, Gate::Waiting];

/// A leg as it was commanded to be.
struct Leg {
    spec: LegSpec,
    gate: Gate,
    seen: usize,
}

impl Leg {
    fn may_speak(&self) -> bool {
        self.gate == Gate::Open && self.spec.audio.as_ref().is_some_and(|audio| audio.we_receive)
    }
}

struct Story {
    bed: Bed,
    legs: BTreeMap<LegId, Leg>,
    asked: BTreeSet<u64>,
    next: u64,
    state: u64,
}

impl Story {
    fn new(seed: u64) -> Story {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Story { bed: Bed::default(), legs: BTreeMap::new(), asked: BTreeSet::new(), next: 1, state }
    }

    fn random(&mut self, below: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 20) as usize % below.max(1)
    }

    fn any_leg(&mut self) -> Option<LegId> {
        let at = self.random(self.legs.len());
        self.legs.keys().nth(at).copied()
    }

    fn step(&mut self) {
        match self.random(12) {
            0 | 1 if self.legs.len() < 12 => self.join(),
            2 => self.close(),
            3 | 4 => self.gate(),
            5 => self.renegotiate(),
            6 => {
                if let Some(leg) = self.any_leg() {
                    let phone = self.bed.phone(leg);
                    phone.ssrc ^= 0x10_0000;
                }
            }
            _ => {
                if let Some(leg) = self.any_leg() {
                    let talks = self.random(2) == 0;
                    self.bed.phone(leg).talks = talks;
                }
            }
        }
        for _ in 0..1 + self.random(20) {
            self.bed.run(1);
            self.check();
        }
    }

    fn join(&mut self) {
        let (n, person) = (self.next, 1 + self.random(6) as u64);
        self.next += 1;
        let (codec, gate) = (CODECS[self.random(4)], GATES[self.random(3)]);
        self.bed.join_with(n, person, codec, gate, |_| {});
        let spec = sender::spec(n, person, codec);
        self.legs.insert(LegId(n), Leg { spec, gate, seen: 0 });
    }

    fn close(&mut self) {
        let Some(leg) = self.any_leg() else { return };
        self.bed.command(Command::Close { leg });
        self.legs.remove(&leg);
        let seen = self.bed.phones[&leg].packets.len();
        self.bed.run(3);
        self.check();
        assert_eq!(self.bed.phones[&leg].packets.len(), seen, "nothing is sent to one that is closed");
        self.bed.phones.remove(&leg);
    }

    fn gate(&mut self) {
        let Some(leg) = self.any_leg() else { return };
        let gate = GATES[self.random(3)];
        self.legs.get_mut(&leg).unwrap().gate = gate;
        self.next += 1;
        self.asked.insert(self.next);
        self.bed.gate(self.next, leg, gate);
    }

    fn renegotiate(&mut self) {
        let Some(id) = self.any_leg() else { return };
        let (we_send, we_receive) = (self.random(4) > 0, self.random(4) > 0);
        let leg = self.legs.get_mut(&id).unwrap();
        let audio = leg.spec.audio.as_mut().unwrap();
        (audio.we_send, audio.we_receive) = (we_send, we_receive);
        let (spec, gate) = (Box::new(leg.spec.clone()), leg.gate);
        self.bed.command(Command::Set { leg: id, spec, gate });
    }

    /// Holds what was sent in this tick against what is allowed.
    fn check(&mut self) {
        for event in self.bed.events() {
            if let Event::Gated { id } = event {
                assert!(self.asked.remove(&id), "answered once");
            }
        }
        assert_eq!(self.asked.len(), 0, "answered within a tick");
        // A source is who sends it, whatever number it had before.
        let speaks = |source: u32| {
            let n = LegId(u64::from((source & !0x10_0000) - 100));
            self.legs.get(&n).filter(|leg| leg.may_speak())
        };
        let mut seen = Vec::new();
        for (id, leg) in &self.legs {
            let packets = &self.bed.phones[id].packets;
            for at in leg.seen..packets.len() {
                let packet = Packet::parse(&packets[at]).unwrap();
                for source in packet.sources() {
                    let talker = speaks(source);
                    assert!(talker.is_some(), "{id:?} hears {source}, who must not be heard");
                    assert_ne!(talker.map(|talker| talker.spec.person), Some(leg.spec.person), "himself");
                    assert_ne!(leg.gate, Gate::Waiting, "{id:?} waits and hears {source}");
                }
                if let Some(before) = at.checked_sub(1).and_then(|at| Packet::parse(&packets[at])) {
                    let (one, other) = (before.header, packet.header);
                    assert_eq!(other.sequence, one.sequence.wrapping_add(1));
                    assert_eq!((other.ssrc, other.payload_type), (one.ssrc, one.payload_type));
                }
            }
            assert!(packets.len() - leg.seen <= 3);
            seen.push((*id, packets.len()));
        }
        for (id, len) in seen {
            self.legs.get_mut(&id).unwrap().seen = len;
        }
    }
}

#[test]
fn nobody_is_heard_who_must_not_be_whatever_happens() {
    for seed in 1..=8 {
        let mut story = Story::new(seed);
        for _ in 0..100 {
            story.step();
        }
    }
}
