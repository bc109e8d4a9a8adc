//! The store for a database that is a server of its own: PostgreSQL.
//!
//! Every verb is one statement, so every change is whole or not at all. No verb waits for ever: a
//! server that is away, frozen or cut off makes it fail as unavailable, and the next verb finds the
//! server again by itself when it is back.

mod address;
mod claim;
mod schema;

use std::{fmt, time::Duration};

use confab_conference::record::{ConferenceRecord, ConferenceSummary};
use confab_machine::Time;
use confab_schema::{
    conference_info::CallRecord,
    uri::{ConferenceUri, UserUri},
};
use confab_users::account::Account;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::{Query, QueryAs},
};
use tokio::time::timeout;

pub use self::{
    address::{AddressError, PostgresAddress},
    claim::PostgresClaim,
};
use crate::{
    MAX_CALLS, OpenError, Store, StoreError, StoreFuture,
    open_error::SchemaError,
    row_limit, row_offset,
    rows::{self, AccountRow, ConferenceRow, SummaryRow},
};

/// How many connections, and so statements, there are at once; a server allows 100 by default, to all
/// its users together.
const MAX_CONNECTIONS: u32 = 10;

/// How long a verb waits for a connection, including a server that is just starting.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the server works on one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long we wait for its answer: a server that is frozen or cut off does not keep its own limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// How long the server keeps the locks of somebody who no longer speaks in the middle of a migration.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long opening may take, with all migrations and the wait for others who migrate.
const OPEN_TIMEOUT: Duration = Duration::from_secs(300);

/// What to do about a database that is not ours.
const REMEDY: &str = "Give Confab a database of its own.";

/// A [`Store`] in a PostgreSQL database.
pub struct PostgresStore {
    address: PostgresAddress,
    pool: PgPool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("address", &self.address).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the database at `address` and brings its schema up to date. Any number of programs may
    /// do so at once.
    ///
    /// # Errors
    /// When the database is newer than the program, somebody else's, or out of reach.
    pub async fn open(address: &PostgresAddress) -> Result<PostgresStore, OpenError> {
        let prepared = timeout(OPEN_TIMEOUT, prepare(address)).await;
        let prepared = prepared.unwrap_or_else(|_| Err(SchemaError::Unavailable(silence(OPEN_TIMEOUT))));
        prepared.map_err(|error| error.of(address, REMEDY))?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(address.options().clone());
        Ok(PostgresStore { address: address.clone(), pool })
    }

    /// Runs a statement that changes something; returns how many rows it changed.
    async fn execute(&self, statement: Query<'_, Postgres, PgArguments>) -> sqlx::Result<u64> {
        let mut lease = Lease::take(&self.pool).await?;
        let done = answered(statement.execute(lease.connection())).await?;
        lease.give_back();
        Ok(done?.rows_affected())
    }

    /// Runs a statement that reads; returns all rows.
    async fn fetch<T>(&self, statement: QueryAs<'_, Postgres, T, PgArguments>) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin,
    {
        let fetch = async {
            let mut lease = Lease::take(&self.pool).await?;
            let rows = answered(statement.fetch_all(lease.connection())).await?;
            lease.give_back();
            rows
        };
        fetch.await.map_err(unavailable)
    }
}

/// On a connection of its own, whose error says more than that the pool has none.
async fn prepare(address: &PostgresAddress) -> Result<(), SchemaError> {
    let mut connection = connect(address, address.options().clone()).await?;
    schema::prepare(&mut connection).await?;
    connection.close().await.map_err(failed)
}

/// A connection outside of any pool.
async fn connect(address: &PostgresAddress, options: PgConnectOptions) -> Result<PgConnection, SchemaError> {
    address.check_files().await.map_err(SchemaError::Unavailable)?;
    let connecting = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options));
    let connection = connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    connection.map_err(
        |error| if is_starting(&error) { SchemaError::Away(sentence(&error)) } else { failed(error) },
    )
}

fn failed(error: sqlx::Error) -> SchemaError {
    SchemaError::Unavailable(sentence(&error))
}

/// Whether a server that gave no connection may only be starting yet.
fn is_starting(error: &sqlx::Error) -> bool {
    /// SQLSTATE `cannot_connect_now`.
    const CANNOT_CONNECT_NOW: &str = "57P03";
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == CANNOT_CONNECT_NOW),
        _ => false,
    }
}

/// A connection for one statement. Unless it is given back it is hung up: when nobody waits for the
/// answer any more, the pool must not wait for it either.
struct Lease {
    connection: Option<PoolConnection<Postgres>>,
}

impl Lease {
    async fn take(pool: &PgPool) -> sqlx::Result<Lease> {
        Ok(Lease { connection: Some(pool.acquire().await?) })
    }

    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until it is given back")
    }

    fn give_back(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

/// What `statement` comes to, unless the server keeps silent.
async fn answered<T>(statement: impl Future<Output = T>) -> sqlx::Result<T> {
    let silent = |_| sqlx::Error::Io(std::io::Error::other(silence(ANSWER_TIMEOUT)));
    timeout(ANSWER_TIMEOUT, statement).await.map_err(silent)
}

fn silence(time: Duration) -> String {
    format!("no answer within {} s", time.as_secs())
}

impl Store for PostgresStore {
    fn create_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = ConferenceRow::from_record(record)?;
            let statement = sqlx::query(
                "INSERT INTO conferences (organizer, id, version, expires, updated, details, conference_key) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(row.organizer)
            .bind(row.id)
            .bind(row.version)
            .bind(row.expires)
            .bind(row.updated)
            .bind(row.details)
            .bind(row.conference_key);
            self.execute(statement).await.map_err(not_inserted)?;
            Ok(())
        })
    }

    fn conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, Option<ConferenceRecord>> {
        Box::pin(async move {
            let statement = sqlx::query_as(
                "SELECT organizer, id, version, expires, updated, details, conference_key FROM conferences \
                 WHERE organizer = $1 AND lower(id) = $2",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri));
            let rows: Vec<ConferenceRow> = self.fetch(statement).await?;
            rows.into_iter().next().map(ConferenceRow::into_record).transpose()
        })
    }

    fn save_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = ConferenceRow::from_record(record)?;
            let statement = sqlx::query(
                "UPDATE conferences SET version = $3, expires = $4, updated = $5, details = $6, \
                 conference_key = $7 WHERE organizer = $1 AND lower(id) = $2 AND version + 1 = $3",
            )
            .bind(row.organizer)
            .bind(folded(&record.uri))
            .bind(row.version)
            .bind(row.expires)
            .bind(row.updated)
            .bind(row.details)
            .bind(row.conference_key);
            if self.execute(statement).await.map_err(unavailable)? == 1 {
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
            let statement = sqlx::query(
                "WITH gone AS (DELETE FROM calls WHERE organizer = $1 AND id = $2) \
                 DELETE FROM conferences WHERE organizer = $1 AND lower(id) = $2",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri));
            found(self.execute(statement).await)
        })
    }

    fn conferences<'a>(
        &'a self,
        organizer: Option<&'a UserUri>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Result<ConferenceSummary, StoreError>>> {
        Box::pin(async move {
            let statement = match organizer {
                Some(user) => sqlx::query_as(
                    "SELECT organizer, id, version, expires, updated, details, conference_key FROM conferences \
                     WHERE organizer = $1 ORDER BY lower(id) LIMIT $2",
                )
                .bind(user.to_string()),
                None => sqlx::query_as(
                    "SELECT organizer, id, version, expires, updated, details, conference_key FROM conferences \
                     ORDER BY organizer, lower(id) LIMIT $1",
                ),
            };
            let rows: Vec<SummaryRow> = self.fetch(statement.bind(row_limit(limit))).await?;
            Ok(rows.into_iter().map(|SummaryRow(summary)| summary).collect())
        })
    }

    fn conference_count<'a>(&'a self, organizer: &'a UserUri) -> StoreFuture<'a, usize> {
        Box::pin(async move {
            let statement = sqlx::query_as("SELECT COUNT(*) FROM conferences WHERE organizer = $1")
                .bind(organizer.to_string());
            let rows: Vec<(i64,)> = self.fetch(statement).await?;
            Ok(rows.first().map_or(0, |(count,)| usize::try_from(*count).unwrap_or(usize::MAX)))
        })
    }

    fn expired_before(
        &self,
        time: Time,
        skip: usize,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Result<ConferenceUri, StoreError>>> {
        Box::pin(async move {
            let statement = sqlx::query_as(
                "SELECT organizer, id FROM conferences \
                 WHERE expires < $1 ORDER BY expires, organizer, lower(id) LIMIT $2 OFFSET $3",
            )
            .bind(rows::micros(time))
            .bind(row_limit(limit))
            .bind(row_offset(skip));
            let rows: Vec<(String, String)> = self.fetch(statement).await?;
            Ok(rows.iter().map(|(organizer, id)| rows::conference_uri(organizer, id)).collect())
        })
    }

    fn delete_expired<'a>(&'a self, uri: &'a ConferenceUri, time: Time) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let statement = sqlx::query(
                "WITH gone AS (DELETE FROM calls USING conferences WHERE calls.organizer = $1 AND calls.id = $2 \
                 AND conferences.organizer = $1 AND lower(conferences.id) = $2 AND conferences.expires < $3) \
                 DELETE FROM conferences WHERE organizer = $1 AND lower(id) = $2 AND expires < $3",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri))
            .bind(rows::micros(time));
            found(self.execute(statement).await)
        })
    }

    fn add_calls<'a>(&'a self, uri: &'a ConferenceUri, calls: &'a [CallRecord]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let statement = sqlx::query(
                "INSERT INTO calls (organizer, id, details) SELECT $1, $2, added.details \
                 FROM UNNEST($3::text[]) WITH ORDINALITY AS added (details, place) \
                 WHERE EXISTS (SELECT 1 FROM conferences WHERE organizer = $1 AND lower(id) = $2) \
                 ORDER BY added.place",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri))
            .bind(calls.iter().map(rows::call_details).collect::<Vec<String>>());
            if self.execute(statement).await.map_err(unavailable)? == 0 && !calls.is_empty() {
                return Err(StoreError::NotFound);
            }
            let statement = sqlx::query(
                "DELETE FROM calls WHERE organizer = $1 AND id = $2 AND number <= \
                 (SELECT number FROM calls WHERE organizer = $1 AND id = $2 ORDER BY number DESC LIMIT 1 OFFSET $3)",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri))
            .bind(row_offset(MAX_CALLS));
            self.execute(statement).await.map_err(unavailable)?;
            Ok(())
        })
    }

    fn calls<'a>(&'a self, uri: &'a ConferenceUri, limit: usize) -> StoreFuture<'a, Vec<CallRecord>> {
        Box::pin(async move {
            let statement = sqlx::query_as(
                "SELECT details FROM calls WHERE organizer = $1 AND id = $2 ORDER BY number DESC LIMIT $3",
            )
            .bind(uri.organizer.to_string())
            .bind(folded(uri))
            .bind(row_limit(limit));
            let details: Vec<(String,)> = self.fetch(statement).await?;
            details.iter().map(|(details,)| rows::call(details)).collect()
        })
    }

    fn create_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = AccountRow::from_account(account);
            let statement =
                sqlx::query("INSERT INTO accounts (\"user\", created, details) VALUES ($1, $2, $3)")
                    .bind(row.user)
                    .bind(row.created)
                    .bind(row.details);
            self.execute(statement).await.map_err(not_inserted)?;
            Ok(())
        })
    }

    fn account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, Option<Account>> {
        Box::pin(async move {
            let statement =
                sqlx::query_as("SELECT \"user\", created, details FROM accounts WHERE \"user\" = $1")
                    .bind(user.to_string());
            let rows: Vec<AccountRow> = self.fetch(statement).await?;
            rows.into_iter().next().map(AccountRow::into_account).transpose()
        })
    }

    fn accounts(&self) -> StoreFuture<'_, Vec<Account>> {
        Box::pin(async move {
            let statement =
                sqlx::query_as("SELECT \"user\", created, details FROM accounts ORDER BY \"user\"");
            let rows: Vec<AccountRow> = self.fetch(statement).await?;
            rows.into_iter().map(AccountRow::into_account).collect()
        })
    }

    fn save_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let row = AccountRow::from_account(account);
            let statement = sqlx::query("UPDATE accounts SET created = $2, details = $3 WHERE \"user\" = $1")
                .bind(row.user)
                .bind(row.created)
                .bind(row.details);
            found(self.execute(statement).await)
        })
    }

    fn delete_account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let statement = sqlx::query("DELETE FROM accounts WHERE \"user\" = $1").bind(user.to_string());
            found(self.execute(statement).await)
        })
    }
}

/// The ID as the index has it. It is folded here, for the server would do it by its own language.
fn folded(uri: &ConferenceUri) -> String {
    uri.id.to_string().to_ascii_lowercase()
}

fn found(changed: sqlx::Result<u64>) -> Result<(), StoreError> {
    if changed.map_err(unavailable)? == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

fn not_inserted(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(error) if error.is_unique_violation() => StoreError::AlreadyExists,
        _ => unavailable(error),
    }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(sentence(&error))
}

/// What went wrong, with nothing of a record in it. PostgreSQL's own words are taken only where they
/// are about the server or who may use it; otherwise its code must do.
fn sentence(error: &sqlx::Error) -> String {
    /// Classes of SQLSTATE: connections, transactions, who may connect, which database, resources,
    /// states, the operator, the operating system.
    const ABOUT_THE_SERVER: [&str; 8] = ["08", "25", "28", "3D", "53", "55", "57", "58"];
    /// SQLSTATE `insufficient_privilege`.
    const NOT_ALLOWED: &str = "42501";
    match error {
        sqlx::Error::PoolTimedOut => {
            format!("PostgreSQL gave no connection within {} s", ACQUIRE_TIMEOUT.as_secs())
        }
        sqlx::Error::Io(error) => format!("the connection to PostgreSQL failed ({error})"),
        sqlx::Error::Tls(error) => format!("TLS with PostgreSQL failed ({error})"),
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let open = ABOUT_THE_SERVER.iter().any(|class| code.starts_with(class)) || code == NOT_ALLOWED;
            if open {
                format!("PostgreSQL says: {} ({code})", error.message())
            } else {
                format!("PostgreSQL refused the statement (SQLSTATE {code})")
            }
        }
        _ => "PostgreSQL answered something this program does not understand".to_owned(),
    }
}
