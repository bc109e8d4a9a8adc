//! Connections: TCP, TLS and pipes within the process.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use confab_conference::mcu_factory::{HEALTH_LIMIT, HEALTH_PERIOD};
use confab_sip::{Flow, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    Flows, HANDSHAKE_LIMIT, IDLE_LIMIT, PROGRESS_LIMIT, Stream, TransportEvent, Turns, WRITE_QUEUE, Written,
    limits::Place, reading::Reading,
};

/// How long the listener rests when the operating system is out of sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A sign of life (RFC 5626 §3.5.1).
const PING: &[u8] = b"\r\n\r\n";
/// Its answer.
pub(super) const PONG: &[u8] = b"\r\n";

/// Who is at the other end, and so for how long nothing may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// A client: he has to say something now and then.
    Client,
    /// Another process of ours, on a link that both ends keep alive.
    Link,
    /// A pipe within the process, or a server that we went to: it may be silent for ever.
    Patient,
}

impl Manners {
    /// For how long nothing may come, once something has.
    pub(super) const fn silence(self) -> Option<Duration> {
        match self {
            Manners::Client => Some(IDLE_LIMIT),
            Manners::Link => Some(HEALTH_LIMIT),
            Manners::Patient => None,
        }
    }
}

/// Accepts connections for ever. A handshake runs in the connection's own task.
pub(super) async fn accept(flows: Flows, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = flows.shared.limits.enter(peer.ip().to_canonical()) else {
            debug!(%peer, "too many connections; one more is refused");
            continue;
        };
        // Signalling is small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        match tls.clone() {
            None => {
                start(&flows, stream, Transport::Tcp, Some(peer), Some(place), Manners::Client);
            }
            Some(acceptor) => {
                tokio::spawn(shake_hands(flows.clone(), stream, peer, place, acceptor));
            }
        }
    }
}

async fn shake_hands(flows: Flows, stream: TcpStream, peer: SocketAddr, place: Place, acceptor: TlsAcceptor) {
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)) => shaken,
        () = place.evicted() => {
            debug!(%peer, "a TLS handshake made room for another connection");
            return;
        }
    };
    match shaken {
        Ok(Ok(stream)) => {
            start(&flows, stream, Transport::Tls, Some(peer), Some(place), Manners::Client);
        }
        Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => debug!(%peer, "a TLS handshake took too long"),
    }
}

/// How far a connection is trusted.
pub(super) struct Standing {
    /// Its place among those that are counted.
    place: Option<Place>,
    /// Whether somebody has proved on it who he is.
    believed: AtomicBool,
}

impl Standing {
    /// From now on its holder is known.
    pub(super) fn believe(&self) {
        self.believed.store(true, Ordering::Relaxed);
        if let Some(place) = &self.place {
            place.believe();
        }
    }

    pub(super) fn is_believed(&self) -> bool {
        self.believed.load(Ordering::Relaxed)
    }

    /// Waits until the connection must make room for another, which one that is believed need not.
    pub(super) async fn evicted(&self) {
        match &self.place {
            Some(place) => place.evicted().await,
            None => std::future::pending().await,
        }
    }
}

/// Starts reading from and writing to `stream`.
pub(super) fn start<S>(
    flows: &Flows,
    stream: S,
    transport: Transport,
    peer: Option<SocketAddr>,
    place: Option<Place>,
    manners: Manners,
) -> Flow
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let flow = Flow { id: flows.next_id(), transport };
    let (reader, writer) = tokio::io::split(stream);
    let (queue, queued) = mpsc::channel(WRITE_QUEUE);
    let patient = transport == Transport::Inproc || flows.shared.limits.patient;
    let manners = if patient && manners == Manners::Client { Manners::Patient } else { manners };
    // Whoever is no client is one of us.
    let standing = Arc::new(Standing { place, believed: AtomicBool::new(manners != Manners::Client) });
    flows.streams().insert(flow.id, Stream { queue, standing: Arc::clone(&standing) });
    let mut writing = tokio::spawn(write(writer, queued));
    let flows = flows.clone();
    tokio::spawn(async move {
        let mut turns = Turns::of_stranger();
        // Whoever ends first, reader or writer, ends the connection.
        let reading = Reading { flows: &flows, flow, peer, manners, standing: &standing };
        tokio::select! {
            biased;
            () = reading.run(reader, &mut turns) => {
                // Let what was queued, such as a last refusal, go out.
                flows.close(flow);
                tokio::spawn(async move {
                    if timeout(PROGRESS_LIMIT, &mut writing).await.is_err() {
                        writing.abort();
                    }
                });
            }
            _ = &mut writing => flows.close(flow),
            () = keep_alive(&flows, flow, manners) => {}
        }
        let believed = standing.is_believed();
        // Its place is free for another.
        drop(standing);
        flows.shared.intake.hand_on_end(TransportEvent::Closed { flow }, &mut turns, believed).await;
    });
    flow
}

/// Gives signs of life on a link, for ever; elsewhere none.
async fn keep_alive(flows: &Flows, flow: Flow, manners: Manners) {
    if manners != Manners::Link {
        return std::future::pending().await;
    }
    loop {
        flows.send_raw(flow, Bytes::from_static(PING));
        tokio::time::sleep(HEALTH_PERIOD).await;
    }
}

async fn write<S: AsyncWrite>(mut writer: WriteHalf<S>, mut queued: mpsc::Receiver<Written>) {
    let mut batch = Vec::new();
    while queued.recv_many(&mut batch, WRITE_QUEUE).await > 0 {
        for Written { head, body } in batch.drain(..) {
            let mut whole = head.chain(body);
            if !matches!(timeout(PROGRESS_LIMIT, writer.write_all_buf(&mut whole)).await, Ok(Ok(()))) {
                return;
            }
        }
        if !matches!(timeout(PROGRESS_LIMIT, writer.flush()).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(PROGRESS_LIMIT, writer.shutdown()).await;
}
