//! Meetings of three at our own clients, through a whole server: they chat, lock, promote, eject
//! and leave, and each sees what he should.

use std::time::Duration;

use confab_client::{Command, Ending, Observation, Outcome, Undertaking};
use confab_schema::{conference_info::Role, uri::ConferenceUri};
use confab_server::config::ConferencesConfig;
use confab_sim::{
    deployment::{Deployment, user},
    person::{Person, Picture},
};

/// Vivian has scheduled a conference, and all three are on its chat.
async fn meeting(deployment: &Deployment) -> (ConferenceUri, [Person; 3]) {
    let mut people = [
        deployment.sign_on("vivian").await,
        deployment.sign_on("amy").await,
        deployment.sign_on("hao").await,
    ];
    let conference = people[0].schedules("The harbour", vec![]).await;
    for person in &mut people {
        person.joins(&conference).await;
    }
    for person in &mut people {
        person.sees_that("three on the chat", |picture| picture.on_chat() == ["amy", "hao", "vivian"]).await;
    }
    (conference, people)
}

fn heard(from: &str, text: &str) -> (String, String) {
    (from.to_owned(), text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_everybody_else() {
    let deployment = Deployment::open().await;
    let (_, [mut vivian, mut amy, mut hao]) = meeting(&deployment).await;
    vivian.wants(Command::Typing { active: true }).await;
    let typing = |seen: &Observation| matches!(seen, Observation::Typing { active: true, .. }).then_some(());
    amy.sees("that somebody types", typing).await;
    vivian.says("the harbour at nine?").await;
    assert_eq!(amy.hears().await, heard("vivian", "the harbour at nine?"));
    assert_eq!(hao.hears().await, heard("vivian", "the harbour at nine?"));
    amy.says("<b>yes</b> & gladly").await;
    assert_eq!(vivian.hears().await, heard("amy", "<b>yes</b> & gladly"));
    assert_eq!(hao.hears().await, heard("amy", "<b>yes</b> & gladly"));
    for text in ["one", "two", "three"] {
        hao.says(text).await;
    }
    for text in ["one", "two", "three"] {
        assert_eq!(vivian.hears().await, heard("hao", text), "in the order it was said");
        assert_eq!(amy.hears().await, heard("hao", text));
    }
    let own = |seen: &Observation| matches!(seen, Observation::MessageReceived { .. });
    for person in [&vivian, &amy, &hao] {
        assert!(!person.unread().iter().any(own), "nobody hears himself, or anything twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_keeps_others_out_until_it_is_lifted() {
    let deployment = Deployment::open().await;
    let (conference, [mut vivian, mut amy, hao]) = meeting(&deployment).await;
    assert_eq!(vivian.commands(Command::Lock { locked: true }).await, Outcome::Success);
    amy.sees_that("the lock", |picture| picture.locked).await;

    let mut bob = deployment.sign_on("bob").await;
    bob.wants(Command::Join { conference: conference.clone() }).await;
    let refusal = bob.is_refused(Undertaking::Join).await;
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3014)));
    assert!(refusal.sentence.contains("locked"), "{refusal}");

    // The lock is in the database, so it outlives the meeting.
    let record = deployment.server.store.conference(&conference).await.expect("the store answers");
    assert!(record.expect("the conference exists").locked);

    assert_eq!(vivian.commands(Command::Lock { locked: false }).await, Outcome::Success);
    assert_eq!(bob.joins(&conference).await, Role::Attendee);
    vivian.sees_that("Bob", |picture| picture.people.contains_key(&user("bob"))).await;
    drop(hao);
}

#[tokio::test(start_paused = true)]
async fn rights_come_and_go_with_the_role() {
    let deployment = Deployment::open().await;
    let (_, [mut vivian, mut amy, mut hao]) = meeting(&deployment).await;
    let Outcome::Refused(refusal) = amy.commands(Command::Eject { user: user("hao") }).await else {
        panic!("an attendee ejected somebody")
    };
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3014)));

    assert_eq!(vivian.commands(Command::Promote { user: user("amy") }).await, Outcome::Success);
    amy.sees_that("the new role", |picture| picture.people[&user("amy")].role == Role::Presenter).await;
    assert_eq!(amy.commands(Command::Lock { locked: true }).await, Outcome::Success);

    assert_eq!(vivian.commands(Command::Demote { user: user("amy") }).await, Outcome::Success);
    hao.sees_that("the old role", |picture| picture.people[&user("amy")].role == Role::Attendee).await;
    let outcome = amy.commands(Command::Lock { locked: false }).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_ejected_is_out_of_roster_and_chat() {
    let deployment = Deployment::open().await;
    let (_, [mut vivian, mut amy, mut hao]) = meeting(&deployment).await;
    assert_eq!(vivian.commands(Command::Eject { user: user("hao") }).await, Outcome::Success);
    assert_eq!(hao.is_out().await, Ending::Ejected);
    for person in [&mut vivian, &mut amy] {
        person.sees_that("that Hao is gone", |picture| picture.on_chat() == ["amy", "vivian"]).await;
        assert_eq!(person.picture().people.len(), 2);
    }
    amy.says("poor Hao").await;
    assert_eq!(vivian.hears().await, heard("amy", "poor Hao"));
    let message = |seen: &Observation| matches!(seen, Observation::MessageReceived { .. });
    assert!(!hao.unread().iter().any(message), "who is out hears nothing");
}

#[tokio::test(start_paused = true)]
async fn people_leave_and_come_back_and_the_leader_ends_it() {
    let deployment = Deployment::open().await;
    let (conference, [mut vivian, mut amy, mut hao]) = meeting(&deployment).await;
    hao.leaves().await;
    vivian.sees_that("that Hao has left", |picture| picture.on_chat() == ["amy", "vivian"]).await;
    hao.joins(&conference).await;
    vivian.sees_that("Hao again", |picture| picture.on_chat() == ["amy", "hao", "vivian"]).await;
    hao.says("back again").await;
    assert_eq!(vivian.hears().await, heard("hao", "back again"));
    assert_eq!(amy.hears().await, heard("hao", "back again"));

    vivian.wants(Command::End).await;
    for person in [&mut amy, &mut hao, &mut vivian] {
        assert_eq!(person.is_out().await, Ending::ConferenceEnded, "{}", person.user);
    }
    assert_eq!(deployment.server.directory.active_conferences(), [], "the meeting is over");
    let record = deployment.server.store.conference(&conference).await.expect("the store answers");
    assert!(record.is_some(), "its record stays");
    assert_eq!(amy.joins(&conference).await, Role::Attendee, "so that there can be another meeting");
}

#[tokio::test(start_paused = true)]
async fn whose_connection_breaks_is_out() {
    let deployment = Deployment::open().await;
    let (_, [mut vivian, amy, hao]) = meeting(&deployment).await;
    deployment.cut(&amy);
    vivian.sees_that("that Amy is gone", |picture| picture.on_chat() == ["hao", "vivian"]).await;
    assert_eq!(vivian.picture().people.len(), 2);
    drop(hao);
}

#[tokio::test(start_paused = true)]
async fn a_meeting_in_which_nobody_speaks_goes_on_for_hours() {
    let deployment = Deployment::open().await;
    let (_, [mut vivian, mut amy, hao]) = meeting(&deployment).await;
    let start = deployment.server.clock.now();
    // Keep-alives, refreshed registrations, subscriptions and sessions: nobody sees any of it.
    vivian.waits(Duration::from_secs(5 * 3600)).await;
    assert!(deployment.server.clock.now().since(start) >= Duration::from_secs(5 * 3600));
    amy.says("is anybody still here?").await;
    assert_eq!(vivian.hears().await, heard("amy", "is anybody still here?"));
    assert_eq!(vivian.picture().on_chat(), ["amy", "hao", "vivian"]);
    drop(hao);
}

#[tokio::test(start_paused = true)]
async fn a_large_meeting_is_counted_and_chats_all_the_same() {
    let conferences = ConferencesConfig { large_meeting: 3, ..ConferencesConfig::default() };
    let deployment = Deployment::with_conferences(conferences).await;
    let (conference, [mut vivian, mut amy, mut hao]) = meeting(&deployment).await;
    let mut bob = deployment.sign_on("bob").await;
    bob.joins(&conference).await;
    for person in [&mut vivian, &mut amy, &mut hao, &mut bob] {
        let name = person.user.user().to_owned();
        let mut expect = vec![&*name, "vivian"];
        expect.sort_unstable();
        expect.dedup();
        let seen = |picture: &Picture| picture.head_count == Some(4) && picture.on_chat() == expect;
        person.sees_that("four, of whom not all are named", seen).await;
    }
    amy.says("the harbour at nine?").await;
    for person in [&mut vivian, &mut hao, &mut bob] {
        assert_eq!(person.hears().await, heard("amy", "the harbour at nine?"));
    }
    // Who is promoted is somebody for everybody.
    assert_eq!(vivian.commands(Command::Promote { user: user("amy") }).await, Outcome::Success);
    hao.sees_that("Amy", |picture| picture.on_chat() == ["amy", "hao", "vivian"]).await;
    bob.leaves().await;
    hao.sees_that("three", |picture| picture.head_count == Some(3)).await;
    vivian.leaves().await;
    amy.leaves().await;
    hao.sees_that("himself alone", |picture| picture.head_count.is_none()).await;
    assert_eq!(hao.picture().roles(), [("hao", Role::Attendee)]);
}
