//! Saving what a Focus has heard of late, for somebody at the administrator's door.

use std::{collections::BTreeMap, time::Duration};

use confab_schema::uri::ConferenceUri;
use tokio::sync::oneshot;

use super::{Event, FocusDirectory};
use crate::focus_host::SavedFlow;

/// How long a Focus may take to write down what it heard.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// Those who wait for a flow.
#[derive(Default)]
pub(super) struct Savers {
    waiting: BTreeMap<u64, oneshot::Sender<SavedFlow>>,
    last: u64,
}

impl FocusDirectory {
    /// What the Focus of `conference` has heard since its last snapshot, names and all; `None` if it
    /// is not active, or has too much to do.
    pub async fn save_flow(&self, conference: &ConferenceUri) -> Option<SavedFlow> {
        let (flow, saved) = oneshot::channel();
        {
            let mut active = self.active();
            let events = active.conferences.get(conference)?.events.clone();
            let savers = &mut active.savers;
            // Who was not served, for a conference that ended, waits no more.
            savers.waiting.retain(|_, waiting| !waiting.is_closed());
            savers.last += 1;
            events.try_send(Event::FlowWanted { number: savers.last }).ok()?;
            savers.waiting.insert(savers.last, flow);
        }
        tokio::time::timeout(SAVE_LIMIT, saved).await.ok()?.ok()
    }

    pub(super) fn give_flow(&self, number: u64, flow: SavedFlow) {
        if let Some(waiting) = self.active().savers.waiting.remove(&number) {
            // He may not wait any more.
            let _ = waiting.send(flow);
        }
    }
}
