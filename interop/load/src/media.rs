//! The sound of everybody: one thread sends a frame of each person every 20 ms, and takes what comes to all.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use confab_media::srtp;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::{self, MILLISECOND};
use crate::judge::{Beginnings, Findings, Heard, Judge, tone_of};
use crate::options::Options;
use crate::reception::{Header, Reception};
use crate::schedule::Schedule;
use crate::tones::{AMPLITUDE, Codec, Frames, TONES, tone};

/// The people are spread over so many milliseconds, a frame.
const SLOTS: u64 = 20;
/// Neighbours send so many milliseconds apart, so that those of a small conference are spread over a frame, too.
const STRIDE: u64 = 7;
/// No RTP packet is longer.
const LONGEST: usize = 1600;
/// What each socket may hold back, in bytes.
const BUFFER: usize = 400_000;
/// Samples of one measure that are kept at most.
const KEPT: usize = 400_000;
/// One in so many sendings and arrivals is kept.
const LATENESS_KEPT: u64 = 17;
const ARRIVALS_KEPT: u64 = 13;
/// The number of the timer among the events; the people's begin at 0.
const TIMER: u64 = u64::MAX;

/// Where a person's sound goes and how it is protected.
pub struct Path {
    /// The server's address.
    pub remote: SocketAddr,
    /// The payload type that was agreed on.
    pub payload_type: u8,
    /// Protection of what is sent and of what comes.
    pub protection: Option<(srtp::Context, srtp::Context)>,
}

/// What the media thread is told.
pub enum Command {
    /// This person's sound has a path now.
    Start(usize, Box<Path>),
    /// This person's sound ends.
    Stop(usize),
    /// What was measured until now is forgotten.
    Measure,
    /// What has been measured since is asked for.
    Finish(Sender<Measured>),
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// For how long, in seconds.
    pub seconds: f64,
    /// Packets sent, and those that the kernel refused.
    pub sent: u64,
    /// See above.
    pub refused: u64,
    /// How late packets were sent, in milliseconds.
    pub lateness: Vec<f64>,
    /// Times between packets, in milliseconds.
    pub arrivals: Vec<f64>,
    /// Packets that came with a payload type nobody agreed on, or could not be verified.
    pub foreign: u64,
    /// The counters of each person who has a path.
    pub receptions: Vec<Reception>,
    /// When the first packet ever came to each person, if one has.
    pub first: Vec<Option<u64>>,
    /// What the judged heard.
    pub findings: Findings,
    /// The processor time of this thread, in seconds.
    pub thread_seconds: f64,
}

struct Person {
    socket: UdpSocket,
    conference: usize,
    number: usize,
    path: Option<Box<Path>>,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// Frames of the tone that he has said in this turn.
    said: usize,
    has_sent: bool,
    first: Option<u64>,
    reception: Reception,
    judge: Option<Judge>,
}

/// The sockets of so many people, and their ports.
pub fn open(options: &Options, people: usize) -> Result<Vec<UdpSocket>, String> {
    let mut sockets = Vec::with_capacity(people);
    let mut ports = (options.rtp_base & !1..65_530).step_by(2);
    while sockets.len() < people {
        let port = ports.next().ok_or("there are not ports enough above --rtp-base")?;
        let Ok(socket) = UdpSocket::bind((options.bind, port)) else { continue };
        let ready = socket.set_nonblocking(true).is_ok()
            && setsockopt(&socket, sockopt::ReceiveTimestampns, &true).is_ok()
            && setsockopt(&socket, sockopt::RcvBuf, &BUFFER).is_ok();
        if !ready {
            return Err("a socket cannot be set up: the kernel gives no time stamps".into());
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The thread.
pub struct Media {
    codec: Codec,
    schedule: Schedule,
    senders: usize,
    people: Vec<Person>,
    tones: Vec<Frames>,
    silence: Frames,
    beginnings: Beginnings,
    measured: Measured,
    since: u64,
    thread_since: f64,
    /// Whether and from which turn on it is measured.
    from: Option<u64>,
    milliseconds: u64,
    arrivals: u64,
    packet: Vec<u8>,
    control: Vec<u8>,
}

impl Media {
    /// The sound of the people at these sockets; nobody has a path yet.
    pub fn new(options: &Options, sockets: Vec<UdpSocket>) -> Media {
        let person = |(index, socket): (usize, UdpSocket)| {
            let (conference, number) = (index / options.size, index % options.size);
            let seed = u32::try_from(index).expect("there are fewer people than ports");
            Person {
                socket,
                conference,
                number,
                path: None,
                sequence: u16::try_from(seed % 65_536).expect("sixteen bits").wrapping_mul(31),
                timestamp: seed.wrapping_mul(7919),
                ssrc: 0x1000_0000_u32.wrapping_add(seed.wrapping_mul(2_654_435)),
                said: 0,
                has_sent: false,
                first: None,
                reception: Reception::default(),
                judge: (number < options.judged()).then(|| Judge::new(conference, number, options.codec)),
            }
        };
        let codec = options.codec;
        Media {
            codec,
            schedule: Schedule::new(options, clock::now() + 5 * MILLISECOND),
            senders: options.senders(),
            people: sockets.into_iter().enumerate().map(person).collect(),
            tones: (0..TONES).map(|number| codec.frames(tone(number), AMPLITUDE)).collect(),
            silence: codec.frames(tone(0), 0.0),
            beginnings: Beginnings::new(options.conferences),
            measured: Measured::default(),
            since: 0,
            thread_since: 0.0,
            from: None,
            milliseconds: 0,
            arrivals: 0,
            packet: vec![0; LONGEST],
            control: nix::cmsg_space!(TimeSpec),
        }
    }

    /// Goes on until nobody can command any more.
    pub fn run(mut self, commands: &Receiver<Command>) -> nix::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        for (number, person) in (0..).zip(&self.people) {
            epoll.add(&person.socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        }
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK)?;
        timer.set(Expiration::Interval(TimeSpec::new(0, 1_000_000)), TimerSetTimeFlags::empty())?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut events = vec![EpollEvent::empty(); 1024];
        loop {
            if !self.obey(commands) {
                return Ok(());
            }
            self.send_what_is_due();
            let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                count => count?,
            };
            for event in &events[..count] {
                match usize::try_from(event.data()) {
                    Ok(person) if event.data() != TIMER => self.receive(person),
                    // Read so that it is not ready any more; what is due is found out by the clock.
                    _ => drop(timer.wait()),
                }
            }
        }
    }

    fn obey(&mut self, commands: &Receiver<Command>) -> bool {
        loop {
            match commands.try_recv() {
                Ok(Command::Start(person, path)) => self.people[person].path = Some(path),
                Ok(Command::Stop(person)) => self.people[person].path = None,
                Ok(Command::Measure) => self.measure(),
                Ok(Command::Finish(to)) => {
                    let _ = to.send(self.finish()); // who does not want it any more has ended
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn measure(&mut self) {
        self.measured = Measured::default();
        for person in &mut self.people {
            person.reception = Reception::default();
            if let Some(judge) = &mut person.judge {
                judge.restart();
            }
        }
        self.since = clock::now();
        self.thread_since = clock::thread_seconds();
        self.from = Some(self.schedule.at(self.since).0 + 1);
    }

    fn finish(&mut self) -> Measured {
        let mut measured = std::mem::take(&mut self.measured);
        measured.seconds = clock::seconds(clock::now() - self.since);
        measured.thread_seconds = clock::thread_seconds() - self.thread_since;
        let in_it = self.people.iter().filter(|person| person.path.is_some());
        measured.receptions = in_it.map(|person| person.reception.clone()).collect();
        measured.first = self.people.iter().map(|person| person.first).collect();
        self.from = None;
        measured
    }

    fn send_what_is_due(&mut self) {
        let now = clock::now();
        while self.schedule.begin + self.milliseconds * MILLISECOND <= now {
            let due = self.schedule.begin + self.milliseconds * MILLISECOND;
            // Person i sends at the time i * STRIDE; the inverse of that says who is the first at this one.
            let inverse = (1..SLOTS).find(|inverse| inverse * STRIDE % SLOTS == 1);
            let first =
                self.milliseconds % SLOTS * inverse.expect("the stride has no part of the slots") % SLOTS;
            let step = usize::try_from(SLOTS).expect("it is twenty");
            for person in (usize::try_from(first).expect("below twenty")..self.people.len()).step_by(step) {
                self.send(person, due);
            }
            self.milliseconds += 1;
        }
    }

    fn send(&mut self, index: usize, due: u64) {
        let person = &mut self.people[index];
        let Some(path) = &mut person.path else { return };
        if person.number >= self.senders {
            return;
        }
        let (turn, phase) = self.schedule.at(due);
        let talks = self.schedule.talks(person.number, turn, phase);
        person.said = if talks { person.said + 1 } else { 0 };
        let frames = if talks {
            &self.tones[tone_of(person.conference, person.number) % TONES]
        } else {
            &self.silence
        };
        // Silence is the same in each frame, so that it does not matter which.
        let payload = frames.frame(person.said.saturating_sub(1));
        let packet = &mut self.packet;
        packet[0] = 0x80;
        packet[1] = path.payload_type | if person.has_sent { 0 } else { 0x80 };
        packet[2..4].copy_from_slice(&person.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&person.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&person.ssrc.to_be_bytes());
        packet[12..12 + payload.len()].copy_from_slice(payload);
        let mut length = 12 + payload.len();
        if let Some((protect, _)) = &mut path.protection {
            let Some(protected) = protect.protect_rtp(packet, length) else { return };
            length = protected;
        }
        person.has_sent = true;
        person.sequence = person.sequence.wrapping_add(1);
        person.timestamp = person.timestamp.wrapping_add(self.codec.clock_step());
        let now = clock::now();
        if person.said == 1 && self.schedule.first(turn) == person.number {
            self.beginnings.note(person.conference, turn, now);
        }
        let sent = person.socket.send_to(&packet[..length], path.remote);
        if self.from.is_some() {
            self.measured.sent += 1;
            self.measured.refused += u64::from(sent.is_err());
            if self.measured.sent.is_multiple_of(LATENESS_KEPT) && self.measured.lateness.len() < KEPT {
                self.measured.lateness.push(clock::milliseconds(now - due));
            }
        }
    }

    /// Takes one packet; is there another, the kernel says so again.
    fn receive(&mut self, index: usize) {
        let person = &mut self.people[index];
        let packet = &mut self.packet;
        let Some((length, arrival)) = read(&person.socket, packet, &mut self.control) else { return };
        let Some(header) = Header::read(&packet[..length]) else { return };
        person.first.get_or_insert(arrival);
        let Some(path) = &mut person.path else { return };
        let open = match &mut path.protection {
            None => Some(length),
            Some((_, open)) => open.open_rtp(&mut packet[..length]),
        };
        let Some(open) =
            open.filter(|open| header.length < *open && header.payload_type == path.payload_type)
        else {
            self.measured.foreign += u64::from(self.from.is_some());
            return;
        };
        if let Some(since) = person.reception.take(&header, arrival, length, self.codec) {
            self.arrivals += 1;
            let arrivals = &mut self.measured.arrivals;
            if self.from.is_some() && self.arrivals.is_multiple_of(ARRIVALS_KEPT) && arrivals.len() < KEPT {
                arrivals.push(since / 1e6);
            }
        }
        if let Some(judge) = &mut person.judge {
            let heard = Heard {
                arrival,
                payload: &packet[header.length..open],
                schedule: &self.schedule,
                beginnings: &self.beginnings,
                from: self.from,
            };
            judge.hear(&heard, &mut self.measured.findings);
        }
    }
}

/// A datagram, and when the kernel got it.
fn read(socket: &UdpSocket, into: &mut [u8], control: &mut [u8]) -> Option<(usize, u64)> {
    let mut slices = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(control), flags).ok()?;
    let arrival = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => {
            let part = |part: i64| u64::try_from(part).ok();
            Some(part(time.tv_sec())? * clock::SECOND + part(time.tv_nsec())?)
        }
        _ => None,
    });
    Some((message.bytes, arrival.unwrap_or_else(clock::now)))
}
