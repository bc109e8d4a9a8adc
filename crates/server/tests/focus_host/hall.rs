//! The hall: one Focus with its dialogs, and the participants' ends of them.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use confab_conference::{
    focus::{self, Focus},
    policy::{Identity, MeetingPolicy},
    record::{ConferenceRecord, Invitee},
};
use confab_machine::{Entropy, Machine, Time};
use confab_schema::{
    cccp::{AddUser, Command, ConferenceKeys, Request as Document},
    conference_info::{AdmissionPolicy, Endpoint, Role, User},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_server::focus_host::{Action, Event, FocusHost, Journaled, Restorable, Sender};
use confab_sip::{
    Dialog, Flow, Message, Method, Request, Response, ServerKey, TransactionOutput, Transactions, Transport,
};

pub const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";
const START: Time = Time::from_unix_secs(1_000_000);

pub struct Hall {
    pub host: Journaled,
    pub now: Time,
    /// What it wanted done and nobody has looked at yet, without the lines of the trace.
    pub done: Vec<Action>,
    /// Names the transactions.
    layer: Transactions,
    asked: u32,
    /// NOTIFYs that have not been answered, by Call-ID.
    unanswered: BTreeMap<String, u64>,
}

/// A participant's end of a dialog.
pub struct Leg {
    pub dialog: Dialog,
    pub flow: Flow,
    pub who: String,
    pub answer: Response,
}

/// A request of the Focus to a participant.
pub struct Sent {
    pub id: u64,
    pub flow: Flow,
    pub request: Request,
}

pub fn flow(id: u64) -> Flow {
    Flow { id, transport: Transport::Tcp }
}

impl Hall {
    /// Ann's conference: open, with chat; Bob is listed as attendee, Pat as presenter.
    pub fn new() -> Hall {
        Hall::with(|host| Box::new(host))
    }

    /// The same with something made of the host.
    pub fn with(make_host: impl FnOnce(FocusHost) -> Box<dyn Restorable>) -> Hall {
        let policy = MeetingPolicy {
            max_participants: 30,
            large_meeting: 500,
            max_conferences_per_organizer: 10,
            allow_anonymous: true,
            lobby: false,
            media: vec![McuType::Chat],
            default_lifetime_s: 3600,
            empty_limit_s: 600,
            idle_limit_s: 24 * 3600,
        };
        let focus = Focus::new(record(), policy, Entropy::default());
        let host = FocusHost::new(focus, "sip.example.test".into(), Entropy::default());
        Hall {
            host: Journaled::new(make_host(host), Entropy::from_seed([2; 32])),
            now: START,
            done: Vec::new(),
            layer: Transactions::new(Entropy::from_seed([3; 32]), 10_000),
            asked: 0,
            unanswered: BTreeMap::new(),
        }
    }

    pub fn hear(&mut self, event: Event) {
        let mut out = Vec::new();
        self.host.handle(self.now, event, &mut out);
        self.take(out);
        self.be_on_time();
    }

    fn be_on_time(&mut self) {
        while self.host.deadline().is_some_and(|at| at <= self.now) {
            let mut out = Vec::new();
            self.host.handle_timeout(self.now, &mut out);
            let moved = self.host.deadline().is_none_or(|at| at > self.now) || !out.is_empty();
            assert!(moved, "the deadline must move");
            self.take(out);
        }
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            if let Action::Send { id, request, .. } = &action
                && request.method == Method::Notify
            {
                let former = self.unanswered.insert(call_id(request), *id);
                assert_eq!(former, None, "a second NOTIFY while one is unanswered");
            }
            if !matches!(action, Action::Note(_)) {
                self.done.push(action);
            }
        }
    }

    /// Time passes; what is due in it is done.
    pub fn waits(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.host.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.be_on_time();
        }
        self.now = until;
    }

    /// Everybody has been told everything.
    pub fn settles(&mut self) {
        self.waits(Duration::from_millis(500));
    }

    /// Somebody's request comes; its transaction's name.
    pub fn receives(&mut self, from: Flow, who: &str, request: Request) -> ServerKey {
        let event = self.event(from, who, request);
        let Event::Request { key, .. } = &event else { unreachable!("it is a request") };
        let key = key.clone();
        self.hear(event);
        key
    }

    /// Somebody's request as the Focus hears it.
    pub fn event(&mut self, from: Flow, who: &str, request: Request) -> Event {
        self.asked += 1;
        let mut request = request;
        request.headers.push_front("Via", format!("SIP/2.0/TCP 198.51.100.1;branch=z9hG4bKh{}", self.asked));
        let message = Message::parse(request.to_bytes()).unwrap();
        let mut outputs = Vec::new();
        self.layer.receive(self.now, from, message, &mut outputs);
        let found = outputs.into_iter().find_map(|output| match output {
            TransactionOutput::Request { key, request, .. } => Some((key, request)),
            _ => None,
        });
        let (key, request) = found.expect("it is a new request");
        let sender =
            Sender { user: user(who), identity: Identity::Enterprise, display_name: who.to_uppercase() };
        Event::Request { key, flow: from, sender, request: Box::new(request) }
    }

    /// Somebody's request comes and is answered at once.
    pub fn asks(&mut self, from: Flow, who: &str, request: Request) -> Response {
        let key = self.receives(from, who, request);
        self.answer_to(&key).expect("it is answered at once")
    }

    /// The answer to a request, if it has been given since the last look.
    pub fn answer_to(&mut self, key: &ServerKey) -> Option<Response> {
        let at = self
            .done
            .iter()
            .position(|action| matches!(action, Action::Respond { key: of, .. } if of == key))?;
        match self.done.remove(at) {
            Action::Respond { response, .. } => Some(response),
            _ => unreachable!("it was just found"),
        }
    }

    /// A request outside any dialog.
    pub fn request(&mut self, method: Method, who: &str, epid: &str) -> Request {
        self.asked += 1;
        Request::new(method.clone(), CONFERENCE.parse().unwrap())
            .with_header("Max-Forwards", "70")
            .with_header("From", format!("<sip:{who}@example.test>;tag=t{};epid={epid}", self.asked))
            .with_header("To", format!("<{CONFERENCE}>"))
            .with_header("Call-ID", format!("call{}", self.asked))
            .with_header("CSeq", format!("1 {method}"))
            .with_header("Contact", format!("<sip:{who}@198.51.100.1:5060;transport=tcp>"))
    }

    /// An INVITE with `addUser` for the endpoint `{epid}`.
    pub fn invite(&mut self, who: &str, epid: &str) -> Request {
        let endpoint = Endpoint::new(format!("{{{epid}}}"));
        let joiner = User {
            roles: vec![Role::Attendee],
            endpoints: vec![endpoint],
            ..User::new(user(who).to_string())
        };
        let command =
            Command::AddUser(AddUser { mcu_uri: None, keys: ConferenceKeys::of(CONFERENCE), user: joiner });
        let mut request = self.request(Method::Invite, who, epid);
        request.set_body("application/cccp+xml", self.document(who, command));
        request
    }

    pub fn document(&mut self, who: &str, command: Command) -> Bytes {
        self.asked += 1;
        Document::new(self.asked, user(who).to_string(), CONFERENCE, command).to_bytes()
    }

    /// Somebody joins by this connection.
    pub fn joins(&mut self, from: u64, who: &str) -> Leg {
        let invite = self.invite(who, who);
        self.joins_with(from, who, invite)
    }

    pub fn joins_with(&mut self, from: u64, who: &str, invite: Request) -> Leg {
        let answer = self.asks(flow(from), who, invite.clone());
        assert_eq!(answer.status, 200, "{answer:?}");
        Leg {
            dialog: Dialog::from_response(&invite, &answer).unwrap(),
            flow: flow(from),
            who: who.into(),
            answer,
        }
    }

    /// Somebody subscribes, and is told all there is.
    pub fn subscribes(&mut self, from: u64, who: &str, supported: &str) -> Leg {
        let subscribe = self.subscribe(who, supported);
        let answer = self.asks(flow(from), who, subscribe.clone());
        assert_eq!(answer.status, 200, "{answer:?}");
        Leg {
            dialog: Dialog::from_response(&subscribe, &answer).unwrap(),
            flow: flow(from),
            who: who.into(),
            answer,
        }
    }

    pub fn subscribe(&mut self, who: &str, supported: &str) -> Request {
        let mut request = self
            .request(Method::Subscribe, who, who)
            .with_header("Event", "conference")
            .with_header("Accept", "application/conference-info+xml");
        if !supported.is_empty() {
            request.headers.push("Supported", supported);
        }
        request
    }

    /// A request within somebody's dialog comes and is answered at once.
    pub fn within(&mut self, leg: &mut Leg, request: Request) -> Response {
        self.asks(leg.flow, &leg.who.clone(), request)
    }

    /// Somebody commands something.
    pub fn commands(&mut self, leg: &mut Leg, command: Command) -> Response {
        let mut info = leg.dialog.request(Method::Info);
        info.set_body("application/cccp+xml", self.document(&leg.who, command));
        self.within(leg, info)
    }

    /// What was sent within a dialog since the last look, in order.
    pub fn sent_to(&mut self, leg: &Leg) -> Vec<Sent> {
        let of = leg.dialog.id().call_id.to_string();
        let mut sent = Vec::new();
        self.done.retain(|action| match action {
            Action::Send { id, flow, request } if call_id(request) == of => {
                sent.push(Sent { id: *id, flow: *flow, request: request.clone() });
                false
            }
            _ => true,
        });
        sent
    }

    /// The one request that was sent within a dialog since the last look.
    pub fn one_sent_to(&mut self, leg: &Leg) -> Sent {
        let mut sent = self.sent_to(leg);
        match sent.pop() {
            Some(last) if sent.is_empty() => last,
            last => panic!("not one but {}: {:?}", sent.len(), last.map(|last| last.request)),
        }
    }

    /// A participant answers a request of the Focus.
    pub fn answers(&mut self, sent: &Sent, status: u16) {
        self.unanswered.remove(&call_id(&sent.request));
        self.hear(Event::Response { id: sent.id, response: Response::to(&sent.request, status) });
    }

    /// Nothing came of a request of the Focus.
    pub fn is_silent(&mut self, sent: &Sent) {
        self.unanswered.remove(&call_id(&sent.request));
        self.hear(Event::NoResponse { id: sent.id });
    }

    /// From now on it does not matter whether this subscriber answers.
    pub fn answered_or_not(&mut self, leg: &Leg) {
        self.unanswered.remove(leg.dialog.id().call_id.as_str());
    }

    /// How many people are in, as the Focus last said; `None` if it has said nothing since the last
    /// look.
    pub fn counted(&mut self) -> Option<usize> {
        let mut counted = None;
        self.done.retain(|action| match action {
            Action::Focus(focus::Action::CountPeople { count }) => {
                counted = Some(*count);
                false
            }
            _ => true,
        });
        counted
    }

    /// Forgets what was done, but for what must be done.
    pub fn forget(&mut self) {
        self.done.clear();
    }

    pub fn has_ended(&self) -> bool {
        self.done.iter().any(|action| matches!(action, Action::Focus(focus::Action::End)))
    }
}

fn call_id(request: &Request) -> String {
    request.headers.call_id().unwrap().to_string()
}

pub fn header(request: &Request, name: &str) -> String {
    request.headers.get(name).map(ToString::to_string).unwrap_or_default()
}

pub fn user(who: &str) -> UserUri {
    UserUri::parse(&format!("sip:{who}@example.test")).unwrap()
}

pub fn lock(locked: bool) -> Command {
    Command::ModifyConferenceLock { keys: ConferenceKeys::of(CONFERENCE), locked }
}

fn record() -> ConferenceRecord {
    let listed = |who, role| Invitee { user: user(who), role };
    ConferenceRecord {
        uri: ConferenceUri::parse(CONFERENCE).unwrap(),
        version: 1,
        subject: "Plans".into(),
        description: String::new(),
        expires: Time::from_unix_secs(2_000_000),
        admission: AdmissionPolicy::OpenAuthenticated,
        conference_key: None,
        locked: false,
        lobby: false,
        participants: vec![listed("bob", Role::Attendee), listed("pat", Role::Presenter)],
        media: vec![McuType::Chat],
        notification_data: None,
        organizer_data: None,
        created: START,
        updated: START,
        last_activated: None,
    }
}
