//! Steps 5 and 6: the Conferencing Server Factory on the control link. MCUs post their health to
//! it; a Focus posts `addConference`, which it passes on to the MCU it chooses, and gets back the
//! URL of the control link.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use confab_conference::{
    mcu_factory::{HEALTH_PERIOD, McuFactory},
    reason::Reason,
};
use confab_machine::{Component, FlowNote};
use confab_schema::{
    cccp::{Code, Command, Request, Response, connection_value},
    mcu_control::{FOCUS_URL, Health},
    uri::{ConferenceUri, McuType},
};
use tracing::{debug, warn};

use crate::{
    clock::Clock,
    control_link::{Answer, CCCP, ControlClient, FACTORY_PATH, HEALTH, Posted},
    flow_log::FlowLog,
};

/// Front ends that are told of lost MCUs.
const FOCUS_LIMIT: usize = 1000;

/// The factory. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct McuFactoryHost {
    table: Arc<Mutex<McuFactory>>,
    /// Where those answer for whom conferences were provisioned: they hear of lost MCUs.
    focuses: Arc<Mutex<BTreeSet<String>>>,
    control: ControlClient,
    clock: Clock,
    flows: FlowLog,
}

impl McuFactoryHost {
    /// A factory that knows no MCU yet.
    pub fn new(control: ControlClient, clock: Clock, flows: FlowLog) -> McuFactoryHost {
        McuFactoryHost { table: Arc::default(), focuses: Arc::default(), control, clock, flows }
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
        if self.table().report(now, health) { Answer::Taken } else { Answer::Unavailable }
    }

    /// Looks for MCUs that have fallen silent, for ever, and tells the Focuses of each.
    pub async fn watch(self) {
        loop {
            self.clock.sleep_until(Some(self.clock.now() + HEALTH_PERIOD)).await;
            let lost = self.table().drop_silent(self.clock.now());
            for health in lost {
                warn!(url = %health.url, "a conferencing server is silent; its conferences move");
                let focuses = self.focuses().clone();
                for focus in focuses {
                    let (control, body) = (self.control.clone(), health.to_bytes());
                    tokio::spawn(async move {
                        if let Err(error) = control.post(&focus, HEALTH, body).await {
                            debug!(%error, "a front end could not be told of a lost conferencing server");
                        }
                    });
                }
            }
        }
    }

    /// Remembers whom to tell when an MCU is lost: the place that all Focus URLs of one front end
    /// have in common.
    fn remember_focus(&self, connection_info: &[(String, String)]) {
        let url = connection_value(connection_info, FOCUS_URL).and_then(|url| url.rsplit_once('/'));
        let mut focuses = self.focuses();
        if let Some((place, _)) = url
            && focuses.len() < FOCUS_LIMIT
        {
            focuses.insert(format!("{place}/"));
        }
    }

    /// Tries the fitting MCUs, the idlest first, until one takes the conference.
    async fn provision(&self, request: &Request) -> Response {
        let Some(Wanted { conference, media, connection_info }) = Wanted::of(request) else {
            return Response::failed(request, Reason::C3pUnreadable.c3p_token());
        };
        self.remember_focus(connection_info);
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

    fn focuses(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.focuses.lock().expect("nobody panics while holding the set")
    }

    fn table(&self) -> std::sync::MutexGuard<'_, McuFactory> {
        self.table.lock().expect("nobody panics while holding the table")
    }
}

/// What a Focus asks for: a server of this medium for this conference.
struct Wanted<'a> {
    conference: ConferenceUri,
    media: McuType,
    /// Among it, where the Focus answers.
    connection_info: &'a [(String, String)],
}

impl Wanted<'_> {
    fn of(request: &Request) -> Option<Wanted<'_>> {
        let [Command::AddConference { info, connection_info }] = request.commands.as_slice() else {
            return None;
        };
        let [view] = info.view.as_ref()?.entity_views.as_slice() else { return None };
        Some(Wanted {
            conference: ConferenceUri::parse(&info.entity).ok()?,
            media: McuType::parse(&view.entity).ok()?,
            connection_info,
        })
    }
}
