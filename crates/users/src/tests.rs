//! The whole of it, driven by the requests real clients send (names made up).

mod presence;
mod refusals;
mod sign_in;

use std::time::Duration;

use bytes::Bytes;
use confab_sip::{Message, Transport};

use super::*;

const NOW: Time = Time::from_unix_secs(1_700_000_000);

/// Users of a domain, and what has been said to them.
struct Fixture {
    users: Users,
    now: Time,
    cseq: u32,
    /// What was sent after the last answer: flow and request.
    sent: Vec<(u64, Request)>,
}

fn flow(id: u64) -> Flow {
    Flow { id, transport: Transport::Tcp }
}

fn address(name: &str) -> UserUri {
    UserUri::parse(&format!("sip:{name}@example.test")).unwrap()
}

/// Everybody but nobody has an account.
fn names(user: &UserUri) -> Option<String> {
    (user.user() != "nobody").then(|| format!("{} of {}", user.user().to_uppercase(), user.domain()))
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}

fn header<'a>(headers: &'a confab_sip::Headers, name: &'a str) -> &'a str {
    headers.get(name).map_or("-", |value| value.as_str())
}

impl Fixture {
    fn new() -> Fixture {
        let meeting_policy = MeetingPolicy {
            meeting_size: 250,
            audio: false,
            video: false,
            data_collaboration: false,
            application_sharing: false,
        };
        let settings = UsersSettings { host: "fe.example.test".into(), meeting_policy };
        let users = Users::new(settings, Entropy::from_seed([1; 32]));
        Fixture { users, now: NOW, cseq: 0, sent: Vec::new() }
    }

    /// Sends what `name`'s client at flow `from` writes: a start line, lines of its own, a body.
    fn say(&mut self, name: &str, from: u64, start: &str, lines: &str, body: &str) -> Response {
        self.cseq += 1;
        let (method, cseq) = (start.split(' ').next().unwrap(), self.cseq);
        let to = if lines.contains("To:") { "" } else { &format!("To: <sip:{name}@example.test>\n") };
        let from_line = format!("From: <sip:{name}@example.test>;tag=f{from};epid=epid{from}\n");
        let from_line = if lines.contains("From:") { "" } else { &from_line };
        let call_id = if lines.contains("Call-ID:") { "" } else { &format!("Call-ID: call-{cseq}\n") };
        let text = format!(
            "{start} SIP/2.0
Via: SIP/2.0/tcp 192.0.2.7:58640;branch=z9hG4bK{cseq}
{from_line}{to}{call_id}CSeq: {cseq} {method}
Max-Forwards: 70
User-Agent: Purple/2.14.12 Sipe/1.25.0 (linux-x86_64)
{lines}Content-Length: {}

",
            body.len()
        );
        let bytes = Bytes::from(text.replace('\n', "\r\n") + body);
        let Message::Request(request) = Message::parse(bytes).unwrap() else { panic!("a request") };
        let mut out = Vec::new();
        self.users.handle_request(self.now, flow(from), &address(name), &request, &names, &mut out);
        let UsersAction::Respond(response) = out.remove(0) else { panic!("the answer comes first") };
        self.collect(out);
        response
    }

    fn collect(&mut self, out: Vec<UsersAction>) {
        self.sent = out
            .into_iter()
            .map(|action| match action {
                UsersAction::Send { flow, request, .. } => (flow.id, request),
                UsersAction::Respond(_) => panic!("one answer for a request"),
            })
            .collect();
    }

    fn close(&mut self, from: u64) {
        let mut out = Vec::new();
        self.users.flow_closed(self.now, flow(from), &mut out);
        self.collect(out);
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        let mut out = Vec::new();
        while self.users.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.users.handle_timeout(self.now, &mut out);
        }
        self.collect(out);
    }

    fn register(&mut self, name: &str, from: u64) -> Response {
        let lines = format!(
            "Contact: <sip:192.0.2.7:5864{from};transport=tcp;ms-opaque=d3470f2e1d>;methods=\"INVITE, MESSAGE\";\
             proxy=replace;+sip.instance=\"<urn:uuid:c89d4939-c762-5e13-95a1-5f461945088{from}>\"
Supported: gruu-10, adhoclist, msrtc-event-categories, com.microsoft.msrtc.presence
Event: registration
Call-ID: register-{from}
"
        );
        self.say(name, from, "REGISTER sip:example.test", &lines, "")
    }

    /// A SUBSCRIBE as pidgin-sipe sends them.
    fn subscribe(&mut self, name: &str, from: u64, event: &str, lines: &str, body: &str) -> Response {
        let lines = format!(
            "Event: {event}
Supported: com.microsoft.autoextend
Supported: ms-benotify
Proxy-Require: ms-benotify
Supported: ms-piggyback-first-notify
Contact: <sip:{name}@example.test;opaque=user:epid:{from};gruu>
{lines}"
        );
        self.say(name, from, &format!("SUBSCRIBE sip:{name}@example.test"), &lines, body)
    }

    fn service(&mut self, name: &str, from: u64, content_type: &str, body: &str) -> Response {
        let lines = format!("Content-Type: {content_type}\n");
        self.say(name, from, &format!("SERVICE sip:{name}@example.test"), &lines, body)
    }

    fn publish(&mut self, name: &str, from: u64, publications: &str) -> Response {
        let body = format!(
            "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications \
             uri=\"sip:{name}@example.test\">{publications}</publications></publish>"
        );
        self.service(name, from, "application/msrtc-category-publish+xml", &body)
    }

    /// Watches `people` in one batch.
    fn watch(&mut self, name: &str, from: u64, lines: &str, people: &[&str]) -> Response {
        let resources: String =
            people.iter().map(|who| format!("<resource uri=\"sip:{who}@example.test\"/>\n")).collect();
        let body = format!(
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" \
             uri=\"sip:{name}@example.test\" name=\"\">\n<action name=\"subscribe\" id=\"63792024\">\n<adhocList>\n\
             {resources}</adhocList>\n<categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">\
             <category name=\"contactCard\"/><category name=\"note\"/><category name=\"state\"/></categoryList>\n\
             </action>\n</batchSub>"
        );
        let lines = format!(
            "Require: adhoclist, categoryList
Supported: eventlist
Accept: application/rlmi+xml, multipart/related, text/xml+msrtc.pidf, application/msrtc-event-categories+xml, \
             application/xpidf+xml, application/pidf+xml
Content-Type: application/msrtc-adrl-categorylist+xml
{lines}"
        );
        self.subscribe(name, from, "presence", &lines, &body)
    }
}

/// One publication of a state.
fn state(kind: &str, instance: u32, version: u32, expire_type: &str, availability: u32) -> String {
    [2, 3].map(|container| format!(
        "<publication categoryName=\"state\" instance=\"{instance}\" container=\"{container}\" version=\"{version}\" \
         expireType=\"{expire_type}\"><state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"false\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\"><availability>{availability}\
         </availability><endpointLocation/></state></publication>"
    )).concat()
}

/// What pidgin-sipe publishes when it signs in.
fn first_publications() -> String {
    let device = "<publication categoryName=\"device\" instance=\"2128862921\" container=\"2\" version=\"0\" \
        expireType=\"endpoint\"><device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\" \
        endpointId=\"c89d4939-c762-5e13-95a1-5f4619450888\"><machineName>vm</machineName></device></publication>";
    let machine = state("machineState", 938_360_300, 0, "endpoint", 3500);
    format!("{device}{machine}{}", state("userState", 536_870_912, 0, "static", 3500))
}
