//! Telling many: what is new goes out to some subscribers at a time. Whoever asks something meanwhile is answered in
//! between, and no more requests are in memory than are soon sent.

use std::collections::VecDeque;

use bytes::Bytes;
use confab_conference::focus::{PersonalDocument, SubscriptionId};
use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost};

/// Subscribers who are told at once.
const AT_ONCE: usize = 128;

/// Who is still to be told what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Telling {
    waiting: VecDeque<(Number, SubscriptionId, Bytes)>,
    last: Number,
}

/// Counts what many are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Number(u64);

impl Telling {
    /// These are to be told this document.
    pub(super) fn add(&mut self, subscriptions: Vec<SubscriptionId>, document: &Bytes) {
        self.last.0 += 1;
        let number = self.last;
        self.waiting.extend(subscriptions.into_iter().map(|id| (number, id, document.clone())));
    }

    /// These are to be told a document of their own.
    pub(super) fn add_each(&mut self, documents: Vec<PersonalDocument>) {
        for PersonalDocument { subscriptions, document } in documents {
            self.add(subscriptions, &document);
        }
    }

    /// The last document there is by now: whoever has the whole state needs none up to it.
    pub(super) fn last(&self) -> Number {
        self.last
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl FocusHost {
    /// Tells the next ones.
    pub(super) fn tell_some(&mut self, now: Time, out: &mut Vec<Action>) {
        let enough = out.len() + AT_ONCE;
        while out.len() < enough
            && let Some((number, id, document)) = self.telling.waiting.pop_front()
        {
            let knows = self.subscriptions.get(&id).is_none_or(|subscribed| subscribed.told >= Some(number));
            if !knows {
                self.notify(now, id, document, out);
            }
        }
    }

    /// Tells all, before something that comes after it.
    pub(super) fn tell_all(&mut self, now: Time, out: &mut Vec<Action>) {
        while !self.telling.is_over() {
            self.tell_some(now, out);
        }
    }
}
