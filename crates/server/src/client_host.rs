//! A conferencing client with a socket: what `confab call` and the robots of `confab try` are.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use confab_client::{Action, Client, ClientConfig, Command, Event, Observation, Secret};
use confab_machine::{FlowNote, Time};
use confab_schema::uri::UserUri;
use confab_sip::{Flow, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};

use crate::{
    clock::{self, Clock},
    drive::{self, Performed, drive},
    front_end::ANONYMOUS_DOMAIN,
    sip_transport::{Arrivals, ConnectionLimits, Datagram, Flows, TransportEvent},
};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Events that may wait for a client.
const EVENT_QUEUE: usize = 1024;

/// Where a client's server is.
#[derive(Clone)]
pub struct ServerAddress {
    /// How to speak to it.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// For TLS: the name its certificate must have, and whom to trust.
    pub tls: Option<(String, tokio_rustls::TlsConnector)>,
}

/// A made-up address for somebody who does not sign on.
pub fn anonymous_address() -> UserUri {
    let made_up = format!("sip:{}@{ANONYMOUS_DOMAIN}", clock::entropy().hex::<16>());
    UserUri::parse(&made_up).expect("digits at a host make an address")
}

/// A client at work.
pub struct RunningClient {
    commands: mpsc::Sender<Event>,
    observations: mpsc::UnboundedReceiver<Observation>,
}

impl RunningClient {
    /// Connects `user` to the server and starts his client. It is not registered yet.
    ///
    /// # Errors
    /// A sentence if the server cannot be reached.
    pub async fn start(
        user: UserUri,
        display_name: String,
        password: Option<Secret>,
        server: &ServerAddress,
        clock: Clock,
    ) -> anyhow::Result<RunningClient> {
        let (flows, events) = flows();
        let (local, flow) = connect(server, &flows)
            .await
            .with_context(|| format!("the server at {} cannot be reached", server.address))?;
        let who = (user, display_name, password);
        Ok(RunningClient::run(who, flows, events, flow, local, clock))
    }

    /// Starts the client of `user` on a stream to the server that is open already. It counts as
    /// TCP. It is not registered yet.
    pub fn on_stream<S>(
        user: UserUri,
        display_name: String,
        password: Option<Secret>,
        stream: S,
        clock: Clock,
    ) -> RunningClient
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (flows, events) = flows();
        let flow = flows.add_stream(stream, Transport::Tcp, None);
        let local = SocketAddr::from(([127, 0, 0, 1], 5060));
        RunningClient::run((user, display_name, password), flows, events, flow, local, clock)
    }

    /// Starts the client of `user` at the address `local`, whose datagrams with the server at `peer`
    /// somebody in this process carries. It is not registered yet.
    pub fn on_datagrams(
        user: UserUri,
        display_name: String,
        (carried, carrier): (mpsc::Receiver<Datagram>, mpsc::Sender<Datagram>),
        (local, peer): (SocketAddr, SocketAddr),
        clock: Clock,
    ) -> RunningClient {
        let (flows, events) = flows();
        let flow = flows.add_datagrams(carried, carrier, Some(peer)).expect("there is a peer");
        RunningClient::run((user, display_name, None), flows, events, flow, local, clock)
    }

    fn run(
        (user, display_name, password): (UserUri, String, Option<Secret>),
        flows: Flows,
        mut events: Arrivals,
        flow: Flow,
        local: SocketAddr,
        clock: Clock,
    ) -> RunningClient {
        let mut entropy = clock::entropy();
        let config = ClientConfig {
            user,
            display_name,
            password,
            local,
            epid: entropy.hex::<6>(),
            instance: entropy.guid().trim_matches(['{', '}']).to_ascii_lowercase(),
        };
        let client = Client::new(config, entropy);
        let (commands, queue) = mpsc::channel(EVENT_QUEUE);
        let (observed, observations) = mpsc::unbounded_channel();
        let shell = Shell { flows, observed };
        tokio::spawn(async move { drop(drive(client, queue, clock, shell).await) });
        let to_client = commands.clone();
        to_client.try_send(Event::Connected { flow }).expect("a new queue has room");
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let event = match event {
                    TransportEvent::Received { flow, message } => Event::Received { flow, message },
                    TransportEvent::Closed { flow } => Event::FlowClosed { flow },
                };
                if to_client.send(event).await.is_err() {
                    return;
                }
            }
        });
        RunningClient { commands, observations }
    }

    /// Has the client do something.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn command(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command.into()).await.context("the client has ended")
    }

    /// The next thing the client observes; `None` when it has ended.
    pub async fn observe(&mut self) -> Option<Observation> {
        self.observations.recv().await
    }

    /// The next thing the client has observed already; `None` if there is nothing new.
    pub fn observed(&mut self) -> Option<Observation> {
        self.observations.try_recv().ok()
    }

    /// Waits for an observation that `wanted` makes something of.
    ///
    /// # Errors
    /// A sentence if it does not come within `limit`, or if the client ends before.
    pub async fn wait<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut wanted: impl FnMut(Observation) -> Option<T>,
    ) -> anyhow::Result<T> {
        let found = async {
            loop {
                let observation =
                    self.observe().await.with_context(|| format!("the client ended before {what}"))?;
                if let Some(found) = wanted(observation) {
                    return anyhow::Ok(found);
                }
            }
        };
        timeout(limit, found).await.with_context(|| format!("{what} took too long"))?
    }
}

fn flows() -> (Flows, Arrivals) {
    Flows::new(ConnectionLimits::of_our_own(), EVENT_QUEUE)
}

async fn connect(server: &ServerAddress, flows: &Flows) -> anyhow::Result<(SocketAddr, Flow)> {
    if server.transport == Transport::Udp {
        let any: SocketAddr =
            if server.address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        // Asks the routing table for the address that the server will see.
        let probe = std::net::UdpSocket::bind(any)?;
        probe.connect(server.address)?;
        let local = SocketAddr::new(probe.local_addr()?.ip(), socket.local_addr()?.port());
        return Ok((local, flows.add_udp(socket, server.address)));
    }
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(server.address)).await??;
    // Signalling is small messages that somebody waits for.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let flow = match &server.tls {
        None => flows.add_stream(stream, Transport::Tcp, Some(server.address)),
        Some((name, connector)) => {
            let name = rustls::pki_types::ServerName::try_from(name.clone())?;
            let stream = timeout(CONNECT_LIMIT, connector.connect(name, stream)).await??;
            flows.add_stream(stream, Transport::Tls, Some(server.address))
        }
    };
    Ok((local, flow))
}

/// The hands of a client.
struct Shell {
    flows: Flows,
    observed: mpsc::UnboundedSender<Observation>,
}

impl drive::Shell<Client> for Shell {
    async fn perform(&mut self, _now: Time, action: Action) -> Performed<Event> {
        match action {
            Action::Transmit { flow, message } => {
                // A connection that is gone is reported as such by the transport.
                self.flows.send(flow, &message);
            }
            Action::KeepAlive { flow } => self.flows.send_raw(flow, Bytes::from_static(b"\r\n\r\n")),
            Action::Observe(observation) => {
                if self.observed.send(observation).is_err() {
                    return Performed::Stop;
                }
            }
        }
        Performed::Done
    }

    fn note(&mut self, _now: Time, _note: FlowNote) {}
}
