//! The adaptive jitter buffer: when what has come is played (RFC 3550 §6.4.1 measures what it evens out).
//!
//! It begins with the one packet that has come and delays more only once a packet was seen to come too
//! late; what was never needed for a while is taken back. Time is counted in the stream's timestamps,
//! and goes on by one [`pull`](Jitter::pull) for every 20 ms. Nothing is allocated after it was made.
//!
//! - `jitter/source.rs`: which synchronization source is listened to.
//! - `jitter/line.rs`: what has come of codecs whose every byte is one tick of their clock.
//! - `jitter/packets.rs`: what has come of codecs whose packets are decoded whole.

pub mod line;
pub mod packets;
pub mod source;

use std::time::Duration;

use confab_machine::Time;

use self::{
    line::Line,
    packets::Packets,
    source::{Heard, Source},
};
use crate::rtp::Header;

/// Timestamp units of 20 ms of a codec each byte of which is one.
const BYTES_STEP: u32 = 160;

/// The most delay that is learnt, in pulls: 240 ms.
const MAX_DEPTH: u32 = 12;

/// How much may be stored ahead, in pulls: 320 ms.
const MAX_AHEAD: u32 = 16;

/// A timestamp further away than this (in pulls: 1 s) belongs to another time.
const MAX_JUMP: u32 = 50;

/// After so many pulls (200 ms) with nothing to play the spurt is over.
const STARVED: u32 = 10;

/// So long (in pulls: 3 s) nothing was needed of what is taken back.
const WINDOW: u32 = 150;

/// A third of a window, after which three pulls too many are reason enough; and the window of whoever is not
/// heard, of whom nothing is missed that is left out.
const SHORT_WINDOW: u32 = 50;

/// So long (in pulls: 200 ms) after pulls were shifted what is too much is given back.
const SETTLING: u32 = 10;

/// For so long (in pulls: 10 s) what was learnt is kept at least.
const KEPT: u32 = 500;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is stored.
    New,
    /// It came too late to be played.
    Late,
    /// It had come already.
    Duplicate,
    /// It is of another source or time than what is played, and not yet believed.
    Ignored,
}

/// What is to be played for 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Nothing is sent.
    Nothing,
    /// Something is missing: what was heard last must do.
    Missing,
    /// What begins at timestamp `at`.
    Ready {
        /// The timestamp.
        at: u32,
        /// There is too much: these 20 ms are left out, and the next ones are taken as well.
        skip: bool,
    },
}

/// When the packets of one stream are played.
pub struct Jitter {
    line: Line,
    /// Made if there may be a codec that needs it, and used while there is.
    packets: Option<Packets>,
    whole: bool,
    source: Source,
    /// Timestamp units of 20 ms.
    step: u32,
    playing: bool,
    /// What is pulled next.
    next: u32,
    /// Behind the latest that is stored.
    end: u32,
    /// Behind the latest that was played.
    played: u32,
    /// How much later than it might everything is played, as learnt from late packets.
    depth: u32,
    /// How much of that has still to be waited.
    owed: u32,
    starved: u32,
    /// Pulls come at another time than they did, and no packet has come since.
    shifted: bool,
    /// The least that was left after a pull in this window, and the pulls left of it.
    least: u32,
    window: u32,
    /// A timestamp of another time, and where its sequence goes on.
    jump: Option<(u16, u32)>,
}

impl Jitter {
    /// A buffer for a stream of bytes whose clock has 8 kHz.
    pub fn new() -> Jitter {
        Jitter {
            line: Line::new(),
            packets: None,
            whole: false,
            source: Source::default(),
            step: BYTES_STEP,
            playing: false,
            next: 0,
            end: 0,
            played: 0,
            depth: 0,
            owed: 0,
            starved: 0,
            shifted: false,
            least: u32::MAX,
            window: WINDOW,
            jump: None,
        }
    }

    /// Makes room for codecs whose packets are decoded whole.
    pub fn prepare_whole(&mut self) {
        self.packets.get_or_insert_default();
    }

    /// From now on packets are decoded whole, on a clock of `step` units in 20 ms, or byte by byte. What
    /// is stored is forgotten.
    pub fn tune(&mut self, whole: Option<u32>) {
        self.stop();
        let step = whole.unwrap_or(BYTES_STEP);
        self.depth = self.depth / self.step * step;
        (self.whole, self.step) = (whole.is_some(), step);
    }

    /// Takes a packet's payload of `units` on the stream's clock.
    pub fn insert(&mut self, now: Time, header: &Header, payload: &[u8], units: u32) -> Taken {
        match self.source.hear(now, header.ssrc, header.sequence) {
            Heard::Same => {}
            Heard::Changed => self.stop(),
            Heard::Ignored => return Taken::Ignored,
        }
        let at = header.timestamp;
        if units == 0 || units > self.step * 6 {
            return Taken::Ignored;
        }
        if !self.playing {
            self.start(at);
        }
        let ahead = at.wrapping_sub(self.next).cast_signed();
        if ahead.unsigned_abs() > MAX_JUMP * self.step {
            return self.leap(header, payload, units);
        }
        self.jump = None;
        if self.holds(at, units) {
            return Taken::Duplicate;
        }
        let shifted = std::mem::take(&mut self.shifted);
        if ahead < 0 && !self.wait_for(at, ahead.unsigned_abs(), shifted) {
            return Taken::Late;
        }
        let end = at.wrapping_add(units);
        let room = MAX_AHEAD * self.step;
        if end.wrapping_sub(self.next).cast_signed() > room.cast_signed() {
            // More than can be kept came at once: the oldest of it is given up.
            self.go_to(end.wrapping_sub(room / 2));
        }
        self.store(at, payload, units);
        Taken::New
    }

    /// What the next 20 ms are. Where something is ready it is read by [`Jitter::line`] before the next
    /// packet is inserted. `heard`: so is the stream now.
    pub fn pull(&mut self, heard: bool) -> Pull {
        if !heard {
            self.window = self.window.min(SHORT_WINDOW);
        }
        if !self.playing {
            return Pull::Nothing;
        }
        if self.owed > 0 {
            self.owed = self.owed.saturating_sub(self.step);
            return Pull::Missing;
        }
        let at = self.next;
        let stored = self.end.wrapping_sub(at).cast_signed();
        if stored <= 0 {
            self.starved += 1;
            if self.starved > STARVED {
                self.stop();
                return Pull::Nothing;
            }
            self.go_to(at.wrapping_add(self.step));
            return Pull::Missing;
        }
        self.starved = 0;
        self.go_to(at.wrapping_add(self.step));
        let skip = self.is_too_much(stored.unsigned_abs().saturating_sub(self.step));
        if skip {
            self.go_to(self.next.wrapping_add(self.step));
            self.depth = self.depth.saturating_sub(self.step);
        }
        self.played = self.next;
        Pull::Ready { at, skip }
    }

    /// What has come byte by byte.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// What has come in packets that are decoded whole.
    pub fn packets(&self) -> Option<&Packets> {
        self.packets.as_ref()
    }

    /// The synchronization source that is played, once there is one.
    pub fn source(&self) -> Option<u32> {
        self.source.current()
    }

    /// Forgets what is stored; what was learnt about delay is kept. The next packet begins anew.
    pub fn stop(&mut self) {
        self.playing = false;
        self.jump = None;
        self.owed = 0;
    }

    /// From the next one on pulls come at another time of each 20 ms. Who seems to be late by no more than
    /// that is not, so nothing is learnt from it, and what is too much then is given back soon.
    pub fn shift(&mut self) {
        self.shifted = self.playing;
        if self.depth == 0 {
            self.open_window(SETTLING);
        }
    }

    /// What is played is later by this than it would be if nothing ever came late.
    pub fn depth(&self) -> Duration {
        Duration::from_millis(20) * (self.depth / self.step)
    }

    fn most(&self) -> u32 {
        MAX_DEPTH * self.step
    }

    fn start(&mut self, at: u32) {
        self.playing = true;
        self.next = at.wrapping_sub(self.depth);
        (self.end, self.played) = (self.next, self.next);
        self.starved = 0;
        self.open_window(WINDOW);
        match &mut self.packets {
            Some(packets) if self.whole => packets.clear(),
            _ => self.line.clear(self.next, MAX_AHEAD * self.step),
        }
    }

    fn holds(&self, at: u32, units: u32) -> bool {
        match &self.packets {
            Some(packets) if self.whole => packets.holds(at),
            _ => self.line.holds(at, units),
        }
    }

    fn store(&mut self, at: u32, payload: &[u8], units: u32) {
        match &mut self.packets {
            Some(packets) if self.whole => packets.store(at, units, payload),
            _ => self.line.store(at, payload),
        }
        let end = at.wrapping_add(units);
        if end.wrapping_sub(self.end).cast_signed() > 0 {
            self.end = end;
        }
    }

    fn go_to(&mut self, next: u32) {
        self.next = next;
        if !self.whole {
            self.line.make_room(next.wrapping_add(MAX_AHEAD * self.step));
        }
    }

    /// A packet came later than it was due: from now on all is played so much later, if that is not too
    /// much. Gives whether this one can be played still. `shifted`: it may be that the pull was early.
    fn wait_for(&mut self, at: u32, late: u32, shifted: bool) -> bool {
        // Whole pulls: a part of one would be waited for in vain.
        let late = late.next_multiple_of(self.step);
        if self.depth + late > self.most() {
            return false;
        }
        let is_next = at.wrapping_sub(self.played).cast_signed() >= 0;
        let is_reached = is_next && (self.whole || self.line.reaches(at));
        if shifted && late <= self.step && is_reached {
            self.next = at;
            return true;
        }
        self.open_window(KEPT);
        if is_reached {
            // Nothing after it was played, so it is as if the pulls in between had not been.
            self.next = at;
            self.depth += late;
            return true;
        }
        // Others overtook it; they are held back from the next pull on.
        let more = late.saturating_sub(self.owed);
        self.owed += more;
        self.depth += more;
        false
    }

    /// A packet of another time: believed once a second one follows it.
    fn leap(&mut self, header: &Header, payload: &[u8], units: u32) -> Taken {
        let here = (header.sequence, header.timestamp);
        if self.jump != Some(here) {
            self.jump = Some((header.sequence.wrapping_add(1), header.timestamp.wrapping_add(units)));
            return Taken::Ignored;
        }
        self.stop();
        self.start(header.timestamp);
        self.store(header.timestamp, payload, units);
        Taken::New
    }

    fn open_window(&mut self, pulls: u32) {
        self.least = u32::MAX;
        self.window = pulls;
    }

    /// Whether 20 ms of what is stored have not been needed for long, when `left` is left after a pull.
    fn is_too_much(&mut self, left: u32) -> bool {
        self.least = self.least.min(left);
        self.window -= 1;
        let enough = if self.window == 0 {
            self.step
        } else if self.window < WINDOW && self.window.is_multiple_of(SHORT_WINDOW) {
            3 * self.step
        } else {
            return false;
        };
        let skip = self.least >= enough && self.least < u32::MAX;
        if skip || self.window == 0 {
            self.open_window(WINDOW);
        }
        skip
    }
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter::new()
    }
}
