//! The hands of the front end: sockets, the user database, the Focus Factory, the Focuses, and the
//! links to MCUs of other machines.

use std::{collections::BTreeMap, io, sync::Arc};

use confab_conference::{conference_key::ConferenceKey, policy};
use confab_machine::{FlowNote, Time};
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_sip::{Flow, Transport, Uri};
use confab_store::{Store, StoreError};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::mcu::sip_host;
use crate::{
    drive::{self, Performed, Source},
    focus_factory_host::FocusFactoryHost,
    focus_host::FocusDirectory,
    front_end::{self, FrontEnd, KnownAccount, Unavailable},
    inproc::{INPROC, InprocNetwork},
    private_ca::Peer,
    sip_transport::{Arrivals, Flows, TransportEvent},
    trust::Trust,
    vault::Vault,
};

/// The port of SIP over TLS where a URI names none.
const SIPS_PORT: u16 = 5061;

/// After so many events from within one from a connection has its turn, so that whoever asks is not
/// kept waiting by all that others are told.
const WITHIN_IN_A_ROW: u32 = 4;

/// What the front end hears: from within, and from connections.
pub(super) struct FrontEndEvents {
    within: mpsc::Receiver<front_end::Event>,
    arrivals: Arrivals,
    in_a_row: u32,
}

impl FrontEndEvents {
    pub(super) fn new(within: mpsc::Receiver<front_end::Event>, arrivals: Arrivals) -> FrontEndEvents {
        FrontEndEvents { within, arrivals, in_a_row: 0 }
    }
}

impl Source<front_end::Event> for FrontEndEvents {
    async fn next(&mut self) -> Option<front_end::Event> {
        let within_first = self.in_a_row < WITHIN_IN_A_ROW;
        let (within, arrived) = if within_first {
            tokio::select! {
                biased;
                event = self.within.recv() => (event, None),
                arrived = self.arrivals.recv() => (None, arrived),
            }
        } else {
            tokio::select! {
                biased;
                arrived = self.arrivals.recv() => (None, arrived),
                event = self.within.recv() => (event, None),
            }
        };
        if within.is_some() {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return within;
        }
        self.in_a_row = 0;
        Some(match arrived? {
            TransportEvent::Received { flow, message } => front_end::Event::Received { flow, message },
            TransportEvent::Closed { flow } => front_end::Event::FlowClosed { flow },
        })
    }
}

/// What those of `users` who have an account are called.
async fn names_of(store: &dyn Store, users: Vec<UserUri>) -> Result<BTreeMap<UserUri, String>, StoreError> {
    let mut names = BTreeMap::new();
    for user in users {
        if let Some(account) = store.account(&user).await? {
            names.insert(user, account.display_name);
        }
    }
    Ok(names)
}

/// The key of a conference that people may join who have not signed in.
async fn key_for_anonymous(
    factory: &FocusFactoryHost,
    conference: &ConferenceUri,
) -> Result<Option<ConferenceKey>, StoreError> {
    let record = factory.store.conference(conference).await?;
    let now = factory.clock.now();
    let admitting = record.filter(|record| policy::admits_anonymous(record, &factory.policy, now));
    Ok(admitting.and_then(|record| factory.vault.conference_key(&record)))
}

/// The hands of the front end.
pub(super) struct FrontEndShell {
    pub(super) transport: Flows,
    /// The front end's own queue.
    pub(super) events: mpsc::Sender<front_end::Event>,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) focus_factory: FocusFactoryHost,
    pub(super) directory: FocusDirectory,
    /// Where MCUs of this process are reached.
    pub(super) network: InprocNetwork,
    /// With what MCUs of other machines are reached, if any may be.
    pub(super) trust: Option<Trust>,
}

impl drive::Shell<FrontEnd> for FrontEndShell {
    async fn perform(&mut self, _now: Time, action: front_end::Action) -> Performed<front_end::Event> {
        match action {
            front_end::Action::Transmit { flow, message } => {
                if !self.transport.send(flow, &message) {
                    // The front end may not know yet that the connection is gone. If its queue is
                    // full it will find out by its timers.
                    let _ = self.events.try_send(front_end::Event::FlowClosed { flow });
                }
            }
            front_end::Action::Believe { flow } => self.transport.believe(flow),
            front_end::Action::LookUp { lookup, user } => {
                let (store, vault, events) =
                    (Arc::clone(&self.store), Arc::clone(&self.vault), self.events.clone());
                tokio::spawn(async move {
                    let account = match store.account(&user).await {
                        Ok(account) => Ok(account.map(|account| KnownAccount {
                            ha1s: vault.digest_secrets(&account),
                            display_name: account.display_name,
                        })),
                        Err(error) => {
                            warn!(%error, "the user database does not answer");
                            Err(Unavailable)
                        }
                    };
                    let _ = events.send(front_end::Event::Account { lookup, account }).await;
                });
            }
            front_end::Action::LookUpNames { lookup, users } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                tokio::spawn(async move {
                    let names = names_of(&*store, users).await.map_err(|error| {
                        warn!(%error, "the user database does not answer");
                        Unavailable
                    });
                    let _ = events.send(front_end::Event::Names { lookup, names }).await;
                });
            }
            front_end::Action::LookUpKey { lookup, conference } => {
                let (factory, events) = (self.focus_factory.clone(), self.events.clone());
                tokio::spawn(async move {
                    let key = key_for_anonymous(&factory, &conference).await.map_err(|error| {
                        warn!(%error, "the conferencing database does not answer");
                        Unavailable
                    });
                    let _ = events.send(front_end::Event::ConferenceKey { lookup, key }).await;
                });
            }
            front_end::Action::ToFactory { key, user, transport, request } => {
                let (factory, events) = (self.focus_factory.clone(), self.events.clone());
                tokio::spawn(async move {
                    let response = factory.serve(&user, transport, &request).await;
                    let _ = events.send(front_end::Event::Respond { key, response }).await;
                });
            }
            front_end::Action::CreateConference { key, user, request } => {
                let (factory, events) = (self.focus_factory.clone(), self.events.clone());
                tokio::spawn(async move {
                    let conference = factory.create(&user, &request).await.map_err(Box::new);
                    let _ = events.send(front_end::Event::Created { key, conference }).await;
                });
            }
            front_end::Action::ToFocus { conference, event } => self.directory.deliver(&conference, *event),
            front_end::Action::LinkMcu { server_uri } => self.link_mcu(server_uri),
            // Who asked may not wait any more.
            front_end::Action::TellTables { asker, tables } => drop(asker.send(tables)),
        }
        Performed::Done
    }

    fn note(&mut self, _now: Time, _note: FlowNote) {}
}

impl FrontEndShell {
    /// Opens the link to an MCU. Of those on other machines only who proves to be one is spoken to.
    fn link_mcu(&self, server_uri: String) {
        let (network, trust) = (self.network.clone(), self.trust.clone());
        let (transport, events) = (self.transport.clone(), self.events.clone());
        tokio::spawn(async move {
            let event = match open_link(&network, trust, &transport, &server_uri).await {
                Ok(flow) => {
                    info!(%server_uri, "a conferencing server is linked");
                    front_end::Event::McuLinked { server_uri, flow }
                }
                Err(error) => {
                    warn!(%server_uri, %error, "a conferencing server cannot be reached by SIP");
                    front_end::Event::McuUnlinked { server_uri }
                }
            };
            let _ = events.send(event).await;
        });
    }
}

async fn open_link(
    network: &InprocNetwork,
    trust: Option<Trust>,
    transport: &Flows,
    server_uri: &str,
) -> io::Result<Flow> {
    let uri: Uri = server_uri.parse().map_err(|_| io::Error::other("this is no SIP URI"))?;
    if uri.host.ends_with(INPROC) {
        let stream = network.connect(&sip_host(&uri.host)).await?;
        return Ok(transport.add_stream(stream, Transport::Inproc, None));
    }
    let trust = trust.ok_or_else(|| io::Error::other("there is no [control] table"))?;
    let stream = trust.connect(&uri.host, uri.port.unwrap_or(SIPS_PORT), Peer::Mcu).await?;
    Ok(transport.add_link(stream))
}
