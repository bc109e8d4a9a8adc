//! A database that fails in the middle, through a whole server on the paused clock: what was
//! answered holds, and no meeting goes on from a record that is not there.

use std::{sync::Arc, time::Duration};

use confab_conference::record::ConferenceRecord;
use confab_schema::uri::ConferenceUri;
use confab_server::sweeper::Sweeper;
use confab_sim::{deployment::Deployment, faulty_store::FaultyStore, person::Person};

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
