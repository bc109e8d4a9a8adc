//! Steps 1 and 2 as the front end sees them: SERVICE to a Focus Factory, and INVITE to one, which makes
//! a conference and joins it (RFC 4579 §5.4). Phones, which cannot write the address of a Focus
//! Factory, have one that can be typed: `sip:conference@DOMAIN`.

use confab_machine::Time;
use confab_schema::uri::{ConferenceUri, OpaqueTarget};
use confab_sip::{Method, Response, ServerKey};

use super::{Action, Arrival, FrontEnd};
use crate::focus_host::Sender;

/// What a Focus Factory takes.
const ALLOW: &str = "SERVICE, INVITE, ACK, CANCEL, OPTIONS";

/// An INVITE that waits for its conference.
pub(super) struct Creating {
    arrival: Arrival,
    sender: Sender,
}

impl FrontEnd {
    /// Whether a request is for the factory that phones call.
    pub(super) fn is_factory(&self, target: &OpaqueTarget) -> bool {
        match target {
            OpaqueTarget::User(user) => self.conference_factory.as_ref() == Some(user),
            _ => false,
        }
    }

    pub(super) fn ask_factory(&mut self, now: Time, arrival: Arrival, sender: Sender, out: &mut Vec<Action>) {
        let Arrival { key, request, .. } = &arrival;
        let in_dialog = request.headers.to().is_ok_and(|to| to.tag().is_some());
        match request.method {
            _ if in_dialog => self.respond(now, key, Response::to(request, 481), out),
            Method::Service => {
                let Arrival { key, flow, request } = arrival;
                let transport = flow.transport;
                out.push(Action::ToFactory { key, user: sender.user, transport, request });
            }
            Method::Invite => {
                let (key, request) = (key.clone(), request.clone());
                let create =
                    Action::CreateConference { key: key.clone(), user: sender.user.clone(), request };
                self.creating.insert(key, Creating { arrival, sender });
                out.push(create);
            }
            Method::Options => {
                let response = Response::to(request, 200)
                    .with_header("Allow", ALLOW)
                    .with_header("Contact", format!("<{}>;isfocus", request.uri));
                self.respond(now, key, response, out);
            }
            _ => self.respond(now, key, Response::to(request, 405).with_header("Allow", ALLOW), out),
        }
    }

    /// The conference is made: the INVITE goes there. Or it is not to be.
    pub(super) fn created(
        &mut self,
        now: Time,
        key: &ServerKey,
        conference: Result<ConferenceUri, Box<Response>>,
        out: &mut Vec<Action>,
    ) {
        // Who has given up meanwhile leaves a conference that nobody is in.
        let Some(Creating { arrival, sender }) = self.creating.remove(key) else { return };
        match conference {
            Ok(conference) => self.ask_focus(now, arrival, sender, conference, out),
            Err(response) => self.respond(now, key, *response, out),
        }
    }

    /// The sender of an INVITE that waits for its conference has given it up or is gone.
    pub(super) fn give_up_creating(&mut self, now: Time, key: &ServerKey, out: &mut Vec<Action>) {
        if let Some(Creating { arrival, .. }) = self.creating.remove(key) {
            self.respond(now, key, Response::to(&arrival.request, 487), out);
        }
    }
}
