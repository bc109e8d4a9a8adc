//! Whose file it is and which version its schema has: kept in the two header fields SQLite gives
//! to applications, `application_id` and `user_version`. Only a file that is empty or ours is
//! written to.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::open_error::{SchemaError, known_version};

/// Marks a database as Confab's: `CONF` in ASCII.
const APPLICATION_ID: i64 = 0x434f_4e46;

/// What leads from each schema version to the next; version 0 is the empty file.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/sqlite/0001_conferences_and_accounts.sql"),
    include_str!("../../migrations/sqlite/0002_conference_keys.sql"),
    include_str!("../../migrations/sqlite/0003_calls.sql"),
];

/// How often we try to switch to WAL mode while others open the same new file, and how long we
/// wait in between: SQLite's own busy timeout does not cover the switch.
const WAL_ATTEMPTS: u32 = 100;
const WAL_PAUSE: Duration = Duration::from_millis(50);

/// SQLite's result code for a file that somebody else has locked (`SQLITE_BUSY`).
const BUSY: u32 = 5;

/// SQLite's result code for a file that has another format (`SQLITE_NOTADB`).
const NOT_A_DATABASE: u32 = 26;

/// What an error of SQLite's means for the file.
pub(super) fn failed(error: sqlx::Error) -> SchemaError {
    if result_code(&error) == Some(NOT_A_DATABASE) {
        return SchemaError::Foreign;
    }
    SchemaError::Unavailable(error.to_string())
}

/// Checks that the database is ours to use, and brings it to WAL mode and the latest schema.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), SchemaError> {
    // Before anything is written: switching to WAL changes the file.
    schema_version(connection).await?;
    switch_to_wal(connection).await?;
    migrate(connection).await
}

async fn switch_to_wal(connection: &mut SqliteConnection) -> Result<(), SchemaError> {
    let mut attempts = 1;
    let mode: String = loop {
        match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await {
            Err(error) if result_code(&error) == Some(BUSY) && attempts < WAL_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(WAL_PAUSE).await;
            }
            mode => break mode.map_err(failed)?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    Err(SchemaError::Unavailable(format!(
        "its file system does not allow a write-ahead log (SQLite stays in {mode} mode)"
    )))
}

/// All that is missing, in one transaction. It reads the version again under the write lock, for
/// two programs may open a new file at once.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), SchemaError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let version = schema_version(&mut transaction).await?;
    let missing = &MIGRATIONS[version..];
    for migration in missing {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
    }
    if !missing.is_empty() {
        let marks =
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", MIGRATIONS.len());
        // Pragmas take no parameters; both numbers are ours.
        sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// The schema version of an empty database or one of ours: how many migrations it has seen.
async fn schema_version(connection: &mut SqliteConnection) -> Result<usize, SchemaError> {
    let (owner, version, objects): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), \
                (SELECT user_version FROM pragma_user_version), \
                (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    let empty = (owner, version, objects) == (0, 0, 0);
    if owner != APPLICATION_ID && !empty {
        return Err(SchemaError::Foreign);
    }
    known_version(version, MIGRATIONS.len())
}

/// SQLite's primary result code; the bits above it say more, but not what we ask.
fn result_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
