//! People who have not signed in, through a whole server on the paused clock: with the conference's
//! key they join, talk and may be made leaders; without it, or elsewhere, they reach nobody.

use std::time::Duration;

use confab_client::{
    Command, ConferenceChange, ConferenceSummary, Ending, NewConference, Observation, Outcome, Undertaking,
};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType},
};
use confab_server::config::ConferencesConfig;
use confab_sim::{
    deployment::{Deployment, user},
    person::Person,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A Confab that asks everybody who he is, and lets organizers admit those who do not say.
async fn deployment() -> Deployment {
    let conferences = ConferencesConfig { allow_anonymous: true, ..ConferencesConfig::default() };
    Deployment::closed_with(conferences).await
}

async fn vivian(deployment: &Deployment) -> Person {
    deployment.add_account("vivian", "pencil").await;
    let mut vivian = deployment.person("vivian", Some("pencil"));
    vivian.signs_on().await;
    vivian
}

fn new(admission: AdmissionPolicy) -> Command {
    Command::Create(NewConference {
        subject: "The harbour".into(),
        invitees: Vec::new(),
        media: vec![McuType::Chat],
        admission,
        expires: None,
    })
}

async fn schedules(vivian: &mut Person, admission: AdmissionPolicy) -> ConferenceUri {
    vivian.wants(new(admission)).await;
    let created = |seen: &Observation| match seen {
        Observation::Created { conference } => Some(conference.clone()),
        _ => None,
    };
    vivian.sees("the new conference", created).await
}

async fn reads(vivian: &mut Person, conference: &ConferenceUri) -> ConferenceSummary {
    vivian.wants(Command::GetConference { conference: conference.clone() }).await;
    let read = |seen: &Observation| match seen {
        Observation::Conference(summary) => Some((**summary).clone()),
        _ => None,
    };
    vivian.sees("the record", read).await
}

async fn key(vivian: &mut Person, conference: &ConferenceUri) -> String {
    let summary = reads(vivian, conference).await;
    summary.key.expect("the server made a key").reveal().to_owned()
}

/// Joins in vain; the status and the number of the refusal.
async fn is_kept_out(guest: &mut Person, conference: &ConferenceUri) -> (u16, Option<u32>) {
    guest.wants(Command::Join { conference: conference.clone() }).await;
    let refusal = guest.is_refused(Undertaking::Join).await;
    (refusal.status, refusal.diagnostics)
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_key_joins_talks_and_is_made_a_leader() {
    let deployment = deployment().await;
    let mut vivian = vivian(&deployment).await;
    let conference = schedules(&mut vivian, AdmissionPolicy::Anonymous).await;
    let key = key(&mut vivian, &conference).await;
    vivian.joins(&conference).await;
    let mut guest = deployment.guest("Harbour Master", &key);
    assert_eq!(guest.joins(&conference).await, Role::Attendee);

    let who = guest.user.clone();
    assert_eq!(who.domain(), "anonymous.invalid");
    let shown = |seen: &confab_sim::person::Picture| {
        seen.people.get(&who).is_some_and(|person| person.is_on(McuType::Chat))
    };
    vivian.sees_that("the guest in the chat", shown).await;
    assert_eq!(vivian.picture().people[&who].display_name.as_deref(), Some("Harbour Master"));
    guest.says("Is this the harbour?").await;
    assert_eq!(vivian.hears().await, (who.user().to_owned(), "Is this the harbour?".to_owned()));
    vivian.says("It is.").await;
    assert_eq!(guest.hears().await.1, "It is.");

    let lock = Command::Lock { locked: true };
    let Outcome::Refused(refusal) = guest.commands(lock.clone()).await else { panic!("an attendee locked") };
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3014)));
    assert_eq!(vivian.commands(Command::Promote { user: who.clone() }).await, Outcome::Success);
    assert_eq!(guest.commands(lock).await, Outcome::Success);
    assert_eq!(vivian.commands(Command::Eject { user: who }).await, Outcome::Success);
    assert_eq!(guest.is_out().await, Ending::Ejected);
    let notes = format!("{:?}", deployment.trace(&conference));
    assert!(!notes.contains(&key) && !notes.contains("Harbour Master"), "{notes}");
}

#[tokio::test(start_paused = true)]
async fn they_reach_nothing_else() {
    let deployment = deployment().await;
    let mut vivian = vivian(&deployment).await;
    let conference = schedules(&mut vivian, AdmissionPolicy::Anonymous).await;
    let closed = schedules(&mut vivian, AdmissionPolicy::OpenAuthenticated).await;
    let unknown = ConferenceUri::parse(&closed.to_string().replace(closed.id.as_str(), "00000000"));
    let key = key(&mut vivian, &conference).await;
    let mut guest = deployment.guest("Harbour Master", &key);
    assert_eq!(is_kept_out(&mut guest, &closed).await, (403, Some(3014)));
    assert_eq!(is_kept_out(&mut guest, &unknown.expect("it is a URI")).await, (403, Some(3014)));
    guest.joins(&conference).await;
    guest.wants(new(AdmissionPolicy::OpenAuthenticated)).await;
    let refusal = guest.is_refused(Undertaking::Create).await;
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3020)), "the factory");
    guest.wants(Command::Register).await;
    let refusal = guest.is_refused(Undertaking::Register).await;
    assert_eq!((refusal.status, refusal.diagnostics), (403, Some(3021)), "the registrar");
    guest.wants(Command::Invite { user: user("vivian") }).await;
    let answered = |seen: &Observation| match seen {
        Observation::InvitationAnswered { answer, .. } => Some(format!("{answer:?}")),
        _ => None,
    };
    let answer = guest.sees("the refusal", answered).await;
    assert!(answer.contains("3021"), "other people: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_opens_nothing_and_a_new_one_shuts_out_the_old() {
    let deployment = deployment().await;
    let mut vivian = vivian(&deployment).await;
    let conference = schedules(&mut vivian, AdmissionPolicy::Anonymous).await;
    let old = key(&mut vivian, &conference).await;
    assert_eq!(is_kept_out(&mut deployment.guest("Eve", "pencil"), &conference).await, (401, None));
    let version = reads(&mut vivian, &conference).await.version;
    let change = ConferenceChange { key: Some("crayons".into()), ..ConferenceChange::default() };
    vivian.wants(Command::ModifyConference { conference: conference.clone(), version, change }).await;
    let modified = |seen: &Observation| match seen {
        Observation::Modified { version, .. } => Some(*version),
        _ => None,
    };
    assert_eq!(vivian.sees("the change", modified).await, version + 1);
    assert_eq!(is_kept_out(&mut deployment.guest("Eve", &old), &conference).await, (401, None));
    let mut guest = deployment.guest("Harbour Master", "crayons");
    guest.joins(&conference).await;

    vivian.wants(Command::ListConferences).await;
    let listed = |seen: &Observation| match seen {
        Observation::Conferences(all) => Some(all.clone()),
        _ => None,
    };
    let all = vivian.sees("the list", listed).await;
    assert_eq!((all.len(), all[0].is_active, &all[0].key), (1, Some(true), &None));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_of_guests_alone_ends_after_ten_minutes() {
    let deployment = deployment().await;
    let mut vivian = vivian(&deployment).await;
    let conference = schedules(&mut vivian, AdmissionPolicy::Anonymous).await;
    let key = key(&mut vivian, &conference).await;
    let mut guest = deployment.guest("Harbour Master", &key);
    guest.joins(&conference).await;
    vivian.joins(&conference).await;
    guest.waits(15 * MINUTE).await;
    vivian.leaves().await;
    guest.waits(9 * MINUTE).await;
    assert!(deployment.server.directory.is_active(&conference));
    guest.waits(2 * MINUTE).await;
    assert!(!deployment.server.directory.is_active(&conference));
    assert_eq!(guest.is_out().await, Ending::ConferenceEnded);
    assert_eq!(reads(&mut vivian, &conference).await.is_active, Some(false));
    assert_eq!(guest.joins(&conference).await, Role::Attendee, "what was proved still holds");
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_nobody_may_schedule_or_join_so() {
    let deployment = Deployment::closed().await;
    let mut vivian = vivian(&deployment).await;
    vivian.wants(new(AdmissionPolicy::Anonymous)).await;
    assert_eq!(vivian.is_refused(Undertaking::Create).await.token.as_deref(), Some("unauthorized"));
    let conference = schedules(&mut vivian, AdmissionPolicy::OpenAuthenticated).await;
    assert_eq!(is_kept_out(&mut deployment.guest("Eve", "crayons"), &conference).await, (403, Some(3014)));
}
