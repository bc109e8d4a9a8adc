//! A person with our own client: what he does, and what he then sees.

use std::{collections::BTreeMap, time::Duration};

use confab_client::{
    Command, Ending, NewConference, Observation, Outcome, Participant, Refusal, RosterChange, Undertaking,
};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_server::client_host::RunningClient;
use confab_sip::Flow;
use tokio::time::timeout;

/// How long anything may take, in virtual time; more than any of SIP's timers.
const PATIENCE: Duration = Duration::from_secs(120);

/// A person at a client. A verb that is not done within two virtual minutes panics and says what
/// was seen instead.
pub struct Person {
    /// The address.
    pub user: UserUri,
    /// What the server calls the connection, if it is no socket.
    pub(crate) flow: Option<Flow>,
    client: RunningClient,
    /// What was seen and nobody has asked for yet, in order.
    unread: Vec<Observation>,
    picture: Picture,
}

/// A conference as one person sees it.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Who is in it.
    pub people: BTreeMap<UserUri, Participant>,
    /// How many people are in, if not all of them are named.
    pub head_count: Option<usize>,
    /// Whether nobody else gets in.
    pub locked: bool,
    /// The version of the last document.
    pub version: u32,
}

impl Picture {
    /// The names of those who are in it, each with the role.
    pub fn roles(&self) -> Vec<(&str, Role)> {
        self.people.values().map(|person| (person.user.user(), person.role)).collect()
    }

    /// The names of those whom the IM MCU has.
    pub fn on_chat(&self) -> Vec<&str> {
        let on_chat = self.people.values().filter(|person| person.is_on(McuType::Chat));
        on_chat.map(|person| person.user.user()).collect()
    }

    /// The names of those whom the A/V MCU has.
    pub fn on_phones(&self) -> Vec<&str> {
        let on_phones = self.people.values().filter(|person| person.is_on(McuType::AudioVideo));
        on_phones.map(|person| person.user.user()).collect()
    }

    pub(crate) fn apply(&mut self, version: u32, changes: &[RosterChange]) {
        self.version = version;
        for change in changes {
            match change {
                RosterChange::Snapshot(roster) => {
                    let people = roster.participants().map(|person| (person.user.clone(), person.clone()));
                    self.people = people.collect();
                    self.locked = roster.locked();
                    self.head_count = roster.head_count();
                }
                RosterChange::Changed(person) => {
                    self.people.insert(person.user.clone(), person.clone());
                }
                RosterChange::Left { user } => drop(self.people.remove(user)),
                RosterChange::Locked { locked } => self.locked = *locked,
                RosterChange::Count { people } => self.head_count = Some(*people),
                RosterChange::Subject { .. } => {}
            }
        }
    }
}

impl Person {
    pub(crate) fn new(user: UserUri, client: RunningClient, flow: Option<Flow>) -> Person {
        Person { user, flow, client, unread: Vec::new(), picture: Picture::default() }
    }

    /// Has the client do something.
    pub async fn wants(&mut self, command: Command) {
        self.client.command(command).await.expect("the client runs as long as its person");
    }

    /// Waits for the first thing, not asked for before, of which `wanted` makes something. What
    /// else was seen is kept.
    pub async fn sees<T>(&mut self, what: &str, mut wanted: impl FnMut(&Observation) -> Option<T>) -> T {
        for index in 0.. {
            if index == self.unread.len() {
                self.watch(what).await;
            }
            if let Some(found) = wanted(&self.unread[index]) {
                self.unread.remove(index);
                return found;
            }
        }
        unreachable!("the loop ends only by returning")
    }

    /// Waits until the conference looks as `wanted` says.
    pub async fn sees_that(&mut self, what: &str, mut wanted: impl FnMut(&Picture) -> bool) {
        while !wanted(&self.picture) {
            self.watch(what).await;
        }
    }

    /// Lets virtual time pass, and takes notice of what happens meanwhile.
    pub async fn waits(&mut self, time: Duration) {
        let all = async {
            while let Some(observation) = self.client.observe().await {
                self.notice(observation);
            }
        };
        // There is always more time to come.
        let _ = timeout(time, all).await;
    }

    /// The conference as this person sees it.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    async fn watch(&mut self, what: &str) {
        let name = self.user.user();
        let observed = timeout(PATIENCE, self.client.observe()).await;
        let observation = observed
            .unwrap_or_else(|_| panic!("{name} does not see {what} but {:#?}", self.unread))
            .unwrap_or_else(|| panic!("{name}'s client has ended before {what}"));
        self.notice(observation);
    }

    fn notice(&mut self, observation: Observation) {
        match &observation {
            Observation::Roster { version, changes } => self.picture.apply(*version, changes),
            Observation::Ended { .. } => self.picture = Picture::default(),
            _ => {}
        }
        self.unread.push(observation);
    }

    /// Signs on.
    pub async fn signs_on(&mut self) {
        self.wants(Command::Register).await;
        self.sees("signing on", |seen| matches!(seen, Observation::Registered { .. }).then_some(())).await;
    }

    /// Schedules a conference with chat that everybody who signed on may join.
    pub async fn schedules(&mut self, subject: &str, invitees: Vec<(UserUri, Role)>) -> ConferenceUri {
        self.schedules_this(new_conference(subject, invitees)).await
    }

    /// Schedules a conference.
    pub async fn schedules_this(&mut self, conference: NewConference) -> ConferenceUri {
        self.wants(Command::Create(conference)).await;
        self.sees("the new conference", |seen| match seen {
            Observation::Created { conference } => Some(conference.clone()),
            _ => None,
        })
        .await
    }

    /// Joins, and enters the chat.
    pub async fn joins(&mut self, conference: &ConferenceUri) -> Role {
        self.wants(Command::Join { conference: conference.clone() }).await;
        let role = self
            .sees("being let in", |seen| match seen {
                Observation::Joined { role, .. } => Some(*role),
                _ => None,
            })
            .await;
        self.sees("the chat", |seen| matches!(seen, Observation::ChatOpened).then_some(())).await;
        role
    }

    /// Waits for the refusal of `undertaking`.
    pub async fn is_refused(&mut self, undertaking: Undertaking) -> Refusal {
        self.sees("a refusal", |seen| match seen {
            Observation::Refused { what, refusal } if *what == undertaking => Some(refusal.clone()),
            _ => None,
        })
        .await
    }

    /// Says something to everybody.
    pub async fn says(&mut self, text: &str) {
        self.wants(Command::Say { text: text.into() }).await;
    }

    /// Waits for the next message; who said it, and what.
    pub async fn hears(&mut self) -> (String, String) {
        self.sees("a message", |seen| match seen {
            Observation::MessageReceived { from, text, .. } => {
                let from = from.as_ref().map(|user| user.user().to_owned()).unwrap_or_default();
                Some((from, text.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Sends a command to the Focus and waits for its outcome.
    pub async fn commands(&mut self, wanted: Command) -> Outcome {
        self.wants(wanted.clone()).await;
        self.sees("the outcome of a command", |seen| match seen {
            Observation::CommandDone { command, outcome } if *command == wanted => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until the conference is over for this person; why.
    pub async fn is_out(&mut self) -> Ending {
        self.sees("the end", |seen| match seen {
            Observation::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
        .await
    }

    /// Leaves.
    pub async fn leaves(&mut self) {
        self.wants(Command::Leave).await;
        let ending = self.is_out().await;
        assert_eq!(ending, Ending::Left, "who leaves has left");
    }

    /// What was seen and not asked for.
    pub fn unread(&self) -> &[Observation] {
        &self.unread
    }
}

fn new_conference(subject: &str, invitees: Vec<(UserUri, Role)>) -> NewConference {
    NewConference {
        subject: subject.into(),
        invitees,
        media: vec![McuType::Chat],
        admission: AdmissionPolicy::OpenAuthenticated,
        expires: None,
    }
}
