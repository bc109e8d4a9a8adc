//! Starts every role of the configuration and wires them to each other.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use confab_conference::policy::MeetingPolicy;
use confab_machine::{FlowNote, Time};
use confab_mcu::{ImMcu, Mcu, McuLimits};
use confab_schema::uri::{McuType, UserUri};
use confab_sip::{Transport, auth::DigestAuthority};
use confab_store::{Store, StoreError};
use confab_users::{Users, UsersSettings};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
};
use tracing::warn;

use crate::{
    clock::{self, Clock},
    config::{AuthScheme, Config, ListenTransport},
    control_link::{self, ControlClient},
    drive::{self, Performed, drive},
    flow_log::FlowLog,
    focus_factory_host::FocusFactoryHost,
    focus_host::{FocusDirectory, FocusServices},
    front_end::{self, Addresses, FrontEnd, FrontEndSetup, KnownAccount, Unavailable},
    inproc::InprocNetwork,
    mcu_factory_host::{FACTORY_PATH, McuFactoryHost},
    mcu_host::{McuHost, McuPlace, McuSip, McuSipShell, SipEvent},
    sip_transport::{self, Bound, ConnectionLimits, Flows, TlsFiles, TransportEvent},
    sweeper::Sweeper,
    vault::Vault,
};

/// Events that may wait for the front end, and for an MCU's SIP side.
const EVENT_QUEUE: usize = 16 * 1024;
/// The hosts of the in-memory network.
const FACTORY_HOST: &str = "mcufactory.inproc";
const FOCUS_HOST: &str = "focus.inproc";
const IM_MCU_HOST: &str = "immcu.inproc";
/// Where SIP for the IM MCU is listened for in that network.
const IM_MCU_SIP: &str = "immcu.inproc:sip";

/// A running server.
pub struct Server {
    /// Where SIP can be reached.
    pub bound: Vec<Bound>,
    /// SIP's connections; one can be added that no listener accepted.
    pub transport: Flows,
    /// The flow trace.
    pub flows: FlowLog,
    /// The active conferences.
    pub directory: FocusDirectory,
    /// The conferencing database.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// How long after its expiry a conference is deleted.
    pub content_grace: Duration,
    /// The certificate that TLS clients may be told to trust, if one was made.
    pub certificate: Option<std::path::PathBuf>,
}

/// What is started with besides the configuration.
pub struct Resources {
    /// The conferencing database.
    pub store: Arc<dyn Store>,
    /// Opens the accounts' secrets.
    pub vault: Arc<Vault>,
    /// The time.
    pub clock: Clock,
}

/// Starts everything; the tasks run until the runtime ends.
///
/// # Errors
/// Sentences that say which listener or file is at fault.
pub async fn start(config: &Config, data: &Path, resources: Resources) -> anyhow::Result<Server> {
    start_with(config, data, resources, Box::new(ImMcu)).await
}

/// Starts everything, with another MCU for IM than ours.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    config: &Config,
    data: &Path,
    resources: Resources,
    im_mcu: Box<dyn Mcu>,
) -> anyhow::Result<Server> {
    let Resources { store, vault, clock } = resources;
    let flows_log = FlowLog::default();
    let network = InprocNetwork::default();
    let control = ControlClient::new(network.clone());
    let policy = policy(config);

    let (transport, transport_events) = Flows::new(limits(config), EVENT_QUEUE);
    let (front_end, front_end_events) = mpsc::channel(EVENT_QUEUE);
    let (bound, certificate) = listen(config, data, &transport).await?;
    let addresses = addresses(config, &bound);

    let factory_url = format!("http://{FACTORY_HOST}{FACTORY_PATH}");
    let factory = McuFactoryHost::new(control.clone(), clock, flows_log.clone());
    tokio::spawn(factory.clone().watch());
    let listener = network.listen(FACTORY_HOST);
    tokio::spawn(control_link::serve(listener, move |posted| factory.clone().posted(posted)));

    let directory = FocusDirectory::new(FocusServices {
        store: Arc::clone(&store),
        control: control.clone(),
        factory_url: factory_url.clone(),
        focus_base: format!("http://{FOCUS_HOST}"),
        policy: policy.clone(),
        name: addresses.name.clone(),
        clock,
        flows: flows_log.clone(),
        front_end: front_end.clone(),
    });
    let listener = network.listen(FOCUS_HOST);
    let for_posts = directory.clone();
    tokio::spawn(control_link::serve(listener, move |posted| for_posts.clone().posted(posted)));

    let focus_factory = FocusFactoryHost {
        store: Arc::clone(&store),
        directory: directory.clone(),
        policy: policy.clone(),
        name: addresses.name.clone(),
        clock,
        flows: flows_log.clone(),
    };
    let machine = FrontEnd::new(FrontEndSetup {
        domain: config.domain.clone(),
        users: Users::new(users_settings(&policy, addresses.name.clone()), clock::entropy()),
        addresses,
        authority: authority(config),
        entropy: clock::entropy(),
    });
    let shell = FrontEndShell {
        transport: transport.clone(),
        events: front_end.clone(),
        store: Arc::clone(&store),
        vault,
        focus_factory,
        directory: directory.clone(),
    };
    tokio::spawn(hand_on(transport_events, front_end.clone(), from_transport));
    tokio::spawn(async move { drop(drive(machine, front_end_events, clock, shell).await) });

    start_im_mcu(im_mcu, config, &network, &control, clock, &flows_log, &factory_url);
    link_im_mcu(&network, &transport, &front_end).await?;
    let content_grace = config.conferences.content_grace();
    start_sweeper(&store, &directory, content_grace, clock);
    Ok(Server { bound, transport, flows: flows_log, directory, store, clock, content_grace, certificate })
}

/// Deletes expired records now and then.
fn start_sweeper(store: &Arc<dyn Store>, directory: &FocusDirectory, grace: Duration, clock: Clock) {
    let sweeper = Sweeper { store: Arc::clone(store), directory: directory.clone(), grace };
    tokio::spawn(sweeper.run(clock));
}

fn from_transport(event: TransportEvent) -> front_end::Event {
    match event {
        TransportEvent::Received { flow, message } => front_end::Event::Received { flow, message },
        TransportEvent::Closed { flow } => front_end::Event::FlowClosed { flow },
    }
}

fn limits(config: &Config) -> ConnectionLimits {
    let front_end = &config.front_end;
    ConnectionLimits::new(
        front_end.max_message,
        front_end.max_connections,
        front_end.max_connections_per_address,
    )
}

/// Who challenges, if anybody is to be challenged.
fn authority(config: &Config) -> Option<DigestAuthority> {
    let algorithms = || config.digest_algorithms.iter().map(|algorithm| (*algorithm).into()).collect();
    let authority = || DigestAuthority::new(config.domain.clone(), clock::entropy().bytes());
    config.auth.contains(&AuthScheme::Digest).then(|| authority().with_algorithms(algorithms()))
}

/// What clients are told about this server when they sign in.
fn users_settings(policy: &MeetingPolicy, host: String) -> UsersSettings {
    let has = |medium| policy.media.contains(&medium);
    UsersSettings {
        host,
        meeting_policy: confab_users::MeetingPolicy {
            meeting_size: u32::try_from(policy.max_participants).unwrap_or(u32::MAX),
            audio: has(McuType::AudioVideo),
            video: has(McuType::AudioVideo),
            data_collaboration: has(McuType::Meeting),
            application_sharing: has(McuType::ApplicationSharing),
        },
    }
}

fn policy(config: &Config) -> MeetingPolicy {
    MeetingPolicy {
        max_participants: config.conferences.max_participants,
        max_conferences_per_organizer: config.conferences.max_per_organizer,
        // Only what works is advertised.
        media: vec![McuType::Chat],
        default_lifetime_s: config.conferences.default_lifetime_days * 24 * 3600,
        empty_limit_s: config.conferences.empty_minutes * 60,
        idle_limit_s: config.conferences.idle_hours * 3600,
    }
}

/// Opens the listeners.
async fn listen(
    config: &Config,
    data: &Path,
    transport: &Flows,
) -> anyhow::Result<(Vec<Bound>, Option<std::path::PathBuf>)> {
    let mut bound = Vec::new();
    let mut certificate = None;
    for listen in &config.front_end.listen {
        let taken = || format!("{} cannot be listened on", String::from(*listen));
        let (kind, address) = match listen.transport {
            ListenTransport::Udp => {
                let socket = UdpSocket::bind(listen.address).await.with_context(taken)?;
                let address = socket.local_addr().with_context(taken)?;
                transport.listen_udp(socket);
                (Transport::Udp, address)
            }
            ListenTransport::Tcp => {
                let listener = TcpListener::bind(listen.address).await.with_context(taken)?;
                let address = listener.local_addr().with_context(taken)?;
                transport.listen_tcp(listener);
                (Transport::Tcp, address)
            }
            ListenTransport::Tls => {
                let files = tls_files(config, data)?;
                let listener = TcpListener::bind(listen.address).await.with_context(taken)?;
                let address = listener.local_addr().with_context(taken)?;
                transport.listen_tls(listener, sip_transport::acceptor(&files)?);
                certificate = Some(files.certificate);
                (Transport::Tls, address)
            }
        };
        bound.push(Bound { transport: kind, address });
    }
    Ok((bound, certificate))
}

fn tls_files(config: &Config, data: &Path) -> anyhow::Result<TlsFiles> {
    let front_end = &config.front_end;
    if !front_end.certificate.as_os_str().is_empty() {
        let (certificate, private_key) = (front_end.certificate.clone(), front_end.private_key.clone());
        return Ok(TlsFiles { certificate, private_key });
    }
    let mut names = vec![config.domain.clone(), format!("sip.{}", config.domain), "localhost".into()];
    names.extend(Some(front_end.host.clone()).filter(|host| !host.is_empty()));
    names.extend(
        front_end
            .listen
            .iter()
            .map(|listen| listen.address.ip())
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string()),
    );
    names.push(own_address().to_string());
    names.sort();
    names.dedup();
    TlsFiles::self_signed(data, &names)
}

/// Where this server can be reached: the configured name, or the address a listener is bound to.
fn addresses(config: &Config, bound: &[Bound]) -> Addresses {
    let host = config.front_end.host.as_str();
    let sent_by = bound.iter().rev().map(|bound| {
        let address = match bound.address.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(own_address(), bound.address.port()),
            _ => bound.address,
        };
        let sent_by =
            if host.is_empty() { address.to_string() } else { format!("{host}:{}", address.port()) };
        (bound.transport, sent_by)
    });
    let sent_by: BTreeMap<Transport, String> = sent_by.collect();
    let name = if host.is_empty() { config.domain.clone() } else { host.to_owned() };
    Addresses { name, sent_by }
}

/// The address by which this machine would reach another. Nothing is sent: a datagram socket only
/// asks the routing table.
fn own_address() -> IpAddr {
    let asked = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr())
    });
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Passes events of one kind on as another.
async fn hand_on<A, B>(mut from: mpsc::Receiver<A>, to: mpsc::Sender<B>, translate: impl Fn(A) -> B) {
    while let Some(event) = from.recv().await {
        if to.send(translate(event)).await.is_err() {
            return;
        }
    }
}

/// The IM MCU in this process.
fn start_im_mcu(
    mcu: Box<dyn Mcu>,
    config: &Config,
    network: &InprocNetwork,
    control: &ControlClient,
    clock: Clock,
    flows: &FlowLog,
    factory_url: &str,
) {
    // Within the process there is nobody to be protected from.
    let (transport, transport_events) = Flows::new(ConnectionLimits::of_our_own(), EVENT_QUEUE);
    let (sip, sip_events) = mpsc::channel(EVENT_QUEUE);
    let place = McuPlace {
        control_base: format!("http://{IM_MCU_HOST}"),
        control_path: "/LiveServer/IMMCU/".into(),
        server_uri: im_mcu_uri(),
        factory_url: factory_url.to_owned(),
    };
    let limits = McuLimits { participants: config.conferences.max_participants, ..McuLimits::default() };
    let host = McuHost::new(mcu, place, limits, control.clone(), clock, flows.clone(), sip.clone());
    let listener = network.listen(IM_MCU_HOST);
    let for_posts = host.clone();
    tokio::spawn(control_link::serve(listener, move |posted| for_posts.clone().posted(posted)));
    tokio::spawn(host.clone().report_health());

    let mut links = network.listen(IM_MCU_SIP);
    let shell = McuSipShell { flows: transport.clone(), host, events: sip.clone() };
    let machine = McuSip::new(IM_MCU_HOST.into(), clock::entropy());
    tokio::spawn(async move { drop(drive(machine, sip_events, clock, shell).await) });
    tokio::spawn(hand_on(transport_events, sip.clone(), |event| match event {
        TransportEvent::Received { flow, message } => SipEvent::Received { flow, message },
        TransportEvent::Closed { flow } => SipEvent::FlowClosed { flow },
    }));
    tokio::spawn(async move {
        while let Some(stream) = links.recv().await {
            let flow = transport.add_stream(stream, Transport::Inproc, None);
            if sip.send(SipEvent::Linked { flow }).await.is_err() {
                return;
            }
        }
    });
}

/// Connects the front end to the IM MCU.
async fn link_im_mcu(
    network: &InprocNetwork,
    transport: &Flows,
    front_end: &mpsc::Sender<front_end::Event>,
) -> anyhow::Result<()> {
    let stream = network.connect(IM_MCU_SIP).await.context("the IM MCU has just been started")?;
    let flow = transport.add_stream(stream, Transport::Inproc, None);
    let linked = front_end::Event::McuLinked { server_uri: im_mcu_uri(), flow };
    front_end.send(linked).await.context("the front end has just been started")
}

fn im_mcu_uri() -> String {
    format!("sip:{IM_MCU_HOST};transport=tcp")
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

/// The hands of the front end.
struct FrontEndShell {
    transport: Flows,
    /// The front end's own queue.
    events: mpsc::Sender<front_end::Event>,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    focus_factory: FocusFactoryHost,
    directory: FocusDirectory,
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
            front_end::Action::ToFactory { key, user, request } => {
                let (factory, events) = (self.focus_factory.clone(), self.events.clone());
                tokio::spawn(async move {
                    let response = factory.serve(&user, &request).await;
                    let _ = events.send(front_end::Event::Respond { key, response }).await;
                });
            }
            front_end::Action::ToFocus { conference, event } => self.directory.deliver(&conference, *event),
        }
        Performed::Done
    }

    fn note(&mut self, _now: Time, _note: FlowNote) {}
}
