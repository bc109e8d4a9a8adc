//! A server of a few lines: registrar, Focus Factory, one Focus and its chat, and a mirror for
//! what goes from client to client. It keeps no transactions, for its wires lose nothing.

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    cccp::{self, Code, ResultBody},
    conference_info::{
        ConfUri, ConferenceInfo, ConferenceView, Description, Endpoint, EndpointStatus, EntityView, Role,
        State, User, Users, View,
    },
    imdn::{self, Imdn},
    uri::{ConferenceUri, McuType, OpaqueTarget},
};
use confab_sip::{
    Dialog, Message, Method, Request, Response, Sdp,
    auth::{DigestAuthority, Ha1s, Verdict},
};

type Answers = Vec<(usize, Message)>;

struct Person {
    client: usize,
    user: String,
    role: Role,
    focus: Dialog,
    subscription: Option<Dialog>,
    chat: Option<Dialog>,
}

pub struct Server {
    names: Vec<String>,
    authority: DigestAuthority,
    conference: Option<ConferenceUri>,
    subject: String,
    people: Vec<Person>,
    locked: bool,
    version: u32,
    messages: u32,
    tags: u32,
}

impl Server {
    pub fn new(names: &[&str]) -> Server {
        Server {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            authority: DigestAuthority::new("example.test", [99; 32]),
            conference: None,
            subject: String::new(),
            people: Vec::new(),
            locked: false,
            version: 0,
            messages: 0,
            tags: 0,
        }
    }

    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// A message came from a client.
    pub fn receive(&mut self, now: Time, from: usize, message: Message) -> Answers {
        let request = match message {
            Message::Request(request) => request,
            Message::Response(response) => return self.mirror_response(response),
        };
        let target = OpaqueTarget::parse(&request.headers.to().unwrap().uri.to_string());
        match (&request.method, target) {
            (Method::Register, _) => vec![(from, self.register(now, from, &request).into())],
            (_, OpaqueTarget::User(user)) => {
                let to = self.names.iter().position(|name| *name == user.user()).unwrap();
                vec![(to, request.into())]
            }
            (Method::Ack, _) => Vec::new(),
            (Method::Service, _) => vec![(from, self.schedule(&request).into())],
            (Method::Invite, OpaqueTarget::Focus(_)) => self.join(from, &request),
            (Method::Invite, _) => self.open_chat(from, &request),
            (Method::Subscribe, _) => self.subscribe(from, &request),
            (Method::Info, OpaqueTarget::Focus(_)) => self.command(from, &request),
            (Method::Message, _) => self.say(from, &request),
            (Method::Bye, OpaqueTarget::Focus(_)) => {
                let mut answers = vec![(from, Response::to(&request, 200).into())];
                answers.extend(self.remove(from));
                answers
            }
            _ => vec![(from, Response::to(&request, 200).into())],
        }
    }

    /// The answer of one client to another goes to whoever the From names.
    fn mirror_response(&self, response: Response) -> Answers {
        let asker = response.headers.from().unwrap().uri;
        let client = self.names.iter().position(|name| asker.user.as_deref() == Some(name));
        client.map(|client| (client, response.into())).into_iter().collect()
    }

    fn register(&mut self, now: Time, from: usize, request: &Request) -> Response {
        let name = &self.names[from];
        let ha1s = Ha1s::of(name, "example.test", &format!("{name}'s password"));
        let Some(header) = request.headers.get("Authorization") else {
            let mut response = Response::to(request, 401);
            for challenge in self.authority.challenge(now, false) {
                response.headers.push("WWW-Authenticate", challenge);
            }
            return response;
        };
        let verdict = self.authority.verify(now, &request.method, &request.uri, header, &ha1s);
        assert!(matches!(verdict, Verdict::Accepted), "{verdict:?}");
        let contact = request.headers.get("Contact").unwrap();
        let gruu = format!("{contact};gruu=\"sip:{name}@example.test;opaque=user:epid:{from};gruu\"");
        Response::to(request, 200).with_header("Contact", gruu).with_header("Expires", "7200")
    }

    fn schedule(&mut self, request: &Request) -> Response {
        let document = cccp::Request::parse(&request.body).unwrap();
        let [cccp::Command::AddConference { info, .. }] = document.commands.as_slice() else { panic!() };
        let description = info.description.clone().unwrap();
        let uri =
            format!("{};gruu;opaque=app:conf:focus:id:{}", document.from, description.conference_id.unwrap());
        self.conference = ConferenceUri::parse(&uri).ok();
        self.subject = description.subject.unwrap_or_default();
        let info = ConferenceInfo::full(uri, 1);
        answer(
            request,
            200,
            &cccp::Response::new(&document, Code::Success, ResultBody::Conference(Box::new(info))),
        )
    }

    fn join(&mut self, from: usize, request: &Request) -> Answers {
        if self.locked {
            return vec![(from, Response::to(request, 403).into())];
        }
        let document = cccp::Request::parse(&request.body).unwrap();
        let [cccp::Command::AddUser(add)] = document.commands.as_slice() else { panic!() };
        let role = if self.people.is_empty() { Role::Presenter } else { Role::Attendee };
        let body = ResultBody::AddUser {
            keys: add.keys.clone(),
            user: Box::new(User { roles: vec![role], ..User::new(add.user.entity.clone()) }),
            connection_info: Vec::new(),
        };
        let mut response = answer(request, 200, &cccp::Response::new(&document, Code::Success, body));
        let focus = self.open(request, &mut response);
        let (user, subscription, chat) = (add.user.entity.clone(), None, None);
        self.people.push(Person { client: from, user, role, focus, subscription, chat });
        let mut answers = vec![(from, response.into())];
        answers.extend(self.tell_of(&[from]));
        answers
    }

    fn open(&mut self, request: &Request, response: &mut Response) -> Dialog {
        self.tags += 1;
        let tag = format!("server{}", self.tags);
        response.set_to_tag(&tag);
        response.headers.push("Contact", "<sip:server@192.0.2.9>");
        Dialog::from_invite(request, &tag).unwrap()
    }

    fn person(&mut self, client: usize) -> &mut Person {
        self.people.iter_mut().find(|person| person.client == client).unwrap()
    }

    fn subscribe(&mut self, from: usize, request: &Request) -> Answers {
        let mut response = Response::to(request, 200);
        if request.headers.expires() == Some(0) {
            return vec![(from, response.into())];
        }
        self.person(from).subscription = Some(self.open(request, &mut response));
        response.headers.push("Expires", "3600");
        response.headers.push("ms-piggyback-cseq", "1");
        response.set_body("application/conference-info+xml", self.full().to_bytes(View::Microsoft));
        vec![(from, response.into())]
    }

    fn open_chat(&mut self, from: usize, request: &Request) -> Answers {
        let mut response = Response::to(request, 200);
        let offer = Sdp::parse(&request.body).unwrap();
        let sdp = Sdp::message_answer(&offer, "192.0.2.9", &request.uri, &["text/plain"]).unwrap();
        response.set_body("application/sdp", sdp.to_bytes());
        self.person(from).chat = Some(self.open(request, &mut response));
        let mut answers = vec![(from, response.into())];
        answers.extend(self.tell_of(&[from]));
        answers
    }

    fn say(&mut self, from: usize, request: &Request) -> Answers {
        self.messages += 1;
        let author = self.person(from).user.clone();
        let accepted = Response::to(request, 202).with_header("Message-Id", self.messages.to_string());
        let mut answers = vec![(from, accepted.into())];
        for person in &mut self.people {
            let Some(chat) = &mut person.chat else { continue };
            let own = person.client == from;
            let mut message = chat.request(if own { Method::Benotify } else { Method::Message });
            if own {
                let report = Imdn { message_id: self.messages, recipients: Vec::new() };
                message.set_body(imdn::CONTENT_TYPE, report.to_bytes());
            } else {
                message.headers.push("Ms-Sender", format!("<{author}>"));
                message.set_body("text/plain", request.body.clone());
            }
            answers.push((person.client, with_via(message).into()));
        }
        answers
    }

    fn command(&mut self, from: usize, request: &Request) -> Answers {
        let document = cccp::Request::parse(&request.body).unwrap();
        let pending = cccp::Response::new(&document, Code::Pending, ResultBody::Empty);
        let mut answers = vec![(from, answer(request, 202, &pending).into())];
        let done = cccp::Response::new(&document, Code::Success, ResultBody::Empty);
        let mut last = self.person(from).focus.request(Method::Info);
        last.set_body(cccp::CONTENT_TYPE, done.to_bytes());
        let after = match &document.commands[0] {
            cccp::Command::ModifyConferenceLock { locked, .. } => {
                self.locked = *locked;
                self.tell_of(&[])
            }
            cccp::Command::ModifyUserRoles { keys, roles } => {
                let person = self.people.iter_mut().find(|person| person.user == keys.user).unwrap();
                person.role = roles[0];
                let client = person.client;
                self.tell_of(&[client])
            }
            cccp::Command::DeleteUser { keys, .. } => {
                let person = self.people.iter_mut().find(|person| person.user == keys.user).unwrap();
                let client = person.client;
                let bye = person.focus.request(Method::Bye).with_header("Reason", "SIP;cause=403");
                let mut after = self.remove(client);
                after.push((client, with_via(bye).into()));
                after
            }
            cccp::Command::DeleteConference(_) => {
                let bye =
                    |mut person: Person| (person.client, with_via(person.focus.request(Method::Bye)).into());
                self.people.drain(..).map(bye).collect()
            }
            other => panic!("{other:?}"),
        };
        answers.push((from, with_via(last).into()));
        answers.extend(after);
        answers
    }

    fn remove(&mut self, client: usize) -> Answers {
        let Some(at) = self.people.iter().position(|person| person.client == client) else {
            return Vec::new();
        };
        let gone = self.people.remove(at);
        self.notify(vec![User { state: State::Deleted, ..User::new(gone.user) }])
    }

    /// Tells everybody of these people, and whether the conference is locked.
    fn tell_of(&mut self, clients: &[usize]) -> Answers {
        let users =
            self.people.iter().filter(|person| clients.contains(&person.client)).map(describe).collect();
        self.notify(users)
    }

    fn notify(&mut self, users: Vec<User>) -> Answers {
        self.version += 1;
        let mut document = ConferenceInfo::partial(self.uri(), self.version);
        document.users = Some(Users { state: State::Partial, users });
        document.view = Some(self.view(State::Partial));
        let document: Bytes = document.to_bytes(View::Microsoft);
        let mut answers = Vec::new();
        for person in &mut self.people {
            let Some(subscription) = &mut person.subscription else { continue };
            let mut notify = subscription
                .request(Method::Benotify)
                .with_header("Event", "conference")
                .with_header("Subscription-State", "active;expires=3600");
            notify.set_body("application/conference-info+xml", document.clone());
            answers.push((person.client, with_via(notify).into()));
        }
        answers
    }

    fn uri(&self) -> String {
        self.conference.as_ref().unwrap().to_string()
    }

    fn view(&self, state: State) -> ConferenceView {
        let locked = Some(self.locked);
        let view = |entity| EntityView { entity, locked, ..EntityView::default() };
        let chat = self.conference.as_ref().unwrap().mcu(McuType::Chat).to_string();
        ConferenceView { state, entity_views: vec![view(self.uri()), view(chat)] }
    }

    fn full(&self) -> ConferenceInfo {
        let chat = self.conference.as_ref().unwrap().mcu(McuType::Chat).to_string();
        let mut document = ConferenceInfo::full(self.uri(), self.version);
        document.description = Some(Description {
            subject: Some(self.subject.clone()),
            conf_uris: vec![ConfUri { uri: chat, display_text: None, purpose: Some("chat".to_owned()) }],
            ..Description::default()
        });
        document.users =
            Some(Users { state: State::Full, users: self.people.iter().map(describe).collect() });
        document.view = Some(self.view(State::Full));
        document
    }
}

fn describe(person: &Person) -> User {
    let endpoint = |session: &str| Endpoint {
        session_type: Some(session.to_owned()),
        status: Some(EndpointStatus::Connected),
        ..Endpoint::new(format!("{{{session}}}"))
    };
    let mut endpoints = vec![endpoint("focus")];
    endpoints.extend(person.chat.is_some().then(|| endpoint("chat")));
    User { roles: vec![person.role], endpoints, ..User::new(person.user.clone()) }
}

fn answer(request: &Request, status: u16, document: &cccp::Response) -> Response {
    let mut response = Response::to(request, status);
    response.set_body(cccp::CONTENT_TYPE, document.to_bytes());
    response
}

fn with_via(mut request: Request) -> Request {
    let header = |name| request.headers.get(name).cloned().unwrap_or_default();
    let branch = format!("z9hG4bK{}{}", header("Call-ID"), header("CSeq").replace(' ', ""));
    request.headers.push_front("Via", format!("SIP/2.0/TCP 192.0.2.9;branch={branch}"));
    request
}
