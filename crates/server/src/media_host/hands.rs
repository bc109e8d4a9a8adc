//! The hands of a room: its sockets, and what it says.

use std::{
    collections::BTreeMap,
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use confab_machine::Time;
use confab_media::{Event, Flow, LegId, Port, Sink};
use nix::{
    cmsg_space,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
        time::TimeSpec,
    },
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use super::{Said, counters::Counters, ports::Opened};
use crate::clock::Moment;

/// The largest datagram that is taken. A longer one is cut, and then refused by whoever reads it.
const LARGEST: usize = 2048;

/// The hands of a room.
pub(super) struct Hands {
    pub sockets: Vec<Socket>,
    /// Where in `sockets` a port is, of each family of addresses.
    places: BTreeMap<Port, [Option<usize>; 2]>,
    pub says: UnboundedSender<Said>,
    /// Legs that are over, whose sockets are to be closed.
    pub closed: Vec<LegId>,
    /// Datagrams that went out and have not been counted.
    sent: u64,
    pub counters: Arc<Counters>,
}

/// A port of a room.
pub(super) struct Socket {
    pub port: Port,
    socket: UdpSocket,
    pub local: SocketAddr,
    /// The one peer, if the system lets only him through.
    peer: Option<SocketAddr>,
}

/// Room for a datagram and what the kernel says of it.
pub(super) struct Buffer {
    pub datagram: Box<[u8; LARGEST]>,
    control: Vec<u8>,
}

/// A datagram that came: its length, whence, and when.
pub(super) struct Came {
    pub length: usize,
    pub from: SocketAddr,
    pub at: Time,
}

impl Buffer {
    pub fn new() -> Buffer {
        Buffer { datagram: Box::new([0; LARGEST]), control: cmsg_space!(TimeSpec) }
    }
}

impl Socket {
    /// Takes a datagram that has come, if there is one; `moment` is now. Whose it is, is asked of a connected
    /// socket as well: what others sent before it was connected waits in it still.
    pub fn receive(&self, moment: &Moment, buffer: &mut Buffer) -> io::Result<Came> {
        let mut parts = [IoSliceMut::new(&mut buffer.datagram[..])];
        let control = Some(&mut buffer.control[..]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, control, flags)?;
        let stamp = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        let from = message.address.as_ref().and_then(address);
        let from = from.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let at = stamp.map_or(moment.now, |stamp| moment.of(stamp));
        Ok(Came { length: message.bytes, from, at })
    }
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    four.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

impl Hands {
    pub fn new(says: UnboundedSender<Said>, counters: Arc<Counters>) -> Hands {
        Hands { sockets: Vec::new(), places: BTreeMap::new(), says, closed: Vec::new(), sent: 0, counters }
    }

    pub fn add(&mut self, opened: Vec<Opened>) {
        for Opened { port, socket, local } in opened {
            self.sockets.push(Socket { port, socket, local, peer: None });
        }
        self.index();
    }

    /// Closes the sockets of legs that are over.
    pub fn close(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        let closed = std::mem::take(&mut self.closed);
        self.sockets.retain(|socket| !closed.contains(&socket.port.leg));
        self.index();
    }

    /// How much work they are: so many streams of RTP.
    pub fn weight(&self) -> usize {
        self.sockets.iter().filter(|socket| socket.port.flow == Flow::Rtp).count()
    }

    /// Counts what went out since this was called.
    pub fn count_sent(&mut self) {
        self.counters.sent(std::mem::take(&mut self.sent));
    }

    fn index(&mut self) {
        self.places.clear();
        for (index, socket) in self.sockets.iter().enumerate() {
            self.places.entry(socket.port).or_default()[family(socket.local)] = Some(index);
        }
    }

    fn socket(&mut self, port: Port, peer: SocketAddr) -> Option<&mut Socket> {
        let index = self.places.get(&port)?[family(peer)]?;
        self.sockets.get_mut(index)
    }
}

fn family(address: SocketAddr) -> usize {
    usize::from(address.is_ipv6())
}

impl Sink for Hands {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        self.sent += 1;
        let Some(socket) = self.socket(port, to) else { return };
        // What cannot be sent is lost, as it may be anywhere on its way.
        let _ = match socket.peer {
            Some(peer) if peer == to => socket.socket.send(datagram),
            _ => socket.socket.send_to(datagram, to),
        };
    }

    fn connect(&mut self, port: Port, from: SocketAddr) {
        if let Some(socket) = self.socket(port, from)
            && socket.socket.connect(from).is_ok()
        {
            socket.peer = Some(from);
        }
    }

    fn disconnect(&mut self, port: Port) {
        for index in self.places.get(&port).into_iter().flatten().flatten() {
            let socket = &mut self.sockets[*index];
            // The port stays bound; only its one peer is forgotten.
            if socket.peer.take().is_some() && rustix::net::connect_unspec(&socket.socket).is_err() {
                error!("{:?} goes on hearing its old peer alone", port.leg);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::Closed { leg, quality } = &event {
            self.closed.push(*leg);
            self.counters.closed(quality);
        }
        // Nobody listens any more when the conference is over, and then the room ends.
        let _ = self.says.send(Said::Event(event));
    }
}

#[cfg(test)]
mod tests {
    use confab_machine::Entropy;
    use confab_media::session::Kind;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::{clock::Clock, media_host::PortRange};
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_hears_its_one_peer_until_he_moves() {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (peer, other) = (socket(), socket());
        // A number that the system chose would be given back with the peer.
        let number = socket().local_addr().unwrap().port();
        let ours = UdpSocket::bind(("127.0.0.1", number)).unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (local, theirs) = (ours.local_addr().unwrap(), peer.local_addr().unwrap());
        let port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
        let mut hands = Hands::new(unbounded_channel().0, Arc::default());
        hands.add(vec![Opened { port, socket: ours, local }]);
        let hears = |hands: &Hands| {
            let came = hands.sockets[0].socket.recv_from(&mut [0; 10]);
            came.ok().map(|(_, from)| from)
        };
        hands.connect(port, theirs);
        other.send_to(b"x", local).unwrap();
        peer.send_to(b"x", local).unwrap();
        assert_eq!(hears(&hands), Some(theirs));
        assert_eq!(hears(&hands), None);
        hands.disconnect(port);
        assert_eq!(hands.sockets[0].socket.local_addr().unwrap(), local, "where it was");
        other.send_to(b"x", local).unwrap();
        assert_eq!(hears(&hands), Some(other.local_addr().unwrap()));
    }

    #[test]
    fn when_a_datagram_came_is_known_however_late_it_is_read() {
        let clock = Clock::start();
        let range =
            PortRange::new(vec![Ipv4Addr::LOCALHOST.into()], (33_000, 34_000), Entropy::from_seed([1; 32]));
        let mut hands = Hands::new(unbounded_channel().0, Arc::default());
        hands.add(range.open(LegId(1), Kind::Audio, &[Flow::Rtp]).unwrap());
        let local = hands.sockets[0].local;
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buffer = Buffer::new();
        let nothing = hands.sockets[0].receive(&clock.moment(), &mut buffer).map(|_| ());
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let before = clock.now();
        sender.send_to(b"one", local).unwrap();
        let between = clock.now();
        sender.send_to(b"another", local).unwrap();
        let after = clock.now();
        // As if it were read half a second later.
        let moment = clock.moment().later(Duration::from_millis(500));
        let grain = Duration::from_micros(100);
        for (length, begin, end) in [(3, before, between), (7, between, after)] {
            let came = hands.sockets[0].receive(&moment, &mut buffer).unwrap();
            assert_eq!((came.length, came.from), (length, sender.local_addr().unwrap()));
            assert!(came.at + grain >= begin && came.at <= end + grain, "{:?} {begin:?} {end:?}", came.at);
        }
    }
}
