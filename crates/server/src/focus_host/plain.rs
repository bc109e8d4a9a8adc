//! INVITEs of clients that speak no C3P (RFC 4579 §5.1). One that offers a medium the meeting has is
//! forwarded to that medium's server and is all its sender needs; one that offers none joins the
//! Focus alone, to watch.

use confab_conference::{
    focus::{self, InviteId},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Command, ConferenceKeys},
    conference_info::{Endpoint, User},
    uri::McuUri,
};
use confab_sip::{Flow, Method, Request, Response, ServerKey};
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost, Sender};
use crate::{
    control_link::CCCP,
    offer::{Offer, SDP},
};

/// The longest instance taken for an endpoint's name, in bytes.
const INSTANCE_LIMIT: usize = 128;

/// An INVITE that waits for the Focus' word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Invited {
    pub(super) key: ServerKey,
    /// What was sent to the conference itself, not to one of its MCUs.
    plain: Option<Box<Request>>,
}

impl Invited {
    /// An INVITE to an MCU of the conference, which the front end holds.
    pub(super) fn to_mcu(key: ServerKey) -> Invited {
        Invited { key, plain: None }
    }
}

/// Whether an INVITE to a conference is from a client that speaks no C3P.
pub fn is_plain(invite: &Request) -> bool {
    invite.method == Method::Invite && invite.headers.content_type().is_none_or(|kind| &*kind.kind != CCCP)
}

impl FocusHost {
    pub(super) fn invite_plainly(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        let offer = match Offer::of(&request) {
            Ok(offer) => offer,
            Err(response) => return out.push(Action::Respond { key, response }),
        };
        if offer.is_empty() {
            let document = self.joins_alone(&sender, &request);
            return self.begin_join(now, key, flow, sender, request, document, out);
        }
        let invite = InviteId(self.next_id());
        self.invites.insert(invite, Invited { key, plain: Some(Box::new(request)) });
        // Datagrams have no connection that could be lost.
        if flow.transport.reliable() {
            self.medium_joins.insert(invite, flow);
            self.medium_joins_by_flow.insert(flow, invite);
        }
        let Sender { user, identity, display_name } = sender;
        let offered = offer.media();
        self.tell(now, focus::Event::JoinMedium { invite, user, identity, display_name, offered }, out);
    }

    /// The C3P that a client would have sent to join the Focus alone. A client that says which
    /// instance it is replaces its former dialog.
    fn joins_alone(&mut self, sender: &Sender, request: &Request) -> cccp::Request {
        let contact = request.headers.contacts().ok().and_then(|contacts| contacts.into_iter().next());
        let instance = contact.and_then(|contact| contact.params.unquoted("+sip.instance"));
        let endpoint = instance.filter(|instance| !instance.is_empty() && instance.len() <= INSTANCE_LIMIT);
        let endpoint = endpoint.unwrap_or_else(|| self.entropy.guid());
        let conference = self.focus.record().uri.to_string();
        let mut user = User::new(sender.user.to_string());
        user.endpoints = vec![Endpoint::new(endpoint)];
        let keys = ConferenceKeys::of(conference.clone());
        let command = Command::AddUser(AddUser { mcu_uri: None, keys, user });
        cccp::Request::new(1, sender.user.to_string(), conference, command)
    }

    /// The session description in our answer to an INVITE or UPDATE of a dialog without media.
    ///
    /// # Errors
    /// The refusal of a body that cannot be read.
    pub(super) fn describe(&self, request: &Request, response: &mut Response) -> Result<(), Response> {
        if request.method == Method::Update && request.body.is_empty() {
            return Ok(());
        }
        // Each request's number is higher than the one before, and so is the version of the answer.
        let version = request.headers.cseq().map_or(0, |cseq| cseq.number);
        response.set_body(SDP, Offer::of(request)?.answer_without_media(&self.source, version));
        Ok(())
    }

    pub(super) fn forward_invite(
        &mut self,
        invite: InviteId,
        mcu: McuUri,
        server_uri: String,
        out: &mut Vec<Action>,
    ) {
        if let Some(Invited { key, .. }) = self.invites.remove(&invite) {
            out.push(Action::ForwardInvite { key, mcu, server_uri });
        }
    }

    pub(super) fn refuse_invite(&mut self, invite: InviteId, reason: Reason, out: &mut Vec<Action>) {
        self.forget_medium_join(invite);
        match self.invites.remove(&invite) {
            Some(Invited { key, plain: Some(request) }) if reason == Reason::NoCommonMedium => {
                let media = self.focus.media();
                let refused = Offer::of(&request).map(|offer| offer.refusal(&request, media, &self.source));
                out.push(Action::Respond { key, response: refused.unwrap_or_else(|response| response) });
            }
            Some(Invited { key, .. }) => out.push(Action::RefuseInvite { key, reason }),
            None => {}
        }
    }

    /// Nobody is in by this INVITE any more.
    pub(super) fn forget_medium_join(&mut self, invite: InviteId) {
        if let Some(flow) = self.medium_joins.remove(&invite) {
            self.medium_joins_by_flow.remove(flow, invite);
        }
    }

    /// The connection or the patience behind this INVITE is gone.
    pub(super) fn invite_lost(&mut self, now: Time, invite: InviteId, out: &mut Vec<Action>) {
        self.forget_medium_join(invite);
        self.invites.remove(&invite);
        self.tell(now, focus::Event::InviteLost { invite }, out);
    }
}
