//! Step 1: the sockets that carry SIP. Bytes in, messages out, each with the flow it came by.
//!
//! One task per connection reads, one writes from a bounded queue, so a peer that is slow, silent
//! or half-open delays nobody else; a peer that does not read is disconnected.

mod intake;
mod limits;
mod reading;
mod stream;
mod tls;
mod udp;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use confab_sip::{Flow, Malformed, Message, Response, Transport};
use tokio::{
    net::{TcpListener, TcpSocket, UdpSocket},
    sync::mpsc,
};
use tracing::debug;

pub use intake::Arrivals;
use intake::{Intake, Turns};
pub use limits::ConnectionLimits;
use stream::{Manners, Standing};
pub(crate) use tls::write_private;
pub use tls::{TlsFiles, acceptor, connector_for};
pub use udp::Datagram;
use udp::Socket;

/// Messages that wait to be written to one peer; who lets more pile up is disconnected.
const WRITE_QUEUE: usize = 1024;

/// What the sockets report.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a message that came")]
pub enum TransportEvent {
    /// A message came.
    Received {
        /// By this flow.
        flow: Flow,
        /// The message, with `received` and `rport` filled in its topmost Via.
        message: Message,
    },
    /// A connection is gone.
    Closed {
        /// The flow that ended.
        flow: Flow,
    },
}

/// Every flow of one role: where to write to. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Flows {
    shared: Arc<Shared>,
}

struct Shared {
    intake: Intake,
    streams: Mutex<BTreeMap<u64, Stream>>,
    datagrams: Mutex<udp::Peers>,
    next_id: AtomicU64,
    limits: ConnectionLimits,
}

/// One connection, as the role uses it.
struct Stream {
    queue: mpsc::Sender<Written>,
    standing: Arc<Standing>,
}

/// What is to be written to one connection. A body that many are told is in memory once.
struct Written {
    head: Bytes,
    body: Bytes,
}

/// A body of so many bytes is shared; a smaller one is sooner copied than written by itself.
const SHARED_BODY: usize = 1024;

/// Connections that may wait to be accepted: thousands come at once when clients come back after a
/// power failure, and whoever finds the queue full tries again only after a second.
const BACKLOG: u32 = 4096;

/// Listens for connections at `address`. Call it within a runtime.
///
/// # Errors
/// If somebody else does, or we may not.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // What remains of old connections does not keep a server from starting anew.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Where this role can be reached by one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The transport.
    pub transport: Transport,
    /// The address, with the port the operating system chose.
    pub address: SocketAddr,
}

impl Flows {
    /// No flows yet; what they report comes out of the receiver, where `queue` events of those who
    /// have proved who they are may wait.
    pub fn new(limits: ConnectionLimits, queue: usize) -> (Flows, Arrivals) {
        let (intake, receiver) = Intake::new(queue);
        let shared = Shared {
            intake,
            streams: Mutex::default(),
            datagrams: Mutex::default(),
            next_id: AtomicU64::new(1),
            limits,
        };
        (Flows { shared: Arc::new(shared) }, receiver)
    }

    /// Listens for TCP connections on `listener` until the process ends.
    pub fn listen_tcp(&self, listener: TcpListener) {
        let flows = self.clone();
        tokio::spawn(async move { stream::accept(flows, listener, None).await });
    }

    /// Listens for TLS connections on `listener` until the process ends.
    pub fn listen_tls(&self, listener: TcpListener, acceptor: tokio_rustls::TlsAcceptor) {
        let flows = self.clone();
        tokio::spawn(async move { stream::accept(flows, listener, Some(acceptor)).await });
    }

    /// Takes datagrams from `socket` until the process ends.
    pub fn listen_udp(&self, socket: UdpSocket) {
        let flows = self.clone();
        tokio::spawn(async move { udp::receive(flows, Arc::new(Socket::System(socket))).await });
    }

    /// Makes an open byte stream a flow.
    pub fn add_stream<S>(&self, stream: S, transport: Transport, peer: Option<SocketAddr>) -> Flow
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        stream::start(self, stream, transport, peer, None, Manners::Client)
    }

    /// Makes a connection to another process of ours a flow. Both ends say every second that they
    /// live, and whoever is silent for four is taken for gone: a network that drops everything
    /// tells nobody.
    pub fn add_link<S>(&self, stream: S) -> Flow
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        stream::start(self, stream, Transport::Tls, None, None, Manners::Link)
    }

    /// The flow of datagrams from `socket` to `peer`, for one who sends first; takes what comes.
    pub fn add_udp(&self, socket: UdpSocket, peer: SocketAddr) -> Flow {
        let socket = Arc::new(Socket::System(socket));
        let flow = self.udp_flow(&socket, peer);
        let flows = self.clone();
        tokio::spawn(async move { udp::receive(flows, socket).await });
        flow
    }

    /// Takes datagrams that somebody in this process carries, and gives him those to carry. If there
    /// is a `peer` to send to first, the flow to him is returned.
    pub fn add_datagrams(
        &self,
        carried: mpsc::Receiver<Datagram>,
        carrier: mpsc::Sender<Datagram>,
        peer: Option<SocketAddr>,
    ) -> Option<Flow> {
        let socket = Arc::new(Socket::Inproc(carrier));
        let flow = peer.map(|peer| self.udp_flow(&socket, peer));
        tokio::spawn(udp::receive_inproc(self.clone(), socket, carried));
        flow
    }

    /// Sends `message` by `flow`; `false` if the flow is gone. A stream whose queue is full is
    /// closed: its peer does not read.
    pub fn send(&self, flow: Flow, message: &Message) -> bool {
        let is_stream = flow.transport != Transport::Udp;
        let (head, body) = match message.body() {
            body if is_stream && body.len() >= SHARED_BODY => (message.head_bytes(), body.clone()),
            _ => (message.to_bytes(), Bytes::new()),
        };
        self.write(flow, Written { head, body })
    }

    /// Sends bytes that are no message: a keep-alive.
    pub fn send_raw(&self, flow: Flow, bytes: Bytes) {
        // A flow that is gone is reported as closed.
        let _ = self.write(flow, Written { head: bytes, body: Bytes::new() });
    }

    fn write(&self, flow: Flow, written: Written) -> bool {
        if flow.transport == Transport::Udp {
            return self.datagrams().send(flow.id, &written.head);
        }
        let sent = self.streams().get(&flow.id).map(|stream| stream.queue.try_send(written).is_ok());
        let Some(sent) = sent else { return false };
        if !sent {
            debug!(flow = flow.id, "a peer does not read; its connection is closed");
            self.close(flow);
        }
        sent
    }

    /// Somebody has proved who he is on this connection: it is no stranger's any more, so it may be
    /// silent for longer, and others make room for it.
    pub fn believe(&self, flow: Flow) {
        let standing = self.streams().get(&flow.id).map(|stream| Arc::clone(&stream.standing));
        if let Some(standing) = standing {
            standing.believe();
        }
    }

    /// Closes a stream after what is queued for it has been written.
    pub fn close(&self, flow: Flow) {
        self.streams().remove(&flow.id);
    }

    fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn udp_flow(&self, socket: &Arc<Socket>, peer: SocketAddr) -> Flow {
        let id = self.datagrams().flow(socket, peer, || self.next_id());
        Flow { id, transport: Transport::Udp }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Stream>> {
        self.shared.streams.lock().expect("nobody panics while holding the flow table")
    }

    fn datagrams(&self) -> std::sync::MutexGuard<'_, udp::Peers> {
        self.shared.datagrams.lock().expect("nobody panics while holding the peer table")
    }

    /// Hands on what came; waits while the role is busy, which slows only this peer down.
    /// `false` when the role has ended or the message cannot be read.
    async fn deliver(
        &self,
        flow: Flow,
        peer: Option<SocketAddr>,
        bytes: Bytes,
        turns: &mut Turns,
        believed: bool,
    ) -> bool {
        match Message::parse(bytes) {
            Ok(mut message) => {
                if let (Message::Request(_), Some(peer)) = (&message, peer) {
                    mark_received(&mut message, peer);
                }
                let event = TransportEvent::Received { flow, message };
                self.shared.intake.hand_on(event, turns, believed).await
            }
            Err(malformed) => {
                self.refuse(flow, &malformed);
                // The stream's framing still holds, so what follows may well be readable.
                true
            }
        }
    }

    /// Answers a request that could not be read, as far as it can be answered.
    fn refuse(&self, flow: Flow, malformed: &Malformed) {
        debug!(flow = flow.id, %malformed, "a message could not be read");
        let Some(request) = malformed.partial() else { return };
        if request.method == confab_sip::Method::Ack || request.headers.get("Via").is_none() {
            return;
        }
        let response = Response::to(request, malformed.status()).with_header(
            "Warning",
            format!("399 confab \"{}\"", malformed.to_string().replace(['"', '\\'], "'")),
        );
        self.send(flow, &response.into());
    }
}

/// Notes in the topmost Via where a request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
fn mark_received(message: &mut Message, peer: SocketAddr) {
    let Ok(mut via) = message.headers().top_via() else { return };
    let address = peer.ip().to_canonical().to_string();
    let wants_port = via.params.has("rport");
    if wants_port || via.host.trim_matches(['[', ']']) != address {
        via.params.set("received", address);
        if wants_port {
            via.params.set("rport", peer.port().to_string());
        }
        let headers = message.headers_mut();
        headers.remove_first("Via");
        headers.push_front("Via", via.to_string());
    }
}

/// How long a message that has begun may take.
const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A connection on which nothing came for this long is closed; twice the keep-alive period that
/// registered clients are told, and some.
const IDLE_LIMIT: Duration = Duration::from_secs(660);
/// So soon somebody must have proved who he is on a connection.
const PROOF_LIMIT: Duration = Duration::from_secs(60);
