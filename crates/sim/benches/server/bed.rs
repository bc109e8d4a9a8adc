//! The test bed: a whole server in this process that challenges nobody.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use confab_server::{
    clock::Clock,
    config::{Config, Listen, ListenTransport},
    roles::{self, Resources, Server},
    vault::Vault,
};
use confab_sip::Transport;
use confab_store::{MemoryStore, Store};
use tempfile::TempDir;
use tokio::io::DuplexStream;

/// Everybody's SIP domain.
pub const DOMAIN: &str = "example.test";
/// Bytes in flight in one direction of a stream: as much as the socket of a small client takes.
pub const STREAM_BUFFER: usize = 16 * 1024;
/// More people, conferences and connections than any measurement makes.
const PLENTY: usize = 100_000;

/// A running server.
pub struct Bed {
    /// What runs.
    pub server: Server,
    /// Holds the keys.
    _data: TempDir,
}

impl Bed {
    /// A server that keeps its records in memory.
    pub async fn start() -> Bed {
        Bed::with(Arc::new(MemoryStore::new()), Vec::new()).await
    }

    /// A server that keeps its records in memory and listens for TCP on this machine.
    pub async fn on_loopback() -> Bed {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen = vec![Listen { transport: ListenTransport::Tcp, address }];
        Bed::with(Arc::new(MemoryStore::new()), listen).await
    }

    /// A server that keeps its records in `store`.
    pub async fn on(store: Arc<dyn Store>) -> Bed {
        Bed::with(store, Vec::new()).await
    }

    async fn with(store: Arc<dyn Store>, listen: Vec<Listen>) -> Bed {
        let data = folder();
        let mut config = Config { domain: DOMAIN.into(), auth: Vec::new(), ..Config::default() };
        config.front_end.listen = listen;
        config.front_end.host = format!("sip.{DOMAIN}");
        config.front_end.max_connections = PLENTY;
        config.front_end.max_connections_per_address = PLENTY;
        config.conferences.max_participants = PLENTY;
        config.conferences.max_per_organizer = PLENTY;
        let vault = Arc::new(Vault::open(data.path()).expect("a new key can be made"));
        let resources = Resources { store, vault, clock: Clock::start() };
        let server = roles::start(&config, data.path(), resources).await.expect("the server starts");
        Bed { server, _data: data }
    }

    /// A connection to the server, as if accepted by its listener for TCP.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(STREAM_BUFFER);
        self.server.transport.add_stream(far, Transport::Tcp, None);
        near
    }
}

/// A new folder on the disk that this was built on, and not in memory.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("what was built can be built beside")
}
