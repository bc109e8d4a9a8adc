//! Asking people into a conference and being asked: INVITE with `application/ms-conf-invite+xml`
//! from client to client (c3p §9.3). The dialog carries nothing else; who accepts joins by himself.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use confab_machine::Time;
use confab_schema::{
    conf_invite::{CONTENT_TYPE as CONF_INVITE, ConfInvite},
    uri::{ConferenceUri, UserUri},
};
use confab_sip::{ClientKey, Dialog, DialogId, Method, Request, Response, ServerKey};

use crate::{
    refusal::Refusal,
    user_agent::{Answer, Context, Purpose},
    vocabulary::{InvitationAnswer, Observation},
};

/// How long an invitation rings, either way.
const RINGING: Duration = Duration::from_secs(180);
/// How many invitations are open at once, each way.
const MAX_OPEN: usize = 64;
/// How many accepted ones wait for the BYE of who invited.
const MAX_ACCEPTED: usize = 16;

/// The open invitations, both ways.
#[derive(Debug, Default)]
pub(crate) struct Invitations {
    sent: BTreeMap<ClientKey, Sent>,
    received: BTreeMap<u64, Received>,
    accepted: VecDeque<Dialog>,
    last_id: u64,
}

#[derive(Debug)]
struct Sent {
    user: UserUri,
    until: Time,
}

#[derive(Debug)]
struct Received {
    key: ServerKey,
    request: Request,
    /// Ours, in all answers to it.
    tag: String,
    until: Time,
}

impl Invitations {
    /// Asks somebody into `conference`.
    pub(crate) fn invite(
        &mut self,
        cx: &mut Context<'_>,
        user: UserUri,
        conference: &ConferenceUri,
        subject: &str,
    ) {
        let request = match cx.agent.request_to(Method::Invite, &user.to_string()) {
            Ok(request) if self.sent.len() < MAX_OPEN => request,
            Ok(_) => return failed(cx, user, Refusal::local(486, "Too many invitations are open.")),
            Err(refusal) => return failed(cx, user, refusal),
        };
        let mut request = request.with_header("Supported", "ms-sender");
        let document = ConfInvite {
            focus_uri: conference.clone(),
            subject: subject.to_owned(),
            im_available: true,
            audio_available: false,
            conversation_id: None,
        };
        request.set_body(CONF_INVITE, document.to_bytes());
        match cx.send(request, Purpose::Invitation) {
            Some(key) => {
                self.sent.insert(key, Sent { user, until: cx.now + RINGING });
            }
            None => failed(cx, user, Refusal::local(503, "There is no connection to the server.")),
        }
    }

    /// A challenged INVITE was repeated and has another key.
    pub(crate) fn repeated(&mut self, old: &ClientKey, new: &ClientKey) {
        if let Some(sent) = self.sent.remove(old) {
            self.sent.insert(new.clone(), sent);
        }
    }

    /// Somebody we invited has answered.
    pub(crate) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        key: &ClientKey,
        request: &Request,
        answer: Answer,
    ) {
        let user = self.sent.remove(key).map(|sent| sent.user);
        if let Ok(response) = &answer {
            // Deviation: who invited ends the dialog right after the ACK; the sheets say "soon".
            cx.decline_late(request, response);
        }
        let Some(user) = user else { return };
        let answer = match answer {
            Ok(_) => InvitationAnswer::Accepted,
            Err(refusal) => match refusal.status {
                603 | 605 => InvitationAnswer::Declined,
                415 | 488 | 501 => InvitationAnswer::NotSupported,
                _ => InvitationAnswer::Failed(refusal),
            },
        };
        cx.observe(Observation::InvitationAnswered { user, answer });
    }

    /// An INVITE outside of any dialog came.
    pub(crate) fn invited(&mut self, cx: &mut Context<'_>, key: ServerKey, request: Request) {
        if request.headers.content_type().is_none_or(|kind| kind.kind != CONF_INVITE) {
            return cx.respond(&key, Response::to(&request, 415).with_header("Accept", CONF_INVITE));
        }
        let from = request.headers.from().ok().and_then(|from| UserUri::parse(&from.uri.aor()).ok());
        let (Some(from), Ok(document)) = (from, ConfInvite::parse(&request.body)) else {
            return cx.answer(&key, &request, 400);
        };
        if self.received.len() >= MAX_OPEN {
            return cx.answer(&key, &request, 486);
        }
        self.last_id += 1;
        let id = self.last_id;
        let tag = cx.agent.entropy.hex::<5>();
        let mut ringing = Response::to(&request, 180);
        ringing.set_to_tag(&tag);
        cx.respond(&key, ringing);
        self.received.insert(id, Received { key, request, tag, until: cx.now + RINGING });
        cx.observe(Observation::Invited {
            id,
            from,
            conference: document.focus_uri,
            subject: document.subject,
        });
    }

    /// The person answers.
    pub(crate) fn answer(&mut self, cx: &mut Context<'_>, id: u64, accept: bool) {
        let Some(Received { key, request, tag, .. }) = self.received.remove(&id) else { return };
        if !accept {
            return cx.answer(&key, &request, 603);
        }
        let mut response = Response::to(&request, 200).with_header("Contact", cx.agent.contact());
        response.set_to_tag(&tag);
        cx.respond(&key, response);
        if let Ok(dialog) = Dialog::from_invite(&request, &tag) {
            self.accepted.push_back(dialog);
            if self.accepted.len() > MAX_ACCEPTED {
                self.accepted.pop_front();
            }
        }
    }

    /// Who invited has withdrawn it.
    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, key: &ServerKey) {
        let id = self.received.iter().find(|(_, received)| received.key == *key).map(|(id, _)| *id);
        if let Some(id) = id {
            self.withdraw(cx, id, 487);
        }
    }

    fn withdraw(&mut self, cx: &mut Context<'_>, id: u64, status: u16) {
        if let Some(Received { key, request, .. }) = self.received.remove(&id) {
            cx.answer(&key, &request, status);
            cx.observe(Observation::InvitationWithdrawn { id });
        }
    }

    /// Whether a request belongs to an invitation we accepted; if so it is dealt with.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) -> bool {
        let Some(at) =
            self.accepted.iter().position(|dialog| DialogId::of_received(request) == Some(dialog.id()))
        else {
            return false;
        };
        if request.method == Method::Bye {
            self.accepted.remove(at);
            cx.answer(key, request, 200);
        } else {
            cx.refuse_method(key, request);
        }
        true
    }

    /// The conference is over: nobody else is asked into it.
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>) {
        for key in self.sent.keys() {
            cx.cancel(key);
        }
    }

    /// The flow is gone: nobody can be answered any more.
    pub(crate) fn flow_closed(&mut self, cx: &mut Context<'_>) {
        self.accepted.clear();
        for id in std::mem::take(&mut self.received).into_keys() {
            cx.observe(Observation::InvitationWithdrawn { id });
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let sent = self.sent.values().map(|sent| sent.until);
        sent.chain(self.received.values().map(|received| received.until)).min()
    }

    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>) {
        for (key, sent) in &mut self.sent {
            if sent.until <= cx.now {
                // The 487 comes soon, or the transaction ends without it.
                sent.until = cx.now + RINGING;
                cx.cancel(key);
            }
        }
        let late = self.received.iter().filter(|(_, received)| received.until <= cx.now);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.withdraw(cx, id, 480);
        }
    }
}

fn failed(cx: &mut Context<'_>, user: UserUri, refusal: Refusal) {
    cx.observe(Observation::InvitationAnswered { user, answer: InvitationAnswer::Failed(refusal) });
}
