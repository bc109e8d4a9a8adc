//! One front end at a time works on a database: it holds an advisory lock for as long as it runs. Two
//! of them would each begin a meeting of the same conference.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::sleep;

use super::{PostgresAddress, REMEDY, answered, connect, failed};
use crate::{OpenError, open_error::SchemaError};

/// The key of the lock: `CONF` in ASCII, and which of our locks.
const KEY: (i32, i32) = (0x434f_4e46, 1);
/// How often who starts looks whether a former front end, which has just been ended, is gone.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);
/// How often the connection is tried: the lock is as long-lived as that.
const LOOK: Duration = Duration::from_secs(5);
/// How long it waits after a failure to get the lock back.
const PAUSE: Duration = Duration::from_secs(1);
/// When the server of the database gives up a front end that is cut off, after 25 s of silence.
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

/// Who holds the lock: the process that serves him there, and his address unless it is the same machine.
const HOLDER: &str = "SELECT activity.pid, host(activity.client_addr) \
       FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid) \
      WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2 \
        AND held.classid::bigint = $1 AND held.objid::bigint = $2 AND activity.datname = current_database()";

/// The right to serve a database, which one program has at a time. It ends when this is dropped.
pub struct PostgresClaim {
    address: PostgresAddress,
    connection: PgConnection,
    /// The process that serves the connection, on the database's side.
    process: i32,
}

/// What became of an attempt to get the lock.
enum Attempt {
    Got { connection: PgConnection, process: i32 },
    Held { connection: PgConnection, process: i32, place: String },
}

impl PostgresClaim {
    /// Claims the database at `address`. It waits a few seconds for one that is being given up.
    ///
    /// # Errors
    /// [`OpenError::Taken`] if another program works on it; or it is out of reach.
    pub async fn take(address: &PostgresAddress) -> Result<PostgresClaim, OpenError> {
        let mut attempts = 1;
        loop {
            match attempt(address).await.map_err(|error| error.of(address, REMEDY))? {
                Attempt::Got { connection, process } => {
                    return Ok(PostgresClaim { address: address.clone(), connection, process });
                }
                Attempt::Held { .. } if attempts < ATTEMPTS => {
                    attempts += 1;
                    sleep(BETWEEN_ATTEMPTS).await;
                }
                Attempt::Held { place, .. } => return Err(taken(address, place)),
            }
        }
    }

    /// Holds it: when the connection breaks the lock is taken again. Meanwhile, while the database is
    /// away, nobody else can take it either. Returns only when somebody else has.
    pub async fn keep(mut self) -> OpenError {
        loop {
            sleep(LOOK).await;
            let look = sqlx::query("SELECT 1").execute(&mut self.connection);
            if matches!(answered(look).await, Ok(Ok(_))) {
                continue;
            }
            loop {
                match attempt(&self.address).await {
                    Ok(Attempt::Got { connection, process }) => {
                        (self.connection, self.process) = (connection, process);
                        break;
                    }
                    // Our own old connection, which the server does not know to be broken.
                    Ok(Attempt::Held { mut connection, process, .. }) if process == self.process => {
                        let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(process);
                        let _ = answered(end.execute(&mut connection)).await;
                    }
                    Ok(Attempt::Held { place, .. }) => return taken(&self.address, place),
                    Err(_) => {}
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn attempt(address: &PostgresAddress) -> Result<Attempt, SchemaError> {
    let mut connection = connect(address, address.options().clone().options(KEEPALIVE)).await?;
    let lock =
        sqlx::query_as("SELECT pg_try_advisory_lock($1, $2), pg_backend_pid()").bind(KEY.0).bind(KEY.1);
    let (locked, process): (bool, i32) =
        answered(lock.fetch_one(&mut connection)).await.and_then(|done| done).map_err(failed)?;
    if locked {
        return Ok(Attempt::Got { connection, process });
    }
    let holder = sqlx::query_as(HOLDER).bind(i64::from(KEY.0)).bind(i64::from(KEY.1));
    let holder: Option<(i32, Option<String>)> =
        answered(holder.fetch_optional(&mut connection)).await.and_then(|done| done).map_err(failed)?;
    // It may have been given up in between; then the next attempt gets it.
    let (process, place) = holder.unwrap_or_default();
    let place = place.unwrap_or_else(|| "the database's own machine".to_owned());
    Ok(Attempt::Held { connection, process, place })
}

fn taken(address: &PostgresAddress, place: String) -> OpenError {
    OpenError::Taken { database: address.to_string(), place }
}
