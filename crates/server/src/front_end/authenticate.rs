//! Who sent this? A request is believed when its From is somebody this connection has proved to
//! be, or when it answers a Digest challenge (RFC 8760). Trusted flows, those to our own MCUs,
//! assert whom they speak for. Who does not sign in at all is met in `anonymous.rs`.

use confab_conference::policy::Identity;
use confab_machine::Time;
use confab_schema::uri::UserUri;
use confab_sip::{
    Flow, Method, Request, Response, ServerKey,
    auth::{self, Asker, Verdict},
};

use super::{Action, Arrival, FrontEnd, KnownAccount, Unavailable, anonymous::is_anonymous};
use crate::focus_host::Sender;

/// Requests that may wait for the database at once.
const WAITING_LIMIT: usize = 10_000;
/// Identities that one connection may prove: the lines of a phone, the users of a gateway.
const IDENTITIES_PER_FLOW: usize = 100;

/// A request that waits for its sender's account.
pub(super) struct Waiting {
    arrival: Arrival,
    user: UserUri,
}

impl Waiting {
    pub(super) fn came_by(&self, flow: Flow) -> bool {
        self.arrival.flow == flow
    }
}

impl FrontEnd {
    /// A new request: find out who sent it, then route it.
    pub(super) fn arrived(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Action>) {
        let Arrival { key, flow, request } = &arrival;
        if let Err(response) = self.check(request) {
            return self.respond(now, key, response, out);
        }
        if self.trusted.contains_key(flow) {
            return self.route_trusted(now, arrival, out);
        }
        if is_anonymous(request) {
            return self.anonymous_arrived(now, arrival, out);
        }
        let claimed = match self.claimed(request) {
            Ok(user) => user,
            Err(sentence) => return self.refuse(now, key, request, 403, sentence, out),
        };
        if let Some(name) = self.identities.get(flow).and_then(|known| known.get(&claimed)) {
            let display_name = name.clone();
            let sender = Sender { user: claimed, identity: Identity::Enterprise, display_name };
            return self.route(now, arrival, sender, out);
        }
        // Between datagrams nothing is proved but by the token that we gave this very flow, for this
        // dialog and this sender.
        if self.other_end(*flow, request).is_some() {
            let display_name = claimed.user().to_owned();
            let sender = Sender { user: claimed, identity: Identity::Enterprise, display_name };
            return self.route(now, arrival, sender, out);
        }
        if self.authority.is_some() && credentials(request).is_none() {
            return self.challenge(now, key, request, false, out);
        }
        if self.waiting.len() >= WAITING_LIMIT {
            let sentence = "Too many people sign in at once. Try again shortly.";
            return self.refuse(now, key, request, 503, sentence, out);
        }
        self.last_lookup += 1;
        let lookup = self.last_lookup;
        out.push(Action::LookUp { lookup, user: claimed.clone() });
        self.waiting.insert(lookup, Waiting { arrival, user: claimed });
    }

    /// The sender's account came; check what he answered to the challenge.
    pub(super) fn looked_up(
        &mut self,
        now: Time,
        lookup: u64,
        account: Result<Option<KnownAccount>, Unavailable>,
        out: &mut Vec<Action>,
    ) {
        let Some(Waiting { arrival, user }) = self.waiting.remove(&lookup) else { return };
        let Arrival { key, flow, request } = &arrival;
        // Who has hung up meanwhile is not to be remembered; a BENOTIFY has no transaction.
        let unanswered = request.method == Method::Benotify;
        if !unanswered && !self.transactions.is_serving(key) {
            return;
        }
        let Ok(account) = account else {
            let sentence = "The user database does not answer. Try again shortly.";
            return self.refuse(now, key, request, 503, sentence, out);
        };
        if let Some(authority) = &mut self.authority {
            let header = credentials(request).unwrap_or_default().to_owned();
            // An unknown user is treated like a wrong password, so that nobody can tell which.
            let ha1s = account.as_ref().map(|account| account.ha1s.clone()).unwrap_or_default();
            // Passwords are hashed with the user part of the address as the name.
            let own = auth::credentials(&header).is_ok_and(|given| given.username == user.user());
            let verdict = if own {
                authority.verify(now, &request.method, &request.uri, &header, &ha1s)
            } else {
                Verdict::Wrong
            };
            match verdict {
                Verdict::Accepted => {}
                Verdict::Stale => return self.challenge(now, key, request, true, out),
                Verdict::Wrong => return self.challenge(now, key, request, false, out),
                Verdict::Malformed => {
                    let sentence = "The answer to the challenge cannot be read.";
                    return self.refuse(now, key, request, 400, sentence, out);
                }
            }
        }
        let display_name = self.display_name(request, account.as_ref(), &user);
        if flow.transport.reliable() && !unanswered {
            let proved = self.identities.entry(*flow).or_default();
            if proved.is_empty() {
                out.push(Action::Believe { flow: *flow });
            }
            if proved.len() < IDENTITIES_PER_FLOW {
                proved.insert(user.clone(), display_name.clone());
            }
        }
        let sender = Sender { user, identity: Identity::Enterprise, display_name };
        self.route(now, arrival, sender, out);
    }

    fn challenge(
        &mut self,
        now: Time,
        key: &ServerKey,
        request: &Request,
        stale: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(authority) = &mut self.authority else { return };
        let asker = asker(&request.method);
        let mut response = Response::to(request, asker.status());
        for challenge in authority.challenge(now, stale) {
            response = response.with_header(asker.challenge_header(), challenge);
        }
        self.respond(now, key, response, out);
    }

    /// Whom the request claims to come from.
    fn claimed(&self, request: &Request) -> Result<UserUri, &'static str> {
        let from = request.headers.from().map_err(|_| "The sender's address cannot be read.")?;
        let user =
            UserUri::parse(&from.uri.aor()).map_err(|_| "The sender's address is not one of a user.")?;
        if user.domain() != self.domain {
            return Err("This server serves its own domain only, and the sender is of another.");
        }
        if self.conference_factory.as_ref() == Some(&user) {
            return Err("This address makes conferences; nobody has it as his own.");
        }
        Ok(user)
    }

    fn display_name(&self, request: &Request, account: Option<&KnownAccount>, user: &UserUri) -> String {
        if let Some(account) = account {
            return account.display_name.clone();
        }
        let claimed = request.headers.from().ok().and_then(|from| from.display_name);
        claimed
            .filter(|name| !name.is_empty())
            .map_or_else(|| user.user().to_owned(), |name| name.to_string())
    }
}

/// Registrations and what we answer ourselves are challenged by us as a server, what we pass on by
/// us as a proxy.
fn asker(method: &Method) -> Asker {
    match method {
        Method::Register | Method::Subscribe | Method::Service | Method::Publish => Asker::Server,
        _ => Asker::Proxy,
    }
}

/// The credentials in a request, whichever of both headers they came in.
pub(super) fn credentials(request: &Request) -> Option<&str> {
    let headers = ["Authorization", "Proxy-Authorization"];
    headers
        .iter()
        .find_map(|name| {
            let mut values = request.headers.all(name);
            values.find(|value| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("Digest ")))
        })
        .map(|value| value.as_str())
}
