//! The Focus of one conference (RFC 4353 §4): it admits people, keeps the roster, commands the
//! conferencing servers and tells every subscriber what changed. Steps 3, 4, 5 and 7.
//!
//! It knows C3P and not SIP: the shell turns an INVITE into [`Event::Join`], an INFO into
//! [`Event::Command`], and answers as the [`Action`]s say.

mod command;
mod document;
mod handover;
mod join;
mod lifecycle;
mod lobby;
mod mcu_session;
mod media;
mod medium_join;
mod notify;
mod put_out;
mod refer;
mod roster;
mod text;
mod trace;

use std::time::Duration;

use bytes::Bytes;
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    cccp,
    conference_info::{CallRecord, ConferenceInfo, View},
    uri::{McuType, McuUri, UserUri},
};
use serde::{Deserialize, Serialize};

use crate::{
    policy::{Identity, MeetingPolicy},
    reason::Reason,
    record::{ConferenceRecord, RecordChange},
};
use command::PendingCommands;
use lifecycle::Lifetime;
use lobby::Lobby;
use mcu_session::McuSessions;
use media::Rules;
use notify::{Changes, Subscribers};
pub use refer::Referral;
use roster::Roster;

/// How many endpoints one person may join with, and how many subscriptions he may have. As many
/// requests may wait for each person the meeting policy allows.
const ENDPOINTS_PER_PERSON: usize = 10;

/// The least time there is: what must not happen now happens that much later.
const TICK: Duration = Duration::from_micros(1);

macro_rules! handle_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
    )*};
}

handle_types! {
    /// The shell's name for one INVITE dialog between a participant and the Focus.
    JoinId;
    /// The shell's name for one SUBSCRIBE dialog.
    SubscriptionId;
    /// The shell's name for one C3P command that awaits its answer.
    CommandId;
    /// The shell's name for one INVITE to a conferencing server that awaits the Focus' word.
    InviteId;
}

/// What happens to a Focus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Step 3: somebody sent INVITE with this C3P request.
    Join {
        /// The new dialog.
        join: JoinId,
        /// Who, as authenticated.
        user: UserUri,
        /// How he proved it.
        identity: Identity,
        /// What to call him in the roster.
        display_name: String,
        /// The body: one `addUser`.
        request: cccp::Request,
    },
    /// Step 8 without step 3: somebody who speaks no C3P sent INVITE to the conference, offering media.
    /// He joins by the first of them that the meeting has (RFC 4579 §5.1).
    JoinMedium {
        /// The INVITE.
        invite: InviteId,
        /// Who, as authenticated.
        user: UserUri,
        /// How he proved it.
        identity: Identity,
        /// What to call him in the roster.
        display_name: String,
        /// The media, as he prefers them.
        offered: Vec<McuType>,
    },
    /// Who sent this INVITE gave it up, or the connection it came by is lost for good.
    InviteLost {
        /// The INVITE.
        invite: InviteId,
    },
    /// The INVITE dialog ended (BYE, or the connection was lost for good).
    Left {
        /// The dialog.
        join: JoinId,
    },
    /// Step 3: somebody sent SUBSCRIBE for the event package `conference`.
    Subscribe {
        /// The new dialog.
        subscription: SubscriptionId,
        /// Who, as authenticated.
        user: UserUri,
        /// Which form of the documents he understands.
        view: View,
    },
    /// The subscription's dialog asked for the current document (a refreshing SUBSCRIBE).
    Refresh {
        /// The dialog.
        subscription: SubscriptionId,
    },
    /// The subscriber was slow and missed changes; it takes documents again.
    Behind {
        /// The dialog.
        subscription: SubscriptionId,
    },
    /// The subscription ended.
    Unsubscribed {
        /// The dialog.
        subscription: SubscriptionId,
    },
    /// Step 7: a participant sent a command by INFO.
    Command {
        /// The command.
        command: CommandId,
        /// The INVITE dialog it came in.
        join: JoinId,
        /// The body.
        request: cccp::Request,
    },
    /// Step 7 without C3P: somebody sent REFER about a person. It is answered as a command is.
    Referred {
        /// The REFER.
        command: CommandId,
        /// Who, as authenticated.
        user: UserUri,
        /// Whom it is about.
        target: UserUri,
        /// What he wants done.
        wanted: Referral,
    },
    /// Step 8: somebody sent INVITE to one of the conference's conferencing servers.
    McuInvited {
        /// The INVITE.
        invite: InviteId,
        /// Who, as authenticated.
        user: UserUri,
        /// Which server.
        mcu: McuUri,
    },
    /// Step 6: the factory provisioned the conference on an MCU; commands go to this URL.
    McuReady {
        /// The medium asked for.
        media: McuType,
        /// The control link.
        control_url: String,
    },
    /// Step 6: the factory found no MCU.
    McuUnavailable {
        /// The medium asked for.
        media: McuType,
    },
    /// Step 7: an MCU answered a command (maybe `pending` first).
    McuAnswered {
        /// Which MCU.
        media: McuType,
        /// Its answer; the request ID is that of the command.
        response: cccp::Response,
    },
    /// Step 7: a command did not reach its MCU.
    McuUnreachable {
        /// Which MCU.
        media: McuType,
        /// The command's request ID.
        request_id: u32,
    },
    /// The MCU of a medium does not live any more; the factory noticed.
    McuLost {
        /// Which medium.
        media: McuType,
    },
    /// Step 8: an MCU says who is on it now.
    McuNotified {
        /// Which MCU.
        media: McuType,
        /// Each changed person with the complete list of his endpoints there.
        document: Box<ConferenceInfo>,
    },
    /// A [`Action::Save`] failed; what followed it was not done.
    StoreFailed,
    /// A [`Action::Save`] failed because the record was deleted; what followed it was not done.
    RecordGone,
    /// The database has another version of the record than the Focus: its organizer changed it, or
    /// it was changed while a [`Action::Save`] was under way, which is in it then.
    RecordChanged {
        /// The record as it is now.
        record: Box<ConferenceRecord>,
    },
    /// The organizer deleted the record, or an administrator ended the meeting.
    EndRequested,
    /// Something was not heard, because it broke the Focus.
    Unheard,
    /// The Focus has failed too often to go on: the meeting is ended as well as can be.
    Broken,
}

/// What a Focus wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Step 4: let him in; answer the INVITE with 200 and this body.
    Admit {
        /// The dialog.
        join: JoinId,
        /// The body.
        response: cccp::Response,
    },
    /// Step 4: refuse the INVITE.
    RefuseJoin {
        /// The dialog.
        join: JoinId,
        /// By which rule.
        reason: Reason,
    },
    /// Send BYE in the INVITE dialog.
    EndJoin {
        /// The dialog.
        join: JoinId,
        /// What the person is told.
        ending: Ending,
    },
    /// Accept the SUBSCRIBE; this is the first document.
    AcceptSubscription {
        /// The dialog.
        subscription: SubscriptionId,
        /// A full `application/conference-info+xml`.
        #[serde(with = "text")]
        document: Bytes,
    },
    /// Refuse the SUBSCRIBE.
    RefuseSubscription {
        /// The dialog.
        subscription: SubscriptionId,
        /// By which rule.
        reason: Reason,
    },
    /// Send one document to many subscribers.
    Notify {
        /// The dialogs.
        subscriptions: Vec<SubscriptionId>,
        /// An `application/conference-info+xml`.
        #[serde(with = "text")]
        document: Bytes,
        /// Its version.
        version: u32,
    },
    /// Send documents of one version, each to somebody else's subscriptions.
    NotifyEach {
        /// The documents.
        documents: Vec<PersonalDocument>,
        /// The version of all of them.
        version: u32,
    },
    /// Tell the subscriber that nothing more will come.
    EndSubscription {
        /// The dialog.
        subscription: SubscriptionId,
    },
    /// Answer the INFO with 202 and this pending response; a REFER with 202.
    AcceptCommand {
        /// The command.
        command: CommandId,
        /// The pending response.
        response: cccp::Response,
    },
    /// Send the final response by INFO in the INVITE dialog; that to a REFER by NOTIFY.
    FinishCommand {
        /// The command.
        command: CommandId,
        /// The dialog; `None` for a REFER.
        join: Option<JoinId>,
        /// The final response.
        response: cccp::Response,
    },
    /// Answer the INFO or REFER with an error status.
    RefuseCommand {
        /// The command.
        command: CommandId,
        /// By which rule.
        reason: Reason,
    },
    /// Step 5: ask the factory for an MCU.
    RequestMcu {
        /// Of this type.
        media: McuType,
    },
    /// Step 7: POST this command to the MCU's control URL.
    CommandMcu {
        /// Which MCU.
        media: McuType,
        /// The control link.
        control_url: String,
        /// The command.
        request: cccp::Request,
    },
    /// Step 7: the meeting is over, and the MCU is told to end it for those who are on it. If it is lost, or turns
    /// out to be, another one takes them over first, or they would go on in nothing.
    EndMcu {
        /// Which MCU.
        media: McuType,
        /// The control link; `None` if it is lost and no other was there yet.
        control_url: Option<String>,
        /// What another one is commanded first: to take over each endpoint that can be.
        heirs: Vec<cccp::Request>,
        /// The command that ends it.
        request: cccp::Request,
    },
    /// Step 8: forward the INVITE to the MCU at this SIP URI.
    ForwardInvite {
        /// The INVITE.
        invite: InviteId,
        /// On which medium.
        media: McuType,
        /// The MCU's own SIP URI.
        server_uri: String,
    },
    /// Step 8: sessions on this medium go on with another MCU, at this SIP URI.
    MoveMcu {
        /// Which medium.
        media: McuType,
        /// The MCU's own SIP URI.
        server_uri: String,
    },
    /// Step 8: refuse the INVITE to the MCU.
    RefuseInvite {
        /// The INVITE.
        invite: InviteId,
        /// By which rule.
        reason: Reason,
    },
    /// Somebody is not in by this [`Event::JoinMedium`] any more.
    InviteOver {
        /// The INVITE.
        invite: InviteId,
    },
    /// Durable: what follows waits until the database has this record. If the database has another
    /// version, `change` is made to that, and [`Event::RecordChanged`] tells the Focus.
    Save {
        /// The record, with its version raised.
        record: Box<ConferenceRecord>,
        /// How it differs from the version before.
        change: RecordChange,
    },
    /// Write down what became of these legs. Nothing waits for it.
    SaveCalls {
        /// The records.
        calls: Vec<CallRecord>,
    },
    /// So many people are in now.
    CountPeople {
        /// How many.
        count: usize,
    },
    /// If nobody joins the meeting ends at this time; it replaces what was said before.
    ExpectEnd {
        /// When.
        at: Time,
    },
    /// The meeting is over; the Focus can be dropped. The record stays.
    End,
}

/// What one person is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersonalDocument {
    /// The dialogs he is told in.
    pub subscriptions: Vec<SubscriptionId>,
    /// An `application/conference-info+xml`.
    #[serde(with = "text")]
    pub document: Bytes,
}

/// Why the Focus ends somebody's dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// A leader ejected the person.
    Ejected,
    /// A leader did not let the person in.
    Denied,
    /// The person took himself out, perhaps from another endpoint.
    RemovedOneself,
    /// The meeting was ended.
    ConferenceEnded,
    /// Nobody has joined for long, or nobody who has signed in was left.
    Idle,
    /// The record has expired.
    Expired,
    /// The same endpoint joined anew; this dialog is its old one.
    Replaced,
    /// The server made mistakes that it could not mend.
    Broken,
}

impl Ending {
    /// What the person is told.
    pub const fn sentence(self) -> &'static str {
        match self {
            Ending::Ejected => "A leader removed you from the conference.",
            Ending::Denied => "A leader did not let you into the conference.",
            Ending::RemovedOneself => "You left the conference.",
            Ending::ConferenceEnded => "The conference was ended by a leader.",
            Ending::Idle => {
                "The meeting was closed, because nobody has joined it for long. Join again to go on."
            }
            Ending::Expired => "The conference has expired. Ask its organizer to prolong it.",
            Ending::Replaced => "This endpoint joined the conference again.",
            Ending::Broken => {
                "The meeting was closed, because the server made a mistake. Join again to go on."
            }
        }
    }
}

/// The Focus of one active conference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Focus {
    record: ConferenceRecord,
    /// The media of this meeting: if the record's are changed, the next meeting has them.
    media: Vec<McuType>,
    policy: MeetingPolicy,
    /// The record as the database has it, while a change to it is being saved.
    unsaved: Option<command::Unsaved>,
    roster: Roster,
    lobby: Lobby,
    mcus: McuSessions,
    rules: Rules,
    subscribers: Subscribers,
    changes: Changes,
    commands: PendingCommands,
    lifetime: Lifetime,
    ended: bool,
    #[serde(skip)]
    entropy: Entropy,
}

impl Focus {
    /// The Focus of the conference that `record` describes. Nobody is in it yet and no MCU is
    /// asked for before the first person joins.
    pub fn new(record: ConferenceRecord, policy: MeetingPolicy, entropy: Entropy) -> Focus {
        let mcus = McuSessions::new(&record.media);
        Focus {
            media: record.media.clone(),
            record,
            policy,
            unsaved: None,
            roster: Roster::default(),
            lobby: Lobby::default(),
            mcus,
            rules: Rules::default(),
            subscribers: Subscribers::default(),
            changes: Changes::default(),
            commands: PendingCommands::default(),
            lifetime: Lifetime::default(),
            ended: false,
            entropy,
        }
    }

    /// The record it works from.
    pub fn record(&self) -> &ConferenceRecord {
        &self.record
    }

    /// The media of this meeting.
    pub fn media(&self) -> &[McuType] {
        &self.media
    }

    /// Seeds a Focus that was restored from a snapshot, which never holds entropy.
    pub fn seed(&mut self, entropy: Entropy) {
        self.entropy = entropy;
    }

    /// The most requests that may wait for conferencing servers.
    fn waiting_limit(&self) -> usize {
        self.policy.max_participants.saturating_mul(ENDPOINTS_PER_PERSON)
    }
}

impl Machine for Focus {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        self.settle(now);
        match event {
            Event::Join { join, user, identity, display_name, request } => {
                self.join(now, join, join::Joiner { user, identity, display_name }, &request, out);
            }
            Event::JoinMedium { invite, user, identity, display_name, offered } => {
                let joiner = join::Joiner { user, identity, display_name };
                self.join_medium(now, invite, joiner, &offered, out);
            }
            Event::InviteLost { invite } => self.invite_lost(now, invite, out),
            Event::Left { join } => self.leave(now, join, out),
            Event::Subscribe { subscription, user, view } => self.subscribe(subscription, user, view, out),
            Event::Refresh { subscription } => self.refresh(subscription, out),
            Event::Behind { subscription } => self.catch_up(subscription, out),
            Event::Unsubscribed { subscription } => {
                self.subscribers.remove(subscription);
                self.lobby.subscribers.remove(subscription);
            }
            Event::Command { command, join, request } => self.command(now, command, join, &request, out),
            Event::Referred { command, user, target, wanted } => {
                self.referred(now, command, user, &target, wanted, out);
            }
            Event::McuInvited { invite, user, mcu } => self.mcu_invited(now, invite, &user, &mcu, out),
            Event::McuReady { media, control_url } => self.mcu_ready(now, media, control_url, out),
            Event::McuUnavailable { media } => self.mcu_unavailable(now, media),
            Event::McuAnswered { media, response } => self.mcu_answered(now, media, response, out),
            Event::McuUnreachable { media, request_id } => {
                self.mcu_unreachable(now, media, request_id, out);
            }
            Event::McuLost { media } => self.mcu_lost(now, media, out),
            Event::McuNotified { media, document } => self.mcu_notified(now, media, *document, out),
            Event::StoreFailed => self.save_failed(Reason::StoreUnavailable, out),
            Event::RecordGone => self.record_gone(now, out),
            Event::RecordChanged { record } => self.record_changed(now, *record, out),
            Event::EndRequested => self.end(now, Ending::ConferenceEnded, out),
            Event::Unheard => {}
            Event::Broken => self.end(now, Ending::Broken, out),
        }
        self.live_on(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        if self.ended {
            return None;
        }
        let due = [self.changes_deadline(), self.mcus.deadline(), Some(self.end_deadline())];
        let due = due.into_iter().flatten().min()?;
        // What is done on time must not be lost with a Save that fails, so it comes after the answer.
        Some(self.unsaved.as_ref().map_or(due, |unsaved| due.max(unsaved.at + TICK)))
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        self.settle(now);
        if self.mcus.deadline().is_some_and(|at| at <= now) {
            self.mcu_timeout(now, out);
        }
        // What the other timers changed is told at once.
        if self.changes_deadline().is_some_and(|at| at <= now) {
            self.send_changes(now, out);
        }
        if let Some(ending) = self.ending_due(now) {
            self.end(now, ending, out);
        }
    }
}
