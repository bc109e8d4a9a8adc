//! The one place that reads a clock or the operating system's generator.

use std::time::{SystemTime, UNIX_EPOCH};

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

    /// Waits until `time`; for ever if there is none.
    pub async fn sleep_until(&self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.started + time.since(self.started_at)).await,
            None => std::future::pending().await,
        }
    }
}

/// A generator seeded by the operating system.
pub fn entropy() -> Entropy {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the operating system's generator works");
    Entropy::from_seed(seed)
}
