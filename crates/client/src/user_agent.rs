//! What every part of the client sends through: requests with our From and Contact, their
//! transactions and credentials, the ACKs of INVITE, and the keep-alive (RFC 3261 §8.1, §13.2.2.4).

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use bytes::Bytes;
use confab_machine::{Entropy, Time};
use confab_schema::{cccp, conf_invite};
use confab_sip::{
    CSeq, ClientKey, Dialog, DialogId, Failure, Flow, Method, NameAddr, Request, Response, ServerKey, Text,
    TransactionOutput, Transactions, Transport, Uri,
};

use crate::{
    credentials::Credentials,
    refusal::Refusal,
    vocabulary::{Action, ClientConfig, Command, Observation},
};

/// How many transactions one client has at once.
const MAX_TRANSACTIONS: usize = 256;
/// How often one request is sent again because it was challenged.
const MAX_ATTEMPTS: u8 = 3;
/// How many INVITEs are remembered to acknowledge a repeated or forked 2xx.
const MAX_ACKNOWLEDGED: usize = 32;
/// How many dialogs that were left are remembered, to answer a BYE that crosses ours.
const MAX_LEFT: usize = 16;
/// How long a connection is silent before it is kept alive, until the server says how long.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What we call ourselves.
const USER_AGENT: &str = concat!("Confab/", env!("CARGO_PKG_VERSION"));
/// The methods we take.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, NOTIFY, BENOTIFY, UPDATE, OPTIONS";

/// What a request was sent for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    Register,
    Unregister,
    /// A command to the Focus Factory.
    Schedule(Command),
    /// Something for the session of this number.
    Session(u64, Errand),
    /// Somebody is asked into the conference.
    Invitation,
    /// Whatever the answer is, it changes nothing: BYE, the end of a subscription.
    Farewell,
}

/// What a session sends requests for.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    Join,
    Subscribe,
    Command {
        request_id: u32,
    },
    /// The session timer's UPDATE.
    Refresh,
    OpenChat,
    Say {
        text: String,
    },
    Typing,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) purpose: Purpose,
    pub(crate) request: Request,
    attempts: u8,
}

/// The final answer to a request: a 2xx, or the refusal that anything else is.
pub(crate) type Answer = Result<Response, Refusal>;

/// An INVITE that was accepted.
#[derive(Debug)]
struct Acknowledged {
    invite: Request,
    /// By the tag of who accepted.
    acks: Vec<(String, Request)>,
}

pub(crate) struct UserAgent {
    pub(crate) config: ClientConfig,
    pub(crate) entropy: Entropy,
    /// The address of exactly this program, once the registrar made one.
    pub(crate) gruu: Option<Uri>,
    pub(crate) flow: Option<Flow>,
    transactions: Transactions,
    credentials: Credentials,
    sent: BTreeMap<ClientKey, Sent>,
    outputs: VecDeque<TransactionOutput>,
    /// What could not be sent for want of a flow.
    unsent: VecDeque<Sent>,
    acknowledged: VecDeque<Acknowledged>,
    /// The dialogs we left last.
    left: VecDeque<DialogId>,
    last_request_id: u32,
    keep_alive: Duration,
    last_sent: Time,
}

impl fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAgent")
            .field("config", &self.config)
            .field("flow", &self.flow)
            .finish_non_exhaustive()
    }
}

/// What the transactions, or the lack of a flow, brought.
pub(crate) enum Incoming {
    Transactions(TransactionOutput),
    Unsent(Sent),
}

impl UserAgent {
    pub(crate) fn new(config: ClientConfig, mut entropy: Entropy) -> UserAgent {
        UserAgent {
            config,
            transactions: Transactions::new(entropy.fork(), MAX_TRANSACTIONS),
            entropy,
            gruu: None,
            flow: None,
            credentials: Credentials::default(),
            sent: BTreeMap::new(),
            outputs: VecDeque::new(),
            unsent: VecDeque::new(),
            acknowledged: VecDeque::new(),
            left: VecDeque::new(),
            last_request_id: 0,
            keep_alive: DEFAULT_KEEP_ALIVE,
            last_sent: Time::EPOCH,
        }
    }

    /// A request outside of any dialog, of us to `to`.
    pub(crate) fn request(&mut self, method: Method, to: Uri) -> Request {
        let from = self.address().with_tag(&self.entropy.hex::<5>());
        let cseq = format!("1 {method}");
        let mut request = Request::new(method, to.clone())
            .with_header("From", from.to_string())
            .with_header("To", NameAddr::new(to).to_string())
            .with_header("Call-ID", self.entropy.hex::<16>())
            .with_header("CSeq", cseq)
            .with_header("Max-Forwards", "70");
        self.sign(&mut request);
        request
    }

    /// A request to a URI that comes from a document.
    pub(crate) fn request_to(&mut self, method: Method, to: &str) -> Result<Request, Refusal> {
        let uri = to.parse().map_err(|_| Refusal::local(400, "This address cannot be reached by SIP."))?;
        Ok(self.request(method, uri))
    }

    /// The next request of a dialog.
    pub(crate) fn request_in(&mut self, dialog: &mut Dialog, method: Method) -> Request {
        let mut request = dialog.request(method);
        self.sign(&mut request);
        request
    }

    /// What all our requests say of us.
    fn sign(&self, request: &mut Request) {
        request.headers.set("Contact", self.contact());
        request.headers.set("User-Agent", USER_AGENT);
    }

    /// Our address with epid, for From.
    pub(crate) fn address(&self) -> NameAddr {
        let mut address = NameAddr::new(self.uri());
        if !self.config.display_name.is_empty() {
            address.display_name = Some(Text::from(&self.config.display_name));
        }
        address.params.set("epid", &self.config.epid);
        address
    }

    /// Our address.
    pub(crate) fn uri(&self) -> Uri {
        Uri::sip(self.config.user.user(), self.config.user.domain())
    }

    /// Where requests in our dialogs come to.
    pub(crate) fn contact(&self) -> String {
        match &self.gruu {
            Some(gruu) => NameAddr::new(gruu.clone()).to_string(),
            None => format!("<{}>", self.local_uri(self.config.user.user())),
        }
    }

    /// This program by its network address; `user` may be empty.
    pub(crate) fn local_uri(&self, user: &str) -> Uri {
        let local = self.config.local;
        let host = if local.is_ipv6() { format!("[{}]", local.ip()) } else { local.ip().to_string() };
        let uri = Uri { port: Some(local.port()), ..Uri::sip(user, &host) };
        match self.flow.map(|flow| flow.transport) {
            None | Some(Transport::Udp) => uri,
            Some(Transport::Tls) => uri.with_param("transport", "tls"),
            Some(Transport::Tcp | Transport::Inproc) => uri.with_param("transport", "tcp"),
        }
    }

    /// A C3P request from us, with an ID of its own, as a body.
    pub(crate) fn cccp(&mut self, to: &str, command: cccp::Command) -> (u32, Bytes) {
        self.last_request_id += 1;
        let request = cccp::Request {
            request_id: self.last_request_id,
            from: self.config.user.to_string(),
            to: to.to_owned(),
            commands: vec![command],
        };
        (self.last_request_id, request.to_bytes())
    }

    pub(crate) fn connected(&mut self, now: Time, flow: Flow) {
        self.flow = Some(flow);
        self.last_sent = now;
        self.keep_alive = DEFAULT_KEEP_ALIVE;
    }

    pub(crate) fn keep_alive_every(&mut self, interval: Duration) {
        self.keep_alive = interval;
    }

    /// The next thing to look at.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        let unsent = self.unsent.pop_front().map(Incoming::Unsent);
        unsent.or_else(|| self.outputs.pop_front().map(Incoming::Transactions))
    }

    /// Whether a request belongs to a dialog that we left.
    pub(crate) fn was_left(&self, request: &Request) -> bool {
        DialogId::of_received(request).is_some_and(|id| self.left.contains(&id))
    }

    /// What a request on its way was sent for; it is answered now.
    pub(crate) fn answered(&mut self, key: &ClientKey) -> Option<Sent> {
        self.sent.remove(key)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        [self.transactions.deadline(), self.keep_alive_at()].into_iter().flatten().min()
    }

    fn keep_alive_at(&self) -> Option<Time> {
        let flow = self.flow?;
        matches!(flow.transport, Transport::Tcp | Transport::Tls).then(|| self.last_sent + self.keep_alive)
    }
}

/// One turn of the client: what the verbs need to act.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) agent: &'a mut UserAgent,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Context<'_> {
    pub(crate) fn observe(&mut self, observation: Observation) {
        self.out.push(Action::Observe(observation));
    }

    /// Sends a request. The answer, or that there is no flow, comes back with `purpose`.
    pub(crate) fn send(&mut self, mut request: Request, purpose: Purpose) -> Option<ClientKey> {
        let agent = &mut *self.agent;
        agent.credentials.apply(&agent.config, &mut agent.entropy, &mut request);
        self.send_as_is(Sent { purpose, request, attempts: 1 })
    }

    fn send_as_is(&mut self, sent: Sent) -> Option<ClientKey> {
        let Some(flow) = self.agent.flow else {
            self.agent.unsent.push_back(sent);
            return None;
        };
        let mut outputs = Vec::new();
        let (sent_by, request) = (self.agent.config.local.to_string(), sent.request.clone());
        let key = self.agent.transactions.request(self.now, flow, &sent_by, request, &mut outputs);
        self.agent.sent.insert(key.clone(), sent);
        self.collect(outputs);
        Some(key)
    }

    /// Whether a refused request is worth sending again: it was challenged, and we have an answer
    /// that it did not carry.
    pub(crate) fn can_answer(&mut self, sent: &Sent, response: &Response) -> bool {
        self.agent.config.password.is_some()
            && sent.attempts < MAX_ATTEMPTS
            && self.agent.credentials.challenged(&sent.request, response)
    }

    /// Sends a challenged request again, with credentials and this number.
    pub(crate) fn send_again(&mut self, mut sent: Sent, number: u32) -> Option<ClientKey> {
        sent.request.headers.set("CSeq", CSeq { number, method: sent.request.method.clone() }.to_string());
        sent.attempts += 1;
        let agent = &mut *self.agent;
        agent.credentials.apply(&agent.config, &mut agent.entropy, &mut sent.request);
        self.send_as_is(sent)
    }

    /// Gives up an INVITE that has no final answer yet.
    pub(crate) fn cancel(&mut self, key: &ClientKey) {
        let mut outputs = Vec::new();
        self.agent.transactions.cancel(self.now, key, &mut outputs);
        self.collect(outputs);
    }

    pub(crate) fn respond(&mut self, key: &ServerKey, response: Response) {
        let mut outputs = Vec::new();
        self.agent.transactions.respond(self.now, key, response, &mut outputs);
        self.collect(outputs);
    }

    /// Answers with a status and nothing more.
    pub(crate) fn answer(&mut self, key: &ServerKey, request: &Request, status: u16) {
        self.respond(key, Response::to(request, status).with_header("User-Agent", USER_AGENT));
    }

    /// Answers a request whose method has no place where it came.
    pub(crate) fn refuse_method(&mut self, key: &ServerKey, request: &Request) {
        self.respond(key, Response::to(request, 405).with_header("Allow", ALLOW));
    }

    /// Answers OPTIONS (RFC 3261 §11.2).
    pub(crate) fn describe(&mut self, key: &ServerKey, request: &Request) {
        let response = Response::to(request, 200)
            .with_header("Allow", ALLOW)
            .with_header("Accept", conf_invite::CONTENT_TYPE)
            .with_header("Contact", self.agent.contact());
        self.respond(key, response);
    }

    /// The dialog that a 2xx to our INVITE makes, acknowledged.
    pub(crate) fn acknowledge(&mut self, invite: &Request, response: &Response) -> Option<Dialog> {
        let dialog = Dialog::from_response(invite, response).ok()?;
        let cseq = invite.headers.cseq().ok()?.number;
        let mut ack = dialog.ack(cseq);
        for header in ["Authorization", "Proxy-Authorization"] {
            // The ACK carries what the INVITE carried (RFC 3261 §22.1).
            if let Some(value) = invite.headers.get(header) {
                ack.headers.set(header, value);
            }
        }
        let tag = response.headers.to().ok()?.tag().unwrap_or_default().to_owned();
        self.transmit_ack(ack.clone());
        let known = self.agent.acknowledged.iter_mut().find(|known| is_about(&known.invite, response));
        match known {
            Some(known) => known.acks.push((tag, ack)),
            None => {
                self.agent
                    .acknowledged
                    .push_back(Acknowledged { invite: invite.clone(), acks: vec![(tag, ack)] });
                if self.agent.acknowledged.len() > MAX_ACKNOWLEDGED {
                    self.agent.acknowledged.pop_front();
                }
            }
        }
        Some(dialog)
    }

    /// A 2xx came again, or from a second program of who was called: the first is acknowledged
    /// again, the second acknowledged and left.
    pub(crate) fn accepted_again(&mut self, response: &Response) {
        if !(200..300).contains(&response.status) {
            return;
        }
        let Some(known) = self.agent.acknowledged.iter().find(|known| is_about(&known.invite, response))
        else {
            return;
        };
        let tag = response.headers.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        match known.acks.iter().find(|(other, _)| *other == tag) {
            Some((_, ack)) => self.transmit_ack(ack.clone()),
            None => self.decline_late(&known.invite.clone(), response),
        }
    }

    /// Somebody accepted what we no longer want.
    pub(crate) fn decline_late(&mut self, invite: &Request, response: &Response) {
        if let Some(dialog) = self.acknowledge(invite, response) {
            self.bye(dialog);
        }
    }

    /// Leaves a dialog. The other side may be leaving it at the same time.
    pub(crate) fn bye(&mut self, mut dialog: Dialog) {
        self.agent.left.push_back(dialog.id());
        if self.agent.left.len() > MAX_LEFT {
            self.agent.left.pop_front();
        }
        let bye = self.agent.request_in(&mut dialog, Method::Bye);
        self.send(bye, Purpose::Farewell);
    }

    fn transmit_ack(&mut self, ack: Request) {
        let Some(flow) = self.agent.flow else { return };
        let mut outputs = Vec::new();
        let sent_by = self.agent.config.local.to_string();
        self.agent.transactions.request(self.now, flow, &sent_by, ack, &mut outputs);
        self.collect(outputs);
    }

    /// A message came in.
    pub(crate) fn receive(&mut self, flow: Flow, message: confab_sip::Message) {
        let mut outputs = Vec::new();
        self.agent.transactions.receive(self.now, flow, message, &mut outputs);
        self.collect(outputs);
    }

    pub(crate) fn flow_closed(&mut self, flow: Flow) {
        let mut outputs = Vec::new();
        self.agent.transactions.flow_closed(self.now, flow, &mut outputs);
        self.collect(outputs);
        if self.agent.flow == Some(flow) {
            self.agent.flow = None;
            self.agent.gruu = None;
        }
    }

    pub(crate) fn timeout(&mut self) {
        let mut outputs = Vec::new();
        self.agent.transactions.handle_timeout(self.now, &mut outputs);
        self.collect(outputs);
        if let (Some(at), Some(flow)) = (self.agent.keep_alive_at(), self.agent.flow)
            && at <= self.now
        {
            self.agent.last_sent = self.now;
            self.out.push(Action::KeepAlive { flow });
        }
    }

    /// Passes on what is to be sent; the rest waits for [`UserAgent::next`].
    fn collect(&mut self, outputs: Vec<TransactionOutput>) {
        for output in outputs {
            match output {
                TransactionOutput::Transmit { flow, message } => {
                    self.agent.last_sent = self.now;
                    self.out.push(Action::Transmit { flow, message });
                }
                other => self.agent.outputs.push_back(other),
            }
        }
    }
}

/// The number of a request of ours.
pub(crate) fn number(request: &Request) -> u32 {
    request.headers.cseq().map_or(0, |cseq| cseq.number)
}

/// Whether a response is one to this INVITE.
fn is_about(invite: &Request, response: &Response) -> bool {
    invite.headers.get("Call-ID") == response.headers.get("Call-ID")
        && invite.headers.cseq().ok() == response.headers.cseq().ok()
}

/// The refusal that the lack of any answer is (RFC 3261 §8.1.3.1).
pub(crate) fn unanswered(failure: &Failure) -> Refusal {
    match failure {
        Failure::Timeout => Refusal::local(408, "The server did not answer in time."),
        Failure::Overload => Refusal::local(503, "Too many requests wait for the server's answers."),
        Failure::Transport => Refusal::local(503, "The connection to the server was lost."),
    }
}
