//! The transaction layer (RFC 3261 §17, RFC 6026): each request once, each answer once.
//!
//! [`Transactions`] stands between a wire and its user. It repeats what an unreliable transport may
//! lose, takes out what the other side repeats, acknowledges refusals, answers CANCEL, and holds a
//! limit on how much of that goes on at a time. Requests that nobody answers (ACK of a 2xx,
//! BENOTIFY) pass through it without state.

mod client;
mod invite_client;
mod invite_server;
mod key;
mod machine;
#[cfg(test)]
mod samples;
mod server;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use confab_machine::{Entropy, Time};
use sha2::{Digest, Sha256};

pub use key::{ClientKey, ServerKey};
pub use timers::Timers;

use self::{
    key::AckKey,
    machine::{ClientEffect, ClientMachine, ServerEffect, ServerMachine},
};
use crate::{Flow, Message, Method, Request, Response, Text, Transport};

/// What a request above the limit is told in Retry-After, in seconds.
const OVERLOAD_RETRY_AFTER: &str = "10";

/// What the layer wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionOutput {
    /// Send this.
    Transmit {
        /// Where.
        flow: Flow,
        /// What.
        message: Message,
    },
    /// A new request. Answer it with [`Transactions::respond`], unless it is a BENOTIFY.
    Request {
        /// Its transaction.
        key: ServerKey,
        /// Where it came from.
        flow: Flow,
        /// The request.
        request: Request,
    },
    /// The ACK of a 2xx, or of nothing known here. It comes again whenever the peer repeats it.
    Ack {
        /// Where it came from.
        flow: Flow,
        /// The ACK.
        request: Request,
    },
    /// The peer gave up this INVITE. The CANCEL is answered; the INVITE must be, with 487.
    Cancelled {
        /// The INVITE's transaction.
        key: ServerKey,
    },
    /// The answer to a request of ours, its top Via taken off: provisional ones as they come, then
    /// one final one. Only an INVITE may get several, 2xx of different To tags.
    Response {
        /// The request's transaction.
        key: ClientKey,
        /// The response.
        response: Response,
    },
    /// A response to no request of ours, or a 2xx to INVITE once more, which wants its ACK once
    /// more. The top Via is still on it.
    StrayResponse {
        /// Where it came from.
        flow: Flow,
        /// The response.
        response: Response,
    },
    /// No final response to a request of ours will come.
    Failed {
        /// The request's transaction, which is over.
        key: ClientKey,
        /// Why.
        reason: Failure,
    },
    /// The peer was not told, or did not acknowledge, the answer to its request. The transaction
    /// is over. A session that a 2xx began should be ended by BYE.
    ServerFailed {
        /// The request's transaction.
        key: ServerKey,
        /// [`Failure::Timeout`]: a final response to INVITE was never acknowledged, or the user
        /// never answered.
        reason: Failure,
    },
}

/// Why a transaction came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side was silent for too long.
    Timeout,
    /// Its flow was closed.
    Transport,
    /// Too many transactions are going on here; nothing was sent.
    Overload,
}

/// The transaction layer of one front end, conferencing server or client.
///
/// Memory: at most `limit` server and `limit` client transactions (and a CANCEL for each of the
/// latter); each holds one request or response.
pub struct Transactions {
    entropy: Entropy,
    /// Makes the To tags of what is answered without state.
    secret: [u8; 16],
    limit: usize,
    timers: Timers,
    servers: BTreeMap<ServerKey, LiveServer>,
    clients: BTreeMap<ClientKey, LiveClient>,
    /// The same by flow, to find those of one that is gone.
    clients_of: BTreeSet<(Flow, ClientKey)>,
    /// INVITE transactions that were answered 2xx, by what their ACKs look like.
    accepted: BTreeMap<AckKey, ServerKey>,
    wakes: BTreeSet<(Time, Owner)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Server(ServerKey),
    Client(ClientKey),
}

struct LiveServer {
    machine: ServerMachine,
    wake: Option<Time>,
    /// What To is tagged with unless the user does it.
    tag: Text,
    ack_keys: Vec<AckKey>,
}

struct LiveClient {
    flow: Flow,
    machine: ClientMachine,
    wake: Option<Time>,
}

/// How many there are, and nothing of what they hold.
impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions")
            .field("servers", &self.servers.len())
            .field("clients", &self.clients.len())
            .field("accepted", &self.accepted.len())
            .field("wakes", &self.wakes.len())
            .finish_non_exhaustive()
    }
}

impl Transactions {
    /// A layer with at most `limit` transactions in each direction at a time.
    pub fn new(mut entropy: Entropy, limit: usize) -> Transactions {
        Transactions {
            secret: entropy.bytes(),
            entropy,
            limit,
            timers: Timers::default(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            clients_of: BTreeSet::new(),
            accepted: BTreeMap::new(),
            wakes: BTreeSet::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// The same layer with other timers, for networks slower or faster than the RFC's.
    pub fn with_timers(mut self, timers: Timers) -> Transactions {
        self.timers = timers;
        self
    }

    /// A message came, as [`Message::parse`] made it. One that was put together some other way and
    /// lacks what `parse` guarantees is dropped.
    pub fn receive(&mut self, now: Time, flow: Flow, message: Message, out: &mut Vec<TransactionOutput>) {
        self.receive_within(now, flow, message, self.limit, out);
    }

    /// The same for a peer whose new requests are refused when `limit` transactions are under way,
    /// while others may go on to the limit of the layer.
    pub fn receive_within(
        &mut self,
        now: Time,
        flow: Flow,
        message: Message,
        limit: usize,
        out: &mut Vec<TransactionOutput>,
    ) {
        match message {
            Message::Response(response) => self.receive_response(now, flow, response, out),
            Message::Request(request) => {
                let Some(key) = ServerKey::of(flow, &request) else { return };
                match request.method {
                    Method::Ack => self.receive_ack(now, key, request, out),
                    Method::Cancel => self.receive_cancel(&key, &request, out),
                    _ => self.receive_request(now, key, request, limit.min(self.limit), out),
                }
            }
        }
    }

    /// Answers a request. An answer to a transaction that is not there, or that has its final
    /// response already, is ignored. A final response without To tag is given one.
    pub fn respond(
        &mut self,
        now: Time,
        key: &ServerKey,
        mut response: Response,
        out: &mut Vec<TransactionOutput>,
    ) {
        let Some(live) = self.servers.get_mut(key) else { return };
        if response.status > 100 {
            response.set_to_tag(&live.tag);
            if let Some(tag) = response.headers.to().ok().and_then(|to| to.tag().map(Text::from)) {
                live.tag = tag;
            }
        }
        if let ServerMachine::Invite(_) = live.machine
            && (200..300).contains(&response.status)
            && let Some(ack_key) = AckKey::of(&response.headers)
            && self.accepted.insert(ack_key.clone(), key.clone()).is_none()
        {
            live.ack_keys.push(ack_key);
        }
        self.run_server(key, out, |machine, effects| machine.respond(now, response, effects));
    }

    /// Sends a request on `flow`, calling ourselves `sent_by` (`host` or `host:port`) in a new top
    /// Via. What comes of it bears the key that is returned; of ACK and BENOTIFY nothing does, and
    /// a CANCEL is made by [`Transactions::cancel`].
    pub fn request(
        &mut self,
        now: Time,
        flow: Flow,
        sent_by: &str,
        mut request: Request,
        out: &mut Vec<TransactionOutput>,
    ) -> ClientKey {
        let branch = Text::from(format!("z9hG4bK{}", self.entropy.hex::<12>()));
        // A datagram's answer is to come back to the port it was sent from (RFC 3581).
        let rport = if flow.transport == Transport::Udp { ";rport" } else { "" };
        let via = format!("SIP/2.0/{} {sent_by};branch={branch}{rport}", flow.transport.via_name());
        request.headers.push_front(Text::fixed("Via"), via);
        let key = ClientKey { branch, method: request.method.clone() };
        if matches!(request.method, Method::Ack | Method::Benotify | Method::Cancel) {
            out.push(TransactionOutput::Transmit { flow, message: request.into() });
        } else if self.clients.len() >= self.limit {
            out.push(TransactionOutput::Failed { key: key.clone(), reason: Failure::Overload });
        } else {
            self.start_client(now, flow, key.clone(), request, out);
        }
        key
    }

    /// Gives up an INVITE of ours: sends CANCEL once a provisional response has come. The INVITE
    /// still gets its outcome, 487 if the peer did hear of it in time, or [`Failure::Timeout`].
    pub fn cancel(&mut self, now: Time, key: &ClientKey, out: &mut Vec<TransactionOutput>) {
        self.run_client(now, key, out, |machine, effects| match machine {
            ClientMachine::Invite(machine) => machine.cancel(now, effects),
            ClientMachine::Other(_) => {}
        });
    }

    /// Whether the sender of this request still waits for its answer, or may ask for it again.
    pub fn is_serving(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    /// A flow is gone: so are its transactions.
    pub fn flow_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<TransactionOutput>) {
        let of_flow = self.servers.range(ServerKey::first_of(flow)..).take_while(|(key, _)| key.flow == flow);
        let servers: Vec<ServerKey> = of_flow.map(|(key, _)| key.clone()).collect();
        for key in servers {
            self.run_server(&key, out, ServerMachine::lose_flow);
        }
        let of_flow = self.clients_of.range((flow, ClientKey::first())..).take_while(|(of, _)| *of == flow);
        let clients: Vec<ClientKey> = of_flow.map(|(_, key)| key.clone()).collect();
        for key in clients {
            let Some(live) = self.clients.get(&key) else { continue };
            let effects = if live.machine.is_pending() {
                vec![ClientEffect::Fail(Failure::Transport)]
            } else {
                Vec::new()
            };
            self.do_client_effects(now, &key, flow, effects, out);
            self.remove_client(&key);
        }
    }

    /// When to call [`Transactions::handle_timeout`], if nothing happens first.
    pub fn deadline(&self) -> Option<Time> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The deadline has come.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Vec<TransactionOutput>) {
        while self.wakes.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, owner)) = self.wakes.pop_first()
        {
            match owner {
                Owner::Server(key) => {
                    self.run_server(&key, out, |machine, effects| machine.handle_timeout(now, effects));
                }
                Owner::Client(key) => {
                    self.run_client(now, &key, out, |machine, effects| machine.handle_timeout(now, effects));
                }
            }
        }
    }

    fn receive_request(
        &mut self,
        now: Time,
        key: ServerKey,
        request: Request,
        limit: usize,
        out: &mut Vec<TransactionOutput>,
    ) {
        let flow = key.flow;
        if request.method == Method::Benotify {
            out.push(TransactionOutput::Request { key, flow, request });
            return;
        }
        if self.servers.contains_key(&key) {
            self.run_server(&key, out, ServerMachine::repeat);
            return;
        }
        let tag = self.tag_for(&request);
        if self.servers.len() >= limit {
            let response = Response::to(&request, 503).with_header("Retry-After", OVERLOAD_RETRY_AFTER);
            transmit_tagged(flow, response, &tag, out);
            return;
        }
        let reliable = flow.transport.reliable();
        let machine = ServerMachine::start(now, &request, reliable, self.timers);
        self.servers.insert(key.clone(), LiveServer { machine, wake: None, tag, ack_keys: Vec::new() });
        self.run_server(&key, out, |_, _| {});
        out.push(TransactionOutput::Request { key, flow, request });
    }

    fn receive_ack(&mut self, now: Time, key: ServerKey, request: Request, out: &mut Vec<TransactionOutput>) {
        let flow = key.flow;
        let by_dialog = || AckKey::of(&request.headers).and_then(|ack_key| self.accepted.get(&ack_key));
        let invite = if self.servers.contains_key(&key) { Some(key) } else { by_dialog().cloned() };
        let mut passes = true;
        if let Some(invite) = invite {
            let tag = request.headers.to().ok().and_then(|to| to.tag().map(Text::from)).unwrap_or_default();
            self.run_server(&invite, out, |machine, _| {
                if let ServerMachine::Invite(machine) = machine {
                    passes = machine.acknowledge(now, &tag);
                }
            });
        }
        if passes {
            out.push(TransactionOutput::Ack { flow, request });
        }
    }

    /// Answers a CANCEL (RFC 3261 §9.2). That needs no transaction: to a repeated one the answer is
    /// the same.
    fn receive_cancel(&mut self, key: &ServerKey, request: &Request, out: &mut Vec<TransactionOutput>) {
        let Some(live) = self.servers.get_mut(key) else {
            let tag = self.tag_for(request);
            transmit_tagged(key.flow, Response::to(request, 481), &tag, out);
            return;
        };
        transmit_tagged(key.flow, Response::to(request, 200), &live.tag, out);
        if let ServerMachine::Invite(machine) = &mut live.machine
            && machine.cancel()
        {
            out.push(TransactionOutput::Cancelled { key: key.clone() });
        }
    }

    fn receive_response(
        &mut self,
        now: Time,
        flow: Flow,
        response: Response,
        out: &mut Vec<TransactionOutput>,
    ) {
        let key = ClientKey::of(&response).filter(|key| {
            // Whoever is further down the path knows the branch; on a connection he cannot answer
            // for the one whom we asked.
            let asked = |live: &LiveClient| live.flow == flow || !flow.transport.reliable();
            self.clients.get(key).is_some_and(asked)
        });
        match key {
            Some(key) => {
                self.run_client(now, &key, out, |machine, effects| machine.receive(now, response, effects));
            }
            None => out.push(TransactionOutput::StrayResponse { flow, response }),
        }
    }

    fn start_client(
        &mut self,
        now: Time,
        flow: Flow,
        key: ClientKey,
        request: Request,
        out: &mut Vec<TransactionOutput>,
    ) {
        let reliable = flow.transport.reliable();
        let mut effects = Vec::new();
        let machine = ClientMachine::start(now, request, reliable, self.timers, &mut effects);
        let wake = machine.deadline();
        self.wakes.extend(wake.map(|at| (at, Owner::Client(key.clone()))));
        self.clients_of.insert((flow, key.clone()));
        self.clients.insert(key.clone(), LiveClient { flow, machine, wake });
        self.do_client_effects(now, &key, flow, effects, out);
    }

    /// Lets `step` act on a machine, does what it wants, and sets its timer anew.
    fn run_server(
        &mut self,
        key: &ServerKey,
        out: &mut Vec<TransactionOutput>,
        step: impl FnOnce(&mut ServerMachine, &mut Vec<ServerEffect>),
    ) {
        let Some(live) = self.servers.get_mut(key) else { return };
        let mut effects = Vec::new();
        step(&mut live.machine, &mut effects);
        let before = std::mem::replace(&mut live.wake, live.machine.deadline());
        if before != live.wake {
            self.wakes.extend(live.wake.map(|at| (at, Owner::Server(key.clone()))));
            if let Some(before) = before {
                self.wakes.remove(&(before, Owner::Server(key.clone())));
            }
        }
        let is_over = live.machine.is_over();
        for effect in effects {
            out.push(match effect {
                ServerEffect::Transmit(response) => {
                    TransactionOutput::Transmit { flow: key.flow, message: response.into() }
                }
                ServerEffect::Fail(reason) => TransactionOutput::ServerFailed { key: key.clone(), reason },
            });
        }
        if is_over && let Some(live) = self.servers.remove(key) {
            for ack_key in &live.ack_keys {
                self.accepted.remove(ack_key);
            }
        }
    }

    fn run_client(
        &mut self,
        now: Time,
        key: &ClientKey,
        out: &mut Vec<TransactionOutput>,
        step: impl FnOnce(&mut ClientMachine, &mut Vec<ClientEffect>),
    ) {
        let Some(live) = self.clients.get_mut(key) else { return };
        let mut effects = Vec::new();
        step(&mut live.machine, &mut effects);
        let before = std::mem::replace(&mut live.wake, live.machine.deadline());
        if before != live.wake {
            self.wakes.extend(live.wake.map(|at| (at, Owner::Client(key.clone()))));
            if let Some(before) = before {
                self.wakes.remove(&(before, Owner::Client(key.clone())));
            }
        }
        let (flow, is_over) = (live.flow, live.machine.is_over());
        self.do_client_effects(now, key, flow, effects, out);
        if is_over {
            self.remove_client(key);
        }
    }

    fn do_client_effects(
        &mut self,
        now: Time,
        key: &ClientKey,
        flow: Flow,
        effects: Vec<ClientEffect>,
        out: &mut Vec<TransactionOutput>,
    ) {
        // What becomes of a CANCEL shows in its INVITE.
        let is_cancel = key.method == Method::Cancel;
        for effect in effects {
            match effect {
                ClientEffect::Transmit(request) => {
                    out.push(TransactionOutput::Transmit { flow, message: request.into() });
                }
                ClientEffect::Cancel(request) => {
                    let key = ClientKey { branch: key.branch.clone(), method: Method::Cancel };
                    self.start_client(now, flow, key, request, out);
                }
                ClientEffect::Deliver(_) | ClientEffect::Fail(_) if is_cancel => {}
                ClientEffect::Deliver(mut response) => {
                    response.headers.remove_first("Via");
                    out.push(TransactionOutput::Response { key: key.clone(), response });
                }
                ClientEffect::Repeat(response) => {
                    out.push(TransactionOutput::StrayResponse { flow, response })
                }
                ClientEffect::Fail(reason) => {
                    out.push(TransactionOutput::Failed { key: key.clone(), reason })
                }
            }
        }
    }

    fn remove_client(&mut self, key: &ClientKey) {
        let Some(LiveClient { flow, wake, .. }) = self.clients.remove(key) else { return };
        self.clients_of.remove(&(flow, key.clone()));
        if let Some(wake) = wake {
            self.wakes.remove(&(wake, Owner::Client(key.clone())));
        }
    }

    /// A To tag that nobody can guess and that is the same whenever the request comes again, even
    /// if nothing is kept of it (RFC 3261 §8.2.7).
    fn tag_for(&self, request: &Request) -> Text {
        let mut hash = Sha256::new_with_prefix(self.secret);
        for name in ["Via", "From", "Call-ID"] {
            hash.update(request.headers.get(name).map_or("", |value| value.as_str()));
            hash.update([0]);
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}

fn transmit_tagged(flow: Flow, mut response: Response, tag: &str, out: &mut Vec<TransactionOutput>) {
    response.set_to_tag(tag);
    out.push(TransactionOutput::Transmit { flow, message: response.into() });
}

#[cfg(test)]
mod tests;
