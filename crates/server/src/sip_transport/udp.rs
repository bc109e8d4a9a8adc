//! Datagrams. A flow is the pair of our socket and the peer's address; responses and requests go
//! back to where the peer's packets come from (RFC 3581, symmetric signalling).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc};
use tracing::{debug, warn};

use super::{Flows, Turns};

/// The largest datagram there is.
const DATAGRAM_LIMIT: usize = 65_535;
/// IPv6 peers remembered; the one first seen is forgotten for a new one.
const PEER_LIMIT: usize = 100_000;
/// Marks an ID that is itself the address of an IPv4 peer, so that a flood from invented
/// addresses takes no memory.
const IPV4_MARK: u64 = 1 << 63;

/// A datagram, and the peer it goes to or comes from.
pub type Datagram = (SocketAddr, Bytes);

/// What datagrams are sent by.
pub(super) enum Socket {
    /// A socket of the operating system.
    System(UdpSocket),
    /// Somebody in this process, who carries them or loses them.
    Inproc(mpsc::Sender<Datagram>),
}

/// The sockets, and the peers that an ID cannot hold.
#[derive(Default)]
pub(super) struct Peers {
    sockets: Vec<Arc<Socket>>,
    by_id: BTreeMap<u64, (usize, SocketAddr)>,
    ids: BTreeMap<(usize, SocketAddr), u64>,
}

impl Peers {
    /// The ID of the flow between `socket` and `peer`.
    pub(super) fn flow(
        &mut self,
        socket: &Arc<Socket>,
        peer: SocketAddr,
        next_id: impl FnOnce() -> u64,
    ) -> u64 {
        let known = self.sockets.iter().position(|known| Arc::ptr_eq(known, socket));
        let index = known.unwrap_or_else(|| {
            self.sockets.push(Arc::clone(socket));
            self.sockets.len() - 1
        });
        if let IpAddr::V4(address) = peer.ip() {
            let index = u64::try_from(index).expect("there are few sockets");
            return IPV4_MARK | index << 48 | u64::from(address.to_bits()) << 16 | u64::from(peer.port());
        }
        if let Some(id) = self.ids.get(&(index, peer)) {
            return *id;
        }
        if self.by_id.len() >= PEER_LIMIT
            && let Some((_, oldest)) = self.by_id.pop_first()
        {
            self.ids.remove(&oldest);
        }
        let id = next_id();
        self.by_id.insert(id, (index, peer));
        self.ids.insert((index, peer), id);
        id
    }

    /// Sends at once or not at all: a datagram may be lost.
    pub(super) fn send(&self, id: u64, bytes: &Bytes) -> bool {
        let Some((socket, peer)) = self.peer(id) else { return false };
        match &**socket {
            Socket::System(socket) => {
                if let Err(error) = socket.try_send_to(bytes, peer) {
                    debug!(%peer, %error, "a datagram was not sent");
                }
            }
            // Who does not keep up loses some.
            Socket::Inproc(carrier) => drop(carrier.try_send((peer, bytes.clone()))),
        }
        true
    }

    fn peer(&self, id: u64) -> Option<(&Arc<Socket>, SocketAddr)> {
        if id & IPV4_MARK == 0 {
            let (index, peer) = self.by_id.get(&id)?;
            return Some((self.sockets.get(*index)?, *peer));
        }
        let index = usize::try_from((id & !IPV4_MARK) >> 48).ok()?;
        let [_, _, a, b, c, d, e, f] = id.to_be_bytes();
        let port = u16::from_be_bytes([e, f]);
        Some((self.sockets.get(index)?, SocketAddr::from(([a, b, c, d], port))))
    }
}

/// Takes datagrams for ever.
pub(super) async fn receive(flows: Flows, socket: Arc<Socket>) {
    let Socket::System(system) = &*socket else { return };
    let mut buffer = vec![0; DATAGRAM_LIMIT];
    let mut turns = Turns::of_datagrams();
    loop {
        match system.recv_from(&mut buffer).await {
            Ok((count, peer)) => {
                let came = Bytes::copy_from_slice(&buffer[..count]);
                if !received(&flows, &socket, (peer, came), &mut turns).await {
                    return;
                }
            }
            // An ICMP error of an earlier datagram; the socket is fine.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                warn!(%error, "a datagram could not be received");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Takes datagrams that somebody in this process carries, until he stops.
pub(super) async fn receive_inproc(flows: Flows, socket: Arc<Socket>, mut carried: mpsc::Receiver<Datagram>) {
    let mut turns = Turns::of_datagrams();
    while let Some(datagram) = carried.recv().await {
        if !received(&flows, &socket, datagram, &mut turns).await {
            return;
        }
    }
}

/// A datagram came; `false` when the role has ended.
async fn received(flows: &Flows, socket: &Arc<Socket>, (peer, bytes): Datagram, turns: &mut Turns) -> bool {
    // Some phones keep their NAT binding alive with a lone line end or NUL.
    if bytes.len() <= 4 {
        return true;
    }
    let flow = flows.udp_flow(socket, peer);
    flows.deliver(flow, Some(peer), bytes, turns, false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ipv4_peer_is_its_id() {
        let socket = Arc::new(Socket::System(UdpSocket::bind("127.0.0.1:0").await.unwrap()));
        let mut peers = Peers::default();
        let peer: SocketAddr = "192.0.2.7:5062".parse().unwrap();
        let id = peers.flow(&socket, peer, || unreachable!("no number is drawn"));
        assert_eq!(peers.peer(id).map(|(_, peer)| peer), Some(peer));
        assert!(peers.by_id.is_empty());

        let peer: SocketAddr = "[2001:db8::7]:5062".parse().unwrap();
        let id = peers.flow(&socket, peer, || 17);
        assert_eq!(id, 17);
        assert_eq!(peers.flow(&socket, peer, || unreachable!("it is known")), 17);
        assert_eq!(peers.peer(id).map(|(_, peer)| peer), Some(peer));
    }
}
