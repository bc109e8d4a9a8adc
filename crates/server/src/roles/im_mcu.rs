//! The IM MCU as a role: in the front end's process, or as a process of its own that front ends
//! reach over mutual TLS.

use std::path::Path;

use anyhow::Context;
use confab_mcu::{ImMcu, Mcu, McuLimits};
use confab_sip::Transport;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, Receiver},
};
use tracing::warn;

use super::{EVENT_QUEUE, FACTORY_HOST, hand_on, reachable};
use crate::{
    clock::{self, Clock},
    config::{Config, ImMcuConfig},
    control_link::{self, Answer, ControlClient, FACTORY_PATH, Posted},
    drive::drive,
    flow_log::FlowLog,
    inproc::InprocNetwork,
    mcu_host::{McuHost, McuPlace, McuSip, McuSipShell, SipEvent},
    private_ca::PeerRole,
    sip_transport::{ConnectionLimits, Flows, TransportEvent},
    trust::{Accepted, Trust},
};

/// Where it takes conferences.
const CONTROL_PATH: &str = "/LiveServer/IMMCU/";

/// An IM MCU that is a process of its own. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ImMcuServer {
    /// The MCU.
    pub host: McuHost,
    /// The flow trace.
    pub flows: FlowLog,
    /// Where it takes conferences.
    pub control_url: String,
    /// Where it takes SIP.
    pub server_uri: String,
}

/// Starts the IM MCU of `config` as this process' only role; its tasks run until the runtime ends.
///
/// # Errors
/// Sentences that say which listener or file is at fault.
pub async fn start_im_mcu_server(
    config: &Config,
    own: &ImMcuConfig,
    data: &Path,
    clock: Clock,
) -> anyhow::Result<ImMcuServer> {
    let trust = Trust::load(&own.role_files(data))?;
    let taken = |address| move || format!("{address} cannot be listened on");
    let posts = TcpListener::bind(own.control).await.with_context(taken(own.control))?;
    let links = TcpListener::bind(own.sip).await.with_context(taken(own.sip))?;
    let control_base = format!("https://{}", reachable(&own.host, posts.local_addr()?));
    let server_uri = format!("sip:{};transport=tls", reachable(&own.host, links.local_addr()?));
    let place = McuPlace {
        control_base: control_base.clone(),
        control_path: CONTROL_PATH.into(),
        server_uri: server_uri.clone(),
        factory_url: format!("{}{FACTORY_PATH}", own.factory),
    };
    let sent_by = reachable(&own.host, links.local_addr()?);
    let control = ControlClient::with_remote(InprocNetwork::default(), trust.clone());
    let flows = FlowLog::default();
    let role = Running::start(Box::new(ImMcu), config, place, sent_by, control, clock, flows.clone());
    let host = role.host.clone();
    tokio::spawn(control_link::serve_remote(trust.listen(posts), {
        let host = host.clone();
        move |role, posted| command(host.clone(), role, posted)
    }));
    tokio::spawn(take_links(trust.listen(links), role));
    Ok(ImMcuServer { host, flows, control_url: format!("{control_base}{CONTROL_PATH}"), server_uri })
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
        mcu: Box<dyn Mcu>,
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
        let host = McuHost::new(mcu, place, limits, control, clock, flows, sip.clone());
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

/// Starts an IM MCU in this process, reached in `network` as `host`, and reporting to the factory
/// there.
pub fn start_im_mcu(
    mcu: Box<dyn Mcu>,
    config: &Config,
    network: &InprocNetwork,
    host: &str,
    clock: Clock,
    flows: &FlowLog,
) -> McuHost {
    let place = McuPlace {
        control_base: format!("http://{host}"),
        control_path: CONTROL_PATH.into(),
        server_uri: format!("sip:{host};transport=tcp"),
        factory_url: format!("http://{FACTORY_HOST}{FACTORY_PATH}"),
    };
    let control = ControlClient::new(network.clone());
    let role = Running::start(mcu, config, place, host.into(), control, clock, flows.clone());
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
