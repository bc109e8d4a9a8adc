//! The end of a meeting: subscribers with a NOTIFY under way are told so when they have answered it,
//! and whoever comes meanwhile is kept for the next meeting.

use std::time::Duration;

use confab_conference::focus;
use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{Action, Event, FocusHost};

/// How long the end waits for answers.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// Requests kept for the next meeting.
const LATE_LIMIT: usize = 1000;

/// A meeting that is over but for the last words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Drain {
    pub(super) until: Time,
    late: Vec<Event>,
}

impl FocusHost {
    /// The Focus has ended.
    pub(super) fn drain(&mut self, now: Time, out: &mut Vec<Action>) {
        self.drain = Some(Drain { until: now + DRAIN_LIMIT, late: Vec::new() });
        self.finish_draining(now, out);
    }

    /// Puts aside what begins something new while the meeting ends; gives back all else.
    pub(super) fn keep_late(&mut self, event: Event) -> Option<Event> {
        match &mut self.drain {
            Some(drain) if event.begins() && drain.late.len() < LATE_LIMIT => {
                drain.late.push(event);
                None
            }
            _ => Some(event),
        }
    }

    /// Ends for good when nobody is waited for any more.
    pub(super) fn finish_draining(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(drain) = &self.drain else { return };
        if now < drain.until && !self.ending().is_empty() {
            return;
        }
        self.terminate_all_ending(out);
        let late = self.drain.take().map(|drain| drain.late).unwrap_or_default();
        out.extend(late.into_iter().map(|event| Action::Late(Box::new(event))));
        out.push(Action::Focus(focus::Action::End));
    }
}
