//! The registrar: which endpoints a user has and how they are reached (RFC 3261 §10, MS-SIPREGE).
//!
//! Clients of OCS are told apart by epid and instance, and get an address for each endpoint (a
//! GRUU) and the headers that switch them to the 2007 mode. Any other SIP client gets the plain
//! answer of RFC 3261.

mod answer;
mod binding;
mod gruu;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_machine::Time;
use confab_schema::uri::UserUri;
use confab_sip::{Flow, NameAddr, Request, Response, Uri};

use crate::refusal::Refusal;
pub use binding::{Binding, Dialect, Endpoint};
use binding::{detached, preference};

/// Most endpoints of one user.
pub const MAX_ENDPOINTS: usize = 16;
/// Most endpoints of all users.
pub const MAX_BINDINGS: usize = 100_000;
/// Most routes of a Path that are kept.
pub const MAX_PATH: usize = 8;
/// Longest epid, in characters (MS-SIPRE §2.2.1).
pub const MAX_EPID: usize = 16;
/// Longest `+sip.instance` or contact URI that is kept, in bytes.
pub const MAX_CONTACT: usize = 512;
/// How long a binding lasts at most, and when the client does not say.
pub const MAX_EXPIRES: Duration = Duration::from_secs(7200);
/// The shortest life of a binding that may be asked for.
pub const MIN_EXPIRES: Duration = Duration::from_secs(60);

/// The bindings of all users of a domain.
#[derive(Clone, Debug, Default)]
pub struct Registrar {
    host: String,
    users: BTreeMap<UserUri, Vec<Binding>>,
    count: usize,
    by_expiry: BTreeSet<(Time, UserUri)>,
    by_flow: BTreeMap<Flow, BTreeSet<UserUri>>,
}

/// An endpoint that is no longer registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unregistered {
    /// Whose it was.
    pub user: UserUri,
    /// Which one.
    pub endpoint: Endpoint,
}

/// What a REGISTER has come to.
struct Outcome {
    /// The longest life one of its contacts was given.
    granted: Duration,
    /// Whether the client was registered before.
    refreshed: bool,
}

impl Registrar {
    /// A registrar without bindings; `host` names this server in what clients are told.
    pub fn new(host: &str) -> Registrar {
        Registrar { host: host.to_owned(), ..Registrar::default() }
    }

    /// Answers a REGISTER that came by `flow` from someone who is known to be `user`. What is no
    /// longer registered after it is appended to `gone`.
    pub fn register(
        &mut self,
        now: Time,
        flow: Flow,
        user: &UserUri,
        request: &Request,
        gone: &mut Vec<Unregistered>,
    ) -> Response {
        self.expire(now, gone);
        match self.try_register(now, flow, user, request, gone) {
            Ok(response) => response,
            Err(refusal) => refusal.response(request, &self.host),
        }
    }

    /// The endpoints of `user`: the most preferred first, among equals the one that registered
    /// last.
    pub fn bindings(&self, now: Time, user: &UserUri) -> Vec<Binding> {
        let all = self.users.get(user).map(Vec::as_slice).unwrap_or_default();
        let mut live: Vec<Binding> = all.iter().rev().filter(|b| b.expires_at > now).cloned().collect();
        live.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        live
    }

    /// Where a request to `uri` goes: all endpoints of an address of record, or the one a GRUU
    /// names. Empty for any other address.
    pub fn lookup(&self, now: Time, uri: &Uri) -> Vec<Binding> {
        let Ok(user) = UserUri::parse(&uri.to_string()) else { return Vec::new() };
        let bindings = self.bindings(now, &user);
        let Some(opaque) = gruu::opaque(uri) else {
            return if uri.has_param("gruu") { Vec::new() } else { bindings };
        };
        let is_meant = |b: &Binding| b.gruu.as_ref().and_then(gruu::opaque) == Some(opaque);
        bindings.into_iter().filter(is_meant).collect()
    }

    /// Whether `user` has an endpoint that is signed in.
    pub fn is_registered(&self, now: Time, user: &UserUri) -> bool {
        self.users.get(user).is_some_and(|all| all.iter().any(|b| b.expires_at > now))
    }

    /// Whether `user` has an endpoint with this epid that is signed in.
    pub fn has_epid(&self, now: Time, user: &UserUri, epid: &str) -> bool {
        let all = self.users.get(user).map(Vec::as_slice).unwrap_or_default();
        all.iter().any(|b| b.expires_at > now && b.endpoint.epid.as_deref() == Some(epid))
    }

    /// How many endpoints are bound, of all users.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A stream has ended: nobody can be reached by it any more.
    pub fn flow_closed(&mut self, flow: Flow, gone: &mut Vec<Unregistered>) {
        let users = self.by_flow.get(&flow).cloned().unwrap_or_default();
        for user in users {
            self.retain(&user, |binding| binding.flow != flow, gone);
        }
    }

    /// When the next binding ends.
    pub fn deadline(&self) -> Option<Time> {
        self.by_expiry.first().map(|(time, _)| *time)
    }

    /// Removes what has ended.
    pub fn handle_timeout(&mut self, now: Time, gone: &mut Vec<Unregistered>) {
        self.expire(now, gone);
    }

    fn try_register(
        &mut self,
        now: Time,
        flow: Flow,
        user: &UserUri,
        request: &Request,
        gone: &mut Vec<Unregistered>,
    ) -> Result<Response, Refusal> {
        check_address(user, request)?;
        let dialect = dialect(request)?;
        let outcome = if request.headers.contact_is_star() {
            self.remove_all(user, request, gone)?
        } else {
            self.bind(now, flow, user, request, dialect, gone)?
        };
        let bindings = self.users.get(user).map(Vec::as_slice).unwrap_or_default();
        Ok(answer::accepted(now, request, bindings, dialect, &outcome))
    }

    /// Applies all Contacts or none (RFC 3261 §10.3 step 7).
    fn bind(
        &mut self,
        now: Time,
        flow: Flow,
        user: &UserUri,
        request: &Request,
        dialect: Dialect,
        gone: &mut Vec<Unregistered>,
    ) -> Result<Outcome, Refusal> {
        let contacts = request.headers.contacts().map_err(|fault| Refusal::new(400, fault.to_string()))?;
        let old = self.users.get(user).map(Vec::as_slice).unwrap_or_default();
        let mut all = old.to_vec();
        let mut lost = Vec::new();
        let mut outcome = Outcome { granted: Duration::ZERO, refreshed: false };
        for contact in &contacts {
            let lifetime = lifetime(contact, request)?;
            outcome.granted = outcome.granted.max(lifetime);
            let binding = new_binding(now + lifetime, flow, user, request, contact, dialect)?;
            let same = |other: &Binding| other.belongs_to(&binding.endpoint, &binding.contact);
            if let Some(before) = old.iter().find(|other| same(other)) {
                check_order(before, request)?;
                outcome.refreshed = true;
            }
            match (all.iter().position(same), lifetime.is_zero()) {
                (Some(at), true) => lost.push(all.remove(at)),
                (None, true) => {}
                (Some(at), false) => all[at] = binding,
                (None, false) => all.push(binding),
            }
        }
        self.check_room(old.len(), all.len())?;
        self.take(user);
        self.put(user, all);
        gone.extend(lost.into_iter().map(Unregistered::from));
        Ok(outcome)
    }

    fn check_room(&self, before: usize, after: usize) -> Result<(), Refusal> {
        if after > before && after > MAX_ENDPOINTS {
            let sentence =
                format!("You are signed in at {MAX_ENDPOINTS} places, which is the most there can be.");
            return Err(Refusal::new(403, sentence));
        }
        if after > before && self.count - before + after > MAX_BINDINGS {
            return Err(Refusal::new(503, "The server has no room for more endpoints."));
        }
        Ok(())
    }

    /// `Contact: *` (RFC 3261 §10.2.2).
    fn remove_all(
        &mut self,
        user: &UserUri,
        request: &Request,
        gone: &mut Vec<Unregistered>,
    ) -> Result<Outcome, Refusal> {
        if request.headers.expires() != Some(0) || request.headers.list("Contact").len() != 1 {
            return Err(Refusal::new(400, "Contact: * stands alone and needs Expires: 0."));
        }
        for old in self.users.get(user).map(Vec::as_slice).unwrap_or_default() {
            check_order(old, request)?;
        }
        self.retain(user, |_| false, gone);
        Ok(Outcome { granted: Duration::ZERO, refreshed: true })
    }

    fn expire(&mut self, now: Time, gone: &mut Vec<Unregistered>) {
        while let Some((_, user)) = self.by_expiry.first().filter(|(time, _)| *time <= now).cloned() {
            self.retain(&user, |binding| binding.expires_at > now, gone);
        }
    }

    fn retain(&mut self, user: &UserUri, keep: impl Fn(&Binding) -> bool, gone: &mut Vec<Unregistered>) {
        let (kept, lost): (Vec<Binding>, Vec<Binding>) = self.take(user).into_iter().partition(keep);
        self.put(user, kept);
        gone.extend(lost.into_iter().map(Unregistered::from));
    }

    /// Takes the bindings of a user out, and out of the indexes.
    fn take(&mut self, user: &UserUri) -> Vec<Binding> {
        let all = self.users.remove(user).unwrap_or_default();
        for binding in &all {
            self.by_expiry.remove(&(binding.expires_at, user.clone()));
            if let Some(users) = self.by_flow.get_mut(&binding.flow) {
                users.remove(user);
                if users.is_empty() {
                    self.by_flow.remove(&binding.flow);
                }
            }
        }
        self.count -= all.len();
        all
    }

    fn put(&mut self, user: &UserUri, all: Vec<Binding>) {
        for binding in &all {
            self.by_expiry.insert((binding.expires_at, user.clone()));
            self.by_flow.entry(binding.flow).or_default().insert(user.clone());
        }
        self.count += all.len();
        if !all.is_empty() {
            self.users.insert(user.clone(), all);
        }
    }
}

impl From<Binding> for Unregistered {
    fn from(binding: Binding) -> Unregistered {
        Unregistered { user: binding.user, endpoint: binding.endpoint }
    }
}

/// A REGISTER is for the one who sends it: nobody registers for another here.
fn check_address(user: &UserUri, request: &Request) -> Result<(), Refusal> {
    for (name, address) in [("From", request.headers.from()), ("To", request.headers.to())] {
        let address = address.map_err(|fault| Refusal::new(400, fault.to_string()))?;
        if UserUri::parse(&address.uri.to_string()).as_ref() != Ok(user) {
            let sentence = format!("You are signed in as {user} and cannot register what {name} names.");
            return Err(Refusal::new(403, sentence).with_diagnostic(4004));
        }
    }
    Ok(())
}

/// What the client speaks; the checks of MS-SIPREGE §3.1.5 that do not depend on its contact.
fn dialect(request: &Request) -> Result<Dialect, Refusal> {
    let headers = &request.headers;
    let event = headers.get("Event").map(|event| event.split(';').next().unwrap_or_default().trim());
    if event.is_some_and(|event| !event.eq_ignore_ascii_case("registration")) {
        return Err(Refusal::new(489, "The event of a REGISTER is \"registration\".").with_diagnostic(4055));
    }
    let enhanced = headers.has_token("Supported", "msrtc-event-categories");
    if enhanced && !headers.has_token("Supported", "gruu-10") {
        let sentence = "A client of enhanced presence has to support gruu-10.";
        return Err(Refusal::new(421, sentence).with_diagnostic(2057).with_header("Require", "gruu-10"));
    }
    Ok(if event.is_some() || enhanced { Dialect::Ocs } else { Dialect::Plain })
}

/// How long a Contact is to last: its own word, that of the message, or ours (RFC 3261 §10.3).
fn lifetime(contact: &NameAddr, request: &Request) -> Result<Duration, Refusal> {
    // Deviation: an `expires` that is no number counts as 3600 by RFC 3261 §10.2.1.1; here as absent.
    let own = contact.params.get("expires").filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let own = own.map(|digits| digits.parse().unwrap_or(u32::MAX));
    let wanted = own.or_else(|| request.headers.expires()).map(|secs| Duration::from_secs(secs.into()));
    let lifetime = wanted.unwrap_or(MAX_EXPIRES).min(MAX_EXPIRES);
    if !lifetime.is_zero() && lifetime < MIN_EXPIRES {
        let shortest = MIN_EXPIRES.as_secs();
        let sentence = format!("A registration lasts at least {shortest} seconds.");
        return Err(Refusal::new(423, sentence).with_header("Min-Expires", shortest.to_string()));
    }
    Ok(lifetime)
}

fn new_binding(
    expires_at: Time,
    flow: Flow,
    user: &UserUri,
    request: &Request,
    contact: &NameAddr,
    dialect: Dialect,
) -> Result<Binding, Refusal> {
    let headers = &request.headers;
    let malformed = |fault: confab_sip::Malformed| Refusal::new(400, fault.to_string());
    let from = headers.from().map_err(malformed)?;
    let instance = contact.params.get("+sip.instance").map(str::to_owned);
    let endpoint = Endpoint { epid: from.epid().map(str::to_owned), instance };
    if endpoint.epid.as_ref().is_some_and(|epid| epid.len() > MAX_EPID) {
        let sentence = format!("An epid has at most {MAX_EPID} characters.");
        return Err(Refusal::new(400, sentence).with_diagnostic(4012));
    }
    if dialect == Dialect::Ocs && !endpoint.is_named() {
        let sentence = "The request names its endpoint neither by epid nor by +sip.instance.";
        return Err(Refusal::new(400, sentence).with_diagnostic(4010));
    }
    let too_long = |text: &str| text.len() > MAX_CONTACT;
    if too_long(&contact.uri.to_string()) || endpoint.instance.as_deref().is_some_and(too_long) {
        return Err(Refusal::new(400, format!("A contact has at most {MAX_CONTACT} bytes.")));
    }
    let path = headers.list("Path");
    if path.len() > MAX_PATH || path.iter().any(|route| too_long(route)) {
        return Err(Refusal::new(
            400,
            format!("A path has at most {MAX_PATH} routes of {MAX_CONTACT} bytes."),
        ));
    }
    let gruu = endpoint.instance.as_deref().filter(|_| dialect == Dialect::Ocs);
    Ok(Binding {
        user: user.clone(),
        contact: detached(&contact.uri),
        gruu: gruu.and_then(|instance| gruu::of_instance(user, instance)),
        flow,
        path: path.iter().map(confab_sip::Text::detached).collect(),
        q: preference(contact),
        endpoint,
        dialect,
        expires_at,
        call_id: headers.call_id().map_err(malformed)?.to_string(),
        cseq: headers.cseq().map_err(malformed)?.number,
    })
}

/// A REGISTER that was overtaken by a later one changes nothing (RFC 3261 §10.3 step 7).
fn check_order(old: &Binding, request: &Request) -> Result<(), Refusal> {
    let same_call = request.headers.call_id().is_ok_and(|call_id| call_id == old.call_id.as_str());
    if same_call && request.headers.cseq().is_ok_and(|cseq| cseq.number <= old.cseq) {
        return Err(Refusal::new(500, "A later REGISTER of this client has been answered already."));
    }
    Ok(())
}
