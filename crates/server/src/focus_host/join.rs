//! INVITE dialogs between participants and the Focus.

use confab_conference::{
    focus::{self, Ending, JoinId},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::cccp;
use confab_sip::{DialogId, Flow, InviteUsage, Method, Request, Response, ServerKey, Upkeep, Uri};
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost, Sender, Sent, is_plain};
use crate::control_link::CCCP;

/// One INVITE dialog, from its INVITE on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Joined {
    pub(super) flow: Flow,
    pub(super) key: ServerKey,
    usage: InviteUsage,
    /// The INVITE, until the Focus has said whether it may join.
    asking: Option<Box<Request>>,
    /// Whether he speaks SDP in it and not C3P.
    plain: bool,
    /// When its session timer next has something to do.
    upkeep: Option<Time>,
}

impl Joined {
    /// A request of ours within the dialog.
    pub(super) fn request(&mut self, method: Method) -> Request {
        self.usage.request(method)
    }

    pub(super) fn remote_uri(&self) -> &Uri {
        self.usage.dialog().remote_uri()
    }
}

impl FocusHost {
    pub(super) fn invite(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        if is_plain(&request) {
            return self.invite_plainly(now, key, flow, sender, request, out);
        }
        match self.read_cccp(&request) {
            Ok(document) => self.begin_join(now, key, flow, sender, request, document, out),
            Err(response) => out.push(Action::Respond { key, response }),
        }
    }

    /// Somebody wants to join the Focus itself; `document` is what he asks for.
    #[expect(clippy::too_many_arguments, reason = "an INVITE with all that is known of it")]
    pub(super) fn begin_join(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        document: cccp::Request,
        out: &mut Vec<Action>,
    ) {
        let plain = is_plain(&request);
        let tag = self.new_tag();
        let usage = match InviteUsage::from_request(&request, &tag, self.contact.clone()) {
            Ok(usage) => usage,
            Err(response) => return out.push(Action::Respond { key, response }),
        };
        let join = JoinId(self.next_id());
        let asking = Some(Box::new(request));
        self.joins_by_flow.insert(flow, join);
        self.joins.insert(join, Joined { flow, key, usage, asking, plain, upkeep: None });
        let Sender { user, identity, display_name } = sender;
        self.tell(now, focus::Event::Join { join, user, identity, display_name, request: document }, out);
    }

    pub(super) fn admit(&mut self, now: Time, join: JoinId, body: &cccp::Response, out: &mut Vec<Action>) {
        let Some(joined) = self.joins.get_mut(&join) else { return };
        let Some(request) = joined.asking.take() else { return };
        let mut response =
            joined.usage.accept_response(now, &request).with_header("Allow-Events", "conference");
        self.join_of.insert(joined.usage.dialog().id(), join);
        let key = joined.key.clone();
        if joined.plain {
            self.describe(&request, &mut response).expect("the offer was read when it came");
        } else {
            response.set_body(CCCP, body.to_bytes());
        }
        out.push(Action::Respond { key, response });
        self.reschedule(join);
    }

    pub(super) fn refuse_join(&mut self, join: JoinId, reason: Reason, out: &mut Vec<Action>) {
        if let Some(Joined { key, flow, asking: Some(request), .. }) = self.joins.remove(&join) {
            self.joins_by_flow.remove(flow, join);
            let response = self.refusal(&request, reason);
            out.push(Action::Respond { key, response });
        }
    }

    pub(super) fn end_join(&mut self, join: JoinId, ending: Ending, out: &mut Vec<Action>) {
        if let Some(mut joined) = self.forget_join(join) {
            let cause = match ending {
                Ending::Ejected | Ending::Denied => 403,
                Ending::RemovedOneself
                | Ending::ConferenceEnded
                | Ending::Idle
                | Ending::Expired
                | Ending::Replaced
                | Ending::Broken => 480,
            };
            let reason = format!("SIP;cause={cause};text=\"{}\"", ending.sentence());
            let request = joined.usage.bye().with_header("Reason", reason);
            self.send(joined.flow, request, Sent::Bye, out);
        }
    }

    /// A request within an INVITE dialog: checked, and its dialog brought up to date.
    pub(super) fn in_dialog(
        &mut self,
        flow: Flow,
        dialog: &DialogId,
        request: &Request,
    ) -> Result<JoinId, Response> {
        let unknown = || Response::to(request, 481);
        let join = self.join_of.get(dialog).copied().ok_or_else(unknown)?;
        let joined = self.joins.get_mut(&join).ok_or_else(unknown)?;
        joined.usage.receive(request).map_err(|status| joined.usage.response(request, status))?;
        // A client that came back over another connection is reached by that.
        self.joins_by_flow.remove(joined.flow, join);
        self.joins_by_flow.insert(flow, join);
        joined.flow = flow;
        Ok(join)
    }

    /// A re-INVITE or UPDATE: it only keeps the dialog alive.
    pub(super) fn refresh(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        dialog: &DialogId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        let response = match self.in_dialog(flow, dialog, request) {
            Ok(join) => {
                let joined = self.joins.get_mut(&join).expect("in_dialog found it");
                let plain = joined.plain;
                let mut response = joined.usage.accept_response(now, request);
                self.reschedule(join);
                let described = if plain { self.describe(request, &mut response) } else { Ok(()) };
                described.map_or_else(|refusal| refusal, |()| response)
            }
            Err(response) => response,
        };
        out.push(Action::Respond { key, response });
    }

    pub(super) fn bye(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        dialog: &DialogId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        match self.in_dialog(flow, dialog, request) {
            Ok(join) => {
                out.push(Action::Respond { key, response: Response::to(request, 200) });
                self.lost(now, join, out);
            }
            Err(response) => out.push(Action::Respond { key, response }),
        }
    }

    pub(super) fn not_acknowledged(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        let unanswered = self.joins.iter().find(|(_, joined)| &joined.key == key).map(|(join, _)| *join);
        if let Some(join) = unanswered {
            self.lost(now, join, out);
        }
        let given_up = self.invites.iter().find(|(_, invited)| &invited.key == key);
        if let Some(invite) = given_up.map(|(invite, _)| *invite) {
            self.invite_lost(now, invite, out);
        }
    }

    /// The participant's end of the dialog is gone.
    pub(super) fn lost(&mut self, now: Time, join: JoinId, out: &mut Vec<Action>) {
        if self.forget_join(join).is_some() {
            self.tell(now, focus::Event::Left { join }, out);
        }
    }

    fn forget_join(&mut self, join: JoinId) -> Option<Joined> {
        let joined = self.joins.remove(&join)?;
        self.join_of.remove(&joined.usage.dialog().id());
        self.joins_by_flow.remove(joined.flow, join);
        if let Some(at) = joined.upkeep {
            self.upkeep.remove(&(at, join));
        }
        Some(joined)
    }

    /// Session timers (RFC 4028): refreshes what we are to refresh, ends what nobody kept alive.
    pub(super) fn keep_up(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some((at, join)) = self.upkeep.first().copied()
            && at <= now
        {
            let Some(joined) = self.joins.get_mut(&join) else {
                self.upkeep.pop_first();
                continue;
            };
            let flow = joined.flow;
            match joined.usage.upkeep(now) {
                Some(Upkeep::Refresh(request)) => {
                    self.send(flow, request, Sent::Refresh(join), out);
                    self.reschedule(join);
                }
                Some(Upkeep::Expired(request)) => {
                    self.send(flow, request, Sent::Bye, out);
                    self.lost(now, join, out);
                }
                None => self.reschedule(join),
            }
        }
    }

    /// Our UPDATE was answered.
    pub(super) fn refreshed(&mut self, now: Time, join: JoinId, status: u16, out: &mut Vec<Action>) {
        match status {
            200..=299 => {
                if let Some(joined) = self.joins.get_mut(&join) {
                    joined.usage.refreshed(now);
                    self.reschedule(join);
                }
            }
            // RFC 4028 §10: these say that the session is gone; others leave it to its timer.
            408 | 481 => self.lost(now, join, out),
            _ => {}
        }
    }

    fn reschedule(&mut self, join: JoinId) {
        let Some(joined) = self.joins.get_mut(&join) else { return };
        if let Some(at) = joined.upkeep.take() {
            self.upkeep.remove(&(at, join));
        }
        joined.upkeep = joined.usage.deadline();
        self.upkeep.extend(joined.upkeep.map(|at| (at, join)));
    }

    /// Sends a request within a participant's dialog.
    pub(super) fn send_in(
        &mut self,
        join: JoinId,
        method: Method,
        content_type: &str,
        body: bytes::Bytes,
        out: &mut Vec<Action>,
    ) {
        let Some(joined) = self.joins.get_mut(&join).filter(|joined| joined.asking.is_none()) else { return };
        let mut request = joined.usage.request(method);
        request.set_body(content_type, body);
        let flow = joined.flow;
        self.send(flow, request, Sent::Info(join), out);
    }

    pub(super) fn send(&mut self, flow: Flow, request: Request, what: Sent, out: &mut Vec<Action>) {
        let id = self.next_id();
        // Nothing answers a BENOTIFY.
        if request.method != Method::Benotify {
            self.sent.insert(id, what);
        }
        out.push(Action::Send { id, flow, request });
    }

    /// The C3P request in a SIP request's body, or the refusal of a body that is none.
    pub(super) fn read_cccp(&self, request: &Request) -> Result<cccp::Request, Response> {
        if request.headers.content_type().is_none_or(|content_type| &*content_type.kind != CCCP) {
            return Err(Response::to(request, 415).with_header("Accept", CCCP));
        }
        cccp::Request::parse(&request.body).map_err(|_| self.refusal(request, Reason::C3pUnreadable))
    }
}
