//! Step 3: the Focus of one conference as a SIP user agent. It turns INVITE, SUBSCRIBE, INFO and
//! BYE into what the [`Focus`] hears, and the Focus' wishes into SIP (MS-CONFBAS, c3p §4.1, §7).
//!
//! It is a machine too: dialogs are state. The control link, the database and the transactions are
//! its shell's.

mod by_flow;
pub(crate) mod directory;
mod drain;
mod info;
mod join;
mod journal;
mod pairs;
mod plain;
mod refer;
mod saved_flow;
mod subscribe;
mod telling;

use std::collections::{BTreeMap, BTreeSet};

use confab_conference::{
    focus::{self, CommandId, Focus, InviteId, JoinId, SubscriptionId},
    policy::Identity,
    reason::Reason,
};
use confab_machine::{Entropy, FlowNote, Machine, Time, Traced};
use confab_schema::uri::{ConferenceUri, McuUri, UserUri};
use confab_sip::{DialogId, EndReason, Flow, Method, NameAddr, Request, Response, ServerKey, Text, Uri};
use serde::{Deserialize, Serialize};

use by_flow::ByFlow;
pub use directory::{FocusDirectory, FocusServices};
use drain::Drain;
use info::Command;
use join::Joined;
pub use journal::{Journaled, MakeHost, Restorable};
use plain::Invited;
pub use plain::is_plain;
use refer::Referred;
pub use saved_flow::SavedFlow;
use subscribe::Subscribed;
use telling::Telling;

use crate::{
    control_link::{CCCP, CONFERENCE_INFO},
    offer::SDP,
    refusal,
};

/// Who sent a request, as the front end vouches for him.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sender {
    /// His address.
    pub user: UserUri,
    /// How he proved it.
    pub identity: Identity,
    /// What to call him.
    pub display_name: String,
}

/// What the host of a Focus hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A request to the conference's URI.
    Request {
        /// Its transaction.
        key: ServerKey,
        /// Where it came from.
        flow: Flow,
        /// Who sent it.
        sender: Sender,
        /// The request.
        request: Box<Request>,
    },
    /// Step 8: an INVITE to one of the conference's MCUs, which waits at the front end.
    McuInvite {
        /// Its transaction.
        key: ServerKey,
        /// Who sent it.
        user: UserUri,
        /// Which MCU.
        mcu: McuUri,
    },
    /// The 200 to an INVITE was never acknowledged, or could not be sent; or its sender gave it up
    /// before that.
    NotAcknowledged {
        /// The INVITE's transaction.
        key: ServerKey,
    },
    /// A request of ours was answered finally.
    Response {
        /// The request's number.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// A request of ours was not answered or could not be sent.
    NoResponse {
        /// The request's number.
        id: u64,
    },
    /// A connection is gone.
    FlowClosed {
        /// Which.
        flow: Flow,
    },
    /// Something that only the Focus itself is concerned with: the control link, the database.
    Focus(focus::Event),
    /// Somebody wants to save what the Focus has heard of late.
    FlowWanted {
        /// By what he is found.
        number: u64,
    },
}

/// What the host of a Focus wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answer a request.
    Respond {
        /// Its transaction.
        key: ServerKey,
        /// The answer.
        response: Response,
    },
    /// Send a request to a participant.
    Send {
        /// Its number, for the answer.
        id: u64,
        /// The way he came.
        flow: Flow,
        /// The request.
        request: Request,
    },
    /// Forward the INVITE that waits at the front end to the MCU at this SIP URI.
    ForwardInvite {
        /// The INVITE's transaction.
        key: ServerKey,
        /// The MCU, as clients know it.
        mcu: McuUri,
        /// Where it is.
        server_uri: String,
    },
    /// Dialogs with this MCU go on with the one at this SIP URI.
    MoveMcu {
        /// The MCU, as clients know it.
        mcu: McuUri,
        /// Where it is now.
        server_uri: String,
    },
    /// Refuse the INVITE that waits at the front end.
    RefuseInvite {
        /// The INVITE's transaction.
        key: ServerKey,
        /// By which rule.
        reason: Reason,
    },
    /// Something for the control link, the database or the factory.
    Focus(focus::Action),
    /// This came for the next meeting, when this one was already over.
    Late(Box<Event>),
    /// Give him what the Focus has heard of late.
    GiveFlow {
        /// By what he is found.
        number: u64,
        /// The flow.
        flow: Box<SavedFlow>,
    },
    /// A line of the flow trace.
    Note(FlowNote),
}

impl Event {
    /// Whether it may start a Focus: only what somebody sends outside any dialog does.
    fn begins(&self) -> bool {
        match self {
            Event::Request { request, .. } => request.headers.to().is_ok_and(|to| to.tag().is_none()),
            Event::McuInvite { .. } => true,
            _ => false,
        }
    }
}

impl Traced for Event {
    /// Nothing: what matters is noted as the Focus hears it.
    fn flow_note(&self) -> Option<FlowNote> {
        None
    }
}

impl Traced for Action {
    fn flow_note(&self) -> Option<FlowNote> {
        match self {
            Action::Note(note) => Some(note.clone()),
            _ => None,
        }
    }
}

/// What a request of ours was for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Sent {
    Info(JoinId),
    Refresh(JoinId),
    Notify(SubscriptionId),
    Refer(CommandId),
    Bye,
}

/// One conference's Focus with its SIP dialogs. It is a value: written down and read again it goes on
/// as it would have, once it is seeded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FocusHost {
    contact: Text,
    focus: Focus,
    #[serde(skip)]
    entropy: Entropy,
    /// What error responses name as their source.
    source: String,
    joins: BTreeMap<JoinId, Joined>,
    #[serde(with = "pairs")]
    join_of: BTreeMap<DialogId, JoinId>,
    subscriptions: BTreeMap<SubscriptionId, Subscribed>,
    #[serde(with = "pairs")]
    subscription_of: BTreeMap<DialogId, SubscriptionId>,
    joins_by_flow: ByFlow<JoinId>,
    subscriptions_by_flow: ByFlow<SubscriptionId>,
    expiries: BTreeSet<(Time, SubscriptionId)>,
    /// When a session timer of an INVITE dialog next has something to do.
    upkeep: BTreeSet<(Time, JoinId)>,
    commands: BTreeMap<CommandId, Command>,
    referrals: BTreeMap<CommandId, Referred>,
    invites: BTreeMap<InviteId, Invited>,
    /// The connections of those who are in by a medium alone.
    medium_joins: BTreeMap<InviteId, Flow>,
    medium_joins_by_flow: ByFlow<InviteId>,
    sent: BTreeMap<u64, Sent>,
    last_id: u64,
    telling: Telling,
    drain: Option<Drain>,
    /// What the Focus has heard, if that is to be written down.
    #[serde(skip)]
    heard: Option<Vec<(Time, Option<focus::Event>)>>,
}

impl FocusHost {
    /// The host of `focus`; `source` is what error responses name as their source.
    pub fn new(focus: Focus, source: String, entropy: Entropy) -> FocusHost {
        FocusHost {
            contact: contact(&focus.record().uri),
            focus,
            entropy,
            source,
            joins: BTreeMap::new(),
            join_of: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            subscription_of: BTreeMap::new(),
            joins_by_flow: ByFlow::default(),
            subscriptions_by_flow: ByFlow::default(),
            expiries: BTreeSet::new(),
            upkeep: BTreeSet::new(),
            commands: BTreeMap::new(),
            referrals: BTreeMap::new(),
            invites: BTreeMap::new(),
            medium_joins: BTreeMap::new(),
            medium_joins_by_flow: ByFlow::default(),
            sent: BTreeMap::new(),
            last_id: 0,
            telling: Telling::default(),
            drain: None,
            heard: None,
        }
    }

    /// Seeds a host that was restored from a snapshot, which never holds entropy.
    pub fn seed(&mut self, mut entropy: Entropy) {
        self.focus.seed(entropy.fork());
        self.entropy = entropy;
    }

    /// The Focus, without its dialogs.
    pub fn focus(&self) -> &Focus {
        &self.focus
    }

    fn conference(&self) -> &ConferenceUri {
        &self.focus.record().uri
    }

    fn dialog_count(&self) -> usize {
        self.joins.len() + self.subscriptions.len()
    }

    /// From now on each event of the Focus is kept.
    fn write_down_what_the_focus_hears(&mut self) {
        self.heard = Some(Vec::new());
    }

    fn what_the_focus_heard(self) -> Vec<(Time, Option<focus::Event>)> {
        self.heard.unwrap_or_default()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn new_tag(&mut self) -> String {
        self.entropy.hex::<8>()
    }

    fn request(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        let dialog = DialogId::of_received(&request);
        if dialog.as_ref().is_some_and(|dialog| self.is_of_another(dialog, &sender)) {
            return out.push(Action::Respond { key, response: Response::to(&request, 481) });
        }
        match (&request.method, dialog) {
            (Method::Invite, None) => self.invite(now, key, flow, sender, request, out),
            (Method::Subscribe, None) => self.subscribe(now, key, flow, sender, request, out),
            (Method::Subscribe, Some(dialog)) => {
                match self.resubscribe_to_referral(&dialog, &sender, &request) {
                    Some(response) => out.push(Action::Respond { key, response }),
                    None => self.resubscribe(now, key, flow, &dialog, &request, out),
                }
            }
            (Method::Refer, _) => self.refer(now, key, flow, sender, request, out),
            (Method::Invite | Method::Update, Some(dialog)) => {
                self.refresh(now, key, flow, &dialog, &request, out);
            }
            (Method::Info, Some(dialog)) => self.info(now, key, flow, &dialog, request, out),
            (Method::Bye, Some(dialog)) => self.bye(now, key, flow, &dialog, &request, out),
            (Method::Options, _) => {
                let response = self.capabilities(&request);
                out.push(Action::Respond { key, response });
            }
            (Method::Info | Method::Bye, None) => {
                out.push(Action::Respond { key, response: Response::to(&request, 481) });
            }
            _ => {
                let response = Response::to(&request, 405).with_header("Allow", ALLOW);
                out.push(Action::Respond { key, response });
            }
        }
    }

    /// Whether a dialog is somebody else's: he knows its tags, but may not act in it.
    fn is_of_another(&self, dialog: &DialogId, sender: &Sender) -> bool {
        let join = self.join_of.get(dialog).and_then(|join| self.joins.get(join));
        let subscription =
            self.subscription_of.get(dialog).and_then(|subscription| self.subscriptions.get(subscription));
        let owner = join.map(Joined::remote_uri).or_else(|| subscription.map(Subscribed::remote_uri));
        owner.is_some_and(|owner| UserUri::parse(&owner.aor()).as_ref() != Ok(&sender.user))
    }

    /// Lets the Focus hear something and does what it wants, noting both in the trace.
    fn tell(&mut self, now: Time, event: focus::Event, out: &mut Vec<Action>) {
        out.extend(event.flow_note().map(Action::Note));
        if let Some(heard) = &mut self.heard {
            heard.push((now, Some(event.clone())));
        }
        let mut wishes = Vec::new();
        self.focus.handle(now, event, &mut wishes);
        self.grant(now, wishes, out);
    }

    fn grant(&mut self, now: Time, wishes: Vec<focus::Action>, out: &mut Vec<Action>) {
        let idle = self.telling.is_over();
        for wish in wishes {
            out.extend(wish.flow_note().map(Action::Note));
            match wish {
                focus::Action::Admit { join, response } => self.admit(now, join, &response, out),
                focus::Action::RefuseJoin { join, reason } => self.refuse_join(join, reason, out),
                focus::Action::EndJoin { join, ending } => self.end_join(join, ending, out),
                focus::Action::AcceptSubscription { subscription, document } => {
                    self.accept_subscription(now, subscription, document, out);
                }
                focus::Action::RefuseSubscription { subscription, reason } => {
                    self.refuse_subscription(subscription, reason, out);
                }
                focus::Action::Notify { subscriptions, document, .. } => {
                    self.telling.add(subscriptions, &document);
                }
                focus::Action::NotifyEach { documents, .. } => self.telling.add_each(documents),
                focus::Action::EndSubscription { subscription } => {
                    self.tell_all(now, out);
                    self.end_subscription(subscription, EndReason::Noresource, out);
                }
                focus::Action::AcceptCommand { command, response } => {
                    self.accept_command(command, &response, out);
                }
                focus::Action::FinishCommand { command, join, response } => match join {
                    Some(join) => self.finish_command(join, &response, out),
                    None => self.finish_referral(command, &response, out),
                },
                focus::Action::RefuseCommand { command, reason } => self.refuse_command(command, reason, out),
                focus::Action::ForwardInvite { invite, media, server_uri } => {
                    let mcu = self.focus.record().uri.mcu(media);
                    self.forward_invite(invite, mcu, server_uri, out);
                }
                focus::Action::InviteOver { invite } => self.forget_medium_join(invite),
                focus::Action::MoveMcu { media, server_uri } => {
                    let mcu = self.focus.record().uri.mcu(media);
                    out.push(Action::MoveMcu { mcu, server_uri });
                }
                focus::Action::RefuseInvite { invite, reason } => self.refuse_invite(invite, reason, out),
                wish @ (focus::Action::RequestMcu { .. }
                | focus::Action::CommandMcu { .. }
                | focus::Action::EndMcu { .. }
                | focus::Action::Save { .. }
                | focus::Action::SaveCalls { .. }
                | focus::Action::CountPeople { .. }
                | focus::Action::ExpectEnd { .. }) => out.push(Action::Focus(wish)),
                focus::Action::End => self.drain(now, out),
            }
        }
        if idle {
            self.tell_some(now, out);
        }
    }

    fn answered(&mut self, now: Time, id: u64, status: u16, out: &mut Vec<Action>) {
        // A participant who knows nothing of a dialog any more has left it. That a final INFO goes
        // unanswered says nothing: pidgin-sipe never answers one.
        match self.sent.remove(&id) {
            Some(Sent::Info(join)) if status == 481 => self.lost(now, join, out),
            Some(Sent::Refresh(join)) => self.refreshed(now, join, status, out),
            Some(Sent::Notify(subscription)) => self.notify_answered(now, subscription, status, out),
            Some(Sent::Refer(command)) => self.referrer_answered(command, status, out),
            _ => {}
        }
    }

    fn flow_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<Action>) {
        // Subscriptions first: who has left would be told so where nobody listens.
        let gone: Vec<SubscriptionId> = self.subscriptions_by_flow.of(flow).collect();
        for subscription in gone {
            self.drop_subscription(now, subscription, out);
        }
        let gone: Vec<JoinId> = self.joins_by_flow.of(flow).collect();
        for join in gone {
            self.lost(now, join, out);
        }
        let gone: Vec<InviteId> = self.medium_joins_by_flow.of(flow).collect();
        for invite in gone {
            self.invite_lost(now, invite, out);
        }
    }

    /// What may be asked of this Focus, and that it is one (RFC 4579 §5.12).
    fn capabilities(&self, request: &Request) -> Response {
        Response::to(request, 200)
            .with_header("Contact", self.contact.clone())
            .with_header("Allow", ALLOW)
            .with_header("Supported", "timer, norefersub")
            .with_header("Allow-Events", "conference, refer")
            .with_header("Accept", format!("{CCCP}, {SDP}, {CONFERENCE_INFO}"))
    }

    fn refusal(&self, request: &Request, reason: Reason) -> Response {
        refusal::response(request, reason, &self.source)
    }
}

/// What may be sent to a Focus.
const ALLOW: &str = "INVITE, BYE, ACK, CANCEL, INFO, UPDATE, SUBSCRIBE, REFER, OPTIONS";

/// The Focus' Contact: the conference, marked as the one that is in its focus (RFC 4579 §5.2).
fn contact(conference: &ConferenceUri) -> Text {
    let uri: Uri = conference.to_string().parse().expect("a conference URI is a SIP URI");
    let mut contact = NameAddr::new(uri);
    contact.params.set_flag("isfocus");
    contact.to_string().into()
}

impl Machine for FocusHost {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        let Some(event) = self.keep_late(event) else { return };
        match event {
            Event::Request { key, flow, sender, request } => {
                self.request(now, key, flow, sender, *request, out)
            }
            Event::McuInvite { key, user, mcu } => {
                let invite = InviteId(self.next_id());
                self.invites.insert(invite, Invited::to_mcu(key));
                self.tell(now, focus::Event::McuInvited { invite, user, mcu }, out);
            }
            Event::NotAcknowledged { key } => self.not_acknowledged(now, &key, out),
            Event::Response { id, response } => self.answered(now, id, response.status, out),
            Event::NoResponse { id } => self.answered(now, id, 408, out),
            Event::FlowClosed { flow } => self.flow_closed(now, flow, out),
            Event::Focus(event) => self.tell(now, event, out),
            // Only who keeps a journal can say.
            Event::FlowWanted { .. } => {}
        }
        self.finish_draining(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        if !self.telling.is_over() {
            return Some(Time::EPOCH);
        }
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let upkeep = self.upkeep.first().map(|(at, _)| *at);
        let drained = self.drain.as_ref().map(|drain| drain.until);
        [self.focus.deadline(), expiry, upkeep, drained].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.telling.is_over() {
            return self.tell_some(now, out);
        }
        while let Some((at, subscription)) = self.expiries.first().copied()
            && at <= now
        {
            self.end_subscription(subscription, EndReason::Timeout, out);
            self.tell(now, focus::Event::Unsubscribed { subscription }, out);
        }
        self.keep_up(now, out);
        if self.focus.deadline().is_some_and(|at| at <= now) {
            if let Some(heard) = &mut self.heard {
                heard.push((now, None));
            }
            let mut wishes = Vec::new();
            self.focus.handle_timeout(now, &mut wishes);
            self.grant(now, wishes, out);
        }
        self.finish_draining(now, out);
    }
}
