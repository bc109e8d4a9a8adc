//! Where a request goes (RFC 3261 §16.4–16.6): by the token in its Route, else by its Request-URI.

use std::net::IpAddr;

use confab_machine::Time;
use confab_schema::uri::{ConferenceUri, McuType, McuUri, OpaqueTarget};
use confab_sip::{Flow, Method, NameAddr, Request, Response, Scheme, Uri};
use confab_users::Binding;

use super::{Action, Arrival, FrontEnd, McuInvite, tell};
use crate::focus_host::{self, Sender};

/// Extensions that may be required of us (`Require`, `Proxy-Require`).
const KNOWN_EXTENSIONS: [&str; 8] = [
    "ms-benotify",
    "adhoclist",
    "categoryList",
    "eventlist",
    "com.microsoft.autoextend",
    "path",
    "timer",
    "norefersub",
];

/// What this server takes, for itself or to pass it on.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, REGISTER, SERVICE, SUBSCRIBE, INFO, NOTIFY, \
     BENOTIFY, UPDATE, REFER";
/// What is taken for an MCU.
const MCU_ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE";
/// What the server takes for itself.
const OWN_ALLOW: &str = "OPTIONS, REGISTER";
/// The parameter of our Record-Route that says which MCU a dialog is with.
pub(super) const MEDIUM: &str = "medium";
/// Conferences of one connection that hear of its end at once.
const CONFERENCES_PER_FLOW: usize = 256;

impl FrontEnd {
    /// What every request must fulfil before anybody looks at it (RFC 3261 §8.2, §16.3).
    pub(super) fn check(&self, request: &Request) -> Result<(), Response> {
        // From, To, Call-ID, CSeq and Via are there and readable, or it would be no message.
        let headers = &request.headers;
        let name = &self.addresses.name;
        let readable = headers
            .routes()
            .map(drop)
            .and_then(|()| if headers.contact_is_star() { Ok(()) } else { headers.contacts().map(drop) });
        if let Err(malformed) = readable {
            let sentence = malformed.to_string().replace(['"', '\\'], "'");
            return Err(crate::refusal::plain(request, malformed.status(), name, &sentence));
        }
        if matches!(request.uri.scheme, Scheme::Other(_)) {
            let sentence = "This server reaches SIP addresses and telephone numbers only.";
            return Err(crate::refusal::plain(request, 416, name, sentence));
        }
        if headers.max_forwards().is_ok_and(|hops| hops == Some(0)) {
            return Err(Response::to(request, 483));
        }
        Ok(())
    }

    /// The refusal of what requires an extension of us that we do not know, under one of these
    /// headers (RFC 3261 §8.2.2.3, §16.3 step 5).
    fn unsupported(&self, request: &Request, headers: &[&str]) -> Option<Response> {
        let required = headers.iter().flat_map(|header| request.headers.list(header));
        let unknown: Vec<String> = required
            .filter(|extension| !KNOWN_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
            .map(|extension| extension.to_string())
            .collect();
        let refusal = || Response::to(request, 420).with_header("Unsupported", unknown.join(", "));
        (!unknown.is_empty()).then(refusal)
    }

    /// Routes a request whose sender is known.
    pub(super) fn route(&mut self, now: Time, arrival: Arrival, sender: Sender, out: &mut Vec<Action>) {
        let Arrival { key, flow, request } = &arrival;
        let target = OpaqueTarget::parse(&request.uri.to_string());
        if let Some(other) = self.other_end(*flow, request) {
            // Who came by the conference's own address has only that: what it alone can do goes there.
            if let (Method::Refer, OpaqueTarget::Focus(conference)) = (&request.method, &target) {
                let conference = conference.clone();
                return self.ask_focus(now, arrival, sender, conference, out);
            }
            if let Some(mcu) = self.mcu_asked(request) {
                return self.forward_in_dialog(now, arrival, mcu, out);
            }
            return self.forward(now, arrival, None, vec![(None, other)], out);
        }
        let users = matches!(target, OpaqueTarget::User(_) | OpaqueTarget::Other);
        if self.is_factory(&target) {
            return self.ask_factory(now, arrival, sender, out);
        }
        let ours = !users || self.serves(request);
        let headers: &[&str] = if ours { &["Require", "Proxy-Require"] } else { &["Proxy-Require"] };
        if let Some(response) = self.unsupported(request, headers) {
            return self.respond(now, key, response, out);
        }
        match target {
            OpaqueTarget::FocusFactory(_) => self.ask_factory(now, arrival, sender, out),
            OpaqueTarget::Focus(conference) => self.ask_focus(now, arrival, sender, conference, out),
            OpaqueTarget::Mcu(mcu) => self.ask_for_mcu(now, arrival, sender, mcu, out),
            OpaqueTarget::User(_) | OpaqueTarget::Other => self.reach_user(now, arrival, sender, out),
        }
    }

    /// Routes what an MCU of ours sends: back into a dialog, or to a user it calls.
    pub(super) fn route_trusted(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Action>) {
        if self.is_replaced(arrival.flow, &arrival.request) {
            // It may have stood still or been cut off: its participants have another.
            return self.respond(now, &arrival.key, Response::to(&arrival.request, 481), out);
        }
        if let Some(other) = self.other_end(arrival.flow, &arrival.request) {
            return self.forward(now, arrival, None, vec![(None, other)], out);
        }
        let targets = self.users.lookup(now, &arrival.request.uri);
        self.fork(now, arrival, targets, out);
    }

    /// The flow at the other end of the dialog whose token the request's topmost Route carries.
    ///
    /// A dialog with an MCU may have moved: its participant reaches the MCU where it is now, and
    /// the MCU that took it over reaches the participant.
    pub(super) fn other_end(&self, flow: Flow, request: &Request) -> Option<Flow> {
        let routes = request.headers.routes().ok()?;
        let token = state(routes.first()?)?;
        let Some(other) = self.tokens.other_end(token, flow, request) else {
            return self.trusted.contains_key(&flow).then(|| self.tokens.far_end(token, request))?;
        };
        let moved = || self.mcus.get(self.places.of(&self.mcu_asked(request)?)?).copied();
        Some(moved().unwrap_or(other))
    }

    /// The MCU that a participant's request is for, if it is known where that is.
    fn mcu_asked(&self, request: &Request) -> Option<McuUri> {
        mcu_named(&request.uri.to_string(), request).filter(|mcu| self.places.of(mcu).is_some())
    }

    /// Whether an MCU speaks to participants for whom another has taken over.
    fn is_replaced(&self, flow: Flow, request: &Request) -> bool {
        let Some(server_uri) = self.trusted.get(&flow) else { return false };
        let from = request.headers.from().map(|from| from.uri.to_string()).unwrap_or_default();
        mcu_named(&from, request).is_some_and(|mcu| self.places.has_left(&mcu, server_uri))
    }

    pub(super) fn ask_focus(
        &mut self,
        now: Time,
        arrival: Arrival,
        sender: Sender,
        conference: ConferenceUri,
        out: &mut Vec<Action>,
    ) {
        let Arrival { key, flow, request } = arrival;
        if request.method == Method::Invite {
            self.focus_invites.insert(now, key.clone(), conference.clone());
        }
        let begins = request.headers.to().is_ok_and(|to| to.tag().is_none());
        if begins && focus_host::is_plain(&request) {
            let arrival = Arrival { key: key.clone(), flow, request: request.clone() };
            self.mcu_invites.insert(key.clone(), McuInvite { user: sender.user.clone(), mcu: None, arrival });
        }
        if flow.transport.reliable() && matches!(request.method, Method::Invite | Method::Subscribe) {
            let conferences = self.conferences.entry(flow).or_default();
            conferences.insert(conference.clone());
            // What is forgotten here is found out by session timers.
            while conferences.len() > CONFERENCES_PER_FLOW {
                conferences.pop_first();
            }
        }
        let what = (flow, request.method.clone());
        let request = Box::new(request);
        let event = focus_host::Event::Request { key, flow, sender, request };
        self.tell_in_order(now, what, conference, event, out);
    }

    /// Step 8: an INVITE to an MCU waits until the Focus has let its sender in there.
    fn ask_for_mcu(
        &mut self,
        now: Time,
        arrival: Arrival,
        sender: Sender,
        mcu: McuUri,
        out: &mut Vec<Action>,
    ) {
        let request = &arrival.request;
        let in_dialog = request.headers.to().is_ok_and(|to| to.tag().is_some());
        let refusal = match request.method {
            // What belongs to a dialog and has come here is in none.
            _ if in_dialog => Some(Response::to(request, 481)),
            Method::Invite => None,
            Method::Options => Some(Response::to(request, 200).with_header("Allow", MCU_ALLOW)),
            Method::Bye | Method::Info | Method::Message | Method::Update => Some(Response::to(request, 481)),
            _ => Some(Response::to(request, 405).with_header("Allow", MCU_ALLOW)),
        };
        if let Some(response) = refusal {
            return self.respond(now, &arrival.key, response, out);
        }
        let (conference, user, key) = (mcu.conference.clone(), sender.user, arrival.key.clone());
        self.mcu_invites
            .insert(key.clone(), McuInvite { user: user.clone(), mcu: Some(mcu.clone()), arrival });
        tell(conference, focus_host::Event::McuInvite { key, user, mcu }, out);
    }

    /// To a user, to oneself, or to the server itself.
    fn reach_user(&mut self, now: Time, arrival: Arrival, sender: Sender, out: &mut Vec<Action>) {
        if self.serves(&arrival.request) {
            return self.serve(now, arrival, sender, out);
        }
        let Arrival { key, request, .. } = &arrival;
        if request.method == Method::Options && self.is_this_server(&request.uri) {
            let response = Response::to(request, 200).with_header("Allow", ALLOW);
            return self.respond(now, key, response, out);
        }
        if request.uri.user.is_none() && self.is_our_user(&request.uri) {
            let response = Response::to(request, 405).with_header("Allow", OWN_ALLOW);
            return self.respond(now, key, response, out);
        }
        let targets = self.users.lookup(now, &request.uri);
        if !targets.is_empty() {
            return self.fork(now, arrival, targets, out);
        }
        if request.headers.to().is_ok_and(|to| to.tag().is_some()) {
            return self.respond(now, key, Response::to(request, 481), out);
        }
        // Deviation: 404 for users unknown here and for those who are not signed in alike.
        let sentence = if self.is_our_user(&request.uri) {
            "Nobody is signed in under this address."
        } else {
            "This server connects people of its own domain only."
        };
        self.refuse(now, key, request, 404, sentence, out);
    }

    fn is_our_user(&self, uri: &Uri) -> bool {
        uri.host.eq_ignore_ascii_case(&self.domain)
    }

    /// Whether a URI means the server itself (RFC 3261 §11): nobody's name in it, and a host that is
    /// our domain, under it, a name of ours, or an address, by which the request came here after all.
    fn is_this_server(&self, uri: &Uri) -> bool {
        let host = uri.host.to_ascii_lowercase();
        let under = || host.strip_suffix(&*self.domain).is_some_and(|name| name.ends_with('.'));
        let address = || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
            && uri.user.is_none()
            && (self.is_our_user(uri)
                || under()
                || address()
                || host == self.addresses.name
                || self.addresses.is_ours(uri))
    }

    /// The flow by which a participant is reached: the one he came by, or where he is registered.
    pub(super) fn way_to(&self, now: Time, flow: Flow, request: &Request) -> Flow {
        if self.is_open(flow) {
            return flow;
        }
        let bindings = self.users.lookup(now, &request.uri);
        bindings.first().map_or(flow, |binding: &Binding| binding.flow)
    }

    fn is_open(&self, flow: Flow) -> bool {
        !flow.transport.reliable() || self.identities.contains_key(&flow)
    }
}

/// The MCU that an address in a request within a dialog stands for. Who came by the conference's own
/// address has that for it, and our Route says which medium he is on.
fn mcu_named(uri: &str, request: &Request) -> Option<McuUri> {
    match OpaqueTarget::parse(uri) {
        OpaqueTarget::Mcu(mcu) => Some(mcu),
        OpaqueTarget::Focus(conference) => {
            let routes = request.headers.routes().ok()?;
            Some(conference.mcu(McuType::parse(routes.first()?.uri.param(MEDIUM)?).ok()?))
        }
        _ => None,
    }
}

/// The token in one of our own Record-Routes.
pub(super) fn state(route: &NameAddr) -> Option<&str> {
    route.uri.param("opaque")?.strip_prefix("state:")
}
