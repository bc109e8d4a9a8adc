//! Step 7: the commands of one Focus to one conferencing server, in order, and what it answers.

use confab_conference::focus;
use confab_schema::{
    cccp::{self, ResultBody},
    conference_info::CallRecord,
    uri::{ConferenceUri, McuType},
};
use confab_store::{Store, StoreError};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Event, FocusDirectory, parting::Parting};
use crate::control_link::CCCP;

/// What an MCU is to be told.
pub(super) enum Order {
    /// A command.
    Command(cccp::Request),
    /// That the meeting is over. If it does not hear it, another one is to see to it.
    End(Parting),
}

/// Posts commands to an MCU, one after the other.
pub(super) struct Carrier {
    pub(super) media: McuType,
    pub(super) url: String,
    pub(super) directory: FocusDirectory,
    pub(super) conference: ConferenceUri,
    pub(super) events: mpsc::Sender<Event>,
}

impl Carrier {
    pub(super) async fn carry(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let Carrier { media, url, directory, conference, events } = self;
        while let Some(order) = orders.recv().await {
            let (request, parting) = match order {
                Order::Command(request) => (request, None),
                Order::End(parting) => (parting.request.clone(), Some(parting)),
            };
            let request_id = request.request_id;
            let answer = directory.services.control.post(&url, CCCP, request.to_bytes()).await;
            let event = match answer.map(|body| cccp::Response::parse(&body)) {
                Ok(Ok(mut response)) => {
                    // The end of a meeting is the last that an MCU hears of it; by then there is no Focus.
                    let calls = last_calls(&mut response);
                    save_calls(&*directory.services.store, &conference, &calls).await;
                    focus::Event::McuAnswered { media, response }
                }
                Ok(Err(error)) => {
                    warn!(%url, %error, "an MCU's answer could not be read");
                    focus::Event::McuUnreachable { media, request_id }
                }
                Err(error) => {
                    warn!(%error, "a command did not reach its MCU");
                    if let Some(parting) = parting {
                        parting.elsewhere(&directory, &conference, &events).await;
                    }
                    focus::Event::McuUnreachable { media, request_id }
                }
            };
            let _ = events.send(Event::Focus(event)).await;
        }
    }
}

/// What became of those who were in to the last, from an MCU's answer to `deleteConference`.
pub(super) fn last_calls(response: &mut cccp::Response) -> Vec<CallRecord> {
    match response.results.first_mut().map(|result| &mut result.body) {
        Some(ResultBody::Conference(info)) => std::mem::take(&mut info.calls),
        _ => Vec::new(),
    }
}

pub(super) async fn save_calls(store: &dyn Store, conference: &ConferenceUri, calls: &[CallRecord]) {
    if calls.is_empty() {
        return;
    }
    match store.add_calls(conference, calls).await {
        // The record was deleted, and the calls go with it.
        Ok(()) | Err(StoreError::NotFound) => {}
        Err(error) => warn!(%conference, %error, "what became of calls could not be saved"),
    }
}
