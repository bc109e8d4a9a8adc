//! Steps 7 and 8 on the IM MCU: one conference's messages (MS-CONFIM, c3p §10). It never echoes to
//! the leg that wrote, and tells each author what became of his message.

mod command;
mod content;
mod dial_out;
mod handover;
mod notify;
mod relay;
mod roster;
mod session;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_machine::{Entropy, FlowNote, Machine, Time};
use confab_schema::uri::{ConferenceUri, McuType, UserUri};
use confab_sip::{Flow, Method, Request, Response, Scheme, Uri};

use crate::{
    Action, Conference, ConferenceSpec, Event, Mcu, McuLimits, Refusal,
    trace::{PARTICIPANT, SELF},
};
use relay::Report;
use roster::{LegId, LegState, Roster};

const MEDIA: McuType = McuType::Chat;

/// How long somebody who was added may take to send his INVITE.
const INVITE_WAIT: Duration = Duration::from_secs(60);

/// How long a callee may ring.
const RING_LIMIT: Duration = Duration::from_secs(180);

/// How long the roster shows a call that came to nothing.
const DISCONNECTED_SHOWN: Duration = Duration::from_secs(3);

/// How long the receivers of a message have to answer before its author is told.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The IM conferencing server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImMcu;

impl Mcu for ImMcu {
    fn media(&self) -> McuType {
        MEDIA
    }

    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal> {
        Ok(Box::new(ImConference::new(spec, entropy)?))
    }
}

/// One conference on the IM MCU.
#[derive(Debug)]
struct ImConference {
    conference: ConferenceUri,
    /// This MCU as participants address it.
    mcu_uri: Uri,
    server_uri: String,
    /// The same as `host` or `host:port`, as session descriptions have it.
    sent_by: String,
    entropy: Entropy,
    limits: McuLimits,
    locked: bool,
    ended: bool,
    roster: Roster,
    /// Our requests that have not been answered finally, and those INVITEs that may be again.
    requests: BTreeMap<u64, Pending>,
    reports: BTreeMap<u32, Report>,
    timers: BTreeSet<(Time, Timer)>,
    changes: Changes,
    last_request: u64,
    last_message: u32,
    version: u32,
}

/// What the answer to a request of ours is for.
#[derive(Debug)]
enum Pending {
    /// A message on its way to somebody.
    Message { leg: LegId, user: UserUri, message_id: u32 },
    /// That somebody is typing.
    Typing { leg: LegId },
    /// That the session is still wanted (RFC 4028).
    Refresh { leg: LegId },
    /// Our INVITE. The leg may be gone, then whoever answers is told so.
    Call { leg: LegId, invite: Box<Request> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Leg(LegId),
    Report(u32),
}

/// What the Focus has not been told.
#[derive(Debug, Default)]
struct Changes {
    people: BTreeSet<UserUri>,
    view: bool,
}

impl Machine for ImConference {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Control { id, request } => self.control(now, id, request, out),
            Event::SipRequest { key, flow, request } => self.request(now, key, flow, &request, out),
            Event::SipAck { request } => self.acknowledged(&request),
            // Every INVITE is answered finally at once, so there is nothing left to cancel.
            Event::SipCancelled { .. } => {}
            Event::SipResponse { id, response } => self.response(now, id, &response, out),
            Event::SipStrayResponse { response } => self.acknowledge_again(&response, out),
            Event::SipFailed { id } => self.request_failed(now, id, out),
            Event::SipServerFailed { key } => self.not_acknowledged(&key, out),
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
                Timer::Report(message_id) => self.report_timeout(message_id, out),
            }
        }
        self.notify_changes(out);
    }
}

impl ImConference {
    fn new(spec: ConferenceSpec, entropy: Entropy) -> Result<ImConference, Refusal> {
        let server: Option<Uri> = spec.server_uri.parse().ok();
        let server = server
            .filter(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips))
            .ok_or_else(|| Refusal::ServerUri(spec.server_uri.clone()))?;
        let mcu_uri = spec.conference.mcu(MEDIA).to_string();
        let sent_by = server.port.map_or(server.host.to_string(), |port| format!("{}:{port}", server.host));
        Ok(ImConference {
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
            reports: BTreeMap::new(),
            timers: BTreeSet::new(),
            changes: Changes { people: BTreeSet::new(), view: true },
            last_request: 0,
            last_message: 0,
            version: 0,
        })
    }

    fn response(&mut self, now: Time, id: u64, response: &Response, out: &mut Vec<Action>) {
        let is_final = response.status >= 200;
        match self.requests.get(&id) {
            Some(Pending::Call { .. }) => self.call_answered(now, id, response, out),
            Some(Pending::Refresh { .. }) if is_final => self.refreshed(now, id, response.status, out),
            Some(_) if is_final => {
                let diagnostics = response.headers.get("ms-diagnostics").map(|value| value.to_string());
                self.answered(id, response.status, diagnostics, out);
            }
            _ => {}
        }
    }

    fn request_failed(&mut self, now: Time, id: u64, out: &mut Vec<Action>) {
        match self.requests.get(&id) {
            Some(Pending::Call { .. }) => self.call_failed(now, id, out),
            Some(Pending::Refresh { .. }) => self.refreshed(now, id, 408, out),
            _ => self.answered(id, 408, None, out),
        }
    }

    fn leg_timeout(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        match self.roster.leg(id).map(|leg| &leg.state) {
            Some(LegState::Called(_)) => self.ring_timeout(now, id, out),
            Some(LegState::Expected { .. } | LegState::Disconnected { .. }) => self.remove_leg(id, None, out),
            Some(LegState::InSession(_)) => self.keep_up(now, id, out),
            None => {}
        }
    }

    /// Takes a leg out. With a `farewell`, which is shown to the person, its dialog is ended.
    fn remove_leg(&mut self, id: LegId, farewell: Option<&str>, out: &mut Vec<Action>) {
        if let Some(reason) = farewell {
            self.bye(id, reason, out);
        }
        let Some(leg) = self.roster.remove_leg(id) else { return };
        match leg.state {
            LegState::Expected { until } | LegState::Disconnected { until, .. } => {
                self.timers.remove(&(until, Timer::Leg(id)));
            }
            LegState::Called(call) => self.give_up_call(id, &call, out),
            LegState::InSession(session) => {
                if let Some(call) = session.call {
                    self.requests.remove(&call);
                }
                if let Some(at) = session.deadline() {
                    self.timers.remove(&(at, Timer::Leg(id)));
                }
            }
        }
        self.changes.people.insert(leg.user);
    }

    fn bye(&mut self, id: LegId, reason: &str, out: &mut Vec<Action>) {
        let Some(leg) = self.roster.leg_mut(id) else { return };
        let note = FlowNote::new(8, SELF, PARTICIPANT, format!("BYE {}", leg.user.traced()));
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
    fn send(
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
}
