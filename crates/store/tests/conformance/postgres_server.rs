//! What the PostgreSQL store promises of its database: everything answered with `Ok` is in it, what
//! is not ours is not touched, and no error tells a secret.

use std::{
    process::Stdio,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use confab_conference::record::ConferenceRecord;
use confab_machine::Time;
use confab_schema::xml::{Element, MAX_DOCUMENT};
use confab_store::{OpenError, PostgresAddress, PostgresClaim, PostgresStore, Store, StoreError};

use super::{
    RIVALS, ROWS_OF_VERSION_1, account, all, cluster::Cluster, compete, create, record, rivals,
    rows_of_version_1_are_read, uri,
};

/// One server for all tests of this process. Its keeper ends it.
static CLUSTER: LazyLock<Option<Cluster>> = LazyLock::new(|| Cluster::of("the PostgreSQL store"));
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// A database of one test's own.
pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

impl Database {
    /// An empty one, where there is a server.
    pub fn new() -> Option<Database> {
        let cluster = CLUSTER.as_ref()?;
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        cluster.create(&name);
        Some(Database { cluster, name })
    }

    fn address(&self) -> PostgresAddress {
        self.cluster.url(&self.name).parse().unwrap()
    }

    pub async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.address()).await.unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.name, sql)
    }
}

#[tokio::test]
async fn a_reopened_database_holds_what_was_written() {
    let Some(database) = Database::new() else { return };
    let kept = record("ann", "A1B2C3D4", 10);
    let store = database.open().await;
    store.create_conference(&kept).await.unwrap();
    store.create_conference(&record("ann", "00000000", 10)).await.unwrap();
    store.delete_conference(&uri("ann", "00000000")).await.unwrap();
    store.create_account(&account("ann")).await.unwrap();
    drop(store);

    let store = database.open().await;
    assert_eq!(all(&store).await, std::slice::from_ref(&kept));
    assert_eq!(store.accounts().await.unwrap(), [account("ann")]);
    store.save_conference(&ConferenceRecord { version: 2, ..kept }).await.unwrap();
    assert_eq!(database.sql("SELECT application, version FROM confab.marker"), "1129270854|3");
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_up_to_date_with_its_records() {
    let Some(database) = Database::new() else { return };
    let tables = include_str!("../../migrations/postgres/0001_conferences_and_accounts.sql");
    database.sql(&format!(
        "CREATE SCHEMA confab; SET search_path = confab; {tables} {ROWS_OF_VERSION_1} \
         CREATE TABLE marker (application BIGINT NOT NULL, version BIGINT NOT NULL); \
         INSERT INTO marker VALUES (1129270854, 1)"
    ));
    rows_of_version_1_are_read(&database.open().await).await;
    assert_eq!(database.sql("SELECT application, version FROM confab.marker"), "1129270854|3");
    assert_eq!(all(&database.open().await).await[0].version, 8, "once is enough");
}

/// How many hold the right to serve the database, and an order to end their connections.
const CLAIMS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const END_CLAIMS: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
     AND objid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test]
async fn one_server_at_a_time_works_on_a_database() {
    let Some(database) = Database::new() else { return };
    let other = Database::new().unwrap();
    let first = PostgresClaim::take(&database.address()).await.unwrap();
    let error = PostgresClaim::take(&database.address()).await.err().unwrap();
    let sentence = error.to_string();
    assert!(matches!(error, OpenError::Taken { .. }), "{sentence}");
    assert!(sentence.contains(&format!("works on {} of", database.name)), "{sentence}");
    assert!(sentence.contains("from the database's own machine; stop it first"), "{sentence}");
    PostgresClaim::take(&other.address()).await.unwrap();
    drop(first);
    PostgresClaim::take(&database.address()).await.unwrap();
}

#[tokio::test]
async fn a_claim_outlives_its_connection() {
    let Some(database) = Database::new() else { return };
    let kept = tokio::spawn(PostgresClaim::take(&database.address()).await.unwrap().keep());
    database.sql(END_CLAIMS);
    let again = async {
        while database.sql(CLAIMS) != "1" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    assert!(matches!(PostgresClaim::take(&database.address()).await, Err(OpenError::Taken { .. })));
    assert!(!kept.is_finished());
}

#[tokio::test]
async fn a_claim_that_somebody_else_took_is_lost() {
    let Some(database) = Database::new() else { return };
    let first = PostgresClaim::take(&database.address()).await.unwrap();
    database.sql(END_CLAIMS);
    let _second = PostgresClaim::take(&database.address()).await.unwrap();
    let lost = tokio::time::timeout(Duration::from_secs(60), first.keep()).await.unwrap();
    assert!(matches!(lost, OpenError::Taken { .. }), "{lost}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Some(database) = Database::new() else { return };
    drop(database.open().await);
    database.sql("UPDATE confab.marker SET version = 999");
    let error = PostgresStore::open(&database.address()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains("was written by a newer Confab: it has schema version 999"), "{sentence}");
    assert!(sentence.starts_with(&database.name), "{sentence}");
}

#[tokio::test]
async fn other_peoples_databases_are_refused_and_left_alone() {
    let objects = "SELECT string_agg(oid || relname, ' ' ORDER BY oid) FROM pg_class WHERE relname !~ '^pg_'";
    for theirs in [
        "CREATE TABLE birds (name TEXT)",
        "CREATE SCHEMA zoo; CREATE VIEW zoo.birds AS SELECT 1",
        "CREATE SCHEMA confab; CREATE TABLE confab.conferences (name TEXT)",
        "CREATE SCHEMA confab; CREATE TABLE confab.marker (bird TEXT)",
        "CREATE SCHEMA confab; CREATE TABLE confab.marker (application TEXT, version TEXT); \
         INSERT INTO confab.marker VALUES ('zoo', '1')",
        "CREATE SCHEMA confab; CREATE TABLE confab.marker (application BIGINT, version BIGINT)",
        "CREATE SCHEMA confab; CREATE TABLE confab.marker (application BIGINT, version BIGINT); \
         INSERT INTO confab.marker VALUES (7, 1)",
        "CREATE SCHEMA confab; CREATE TABLE confab.marker (application BIGINT, version BIGINT); \
         INSERT INTO confab.marker VALUES (1129270854, -1)",
    ] {
        let Some(database) = Database::new() else { return };
        database.sql(theirs);
        let before = database.sql(objects);
        let error = PostgresStore::open(&database.address()).await.unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{theirs}: {error}");
        assert!(error.to_string().contains("Give Confab a database of its own"), "{error}");
        assert_eq!(database.sql(objects), before, "{theirs}");
    }
}

#[tokio::test]
async fn an_empty_database_may_have_extensions_and_our_schema() {
    for prepared in ["CREATE EXTENSION pg_buffercache", "CREATE SCHEMA confab"] {
        let Some(database) = Database::new() else { return };
        database.sql(prepared);
        drop(database.open().await);
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let Some(database) = Database::new() else { return };
    let name = format!("{}_latin", database.name);
    database.sql(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"));
    let database = Database { name, ..database };
    let error = PostgresStore::open(&database.address()).await.unwrap_err();
    assert!(error.to_string().contains("its encoding is LATIN1"), "{error}");
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_refused() {
    let Some(database) = Database::new() else { return };
    database.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name));
    let error = PostgresStore::open(&database.address()).await.unwrap_err();
    assert!(error.to_string().contains("it can only be read"), "{error}");
}

#[tokio::test]
async fn a_database_out_of_reach_is_named_with_the_reason() {
    let Some(database) = Database::new() else { return };
    let (name, directory) = (database.name.as_str(), database.cluster.directory().to_str().unwrap());
    let check = async |name: &str, parameters: &str, reason: &str, passing: bool| {
        let url = format!("postgres://ann:horse@localhost/{name}?{parameters}");
        let error = PostgresStore::open(&url.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, OpenError::Unavailable { .. }), "{error}");
        assert_eq!(error.may_pass(), passing, "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains(reason) && !sentence.contains("horse"), "{sentence}");
    };
    check("nowhere", &format!("host={directory}&user=confab"), "database \"nowhere\" does not exist", false)
        .await;
    check(name, &format!("host={directory}"), "role \"ann\" does not exist", false).await;
    check(name, "host=/nowhere", "No such file or directory", true).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    check(name, &format!("port={free}"), "Connection refused", true).await;
}

#[tokio::test]
async fn an_unreadable_row_hides_no_expired_one_and_can_be_deleted() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    for (id, expires) in [("11111111", 1), ("22222222", 2), ("33333333", 3)] {
        store.create_conference(&record("ann", id, expires)).await.unwrap();
    }
    database.sql("UPDATE confab.conferences SET id = 'private?' WHERE id = '11111111'");
    database.sql("UPDATE confab.conferences SET version = -1 WHERE id = '22222222'");
    let listed = store.conferences(None, 10).await.unwrap();
    assert_eq!((listed.len(), listed.into_iter().flatten().count()), (3, 1));
    let due = Time::from_unix_secs(10);
    let expired = store.expired_before(due, 0, 10).await.unwrap();
    assert!(matches!(&expired[0], Err(StoreError::Unavailable(_))), "{expired:?}");
    let readable: Vec<_> = expired.into_iter().flatten().collect();
    assert_eq!(readable, [uri("ann", "22222222"), uri("ann", "33333333")]);
    for uri in &readable {
        store.delete_expired(uri, due).await.unwrap();
    }
    assert_eq!(store.expired_before(due, 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unreadable_row_is_named_but_not_quoted() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    for spoilt in [
        "UPDATE confab.conferences SET version = -1",
        "UPDATE confab.conferences SET version = 1, \
         details = jsonb_set(details::jsonb, '{locked}', '\"private\"')",
    ] {
        database.sql(spoilt);
        let error = store.conference(&uri("ann", "A1B2C3D4")).await.unwrap_err();
        let StoreError::Unavailable(sentence) = error else { panic!("{error}") };
        assert!(sentence.contains("A1B2C3D4") && !sentence.contains("private"), "{sentence}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_not_quoted() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    database.sql("ALTER TABLE confab.conferences ADD CHECK (details !~ 'dredging')");
    let error = store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap_err();
    let StoreError::Unavailable(sentence) = error else { panic!("{error}") };
    assert!(sentence.contains("23514") && !sentence.contains("dredging"), "{sentence}");

    database.sql("ALTER TABLE confab.accounts RENAME TO lost");
    let error = store.accounts().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("42P01")), "{error}");
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_stored() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let first = record("ann", "A1B2C3D4", 10);
    store.create_conference(&first).await.unwrap();
    let huge = Element::new("", "huge").with_text(&"a".repeat(MAX_DOCUMENT + 1));
    let second = ConferenceRecord { version: 2, organizer_data: Some(huge), ..first.clone() };
    let error = store.save_conference(&second).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(why) if why.contains("could not be read again")),
        "{error}"
    );
    assert_eq!(all(&store).await, [first]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_open_an_empty_database_at_once_and_one_of_them_creates() {
    let Some(database) = Database::new() else { return };
    let address = database.address();
    let opening: Vec<_> = (0..RIVALS)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move { PostgresStore::open(&address).await })
        })
        .collect();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for store in opening {
        stores.push(Arc::new(store.await.unwrap().unwrap()));
    }
    let winners = compete(stores.iter().cycle(), rivals(1), create, StoreError::AlreadyExists).await;
    assert_eq!(winners, 1);
    for store in stores {
        assert_eq!(all(&*store).await.len(), 1);
    }
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let Some(database) = Database::new() else { return };
    // Our index would need this name.
    database.sql("CREATE SCHEMA confab; CREATE TYPE confab.accounts AS ENUM ('a')");
    let error = PostgresStore::open(&database.address()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error}");
    assert_eq!(database.sql("SELECT to_regclass('confab.marker')"), "");
    database.sql("DROP TYPE confab.accounts");
    drop(database.open().await);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let Some(database) = Database::new() else { return };
    let store = database.open().await;
    let hold = "BEGIN; LOCK TABLE confab.conferences; SELECT 'held'; SELECT pg_sleep(600)";
    let mut holder = database
        .cluster
        .psql(&database.name, hold)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = ";
    while database.sql(&format!("{waits} '{}'", database.name)) != "1" {
        tokio::task::yield_now().await;
    }
    let error = store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("57014")), "{error}");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    database.sql(&format!("{end} AND datname = '{}'", database.name));
    holder.wait().unwrap();
    assert_eq!(all(&store).await, []);
}
