//! The timers that all transactions are made of (RFC 3261 §17.1.1.1 and table 4).

use std::time::Duration;

use confab_machine::Time;

/// The three base values; every other timer follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// An estimate of the round-trip time.
    pub t1: Duration,
    /// The longest pause between two sendings of a non-INVITE request or of an INVITE response.
    pub t2: Duration,
    /// How long a message may stay in the network.
    pub t4: Duration,
}

impl Default for Timers {
    /// The RFC's: 500 ms, 4 s, 5 s.
    fn default() -> Timers {
        Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// 64·T1: timers B, D, F, H, J, L and M. After it the other side is given up, or is known to
    /// have given us up.
    pub(super) fn give_up(&self) -> Duration {
        self.t1 * 64
    }
}

/// A repetition on an unreliable transport, each pause twice the one before: timers A, E and G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resend {
    pub(super) at: Time,
    pause: Duration,
    longest: Duration,
}

impl Resend {
    /// Begins with a pause of T1; no pause is longer than `longest`.
    pub(super) fn start(now: Time, timers: &Timers, longest: Duration) -> Resend {
        Resend { at: now + timers.t1, pause: timers.t1, longest }
    }

    /// Goes on with the longest pause, as a provisional response makes timer E do.
    pub(super) fn slow_down(&mut self) {
        self.pause = self.longest;
    }

    /// It was sent again; sets the next time.
    pub(super) fn advance(&mut self, now: Time) {
        self.pause = self.pause.saturating_mul(2).min(self.longest);
        self.at = now + self.pause;
    }
}

/// The earlier of a repetition and the end of a wait.
pub(super) fn earlier(resend: Option<Resend>, until: Time) -> Time {
    resend.map_or(until, |resend| resend.at.min(until))
}
