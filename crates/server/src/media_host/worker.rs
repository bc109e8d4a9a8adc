//! One thread of the data plane: its rooms in their slots, and their sockets.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use confab_machine::{Entropy, Time};
use confab_media::{Command, Event, Flow, LegId, Port, Room, Sink};
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use super::{Said, counters::Counters, ports::Opened};
use crate::clock::Clock;

/// How long a slot is, in microseconds.
const SLOT_US: u64 = 2_000;
/// How many there are in a period of 20 ms.
const SLOTS: u64 = 10;
/// A thread that is so many slots late lets them go: what would be sent then is too late to be heard.
const LATEST: u64 = 2 * SLOTS;
/// Datagrams taken from one socket in one slot; the others wait in the system, which drops what is too
/// much.
const AT_ONCE: usize = 64;
/// Orders that are obeyed between two slots that are due.
const ORDERS_AT_ONCE: usize = 64;
/// RTCP is looked for once in so many periods.
const RTCP_EVERY: u64 = 5;
/// The largest datagram that is taken. A longer one is cut, and then refused by whoever reads it.
const LARGEST: usize = 2048;

/// What a thread is told.
pub(super) enum Order {
    /// A room begins.
    Begin { room: u64, entropy: Entropy, says: UnboundedSender<Said> },
    /// Ports of a leg were opened.
    Open { room: u64, sockets: Vec<Opened> },
    /// A room is to do something.
    Command { room: u64, command: Command },
    /// A room is over.
    End { room: u64 },
}

/// A thread's own.
pub(super) struct Worker {
    orders: Receiver<Order>,
    clock: Clock,
    /// By number.
    rooms: BTreeMap<u64, Hosted>,
    /// The rooms of each slot that have somebody in them.
    slots: [Vec<u64>; SLOTS as usize],
    count: Arc<AtomicUsize>,
    /// The slot after the one that was done last, counted from the epoch.
    next: u64,
    buffer: Box<[u8; LARGEST]>,
    counters: Arc<Counters>,
}

/// A room with its sockets.
struct Hosted {
    room: Room,
    hands: Hands,
    slot: u64,
    /// Whether it is in its slot.
    ticks: bool,
}

/// The hands of a room.
struct Hands {
    sockets: Vec<Socket>,
    /// Where in `sockets` a port is, of each family of addresses.
    places: BTreeMap<Port, [Option<usize>; 2]>,
    says: UnboundedSender<Said>,
    /// Legs that are over, whose sockets are to be closed.
    closed: Vec<LegId>,
    /// Datagrams that went out and have not been counted.
    sent: u64,
    counters: Arc<Counters>,
}

struct Socket {
    port: Port,
    socket: UdpSocket,
    local: SocketAddr,
    /// The one peer, if the system lets only him through.
    peer: Option<SocketAddr>,
}

impl Worker {
    pub(super) fn new(
        orders: Receiver<Order>,
        clock: Clock,
        count: Arc<AtomicUsize>,
        counters: Arc<Counters>,
    ) -> Worker {
        Worker {
            orders,
            clock,
            rooms: BTreeMap::new(),
            slots: Default::default(),
            count,
            next: 0,
            buffer: Box::new([0; LARGEST]),
            counters,
        }
    }

    /// Works until nobody can order anything any more.
    pub(super) fn run(mut self) {
        loop {
            let order = match self.next_slot() {
                None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                // However many orders there are, and however late it is, neither waits for all of the other.
                Some(Duration::ZERO) => {
                    let waiting: Vec<Order> = self.orders.try_iter().take(ORDERS_AT_ONCE).collect();
                    waiting.into_iter().for_each(|order| self.obey(order));
                    self.slot();
                    continue;
                }
                Some(wait) => self.orders.recv_timeout(wait),
            };
            match order {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long it is until a slot with a room in it begins; `None` if nobody is in any.
    fn next_slot(&mut self) -> Option<Duration> {
        let now = self.clock.now().as_micros();
        let slot = now / SLOT_US;
        if self.next + LATEST < slot {
            if self.slots.iter().any(|rooms| !rooms.is_empty()) {
                self.counters.let_go(slot - self.next);
            }
            self.next = slot;
        }
        let due = (self.next..self.next + SLOTS).find(|slot| !self.slots[index(*slot)].is_empty())?;
        self.next = due;
        Some(Duration::from_micros((due * SLOT_US).saturating_sub(now)))
    }

    /// Does the slot that has begun.
    fn slot(&mut self) {
        let slot = self.next;
        self.next += 1;
        let now = self.clock.now();
        let mut rooms = std::mem::take(&mut self.slots[index(slot)]);
        rooms.retain(|number| {
            self.with(*number, |hosted, buffer| {
                hosted.receive(now, slot / SLOTS, buffer);
                hosted.room.tick(now, &mut hosted.hands);
                hosted.hands.counters.sent(std::mem::take(&mut hosted.hands.sent));
            });
            self.rooms.get_mut(number).is_some_and(|hosted| {
                hosted.ticks = !hosted.room.is_idle();
                hosted.ticks
            })
        });
        self.slots[index(slot)] = rooms;
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin { room, entropy, says } => {
                let hands = Hands::new(says, Arc::clone(&self.counters));
                let hosted = Hosted { room: Room::new(entropy), hands, slot: room % SLOTS, ticks: false };
                self.rooms.insert(room, hosted);
            }
            Order::Open { room, sockets } => {
                if let Some(hosted) = self.rooms.get_mut(&room) {
                    hosted.hands.add(sockets);
                }
            }
            Order::Command { room, command } => {
                let now = self.clock.now();
                self.with(room, |hosted, _| hosted.room.command(now, command, &mut hosted.hands));
                self.awaken(room);
            }
            Order::End { room } => self.end(room),
        }
    }

    /// Does something with a room. If that breaks it, the room ends, which its MCU notices; the others
    /// go on.
    fn with(&mut self, number: u64, work: impl FnOnce(&mut Hosted, &mut [u8; LARGEST])) {
        let Some(hosted) = self.rooms.get_mut(&number) else { return };
        let buffer = &mut self.buffer;
        // What a panic leaves of the room is not looked at any more.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            work(hosted, buffer);
            hosted.hands.close();
        }));
        if worked.is_err() {
            error!(room = number, "a room broke of a fault in this server; it is set up anew");
            let _ = hosted.hands.says.send(Said::Broke);
            self.end(number);
        }
    }

    fn end(&mut self, number: u64) {
        if self.rooms.remove(&number).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A room that somebody has come into has its slot from now on, until nobody is in it.
    fn awaken(&mut self, number: u64) {
        if let Some(hosted) = self.rooms.get_mut(&number)
            && !hosted.ticks
            && !hosted.room.is_idle()
        {
            hosted.ticks = true;
            self.slots[index(hosted.slot)].push(number);
        }
    }
}

fn index(slot: u64) -> usize {
    (slot % SLOTS) as usize
}

impl Hosted {
    /// Takes what has come.
    fn receive(&mut self, now: Time, period: u64, buffer: &mut [u8; LARGEST]) {
        let mut received = 0;
        for index in 0..self.hands.sockets.len() {
            if self.hands.sockets[index].port.flow == Flow::Rtcp && !period.is_multiple_of(RTCP_EVERY) {
                continue;
            }
            for _ in 0..AT_ONCE {
                let socket = &self.hands.sockets[index];
                // Whose it is, is asked of a connected socket as well: what others sent before it was connected waits
                // in it still.
                match socket.socket.recv_from(&mut buffer[..]) {
                    Ok((length, from)) => {
                        received += 1;
                        let port = socket.port;
                        self.room.receive(now, port, from, &mut buffer[..length], &mut self.hands);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // What was sent to nobody comes back as an error once; the next is a datagram again.
                    Err(_) => {}
                }
            }
        }
        self.hands.counters.received(received);
    }
}

impl Hands {
    fn new(says: UnboundedSender<Said>, counters: Arc<Counters>) -> Hands {
        Hands { sockets: Vec::new(), places: BTreeMap::new(), says, closed: Vec::new(), sent: 0, counters }
    }

    fn add(&mut self, opened: Vec<Opened>) {
        for Opened { port, socket, local } in opened {
            self.sockets.push(Socket { port, socket, local, peer: None });
        }
        self.index();
    }

    /// Closes the sockets of legs that are over.
    fn close(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        let closed = std::mem::take(&mut self.closed);
        self.sockets.retain(|socket| !closed.contains(&socket.port.leg));
        self.index();
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
    use confab_media::session::Kind;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

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
}
