//! Step 8 as the front end sees it: an INVITE to an MCU waits for the Focus' word and then goes to
//! the MCU with the identity we vouch for (P-Asserted-Identity, RFC 3325).

use confab_conference::reason::Reason;
use confab_machine::Time;
use confab_schema::uri::{McuUri, UserUri};
use confab_sip::{Response, ServerKey};

use super::{Action, Arrival, FrontEnd, tell};
use crate::{focus_host, refusal};

/// An INVITE that waits for the Focus' word: to an MCU, or to the conference itself and maybe to be
/// forwarded to an MCU.
pub(super) struct McuInvite {
    pub(super) user: UserUri,
    /// The MCU it goes to, once that is known.
    pub(super) mcu: Option<McuUri>,
    pub(super) arrival: Arrival,
}

impl FrontEnd {
    /// The Focus lets the INVITE pass.
    pub(super) fn forward_to_mcu(
        &mut self,
        now: Time,
        key: &ServerKey,
        server_uri: &str,
        out: &mut Vec<Action>,
    ) {
        let Some(mcu) = self.mcus.get(server_uri).copied() else {
            return self.forward_once_linked(now, key, server_uri, out);
        };
        let Some(McuInvite { user, mcu: Some(uri), arrival }) = self.mcu_invites.remove(key) else { return };
        // What was sent to the conference goes on to the MCU of the medium it offers.
        let sent_to_mcu = McuUri::parse(&arrival.request.uri.to_string()).is_ok();
        let target = (!sent_to_mcu).then(|| uri.to_string().parse().expect("an MCU URI is a SIP URI"));
        self.places.set(uri, server_uri.to_owned());
        self.forward(now, arrival, Some(&user), vec![(target, mcu)], out);
    }

    /// The Focus has said which MCU an INVITE goes to.
    pub(super) fn let_pass(&mut self, key: &ServerKey, mcu: McuUri) {
        if let Some(invite) = self.mcu_invites.get_mut(key) {
            invite.mcu = Some(mcu);
        }
    }

    /// The Focus refuses the INVITE.
    pub(super) fn refuse_mcu_invite(
        &mut self,
        now: Time,
        key: &ServerKey,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        if let Some(McuInvite { arrival, .. }) = self.mcu_invites.remove(key) {
            let response = refusal::response(&arrival.request, reason, &self.addresses.name);
            self.respond(now, key, response, out);
        }
    }

    /// The sender gave an INVITE up. One that waits for a Focus ends here, which the Focus is told if it
    /// has let its sender in by it; one that was forwarded is cancelled where it went; one with C3P was
    /// answered at once.
    pub(super) fn cancelled(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        if let Some(McuInvite { arrival, .. }) = self.mcu_invites.remove(key) {
            if let Some(conference) = self.focus_invites.take(key) {
                tell(conference, focus_host::Event::NotAcknowledged { key: key.clone() }, out);
            }
            return self.respond(now, key, Response::to(&arrival.request, 487), out);
        }
        if let Some(request) = self.held.waiting(key).cloned() {
            return self.respond(now, key, Response::to(&request, 487), out);
        }
        self.give_up_creating(now, key, out);
        self.cancel_forward(now, key, out);
    }
}
