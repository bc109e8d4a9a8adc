//! One whole Confab in this process: every role, the memory store, streams instead of sockets. Run
//! it on tokio's paused clock, where waiting costs nothing and nothing depends on the machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use confab_client::Secret;
use confab_machine::{FlowRecord, Time};
use confab_mcu::Mcu;
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_server::{
    client_host::{RunningClient, ServerAddress, anonymous_address},
    clock::Clock,
    config::{AuthScheme, ConferencesConfig, Config, Listen, ListenTransport},
    roles::{self, Parts, Resources, Server},
    sip_transport::connector_for,
    vault::Vault,
};
use confab_sip::{Flow, Transport};
use confab_store::{MemoryStore, Store};
use confab_users::account::Account;
use tempfile::TempDir;
use tokio::io::DuplexStream;

use crate::{peer::Peer, person::Person, phone::Phone};

/// Everybody's SIP domain.
pub const DOMAIN: &str = "example.test";
/// When every simulation begins: 2026-11-21 03:45:29 UTC.
pub const START: Time = Time::from_unix_secs(1_795_232_729);
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
        Deployment::start(&config(vec![]), Parts::default()).await
    }

    /// A Confab that challenges everybody by Digest.
    pub async fn closed() -> Deployment {
        Deployment::start(&config(vec![AuthScheme::Digest]), Parts::default()).await
    }

    /// A Confab that challenges nobody, with another MCU for IM.
    pub async fn with_im_mcu(im_mcu: Box<dyn Mcu>) -> Deployment {
        Deployment::of(Parts { im_mcu, ..Parts::default() }).await
    }

    /// A Confab that challenges nobody, made of these parts.
    pub async fn of(parts: Parts) -> Deployment {
        Deployment::start(&config(vec![]), parts).await
    }

    /// A Confab that challenges nobody, with other limits for its conferences.
    pub async fn with_conferences(conferences: ConferencesConfig) -> Deployment {
        Deployment::start(&Config { conferences, ..config(vec![]) }, Parts::default()).await
    }

    /// A Confab that challenges nobody, made of these parts, with other limits for its conferences.
    pub async fn of_with_conferences(parts: Parts, conferences: ConferencesConfig) -> Deployment {
        Deployment::start(&Config { conferences, ..config(vec![]) }, parts).await
    }

    /// A Confab that challenges nobody, with this database.
    pub async fn with_store(store: Arc<dyn Store>) -> Deployment {
        Deployment::start_on(&config(vec![]), Parts::default(), store).await
    }

    /// A Confab that challenges everybody by Digest, with other limits for its conferences.
    pub async fn closed_with(conferences: ConferencesConfig) -> Deployment {
        Deployment::start(&Config { conferences, ..config(vec![AuthScheme::Digest]) }, Parts::default()).await
    }

    /// A Confab that challenges nobody and listens for UDP, TCP and TLS on this machine. It lives in
    /// real time.
    pub async fn on_loopback() -> Deployment {
        Deployment::start(&on_loopback(vec![]), Parts::default()).await
    }

    /// The same with other settings.
    pub async fn on_loopback_as(settings: impl FnOnce(&mut Config)) -> Deployment {
        let mut config = on_loopback(vec![]);
        settings(&mut config);
        Deployment::start(&config, Parts::default()).await
    }

    /// A Confab that challenges nobody, for the people of another domain.
    pub async fn open_for(domain: &str) -> Deployment {
        Deployment::start(&Config { domain: domain.into(), ..config(vec![]) }, Parts::default()).await
    }

    async fn start(config: &Config, parts: Parts) -> Deployment {
        Deployment::start_on(config, parts, Arc::new(MemoryStore::new())).await
    }

    async fn start_on(config: &Config, parts: Parts, store: Arc<dyn Store>) -> Deployment {
        let data = tempfile::tempdir().expect("a directory for the keys can be made");
        let vault = Arc::new(Vault::open(data.path()).expect("a new key can be made"));
        let resources = Resources { store, vault: Arc::clone(&vault), clock: Clock::start_at(START) };
        let server = roles::start_with(config, data.path(), resources, parts)
            .await
            .expect("ports of the operating system's choice are free");
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
        let flow = person.flow.expect("the person is on a stream of ours");
        self.server.transport.close(flow);
    }

    /// A peer that speaks raw bytes.
    pub fn peer(&self) -> Peer {
        Peer::new(self.connect().0)
    }

    /// A plain SIP phone of somebody's.
    pub fn phone(&self, name: &str) -> Phone {
        Phone::new(name, self.peer())
    }

    /// How to reach the server's listener for `transport`.
    pub fn address(&self, transport: Transport) -> ServerAddress {
        let listener = self.server.bound.iter().find(|bound| bound.transport == transport);
        let address = listener.expect("this deployment listens").address;
        let trusted = self.server.certificate.as_deref().filter(|_| transport == Transport::Tls);
        let tls = trusted.map(|certificate| {
            let connector = connector_for(certificate).expect("the server has made its certificate");
            (format!("sip.{DOMAIN}"), connector)
        });
        ServerAddress { transport, address, tls }
    }

    /// Somebody who signs on over a socket.
    pub async fn sign_on_over(&self, transport: Transport, name: &str) -> Person {
        self.sign_on_over_with(transport, name, None).await
    }

    /// The same with a password.
    pub async fn sign_on_over_with(
        &self,
        transport: Transport,
        name: &str,
        password: Option<&str>,
    ) -> Person {
        let (address, password) = (self.address(transport), password.map(Secret::from));
        let client = RunningClient::start(user(name), name.into(), password, &address, self.server.clock);
        let client = client.await.expect("the server can be reached");
        let mut person = Person::new(user(name), client, None);
        person.signs_on().await;
        person
    }

    /// Somebody's program, not signed on yet.
    pub fn person(&self, name: &str, password: Option<&str>) -> Person {
        let (stream, flow) = self.connect();
        let password = password.map(Secret::from);
        let client = RunningClient::on_stream(user(name), name.into(), password, stream, self.server.clock);
        Person::new(user(name), client, Some(flow))
    }

    /// Somebody who calls himself `name`, does not sign on, and believes this to be the conference's
    /// key.
    pub fn guest(&self, name: &str, key: &str) -> Person {
        let (stream, flow) = self.connect();
        let user = anonymous_address();
        let (key, clock) = (Some(Secret::from(key)), self.server.clock);
        let client = RunningClient::on_stream(user.clone(), name.into(), key, stream, clock);
        Person::new(user, client, Some(flow))
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

fn config(auth: Vec<AuthScheme>) -> Config {
    let mut config = Config { domain: DOMAIN.into(), auth, ..Config::default() };
    config.front_end.listen = Vec::new();
    config.front_end.host = format!("sip.{DOMAIN}");
    config
}

/// The same, on free ports of this machine.
fn on_loopback(auth: Vec<AuthScheme>) -> Config {
    let mut config = config(auth);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = [ListenTransport::Udp, ListenTransport::Tcp, ListenTransport::Tls];
    config.front_end.listen = listeners.map(|transport| Listen { transport, address }).into();
    config
}

/// The address of somebody in [`DOMAIN`].
pub fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@{DOMAIN}")).expect("a plain name makes an address")
}
