//! The network of the simulation: between people and server, and between the parts of the server.
//! Streams lose nothing, but are slow, stall and break; datagrams get lost, come twice or in another
//! order. Every delay follows from one generator. What the server tells subscribers is read off the
//! wire on its way ([`Versions`]).

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use confab_machine::{Entropy, Time};
use confab_server::{
    clock::Clock,
    inproc::InprocNetwork,
    sip_transport::{Datagram, Flows},
};
use confab_sip::Transport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::mpsc,
    task::AbortHandle,
};

use crate::versions::Versions;

/// Bytes in flight in one direction of a stream.
const STREAM_BUFFER: usize = 64 * 1024;
/// Bytes that are carried at once.
const CHUNK: usize = 8 * 1024;
/// Datagrams in flight; more are lost.
const DATAGRAM_QUEUE: usize = 1024;

/// What the network is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// The longest way of a piece, in milliseconds; the shortest is nothing.
    pub delay_ms: u64,
    /// How many of a hundred datagrams are lost.
    pub lost: u64,
    /// How many of a hundred come twice.
    pub twice: u64,
}

/// The network. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Network {
    clock: Clock,
    weather: Weather,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    dice: Entropy,
    versions: Versions,
    /// Until when the links between the parts of the server stand still.
    control: Hold,
    /// Where datagrams to a client go.
    inboxes: BTreeMap<SocketAddr, mpsc::Sender<Datagram>>,
    lines: usize,
}

/// Until when nothing passes.
#[derive(Clone, Debug, Default)]
struct Hold(Arc<Mutex<Time>>);

impl Hold {
    fn until(&self, time: Time) {
        *self.0.lock().expect("nobody panics while holding it") = time;
    }

    fn end(&self) -> Time {
        *self.0.lock().expect("nobody panics while holding it")
    }
}

/// A connection of a client.
pub struct Wire {
    hold: Hold,
    broken: Broken,
}

enum Broken {
    Stream(AbortHandle),
    Datagrams(SocketAddr),
}

impl Network {
    /// A network with nobody on it.
    pub fn new(clock: Clock, weather: Weather, dice: Entropy) -> Network {
        let shared = Shared {
            dice,
            versions: Versions::default(),
            control: Hold::default(),
            inboxes: BTreeMap::new(),
            lines: 0,
        };
        Network { clock, weather, shared: Arc::new(Mutex::new(shared)) }
    }

    /// What it is like.
    pub fn weather(&self) -> Weather {
        self.weather
    }

    /// The links between the parts of a server.
    pub fn inside(&self) -> InprocNetwork {
        let network = self.clone();
        InprocNetwork::through(Arc::new(move |_, far| {
            let (near, listener) = duplex(STREAM_BUFFER);
            let hold = network.shared().control.clone();
            tokio::spawn(network.clone().carry(far, near, hold, None));
            listener
        }))
    }

    /// A stream to the server whose connections these are; the client's end of it.
    pub fn stream(&self, server: &Flows) -> (DuplexStream, Wire) {
        let (client, near) = duplex(STREAM_BUFFER);
        let (far, accepted) = duplex(STREAM_BUFFER);
        server.add_stream(accepted, Transport::Tcp, None);
        let hold = Hold::default();
        let line = self.next_line();
        let carrying = tokio::spawn(self.clone().carry(near, far, hold.clone(), Some(line)));
        (client, Wire { hold, broken: Broken::Stream(carrying.abort_handle()) })
    }

    /// Datagrams reach the server from now on.
    pub fn open_datagrams(&self, server: &Flows) -> mpsc::Sender<Datagram> {
        let (to_server, inbox) = mpsc::channel(DATAGRAM_QUEUE);
        let (outbox, mut from_server) = mpsc::channel::<Datagram>(DATAGRAM_QUEUE);
        server.add_datagrams(inbox, outbox, None);
        let network = self.clone();
        let line = self.next_line();
        tokio::spawn(async move {
            while let Some((peer, bytes)) = from_server.recv().await {
                network.shared().versions.datagram(line, &bytes);
                network.post(peer, (server_address(), bytes), None);
            }
        });
        to_server
    }

    /// A client that speaks datagrams: its inbox and outbox, its address, and its wire.
    pub fn datagrams(
        &self,
        to_server: &mpsc::Sender<Datagram>,
    ) -> ((mpsc::Receiver<Datagram>, mpsc::Sender<Datagram>), SocketAddr, Wire) {
        let line = u16::try_from(self.next_line()).expect("there are few clients");
        let address = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 1), 10_000 + line));
        let (to_client, inbox) = mpsc::channel(DATAGRAM_QUEUE);
        let (outbox, mut sent) = mpsc::channel::<Datagram>(DATAGRAM_QUEUE);
        self.shared().inboxes.insert(address, to_client);
        let (network, to_server) = (self.clone(), to_server.clone());
        tokio::spawn(async move {
            while let Some((_, bytes)) = sent.recv().await {
                // Who is cut off reaches nobody.
                if network.shared().inboxes.contains_key(&address) {
                    network.post(server_address(), (address, bytes), Some(&to_server));
                }
            }
        });
        ((inbox, outbox), address, Wire { hold: Hold::default(), broken: Broken::Datagrams(address) })
    }

    /// For so long nothing passes between the parts of the server.
    pub fn stall_inside(&self, time: Duration) {
        let until = self.clock.now() + time;
        self.shared().control.until(until);
    }

    /// For so long nothing passes on a stream; what was sent arrives late.
    pub fn stall(&self, wire: &Wire, time: Duration) {
        wire.hold.until(self.clock.now() + time);
    }

    /// Nothing passes on a wire any more. The ends of a stream notice at once, those of datagrams
    /// not.
    pub fn cut(&self, wire: &Wire) {
        match &wire.broken {
            Broken::Stream(carrying) => carrying.abort(),
            Broken::Datagrams(address) => drop(self.shared().inboxes.remove(address)),
        }
    }

    /// What was wrong with the versions that subscribers were told.
    pub fn faults_of_versions(&self) -> Vec<String> {
        self.shared().versions.take_faults()
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        self.shared().dice.number() % sides
    }

    async fn carry(self, one: DuplexStream, other: DuplexStream, hold: Hold, line: Option<usize>) {
        let ((from_one, to_one), (from_other, to_other)) = (split(one), split(other));
        // The server is the other end.
        tokio::join!(self.pump(from_one, to_other, &hold, None), self.pump(from_other, to_one, &hold, line),);
    }

    async fn pump(
        &self,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        hold: &Hold,
        line: Option<usize>,
    ) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if let Some(line) = line {
                self.shared().versions.stream(line, &buffer[..count]);
            }
            let arrives = self.clock.now() + self.delay(1);
            self.clock.sleep_until(Some(arrives.max(hold.end()))).await;
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        // The other end may be gone too.
        let _ = to.shutdown().await;
    }

    /// Sends a datagram on its way to `peer`, or where `to` leads.
    fn post(&self, peer: SocketAddr, datagram: Datagram, to: Option<&mpsc::Sender<Datagram>>) {
        let copies = match self.roll(100) {
            roll if roll < self.weather.lost => 0,
            roll if roll < self.weather.lost + self.weather.twice => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let arrives = self.clock.now() + self.delay(3);
            let (network, datagram, to) = (self.clone(), datagram.clone(), to.cloned());
            tokio::spawn(async move {
                network.clock.sleep_until(Some(arrives)).await;
                let to = to.or_else(|| network.shared().inboxes.get(&peer).cloned());
                // Who does not keep up loses some.
                let _ = to.map(|to| to.try_send(datagram));
            });
        }
    }

    fn delay(&self, times: u64) -> Duration {
        Duration::from_millis(self.roll(times * self.weather.delay_ms + 1))
    }

    fn next_line(&self) -> usize {
        let mut shared = self.shared();
        shared.lines += 1;
        shared.lines
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics while holding the network")
    }
}

/// Where clients send their datagrams.
pub fn server_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 5060))
}
