//! The data plane of the simulation: the rooms of `crates/media` on virtual time, with sockets of the simulated network
//! ([`Sockets`]) instead of threads with those of the system. Everything else in a deployment is what runs outside.
//!
//! A room to which nothing has come for a second is ticked twice a second instead of fifty times: what it would send
//! nobody listens to, and hours pass in a story. Whatever comes to it wakes it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use confab_machine::Time;
use confab_media::{Command, Event, Flow, LegId, Port, Room, Sink, session::Kind};
use confab_server::{
    clock::{self, Clock},
    media_host::{DataPlane, MediaRoom, NoPort, Said, Totals},
};
use tokio::{
    select,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
};

use crate::{
    faults::{Faults, Fuse},
    sockets::Sockets,
};

/// How long 20 ms of sound are, in microseconds.
const PERIOD_US: u64 = 20_000;
/// Each room has its time in the period, as outside.
const SLOT_US: u64 = 2_000;
const SLOTS: u64 = 10;
/// A room to which nothing came for so long dozes.
const DOZES_AFTER: Duration = Duration::from_secs(1);
/// How often a room is ticked that dozes.
const DOZE: Duration = Duration::from_millis(500);
/// Our address, and the first and last pair of ports.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FIRST_PORT: u16 = 20_000;
const PAIRS: u64 = 20_000;

/// The data plane. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct SimulatedPlane {
    clock: Clock,
    sockets: Sockets,
    fuse: Fuse,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Pairs of ports, ever.
    pairs: AtomicU64,
    begun: AtomicU64,
    over: AtomicU64,
    broken: AtomicU64,
}

impl SimulatedPlane {
    /// A data plane without rooms, which break as is asked for in `faults`.
    pub fn new(clock: Clock, sockets: &Sockets, faults: &Faults) -> SimulatedPlane {
        SimulatedPlane { clock, sockets: sockets.clone(), fuse: faults.room_fuse(), counts: Arc::default() }
    }

    /// How many ports of legs are open.
    pub fn ports(&self) -> usize {
        self.sockets.count(|at| at.ip() == ADDRESS)
    }

    /// How many rooms have broken.
    pub fn broken(&self) -> u64 {
        self.counts.broken.load(Ordering::Relaxed)
    }
}

impl DataPlane for SimulatedPlane {
    fn open_room(&self, says: UnboundedSender<Said>) -> Box<dyn MediaRoom> {
        let (orders, queue) = unbounded_channel();
        let number = self.counts.begun.fetch_add(1, Ordering::Relaxed);
        let rouses = Arc::<Notify>::default();
        let hands = Hands {
            sockets: self.sockets.clone(),
            ports: BTreeMap::new(),
            peers: BTreeMap::new(),
            says: says.clone(),
            closed: Vec::new(),
        };
        let hosted = Hosted {
            clock: self.clock,
            room: Room::new(clock::entropy()),
            hands,
            orders: queue,
            fuse: self.fuse.clone(),
            rouses: Arc::clone(&rouses),
            slot: number % SLOTS * SLOT_US,
            wakes_until: self.clock.now(),
            next: self.clock.now(),
        };
        let counts = Arc::clone(&self.counts);
        tokio::spawn(async move {
            if tokio::spawn(hosted.run()).await.is_err() {
                counts.broken.fetch_add(1, Ordering::Relaxed);
                let _ = says.send(Said::Broke);
            }
            counts.over.fetch_add(1, Ordering::Relaxed);
        });
        Box::new(Handle { sockets: self.sockets.clone(), counts: Arc::clone(&self.counts), orders, rouses })
    }

    fn totals(&self) -> Totals {
        let (begun, over) = (&self.counts.begun, &self.counts.over);
        let rooms = begun.load(Ordering::Relaxed) - over.load(Ordering::Relaxed);
        Totals { rooms, ..Totals::default() }
    }
}

/// What a room is told.
enum Order {
    Open(Vec<(Port, SocketAddr)>),
    Command(Command),
}

/// A room, as its conference sees it.
struct Handle {
    sockets: Sockets,
    counts: Arc<Counts>,
    orders: UnboundedSender<Order>,
    rouses: Arc<Notify>,
}

impl MediaRoom for Handle {
    fn open(
        &self,
        leg: LegId,
        kinds: &[Kind],
        multiplexed: bool,
    ) -> Result<Vec<(Kind, Flow, SocketAddr)>, NoPort> {
        let flows: &[Flow] = if multiplexed { &[Flow::Rtp] } else { &[Flow::Rtp, Flow::Rtcp] };
        let mut ports = Vec::new();
        for kind in kinds {
            let pair = self.counts.pairs.fetch_add(1, Ordering::Relaxed) % PAIRS;
            let even = FIRST_PORT + 2 * u16::try_from(pair).expect("there are fewer");
            for flow in flows {
                let at = SocketAddr::from((ADDRESS, even + u16::from(*flow == Flow::Rtcp)));
                self.sockets.open(at, &self.rouses);
                ports.push((Port { leg, kind: *kind, flow: *flow }, at));
            }
        }
        let opened = ports.iter().map(|(port, at)| (port.kind, port.flow, *at)).collect();
        // A room that broke is not told any more.
        let _ = self.orders.send(Order::Open(ports));
        Ok(opened)
    }

    fn command(&self, command: Command) {
        let _ = self.orders.send(Order::Command(command));
    }
}

/// A room with its sockets.
struct Hosted {
    clock: Clock,
    room: Room,
    hands: Hands,
    orders: UnboundedReceiver<Order>,
    fuse: Fuse,
    rouses: Arc<Notify>,
    /// When in a period its time is, in microseconds.
    slot: u64,
    wakes_until: Time,
    next: Time,
}

impl Hosted {
    /// Goes on until nobody can order anything any more.
    async fn run(mut self) {
        loop {
            let next = (!self.room.is_idle()).then_some(self.next);
            let dozes = self.wakes_until <= self.clock.now();
            select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                () = self.rouses.notified(), if dozes => self.wake(),
                () = self.clock.sleep_until(next) => self.tick(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Open(ports) => self.hands.ports.extend(ports),
            Order::Command(command) => {
                // Also of a call that came to nothing, of which the room never heard.
                if let Command::Close { leg } = &command {
                    self.hands.closed.push(*leg);
                }
                self.room.command(self.clock.now(), command, &mut self.hands);
                self.hands.close();
                self.wake();
            }
        }
    }

    /// From now on there is something to do.
    fn wake(&mut self) {
        let now = self.clock.now();
        self.wakes_until = now + DOZES_AFTER;
        self.next = self.next.min(self.slot_after(now)).max(now);
    }

    fn slot_after(&self, now: Time) -> Time {
        let begun = (now.as_micros() - self.slot) / PERIOD_US;
        Time::from_micros((begun + 1) * PERIOD_US + self.slot)
    }

    fn tick(&mut self) {
        self.fuse.burn();
        let now = self.clock.now();
        let ports: Vec<(Port, SocketAddr)> = self.hands.ports.iter().map(|(port, at)| (*port, *at)).collect();
        for (port, at) in ports {
            while let Some((arrived, from, mut datagram)) = self.hands.sockets.receive(at) {
                self.wakes_until = now + DOZES_AFTER;
                if self.hands.peers.get(&port).is_none_or(|peer| *peer == from) {
                    self.room.receive(arrived, port, from, &mut datagram, &mut self.hands);
                }
            }
        }
        self.room.tick(now, &mut self.hands);
        self.hands.close();
        self.next = if now < self.wakes_until { self.slot_after(now) } else { now + DOZE };
    }
}

/// The hands of a room.
struct Hands {
    sockets: Sockets,
    ports: BTreeMap<Port, SocketAddr>,
    /// The one peer of a port, where only he is let through.
    peers: BTreeMap<Port, SocketAddr>,
    says: UnboundedSender<Said>,
    /// Legs that are over, whose sockets are to be closed.
    closed: Vec<LegId>,
}

impl Hands {
    /// Closes the sockets of legs that are over.
    fn close(&mut self) {
        let closed = std::mem::take(&mut self.closed);
        let sockets = &self.sockets;
        self.ports.retain(|port, at| {
            let stays = !closed.contains(&port.leg);
            if !stays {
                sockets.close(*at);
            }
            stays
        });
        self.peers.retain(|port, _| !closed.contains(&port.leg));
    }
}

/// A room that is over leaves no socket behind, however it ended.
impl Drop for Hands {
    fn drop(&mut self) {
        self.ports.values().for_each(|at| self.sockets.close(*at));
    }
}

impl Sink for Hands {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        if let Some(at) = self.ports.get(&port) {
            self.sockets.send(*at, to, datagram);
        }
    }

    fn connect(&mut self, port: Port, from: SocketAddr) {
        self.peers.insert(port, from);
    }

    fn disconnect(&mut self, port: Port) {
        self.peers.remove(&port);
    }

    fn tell(&mut self, event: Event) {
        if let Event::Closed { leg, .. } = &event {
            self.closed.push(*leg);
        }
        // Nobody listens any more when the conference is over, and then the room ends.
        let _ = self.says.send(Said::Event(event));
    }
}
