//! The callers: INVITE, ACK and BYE of everybody, with the timers of RFC 3261 that a caller needs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::clock::{self, MILLISECOND};
use crate::media::Command;
use crate::options::{Mode, Options, Transport};
use crate::sdp;
use crate::sip::{self, Message};

/// The first wait before something is sent again over UDP, and the longest (RFC 3261, T1 and T2).
const T1: u64 = 500 * MILLISECOND;
const T2: u64 = 4000 * MILLISECOND;
/// How long a BYE is waited for.
const BYE: u64 = 5000 * MILLISECOND;
/// How long a person waits for a conference that is not yet made before he looks again.
const NOT_MADE: u64 = 10 * MILLISECOND;
/// The longest time the loop waits without looking up.
const LOOK: u64 = 20 * MILLISECOND;
/// No datagram is longer.
const LONGEST: usize = 65_536;

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet begun.
    Idle,
    /// Its INVITE waits for an answer.
    Inviting,
    /// It was answered.
    Up,
    /// Its BYE waits for an answer.
    Ending,
    /// We have ended it.
    Done,
    /// It was refused or not answered.
    Failed,
    /// The server has ended it.
    Dropped,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// How far it is.
    pub state: State,
    /// When its INVITE was sent first, and answered with 200.
    pub invited: Option<u64>,
    /// See above.
    pub answered: Option<u64>,
    call_id: String,
    target: String,
    from: String,
    to: String,
    remote: String,
    routes: Vec<String>,
    sequence: u32,
    branch: u32,
    port: u16,
    ended: u64,
    /// What is sent again, and how long is waited before; 0: no more.
    last: Vec<u8>,
    wait: u64,
    ack: Vec<u8>,
    challenged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Begin,
    Again,
    GiveUp,
    HangUp,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// All callers.
pub struct Agents<'a> {
    options: &'a Options,
    /// Their calls.
    pub calls: Vec<Call>,
    by_id: BTreeMap<String, usize>,
    wire: Wire,
    messages: Receiver<(u64, Message)>,
    timers: BinaryHeap<Reverse<(u64, usize, Timer)>>,
    media: Sender<Command>,
    port: u16,
    run: String,
    /// Requests that were sent again.
    pub again: u64,
    /// How often each final status came to an INVITE; 408 stands for none.
    pub statuses: BTreeMap<u16, u64>,
    /// Times from BYE to its answer, in milliseconds.
    pub ending_ms: Vec<f64>,
}

impl<'a> Agents<'a> {
    /// Callers of these conferences whose sound comes to these ports. `target` names the conference of each.
    pub fn new(
        options: &'a Options,
        ports: &[u16],
        people: usize,
        target: impl Fn(usize) -> String,
        media: Sender<Command>,
    ) -> Result<Agents<'a>, String> {
        let (wire, messages, port) = connect(options)?;
        let run = format!("{:x}", clock::now());
        let call = |person: usize| Call {
            state: State::Idle,
            invited: None,
            answered: None,
            call_id: format!("load-{run}-{person}"),
            target: match &options.factory {
                None => target(person),
                Some(factory) if options.leader(person) == person => factory.clone(),
                Some(_) => String::new(), // not yet known
            },
            from: options.from.replace("{n}", &person.to_string()),
            to: String::new(),
            remote: String::new(),
            routes: Vec::new(),
            sequence: 0,
            branch: 0,
            port: ports[person % ports.len()],
            ended: 0,
            last: Vec::new(),
            wait: 0,
            ack: Vec::new(),
            challenged: false,
        };
        let calls: Vec<Call> = (0..people).map(call).collect();
        let by_id = calls.iter().enumerate().map(|(number, call)| (call.call_id.clone(), number)).collect();
        Ok(Agents {
            options,
            calls,
            by_id,
            wire,
            messages,
            timers: BinaryHeap::new(),
            media,
            port,
            run,
            again: 0,
            statuses: BTreeMap::new(),
            ending_ms: Vec::new(),
        })
    }

    /// Everybody calls, so many a second, beginning at this time.
    pub fn call_all(&mut self, begin: u64) {
        self.schedule_all(begin, self.options.rate, Timer::Begin);
    }

    /// Everybody hangs up, so many a second at least.
    pub fn hang_up_all(&mut self, begin: u64, rate: f64) {
        self.schedule_all(begin, rate, Timer::HangUp);
    }

    fn schedule_all(&mut self, begin: u64, rate: f64, timer: Timer) {
        for person in 0..self.calls.len() {
            let at = begin + clock::nanoseconds(person as f64 / rate);
            self.timers.push(Reverse((at, person, timer)));
        }
    }

    /// How many calls are in one of these states.
    pub fn count(&self, states: &[State]) -> usize {
        self.calls.iter().filter(|call| states.contains(&call.state)).count()
    }

    /// Goes on until this time, or until no call is in one of these states any more.
    pub fn go_on(&mut self, until: u64, while_in: &[State]) {
        let mut looked = 0;
        loop {
            let now = clock::now();
            while let Some(&Reverse((at, person, timer))) = self.timers.peek() {
                if at > now {
                    break;
                }
                self.timers.pop();
                self.on_timer(person, timer);
            }
            let idle = now >= looked + LOOK && !while_in.is_empty();
            if idle {
                looked = now;
            }
            if now >= until || (idle && self.count(while_in) == 0) {
                return;
            }
            let next = self.timers.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let wait = next.min(until).min(now + LOOK).saturating_sub(now).max(1000);
            match self.messages.recv_timeout(Duration::from_nanos(wait)) {
                Ok((arrival, message)) => self.on_message(arrival, &message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn on_timer(&mut self, person: usize, timer: Timer) {
        let leader = self.calls[self.options.leader(person)].state;
        let call = &mut self.calls[person];
        match (timer, call.state) {
            (Timer::Begin, State::Idle) if !call.target.is_empty() => self.invite(person, None),
            (Timer::Begin, State::Idle) if matches!(leader, State::Idle | State::Inviting) => {
                self.timers.push(Reverse((clock::now() + NOT_MADE, person, Timer::Begin)));
            }
            (Timer::Begin, State::Idle) => call.state = State::Failed,
            (Timer::HangUp, State::Up) => self.hang_up(person),
            (Timer::GiveUp, State::Inviting) => {
                call.state = State::Failed;
                *self.statuses.entry(408).or_default() += 1;
            }
            (Timer::GiveUp, State::Ending) if clock::now() + MILLISECOND >= call.ended + BYE => {
                call.state = State::Done;
            }
            (Timer::Again, State::Inviting | State::Ending) if call.wait > 0 => {
                call.wait = (call.wait * 2).min(T2);
                self.timers.push(Reverse((clock::now() + call.wait, person, Timer::Again)));
                self.again += 1;
                let last = call.last.clone();
                self.send(&last);
            }
            _ => {}
        }
    }

    fn invite(&mut self, person: usize, credentials: Option<String>) {
        let via = self.via(person);
        let offer = sdp::offer(self.options, person, self.calls[person].port);
        let contact = self.contact();
        let call = &mut self.calls[person];
        call.sequence += 1;
        let mut text = format!(
            "INVITE {target} SIP/2.0\r\n{via}From: <{}>;tag={person}\r\nTo: <{target}>\r\nCall-ID: {}\r\n\
             CSeq: {} INVITE\r\nContact: {contact}\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO\r\n",
            call.from,
            call.call_id,
            call.sequence,
            target = call.target
        );
        for header in credentials.iter().chain(&self.options.header) {
            text += &format!("{header}\r\n");
        }
        text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}", offer.len());
        call.state = State::Inviting;
        let now = clock::now();
        if call.invited.is_none() {
            call.invited = Some(now);
            let give_up = now + clock::nanoseconds(self.options.timeout);
            self.timers.push(Reverse((give_up, person, Timer::GiveUp)));
        }
        self.send_reliably(person, text.into_bytes());
    }

    fn hang_up(&mut self, person: usize) {
        self.calls[person].sequence += 1;
        let text = self.in_dialog(person, "BYE", self.calls[person].sequence);
        let call = &mut self.calls[person];
        (call.state, call.ended) = (State::Ending, clock::now());
        self.timers.push(Reverse((call.ended + BYE, person, Timer::GiveUp)));
        self.stop(person);
        self.send_reliably(person, text);
    }

    fn stop(&self, person: usize) {
        let _ = self.media.send(Command::Stop(person)); // without sound there is nothing to stop
    }

    fn on_message(&mut self, arrival: u64, message: &Message) {
        let person = message.header("call-id").and_then(|id| self.by_id.get(id)).copied();
        match (person, message.status()) {
            (Some(person), Some(status)) => self.on_response(person, status, arrival, message),
            (Some(person), None) => self.on_request(person, message),
            (None, None) if message.method() == "OPTIONS" => self.reply(message, "200 OK", None),
            (None, None) if message.method() != "ACK" => {
                self.reply(message, "481 Call/Transaction Does Not Exist", None);
            }
            (None, _) => {}
        }
    }

    fn on_request(&mut self, person: usize, message: &Message) {
        match message.method() {
            "ACK" => {}
            "BYE" => {
                self.reply(message, "200 OK", None);
                let call = &mut self.calls[person];
                call.state = if call.state == State::Ending { State::Done } else { State::Dropped };
                self.stop(person);
            }
            "INVITE" | "UPDATE" if !message.body.is_empty() || message.method() == "INVITE" => {
                if let Some(path) = sdp::path(self.options, person, &message.body) {
                    let _ = self.media.send(Command::Start(person, Box::new(path))); // as in `stop`
                }
                let answer = sdp::offer(self.options, person, self.calls[person].port);
                self.reply(message, "200 OK", Some(&answer));
            }
            _ => self.reply(message, "200 OK", None),
        }
    }

    fn on_response(&mut self, person: usize, status: u16, arrival: u64, message: &Message) {
        let (sequence, method) = message.sequence();
        let call = &mut self.calls[person];
        match (method, status) {
            ("BYE", 200..) if call.state == State::Ending => {
                call.state = State::Done;
                self.ending_ms.push(clock::milliseconds(arrival.saturating_sub(call.ended)));
            }
            ("INVITE", ..200) => call.wait = 0,
            ("INVITE", 200..300) if call.state == State::Inviting => {
                self.established(person, sequence, arrival, message);
                *self.statuses.entry(status).or_default() += 1;
            }
            ("INVITE", 200..300) => {
                let ack = call.ack.clone();
                self.send(&ack);
            }
            ("INVITE", 300..) => self.refused(person, status, sequence, message),
            _ => {}
        }
    }

    fn established(&mut self, person: usize, sequence: u32, arrival: u64, message: &Message) {
        let call = &mut self.calls[person];
        (call.state, call.answered) = (State::Up, Some(arrival));
        message.header("to").unwrap_or_default().clone_into(&mut call.to);
        call.remote = message
            .header("contact")
            .map_or_else(|| call.target.clone(), |value| sip::uri_of(value).to_owned());
        let routes = message.headers("record-route").flat_map(|value| value.split(','));
        call.routes = routes.map(|route| route.trim().to_owned()).collect();
        call.routes.reverse();
        if self.options.factory.is_some() && self.options.leader(person) == person {
            self.conference_made(person);
        }
        let ack = self.in_dialog(person, "ACK", sequence);
        self.calls[person].ack.clone_from(&ack);
        self.send(&ack);
        if self.options.mode == Mode::Churn {
            // Who has made a conference stays, so that it does.
            let stays = self.options.factory.is_some() && self.options.leader(person) == person;
            let hold = if stays { self.options.duration } else { 0.0 } + self.options.hold;
            let at = clock::now() + clock::nanoseconds(hold);
            self.timers.push(Reverse((at, person, Timer::HangUp)));
        } else if let Some(path) = sdp::path(self.options, person, &message.body) {
            let _ = self.media.send(Command::Start(person, Box::new(path))); // as in `stop`
        } else {
            eprintln!("person {person}: the answer takes no sound as it was offered");
        }
    }

    /// Everybody else of this person's conference knows its address now.
    fn conference_made(&mut self, leader: usize) {
        let target = self.calls[leader].remote.clone();
        for person in 0..self.calls.len() {
            if person != leader && self.options.leader(person) == leader {
                self.calls[person].target.clone_from(&target);
            }
        }
    }

    fn refused(&mut self, person: usize, status: u16, sequence: u32, message: &Message) {
        let call = &self.calls[person];
        // The ACK belongs to the INVITE's transaction, so it has its Via.
        let last = String::from_utf8_lossy(&call.last);
        let ack = format!(
            "ACK {target} SIP/2.0\r\n{}\r\nMax-Forwards: 70\r\nFrom: <{}>;tag={person}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {sequence} ACK\r\nContent-Length: 0\r\n\r\n",
            last.lines().nth(1).unwrap_or_default(),
            call.from,
            message.header("to").unwrap_or_default(),
            call.call_id,
            target = call.target
        );
        self.send(ack.as_bytes());
        let call = &mut self.calls[person];
        if call.state != State::Inviting || sequence != call.sequence {
            return;
        }
        let (challenge, answer) = match status {
            401 => ("www-authenticate", "Authorization"),
            407 => ("proxy-authenticate", "Proxy-Authorization"),
            _ => ("", ""),
        };
        let challenges = message.headers(challenge).find(|value| !value.contains("SHA-256"));
        if let (Some(challenge), false, false) = (challenges, call.challenged, self.options.user.is_empty()) {
            call.challenged = true;
            let (user, password) = (&self.options.user, &self.options.password);
            let credentials = sip::digest(challenge, user, password, "INVITE", &call.target);
            self.invite(person, Some(format!("{answer}: {credentials}")));
            return;
        }
        call.state = State::Failed;
        *self.statuses.entry(status).or_default() += 1;
    }

    fn in_dialog(&mut self, person: usize, method: &str, sequence: u32) -> Vec<u8> {
        let via = self.via(person);
        let call = &self.calls[person];
        let routes: String = call.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        format!(
            "{method} {} SIP/2.0\r\n{via}{routes}From: <{}>;tag={person}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n",
            call.remote, call.from, call.to, call.call_id
        )
        .into_bytes()
    }

    fn reply(&mut self, request: &Message, status: &str, description: Option<&str>) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        let copied = [
            ("via", "Via"),
            ("record-route", "Record-Route"),
            ("from", "From"),
            ("to", "To"),
            ("call-id", "Call-ID"),
            ("cseq", "CSeq"),
        ];
        for (name, written) in copied {
            for value in request.headers(name) {
                text += &format!("{written}: {value}\r\n");
            }
        }
        text += &format!("Contact: {}\r\n", self.contact());
        let body = description.unwrap_or_default();
        if !body.is_empty() {
            text += "Content-Type: application/sdp\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.send(text.as_bytes());
    }

    fn via(&mut self, person: usize) -> String {
        let call = &mut self.calls[person];
        call.branch += 1;
        let transport = if matches!(self.wire, Wire::Tcp(_)) { "TCP" } else { "UDP" };
        let branch = format!("z9hG4bK{}x{person}x{}", self.run, call.branch);
        let (address, port) = (self.options.bind, self.port);
        format!("Via: SIP/2.0/{transport} {address}:{port};rport;branch={branch}\r\nMax-Forwards: 70\r\n")
    }

    fn contact(&self) -> String {
        let transport = if matches!(self.wire, Wire::Tcp(_)) { ";transport=tcp" } else { "" };
        format!("<sip:load@{}:{}{transport}>", self.options.bind, self.port)
    }

    fn send_reliably(&mut self, person: usize, text: Vec<u8>) {
        self.send(&text);
        let call = &mut self.calls[person];
        (call.last, call.wait) = (text, T1);
        if matches!(self.wire, Wire::Udp(_)) {
            self.timers.push(Reverse((clock::now() + T1, person, Timer::Again)));
        }
    }

    fn send(&mut self, text: &[u8]) {
        // What cannot be sent is not answered, and that is counted.
        let _ = match &mut self.wire {
            Wire::Udp(socket) => socket.send(text).map(drop),
            Wire::Tcp(stream) => stream.write_all(text),
        };
    }
}

type Connected = (Wire, Receiver<(u64, Message)>, u16);

fn connect(options: &Options) -> Result<Connected, String> {
    let failed = |error: std::io::Error| format!("{} cannot be reached: {error}", options.server);
    let (sender, messages) = channel();
    match options.transport {
        Transport::Udp => {
            let socket = UdpSocket::bind((options.bind, 0)).map_err(failed)?;
            socket.connect(options.server).map_err(failed)?;
            let port = socket.local_addr().map_err(failed)?.port();
            let reader = socket.try_clone().map_err(failed)?;
            std::thread::spawn(move || {
                let mut buffer = vec![0; LONGEST];
                loop {
                    // An error is a port that was closed for a moment; it says nothing of the next datagram.
                    let Ok(length) = reader.recv(&mut buffer) else { continue };
                    let now = clock::now();
                    if let Some(message) = Message::read(&buffer[..length])
                        && sender.send((now, message)).is_err()
                    {
                        return;
                    }
                }
            });
            Ok((Wire::Udp(socket), messages, port))
        }
        Transport::Tcp => {
            let stream = TcpStream::connect(options.server).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let port = stream.local_addr().map_err(failed)?.port();
            let reader = stream.try_clone().map_err(failed)?;
            std::thread::spawn(move || read_stream(reader, &sender));
            Ok((Wire::Tcp(stream), messages, port))
        }
    }
}

fn read_stream(mut stream: TcpStream, sender: &Sender<(u64, Message)>) {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; LONGEST]);
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        let now = clock::now();
        bytes.extend_from_slice(&chunk[..length]);
        while let Some(message) = sip::take_from_stream(&mut bytes) {
            if sender.send((now, message)).is_err() {
                return;
            }
        }
    }
}
