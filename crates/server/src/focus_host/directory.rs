//! Every active conference of this process: one task each, started by the first request to its URI
//! with the record the database has (step 4), gone when the meeting is over.

mod carrier;
pub(crate) mod look_again;
mod parting;
mod saving;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use carrier::{Carrier, Order};
use confab_conference::{
    focus::{self, Focus},
    policy::MeetingPolicy,
    reason::Reason,
    record::{ConferenceRecord, RecordChange},
};
use confab_machine::{Component, Entropy, FlowNote, Time};
use confab_schema::{
    cccp::{self, Command, ConferenceKeys},
    conference_info::{ConferenceInfo, ConferenceView},
    mcu_control::{FOCUS_URL, Health, ServerStatus},
    uri::{ConferenceUri, McuType},
};
use confab_store::{Store, StoreError};
use parting::Parting;
use saving::Savers;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{Action, Event, FocusHost, Journaled, MakeHost};
use crate::{
    clock::{self, Clock},
    control_link::{Answer, CCCP, CONFERENCE_INFO, ControlClient, FOCUS_PATH, HEALTH, Posted},
    drive::{self, Performed, drive},
    flow_log::FlowLog,
    front_end,
    mcu_factory_host::Provisioned,
    refusal,
};

/// Events that may wait for one Focus.
const EVENT_QUEUE: usize = 4096;
/// Conferences that may be active in one process.
const CONFERENCE_LIMIT: usize = 100_000;
/// How often a change is made anew because somebody else was quicker to save.
const CONFLICT_LIMIT: usize = 5;

/// What the Focuses of a process share.
#[derive(Clone)]
pub struct FocusServices {
    /// The conferencing database.
    pub store: Arc<dyn Store>,
    /// The control link.
    pub control: ControlClient,
    /// Where the Conferencing Server Factory answers.
    pub factory_url: String,
    /// The scheme and host under which MCUs reach these Focuses: `http://focus.inproc`.
    pub focus_base: String,
    /// What conferences may do.
    pub policy: MeetingPolicy,
    /// This server's name in diagnostics.
    pub name: String,
    /// The time.
    pub clock: Clock,
    /// The flow trace.
    pub flows: FlowLog,
    /// The front end.
    pub front_end: mpsc::Sender<front_end::Event>,
    /// What runs as the Focus of each conference.
    pub make_host: MakeHost,
}

impl FocusServices {
    /// Steps 5 and 6: has the factory provision a conference on an MCU, which posts to `callback`.
    async fn provision(
        &self,
        conference: &ConferenceUri,
        media: McuType,
        callback: String,
    ) -> Option<Provisioned> {
        let mut info = ConferenceInfo::partial(conference.to_string(), 1);
        info.view = Some(ConferenceView::of_types(&[media]));
        let request = cccp::Request {
            request_id: 1,
            from: callback.clone(),
            to: self.factory_url.clone(),
            commands: vec![Command::AddConference {
                info: Box::new(info),
                connection_info: vec![(FOCUS_URL.to_owned(), callback)],
            }],
        };
        match self.control.post(&self.factory_url, CCCP, request.to_bytes()).await {
            Ok(body) => Provisioned::read(&body),
            Err(error) => {
                debug!(%conference, %error, "the Conferencing Server Factory gave no server");
                None
            }
        }
    }
}

/// The active conferences. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct FocusDirectory {
    services: FocusServices,
    active: Arc<Mutex<Active>>,
}

#[derive(Default)]
struct Active {
    conferences: BTreeMap<ConferenceUri, Entry>,
    /// Which conference and medium a token in a Focus URL stands for.
    callbacks: BTreeMap<String, (ConferenceUri, McuType)>,
    savers: Savers,
}

struct Entry {
    events: mpsc::Sender<Event>,
    people: usize,
    /// When the meeting ends if nobody joins.
    expected_end: Option<Time>,
    /// How many writes of the record may or may not have been done.
    doubts: u64,
    /// The token under which each medium's MCU posts.
    tokens: BTreeMap<McuType, String>,
    /// The control URL of each medium's MCU.
    control_urls: BTreeMap<McuType, String>,
}

impl Active {
    /// From now on the MCU of this medium posts under `token`, and a former one does not.
    fn expect_posts(&mut self, token: String, conference: &ConferenceUri, media: McuType) {
        let Some(entry) = self.conferences.get_mut(conference) else { return };
        if let Some(former) = entry.tokens.insert(media, token.clone()) {
            self.callbacks.remove(&former);
        }
        self.callbacks.insert(token, (conference.clone(), media));
    }

    fn remove(&mut self, conference: &ConferenceUri) {
        for token in
            self.conferences.remove(conference).into_iter().flat_map(|entry| entry.tokens.into_values())
        {
            self.callbacks.remove(&token);
        }
    }
}

impl FocusDirectory {
    /// No conference is active.
    pub fn new(services: FocusServices) -> FocusDirectory {
        FocusDirectory { services, active: Arc::default() }
    }

    /// Hands `event` to the Focus of `conference`, starting it if it is not active.
    pub fn deliver(&self, conference: &ConferenceUri, event: Event) {
        let mut active = self.active();
        let mut event = event;
        if let Some(entry) = active.conferences.get(conference) {
            match entry.events.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event)) => {
                    drop(active);
                    return self.turn_away(event, Reason::Busy);
                }
                Err(mpsc::error::TrySendError::Closed(back)) => event = back,
            }
        }
        if !event.begins() {
            // What concerns a dialog of a meeting that is over is answered as the dialog is: gone.
            drop(active);
            return self.turn_away(event, Reason::NotJoined);
        }
        if active.conferences.len() >= CONFERENCE_LIMIT {
            drop(active);
            return self.turn_away(event, Reason::Busy);
        }
        // What starts a Focus is noted here: the Focus itself hears of it only with its record.
        if let Event::Request { request, .. } = &event {
            let summary = format!("{} to a conference that is not active", request.method);
            let note = FlowNote::new(3, Component::Client, Component::FrontEnd, summary);
            self.services.flows.file(conference.id.as_str(), self.services.clock.now(), note);
        }
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        events.try_send(event).expect("a new queue has room");
        let entry = Entry {
            events: events.clone(),
            people: 0,
            expected_end: None,
            doubts: 0,
            tokens: BTreeMap::new(),
            control_urls: BTreeMap::new(),
        };
        // The entry of a Focus that died is replaced, its tokens with it.
        active.remove(conference);
        active.conferences.insert(conference.clone(), entry);
        drop(active);
        let directory = self.clone();
        let conference = conference.clone();
        tokio::spawn(async move { directory.run(conference, events, queue).await });
    }

    /// The active conferences, with how many people are in each.
    pub fn active_conferences(&self) -> Vec<(ConferenceUri, usize)> {
        self.active().conferences.iter().map(|(uri, entry)| (uri.clone(), entry.people)).collect()
    }

    /// When the meeting of `conference` ends if nobody joins it, if one is going on.
    pub fn expected_end(&self, conference: &ConferenceUri) -> Option<Time> {
        self.active().conferences.get(conference)?.expected_end
    }

    /// How many conferences are active, and how many places there are for their MCUs to post to.
    pub fn counts(&self) -> (usize, usize) {
        let active = self.active();
        (active.conferences.len(), active.callbacks.len())
    }

    /// Whether `conference` is active with another Focus than the one to which `events` leads.
    fn has_another(&self, conference: &ConferenceUri, events: &mpsc::Sender<Event>) -> bool {
        let active = self.active();
        active.conferences.get(conference).is_some_and(|entry| !entry.events.same_channel(events))
    }

    /// Whether `conference` is active.
    pub fn is_active(&self, conference: &ConferenceUri) -> bool {
        self.active().conferences.contains_key(conference)
    }

    /// Tells the Focus of a conference, if it is active, that the database has this record now. It
    /// waits for a Focus that has much to do.
    pub async fn record_changed(&self, record: &ConferenceRecord) {
        let entry = self.active().conferences.get(&record.uri).map(|entry| entry.events.clone());
        if let Some(events) = entry {
            let record = Box::new(record.clone());
            // A Focus that has just ended reads the record when it is started again.
            let _ = events.send(Event::Focus(focus::Event::RecordChanged { record })).await;
        }
    }

    /// Ends the meeting of `conference` if it is active; says whether it was. It waits for a Focus
    /// that has much to do.
    pub async fn end(&self, conference: &ConferenceUri) -> bool {
        let entry = self.active().conferences.get(conference).map(|entry| entry.events.clone());
        let Some(events) = entry else { return false };
        events.send(Event::Focus(focus::Event::EndRequested)).await.is_ok()
    }

    /// Takes what MCUs post (steps 7 and 8).
    pub async fn posted(self, posted: Posted) -> Answer {
        let Some(token) = posted.path.strip_prefix(FOCUS_PATH) else { return Answer::NotFound };
        if token.is_empty() && posted.content_type == HEALTH {
            return match Health::parse(&posted.body) {
                Ok(health) => self.mcu_reported(&health),
                Err(malformed) => Answer::Unreadable(malformed.to_string()),
            };
        }
        let callback = self.active().callbacks.get(token).cloned();
        let Some((conference, media)) = callback else { return Answer::NotFound };
        let event = match posted.content_type.as_str() {
            CONFERENCE_INFO => match ConferenceInfo::parse(&posted.body) {
                Ok(document) => focus::Event::McuNotified { media, document: Box::new(document) },
                Err(malformed) => return Answer::Unreadable(malformed.to_string()),
            },
            CCCP => match cccp::Response::parse(&posted.body) {
                Ok(response) => focus::Event::McuAnswered { media, response },
                Err(malformed) => return Answer::Unreadable(malformed.to_string()),
            },
            HEALTH => match Health::parse(&posted.body) {
                Ok(health) if health.status == ServerStatus::Unavailable => focus::Event::McuLost { media },
                Ok(_) => return Answer::Taken,
                Err(malformed) => return Answer::Unreadable(malformed.to_string()),
            },
            other => return Answer::Unreadable(format!("{other} is neither C3P nor conference state")),
        };
        // One that has much to do takes it later, and its MCU says nothing more until then.
        let events = self.active().conferences.get(&conference).map(|entry| entry.events.clone());
        let Some(events) = events else { return Answer::NotFound };
        match events.send(Event::Focus(event)).await {
            Ok(()) => Answer::Taken,
            Err(_) => Answer::NotFound,
        }
    }

    /// The factory tells of an MCU that is lost: every conference on it hears so.
    fn mcu_reported(&self, health: &Health) -> Answer {
        if health.status == ServerStatus::Unavailable {
            let media = health.media;
            for entry in self.active().conferences.values() {
                if entry.control_urls.get(&media).is_some_and(|url| url.starts_with(&health.url)) {
                    // A Focus whose queue is full finds out by its commands.
                    let _ = entry.events.try_send(Event::Focus(focus::Event::McuLost { media }));
                }
            }
        }
        Answer::Taken
    }

    /// The conference has a place on an MCU, which the front end shall reach.
    fn mcu_provisioned(
        &self,
        conference: &ConferenceUri,
        media: McuType,
        control_url: &str,
        server_uri: Option<String>,
    ) {
        if let Some(entry) = self.active().conferences.get_mut(conference) {
            entry.control_urls.insert(media, control_url.to_owned());
        }
        if let Some(server_uri) = server_uri {
            self.tell_front_end(front_end::Event::McuProvisioned { server_uri });
        }
    }

    /// One conference's task: load the record, run the Focus, clean up.
    async fn run(self, conference: ConferenceUri, events: mpsc::Sender<Event>, queue: mpsc::Receiver<Event>) {
        let services = self.services.clone();
        let loaded = services.store.conference(&conference).await;
        let note = FlowNote::new(4, Component::Focus, Component::Store, "load the record");
        services.flows.file(conference.id.as_str(), services.clock.now(), note);
        let record = match loaded {
            Ok(Some(record)) if record.expires > services.clock.now() => record,
            Ok(_) => return self.close(&conference, queue, Reason::NoSuchConference),
            Err(error) => {
                warn!(%conference, %error, "a conference record could not be loaded");
                return self.close(&conference, queue, Reason::StoreUnavailable);
            }
        };
        let focus = Focus::new(record, services.policy.clone(), Entropy::default());
        let host = FocusHost::new(focus, services.name.clone(), Entropy::default());
        let host = Journaled::new((services.make_host)(host), clock::entropy());
        let (late, mut kept) = mpsc::unbounded_channel();
        let shell = Shell {
            late,
            directory: self.clone(),
            conference: Arc::new(conference.clone()),
            events,
            couriers: BTreeMap::new(),
        };
        let queue = drive(host, queue, services.clock, shell).await;
        self.close(&conference, queue, Reason::NoSuchConference);
        while let Ok(event) = kept.try_recv() {
            self.deliver(&conference, event);
        }
    }

    /// The conference is not active any more; what still waited is answered.
    fn close(&self, conference: &ConferenceUri, mut queue: mpsc::Receiver<Event>, reason: Reason) {
        self.active().remove(conference);
        self.tell_front_end(front_end::Event::ConferenceEnded { conference: conference.clone() });
        queue.close();
        while let Ok(event) = queue.try_recv() {
            self.turn_away(event, reason);
        }
    }

    fn turn_away(&self, event: Event, reason: Reason) {
        let answer = match event {
            Event::Request { key, request, .. } => {
                let in_dialog = request.headers.to().is_ok_and(|to| to.tag().is_some());
                let response = if in_dialog {
                    confab_sip::Response::to(&request, 481)
                } else {
                    refusal::response(&request, reason, &self.services.name)
                };
                front_end::Event::Respond { key, response }
            }
            Event::McuInvite { key, .. } => front_end::Event::RefuseInvite { key, reason },
            _ => return,
        };
        self.tell_front_end(answer);
    }

    /// Without waiting: the front end may be busy.
    fn tell_front_end(&self, event: front_end::Event) {
        let front_end = self.services.front_end.clone();
        tokio::spawn(async move { front_end.send(event).await });
    }

    fn active(&self) -> std::sync::MutexGuard<'_, Active> {
        self.active.lock().expect("nobody panics while holding the directory")
    }
}

/// Who carries the commands to one MCU.
struct Courier {
    control_url: String,
    orders: mpsc::UnboundedSender<Order>,
}

/// The hands of one Focus.
struct Shell {
    directory: FocusDirectory,
    conference: Arc<ConferenceUri>,
    /// The Focus' own queue, for what the control link answers.
    events: mpsc::Sender<Event>,
    /// One courier per MCU keeps its commands in order.
    couriers: BTreeMap<McuType, Courier>,
    /// What came too late for this meeting; the host bounds it.
    late: mpsc::UnboundedSender<Event>,
}

impl drive::Shell<Journaled> for Shell {
    async fn perform(&mut self, _now: Time, action: Action) -> Performed<Event> {
        let front_end = match action {
            Action::Respond { key, response } => front_end::Event::Respond { key, response },
            Action::Send { id, flow, request } => {
                let conference = Arc::clone(&self.conference);
                front_end::Event::Send { conference, id, flow, request }
            }
            Action::ForwardInvite { key, mcu, server_uri } => {
                front_end::Event::ForwardInvite { key, mcu, server_uri }
            }
            Action::RefuseInvite { key, reason } => front_end::Event::RefuseInvite { key, reason },
            Action::MoveMcu { mcu, server_uri } => front_end::Event::McuMoved { mcu, server_uri },
            Action::Note(_) => return Performed::Done,
            Action::Late(event) => {
                // The receiver outlives this shell.
                let _ = self.late.send(*event);
                return Performed::Done;
            }
            Action::GiveFlow { number, flow } => {
                self.directory.give_flow(number, *flow);
                return Performed::Done;
            }
            Action::Focus(action) => return self.perform_for_focus(action).await,
        };
        if self.directory.services.front_end.send(front_end).await.is_err() {
            return Performed::Stop;
        }
        Performed::Done
    }

    fn note(&mut self, now: Time, note: FlowNote) {
        self.directory.services.flows.file(self.conference.id.as_str(), now, note);
    }
}

impl Shell {
    async fn perform_for_focus(&mut self, action: focus::Action) -> Performed<Event> {
        match action {
            focus::Action::RequestMcu { media } => self.request_mcu(media),
            focus::Action::CommandMcu { media, control_url, request } => {
                self.courier(media, control_url, Order::Command(request));
            }
            focus::Action::EndMcu { media, control_url, heirs, request } => {
                let parting = Parting { media, heirs, request };
                match control_url {
                    Some(control_url) => self.courier(media, control_url, Order::End(parting)),
                    None => {
                        let (directory, conference) = (self.directory.clone(), self.conference.clone());
                        let events = self.events.clone();
                        tokio::spawn(
                            async move { parting.elsewhere(&directory, &conference, &events).await },
                        );
                    }
                }
            }
            focus::Action::Save { record, change } => return self.save(*record, change).await,
            focus::Action::SaveCalls { calls } => {
                let (store, conference) = (self.directory.services.store.clone(), self.conference.clone());
                tokio::spawn(async move { carrier::save_calls(&*store, &conference, &calls).await });
            }
            focus::Action::CountPeople { count } => {
                if let Some(entry) = self.directory.active().conferences.get_mut(&self.conference) {
                    entry.people = count;
                }
            }
            focus::Action::ExpectEnd { at } => {
                if let Some(entry) = self.directory.active().conferences.get_mut(&self.conference) {
                    entry.expected_end = Some(at);
                }
            }
            focus::Action::End => return Performed::Stop,
            other => unreachable!("the host does {other:?} itself"),
        }
        Performed::Done
    }

    /// Saves a record. When somebody else was quicker, the same change is made to what he left.
    async fn save(&self, record: ConferenceRecord, change: RecordChange) -> Performed<Event> {
        let store = &self.directory.services.store;
        let mut record = record;
        let mut saved = store.save_conference(&record).await;
        let mut conflicts = 0;
        while saved == Err(StoreError::Conflict) && conflicts < CONFLICT_LIMIT {
            conflicts += 1;
            saved = match store.conference(&self.conference).await {
                Ok(Some(stored)) => {
                    record = stored.changed(change);
                    store.save_conference(&record).await
                }
                Ok(None) => Err(StoreError::NotFound),
                Err(error) => Err(error),
            };
        }
        if matches!(saved, Err(StoreError::Unavailable(_)))
            && look_again::has(&**store, &self.conference, Some(&record)).await
        {
            saved = Ok(());
        }
        match saved {
            Ok(()) if conflicts == 0 => Performed::Done,
            Ok(()) => {
                let record = Box::new(record);
                Performed::Told(Event::Focus(focus::Event::RecordChanged { record }))
            }
            Err(StoreError::NotFound) => Performed::Failed(Event::Focus(focus::Event::RecordGone)),
            Err(error) => {
                warn!(conference = %self.conference, %error, "a conference record could not be saved");
                self.directory.look_again(&self.conference);
                Performed::Failed(Event::Focus(focus::Event::StoreFailed))
            }
        }
    }

    /// Steps 5 and 6: asks the factory, which provisions the conference on an MCU.
    fn request_mcu(&self, media: McuType) {
        let services = self.directory.services.clone();
        // If it had one, that is lost.
        self.directory.tell_front_end(front_end::Event::McuWanted { mcu: self.conference.mcu(media) });
        let token = clock::entropy().hex::<16>();
        let callback = format!("{}{FOCUS_PATH}{token}", services.focus_base);
        let conference = self.conference.clone();
        self.directory.active().expect_posts(token, &conference, media);
        let (directory, events) = (self.directory.clone(), self.events.clone());
        tokio::spawn(async move {
            let event = match services.provision(&conference, media, callback).await {
                Some(Provisioned { control_url, server_uri }) => {
                    directory.mcu_provisioned(&conference, media, &control_url, server_uri);
                    focus::Event::McuReady { media, control_url }
                }
                None => focus::Event::McuUnavailable { media },
            };
            if let Err(unheard) = events.send(Event::Focus(event)).await {
                give_back(&services.control, &conference, unheard.0).await;
            }
        });
    }

    /// Step 7: hands a command to the MCU's courier. A successor gets one of its own, which does not
    /// wait for an MCU that is lost.
    fn courier(&mut self, media: McuType, control_url: String, order: Order) {
        if self.couriers.get(&media).is_none_or(|courier| courier.control_url != control_url) {
            // Unbounded, yet the Focus bounds it: it holds back commands it has not been answered.
            let (orders, queue) = mpsc::unbounded_channel();
            let carrier = Carrier {
                media,
                url: control_url.clone(),
                directory: self.directory.clone(),
                conference: ConferenceUri::clone(&self.conference),
                events: self.events.clone(),
            };
            tokio::spawn(carrier.carry(queue));
            self.couriers.insert(media, Courier { control_url, orders });
        }
        if let Some(courier) = self.couriers.get(&media) {
            // The courier ends only with this Focus.
            let _ = courier.orders.send(order);
        }
    }
}

/// The meeting was over before its MCU was ready: the MCU need not keep the conference.
async fn give_back(control: &ControlClient, conference: &ConferenceUri, event: Event) {
    let Event::Focus(focus::Event::McuReady { media, control_url }) = event else { return };
    let keys = ConferenceKeys::of(conference.to_string());
    let request = cccp::Request::new(
        1,
        conference.to_string(),
        conference.mcu(media).to_string(),
        Command::DeleteConference(keys),
    );
    if let Err(error) = control.post(&control_url, CCCP, request.to_bytes()).await {
        debug!(%conference, %error, "a conferencing server could not be released");
    }
}
