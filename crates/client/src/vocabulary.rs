//! What a client is told, what it wants done, and what it lets its owner know. Commands and
//! observations are plain values that serialize, so a web gateway passes them on as they are.

use std::{fmt, net::SocketAddr};

use confab_machine::Time;
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::{Flow, Message};
use serde::{Deserialize, Serialize};

use crate::{refusal::Refusal, roster::RosterChange};

/// Who the client is, and how it shows itself.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The person's address: a made-up one at `anonymous.invalid` for somebody who does not sign on.
    pub user: UserUri,
    /// What others are shown; may be empty.
    pub display_name: String,
    /// Answers Digest challenges, or is the conference's key for somebody who does not sign on; without it a challenged request is refused.
    pub password: Option<Secret>,
    /// Our end of the connection, for Via and for the Contact of REGISTER. The server answers
    /// over the connection whatever it says.
    pub local: SocketAddr,
    /// Names this program of this person in From and To; at most 16 characters.
    pub epid: String,
    /// The UUID of this program, without `urn:uuid:`.
    pub instance: String,
}

/// A password or a conference key. It does not show itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The password in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(password: String) -> Secret {
        Secret(password)
    }
}

impl From<&str> for Secret {
    fn from(password: &str) -> Secret {
        Secret(password.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What happens to a client.
#[derive(Clone, Debug)]
pub enum Event {
    /// The server is reached: everything goes over this flow from now on.
    Connected {
        /// The way to the server.
        flow: Flow,
    },
    /// A message came.
    Received {
        /// On which flow; answers go back there.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// The flow is gone, and with it the registration and the conference.
    FlowClosed {
        /// Which one.
        flow: Flow,
    },
    /// The person wants something.
    Command(Command),
}

impl From<Command> for Event {
    fn from(command: Command) -> Event {
        Event::Command(command)
    }
}

/// What the person wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Sign on. The registration is kept fresh until [`Command::Unregister`].
    Register,
    /// Sign off.
    Unregister,
    /// Ask the Focus Factory which media conferences can have.
    GetCapabilities,
    /// Step 1: have a conference scheduled.
    Create(NewConference),
    /// Have the record of one's own conference deleted.
    DeleteConference {
        /// Which one.
        conference: ConferenceUri,
    },
    /// Read the record of one's own conference.
    GetConference {
        /// Which one.
        conference: ConferenceUri,
    },
    /// List one's own conferences.
    ListConferences,
    /// Change the record of one's own conference.
    ModifyConference {
        /// Which one.
        conference: ConferenceUri,
        /// The version of the record that was read last; if it has another by now, nothing is changed.
        version: u32,
        /// What.
        change: ConferenceChange,
    },
    /// Step 3: join. One conference at a time.
    Join {
        /// Which one.
        conference: ConferenceUri,
    },
    /// Step 8: send a message to everybody.
    Say {
        /// Plain text.
        text: String,
    },
    /// Show the others that one is typing, or is no more.
    Typing {
        /// Whether one is.
        active: bool,
    },
    /// Ask somebody to come into the conference.
    Invite {
        /// Whom.
        user: UserUri,
    },
    /// Answer an invitation ([`Observation::Invited`]). Joining is a command of its own.
    AnswerInvitation {
        /// Which one.
        id: u64,
        /// Whether one will come.
        accept: bool,
    },
    /// Step 7: let nobody else in, or let them in again.
    Lock {
        /// Whether nobody else gets in.
        locked: bool,
    },
    /// Step 7: make somebody a leader.
    Promote {
        /// Whom.
        user: UserUri,
    },
    /// Step 7: make a leader an attendee.
    Demote {
        /// Whom.
        user: UserUri,
    },
    /// Step 7: remove somebody.
    Eject {
        /// Whom.
        user: UserUri,
    },
    /// Step 7: have somebody's voice kept out of the conference, by whatever phone he is in, or heard again.
    Mute {
        /// Whose.
        user: UserUri,
        /// Whether it is kept out.
        muted: bool,
    },
    /// Step 7: let somebody in who waits in the lobby, or send him away.
    SetLobbyAccess {
        /// Whom.
        user: UserUri,
        /// Whether he comes in.
        granted: bool,
    },
    /// Step 7: end the meeting for everybody.
    End,
    /// Leave.
    Leave,
}

/// The conference that [`Command::Create`] asks for. Its ID is drawn by the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewConference {
    /// May be empty.
    pub subject: String,
    /// Who is invited, and as what; the organizer leads anyway.
    pub invitees: Vec<(UserUri, Role)>,
    /// The media; the server must have each.
    pub media: Vec<McuType>,
    /// Who may come in.
    pub admission: AdmissionPolicy,
    /// When the record may be deleted; the server decides if `None`.
    pub expires: Option<Time>,
}

/// What [`Command::ModifyConference`] changes; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConferenceChange {
    /// What it is about.
    pub subject: Option<String>,
    /// Who may come in.
    pub admission: Option<AdmissionPolicy>,
    /// What people must know who do not sign on.
    pub key: Option<Secret>,
    /// Who is invited, and as what: the whole list.
    pub invitees: Option<Vec<(UserUri, Role)>>,
    /// When the record may be deleted.
    pub expires: Option<Time>,
}

/// What a client wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message.
    Transmit {
        /// On which flow.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Send an empty line twice (CR LF CR LF) so that the connection stays open.
    KeepAlive {
        /// On which flow.
        flow: Flow,
    },
    /// Tell the owner.
    Observe(Observation),
}

/// What the client lets its owner know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Observation {
    /// Signed on; said once per sign-on, not at each refresh.
    Registered {
        /// For how many seconds, unless refreshed.
        expires: u32,
    },
    /// No longer signed on.
    SignedOff {
        /// Why.
        reason: SignOff,
    },
    /// Something the person wanted is not to be.
    Refused {
        /// What.
        what: Undertaking,
        /// By whom and why.
        refusal: Refusal,
    },
    /// What conferences can have here.
    Capabilities {
        /// Rises when the answer changes.
        version: u32,
        /// The media.
        media: Vec<McuType>,
    },
    /// Step 2: the conference is scheduled.
    Created {
        /// Its address.
        conference: ConferenceUri,
    },
    /// The record asked for by [`Command::GetConference`].
    Conference(Box<ConferenceSummary>),
    /// What [`Command::ListConferences`] asked for: no more of each than a list tells.
    Conferences(Vec<ConferenceSummary>),
    /// The record was changed.
    Modified {
        /// Which one.
        conference: ConferenceUri,
        /// Its version now.
        version: u32,
    },
    /// Step 4: let in. The roster follows.
    Joined {
        /// Where.
        conference: ConferenceUri,
        /// As what.
        role: Role,
    },
    /// Step 7: what changed in the conference.
    Roster {
        /// Of the document that said so.
        version: u32,
        /// In order.
        changes: Vec<RosterChange>,
    },
    /// Step 8: messages can be sent.
    ChatOpened,
    /// Messages can no longer be sent, though the conference goes on.
    ChatClosed,
    /// The IM conferencing server took a message of ours.
    MessageAccepted {
        /// Its name for it; [`Observation::MessageDelivered`] and
        /// [`Observation::MessageUndelivered`] say it again.
        message_id: Option<u32>,
        /// What we said.
        text: String,
    },
    /// Somebody said something.
    MessageReceived {
        /// Who; `None` if the server did not tell.
        from: Option<UserUri>,
        /// What.
        text: String,
        /// How `text` is written.
        format: TextFormat,
        /// The server's name for it.
        message_id: Option<u32>,
    },
    /// A message reached everybody.
    MessageDelivered {
        /// Which one.
        message_id: u32,
    },
    /// A message did not reach some.
    MessageUndelivered {
        /// Which one.
        message_id: u32,
        /// Whom, each with the SIP status of the attempt, if it was said.
        recipients: Vec<(String, Option<u16>)>,
    },
    /// Somebody is typing, or is no more.
    Typing {
        /// Who; `None` if the server did not tell.
        from: Option<UserUri>,
        /// Whether he is.
        active: bool,
    },
    /// Somebody asks us into a conference. Answer with [`Command::AnswerInvitation`].
    Invited {
        /// Our name for the invitation.
        id: u64,
        /// Who asks.
        from: UserUri,
        /// Where.
        conference: ConferenceUri,
        /// What it is about; may be empty.
        subject: String,
    },
    /// An invitation is no longer open.
    InvitationWithdrawn {
        /// Which one.
        id: u64,
    },
    /// Somebody we invited has answered.
    InvitationAnswered {
        /// Who.
        user: UserUri,
        /// What.
        answer: InvitationAnswer,
    },
    /// Step 7: a command is through. For [`Command::Lock`], [`Command::Promote`],
    /// [`Command::Demote`], [`Command::Eject`], [`Command::Mute`],
    /// [`Command::SetLobbyAccess`], [`Command::End`] and
    /// [`Command::DeleteConference`]. What it changed is told by the roster.
    CommandDone {
        /// Which one.
        command: Command,
        /// How it ended.
        outcome: Outcome,
    },
    /// We are no longer in the conference.
    Ended {
        /// Which one.
        conference: ConferenceUri,
        /// Why.
        reason: Ending,
    },
}

/// The record of a conference, as its organizer sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConferenceSummary {
    /// Its address.
    pub conference: ConferenceUri,
    /// Raised by each change.
    pub version: u32,
    /// What it is about; may be empty.
    pub subject: String,
    /// Who may come in.
    pub admission: Option<AdmissionPolicy>,
    /// What people must know who do not sign on.
    pub key: Option<Secret>,
    /// Whether it is going on, if it was said.
    pub is_active: Option<bool>,
    /// When the record may be deleted.
    pub expires: Option<Time>,
    /// Who is invited, and as what.
    pub invitees: Vec<(UserUri, Role)>,
    /// The media.
    pub media: Vec<McuType>,
}

/// What can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Undertaking {
    /// To sign on.
    Register,
    /// To learn the capabilities.
    GetCapabilities,
    /// To schedule a conference.
    Create,
    /// To read a conference's record.
    GetConference,
    /// To list one's conferences.
    ListConferences,
    /// To change a conference's record.
    ModifyConference,
    /// To join.
    Join,
    /// To follow the roster of the conference one has joined.
    Subscribe,
    /// To enter the conference's chat.
    Chat,
    /// To send a message.
    Say,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was carried out.
    Success,
    /// It was not.
    Refused(Refusal),
}

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextFormat {
    /// As it is read.
    Plain,
    /// With HTML tags; show it only after cleaning it.
    Html,
}

/// What somebody invited has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InvitationAnswer {
    /// He will join by himself.
    Accepted,
    /// He will not.
    Declined,
    /// His program does not understand such invitations.
    NotSupported,
    /// He was not reached.
    Failed(Refusal),
}

/// Why we are no longer in a conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// A leader removed us.
    Ejected,
    /// The meeting was ended.
    ConferenceEnded,
    /// We left.
    Left,
    /// The connection or the Focus was lost.
    Lost,
}

/// Why we are no longer signed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignOff {
    /// We signed off.
    Requested,
    /// The registrar removed us, for we signed on elsewhere.
    Elsewhere,
    /// The registrar no longer lets this person sign on.
    Disabled,
    /// The person belongs to another server now.
    Moved,
    /// The registration could not be kept fresh.
    Expired,
    /// The connection was lost.
    Disconnected,
}
