//! Steps 5 and 6: the Conferencing Server Factory on the control link. MCUs post their health to
//! it; a Focus posts `addConference`, which it passes on to the MCU it chooses, and gets back the
//! URL of the control link.

use std::sync::{Arc, Mutex};

use confab_conference::{mcu_factory::McuFactory, reason::Reason};
use confab_machine::{Component, FlowNote};
use confab_schema::{
    cccp::{Code, Command, Request, Response},
    mcu_control::Health,
    uri::{ConferenceUri, McuType},
};
use tracing::{debug, info};

use crate::{
    clock::Clock,
    control_link::{Answer, CCCP, ControlClient, HEALTH, Posted},
    flow_log::FlowLog,
};

/// Where the factory answers.
pub const FACTORY_PATH: &str = "/LiveServer/MCUFactory/";

/// The factory. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct McuFactoryHost {
    table: Arc<Mutex<McuFactory>>,
    control: ControlClient,
    clock: Clock,
    flows: FlowLog,
}

impl McuFactoryHost {
    /// A factory that knows no MCU yet.
    pub fn new(control: ControlClient, clock: Clock, flows: FlowLog) -> McuFactoryHost {
        McuFactoryHost { table: Arc::default(), control, clock, flows }
    }

    /// Takes what is posted to the factory.
    pub async fn posted(self, posted: Posted) -> Answer {
        match (posted.path.as_str(), posted.content_type.as_str()) {
            (FACTORY_PATH, HEALTH) => match Health::parse(&posted.body) {
                Ok(health) => self.reported(health),
                Err(malformed) => Answer::Unreadable(malformed.to_string()),
            },
            (FACTORY_PATH, CCCP) => match Request::parse(&posted.body) {
                Ok(request) => Answer::Document(self.provision(&request).await.to_bytes()),
                Err(malformed) => Answer::Unreadable(malformed.to_string()),
            },
            _ => Answer::NotFound,
        }
    }

    fn reported(&self, health: Health) -> Answer {
        let now = self.clock.now();
        let mut table = self.table();
        for url in table.drop_silent(now) {
            info!(%url, "a conferencing server is silent and gets no more conferences");
        }
        if table.report(now, health) { Answer::Taken } else { Answer::Unavailable }
    }

    /// Tries the fitting MCUs, the idlest first, until one takes the conference.
    async fn provision(&self, request: &Request) -> Response {
        let Some((conference, media)) = wanted(request) else {
            return Response::failed(request, Reason::C3pUnreadable.c3p_token());
        };
        let candidates = self.table().candidates(self.clock.now(), media);
        for url in candidates {
            let note = FlowNote::new(
                6,
                Component::McuFactory,
                Component::ImMcu,
                format!("addConference {}", media.as_str()),
            );
            self.flows.file(conference.id.as_str(), self.clock.now(), note);
            match self.control.post(&url, CCCP, request.to_bytes()).await {
                Ok(body) => match Response::parse(&body) {
                    Ok(response) if response.code == Code::Success => return response,
                    Ok(_) => debug!(%url, %conference, "a conferencing server declined a conference"),
                    Err(error) => debug!(%url, %error, "a conferencing server's answer is unreadable"),
                },
                Err(error) => debug!(%error, "a conferencing server did not answer"),
            }
        }
        Response::failed(request, Reason::MediumNotScheduled.c3p_token())
    }

    fn table(&self) -> std::sync::MutexGuard<'_, McuFactory> {
        self.table.lock().expect("nobody panics while holding the table")
    }
}

/// Which conference wants a server of which medium.
fn wanted(request: &Request) -> Option<(ConferenceUri, McuType)> {
    let [Command::AddConference { info, .. }] = request.commands.as_slice() else { return None };
    let conference = ConferenceUri::parse(&info.entity).ok()?;
    let [view] = info.view.as_ref()?.entity_views.as_slice() else { return None };
    Some((conference, McuType::parse(&view.entity).ok()?))
}
