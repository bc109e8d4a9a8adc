//! Starts every role of the configuration and wires them to each other.

mod control;
mod front_end_shell;
mod mcu;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use confab_conference::policy::MeetingPolicy;
use confab_mcu::{AvMcu, ImMcu, Mcu};
use confab_schema::uri::McuType;
use confab_sip::{
    Transport,
    auth::{Algorithm, DigestAuthority},
};
use confab_store::Store;
use confab_users::{Users, UsersSettings};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
};

use crate::{
    clock::{self, Clock},
    config::{AuthScheme, Config, ListenTransport},
    control_link::{self, ControlClient, FACTORY_PATH},
    drive::drive,
    flow_log::FlowLog,
    focus_factory_host::FocusFactoryHost,
    focus_host::{FocusDirectory, FocusServices, MakeHost},
    front_end::{self, Addresses, FrontEnd, FrontEndSetup, Tables},
    inproc::InprocNetwork,
    mcu_factory_host::McuFactoryHost,
    media_host::DataPlane,
    sip_transport::{self, Arrivals, Bound, ConnectionLimits, Flows, TlsFiles, TransportEvent},
    sweeper::Sweeper,
    vault::Vault,
};
use control::ControlListener;
use front_end_shell::{FrontEndEvents, FrontEndShell};
pub use mcu::{McuParts, McuServer, start_mcu, start_mcu_server};

/// Events that may wait for the front end, and for an MCU's SIP side.
const EVENT_QUEUE: usize = 16 * 1024;
/// The hosts of the in-memory network.
const FACTORY_HOST: &str = "mcufactory.inproc";
const FOCUS_HOST: &str = "focus.inproc";
const IM_MCU_HOST: &str = "immcu.inproc";
const AV_MCU_HOST: &str = "avmcu.inproc";

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
    /// What carries sound and pictures, if that is done in this process.
    pub media: Option<Arc<dyn DataPlane>>,
    /// The conferencing database.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// How long after its expiry a conference is deleted.
    pub content_grace: Duration,
    /// The certificate that TLS clients may be told to trust, if one was made.
    pub certificate: Option<std::path::PathBuf>,
    /// Where conferencing servers of other machines report, if they may.
    pub control: Option<String>,
    front_end: mpsc::Sender<front_end::Event>,
}

impl Server {
    /// How much its tables hold; nothing, if it has ended.
    pub async fn tables(&self) -> Tables {
        let (asker, told) = oneshot::channel();
        let asked = self.front_end.send(front_end::Event::TablesWanted { asker }).await;
        let told = if asked.is_ok() { told.await.unwrap_or_default() } else { Tables::default() };
        let (conferences, callbacks) = self.directory.counts();
        Tables { conferences, callbacks, ..told }
    }
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
    let av_mcu: Option<Box<dyn Mcu>> = Some(Box::new(AvMcu { options: config.media.options() }));
    start_with(config, data, resources, Parts { av_mcu, ..Parts::default() }).await
}

/// Parts of a server that can be replaced by others; the simulation does so.
pub struct Parts {
    /// The MCU for IM.
    pub im_mcu: Box<dyn Mcu>,
    /// The MCU for audio and video: without it there is neither.
    pub av_mcu: Option<Box<dyn Mcu>>,
    /// What carries those; threads with sockets, on the real clock, unless it is named.
    pub data_plane: Option<Arc<dyn DataPlane>>,
    /// What runs as the Focus of each conference.
    pub make_host: MakeHost,
    /// What lies between those in this process.
    pub network: InprocNetwork,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts {
            im_mcu: Box::new(ImMcu),
            av_mcu: None,
            data_plane: None,
            make_host: Arc::new(|host| Box::new(host)),
            network: InprocNetwork::default(),
        }
    }
}

/// Starts everything, made of these parts.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    config: &Config,
    data: &Path,
    resources: Resources,
    parts: Parts,
) -> anyhow::Result<Server> {
    let Resources { store, vault, clock } = resources;
    let Parts { im_mcu, av_mcu, data_plane, make_host, network } = parts;
    let flows = FlowLog::default();
    let (elsewhere, control) = control_of(config, data, &network).await?;
    let control_base = elsewhere.as_ref().map(|elsewhere| elsewhere.base.clone());
    let (transport, transport_events) = Flows::new(limits(config), EVENT_QUEUE);
    let (front_end, front_end_events) = mpsc::channel(EVENT_QUEUE);
    let (bound, certificate) = listen(config, data, &transport).await?;
    let addresses = addresses(config, &bound);
    let factory = McuFactoryHost::new(control.clone(), clock, flows.clone());
    start_factory(&network, &factory);
    let services = FocusServices {
        store: Arc::clone(&store),
        control: control.clone(),
        factory_url: format!("http://{FACTORY_HOST}{FACTORY_PATH}"),
        focus_base: control_base.clone().unwrap_or_else(|| format!("http://{FOCUS_HOST}")),
        policy: policy(config, media(config, av_mcu.is_some())),
        name: addresses.name.clone(),
        clock,
        flows: flows.clone(),
        front_end: front_end.clone(),
        make_host,
    };
    let directory = FocusDirectory::new(services.clone());
    start_focuses(&network, &directory);
    let focus_factory = focus_factory(config, &services, &vault, &directory);
    let machine = front_end_machine(config, &services.policy, addresses);
    let shell = FrontEndShell {
        transport: transport.clone(),
        events: front_end.clone(),
        store: Arc::clone(&store),
        vault,
        focus_factory,
        directory: directory.clone(),
        network: network.clone(),
        trust: elsewhere.as_ref().map(|elsewhere| elsewhere.trust.clone()),
    };
    let events = FrontEndEvents::new(front_end_events, transport_events);
    tokio::spawn(async move { drop(drive(machine, events, clock, shell).await) });
    let media = match elsewhere {
        Some(elsewhere) => {
            elsewhere.serve(factory, directory.clone(), clock);
            None
        }
        None => {
            let mcus = (im_mcu, av_mcu);
            start_mcus(config, mcus, data_plane, &network, (clock, &flows), &front_end, &factory).await?
        }
    };
    start_sweeper(config, &store, &directory, clock);
    Ok(Server {
        bound,
        transport,
        flows,
        directory,
        media,
        store,
        clock,
        content_grace: config.conferences.content_grace(),
        certificate,
        control: control_base,
        front_end,
    })
}

/// Starts the conferencing servers of this process, one for instant messages and maybe one for audio and
/// video; what carries those.
async fn start_mcus(
    config: &Config,
    (im_mcu, av_mcu): (Box<dyn Mcu>, Option<Box<dyn Mcu>>),
    data_plane: Option<Arc<dyn DataPlane>>,
    network: &InprocNetwork,
    (clock, flows): (Clock, &FlowLog),
    front_end: &mpsc::Sender<front_end::Event>,
    factory: &McuFactoryHost,
) -> anyhow::Result<Option<Arc<dyn DataPlane>>> {
    let start = async |parts: McuParts, host| {
        let mcu = start_mcu(parts, config, network, host, clock, flows);
        if network.is_whole() {
            mcu.accompany(factory);
        }
        link(front_end, mcu.server_uri()).await
    };
    start(McuParts { mcu: im_mcu, media: None }, IM_MCU_HOST).await?;
    let Some(mcu) = av_mcu else { return Ok(None) };
    let media = Some(match data_plane {
        Some(data_plane) => data_plane,
        None => mcu::start_media(config, config.media.addresses_beside(&config.front_end), clock)?,
    });
    start(McuParts { mcu, media: media.clone() }, AV_MCU_HOST).await?;
    Ok(media)
}

fn focus_factory(
    config: &Config,
    services: &FocusServices,
    vault: &Arc<Vault>,
    directory: &FocusDirectory,
) -> FocusFactoryHost {
    FocusFactoryHost {
        store: Arc::clone(&services.store),
        vault: Arc::clone(vault),
        directory: directory.clone(),
        policy: services.policy.clone(),
        max_message: config.front_end.max_message,
        name: services.name.clone(),
        clock: services.clock,
        flows: services.flows.clone(),
    }
}

/// Has the front end open its link to an MCU.
async fn link(front_end: &mpsc::Sender<front_end::Event>, server_uri: &str) -> anyhow::Result<()> {
    let linked = front_end::Event::McuProvisioned { server_uri: server_uri.to_owned() };
    front_end.send(linked).await.context("the front end has just been started")
}

/// Deletes expired records now and then.
fn start_sweeper(config: &Config, store: &Arc<dyn Store>, directory: &FocusDirectory, clock: Clock) {
    let grace = config.conferences.content_grace();
    let sweeper = Sweeper { store: Arc::clone(store), directory: directory.clone(), grace };
    tokio::spawn(sweeper.run(clock));
}

/// The listener for other machines, if there is to be one, and what posts to all of them.
async fn control_of(
    config: &Config,
    data: &Path,
    network: &InprocNetwork,
) -> anyhow::Result<(Option<ControlListener>, ControlClient)> {
    let Some(control) = &config.control else { return Ok((None, ControlClient::new(network.clone()))) };
    let elsewhere = ControlListener::open(control, data).await?;
    let client = ControlClient::with_remote(network.clone(), elsewhere.trust.clone());
    Ok((Some(elsewhere), client))
}

/// The Conferencing Server Factory, for those in this process.
fn start_factory(network: &InprocNetwork, factory: &McuFactoryHost) {
    tokio::spawn(factory.clone().watch());
    let factory = factory.clone();
    let listener = network.listen(FACTORY_HOST);
    tokio::spawn(control_link::serve(listener, move |posted| factory.clone().posted(posted)));
}

/// The Focuses, for those in this process.
fn start_focuses(network: &InprocNetwork, directory: &FocusDirectory) {
    let directory = directory.clone();
    let listener = network.listen(FOCUS_HOST);
    tokio::spawn(control_link::serve(listener, move |posted| directory.clone().posted(posted)));
}

fn front_end_machine(config: &Config, policy: &MeetingPolicy, addresses: Addresses) -> FrontEnd {
    FrontEnd::new(FrontEndSetup {
        domain: config.domain.clone(),
        conference_factory: config.conferences.factory_address(&config.domain),
        users: Users::new(users_settings(policy, addresses.name.clone()), clock::entropy()),
        addresses,
        authority: authority(config),
        anonymous: anonymous(config),
        entropy: clock::entropy(),
    })
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

/// Who challenges people who do not sign in, if they may join: OCS clients with MD5-sess first, which is all
/// they know for it.
fn anonymous(config: &Config) -> Option<DigestAuthority> {
    let others = config.digest_algorithms.iter().map(|algorithm| (*algorithm).into());
    let algorithms = std::iter::once(Algorithm::Md5Sess).chain(others).collect();
    let authority = || DigestAuthority::new(front_end::ANONYMOUS_DOMAIN, clock::entropy().bytes());
    config.conferences.allow_anonymous.then(|| authority().with_algorithms(algorithms))
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

/// What conferences may have. Only what works is advertised.
fn media(config: &Config, has_av_mcu: bool) -> Vec<McuType> {
    match &config.control {
        Some(control) => control.media.iter().map(|medium| (*medium).into()).collect(),
        None if has_av_mcu => vec![McuType::Chat, McuType::AudioVideo],
        None => vec![McuType::Chat],
    }
}

fn policy(config: &Config, media: Vec<McuType>) -> MeetingPolicy {
    MeetingPolicy {
        max_participants: config.conferences.max_participants,
        large_meeting: config.conferences.large_meeting,
        max_conferences_per_organizer: config.conferences.max_per_organizer,
        media,
        allow_anonymous: config.conferences.allow_anonymous,
        lobby: config.conferences.lobby,
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
                let listener = sip_transport::bind(listen.address).with_context(taken)?;
                let address = listener.local_addr().with_context(taken)?;
                transport.listen_tcp(listener);
                (Transport::Tcp, address)
            }
            ListenTransport::Tls => {
                let files = tls_files(config, data)?;
                let listener = sip_transport::bind(listen.address).with_context(taken)?;
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
    let sent_by = bound.iter().rev().map(|bound| (bound.transport, reachable(host, bound.address)));
    let sent_by: BTreeMap<Transport, String> = sent_by.collect();
    let name = if host.is_empty() { config.domain.clone() } else { host.to_owned() };
    Addresses { name, sent_by }
}

/// `host:port` of a listener for others: the configured host, or the address that it is bound to.
fn reachable(host: &str, bound: SocketAddr) -> String {
    let port = bound.port();
    if host.is_empty() {
        let ip = if bound.ip().is_unspecified() { own_address() } else { bound.ip() };
        return SocketAddr::new(ip, port).to_string();
    }
    host.parse().map_or_else(|_| format!("{host}:{port}"), |ip: IpAddr| SocketAddr::new(ip, port).to_string())
}

/// The address by which this machine would reach another. Nothing is sent: a datagram socket only
/// asks the routing table.
pub(crate) fn own_address() -> IpAddr {
    let asked = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr())
    });
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Passes on what came by connections.
async fn hand_on<E>(mut from: Arrivals, to: mpsc::Sender<E>, translate: impl Fn(TransportEvent) -> E) {
    while let Some(event) = from.recv().await {
        if to.send(translate(event)).await.is_err() {
            return;
        }
    }
}
