//! A house for one conference on an MCU: a transaction layer around the machine, a Focus that commands
//! it, and people whose clients answer as they are told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use confab_machine::{Entropy, Time, Traced};
use confab_mcu::{Action, Conference, ConferenceSpec, Event, ImMcu, Mcu, McuLimits};
use confab_media::{
    self as media,
    session::{self, Kind, LegId},
};
use confab_schema::{
    cccp::{self, AddUser, Code, Command, ConferenceKeys, UserKeys},
    conference_info::{ConferenceInfo, Endpoint, JoiningMethod, Role, State, User},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::{
    ClientKey, Flow, Message, Method, Request, Response, TransactionOutput, Transactions, Transport,
};

pub const FOCUS: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
pub const CHAT: &str = "sip:ann@example.test;gruu;opaque=app:conf:chat:id:3E1C92F04C68";
pub const SERVER: &str = "sip:mcu.example.test:5062;transport=tls";
pub const ALL_TYPES: &str = "text/plain text/html multipart/alternative application/im-iscomposing+xml";

/// One client, in at most one session.
#[derive(Default)]
pub struct Client {
    pub name: String,
    flow: u64,
    /// How it answers MESSAGE, INFO and INVITE; `None` = not at all.
    pub answer: Option<u16>,
    pub accept_types: &'static str,
    /// What it adds to its requests.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The session description it offers and answers with, if not one of messages.
    pub sdp: Option<String>,
    /// Everything it was sent but responses.
    pub received: VecDeque<Request>,
    call_id: String,
    local: String,
    remote: String,
    pub cseq: u32,
}

pub struct Room {
    pub now: Time,
    conference: Conference,
    transactions: Transactions,
    numbers: BTreeMap<ClientKey, u64>,
    pub clients: Vec<Client>,
    responses: Vec<(Flow, Response)>,
    /// What clients will answer once the machine has done what it wanted.
    unanswered: VecDeque<(String, Request, u16)>,
    /// What the Focus was answered and told.
    pub answers: Vec<cccp::Response>,
    pub notifications: Vec<ConferenceInfo>,
    pub trace: Vec<String>,
    pub ended: bool,
    /// What the shell answers once the machine has said all it wanted.
    waiting: VecDeque<Event>,
    /// What the data plane was told.
    pub commands: Vec<session::Command>,
    /// Whether ports are left.
    pub has_ports: bool,
    ports: u16,
    uri: String,
    media: McuType,
    branches: u64,
    requests: u32,
}

impl Client {
    /// What the next requests are sent with.
    pub fn set_dialog(&mut self, call_id: &str, local: &str, remote: &str) {
        (self.call_id, self.local, self.remote) = (call_id.into(), local.into(), remote.into());
    }

    fn description(&self) -> String {
        let types = self.accept_types;
        let messages = || format!("v=0\r\nm=message 5060 sip null\r\na=accept-types:{types}\r\n");
        self.sdp.clone().unwrap_or_else(messages)
    }
}

impl Room {
    pub fn new() -> Room {
        Room::with_limits(McuLimits::default())
    }

    pub fn with_limits(limits: McuLimits) -> Room {
        Room::on(&mut ImMcu, limits)
    }

    pub fn on(mcu: &mut dyn Mcu, limits: McuLimits) -> Room {
        let spec = ConferenceSpec {
            conference: ConferenceUri::parse(FOCUS).unwrap(),
            server_uri: SERVER.to_owned(),
            locked: false,
            limits,
        };
        let mut entropy = Entropy::from_seed([1; 32]);
        let transactions = Transactions::new(entropy.fork(), 10_000);
        Room {
            now: Time::from_unix_secs(1_000_000),
            uri: spec.conference.mcu(mcu.media()).to_string(),
            conference: mcu.add_conference(spec, entropy).unwrap(),
            transactions,
            numbers: BTreeMap::new(),
            clients: Vec::new(),
            responses: Vec::new(),
            unanswered: VecDeque::new(),
            answers: Vec::new(),
            notifications: Vec::new(),
            trace: Vec::new(),
            ended: false,
            waiting: VecDeque::new(),
            commands: Vec::new(),
            has_ports: true,
            ports: 20_000,
            media: mcu.media(),
            branches: 0,
            requests: 0,
        }
    }

    /// A conference in which these people chat.
    pub fn of(names: &[&str]) -> Room {
        let mut room = Room::new();
        for name in names {
            room.expect(name);
            room.enter(name);
            assert_eq!(room.join(name), 200);
        }
        room.notifications.clear();
        room
    }

    /// Somebody's client, not in the conference yet.
    pub fn enter(&mut self, name: &str) -> usize {
        let index = self.clients.len();
        self.clients.push(Client {
            name: name.to_owned(),
            flow: index as u64 + 1,
            answer: Some(200),
            accept_types: ALL_TYPES,
            call_id: "none".to_owned(),
            local: format!("<sip:{name}@example.test>;tag={name}tag"),
            remote: format!("<{}>;tag=none", self.uri),
            ..Client::default()
        });
        index
    }

    pub fn client(&mut self, name: &str) -> &mut Client {
        self.clients.iter_mut().find(|client| client.name == name).expect("he has a client")
    }

    // The Focus.

    pub fn command(&mut self, command: Command) -> Option<cccp::Response> {
        self.requests += 1;
        let request = cccp::Request {
            request_id: self.requests,
            from: FOCUS.to_owned(),
            to: self.uri.clone(),
            commands: vec![command],
        };
        let before = self.answers.len();
        self.tell(Event::Control { id: u64::from(self.requests), request });
        self.settle();
        self.answers.get(before).cloned()
    }

    pub fn expect(&mut self, name: &str) {
        let response = self.command(add_user(name, &format!("{{{name}}}"), JoiningMethod::DialedIn));
        assert_eq!(response.map(|response| response.code), Some(Code::Success));
    }

    pub fn delete_user(&mut self, name: &str) -> cccp::Response {
        self.command(Command::DeleteUser { mcu_uri: None, keys: user_keys(name) }).expect("an answer")
    }

    /// The last document's line for each person: `bob connected dialed-in`.
    pub fn told(&mut self) -> Vec<String> {
        let users = self.notifications.pop().and_then(|document| document.users);
        self.notifications.clear();
        let media = self.media;
        users.map_or_else(Vec::new, |users| users.users.iter().map(|user| line(user, media)).collect())
    }

    // Participants.

    /// INVITE and, if it was accepted, ACK; the status.
    pub fn join(&mut self, name: &str) -> u16 {
        let sdp = self.client(name).description();
        let status = self.invite(name, "application/sdp", &sdp).status;
        if status == 200 {
            self.ack(name);
        }
        status
    }

    pub fn invite(&mut self, name: &str, content_type: &str, body: &str) -> Response {
        let uri = self.uri.clone();
        let client = self.client(name);
        client.call_id = format!("call-{name}-{}", client.flow);
        client.local = format!("<sip:{name}@example.test>;tag={name}tag");
        client.remote = format!("<{uri}>");
        let response = self.send(name, Method::Invite, content_type, body);
        if response.status == 200 {
            self.client(name).remote = response.headers.get("To").unwrap().to_string();
        }
        response
    }

    pub fn ack(&mut self, name: &str) {
        let request = self.build(name, Method::Ack, "", "");
        let flow = flow(self.client(name).flow);
        self.deliver(flow, request.into());
    }

    /// An ACK that holds something.
    pub fn send_ack(&mut self, name: &str, ack: Request) {
        let flow = flow(self.client(name).flow);
        self.deliver(flow, ack.into());
    }

    /// Sends a request in the client's session and returns the final response.
    pub fn send(&mut self, name: &str, method: Method, content_type: &str, body: &str) -> Response {
        self.client(name).cseq += 1;
        let mut request = self.build(name, method, content_type, body);
        request.headers.push("P-Asserted-Identity", format!("<sip:{name}@example.test>"));
        self.send_request(name, request)
    }

    pub fn send_request(&mut self, name: &str, request: Request) -> Response {
        let flow = flow(self.client(name).flow);
        self.responses.clear();
        self.deliver(flow, request.into());
        let own = self.responses.iter().rfind(|(to, response)| *to == flow && response.status >= 200);
        own.expect("a final response").1.clone()
    }

    pub fn say(&mut self, name: &str, text: &str) -> Response {
        self.send(name, Method::Message, "text/plain; charset=UTF-8", text)
    }

    pub fn build(&mut self, name: &str, method: Method, content_type: &str, body: &str) -> Request {
        self.branches += 1;
        let (branch, uri) = (self.branches, self.uri.parse().unwrap());
        let client = self.client(name);
        let mut request = Request::new(method.clone(), uri)
            .with_header("Via", format!("SIP/2.0/TLS {name}.example.test;branch=z9hG4bK{branch}"))
            .with_header("From", client.local.clone())
            .with_header("To", client.remote.clone())
            .with_header("Call-ID", client.call_id.clone())
            .with_header("CSeq", format!("{} {method}", client.cseq))
            .with_header("Max-Forwards", "70")
            .with_header("Contact", format!("<sip:{name}@{name}.example.test>"));
        for (name, value) in &client.headers {
            request.headers.push(*name, *value);
        }
        if !content_type.is_empty() {
            request.set_body(content_type, Bytes::copy_from_slice(body.as_bytes()));
        }
        request
    }

    /// What the client was sent by this method since the last look, as `type: body`.
    pub fn inbox(&mut self, name: &str, method: &Method) -> Vec<String> {
        let received = std::mem::take(&mut self.client(name).received);
        let of_method = received.iter().filter(|request| request.method == *method);
        of_method
            .map(|request| {
                let kind =
                    request.headers.content_type().map(|kind| kind.kind.to_string()).unwrap_or_default();
                format!("{kind}: {}", String::from_utf8_lossy(&request.body))
            })
            .collect()
    }

    /// A client's answer to what it was sent.
    pub fn answer(&mut self, name: &str, request: &Request, status: u16) {
        let sdp = self.client(name).description();
        let mut response =
            Response::to(request, status).with_header("Contact", format!("<sip:{name}@{name}.example.test>"));
        response.set_to_tag(&format!("{name}tag"));
        if request.method == Method::Invite && status == 200 {
            response.set_body("application/sdp", sdp.into());
            let client = self.client(name);
            client.call_id = request.headers.call_id().unwrap().to_string();
            client.local = response.headers.get("To").unwrap().to_string();
            client.remote = request.headers.get("From").unwrap().to_string();
        }
        self.answer_with(name, response);
    }

    pub fn answer_with(&mut self, name: &str, response: Response) {
        let flow = flow(self.client(name).flow);
        self.deliver(flow, response.into());
    }

    // Time and the machine.

    /// How participants address this MCU.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether the machine is to be woken within so many seconds.
    pub fn deadline_within(&self, seconds: u64) -> bool {
        self.conference.deadline().is_some_and(|at| at <= self.now + Duration::from_secs(seconds))
    }

    /// Lets this much time pass, stopping at every deadline.
    pub fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.settle();
        loop {
            let next = [self.transactions.deadline(), self.conference.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if self.transactions.deadline().is_some_and(|at| at <= self.now) {
                let mut outputs = Vec::new();
                self.transactions.handle_timeout(self.now, &mut outputs);
                self.route(outputs);
            }
            if self.conference.deadline().is_some_and(|at| at <= self.now) {
                let mut actions = Vec::new();
                self.conference.handle_timeout(self.now, &mut actions);
                assert!(self.conference.deadline().is_none_or(|at| at > self.now), "the deadline moves");
                self.act(actions);
            }
            self.settle();
        }
        self.now = end;
    }

    fn deliver(&mut self, flow: Flow, message: Message) {
        let message = Message::parse(message.to_bytes()).expect("what is sent can be read");
        let mut outputs = Vec::new();
        self.transactions.receive(self.now, flow, message, &mut outputs);
        self.route(outputs);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((name, request, status)) = self.unanswered.pop_front() {
            self.answer(&name, &request, status);
        }
    }

    fn route(&mut self, outputs: Vec<TransactionOutput>) {
        for output in outputs {
            match output {
                TransactionOutput::Transmit { flow, message } => self.transmit(flow, message),
                TransactionOutput::Request { key, flow, request } => {
                    self.tell(Event::SipRequest { key, flow, request });
                }
                TransactionOutput::Ack { request, .. } => self.tell(Event::SipAck { request }),
                TransactionOutput::Cancelled { key } => self.tell(Event::SipCancelled { key }),
                TransactionOutput::Response { key, response } => {
                    let id = self.numbers[&key];
                    self.tell(Event::SipResponse { id, response });
                }
                TransactionOutput::StrayResponse { response, .. } => {
                    self.tell(Event::SipStrayResponse { response });
                }
                TransactionOutput::Failed { key, .. } => {
                    let id = self.numbers[&key];
                    self.tell(Event::SipFailed { id });
                }
                TransactionOutput::ServerFailed { key, .. } => self.tell(Event::SipServerFailed { key }),
            }
        }
    }

    pub fn tell(&mut self, event: Event) {
        self.trace.extend(event.flow_note().map(|note| note.summary));
        let mut actions = Vec::new();
        self.conference.handle(self.now, event, &mut actions);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        let mut notified = false;
        for action in actions {
            assert!(!self.ended, "nothing follows Ended");
            self.trace.extend(action.flow_note().map(|note| note.summary));
            let mut outputs = Vec::new();
            match action {
                Action::ControlResponse { response, .. } => self.answers.push(response),
                Action::Notify(document) => {
                    assert!(!notified, "one notification an event");
                    notified = true;
                    self.notifications.push(*document);
                }
                Action::Respond { key, response } => {
                    self.transactions.respond(self.now, &key, response, &mut outputs);
                }
                Action::Send { id, flow: way, request, .. } => {
                    let way = way.unwrap_or_else(|| {
                        let called = request.headers.to().unwrap().uri.user.unwrap().to_string();
                        flow(self.client(&called).flow)
                    });
                    let key =
                        self.transactions.request(self.now, way, "mcu.example.test", request, &mut outputs);
                    self.numbers.insert(key, id);
                }
                Action::Cancel { id } => {
                    let key =
                        self.numbers.iter().find(|(_, number)| **number == id).map(|(key, _)| key.clone());
                    self.transactions.cancel(self.now, &key.expect("it was sent"), &mut outputs);
                }
                Action::OpenMedia { leg, kinds, multiplexed } => {
                    let event = self.open(leg, &kinds, multiplexed);
                    self.waiting.push_back(event);
                }
                Action::Media(command) => self.commands.push(command),
                Action::Ended => self.ended = true,
            }
            self.route(outputs);
        }
        while let Some(event) = self.waiting.pop_front() {
            self.tell(event);
        }
    }

    /// What the shell answers: an even port for each stream, and the next one for RTCP.
    fn open(&mut self, leg: LegId, kinds: &[Kind], multiplexed: bool) -> Event {
        if !self.has_ports {
            return Event::MediaRefused { leg };
        }
        let mut addresses = Vec::new();
        for kind in kinds {
            for address in ["192.0.2.20", "2001:db8::20"] {
                let at = |port| SocketAddr::new(address.parse().unwrap(), port);
                addresses.push((*kind, media::Flow::Rtp, at(self.ports)));
                if !multiplexed {
                    addresses.push((*kind, media::Flow::Rtcp, at(self.ports + 1)));
                }
            }
            self.ports += 2;
        }
        Event::MediaOpened { leg, addresses }
    }

    fn transmit(&mut self, flow: Flow, message: Message) {
        match message {
            Message::Response(response) => self.responses.push((flow, response)),
            Message::Request(request) => {
                let client = self.clients.iter_mut().find(|client| client.flow == flow.id).expect("a client");
                client.received.push_back(request.clone());
                let (name, status) = (client.name.clone(), client.answer);
                let answered = match request.method {
                    Method::Ack | Method::Benotify => None,
                    Method::Bye | Method::Cancel => Some(200),
                    _ => status,
                };
                if let Some(status) = answered {
                    self.unanswered.push_back((name, request, status));
                }
            }
        }
    }
}

pub fn flow(id: u64) -> Flow {
    Flow { id, transport: Transport::Tls }
}

pub fn keys() -> ConferenceKeys {
    ConferenceKeys { entity: Some(FOCUS.to_owned()), conference_id: None }
}

pub fn user_keys(name: &str) -> UserKeys {
    UserKeys { entity: FOCUS.to_owned(), user: format!("sip:{name}@example.test") }
}

pub fn add_user(name: &str, endpoint: &str, method: JoiningMethod) -> Command {
    let mut user = User::new(format!("sip:{name}@example.test"));
    user.display_text = Some(name.to_uppercase());
    user.roles = vec![Role::Attendee];
    let mut endpoint = Endpoint::new(endpoint);
    endpoint.joining_method = Some(method);
    user.endpoints = vec![endpoint];
    Command::AddUser(AddUser { mcu_uri: Some(CHAT.to_owned()), keys: keys(), user })
}

fn line(user: &User, media: McuType) -> String {
    let name = UserUri::parse(&user.entity).unwrap().user().to_owned();
    if user.state == State::Deleted {
        return format!("{name} deleted");
    }
    let endpoints = user.endpoints.iter().map(|endpoint| {
        assert_eq!(endpoint.session_type.as_deref(), Some(media.as_str()));
        let kind = if media == McuType::Chat { "chat" } else { "audio" };
        assert_eq!(endpoint.media.first().map(|media| media.kind.as_str()), Some(kind));
        let status = endpoint.status.map_or("", |status| status.as_str());
        let method = endpoint.joining_method.map_or("", |method| method.as_str());
        format!(" {} {status} {method}", endpoint.entity)
    });
    format!("{name}{}", endpoints.collect::<String>())
}
