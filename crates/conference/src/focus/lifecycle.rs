//! When a conference is active: from the first join until it is ended or long empty.

use std::time::Duration;

use confab_machine::Time;

use super::{Action, Ending, Focus, mcu_session::Mcu};
use crate::reason::Reason;

/// A conference that nobody is in ends this long after the last person left, or was refused (the
/// original's ten minutes without an authenticated participant).
const EMPTY_LIMIT: Duration = Duration::from_secs(600);

impl Focus {
    /// Somebody is in: every medium that was scheduled gets its conferencing server.
    pub(super) fn activate(&mut self, out: &mut Vec<Action>) {
        self.empty_since = None;
        for media in self.mcus.unassigned() {
            self.request_mcu(media, out);
        }
    }

    /// Nobody is in, be it that all have left or that the first to come was refused.
    pub(super) fn note_emptiness(&mut self, now: Time) {
        if self.roster.is_empty() {
            self.empty_since.get_or_insert(now);
        }
    }

    pub(super) fn empty_deadline(&self) -> Option<Time> {
        self.empty_since.map(|since| since + EMPTY_LIMIT)
    }

    /// Ends the meeting for everybody, leaving nothing unanswered. The record stays until it expires.
    pub(super) fn end(&mut self, now: Time, out: &mut Vec<Action>) {
        self.send_changes(now, out);
        for (media, mcu) in self.mcus.take_all() {
            if let Mcu::Ready { control_url, .. } = mcu {
                let request = self.end_request(media);
                out.push(Action::CommandMcu { media, control_url, request });
            }
        }
        for invite in self.mcus.take_invites() {
            out.push(Action::RefuseInvite { invite, reason: Reason::NoSuchConference });
        }
        self.abandon_commands(out);
        for subscription in self.subscribers.take_all() {
            out.push(Action::EndSubscription { subscription });
        }
        for join in self.roster.joins() {
            out.push(Action::EndJoin { join, ending: Ending::ConferenceEnded });
        }
        self.ended = true;
        out.push(Action::End);
    }
}
