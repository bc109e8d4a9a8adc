//! Steps 5 and 6: the Conferencing Server Factory on the control link. MCUs post their health to
//! it; a Focus posts `addConference`, which it passes on to the MCU it chooses, and gets back the
//! URL of the control link.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use confab_conference::{
    mcu_factory::{HEALTH_PERIOD, McuFactory, Reported, component},
    reason::Reason,
};
use confab_machine::{Component, FlowNote};
use confab_schema::{
    cccp::{Code, Command, ConferenceKeys, Request, Response, ResultBody, connection_value},
    mcu_control::{FOCUS_URL, Health, MCU_CONTROL_URL, MCU_SERVER_URI},
    uri::{ConferenceUri, McuType},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::{debug, warn};

use crate::{
    clock::Clock,
    control_link::{Answer, CCCP, ControlClient, FACTORY_PATH, HEALTH, Posted},
    flow_log::FlowLog,
};

/// Front ends that are told of lost MCUs.
const FOCUS_LIMIT: usize = 1000;
/// How long an MCU may take to accept a conference before another is asked.
const PROVISION_LIMIT: Duration = Duration::from_secs(2);

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

    /// The MCU at this URL lives in this process.
    pub(crate) fn add_companion(&self, url: String) {
        self.table().add_companion(url);
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
        let reported = self.table().report(self.clock.now(), health);
        match reported {
            Reported::Taken => Answer::Taken,
            Reported::NoRoom => Answer::Unavailable,
            Reported::StartedAgain(former) => {
                warn!(url = %former.url, "a conferencing server was started again; its conferences begin anew");
                self.tell_of_loss(&former);
                Answer::Taken
            }
        }
    }

    /// Looks for MCUs that have fallen silent, for ever, and tells the Focuses of each.
    pub async fn watch(self) {
        loop {
            // Who reports for the first time has longer than this.
            let next = self.table().deadline().unwrap_or(self.clock.now() + HEALTH_PERIOD);
            self.clock.sleep_until(Some(next)).await;
            let lost = self.table().drop_silent(self.clock.now());
            for health in lost {
                warn!(url = %health.url, "a conferencing server is silent; its conferences move");
                self.tell_of_loss(&health);
            }
        }
    }

    fn tell_of_loss(&self, health: &Health) {
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
                component(media),
                format!("addConference {}", media.as_str()),
            );
            self.flows.file(conference.id.as_str(), self.clock.now(), note);
            if let Some(response) = self.ask(&url, &conference, media, request).await {
                return response;
            }
        }
        Response::failed(request, Reason::MediumNotScheduled.c3p_token())
    }

    /// Asks one MCU. One that is frozen holds nobody up, and what it accepts too late it is told to
    /// forget again.
    async fn ask(
        &self,
        url: &str,
        conference: &ConferenceUri,
        media: McuType,
        request: &Request,
    ) -> Option<Response> {
        let (said, heard) = oneshot::channel();
        let (control, place, body) = (self.control.clone(), url.to_owned(), request.to_bytes());
        let forget = Request::new(
            1,
            conference.to_string(),
            conference.mcu(media).to_string(),
            Command::DeleteConference(ConferenceKeys::of(conference.to_string())),
        );
        tokio::spawn(async move {
            let answer = control.post(&place, CCCP, body).await;
            if let Err(Ok(late)) = said.send(answer)
                && let Some(taken) = Provisioned::read(&late)
                && let Err(error) = control.post(&taken.control_url, CCCP, forget.to_bytes()).await
            {
                debug!(%error, "a conferencing server could not be released");
            }
        });
        match timeout(PROVISION_LIMIT, heard).await {
            Ok(Ok(Ok(body))) => match Response::parse(&body) {
                Ok(response) if response.code == Code::Success => return Some(response),
                Ok(_) => debug!(%url, %conference, "a conferencing server declined a conference"),
                Err(error) => debug!(%url, %error, "a conferencing server's answer is unreadable"),
            },
            Ok(Ok(Err(error))) => debug!(%error, "a conferencing server did not answer"),
            Ok(Err(_)) | Err(_) => debug!(%url, "a conferencing server did not answer in time"),
        }
        None
    }

    fn focuses(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.focuses.lock().expect("nobody panics while holding the set")
    }

    fn table(&self) -> std::sync::MutexGuard<'_, McuFactory> {
        self.table.lock().expect("nobody panics while holding the table")
    }
}

/// Where an MCU that took a conference is reached.
pub(crate) struct Provisioned {
    /// Where commands go.
    pub(crate) control_url: String,
    /// Where SIP goes, if it said so.
    pub(crate) server_uri: Option<String>,
}

impl Provisioned {
    /// What an MCU's answer says, if it took the conference.
    pub(crate) fn read(body: &[u8]) -> Option<Provisioned> {
        let response = Response::parse(body).ok().filter(|response| response.code == Code::Success)?;
        let ResultBody::Provisioned { connection_info, .. } = &response.results.first()?.body else {
            return None;
        };
        let value = |key| connection_value(connection_info, key).map(str::to_owned);
        Some(Provisioned { control_url: value(MCU_CONTROL_URL)?, server_uri: value(MCU_SERVER_URI) })
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
