//! Step 8 for sound and pictures: threads that own the sockets and rooms of the data plane
//! (`crates/media`), each room on one thread.
//!
//! A period of 20 ms has ten slots, and each room its own: in it what has come is received, mixed and
//! sent, so that no thread has all to do at once. A room moves to the slot in which what those who speak
//! in it send waits least. A thread without a room in the next slot sleeps over it, and one without any
//! room sleeps.
//!
//! - `worker.rs`: a thread. `slots.rs`: when it does what. `hands.rs`: the sockets of a room.
//! - `ports.rs`: where they are opened. `counters.rs`: what is counted.

mod counters;
mod hands;
mod ports;
mod slots;
mod worker;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use confab_media::{Command, Event, Flow, LegId, session::Kind};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::{self, Clock};
use counters::Counters;
pub use counters::Totals;
pub use ports::{NoPort, PortRange};
use worker::{Order, Worker};

/// What carries the sound and pictures of conferences: threads with sockets ([`MediaHost`]), or what a simulation
/// has in their stead. It is asked for each conference, leg and command, and never for a packet.
pub trait DataPlane: Send + Sync {
    /// Opens a room. What happens in it is told through `says`.
    fn open_room(&self, says: UnboundedSender<Said>) -> Box<dyn MediaRoom>;

    /// What it has done since the start.
    fn totals(&self) -> Totals;
}

/// A room, to command. Dropped, the room ends.
pub trait MediaRoom: Send {
    /// Opens the ports of a leg: for each kind one for RTP and, unless they are multiplexed, one for RTCP, of
    /// each of our addresses. Returns what the peer may send to.
    ///
    /// # Errors
    /// [`NoPort`] if none is free.
    fn open(
        &self,
        leg: LegId,
        kinds: &[Kind],
        multiplexed: bool,
    ) -> Result<Vec<(Kind, Flow, SocketAddr)>, NoPort>;

    /// Has the room do something.
    fn command(&self, command: Command);
}

/// The threads of the data plane. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct MediaHost {
    shared: Arc<Shared>,
}

struct Shared {
    threads: Vec<Thread>,
    ports: PortRange,
    last_room: AtomicU64,
}

/// One thread, as the others see it.
struct Thread {
    orders: mpsc::Sender<Order>,
    /// How many rooms it has.
    rooms: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

/// Where media are received.
#[derive(Clone, Debug)]
pub struct MediaPlace {
    /// Our own addresses, which people are told: at most one of IPv4 and one of IPv6.
    pub addresses: Vec<IpAddr>,
    /// The first and the last port.
    pub ports: (u16, u16),
    /// How many threads.
    pub threads: usize,
}

impl MediaHost {
    /// Starts the threads; they end with the last clone.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(place: MediaPlace, clock: Clock) -> std::io::Result<MediaHost> {
        let threads = (0..place.threads.max(1)).map(|number| {
            let (orders, queue) = mpsc::channel();
            let (rooms, counters) = (Arc::<AtomicUsize>::default(), Arc::<Counters>::default());
            let worker = Worker::new(queue, clock, Arc::clone(&rooms), Arc::clone(&counters));
            thread::Builder::new().name(format!("media-{number}")).spawn(move || worker.run())?;
            Ok(Thread { orders, rooms, counters })
        });
        let shared = Shared {
            threads: threads.collect::<std::io::Result<_>>()?,
            ports: PortRange::new(place.addresses, place.ports, clock::entropy()),
            last_room: AtomicU64::new(0),
        };
        Ok(MediaHost { shared: Arc::new(shared) })
    }
}

impl DataPlane for MediaHost {
    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for thread in &self.shared.threads {
            totals.rooms += thread.rooms.load(Ordering::Relaxed) as u64;
            thread.counters.add_to(&mut totals);
        }
        totals
    }

    /// The thread that has the fewest takes it.
    fn open_room(&self, says: UnboundedSender<Said>) -> Box<dyn MediaRoom> {
        let threads = self.shared.threads.iter();
        let thread = threads.min_by_key(|thread| thread.rooms.load(Ordering::Relaxed));
        let thread = thread.expect("there is one at least");
        thread.rooms.fetch_add(1, Ordering::Relaxed);
        let number = self.shared.last_room.fetch_add(1, Ordering::Relaxed);
        let orders = thread.orders.clone();
        // The thread ends only when nobody can order anything any more.
        let _ = orders.send(Order::Begin { room: number, entropy: clock::entropy(), says });
        Box::new(Room { host: self.clone(), orders, number })
    }
}

/// What a room says.
#[derive(Debug)]
pub enum Said {
    /// What the data plane says.
    Event(Event),
    /// It broke of a fault of ours, and is gone.
    Broke,
}

/// A room on one of the threads.
struct Room {
    host: MediaHost,
    orders: mpsc::Sender<Order>,
    number: u64,
}

impl MediaRoom for Room {
    fn open(
        &self,
        leg: LegId,
        kinds: &[Kind],
        multiplexed: bool,
    ) -> Result<Vec<(Kind, Flow, SocketAddr)>, NoPort> {
        let mut sockets = Vec::new();
        for kind in kinds {
            let flows: &[Flow] = if multiplexed { &[Flow::Rtp] } else { &[Flow::Rtp, Flow::Rtcp] };
            sockets.extend(self.host.shared.ports.open(leg, *kind, flows)?);
        }
        let addresses = sockets.iter().map(|opened| opened.address()).collect();
        let _ = self.orders.send(Order::Open { room: self.number, sockets });
        Ok(addresses)
    }

    fn command(&self, command: Command) {
        let _ = self.orders.send(Order::Command { room: self.number, command });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End { room: self.number });
    }
}
