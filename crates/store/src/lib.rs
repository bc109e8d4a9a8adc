//! Steps 2 and 4: the conferencing database, behind one trait of domain verbs.
//!
//! The Focus Factory's record is inserted in step 2 and read again in step 4, when a Focus is
//! activated. Accounts live here too. [`SqliteStore`] is the default; [`PostgresStore`] keeps the
//! same in a server of its own; [`MemoryStore`] forgets everything when it is dropped and answers at
//! once, so it is the one that runs under a paused clock. `tests/conformance.rs` holds all of them to
//! the same behaviour.
//!
//! There is no cache and no merging: a record is read and written whole, and a conference's
//! version decides who changed it first. Lists hold summaries.

mod memory;
mod open_error;
mod postgres;
mod rows;
mod sqlite;

use std::pin::Pin;

use confab_conference::record::{ConferenceRecord, ConferenceSummary};
use confab_machine::Time;
use confab_schema::{
    conference_info::CallRecord,
    uri::{ConferenceUri, UserUri},
};
use confab_users::account::Account;

pub use memory::MemoryStore;
pub use open_error::OpenError;
pub use postgres::{AddressError, PostgresAddress, PostgresClaim, PostgresStore};
pub use sqlite::SqliteStore;

/// The most records one call lists, whatever `limit` it was given.
pub const MAX_LISTED: usize = 10_000;

/// The most legs of one conference that are remembered.
pub const MAX_CALLS: usize = 10_000;

/// What every verb returns: nothing happens before it is first polled, and what it changed is
/// durable once it resolves to `Ok`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The conferencing database.
///
/// Conferences are keyed by organizer and ID; IDs that differ only in case are the same one, and
/// the case of the first insert is kept. Dates beyond the year 294 000 may be brought back to it.
/// Every verb may fail with [`StoreError::Unavailable`].
pub trait Store: Send + Sync {
    /// Inserts a conference, as given; its version should be 1.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the organizer has a conference with this ID.
    fn create_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()>;

    /// The conference with this URI, if there is one. An expired one counts until it is deleted.
    fn conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, Option<ConferenceRecord>>;

    /// Replaces a conference by its next version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] unless `record.version` is one more than the stored version;
    /// [`StoreError::NotFound`] if there is no such conference.
    fn save_conference<'a>(&'a self, record: &'a ConferenceRecord) -> StoreFuture<'a, ()>;

    /// Removes a conference, at whatever version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such conference.
    fn delete_conference<'a>(&'a self, uri: &'a ConferenceUri) -> StoreFuture<'a, ()>;

    /// The conferences of one organizer, or of all, ordered by organizer and ID: the first
    /// `limit`, and never more than [`MAX_LISTED`]. Whole records are never held together, and one
    /// that cannot be read is an error of its own and hides no other.
    fn conferences<'a>(
        &'a self,
        organizer: Option<&'a UserUri>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Result<ConferenceSummary, StoreError>>>;

    /// How many conferences an organizer has.
    fn conference_count<'a>(&'a self, organizer: &'a UserUri) -> StoreFuture<'a, usize>;

    /// The conferences whose expiry lies before `time`, longest expired first: without the first
    /// `skip`, the next `limit`, and never more than [`MAX_LISTED`]. Only their keys are read; one
    /// that cannot be is an error of its own and hides no other.
    fn expired_before(
        &self,
        time: Time,
        skip: usize,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Result<ConferenceUri, StoreError>>>;

    /// Removes a conference if its expiry lies before `time`, whoever changed it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such conference that expired so long ago.
    fn delete_expired<'a>(&'a self, uri: &'a ConferenceUri, time: Time) -> StoreFuture<'a, ()>;

    /// Adds what became of legs of a conference. Of each conference the last [`MAX_CALLS`] are kept, and they
    /// go with it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such conference.
    fn add_calls<'a>(&'a self, uri: &'a ConferenceUri, calls: &'a [CallRecord]) -> StoreFuture<'a, ()>;

    /// What became of the legs of a conference: the last that was added first, `limit` of them, and never more
    /// than [`MAX_LISTED`].
    fn calls<'a>(&'a self, uri: &'a ConferenceUri, limit: usize) -> StoreFuture<'a, Vec<CallRecord>>;

    /// Inserts an account.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the user has one.
    fn create_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()>;

    /// The account of this user, if he has one.
    fn account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, Option<Account>>;

    /// All accounts, ordered by user. Only administrators make them, so there is no limit.
    fn accounts(&self) -> StoreFuture<'_, Vec<Account>>;

    /// Replaces an account; the last writer wins.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the user has none.
    fn save_account<'a>(&'a self, account: &'a Account) -> StoreFuture<'a, ()>;

    /// Removes an account. The user's conferences stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the user has none.
    fn delete_account<'a>(&'a self, user: &'a UserUri) -> StoreFuture<'a, ()>;
}

/// Why the store did not do what it was asked to. Whenever it says so, nothing was changed, except
/// that a write answered with [`StoreError::Unavailable`] may or may not have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Something is stored under this key.
    #[error("there already is a record with this key")]
    AlreadyExists,
    /// Nothing is stored under this key.
    #[error("there is no record with this key")]
    NotFound,
    /// Somebody else saved the record first: read it again, decide again, save again.
    #[error("the record was changed by somebody else in the meantime")]
    Conflict,
    /// The database cannot answer now, or holds what this program cannot read.
    #[error("the database cannot answer: {0}")]
    Unavailable(String),
}

/// `limit` as databases take it.
fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_LISTED)).expect("the most we list fits any integer")
}

/// How many rows to pass over, as databases take it.
fn row_offset(skip: usize) -> i64 {
    i64::try_from(skip).unwrap_or(i64::MAX)
}
