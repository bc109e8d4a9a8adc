//! The one place that reads a clock or the operating system's generator.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use confab_machine::{Entropy, Time};
use tokio::time::Instant;

/// Wall time at start plus monotonic time elapsed since, so that it never jumps. Under tokio's
/// paused clock it is virtual.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_at: Time,
    started: Instant,
}

impl Clock {
    /// A clock that starts now, at the wall clock's time.
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::start_at(Time::EPOCH + wall)
    }

    /// A clock that starts now and calls this moment `time`.
    pub fn start_at(time: Time) -> Clock {
        Clock { started_at: time, started: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.started_at + self.started.elapsed()
    }

    /// The time, to compare with what the operating system stamps.
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
    pub fn moment(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { now: self.now(), wall }
    }

    /// Waits until `time`; for ever if there is none.
    pub async fn sleep_until(&self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.started + time.since(self.started_at)).await,
            None => std::future::pending().await,
        }
    }
}

/// What is older, by its stamp, was not stamped by the wall clock as it is now.
const OLDEST: Duration = Duration::from_secs(1);

/// A moment by our clock and by the wall clock, which may be set and so drift away from ours.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Time,
    /// Since the Unix epoch.
    wall: Duration,
}

impl Moment {
    /// This moment as it will be seen so much later.
    #[cfg(test)]
    pub fn later(&self, by: Duration) -> Moment {
        Moment { now: self.now + by, wall: self.wall + by }
    }

    /// When happened what the operating system stamped with `stamp`, since the Unix epoch, not long
    /// before this moment. This moment, if the stamp cannot be right.
    pub fn of(&self, stamp: Duration) -> Time {
        match self.wall.checked_sub(stamp) {
            Some(age) if age <= OLDEST => self.now - age,
            _ => self.now,
        }
    }
}

thread_local! {
    static REPEATED: RefCell<Option<Entropy>> = const { RefCell::new(None) };
}

/// From now on every generator that this thread asks for follows from `seed`. Together with tokio's
/// paused clock on a runtime of one thread, a run can be repeated; nothing it draws is a secret.
pub fn repeat(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    REPEATED.set(Some(Entropy::from_seed(bytes)));
}

/// A generator seeded by the operating system.
pub fn entropy() -> Entropy {
    if let Some(repeated) = REPEATED.with_borrow_mut(|repeated| repeated.as_mut().map(Entropy::fork)) {
        return repeated;
    }
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the operating system's generator works");
    Entropy::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_the_wall_clock_become_our_time() {
        let seconds = Duration::from_secs;
        let moment = Moment { now: Time::from_unix_secs(500), wall: seconds(2_000) };
        assert_eq!(
            moment.of(seconds(2_000) - Duration::from_millis(30)),
            moment.now - Duration::from_millis(30)
        );
        for odd in [seconds(2_001), seconds(1_990), Duration::ZERO] {
            assert_eq!(moment.of(odd), moment.now, "{odd:?}");
        }
    }
}
