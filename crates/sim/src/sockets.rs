//! The datagrams of sound: sockets on the simulated network. On its way a datagram gets lost, comes twice or after
//! those behind it, all of which follows from one generator; then it waits until it is fetched.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use confab_machine::{Entropy, Time};
use confab_server::clock::Clock;
use tokio::sync::Notify;

use crate::network::Weather;

/// Datagrams that wait at one socket, those under way to it among them; more are lost.
const MOST_WAITING: usize = 256;

/// The sockets. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sockets {
    clock: Clock,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    weather: Weather,
    dice: Entropy,
    open: BTreeMap<SocketAddr, Socket>,
    sent: u64,
}

struct Socket {
    /// By when they arrive; of those that arrive together the first that was sent goes first.
    waiting: BTreeMap<(Time, u64), (SocketAddr, Vec<u8>)>,
    rouses: Arc<Notify>,
}

impl Sockets {
    /// No socket yet, in this weather.
    pub fn new(clock: Clock, weather: Weather, dice: Entropy) -> Sockets {
        let shared = Shared { weather, dice, open: BTreeMap::new(), sent: 0 };
        Sockets { clock, shared: Arc::new(Mutex::new(shared)) }
    }

    /// The weather changes.
    pub fn set_weather(&self, weather: Weather) {
        self.shared().weather = weather;
    }

    /// Opens a socket; whenever something is sent to it, `rouses` is told.
    pub fn open(&self, at: SocketAddr, rouses: &Arc<Notify>) {
        let socket = Socket { waiting: BTreeMap::new(), rouses: Arc::clone(rouses) };
        self.shared().open.insert(at, socket);
    }

    /// Closes a socket. What is on its way to it goes nowhere.
    pub fn close(&self, at: SocketAddr) {
        self.shared().open.remove(&at);
    }

    /// How many sockets are open whose address fulfils `which`.
    pub fn count(&self, which: impl Fn(SocketAddr) -> bool) -> usize {
        self.shared().open.keys().filter(|at| which(**at)).count()
    }

    /// Sends a datagram on its way. One to nobody is lost.
    pub fn send(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let now = self.clock.now();
        let shared = &mut *self.shared();
        let Weather { delay_ms, lost, twice } = shared.weather;
        let Some(socket) = shared.open.get_mut(&to) else { return };
        let copies = match shared.dice.number() % 100 {
            roll if roll < lost => 0,
            roll if roll < lost + twice => 2,
            _ => 1,
        };
        for _ in 0..copies {
            // As with datagrams of signalling: a way is up to three times as long as the longest of a stream's.
            let delay = Duration::from_micros(shared.dice.number() % (3000 * delay_ms + 1));
            shared.sent += 1;
            if socket.waiting.len() < MOST_WAITING {
                socket.waiting.insert((now + delay, shared.sent), (from, datagram.to_vec()));
            }
        }
        socket.rouses.notify_one();
    }

    /// The next datagram that has arrived at a socket: when, and whose it is.
    pub fn receive(&self, at: SocketAddr) -> Option<(Time, SocketAddr, Vec<u8>)> {
        let now = self.clock.now();
        let mut shared = self.shared();
        let first = shared.open.get_mut(&at)?.waiting.first_entry()?;
        let (arrived, _) = *first.key();
        (arrived <= now).then(|| {
            let (from, datagram) = first.remove();
            (arrived, from, datagram)
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics while holding the sockets")
    }
}
