//! A conferencing server as a role: in the front end's process, or as a process of its own that front
//! ends reach over mutual TLS.

use std::{net::IpAddr, path::Path, sync::Arc};

use anyhow::{Context, bail};
use confab_mcu::{AvMcu, ImMcu, Mcu, McuLimits};
use confab_schema::uri::McuType;
use confab_sip::Transport;
use tokio::sync::mpsc::{self, Receiver};
use tracing::warn;

use super::{EVENT_QUEUE, FACTORY_HOST, hand_on, reachable};
use crate::{
    clock::{self, Clock},
    config::Config,
    control_link::{self, Answer, ControlClient, FACTORY_PATH, Posted},
    drive::drive,
    flow_log::FlowLog,
    inproc::InprocNetwork,
    mcu_host::{McuHost, McuPlace, McuSip, McuSipShell, SipEvent},
    media_host::{DataPlane, MediaHost, MediaPlace},
    private_ca::PeerRole,
    sip_transport::{ConnectionLimits, Flows, TransportEvent, bind},
    trust::{Accepted, Trust},
};

/// A conferencing server, and the data plane if it has one.
pub struct McuParts {
    /// The conferencing server.
    pub mcu: Box<dyn Mcu>,
    /// What carries its sound and pictures.
    pub media: Option<Arc<dyn DataPlane>>,
}

impl McuParts {
    /// Where it takes conferences.
    fn control_path(&self) -> String {
        let name = match self.mcu.media() {
            McuType::AudioVideo => "AVMCU",
            _ => "IMMCU",
        };
        format!("/LiveServer/{name}/")
    }
}

/// The threads of the data plane at these addresses.
///
/// # Errors
/// If the operating system gives no thread.
pub(super) fn start_media(
    config: &Config,
    addresses: Vec<IpAddr>,
    clock: Clock,
) -> anyhow::Result<Arc<dyn DataPlane>> {
    let media = &config.media;
    let ports = (media.first_port, media.last_port);
    let place = MediaPlace { addresses, ports, threads: media.thread_count() };
    let host = MediaHost::start(place, clock).context("the threads for media cannot be started")?;
    Ok(Arc::new(host))
}

/// A conferencing server that is a process of its own. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct McuServer {
    /// What it is, as the beginning of a sentence.
    pub name: &'static str,
    /// Its front end.
    pub factory: String,
    /// The MCU.
    pub host: McuHost,
    /// The flow trace.
    pub flows: FlowLog,
    /// Where it takes conferences.
    pub control_url: String,
    /// Where it takes SIP.
    pub server_uri: String,
}

/// Starts the conferencing server of `config` as this process' only role; its tasks run until the runtime
/// ends.
///
/// # Errors
/// Sentences that say which listener or file is at fault.
pub async fn start_mcu_server(config: &Config, data: &Path, clock: Clock) -> anyhow::Result<McuServer> {
    let (own, role, name) = match (&config.im_mcu, &config.av_mcu) {
        (Some(own), _) => (own, PeerRole::ImMcu, "An IM conferencing server"),
        (_, Some(own)) => (own, PeerRole::AvMcu, "An A/V conferencing server"),
        (None, None) => bail!("the configuration has neither [im_mcu] nor [av_mcu]"),
    };
    let parts = if role == PeerRole::AvMcu {
        let media = start_media(config, config.media.addresses_of(own), clock)?;
        McuParts { mcu: Box::new(AvMcu { options: config.media.options() }), media: Some(media) }
    } else {
        McuParts { mcu: Box::new(ImMcu), media: None }
    };
    let trust = Trust::load(&own.role_files(data, role))?;
    let taken = |address| move || format!("{address} cannot be listened on");
    let posts = bind(own.control).with_context(taken(own.control))?;
    let links = bind(own.sip).with_context(taken(own.sip))?;
    let control_base = format!("https://{}", reachable(&own.host, posts.local_addr()?));
    let server_uri = format!("sip:{};transport=tls", reachable(&own.host, links.local_addr()?));
    let place = McuPlace {
        control_base: control_base.clone(),
        control_path: parts.control_path(),
        server_uri: server_uri.clone(),
        factory_url: format!("{}{FACTORY_PATH}", own.factory),
    };
    let sent_by = reachable(&own.host, links.local_addr()?);
    let control = ControlClient::with_remote(InprocNetwork::default(), trust.clone());
    let flows = FlowLog::default();
    let control_url = format!("{control_base}{}", place.control_path);
    let role = Running::start(parts, config, place, sent_by, control, clock, flows.clone());
    let host = role.host.clone();
    tokio::spawn(control_link::serve_remote(trust.listen(posts, clock), {
        let host = host.clone();
        move |role, posted| command(host.clone(), role, posted)
    }));
    tokio::spawn(take_links(trust.listen(links, clock), role));
    Ok(McuServer { name, factory: own.factory.clone(), host, flows, control_url, server_uri })
}

/// Only a front end commands an MCU.
async fn command(host: McuHost, role: Option<PeerRole>, posted: Posted) -> Answer {
    if role == Some(PeerRole::FrontEnd) {
        return host.posted(posted).await;
    }
    Answer::Forbidden("Only a front end may command a conferencing server.".into())
}

/// Only a front end sends SIP to an MCU, for an MCU believes it whom it speaks for.
async fn take_links(mut links: Receiver<Accepted>, role: Running) {
    while let Some(Accepted { stream, peer, role: peer_role }) = links.recv().await {
        if peer_role != Some(PeerRole::FrontEnd) {
            warn!(%peer, ?peer_role, "SIP from what is no front end was refused");
            continue;
        }
        let flow = role.transport.add_link(stream);
        if role.sip.send(SipEvent::Linked { flow }).await.is_err() {
            return;
        }
    }
}

/// An MCU whose tasks run.
struct Running {
    host: McuHost,
    transport: Flows,
    sip: mpsc::Sender<SipEvent>,
}

impl Running {
    fn start(
        parts: McuParts,
        config: &Config,
        place: McuPlace,
        sent_by: String,
        control: ControlClient,
        clock: Clock,
        flows: FlowLog,
    ) -> Running {
        // Whoever gets this far is ours.
        let (transport, transport_events) = Flows::new(ConnectionLimits::of_our_own(), EVENT_QUEUE);
        let (sip, sip_events) = mpsc::channel(EVENT_QUEUE);
        let limits = McuLimits { participants: config.conferences.max_participants, ..McuLimits::default() };
        let host = McuHost::new(parts, place, limits, control, clock, flows, sip.clone());
        tokio::spawn(host.clone().report_health());
        let shell = McuSipShell { flows: transport.clone(), host: host.clone(), events: sip.clone() };
        let machine = McuSip::new(sent_by, clock::entropy());
        tokio::spawn(async move { drop(drive(machine, sip_events, clock, shell).await) });
        tokio::spawn(hand_on(transport_events, sip.clone(), |event| match event {
            TransportEvent::Received { flow, message } => SipEvent::Received { flow, message },
            TransportEvent::Closed { flow } => SipEvent::FlowClosed { flow },
        }));
        Running { host, transport, sip }
    }
}

/// Starts a conferencing server in this process, reached in `network` as `host`, and reporting to the
/// factory there.
pub fn start_mcu(
    parts: McuParts,
    config: &Config,
    network: &InprocNetwork,
    host: &str,
    clock: Clock,
    flows: &FlowLog,
) -> McuHost {
    let place = McuPlace {
        control_base: format!("http://{host}"),
        control_path: parts.control_path(),
        server_uri: format!("sip:{host};transport=tcp"),
        factory_url: format!("http://{FACTORY_HOST}{FACTORY_PATH}"),
    };
    let control = ControlClient::new(network.clone());
    let role = Running::start(parts, config, place, host.into(), control, clock, flows.clone());
    let (mcu, answering) = (role.host.clone(), role.host.clone());
    tokio::spawn(control_link::serve(network.listen(host), move |posted| answering.clone().posted(posted)));
    let mut links = network.listen(&sip_host(host));
    tokio::spawn(async move {
        while let Some(stream) = links.recv().await {
            let flow = role.transport.add_stream(stream, Transport::Inproc, None);
            if role.sip.send(SipEvent::Linked { flow }).await.is_err() {
                return;
            }
        }
    });
    mcu
}

/// Where an MCU of this process takes SIP in the in-memory network.
pub(super) fn sip_host(host: &str) -> String {
    format!("{host}:sip")
}
