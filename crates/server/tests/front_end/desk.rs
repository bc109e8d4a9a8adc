//! A front end with everybody around it played by hand: connections, and the user database.

use std::{collections::BTreeMap, time::Duration};

use confab_conference::conference_key::ConferenceKey;
use confab_machine::{Entropy, Machine, Time};
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_server::front_end::{
    Action, Addresses, Event, FrontEnd, FrontEndSetup, KnownAccount, Unavailable,
};
use confab_sip::{
    Flow, Message, Method, Request, Response, Transport,
    auth::{Algorithm, Challenge, DigestAuthority, Ha1s, authorize},
};
use confab_users::{MeetingPolicy, Users, UsersSettings};

pub const DOMAIN: &str = "example.test";
pub const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
pub const CHAT: &str = "sip:ann@example.test;gruu;opaque=app:conf:chat:id:3E1C92F04C68";
pub const FACTORY: &str = "sip:ann@example.test;gruu;opaque=app:conf:focusfactory";
pub const MCU: &str = "sip:immcu.inproc;transport=tcp";
const START: Time = Time::from_unix_secs(1_795_232_729);

pub fn tcp(id: u64) -> Flow {
    Flow { id, transport: Transport::Tcp }
}

pub fn tls(id: u64) -> Flow {
    Flow { id, transport: Transport::Tls }
}

pub fn udp(id: u64) -> Flow {
    Flow { id, transport: Transport::Udp }
}

pub const MCU_FLOW: Flow = Flow { id: 99, transport: Transport::Inproc };

/// How the user database is today.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Answers,
    Fails,
    IsSilent,
}

pub struct Desk {
    pub machine: FrontEnd,
    pub now: Time,
    pub database: Database,
    accounts: BTreeMap<UserUri, KnownAccount>,
    /// The keys of conferences that admit people who have not signed in.
    pub keys: BTreeMap<ConferenceUri, ConferenceKey>,
    /// What it wanted done and nobody has looked at yet, but for look-ups.
    pub done: Vec<Action>,
    /// The connections on which somebody has proved who he is, as it said so.
    pub believed: Vec<Flow>,
    asked: u32,
}

impl Desk {
    /// Where nobody is challenged.
    pub fn open() -> Desk {
        Desk::new(None)
    }

    /// Where everybody is challenged; ann, bob and eve exist, with their names as passwords.
    pub fn closed() -> Desk {
        let authority = DigestAuthority::new(DOMAIN, [7; 32]).with_algorithms(vec![Algorithm::Md5]);
        let mut desk = Desk::new(Some(authority));
        for name in ["ann", "bob", "eve"] {
            let account =
                KnownAccount { display_name: name.to_uppercase(), ha1s: Ha1s::of(name, DOMAIN, name) };
            desk.accounts.insert(user(name), account);
        }
        desk
    }

    fn new(authority: Option<DigestAuthority>) -> Desk {
        let sent_by = [Transport::Udp, Transport::Tcp, Transport::Tls]
            .map(|transport| (transport, format!("192.0.2.1:{}", port(transport))));
        let meeting_policy = MeetingPolicy {
            meeting_size: 250,
            audio: false,
            video: false,
            data_collaboration: false,
            application_sharing: false,
        };
        let settings = UsersSettings { host: "sip.example.test".into(), meeting_policy };
        let setup = FrontEndSetup {
            domain: DOMAIN.into(),
            conference_factory: Some(user("conference")),
            addresses: Addresses { name: "sip.example.test".into(), sent_by: sent_by.into() },
            authority,
            anonymous: Some(
                DigestAuthority::new(DOMAIN, [8; 32])
                    .with_algorithms(vec![Algorithm::Md5Sess, Algorithm::Md5]),
            ),
            users: Users::new(settings, Entropy::from_seed([2; 32])),
            entropy: Entropy::from_seed([3; 32]),
        };
        let mut desk = Desk {
            machine: FrontEnd::new(setup),
            now: START,
            database: Database::Answers,
            accounts: BTreeMap::new(),
            keys: BTreeMap::new(),
            done: Vec::new(),
            believed: Vec::new(),
            asked: 0,
        };
        desk.hear(Event::McuLinked { server_uri: MCU.into(), flow: MCU_FLOW });
        desk
    }

    /// Tells it something, and answers its look-ups.
    pub fn hear(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.machine.handle(self.now, event, &mut out);
            for action in out {
                match action {
                    Action::LookUp { .. } | Action::LookUpNames { .. } | Action::LookUpKey { .. }
                        if self.database == Database::IsSilent => {}
                    Action::LookUp { lookup, user } => {
                        let account = self.answer(self.accounts.get(&user).cloned());
                        events.push(Event::Account { lookup, account });
                    }
                    Action::LookUpKey { lookup, conference } => {
                        let key = self.answer(self.keys.get(&conference).cloned());
                        events.push(Event::ConferenceKey { lookup, key });
                    }
                    Action::LookUpNames { lookup, users } => {
                        let known = |user: UserUri| {
                            let name = self.accounts.get(&user)?.display_name.clone();
                            Some((user, name))
                        };
                        let names = self.answer(users.into_iter().filter_map(known).collect());
                        events.push(Event::Names { lookup, names });
                    }
                    Action::Believe { flow } => self.believed.push(flow),
                    other => self.done.push(other),
                }
            }
        }
    }

    fn answer<T>(&self, value: T) -> Result<T, Unavailable> {
        if self.database == Database::Fails { Err(Unavailable) } else { Ok(value) }
    }

    pub fn receives(&mut self, flow: Flow, message: impl Into<Message>) {
        // Through text, as everything that comes from a wire.
        let message = Message::parse(message.into().to_bytes()).unwrap();
        self.hear(Event::Received { flow, message });
    }

    /// Time passes; what is due in it is done.
    pub fn waits(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.machine.handle_timeout(self.now, &mut out);
            assert!(self.machine.deadline().is_none_or(|at| at > self.now), "the deadline must move");
            self.done.append(&mut out);
        }
        self.now = until;
    }

    /// A request of somebody's, with a dialog and transaction of its own.
    pub fn request(&mut self, method: &str, uri: &str, from: &str) -> Request {
        self.asked += 1;
        let n = self.asked;
        let to = uri.split('?').next().unwrap();
        let method: Method = method.parse().unwrap();
        Request::new(method.clone(), uri.parse().unwrap())
            .with_header("Via", format!("SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKd{n}"))
            .with_header("Max-Forwards", "70")
            .with_header("From", format!("<sip:{from}>;tag=f{n}"))
            .with_header("To", format!("<{to}>"))
            .with_header("Call-ID", format!("call{n}"))
            .with_header("CSeq", format!("{n} {method}"))
            .with_header("Content-Length", "0")
    }

    /// Sends such a request and returns the final answer that comes at once, if any.
    pub fn asks(&mut self, flow: Flow, method: &str, uri: &str, from: &str) -> Option<Response> {
        let request = self.request(method, uri, from);
        self.sends(flow, &request)
    }

    pub fn sends(&mut self, flow: Flow, request: &Request) -> Option<Response> {
        self.receives(flow, request.clone());
        self.answer_at(flow)
    }

    /// The same request with the answer to a challenge.
    pub fn answering(
        &mut self,
        request: &Request,
        refusal: &Response,
        name: &str,
        password: &str,
    ) -> Request {
        self.asked += 1;
        let (from, to) = match refusal.status {
            401 => ("WWW-Authenticate", "Authorization"),
            _ => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        let challenge = Challenge::parse(refusal.headers.get(from).unwrap()).unwrap();
        let header =
            authorize(&challenge, &request.method, &request.uri.to_string(), name, password, "c", self.asked);
        let mut again = request.clone().with_header(to, header);
        again.headers.set("Via", format!("SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKe{}", self.asked));
        again.headers.set("CSeq", format!("{} {}", 1000 + self.asked, request.method));
        again
    }

    /// Signs `name` in by this connection: with the endpoint `epid`, at this Contact.
    pub fn registers(&mut self, flow: Flow, name: &str, epid: &str) -> Response {
        let contact = format!("sip:{name}@198.51.100.{}:5060;transport={}", flow.id, flow.transport);
        let mut request = self.request("REGISTER", "sip:example.test", &format!("{name}@{DOMAIN}"));
        let from = request.headers.get("From").unwrap().to_string();
        request.headers.set("From", format!("{from};epid={epid}"));
        request.headers.set("To", format!("<sip:{name}@{DOMAIN}>"));
        let id = format!("{:0>12}", flow.id);
        let request = request
            .with_header(
                "Supported",
                "gruu-10, adhoclist, msrtc-event-categories, com.microsoft.msrtc.presence",
            )
            .with_header("Expires", "600")
            .with_header(
                "Contact",
                format!("<{contact}>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-{id}>\""),
            );
        let answer = self.sends(flow, &request).unwrap();
        if answer.status != 401 {
            return answer;
        }
        let again = self.answering(&request, &answer, name, name);
        self.sends(flow, &again).unwrap()
    }

    /// All that was sent on a connection since the last look.
    pub fn at(&mut self, flow: Flow) -> Vec<Message> {
        let mut there = Vec::new();
        self.done.retain(|action| match action {
            Action::Transmit { flow: to, message } if *to == flow => {
                there.push(Message::parse(message.to_bytes()).unwrap());
                false
            }
            _ => true,
        });
        there
    }

    /// The one request that was sent there since the last look.
    pub fn request_at(&mut self, flow: Flow) -> Request {
        let mut there = self.at(flow);
        match there.pop() {
            Some(Message::Request(request)) if there.is_empty() => request,
            last => panic!("not one request: {there:?} {last:?}"),
        }
    }

    /// The final answer that was sent there since the last look, if any.
    pub fn answer_at(&mut self, flow: Flow) -> Option<Response> {
        self.at(flow).into_iter().find_map(|message| match message {
            Message::Response(response) if response.status >= 200 => Some(response),
            _ => None,
        })
    }

    /// Whether nothing is left to be looked at, but for word that a request is being worked on.
    pub fn is_quiet(&mut self) -> bool {
        self.done.retain(|action| {
            !matches!(action, Action::Transmit { message: Message::Response(response), .. } if response.status == 100)
        });
        if !self.done.is_empty() {
            println!("left: {:#?}", self.done);
        }
        self.done.is_empty()
    }
}

/// An answer of somebody who was asked, with his tag and Contact.
pub fn answer(request: &Request, status: u16, tag: &str) -> Response {
    let mut response = Response::to(request, status);
    response.set_to_tag(tag);
    response.with_header("Contact", format!("<sip:{tag}@198.51.100.77>")).with_header("Content-Length", "0")
}

pub fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@{DOMAIN}")).unwrap()
}

fn port(transport: Transport) -> u16 {
    if transport == Transport::Tls { 5061 } else { 5060 }
}
