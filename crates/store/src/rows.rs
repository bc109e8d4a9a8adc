//! Records as rows, the same in every database: the columns queries ask for, and the rest as JSON in
//! `details`.
//!
//! The JSON has types of its own here, so that the database's format changes only on purpose:
//! what version 1 of the program wrote must stay readable.

use std::fmt::Display;

use confab_conference::{
    conference_key::SealedKey,
    record::{ConferenceRecord, ConferenceSummary, Invitee},
};
use confab_machine::Time;
use confab_schema::{
    conference_info::{AdmissionPolicy, CallRecord},
    uri::{ConferenceId, ConferenceUri, McuType, UserUri},
    xml::Element,
};
use confab_users::account::{Account, SealedSecret};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::StoreError;

/// A row of `conferences`.
pub(crate) struct ConferenceRow {
    pub(crate) organizer: String,
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) expires: i64,
    pub(crate) updated: i64,
    pub(crate) details: String,
    /// Since schema version 2.
    pub(crate) conference_key: Option<Vec<u8>>,
}

/// A conference's `details`.
#[derive(Serialize, Deserialize)]
struct ConferenceDetails {
    subject: String,
    description: String,
    admission: AdmissionPolicy,
    locked: bool,
    /// Later than version 1: not written where there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lobby: bool,
    participants: Vec<Invitee>,
    media: Vec<McuType>,
    notification_data: Option<Element>,
    organizer_data: Option<Element>,
    created: Time,
    last_activated: Option<Time>,
}

/// A call as `details`; the names in it are those of its fields, and a test holds them.
pub(crate) fn call_details(call: &CallRecord) -> String {
    to_json(call)
}

/// Calls as one array of `details`.
pub(crate) fn calls_array(calls: &[CallRecord]) -> String {
    to_json(&calls)
}

/// The call that was written so.
pub(crate) fn call(details: &str) -> Result<CallRecord, StoreError> {
    from_json(details).map_err(|error| StoreError::Unavailable(format!("a call cannot be read: {error}")))
}

impl ConferenceRow {
    /// The row for a record, or an error if it could not be read again.
    pub(crate) fn from_record(record: &ConferenceRecord) -> Result<ConferenceRow, StoreError> {
        // Taken apart in full, so that a new field cannot be forgotten here.
        let ConferenceRecord {
            uri,
            version,
            subject,
            description,
            expires,
            admission,
            conference_key,
            locked,
            lobby,
            participants,
            media,
            notification_data,
            organizer_data,
            created,
            updated,
            last_activated,
        } = record.clone();
        let row = ConferenceRow {
            organizer: uri.organizer.to_string(),
            id: uri.id.to_string(),
            version: version.into(),
            expires: micros(expires),
            updated: micros(updated),
            details: to_json(&ConferenceDetails {
                subject,
                description,
                admission,
                locked,
                lobby,
                participants,
                media,
                notification_data,
                organizer_data,
                created,
                last_activated,
            }),
            conference_key: conference_key.map(|SealedKey(sealed)| sealed),
        };
        // XML may outgrow the reader's limits when it is printed, and one unreadable row would
        // spoil every list it is in: better refuse it now.
        match from_json::<ConferenceDetails>(&row.details) {
            Ok(_) => Ok(row),
            Err(error) => Err(StoreError::Unavailable(format!(
                "the conference {} of {} could not be read again ({error})",
                row.id, row.organizer
            ))),
        }
    }

    pub(crate) fn into_record(self) -> Result<ConferenceRecord, StoreError> {
        let uri = conference_uri(&self.organizer, &self.id)?;
        let unreadable = |error: &dyn Display| unreadable_conference(&self.organizer, &self.id, error);
        let version = u32::try_from(self.version).map_err(|error| unreadable(&error))?;
        let details: ConferenceDetails = from_json(&self.details).map_err(|error| unreadable(&error))?;
        Ok(ConferenceRecord {
            uri,
            version,
            subject: details.subject,
            description: details.description,
            expires: time(self.expires),
            admission: details.admission,
            conference_key: self.conference_key.map(SealedKey),
            locked: details.locked,
            lobby: details.lobby,
            participants: details.participants,
            media: details.media,
            notification_data: details.notification_data,
            organizer_data: details.organizer_data,
            created: details.created,
            updated: time(self.updated),
            last_activated: details.last_activated,
        })
    }
}

impl<'r, R: Row> FromRow<'r, R> for ConferenceRow
where
    &'static str: ColumnIndex<R>,
    String: Type<R::Database> + Decode<'r, R::Database>,
    i64: Type<R::Database> + Decode<'r, R::Database>,
    Vec<u8>: Type<R::Database> + Decode<'r, R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<ConferenceRow> {
        Ok(ConferenceRow {
            organizer: row.try_get("organizer")?,
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            expires: row.try_get("expires")?,
            updated: row.try_get("updated")?,
            details: row.try_get("details")?,
            conference_key: row.try_get("conference_key")?,
        })
    }
}

/// A row of `conferences` of which only the summary is kept, as soon as it is read. One that makes no
/// sense is an error for itself.
pub(crate) struct SummaryRow(pub(crate) Result<ConferenceSummary, StoreError>);

/// What a summary needs of a conference's `details`.
#[derive(Deserialize)]
struct SummaryDetails {
    subject: String,
    admission: AdmissionPolicy,
    last_activated: Option<Time>,
}

impl ConferenceRow {
    fn into_summary(self) -> Result<ConferenceSummary, StoreError> {
        let uri = conference_uri(&self.organizer, &self.id)?;
        let unreadable = |error: &dyn Display| unreadable_conference(&self.organizer, &self.id, error);
        let details: SummaryDetails = from_json(&self.details).map_err(|error| unreadable(&error))?;
        Ok(ConferenceSummary {
            uri,
            version: u32::try_from(self.version).map_err(|error| unreadable(&error))?,
            subject: details.subject,
            expires: time(self.expires),
            admission: details.admission,
            updated: time(self.updated),
            last_activated: details.last_activated,
        })
    }
}

impl<'r, R: Row> FromRow<'r, R> for SummaryRow
where
    ConferenceRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<SummaryRow> {
        Ok(SummaryRow(ConferenceRow::from_row(row)?.into_summary()))
    }
}

/// The key of a conference.
pub(crate) fn conference_uri(organizer: &str, id: &str) -> Result<ConferenceUri, StoreError> {
    let unreadable = |error: &dyn Display| unreadable_conference(organizer, id, error);
    Ok(ConferenceUri {
        organizer: UserUri::parse(organizer).map_err(|error| unreadable(&error))?,
        id: ConferenceId::parse(id).map_err(|error| unreadable(&error))?,
    })
}

fn unreadable_conference(organizer: &str, id: &str, error: &dyn Display) -> StoreError {
    unreadable(&format!("the conference {id} of {organizer}"), error)
}

/// A row of `accounts`.
pub(crate) struct AccountRow {
    pub(crate) user: String,
    pub(crate) created: i64,
    pub(crate) details: String,
}

/// An account's `details`.
#[derive(Serialize, Deserialize)]
struct AccountDetails {
    display_name: String,
    secrets: Vec<SealedSecret>,
}

impl AccountRow {
    pub(crate) fn from_account(account: &Account) -> AccountRow {
        let Account { user, display_name, secrets, created } = account.clone();
        AccountRow {
            user: user.to_string(),
            created: micros(created),
            details: to_json(&AccountDetails { display_name, secrets }),
        }
    }

    pub(crate) fn into_account(self) -> Result<Account, StoreError> {
        let unreadable = |error: &dyn Display| unreadable(&format!("the account {}", self.user), error);
        let user = UserUri::parse(&self.user).map_err(|error| unreadable(&error))?;
        let details: AccountDetails = from_json(&self.details).map_err(|error| unreadable(&error))?;
        Ok(Account {
            user,
            display_name: details.display_name,
            secrets: details.secrets,
            created: time(self.created),
        })
    }
}

impl<'r, R: Row> FromRow<'r, R> for AccountRow
where
    &'static str: ColumnIndex<R>,
    String: Type<R::Database> + Decode<'r, R::Database>,
    i64: Type<R::Database> + Decode<'r, R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<AccountRow> {
        Ok(AccountRow {
            user: row.try_get("user")?,
            created: row.try_get("created")?,
            details: row.try_get("details")?,
        })
    }
}

/// A time as databases keep it: a signed number of microseconds, so it ends in the year 294 247.
pub(crate) fn micros(time: Time) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> Time {
    Time::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn to_json(details: &impl Serialize) -> String {
    serde_json::to_string(details).expect("details have string keys and no fallible serializers")
}

/// An error says where, never what: it ends up in logs, and the details are personal.
fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json)
        .map_err(|error| format!("{:?} error in column {} of its details", error.classify(), error.column()))
}

fn unreadable(what: &str, error: &dyn Display) -> StoreError {
    StoreError::Unavailable(format!("{what} is stored in a form this program cannot read ({error})"))
}

#[cfg(test)]
mod tests {
    use confab_schema::conference_info::Role;
    use confab_users::account::SecretKind;

    use super::*;

    fn details(json: &str) -> String {
        json.lines().map(str::trim).collect()
    }

    #[test]
    fn conferences_have_the_format_of_schema_version_2() {
        let user = |name: &str| UserUri::parse(&format!("sip:{name}@example.test")).unwrap();
        let record = ConferenceRecord {
            uri: ConferenceUri { organizer: user("ann"), id: ConferenceId::parse("3e1C92F0").unwrap() },
            version: 7,
            subject: "Dredging".to_owned(),
            description: String::new(),
            expires: Time::from_micros(3),
            admission: AdmissionPolicy::OpenAuthenticated,
            conference_key: Some(SealedKey(vec![1, 255])),
            locked: false,
            lobby: false,
            participants: vec![Invitee { user: user("bob"), role: Role::Attendee }],
            media: vec![McuType::Chat, McuType::AudioVideo],
            notification_data: Some(Element::new("urn:example:boats", "boat").with_text("Wal & Co")),
            organizer_data: None,
            created: Time::from_micros(1),
            updated: Time::from_micros(2),
            last_activated: None,
        };
        let row = ConferenceRow::from_record(&record).unwrap();
        assert_eq!((row.organizer.as_str(), row.id.as_str()), ("sip:ann@example.test", "3e1C92F0"));
        assert_eq!((row.version, row.expires, row.updated), (7, 3, 2));
        let expect = details(
            r#"{"subject":"Dredging","description":"","admission":"OpenAuthenticated","locked":false,
            "participants":[{"user":"sip:bob@example.test","role":"Attendee"}],"media":["chat","audio-video"],
            "notification_data":"<boat xmlns=\"urn:example:boats\">Wal &amp; Co</boat>","organizer_data":null,
            "created":1,"last_activated":null}"#,
        );
        assert_eq!((&row.details, row.conference_key.as_deref()), (&expect, Some(&[1, 255][..])));
        assert_eq!(row.into_record(), Ok(record.clone()));
        let with_lobby = ConferenceRecord { lobby: true, ..record };
        let row = ConferenceRow::from_record(&with_lobby).unwrap();
        assert_eq!(row.details, expect.replace(r#""locked":false,"#, r#""locked":false,"lobby":true,"#));
        assert_eq!(row.into_record(), Ok(with_lobby));
    }

    #[test]
    fn accounts_have_the_format_of_schema_version_1() {
        let account = Account {
            user: UserUri::parse("sip:ann@example.test").unwrap(),
            display_name: "Ann".to_owned(),
            secrets: vec![SealedSecret { kind: SecretKind::DigestSha256, sealed: vec![1, 255] }],
            created: Time::from_micros(1),
        };
        let row = AccountRow::from_account(&account);
        assert_eq!((row.user.as_str(), row.created), ("sip:ann@example.test", 1));
        let expect = r#"{"display_name":"Ann","secrets":[{"kind":"digest-sha256","sealed":[1,255]}]}"#;
        assert_eq!(row.details, expect);
        assert_eq!(row.into_account(), Ok(account));
    }

    #[test]
    fn a_time_beyond_a_databases_integers_is_the_last_one() {
        assert_eq!(time(micros(Time::from_micros(u64::MAX))), Time::from_micros(i64::MAX as u64));
        assert_eq!(time(micros(Time::EPOCH)), Time::EPOCH);
        assert_eq!(time(-1), Time::EPOCH);
    }

    #[test]
    fn what_became_of_a_call_is_read_as_it_was_written() {
        let written = r#"{"user":"sip:bob@example.test","endpoint":"{1}","endpoint_uri":null,"joining_method":"DialedIn","from":1000000,"until":2000000,"ending":"Departed","reason":null,"codec":"PCMU","quality":{"received":7,"lost":1,"late":0,"rejected":0,"sent":9,"sent_lost":null,"jitter_us":3,"round_trip_us":null,"mos":421}}"#;
        let read = call(written).unwrap();
        assert_eq!((read.until, read.quality.unwrap().mos), (Time::from_unix_secs(2), 421));
        assert_eq!(call_details(&read), written);
        assert_eq!(calls_array(&[read]), format!("[{written}]"));
        assert!(call("{}").is_err());
    }
}
