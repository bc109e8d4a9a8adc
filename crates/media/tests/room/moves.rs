//! A room whose ticks come at another time of each 20 ms from some moment on: nobody hears of it, but sooner.

use std::time::Duration;

use confab_machine::Time;
use confab_media::{LegId, rtp::Packet, session::Codec};

use crate::bed::{Bed, gain};

const PERIOD: u64 = 20;

/// One who speaks at one time of each period, and one who hears him.
struct Call {
    bed: Bed,
    start: Time,
    speaker: LegId,
    listener: LegId,
    period: u64,
    /// When in a period, in milliseconds, the speaker's packets come.
    phase: u64,
    /// When a tick of the room comes.
    tick: u64,
}

impl Call {
    fn new(codec: Codec, phase: u64, tick: u64) -> Call {
        let mut bed = Bed::default();
        let (speaker, listener) = (bed.join(1, 1, codec), bed.join(2, 2, Codec::Pcmu));
        bed.phone(listener).talks = false;
        let start = bed.now;
        Call { bed, start, speaker, listener, period: 0, phase, tick }
    }

    fn at(&self, ms: u64) -> Time {
        self.start + Duration::from_millis(self.period * PERIOD + ms)
    }

    fn run(&mut self, periods: u64) {
        for _ in 0..periods {
            let speaks = |call: &mut Call| {
                call.bed.now = call.at(call.phase);
                let packet = call.bed.phone(call.speaker).speak();
                call.bed.deliver(call.speaker, packet);
            };
            if self.phase < self.tick {
                speaks(self);
            }
            self.bed.now = self.at(self.tick) - Duration::from_millis(PERIOD);
            self.bed.tick();
            if self.phase >= self.tick {
                speaks(self);
            }
            self.period += 1;
        }
    }

    /// The room's ticks come at another time.
    fn shift(&mut self, tick: u64) {
        self.bed.room.shift();
        self.tick = tick;
    }

    /// How long, in milliseconds, the first word takes to be heard.
    fn delay(&mut self) -> u64 {
        self.bed.phone(self.listener).heard.clear();
        let begun = self.period * PERIOD + self.phase;
        self.bed.phone(self.speaker).talks = true;
        for period in self.period.. {
            self.run(1);
            let heard = &self.bed.phones[&self.listener].heard;
            if heard.iter().any(|sample| sample.abs() > 2000) {
                return period * PERIOD + self.tick - begun;
            }
            assert!(heard.len() < 50 * 160, "he is not heard");
        }
        unreachable!("there is no last period")
    }

    fn heard(&self) -> &[i16] {
        &self.bed.phones[&self.listener].heard
    }
}

#[test]
fn after_a_move_a_word_waits_for_its_slot_and_no_longer() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        for (phase, from, to) in (1..20).step_by(3).flat_map(|phase| {
            (0..20).step_by(4).flat_map(move |from| (0..20).step_by(4).map(move |to| (phase, from, to)))
        }) {
            let mut call = Call::new(codec, phase, from);
            call.run(30);
            call.bed.phone(call.speaker).talks = false;
            call.run(20);
            assert!(call.bed.room.is_quiet(), "{codec:?} {phase} {from} {to}");
            call.shift(to);
            call.run(20);
            let wait = if phase < to { to - phase } else { to + PERIOD - phase };
            assert_eq!(call.delay(), wait, "{codec:?} at {phase} from {from} to {to}");
        }
    }
}

#[test]
fn a_move_sends_one_frame_a_period_and_cuts_nobody_off() {
    // Both before and after it his packets come before the tick: he is not even made up for a moment.
    for (from, to) in [(4, 18), (18, 4), (10, 12)] {
        let mut call = Call::new(Codec::Pcmu, 1, from);
        call.run(50);
        call.shift(to);
        call.run(50);
        let hz = call.bed.phones[&call.speaker].hz;
        for (at, frame) in call.heard().chunks_exact(160).enumerate().skip(10) {
            let strength = gain(frame, 8000.0, hz);
            assert!((0.85..1.15).contains(&strength), "{from} to {to}, frame {at}: {strength}");
        }
        let packets = &call.bed.phones[&call.listener].packets;
        assert_eq!(packets.len(), 100);
        for pair in packets.windows(2) {
            let [old, new] = [&pair[0], &pair[1]].map(|packet| Packet::parse(packet).unwrap().header);
            assert_eq!(new.sequence, old.sequence.wrapping_add(1));
            assert_eq!(new.timestamp, old.timestamp.wrapping_add(160));
        }
    }
}

#[test]
fn the_room_knows_when_those_who_speak_are_heard_from() {
    let mut call = Call::new(Codec::Pcmu, 5, 8);
    call.run(100);
    let parts = *call.bed.room.arrivals().parts();
    assert!(parts[2] > 240 && parts[2] == parts.iter().sum(), "the listener is silent: {parts:?}");
    assert!(!call.bed.room.is_quiet());
    call.bed.phone(call.speaker).talks = false;
    call.run(50);
    assert!(call.bed.room.is_quiet());
    let after = *call.bed.room.arrivals().parts();
    assert!(after[2] - parts[2] < 15, "who is silent does not count: {after:?}");
}

#[test]
fn what_was_late_while_nobody_heard_it_is_soon_forgotten() {
    let mut call = Call::new(Codec::Pcmu, 5, 8);
    call.bed.phone(call.speaker).talks = false;
    call.run(30);
    call.phase = 12;
    call.run(1);
    call.phase = 5;
    call.run(60);
    assert_eq!(call.delay(), 3);
}
