//! How long conferences live, through a whole server on the paused clock: a meeting ends when
//! nobody is left, a day after the last join or with its record, the next join begins another,
//! and what expired is deleted in the end. Meanwhile the organizer lists them and changes one.

use std::{sync::Arc, time::Duration};

use confab_client::{Command, Ending, NewConference, Observation, Outcome, Undertaking};
use confab_conference::record::ConferenceRecord;
use confab_machine::Time;
use confab_schema::{
    cccp::{Code, Response, ResultBody},
    conference_info::{AdmissionPolicy, Role},
    date,
    uri::{ConferenceUri, McuType},
    xml::Element,
};
use confab_server::{config::ConferencesConfig, sweeper::Sweeper};
use confab_sim::{
    deployment::{Deployment, user},
    factory::modify,
    person::Person,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn record(deployment: &Deployment, conference: &ConferenceUri) -> Option<ConferenceRecord> {
    deployment.server.store.conference(conference).await.expect("the store answers")
}

/// Vivian's conference that expires after this time.
async fn schedules_until(vivian: &mut Person, expires: Time) -> ConferenceUri {
    let wanted = NewConference {
        subject: "The harbour".into(),
        invitees: Vec::new(),
        media: vec![McuType::Chat],
        admission: AdmissionPolicy::OpenAuthenticated,
        expires: Some(expires),
    };
    vivian.wants(Command::Create(wanted)).await;
    let created = |seen: &Observation| match seen {
        Observation::Created { conference } => Some(conference.clone()),
        _ => None,
    };
    vivian.sees("the new conference", created).await
}

/// What the Focus Factory says to `modifyConference` by Vivian, with this description.
async fn modifies(deployment: &Deployment, conference: &ConferenceUri, version: u32, what: &str) -> Response {
    deployment.asks_factory("vivian", &modify(conference, version, what)).await
}

#[tokio::test(start_paused = true)]
async fn a_meeting_ends_when_nobody_is_left_and_the_next_join_begins_another() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let conference = vivian.schedules("The harbour", vec![(user("amy"), Role::Presenter)]).await;
    assert_eq!(record(&deployment, &conference).await.expect("it is stored").last_activated, None);

    let began = deployment.server.clock.now();
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    assert_eq!(amy.commands(Command::Lock { locked: true }).await, Outcome::Success);
    let stored = record(&deployment, &conference).await.expect("it is stored");
    assert!(stored.last_activated.is_some_and(|at| at >= began && at < began + MINUTE));
    assert_eq!((stored.version, stored.locked), (3, true), "scheduled, activated, locked");
    vivian.leaves().await;
    vivian.waits(20 * MINUTE).await;
    assert!(deployment.server.directory.is_active(&conference), "Amy is still there");
    amy.leaves().await;
    let left = deployment.server.clock.now();
    vivian.waits(9 * MINUTE).await;
    assert!(deployment.server.directory.is_active(&conference));
    let end = deployment.server.directory.expected_end(&conference).expect("it is going on");
    assert!(end >= left && end <= left + 10 * MINUTE, "it is known beforehand");
    vivian.waits(MINUTE + Duration::from_secs(5)).await;
    assert!(!deployment.server.directory.is_active(&conference));

    // The record is as the meeting left it; the organizer begins another.
    amy.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(amy.is_refused(Undertaking::Join).await.status, 403, "it is still locked");
    let again = deployment.server.clock.now();
    assert_eq!(vivian.joins(&conference).await, Role::Presenter);
    let stored = record(&deployment, &conference).await.expect("it is stored");
    assert!(stored.last_activated.is_some_and(|at| at >= again));
    assert_eq!(vivian.commands(Command::Lock { locked: false }).await, Outcome::Success);
    amy.joins(&conference).await;
    vivian.says("as if nothing had happened").await;
    assert_eq!(amy.hears().await.1, "as if nothing had happened");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_ends_so_long_after_the_last_join() {
    let limits = ConferencesConfig { idle_hours: 1, ..ConferencesConfig::default() };
    let deployment = Deployment::with_conferences(limits).await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    vivian.waits(50 * MINUTE).await;
    amy.joins(&conference).await;
    vivian.waits(50 * MINUTE).await;
    assert!(deployment.server.directory.is_active(&conference), "Amy's join counts");
    vivian.waits(11 * MINUTE).await;
    for person in [&mut vivian, &mut amy] {
        assert_eq!(person.is_out().await, Ending::ConferenceEnded);
    }
    assert!(!deployment.server.directory.is_active(&conference));
    amy.joins(&conference).await;
    vivian.joins(&conference).await;
    vivian.sees_that("both", |picture| picture.people.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_conference_expires_and_is_deleted() {
    let limits = ConferencesConfig { content_grace_days: 0, ..ConferencesConfig::default() };
    let deployment = Deployment::with_conferences(limits).await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let expires = deployment.server.clock.now() + 30 * MINUTE;
    let conference = schedules_until(&mut vivian, expires).await;
    let lasting = schedules_until(&mut vivian, expires + 2 * HOUR).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    vivian.waits(29 * MINUTE).await;
    assert!(deployment.server.directory.is_active(&conference));
    vivian.waits(2 * MINUTE).await;
    for person in [&mut vivian, &mut amy] {
        assert_eq!(person.is_out().await, Ending::ConferenceEnded);
    }
    assert!(!deployment.server.directory.is_active(&conference));
    amy.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(amy.is_refused(Undertaking::Join).await.status, 404);
    assert!(record(&deployment, &conference).await.is_some(), "it is not swept at once");
    vivian.waits(HOUR).await;
    assert_eq!(record(&deployment, &conference).await, None);
    assert!(record(&deployment, &lasting).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_expired_conference_may_be_prolonged_until_it_is_deleted() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let expires = deployment.server.clock.now() + 5 * MINUTE;
    let forgotten = schedules_until(&mut vivian, expires).await;
    let prolonged = schedules_until(&mut vivian, expires).await;
    vivian.waits(10 * MINUTE).await;
    let later = expires + 40 * 24 * HOUR;
    let what = format!("<msci:expiry-time>{}</msci:expiry-time>", date::format(later));
    let answer = modifies(&deployment, &prolonged, 1, &what).await;
    assert_eq!(answer.code, Code::Success);
    assert_eq!(vivian.joins(&prolonged).await, Role::Presenter, "it lives again");

    let grace = deployment.server.content_grace;
    assert_eq!(grace, 14 * 24 * HOUR);
    let sweeper = Sweeper {
        store: Arc::clone(&deployment.server.store),
        directory: deployment.server.directory.clone(),
        grace,
    };
    assert_eq!(sweeper.sweep(expires + grace).await, Ok(0), "not before the grace is over");
    assert!(record(&deployment, &forgotten).await.is_some());
    assert_eq!(sweeper.sweep(expires + grace + HOUR).await, Ok(1));
    assert_eq!(record(&deployment, &forgotten).await, None);
    assert!(record(&deployment, &prolonged).await.is_some());
    // An active one is never deleted, whatever its record says.
    assert_eq!(sweeper.sweep(later + grace + HOUR).await, Ok(0));
    vivian.wants(Command::End).await;
    vivian.is_out().await;
    vivian.waits(MINUTE).await;
    assert_eq!(sweeper.sweep(later + grace + HOUR).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn many_expired_conferences_are_deleted_at_once() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let expires = deployment.server.clock.now() + MINUTE;
    let first = schedules_until(&mut vivian, expires).await;
    let one = record(&deployment, &first).await.expect("it is stored");
    for number in 0..250 {
        let uri = format!("sip:vivian@example.test;gruu;opaque=app:conf:focus:id:MANY{number:04}");
        let uri = ConferenceUri::parse(&uri).expect("it is one");
        let another = ConferenceRecord { uri, ..one.clone() };
        deployment.server.store.create_conference(&another).await.expect("it is new");
    }
    let sweeper = Sweeper {
        store: Arc::clone(&deployment.server.store),
        directory: deployment.server.directory.clone(),
        grace: Duration::ZERO,
    };
    assert_eq!(sweeper.sweep(expires + MINUTE).await, Ok(251));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_long_says_so() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let first = vivian.schedules("The harbour", vec![]).await;
    let whole = deployment.sends_to_factory("vivian", "<getConferences/>").await;
    assert_eq!(whole.headers.get("Warning"), None);
    let one = record(&deployment, &first).await.expect("it is stored");
    for number in 1..1000 {
        let uri = format!("sip:vivian@example.test;gruu;opaque=app:conf:focus:id:MANY{number:04}");
        let uri = ConferenceUri::parse(&uri).expect("it is one");
        let (subject, data) =
            ("x".repeat(4096), Element::new("urn:x", "data").with_text(&"x".repeat(16_000)));
        let another = ConferenceRecord { uri, subject, organizer_data: Some(data), ..one.clone() };
        deployment.server.store.create_conference(&another).await.expect("it is new");
    }
    let answer = deployment.sends_to_factory("vivian", "<getConferences/>").await;
    let length = answer.to_bytes().len();
    assert!((200_000..=262_144).contains(&length), "{length}");
    let document = Response::parse(&answer.body).expect("the answer is C3P");
    let ResultBody::Conferences(listed) = &document.results[0].body else { panic!("{document:?}") };
    let warning = answer.headers.get("Warning").expect("not all have room").to_string();
    assert!(warning.contains(&format!("\"{} more conferences", 1000 - listed.len())), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn the_organizer_changes_a_conference_that_is_active() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let mut amy = deployment.sign_on("amy").await;
    let mut hao = deployment.sign_on("hao").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;

    // The join has raised the version, so what she saw when she scheduled it is old.
    let closed = "<ci:subject>The quay</ci:subject>\
                  <msci:admission-policy>closedAuthenticated</msci:admission-policy>";
    let stale = modifies(&deployment, &conference, 1, closed).await;
    assert_eq!((stale.code, stale.failure_reason()), (Code::Failure, Some("otherFailure")));
    assert_eq!(record(&deployment, &conference).await.expect("it is stored").subject, "The harbour");
    let answer = modifies(&deployment, &conference, 2, closed).await;
    assert_eq!(answer.code, Code::Success);
    let stored = record(&deployment, &conference).await.expect("it is stored");
    assert_eq!((stored.version, stored.subject.as_str()), (3, "The quay"));

    // The running Focus works from the new record.
    hao.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(hao.is_refused(Undertaking::Join).await.status, 403);
    amy.says("I am still here").await;
    assert_eq!(vivian.hears().await.1, "I am still here");

    // Somebody else was quicker, and the Focus has not heard of it: neither loses his change.
    let mut unheard = stored.clone();
    unheard.version += 1;
    unheard.description = "Bring a hat".into();
    deployment.server.store.save_conference(&unheard).await.expect("it is the next version");
    assert_eq!(vivian.commands(Command::Lock { locked: true }).await, Outcome::Success);
    vivian.sees_that("the lock", |picture| picture.locked).await;
    let stored = record(&deployment, &conference).await.expect("it is stored");
    assert_eq!((stored.version, stored.locked), (5, true));
    assert_eq!((stored.description.as_str(), stored.subject.as_str()), ("Bring a hat", "The quay"));
    assert_eq!(vivian.commands(Command::Lock { locked: false }).await, Outcome::Success);
    assert_eq!(record(&deployment, &conference).await.expect("it is stored").version, 6);
}
