//! Steps 6 to 8: a conferencing server as a role. It reports its health to the factory, takes
//! conferences and commands on the control link, and SIP from the front end.

mod sip;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use confab_conference::mcu_factory::{HEALTH_LIMIT, HEALTH_PERIOD, component};
use confab_machine::{Component, FlowNote, Time};
use confab_mcu::{Action, Conference, ConferenceSpec, Event, Mcu, McuLimits};
use confab_schema::{
    cccp::{self, Code, Command, ResultBody},
    conference_info::{ConferenceInfo, State},
    mcu_control::{FOCUS_URL, Health, MCU_CONFERENCE_URI, MCU_CONTROL_URL, MCU_SERVER_URI, ServerStatus},
    uri::{ConferenceUri, McuType},
};
use hyper::StatusCode;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{debug, error, warn};

use crate::{
    clock::{self, Clock},
    control_link::{Answer, CCCP, CONFERENCE_INFO, ControlClient, HEALTH, LinkError, Posted},
    drive::{self, Performed, drive},
    flow_log::FlowLog,
    mcu_factory_host::McuFactoryHost,
    media_host::{DataPlane, MediaRoom, NoPort, Said},
    roles::McuParts,
};

pub use sip::{McuSip, McuSipShell, SipAction, SipEvent};

/// Events that may wait for one conference.
const EVENT_QUEUE: usize = 4096;
/// Conferences on one MCU; with three quarters of them it calls itself loaded.
const CONFERENCE_LIMIT: usize = 100_000;

/// Where one MCU lives.
#[derive(Clone, Debug)]
pub struct McuPlace {
    /// Scheme and host of its control link: `http://immcu.inproc`.
    pub control_base: String,
    /// The path under it: `/LiveServer/IMMCU/`.
    pub control_path: String,
    /// The SIP URI at which it takes INVITEs.
    pub server_uri: String,
    /// The factory it reports to.
    pub factory_url: String,
}

/// A conferencing server. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct McuHost {
    shared: Arc<Shared>,
}

struct Shared {
    media: McuType,
    /// What carries its sound and pictures, if it has any.
    data_plane: Option<Arc<dyn DataPlane>>,
    mcu: Mutex<Box<dyn Mcu>>,
    place: McuPlace,
    limits: McuLimits,
    control: ControlClient,
    clock: Clock,
    flows: FlowLog,
    sip: mpsc::Sender<SipEvent>,
    conferences: Mutex<Conferences>,
    last_id: AtomicU64,
    /// By which the factory knows when it was started again.
    instance: String,
    /// Whether it takes no more conferences, because it is to end.
    draining: AtomicBool,
    /// Until when the factory counts on this MCU, in microseconds: so long after the last report
    /// that it took.
    counted_on_until: AtomicU64,
}

/// What became of SIP for a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The conference has it.
    Taken,
    /// There is no such conference here.
    Unknown,
    /// Whatever was here goes on elsewhere.
    Elsewhere,
}

/// The conferences that are here.
#[derive(Default)]
struct Conferences {
    entries: BTreeMap<ConferenceUri, Entry>,
    /// Which one commands are for, by the last part of their URL.
    tokens: BTreeMap<String, ConferenceUri>,
}

impl Conferences {
    /// A new conference; a former one of the same name is commanded no more.
    fn insert(&mut self, conference: ConferenceUri, entry: Entry) {
        self.tokens.insert(entry.token.clone(), conference.clone());
        if let Some(former) = self.entries.insert(conference, entry) {
            self.tokens.remove(&former.token);
        }
    }

    /// The conference with this token is here no more; a newer one of the same name is left alone.
    fn remove(&mut self, token: &str) {
        if let Some(conference) = self.tokens.remove(token) {
            self.entries.remove(&conference);
        }
    }

    fn commanded_by(&self, token: &str) -> Option<&Entry> {
        self.entries.get(self.tokens.get(token)?)
    }
}

struct Entry {
    events: mpsc::Sender<Box<Event>>,
    /// The last part of its control URL: unguessable.
    token: String,
    focus_url: String,
    /// Commands whose HTTP request is still open.
    open: Arc<Mutex<BTreeMap<u64, oneshot::Sender<cccp::Response>>>>,
    /// How many people are in it.
    people: Arc<AtomicU32>,
}

impl McuHost {
    /// A host of a conferencing server, which sends SIP through `sip`.
    pub fn new(
        McuParts { mcu, media: data_plane }: McuParts,
        place: McuPlace,
        limits: McuLimits,
        control: ControlClient,
        clock: Clock,
        flows: FlowLog,
        sip: mpsc::Sender<SipEvent>,
    ) -> McuHost {
        let shared = Shared {
            media: mcu.media(),
            data_plane,
            mcu: Mutex::new(mcu),
            place,
            limits,
            control,
            clock,
            flows,
            sip,
            conferences: Mutex::default(),
            last_id: AtomicU64::new(0),
            instance: clock::entropy().hex::<8>(),
            draining: AtomicBool::new(false),
            counted_on_until: AtomicU64::new((clock.now() + HEALTH_LIMIT).as_micros()),
        };
        McuHost { shared: Arc::new(shared) }
    }

    /// Its factory is in this process too: what holds up one holds up the other, so neither ever
    /// takes the other for gone.
    pub fn accompany(&self, factory: &McuFactoryHost) {
        let place = &self.shared.place;
        factory.add_companion(format!("{}{}", place.control_base, place.control_path));
        self.shared.counted_on_until.store(u64::MAX, Ordering::Relaxed);
    }

    /// Reports this MCU's health to the factory, for ever.
    pub async fn report_health(self) {
        let shared = &self.shared;
        let mut heard = true;
        loop {
            let (sent, health) = (shared.clock.now(), self.health().to_bytes());
            let post = shared.control.post(&shared.place.factory_url, HEALTH, health);
            // A way that leads nowhere any more is left for a new one before the factory gives us up.
            let taken = timeout(HEALTH_PERIOD * 2, post).await;
            self.step_aside_if_replaced();
            match taken {
                Ok(Ok(_)) => {
                    heard = true;
                    let until = (sent + HEALTH_LIMIT).as_micros();
                    shared.counted_on_until.fetch_max(until, Ordering::Relaxed);
                }
                Ok(Err(error)) if heard => {
                    heard = false;
                    warn!(%error, "the factory does not take this conferencing server's health");
                }
                Ok(Err(error)) => debug!(%error, "the factory still does not take health"),
                Err(_) => debug!("the factory does not answer in time"),
            }
            shared.clock.sleep_until(Some(shared.clock.now() + HEALTH_PERIOD)).await;
        }
    }

    /// Whether the factory counts on this MCU no more: after a standstill, or without a network, its
    /// conferences go on elsewhere.
    fn is_replaced(&self, now: Time) -> bool {
        now.as_micros() >= self.shared.counted_on_until.load(Ordering::Relaxed)
    }

    /// Ends what goes on elsewhere, without a word to the participants.
    fn step_aside_if_replaced(&self) {
        if !self.is_replaced(self.shared.clock.now()) {
            return;
        }
        let left = std::mem::take(&mut *self.conferences());
        if !left.entries.is_empty() {
            warn!(
                conferences = left.entries.len(),
                "the factory was out of reach for too long; they go on elsewhere"
            );
        }
        for entry in left.entries.into_values() {
            let host = self.clone();
            // Should the factory have heard us after all, then the Focus learns of it by this.
            tokio::spawn(async move { host.report_loss(&entry.focus_url).await });
        }
    }

    fn health(&self) -> Health {
        let shared = &self.shared;
        let (conferences, participants) = {
            let conferences = self.conferences();
            let people = conferences.entries.values().map(|entry| entry.people.load(Ordering::Relaxed));
            (conferences.entries.len(), people.fold(0, u32::saturating_add))
        };
        let status = match conferences {
            _ if shared.draining.load(Ordering::Relaxed) => ServerStatus::Full,
            n if n >= CONFERENCE_LIMIT => ServerStatus::Full,
            n if n >= CONFERENCE_LIMIT / 4 * 3 => ServerStatus::Loaded,
            _ => ServerStatus::Normal,
        };
        Health {
            url: format!("{}{}", shared.place.control_base, shared.place.control_path),
            media: shared.media,
            status,
            conferences: u32::try_from(conferences).unwrap_or(u32::MAX),
            participants,
            vendor: "Confab".into(),
            instance: Some(shared.instance.clone()),
        }
    }

    /// Takes no more conferences; those that are here go on until they end.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// The SIP URI at which it takes INVITEs.
    pub fn server_uri(&self) -> &str {
        &self.shared.place.server_uri
    }

    /// How many conferences are here, and how many people in them.
    pub fn counts(&self) -> (u64, u64) {
        let health = self.health();
        (health.conferences.into(), health.participants.into())
    }

    /// What carries its sound and pictures, if it has any.
    pub fn media(&self) -> Option<&dyn DataPlane> {
        self.shared.data_plane.as_deref()
    }

    /// How many conferences are here.
    pub fn conference_count(&self) -> usize {
        self.conferences().entries.len()
    }

    /// Takes what is posted to this MCU: conferences, and commands to one.
    pub async fn posted(self, posted: Posted) -> Answer {
        let Some(token) = posted.path.strip_prefix(self.shared.place.control_path.as_str()) else {
            return Answer::NotFound;
        };
        if posted.content_type != CCCP {
            return Answer::Unreadable(format!("{} is not C3P", posted.content_type));
        }
        let request = match cccp::Request::parse(&posted.body) {
            Ok(request) => request,
            Err(malformed) => return Answer::Unreadable(malformed.to_string()),
        };
        if token.is_empty() {
            return Answer::Document(self.add_conference(&request).to_bytes());
        }
        match self.command(token, request).await {
            Some(response) => Answer::Document(response.to_bytes()),
            None => Answer::NotFound,
        }
    }

    /// Step 6: takes a conference and says where its control link is.
    fn add_conference(&self, request: &cccp::Request) -> cccp::Response {
        let shared = &self.shared;
        let [Command::AddConference { info, connection_info }] = request.commands.as_slice() else {
            return cccp::Response::failed(request, "notSupported");
        };
        let focus_url = connection_info.iter().find(|(key, _)| key.eq_ignore_ascii_case(FOCUS_URL));
        let (Some((_, focus_url)), Ok(conference)) = (focus_url, ConferenceUri::parse(&info.entity)) else {
            return cccp::Response::failed(request, "requestMalformed");
        };
        let spec = ConferenceSpec {
            conference: conference.clone(),
            server_uri: shared.place.server_uri.clone(),
            locked: info.conference_state.as_ref().and_then(|state| state.locked).unwrap_or(false),
            limits: shared.limits.clone(),
        };
        let draining = shared.draining.load(Ordering::Relaxed);
        if draining || self.conference_count() >= CONFERENCE_LIMIT {
            return cccp::Response::failed(request, "serverBusy");
        }
        let machine = shared.mcu.lock().expect("no MCU panics").add_conference(spec, clock::entropy());
        match machine {
            Ok(machine) => {
                let token = self.start(conference.clone(), machine, focus_url.clone());
                let place = &shared.place;
                let info = ConferenceInfo::partial(conference.to_string(), 1);
                let connection_info = vec![
                    (
                        MCU_CONTROL_URL.to_owned(),
                        format!("{}{}{token}", place.control_base, place.control_path),
                    ),
                    (MCU_CONFERENCE_URI.to_owned(), conference.mcu(shared.media).to_string()),
                    (MCU_SERVER_URI.to_owned(), place.server_uri.clone()),
                ];
                let body = ResultBody::Provisioned { info: Box::new(info), connection_info };
                cccp::Response::new(request, Code::Success, body)
            }
            Err(refusal) => {
                warn!(%conference, %refusal, "a conference was declined");
                cccp::Response::failed(request, "otherFailure")
            }
        }
    }

    /// Starts the conference's task; a former one of the same conference is left to end.
    fn start(&self, conference: ConferenceUri, machine: Conference, focus_url: String) -> String {
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let token = clock::entropy().hex::<16>();
        let open = Arc::new(Mutex::new(BTreeMap::new()));
        let (courier, posts) = mpsc::unbounded_channel();
        let carrying = self.clone().carry(posts, focus_url.clone(), token.clone());
        let carrying = tokio::spawn(carrying);
        let people = Arc::default();
        let shell = Shell {
            host: self.clone(),
            conference: conference.clone(),
            open: Arc::clone(&open),
            present: BTreeSet::new(),
            people: Arc::clone(&people),
            courier,
            room: self.open_room(&token, &focus_url, &events),
        };
        let entry = Entry { events, token: token.clone(), focus_url: focus_url.clone(), open, people };
        self.conferences().insert(conference.clone(), entry);
        let host = self.clone();
        let own_token = token.clone();
        let running = tokio::spawn(drive(Boxed(machine), queue, host.shared.clock, shell));
        tokio::spawn(async move {
            let died = running.await.is_err();
            host.conferences().remove(&own_token);
            if died {
                error!(%conference, "a conference died of a fault in this conferencing server; it is provisioned anew");
            }
            let _ = host.shared.sip.send(SipEvent::Ended { conference }).await;
            if died {
                // What it told before, its successor needs.
                let _ = carrying.await;
                host.report_loss(&focus_url).await;
            }
        });
        token
    }

    /// A room for a conference, which hears what happens there; none where there is no data plane.
    fn open_room(
        &self,
        token: &str,
        focus_url: &str,
        events: &mpsc::Sender<Box<Event>>,
    ) -> Option<Box<dyn MediaRoom>> {
        let media = self.shared.data_plane.as_ref()?;
        let (tells, mut told) = mpsc::unbounded_channel();
        // A room lives as long as its conference. So that its conference can end it must not keep it.
        let (host, events) = (self.clone(), events.downgrade());
        let (token, focus_url) = (token.to_owned(), focus_url.to_owned());
        tokio::spawn(async move {
            while let Some(said) = told.recv().await {
                let Said::Event(event) = said else {
                    // As if the conference itself had broken.
                    host.conferences().remove(&token);
                    return host.report_loss(&focus_url).await;
                };
                let Some(events) = events.upgrade() else { return };
                if events.send(Box::new(Event::Media(event))).await.is_err() {
                    return;
                }
            }
        });
        Some(media.open_room(tells))
    }

    /// A conference is lost here: its Focus provisions anew, and nobody else notices.
    async fn report_loss(&self, focus_url: &str) {
        let shared = &self.shared;
        let health = Health { status: ServerStatus::Unavailable, ..self.health() };
        if let Err(error) = shared.control.post(focus_url, HEALTH, health.to_bytes()).await {
            debug!(%error, "the Focus does not take what an MCU reports");
        }
    }

    /// Posts to the Focus of a conference, one document after the other.
    async fn carry(
        self,
        mut posts: mpsc::UnboundedReceiver<(&'static str, Bytes)>,
        focus_url: String,
        token: String,
    ) {
        let Shared { control, clock, .. } = &*self.shared;
        while let Some((content_type, body)) = posts.recv().await {
            match control.post(&focus_url, content_type, body).await {
                Ok(_) => {}
                Err(LinkError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                    // The Focus is over, and then deleteConference is on its way; or it has another
                    // MCU, and then nobody will ever end this.
                    clock.sleep_until(Some(clock.now() + HEALTH_LIMIT)).await;
                    return self.conferences().remove(&token);
                }
                // It or its successor provisions anew if it needs to.
                Err(error) => debug!(%error, "the Focus does not take what an MCU reports"),
            }
        }
    }

    /// Step 7: a command to the conference with this token; its first answer.
    async fn command(&self, token: &str, request: cccp::Request) -> Option<cccp::Response> {
        let (answer, answered) = oneshot::channel();
        let id = self.shared.last_id.fetch_add(1, Ordering::Relaxed);
        let events = {
            let conferences = self.conferences();
            let entry = conferences.commanded_by(token)?;
            entry.open.lock().expect("nobody panics while holding it").insert(id, answer);
            entry.events.clone()
        };
        events.send(Box::new(Event::Control { id, request })).await.ok()?;
        answered.await.ok()
    }

    /// Hands SIP to a conference.
    pub(crate) fn deliver(&self, conference: &ConferenceUri, event: Event) -> Delivery {
        if self.is_replaced(self.shared.clock.now()) {
            // What waited here during a standstill has been sent to the successor too.
            self.step_aside_if_replaced();
            return Delivery::Elsewhere;
        }
        let events = self.conferences().entries.get(conference).map(|entry| entry.events.clone());
        let taken = events.is_some_and(|events| events.try_send(Box::new(event)).is_ok());
        if taken { Delivery::Taken } else { Delivery::Unknown }
    }

    fn conferences(&self) -> std::sync::MutexGuard<'_, Conferences> {
        self.shared.conferences.lock().expect("nobody panics while holding the table")
    }
}

/// A boxed conference as a machine for the loop.
struct Boxed(Conference);

impl confab_machine::Machine for Boxed {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        self.0.handle(now, event, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.0.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        self.0.handle_timeout(now, out);
    }
}

/// The hands of one conference on the MCU.
struct Shell {
    host: McuHost,
    conference: ConferenceUri,
    open: Arc<Mutex<BTreeMap<u64, oneshot::Sender<cccp::Response>>>>,
    /// Who is in it, as the Focus has been told.
    present: BTreeSet<String>,
    people: Arc<AtomicU32>,
    /// What goes to the Focus, in order.
    courier: mpsc::UnboundedSender<(&'static str, Bytes)>,
    /// Where it is heard and seen, if it is.
    room: Option<Box<dyn MediaRoom>>,
}

impl drive::Shell<Boxed> for Shell {
    async fn perform(&mut self, now: Time, action: Action) -> Performed<Event> {
        if self.host.is_replaced(now) {
            self.host.step_aside_if_replaced();
            return Performed::Stop;
        }
        let conference = self.conference.clone();
        let sip = match action {
            Action::ControlResponse { id, response } => {
                let open = self.open.lock().expect("nobody panics while holding it").remove(&id);
                // The first answer goes back over HTTP; a final one after it goes to the Focus.
                match open {
                    Some(open) => drop(open.send(response)),
                    None => self.post(CCCP, response.to_bytes()),
                }
                return Performed::Done;
            }
            Action::Notify(document) => {
                self.count(&document);
                self.post(
                    CONFERENCE_INFO,
                    document.to_bytes(confab_schema::conference_info::View::Microsoft),
                );
                return Performed::Done;
            }
            Action::OpenMedia { leg, kinds, multiplexed } => {
                let opened =
                    self.room.as_ref().ok_or(NoPort).and_then(|room| room.open(leg, &kinds, multiplexed));
                return Performed::Told(match opened {
                    Ok(addresses) => Event::MediaOpened { leg, addresses },
                    Err(NoPort) => Event::MediaRefused { leg },
                });
            }
            Action::Media(command) => {
                if let Some(room) = &self.room {
                    room.command(command);
                }
                return Performed::Done;
            }
            Action::Respond { key, response } => SipEvent::Respond { key, response },
            Action::Send { id, flow, request, .. } => SipEvent::Send { conference, id, flow, request },
            Action::Cancel { id } => SipEvent::Cancel { conference, id },
            // There is no data plane here, so there are no ports.
            Action::Ended => return Performed::Stop,
        };
        if self.host.shared.sip.send(sip).await.is_err() {
            return Performed::Stop;
        }
        Performed::Done
    }

    fn note(&mut self, now: Time, mut note: FlowNote) {
        // An event does not say which medium's server hears it.
        for place in [&mut note.from, &mut note.to] {
            if *place == Component::ImMcu {
                *place = component(self.host.shared.media);
            }
        }
        self.host.shared.flows.file(self.conference.id.as_str(), now, note);
    }
}

impl Shell {
    /// Keeps count of the people here for the health report.
    fn count(&mut self, document: &ConferenceInfo) {
        for user in document.users.iter().flat_map(|users| &users.users) {
            if user.state == State::Deleted || user.endpoints.is_empty() {
                self.present.remove(&user.entity);
            } else {
                self.present.insert(user.entity.clone());
            }
        }
        let people = u32::try_from(self.present.len()).unwrap_or(u32::MAX);
        self.people.store(people, Ordering::Relaxed);
    }

    fn post(&self, content_type: &'static str, body: Bytes) {
        // Unbounded, yet bounded by what participants do while one post is under way; the courier
        // ends only with this conference.
        let _ = self.courier.send((content_type, body));
    }
}
