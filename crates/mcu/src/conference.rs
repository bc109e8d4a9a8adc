//! Steps 7 and 8 as every MCU takes them: who is in one conference and by which legs, the dialogs of
//! participants with their session timers, the commands of the Focus, calls to people who are wanted,
//! and what the Focus is told. What flows in a session is the [`Medium`]'s.

mod command;
mod dial_out;
mod dialogs;
mod handover;
mod notify;
mod roster;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use bytes::Bytes;
use confab_machine::{Component, Entropy, FlowNote, Machine, Time};
use confab_schema::{
    cccp::{self, ResultBody},
    conference_info::{ConferenceInfo, DisconnectionMethod, Endpoint, EntityView, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::{Flow, Method, Request, Response, Scheme, ServerKey, Text, Uri, sdp::body::Described};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Action, ConferenceSpec, Event, McuLimits, Refusal,
    control::{Fault, MediaVerb},
    event::MediaEvent,
    trace::PARTICIPANT,
};
pub(crate) use dialogs::not_allowed;
pub(crate) use roster::{Leg, LegId, LegState, Roster, Session};

/// How long somebody who was added may take to send his INVITE.
const INVITE_WAIT: Duration = Duration::from_secs(60);

/// How long a callee may ring.
const RING_LIMIT: Duration = Duration::from_secs(180);

/// How long the roster shows a call that came to nothing.
const DISCONNECTED_SHOWN: Duration = Duration::from_secs(3);

/// What is particular to a medium: its offers and answers, and what is sent within its sessions.
///
/// Each verb gets the whole room, in which its own state is `room.medium`.
pub(crate) trait Medium: Debug + Send + Sized {
    /// What it serves.
    const MEDIA: McuType;
    /// What the flow trace calls this server.
    const COMPONENT: Component;
    /// The methods that participants may send.
    const ALLOW: &'static str;
    /// The extension that it has beyond those of every session.
    const SUPPORTED: &'static str;
    /// Whether people can be kept waiting on it, who take no part until they are let in.
    const HOLDS: bool = false;
    /// The bodies that participants may send.
    fn accept() -> String;

    /// What it keeps of a session, and hands over to a successor.
    type Session: Debug + Clone + Send + Serialize + DeserializeOwned;
    /// What the answer to a request of its own is for.
    type Pending: Debug + Send;
    /// What it is to be woken for.
    type Timer: Debug + Copy + Ord + Send;

    /// Somebody comes with this offer, or asks for ours. To be answered, now or later, by
    /// [`Room::answer`] or [`Room::decline`].
    fn invited(room: &mut Room<Self>, now: Time, leg: LegId, offer: Option<Described>, out: &mut Vec<Action>);

    /// A further INVITE, or an UPDATE with an offer, in a session. To be answered by
    /// [`Room::answer_again`] or by [`Action::Respond`].
    fn invited_again(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        asked: Asked,
        offer: Option<Described>,
        out: &mut Vec<Action>,
    );

    /// An ACK came.
    fn acknowledged(room: &mut Room<Self>, now: Time, leg: LegId, ack: &Request, out: &mut Vec<Action>) {
        let _ = (room, now, leg, ack, out);
    }

    /// Somebody is to be called: [`Room::place_call`] with the offer, now or later.
    fn offer_call(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>);

    /// Whoever was called picked up; the session that this begins, if his answer is good for one.
    fn call_answered(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        response: &Response,
        out: &mut Vec<Action>,
    ) -> Option<Self::Session>;

    /// A call came to nothing.
    fn call_over(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>) {
        let _ = (room, now, leg, out);
    }

    /// A session goes on here that was another MCU's.
    fn resumed(room: &mut Room<Self>, now: Time, leg: LegId, out: &mut Vec<Action>) {
        let _ = (room, now, leg, out);
    }

    /// A request of a method of its own came in a session.
    fn request(
        room: &mut Room<Self>,
        now: Time,
        key: ServerKey,
        leg: LegId,
        request: &Request,
        out: &mut Vec<Action>,
    );

    /// A request of its own was answered finally; `None` = not at all.
    fn responded(
        room: &mut Room<Self>,
        now: Time,
        pending: Self::Pending,
        response: Option<&Response>,
        out: &mut Vec<Action>,
    );

    /// It is time.
    fn due(room: &mut Room<Self>, now: Time, timer: Self::Timer, out: &mut Vec<Action>);

    /// A command of the Focus that only some media know; `None` if it is answered later.
    fn command(
        room: &mut Room<Self>,
        now: Time,
        control: (u64, &cccp::Request),
        verb: MediaVerb<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Option<ResultBody>, Fault> {
        let _ = (room, now, control, verb, out);
        Err(Fault::NotSupported)
    }

    /// Somebody waits in the lobby, by whatever leg he is here or comes.
    fn hold(room: &mut Room<Self>, user: &UserUri, out: &mut Vec<Action>) {
        let _ = (room, user, out);
    }

    /// The data plane says something.
    fn media(room: &mut Room<Self>, now: Time, event: MediaEvent, out: &mut Vec<Action>) {
        let _ = (room, now, event, out);
    }

    /// A leg was taken out of the roster.
    fn left(
        room: &mut Room<Self>,
        now: Time,
        id: LegId,
        leg: &Leg<Self::Session>,
        farewell: Option<Farewell>,
        out: &mut Vec<Action>,
    ) {
        let _ = (room, now, id, leg, farewell, out);
    }

    /// The conference is over and everybody out. `false` if nothing is left to be done; else the
    /// medium ends it by [`Room::finish`].
    fn winds_up(
        room: &mut Room<Self>,
        now: Time,
        control: (u64, &cccp::Request),
        out: &mut Vec<Action>,
    ) -> bool {
        let _ = (room, now, control, out);
        false
    }

    /// What the roster shows of a leg beyond what it shows of every one.
    fn describe(&self, id: LegId, leg: &Leg<Self::Session>, role: Option<Role>, endpoint: &mut Endpoint);

    /// What the entity view of this server shows beyond the lock.
    fn describe_view(&self, view: &mut EntityView);

    /// What a notification says beyond people and view; called once for each.
    fn add_news(&mut self, document: &mut ConferenceInfo) {
        let _ = document;
    }
}

/// Why somebody's session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// What the roster calls it.
    pub(crate) method: DisconnectionMethod,
    /// What the person is told.
    pub(crate) sentence: &'static str,
}

impl Farewell {
    /// The session failed.
    pub(crate) const fn failed(sentence: &'static str) -> Farewell {
        Farewell { method: DisconnectionMethod::Failed, sentence }
    }
}

/// An INVITE or UPDATE in a session that is to be answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: ServerKey,
    pub(crate) request: Request,
}

/// A session description that answers, or offers in answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// Which part of a body with several was answered.
    pub(crate) content_id: Option<Text>,
}

/// One conference on one MCU.
#[derive(Debug)]
pub(crate) struct Room<M: Medium> {
    pub(crate) conference: ConferenceUri,
    /// This MCU as participants address it.
    pub(crate) mcu_uri: Uri,
    server_uri: String,
    /// The same as `host` or `host:port`, as session descriptions have it.
    pub(crate) sent_by: String,
    pub(crate) entropy: Entropy,
    pub(crate) limits: McuLimits,
    locked: bool,
    ended: bool,
    pub(crate) roster: Roster<M::Session>,
    /// Our requests that have not been answered finally, and those INVITEs that may be again.
    pub(crate) requests: BTreeMap<u64, Pending<M::Pending>>,
    pub(crate) timers: BTreeSet<(Time, Timer<M::Timer>)>,
    pub(crate) changes: Changes,
    pub(crate) last_request: u64,
    version: u32,
    pub(crate) medium: M,
}

/// What the answer to a request of ours is for.
#[derive(Debug)]
pub(crate) enum Pending<P> {
    /// That the session is still wanted (RFC 4028).
    Refresh { leg: LegId },
    /// Our INVITE. The leg may be gone, then whoever answers is told so.
    Call { leg: LegId, invite: Box<Request> },
    /// Something of the medium.
    Own(P),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer<T> {
    Leg(LegId),
    Own(T),
}

/// What the Focus has not been told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) people: BTreeSet<UserUri>,
    pub(crate) view: bool,
    /// The medium has something to say that is about neither.
    pub(crate) news: bool,
}

impl<M: Medium> Machine for Room<M> {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Control { id, request } => self.control(now, id, request, out),
            Event::SipRequest { key, flow, request } => self.request(now, key, flow, &request, out),
            Event::SipAck { request } => self.acknowledged(now, &request, out),
            Event::SipCancelled { key } => self.cancelled(now, &key, out),
            Event::SipResponse { id, response } => self.response(now, id, &response, out),
            Event::SipStrayResponse { response } => self.acknowledge_again(&response, out),
            Event::SipFailed { id } => self.request_failed(now, id, out),
            Event::SipServerFailed { key } => self.not_acknowledged(now, &key, out),
            Event::MediaOpened { leg, addresses } => {
                M::media(self, now, MediaEvent::Opened { leg, addresses }, out);
            }
            Event::MediaRefused { leg } => M::media(self, now, MediaEvent::Refused { leg }, out),
            Event::Media(event) => M::media(self, now, MediaEvent::Plane(event), out),
        }
        self.notify_changes(out);
    }

    fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some(&(at, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Leg(leg) => self.leg_timeout(now, leg, out),
                Timer::Own(timer) => M::due(self, now, timer, out),
            }
        }
        self.notify_changes(out);
    }
}

impl<M: Medium> Room<M> {
    /// A conference in which nobody is yet.
    pub(crate) fn new(spec: ConferenceSpec, entropy: Entropy, medium: M) -> Result<Room<M>, Refusal> {
        let server: Option<Uri> = spec.server_uri.parse().ok();
        let server = server
            .filter(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips))
            .ok_or_else(|| Refusal::ServerUri(spec.server_uri.clone()))?;
        let mcu_uri = spec.conference.mcu(M::MEDIA).to_string();
        let sent_by = server.port.map_or(server.host.to_string(), |port| format!("{}:{port}", server.host));
        Ok(Room {
            conference: spec.conference,
            mcu_uri: mcu_uri.parse().expect("an MCU URI is a SIP URI"),
            server_uri: spec.server_uri,
            sent_by,
            entropy,
            limits: spec.limits,
            locked: spec.locked,
            ended: false,
            roster: Roster::default(),
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            changes: Changes { view: true, ..Changes::default() },
            last_request: 0,
            version: 0,
            medium,
        })
    }

    fn response(&mut self, now: Time, id: u64, response: &Response, out: &mut Vec<Action>) {
        let is_final = response.status >= 200;
        match self.requests.get(&id) {
            Some(Pending::Call { .. }) => self.call_answered(now, id, response, out),
            Some(Pending::Refresh { .. }) if is_final => self.refreshed(now, id, response.status, out),
            Some(Pending::Own(_)) if is_final => self.responded(now, id, Some(response), out),
            _ => {}
        }
    }

    fn request_failed(&mut self, now: Time, id: u64, out: &mut Vec<Action>) {
        match self.requests.get(&id) {
            Some(Pending::Call { .. }) => self.call_failed(now, id, out),
            Some(Pending::Refresh { .. }) => self.refreshed(now, id, 408, out),
            _ => self.responded(now, id, None, out),
        }
    }

    fn responded(&mut self, now: Time, id: u64, response: Option<&Response>, out: &mut Vec<Action>) {
        if let Some(Pending::Own(pending)) = self.requests.remove(&id) {
            M::responded(self, now, pending, response, out);
        }
    }

    fn leg_timeout(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        match self.roster.leg(id).map(|leg| &leg.state) {
            Some(LegState::Called(_)) => self.ring_timeout(now, id, out),
            Some(LegState::Expected { .. } | LegState::Disconnected { .. }) => {
                self.remove_leg(now, id, None, out);
            }
            Some(LegState::InSession(_)) => self.keep_up(now, id, out),
            Some(LegState::Arriving(_)) | None => {}
        }
    }

    /// Takes a leg out. With a `farewell`, which is shown to the person, its dialog is ended.
    pub(crate) fn remove_leg(
        &mut self,
        now: Time,
        id: LegId,
        farewell: Option<Farewell>,
        out: &mut Vec<Action>,
    ) {
        if let Some(farewell) = farewell {
            self.bye(id, farewell.sentence, out);
        }
        let Some(leg) = self.roster.remove_leg(id) else { return };
        match &leg.state {
            LegState::Expected { until } | LegState::Disconnected { until, .. } => {
                self.timers.remove(&(*until, Timer::Leg(id)));
            }
            LegState::Arriving(arrival) => {
                let reason = farewell.map_or(CALL_OVER, |farewell| farewell.sentence);
                let response = self.refuse(&arrival.request, 480, reason);
                out.push(Action::Respond { key: arrival.key.clone(), response });
            }
            LegState::Called(call) => self.give_up_call(id, call, out),
            LegState::InSession(session) => {
                if let Some(call) = session.call {
                    self.requests.remove(&call);
                }
                if let Some(at) = session.deadline() {
                    self.timers.remove(&(at, Timer::Leg(id)));
                }
            }
        }
        self.changes.people.insert(leg.user.clone());
        M::left(self, now, id, &leg, farewell, out);
    }

    fn bye(&mut self, id: LegId, reason: &str, out: &mut Vec<Action>) {
        let Some(leg) = self.roster.leg_mut(id) else { return };
        let note = FlowNote::new(8, M::COMPONENT, PARTICIPANT, format!("BYE {}", leg.user.traced()));
        let Some(session) = leg.session_mut() else { return };
        // Deviation: RFC 3261 §15 lets a callee send BYE only after the ACK; who is removed sooner is
        // told at once, for the 200 goes ahead of it on the same connection.
        let mut request = session.dialog.request(Method::Bye);
        // Deviation: BYE says why by RFC 3326; the number OCS puts into ms-diagnostics is not known.
        request.headers.push("Reason", format!("SIP;text=\"{reason}\""));
        let flow = session.flow;
        self.send(flow, request, Some(note), out);
    }

    /// Sends a request and returns its number.
    pub(crate) fn send(
        &mut self,
        flow: Option<Flow>,
        request: Request,
        note: Option<FlowNote>,
        out: &mut Vec<Action>,
    ) -> u64 {
        self.last_request += 1;
        let id = self.last_request;
        out.push(Action::Send { id, flow, request, note });
        id
    }

    /// Wakes the medium at this time.
    pub(crate) fn wake(&mut self, at: Time, timer: M::Timer) {
        self.timers.insert((at, Timer::Own(timer)));
    }
}

/// What a callee is told whom nobody waits for any more, or who offers nothing that is wanted.
const CALL_OVER: &str = "The call was given up.";
