//! Step 8: the SIP dialogs of participants: INVITE, ACK, BYE and what may be sent within
//! (RFC 3261 §12–15).

use confab_machine::Time;
use confab_schema::{
    conference_info::JoiningMethod,
    uri::{McuUri, UserUri},
};
use confab_sip::{
    Dialog, DialogId, Flow, Method, Request, Response, ServerKey, SessionTimer, Uri,
    sdp::body::{self, CONTENT_TYPE, Described, Unreadable},
};

use super::{
    Answer, Asked, Farewell, Medium, Room, Timer,
    roster::{Arrival, Leg, LegId, LegState, Session},
};
use crate::{Action, event::sender};

/// The extension of session timers, which every MCU knows.
const TIMER: &str = "timer";

/// What OCS calls a failed authorization (MS-OCER §8.4).
const AUTHORIZATION_FAILED: u32 = 3014;

/// What somebody is told whose client never acknowledged our 200.
const NOT_ACKNOWLEDGED: Farewell = Farewell::failed("The session was not acknowledged.");

/// A request refused: the response says so.
type Refused = Box<Response>;

impl<M: Medium> Room<M> {
    pub(super) fn request(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        if let Some(response) = unsupported::<M>(request) {
            return out.push(Action::Respond { key, response });
        }
        let leg = match self.find_leg(request) {
            Ok(None) => return self.outside_dialogs(now, request, key, flow, out),
            Ok(Some(leg)) => leg,
            Err(refused) => return out.push(Action::Respond { key, response: *refused }),
        };
        if let Err(refused) = self.check_in_dialog(leg, flow, request) {
            return out.push(Action::Respond { key, response: *refused });
        }
        match request.method {
            Method::Bye => {
                out.push(Action::Respond { key, response: Response::to(request, 200) });
                self.remove_leg(now, leg, None, out);
            }
            Method::Invite | Method::Update => self.renegotiate(now, leg, key, request, out),
            Method::Options => out.push(Action::Respond { key, response: capabilities::<M>(request) }),
            _ => M::request(self, now, key, leg, request, out),
        }
    }

    /// An ACK came: the person is connected.
    pub(super) fn acknowledged(&mut self, now: Time, ack: &Request, out: &mut Vec<Action>) {
        if let Ok(Some(leg)) = self.find_leg(ack) {
            self.connect(leg);
            M::acknowledged(self, now, leg, ack, out);
        }
    }

    /// The 200 to an INVITE did not get through, so there is no session.
    pub(super) fn not_acknowledged(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        let is_it = |leg: &Leg<M::Session>| {
            leg.session().is_some_and(|session| session.unacknowledged.as_ref() == Some(key))
        };
        let leg = self.roster.legs().find(|(_, leg)| is_it(leg)).map(|(leg, _)| leg);
        if let Some(leg) = leg {
            self.remove_leg(now, leg, Some(NOT_ACKNOWLEDGED), out);
        }
    }

    /// An INVITE was cancelled. One that has been answered goes on (RFC 3261 §9.2).
    pub(super) fn cancelled(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        let arriving = self.roster.legs().find_map(|(id, leg)| match &leg.state {
            LegState::Arriving(arrival) if arrival.key == *key => {
                Some((id, Response::to(&arrival.request, 487)))
            }
            _ => None,
        });
        if let Some((leg, response)) = arriving {
            self.decline(now, leg, response, out);
        }
    }

    fn connect(&mut self, id: LegId) {
        if let Some(leg) = self.roster.leg_mut(id)
            && let Some(session) = leg.session_mut()
            && session.unacknowledged.take().is_some()
        {
            self.changes.people.insert(leg.user.clone());
        }
    }

    /// The leg whose dialog the request is in; `None` if it does not claim to be in one.
    fn find_leg(&self, request: &Request) -> Result<Option<LegId>, Refused> {
        let Some(dialog) = DialogId::of_received(request) else { return Ok(None) };
        let leg = self.roster.in_dialog(&dialog);
        leg.map(Some).ok_or_else(|| Box::new(Response::to(request, 481)))
    }

    fn check_in_dialog(&mut self, id: LegId, flow: Flow, request: &Request) -> Result<(), Refused> {
        // Only the person himself speaks in his dialog; not every peer asserts him in every request.
        let owner = self.roster.leg(id).map(|leg| &leg.user);
        if sender(request).is_some_and(|user| Some(&user) != owner) {
            return Err(Box::new(self.forbidden(request, "This is somebody else's session.")));
        }
        let session = self.roster.leg_mut(id).and_then(Leg::session_mut);
        let session = session.ok_or_else(|| Box::new(Response::to(request, 481)))?;
        session.dialog.accept(request).map_err(|status| Box::new(Response::to(request, status)))?;
        session.flow = Some(flow);
        // Whoever sends within the session has seen our 200, even if his ACK was lost.
        if request.method != Method::Invite {
            self.connect(id);
        }
        Ok(())
    }

    fn outside_dialogs(
        &mut self,
        now: Time,
        request: &Request,
        key: ServerKey,
        flow: Flow,
        out: &mut Vec<Action>,
    ) {
        let response = match request.method {
            Method::Invite => return self.invite(now, request, key, flow, out),
            Method::Options => capabilities::<M>(request),
            Method::Message | Method::Info | Method::Bye | Method::Update | Method::Notify => {
                Response::to(request, 481)
            }
            _ => not_allowed::<M>(request),
        };
        out.push(Action::Respond { key, response });
    }

    /// Somebody comes whom the Focus added.
    fn invite(&mut self, now: Time, request: &Request, key: ServerKey, flow: Flow, out: &mut Vec<Action>) {
        let user = sender(request).filter(|user| self.roster.person(user).is_some());
        let Some(user) = user else {
            let response = self.forbidden(request, "This person has not joined the conference.");
            return out.push(Action::Respond { key, response });
        };
        let expected = self.roster.expected(&user);
        if let Some(leg) = expected {
            self.forget_expectation(leg);
        }
        let arrival = self.read_invite(request, key.clone(), flow);
        let admitted = arrival.and_then(|(arrival, offer)| {
            let leg = self.arrive(&user, expected, arrival).ok_or_else(|| {
                let reason = "This person has too many endpoints in the conference.";
                Box::new(self.refuse(request, 486, reason))
            })?;
            Ok((leg, offer))
        });
        match (admitted, expected) {
            (Ok((leg, offer)), _) => M::invited(self, now, leg, offer, out),
            (Err(refused), expected) => {
                out.push(Action::Respond { key, response: *refused });
                if let Some(leg) = expected {
                    self.remove_leg(now, leg, None, out);
                }
            }
        }
    }

    fn read_invite(
        &mut self,
        request: &Request,
        key: ServerKey,
        flow: Flow,
    ) -> Result<(Arrival, Option<Described>), Refused> {
        if let Some(refusal) = SessionTimer::refusal(request) {
            return Err(Box::new(refusal));
        }
        let offer = read_offer(request)?;
        let tag = self.entropy.hex::<8>();
        let dialog = Dialog::from_invite(request, &tag).map_err(|_| Box::new(Response::to(request, 400)))?;
        Ok((Arrival { request: request.clone(), key, flow, dialog }, offer))
    }

    /// Puts whoever comes on the leg that was expected, or on a further one of his, which the Focus has
    /// no name for.
    fn arrive(&mut self, user: &UserUri, expected: Option<LegId>, arrival: Arrival) -> Option<LegId> {
        let state = LegState::Arriving(Box::new(arrival));
        if let Some(id) = expected {
            self.roster.leg_mut(id)?.state = state;
            return Some(id);
        }
        if self.roster.person(user)?.legs.len() >= self.limits.endpoints_per_person {
            return None;
        }
        let entity = self.entropy.guid();
        let joining_method = JoiningMethod::DialedIn;
        Some(self.roster.add_leg(Leg {
            user: user.clone(),
            entity,
            joining_method,
            endpoint_uri: None,
            state,
        }))
    }

    /// The medium takes what was offered: 200, and the session begins.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        id: LegId,
        own: M::Session,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.roster.leg(id) else { return };
        let (user, LegState::Arriving(arrival)) = (leg.user.clone(), &leg.state) else { return };
        let mut response = self.established(&arrival.request, answer);
        response.set_to_tag(&arrival.dialog.id().local_tag);
        let timer = SessionTimer::answer(now, &arrival.request, &mut response);
        let key = arrival.key.clone();
        let session = Session {
            dialog: arrival.dialog.clone(),
            flow: Some(arrival.flow),
            own,
            unacknowledged: Some(key.clone()),
            call: None,
            timer,
        };
        self.roster.begin_session(id, session);
        self.await_refresh(id);
        // For who succeeds us; nobody else sees a difference yet.
        self.changes.people.insert(user);
        out.push(Action::Respond { key, response });
    }

    /// The medium does not take what was offered: whoever came is out.
    pub(crate) fn decline(&mut self, now: Time, id: LegId, response: Response, out: &mut Vec<Action>) {
        let Some(leg) = self.roster.leg_mut(id) else { return };
        let LegState::Arriving(arrival) = &leg.state else { return };
        out.push(Action::Respond { key: arrival.key.clone(), response });
        leg.state = LegState::Expected { until: now };
        self.remove_leg(now, id, None, out);
    }

    /// The INVITE of whoever is about to be answered.
    pub(crate) fn arriving(&self, id: LegId) -> Option<&Request> {
        match &self.roster.leg(id)?.state {
            LegState::Arriving(arrival) => Some(&arrival.request),
            _ => None,
        }
    }

    fn forget_expectation(&mut self, id: LegId) {
        if let Some(LegState::Expected { until }) = self.roster.leg(id).map(|leg| &leg.state) {
            let until = *until;
            self.timers.remove(&(until, Timer::Leg(id)));
        }
    }

    /// A re-INVITE or UPDATE: what is sent and how long the session lasts may be new.
    fn renegotiate(
        &mut self,
        now: Time,
        id: LegId,
        key: ServerKey,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        if let Some(response) = SessionTimer::refusal(request) {
            return out.push(Action::Respond { key, response });
        }
        let offer = match read_offer(request) {
            Ok(offer) => offer,
            Err(refused) => return out.push(Action::Respond { key, response: *refused }),
        };
        let asked = Asked { key, request: request.clone() };
        // An UPDATE without an offer has no answer; an INVITE without one is answered by ours.
        if request.method == Method::Update && offer.is_none() {
            return self.answer_again(now, id, asked, Answer::default(), out);
        }
        M::invited_again(self, now, id, asked, offer, out);
    }

    /// The 200 to a re-INVITE or UPDATE.
    pub(crate) fn answer_again(
        &mut self,
        now: Time,
        id: LegId,
        asked: Asked,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        let Asked { key, request } = asked;
        let mut response = self.established(&request, answer);
        let timer = SessionTimer::answer(now, &request, &mut response);
        if let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) {
            let before = session.deadline();
            session.timer = timer;
            self.await_refresh_instead(id, before);
        }
        out.push(Action::Respond { key, response });
    }

    fn established(&self, request: &Request, answer: Answer) -> Response {
        let local = request.headers.to().map_or_else(|_| self.mcu_uri.clone(), |to| to.uri);
        let mut response = Response::to(request, 200).with_header("Contact", self.contact(&local));
        if !M::SUPPORTED.is_empty() {
            response.headers.push("Supported", M::SUPPORTED);
        }
        response.headers.push("Allow", M::ALLOW);
        if let Some(content_id) = answer.content_id {
            response.headers.push("Ms-Accepted-Content-ID", content_id);
        }
        if !answer.body.is_empty() {
            response.set_body(CONTENT_TYPE, answer.body);
        }
        response
    }

    /// This MCU as the target of what participants send, in a dialog where they call us `local`. Who
    /// asked for the conference has the conference there, for he knows of no MCU (RFC 4579 §5.1).
    pub(crate) fn contact(&self, local: &Uri) -> String {
        if McuUri::parse(&local.to_string()).is_ok() {
            format!("<{}>;isfocus", self.mcu_uri)
        } else {
            format!("<{}>;isfocus", self.conference)
        }
    }

    fn forbidden(&self, request: &Request, reason: &str) -> Response {
        self.explain(request, 403, AUTHORIZATION_FAILED, reason)
    }

    /// A refusal with a number of MS-OCER.
    pub(crate) fn explain(&self, request: &Request, status: u16, number: u32, reason: &str) -> Response {
        let diagnostics = format!("{number};source=\"{}\";reason=\"{reason}\"", self.source());
        Response::to(request, status).with_header("ms-diagnostics", diagnostics)
    }

    pub(crate) fn refuse(&self, request: &Request, status: u16, reason: &str) -> Response {
        let warning = format!("399 {} \"{reason}\"", self.source());
        Response::to(request, status).with_header("Warning", warning)
    }

    /// What this server is called where it explains itself.
    fn source(&self) -> String {
        self.server_uri.parse::<Uri>().map(|uri| uri.host.to_string()).unwrap_or_default()
    }
}

/// What the sender requires is none of what we can (RFC 3261 §8.2.2.3).
fn unsupported<M: Medium>(request: &Request) -> Option<Response> {
    let required = request.headers.list("Require");
    let foreign: Vec<&str> = required.iter().map(|tag| &**tag).filter(|tag| !is_known::<M>(tag)).collect();
    (!foreign.is_empty()).then(|| Response::to(request, 420).with_header("Unsupported", foreign.join(", ")))
}

fn is_known<M: Medium>(tag: &str) -> bool {
    extensions::<M>().any(|known| known.eq_ignore_ascii_case(tag))
}

fn extensions<M: Medium>() -> impl Iterator<Item = &'static str> {
    [M::SUPPORTED, TIMER].into_iter().filter(|tag| !tag.is_empty())
}

fn read_offer(request: &Request) -> Result<Option<Described>, Refused> {
    body::read(&request.headers, &request.body).map_err(|unreadable| {
        Box::new(match unreadable {
            Unreadable::Malformed => Response::to(request, 400),
            Unreadable::WrongType => Response::to(request, 415).with_header("Accept", CONTENT_TYPE),
        })
    })
}

fn capabilities<M: Medium>(request: &Request) -> Response {
    Response::to(request, 200)
        .with_header("Accept", M::accept())
        .with_header("Supported", extensions::<M>().collect::<Vec<_>>().join(", "))
        .with_header("Allow", M::ALLOW)
}

/// A method that is none of this medium's.
pub(crate) fn not_allowed<M: Medium>(request: &Request) -> Response {
    Response::to(request, 405).with_header("Allow", M::ALLOW)
}
