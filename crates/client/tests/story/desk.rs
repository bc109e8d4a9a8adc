//! The desk of the story teller: a client, its clock, what it sent and what it said.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use confab_client::{Action, Client, ClientConfig, Command, Event, Observation};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_sip::{Flow, Message, Method, Request, Response, Transport};

pub const FOCUS: &str = "sip:vivian@example.test;gruu;opaque=app:conf:focus:id:3ICYEOLH";
pub const CHAT: &str = "sip:vivian@example.test;gruu;opaque=app:conf:chat:id:3ICYEOLH";
pub const FLOW: Flow = Flow { id: 1, transport: Transport::Tcp };

/// A client, and what passes between it and us.
pub struct Desk {
    pub client: Client,
    pub now: Time,
    pub sent: VecDeque<Message>,
    pub said: Vec<Observation>,
    pub keep_alives: usize,
}

pub fn user(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@example.test")).unwrap()
}

pub fn conference() -> ConferenceUri {
    ConferenceUri::parse(FOCUS).unwrap()
}

impl Desk {
    /// A connected client of `name` with the password `secret`.
    pub fn of(name: &str) -> Desk {
        let config = ClientConfig {
            user: user(name),
            display_name: name.to_uppercase(),
            password: Some("secret".into()),
            local: "192.0.2.1:5070".parse().unwrap(),
            epid: "0a1b2c3d4e5f".to_owned(),
            instance: "3f9b0e2a-5a1d-5f6e-8b7c-9d0e1f2a3b4c".to_owned(),
        };
        let mut desk = Desk {
            client: Client::new(config, Entropy::from_seed([5; 32])),
            now: Time::from_unix_secs(1_000_000),
            sent: VecDeque::new(),
            said: Vec::new(),
            keep_alives: 0,
        };
        desk.event(Event::Connected { flow: FLOW });
        desk
    }

    pub fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.client.handle(self.now, event, &mut out);
        self.take(out);
    }

    pub fn wants(&mut self, command: Command) {
        self.event(Event::Command(command));
    }

    /// Lets time pass.
    pub fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.client.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.client.handle_timeout(self.now, &mut out);
            self.take(out);
            assert!(self.client.deadline().is_none_or(|next| next > at), "the deadline did not move");
        }
        self.now = until;
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                // Over the wire and back, so that only what prints and parses counts.
                Action::Transmit { message, .. } => {
                    self.sent.push_back(Message::parse(message.to_bytes()).unwrap())
                }
                Action::KeepAlive { .. } => self.keep_alives += 1,
                Action::Observe(observation) => self.said.push(observation),
            }
        }
    }

    /// The next message sent; it is a request with this method.
    #[track_caller]
    pub fn request(&mut self, method: &Method) -> Request {
        match self.sent.pop_front() {
            Some(Message::Request(request)) if request.method == *method => request,
            other => panic!("expected {method}, got {other:#?}"),
        }
    }

    /// The next message sent; it is a response with this status.
    #[track_caller]
    pub fn response(&mut self, status: u16) -> Response {
        match self.sent.pop_front() {
            Some(Message::Response(response)) if response.status == status => response,
            other => panic!("expected {status}, got {other:#?}"),
        }
    }

    #[track_caller]
    pub fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:#?}", self.sent);
    }

    /// What was said since this was asked last.
    pub fn said(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.said)
    }

    pub fn receive(&mut self, message: impl Into<Message>) {
        let message = Message::parse(message.into().to_bytes()).unwrap();
        self.event(Event::Received { flow: FLOW, message });
    }

    /// Answers a request of the client.
    pub fn reply(&mut self, request: &Request, status: u16, headers: &[(&str, &str)], body: &str) {
        let mut response = Response::to(request, status);
        response.set_to_tag("server");
        for (name, value) in headers {
            response.headers.push(*name, *value);
        }
        if !body.is_empty() {
            let kind = response
                .headers
                .get("Content-Type")
                .map_or("application/cccp+xml".to_owned(), ToString::to_string);
            response.set_body(&kind, Bytes::from(body.to_owned()));
        }
        self.receive(response);
    }

    /// Sends a request to the client, within the dialog that `opened` opened and [`Desk::reply`]
    /// accepted.
    pub fn tell(&mut self, opened: &Request, method: &str, cseq: u32, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} sip:client@192.0.2.1:5070 SIP/2.0\r\n");
        let header = |name| opened.headers.get(name).cloned().unwrap_or_default();
        text += &format!("Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK{method}{cseq}{}\r\n", header("Call-ID"));
        text += &format!("From: {};tag=server\r\nTo: {}\r\n", header("To"), header("From"));
        text += &format!("Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n", header("Call-ID"));
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let message = Message::parse(Bytes::from(text)).unwrap();
        self.event(Event::Received { flow: FLOW, message });
    }
}

/// A C3P response of the Focus or the factory.
pub fn c3p(request: &Request, code: &str, inside: &str) -> String {
    let document = confab_schema::cccp::Request::parse(&request.body).unwrap();
    c3p_to(&document, code, inside)
}

pub fn c3p_to(document: &confab_schema::cccp::Request, code: &str, inside: &str) -> String {
    let (id, from, to) = (document.request_id, &document.to, &document.from);
    format!(
        r#"<response xmlns="urn:ietf:params:xml:ns:cccp" C3PVersion="1" requestId="{id}" from="{from}" to="{to}" code="{code}">{inside}</response>"#
    )
}

/// A conference document.
pub fn info(state: &str, version: u32, inside: &str) -> String {
    format!(
        r#"<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" entity="{FOCUS}" state="{state}" version="{version}">{inside}</conference-info>"#
    )
}

/// One person in a conference document.
pub fn person(name: &str, role: &str, state: &str, session: &str) -> String {
    format!(
        r#"<user entity="sip:{name}@example.test" state="{state}"><display-text>{name}</display-text><roles><entry>{role}</entry></roles><endpoint entity="{{{name}}}" msci:session-type="{session}"><status>connected</status></endpoint></user>"#
    )
}

/// A first document: a subject, the chat's address, and some people.
pub fn first_document(version: u32, people: &str) -> String {
    let about = format!(
        "<conference-description><subject>Plans</subject><conf-uris><entry><uri>{CHAT}</uri><purpose>chat</purpose></entry></conf-uris></conference-description>"
    );
    info("full", version, &format!(r#"{about}<users state="full">{people}</users>"#))
}

pub const DOCUMENT: (&str, &str) = ("Content-Type", "application/conference-info+xml");
pub const SDP: (&str, &str) = ("Content-Type", "application/sdp");

/// The dialogs of somebody who has joined.
pub struct Joined {
    pub focus: Request,
    pub subscription: Request,
    pub chat: Request,
}

impl Desk {
    /// Joins as `role`; the first document has version 1 and tells of vivian and bob.
    pub fn join(&mut self, role: &str) -> Joined {
        self.wants(Command::Join { conference: conference() });
        let focus = self.request(&Method::Invite);
        self.admit(&focus, role);
        let subscription = self.request(&Method::Subscribe);
        let people = person("vivian", role, "full", "focus") + &person("bob", "attendee", "full", "chat");
        let headers =
            [DOCUMENT, ("Expires", "3600"), ("Contact", "<sip:focus@192.0.2.9>"), ("ms-piggyback-cseq", "1")];
        self.reply(&subscription, 200, &headers, &first_document(1, &people));
        let chat = self.request(&Method::Invite);
        assert_eq!(chat.uri.to_string(), CHAT);
        self.reply(&chat, 200, &[SDP, ("Contact", "<sip:chat@192.0.2.9>")], "v=0\r\n");
        self.request(&Method::Ack);
        self.nothing_sent();
        Joined { focus, subscription, chat }
    }

    /// Answers the INVITE to the Focus and takes the ACK.
    pub fn admit(&mut self, focus: &Request, role: &str) {
        let body = c3p(
            focus,
            "success",
            &format!(
                r#"<addUser><conferenceKeys confEntity="{FOCUS}"/><user xmlns="urn:ietf:params:xml:ns:conference-info" entity="sip:vivian@example.test"><roles><entry>{role}</entry></roles></user></addUser>"#
            ),
        );
        self.reply(focus, 200, &[("Contact", "<sip:focus@192.0.2.9;isfocus>")], &body);
        self.request(&Method::Ack);
    }
}
