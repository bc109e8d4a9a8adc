//! Deletes the records of conferences that have expired and stayed so for the grace (c3p §12).

use std::{sync::Arc, time::Duration};

use confab_machine::Time;
use confab_schema::uri::ConferenceUri;
use confab_store::{Store, StoreError};
use tracing::{info, warn};

use crate::{clock::Clock, focus_host::FocusDirectory};

/// How often is swept.
const PERIOD: Duration = Duration::from_secs(3600);
/// Records looked at together.
const BATCH: usize = 100;
/// After so many failures, one upon the other, the database is left in peace until the next time.
const FAILURES: usize = 3;

/// What sweeps a database.
pub struct Sweeper {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The active conferences, which are left alone.
    pub directory: FocusDirectory,
    /// How long after its expiry a record may still be prolonged.
    pub grace: Duration,
}

impl Sweeper {
    /// Sweeps now and then, for ever.
    pub async fn run(self, clock: Clock) {
        loop {
            let now = clock.now();
            match self.sweep(now).await {
                Ok(0) => {}
                Ok(deleted) => info!(deleted, "expired conferences were deleted"),
                Err(error) => warn!(%error, "expired conferences could not be deleted; it is tried again"),
            }
            clock.sleep_until(Some(now + PERIOD)).await;
        }
    }

    /// Deletes what expired longer than the grace before `now`, and says how many those were. One
    /// that cannot be deleted stays until the next time, and the others go.
    ///
    /// # Errors
    /// If the database does not answer; some may have been deleted.
    pub async fn sweep(&self, now: Time) -> Result<usize, StoreError> {
        let due = now - self.grace;
        let (mut deleted, mut left, mut failures) = (0, 0, 0);
        loop {
            // What was left alone stands before the others, so the next look passes over it.
            let expired = self.store.expired_before(due, left, BATCH).await?;
            let looked_at = expired.len();
            for found in expired {
                let conference = match found {
                    Ok(conference) => conference,
                    Err(error) => {
                        warn!(%error, "an expired conference is left in the database");
                        left += 1;
                        continue;
                    }
                };
                match self.delete(&conference, due).await {
                    Ok(true) => (deleted, failures) = (deleted + 1, 0),
                    Ok(false) => (left, failures) = (left + 1, 0),
                    Err(error) if failures + 1 < FAILURES => {
                        warn!(%conference, %error, "an expired conference could not be deleted");
                        (left, failures) = (left + 1, failures + 1);
                    }
                    Err(error) => return Err(error),
                }
            }
            if looked_at < BATCH {
                return Ok(deleted);
            }
        }
    }

    /// Deletes one, unless it is active or was prolonged meanwhile; says whether it did.
    async fn delete(&self, conference: &ConferenceUri, due: Time) -> Result<bool, StoreError> {
        if self.directory.is_active(conference) {
            return Ok(false);
        }
        match self.store.delete_expired(conference, due).await {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
