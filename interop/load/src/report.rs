//! What is said of a run, and whether the server has passed.

use serde_json::{Value, json};

use crate::agents::{Agents, State};
use crate::clock;
use crate::machine::{self, Processes};
use crate::media::Measured;
use crate::options::Options;

/// A run whose packets were sent later than this says nothing of the server: milliseconds, of 99 in 100.
const LATE_MS: f64 = 5.0;
/// What the server has to reach: lost packets and frames without sound in percent at most, turns with the right sound, packets a
/// second for everybody, delay in milliseconds of 99 in 100.
const LOST_PERCENT: f64 = 0.5;
const GAPS_PERCENT: f64 = 1.0;
const RIGHT_SHARE: f64 = 0.98;
const PACKETS_A_SECOND: f64 = 49.0;
const DELAY_MS: f64 = 150.0;

/// How the joining went.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    /// People who were in, and who still were at the end.
    people: usize,
    still: usize,
    /// What only calls know.
    calls: Value,
}

impl Joined {
    /// By calls.
    pub fn by_calls(agents: &Agents, people: usize, still: usize, measured: &Measured) -> Joined {
        let since =
            |time: Option<u64>, begin: Option<u64>| Some(clock::milliseconds(time?.checked_sub(begin?)?));
        let answers = agents.calls.iter().filter_map(|call| since(call.answered, call.invited));
        let first = agents.calls.iter().zip(&measured.first);
        let first = first.filter_map(|(call, first)| since(*first, call.invited));
        let calls = json!({
            "statuses": agents.statuses,
            "sent_again": agents.again,
            "dropped": agents.count(&[State::Dropped]),
            "invite_to_200_ms": quantiles(answers.collect()),
            "invite_to_sound_ms": quantiles(first.collect()),
            "bye_to_200_ms": quantiles(agents.ending_ms.clone()),
        });
        Joined { people, still, calls }
    }

    /// By other means.
    pub fn otherwise(people: usize) -> Joined {
        Joined { people, still: people, calls: Value::Null }
    }
}

/// What the server, this process and the machine have worked.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    idle: Processes,
    joined: Processes,
    server: Processes,
    own: f64,
    busy: f64,
    overflows: u64,
    at: u64,
}

impl Work {
    /// The beginning of what is measured; `idle` was before anybody joined, `joined` afterwards.
    pub fn begin(options: &Options, idle: Processes, joined: Processes) -> Work {
        Work {
            idle,
            joined,
            server: Processes::now(&options.pid),
            own: clock::process_seconds(),
            busy: machine::busy_seconds(),
            overflows: machine::buffer_errors(),
            at: clock::now(),
        }
    }

    /// What has been worked since.
    pub fn end(self, options: &Options) -> Work {
        let now = Work::begin(options, self.idle, self.joined);
        let server = Processes { seconds: now.server.seconds - self.server.seconds, ..now.server };
        Work {
            server,
            own: now.own - self.own,
            busy: now.busy - self.busy,
            overflows: now.overflows - self.overflows,
            at: now.at - self.at,
            ..self
        }
    }

    fn seconds(&self) -> f64 {
        clock::seconds(self.at)
    }
}

/// The report of a run with sound, and whether the server has passed.
pub fn load(options: &Options, joined: &Joined, measured: Measured, work: &Work) -> (Value, bool) {
    let rates: Vec<f64> =
        measured.receptions.iter().map(|one| one.packets as f64 / measured.seconds).collect();
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let sum =
        |count: fn(&crate::reception::Reception) -> u64| measured.receptions.iter().map(count).sum::<u64>();
    let (expected, lost) = (sum(|one| one.expected()), sum(|one| one.lost()));
    let lost_percent = percent(lost, expected).unwrap_or(100.0);
    let findings = &measured.findings;
    let gaps_percent = percent(findings.gaps, findings.frames).unwrap_or(0.0);
    let right = findings.checks_passed as f64 / findings.checks.max(1) as f64;
    let (delays, lateness) = (quantiles(findings.delays.clone()), quantiles(measured.lateness.clone()));
    let worst = |quantiles: &Value| quantiles["p99"].as_f64();
    let valid = worst(&lateness).is_none_or(|late| late <= LATE_MS) && work.overflows == 0;
    let people = joined.people;
    let conditions = [
        (people == options.people(), "not everybody has joined"),
        (joined.still == people, "somebody was hung up on"),
        (lost_percent < LOST_PERCENT, "packets were lost"),
        (findings.checks > 0, "nobody was judged: it was too short"),
        (right > RIGHT_SHARE, "somebody did not hear the others, or heard himself or somebody else"),
        (gaps_percent < GAPS_PERCENT, "the sound had gaps"),
        (findings.echoes == 0, "somebody heard himself begin"),
        (slowest > PACKETS_A_SECOND, "somebody got too few packets a second"),
        (worst(&delays).is_some_and(|delay| delay < DELAY_MS), "the sound came too late, or never began"),
    ];
    let failed: Vec<&str> =
        conditions.iter().filter(|(holds, _)| !holds).map(|(_, failure)| *failure).collect();
    let passed = failed.is_empty();
    let jitter = measured.receptions.iter().filter_map(|one| one.jitter_ms()).collect();
    let person_seconds = joined.still.max(1) as f64 * work.seconds();
    let report = json!({
        "label": options.label,
        "mode": "load",
        "codec": format!("{:?}", options.codec),
        "srtp": options.srtp.map(|srtp| format!("{srtp:?}")),
        "conferences": options.conferences,
        "size": options.size,
        "people": people,
        "valid": valid,
        "passed": passed,
        "failed": failed,
        "joins": { "asked": options.people(), "calls": joined.calls,
            "server_ms_per_join": (work.joined.seconds - work.idle.seconds) * 1000.0 / people.max(1) as f64 },
        "packets": {
            "seconds": measured.seconds, "sent": measured.sent, "refused": measured.refused,
            "received": sum(|one| one.packets), "expected": expected, "lost": lost, "lost_percent": lost_percent,
            "late": sum(|one| one.late), "bytes": sum(|one| one.bytes), "foreign": measured.foreign,
            "slowest_per_second": slowest,
            "gaps_over_40_ms": sum(|one| one.gaps), "gaps_over_60_ms": sum(|one| one.long_gaps),
            "apart_ms": quantiles(measured.arrivals), "jitter_ms": quantiles(jitter),
        },
        "mix": {
            "delay_ms": delays,
            "beginnings": findings.beginnings, "beginnings_heard": findings.beginnings_heard,
            "echoes": findings.echoes, "checks": findings.checks, "checks_passed": findings.checks_passed,
            "others": quantiles(findings.others.clone()), "oneself": quantiles(findings.oneself.clone()),
            "strangers": quantiles(findings.strangers.clone()),
            "frames": findings.frames, "gaps": findings.gaps, "gaps_percent": gaps_percent,
        },
        "server": server(work, person_seconds, people),
        "generator": {
            "cores": work.own / work.seconds(), "sound_cores": measured.thread_seconds / measured.seconds,
            "late_ms": lateness,
        },
        "machine": { "busy_cores": work.busy / work.seconds(), "overflows": work.overflows },
    });
    (report, passed)
}

/// The report of a run without sound.
pub fn churn(options: &Options, agents: &mut Agents, begin: u64, work: &Work) -> (Value, bool) {
    let answers = agents.calls.iter().filter_map(|call| Some(call.answered? - call.invited?));
    let answers: Vec<f64> = answers.map(clock::milliseconds).collect();
    let answered = answers.len();
    let last = agents.calls.iter().filter_map(|call| call.answered).max().unwrap_or(begin);
    let seconds = clock::seconds(last.saturating_sub(begin)).max(0.001);
    let passed = answered == agents.calls.len();
    let report = json!({
        "label": options.label,
        "mode": "churn",
        "offered_per_second": options.rate,
        "answered_per_second": answered as f64 / seconds,
        "calls": agents.calls.len(),
        "answered": answered,
        "passed": passed,
        "statuses": agents.statuses,
        "sent_again": agents.again,
        "invite_to_200_ms": quantiles(answers),
        "bye_to_200_ms": quantiles(std::mem::take(&mut agents.ending_ms)),
        "server": server(work, work.seconds(), answered),
        "server_ms_per_call": work.server.seconds * 1000.0 / answered.max(1) as f64,
        "machine": { "busy_cores": work.busy / work.seconds(), "overflows": work.overflows },
    });
    (report, passed)
}

fn server(work: &Work, person_seconds: f64, people: usize) -> Value {
    let grown = work.server.memory_kib.saturating_sub(work.idle.memory_kib);
    json!({
        "seconds": work.server.seconds,
        "cores": work.server.seconds / work.seconds(),
        "us_per_person_second": work.server.seconds * 1e6 / person_seconds,
        "memory_mib": work.server.memory_kib as f64 / 1024.0,
        "memory_kib_per_person": grown as f64 / people.max(1) as f64,
        "threads": work.server.threads,
    })
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// Some values in short; `null` if there are none.
fn quantiles(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Value::Null };
    let at = |percent: usize| values[(last * percent + 50) / 100];
    json!({
        "count": values.len(), "least": at(0), "mean": values.iter().sum::<f64>() / values.len() as f64,
        "p50": at(50), "p95": at(95), "p99": at(99), "most": at(100),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_values() {
        assert_eq!(quantiles(Vec::new()), Value::Null);
        let values = quantiles((0..=100).rev().map(f64::from).collect());
        assert_eq!((values["p50"].as_f64(), values["p99"].as_f64()), (Some(50.0), Some(99.0)));
    }
}
