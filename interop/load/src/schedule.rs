//! Who talks when. Time is cut into turns: the first talker of a turn is alone for a quarter of it, then all its talkers talk
//! until three quarters, then all are silent. The talkers of the next turn are the next people.

use crate::options::Options;

/// When in a turn the first talker begins to have company, and when he falls silent.
const TOGETHER: f64 = 0.25;
const SILENCE: f64 = 0.75;

/// The turns of a run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the first turn began, in nanoseconds.
    pub begin: u64,
    turn: u64,
    talkers: usize,
    senders: usize,
    rotates: bool,
}

impl Schedule {
    /// Turns from this moment on.
    pub fn new(options: &Options, begin: u64) -> Schedule {
        Schedule {
            begin,
            turn: options.turn_ms.max(1) * crate::clock::MILLISECOND,
            talkers: options.talkers.clamp(1, options.senders()),
            senders: options.senders(),
            rotates: !options.no_rotation,
        }
    }

    /// The turn at this time, and how much of it is over.
    pub fn at(&self, time: u64) -> (u64, f64) {
        let since = time.saturating_sub(self.begin);
        (since / self.turn, (since % self.turn) as f64 / self.turn as f64)
    }

    /// How long a turn is, in seconds.
    pub fn turn_seconds(&self) -> f64 {
        crate::clock::seconds(self.turn)
    }

    /// Who talks in this turn, the first talker first.
    pub fn talkers(&self, turn: u64) -> impl Iterator<Item = usize> + use<> {
        let (talkers, senders) = (self.talkers, self.senders);
        let turn = usize::try_from(turn).expect("a run has few turns");
        let first = if self.rotates { turn.wrapping_mul(talkers) } else { 0 };
        (0..talkers).map(move |number| (first + number) % senders)
    }

    /// Who talks first in this turn.
    pub fn first(&self, turn: u64) -> usize {
        self.talkers(turn).next().expect("there is a talker at least")
    }

    /// Whether this person talks now.
    pub fn talks(&self, person: usize, turn: u64, phase: f64) -> bool {
        match self.talkers(turn).position(|talker| talker == person) {
            Some(0) => phase < SILENCE,
            Some(_) => (TOGETHER..SILENCE).contains(&phase),
            None => false,
        }
    }
}
