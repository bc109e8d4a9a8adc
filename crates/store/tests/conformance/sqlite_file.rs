//! What the SQLite store promises of its file: everything answered with `Ok` is in it, nobody else
//! can read it, and what is not ours is not touched.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use confab_conference::record::ConferenceRecord;
use confab_machine::Time;
use confab_schema::xml::{Element, MAX_DOCUMENT};
use confab_store::{OpenError, SqliteStore, Store, StoreError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use super::{
    RIVALS, ROWS_OF_VERSION_1, account, all, compete, create, record, rivals, rows_of_version_1_are_read, uri,
};

/// Tells this very test program to be the child, and where to write.
const CHILD_DATABASE: &str = "CONFAB_TEST_CHILD_DATABASE";
/// The organizer the child writes for.
const CHILD_ORGANIZER: &str = "CONFAB_TEST_CHILD_ORGANIZER";
/// What a line of the child's begins with.
const DURABLE: &str = "durable ";
/// How many writes the parent waits for before it kills.
const WRITES_BEFORE_KILL: usize = 100;
/// Where the child ends by itself, should nobody kill it.
const MOST_WRITES: u32 = 1_000_000;

/// Does something to a database behind the store's back.
async fn execute(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_reopened_file_holds_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    let kept = record("ann", "A1B2C3D4", 10);
    let store = SqliteStore::open(&path).await.unwrap();
    store.create_conference(&kept).await.unwrap();
    store.create_conference(&record("ann", "00000000", 10)).await.unwrap();
    store.delete_conference(&uri("ann", "00000000")).await.unwrap();
    store.create_account(&account("ann")).await.unwrap();
    drop(store);

    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(all(&store).await, std::slice::from_ref(&kept));
    assert_eq!(store.accounts().await.unwrap(), [account("ann")]);
    store.save_conference(&ConferenceRecord { version: 2, ..kept }).await.unwrap();
}

#[tokio::test]
async fn only_its_owner_can_read_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("confab.db")).await.unwrap();
    store.create_account(&account("ann")).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    names.sort();
    assert_eq!(names, ["confab.db", "confab.db-shm", "confab.db-wal"]);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    drop(SqliteStore::open(&path).await.unwrap());
    execute(&path, "PRAGMA user_version = 999").await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains("was written by a newer Confab: it has schema version 999"), "{sentence}");
    assert!(sentence.starts_with(path.to_str().unwrap()), "{sentence}");
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_with_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    execute(&path, include_str!("../../migrations/sqlite/0001_conferences_and_accounts.sql")).await;
    execute(&path, "PRAGMA application_id = 1129270854; PRAGMA user_version = 1").await;
    execute(&path, ROWS_OF_VERSION_1).await;
    let store = SqliteStore::open(&path).await.unwrap();
    rows_of_version_1_are_read(&store).await;
    drop(store);
    // A program that knows version 1 alone must refuse it from now on: it would lose the keys.
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let (version,): (i64,) = sqlx::query_as("SELECT user_version FROM pragma_user_version")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(version, 3);
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(all(&store).await[0].version, 8, "once is enough");
}

#[tokio::test]
async fn other_peoples_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let check = async |name: &str| {
        let path = dir.path().join(name);
        let before = std::fs::read(&path).unwrap();
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{name}: {error}");
        assert!(error.to_string().contains("is not a Confab database"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{name} was changed");
    };
    std::fs::write(dir.path().join("short.txt"), "Dear diary").unwrap();
    check("short.txt").await;
    std::fs::write(dir.path().join("long.txt"), "Dear diary, ".repeat(10_000)).unwrap();
    check("long.txt").await;
    execute(&dir.path().join("tables.db"), "CREATE TABLE birds (name TEXT)").await;
    check("tables.db").await;
    execute(&dir.path().join("numbered.db"), "PRAGMA user_version = 1").await;
    check("numbered.db").await;
    execute(&dir.path().join("marked.db"), "PRAGMA application_id = 7").await;
    check("marked.db").await;
}

#[tokio::test]
async fn a_file_out_of_reach_is_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing/confab.db"), dir.path().to_owned()] {
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Unavailable { .. }), "{error}");
        let sentence = error.to_string();
        assert!(
            sentence.contains(path.to_str().unwrap()) && sentence.contains("cannot be opened"),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn an_unreadable_row_is_named_but_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    execute(&path, "UPDATE conferences SET details = json_replace(details, '$.locked', 'private')").await;
    let error = store.conference(&uri("ann", "A1B2C3D4")).await.unwrap_err();
    let StoreError::Unavailable(sentence) = error else { panic!("{error}") };
    assert!(sentence.contains("A1B2C3D4") && !sentence.contains("private"), "{sentence}");
}

#[tokio::test]
async fn an_unreadable_row_hides_no_expired_one_and_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for (id, expires) in [("11111111", 1), ("22222222", 2), ("33333333", 3)] {
        store.create_conference(&record("ann", id, expires)).await.unwrap();
    }
    execute(&path, "UPDATE conferences SET id = 'private?' WHERE id = '11111111'").await;
    execute(&path, "UPDATE conferences SET version = -1, details = 'none' WHERE id = '22222222'").await;
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
async fn what_could_not_be_read_again_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("confab.db")).await.unwrap();
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
async fn many_may_open_an_empty_file_at_once_and_one_of_them_creates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    std::fs::write(&path, "").unwrap();
    let opening: Vec<_> = (0..RIVALS).map(|_| tokio::spawn(SqliteStore::open(path.clone()))).collect();
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

/// Not a test but the child of the next one: it writes, and prints each key after its `Ok`.
#[tokio::test]
async fn writes_until_killed() {
    let Some(path) = env::var_os(CHILD_DATABASE) else { return };
    let organizer = env::var(CHILD_ORGANIZER).unwrap();
    let store = SqliteStore::open(path).await.unwrap();
    for number in 0..MOST_WRITES {
        let id = format!("{number:08X}");
        let first = record(&organizer, &id, 10);
        store.create_conference(&first).await.unwrap();
        writeln!(std::io::stdout(), "{DURABLE}{id} 1").unwrap();
        store.save_conference(&ConferenceRecord { version: 2, ..first }).await.unwrap();
        writeln!(std::io::stdout(), "{DURABLE}{id} 2").unwrap();
    }
}

#[tokio::test]
async fn whatever_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("confab.db");
    let mut answered = Vec::new();
    // Each child begins with the file the one before left behind.
    for organizer in ["ann", "bob", "cleo"] {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "sqlite_file::writes_until_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_DATABASE, &path)
            .env(CHILD_ORGANIZER, organizer)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let writes = kill_after(child, WRITES_BEFORE_KILL);
        assert!(writes.len() >= WRITES_BEFORE_KILL, "{organizer}: only {} writes", writes.len());
        answered.extend(writes.into_iter().map(|(id, version)| (uri(organizer, &id), version)));
    }

    let store = SqliteStore::open(&path).await.unwrap();
    for (uri, version) in answered {
        let stored = store.conference(&uri).await.unwrap().unwrap_or_else(|| panic!("{uri} is lost"));
        assert!(stored.version >= version, "version {version} of {uri} is lost");
    }
}

/// Kills the child once it has answered for that many writes; returns ID and version of all it
/// has answered for.
fn kill_after(mut child: Child, writes: usize) -> Vec<(String, u32)> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut answered = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The test harness writes its own words before the first.
        if let Some((_, write)) = line.trim_end().split_once(DURABLE)
            && line.ends_with('\n')
        {
            let (id, version) = write.split_once(' ').unwrap();
            answered.push((id.to_owned(), version.parse().unwrap()));
            if answered.len() == writes {
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the child ended by itself: {status}");
    answered
}
