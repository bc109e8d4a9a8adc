//! Proxying (RFC 3261 §16): a request goes to every place its target is registered at, or back
//! along the dialog it belongs to; the responses come back through one context per request.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use confab_machine::Time;
use confab_schema::uri::{OpaqueTarget, UserUri};
use confab_sip::{
    ClientKey, Failure, Flow, Forward, ForwardOutput, Message, Method, Request, Response, ServerKey, Text,
    Transport, Uri, Via, forwardable,
};
use confab_users::Binding;

use super::{
    Action, Arrival, FrontEnd, Sent,
    route::{MEDIUM, state},
};

/// What this proxy honours in Proxy-Require.
const PROXY_EXTENSIONS: [&str; 1] = ["ms-benotify"];
/// The most places one request is forked to.
const BRANCH_LIMIT: usize = 32;
/// For how long a repeated 2xx still finds its way back (64 × T1 of RFC 3261 §17).
const REPEAT_WINDOW: Duration = Duration::from_secs(32);

/// The requests that were passed on and not yet answered finally.
#[derive(Default)]
pub(super) struct Forwards {
    contexts: BTreeMap<ServerKey, Context>,
    deadlines: BTreeSet<(Time, ServerKey)>,
    /// Where the 2xx of an INVITE went, by Call-ID and CSeq.
    upstreams: BTreeMap<(Text, u32), Flow>,
    /// The same in the order they came, to be forgotten.
    upstreams_since: VecDeque<(Time, (Text, u32))>,
}

impl Forwards {
    pub(super) fn count(&self) -> usize {
        self.contexts.len()
    }
}

struct Context {
    forward: Forward,
    upstream: Flow,
    deadline: Option<Time>,
    branches: Vec<ClientKey>,
}

/// How many there are.
impl fmt::Debug for Forwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forwards { contexts, deadlines, upstreams, .. } = self;
        write!(f, "{} with {} deadlines, {} upstreams", contexts.len(), deadlines.len(), upstreams.len())
    }
}

/// A place to send a request to: with another Request-URI, or with the one it has.
pub(super) type Hop = (Option<Uri>, Flow);

impl Forwards {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, key: ServerKey, context: Context) {
        self.contexts.insert(key.clone(), context);
        self.reschedule(&key);
    }

    fn reschedule(&mut self, key: &ServerKey) {
        let Some(context) = self.contexts.get_mut(key) else { return };
        let deadline = context.forward.deadline();
        if context.deadline != deadline {
            if let Some(old) = context.deadline {
                self.deadlines.remove(&(old, key.clone()));
            }
            self.deadlines.extend(deadline.map(|at| (at, key.clone())));
            context.deadline = deadline;
        }
    }

    fn remove(&mut self, key: &ServerKey) -> Option<Context> {
        let context = self.contexts.remove(key)?;
        if let Some(at) = context.deadline {
            self.deadlines.remove(&(at, key.clone()));
        }
        Some(context)
    }

    fn remember_upstream(&mut self, now: Time, response: &Response, flow: Flow) {
        while self.upstreams_since.front().is_some_and(|(since, _)| now.since(*since) >= REPEAT_WINDOW)
            && let Some((_, old)) = self.upstreams_since.pop_front()
        {
            self.upstreams.remove(&old);
        }
        if let (Ok(call_id), Ok(cseq)) = (response.headers.call_id(), response.headers.cseq()) {
            let key = (call_id.detached(), cseq.number);
            self.upstreams.insert(key.clone(), flow);
            self.upstreams_since.push_back((now, key));
        }
    }
}

impl FrontEnd {
    /// Passes a request on to `hops`, or answers it if it may not go on or there are none.
    pub(super) fn forward(
        &mut self,
        now: Time,
        arrival: Arrival,
        asserted: Option<&UserUri>,
        hops: Vec<Hop>,
        out: &mut Vec<Action>,
    ) {
        let Arrival { key, flow, request } = arrival;
        let mut copy = match forwardable(&request, &PROXY_EXTENSIONS) {
            Ok(copy) => copy,
            Err(response) => return self.respond(now, &key, response, out),
        };
        self.strip(&mut copy, asserted);
        let in_dialog = copy.headers.to().is_ok_and(|to| to.tag().is_some());
        let begins = !in_dialog && matches!(copy.method, Method::Invite | Method::Subscribe | Method::Refer);
        // Nothing comes back for a BENOTIFY, so nothing waits for it.
        let answered = copy.method != Method::Benotify;
        let mut forward = Forward::new(request);
        let mut outputs = Vec::new();
        let mut branches = Vec::new();
        for (uri, next) in hops.into_iter().take(BRANCH_LIMIT) {
            let mut branch = copy.clone();
            if let Some(uri) = uri {
                branch.uri = uri;
            }
            if begins {
                self.record_route(&mut branch, flow, next);
            }
            let sent_by = self.addresses.sent_by(next.transport).to_owned();
            let client = self.transactions.request(now, next, &sent_by, branch, &mut outputs);
            if answered {
                forward.add(now, client.clone());
                self.sent.insert(client.clone(), Sent::Forwarded(key.clone()));
                branches.push(client);
            }
        }
        if answered {
            self.forwards.insert(key, Context { forward, upstream: flow, deadline: None, branches });
        }
        self.work(now, outputs, out);
    }

    /// Passes a request on to everywhere its target is registered.
    pub(super) fn fork(&mut self, now: Time, arrival: Arrival, targets: Vec<Binding>, out: &mut Vec<Action>) {
        if targets.is_empty() {
            let sentence = "Nobody is signed in under this address.";
            return self.refuse(now, &arrival.key, &arrival.request, 480, sentence, out);
        }
        // Headers, which a Contact may have, are none of a Request-URI (RFC 3261 §19.1.1).
        let place = |binding: &Binding| Uri { headers: None, ..binding.contact.clone() };
        let hops = targets.into_iter().map(|binding| (Some(place(&binding)), binding.flow)).collect();
        self.forward(now, arrival, None, hops, out);
    }

    /// Takes off what was for us only: our Routes, what answered our challenge, and an identity
    /// that only we may assert.
    fn strip(&self, request: &mut Request, asserted: Option<&UserUri>) {
        self.take_off_our_routes(request);
        request.headers.remove("P-Asserted-Identity");
        if let Some(user) = asserted {
            request.headers.push("P-Asserted-Identity", format!("<{user}>"));
        }
        if self.authority.is_some() {
            request.headers.remove("Authorization");
            request.headers.remove("Proxy-Authorization");
        }
    }

    fn take_off_our_routes(&self, request: &mut Request) {
        let ours = |request: &Request| {
            let routes = request.headers.routes().unwrap_or_default();
            routes.first().is_some_and(|route| {
                state(route).is_some_and(|token| self.tokens.is_ours(token, request))
                    || self.addresses.is_ours(&route.uri)
            })
        };
        while ours(request) {
            request.headers.remove_first("Route");
        }
    }

    /// Keeps us in the dialog. Between two transports each side is told the address it can reach
    /// (RFC 5658).
    fn record_route(&self, request: &mut Request, from: Flow, to: Flow) {
        let token = self.tokens.issue(from, to, |flow| self.trusted.contains_key(flow), request);
        let medium = match OpaqueTarget::parse(&request.uri.to_string()) {
            OpaqueTarget::Mcu(mcu) => format!(";{MEDIUM}={}", mcu.media),
            _ => String::new(),
        };
        // An MCU answers on its link, wherever it is.
        let outside = |flow: &Flow| flow.transport != Transport::Inproc && !self.trusted.contains_key(flow);
        let mut sides: Vec<Transport> =
            [from, to].into_iter().filter(outside).map(|flow| flow.transport).collect();
        sides.dedup();
        for side in sides {
            let sent_by = self.addresses.sent_by(side);
            let route = format!("<sip:{sent_by};transport={side};opaque=state:{token}{medium};lr>");
            request.headers.push_front("Record-Route", route);
        }
    }

    /// The ACK of a 2xx goes along its dialog without a transaction.
    pub(super) fn acknowledged(&mut self, flow: Flow, mut request: Request, out: &mut Vec<Action>) {
        // An ACK cannot be challenged, so it goes nowhere but where our token leads; one for a Focus
        // needs no further way.
        let Some(next) = self.other_end(flow, &request) else { return };
        self.strip(&mut request, None);
        let sent_by = self.addresses.sent_by(next.transport).to_owned();
        let Ok(mut via) = Via::new(next.transport.via_name(), &sent_by) else { return };
        via.params.set("branch", format!("z9hG4bK{}", self.entropy.hex::<12>()));
        request.headers.push_front("Via", via.to_string());
        out.push(Action::Transmit { flow: next, message: Message::Request(request) });
    }

    pub(super) fn branch_answered(
        &mut self,
        now: Time,
        server: &ServerKey,
        branch: &ClientKey,
        response: Response,
        out: &mut Vec<Action>,
    ) {
        if response.status == 481 && self.hold_refused(now, server, &response) {
            return;
        }
        let Some(context) = self.forwards.contexts.get_mut(server) else { return };
        let upstream = context.upstream;
        let accepted = (200..300).contains(&response.status)
            && response.headers.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let mut outputs = Vec::new();
        context.forward.receive(now, branch, response.clone(), &mut outputs);
        if accepted {
            self.forwards.remember_upstream(now, &response, upstream);
        }
        self.continue_forward(now, server, outputs, out);
    }

    pub(super) fn branch_failed(
        &mut self,
        now: Time,
        server: &ServerKey,
        branch: &ClientKey,
        reason: Failure,
        out: &mut Vec<Action>,
    ) {
        if reason == Failure::Transport && self.held.may_be_sent_again(server) {
            return self.hold_again(now, server, out);
        }
        let Some(context) = self.forwards.contexts.get_mut(server) else { return };
        let mut outputs = Vec::new();
        context.forward.fail(branch, reason, &mut outputs);
        self.continue_forward(now, server, outputs, out);
    }

    /// Forgets where a request went: an answer that still comes from there counts no more.
    pub(super) fn forget_forward(&mut self, server: &ServerKey) {
        for branch in self.forwards.remove(server).into_iter().flat_map(|context| context.branches) {
            self.sent.remove(&branch);
        }
    }

    pub(super) fn cancel_forward(&mut self, now: Time, server: &ServerKey, out: &mut Vec<Action>) {
        let Some(context) = self.forwards.contexts.get_mut(server) else { return };
        let mut outputs = Vec::new();
        context.forward.cancel(&mut outputs);
        self.continue_forward(now, server, outputs, out);
    }

    pub(super) fn forwards_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some((at, server)) = self.forwards.deadlines.first().cloned()
            && at <= now
        {
            let Some(context) = self.forwards.contexts.get_mut(&server) else {
                self.forwards.deadlines.pop_first();
                continue;
            };
            let mut outputs = Vec::new();
            context.forward.handle_timeout(now, &mut outputs);
            self.continue_forward(now, &server, outputs, out);
        }
    }

    fn continue_forward(
        &mut self,
        now: Time,
        server: &ServerKey,
        outputs: Vec<ForwardOutput>,
        out: &mut Vec<Action>,
    ) {
        self.forwards.reschedule(server);
        if self.forwards.contexts.get(server).is_some_and(|context| context.forward.is_done())
            && let Some(context) = self.forwards.remove(server)
        {
            for branch in context.branches {
                self.sent.remove(&branch);
            }
        }
        for output in outputs {
            match output {
                ForwardOutput::Respond(response) => self.respond(now, server, response, out),
                ForwardOutput::Cancel(branch) => {
                    let mut outputs = Vec::new();
                    self.transactions.cancel(now, &branch, &mut outputs);
                    self.work(now, outputs, out);
                }
            }
        }
    }

    /// A repeated 2xx to INVITE goes back to where the first one went: its ACK was lost.
    pub(super) fn stray(&mut self, mut response: Response, out: &mut Vec<Action>) {
        let Ok(cseq) = response.headers.cseq() else { return };
        let Ok(call_id) = response.headers.call_id() else { return };
        let upstream = self.forwards.upstreams.get(&(call_id.clone(), cseq.number)).copied();
        if let Some(flow) = upstream.filter(|_| cseq.method == Method::Invite) {
            response.headers.remove_first("Via");
            out.push(Action::Transmit { flow, message: Message::Response(response) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_invites_are_forgotten_one_by_one() {
        let mut forwards = Forwards::default();
        let flow = Flow { id: 1, transport: Transport::Tcp };
        let response = |number: u64| {
            let invite = Request::new(Method::Invite, Uri::sip("bob", "example.test"))
                .with_header("Call-ID", format!("call{number}"))
                .with_header("CSeq", "1 INVITE");
            Response::to(&invite, 200)
        };
        // As many each second as one front end can answer; to look at all of them for each takes hours.
        const EACH_SECOND: u64 = 2000;
        for number in 0..60 * EACH_SECOND {
            let now = Time::from_unix_secs(1000 + number / EACH_SECOND);
            forwards.remember_upstream(now, &response(number), flow);
        }
        let kept = usize::try_from(REPEAT_WINDOW.as_secs() * EACH_SECOND).unwrap();
        assert_eq!((forwards.upstreams.len(), forwards.upstreams_since.len()), (kept, kept));
        assert!(forwards.upstreams.contains_key(&("call119999".into(), 1)));
    }
}
