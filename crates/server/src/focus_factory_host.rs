//! Steps 1 and 2: the Focus Factory's errands around its decision: read the request, load what it
//! is about, write what was decided, and only then answer.

use std::sync::Arc;

use confab_conference::{
    conference_key::ConferenceKey,
    focus_factory::{self, Known, NewKey, Outcome, Write},
    policy::MeetingPolicy,
    reason::Reason,
};
use confab_machine::{Component, FlowNote};
use confab_schema::{
    cccp,
    uri::{ConferenceUri, FactoryUri, UserUri},
};
use confab_sip::{Request, Response};
use confab_store::{Store, StoreError};
use tracing::warn;

use crate::{
    clock::{self, Clock},
    control_link::CCCP,
    flow_log::FlowLog,
    focus_host::{FocusDirectory, directory::look_again},
    refusal,
    vault::Vault,
};

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
    /// This server's name in diagnostics.
    pub name: String,
    /// The time.
    pub clock: Clock,
    /// The flow trace.
    pub flows: FlowLog,
}

impl FocusFactoryHost {
    /// Answers a SERVICE from the authenticated `user`.
    pub async fn serve(&self, user: &UserUri, request: &Request) -> Response {
        if request.headers.content_type().is_none_or(|kind| &*kind.kind != CCCP) {
            return Response::to(request, 415).with_header("Accept", CCCP);
        }
        let Ok(document) = cccp::Request::parse(&request.body) else {
            return refusal::response(request, Reason::C3pUnreadable, &self.name);
        };
        match self.decide(user, request, &document).await {
            Ok(answer) => {
                let mut response = Response::to(request, 200);
                response.set_body(CCCP, answer.to_bytes());
                response
            }
            Err(reason) => refusal::response(request, reason, &self.name),
        }
    }

    async fn decide(
        &self,
        user: &UserUri,
        request: &Request,
        document: &cccp::Request,
    ) -> Result<cccp::Response, Reason> {
        // What the request is sent to decides who the organizer is; `to` must agree with it.
        let factory = FactoryUri::parse(&request.uri.to_string()).map_err(|_| Reason::BadTo)?;
        let wanted = focus_factory::wanted_record(factory.organizer(), document);
        let command = document.commands.first().map(cccp::Command::summary).unwrap_or_default();
        self.note(&wanted, 1, Component::Client, Component::FocusFactory, format!("SERVICE {command}"));
        focus_factory::check_sender(user, &factory, document)?;
        let known = self.load(factory.organizer(), wanted.as_ref(), document).await.map_err(|error| {
            warn!(%error, "the conferencing database does not answer");
            Reason::StoreUnavailable
        })?;
        let outcome =
            focus_factory::answer(self.clock.now(), user, &factory, document, &known, &self.policy)?;
        let Outcome { write, new_key, response } = outcome;
        let answer = match write {
            None => response,
            Some(write) => self.write(&wanted, self.sealed(write, new_key), document, response).await,
        };
        let outcome = answer.code.as_str();
        self.note(&wanted, 2, Component::FocusFactory, Component::Client, format!("200 {command} {outcome}"));
        Ok(answer)
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
            known.conferences = self.store.conferences(Some(organizer), limit).await?;
        }
        if focus_factory::adds_one(document) {
            known.held = self.store.conference_count(organizer).await?;
        }
        let about = known.existing.iter().chain(&known.conferences).map(|record| &record.uri);
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
