//! What every store does, checked on each; and what the stores on disk promise of their databases.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/postgres_outage.rs"]
mod postgres_outage;
#[path = "conformance/postgres_server.rs"]
mod postgres_server;
#[path = "conformance/postgres_tls.rs"]
mod postgres_tls;
#[path = "conformance/sqlite_file.rs"]
mod sqlite_file;

use std::{iter, sync::Arc};

use confab_conference::{
    conference_key::SealedKey,
    record::{ConferenceRecord, ConferenceSummary, Invitee},
};
use confab_machine::Time;
use confab_schema::{
    conference_info::{AdmissionPolicy, CallQuality, CallRecord, DisconnectionMethod, JoiningMethod, Role},
    uri::{ConferenceId, ConferenceUri, McuType, UserUri},
    xml::Element,
};
use confab_store::{MAX_CALLS, MAX_LISTED, MemoryStore, SqliteStore, Store, StoreError};
use confab_users::account::{Account, SealedSecret, SecretKind};

/// How many tasks compete where only one may win.
const RIVALS: u32 = 16;

/// Makes one test of each check for each store.
macro_rules! every_store {
    ($($check:ident),* $(,)?) => {
        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $check() {
                    super::$check(super::Arc::new(super::MemoryStore::new())).await;
                }
            )*
        }
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $check() {
                    let dir = tempfile::tempdir().unwrap();
                    let store = super::SqliteStore::open(dir.path().join("confab.db")).await.unwrap();
                    super::$check(super::Arc::new(store)).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $check() {
                    let Some(database) = super::postgres_server::Database::new() else { return };
                    super::$check(super::Arc::new(database.open().await)).await;
                }
            )*
        }
    };
}

every_store![
    a_conference_comes_back_as_it_went_in,
    ids_differ_by_more_than_case,
    an_id_is_the_organizers_own,
    only_the_next_version_is_saved,
    what_is_missing_is_not_found,
    conferences_are_listed_in_order,
    any_limit_may_be_given,
    the_longest_expired_come_first,
    only_what_is_still_expired_is_deleted_as_such,
    calls_come_back_the_last_first,
    calls_go_with_their_conference,
    accounts_come_back_as_they_went_in,
    one_of_many_concurrent_creates_wins,
    one_of_many_concurrent_saves_wins,
    a_verb_does_nothing_until_it_is_polled,
];

/// What became of the leg of this number.
fn call(number: u64) -> CallRecord {
    CallRecord {
        user: "sip:bob@example.test".into(),
        endpoint: format!("{{{number}}}"),
        endpoint_uri: Some("sip:bob@phone.example.test".into()),
        joining_method: JoiningMethod::DialedOut,
        from: Time::from_unix_secs(100),
        until: Time::from_unix_secs(200 + number),
        ending: DisconnectionMethod::Booted,
        reason: Some("It's over, \"Bob\" \u{1f600}".into()),
        codec: Some("opus".into()),
        quality: Some(CallQuality { received: 7, sent_lost: Some(1), mos: 421, ..CallQuality::default() }),
    }
}

/// A conference of this address, which expires at a second.
fn scheduled(uri: &ConferenceUri) -> ConferenceRecord {
    record(uri.organizer.user(), uri.id.as_str(), 1_000)
}

async fn calls_come_back_the_last_first(store: Arc<dyn Store>) {
    let (ours, other) = (uri("ann", "ABCDEF01"), uri("ann", "ABCDEF02"));
    assert_eq!(store.add_calls(&ours, &[call(1)]).await, Err(StoreError::NotFound));
    for uri in [&ours, &other] {
        store.create_conference(&scheduled(uri)).await.unwrap();
    }
    assert_eq!(store.calls(&ours, 10).await, Ok(vec![]));
    store.add_calls(&ours, &[]).await.unwrap();
    store.add_calls(&ours, &[call(1), call(2)]).await.unwrap();
    store.add_calls(&other, &[call(9)]).await.unwrap();
    store.add_calls(&uri("ann", "abcdef01"), &[call(3)]).await.unwrap();
    assert_eq!(store.calls(&ours, 10).await, Ok(vec![call(3), call(2), call(1)]));
    assert_eq!(store.calls(&ours, 2).await, Ok(vec![call(3), call(2)]));

    let many: Vec<CallRecord> = (0..MAX_CALLS as u64).map(|number| call(number + 10)).collect();
    store.add_calls(&ours, &many).await.unwrap();
    let kept = store.calls(&ours, usize::MAX).await.unwrap();
    assert_eq!((kept.len(), &kept[0]), (MAX_CALLS, &many[MAX_CALLS - 1]));
    assert_eq!(kept.last(), Some(&many[0]), "those before are forgotten");
    assert_eq!(store.calls(&other, 10).await, Ok(vec![call(9)]));
}

async fn calls_go_with_their_conference(store: Arc<dyn Store>) {
    let (ours, expired) = (uri("ann", "ABCDEF01"), uri("ann", "ABCDEF02"));
    for uri in [&ours, &expired] {
        store.create_conference(&scheduled(uri)).await.unwrap();
        store.add_calls(uri, &[call(1)]).await.unwrap();
    }
    let expires = scheduled(&expired).expires;
    assert_eq!(store.delete_expired(&expired, expires).await, Err(StoreError::NotFound));
    assert_eq!(store.calls(&expired, 10).await, Ok(vec![call(1)]), "it has not expired yet");
    store.delete_expired(&expired, Time::from_micros(expires.as_micros() + 1)).await.unwrap();
    store.delete_conference(&ours).await.unwrap();
    for uri in [&ours, &expired] {
        store.create_conference(&scheduled(uri)).await.unwrap();
        assert_eq!(store.calls(uri, 10).await, Ok(vec![]), "a new one has none");
    }
}

fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@example.test")).unwrap()
}

fn uri(organizer: &str, id: &str) -> ConferenceUri {
    ConferenceUri { organizer: user(organizer), id: ConferenceId::parse(id).unwrap() }
}

fn record(organizer: &str, id: &str, expires_secs: u64) -> ConferenceRecord {
    ConferenceRecord {
        uri: uri(organizer, id),
        version: 1,
        subject: "Harbour \"dredging\" — 浚渫\n".to_owned(),
        description: "Every Thursday; bring the charts.".to_owned(),
        expires: Time::from_unix_secs(expires_secs),
        admission: AdmissionPolicy::ClosedAuthenticated,
        conference_key: Some(SealedKey(vec![0, 1, 254, 255])),
        locked: true,
        lobby: true,
        participants: vec![
            Invitee { user: user("bob"), role: Role::Presenter },
            Invitee { user: user("cleo"), role: Role::Attendee },
        ],
        media: vec![McuType::Chat, McuType::AudioVideo],
        notification_data: Some(Element::new("urn:example:boats", "boat").with_text("'Wal' & <Co>")),
        organizer_data: None,
        created: Time::from_micros(1_700_000_000_123_456),
        updated: Time::from_micros(1_700_000_000_654_321),
        last_activated: Some(Time::from_micros(1)),
    }
}

/// Rows as a program of schema version 1 left them.
const ROWS_OF_VERSION_1: &str = r#"
INSERT INTO conferences (organizer, id, version, expires, updated, details) VALUES
    ('sip:ann@example.test', 'A1B2C3D4', 7, 1900000000000000, 1700000000000000,
     '{"subject":"Dredging","description":"","admission":"Anonymous","locked":false,"participants":[{"user":"sip:bob@example.test","role":"Attendee"}],"media":["chat"],"notification_data":null,"organizer_data":null,"created":1,"last_activated":null}');
INSERT INTO accounts VALUES ('sip:ann@example.test', 1, '{"display_name":"Ann","secrets":[]}');"#;

/// Those rows read, and take a change, in a database that was brought up to date.
async fn rows_of_version_1_are_read(store: &dyn Store) {
    let old = store.conference(&uri("ann", "A1B2C3D4")).await.unwrap().unwrap();
    assert_eq!(
        (old.version, old.subject.as_str(), old.admission),
        (7, "Dredging", AdmissionPolicy::Anonymous)
    );
    assert_eq!((old.expires, &old.conference_key), (Time::from_unix_secs(1_900_000_000), &None));
    assert_eq!(old.participants, [Invitee { user: user("bob"), role: Role::Attendee }]);
    assert_eq!(store.accounts().await.unwrap()[0].display_name, "Ann");
    let next = ConferenceRecord { version: 8, conference_key: Some(SealedKey(vec![1])), ..old };
    store.save_conference(&next).await.unwrap();
    assert_eq!(all(store).await, [next]);
}

fn account(name: &str) -> Account {
    Account {
        user: user(name),
        display_name: "Zoë 'Zee' O'Hara".to_owned(),
        secrets: vec![
            SealedSecret { kind: SecretKind::DigestMd5, sealed: vec![0, 1, 254, 255] },
            SealedSecret { kind: SecretKind::DigestSha256, sealed: (0..=255).collect() },
        ],
        created: Time::from_micros(1_700_000_000_000_001),
    }
}

/// The names and IDs in a list, as they are written.
async fn keys(store: &dyn Store, organizer: Option<&UserUri>, limit: usize) -> Vec<String> {
    let listed = store.conferences(organizer, limit).await.unwrap().into_iter().map(Result::unwrap);
    listed.map(|one| format!("{} {}", one.uri.organizer.user(), one.uri.id)).collect()
}

/// All whole records, which a list has summaries of.
async fn all(store: &dyn Store) -> Vec<ConferenceRecord> {
    let mut records = Vec::new();
    for listed in store.conferences(None, usize::MAX).await.unwrap() {
        let listed = listed.unwrap();
        let record = store.conference(&listed.uri).await.unwrap().unwrap();
        assert_eq!(ConferenceSummary::from(&record), listed);
        records.push(record);
    }
    records
}

async fn a_conference_comes_back_as_it_went_in(store: Arc<dyn Store>) {
    let full = record("ann", "A1B2C3D4", 1_900_000_000);
    let bare = ConferenceRecord {
        uri: uri("ann", "00000000"),
        subject: String::new(),
        description: String::new(),
        admission: AdmissionPolicy::Anonymous,
        conference_key: None,
        locked: false,
        lobby: false,
        participants: Vec::new(),
        media: Vec::new(),
        notification_data: None,
        organizer_data: Some(Element::new("", "private")),
        created: Time::EPOCH,
        updated: Time::EPOCH,
        last_activated: None,
        ..full.clone()
    };
    for record in [&full, &bare] {
        store.create_conference(record).await.unwrap();
        assert_eq!(store.conference(&record.uri).await.unwrap().as_ref(), Some(record));
    }

    let saved = ConferenceRecord {
        version: 2,
        expires: Time::from_unix_secs(2_000_000_000),
        updated: Time::from_unix_secs(1_800_000_000),
        conference_key: Some(SealedKey(vec![7; 40])),
        locked: false,
        ..full.clone()
    };
    store.save_conference(&saved).await.unwrap();
    assert_eq!(store.conference(&full.uri).await.unwrap(), Some(saved));
    assert_eq!(store.conference(&bare.uri).await.unwrap(), Some(bare), "another record was touched");
}

async fn ids_differ_by_more_than_case(store: Arc<dyn Store>) {
    store.create_conference(&record("ann", "AbCdEf12", 10)).await.unwrap();
    let rival = record("ann", "aBcDeF12", 20);
    assert_eq!(store.create_conference(&rival).await, Err(StoreError::AlreadyExists));

    // Found in any case, and always written as it was made.
    let found = store.conference(&rival.uri).await.unwrap().unwrap();
    assert_eq!(found.uri.id.to_string(), "AbCdEf12");
    store.save_conference(&ConferenceRecord { version: 2, ..rival.clone() }).await.unwrap();
    let found = store.conference(&rival.uri).await.unwrap().unwrap();
    assert_eq!((found.version, found.uri.id.to_string().as_str()), (2, "AbCdEf12"));

    store.delete_conference(&rival.uri).await.unwrap();
    assert_eq!(store.conference(&uri("ann", "AbCdEf12")).await.unwrap(), None);
}

async fn an_id_is_the_organizers_own(store: Arc<dyn Store>) {
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    store.create_conference(&record("bob", "A1B2C3D4", 10)).await.unwrap();
    store.delete_conference(&uri("ann", "A1B2C3D4")).await.unwrap();
    assert!(store.conference(&uri("bob", "A1B2C3D4")).await.unwrap().is_some());
}

async fn only_the_next_version_is_saved(store: Arc<dyn Store>) {
    let first = record("ann", "A1B2C3D4", 10);
    store.create_conference(&first).await.unwrap();
    for version in [0, 1, 3, u32::MAX] {
        let wrong = ConferenceRecord { version, subject: "wrong".to_owned(), ..first.clone() };
        assert_eq!(store.save_conference(&wrong).await, Err(StoreError::Conflict), "version {version}");
    }
    assert_eq!(store.conference(&first.uri).await.unwrap(), Some(first.clone()));
    for version in [2, 3] {
        store.save_conference(&ConferenceRecord { version, ..first.clone() }).await.unwrap();
    }

    // There is no version after the last one.
    let last = ConferenceRecord { version: u32::MAX, ..record("ann", "FFFFFFFF", 10) };
    store.create_conference(&last).await.unwrap();
    for version in [0, u32::MAX] {
        let wrong = ConferenceRecord { version, ..last.clone() };
        assert_eq!(store.save_conference(&wrong).await, Err(StoreError::Conflict), "version {version}");
    }
}

async fn what_is_missing_is_not_found(store: Arc<dyn Store>) {
    let nobody = uri("ann", "A1B2C3D4");
    assert_eq!(store.conference(&nobody).await, Ok(None));
    assert_eq!(store.save_conference(&record("ann", "A1B2C3D4", 10)).await, Err(StoreError::NotFound));
    assert_eq!(store.delete_conference(&nobody).await, Err(StoreError::NotFound));
    assert_eq!(all(&*store).await, []);
    assert_eq!(store.account(&user("ann")).await, Ok(None));
    assert_eq!(store.accounts().await, Ok(Vec::new()));
    assert_eq!(store.save_account(&account("ann")).await, Err(StoreError::NotFound));
    assert_eq!(store.delete_account(&user("ann")).await, Err(StoreError::NotFound));
}

async fn conferences_are_listed_in_order(store: Arc<dyn Store>) {
    for (organizer, id) in
        [("bob", "AAAAAAAA"), ("ann", "bbbbbbbb"), ("ann", "CCCCCCCC"), ("ann", "0AAAAAAA")]
    {
        store.create_conference(&record(organizer, id, 10)).await.unwrap();
    }
    let check = async |organizer: Option<&UserUri>, limit: usize, expect: &[&str]| {
        assert_eq!(keys(&*store, organizer, limit).await, expect);
    };
    check(None, 10, &["ann 0AAAAAAA", "ann bbbbbbbb", "ann CCCCCCCC", "bob AAAAAAAA"]).await;
    check(None, 2, &["ann 0AAAAAAA", "ann bbbbbbbb"]).await;
    check(Some(&user("ann")), 10, &["ann 0AAAAAAA", "ann bbbbbbbb", "ann CCCCCCCC"]).await;
    check(Some(&user("ann")), 1, &["ann 0AAAAAAA"]).await;
    check(Some(&user("bob")), 1, &["bob AAAAAAAA"]).await;
    check(Some(&user("cleo")), 10, &[]).await;
    for (organizer, count) in [("ann", 3), ("bob", 1), ("cleo", 0)] {
        assert_eq!(store.conference_count(&user(organizer)).await, Ok(count), "{organizer}");
    }
    check(None, 0, &[]).await;
}

async fn any_limit_may_be_given(store: Arc<dyn Store>) {
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    for limit in [MAX_LISTED, MAX_LISTED + 1, usize::MAX] {
        assert_eq!(store.conferences(None, limit).await.unwrap().len(), 1);
        assert_eq!(store.expired_before(Time::from_unix_secs(11), 0, limit).await.unwrap().len(), 1);
        assert_eq!(store.expired_before(Time::from_unix_secs(11), limit, 1).await.unwrap(), []);
    }
}

async fn the_longest_expired_come_first(store: Arc<dyn Store>) {
    for (id, expires_secs) in [("11111111", 30), ("22222222", 10), ("33333333", 20), ("00000000", 20)] {
        store.create_conference(&record("ann", id, expires_secs)).await.unwrap();
    }
    let check = async |micros: u64, skip: usize, limit: usize, expect: &[&str]| {
        let expired = store.expired_before(Time::from_micros(micros), skip, limit).await.unwrap();
        let ids: Vec<String> = expired.into_iter().map(|uri| uri.unwrap().id.to_string()).collect();
        assert_eq!(ids, expect);
    };
    check(10_000_000, 0, 10, &[]).await;
    check(10_000_001, 0, 10, &["22222222"]).await;
    check(30_000_000, 0, 10, &["22222222", "00000000", "33333333"]).await;
    check(30_000_000, 0, 2, &["22222222", "00000000"]).await;
    check(30_000_000, 1, 1, &["00000000"]).await;
    check(u64::MAX, 0, 10, &["22222222", "00000000", "33333333", "11111111"]).await;

    // A new expiry counts from when it is saved.
    let extended = ConferenceRecord { version: 2, ..record("ann", "22222222", 40) };
    store.save_conference(&extended).await.unwrap();
    check(30_000_000, 0, 10, &["00000000", "33333333"]).await;
}

async fn only_what_is_still_expired_is_deleted_as_such(store: Arc<dyn Store>) {
    let first = record("ann", "AbCdEf12", 10);
    store.create_conference(&first).await.unwrap();
    store.create_conference(&record("ann", "00000000", 10)).await.unwrap();
    let other_case = uri("ann", "aBcDeF12");
    let due = Time::from_unix_secs(11);
    assert_eq!(store.delete_expired(&first.uri, first.expires).await, Err(StoreError::NotFound));

    // Seen as expired, then prolonged by somebody else: it stays.
    let prolonged = ConferenceRecord { version: 2, ..record("ann", "AbCdEf12", 20) };
    store.save_conference(&prolonged).await.unwrap();
    assert_eq!(store.delete_expired(&other_case, due).await, Err(StoreError::NotFound));
    assert!(store.conference(&first.uri).await.unwrap().is_some());

    store.delete_expired(&other_case, Time::from_unix_secs(21)).await.unwrap();
    assert_eq!(store.delete_expired(&first.uri, Time::from_unix_secs(21)).await, Err(StoreError::NotFound));
    assert_eq!(keys(&*store, None, 10).await, ["ann 00000000"]);
}

async fn accounts_come_back_as_they_went_in(store: Arc<dyn Store>) {
    let (bob, ann) = (account("bob"), account("ann"));
    store.create_account(&bob).await.unwrap();
    store.create_account(&ann).await.unwrap();
    let rival = Account { display_name: "Another Ann".to_owned(), ..ann.clone() };
    assert_eq!(store.create_account(&rival).await, Err(StoreError::AlreadyExists));
    assert_eq!(store.account(&ann.user).await.unwrap().as_ref(), Some(&ann));
    assert_eq!(store.accounts().await.unwrap(), [ann.clone(), bob.clone()]);

    let renamed =
        Account { display_name: String::new(), secrets: Vec::new(), created: Time::EPOCH, ..ann.clone() };
    store.save_account(&renamed).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [renamed, bob.clone()]);
    store.delete_account(&ann.user).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [bob]);
    store.create_account(&ann).await.unwrap();
}

/// Lets one task for each record loose, on the stores in turn, and returns how many won; the
/// others must all be told `loser`.
async fn compete<'a, F>(
    stores: impl Iterator<Item = &'a Arc<dyn Store>>,
    records: impl Iterator<Item = ConferenceRecord>,
    verb: impl Fn(Arc<dyn Store>, ConferenceRecord) -> F,
    loser: StoreError,
) -> usize
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let tasks: Vec<_> =
        stores.zip(records).map(|(store, record)| tokio::spawn(verb(store.clone(), record))).collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => winners += 1,
            Err(error) => assert_eq!(error, loser),
        }
    }
    winners
}

async fn create(store: Arc<dyn Store>, record: ConferenceRecord) -> Result<(), StoreError> {
    store.create_conference(&record).await
}

async fn save(store: Arc<dyn Store>, record: ConferenceRecord) -> Result<(), StoreError> {
    store.save_conference(&record).await
}

/// Records that differ in who wrote them.
fn rivals(version: u32) -> impl Iterator<Item = ConferenceRecord> {
    (0..RIVALS).map(move |rival| ConferenceRecord {
        version,
        subject: format!("rival {rival}"),
        ..record("ann", "A1B2C3D4", 10)
    })
}

async fn one_of_many_concurrent_creates_wins(store: Arc<dyn Store>) {
    let winners = compete(iter::repeat(&store), rivals(1), create, StoreError::AlreadyExists).await;
    assert_eq!(winners, 1);
    assert_eq!(all(&*store).await.len(), 1);
}

async fn one_of_many_concurrent_saves_wins(store: Arc<dyn Store>) {
    store.create_conference(&record("ann", "A1B2C3D4", 10)).await.unwrap();
    for version in 2..6 {
        let winners = compete(iter::repeat(&store), rivals(version), save, StoreError::Conflict).await;
        assert_eq!(winners, 1, "version {version}");
        assert_eq!(store.conference(&uri("ann", "A1B2C3D4")).await.unwrap().unwrap().version, version);
    }
}

async fn a_verb_does_nothing_until_it_is_polled(store: Arc<dyn Store>) {
    drop(store.create_conference(&record("ann", "A1B2C3D4", 10)));
    assert_eq!(all(&*store).await, []);
}
