//! The clock. The kernel stamps datagrams by the real-time clock, so everything here goes by it.

use nix::time::{ClockId, clock_gettime};

/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// A millisecond in nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;

/// Now, in nanoseconds since 1970.
pub fn now() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// The processor time that this thread has had, in seconds.
pub fn thread_seconds() -> f64 {
    seconds(read(ClockId::CLOCK_THREAD_CPUTIME_ID))
}

/// The processor time that this process has had, in seconds.
pub fn process_seconds() -> f64 {
    seconds(read(ClockId::CLOCK_PROCESS_CPUTIME_ID))
}

/// Nanoseconds as seconds.
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Nanoseconds as milliseconds.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Seconds as nanoseconds; what is negative is none.
pub fn nanoseconds(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is no century")]
    let nanoseconds = (seconds.max(0.0) * 1e9) as u64;
    nanoseconds
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the kernel has these clocks");
    let part = |part: i64| u64::try_from(part).expect("it is after 1970");
    part(time.tv_sec()) * SECOND + part(time.tv_nsec())
}
