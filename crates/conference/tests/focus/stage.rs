//! The stage: a Focus, driven as the server drives it, with everything around it played by hand.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::{
    focus::{Action, CommandId, Event, Focus, InviteId, JoinId, PersonalDocument, SubscriptionId},
    policy::{Identity, MeetingPolicy},
    record::{ConferenceRecord, Invitee},
};
use confab_machine::{Entropy, Machine, Time, Traced};
use confab_schema::{
    cccp::{AddUser, Command, ConferenceKeys, Request, UserKeys},
    conference_info::{
        AdmissionPolicy, ConferenceInfo, Endpoint, EndpointStatus, JoiningMethod, Role, State, User, Users,
        View,
    },
    uri::{ConferenceUri, McuType, UserUri},
};

use crate::watcher::Watcher;

pub const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
pub const CHAT: &str = "sip:ann@example.test;gruu;opaque=app:conf:chat:id:3E1C92F04C68";
pub const CONTROL_URL: &str = "http://immcu.inproc/LiveServer/IMMCU/1";

/// Whether the database takes records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Takes,
    Fails,
    /// The record was deleted.
    IsEmpty,
}

pub struct Stage {
    pub focus: Focus,
    pub now: Time,
    pub database: Database,
    /// What the database holds. It is older than what the Focus has only while that is being saved.
    pub stored: ConferenceRecord,
    /// What each subscriber knows.
    pub watchers: BTreeMap<SubscriptionId, Watcher>,
    /// What was done since the last look, in order.
    pub done: Vec<Action>,
    last_id: u64,
}

impl Stage {
    /// Ann's conference: open, with chat; Bob is listed as attendee, Pat as presenter.
    pub fn new() -> Stage {
        Stage::with(|_, _| {})
    }

    /// The same with something changed.
    pub fn with(change: impl FnOnce(&mut ConferenceRecord, &mut MeetingPolicy)) -> Stage {
        let (mut record, mut policy) = (record(), policy());
        change(&mut record, &mut policy);
        Stage {
            focus: Focus::new(record.clone(), policy, Entropy::from_seed([1; 32])),
            now: Time::from_unix_secs(1_000_000),
            database: Database::Takes,
            stored: record,
            watchers: BTreeMap::new(),
            done: Vec::new(),
            last_id: 0,
        }
    }

    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The Focus hears one event and all that is due at once is done, as the server's loop does it:
    /// a record that cannot be saved takes with it whatever was to follow.
    pub fn hear(&mut self, event: Event) {
        let mut out = Vec::new();
        event.flow_note();
        self.focus.handle(self.now, event, &mut out);
        self.be_on_time(&mut out);
        self.perform(out);
        // No time passes before the next event, but for what the next moment brings.
        self.now = self.now + Duration::from_micros(1);
        let mut out = Vec::new();
        self.be_on_time(&mut out);
        self.perform(out);
    }

    fn be_on_time(&mut self, out: &mut Vec<Action>) {
        if self.focus.deadline().is_some_and(|at| at <= self.now) {
            self.focus.handle_timeout(self.now, out);
            assert!(self.focus.deadline().is_none_or(|at| at > self.now), "the deadline must move");
        }
    }

    fn perform(&mut self, out: Vec<Action>) {
        let mut conflict = false;
        for action in out {
            action.flow_note();
            match &action {
                Action::Save { .. } if self.database != Database::Takes => {
                    let mut out = Vec::new();
                    let fails = self.database == Database::Fails;
                    let event = if fails { Event::StoreFailed } else { Event::RecordGone };
                    self.focus.handle(self.now, event, &mut out);
                    return self.perform(out);
                }
                Action::Save { record, .. } if record.version == self.stored.version + 1 => {
                    self.stored = ConferenceRecord::clone(record);
                }
                // The optimistic lock: the same change is made to what the database has.
                Action::Save { change, .. } => {
                    self.stored = self.stored.changed(*change);
                    conflict = true;
                }
                Action::AcceptSubscription { subscription, document } => {
                    let document = ConferenceInfo::parse(document).unwrap();
                    self.watchers.entry(*subscription).or_default().accepted(document);
                }
                Action::Notify { subscriptions, document, version } => {
                    let document = ConferenceInfo::parse(document).unwrap();
                    assert_eq!(document.version, *version);
                    for subscription in subscriptions {
                        self.watchers.get_mut(subscription).unwrap().notified(document.clone());
                    }
                }
                Action::NotifyEach { documents, version } => {
                    for PersonalDocument { subscriptions, document } in documents {
                        let document = ConferenceInfo::parse(document).unwrap();
                        assert_eq!(document.version, *version);
                        for subscription in subscriptions {
                            self.watchers.get_mut(subscription).unwrap().notified(document.clone());
                        }
                    }
                }
                Action::EndSubscription { subscription } => {
                    self.watchers.remove(subscription).expect("a subscription ends once");
                }
                _ => {}
            }
            self.done.push(action);
        }
        if conflict {
            self.told_record();
        }
    }

    /// The Focus is told what the database has.
    pub fn told_record(&mut self) {
        let mut out = Vec::new();
        let record = Box::new(self.stored.clone());
        self.focus.handle(self.now, Event::RecordChanged { record }, &mut out);
        self.perform(out);
    }

    /// The organizer changes the record at the Focus Factory.
    pub fn organizer_changes(&mut self, change: impl FnOnce(&mut ConferenceRecord)) {
        change(&mut self.stored);
        self.stored.version += 1;
        self.stored.updated = self.now;
    }

    /// Time passes; whatever is due in it is done.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.focus.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.be_on_time(&mut out);
            self.perform(out);
        }
        self.now = until;
    }

    /// All subscribers have been told everything.
    pub fn settle(&mut self) {
        self.wait(Duration::from_millis(200));
    }

    /// What was done since the last look.
    pub fn look(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.done)
    }

    /// Somebody joins with an endpoint named after him.
    pub fn join(&mut self, who: &str) -> JoinId {
        self.join_with(who, &format!("{{{who}}}"))
    }

    pub fn join_with(&mut self, who: &str, endpoint: &str) -> JoinId {
        let join = JoinId(self.next_id());
        self.ask_to_join(join, who, Identity::Enterprise, add_user(who, None, endpoint, None));
        join
    }

    pub fn ask_to_join(&mut self, join: JoinId, who: &str, identity: Identity, command: Command) {
        let request = self.request(who, command);
        let display_name = who.to_uppercase();
        self.hear(Event::Join { join, user: user(who), identity, display_name, request });
    }

    pub fn leave(&mut self, join: JoinId) {
        self.hear(Event::Left { join });
    }

    pub fn subscribe(&mut self, who: &str) -> SubscriptionId {
        self.subscribe_for(who, View::Microsoft)
    }

    pub fn subscribe_for(&mut self, who: &str, view: View) -> SubscriptionId {
        let subscription = SubscriptionId(self.next_id());
        self.hear(Event::Subscribe { subscription, user: user(who), view });
        subscription
    }

    /// What somebody knows who subscribes now.
    pub fn full_document(&mut self, who: &str) -> ConferenceInfo {
        let done = self.look();
        let subscription = self.subscribe(who);
        let watcher = self.watchers.remove(&subscription).expect("he may subscribe");
        self.hear(Event::Unsubscribed { subscription });
        self.done = done;
        watcher.known
    }

    /// Somebody commands something in his dialog.
    pub fn command(&mut self, join: JoinId, who: &str, command: Command) -> CommandId {
        let request = self.request(who, command);
        self.command_with(join, request)
    }

    pub fn command_with(&mut self, join: JoinId, request: Request) -> CommandId {
        let command = CommandId(self.next_id());
        self.hear(Event::Command { command, join, request });
        command
    }

    pub fn request(&mut self, who: &str, command: Command) -> Request {
        let id = u32::try_from(self.next_id()).unwrap();
        Request::new(id, user(who).to_string(), CONFERENCE, command)
    }

    /// The conferencing server for chat is provisioned.
    pub fn mcu_ready(&mut self) {
        self.hear(Event::McuReady { media: McuType::Chat, control_url: CONTROL_URL.into() });
    }

    /// Somebody sends INVITE to the chat server.
    pub fn invite(&mut self, who: &str) -> InviteId {
        let invite = InviteId(self.next_id());
        let mcu = uri().mcu(McuType::Chat);
        self.hear(Event::McuInvited { invite, user: user(who), mcu });
        invite
    }

    /// The chat server tells who is on it: each with the status of his one endpoint, or gone.
    pub fn mcu_tells(&mut self, people: &[(&str, Option<EndpointStatus>)]) {
        let users = people.iter().map(|(who, status)| {
            let Some(status) = status else { return User::deleted(user(who).to_string()) };
            let mut leg = Endpoint::new(format!("{{chat {who}}}"));
            leg.session_type = Some("chat".into());
            leg.status = Some(*status);
            User { endpoints: vec![leg], ..User::new(user(who).to_string()) }
        });
        let mut document = ConferenceInfo::partial(CONFERENCE, 1);
        document.users = Some(Users { state: State::Partial, users: users.collect() });
        self.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
    }
}

pub fn user(who: &str) -> UserUri {
    UserUri::parse(&format!("sip:{who}@example.test")).unwrap()
}

pub fn uri() -> ConferenceUri {
    ConferenceUri::parse(CONFERENCE).unwrap()
}

pub fn keys() -> ConferenceKeys {
    ConferenceKeys::of(CONFERENCE)
}

pub fn user_keys(who: &str) -> UserKeys {
    UserKeys { entity: CONFERENCE.into(), user: user(who).to_string() }
}

/// `addUser`, to the Focus or to a conferencing server.
pub fn add_user(who: &str, mcu: Option<&str>, endpoint: &str, joining: Option<JoiningMethod>) -> Command {
    let endpoint = Endpoint { joining_method: joining, ..Endpoint::new(endpoint) };
    let user =
        User { roles: vec![Role::Attendee], endpoints: vec![endpoint], ..User::new(user(who).to_string()) };
    Command::AddUser(AddUser { mcu_uri: mcu.map(str::to_owned), keys: keys(), user })
}

/// A call by the chat server.
pub fn call(who: &str) -> Command {
    add_user(who, Some(CHAT), "{phone}", Some(JoiningMethod::DialedOut))
}

pub fn eject(who: &str) -> Command {
    Command::DeleteUser { mcu_uri: None, keys: user_keys(who) }
}

pub fn give_role(who: &str, role: Role) -> Command {
    Command::ModifyUserRoles { keys: user_keys(who), roles: vec![role] }
}

/// Lets these people in who wait, or sends them away.
pub fn let_in(who: &[&str], granted: bool) -> Command {
    let users = who.iter().map(|who| user(who).to_string()).collect();
    Command::SetLobbyAccess { keys: keys(), users, granted }
}

pub fn lock(locked: bool) -> Command {
    Command::ModifyConferenceLock { keys: keys(), locked }
}

fn policy() -> MeetingPolicy {
    MeetingPolicy {
        max_participants: 10,
        large_meeting: 500,
        max_conferences_per_organizer: 10,
        allow_anonymous: true,
        lobby: false,
        media: vec![McuType::Chat],
        default_lifetime_s: 3600,
        empty_limit_s: 600,
        idle_limit_s: 24 * 3600,
    }
}

fn record() -> ConferenceRecord {
    let listed = |who, role| Invitee { user: user(who), role };
    ConferenceRecord {
        uri: uri(),
        version: 1,
        subject: "Plans".into(),
        description: "What to do".into(),
        expires: Time::from_unix_secs(2_000_000),
        admission: AdmissionPolicy::OpenAuthenticated,
        conference_key: None,
        locked: false,
        lobby: false,
        participants: vec![listed("bob", Role::Attendee), listed("pat", Role::Presenter)],
        media: vec![McuType::Chat],
        notification_data: None,
        organizer_data: None,
        created: Time::from_unix_secs(900_000),
        updated: Time::from_unix_secs(900_000),
        last_activated: None,
    }
}
