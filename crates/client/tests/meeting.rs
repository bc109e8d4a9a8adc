//! A whole meeting: three clients and a server of a few lines, over bytes.

#![expect(clippy::unwrap_used, reason = "a meeting that cannot go on has failed")]

#[path = "meeting/server.rs"]
mod server;

use std::{collections::VecDeque, time::Duration};

use confab_client::{
    Action, Client, ClientConfig, Command, Ending, Event, InvitationAnswer, NewConference, Observation,
    Outcome, RosterChange, Undertaking,
};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::{Flow, Message, Transport};
use server::Server;

struct Meeting {
    server: Server,
    clients: Vec<Client>,
    said: Vec<Vec<Observation>>,
    /// What is on its way: to the server (`Err`), or to a client (`Ok`).
    wires: VecDeque<(usize, Result<Message, Message>)>,
    now: Time,
}

const VIVIAN: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@example.test")).unwrap()
}

fn flow(client: usize) -> Flow {
    Flow { id: client as u64, transport: Transport::Tcp }
}

impl Meeting {
    fn of(names: &[&str]) -> Meeting {
        let client = |(index, name): (usize, &&str)| {
            let config = ClientConfig {
                user: user(name),
                display_name: (*name).to_owned(),
                password: Some(format!("{name}'s password").into()),
                local: format!("192.0.2.{}:5060", index + 1).parse().unwrap(),
                epid: format!("epid{index}"),
                instance: format!("00000000-0000-5000-8000-00000000000{index}"),
            };
            Client::new(config, Entropy::from_seed([index as u8; 32]))
        };
        let mut meeting = Meeting {
            server: Server::new(names),
            clients: names.iter().enumerate().map(client).collect(),
            said: vec![Vec::new(); names.len()],
            wires: VecDeque::new(),
            now: Time::from_unix_secs(1_000_000),
        };
        for index in 0..names.len() {
            meeting.event(index, Event::Connected { flow: flow(index) });
            meeting.wants(index, Command::Register);
            assert!(matches!(meeting.said(index).as_slice(), [Observation::Registered { .. }]));
        }
        meeting
    }

    fn event(&mut self, index: usize, event: Event) {
        let mut out = Vec::new();
        self.clients[index].handle(self.now, event, &mut out);
        for action in out {
            match action {
                Action::Transmit { message, .. } => self.wires.push_back((index, Err(message))),
                Action::Observe(observation) => self.said[index].push(observation),
                Action::KeepAlive { .. } => {}
            }
        }
    }

    /// A person wants something; everything that follows from it happens.
    fn wants(&mut self, index: usize, command: Command) {
        self.event(index, Event::Command(command));
        while let Some((index, message)) = self.wires.pop_front() {
            self.now = self.now + Duration::from_millis(1);
            match message {
                Ok(message) => {
                    let message = Message::parse(message.to_bytes()).unwrap();
                    self.event(index, Event::Received { flow: flow(index), message });
                }
                Err(message) => {
                    let message = Message::parse(message.to_bytes()).unwrap();
                    let answers = self.server.receive(self.now, index, message);
                    self.wires.extend(answers.into_iter().map(|(index, message)| (index, Ok(message))));
                }
            }
        }
    }

    fn said(&mut self, index: usize) -> Vec<Observation> {
        std::mem::take(&mut self.said[index])
    }

    fn forget(&mut self) {
        self.said.iter_mut().for_each(Vec::clear);
    }

    fn people(&self, index: usize) -> Vec<String> {
        let participant = |p: &confab_client::Participant| format!("{} {}", p.user.user(), p.role.as_str());
        self.clients[index].roster().unwrap().participants().map(participant).collect()
    }
}

fn done(command: Command) -> Observation {
    Observation::CommandDone { command, outcome: Outcome::Success }
}

/// A meeting that vivian leads and bob and carol have joined.
fn in_session() -> (Meeting, ConferenceUri) {
    let mut meeting = Meeting::of(&["vivian", "bob", "carol"]);
    meeting.wants(
        VIVIAN,
        Command::Create(NewConference {
            subject: "Plans".to_owned(),
            invitees: vec![(user("bob"), Role::Attendee)],
            media: vec![McuType::Chat],
            admission: AdmissionPolicy::OpenAuthenticated,
            expires: None,
        }),
    );
    let said = meeting.said(VIVIAN);
    let [Observation::Created { conference }] = said.as_slice() else { panic!("{said:?}") };
    let conference = conference.clone();
    for index in [VIVIAN, BOB, CAROL] {
        meeting.wants(index, Command::Join { conference: conference.clone() });
        assert!(meeting.said(index).contains(&Observation::ChatOpened));
    }
    assert_eq!(meeting.people(BOB), ["vivian presenter", "bob attendee", "carol attendee"]);
    meeting.forget();
    (meeting, conference)
}

#[test]
fn everybody_hears_what_is_said() {
    let (mut meeting, _) = in_session();
    meeting.wants(BOB, Command::Say { text: "hello".to_owned() });
    let said = meeting.said(BOB);
    let [
        Observation::MessageAccepted { message_id: Some(accepted), text },
        Observation::MessageDelivered { message_id },
    ] = said.as_slice()
    else {
        panic!("{said:?}")
    };
    assert_eq!((accepted, text.as_str()), (message_id, "hello"));
    for index in [VIVIAN, CAROL] {
        let said = meeting.said(index);
        let [Observation::MessageReceived { from, text, .. }] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!((from.as_ref(), text.as_str()), (Some(&user("bob")), "hello"));
    }
}

#[test]
fn leaders_lead() {
    let (mut meeting, conference) = in_session();
    let promote = Command::Promote { user: user("bob") };
    meeting.wants(VIVIAN, promote.clone());
    assert!(meeting.said(VIVIAN).contains(&done(promote)));
    assert_eq!(meeting.people(CAROL), ["vivian presenter", "bob presenter", "carol attendee"]);

    let lock = Command::Lock { locked: true };
    meeting.wants(BOB, lock.clone());
    assert!(meeting.said(BOB).contains(&done(lock)));
    let said = meeting.said(CAROL);
    let locked = RosterChange::Locked { locked: true };
    assert!(
        matches!(said.last(), Some(Observation::Roster { changes, .. }) if *changes == [locked]),
        "{said:?}"
    );

    let eject = Command::Eject { user: user("carol") };
    meeting.wants(BOB, eject.clone());
    assert!(meeting.said(BOB).contains(&done(eject)));
    let ended = |reason| Observation::Ended { conference: conference.clone(), reason };
    assert_eq!(meeting.said(CAROL).last(), Some(&ended(Ending::Ejected)));
    assert_eq!(meeting.people(VIVIAN), ["vivian presenter", "bob presenter"]);

    // It is locked: she does not get in again.
    meeting.wants(CAROL, Command::Join { conference: conference.clone() });
    let said = meeting.said(CAROL);
    assert!(matches!(said.as_slice(), [Observation::Refused { what: Undertaking::Join, .. }]), "{said:?}");

    meeting.wants(VIVIAN, Command::End);
    let said = meeting.said(VIVIAN);
    assert!(said.contains(&done(Command::End)), "{said:?}");
    for (index, said) in [(VIVIAN, said), (BOB, meeting.said(BOB))] {
        assert_eq!(said.last(), Some(&ended(Ending::ConferenceEnded)), "{index}: {said:?}");
        assert!(meeting.clients[index].conference().is_none());
    }
    assert_eq!(meeting.server.people(), 0);
}

#[test]
fn who_is_invited_can_come_and_go() {
    let (mut meeting, conference) = in_session();
    meeting.wants(CAROL, Command::Leave);
    assert_eq!(meeting.people(BOB), ["vivian presenter", "bob attendee"]);
    meeting.forget();
    meeting.wants(VIVIAN, Command::Invite { user: user("carol") });
    let said = meeting.said(CAROL);
    let [Observation::Invited { id, from, conference: invited, subject }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((from, invited, subject.as_str()), (&user("vivian"), &conference, "Plans"));
    meeting.wants(CAROL, Command::AnswerInvitation { id: *id, accept: true });
    let answered =
        Observation::InvitationAnswered { user: user("carol"), answer: InvitationAnswer::Accepted };
    assert_eq!(meeting.said(VIVIAN), [answered]);
    meeting.wants(CAROL, Command::Join { conference });
    assert_eq!(meeting.people(BOB), ["vivian presenter", "bob attendee", "carol attendee"]);
}

#[test]
fn all_of_it_can_be_written_as_json() {
    let (mut meeting, conference) = in_session();
    meeting.wants(CAROL, Command::Leave);
    meeting.wants(CAROL, Command::Join { conference });
    let said = meeting.said(CAROL);
    assert!(said.len() > 3);
    for observation in said {
        let text = serde_json::to_string(&observation).unwrap();
        assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), observation, "{text}");
    }
    let command: Command = serde_json::from_str(r#"{"Promote":{"user":"sip:bob@example.test"}}"#).unwrap();
    assert_eq!(command, Command::Promote { user: user("bob") });
}

#[test]
fn a_client_can_live_in_any_task() {
    fn check<T: Send + 'static>() {}
    check::<Client>();
}
