//! The end of a meeting whose MCU is lost: another one takes over those who were on it, and ends it for them. Clients
//! of ours hear of the end from the Focus; a phone has a dialog with nobody but the MCU.

use std::time::Duration;

use confab_schema::{
    cccp,
    uri::{ConferenceUri, McuType},
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{
    Event, FocusDirectory,
    carrier::{last_calls, save_calls},
};
use crate::{
    clock,
    control_link::{CCCP, FOCUS_PATH},
    front_end,
    mcu_factory_host::Provisioned,
};

/// How often another MCU is looked for; in all for as long as a meeting that goes on would wait for one.
const ATTEMPTS: u32 = 6;
/// How soon it is tried again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How a meeting ends on an MCU.
pub(super) struct Parting {
    pub(super) media: McuType,
    /// The commands by which another one takes over those who are on it.
    pub(super) heirs: Vec<cccp::Request>,
    /// The command that ends it.
    pub(super) request: cccp::Request,
}

impl Parting {
    /// The MCU is lost: another one does it, as soon as there is one. `events` leads to the Focus whose meeting it is;
    /// once its conference has another one, that has the MCU, and what is left of this meeting must not take it.
    pub(super) async fn elsewhere(
        &self,
        directory: &FocusDirectory,
        conference: &ConferenceUri,
        events: &mpsc::Sender<Event>,
    ) {
        let clock = directory.services.clock;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                clock.sleep_until(Some(clock.now() + FIRST_WAIT * (1 << (attempt - 1)))).await;
            }
            if self.heirs.is_empty() || directory.has_another(conference, events) {
                return;
            }
            if self.is_done_by_another(directory, conference).await {
                return;
            }
        }
        warn!(%conference, "a conferencing server was lost as its meeting ended, and no other could tell people");
    }

    async fn is_done_by_another(&self, directory: &FocusDirectory, conference: &ConferenceUri) -> bool {
        let services = &directory.services;
        // Nobody listens there: the meeting has no Focus any more.
        let callback = format!("{}{FOCUS_PATH}{}", services.focus_base, clock::entropy().hex::<16>());
        let provisioned = services.provision(conference, self.media, callback).await;
        let Some(Provisioned { control_url, server_uri }) = provisioned else { return false };
        if let Some(server_uri) = server_uri {
            directory.tell_front_end(front_end::Event::McuProvisioned { server_uri });
        }
        for request in self.heirs.iter().chain([&self.request]) {
            let answer = services.control.post(&control_url, CCCP, request.to_bytes()).await;
            match answer.map(|body| cccp::Response::parse(&body)) {
                Ok(Ok(mut response)) => {
                    let calls = last_calls(&mut response);
                    save_calls(&*services.store, conference, &calls).await;
                }
                Ok(Err(error)) => debug!(%control_url, %error, "an MCU's answer could not be read"),
                Err(error) => {
                    debug!(%error, "a command did not reach the MCU that was to end a meeting");
                    return false;
                }
            }
        }
        true
    }
}
