//! Which INVITEs went to which Focus: it is told when one is not acknowledged.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use confab_machine::Time;
use confab_schema::uri::ConferenceUri;
use confab_sip::ServerKey;

/// INVITEs that went to a Focus, for as long as their transactions may still fail.
#[derive(Default)]
pub(super) struct FocusInvites {
    conferences: BTreeMap<ServerKey, ConferenceUri>,
    since: VecDeque<(Time, ServerKey)>,
}

impl FocusInvites {
    /// How long an answered INVITE may wait for its ACK: 64 × T1, and as long again for the answer.
    const LIFETIME: Duration = Duration::from_secs(64);

    pub(super) fn insert(&mut self, now: Time, key: ServerKey, conference: ConferenceUri) {
        while self.since.front().is_some_and(|(since, _)| now.since(*since) > FocusInvites::LIFETIME)
            && let Some((_, old)) = self.since.pop_front()
        {
            self.conferences.remove(&old);
        }
        self.since.push_back((now, key.clone()));
        self.conferences.insert(key, conference);
    }

    /// Which conference an INVITE went to; it is asked once.
    pub(super) fn take(&mut self, key: &ServerKey) -> Option<ConferenceUri> {
        self.conferences.remove(key)
    }
}
