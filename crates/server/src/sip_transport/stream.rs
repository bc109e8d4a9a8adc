//! Connections: TCP, TLS and pipes within the process.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use confab_conference::mcu_factory::{HEALTH_LIMIT, HEALTH_PERIOD};
use confab_sip::{
    Flow, Message, Response, Transport,
    frame::{Frame, FrameError, Framer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpListener,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    FIRST_MESSAGE_LIMIT, Flows, IDLE_LIMIT, PROGRESS_LIMIT, TransportEvent, WRITE_QUEUE, limits::Place,
};

/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;
/// How long the listener rests when the operating system is out of sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A sign of life and its answer (RFC 5626 §3.5.1).
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

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
    const fn silence(self) -> Option<Duration> {
        match self {
            Manners::Client => Some(IDLE_LIMIT),
            Manners::Link => Some(HEALTH_LIMIT),
            Manners::Patient => None,
        }
    }

    /// The same before anything came.
    const fn first_silence(self) -> Option<Duration> {
        match self {
            Manners::Client => Some(FIRST_MESSAGE_LIMIT),
            Manners::Link | Manners::Patient => self.silence(),
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
                let flows = flows.clone();
                tokio::spawn(async move {
                    match timeout(PROGRESS_LIMIT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            start(&flows, stream, Transport::Tls, Some(peer), Some(place), Manners::Client);
                        }
                        Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
                        Err(_) => debug!(%peer, "a TLS handshake took too long"),
                    }
                });
            }
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
    flows.streams().insert(flow.id, queue);
    let writing = tokio::spawn(write(writer, queued));
    let patient = transport == Transport::Inproc || flows.shared.limits.patient;
    let manners = if patient && manners == Manners::Client { Manners::Patient } else { manners };
    let flows = flows.clone();
    tokio::spawn(async move {
        // Whoever ends first, reader or writer, ends the connection.
        let abort = writing.abort_handle();
        tokio::select! {
            () = read(&flows, flow, peer, manners, reader) => {
                // Let what was queued, such as a last refusal, go out.
                flows.close(flow);
                tokio::spawn(async move {
                    tokio::time::sleep(PROGRESS_LIMIT).await;
                    abort.abort();
                });
            }
            _ = writing => flows.close(flow),
            () = keep_alive(&flows, flow, manners) => {}
        }
        drop(place);
        let _ = flows.shared.events.send(TransportEvent::Closed { flow }).await;
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

async fn write<S: AsyncWrite>(mut writer: WriteHalf<S>, mut queued: mpsc::Receiver<Bytes>) {
    let mut batch = Vec::new();
    while queued.recv_many(&mut batch, WRITE_QUEUE).await > 0 {
        for bytes in batch.drain(..) {
            if !matches!(timeout(PROGRESS_LIMIT, writer.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
        }
        if !matches!(timeout(PROGRESS_LIMIT, writer.flush()).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(PROGRESS_LIMIT, writer.shutdown()).await;
}

async fn read<S: AsyncRead>(
    flows: &Flows,
    flow: Flow,
    peer: Option<SocketAddr>,
    manners: Manners,
    mut reader: ReadHalf<S>,
) {
    let mut framer = Framer::new(flows.shared.limits.max_message);
    let mut buffer = vec![0; READ_SIZE];
    let from_now = |silence: Option<Duration>| silence.map(|silence| Instant::now() + silence);
    let mut until = from_now(manners.first_silence());
    loop {
        let read = reader.read(&mut buffer);
        let read = match until {
            None => Ok(read.await),
            Some(until) => tokio::time::timeout_at(until, read).await,
        };
        let count = match read {
            Ok(Ok(count)) if count > 0 => count,
            Ok(_) => return,
            Err(_) => {
                debug!(flow = flow.id, "a connection was silent or slow for too long");
                return;
            }
        };
        framer.push(&buffer[..count]);
        let mut whole = false;
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    whole = true;
                    if !flows.deliver(flow, peer, bytes).await {
                        return;
                    }
                }
                Ok(Some(Frame::KeepAlive)) if manners == Manners::Link => {
                    whole = true;
                    flows.send_raw(flow, Bytes::from_static(PONG));
                }
                Ok(Some(Frame::KeepAlive | Frame::Pong)) => whole = true,
                Ok(None) => break,
                Err(error) => {
                    refuse(flows, flow, &error);
                    return;
                }
            }
        }
        if whole || manners == Manners::Link {
            until = from_now(manners.silence());
        }
        if framer.is_within_message() {
            // What has begun must end: a message sent byte by byte holds nobody up.
            until = until.map(|until| until.min(Instant::now() + PROGRESS_LIMIT));
        }
    }
}

/// Tells the peer, as far as that is possible, why the connection is closed.
fn refuse(flows: &Flows, flow: Flow, error: &FrameError) {
    debug!(flow = flow.id, %error, "a connection is closed");
    let (head, status) = match error {
        FrameError::TooLong { head: Some(head), .. } => (head, 513),
        FrameError::NoLength { head } => (head, 400),
        _ => return,
    };
    let request = match Message::parse(head.clone()) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Response(_)) => return,
        Err(malformed) => match malformed.partial() {
            Some(request) => request.clone(),
            None => return,
        },
    };
    let response = Response::to(&request, status).with_header("Warning", format!("399 confab \"{error}\""));
    flows.send(flow, &response.into());
}
