//! Deletes the records of conferences that have expired and stayed so for the grace (c3p §12).

use std::{sync::Arc, time::Duration};

use confab_conference::record::ConferenceRecord;
use confab_machine::Time;
use confab_schema::uri::ConferenceUri;
use confab_store::{Store, StoreError};
use tracing::{info, warn};

use crate::{clock::Clock, focus_host::FocusDirectory};

/// How often is swept.
const PERIOD: Duration = Duration::from_secs(3600);
/// Records looked at together.
const BATCH: usize = 100;

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

    /// Deletes what expired longer than the grace before `now`, and says how many those were.
    ///
    /// # Errors
    /// If the database does not answer; some may have been deleted.
    pub async fn sweep(&self, now: Time) -> Result<usize, StoreError> {
        let due = now - self.grace;
        let mut deleted = 0;
        loop {
            let expired = self.store.expired_before(due, BATCH).await?;
            let before = deleted;
            for record in &expired {
                deleted += usize::from(self.delete(&record.uri, due).await?);
            }
            // What was left alone comes again with the next look, so that must not go on for ever.
            if expired.len() < BATCH || deleted == before {
                return Ok(deleted);
            }
        }
    }

    /// Deletes one, unless it was prolonged meanwhile or is active.
    async fn delete(&self, conference: &ConferenceUri, due: Time) -> Result<bool, StoreError> {
        let Some(record) = self.store.conference(conference).await? else { return Ok(false) };
        if record.expires >= due || self.directory.is_active(conference) {
            return Ok(false);
        }
        // Raising the version decides who is first: a change by the organizer is refused after this,
        // and one before it makes this a conflict.
        let last = ConferenceRecord { version: record.version + 1, ..record };
        let claimed = self.store.save_conference(&last).await;
        let gone = match claimed {
            Ok(()) => self.store.delete_conference(conference).await,
            refused => refused,
        };
        match gone {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict | StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
