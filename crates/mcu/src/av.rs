//! Steps 7 and 8 on the A/V MCU: one conference's voices and pictures (MS-CONFAV, signin-presence-media C5).
//!
//! It negotiates, and tells the data plane ([`confab_media`]) what was agreed on and who may be heard; not one
//! packet passes here.
//!
//! - `av/negotiation.rs`: offer and answer for one stream;
//! - `av/calls.rs`: the descriptions of a whole call, when its ports are open;
//! - `av/gates.rs`: who is heard;
//! - `av/keys.rs`: keys that are pressed;
//! - `av/records.rs`: what became of each leg.

mod calls;
mod gates;
mod keys;
mod negotiation;
mod records;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use confab_machine::{Component, Entropy, Time};
use confab_media::session::{self, Gate, IceDialect, PersonId};
use confab_schema::{
    cccp::{self, ResultBody},
    conference_info::{
        CallRecord, ConferenceInfo, Endpoint, EndpointStatus, EntityMedia, EntityView, MediaRules,
        MediaStatus, Role,
    },
    uri::{McuType, UserUri},
};
use confab_sip::{
    Request, Response, ServerKey,
    sdp::body::{CONTENT_TYPE, Described},
};
use serde::{Deserialize, Serialize};

use crate::{
    Action, Conference, ConferenceSpec, Mcu, Refusal,
    conference::{Asked, Farewell, Leg, LegId, Medium, Room, not_allowed},
    control::{Fault, MediaVerb},
    event::MediaEvent,
};
use calls::{Call, Opening};
use gates::Gating;

/// What somebody is told to whose media no way was found.
const UNREACHABLE: Farewell = Farewell::failed("No way to your media was found.");
/// What somebody is told whose client does not answer.
const SILENT: Farewell = Farewell::failed("You were disconnected because nothing came from you.");

/// The answers that are no sign of a client: those of proxies that cannot reach it, as ours says 500 when its
/// connection is gone and 504 when it is silent, and those of a client that knows nothing of the session.
const NOBODY_THERE: [u16; 9] = [404, 408, 410, 430, 480, 481, 500, 503, 504];

/// What the data plane of this server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvOptions {
    /// Connectivity checks after draft 6 (MS-ICE). Without, such an offer is refused with 488 and 7008, and
    /// clients of OCS try draft 19.
    pub draft6: bool,
    /// Connectivity checks after draft 19 (MS-ICE2).
    pub draft19: bool,
    /// Connectivity checks after RFC 8445.
    pub rfc8445: bool,
    /// Pictures are passed on.
    pub video: bool,
}

impl Default for AvOptions {
    fn default() -> AvOptions {
        AvOptions { draft6: true, draft19: true, rfc8445: true, video: true }
    }
}

impl AvOptions {
    fn allows(self, dialect: IceDialect) -> bool {
        match dialect {
            IceDialect::Draft6 => self.draft6,
            IceDialect::Draft19 => self.draft19,
            IceDialect::Rfc8445 => self.rfc8445,
        }
    }
}

/// The A/V conferencing server.
#[derive(Clone, Copy, Debug, Default)]
pub struct AvMcu {
    /// What its data plane can do.
    pub options: AvOptions,
}

impl Mcu for AvMcu {
    fn media(&self) -> McuType {
        Voices::MEDIA
    }

    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal> {
        Ok(Box::new(Room::new(spec, entropy, Voices::new(self.options))?))
    }
}

/// The voices of one conference.
#[derive(Debug)]
struct Voices {
    options: AvOptions,
    people: BTreeMap<UserUri, Person>,
    last_person: u64,
    calls: BTreeMap<LegId, Box<Call>>,
    /// Who is heard now.
    speaking: BTreeSet<LegId>,
    rules: MediaRules,
    /// What the data plane has not confirmed, by the number of its last command.
    gatings: BTreeMap<u64, Gating>,
    last_gate: u64,
    /// The legs of which the data plane has yet to say how they were.
    closing: BTreeMap<LegId, CallRecord>,
    /// What the Focus has not been told.
    records: Vec<CallRecord>,
    /// The command that ended the conference, while it waits for `closing`.
    ending: Option<(u64, cccp::Request)>,
}

/// What there is to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waking {
    /// This has not been confirmed in time.
    Gating(u64),
    /// How this leg was has not been said in time.
    Closing(LegId),
    /// Our offer in a session taken over met one of the participant's, and is made again.
    Offer(LegId),
}

/// What is so of a person by whatever leg he comes.
#[derive(Debug)]
struct Person {
    id: PersonId,
    /// What is wanted.
    gate: Gate,
    /// What the data plane has confirmed.
    shown: Gate,
    /// He waits in the lobby, for which he is held, whatever the rules are.
    in_lobby: bool,
}

impl Person {
    /// What a successor is to know of him.
    fn word(&self) -> Cow<'static, str> {
        if self.in_lobby { Cow::Borrowed(IN_LOBBY) } else { gate_word(self.gate) }
    }
}

/// The word for somebody who waits in the lobby: whether he still does the Focus says.
const IN_LOBBY: &str = "lobby";

/// What is kept of a session beyond its dialog, for a successor: ports are its own, but who is mute stays so.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct VoiceSession {
    gate: Cow<'static, str>,
}

/// A gate as a successor reads it.
fn gate_word(gate: Gate) -> Cow<'static, str> {
    Cow::Borrowed(match gate {
        Gate::Open => "open",
        Gate::Muted => "muted",
        Gate::Waiting => "waiting",
    })
}

/// What the answer to a request is for.
#[derive(Debug)]
enum Asking {
    /// Our INVITE in a session that was another MCU's, with this number.
    Offer { leg: LegId, number: u32 },
    /// Whether somebody is there of whom nothing comes.
    Sign { leg: LegId },
    /// That somebody pressed a key.
    Key { leg: LegId },
}

impl Voices {
    fn new(options: AvOptions) -> Voices {
        Voices {
            options,
            people: BTreeMap::new(),
            last_person: 0,
            calls: BTreeMap::new(),
            speaking: BTreeSet::new(),
            rules: MediaRules::default(),
            gatings: BTreeMap::new(),
            last_gate: 0,
            closing: BTreeMap::new(),
            records: Vec::new(),
            ending: None,
        }
    }

    /// A person, known from now on; what the rules say of his role holds for whoever is new.
    fn person(&mut self, user: &UserUri, role: Option<Role>) -> &mut Person {
        let Voices { people, last_person, rules, .. } = self;
        people.entry(user.clone()).or_insert_with(|| {
            *last_person += 1;
            let gate = gates::first_gate(rules, role);
            Person { id: PersonId(*last_person), gate, shown: gate, in_lobby: false }
        })
    }

    /// Somebody is out. Who was muted himself is remembered: he comes back mute. Of who waits in the lobby the
    /// Focus says it anew.
    fn forget(&mut self, user: &UserUri, role: Option<Role>, limit: usize) {
        let usual = gates::first_gate(&self.rules, role);
        let is_usual = |person: &Person| person.in_lobby || person.gate == usual;
        if self.people.len() > limit || self.people.get(user).is_some_and(is_usual) {
            self.people.remove(user);
        }
    }
}

impl Medium for Voices {
    const MEDIA: McuType = McuType::AudioVideo;
    const COMPONENT: Component = Component::AvMcu;
    const ALLOW: &'static str = "ACK, BYE, CANCEL, INVITE, OPTIONS, UPDATE";
    const SUPPORTED: &'static str = "";
    const HOLDS: bool = true;

    type Session = VoiceSession;
    type Pending = Asking;
    type Timer = Waking;

    fn accept() -> String {
        CONTENT_TYPE.to_owned()
    }

    fn invited(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        offer: Option<Described>,
        out: &mut Vec<Action>,
    ) {
        room.open(now, leg, Opening::Arrival(offer), out);
    }

    fn invited_again(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        asked: Asked,
        offer: Option<Described>,
        out: &mut Vec<Action>,
    ) {
        // Two offers cannot be under way at once (RFC 3261 §14.2).
        if room.medium.calls.get(&leg).is_some_and(|call| call.is_negotiating()) {
            let response = Response::to(&asked.request, 491);
            return out.push(Action::Respond { key: asked.key, response });
        }
        room.open(now, leg, Opening::Again(Box::new(asked), offer), out);
    }

    fn acknowledged(room: &mut Room<Self>, now: Time, leg: LegId, ack: &Request, out: &mut Vec<Action>) {
        room.offer_acknowledged(now, leg, ack, out);
    }

    fn offer_call(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>) {
        room.open(now, leg, Opening::Calling, out);
    }

    fn call_answered(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        response: &Response,
        out: &mut Vec<Action>,
    ) -> Option<VoiceSession> {
        room.tell_keys_if_asked(leg, &response.headers);
        let good = room.take_answer(now, leg, &response.headers, &response.body, out);
        good.then(|| room.voice_session(leg))
    }

    fn call_over(room: &mut Room<Self>, _: Time, leg: LegId, out: &mut Vec<Action>) {
        if room.medium.calls.remove(&leg).is_some() {
            out.push(Action::Media(session::Command::Close { leg: session::LegId(leg.0) }));
        }
    }

    fn resumed(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>) {
        room.resume_gate(leg);
        room.open(now, leg, Opening::Resumed, out);
    }

    fn request(
        _: &mut Room<Self>,
        _: Time,
        key: ServerKey,
        _: LegId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Respond { key, response: not_allowed::<Self>(request) });
    }

    fn responded(
        room: &mut Room<Self>,
        now: Time,
        asking: Asking,
        response: Option<&Response>,
        out: &mut Vec<Action>,
    ) {
        match asking {
            Asking::Offer { leg, number } => room.offer_answered(now, leg, number, response, out),
            Asking::Sign { leg } => {
                if response.is_none_or(|response| NOBODY_THERE.contains(&response.status)) {
                    room.remove_leg(now, leg, Some(SILENT), out);
                }
            }
            // A client that does not answer this is not dead for that.
            Asking::Key { leg } => {
                if response.is_some_and(|response| response.status == 481) {
                    room.remove_leg(now, leg, None, out);
                }
            }
        }
    }

    fn due(room: &mut Room<Self>, now: Time, waking: Waking, out: &mut Vec<Action>) {
        match waking {
            Waking::Gating(number) => room.not_gated(number, out),
            Waking::Closing(leg) => room.closed(leg, None, out),
            Waking::Offer(leg) => room.offer_once_more(now, leg, out),
        }
    }

    fn command(
        room: &mut Room<Self>,
        now: Time,
        control: (u64, &cccp::Request),
        verb: MediaVerb<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Option<ResultBody>, Fault> {
        room.gate(now, control, verb, out)
    }

    fn hold(room: &mut Room<Self>, user: &UserUri, out: &mut Vec<Action>) {
        room.hold(user, out);
    }

    fn media(room: &mut Room<Self>, now: Time, event: MediaEvent, out: &mut Vec<Action>) {
        match event {
            MediaEvent::Opened { leg, addresses } => room.opened(now, LegId(leg.0), &addresses, out),
            MediaEvent::Refused { leg } => room.not_opened(now, LegId(leg.0), out),
            MediaEvent::Plane(session::Event::Unreachable { leg }) => {
                room.remove_leg(now, LegId(leg.0), Some(UNREACHABLE), out);
            }
            MediaEvent::Plane(session::Event::Silent { leg }) => room.ask_for_a_sign(LegId(leg.0), out),
            MediaEvent::Plane(session::Event::Gated { id }) => room.gated(id, out),
            MediaEvent::Plane(session::Event::Speaking { legs }) => room.speaking(&legs),
            MediaEvent::Plane(session::Event::Closed { leg, quality }) => {
                room.closed(LegId(leg.0), Some(quality), out);
            }
            MediaEvent::Plane(session::Event::Digit { leg, digit, duration }) => {
                room.key_pressed(LegId(leg.0), digit, duration, out);
            }
            MediaEvent::Plane(session::Event::Connected { .. }) => {}
        }
    }

    fn left(
        room: &mut Room<Self>,
        now: Time,
        id: LegId,
        leg: &Leg<VoiceSession>,
        farewell: Option<Farewell>,
        out: &mut Vec<Action>,
    ) {
        room.close(now, id, leg, farewell, out);
        if room.roster.person(&leg.user).is_none() {
            let limit = room.limits.participants;
            // His role is gone with him; the rule for attendees is the stricter one.
            room.medium.forget(&leg.user, Some(Role::Attendee), limit);
        }
    }

    fn winds_up(
        room: &mut Room<Self>,
        now: Time,
        control: (u64, &cccp::Request),
        out: &mut Vec<Action>,
    ) -> bool {
        room.wind_up(now, control, out)
    }

    fn add_news(&mut self, document: &mut ConferenceInfo) {
        document.calls = std::mem::take(&mut self.records);
    }

    fn describe(&self, id: LegId, leg: &Leg<VoiceSession>, role: Option<Role>, endpoint: &mut Endpoint) {
        let person = self.people.get(&leg.user);
        let gate = person.map_or_else(|| gates::first_gate(&self.rules, role), |person| person.shown);
        if person.is_some_and(|person| person.in_lobby) && endpoint.status == Some(EndpointStatus::Connected)
        {
            endpoint.status = Some(EndpointStatus::OnHold);
        }
        endpoint.media = calls::describe(self.calls.get(&id).map(|call| &**call), gate);
        endpoint.speaking = self.speaking.contains(&id);
    }

    fn describe_view(&self, view: &mut EntityView) {
        let kinds = if self.options.video { &["audio", "video"][..] } else { &["audio"] };
        let medium = |kind: &&str| EntityMedia {
            label: format!("main-{kind}"),
            kind: (*kind).to_owned(),
            status: Some(MediaStatus::SendRecv),
        };
        view.media = kinds.iter().map(medium).collect();
        view.rules = (self.rules != MediaRules::default()).then(|| self.rules.clone());
    }
}

impl Room<Voices> {
    /// The role of whoever is in.
    fn role(&self, user: &UserUri) -> Option<Role> {
        self.roster.person(user).and_then(|person| person.roles.first().copied())
    }

    /// What a session begins with.
    fn voice_session(&mut self, leg: LegId) -> VoiceSession {
        let Some(user) = self.roster.leg(leg).map(|leg| leg.user.clone()) else {
            return VoiceSession::default();
        };
        let role = self.role(&user);
        VoiceSession { gate: self.medium.person(&user, role).word() }
    }

    /// Who was mute at our predecessor is mute here.
    fn resume_gate(&mut self, leg: LegId) {
        let Some(leg) = self.roster.leg(leg) else { return };
        let word = leg.session().map(|session| session.own.gate.clone()).unwrap_or_default();
        let (user, role) = (leg.user.clone(), self.role(&leg.user));
        let gates = [Gate::Open, Gate::Muted, Gate::Waiting];
        if let Some(gate) = gates.into_iter().find(|gate| gate_word(*gate) == word) {
            let person = self.medium.person(&user, role);
            (person.gate, person.shown) = (gate, gate);
        }
    }

    /// Others are heard than before.
    fn speaking(&mut self, legs: &[session::LegId]) {
        let now: BTreeSet<LegId> = legs.iter().map(|leg| LegId(leg.0)).collect();
        let before = std::mem::replace(&mut self.medium.speaking, now);
        for id in before.symmetric_difference(&self.medium.speaking) {
            self.changes.people.extend(self.roster.leg(*id).map(|leg| leg.user.clone()));
        }
    }
}
