//! The PostgreSQL server goes away and comes back: verbs fail as unavailable and soon, work again by
//! themselves, and nothing is half-written.

use std::{sync::Arc, time::Duration};

use confab_conference::record::ConferenceRecord;
use confab_store::{PostgresStore, Store, StoreError};
use tokio::{sync::mpsc, time::timeout};

use super::{account, all, cluster::Cluster, record, uri, user};

/// By when a verb has to have answered: the wait for a connection and the wait for an answer, twice
/// as long because two cores are shared with other tests.
const BOUND: Duration = Duration::from_secs(20);
/// How long the store may need to find the server again.
const RETURN: Duration = Duration::from_secs(60);
/// How many write at once while the server is killed, more than there are connections.
const WRITERS: u32 = 12;
/// How many writes are answered before the kill.
const WRITES_BEFORE_KILL: usize = 150;

async fn open(cluster: &Cluster) -> Arc<PostgresStore> {
    cluster.create("outage");
    Arc::new(PostgresStore::open(&cluster.url("outage").parse().unwrap()).await.unwrap())
}

/// Every verb fails as unavailable, in time and all at once.
async fn nothing_works(store: &PostgresStore) {
    let new = record("ann", "FFFFFFFF", 10);
    let next = ConferenceRecord { version: 2, ..record("ann", "A1B2C3D4", 10) };
    let (uri, user, account) = (uri("ann", "A1B2C3D4"), user("ann"), account("ann"));
    let listed = async { store.conferences(None, 10).await.map(drop) };
    let expired = async { store.expired_before(next.expires, 0, 10).await.map(drop) };
    let found = async { store.conference(&uri).await.map(drop) };
    let answers = timeout(BOUND, async {
        tokio::join!(
            store.create_conference(&new),
            found,
            store.save_conference(&next),
            store.delete_conference(&uri),
            listed,
            expired,
            store.create_account(&account),
            async { store.account(&user).await.map(drop) },
            async { store.accounts().await.map(drop) },
            store.save_account(&account),
            store.delete_account(&user),
        )
    });
    let (a, b, c, d, e, f, g, h, i, j, k) = answers.await.expect("every verb answers in time");
    for answer in [a, b, c, d, e, f, g, h, i, j, k] {
        let Err(StoreError::Unavailable(sentence)) = &answer else { panic!("{answer:?}") };
        assert!(sentence.contains("PostgreSQL") && !sentence.contains("dredging"), "{sentence}");
    }
}

/// The store finds the server again without being told.
async fn works_again(store: &PostgresStore) {
    let found = timeout(RETURN, async {
        loop {
            if store.conferences(None, 10).await.is_ok() {
                return all(store).await;
            }
        }
    });
    let found = found.await.expect("the store finds the server again");
    assert!(found.iter().any(|record| record.uri == uri("ann", "A1B2C3D4")));
    store.create_conference(&record("bob", "12345678", 10)).await.unwrap();
    store.delete_conference(&uri("bob", "12345678")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_unavailable_until_it_is_back() {
    let Some(mut cluster) = Cluster::of("a_server_that_is_away") else { return };
    let store = open(&cluster).await;
    let kept = record("ann", "A1B2C3D4", 10);
    store.create_conference(&kept).await.unwrap();
    for outage in [Cluster::kill, Cluster::stop] {
        outage(&mut cluster);
        nothing_works(&store).await;
        // A long outage is like a short one.
        nothing_works(&store).await;
        cluster.start();
        works_again(&store).await;
        assert_eq!(all(&*store).await, std::slice::from_ref(&kept));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_until_it_goes_on() {
    let Some(cluster) = Cluster::of("a_frozen_server") else { return };
    let store = open(&cluster).await;
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    cluster.freeze();
    for _ in 0..3 {
        nothing_works(&store).await;
    }
    cluster.thaw();
    works_again(&store).await;
}

/// Writes until the store fails; says what it tries, and then whether that was answered.
async fn write(
    store: Arc<PostgresStore>,
    writer: u32,
    said: mpsc::UnboundedSender<(ConferenceRecord, bool)>,
) {
    for number in 0.. {
        let new = record("ann", &format!("{writer:04X}{number:04X}"), 10);
        said.send((new.clone(), false)).unwrap();
        if store.create_conference(&new).await.is_err() {
            return;
        }
        said.send((new.clone(), true)).unwrap();
        let next = ConferenceRecord { version: 2, subject: "Sailing".repeat(500), ..new };
        said.send((next.clone(), false)).unwrap();
        if store.save_conference(&next).await.is_err() {
            return;
        }
        said.send((next, true)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_loses_no_answered_write_and_halves_none() {
    let Some(mut cluster) = Cluster::of("a_kill_loses_no_answered_write") else { return };
    let store = open(&cluster).await;
    let (sender, mut said) = mpsc::unbounded_channel();
    for writer in 0..WRITERS {
        tokio::spawn(write(Arc::clone(&store), writer, sender.clone()));
    }
    drop(sender);
    let (mut tried, mut answered, mut killed) = (Vec::new(), Vec::new(), false);
    while let Some((record, done)) = said.recv().await {
        if done { &mut answered } else { &mut tried }.push(record);
        if answered.len() == WRITES_BEFORE_KILL && !killed {
            killed = true;
            cluster.kill();
        }
    }
    assert!(killed, "only {} writes", answered.len());
    cluster.start();
    for record in &answered {
        let stored = store.conference(&record.uri).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{} is lost", record.uri));
        assert!(stored.version >= record.version, "version {} of {} is lost", record.version, record.uri);
        assert!(tried.contains(&stored), "{} is not as anybody wrote it", record.uri);
    }
    // What was tried and not answered may be there, but then it is whole.
    for stored in all(&*store).await {
        assert!(tried.contains(&stored), "{} is not as anybody wrote it", stored.uri);
    }
}
