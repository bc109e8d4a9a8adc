//! The store for tests and throw-away servers: ordered maps, and futures that are ready when they
//! are first polled.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use confab_conference::record::{ConferenceRecord, ConferenceSummary};
use confab_machine::Time;
use confab_schema::{
    conference_info::CallRecord,
    uri::{ConferenceUri, UserUri},
};
use confab_users::account::Account;

use crate::{MAX_CALLS, MAX_LISTED, Store, StoreError, StoreFuture};

/// A [`Store`] that lasts as long as its value does.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    conferences: BTreeMap<ConferenceUri, ConferenceRecord>,
    accounts: BTreeMap<UserUri, Account>,
    /// The latest last.
    calls: BTreeMap<ConferenceUri, Vec<CallRecord>>,
}

impl Tables {
    fn remove_conference(&mut self, uri: &ConferenceUri) -> Result<(), StoreError> {
        self.calls.remove(uri);
        self.conferences.remove(uri).map(drop).ok_or(StoreError::NotFound)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("nothing panics while it holds the tables")
    }

    /// A future that does `verb` on the tables when it is first polled.
    fn run<'a, T: 'a>(
        &'a self,
        verb: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { verb(&mut self.tables()) })
    }
}

impl Store for MemoryStore {
    fn create_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        self.run(|tables| insert(&mut tables.conferences, &record.uri, record))
    }

    fn conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, Option<ConferenceRecord>> {
        self.run(|tables| Ok(tables.conferences.get(uri).cloned()))
    }

    fn save_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()> {
        self.run(|tables| {
            let stored = tables.conferences.get_mut(&record.uri).ok_or(StoreError::NotFound)?;
            if stored.version.checked_add(1) != Some(record.version) {
                return Err(StoreError::Conflict);
            }
            // The ID may be written in another case here; the one it was made with stays.
            let uri = stored.uri.clone();
            *stored = ConferenceRecord { uri, ..record.clone() };
            Ok(())
        })
    }

    fn delete_conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, ()> {
        self.run(|tables| tables.remove_conference(uri))
    }

    fn conferences<'a>(
        &'a self,
        organizer: Option<&'a UserUri>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Result<ConferenceSummary, StoreError>>> {
        self.run(move |tables| {
            let wanted = |record: &&ConferenceRecord| organizer.is_none_or(|user| record.organizer() == user);
            let listed = tables.conferences.values().filter(wanted).take(limit.min(MAX_LISTED));
            Ok(listed.map(|record| Ok(record.into())).collect())
        })
    }

    fn conference_count<'a>(&'a self, organizer: &'a UserUri) -> StoreFuture<'a, usize> {
        self.run(move |tables| {
            Ok(tables.conferences.keys().filter(|uri| uri.organizer == *organizer).count())
        })
    }

    fn expired_before(
        &self,
        time: Time,
        skip: usize,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Result<ConferenceUri, StoreError>>> {
        self.run(move |tables| {
            let expired = |record: &&ConferenceRecord| record.expires < time;
            let mut records: Vec<&ConferenceRecord> = tables.conferences.values().filter(expired).collect();
            // Stable: those that expire together stay in the order of their keys.
            records.sort_by_key(|record| record.expires);
            let page = records.into_iter().skip(skip).take(limit.min(MAX_LISTED));
            Ok(page.map(|record| Ok(record.uri.clone())).collect())
        })
    }

    fn delete_expired<'a>(&'a self, uri: &'a ConferenceUri, time: Time) -> StoreFuture<'a, ()> {
        self.run(move |tables| {
            let expired = tables.conferences.get(uri).is_some_and(|record| record.expires < time);
            if expired { tables.remove_conference(uri) } else { Err(StoreError::NotFound) }
        })
    }

    fn add_calls<'a>(&'a self, uri: &'a ConferenceUri, calls: &'a [CallRecord]) -> StoreFuture<'a, ()> {
        self.run(|tables| {
            if !tables.conferences.contains_key(uri) {
                return Err(StoreError::NotFound);
            }
            let kept = tables.calls.entry(uri.clone()).or_default();
            kept.extend_from_slice(calls);
            kept.drain(..kept.len().saturating_sub(MAX_CALLS));
            Ok(())
        })
    }

    fn calls<'a>(&'a self, uri: &'a ConferenceUri, limit: usize) -> StoreFuture<'a, Vec<CallRecord>> {
        self.run(move |tables| {
            let kept = tables.calls.get(uri).map_or(&[][..], Vec::as_slice);
            Ok(kept.iter().rev().take(limit.min(MAX_LISTED)).cloned().collect())
        })
    }

    fn create_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        self.run(|tables| insert(&mut tables.accounts, &account.user, account))
    }

    fn account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, Option<Account>> {
        self.run(|tables| Ok(tables.accounts.get(user).cloned()))
    }

    fn accounts(&self) -> StoreFuture<'_, Vec<Account>> {
        self.run(|tables| Ok(tables.accounts.values().cloned().collect()))
    }

    fn save_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()> {
        self.run(|tables| {
            let stored = tables.accounts.get_mut(&account.user).ok_or(StoreError::NotFound)?;
            stored.clone_from(account);
            Ok(())
        })
    }

    fn delete_account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, ()> {
        self.run(|tables| tables.accounts.remove(user).map(drop).ok_or(StoreError::NotFound))
    }
}

fn insert<K: Ord + Clone, V: Clone>(
    table: &mut BTreeMap<K, V>,
    key: &K,
    value: &V,
) -> Result<(), StoreError> {
    if table.contains_key(key) {
        return Err(StoreError::AlreadyExists);
    }
    table.insert(key.clone(), value.clone());
    Ok(())
}
