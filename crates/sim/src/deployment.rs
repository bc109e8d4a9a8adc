//! One whole Confab in this process: every role, the memory store, streams instead of sockets. Run
//! it on tokio's paused clock, where waiting costs nothing and nothing depends on the machine.

use std::sync::Arc;

use confab_client::Secret;
use confab_machine::{FlowRecord, Time};
use confab_mcu::{ImMcu, Mcu};
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_server::{
    clock::Clock,
    config::{AuthScheme, Config},
    roles::{self, Resources, Server},
    vault::Vault,
};
use confab_sip::{Flow, Transport};
use confab_store::MemoryStore;
use confab_users::account::Account;
use tempfile::TempDir;
use tokio::io::DuplexStream;

use crate::{peer::Peer, person::Person};

/// Everybody's SIP domain.
pub const DOMAIN: &str = "example.test";
/// When every simulation begins: 2026-11-21 03:45:29 UTC.
const START: Time = Time::from_unix_secs(1_795_232_729);
/// Bytes in flight in one direction of a stream.
const STREAM_BUFFER: usize = 64 * 1024;

/// A running Confab.
pub struct Deployment {
    /// What runs.
    pub server: Server,
    vault: Arc<Vault>,
    /// Holds the vault's key.
    _data: TempDir,
}

impl Deployment {
    /// A Confab that challenges nobody.
    pub async fn open() -> Deployment {
        Deployment::start(vec![], Box::new(ImMcu)).await
    }

    /// A Confab that challenges everybody by Digest.
    pub async fn closed() -> Deployment {
        Deployment::start(vec![AuthScheme::Digest], Box::new(ImMcu)).await
    }

    /// A Confab that challenges nobody, with another MCU for IM.
    pub async fn with_im_mcu(im_mcu: Box<dyn Mcu>) -> Deployment {
        Deployment::start(vec![], im_mcu).await
    }

    async fn start(auth: Vec<AuthScheme>, im_mcu: Box<dyn Mcu>) -> Deployment {
        let mut config = Config { domain: DOMAIN.into(), auth, ..Config::default() };
        config.front_end.listen = Vec::new();
        config.front_end.host = format!("sip.{DOMAIN}");
        let data = tempfile::tempdir().expect("a directory for the key can be made");
        let vault = Arc::new(Vault::open(data.path()).expect("a new key can be made"));
        let resources = Resources {
            store: Arc::new(MemoryStore::new()),
            vault: Arc::clone(&vault),
            clock: Clock::start_at(START),
        };
        let server = roles::start_with(&config, data.path(), resources, im_mcu)
            .await
            .expect("without listeners there is nothing to fail");
        Deployment { server, vault, _data: data }
    }

    /// Makes an account with this password.
    pub async fn add_account(&self, name: &str, password: &str) {
        let user = user(name);
        let mut account =
            Account::new(user.clone(), name, self.server.clock.now()).expect("the name is one of a user");
        account.secrets = self.vault.seal_password(&user, password);
        self.server.store.create_account(&account).await.expect("the account is new");
    }

    /// A connection to the server, as if accepted by its listener for TCP; and what the server
    /// calls it.
    pub fn connect(&self) -> (DuplexStream, Flow) {
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        let flow = self.server.transport.add_stream(far, Transport::Tcp, None);
        (near, flow)
    }

    /// Breaks somebody's connection.
    pub fn cut(&self, person: &Person) {
        self.server.transport.close(person.flow);
    }

    /// A peer that speaks raw bytes.
    pub fn peer(&self) -> Peer {
        Peer::new(self.connect().0)
    }

    /// Somebody's program, not signed on yet.
    pub fn person(&self, name: &str, password: Option<&str>) -> Person {
        let (stream, flow) = self.connect();
        Person::new(user(name), password.map(Secret::from), stream, flow, self.server.clock)
    }

    /// Somebody who has signed on.
    pub async fn sign_on(&self, name: &str) -> Person {
        let mut person = self.person(name, None);
        person.signs_on().await;
        person
    }

    /// The flow trace of a conference.
    pub fn trace(&self, conference: &ConferenceUri) -> Vec<FlowRecord> {
        self.server.flows.records(conference.id.as_str()).map(|(records, _)| records).unwrap_or_default()
    }
}

/// The address of somebody in [`DOMAIN`].
pub fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@{DOMAIN}")).expect("a plain name makes an address")
}
