//! Steps 7 and 8 on the A/V MCU: one conference's voices and pictures (MS-CONFAV, signin-presence-media C5).
//!
//! It negotiates, and tells the data plane ([`confab_media`]) what was agreed on and who may be heard; not one
//! packet passes here.
//!
//! - `av/negotiation.rs`: offer and answer for one stream;
//! - `av/calls.rs`: the descriptions of a whole call, when its ports are open.

mod calls;
mod negotiation;

use std::collections::BTreeMap;

use confab_machine::{Component, Entropy, Time};
use confab_media::session::{self, Command, Gate, IceDialect, PersonId};
use confab_schema::{
    conference_info::{Endpoint, EntityMedia, EntityView, MediaStatus},
    uri::{McuType, UserUri},
};
use confab_sip::{
    Request, Response, ServerKey,
    sdp::body::{CONTENT_TYPE, Described},
};
use serde::{Deserialize, Serialize};

use crate::{
    Action, Conference, ConferenceSpec, Mcu, Refusal,
    conference::{Asked, Leg, LegId, Medium, Room, not_allowed},
    event::MediaEvent,
};
use calls::{Call, Opening};

/// What somebody is told to whose media no way was found.
const UNREACHABLE: &str = "No way to your media was found.";
/// What somebody is told whose client does not answer.
const SILENT: &str = "You were disconnected because nothing came from you.";

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
        AvOptions { draft6: false, draft19: true, rfc8445: true, video: false }
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
    calls: BTreeMap<LegId, Call>,
}

/// What is so of a person by whatever leg he comes.
#[derive(Debug)]
struct Person {
    id: PersonId,
    gate: Gate,
}

/// What is kept of a session beyond its dialog: nothing that a successor could use, for ports are its own.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct VoiceSession {}

/// What the answer to a request is for.
#[derive(Debug)]
enum Asking {
    /// Our INVITE in a session that was another MCU's, with this number.
    Offer { leg: LegId, number: u32 },
    /// Whether somebody is there of whom nothing comes.
    Sign { leg: LegId },
}

impl Voices {
    fn new(options: AvOptions) -> Voices {
        Voices { options, people: BTreeMap::new(), last_person: 0, calls: BTreeMap::new() }
    }

    /// A person, known from now on.
    fn person(&mut self, user: &UserUri) -> &mut Person {
        let Voices { people, last_person, .. } = self;
        people.entry(user.clone()).or_insert_with(|| {
            *last_person += 1;
            Person { id: PersonId(*last_person), gate: Gate::Open }
        })
    }
}

impl Medium for Voices {
    const MEDIA: McuType = McuType::AudioVideo;
    const COMPONENT: Component = Component::AvMcu;
    const ALLOW: &'static str = "ACK, BYE, CANCEL, INVITE, OPTIONS, UPDATE";
    const SUPPORTED: &'static str = "";

    type Session = VoiceSession;
    type Pending = Asking;
    type Timer = ();

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
        if room.medium.calls.get(&leg).is_some_and(Call::is_negotiating) {
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
        _: Time,
        leg: LegId,
        response: &Response,
        out: &mut Vec<Action>,
    ) -> Option<VoiceSession> {
        room.take_answer(leg, &response.headers, &response.body, out).then_some(VoiceSession {})
    }

    fn call_over(room: &mut Room<Self>, _: Time, leg: LegId, out: &mut Vec<Action>) {
        room.close(leg, out);
    }

    fn resumed(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>) {
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
                if response.is_none_or(|response| matches!(response.status, 408 | 481)) {
                    room.remove_leg(now, leg, Some(SILENT), out);
                }
            }
        }
    }

    fn due(_: &mut Room<Self>, _: Time, (): (), _: &mut Vec<Action>) {}

    fn media(room: &mut Room<Self>, now: Time, event: MediaEvent, out: &mut Vec<Action>) {
        match event {
            MediaEvent::Opened { leg, addresses } => room.opened(now, LegId(leg.0), &addresses, out),
            MediaEvent::Refused { leg } => room.not_opened(now, LegId(leg.0), out),
            MediaEvent::Plane(session::Event::Unreachable { leg }) => {
                room.remove_leg(now, LegId(leg.0), Some(UNREACHABLE), out);
            }
            MediaEvent::Plane(session::Event::Silent { leg }) => room.ask_for_a_sign(LegId(leg.0), out),
            MediaEvent::Plane(_) => {}
        }
    }

    fn left(room: &mut Room<Self>, _: Time, id: LegId, _: &Leg<VoiceSession>, out: &mut Vec<Action>) {
        room.close(id, out);
    }

    fn ended(&mut self) {
        self.calls.clear();
    }

    fn describe(&self, id: LegId, leg: &Leg<VoiceSession>, endpoint: &mut Endpoint) {
        let gate = self.people.get(&leg.user).map_or(Gate::Open, |person| person.gate);
        endpoint.media = calls::describe(self.calls.get(&id), gate);
    }

    fn describe_view(&self, view: &mut EntityView) {
        let kinds = if self.options.video { &["audio", "video"][..] } else { &["audio"] };
        let medium = |kind: &&str| EntityMedia {
            label: format!("main-{kind}"),
            kind: (*kind).to_owned(),
            status: Some(MediaStatus::SendRecv),
        };
        view.media = kinds.iter().map(medium).collect();
    }
}

impl Room<Voices> {
    fn close(&mut self, leg: LegId, out: &mut Vec<Action>) {
        if self.medium.calls.remove(&leg).is_some() {
            out.push(Action::Media(Command::Close { leg: session::LegId(leg.0) }));
        }
    }
}
