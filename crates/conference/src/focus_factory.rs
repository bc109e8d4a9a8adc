//! Steps 1 and 2: the Focus Factory (MS-CONFPRO, c3p §6). It turns a scheduling client's request
//! into a conference record and gives back the SIP URI that is the conference.
//!
//! It is straight-line work: [`wanted_record`], [`wants_all`] and [`adds_one`] say what to load,
//! [`answer`] decides, and the shell writes what [`Outcome::write`] holds before it sends the response.
//! The conference key passes through here in clear; only the shell can seal and open it.

mod listing;

use std::{collections::BTreeSet, time::Duration};

use confab_machine::Time;
use confab_schema::{
    cccp::{Capabilities, Code, Command, ConferenceKeys, Request, Response, ResultBody},
    conference_info::{
        AdmissionPolicy, ConferenceInfo, ConferenceState, Description, Role, State, User, Users,
    },
    uri::{ConferenceId, ConferenceUri, FactoryUri, McuType, UserUri},
    xml::Element,
};

use crate::{
    conference_key::ConferenceKey,
    policy::{self, MeetingPolicy, Permission},
    reason::Reason,
    record::{ConferenceRecord, ConferenceSummary, Invitee},
};

/// The longest subject or description, in bytes.
const TEXT_LIMIT: usize = 4096;
/// The longest opaque data an organizer may attach, in bytes.
const DATA_LIMIT: usize = 16 * 1024;
/// The most people an organizer may name.
const INVITEE_LIMIT: usize = 1000;
/// The expiry may lie this far in the past and in the future.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const LAST_EXPIRY_YEARS: u32 = 10;
/// The version of the capabilities document.
const CAPABILITY_VERSION: u32 = 1;
/// The reason when nothing more can be said.
const OTHER_FAILURE: &str = "otherFailure";
// Deviation: no text within reach has a word for a version that is not the record's; it is otherFailure.
const STALE: &str = OTHER_FAILURE;

/// What the database has, as far as an answer needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The record that [`wanted_record`] named, if there is one.
    pub existing: Option<ConferenceRecord>,
    /// The organizer's conferences, if the request [`wants_all`] of them.
    pub conferences: Vec<ConferenceSummary>,
    /// So many bytes an answer that lists them may have.
    pub room: usize,
    /// How many records the organizer has, if the request [`adds_one`].
    pub held: usize,
    /// The conference key of `existing`, if it has one that can be opened.
    pub key: Option<ConferenceKey>,
    /// Those of these conferences that are going on.
    pub active: BTreeSet<ConferenceUri>,
}

/// What the store is to do before the response leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Insert this new record.
    Create(Box<ConferenceRecord>),
    /// Replace the record by this next version, and tell the Focus if the conference is active.
    Modify(Box<ConferenceRecord>),
    /// Delete the record of this conference, then end the meeting under it.
    Delete(ConferenceUri),
}

/// The conference key that a record is to be written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKey {
    /// The organizer's.
    Given(ConferenceKey),
    /// One of ours, because he gave none and one is needed.
    Fresh,
}

/// The factory's decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What to write first, if anything.
    pub write: Option<Write>,
    /// The key to seal into the written record; without one its key stays as it is.
    pub new_key: Option<NewKey>,
    /// What to answer once it is written.
    pub response: Response,
    /// How many conferences had no room in the answer.
    pub left_out: usize,
}

/// The conference whose record must be loaded before `request` can be answered, if it is about one.
pub fn wanted_record(organizer: &UserUri, request: &Request) -> Option<ConferenceUri> {
    match request.commands.first()? {
        Command::AddConference { info, .. } | Command::ModifyConference { info, .. } => {
            let id = info.description.as_ref()?.conference_id.as_deref()?;
            conference_uri(organizer, id)
        }
        Command::GetConference(keys)
        | Command::GetConferenceWithKey { keys, .. }
        | Command::DeleteConference(keys) => key(organizer, keys),
        _ => None,
    }
}

/// Whether all the organizer's records must be loaded before `request` can be answered.
pub fn wants_all(request: &Request) -> bool {
    matches!(request.commands.first(), Some(Command::GetConferences))
}

/// Whether `request` adds to the organizer's records, so that it matters how many there are.
pub fn adds_one(request: &Request) -> bool {
    matches!(request.commands.first(), Some(Command::AddConference { .. }))
}

/// Whether `sender`, the authenticated person, may ask this of `factory` at all. It needs no record,
/// so it can be asked before the database is; [`answer`] refuses by it too.
///
/// # Errors
/// The [`Reason`] why not: an envelope that contradicts its letter, or the factory of another.
pub fn check_sender(sender: &UserUri, factory: &FactoryUri, request: &Request) -> Result<(), Reason> {
    if UserUri::parse(&request.from).ok().as_ref() != Some(sender) {
        return Err(Reason::BadFrom);
    }
    if FactoryUri::parse(&request.to).ok().as_ref() != Some(factory) {
        return Err(Reason::BadTo);
    }
    match policy::may_schedule(sender, factory.organizer()) {
        Permission::Allow => Ok(()),
        Permission::Refuse(reason) => Err(reason),
    }
}

/// Answers one SERVICE.
///
/// `sender` is the authenticated person, `factory` the URI it was sent to, and `known` what the
/// database has.
///
/// # Errors
/// A [`Reason`] that is answered with a SIP error status; refusals that the C3P layer can say come
/// as a failure response.
pub fn answer(
    now: Time,
    sender: &UserUri,
    factory: &FactoryUri,
    request: &Request,
    known: &Known,
    policy: &MeetingPolicy,
) -> Result<Outcome, Reason> {
    check_sender(sender, factory, request)?;
    let [command] = request.commands.as_slice() else { return Err(Reason::C3pUnreadable) };
    let success = |write, new_key, body| {
        let response = Response::new(request, Code::Success, body);
        Ok(Outcome { write, new_key, response, left_out: 0 })
    };
    let done = |write, body| success(write, None, body);
    let fails = |token| {
        let response = Response::failed(request, token);
        Ok(Outcome { write: None, new_key: None, response, left_out: 0 })
    };
    let unknown = || fails(Reason::NoSuchConference.c3p_token());
    let existing = known.existing.as_ref();
    match command {
        Command::GetConferencingCapabilities => {
            let mcu_types = policy.media.clone();
            done(None, ResultBody::Capabilities(Capabilities { version: CAPABILITY_VERSION, mcu_types }))
        }
        Command::GetAvailableMcuTypes => done(None, ResultBody::McuTypes(policy.media.clone())),
        Command::AddConference { info, .. } => match plan(now, sender, info, known, policy) {
            Ok((record, key)) => success(Some(Write::Create(record.clone())), key, written(&record)),
            Err(token) => fails(token),
        },
        Command::ModifyConference { mcu_uri: None, info, .. } => match replan(now, info, known, policy) {
            Ok((record, key)) => success(Some(Write::Modify(record.clone())), key, written(&record)),
            Err(token) => fails(token),
        },
        Command::ModifyConference { mcu_uri: Some(_), .. } => Err(Reason::NotForAnMcu),
        Command::GetConference(_) => match existing {
            Some(record) => done(None, ResultBody::Conference(Box::new(described(record, known)))),
            None => unknown(),
        },
        Command::GetConferences => {
            let (listed, left_out) = listing::list(now, request, known);
            let outcome = done(None, ResultBody::Conferences(listed))?;
            Ok(Outcome { left_out, ..outcome })
        }
        Command::DeleteConference(_) => match existing {
            Some(record) => done(Some(Write::Delete(record.uri.clone())), ResultBody::Empty),
            None => unknown(),
        },
        Command::GetConferenceWithKey { .. } if existing.is_none() => unknown(),
        // Deviation: a key is told in clear only; clients over TLS may do without its encryption.
        Command::GetConferenceWithKey { .. } => fails(OTHER_FAILURE),
        Command::Unknown { name, .. } if DECLINED.contains(&name.as_str()) => fails(OTHER_FAILURE),
        _ => Err(Reason::CommandNotImplemented),
    }
}

/// The commands that are known and never carried out.
const DECLINED: [&str; 2] = ["getEncryptionKey", "endorseUser"];

/// The record of a conference that `organizer` makes by a call (RFC 4579 §5.4), with every choice left
/// to its default. `id` is new, and `held` is how many records the organizer has.
///
/// # Errors
/// If that is as many as he may have.
pub fn ad_hoc(
    now: Time,
    organizer: &UserUri,
    id: ConferenceId,
    held: usize,
    policy: &MeetingPolicy,
) -> Result<ConferenceRecord, Reason> {
    if held >= policy.max_conferences_per_organizer {
        return Err(Reason::TooManyConferences);
    }
    Ok(ConferenceRecord {
        uri: ConferenceUri { organizer: organizer.clone(), id },
        version: 1,
        subject: String::new(),
        description: String::new(),
        expires: now + Duration::from_secs(policy.default_lifetime_s),
        admission: AdmissionPolicy::OpenAuthenticated,
        conference_key: None,
        locked: false,
        lobby: policy.lobby,
        participants: Vec::new(),
        media: policy.media.clone(),
        notification_data: None,
        organizer_data: None,
        created: now,
        updated: now,
        last_activated: None,
    })
}

/// The answer when the database turned out to have the conference already, by a race.
pub fn already_exists(request: &Request) -> Response {
    Response::failed(request, "conferenceExistsAlready")
}

/// The answer when the record turned out to have been changed by somebody else, by a race.
pub fn changed_meanwhile(request: &Request) -> Response {
    Response::failed(request, STALE)
}

/// The answer when the record turned out to have been deleted, by a race.
pub fn deleted_meanwhile(request: &Request) -> Response {
    Response::failed(request, Reason::NoSuchConference.c3p_token())
}

/// The answer when the database does not answer.
pub fn store_failed(request: &Request) -> Response {
    Response::failed(request, Reason::StoreUnavailable.c3p_token())
}

fn key(organizer: &UserUri, keys: &ConferenceKeys) -> Option<ConferenceUri> {
    match (&keys.conference_id, &keys.entity) {
        (Some(id), _) => conference_uri(organizer, id),
        (None, Some(entity)) => ConferenceUri::parse(entity).ok().filter(|uri| &uri.organizer == organizer),
        (None, None) => None,
    }
}

fn conference_uri(organizer: &UserUri, id: &str) -> Option<ConferenceUri> {
    let id = ConferenceId::parse(id).ok()?;
    Some(ConferenceUri { organizer: organizer.clone(), id })
}

/// A record to be written, with the key it is to have if that is new.
type Planned = (Box<ConferenceRecord>, Option<NewKey>);

/// The record that `addConference` asks for, or the C3P reason why it cannot be.
fn plan(
    now: Time,
    organizer: &UserUri,
    info: &ConferenceInfo,
    known: &Known,
    policy: &MeetingPolicy,
) -> Result<Planned, &'static str> {
    let description = info.description.as_ref().ok_or("requestMalformed")?;
    let id = description.conference_id.as_deref().ok_or("requestMalformed")?;
    let uri = conference_uri(organizer, id).ok_or("requestMalformed")?;
    if known.existing.is_some() {
        return Err("conferenceExistsAlready");
    }
    if known.held >= policy.max_conferences_per_organizer {
        return Err("serverBusy");
    }
    let media = media(info, policy)?;
    let record = Box::new(ConferenceRecord {
        uri,
        version: 1,
        subject: text(description.subject.as_deref())?,
        description: text(description.display_text.as_deref())?,
        expires: expiry(now, description.expiry, policy)?,
        admission: admission(description.admission, policy)?,
        conference_key: None,
        locked: info.conference_state.as_ref().and_then(|state| state.locked).unwrap_or(false),
        lobby: description.lobby.unwrap_or(policy.lobby),
        participants: invitees(organizer, info)?,
        media,
        notification_data: data(description.notification_data.as_ref())?,
        organizer_data: data(description.organizer_data.as_ref())?,
        created: now,
        updated: now,
        last_activated: None,
    });
    let key = new_key(description, &record, None)?;
    Ok((record, key))
}

/// The next version of the record that `modifyConference` asks for, or the C3P reason why it cannot
/// be.
fn replan(
    now: Time,
    info: &ConferenceInfo,
    known: &Known,
    policy: &MeetingPolicy,
) -> Result<Planned, &'static str> {
    let existing = known.existing.as_ref().ok_or(Reason::NoSuchConference.c3p_token())?;
    // A client that does not say what it saw may have seen anything.
    if info.version != existing.version {
        return Err(STALE);
    }
    // Deviation: what modifyConference leaves out stays as it is, instead of having its default again.
    let mut record = existing.clone();
    let description = info.description.as_ref().ok_or("requestMalformed")?;
    if description.subject.is_some() {
        record.subject = text(description.subject.as_deref())?;
    }
    if description.display_text.is_some() {
        record.description = text(description.display_text.as_deref())?;
    }
    if description.expiry.is_some_and(|wanted| wanted != existing.expires) {
        record.expires = expiry(now, description.expiry, policy)?;
    }
    if description.admission.is_some_and(|wanted| wanted != existing.admission) {
        record.admission = admission(description.admission, policy)?;
    }
    if let Some(locked) = info.conference_state.as_ref().and_then(|state| state.locked) {
        record.locked = locked;
    }
    if let Some(lobby) = description.lobby {
        record.lobby = lobby;
    }
    if info.users.is_some() {
        record.participants = invitees(record.organizer(), info)?;
    }
    if info.view.is_some() {
        record.media = media(info, policy)?;
    }
    if description.notification_data.is_some() {
        record.notification_data = data(description.notification_data.as_ref())?;
    }
    if description.organizer_data.is_some() {
        record.organizer_data = data(description.organizer_data.as_ref())?;
    }
    record.version += 1;
    record.updated = now;
    let key = new_key(description, &record, known.key.as_ref())?;
    Ok((Box::new(record), key))
}

/// The key that the organizer gives, or one of ours where one is needed and there is none.
fn new_key(
    description: &Description,
    record: &ConferenceRecord,
    held: Option<&ConferenceKey>,
) -> Result<Option<NewKey>, &'static str> {
    let given = description.conference_key.as_deref().filter(|key| !key.is_empty());
    if let Some(given) = given {
        return ConferenceKey::parse(given).map(|key| Some(NewKey::Given(key))).ok_or("requestMalformed");
    }
    let needed = record.admission == AdmissionPolicy::Anonymous && held.is_none();
    Ok(needed.then_some(NewKey::Fresh))
}

fn admission(
    wanted: Option<AdmissionPolicy>,
    policy: &MeetingPolicy,
) -> Result<AdmissionPolicy, &'static str> {
    let admission = wanted.unwrap_or(AdmissionPolicy::OpenAuthenticated);
    match policy::may_admit_by(admission, policy) {
        Permission::Allow => Ok(admission),
        Permission::Refuse(reason) => Err(reason.c3p_token()),
    }
}

/// The media that the entity views name, each once.
fn media(info: &ConferenceInfo, policy: &MeetingPolicy) -> Result<Vec<McuType>, &'static str> {
    let mut media = Vec::new();
    for view in info.view.iter().flat_map(|view| &view.entity_views) {
        let wanted = policy.media.iter().find(|media| media.as_str() == view.entity);
        let wanted = *wanted.ok_or(Reason::MediumNotScheduled.c3p_token())?;
        if !media.contains(&wanted) {
            media.push(wanted);
        }
    }
    if media.is_empty() { Err("requestMalformed") } else { Ok(media) }
}

fn text(text: Option<&str>) -> Result<String, &'static str> {
    let text = text.unwrap_or_default();
    if text.len() > TEXT_LIMIT { Err("requestTooLarge") } else { Ok(text.to_owned()) }
}

fn data(data: Option<&Element>) -> Result<Option<Element>, &'static str> {
    match data {
        Some(data) if data.to_bytes().len() > DATA_LIMIT => Err("requestTooLarge"),
        data => Ok(data.cloned()),
    }
}

fn expiry(now: Time, wanted: Option<Time>, policy: &MeetingPolicy) -> Result<Time, &'static str> {
    let wanted = wanted.unwrap_or(now + Duration::from_secs(policy.default_lifetime_s));
    if wanted < now - YEAR || wanted > now + YEAR * LAST_EXPIRY_YEARS {
        return Err("requestMalformed");
    }
    Ok(wanted)
}

fn invitees(organizer: &UserUri, info: &ConferenceInfo) -> Result<Vec<Invitee>, &'static str> {
    let users = info.users.as_ref().map_or(&[][..], |users| &users.users);
    if users.len() > INVITEE_LIMIT {
        return Err("requestTooLarge");
    }
    let mut invitees: Vec<Invitee> = Vec::new();
    for user in users {
        let uri = UserUri::parse(&user.entity).map_err(|_| "requestMalformed")?;
        let role = user.roles.first().copied().unwrap_or(Role::Attendee);
        if &uri != organizer && !invitees.iter().any(|invitee| invitee.user == uri) {
            invitees.push(Invitee { user: uri, role });
        }
    }
    Ok(invitees)
}

/// What `addConference` and `modifyConference` answer: the conference's URI and the new version.
fn written(record: &ConferenceRecord) -> ResultBody {
    ResultBody::Conference(Box::new(ConferenceInfo::full(record.uri.to_string(), record.version)))
}

/// What `getConference` answers: the whole record, with an empty entity (c3p §6.6). The organizer
/// alone asks, so the key is in it.
fn described(record: &ConferenceRecord, known: &Known) -> ConferenceInfo {
    let users = record.participants.iter().map(|invitee| {
        let mut user = User::new(invitee.user.to_string());
        user.roles = vec![invitee.role];
        user
    });
    ConferenceInfo {
        entity: String::new(),
        state: State::Full,
        version: record.version,
        description: Some(Description {
            display_text: Some(record.description.clone()),
            subject: Some(record.subject.clone()),
            conference_id: Some(record.uri.id.to_string()),
            conference_key: known.key.as_ref().map(|key| key.reveal().to_owned()),
            expiry: Some(record.expires),
            last_update: Some(record.updated),
            last_activate: record.last_activated,
            is_active: Some(known.active.contains(&record.uri)),
            admission: Some(record.admission),
            notification_data: record.notification_data.clone(),
            organizer_data: record.organizer_data.clone(),
            lobby: record.lobby.then_some(true),
            ..Description::default()
        }),
        conference_state: Some(ConferenceState { locked: Some(record.locked), ..ConferenceState::default() }),
        users: Some(Users { state: State::Full, users: users.collect() }),
        view: Some(confab_schema::conference_info::ConferenceView::of_types(&record.media)),
        calls: Vec::new(),
    }
}
