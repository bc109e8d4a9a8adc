//! One conference's media: its legs, who hears whom, and what is told of it.
//!
//! The shell hands in what comes on the sockets, and calls [`Room::tick`] every 20 ms; in between the
//! room only stores. Commands are obeyed at once, and answered when what is sent shows it.

use std::net::SocketAddr;

use confab_machine::{Entropy, Time};

use crate::{
    Command, Event, LegId, LegSpec, Port, Sink,
    arrivals::Arrivals,
    codec::Rate,
    events::Key,
    leg::{Came, LONGEST_PACKET, Leg},
    mixer::Mixer,
    session::{Gate, Kind, PersonId},
    speaking::{SPEECH, Speaking},
    transport::OVERHEAD,
    video::Switch,
};

/// More legs than this are not taken into one room.
pub const MAX_LEGS: usize = 4096;

/// Each leg is asked so often, in ticks, for what is not urgent: every second.
const ROUND: usize = 50;

/// Somebody who hears the whole mix without being in the room: a recording.
pub trait Recorder: Send {
    /// 20 ms of all who are heard, at the rate that was asked for.
    fn hear(&mut self, now: Time, sound: &[i16]);
}

/// A conference's media.
pub struct Room {
    entropy: Entropy,
    /// Its canonical name in reports, which tells nobody anything (RFC 7022).
    name: String,
    /// Each keeps its place as long as it lasts.
    legs: Vec<Option<Leg>>,
    /// Where a leg is, by its name.
    index: Vec<(LegId, usize)>,
    /// The legs of each person, in the order of their names, which is that in which they came to the conference.
    people: Vec<(PersonId, LegId, usize)>,
    mixer: Mixer,
    speaking: Speaking,
    video: Switch,
    /// Commands to be confirmed, and after how many ticks.
    gated: Vec<(u64, u32)>,
    recorder: Option<(Rate, Box<dyn Recorder>)>,
    ticks: usize,
    arrivals: Arrivals,
    scratch: Box<[u8; LONGEST_PACKET + OVERHEAD]>,
}

impl Room {
    /// A room without legs.
    pub fn new(mut entropy: Entropy) -> Room {
        Room {
            mixer: Mixer::new(&mut entropy),
            name: entropy.hex::<12>(),
            entropy,
            legs: Vec::new(),
            index: Vec::new(),
            people: Vec::new(),
            speaking: Speaking::new(),
            video: Switch::new(),
            gated: Vec::new(),
            recorder: None,
            ticks: 0,
            arrivals: Arrivals::default(),
            scratch: Box::new([0; LONGEST_PACKET + OVERHEAD]),
        }
    }

    /// Whether there are no legs: such a room needs no ticks.
    pub fn is_idle(&self) -> bool {
        self.index.is_empty() && self.gated.is_empty()
    }

    /// When the packets of those who speak have come of late, by the times that [`Room::receive`] was told.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Whether nobody speaks in this tick, so that a [`Room::shift`] is heard by nobody.
    pub fn is_quiet(&self) -> bool {
        let mut voices = self.legs.iter().flatten().filter_map(Leg::open_voice);
        voices.all(|voice| voice.loudness < SPEECH)
    }

    /// From the next one on ticks come at another time of each 20 ms, as late or as early as that makes it
    /// seem what comes from the legs.
    pub fn shift(&mut self) {
        for voice in self.legs.iter_mut().flatten().filter_map(|leg| leg.voice.as_mut()) {
            voice.jitter.shift();
        }
    }

    /// Obeys a command of the MCU.
    pub fn command(&mut self, now: Time, command: Command, sink: &mut dyn Sink) {
        match command {
            Command::Set { leg, spec, gate } => self.set(now, leg, &spec, gate),
            Command::Gate { id, legs, gate } => self.gate(id, &legs, gate, sink),
            Command::Close { leg } => self.close(now, leg, sink),
        }
    }

    /// Lets `recorder` hear the whole mix at `rate` from now on, or nobody.
    pub fn record(&mut self, rate: Rate, recorder: Option<Box<dyn Recorder>>) {
        self.recorder = recorder.map(|recorder| (rate, recorder));
        self.arrange();
    }

    /// Takes a datagram that came to `port`, at the time `now`. What is no leg's is nothing.
    pub fn receive(
        &mut self,
        now: Time,
        port: Port,
        from: SocketAddr,
        datagram: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        if port.kind == Kind::Video {
            return self.video.receive(now, port, from, datagram, sink);
        }
        let Some(leg) = self.find(port.leg).and_then(|slot| self.legs[slot].as_mut()) else { return };
        let Some(voice) = &mut leg.voice else { return };
        match voice.receive(now, port.flow, from, datagram, leg.gate, sink) {
            Came::Nothing => {}
            Came::Sound => {
                if voice.placed && voice.loudness >= SPEECH {
                    let leads = self.speaking.dominant() == Some(leg.id);
                    self.arrivals.note(now, leads);
                }
            }
            Came::Key(key) => sink.tell(digit(leg.id, key)),
            Came::First => {
                let person = leg.person;
                self.choose_leg(person);
            }
        }
    }

    /// 20 ms have gone by: plays, mixes and sends what belongs to them. A shell that was held up calls
    /// it once for each 20 ms it missed, or leaves those out altogether.
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink) {
        for leg in self.legs.iter_mut().flatten() {
            if let Some(voice) = &mut leg.voice {
                voice.listen();
            }
        }
        self.mixer.play(&mut self.legs, self.speaking.dominant());
        for leg in self.legs.iter_mut().flatten() {
            let frame = self.mixer.frame(leg);
            if let Some(voice) = &mut leg.voice {
                if let Some(frame) = frame {
                    voice.send(&frame, &mut self.scratch[..], sink);
                }
                if let Some(key) = voice.tick(now, &self.name, &mut self.scratch[..], sink) {
                    sink.tell(digit(leg.id, key));
                }
            }
        }
        if let Some((rate, recorder)) = &mut self.recorder {
            recorder.hear(now, self.mixer.everything(*rate));
        }
        self.mixer.settle(&mut self.legs);
        self.tell(now, sink);
        self.video.tick(now, &self.name, sink);
        self.ticks = self.ticks.wrapping_add(1);
    }

    fn tell(&mut self, now: Time, sink: &mut dyn Sink) {
        if let Some(legs) = self.speaking.hear(now, self.mixer.talkers()) {
            let loudest = legs.first().and_then(|leg| self.find(*leg));
            if let Some(leg) = loudest.and_then(|slot| self.legs[slot].as_ref()) {
                self.video.speaks(leg.person);
            }
            sink.tell(Event::Speaking { legs });
        }
        for leg in self.legs.iter_mut().skip(self.ticks % ROUND).step_by(ROUND).flatten() {
            if leg.voice.as_mut().is_some_and(|voice| voice.falls_silent(now)) {
                sink.tell(Event::Silent { leg: leg.id });
            }
        }
        self.gated.retain_mut(|(id, ticks)| {
            *ticks = ticks.saturating_sub(1);
            if *ticks == 0 {
                sink.tell(Event::Gated { id: *id });
            }
            *ticks > 0
        });
    }

    fn set(&mut self, now: Time, id: LegId, spec: &LegSpec, gate: Gate) {
        if let Some(slot) = self.find(id) {
            let leg = self.legs[slot].as_mut().expect("the index names legs that are there");
            leg.renegotiate(now, spec, &mut self.entropy);
            if leg.voice.is_none() {
                self.hush(id);
            }
            self.open(slot, gate);
        } else {
            if self.index.len() >= MAX_LEGS {
                return;
            }
            let leg = Leg::new(now, id, spec, gate, &mut self.entropy);
            let free = self.legs.iter().position(Option::is_none);
            let slot = free.unwrap_or(self.legs.len());
            if free.is_none() {
                self.legs.push(None);
            }
            self.legs[slot] = Some(leg);
            let at = self.index.partition_point(|(other, _)| *other < id);
            self.index.insert(at, (id, slot));
            let entry = (spec.person, id, slot);
            let at = self.people.partition_point(|other| *other < entry);
            self.people.insert(at, entry);
        }
        let names = (id, spec.person);
        self.video.set(now, names, gate, spec.video.as_ref(), &mut self.entropy);
        self.choose_leg(spec.person);
        self.arrange();
    }

    fn gate(&mut self, id: u64, legs: &[LegId], gate: Gate, sink: &mut dyn Sink) {
        for leg in legs {
            self.video.gate(*leg, gate);
            if let Some(slot) = self.find(*leg) {
                self.open(slot, gate);
            }
        }
        if self.index.is_empty() {
            sink.tell(Event::Gated { id });
            return;
        }
        // What was mixed before is in packets that are not full yet.
        let voices = self.legs.iter().flatten().filter_map(|leg| leg.voice.as_ref());
        let ticks = voices.map(|voice| voice.ticks_in_packet()).max();
        self.gated.push((id, ticks.unwrap_or(1)));
    }

    fn open(&mut self, slot: usize, gate: Gate) {
        let Some(leg) = &mut self.legs[slot] else { return };
        leg.set_gate(gate);
        let (id, person) = (leg.id, leg.person);
        if gate != Gate::Open {
            self.hush(id);
        }
        self.choose_leg(person);
    }

    /// Nothing that came of a leg before is heard any more.
    fn hush(&mut self, leg: LegId) {
        self.mixer.hush(leg);
        self.speaking.forget(leg);
        if let Some(slot) = self.find(leg)
            && let Some(voice) = self.legs[slot].as_mut().and_then(|leg| leg.voice.as_mut())
        {
            voice.placed = false;
        }
    }

    fn close(&mut self, now: Time, id: LegId, sink: &mut dyn Sink) {
        let Ok(at) = self.index.binary_search_by_key(&id, |(leg, _)| *leg) else { return };
        self.hush(id);
        self.video.leave(now, id, &self.name, sink);
        let (_, slot) = self.index.remove(at);
        let Some(mut leg) = self.legs[slot].take() else { return };
        if let Some(voice) = &mut leg.voice {
            voice.leave(now, &self.name, &mut self.scratch[..], sink);
        }
        self.people.retain(|(_, _, other)| *other != slot);
        let quality = leg.voice.as_ref().map(|voice| voice.quality()).unwrap_or_default();
        sink.tell(Event::Closed { leg: id, quality });
        self.choose_leg(leg.person);
        self.arrange();
        if self.index.is_empty() {
            for (id, _) in self.gated.drain(..) {
                sink.tell(Event::Gated { id });
            }
        }
    }

    fn arrange(&mut self) {
        let also = self.recorder.as_ref().map(|(rate, _)| *rate);
        self.mixer.arrange(&self.legs, also);
    }

    /// The newest leg of a person that is open and sends is the one that is heard; those that are older
    /// hear nothing until it is gone.
    fn choose_leg(&mut self, person: PersonId) {
        let begin = self.people.partition_point(|(other, ..)| *other < person);
        let end = self.people.partition_point(|(other, ..)| *other <= person);
        let mut found = false;
        for (_, _, slot) in self.people[begin..end].iter().rev() {
            let Some(leg) = &mut self.legs[*slot] else { continue };
            leg.behind = found;
            found |= leg.gate == Gate::Open && leg.voice.as_ref().is_some_and(|voice| voice.takes_over());
        }
    }

    fn find(&self, leg: LegId) -> Option<usize> {
        let at = self.index.binary_search_by_key(&leg, |(leg, _)| *leg).ok()?;
        Some(self.index[at].1)
    }
}

fn digit(leg: LegId, key: Key) -> Event {
    Event::Digit { leg, digit: key.digit, duration: key.duration }
}
