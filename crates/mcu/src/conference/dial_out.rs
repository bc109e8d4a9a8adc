//! Step 8, the other way round: the MCU calls somebody whom a leader wants in (c3p §9.2,
//! MS-CONFBAS §3.10.4.1.1).

use bytes::Bytes;
use confab_machine::{FlowNote, Time};
use confab_schema::{
    cccp::{self, AddUser, Code, Command, ResultBody},
    conference_info::{DisconnectionMethod, Endpoint, JoiningMethod},
    uri::UserUri,
};
use confab_sip::{
    Dialog, DialogId, Method, NameAddr, Request, Response, Scheme, SessionTimer, Uri, sdp::body::CONTENT_TYPE,
};

use super::{
    CALL_OVER, DISCONNECTED_SHOWN, Medium, Pending, RING_LIMIT, Room, Timer,
    roster::{Call, LegId, LegState, Session},
};
use crate::{
    Action,
    control::{self, Fault},
    trace::PARTICIPANT,
};

/// The headers that a `refer-to-uri` may add to the INVITE (RFC 3261 §19.1.5).
const EMBEDDED_HEADERS: [&str; 4] = ["Replaces", "Subject", "Priority", "Ms-Conversation-ID"];

impl<M: Medium> Room<M> {
    /// `addUser` with joining-method `dialed-out`: answered `pending`, and again when the callee is.
    pub(super) fn call(
        &mut self,
        now: Time,
        control: (u64, &cccp::Request),
        user: &UserUri,
        add: &AddUser,
        endpoint: &Endpoint,
        out: &mut Vec<Action>,
    ) -> Result<Option<ResultBody>, Fault> {
        match self.roster.leg_named(user, &endpoint.entity).map(|(leg, present)| (leg, &present.state)) {
            Some((_, LegState::InSession(_))) => {
                return Ok(Some(self.added(add, endpoint, JoiningMethod::DialedOut)));
            }
            Some((_, LegState::Called(_) | LegState::Arriving(_))) => return Err(Fault::Other),
            Some((leg, LegState::Expected { .. } | LegState::Disconnected { .. })) => {
                self.remove_leg(now, leg, None, out);
            }
            None => {}
        }
        let invite = self.call_invite(user, endpoint)?;
        let (control_id, request) = control;
        let until = now + RING_LIMIT;
        let call = Call {
            id: None,
            invite: Some(invite),
            control: (control_id, request.clone()),
            alerting: false,
            until,
        };
        let leg = self.add_leg(
            user,
            &add.user,
            endpoint,
            JoiningMethod::DialedOut,
            LegState::Called(Box::new(call)),
        )?;
        self.timers.insert((until, Timer::Leg(leg)));
        out.push(Action::ControlResponse { id: control_id, response: cccp::Response::pending(request) });
        M::offer_call(self, now, leg, out);
        Ok(None)
    }

    /// The medium has its offer: the INVITE goes out.
    pub(crate) fn place_call(&mut self, leg_id: LegId, offer: Bytes, out: &mut Vec<Action>) {
        let id = self.last_request + 1;
        let Some(leg) = self.roster.leg_mut(leg_id) else { return };
        let note = FlowNote::new(8, M::COMPONENT, PARTICIPANT, format!("INVITE {}", leg.user.traced()));
        let LegState::Called(call) = &mut leg.state else { return };
        let Some(mut invite) = call.invite.take() else { return };
        call.id = Some(id);
        invite.set_body(CONTENT_TYPE, offer);
        self.requests.insert(id, Pending::Call { leg: leg_id, invite: Box::new(invite.clone()) });
        self.send(None, invite, Some(note), out);
    }

    /// The medium has nothing to offer.
    pub(crate) fn drop_call(&mut self, now: Time, leg: LegId, out: &mut Vec<Action>) {
        if matches!(self.roster.leg(leg).map(|leg| &leg.state), Some(LegState::Called(_))) {
            self.show_disconnected(now, leg, DisconnectionMethod::Failed, out);
        }
    }

    /// From this MCU to the person, sent to the address that the leader gave for him.
    fn call_invite(&mut self, user: &UserUri, endpoint: &Endpoint) -> Result<Request, Fault> {
        let person = user.to_string();
        let target = endpoint.refer_to_uri.as_deref().or(endpoint.endpoint_uri.as_deref()).unwrap_or(&person);
        let mut target: Uri = target.parse().map_err(|_| Fault::Other)?;
        // A telephone cannot show messages.
        if !matches!(target.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Fault::Other);
        }
        let to: Uri = person.parse().map_err(|_| Fault::Other)?;
        let embedded = target.headers.take();
        let from = NameAddr::new(self.mcu_uri.clone()).with_tag(&self.entropy.hex::<8>());
        let mut invite = Request::new(Method::Invite, target)
            .with_header("From", from.to_string())
            .with_header("To", NameAddr::new(to).to_string())
            .with_header("Call-ID", self.entropy.hex::<16>())
            .with_header("CSeq", "1 INVITE")
            .with_header("Max-Forwards", "70")
            .with_header("Contact", self.contact(&self.mcu_uri));
        if !M::SUPPORTED.is_empty() {
            invite.headers.push("Supported", M::SUPPORTED);
        }
        for (name, value) in embedded.iter().flat_map(|headers| embedded_headers(headers)) {
            invite.headers.push(name, value);
        }
        SessionTimer::ask(&mut invite);
        Ok(invite)
    }

    /// A response to an INVITE of ours, maybe one of several.
    pub(super) fn call_answered(&mut self, now: Time, id: u64, response: &Response, out: &mut Vec<Action>) {
        let Some(Pending::Call { leg, invite }) = self.requests.get(&id) else { return };
        let leg = *leg;
        let rings = matches!(self.roster.leg(leg).map(|leg| &leg.state), Some(LegState::Called(_)));
        match response.status {
            180..=183 if rings => self.alerting(leg),
            100..=199 => {}
            200..=299 => {
                let Ok(dialog) = Dialog::from_response(invite, response) else {
                    return self.end_call(now, id, leg, DisconnectionMethod::Failed, out);
                };
                let own = if rings { M::call_answered(self, now, leg, response, out) } else { None };
                match own {
                    Some(own) => {
                        let timer = SessionTimer::answered(now, response);
                        let call = Some(id);
                        let session = Session { dialog, flow: None, own, unacknowledged: None, call, timer };
                        self.call_connected(leg, session, out);
                    }
                    None => {
                        self.hang_up(dialog, out);
                        self.end_call(now, id, leg, DisconnectionMethod::Failed, out);
                    }
                }
            }
            486 | 600 => self.end_call(now, id, leg, DisconnectionMethod::Busy, out),
            _ => self.end_call(now, id, leg, DisconnectionMethod::Failed, out),
        }
    }

    /// No final response to an INVITE of ours will come.
    pub(super) fn call_failed(&mut self, now: Time, id: u64, out: &mut Vec<Action>) {
        if let Some(Pending::Call { leg, .. }) = self.requests.get(&id) {
            let leg = *leg;
            self.end_call(now, id, leg, DisconnectionMethod::Failed, out);
        }
    }

    /// Nobody picked up.
    pub(super) fn ring_timeout(&mut self, now: Time, leg: LegId, out: &mut Vec<Action>) {
        let Some(LegState::Called(call)) = self.roster.leg(leg).map(|leg| &leg.state) else { return };
        out.extend(call.id.map(|id| Action::Cancel { id }));
        self.show_disconnected(now, leg, DisconnectionMethod::Failed, out);
    }

    /// The callee was removed while it rang there. The INVITE stays on record: he may pick up yet.
    pub(super) fn give_up_call(&mut self, leg: LegId, call: &Call, out: &mut Vec<Action>) {
        self.timers.remove(&(call.until, Timer::Leg(leg)));
        out.extend(call.id.map(|id| Action::Cancel { id }));
        let (id, request) = &call.control;
        out.push(Action::ControlResponse { id: *id, response: control::failure(request, Fault::Other) });
    }

    /// The callee's 200 came once more: so does our ACK.
    pub(super) fn acknowledge_again(&mut self, response: &Response, out: &mut Vec<Action>) {
        let dialog = DialogId::of_answered(response);
        let Some(leg) = dialog.and_then(|dialog| self.roster.in_dialog(&dialog)) else { return };
        let Some(session) = self.roster.leg(leg).and_then(|leg| leg.session()) else { return };
        if session.call.is_some() {
            let (flow, ack) = (session.flow, session.dialog.ack(1));
            self.send(flow, ack, None, out);
        }
    }

    fn alerting(&mut self, id: LegId) {
        let Some(leg) = self.roster.leg_mut(id) else { return };
        if let LegState::Called(call) = &mut leg.state
            && !call.alerting
        {
            call.alerting = true;
            self.changes.people.insert(leg.user.clone());
        }
    }

    fn call_connected(&mut self, leg_id: LegId, session: Session<M::Session>, out: &mut Vec<Action>) {
        let Some(leg) = self.roster.leg(leg_id) else { return };
        let LegState::Called(call) = &leg.state else { return };
        self.timers.remove(&(call.until, Timer::Leg(leg_id)));
        self.changes.people.insert(leg.user.clone());
        let (control_id, request) = &call.control;
        let response = cccp::Response::new(request, Code::Success, self.called(request));
        let answered = Action::ControlResponse { id: *control_id, response };
        let ack = session.dialog.ack(1);
        self.roster.begin_session(leg_id, session);
        self.await_refresh(leg_id);
        self.send(None, ack, None, out);
        out.push(answered);
    }

    fn called(&self, request: &cccp::Request) -> ResultBody {
        match request.commands.first() {
            Some(Command::AddUser(add)) if !add.user.endpoints.is_empty() => {
                self.added(add, &add.user.endpoints[0], JoiningMethod::DialedOut)
            }
            _ => ResultBody::Empty,
        }
    }

    /// Ends a session that nobody wants (any more).
    fn hang_up(&mut self, mut dialog: Dialog, out: &mut Vec<Action>) {
        self.send(None, dialog.ack(1), None, out);
        let mut bye = dialog.request(Method::Bye);
        bye.headers.push("Reason", format!("SIP;text=\"{CALL_OVER}\""));
        self.send(None, bye, None, out);
    }

    /// The INVITE has its outcome; if somebody waits for it still, it is a failure.
    fn end_call(
        &mut self,
        now: Time,
        id: u64,
        leg: LegId,
        method: DisconnectionMethod,
        out: &mut Vec<Action>,
    ) {
        let state = self.roster.leg(leg).map(|leg| &leg.state);
        if matches!(state, Some(LegState::InSession(_))) {
            // One fork was connected before; this was another.
            return;
        }
        self.requests.remove(&id);
        if let Some(LegState::Called(call)) = state
            && call.id == Some(id)
        {
            self.show_disconnected(now, leg, method, out);
        }
    }

    fn show_disconnected(
        &mut self,
        now: Time,
        id: LegId,
        method: DisconnectionMethod,
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.roster.leg_mut(id) else { return };
        let until = now + DISCONNECTED_SHOWN;
        let state = std::mem::replace(&mut leg.state, LegState::Disconnected { method, until });
        self.changes.people.insert(leg.user.clone());
        self.timers.insert((until, Timer::Leg(id)));
        if let LegState::Called(call) = state {
            self.timers.remove(&(call.until, Timer::Leg(id)));
            let (control_id, request) = &call.control;
            let response = control::failure(request, Fault::Other);
            out.push(Action::ControlResponse { id: *control_id, response });
        }
        M::call_over(self, now, id, out);
    }
}

/// The allowed ones of a URI's headers, without their escapes.
fn embedded_headers(headers: &str) -> impl Iterator<Item = (&'static str, String)> {
    headers.split('&').filter_map(|header| {
        let (name, value) = header.split_once('=')?;
        let name = EMBEDDED_HEADERS.iter().find(|allowed| allowed.eq_ignore_ascii_case(name))?;
        Some((*name, unescape(value)?))
    })
}

/// `None` if what comes out could not stand in a header.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}
