//! One thread of the data plane: its rooms in their slots, and their sockets.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use confab_machine::Entropy;
use confab_media::{Command, Flow, Room, session::Kind};
use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use super::{
    Said,
    counters::Counters,
    hands::{Buffer, Hands},
    ports::Opened,
    slots::{self, SLOT_US, Slots},
};
use crate::clock::{Clock, Moment};

/// Slots in a period.
const SLOTS: u64 = slots::SLOTS as u64;
/// A thread that is so many slots late lets them go: what would be sent then is too late to be heard.
const LATEST: u64 = 2 * SLOTS;
/// Datagrams taken from any socket in one slot, however many others are flooded.
const AT_ONCE: usize = 64;
/// Datagrams taken beyond that in one slot, from all its sockets together: as much as two of them hold, by the system's
/// default. What floods a socket leaves no place in it for whom it belongs to, until it is emptied.
const FLOODED: usize = 512;
/// Orders that are obeyed between two slots that are due.
const ORDERS_AT_ONCE: usize = 64;
/// RTCP of voices is looked for once in so many periods: it is not urgent, and it is known when it came.
const RTCP_EVERY: u64 = 5;
/// In so many periods each room looks once whether another slot is better.
const LOOK_EVERY: u64 = 50;

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
    /// Each in a place of its own: a room is large, and a map keeps space for more than it holds.
    rooms: BTreeMap<u64, Box<Hosted>>,
    slots: Slots,
    count: Arc<AtomicUsize>,
    /// The slot after the one that was done last, counted from the epoch.
    next: u64,
    buffer: Buffer,
    counters: Arc<Counters>,
}

/// A room with its sockets.
struct Hosted {
    room: Room,
    hands: Hands,
    slot: usize,
    /// Whether it is in its slot, and as how much work it counts there.
    ticks: bool,
    weight: usize,
    /// The period of its last tick: it has one in each.
    period: u64,
    /// The slot it wants to move to as soon as nobody would hear of it.
    wanted: Option<usize>,
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
            slots: Slots::default(),
            count,
            next: 0,
            buffer: Buffer::new(),
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
            if !self.slots.are_empty() {
                self.counters.let_go(slot - self.next);
            }
            self.next = slot;
        }
        let due = (self.next..self.next + SLOTS).find(|slot| !self.slots.is_empty(*slot))?;
        self.next = due;
        Some(Duration::from_micros((due * SLOT_US).saturating_sub(now)))
    }

    /// Does the slot that has begun.
    fn slot(&mut self) {
        let slot = self.next;
        self.next += 1;
        let (place, period) = (slots::index(slot), slot / SLOTS);
        let mut rooms = self.slots.take(place);
        let mut spare = FLOODED;
        rooms.retain(|number| {
            let moment = self.clock.moment();
            self.with(*number, |hosted, buffer| hosted.play(&moment, period, buffer, &mut spare));
            self.place(*number, period);
            self.rooms.get(number).is_some_and(|hosted| hosted.ticks && hosted.slot == place)
        });
        self.slots.put_back(place, rooms);
    }

    /// A room has had its tick: it leaves its slot if nobody is in it, or goes to a better one.
    fn place(&mut self, number: u64, period: u64) {
        let Some(hosted) = self.rooms.get_mut(&number) else { return };
        hosted.ticks = !hosted.room.is_idle();
        if hosted.ticks {
            if (period + number).is_multiple_of(LOOK_EVERY) {
                let parts = hosted.room.arrivals().parts();
                hosted.wanted = self.slots.better(parts, hosted.slot, hosted.weight);
            }
            if let Some(slot) = hosted.wanted
                && hosted.room.is_quiet()
            {
                hosted.wanted = None;
                if self.slots.takes(slot, hosted.slot, hosted.weight) {
                    self.slots.weigh(hosted.slot, std::mem::take(&mut hosted.weight), 0);
                    self.slots.enter(slot, number);
                    hosted.slot = slot;
                    hosted.room.shift();
                }
            }
        }
        self.weigh(number);
    }

    /// Has the slots know how much work a room is.
    fn weigh(&mut self, number: u64) {
        let Some(hosted) = self.rooms.get_mut(&number) else { return };
        let new = if hosted.ticks { hosted.hands.weight() } else { 0 };
        self.slots.weigh(hosted.slot, std::mem::replace(&mut hosted.weight, new), new);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin { room, entropy, says } => {
                let hands = Hands::new(says, Arc::clone(&self.counters));
                let hosted = Hosted::new(Room::new(entropy), hands, slots::index(room));
                self.rooms.insert(room, Box::new(hosted));
            }
            Order::Open { room, sockets } => {
                if let Some(hosted) = self.rooms.get_mut(&room) {
                    hosted.hands.add(sockets);
                }
            }
            Order::Command { room, command } => {
                let now = self.clock.now();
                let over = if let Command::Close { leg } = &command { Some(*leg) } else { None };
                self.with(room, |hosted, _| {
                    hosted.room.command(now, command, &mut hosted.hands);
                    // Of a call that came to nothing the room never heard, but its ports are open.
                    hosted.hands.closed.extend(over);
                });
                self.awaken(room);
            }
            Order::End { room } => self.end(room),
        }
    }

    /// Does something with a room. If that breaks it, the room ends, which its MCU notices; the others
    /// go on.
    fn with(&mut self, number: u64, work: impl FnOnce(&mut Hosted, &mut Buffer)) {
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
        if let Some(hosted) = self.rooms.remove(&number) {
            self.slots.weigh(hosted.slot, hosted.weight, 0);
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
            self.slots.enter(hosted.slot, number);
        }
        self.weigh(number);
    }
}

impl Hosted {
    fn new(room: Room, hands: Hands, slot: usize) -> Hosted {
        Hosted { room, hands, slot, ticks: false, weight: 0, period: 0, wanted: None }
    }

    /// Takes what has come and lets 20 ms go by, unless that was done in this period already: a room that
    /// went to a later slot is in it before its next period has begun.
    fn play(&mut self, moment: &Moment, period: u64, buffer: &mut Buffer, spare: &mut usize) {
        if std::mem::replace(&mut self.period, period) == period {
            return;
        }
        self.receive(moment, period, buffer, spare);
        self.room.tick(moment.now, &mut self.hands);
        self.hands.count_sent();
    }

    /// Takes what has come; from sockets with more than is usual, so much more at most as `spare` says.
    fn receive(&mut self, moment: &Moment, period: u64, buffer: &mut Buffer, spare: &mut usize) {
        let mut received = 0;
        for index in 0..self.hands.sockets.len() {
            let port = self.hands.sockets[index].port;
            // A picture that is lacked is asked for by RTCP, and waited for.
            let can_wait = port.flow == Flow::Rtcp && port.kind == Kind::Audio;
            if can_wait && !period.is_multiple_of(RTCP_EVERY) {
                continue;
            }
            for count in 0..AT_ONCE + *spare {
                if count >= AT_ONCE {
                    *spare -= 1;
                }
                match self.hands.sockets[index].receive(moment, buffer) {
                    Ok(came) => {
                        received += 1;
                        let datagram = &mut buffer.datagram[..came.length];
                        self.room.receive(came.at, port, came.from, datagram, &mut self.hands);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What was sent to nobody comes back as an error once; the next is a datagram again.
                    Err(_) => {}
                }
            }
        }
        self.hands.counters.received(received);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, sync::mpsc};

    use confab_media::{
        LegId, LegSpec,
        rtp::Packet,
        session::{Codec, Format, Gate, PersonId, StreamSpec, TransportSpec},
    };

    use super::*;
    use crate::media_host::PortRange;

    /// A thread's work by hand, with one room and somebody in it, and what he hears.
    fn worker() -> (Worker, UdpSocket) {
        let (_, orders) = mpsc::channel();
        let mut worker = Worker::new(orders, Clock::start(), Arc::default(), Arc::default());
        let entropy = || Entropy::from_seed([1; 32]);
        let (says, _) = tokio::sync::mpsc::unbounded_channel();
        worker.obey(Order::Begin { room: 3, entropy: entropy(), says });
        let range = PortRange::new(vec!["127.0.0.1".parse().unwrap()], (34_000, 36_000), entropy());
        let sockets = range.open(LegId(1), Kind::Audio, &[Flow::Rtp, Flow::Rtcp]).unwrap();
        worker.obey(Order::Open { room: 3, sockets });
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_nonblocking(true).unwrap();
        let (at, format) = (phone.local_addr().unwrap(), Format { number: 0, codec: Codec::Pcmu });
        let audio = StreamSpec {
            send: format,
            receive: vec![format],
            receive_events: None,
            packet_time: Duration::from_millis(20),
            we_send: true,
            we_receive: true,
            ssrc: 1,
            protection: None,
            transport: TransportSpec::Plain { rtp: at, rtcp: at },
        };
        let spec = Box::new(LegSpec { person: PersonId(1), audio: Some(audio), video: None });
        let command = Command::Set { leg: LegId(1), spec, gate: Gate::Open };
        worker.obey(Order::Command { room: 3, command });
        (worker, phone)
    }

    /// The timestamps of the sound he was sent.
    fn heard(phone: &UdpSocket) -> Vec<u32> {
        let mut buffer = [0; 2000];
        let packets = std::iter::from_fn(|| phone.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec()));
        let sound = packets.filter(|packet| packet[1] & 0x7f == 0);
        sound.map(|packet| Packet::parse(&packet).unwrap().header.timestamp).collect()
    }

    #[test]
    fn a_room_that_moves_has_one_tick_in_each_period() {
        for new in [0, 2, 4, 9] {
            let (mut worker, phone) = worker();
            let mut ticks = Vec::new();
            for slot in 1_000..1_100 {
                if slot == 1_041 {
                    worker.rooms.get_mut(&3).unwrap().wanted = Some(new);
                }
                worker.next = slot;
                worker.slot();
                ticks.extend(heard(&phone).iter().map(|timestamp| (slot, *timestamp)));
            }
            let slots: Vec<u64> = ticks.iter().map(|(slot, _)| *slot).collect();
            let expected =
                (100..110).map(|period| period * SLOTS + if period < 105 { 3 } else { new as u64 });
            assert_eq!(slots, expected.collect::<Vec<_>>(), "to {new}");
            assert!(ticks.windows(2).all(|pair| pair[1].1 == pair[0].1.wrapping_add(160)), "to {new}");
            assert!(worker.slots.takes(3, new, 64) && !worker.slots.is_empty(new as u64));
            worker.obey(Order::Command { room: 3, command: Command::Close { leg: LegId(1) } });
            (1_100..1_120).for_each(|slot| {
                worker.next = slot;
                worker.slot();
            });
            assert!(worker.slots.are_empty() && worker.next_slot().is_none());
        }
    }

    #[test]
    fn a_call_that_came_to_nothing_leaves_no_port() {
        let (mut worker, _phone) = worker();
        let entropy = Entropy::from_seed([3; 32]);
        let range = PortRange::new(vec!["127.0.0.1".parse().unwrap()], (34_000, 36_000), entropy);
        let before = worker.rooms[&3].hands.sockets.len();
        let sockets = range.open(LegId(2), Kind::Audio, &[Flow::Rtp, Flow::Rtcp]).unwrap();
        worker.obey(Order::Open { room: 3, sockets });
        assert_eq!(worker.rooms[&3].hands.sockets.len(), before + 2);
        worker.obey(Order::Command { room: 3, command: Command::Close { leg: LegId(2) } });
        assert_eq!(worker.rooms[&3].hands.sockets.len(), before);
    }

    #[test]
    fn a_flooded_socket_has_place_for_whom_it_belongs_to() {
        let (mut worker, phone) = worker();
        let sockets = worker.rooms[&3].hands.sockets.iter();
        let local =
            sockets.filter(|socket| socket.port.flow == Flow::Rtp).map(|socket| socket.local).next().unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let received = |worker: &Worker| {
            let mut totals = crate::media_host::Totals::default();
            worker.counters.add_to(&mut totals);
            totals.received
        };
        // Ten thousand a second.
        for period in 101..111 {
            for _ in 0..200 {
                stranger.send_to(b"xxxx", local).unwrap();
            }
            phone.send_to(b"yyyy", local).unwrap();
            let before = received(&worker);
            worker.next = period * SLOTS + 3;
            worker.slot();
            assert_eq!(received(&worker) - before, 201, "period {period}");
        }
    }

    #[test]
    fn rtcp_of_pictures_is_read_in_each_period_and_that_of_voices_in_every_fifth() {
        let (mut worker, phone) = worker();
        let entropy = Entropy::from_seed([2; 32]);
        let range = PortRange::new(vec!["127.0.0.1".parse().unwrap()], (34_000, 36_000), entropy);
        let sockets = range.open(LegId(1), Kind::Video, &[Flow::Rtp, Flow::Rtcp]).unwrap();
        worker.obey(Order::Open { room: 3, sockets });
        let sockets = worker.rooms[&3].hands.sockets.iter();
        for socket in sockets.filter(|socket| socket.port.flow == Flow::Rtcp) {
            phone.send_to(b"x", socket.local).unwrap();
        }
        for (period, expected) in [(101, 1), (102, 1), (105, 2)] {
            worker.next = period * SLOTS + 3;
            worker.slot();
            let mut totals = crate::media_host::Totals::default();
            worker.counters.add_to(&mut totals);
            assert_eq!(totals.received, expected, "period {period}");
        }
    }
}
