//! Steps 1 and 3: the front end. Every SIP request comes here first; it is authenticated and then
//! routed: to the registrar and presence, the Focus Factory, a Focus, an MCU, or another user.
//! One-to-one messages and calls are simply proxied (RFC 3261 §16).

mod addresses;
mod anonymous;
mod authenticate;
mod factory;
mod focus_invites;
mod forward;
mod held;
mod mcu_links;
mod mcu_places;
mod route;
mod route_token;
mod serve;
mod tables;
mod trusted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use confab_conference::{conference_key::ConferenceKey, reason::Reason};
use confab_machine::{Entropy, FlowNote, Machine, Time, Traced};
use confab_schema::uri::{ConferenceUri, McuUri, UserUri};
use confab_sip::{
    ClientKey, DialogId, Failure, Flow, Message, Method, Request, Response, ServerKey, TransactionOutput,
    Transactions, Transport,
    auth::{DigestAuthority, Ha1s},
};
use confab_users::Users;
use tokio::sync::oneshot;

use crate::{focus_host, refusal};
pub use addresses::Addresses;
pub(crate) use anonymous::ANONYMOUS_DOMAIN;
use anonymous::Anonymous;
use authenticate::Waiting;
use factory::Creating;
use focus_invites::FocusInvites;
use forward::Forwards;
use held::Held;
use mcu_links::McuLinks;
use mcu_places::McuPlaces;
use route_token::RouteTokens;
use serve::Naming;
pub use tables::Tables;
use trusted::McuInvite;

/// Transactions under way at once; more are refused with 503.
const TRANSACTION_LIMIT: usize = 200_000;
/// When so many are, those who have proved nothing get no more of them.
const STRANGERS_TRANSACTION_LIMIT: usize = 50_000;

/// What the front end hears.
#[derive(Debug)]
pub enum Event {
    /// A message came.
    Received {
        /// By this flow.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// A connection is gone.
    FlowClosed {
        /// Which.
        flow: Flow,
    },
    /// An account was looked up.
    Account {
        /// The number of the look-up.
        lookup: u64,
        /// What is known of the user.
        account: Result<Option<KnownAccount>, Unavailable>,
    },
    /// The key of a conference was looked up.
    ConferenceKey {
        /// The number of the look-up.
        lookup: u64,
        /// The key, if the conference admits people who have not signed in.
        key: Result<Option<ConferenceKey>, Unavailable>,
    },
    /// The names of several people were looked up.
    Names {
        /// The number of the look-up.
        lookup: u64,
        /// What those who exist are called.
        names: Result<BTreeMap<UserUri, String>, Unavailable>,
    },
    /// The Focus Factory or a Focus answers a request.
    Respond {
        /// The request's transaction.
        key: ServerKey,
        /// The answer.
        response: Response,
    },
    /// The Focus Factory has made a conference for an INVITE, or refuses it.
    Created {
        /// The INVITE's transaction.
        key: ServerKey,
        /// The conference, or the refusal.
        conference: Result<ConferenceUri, Box<Response>>,
    },
    /// A Focus sends a request to a participant.
    Send {
        /// Which Focus.
        conference: Arc<ConferenceUri>,
        /// Its number for the request.
        id: u64,
        /// The way the participant came.
        flow: Flow,
        /// The request.
        request: Request,
    },
    /// Step 8: a Focus lets an INVITE pass to an MCU.
    ForwardInvite {
        /// The INVITE's transaction.
        key: ServerKey,
        /// The MCU, as clients know it.
        mcu: McuUri,
        /// Where it is.
        server_uri: String,
    },
    /// Step 8: a Focus refuses an INVITE to an MCU.
    RefuseInvite {
        /// The INVITE's transaction.
        key: ServerKey,
        /// By which rule.
        reason: Reason,
    },
    /// Step 8: dialogs with an MCU go on with its successor.
    McuMoved {
        /// The MCU, as clients know it.
        mcu: McuUri,
        /// Where it is now.
        server_uri: String,
    },
    /// A conference asks for a server for a medium, because it never had one or has lost it.
    McuWanted {
        /// The MCU, as clients know it.
        mcu: McuUri,
    },
    /// A conference was given a place on an MCU, which should be linked now.
    McuProvisioned {
        /// The MCU's SIP URI.
        server_uri: String,
    },
    /// A meeting is over; where its MCUs were is of no more interest.
    ConferenceEnded {
        /// Which.
        conference: ConferenceUri,
    },
    /// An MCU of ours is reached by this flow, and trusted on it.
    McuLinked {
        /// Its SIP URI.
        server_uri: String,
        /// The flow.
        flow: Flow,
    },
    /// An MCU of ours could not be reached.
    McuUnlinked {
        /// Its SIP URI.
        server_uri: String,
    },
    /// Somebody wants to know how much there is.
    TablesWanted {
        /// Who.
        asker: oneshot::Sender<Tables>,
    },
}

/// An account as far as the front end needs it.
#[derive(Clone, Debug)]
pub struct KnownAccount {
    /// What to call the user.
    pub display_name: String,
    /// What his password hashes to.
    pub ha1s: Ha1s,
}

/// The database does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What the front end wants done.
#[derive(Debug)]
pub enum Action {
    /// Send a message.
    Transmit {
        /// By this flow.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Somebody has proved who he is on this connection.
    Believe {
        /// Which.
        flow: Flow,
    },
    /// Look an account up.
    LookUp {
        /// The number of the look-up.
        lookup: u64,
        /// Whose.
        user: UserUri,
    },
    /// Look up the key of a conference that somebody wants to reach who has not signed in.
    LookUpKey {
        /// The number of the look-up.
        lookup: u64,
        /// Which.
        conference: ConferenceUri,
    },
    /// Look the names of several people up.
    LookUpNames {
        /// The number of the look-up.
        lookup: u64,
        /// Whose.
        users: Vec<UserUri>,
    },
    /// Step 1: hand a SERVICE to the Focus Factory.
    ToFactory {
        /// The request's transaction.
        key: ServerKey,
        /// Who sent it.
        user: UserUri,
        /// How the answer goes back.
        transport: Transport,
        /// The request.
        request: Request,
    },
    /// Steps 1 and 2: have the Focus Factory make a conference for an INVITE; [`Event::Created`] follows.
    CreateConference {
        /// The request's transaction.
        key: ServerKey,
        /// Who sent it.
        user: UserUri,
        /// The request.
        request: Request,
    },
    /// Hand something to the Focus of a conference.
    ToFocus {
        /// Which.
        conference: ConferenceUri,
        /// What.
        event: Box<focus_host::Event>,
    },
    /// Open a link to an MCU; [`Event::McuLinked`] or [`Event::McuUnlinked`] follows.
    LinkMcu {
        /// Its SIP URI.
        server_uri: String,
    },
    /// Tell somebody how much there is.
    TellTables {
        /// Whom.
        asker: oneshot::Sender<Tables>,
        /// How much.
        tables: Tables,
    },
}

impl Traced for Event {
    /// Nothing: the trace is kept per conference, by those that know the conference.
    fn flow_note(&self) -> Option<FlowNote> {
        None
    }
}

impl Traced for Action {
    fn flow_note(&self) -> Option<FlowNote> {
        None
    }
}

/// Who a stream has proved to be, or claims to be where nobody is challenged.
type Identities = BTreeMap<Flow, BTreeMap<UserUri, String>>;

/// A request that waits for its answer: its transaction, the way it came, and what it says.
#[derive(Clone)]
struct Arrival {
    key: ServerKey,
    flow: Flow,
    request: Request,
}

/// What a request of ours was for.
enum Sent {
    /// A Focus awaits the answer.
    Focus { conference: Arc<ConferenceUri>, id: u64 },
    /// It is a proxied request.
    Forwarded(ServerKey),
    /// A notification of the users' side, of this subscription.
    Users(DialogId),
}

/// The front end.
pub struct FrontEnd {
    domain: String,
    /// Who phones call to make a conference.
    conference_factory: Option<UserUri>,
    addresses: Addresses,
    /// `None` challenges nobody.
    authority: Option<DigestAuthority>,
    /// `None` lets nobody in who has not signed in.
    anonymous: Option<Anonymous>,
    entropy: Entropy,
    transactions: Transactions,
    users: Users,
    identities: Identities,
    waiting: BTreeMap<u64, Waiting>,
    naming: BTreeMap<u64, Naming>,
    last_lookup: u64,
    tokens: RouteTokens,
    forwards: Forwards,
    /// INVITEs to MCUs that a Focus is asked about.
    mcu_invites: BTreeMap<ServerKey, McuInvite>,
    /// INVITEs that wait for their conference to be made.
    creating: BTreeMap<ServerKey, Creating>,
    /// INVITEs that went to a Focus, to tell it when one is not acknowledged.
    focus_invites: FocusInvites,
    /// Which conferences a stream takes part in.
    conferences: BTreeMap<Flow, BTreeSet<ConferenceUri>>,
    mcus: BTreeMap<String, Flow>,
    /// Where the MCUs of active conferences are, by their SIP URIs.
    places: McuPlaces,
    /// The links to MCUs of other machines.
    links: McuLinks,
    /// Requests within dialogs with MCUs.
    held: Held,
    /// The flows by which MCUs of ours come, with their SIP URIs.
    trusted: BTreeMap<Flow, String>,
    sent: BTreeMap<ClientKey, Sent>,
}

/// What a front end is made of.
pub struct FrontEndSetup {
    /// The SIP domain.
    pub domain: String,
    /// Who phones call to make a conference, if they may.
    pub conference_factory: Option<UserUri>,
    /// Where it can be reached.
    pub addresses: Addresses,
    /// Who challenges; `None` challenges nobody.
    pub authority: Option<DigestAuthority>,
    /// Who challenges people who do not sign in; `None` lets nobody in who has not.
    pub anonymous: Option<DigestAuthority>,
    /// Registrar and presence.
    pub users: Users,
    /// Where tags, branches and tokens come from.
    pub entropy: Entropy,
}

impl FrontEnd {
    /// A front end that knows nobody yet.
    pub fn new(setup: FrontEndSetup) -> FrontEnd {
        let FrontEndSetup { domain, conference_factory, addresses, authority, anonymous, users, mut entropy } =
            setup;
        FrontEnd {
            domain,
            conference_factory,
            addresses,
            authority,
            anonymous: anonymous.map(Anonymous::new),
            transactions: Transactions::new(entropy.fork(), TRANSACTION_LIMIT),
            tokens: RouteTokens::new(entropy.bytes()),
            entropy,
            users,
            identities: BTreeMap::new(),
            waiting: BTreeMap::new(),
            naming: BTreeMap::new(),
            last_lookup: 0,
            forwards: Forwards::default(),
            mcu_invites: BTreeMap::new(),
            creating: BTreeMap::new(),
            focus_invites: FocusInvites::default(),
            conferences: BTreeMap::new(),
            mcus: BTreeMap::new(),
            places: McuPlaces::default(),
            links: McuLinks::default(),
            held: Held::default(),
            trusted: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Whether somebody has proved on this flow who he is, or that he may be there.
    fn is_known(&self, flow: Flow) -> bool {
        let anonymous = || self.anonymous.as_ref().is_some_and(|anonymous| anonymous.is_believed(flow));
        self.identities.contains_key(&flow) || self.trusted.contains_key(&flow) || anonymous()
    }

    /// Does what the transaction layer says, until it says nothing more.
    fn work(&mut self, now: Time, outputs: Vec<TransactionOutput>, out: &mut Vec<Action>) {
        for output in outputs {
            match output {
                TransactionOutput::Transmit { flow, message } => out.push(Action::Transmit { flow, message }),
                TransactionOutput::Request { key, flow, request } => {
                    self.arrived(now, Arrival { key, flow, request }, out);
                }
                TransactionOutput::Ack { flow, request } => self.acknowledged(flow, request, out),
                TransactionOutput::Cancelled { key } => self.cancelled(now, &key, out),
                TransactionOutput::Response { key, response } => self.answered(now, &key, response, out),
                TransactionOutput::StrayResponse { response, .. } => self.stray(response, out),
                TransactionOutput::Failed { key, reason } => self.unanswered(now, &key, reason, out),
                TransactionOutput::ServerFailed { key, .. } => self.abandoned(now, key, out),
            }
        }
    }

    /// The sender of a request is gone, or never acknowledged the answer to his INVITE.
    fn abandoned(&mut self, now: Time, key: ServerKey, out: &mut Vec<Action>) {
        self.mcu_invites.remove(&key);
        self.creating.remove(&key);
        self.cancel_forward(now, &key, out);
        if let Some(conference) = self.focus_invites.take(&key) {
            tell(conference, focus_host::Event::NotAcknowledged { key }, out);
        }
    }

    /// Answers a request.
    fn respond(&mut self, now: Time, key: &ServerKey, response: Response, out: &mut Vec<Action>) {
        if response.status >= 200 {
            self.no_longer_held(key, out);
        }
        let mut outputs = Vec::new();
        self.transactions.respond(now, key, response, &mut outputs);
        self.work(now, outputs, out);
    }

    /// Answers with this status and a sentence for the person who meets it.
    fn refuse(
        &mut self,
        now: Time,
        key: &ServerKey,
        request: &Request,
        status: u16,
        sentence: &str,
        out: &mut Vec<Action>,
    ) {
        let response = refusal::plain(request, status, &self.addresses.name, sentence);
        self.respond(now, key, response, out);
    }

    /// Sends a request of our own.
    fn send(&mut self, now: Time, flow: Flow, request: Request, what: Sent, out: &mut Vec<Action>) {
        let mut outputs = Vec::with_capacity(1);
        let answered = request.method != Method::Benotify;
        let sent_by = self.addresses.sent_by(flow.transport);
        let key = self.transactions.request(now, flow, sent_by, request, &mut outputs);
        if answered {
            self.sent.insert(key, what);
        }
        self.work(now, outputs, out);
    }

    fn answered(&mut self, now: Time, key: &ClientKey, response: Response, out: &mut Vec<Action>) {
        let is_final = response.status >= 200;
        match self.sent.get(key) {
            Some(Sent::Forwarded(server)) => {
                let server = server.clone();
                self.branch_answered(now, &server, key, response, out);
            }
            Some(Sent::Focus { conference, id }) if is_final => {
                let event = focus_host::Event::Response { id: *id, response };
                tell(ConferenceUri::clone(conference), event, out);
                self.sent.remove(key);
            }
            Some(Sent::Users(subscription)) if is_final => {
                self.users.notify_answered(now, subscription, response.status);
                self.sent.remove(key);
            }
            _ => {}
        }
    }

    fn unanswered(&mut self, now: Time, key: &ClientKey, reason: Failure, out: &mut Vec<Action>) {
        match self.sent.remove(key) {
            Some(Sent::Forwarded(server)) => self.branch_failed(now, &server, key, reason, out),
            Some(Sent::Focus { conference, id }) => {
                tell(Arc::unwrap_or_clone(conference), focus_host::Event::NoResponse { id }, out);
            }
            Some(Sent::Users(subscription)) => self.users.notify_answered(now, &subscription, 408),
            None => {}
        }
    }

    fn flow_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<Action>) {
        self.identities.remove(&flow);
        // What is looked up for them comes too late: nobody would forget it again.
        self.waiting.retain(|_, waiting| !waiting.came_by(flow));
        self.naming.retain(|_, naming| !naming.came_by(flow));
        if let Some(anonymous) = &mut self.anonymous {
            anonymous.flow_closed(flow);
        }
        self.trusted.remove(&flow);
        self.mcus.retain(|_, mcu| *mcu != flow);
        self.link_closed(now, flow, out);
        let mut outputs = Vec::new();
        self.transactions.flow_closed(now, flow, &mut outputs);
        self.work(now, outputs, out);
        for conference in self.conferences.remove(&flow).unwrap_or_default() {
            let closed = focus_host::Event::FlowClosed { flow };
            self.tell_in_order(now, (flow, Method::Bye), conference, closed, out);
        }
        let mut wishes = Vec::new();
        self.users.flow_closed(now, flow, &mut wishes);
        self.grant_users(now, None, wishes, out);
    }
}

/// Hands something to the Focus of a conference.
fn tell(conference: ConferenceUri, event: focus_host::Event, out: &mut Vec<Action>) {
    out.push(Action::ToFocus { conference, event: Box::new(event) });
}

impl Machine for FrontEnd {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Received { flow, message } => {
                let limit = if self.is_known(flow) { TRANSACTION_LIMIT } else { STRANGERS_TRANSACTION_LIMIT };
                let mut outputs = Vec::new();
                self.transactions.receive_within(now, flow, message, limit, &mut outputs);
                self.work(now, outputs, out);
            }
            Event::FlowClosed { flow } => self.flow_closed(now, flow, out),
            Event::Account { lookup, account } => self.looked_up(now, lookup, account, out),
            Event::ConferenceKey { lookup, key } => self.key_looked_up(now, lookup, key, out),
            Event::Names { lookup, names } => self.named(now, lookup, names, out),
            Event::Respond { key, response } => {
                self.mcu_invites.remove(&key);
                self.respond(now, &key, response, out);
            }
            Event::Created { key, conference } => self.created(now, &key, conference, out),
            Event::Send { conference, id, flow, request } => {
                let flow = self.way_to(now, flow, &request);
                self.send(now, flow, request, Sent::Focus { conference, id }, out);
            }
            Event::ForwardInvite { key, mcu, server_uri } => {
                self.let_pass(&key, mcu);
                self.forward_to_mcu(now, &key, &server_uri, out);
            }
            Event::RefuseInvite { key, reason } => self.refuse_mcu_invite(now, &key, reason, out),
            Event::McuWanted { mcu } => self.places.unsettle(now, &mcu),
            Event::McuProvisioned { server_uri } => self.mcu_provisioned(now, &server_uri, out),
            Event::McuMoved { mcu, server_uri } => self.mcu_moved(now, mcu, server_uri, out),
            Event::ConferenceEnded { conference } => self.conference_ended(now, &conference, out),
            Event::McuLinked { server_uri, flow } => self.linked(now, server_uri, flow, out),
            Event::McuUnlinked { server_uri } => self.unlinked(now, &server_uri, out),
            Event::TablesWanted { asker } => self.count(asker, out),
        }
    }

    fn deadline(&self) -> Option<Time> {
        let (links, held) = (self.links.deadline(), self.held.deadline());
        [self.transactions.deadline(), self.users.deadline(), self.forwards.deadline(), links, held]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.transactions.deadline().is_some_and(|at| at <= now) {
            let mut outputs = Vec::new();
            self.transactions.handle_timeout(now, &mut outputs);
            self.work(now, outputs, out);
        }
        if self.users.deadline().is_some_and(|at| at <= now) {
            let mut wishes = Vec::new();
            self.users.handle_timeout(now, &mut wishes);
            self.grant_users(now, None, wishes, out);
        }
        if self.forwards.deadline().is_some_and(|at| at <= now) {
            self.forwards_timeout(now, out);
        }
        self.links_timeout(now, out);
        self.held_timeout(now, out);
    }
}
