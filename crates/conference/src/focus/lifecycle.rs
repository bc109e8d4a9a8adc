//! When a conference is active (c3p §12): from the first join until it is ended, long idle or
//! expired. The next join makes it active again, with a new Focus, until the record is deleted.

use std::time::Duration;

use confab_machine::Time;
use confab_schema::cccp::Command;
use serde::{Deserialize, Serialize};

use super::{
    Action, Ending, Focus,
    mcu_session::{Mcu, Purpose},
};
use crate::{
    reason::Reason,
    record::{ConferenceRecord, RecordChange},
};

/// What decides how long the meeting goes on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lifetime {
    last_join: Option<Time>,
    /// Since when nobody who has signed in has been in.
    empty_since: Option<Time>,
    /// Whether the record says when the meeting began, or was meant to.
    recorded: bool,
    /// When the meeting ends if nobody joins, as was last told.
    told: Option<Time>,
}

impl Focus {
    /// Somebody is in: every medium that was scheduled gets its conferencing server.
    pub(super) fn activate(&mut self, now: Time, out: &mut Vec<Action>) {
        self.lifetime.last_join = Some(now);
        for media in self.mcus.unassigned() {
            self.request_mcu(media, out);
        }
    }

    /// After each event: who is left, until when, and whether the meeting has begun.
    pub(super) fn live_on(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        if self.roster.has_authenticated() {
            self.lifetime.empty_since = None;
        } else {
            self.lifetime.empty_since.get_or_insert(now);
        }
        let lonely = self.idle_deadline();
        if lonely != self.lifetime.told
            && let Some(at) = lonely
        {
            self.lifetime.told = lonely;
            out.push(Action::ExpectEnd { at });
        }
        // The last of all: what follows a Save is lost with it, and this one is not worth that.
        if let Some(at) = self.lifetime.last_join
            && !std::mem::replace(&mut self.lifetime.recorded, true)
        {
            self.save(now, RecordChange::Activated { at }, None, out);
        }
    }

    /// When the meeting ends if nobody joins.
    fn idle_deadline(&self) -> Option<Time> {
        let Lifetime { last_join, empty_since, .. } = &self.lifetime;
        let idle = last_join.map(|at| at + Duration::from_secs(self.policy.idle_limit_s));
        let empty = empty_since.map(|at| at + Duration::from_secs(self.policy.empty_limit_s));
        idle.into_iter().chain(empty).min()
    }

    /// When the meeting ends if nothing happens.
    pub(super) fn end_deadline(&self) -> Time {
        let idle = self.idle_deadline().unwrap_or(self.record.expires);
        idle.min(self.record.expires)
    }

    /// Why the meeting ends now, if it does.
    pub(super) fn ending_due(&self, now: Time) -> Option<Ending> {
        if self.record.expires <= now {
            Some(Ending::Expired)
        } else {
            self.idle_deadline().filter(|at| *at <= now).map(|_| Ending::Idle)
        }
    }

    /// The database has a newer record. It holds for whoever joins from now on; those who are in
    /// stay, in their roles. The lock holds at once.
    pub(super) fn record_changed(&mut self, now: Time, record: ConferenceRecord, out: &mut Vec<Action>) {
        self.saved();
        if record.uri != self.record.uri || record.version <= self.record.version {
            return;
        }
        let locked = (record.locked != self.record.locked).then_some(record.locked);
        self.record = record;
        if let Some(locked) = locked {
            self.changes.view(now);
            let command = Command::ModifyConferenceLock { keys: self.keys(), locked };
            for media in self.mcus.ready().collect::<Vec<_>>() {
                self.command_mcu(media, command.clone(), Purpose::Nothing, out);
            }
        }
    }

    /// The record was deleted under the meeting, which has nothing to go by any more. Whose change it
    /// was that found no record is answered first, for the end takes it as saved.
    pub(super) fn record_gone(&mut self, now: Time, out: &mut Vec<Action>) {
        self.save_failed(Reason::NoSuchConference, out);
        self.end(now, Ending::ConferenceEnded, out);
    }

    /// Ends the meeting for everybody, leaving nothing unanswered. The record stays until it is
    /// deleted.
    pub(super) fn end(&mut self, now: Time, ending: Ending, out: &mut Vec<Action>) {
        self.send_changes(now, out);
        for (media, mcu) in self.mcus.take_all() {
            let control_url = match mcu {
                Mcu::Ready { control_url } => Some(control_url),
                Mcu::Unassigned | Mcu::Provisioning { .. } | Mcu::Retrying { .. } => None,
            };
            let heirs = self.heirs(media);
            if control_url.is_some() || !heirs.is_empty() {
                let request = self.end_request(media);
                out.push(Action::EndMcu { media, control_url, heirs, request });
            }
        }
        for invite in self.mcus.take_invites() {
            out.push(Action::RefuseInvite { invite, reason: Reason::NoSuchConference });
        }
        self.abandon_commands(out);
        for subscription in self.subscribers.take_all().chain(self.lobby.subscribers.take_all()) {
            out.push(Action::EndSubscription { subscription });
        }
        for join in self.roster.joins().chain(self.lobby.roster.joins()) {
            out.push(Action::EndJoin { join, ending });
        }
        self.ended = true;
        out.push(Action::End);
    }
}
