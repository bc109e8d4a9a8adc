//! What the users' side answers: REGISTER, and SUBSCRIBE, SERVICE and PUBLISH to a user.

use std::collections::BTreeMap;

use confab_machine::Time;
use confab_schema::uri::{OpaqueTarget, UserUri};
use confab_sip::{Flow, Method, Request, ServerKey};
use confab_users::{Users, UsersAction};

use super::{Action, Arrival, FrontEnd, Sent, Unavailable};
use crate::focus_host::Sender;

/// Requests that may wait for names at once.
const WAITING_LIMIT: usize = 10_000;

/// A request that waits for the names of the people in it.
pub(super) struct Naming {
    arrival: Arrival,
    sender: Sender,
}

impl Naming {
    pub(super) fn came_by(&self, flow: Flow) -> bool {
        self.arrival.flow == flow
    }
}

impl FrontEnd {
    /// Whether a request is one that the users' side answers.
    pub(super) fn serves(&self, request: &Request) -> bool {
        let to_a_user = || {
            let ours = request.uri.host.eq_ignore_ascii_case(&self.domain);
            ours && matches!(OpaqueTarget::parse(&request.uri.to_string()), OpaqueTarget::User(_))
        };
        match request.method {
            Method::Register => true,
            Method::Subscribe | Method::Service | Method::Publish => to_a_user(),
            _ => false,
        }
    }

    pub(super) fn serve(&mut self, now: Time, arrival: Arrival, sender: Sender, out: &mut Vec<Action>) {
        let people = Users::people_in(&arrival.request);
        if people.is_empty() {
            return self.served(now, &Naming { arrival, sender }, &BTreeMap::new(), out);
        }
        if self.naming.len() >= WAITING_LIMIT {
            let sentence = "Too many people look others up at once. Try again shortly.";
            return self.refuse(now, &arrival.key, &arrival.request, 503, sentence, out);
        }
        self.last_lookup += 1;
        out.push(Action::LookUpNames { lookup: self.last_lookup, users: people });
        self.naming.insert(self.last_lookup, Naming { arrival, sender });
    }

    /// The names came.
    pub(super) fn named(
        &mut self,
        now: Time,
        lookup: u64,
        names: Result<BTreeMap<UserUri, String>, Unavailable>,
        out: &mut Vec<Action>,
    ) {
        let Some(naming) = self.naming.remove(&lookup) else { return };
        match names {
            Ok(names) => self.served(now, &naming, &names, out),
            Err(Unavailable) => {
                let sentence = "The user database does not answer. Try again shortly.";
                let Arrival { key, request, .. } = &naming.arrival;
                self.refuse(now, key, request, 503, sentence, out);
            }
        }
    }

    fn served(
        &mut self,
        now: Time,
        naming: &Naming,
        names: &BTreeMap<UserUri, String>,
        out: &mut Vec<Action>,
    ) {
        let Naming { arrival: Arrival { key, flow, request }, sender } = naming;
        // Where nobody is challenged, everybody of the domain exists.
        let open = self.authority.is_none();
        let domain = self.domain.clone();
        let name_of = |user: &UserUri| {
            let anybody = || (open && user.domain() == domain).then(|| user.user().to_owned());
            names.get(user).cloned().or_else(anybody)
        };
        let mut wishes = Vec::new();
        self.users.handle_request(now, *flow, &sender.user, request, &name_of, &mut wishes);
        self.grant_users(now, Some(key), wishes, out);
    }

    /// Does what the users' side wants; `key` is the request that it answers.
    pub(super) fn grant_users(
        &mut self,
        now: Time,
        key: Option<&ServerKey>,
        wishes: Vec<UsersAction>,
        out: &mut Vec<Action>,
    ) {
        for wish in wishes {
            match wish {
                UsersAction::Respond(response) => {
                    let key = key.expect("the users' side responds only to a request");
                    self.respond(now, key, response, out);
                }
                UsersAction::Send { flow, request, subscription } => {
                    let flow = self.way_to(now, flow, &request);
                    self.send(now, flow, request, Sent::Users(subscription), out);
                }
            }
        }
    }
}
