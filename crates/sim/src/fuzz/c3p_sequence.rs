//! A Focus under any sequence of what can happen to it. Three bytes are one step: what, to whom,
//! how. Beside not panicking the Focus promises that every question has one answer.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::{
    focus::{Action, CommandId, Event, Focus, InviteId, JoinId, PersonalDocument, Referral, SubscriptionId},
    policy::{Identity, MeetingPolicy},
    record::{ConferenceRecord, Invitee},
};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    cccp::{self, AddUser, Code, Command, ConferenceKeys, ResultBody, UserKeys},
    conference_info::{
        AdmissionPolicy, ConferenceInfo, Endpoint, EndpointStatus, JoiningMethod, Role, User, Users, View,
    },
    mcu_control::MCU_SERVER_URI,
    uri::{ConferenceUri, McuType, UserUri},
    xml::Element,
};

/// Steps taken at most.
const STEPS: usize = 64;
/// The people; the first is the organizer, the second is invited to lead.
const PEOPLE: [&str; 5] = ["ann", "bob", "pat", "eve", "dan"];
/// How many of them may be in at once.
const MOST: usize = 3;
const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
/// When it begins.
const START: Time = Time::from_unix_secs(1_795_232_729);

/// See [`super::C3P_SEQUENCE`].
pub fn c3p_sequence(bytes: &[u8]) {
    let mut stage = Stage::set();
    for step in bytes.chunks_exact(3).take(STEPS) {
        stage.step(step[0], step[1], step[2]);
        if stage.ended {
            return;
        }
    }
}

/// How far a question has come.
#[derive(Debug, PartialEq)]
enum Question {
    Asked,
    Accepted,
}

/// A Focus, and what its shell knows.
struct Stage {
    focus: Focus,
    now: Time,
    last_id: u64,
    /// Whether the next change of the record fails.
    store_fails: bool,
    ended: bool,
    joins: BTreeMap<JoinId, Question>,
    subscriptions: BTreeMap<SubscriptionId, Question>,
    commands: BTreeMap<CommandId, Question>,
    invites: BTreeMap<InviteId, Question>,
    /// INVITEs that were passed on.
    passed: BTreeMap<InviteId, ()>,
    version: u32,
    /// An MCU has been asked for and not been given.
    wanted: bool,
    /// What the MCU has not answered.
    orders: BTreeMap<u32, cccp::Request>,
}

impl Stage {
    fn set() -> Stage {
        let uri = ConferenceUri::parse(CONFERENCE).expect("this is a conference's URI");
        let invitee = Invitee { user: user(1), role: Role::Presenter };
        let record = ConferenceRecord {
            uri,
            version: 1,
            subject: "The harbour".into(),
            description: String::new(),
            expires: START + Duration::from_secs(24 * 3600),
            admission: AdmissionPolicy::OpenAuthenticated,
            conference_key: None,
            locked: false,
            lobby: true,
            participants: vec![invitee],
            media: vec![McuType::Chat],
            notification_data: None,
            organizer_data: None,
            created: START,
            updated: START,
            last_activated: None,
        };
        let policy = MeetingPolicy {
            max_participants: MOST,
            large_meeting: MOST - 1,
            max_conferences_per_organizer: 1,
            allow_anonymous: true,
            lobby: false,
            media: vec![McuType::Chat],
            default_lifetime_s: 3600,
            empty_limit_s: 600,
            idle_limit_s: 24 * 3600,
        };
        Stage {
            focus: Focus::new(record, policy, Entropy::from_seed([7; 32])),
            now: START,
            last_id: 0,
            store_fails: false,
            ended: false,
            joins: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            commands: BTreeMap::new(),
            invites: BTreeMap::new(),
            passed: BTreeMap::new(),
            version: 0,
            wanted: false,
            orders: BTreeMap::new(),
        }
    }

    fn step(&mut self, what: u8, whom: u8, how: u8) {
        match what % 12 {
            0 | 1 => self.join(whom, how),
            2 => {
                if let Some(join) = pick(&self.joins, whom) {
                    self.joins.remove(&join);
                    self.happens(Event::Left { join });
                }
            }
            3 => {
                let subscription = SubscriptionId(self.next_id());
                let view = if how.is_multiple_of(2) { View::Microsoft } else { View::Rfc4575 };
                self.subscriptions.insert(subscription, Question::Asked);
                self.happens(Event::Subscribe { subscription, user: user(whom), view });
            }
            4 => {
                if let Some(subscription) = pick(&self.subscriptions, whom) {
                    if how.is_multiple_of(2) {
                        self.subscriptions.insert(subscription, Question::Asked);
                        self.happens(Event::Refresh { subscription });
                    } else {
                        self.subscriptions.remove(&subscription);
                        self.happens(Event::Unsubscribed { subscription });
                    }
                }
            }
            5 | 6 => self.command(whom, how),
            7 if how.is_multiple_of(4) => {
                let invite = InviteId(self.next_id());
                self.invites.insert(invite, Question::Asked);
                let user = user(whom);
                let display_name = user.user().to_owned();
                let identity = Identity::Enterprise;
                let offered = if how < 200 { vec![McuType::Chat] } else { vec![McuType::AudioVideo] };
                self.happens(Event::JoinMedium { invite, user, identity, display_name, offered });
            }
            7 if how % 4 == 1 => {
                if let Some(invite) = pick(&self.passed, whom) {
                    self.passed.remove(&invite);
                    self.happens(Event::InviteLost { invite });
                }
            }
            7 if how % 4 == 2 => {
                let command = CommandId(self.next_id());
                self.commands.insert(command, Question::Asked);
                let target = user(how / 16);
                let wanted =
                    if how < 128 { Referral::Call { uri: target.to_string() } } else { Referral::Remove };
                self.happens(Event::Referred { command, user: user(whom), target, wanted });
            }
            7 => {
                let invite = InviteId(self.next_id());
                let media = if how < 200 { McuType::Chat } else { McuType::AudioVideo };
                let mcu = self.focus.record().uri.mcu(media);
                self.invites.insert(invite, Question::Asked);
                self.happens(Event::McuInvited { invite, user: user(whom), mcu });
            }
            8 => self.mcu_answers(whom, how),
            9 => self.mcu_notifies(whom, how),
            10 if how == 3 => self.happens(Event::EndRequested),
            10 if how.is_multiple_of(5) => {
                let mut record = self.focus.record().clone();
                record.version += u32::from(whom % 3);
                (record.locked, record.lobby) = (how < 128, whom < 192);
                self.happens(Event::RecordChanged { record: Box::new(record) });
            }
            10 => self.store_fails = how.is_multiple_of(2),
            _ => self.time_passes(Duration::from_millis(u64::from(whom) * u64::from(how))),
        }
    }

    fn join(&mut self, whom: u8, how: u8) {
        let join = JoinId(self.next_id());
        let from = user(whom);
        // Mostly right: now and then for somebody else, with another endpoint or an empty one.
        let whom_added = if how.is_multiple_of(16) { user(whom.wrapping_add(1)) } else { from.clone() };
        let endpoint = if how.is_multiple_of(32) { String::new() } else { format!("{{E{}}}", how % 3) };
        let add = self.add_user(&whom_added, endpoint, None);
        let request = self.request(&from, Command::AddUser(add));
        self.joins.insert(join, Question::Asked);
        let identity = if how == 255 { Identity::Anonymous } else { Identity::Enterprise };
        let display_name = from.user().to_owned();
        self.happens(Event::Join { join, user: from, identity, display_name, request });
    }

    fn add_user(&self, whom: &UserUri, endpoint: String, method: Option<JoiningMethod>) -> AddUser {
        let mut person = User::new(whom.to_string());
        let mut endpoint = Endpoint::new(endpoint);
        endpoint.joining_method = method;
        person.roles = vec![Role::Attendee];
        person.endpoints = vec![endpoint];
        let mcu_uri = method.map(|_| self.focus.record().uri.mcu(McuType::Chat).to_string());
        AddUser { mcu_uri, keys: keys(), user: person }
    }

    fn command(&mut self, whom: u8, how: u8) {
        let Some(join) = pick(&self.joins, whom) else { return };
        let target = user(how / 16);
        let of_target = || UserKeys { entity: CONFERENCE.into(), user: target.to_string() };
        let role = if how < 128 { Role::Presenter } else { Role::Attendee };
        let wanted = match how % 16 {
            0 | 1 => Command::DeleteUser { mcu_uri: None, keys: of_target() },
            2 | 3 => Command::ModifyUserRoles { keys: of_target(), roles: vec![role] },
            4 => Command::ModifyUserRoles { keys: of_target(), roles: Vec::new() },
            5 | 6 => Command::ModifyConferenceLock { keys: keys(), locked: how < 128 },
            7 => {
                let users = vec![target.to_string(), user(whom).to_string()];
                Command::SetLobbyAccess { keys: keys(), users, granted: how < 128 }
            }
            8 => Command::GetConference(keys()),
            9 => Command::DeleteConference(keys()),
            10 => Command::AddUser(self.add_user(&target, "{E9}".into(), Some(JoiningMethod::DialedOut))),
            11 => Command::AddUser(self.add_user(&target, "{E9}".into(), Some(JoiningMethod::DialedIn))),
            12 => Command::GetConferences,
            13 => {
                let mcu_uri = Some(self.focus.record().uri.mcu(McuType::Chat).to_string());
                let info = Box::new(ConferenceInfo::partial(CONFERENCE, 1));
                Command::ModifyConference { mcu_uri, info, whole: None }
            }
            14 => {
                let mcu_uri = Some(self.focus.record().uri.mcu(McuType::Chat).to_string());
                Command::DeleteUser { mcu_uri, keys: of_target() }
            }
            _ => Command::Unknown { name: "teleport".into(), element: Element::new("", "teleport") },
        };
        let command = CommandId(self.next_id());
        // Whoever is behind that dialog; a wrong sender is refused, which is as good.
        let request = self.request(&user(whom / 16), wanted);
        self.commands.insert(command, Question::Asked);
        self.happens(Event::Command { command, join, request });
    }

    fn mcu_answers(&mut self, whom: u8, how: u8) {
        let media = McuType::Chat;
        if self.wanted {
            self.wanted = false;
            return self.happens(match how % 3 {
                0 => Event::McuUnavailable { media },
                _ => Event::McuReady { media, control_url: "http://immcu.inproc/1".into() },
            });
        }
        let Some(request_id) = pick(&self.orders, whom) else { return };
        let request = self.orders[&request_id].clone();
        let response = match how % 5 {
            0 => {
                return self
                    .happens(Event::McuAnswered { media, response: cccp::Response::pending(&request) });
            }
            1 => cccp::Response::failed(&request, "otherFailure"),
            2 => {
                self.orders.remove(&request_id);
                return self.happens(Event::McuUnreachable { media, request_id });
            }
            _ => cccp::Response::new(&request, Code::Success, done(&request)),
        };
        self.orders.remove(&request_id);
        self.happens(Event::McuAnswered { media, response });
    }

    fn mcu_notifies(&mut self, whom: u8, how: u8) {
        let mut person = User::new(user(whom).to_string());
        let mut endpoint = Endpoint::new(format!("{{M{}}}", how % 2));
        endpoint.status = Some(EndpointStatus::Connected);
        person.endpoints = if how < 160 { vec![endpoint] } else { Vec::new() };
        let mut document = ConferenceInfo::partial(CONFERENCE, 1);
        document.users = Some(Users { users: vec![person], ..Users::default() });
        self.happens(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
    }

    fn time_passes(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.focus.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.focus.handle_timeout(self.now, &mut out);
            assert!(self.focus.deadline().is_none_or(|at| at > self.now), "a deadline moves");
            self.perform(out);
        }
        self.now = until;
    }

    fn happens(&mut self, event: Event) {
        let mut out = Vec::new();
        self.now = self.now + Duration::from_millis(1);
        self.focus.handle(self.now, event, &mut out);
        self.perform(out);
        // A database that fails has the last word, and that is in `perform`.
        let open = |questions: usize| assert_eq!(questions, 0, "every question is answered at once");
        open(self.joins.values().filter(|question| **question == Question::Asked).count());
        open(self.subscriptions.values().filter(|question| **question == Question::Asked).count());
        open(self.commands.values().filter(|question| **question == Question::Asked).count());
    }

    /// What the shell does; each answer is to a question that is open.
    fn perform(&mut self, out: Vec<Action>) {
        for action in out {
            assert!(!self.ended, "after the end nothing comes");
            match action {
                Action::Admit { join, .. } => accept(&mut self.joins, join),
                Action::RefuseJoin { join, .. } => close(&mut self.joins, join, &Question::Asked),
                Action::EndJoin { join, .. } => close(&mut self.joins, join, &Question::Accepted),
                Action::AcceptSubscription { subscription, document } => {
                    accept(&mut self.subscriptions, subscription);
                    ConferenceInfo::parse(&document).expect("a document can be read");
                }
                Action::RefuseSubscription { subscription, .. } => {
                    close(&mut self.subscriptions, subscription, &Question::Asked);
                }
                Action::EndSubscription { subscription } => {
                    close(&mut self.subscriptions, subscription, &Question::Accepted);
                }
                Action::Notify { subscriptions, document, version } => {
                    assert!(version >= self.version, "versions never go back");
                    self.version = version;
                    ConferenceInfo::parse(&document).expect("a document can be read");
                    let known = |of| self.subscriptions.get(of) == Some(&Question::Accepted);
                    assert!(subscriptions.iter().all(known), "only subscribers are told");
                }
                Action::NotifyEach { documents, version } => {
                    assert!(version >= self.version, "versions never go back");
                    self.version = version;
                    for PersonalDocument { subscriptions, document } in documents {
                        ConferenceInfo::parse(&document).expect("a document can be read");
                        let known = |of| self.subscriptions.get(of) == Some(&Question::Accepted);
                        assert!(subscriptions.iter().all(known), "only subscribers are told");
                    }
                }
                Action::AcceptCommand { command, .. } => accept(&mut self.commands, command),
                Action::RefuseCommand { command, .. } => close(&mut self.commands, command, &Question::Asked),
                Action::FinishCommand { command, .. } => {
                    close(&mut self.commands, command, &Question::Accepted);
                }
                Action::ForwardInvite { invite, .. } => {
                    close(&mut self.invites, invite, &Question::Asked);
                    self.passed.insert(invite, ());
                }
                Action::RefuseInvite { invite, .. } => close(&mut self.invites, invite, &Question::Asked),
                Action::InviteOver { invite } => drop(self.passed.remove(&invite)),
                Action::RequestMcu { .. } => {
                    assert!(!std::mem::replace(&mut self.wanted, true), "one MCU is asked for at a time");
                }
                Action::CommandMcu { request, .. } | Action::EndMcu { request, .. } => {
                    let known = self.orders.insert(request.request_id, request);
                    assert!(known.is_none(), "an MCU tells its commands apart");
                }
                Action::Save { .. } if std::mem::take(&mut self.store_fails) => {
                    let mut out = Vec::new();
                    self.focus.handle(self.now, Event::StoreFailed, &mut out);
                    // What followed the change was never done.
                    return self.perform(out);
                }
                Action::Save { .. }
                | Action::SaveCalls { .. }
                | Action::CountPeople { .. }
                | Action::ExpectEnd { .. }
                | Action::MoveMcu { .. } => {}
                Action::End => {
                    self.ended = true;
                    assert_eq!(self.invites.len(), 0, "nobody is left waiting at the end");
                }
            }
        }
    }

    fn request(&self, from: &UserUri, command: Command) -> cccp::Request {
        cccp::Request::new(1, from.to_string(), CONFERENCE, command)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn user(number: u8) -> UserUri {
    let name = PEOPLE[usize::from(number) % PEOPLE.len()];
    UserUri::parse(&format!("sip:{name}@example.test")).expect("a name makes an address")
}

fn keys() -> ConferenceKeys {
    ConferenceKeys { entity: Some(CONFERENCE.into()), conference_id: None }
}

/// What an MCU says when it has done what it was told.
fn done(request: &cccp::Request) -> ResultBody {
    match request.commands.first() {
        Some(Command::AddUser(add)) => ResultBody::AddUser {
            keys: add.keys.clone(),
            user: Box::new(add.user.clone()),
            connection_info: vec![(MCU_SERVER_URI.into(), "sip:immcu.inproc;transport=tcp".into())],
        },
        _ => ResultBody::Empty,
    }
}

fn pick<K: Copy + Ord, V>(all: &BTreeMap<K, V>, which: u8) -> Option<K> {
    all.keys().nth(usize::from(which) % all.len().max(1)).copied()
}

fn accept<K: Ord + std::fmt::Debug>(questions: &mut BTreeMap<K, Question>, key: K) {
    let before = questions.get_mut(&key).unwrap_or_else(|| panic!("{key:?} was asked"));
    assert_eq!(*before, Question::Asked, "{key:?} is answered once");
    *before = Question::Accepted;
}

fn close<K: Ord + std::fmt::Debug>(questions: &mut BTreeMap<K, Question>, key: K, expected: &Question) {
    let before = questions.remove(&key);
    assert_eq!(before.as_ref(), Some(expected), "{key:?} is over once");
}
