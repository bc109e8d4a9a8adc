//! Step 8: the SIP dialogs of participants: INVITE, ACK, BYE and what may be sent within
//! (RFC 3261 §12–15, MS-CONFIM §3).

use confab_machine::Time;
use confab_schema::{
    conference_info::JoiningMethod,
    uri::{McuUri, UserUri},
};
use confab_sip::{Dialog, DialogId, Flow, Method, Request, Response, Sdp, ServerKey, SessionTimer, Uri};

use super::{
    ImConference, Timer,
    content::{ACCEPT_TYPES, Accepts},
    roster::{Leg, LegId, LegState, Session},
};
use crate::{Action, event::sender};

const ALLOW: &str = "ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, OPTIONS, UPDATE";
const SUPPORTED: &str = "ms-sender";
/// What may be required of us.
const KNOWN_EXTENSIONS: [&str; 2] = [SUPPORTED, "timer"];
const SDP: &str = "application/sdp";

/// What OCS calls a failed authorization (MS-OCER §8.4).
const AUTHORIZATION_FAILED: u32 = 3014;

/// A request refused: the response says so.
type Refused = Box<Response>;

impl ImConference {
    pub(super) fn request(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        if let Some(response) = unsupported(request) {
            return out.push(Action::Respond { key, response });
        }
        let leg = match self.find_leg(request) {
            Ok(None) => {
                let response = self.outside_dialogs(now, request, &key, flow);
                return out.push(Action::Respond { key, response });
            }
            Ok(Some(leg)) => leg,
            Err(refused) => return out.push(Action::Respond { key, response: *refused }),
        };
        if let Err(refused) = self.check_in_dialog(leg, flow, request) {
            return out.push(Action::Respond { key, response: *refused });
        }
        match request.method {
            Method::Message => self.message(now, key, leg, request, out),
            Method::Info => self.info(key, leg, request, out),
            Method::Bye => {
                out.push(Action::Respond { key, response: Response::to(request, 200) });
                self.remove_leg(leg, None, out);
            }
            Method::Invite | Method::Update => {
                let response = self.renegotiate(now, leg, request);
                out.push(Action::Respond { key, response });
            }
            Method::Options => out.push(Action::Respond { key, response: capabilities(request) }),
            _ => out.push(Action::Respond { key, response: not_allowed(request) }),
        }
    }

    /// An ACK came: the person is connected.
    pub(super) fn acknowledged(&mut self, ack: &Request) {
        if let Ok(Some(leg)) = self.find_leg(ack) {
            self.connect(leg);
        }
    }

    /// The 200 to an INVITE did not get through, so there is no session.
    pub(super) fn not_acknowledged(&mut self, key: &ServerKey, out: &mut Vec<Action>) {
        let is_it =
            |leg: &Leg| leg.session().is_some_and(|session| session.unacknowledged.as_ref() == Some(key));
        let leg = self.roster.legs().find(|(_, leg)| is_it(leg)).map(|(leg, _)| leg);
        if let Some(leg) = leg {
            self.remove_leg(leg, Some("The session was not acknowledged."), out);
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

    fn outside_dialogs(&mut self, now: Time, request: &Request, key: &ServerKey, flow: Flow) -> Response {
        match request.method {
            Method::Invite => self.invite(now, request, key, flow).unwrap_or_else(|refused| *refused),
            Method::Options => capabilities(request),
            Method::Message | Method::Info | Method::Bye | Method::Update | Method::Notify => {
                Response::to(request, 481)
            }
            _ => not_allowed(request),
        }
    }

    /// Somebody comes whom the Focus added.
    fn invite(
        &mut self,
        now: Time,
        request: &Request,
        key: &ServerKey,
        flow: Flow,
    ) -> Result<Response, Refused> {
        let user = sender(request)
            .filter(|user| self.roster.person(user).is_some())
            .ok_or_else(|| Box::new(self.forbidden(request, "This person has not joined the conference.")))?;
        let expected = self.roster.expected(&user);
        let answered = self.answer_invite(now, request, key, flow);
        match (expected, answered) {
            (Some(leg), Ok((session, response))) => {
                self.forget_expectation(leg);
                self.roster.begin_session(leg, session);
                self.await_refresh(leg);
                // For who succeeds us; nobody else sees a difference yet.
                self.changes.people.insert(user);
                Ok(response)
            }
            (None, Ok((session, response))) => {
                self.add_unexpected(&user, session).ok_or_else(|| {
                    let reason = "This person has too many endpoints in the conference.";
                    Box::new(self.refuse(request, 486, reason))
                })?;
                Ok(response)
            }
            (expected, Err(refused)) => {
                if let Some(leg) = expected {
                    self.forget_expectation(leg);
                    self.roster.remove_leg(leg);
                    self.changes.people.insert(user);
                }
                Err(refused)
            }
        }
    }

    fn answer_invite(
        &mut self,
        now: Time,
        request: &Request,
        key: &ServerKey,
        flow: Flow,
    ) -> Result<(Session, Response), Refused> {
        if let Some(refusal) = SessionTimer::refusal(request) {
            return Err(Box::new(refusal));
        }
        let offer = read_offer(request)?;
        let tag = self.entropy.hex::<8>();
        let dialog = Dialog::from_invite(request, &tag).map_err(|_| Box::new(Response::to(request, 400)))?;
        let mut response = self.accept(request, &offer)?;
        response.set_to_tag(&tag);
        let timer = SessionTimer::answer(now, request, &mut response);
        let session = Session {
            dialog,
            flow: Some(flow),
            accepts: Accepts::of(&offer),
            unacknowledged: Some(key.clone()),
            call: None,
            timer,
        };
        Ok((session, response))
    }

    /// A further endpoint of somebody, which the Focus has no name for.
    fn add_unexpected(&mut self, user: &UserUri, session: Session) -> Option<()> {
        if self.roster.person(user)?.legs.len() >= self.limits.endpoints_per_person {
            return None;
        }
        let leg = Leg {
            user: user.clone(),
            entity: self.entropy.guid(),
            joining_method: JoiningMethod::DialedIn,
            endpoint_uri: None,
            state: LegState::InSession(Box::new(session)),
        };
        let leg = self.roster.add_leg(leg);
        self.await_refresh(leg);
        self.changes.people.insert(user.clone());
        Some(())
    }

    fn forget_expectation(&mut self, id: LegId) {
        if let Some(LegState::Expected { until }) = self.roster.leg(id).map(|leg| &leg.state) {
            let until = *until;
            self.timers.remove(&(until, Timer::Leg(id)));
        }
    }

    /// A re-INVITE or UPDATE: the answer is as before; what the person takes and how long his session
    /// lasts may be new.
    fn renegotiate(&mut self, now: Time, id: LegId, request: &Request) -> Response {
        let (mut response, accepts) = match self.answer_again(request) {
            Ok(answered) => answered,
            Err(refused) => return *refused,
        };
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return response };
        let before = session.deadline();
        session.timer = SessionTimer::answer(now, request, &mut response);
        if let Some(accepts) = accepts {
            session.accepts = accepts;
        }
        self.await_refresh_instead(id, before);
        response
    }

    /// The answer to a re-INVITE or UPDATE, and what the person takes from now on if he says so.
    fn answer_again(&self, request: &Request) -> Result<(Response, Option<Accepts>), Refused> {
        if let Some(refusal) = SessionTimer::refusal(request) {
            return Err(Box::new(refusal));
        }
        if !request.body.is_empty() {
            let offer = read_offer(request)?;
            return Ok((self.accept(request, &offer)?, Some(Accepts::of(&offer))));
        }
        let mut response = self.established(request);
        // An UPDATE without an offer has no answer; an INVITE without one is answered by ours.
        if request.method == Method::Invite {
            response.set_body(SDP, Sdp::message_offer(&self.sent_by, &ACCEPT_TYPES).to_bytes());
        }
        Ok((response, None))
    }

    fn accept(&self, request: &Request, offer: &Sdp) -> Result<Response, Refused> {
        let answer = Sdp::message_answer(offer, &self.sent_by, &self.mcu_uri, &ACCEPT_TYPES)
            .map_err(|_| Box::new(self.refuse(request, 488, "Only instant messaging is possible here.")))?;
        let mut response = self.established(request);
        response.set_body(SDP, answer.to_bytes());
        Ok(response)
    }

    fn established(&self, request: &Request) -> Response {
        let local = request.headers.to().map_or_else(|_| self.mcu_uri.clone(), |to| to.uri);
        Response::to(request, 200)
            .with_header("Contact", self.contact(&local))
            .with_header("Supported", SUPPORTED)
            .with_header("Allow", ALLOW)
    }

    /// This MCU as the target of what participants send, in a dialog where they call us `local`. Who
    /// asked for the conference has the conference there, for he knows of no MCU (RFC 4579 §5.1).
    pub(super) fn contact(&self, local: &Uri) -> String {
        if McuUri::parse(&local.to_string()).is_ok() {
            format!("<{}>;isfocus", self.mcu_uri)
        } else {
            format!("<{}>;isfocus", self.conference)
        }
    }

    fn forbidden(&self, request: &Request, reason: &str) -> Response {
        let diagnostics = format!("{AUTHORIZATION_FAILED};source=\"{}\";reason=\"{reason}\"", self.source());
        Response::to(request, 403).with_header("ms-diagnostics", diagnostics)
    }

    fn refuse(&self, request: &Request, status: u16, reason: &str) -> Response {
        let warning = format!("399 {} \"{reason}\"", self.source());
        Response::to(request, status).with_header("Warning", warning)
    }

    /// What this server is called where it explains itself.
    fn source(&self) -> String {
        self.server_uri.parse::<Uri>().map(|uri| uri.host.to_string()).unwrap_or_default()
    }
}

/// What the sender requires is none of what we can (RFC 3261 §8.2.2.3).
fn unsupported(request: &Request) -> Option<Response> {
    let required = request.headers.list("Require");
    let foreign: Vec<&str> = required.iter().map(|tag| &**tag).filter(|tag| !is_known(tag)).collect();
    (!foreign.is_empty()).then(|| Response::to(request, 420).with_header("Unsupported", foreign.join(", ")))
}

fn is_known(tag: &str) -> bool {
    KNOWN_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag))
}

fn read_offer(request: &Request) -> Result<Sdp, Refused> {
    match request.headers.content_type() {
        Some(kind) if &*kind.kind == SDP => {
            Sdp::parse(&request.body).map_err(|_| Box::new(Response::to(request, 400)))
        }
        // Deviation: an INVITE without an offer is refused; no client of conferences sends one.
        None if request.body.is_empty() => Err(Box::new(Response::to(request, 488))),
        _ => Err(Box::new(Response::to(request, 415).with_header("Accept", SDP))),
    }
}

fn capabilities(request: &Request) -> Response {
    Response::to(request, 200)
        .with_header("Accept", format!("{SDP}, {}", ACCEPT_TYPES.join(", ")))
        .with_header("Supported", KNOWN_EXTENSIONS.join(", "))
        .with_header("Allow", ALLOW)
}

fn not_allowed(request: &Request) -> Response {
    Response::to(request, 405).with_header("Allow", ALLOW)
}
