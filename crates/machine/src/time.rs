//! Time as the machines know it: one type for timers, dates and the trace.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A moment, in microseconds since the Unix epoch.
///
/// The shell makes it from the wall clock at start plus the monotonic time elapsed since, so it
/// never jumps. Unlike [`std::time::Instant`] it can be written to a trace and compared with an
/// expiry date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The Unix epoch.
    pub const EPOCH: Time = Time(0);

    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// The moment `secs` seconds after the Unix epoch.
    pub const fn from_unix_secs(secs: u64) -> Time {
        Time(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_unix_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_measures_without_overflow() {
        let start = Time::from_unix_secs(10);
        assert_eq!(start + Duration::from_millis(1), Time::from_micros(10_001_000));
        assert_eq!((start + Duration::from_secs(5)).since(start), Duration::from_secs(5));
        assert_eq!(start.since(start + Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(start + Duration::MAX, Time::from_micros(u64::MAX));
        assert_eq!(start - Duration::MAX, Time::EPOCH);
    }
}
