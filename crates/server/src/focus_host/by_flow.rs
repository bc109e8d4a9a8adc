//! Which dialogs came by which flow: a flow that closes takes its own with it, and nobody else's are
//! looked at.

use std::collections::{BTreeMap, BTreeSet};

use confab_sip::Flow;
use serde::{Deserialize, Serialize};

use super::pairs;

/// Dialogs by the flow they were last heard on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent, bound(serialize = "Id: Serialize", deserialize = "Id: Deserialize<'de> + Ord"))]
pub(super) struct ByFlow<Id>(#[serde(with = "pairs")] BTreeMap<Flow, BTreeSet<Id>>);

impl<Id> Default for ByFlow<Id> {
    fn default() -> ByFlow<Id> {
        ByFlow(BTreeMap::new())
    }
}

impl<Id: Copy + Ord> ByFlow<Id> {
    /// `id` was heard on `flow`.
    pub(super) fn insert(&mut self, flow: Flow, id: Id) {
        self.0.entry(flow).or_default().insert(id);
    }

    /// `id` is not on `flow` any more.
    pub(super) fn remove(&mut self, flow: Flow, id: Id) {
        if let Some(ids) = self.0.get_mut(&flow) {
            ids.remove(&id);
            if ids.is_empty() {
                self.0.remove(&flow);
            }
        }
    }

    /// Those that were last heard on `flow`, in order.
    pub(super) fn of(&self, flow: Flow) -> impl Iterator<Item = Id> {
        self.0.get(&flow).into_iter().flatten().copied()
    }
}
