//! The flow trace: for each conference the last things its parts said to each other, bounded, and
//! the ladder that a person reads.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use confab_machine::{FlowNote, FlowRecord, Time};
use tokio::sync::broadcast;

/// Records kept per conference; the oldest go first.
const RECORD_LIMIT: usize = 2000;
/// Conferences kept; the one quiet for longest goes first.
const CONFERENCE_LIMIT: usize = 1000;
/// Records a live reader may lag behind before it misses some.
const LIVE_LIMIT: usize = 1024;

/// Every conference's trace. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct FlowLog {
    flows: Arc<Mutex<BTreeMap<String, Flow>>>,
    live: broadcast::Sender<(String, FlowRecord)>,
}

#[derive(Debug, Default)]
struct Flow {
    records: VecDeque<FlowRecord>,
    /// Records that have been dropped for room.
    dropped: usize,
    last: Time,
}

impl Default for FlowLog {
    fn default() -> FlowLog {
        FlowLog { flows: Arc::default(), live: broadcast::channel(LIVE_LIMIT).0 }
    }
}

impl FlowLog {
    /// Files `note` under the conference with this ID.
    pub fn file(&self, conference: &str, at: Time, note: FlowNote) {
        let record = FlowRecord { at, note };
        let key = key(conference);
        let mut flows = self.flows.lock().expect("nobody panics while holding the log");
        if !flows.contains_key(&key) && flows.len() >= CONFERENCE_LIMIT {
            let quietest = flows.iter().min_by_key(|(_, flow)| flow.last).map(|(key, _)| key.clone());
            flows.remove(&quietest.expect("a full log is not empty"));
        }
        let flow = flows.entry(key.clone()).or_default();
        if flow.records.len() >= RECORD_LIMIT {
            flow.records.pop_front();
            flow.dropped += 1;
        }
        flow.last = at;
        flow.records.push_back(record.clone());
        // Without a live reader there is nobody to miss it.
        let _ = self.live.send((key, record));
    }

    /// The records of the conference with this ID, and how many older ones were dropped; `None`
    /// if it has no trace. The ID may be shortened as long as it is unambiguous.
    pub fn records(&self, conference: &str) -> Option<(Vec<FlowRecord>, usize)> {
        let key = key(conference);
        let flows = self.flows.lock().expect("nobody panics while holding the log");
        let flow = flows.get(&key).or_else(|| {
            let mut fits = flows.iter().filter(|(id, _)| id.starts_with(&key));
            fits.next().filter(|_| fits.next().is_none()).map(|(_, flow)| flow)
        })?;
        Some((flow.records.iter().cloned().collect(), flow.dropped))
    }

    /// Every record from now on, with its conference's ID in upper case.
    pub fn live(&self) -> broadcast::Receiver<(String, FlowRecord)> {
        self.live.subscribe()
    }
}

/// Conference IDs are compared without case.
fn key(conference: &str) -> String {
    conference.to_ascii_uppercase()
}

/// The ladder of a conference, one line per record under a heading.
pub fn ladder(records: &[FlowRecord], dropped: usize) -> String {
    let mut text = ladder_heading();
    if dropped > 0 {
        let _ = writeln!(text, "  … {dropped} earlier lines are gone");
    }
    let start = records.first().map_or(Time::EPOCH, |record| record.at);
    for (number, record) in records.iter().enumerate() {
        text.push_str(&ladder_line(dropped + number + 1, start, record));
    }
    text
}

/// The heading of a ladder, with its line end.
pub fn ladder_heading() -> String {
    format!("{:>3}  {:>8}  {:<13} {:<13} {:>4}  {:<10}  {}\n", "#", "t", "from", "to", "step", "OCS", "what")
}

/// One line of a ladder, with its line end; `start` is the time that counts as zero.
pub fn ladder_line(number: usize, start: Time, record: &FlowRecord) -> String {
    let FlowNote { from, to, step, summary } = &record.note;
    let step = step.map_or(String::new(), |step| step.number().to_string());
    let seconds = record.at.since(start).as_secs_f64();
    let ocs = to.ocs_logger_name();
    format!("{number:>3}  {seconds:>8.3}  {from:<13} {to:<13} {step:>4}  {ocs:<10}  {summary}\n")
}

#[cfg(test)]
mod tests {
    use confab_machine::Component;

    use super::*;

    fn note(n: usize) -> FlowNote {
        FlowNote::new(1, Component::Client, Component::FocusFactory, format!("SERVICE {n}"))
    }

    #[test]
    fn keeps_the_last_and_counts_the_rest() {
        let log = FlowLog::default();
        for n in 0..RECORD_LIMIT + 5 {
            log.file("abcd1234", Time::from_unix_secs(n as u64), note(n));
        }
        let (records, dropped) = log.records("ABCD").unwrap();
        assert_eq!((records.len(), dropped), (RECORD_LIMIT, 5));
        assert_eq!(records[0].note.summary, "SERVICE 5");
        assert!(ladder(&records, dropped).contains("5 earlier lines are gone"));
        assert!(log.records("other").is_none());
    }

    #[test]
    fn the_quietest_conference_goes_first() {
        let log = FlowLog::default();
        for n in 0..=CONFERENCE_LIMIT {
            log.file(&format!("conference{n:06}"), Time::from_unix_secs(n as u64), note(n));
        }
        assert!(log.records("conference000000").is_none());
        assert!(log.records("conference000001").is_some());
    }
}
