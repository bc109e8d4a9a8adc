//! Whose database it is and which version its schema has: kept in a table `confab.marker`. All of
//! Confab's tables are in the schema `confab`, in a database that nobody else has tables in. Only one
//! that is empty or ours is written to.

use sqlx::{Connection, PgConnection};

use super::failed;
use crate::open_error::{SchemaError, known_version};

/// Marks a database as Confab's: `CONF` in ASCII. Also the key of the advisory lock that lets one
/// program at a time look at the schema and change it.
const APPLICATION: i64 = 0x434f_4e46;

/// What leads from each schema version to the next; version 0 is the empty database.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/postgres/0001_conferences_and_accounts.sql"),
    include_str!("../../migrations/postgres/0002_conference_keys.sql"),
    include_str!("../../migrations/postgres/0003_calls.sql"),
];

/// How long one statement of a migration may take, and how long it waits for another program's: many
/// front ends may start at once.
const MIGRATION_TIMEOUT: &str = "SET LOCAL statement_timeout = '60s'";

/// What the database is besides ours.
type Found = (bool, bool, String, String, i64);

/// Where we are: our marker, our schema, encoding, whether it only reads, and how many tables,
/// sequences and views there are that no extension brought.
const LOOK: &str = "SELECT to_regclass('confab.marker') IS NOT NULL, \
            to_regnamespace('confab') IS NOT NULL, \
            current_setting('server_encoding'), \
            current_setting('transaction_read_only'), \
            (SELECT count(*) FROM pg_class AS object \
               JOIN pg_namespace AS space ON space.oid = object.relnamespace \
              WHERE space.nspname <> 'information_schema' AND space.nspname !~ '^pg_' \
                AND NOT EXISTS (SELECT 1 FROM pg_depend AS owned \
                                 WHERE owned.classid = 'pg_class'::regclass \
                                   AND owned.objid = object.oid AND owned.deptype = 'e'))";

/// Checks that the database is ours to use, and brings it to the latest schema: all that is missing,
/// in one transaction. What is refused is not changed.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    sqlx::raw_sql(MIGRATION_TIMEOUT).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(APPLICATION)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let version = schema_version(&mut transaction).await?;
    let missing = &MIGRATIONS[version..];
    for migration in missing {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
    }
    if !missing.is_empty() {
        sqlx::query("UPDATE confab.marker SET version = $1")
            .bind(i64::try_from(MIGRATIONS.len()).expect("there are few"))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// The schema version of a database of ours: how many migrations it has seen. An empty one becomes
/// ours, of version 0.
async fn schema_version(connection: &mut PgConnection) -> Result<usize, SchemaError> {
    let (marked, named, encoding, read_only, objects): Found =
        sqlx::query_as(LOOK).fetch_one(&mut *connection).await.map_err(failed)?;
    if !marked {
        if objects > 0 {
            return Err(SchemaError::Foreign);
        }
        if encoding != "UTF8" {
            return Err(SchemaError::Unavailable(format!(
                "its encoding is {encoding}; create it with ENCODING 'UTF8'"
            )));
        }
    }
    if read_only == "on" {
        return Err(SchemaError::Unavailable("it can only be read; is it a standby?".into()));
    }
    if !marked {
        // Whoever may not create schemas is given an empty one.
        let schema = if named { "" } else { "CREATE SCHEMA confab;" };
        mark(connection, schema).await?;
    }
    let marker = sqlx::query_as("SELECT application, version FROM confab.marker");
    match marker.fetch_all(connection).await {
        Ok(rows) => match rows.as_slice() {
            [(APPLICATION, version)] => known_version(*version, MIGRATIONS.len()),
            _ => Err(SchemaError::Foreign),
        },
        Err(error) if is_of_another_form(&error) => Err(SchemaError::Foreign),
        Err(error) => Err(failed(error)),
    }
}

async fn mark(connection: &mut PgConnection, schema: &'static str) -> Result<(), SchemaError> {
    sqlx::raw_sql(schema).execute(&mut *connection).await.map_err(failed)?;
    let table = "CREATE TABLE confab.marker (application BIGINT NOT NULL, version BIGINT NOT NULL)";
    sqlx::raw_sql(table).execute(&mut *connection).await.map_err(failed)?;
    sqlx::query("INSERT INTO confab.marker VALUES ($1, 0)")
        .bind(APPLICATION)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// A marker with other columns is not ours.
fn is_of_another_form(error: &sqlx::Error) -> bool {
    /// SQLSTATE `undefined_column`.
    const UNDEFINED_COLUMN: &str = "42703";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == UNDEFINED_COLUMN) || matches!(error, sqlx::Error::ColumnDecode { .. })
}
