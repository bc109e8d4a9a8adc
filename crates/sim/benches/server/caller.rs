//! What a client writes: the requests of one person, one after the other.

use confab_schema::{
    cccp::{self, AddUser, ConferenceKeys},
    conference_info::{AdmissionPolicy, ConferenceInfo, ConferenceView, Description, Endpoint, Role, User},
    uri::{ConferenceUri, FactoryUri, McuType, UserUri},
};
use confab_sip::{Method, Request, Sdp};

use crate::bed::DOMAIN;

/// What a client's subscription says it can do.
const SUBSCRIBER: [(&str, &str); 4] = [
    ("Event", "conference"),
    ("Accept", "application/conference-info+xml"),
    ("Supported", "com.microsoft.autoextend"),
    ("Supported", "ms-benotify, ms-piggyback-first-notify"),
];
/// An endpoint's name.
const ENDPOINT: &str = "{0B6A2D61-7D0C-4C55-9E7B-5D1B7A3F9C10}";

/// One person's requests.
pub struct Caller {
    /// Who writes them.
    pub user: UserUri,
    written: usize,
}

impl Caller {
    /// Somebody of this name.
    pub fn new(name: &str) -> Caller {
        let user = UserUri::parse(&format!("sip:{name}@{DOMAIN}")).expect("a plain name makes an address");
        Caller { user, written: 0 }
    }

    /// The URI that the conference scheduled under this ID has.
    pub fn conference(&self, id: &str) -> ConferenceUri {
        let uri =
            FactoryUri::of(self.user.clone()).to_string().replace("focusfactory", &format!("focus:id:{id}"));
        ConferenceUri::parse(&uri).expect("the ID is one")
    }

    /// SERVICE: schedule a conference for chat under this ID.
    pub fn scheduling(&mut self, id: &str) -> Request {
        let factory = FactoryUri::of(self.user.clone()).to_string();
        let info = ConferenceInfo {
            description: Some(Description {
                subject: Some("Weekly planning".into()),
                conference_id: Some(id.into()),
                admission: Some(AdmissionPolicy::OpenAuthenticated),
                ..Description::default()
            }),
            view: Some(ConferenceView::of_types(&[McuType::Chat])),
            ..ConferenceInfo::default()
        };
        let command = cccp::Command::AddConference { info: Box::new(info), connection_info: Vec::new() };
        self.command(Method::Service, &factory, command)
    }

    /// INVITE: join.
    pub fn joining(&mut self, conference: &ConferenceUri) -> Request {
        let focus = conference.to_string();
        let user = User {
            roles: vec![Role::Attendee],
            endpoints: vec![Endpoint::new(ENDPOINT)],
            ..User::new(self.user.to_string())
        };
        let add = AddUser { mcu_uri: None, keys: ConferenceKeys::of(focus.clone()), user };
        self.command(Method::Invite, &focus, cccp::Command::AddUser(add))
    }

    /// SUBSCRIBE: be told of everything in the conference.
    pub fn subscribing(&mut self, conference: &ConferenceUri) -> Request {
        let mut request = self.request(Method::Subscribe, &conference.to_string());
        for (name, value) in SUBSCRIBER {
            request.headers.push(name, value);
        }
        request
    }

    /// INVITE: enter the chat.
    pub fn chatting(&mut self, conference: &ConferenceUri) -> Request {
        let mut request = self.request(Method::Invite, &conference.mcu(McuType::Chat).to_string());
        request.set_body("application/sdp", Sdp::message_offer("127.0.0.1", &["text/plain"]).to_bytes());
        request
    }

    /// OPTIONS: anything that is answered.
    pub fn greeting(&mut self) -> Request {
        self.request(Method::Options, &format!("sip:{DOMAIN}"))
    }

    /// The request with what every one needs that goes out.
    pub fn signed(&mut self, mut request: Request) -> Request {
        self.written += 1;
        let user = self.user.user();
        let via = format!("SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK{user}-{}", self.written);
        request.headers.push_front("Via", via);
        request.headers.push("Contact", format!("<sip:{user}@127.0.0.1:5060;transport=tcp>"));
        request
    }

    fn command(&mut self, method: Method, to: &str, command: cccp::Command) -> Request {
        let document = cccp::Request::new(1, self.user.to_string(), to, command);
        let mut request = self.request(method, to);
        request.set_body(cccp::CONTENT_TYPE, document.to_bytes());
        request
    }

    /// A request outside of any dialog.
    fn request(&mut self, method: Method, to: &str) -> Request {
        let user = self.user.user().to_owned();
        let request = Request::new(method.clone(), to.parse().expect("it is a SIP URI"))
            .with_header("From", format!("<{}>;tag={user}", self.user))
            .with_header("To", format!("<{to}>"))
            .with_header("Call-ID", format!("{user}-{}", self.written))
            .with_header("CSeq", format!("1 {method}"))
            .with_header("Max-Forwards", "70");
        self.signed(request)
    }
}
