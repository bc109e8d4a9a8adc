//! What processes and the machine did, as /proc says.

use std::fs;

/// Clock ticks a second in /proc; Linux has had no other for user space on any machine of ours.
const TICKS: f64 = 100.0;
/// Bytes of a page, in KiB.
const PAGE_KIB: u64 = 4;

/// What processes have used until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes {
    /// Processor time in seconds, user and system.
    pub seconds: f64,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Threads.
    pub threads: u64,
}

impl Processes {
    /// The sum over these.
    pub fn now(ids: &[u32]) -> Processes {
        let mut sum = Processes::default();
        for id in ids {
            let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // The name of the program, in brackets, may hold anything.
            let fields: Vec<u64> = (text.rsplit(") ").next().unwrap_or_default())
                .split_ascii_whitespace()
                .map(|field| field.parse().unwrap_or(0))
                .collect();
            let field = |number: usize| fields.get(number).copied().unwrap_or(0);
            sum.seconds += (field(11) + field(12)) as f64 / TICKS;
            sum.threads += field(17);
            sum.memory_kib += field(21) * PAGE_KIB;
        }
        sum
    }
}

/// Processor time of the whole machine that was not idle, in seconds.
pub fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let fields: Vec<f64> = fields.map(|field| field.parse().unwrap_or(0.0)).collect();
    // user, nice, system, then idle and waiting for disks, then both kinds of interrupts
    [0, 1, 2, 5, 6].iter().filter_map(|number| fields.get(*number)).sum::<f64>() / TICKS
}

/// UDP datagrams that were lost because a socket's buffer was full.
pub fn buffer_errors() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let place = names.split_ascii_whitespace().position(|name| name == "RcvbufErrors");
    place.and_then(|place| values.split_ascii_whitespace().nth(place)?.parse().ok()).unwrap_or(0)
}

/// Allows this process all the open files it may have.
pub fn allow_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most); // then there are fewer, and a socket says so
    }
}
