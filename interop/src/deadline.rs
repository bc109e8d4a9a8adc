//! The latest moment by which something has to have happened.

use std::time::{Duration, Instant};

/// How often [`poll`] looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The latest moment by which something has to have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// What a step between processes on one machine is given: generous, because two cores are shared with other tests, and
    /// nobody waits for it when all is well.
    pub fn step() -> Deadline {
        Deadline::after(20)
    }

    /// So many seconds from now.
    pub fn after(seconds: u64) -> Deadline {
        Deadline(now() + Duration::from_secs(seconds))
    }

    /// What is left of it, if anything.
    pub fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(now()).filter(|left| !left.is_zero())
    }
}

/// Asks again and again for what a foreign program does not announce by itself; `None` when the deadline passes first.
pub fn poll<T>(deadline: Deadline, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(found) = ask() {
            return Some(found);
        }
        std::thread::park_timeout(POLL_INTERVAL.min(deadline.left()?));
    }
}

#[expect(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
fn now() -> Instant {
    Instant::now()
}
