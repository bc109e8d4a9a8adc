//! A phone with sound: a plain SIP client that calls a conference, says a tone of its own on a clock of its own, and
//! keeps what it hears. It answers whatever it is asked as soon as it is asked, and goes on speaking to where it spoke
//! last when its call is over: nobody may hear that.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use confab_machine::Time;
use confab_server::clock::Clock;
use confab_sip::{
    Dialog, Message, Method, Request, Response, Sdp,
    sdp::{
        Media,
        rtp::{Direction, RtpMedium},
    },
};
use tokio::{
    io::DuplexStream,
    select,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::timeout,
};

use crate::{
    deployment::DOMAIN,
    peer::Peer,
    sockets::Sockets,
    voice::{Ear, FRAME, Mouth},
};

/// How long anything may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long two who changed a call at once wait before they try again, at least (RFC 3261 §14.1): whoever called.
const GLARE: Duration = Duration::from_millis(2100);
/// An idle connection is kept so.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// The payload type of PCMU.
const PCMU: &str = "0";

/// What a phone is.
#[derive(Clone, Debug)]
pub struct Make {
    /// Whose it is.
    pub name: String,
    /// Tells the phones of a story apart: an address, and a source.
    pub number: u16,
    /// Its tone, in Hertz: a multiple of 50.
    pub hz: u32,
    /// How much faster than the server's its clock is, in millionths.
    pub drift_ppm: i64,
}

/// A phone with sound, which runs by itself.
pub struct Handset {
    make: Make,
    clock: Clock,
    shared: Arc<Shared>,
    orders: UnboundedSender<Order>,
}

struct Shared {
    state: Mutex<State>,
    /// The state has changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    in_call: bool,
    /// What the last call came to.
    refusal: Option<u16>,
    /// What the phone agreed to last.
    direction: Direction,
    talks: bool,
    mouth: Mouth,
    ear: Ear,
}

#[derive(Debug)]
enum Order {
    Call(String),
    Change(Direction),
    HangUp,
    /// It begins or ends to talk.
    Talk,
}

impl Handset {
    /// A phone that reaches the server by this stream.
    pub fn new(make: Make, stream: DuplexStream, sockets: &Sockets, clock: Clock) -> Handset {
        let state = State {
            in_call: false,
            refusal: None,
            direction: Direction::SendRecv,
            talks: false,
            mouth: Mouth::new(make.hz, 1000 + u32::from(make.number)),
            ear: Ear::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let (orders, queue) = unbounded_channel();
        let at = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 2), 30_000 + 2 * make.number));
        sockets.open(at, &Arc::default());
        let phone = Phone {
            make: make.clone(),
            peer: Peer::new(stream),
            clock,
            sockets: sockets.clone(),
            at,
            remote: None,
            shared: Arc::clone(&shared),
            orders: queue,
            dialog: None,
            asked: 0,
            open: None,
            change_again: None,
            keep_alive: clock.now() + KEEP_ALIVE,
            talk: Talk::default(),
        };
        tokio::spawn(phone.run());
        Handset { make, clock, shared, orders }
    }

    /// What it is.
    pub fn make(&self) -> &Make {
        &self.make
    }

    /// Calls a conference.
    pub fn calls(&self, uri: &str) {
        self.state().refusal = None;
        self.order(Order::Call(uri.to_owned()));
    }

    /// The same, and waits until it is in.
    pub async fn joins(&self, uri: &str) {
        self.calls(uri);
        self.is_so("in the conference", |state| state.in_call).await;
    }

    /// Changes which way the sound is to flow: holds the call, or takes it up again.
    pub fn holds(&self, direction: Direction) {
        self.order(Order::Change(direction));
    }

    /// The same, and waits until the server has agreed.
    pub async fn turns(&self, direction: Direction) {
        self.holds(direction);
        self.is_so("agreed with", |state| state.direction == direction).await;
    }

    /// Hangs up.
    pub fn hangs_up(&self) {
        self.order(Order::HangUp);
    }

    /// Waits until it is in no call any more.
    pub async fn is_out(&self) {
        self.is_so("out of the conference", |state| !state.in_call).await;
    }

    /// Whether it is in a call.
    pub fn is_in(&self) -> bool {
        self.state().in_call
    }

    /// Which way its sound flows, as was agreed last.
    pub fn direction(&self) -> Direction {
        self.state().direction
    }

    /// Why the last call came to nothing.
    pub fn refusal(&self) -> Option<u16> {
        self.state().refusal
    }

    /// Sends its tone, and listens; or does neither.
    pub fn talks(&self, talks: bool) {
        self.state().talks = talks;
        self.order(Order::Talk);
    }

    /// What it sends is silence, or its tone.
    pub fn is_silent(&self, silent: bool) {
        self.state().mouth.silent = silent;
    }

    /// From now on what it sends is another source's.
    pub fn changes_source(&self) {
        self.state().mouth.change_source();
    }

    /// The source of what it sends.
    pub fn source(&self) -> u32 {
        self.state().mouth.source
    }

    /// Forgets what it has heard.
    pub fn listens_anew(&self) {
        self.state().ear.clear();
    }

    /// How many packets it has heard.
    pub fn packets(&self) -> usize {
        self.state().ear.packets()
    }

    /// How strong a tone is in what it has heard: 1 as it is sent.
    pub fn strength(&self, hz: u32) -> f64 {
        self.state().ear.strength(hz)
    }

    /// Whose voices it has heard, as the packets say.
    pub fn sources(&self) -> BTreeSet<u32> {
        self.state().ear.sources()
    }

    /// When it first heard anybody after this time.
    pub fn first_sound(&self, time: Time) -> Option<Time> {
        self.state().ear.first_sound(time)
    }

    /// Lets virtual time pass.
    pub async fn waits(&self, time: Duration) {
        self.clock.sleep_until(Some(self.clock.now() + time)).await;
    }

    async fn is_so(&self, what: &str, so: impl Fn(&State) -> bool) {
        let waiting = async {
            while !so(&self.state()) {
                self.shared.changed.notified().await;
            }
        };
        let name = &self.make.name;
        timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{name} is not {what}: {:?}", self.refusal()));
    }

    fn order(&self, order: Order) {
        // A phone whose line is cut does nothing any more.
        let _ = self.orders.send(order);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the state of a phone")
    }
}

/// A request that awaits its final answer.
struct Open {
    request: Request,
    errand: Errand,
}

enum Errand {
    Call,
    Change(Direction),
}

/// When what is said next.
#[derive(Default)]
struct Talk {
    since: Option<Time>,
    packets: u64,
    /// When it ended, if it has begun before.
    paused: Option<Time>,
}

/// A phone's own.
struct Phone {
    make: Make,
    peer: Peer,
    clock: Clock,
    sockets: Sockets,
    at: SocketAddr,
    /// Where the server hears it.
    remote: Option<SocketAddr>,
    shared: Arc<Shared>,
    orders: UnboundedReceiver<Order>,
    dialog: Option<Dialog>,
    asked: u32,
    open: Option<Open>,
    /// A change that was refused for another one, and when it is tried again.
    change_again: Option<(Time, Direction)>,
    keep_alive: Time,
    talk: Talk,
}

impl Phone {
    /// Until its line is cut or nobody holds it any more.
    async fn run(mut self) {
        loop {
            let next = [self.next_packet(), self.change_again.as_ref().map(|(at, _)| *at)];
            let next = next.into_iter().flatten().min();
            let wakes = next.map_or(self.keep_alive, |next| next.min(self.keep_alive));
            let clock = self.clock;
            select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                message = self.peer.receive_patiently() => match message {
                    Some(Message::Request(request)) => self.requested(&request).await,
                    Some(Message::Response(response)) => self.answered(&response).await,
                    None => break,
                },
                () = clock.sleep_until(Some(wakes)) => self.wakes().await,
            }
        }
        self.sockets.close(self.at);
        self.is_over(None);
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Call(uri) => {
                let invite = self.request(&uri);
                self.asks(invite, Errand::Call).await;
            }
            Order::Change(direction) => self.change(direction).await,
            Order::HangUp => {
                if let Some(mut dialog) = self.dialog.take() {
                    // It is over as soon as it is said (RFC 3261 §15.1.1).
                    let bye = dialog.request(Method::Bye);
                    self.sends(&bye).await;
                    self.is_over(None);
                }
            }
            Order::Talk => self.talk(),
        }
    }

    /// A request that begins a call.
    fn request(&mut self, uri: &str) -> Request {
        self.asked += 1;
        let (Make { name, number, .. }, asked) = (&self.make, self.asked);
        let invite = Request::new(Method::Invite, uri.parse().expect("the test writes a URI"));
        self.offer(
            invite
                .with_header("Max-Forwards", "70")
                .with_header("From", format!("<sip:{name}@{DOMAIN}>;tag=voice{number}x{asked}"))
                .with_header("To", format!("<{uri}>"))
                .with_header("Call-ID", format!("voice-{number}-{asked}"))
                .with_header("CSeq", format!("{asked} INVITE")),
            Direction::SendRecv,
        )
    }

    fn offer(&self, invite: Request, direction: Direction) -> Request {
        let mut invite = invite.with_header("Contact", self.contact());
        let port = self.at.port();
        invite.set_body("application/sdp", self.describe(&[format!("audio {port} RTP/AVP 0")], direction));
        invite
    }

    fn contact(&self) -> String {
        format!("<sip:{}@198.51.100.2:{};transport=tcp>", self.make.name, 6000 + self.make.number)
    }

    fn describe(&self, media: &[String], direction: Direction) -> Bytes {
        let (ip, word) = (self.at.ip(), direction.word());
        let head = format!("v=0\r\no=- {} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n", self.asked);
        let media = media.iter().map(|line| format!("m={line}\r\na={word}\r\n"));
        (head + &media.collect::<String>()).into()
    }

    async fn change(&mut self, direction: Direction) {
        if self.open.is_some() {
            self.change_again = Some((self.clock.now() + GLARE, direction));
        } else if let Some(dialog) = &mut self.dialog {
            self.asked += 1;
            let invite = dialog.request(Method::Invite);
            let invite = self.offer(invite, direction);
            self.asks(invite, Errand::Change(direction)).await;
        }
    }

    async fn asks(&mut self, request: Request, errand: Errand) {
        self.sends(&request).await;
        self.open = Some(Open { request, errand });
    }

    async fn sends(&mut self, request: &Request) {
        self.asked += 1;
        let mut request = request.clone();
        let branch = format!("z9hG4bKvoice{}x{}", self.make.number, self.asked);
        request.headers.push_front("Via", format!("SIP/2.0/TCP 198.51.100.2:5060;branch={branch}"));
        if request.body.is_empty() {
            request.headers.set("Content-Length", "0");
        }
        self.peer.send(&request.to_bytes()).await;
    }

    async fn answered(&mut self, response: &Response) {
        let is_of = |open: &Open| {
            let (own, its) = (&open.request.headers, &response.headers);
            own.call_id().ok() == its.call_id().ok() && own.cseq().ok() == its.cseq().ok()
        };
        if response.status < 200 || !self.open.as_ref().is_some_and(is_of) {
            return;
        }
        let Some(Open { request, errand }) = self.open.take() else { return };
        let is_good = response.status < 300;
        match errand {
            Errand::Call if is_good => {
                let dialog = Dialog::from_response(&request, response).expect("a 2xx begins a dialog");
                self.dialog = Some(dialog);
                self.agreed(&request, response, Direction::SendRecv).await;
            }
            Errand::Call => self.is_over(Some(response.status)),
            Errand::Change(direction) if is_good => {
                if let Some(dialog) = &mut self.dialog {
                    dialog.refresh(response).expect("the answer can be read");
                }
                self.agreed(&request, response, direction).await;
            }
            Errand::Change(direction) if response.status == 491 => {
                self.change_again = Some((self.clock.now() + GLARE, direction));
            }
            Errand::Change(_) if matches!(response.status, 408 | 481) => self.is_over(Some(response.status)),
            Errand::Change(_) => {}
        }
    }

    /// The server agrees to an offer of ours.
    async fn agreed(&mut self, invite: &Request, response: &Response, direction: Direction) {
        let Some(dialog) = &self.dialog else { return };
        let ack = dialog.ack(invite.headers.cseq().expect("it has a number").number);
        self.sends(&ack).await;
        let sdp = Sdp::parse(&response.body).expect("the server describes its media");
        self.finds(&sdp);
        {
            let mut state = self.shared.state();
            (state.in_call, state.direction) = (true, direction);
        }
        self.shared.changed.notify_one();
    }

    /// Where the server hears it.
    fn finds(&mut self, sdp: &Sdp) {
        let voice = sdp.media.iter().find(|medium| medium.kind() == "audio");
        self.remote = voice.and_then(|medium| RtpMedium::read(sdp, medium).rtp_address()).or(self.remote);
    }

    async fn requested(&mut self, request: &Request) {
        let mut answer = Response::to(request, 200).with_header("Contact", self.contact());
        match request.method {
            Method::Ack => return,
            _ if self.dialog.is_none() => answer = Response::to(request, 481),
            Method::Invite if self.is_changing() => answer = Response::to(request, 491),
            Method::Invite | Method::Update if !request.body.is_empty() => {
                let sdp = Sdp::parse(&request.body).expect("the server describes its media");
                self.finds(&sdp);
                let direction = self.shared.state().direction;
                let media: Vec<String> = sdp.media.iter().map(|medium| self.takes(medium)).collect();
                answer.set_body("application/sdp", self.describe(&media, direction));
            }
            Method::Bye => self.is_over(None),
            _ => {}
        }
        if let Some(dialog) = &mut self.dialog
            && let Err(status) = dialog.accept(request)
        {
            answer = Response::to(request, status);
        }
        if answer.body.is_empty() {
            answer.headers.set("Content-Length", "0");
        }
        self.peer.send(&answer.to_bytes()).await;
    }

    fn is_changing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| matches!(open.errand, Errand::Change(_)))
    }

    /// The media line that answers one that is offered.
    fn takes(&self, medium: &Media) -> String {
        let formats: Vec<&str> = medium.formats().collect();
        if medium.kind() == "audio" && formats.contains(&PCMU) {
            format!("audio {} {} {PCMU}", self.at.port(), medium.protocol())
        } else {
            format!("{} 0 {} {}", medium.kind(), medium.protocol(), formats.join(" "))
        }
    }

    /// The call is over, or came to nothing.
    fn is_over(&mut self, refusal: Option<u16>) {
        self.dialog = None;
        (self.open, self.change_again) = (None, None);
        {
            let mut state = self.shared.state();
            state.in_call = false;
            state.refusal = state.refusal.or(refusal);
        }
        self.shared.changed.notify_one();
    }

    fn talk(&mut self) {
        let now = self.clock.now();
        if !self.shared.state().talks {
            self.talk.since = None;
            self.talk.paused = Some(now);
        } else if self.talk.since.is_none() {
            (self.talk.since, self.talk.packets) = (Some(now), 0);
            if let Some(paused) = self.talk.paused {
                let packets = now.since(paused).as_millis() / 20;
                self.shared.state().mouth.pause(u32::try_from(packets).expect("a story lasts days"));
            }
            // What waits is of another time.
            while self.sockets.receive(self.at).is_some() {}
        }
    }

    /// When the next packet is full, by its own clock.
    fn next_packet(&self) -> Option<Time> {
        let million = 1_000_000_i64;
        let samples = (self.talk.packets + 1) * u64::from(FRAME);
        let micros = samples * 125 * 1_000_000 / (million + self.make.drift_ppm).unsigned_abs();
        self.talk.since.map(|since| since + Duration::from_micros(micros))
    }

    async fn wakes(&mut self) {
        let now = self.clock.now();
        if self.keep_alive <= now {
            self.keep_alive = now + KEEP_ALIVE;
            self.peer.send(b"\r\n\r\n").await;
        }
        if let Some((_, direction)) = self.change_again.take_if(|(at, _)| *at <= now) {
            self.change(direction).await;
        }
        while self.next_packet().is_some_and(|next| next <= now) {
            self.talk.packets += 1;
            let packet = self.shared.state().mouth.speak();
            if let Some(remote) = self.remote {
                self.sockets.send(self.at, remote, &packet);
            }
            while let Some((arrived, _, datagram)) = self.sockets.receive(self.at) {
                self.shared.state().ear.hear(arrived, &datagram);
            }
        }
    }
}
