//! What was measured, in lines; and the two clocks it is measured by.

use std::{fs, time::Duration};

use confab_machine::Time;
use confab_server::clock::Clock;
use rustix::time::{ClockId, clock_gettime};

/// One line: what, and its figure.
pub fn line(what: &str, figure: &str) {
    println!("  {what:<64} {figure}");
}

/// The middle of what was measured, and what 99 of 100 stay below.
pub struct Spread {
    /// The median.
    pub median: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// The spread of at least one measurement.
pub fn spread(mut measured: Vec<Duration>) -> Spread {
    measured.sort_unstable();
    let at = |percent: usize| measured[(measured.len() * percent / 100).min(measured.len() - 1)];
    Spread { median: at(50), p99: at(99) }
}

/// `time` in microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// `time` in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many in a second.
pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Measures how long things take by the clock on the wall and by the work of this process.
pub struct Watch {
    clock: Clock,
    wall: Time,
    work: Duration,
}

impl Watch {
    /// A watch that starts now.
    pub fn start() -> Watch {
        let clock = Clock::start();
        Watch { wall: clock.now(), clock, work: work() }
    }

    /// How much time has passed.
    pub fn wall(&self) -> Duration {
        self.clock.now().since(self.wall)
    }

    /// For how long the process has had a processor, all threads together.
    pub fn work(&self) -> Duration {
        work().saturating_sub(self.work)
    }
}

/// For how long all threads of this process together have had a processor.
fn work() -> Duration {
    let worked = clock_gettime(ClockId::ProcessCPUTime);
    worked.try_into().expect("it has worked for no less than nothing")
}

/// The memory that process `id` really holds, in bytes.
pub fn resident(id: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells its memory");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("Linux tells it in kibibytes");
    kibibytes * 1024
}
