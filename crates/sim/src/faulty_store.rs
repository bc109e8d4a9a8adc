//! A conferencing database that fails on demand: the memory store with faults in front of it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use confab_conference::record::{ConferenceRecord, ConferenceSummary};
use confab_machine::Time;
use confab_schema::{
    conference_info::CallRecord,
    uri::{ConferenceUri, UserUri},
};
use confab_store::{MemoryStore, Store, StoreError, StoreFuture};
use confab_users::account::Account;

/// What goes wrong. Nothing does by default.
#[derive(Default)]
pub struct Faults {
    /// So many of the next writes of conferences are done, and answered as if the database were away.
    pub lost_acknowledgements: usize,
    /// So many reads of one conference are answered rightly before the lost ones.
    pub read_before: usize,
    /// So many of the next reads of one conference are answered as if the database were away.
    pub lost_reads: usize,
    /// These cannot be deleted.
    pub stuck: BTreeSet<ConferenceUri>,
    /// How long a deletion takes before it is done, and again before it is answered.
    pub deleting: Duration,
}

/// The store.
#[derive(Default)]
pub struct FaultyStore {
    kept: MemoryStore,
    faults: Mutex<Faults>,
}

impl FaultyStore {
    /// What goes wrong from now on.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nothing panics while it holds the faults")
    }

    /// Whether this answer is one of so many; it counts down.
    fn is_counted(&self, which: impl FnOnce(&mut Faults) -> &mut usize) -> bool {
        let mut faults = self.faults();
        let left = which(&mut faults);
        let counted = *left > 0;
        *left = left.saturating_sub(1);
        counted
    }

    /// A write, unless its acknowledgement is lost.
    fn write<'a>(&'a self, write: StoreFuture<'a, ()>) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let done = write.await;
            if self.is_counted(|faults| &mut faults.lost_acknowledgements) { away() } else { done }
        })
    }
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("this is a drill".into()))
}

impl Store for FaultyStore {
    fn create_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        self.write(self.kept.create_conference(record))
    }

    fn conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, Option<ConferenceRecord>> {
        Box::pin(async move {
            if !self.is_counted(|faults| &mut faults.read_before)
                && self.is_counted(|faults| &mut faults.lost_reads)
            {
                return away();
            }
            self.kept.conference(uri).await
        })
    }

    fn save_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        self.write(self.kept.save_conference(record))
    }

    fn delete_conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, ()> {
        self.write(Box::pin(async move {
            let takes = self.faults().deleting;
            tokio::time::sleep(takes).await;
            let deleted = self.kept.delete_conference(uri).await;
            tokio::time::sleep(takes).await;
            deleted
        }))
    }

    fn conferences<'a>(
        &'a self,
        organizer: Option<&'a UserUri>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Result<ConferenceSummary, StoreError>>> {
        self.kept.conferences(organizer, limit)
    }

    fn conference_count<'a>(&'a self, organizer: &'a UserUri) -> StoreFuture<'a, usize> {
        self.kept.conference_count(organizer)
    }

    fn expired_before(
        &self,
        time: Time,
        skip: usize,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Result<ConferenceUri, StoreError>>> {
        self.kept.expired_before(time, skip, limit)
    }

    fn delete_expired<'a>(&'a self, uri: &'a ConferenceUri, time: Time) -> StoreFuture<'a, ()> {
        let stuck = self.faults().stuck.contains(uri);
        if stuck { Box::pin(async { away() }) } else { self.kept.delete_expired(uri, time) }
    }

    fn add_calls<'a>(&'a self, uri: &'a ConferenceUri, calls: &'a [CallRecord]) -> StoreFuture<'a, ()> {
        self.kept.add_calls(uri, calls)
    }

    fn calls<'a>(&'a self, uri: &'a ConferenceUri, limit: usize) -> StoreFuture<'a, Vec<CallRecord>> {
        self.kept.calls(uri, limit)
    }

    fn create_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        self.kept.create_account(account)
    }

    fn account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, Option<Account>> {
        self.kept.account(user)
    }

    fn accounts(&self) -> StoreFuture<'_, Vec<Account>> {
        self.kept.accounts()
    }

    fn save_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        self.kept.save_account(account)
    }

    fn delete_account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, ()> {
        self.kept.delete_account(user)
    }
}
