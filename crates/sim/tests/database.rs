//! A database that fails in the middle, through a whole server on the paused clock: what was
//! answered holds, and no meeting goes on from a record that is not there.

use std::{sync::Arc, time::Duration};

use confab_client::{Command, Ending, Outcome, Undertaking};
use confab_conference::record::ConferenceRecord;
use confab_schema::{cccp::Code, uri::ConferenceUri};
use confab_server::sweeper::Sweeper;
use confab_sim::{deployment::Deployment, factory::modify, faulty_store::FaultyStore, person::Person};

const HOUR: Duration = Duration::from_secs(3600);

/// A server whose database fails when it is told to, and Vivian signed on to it.
async fn open() -> (Arc<FaultyStore>, Deployment, Person) {
    let store = Arc::new(FaultyStore::default());
    let deployment = Deployment::with_store(store.clone()).await;
    let vivian = deployment.sign_on("vivian").await;
    (store, deployment, vivian)
}

async fn record(deployment: &Deployment, conference: &ConferenceUri) -> Option<ConferenceRecord> {
    deployment.server.store.conference(conference).await.expect("the store answers")
}

#[tokio::test(start_paused = true)]
async fn a_sweep_goes_on_after_what_cannot_be_deleted() {
    let (store, deployment, mut vivian) = open().await;
    let first = vivian.schedules("The harbour", vec![]).await;
    let one = record(&deployment, &first).await.expect("it is stored");
    for number in 0..250 {
        let uri = format!("sip:vivian@example.test;gruu;opaque=app:conf:focus:id:MANY{number:04}");
        let uri = ConferenceUri::parse(&uri).expect("it is one");
        // The first batch, and one in each of the others.
        if number < 100 || number % 50 == 0 {
            store.faults().stuck.insert(uri.clone());
        }
        let another = ConferenceRecord { uri, expires: one.expires - HOUR, ..one.clone() };
        deployment.server.store.create_conference(&another).await.expect("it is new");
    }
    let directory = deployment.server.directory.clone();
    let sweeper = Sweeper { store: deployment.server.store.clone(), directory, grace: Duration::ZERO };
    let later = one.expires + HOUR;

    // So many failures at once are those of the database itself.
    assert!(sweeper.sweep(later).await.is_err());
    store.faults().stuck.retain(|uri| uri.id.as_str().ends_with("50"));
    assert_eq!(sweeper.sweep(later).await, Ok(249));
    assert_eq!(sweeper.sweep(later).await, Ok(0), "it ends though some stay");
    store.faults().stuck.clear();
    assert_eq!(sweeper.sweep(later).await, Ok(2));
    assert_eq!(record(&deployment, &first).await, None);
}

#[tokio::test(start_paused = true)]
async fn no_meeting_goes_on_from_a_record_that_was_deleted_while_somebody_joined() {
    let (store, deployment, mut vivian) = open().await;
    let mut amy = deployment.sign_on("amy").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    store.faults().deleting = Duration::from_secs(2);
    vivian.wants(Command::DeleteConference { conference: conference.clone() }).await;
    // The record is still there; the meeting is not ended before it is gone.
    vivian.waits(Duration::from_secs(1)).await;
    amy.joins(&conference).await;
    assert!(record(&deployment, &conference).await.is_some());
    // The record is gone, and the organizer has not heard so.
    vivian.waits(Duration::from_secs(2)).await;
    assert_eq!(record(&deployment, &conference).await, None);
    let mut hao = deployment.sign_on("hao").await;
    hao.joins(&conference).await;
    for person in [&mut vivian, &mut amy, &mut hao] {
        assert_eq!(person.is_out().await, Ending::ConferenceEnded);
    }
    vivian.waits(Duration::from_secs(5)).await;
    assert!(!deployment.server.directory.is_active(&conference));
    amy.wants(Command::Join { conference }).await;
    assert_eq!(amy.is_refused(Undertaking::Join).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_lock_without_a_record_is_answered_and_ends_the_meeting() {
    let (_, deployment, mut vivian) = open().await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    deployment.server.store.delete_conference(&conference).await.expect("it is there");
    let Outcome::Refused(refusal) = vivian.commands(Command::Lock { locked: true }).await else {
        panic!("there is nothing to lock")
    };
    assert_eq!(refusal.token.as_deref(), Some("conferenceDoesntExist"));
    assert_eq!(vivian.is_out().await, Ending::ConferenceEnded);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_found_out_at_once_if_the_database_can_be_asked() {
    let (store, deployment, mut vivian) = open().await;
    let mut amy = deployment.sign_on("amy").await;
    store.faults().lost_acknowledgements = 1;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;

    store.faults().lost_acknowledgements = 1;
    assert_eq!(vivian.commands(Command::Lock { locked: true }).await, Outcome::Success);
    store.faults().lost_acknowledgements = 1;
    let renamed = "<ci:subject>The quay</ci:subject>";
    let answer = deployment.asks_factory("vivian", &modify(&conference, 3, renamed)).await;
    assert_eq!(answer.code, Code::Success);
    assert_eq!(record(&deployment, &conference).await.expect("it is stored").version, 4);
    amy.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(amy.is_refused(Undertaking::Join).await.status, 403, "it is locked");

    store.faults().lost_acknowledgements = 1;
    vivian.wants(Command::DeleteConference { conference: conference.clone() }).await;
    assert_eq!(vivian.is_out().await, Ending::ConferenceEnded);
    assert_eq!(record(&deployment, &conference).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_focus_hears_of_a_write_in_doubt_when_the_database_is_back() {
    let (store, deployment, mut vivian) = open().await;
    let mut amy = deployment.sign_on("amy").await;
    let mut hao = deployment.sign_on("hao").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;
    let lose = |read_before: usize, lost_reads: usize| {
        let mut faults = store.faults();
        (faults.lost_acknowledgements, faults.read_before, faults.lost_reads) = (1, read_before, lost_reads);
    };

    // The lock is in the database, but nobody can say so: its author is told that it failed.
    lose(0, 4);
    let outcome = vivian.commands(Command::Lock { locked: true }).await;
    assert!(
        matches!(&outcome, Outcome::Refused(refusal) if refusal.token.as_deref() == Some("otherFailure"))
    );
    vivian.sees_that("the lock", |picture| picture.locked).await;
    hao.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(hao.is_refused(Undertaking::Join).await.status, 403);
    assert_eq!(vivian.commands(Command::Lock { locked: false }).await, Outcome::Success);

    // The same with the organizer's change: the admission holds for the running Focus. The factory
    // reads the record before it writes it.
    let version = record(&deployment, &conference).await.expect("it is stored").version;
    let closed = "<msci:admission-policy>closedAuthenticated</msci:admission-policy>";
    lose(1, 3);
    let answer = deployment.asks_factory("vivian", &modify(&conference, version, closed)).await;
    assert_eq!((answer.code, answer.failure_reason()), (Code::Failure, Some("otherFailure")));
    vivian.waits(Duration::from_secs(60)).await;
    hao.wants(Command::Join { conference: conference.clone() }).await;
    assert_eq!(hao.is_refused(Undertaking::Join).await.status, 403);

    // The record is deleted and nobody knows: the meeting ends.
    lose(1, 3);
    vivian.wants(Command::DeleteConference { conference: conference.clone() }).await;
    for person in [&mut vivian, &mut amy] {
        assert_eq!(person.is_out().await, Ending::ConferenceEnded);
    }
}
