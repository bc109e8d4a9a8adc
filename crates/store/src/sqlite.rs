//! The embedded default: one SQLite file in WAL mode, synced at every commit.
//!
//! One connection writes, so writers queue here instead of colliding in SQLite; a few others read.
//! Another process may hold the same file open (`confab user add` beside a running server): each
//! verb is one statement, so SQLite's own locks are enough.

mod schema;

use std::{io::ErrorKind, path::Path, time::Duration};

use confab_conference::record::{ConferenceRecord, ConferenceSummary};
use confab_machine::Time;
use confab_schema::{
    conference_info::CallRecord,
    uri::{ConferenceUri, UserUri},
};
use confab_users::account::Account;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    MAX_CALLS, OpenError, Store, StoreError, StoreFuture,
    open_error::SchemaError,
    row_limit, row_offset,
    rows::{self, AccountRow, ConferenceRow, SummaryRow},
};

/// How many connections, and so threads, read at once.
const MAX_READERS: u32 = 4;

/// How long a statement waits for another process that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a verb waits for one of our own connections before it gives up as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nobody but the server's own user reads or writes the database; SQLite gives the files beside
/// it (`-wal`, `-shm`) the same mode.
const FILE_MODE: u32 = 0o600;

/// What to do about a file that is not ours.
const REMEDY: &str = "Choose another path, or move the file away.";

/// A [`Store`] in one file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database in `path`, creates it (readable by its owner alone) if there is none,
    /// and brings its schema up to date.
    ///
    /// # Errors
    /// When the file is newer than the program, somebody else's, or out of reach.
    pub async fn open(path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref();
        let refuse = |error: SchemaError| error.of(path.display(), REMEDY);
        create_file(path).await.map_err(|error| refuse(SchemaError::Unavailable(error.to_string())))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full);
        let pool = || SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);

        let writer = pool()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| refuse(schema::failed(error)))?;
        let mut connection = writer.acquire().await.map_err(|error| refuse(schema::failed(error)))?;
        schema::prepare(&mut connection).await.map_err(refuse)?;
        drop(connection);
        let readers =
            pool().max_connections(MAX_READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(SqliteStore { writer, readers })
    }
}

impl Store for SqliteStore {
    fn create_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = ConferenceRow::from_record(record)?;
            sqlx::query(
                "INSERT INTO conferences (organizer, id, version, expires, updated, details, conference_key) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(row.organizer)
            .bind(row.id)
            .bind(row.version)
            .bind(row.expires)
            .bind(row.updated)
            .bind(row.details)
            .bind(row.conference_key)
            .execute(&self.writer)
            .await
            .map_err(not_inserted)?;
            Ok(())
        })
    }

    fn conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, Option<ConferenceRecord>> {
        Box::pin(async move {
            let row: Option<ConferenceRow> =
                sqlx::query_as("SELECT * FROM conferences WHERE organizer = ? AND id = ?")
                    .bind(uri.organizer.to_string())
                    .bind(uri.id.to_string())
                    .fetch_optional(&self.readers)
                    .await
                    .map_err(unavailable)?;
            row.map(ConferenceRow::into_record).transpose()
        })
    }

    fn save_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = ConferenceRow::from_record(record)?;
            let saved = sqlx::query(
                "UPDATE conferences SET version = ?, expires = ?, updated = ?, details = ?, \
                 conference_key = ? WHERE organizer = ? AND id = ? AND version + 1 = ?",
            )
            .bind(row.version)
            .bind(row.expires)
            .bind(row.updated)
            .bind(row.details)
            .bind(row.conference_key)
            .bind(row.organizer)
            .bind(row.id)
            .bind(row.version)
            .execute(&self.writer)
            .await
            .map_err(unavailable)?;
            if saved.rows_affected() == 1 {
                return Ok(());
            }
            match self.conference(&record.uri).await? {
                Some(_) => Err(StoreError::Conflict),
                None => Err(StoreError::NotFound),
            }
        })
    }

    fn delete_conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let deleted = sqlx::query("DELETE FROM conferences WHERE organizer = ? AND id = ?")
                .bind(uri.organizer.to_string())
                .bind(uri.id.to_string())
                .execute(&self.writer)
                .await
                .map_err(unavailable)?;
            if deleted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound) }
        })
    }

    fn conferences<'a>(
        &'a self,
        organizer: Option<&'a UserUri>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Result<ConferenceSummary, StoreError>>> {
        Box::pin(async move {
            let query = match organizer {
                Some(user) => {
                    sqlx::query_as("SELECT * FROM conferences WHERE organizer = ? ORDER BY id LIMIT ?")
                        .bind(user.to_string())
                }
                None => sqlx::query_as("SELECT * FROM conferences ORDER BY organizer, id LIMIT ?"),
            };
            let rows: Vec<SummaryRow> =
                query.bind(row_limit(limit)).fetch_all(&self.readers).await.map_err(unavailable)?;
            Ok(rows.into_iter().map(|SummaryRow(summary)| summary).collect())
        })
    }

    fn conference_count<'a>(&'a self, organizer: &'a UserUri) -> StoreFuture<'a, usize> {
        Box::pin(async move {
            let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM conferences WHERE organizer = ?")
                .bind(organizer.to_string())
                .fetch_one(&self.readers)
                .await
                .map_err(unavailable)?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX))
        })
    }

    fn expired_before(
        &self,
        time: Time,
        skip: usize,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Result<ConferenceUri, StoreError>>> {
        Box::pin(async move {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT organizer, id FROM conferences WHERE expires < ? \
                 ORDER BY expires, organizer, id LIMIT ? OFFSET ?",
            )
            .bind(rows::micros(time))
            .bind(row_limit(limit))
            .bind(row_offset(skip))
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
            Ok(rows.iter().map(|(organizer, id)| rows::conference_uri(organizer, id)).collect())
        })
    }

    fn delete_expired<'a>(&'a self, uri: &'a ConferenceUri, time: Time) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let deleted =
                sqlx::query("DELETE FROM conferences WHERE organizer = ? AND id = ? AND expires < ?")
                    .bind(uri.organizer.to_string())
                    .bind(uri.id.to_string())
                    .bind(rows::micros(time))
                    .execute(&self.writer)
                    .await
                    .map_err(unavailable)?;
            if deleted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound) }
        })
    }

    fn add_calls<'a>(&'a self, uri: &'a ConferenceUri, calls: &'a [CallRecord]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let added = sqlx::query(
                "INSERT INTO calls (organizer, id, details) \
                 SELECT conferences.organizer, conferences.id, added.value FROM conferences, json_each(?) AS added \
                 WHERE conferences.organizer = ? AND conferences.id = ? ORDER BY added.key",
            )
            .bind(rows::calls_array(calls))
            .bind(uri.organizer.to_string())
            .bind(uri.id.to_string())
            .execute(&self.writer)
            .await
            .map_err(unavailable)?;
            if added.rows_affected() == 0 && !calls.is_empty() {
                return Err(StoreError::NotFound);
            }
            sqlx::query(
                "DELETE FROM calls WHERE organizer = ?1 AND id = ?2 AND number <= \
                 (SELECT number FROM calls WHERE organizer = ?1 AND id = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3)",
            )
            .bind(uri.organizer.to_string())
            .bind(uri.id.to_string())
            .bind(row_offset(MAX_CALLS))
            .execute(&self.writer)
            .await
            .map_err(unavailable)?;
            Ok(())
        })
    }

    fn calls<'a>(&'a self, uri: &'a ConferenceUri, limit: usize) -> StoreFuture<'a, Vec<CallRecord>> {
        Box::pin(async move {
            let details: Vec<(String,)> = sqlx::query_as(
                "SELECT details FROM calls WHERE organizer = ? AND id = ? ORDER BY number DESC LIMIT ?",
            )
            .bind(uri.organizer.to_string())
            .bind(uri.id.to_string())
            .bind(row_limit(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
            details.iter().map(|(details,)| rows::call(details)).collect()
        })
    }

    fn create_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = AccountRow::from_account(account);
            sqlx::query("INSERT INTO accounts (user, created, details) VALUES (?, ?, ?)")
                .bind(row.user)
                .bind(row.created)
                .bind(row.details)
                .execute(&self.writer)
                .await
                .map_err(not_inserted)?;
            Ok(())
        })
    }

    fn account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, Option<Account>> {
        Box::pin(async move {
            let row: Option<AccountRow> = sqlx::query_as("SELECT * FROM accounts WHERE user = ?")
                .bind(user.to_string())
                .fetch_optional(&self.readers)
                .await
                .map_err(unavailable)?;
            row.map(AccountRow::into_account).transpose()
        })
    }

    fn accounts(&self) -> StoreFuture<'_, Vec<Account>> {
        Box::pin(async move {
            let rows: Vec<AccountRow> = sqlx::query_as("SELECT * FROM accounts ORDER BY user")
                .fetch_all(&self.readers)
                .await
                .map_err(unavailable)?;
            rows.into_iter().map(AccountRow::into_account).collect()
        })
    }

    fn save_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = AccountRow::from_account(account);
            let saved = sqlx::query("UPDATE accounts SET created = ?, details = ? WHERE user = ?")
                .bind(row.created)
                .bind(row.details)
                .bind(row.user)
                .execute(&self.writer)
                .await
                .map_err(unavailable)?;
            if saved.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound) }
        })
    }

    fn delete_account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let deleted = sqlx::query("DELETE FROM accounts WHERE user = ?")
                .bind(user.to_string())
                .execute(&self.writer)
                .await
                .map_err(unavailable)?;
            if deleted.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotFound) }
        })
    }
}

/// Makes an empty file if there is none: SQLite would make it readable by everybody.
///
/// A file that is there is not even opened. Widening or narrowing what the administrator has placed
/// is not ours to do, and closing it would drop the locks of a store in this process that has it
/// open (POSIX locks belong to the process).
async fn create_file(path: &Path) -> std::io::Result<()> {
    let created = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path).await;
    match created {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn not_inserted(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(error) if error.is_unique_violation() => StoreError::AlreadyExists,
        _ => unavailable(error),
    }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_commit_is_synced_to_the_log_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path().join("confab.db")).await.unwrap();
        let check = async |pool: &SqlitePool, pragma: &'static str, expect: &str| {
            let value: String = sqlx::query_scalar(pragma).fetch_one(pool).await.unwrap();
            assert_eq!(value, expect, "{pragma}");
        };
        for pool in [&store.writer, &store.readers] {
            check(pool, "SELECT journal_mode FROM pragma_journal_mode", "wal").await;
            check(pool, "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2").await;
            check(pool, "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1").await;
            check(pool, "SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout", "5000").await;
        }
        sqlx::query("DELETE FROM accounts").execute(&store.readers).await.expect_err("readers only read");
    }
}
