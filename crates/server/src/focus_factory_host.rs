//! Steps 1 and 2: the Focus Factory's errands around its decision: read the request, load what it
//! is about, write what was decided, and only then answer.

use std::sync::Arc;

use confab_conference::{
    conference_key::ConferenceKey,
    focus_factory::{self, Known, NewKey, Outcome, Write},
    policy::{self, MeetingPolicy, Permission},
    reason::Reason,
};
use confab_machine::{Component, FlowNote};
use confab_schema::{
    cccp,
    uri::{ConferenceId, ConferenceUri, FactoryUri, UserUri},
    xml::MAX_DOCUMENT,
};
use confab_sip::{Request, Response, Transport};
use confab_store::{Store, StoreError};
use tracing::warn;

use crate::{
    clock::{self, Clock},
    control_link::CCCP,
    flow_log::FlowLog,
    focus_host::{FocusDirectory, directory::look_again},
    offer::Offer,
    refusal,
    vault::Vault,
};

/// The longest answer that is sent as a datagram, in bytes; UDP itself ends at 65 507.
const DATAGRAM: usize = 60_000;
/// Room for the headers of an answer that do not come from its request, in bytes.
const OWN_HEADERS: usize = 512;

/// The Focus Factory of a process.
#[derive(Clone)]
pub struct FocusFactoryHost {
    /// The conferencing database.
    pub store: Arc<dyn Store>,
    /// Seals and opens conference keys.
    pub vault: Arc<Vault>,
    /// The active conferences, to end one that is deleted.
    pub directory: FocusDirectory,
    /// What may be scheduled.
    pub policy: MeetingPolicy,
    /// The longest message on a connection, in bytes.
    pub max_message: usize,
    /// This server's name in diagnostics.
    pub name: String,
    /// The time.
    pub clock: Clock,
    /// The flow trace.
    pub flows: FlowLog,
}

impl FocusFactoryHost {
    /// Answers a SERVICE from the authenticated `user`, who came by `transport`.
    pub async fn serve(&self, user: &UserUri, transport: Transport, request: &Request) -> Response {
        if request.headers.content_type().is_none_or(|kind| &*kind.kind != CCCP) {
            return Response::to(request, 415).with_header("Accept", CCCP);
        }
        let Ok(document) = cccp::Request::parse(&request.body) else {
            return refusal::response(request, Reason::C3pUnreadable, &self.name);
        };
        let response = Response::to(request, 200);
        let room =
            longest(transport, self.max_message).saturating_sub(response.to_bytes().len() + OWN_HEADERS);
        match self.decide(user, request, &document, room).await {
            Ok((answer, left_out)) => {
                let mut response = self.with_note_of(left_out, response);
                response.set_body(CCCP, answer.to_bytes());
                response
            }
            Err(reason) => refusal::response(request, reason, &self.name),
        }
    }

    /// Makes a conference for an INVITE from the authenticated `user` (RFC 4579 §5.4). It is durable when
    /// this returns.
    ///
    /// # Errors
    /// The refusal, before anything is made: a factory of somebody else, an offer of media that do not
    /// work here, as many conferences as he may have, no database.
    pub async fn create(&self, user: &UserUri, request: &Request) -> Result<ConferenceUri, Response> {
        let refusal = |reason| refusal::response(request, reason, &self.name);
        let own = FactoryUri::parse(&request.uri.to_string())
            .map_or(true, |factory| policy::may_schedule(user, factory.organizer()) == Permission::Allow);
        if !own {
            return Err(refusal(Reason::BadFrom));
        }
        let offer = Offer::of(request)?;
        let media = &self.policy.media;
        if !offer.is_empty() && !offer.media().iter().any(|offered| media.contains(offered)) {
            return Err(offer.refusal(request, media, &self.name));
        }
        let away = |error: StoreError| {
            warn!(%error, "the conferencing database does not answer");
            refusal(Reason::StoreUnavailable)
        };
        let held = self.store.conference_count(user).await.map_err(away)?;
        let id = clock::entropy().hex::<16>().to_uppercase();
        let id = ConferenceId::parse(&id).expect("32 hexadecimal digits are an ID");
        let record =
            focus_factory::ad_hoc(self.clock.now(), user, id, held, &self.policy).map_err(refusal)?;
        let conference = Some(record.uri.clone());
        self.note(&conference, 1, Component::Client, Component::FocusFactory, "INVITE".into());
        self.note(&conference, 2, Component::FocusFactory, Component::Store, "insert".into());
        self.store.create_conference(&record).await.map_err(away)?;
        Ok(record.uri)
    }

    async fn decide(
        &self,
        user: &UserUri,
        request: &Request,
        document: &cccp::Request,
        room: usize,
    ) -> Result<(cccp::Response, usize), Reason> {
        // What the request is sent to decides who the organizer is; `to` must agree with it.
        let factory = FactoryUri::parse(&request.uri.to_string()).map_err(|_| Reason::BadTo)?;
        let wanted = focus_factory::wanted_record(factory.organizer(), document);
        let command = document.commands.first().map(cccp::Command::summary).unwrap_or_default();
        self.note(&wanted, 1, Component::Client, Component::FocusFactory, format!("SERVICE {command}"));
        focus_factory::check_sender(user, &factory, document)?;
        let loaded = self.load(factory.organizer(), wanted.as_ref(), document).await.map_err(|error| {
            warn!(%error, "the conferencing database does not answer");
            Reason::StoreUnavailable
        })?;
        let known = Known { room, ..loaded };
        let outcome =
            focus_factory::answer(self.clock.now(), user, &factory, document, &known, &self.policy)?;
        let Outcome { write, new_key, response, left_out } = outcome;
        let answer = match write {
            None => response,
            Some(write) => self.write(&wanted, self.sealed(write, new_key), document, response).await,
        };
        let outcome = answer.code.as_str();
        self.note(&wanted, 2, Component::FocusFactory, Component::Client, format!("200 {command} {outcome}"));
        Ok((answer, left_out))
    }

    /// C3P has no word for a list that was cut; SIP has one for the person who reads it.
    fn with_note_of(&self, left_out: usize, response: Response) -> Response {
        if left_out == 0 {
            return response;
        }
        let sentence =
            format!("{left_out} more conferences have no room in this answer; those changed last are in it.");
        refusal::with_note(response, &self.name, &sentence)
    }

    async fn load(
        &self,
        organizer: &UserUri,
        wanted: Option<&ConferenceUri>,
        document: &cccp::Request,
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        if let Some(wanted) = wanted {
            known.existing = self.store.conference(wanted).await?;
            known.key = known.existing.as_ref().and_then(|record| self.vault.conference_key(record));
        }
        if focus_factory::wants_all(document) {
            let limit = self.policy.max_conferences_per_organizer;
            for listed in self.store.conferences(Some(organizer), limit).await? {
                match listed {
                    Ok(conference) => known.conferences.push(conference),
                    Err(error) => warn!(%error, "a conference is missing in its organizer's list"),
                }
            }
        }
        if focus_factory::adds_one(document) {
            known.held = self.store.conference_count(organizer).await?;
        }
        let listed = known.conferences.iter().map(|conference| &conference.uri);
        let about = known.existing.iter().map(|record| &record.uri).chain(listed);
        known.active = about.filter(|uri| self.directory.is_active(uri)).cloned().collect();
        Ok(known)
    }

    /// The record to be written, with its new key, if it is to have one.
    fn sealed(&self, mut write: Write, key: Option<NewKey>) -> Write {
        let key = match key {
            Some(NewKey::Given(key)) => key,
            Some(NewKey::Fresh) => ConferenceKey::fresh(&mut clock::entropy()),
            None => return write,
        };
        if let Write::Create(record) | Write::Modify(record) = &mut write {
            record.conference_key = Some(self.vault.seal_conference_key(&record.uri, &key));
        }
        write
    }

    /// Step 2: durable before the answer leaves.
    async fn write(
        &self,
        wanted: &Option<ConferenceUri>,
        write: Write,
        document: &cccp::Request,
        response: cccp::Response,
    ) -> cccp::Response {
        let mut written = match &write {
            Write::Create(record) => {
                self.note(wanted, 2, Component::FocusFactory, Component::Store, "insert".into());
                self.store.create_conference(record).await
            }
            Write::Modify(record) => {
                let summary = format!("save v{}", record.version);
                self.note(wanted, 2, Component::FocusFactory, Component::Store, summary);
                self.store.save_conference(record).await
            }
            Write::Delete(conference) => {
                self.note(wanted, 2, Component::FocusFactory, Component::Store, "delete".into());
                self.store.delete_conference(conference).await
            }
        };
        if matches!(written, Err(StoreError::Unavailable(_))) && self.was_written(&write).await {
            written = Ok(());
        }
        // The Focus hears of it before anybody else does. A meeting is ended only when its record is
        // gone, or who joins in between would begin another.
        match (&written, &write) {
            (Ok(()), Write::Modify(record)) => self.directory.record_changed(record).await,
            (Ok(()) | Err(StoreError::NotFound), Write::Delete(conference)) => {
                self.directory.end(conference).await;
            }
            (Err(StoreError::Unavailable(_)), Write::Modify(record)) => {
                self.directory.look_again(&record.uri)
            }
            (Err(StoreError::Unavailable(_)), Write::Delete(conference)) => {
                self.directory.look_again(conference);
            }
            _ => {}
        }
        match written {
            Ok(()) => response,
            Err(StoreError::NotFound) if matches!(write, Write::Delete(_)) => response,
            Err(StoreError::NotFound) => focus_factory::deleted_meanwhile(document),
            Err(StoreError::Conflict) => focus_factory::changed_meanwhile(document),
            Err(StoreError::AlreadyExists) => focus_factory::already_exists(document),
            Err(error) => {
                warn!(%error, "a conference record could not be written");
                focus_factory::store_failed(document)
            }
        }
    }

    /// Whether a write that was not acknowledged is done all the same.
    async fn was_written(&self, write: &Write) -> bool {
        let (conference, wanted) = match write {
            Write::Create(record) | Write::Modify(record) => (&record.uri, Some(&**record)),
            Write::Delete(conference) => (conference, None),
        };
        look_again::has(&*self.store, conference, wanted).await
    }

    fn note(
        &self,
        conference: &Option<ConferenceUri>,
        step: u8,
        from: Component,
        to: Component,
        summary: String,
    ) {
        if let Some(conference) = conference {
            let note = FlowNote::new(step, from, to, summary);
            self.flows.file(conference.id.as_str(), self.clock.now(), note);
        }
    }
}

/// How long an answer may be, in bytes.
fn longest(transport: Transport, max_message: usize) -> usize {
    if transport.reliable() { max_message.min(MAX_DOCUMENT) } else { DATAGRAM.min(max_message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_what_carries_it() {
        let check = |transport, max_message, expect| assert_eq!(longest(transport, max_message), expect);
        check(Transport::Udp, 262_144, 60_000);
        check(Transport::Udp, 16_384, 16_384);
        check(Transport::Tcp, 262_144, 262_144);
        check(Transport::Tls, 16_384, 16_384);
        check(Transport::Tls, usize::MAX, MAX_DOCUMENT);
    }
}
