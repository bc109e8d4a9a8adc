//! A conference is created and joined: the eight steps of `docs/join.md` through a whole server,
//! one function per step. Vivian schedules and leads, Amy comes later.
//!
//! Each step is seen from three sides: what the people see, what the server has, and what the flow
//! trace says, in which the steps stand in order and under the names of the original's logger.

use confab_client::{Command, NewConference, Observation, Outcome, RosterChange};
use confab_machine::{Component, FlowRecord};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType},
};
use confab_sim::{
    deployment::{Deployment, user},
    person::Person,
};

/// What Amy says in the end; it must not be in the trace.
const SAID: &str = "Shall we talk it through?";

struct Story {
    deployment: Deployment,
    vivian: Person,
    amy: Person,
    conference: Option<ConferenceUri>,
    /// How many records of the trace have been looked at.
    read: usize,
}

impl Story {
    fn conference(&self) -> &ConferenceUri {
        self.conference.as_ref().expect("step 2 made it")
    }

    fn trace(&self) -> Vec<FlowRecord> {
        self.deployment.trace(self.conference())
    }

    /// Looks for a record after those found before: its step, from whom to whom, under which name
    /// of the original's logger, and the first words.
    fn finds(&mut self, step: u8, (from, to): (Component, Component), ocs: &str, words: &str) -> FlowRecord {
        let records = self.trace();
        let is_it = |record: &FlowRecord| {
            let note = &record.note;
            note.step.is_some_and(|of| of.number() == step)
                && (note.from, note.to) == (from, to)
                && note.summary.starts_with(words)
        };
        let Some(at) = records.iter().skip(self.read).position(is_it) else {
            let ladder = confab_server::flow_log::ladder(&records, 0);
            panic!("step {step}, {from} to {to}, `{words}` is not after line {}:\n{ladder}", self.read);
        };
        let found = records[self.read + at].clone();
        assert_eq!(found.note.to.ocs_logger_name(), ocs);
        self.read += at + 1;
        found
    }
}

#[tokio::test(start_paused = true)]
async fn a_conference_is_created_and_joined_in_eight_steps() {
    let deployment = Deployment::open().await;
    let vivian = deployment.sign_on("vivian").await;
    let amy = deployment.sign_on("amy").await;
    let mut story = Story { deployment, vivian, amy, conference: None, read: 0 };

    step_1_scheduling_client_asks_the_focus_factory(&mut story).await;
    step_2_focus_factory_makes_a_record_and_a_sip_uri(&mut story).await;
    step_3_client_opens_two_dialogs_with_the_focus(&mut story).await;
    step_4_focus_loads_the_record_and_checks_the_person(&mut story).await;
    step_5_focus_asks_the_conferencing_server_factory(&mut story).await;
    step_6_factory_provisions_a_conferencing_server(&mut story).await;
    step_7_focus_commands_the_conferencing_server(&mut story).await;
    step_8_client_talks_to_the_conferencing_server(&mut story).await;

    let mut steps: Vec<u8> = Vec::new();
    for step in story.trace().iter().filter_map(|record| record.note.step) {
        if !steps.contains(&step.number()) {
            steps.push(step.number());
        }
    }
    assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7, 8], "the steps begin in order");
}

async fn step_1_scheduling_client_asks_the_focus_factory(story: &mut Story) {
    let vivian = &mut story.vivian;
    vivian.wants(Command::GetCapabilities).await;
    let media = vivian
        .sees("the capabilities", |seen| match seen {
            Observation::Capabilities { media, .. } => Some(media.clone()),
            _ => None,
        })
        .await;
    assert_eq!(media, [McuType::Chat], "only what works is advertised");
    let wanted = NewConference {
        subject: "The harbour".into(),
        invitees: vec![(user("amy"), Role::Attendee)],
        media,
        admission: AdmissionPolicy::OpenAuthenticated,
        expires: None,
    };
    vivian.wants(Command::Create(wanted)).await;
}

async fn step_2_focus_factory_makes_a_record_and_a_sip_uri(story: &mut Story) {
    let conference = story
        .vivian
        .sees("the new conference", |seen| match seen {
            Observation::Created { conference } => Some(conference.clone()),
            _ => None,
        })
        .await;
    let uri = conference.to_string();
    assert!(uri.starts_with("sip:vivian@example.test;gruu;opaque=app:conf:focus:id:"), "{uri}");
    let record = story.deployment.server.store.conference(&conference).await.expect("the store answers");
    let record = record.expect("the record is in the store before the answer");
    assert_eq!((record.version, record.subject.as_str()), (1, "The harbour"));
    assert_eq!(record.listed_role(&user("amy")), Some(Role::Attendee));
    story.conference = Some(conference);
    // The first step's record is filed under a conference that has a name only now.
    story.finds(1, (Component::Client, Component::FocusFactory), "S4", "SERVICE addConference");
    story.finds(2, (Component::FocusFactory, Component::Store), "S4", "insert");
    story.finds(2, (Component::FocusFactory, Component::Client), "SIPStack", "200 addConference success");
}

async fn step_3_client_opens_two_dialogs_with_the_focus(story: &mut Story) {
    assert_eq!(story.deployment.server.directory.active_conferences(), [], "nobody has joined yet");
    let conference = story.conference().clone();
    story.vivian.wants(Command::Join { conference }).await;
    let snapshot = story
        .vivian
        .sees("the first document", |seen| match seen {
            Observation::Roster { changes, .. } => changes.iter().find_map(|change| match change {
                RosterChange::Snapshot(roster) => Some(roster.clone()),
                _ => None,
            }),
            _ => None,
        })
        .await;
    assert_eq!(snapshot.subject(), "The harbour");
    story.finds(3, (Component::Client, Component::FrontEnd), "SIPStack", "INVITE");
    let subscribed = |record: &FlowRecord| record.note.summary.starts_with("SUBSCRIBE conference");
    assert!(story.trace().iter().any(subscribed), "the second dialog");
}

async fn step_4_focus_loads_the_record_and_checks_the_person(story: &mut Story) {
    let role = story
        .vivian
        .sees("being let in", |seen| match seen {
            Observation::Joined { role, .. } => Some(*role),
            _ => None,
        })
        .await;
    assert_eq!(role, Role::Presenter, "the organizer leads");
    assert_eq!(story.deployment.server.directory.active_conferences(), [(story.conference().clone(), 1)]);
    story.finds(4, (Component::Focus, Component::Store), "S4", "load the record");
    story.finds(3, (Component::Client, Component::Focus), "S4", "INVITE addUser sip:vivian@example.test");
    story.finds(4, (Component::Policy, Component::Focus), "S4", "admit presenter");
}

async fn step_5_focus_asks_the_conferencing_server_factory(story: &mut Story) {
    story.finds(5, (Component::Focus, Component::McuFactory), "MCUFactory", "chat?");
}

async fn step_6_factory_provisions_a_conferencing_server(story: &mut Story) {
    story.finds(6, (Component::McuFactory, Component::ImMcu), "MCUInfra", "addConference chat");
    let url = "http://immcu.inproc/LiveServer/IMMCU/…";
    let found = story.finds(6, (Component::McuFactory, Component::Focus), "S4", url);
    assert_eq!(found.note.summary, url, "the secret part of the URL is not in the trace");
}

async fn step_7_focus_commands_the_conferencing_server(story: &mut Story) {
    let opened = |seen: &Observation| matches!(seen, Observation::ChatOpened).then_some(());
    story.vivian.sees("the chat", opened).await;
    story.finds(7, (Component::Focus, Component::ImMcu), "MCUInfra", "addUser sip:vivian@example.test");
    story.finds(7, (Component::ImMcu, Component::Focus), "S4", "addUser success");

    let conference = story.conference().clone();
    assert_eq!(story.amy.joins(&conference).await, Role::Attendee);
    let both = [("amy", Role::Attendee), ("vivian", Role::Presenter)];
    for person in [&mut story.vivian, &mut story.amy] {
        person.sees_that("both on the chat", |picture| picture.on_chat() == ["amy", "vivian"]).await;
        assert_eq!(person.picture().roles(), both);
    }
    assert_eq!(story.vivian.commands(Command::Promote { user: user("amy") }).await, Outcome::Success);
    let promoted = [("amy", Role::Presenter), ("vivian", Role::Presenter)];
    for person in [&mut story.vivian, &mut story.amy] {
        person.sees_that("two leaders", |picture| picture.roles() == promoted).await;
    }
    assert_eq!(story.vivian.picture().version, story.amy.picture().version, "one version for all");
}

async fn step_8_client_talks_to_the_conferencing_server(story: &mut Story) {
    story.amy.says(SAID).await;
    assert_eq!(story.vivian.hears().await, ("amy".to_owned(), SAID.to_owned()));
    let delivered = |seen: &Observation| matches!(seen, Observation::MessageDelivered { .. }).then_some(());
    story.amy.sees("the delivery", delivered).await;
    story.finds(8, (Component::Client, Component::ImMcu), "MCUInfra", "INVITE sip:amy@example.test");
    story.finds(8, (Component::Client, Component::ImMcu), "MCUInfra", "MESSAGE");
    story.finds(8, (Component::ImMcu, Component::Client), "SIPStack", "MESSAGE 1 of sip:amy@example.test");
    let text = |record: &FlowRecord| record.note.summary.contains(SAID);
    assert!(!story.trace().iter().any(text), "what people say is not in the trace");
}
