//! Steps 2 and 4: a write whose answer was lost. The database has it or has it not, so it is asked:
//! at once for whoever waits for the answer, and in peace for the Focus, which must not go on from
//! another record than the database has.

use std::time::Duration;

use confab_conference::record::ConferenceRecord;
use confab_schema::uri::ConferenceUri;
use confab_store::Store;
use tokio::time::timeout;

use super::FocusDirectory;

/// How long who wanted the write waits for the database's word on it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long after the failure the first look is. While the database is away the pause doubles.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long after the first look that was answered the last one is: a write that was still on its way
/// then is done by now, or never.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// Whether the database has `wanted` for this conference (`None`: no record), if it says so at once.
pub(crate) async fn has(
    store: &dyn Store,
    conference: &ConferenceUri,
    wanted: Option<&ConferenceRecord>,
) -> bool {
    let found = timeout(AT_ONCE, store.conference(conference)).await;
    matches!(found, Ok(Ok(found)) if found.as_ref() == wanted)
}

impl FocusDirectory {
    /// Nobody knows whether a write of this conference was done. Its Focus goes on, and hears what the
    /// database has as soon as that can be asked. Only who looks for the latest doubt goes on looking.
    pub fn look_again(&self, conference: &ConferenceUri) {
        let mut active = self.active();
        let Some(entry) = active.conferences.get_mut(conference) else { return };
        entry.doubts += 1;
        let (directory, conference, doubt) = (self.clone(), conference.clone(), entry.doubts);
        tokio::spawn(async move { directory.look_until_sure(&conference, doubt).await });
    }

    async fn look_until_sure(&self, conference: &ConferenceUri, doubt: u64) {
        let clock = self.services.clock;
        let mut pause = FIRST_LOOK;
        let mut answered = false;
        loop {
            clock.sleep_until(Some(clock.now() + pause)).await;
            // The next meeting reads the record anyway.
            let doubts = self.active().conferences.get(conference).map(|entry| entry.doubts);
            if doubts != Some(doubt) {
                return;
            }
            match self.services.store.conference(conference).await {
                Ok(Some(record)) => self.record_changed(&record).await,
                Ok(None) => drop(self.end(conference).await),
                Err(_) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            }
            if answered {
                return;
            }
            (answered, pause) = (true, LAST_LOOK);
        }
    }
}
