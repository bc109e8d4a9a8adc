//! The scene of every table: a server with a meeting, and raw requests to it.

use confab_schema::uri::ConferenceUri;
use confab_sim::{deployment::Deployment, peer::Peer, person::Person};
use confab_sip::Response;

/// How C3P begins.
const C3P: &str = r#"xmlns="urn:ietf:params:xml:ns:cccp" xmlns:mscp="http://schemas.microsoft.com/rtc/2005/08/cccpextensions" xmlns:ci="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" C3PVersion="1""#;

/// A server on which Vivian leads a meeting.
pub struct Scene {
    pub deployment: Deployment,
    pub conference: ConferenceUri,
    vivian: Person,
}

/// A raw request that is right in everything; a table breaks one thing at a time.
#[derive(Clone)]
pub struct Raw {
    pub method: &'static str,
    pub uri: String,
    pub from: &'static str,
    pub from_tag: &'static str,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// Further header lines, each with its end.
    pub lines: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Raw {
    /// The request's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let Raw { method, uri, from, from_tag, to, call_id, cseq, lines, content_type, body } = self;
        let content_type =
            if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let head = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK{call_id}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}>;tag={from_tag};epid=0a1b2c3d4e\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:127.0.0.1:5060>\r\n\
             {lines}{content_type}Content-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// The same with another body.
    pub fn with_body(&self, body: impl Into<Vec<u8>>) -> Raw {
        Raw { body: body.into(), ..self.clone() }
    }
}

/// What a refusal is expected to be: the status, and the header with its number if it has one.
pub type Expected = (u16, &'static str);

impl Scene {
    /// The scene, with Vivian in her meeting.
    pub async fn set() -> Scene {
        let deployment = Deployment::open().await;
        let mut vivian = deployment.sign_on("vivian").await;
        let conference = vivian.schedules("The harbour", vec![]).await;
        vivian.joins(&conference).await;
        Scene { deployment, conference, vivian }
    }

    /// The address of an MCU of the meeting.
    pub fn mcu(&self, media: &str) -> String {
        self.conference.to_string().replace("conf:focus:", &format!("conf:{media}:"))
    }

    /// A request to this address.
    pub fn request(&self, method: &'static str, uri: impl Into<String>) -> Raw {
        let uri = uri.into();
        Raw {
            method,
            to: format!("<{uri}>"),
            uri,
            from: "amy@example.test",
            from_tag: "a1",
            call_id: "raw".into(),
            cseq: 1,
            lines: String::new(),
            content_type: "application/cccp+xml",
            body: Vec::new(),
        }
    }

    /// Amy's request for something to be done by her own Focus Factory.
    pub fn service(&self, commands: &str) -> Raw {
        let factory = "sip:amy@example.test;gruu;opaque=app:conf:focusfactory";
        self.request("SERVICE", factory).with_body(c3p("sip:amy@example.test", factory, commands))
    }

    /// Amy's INVITE to the Focus.
    pub fn invite(&self) -> Raw {
        let focus = self.conference.to_string();
        let body = c3p("sip:amy@example.test", &focus, &self.add_user("sip:amy@example.test", "{E1}"));
        self.request("INVITE", focus).with_body(body)
    }

    /// The command by which somebody joins.
    pub fn add_user(&self, user: &str, endpoint: &str) -> String {
        let conference = &self.conference;
        format!(
            r#"<addUser><conferenceKeys confEntity="{conference}"/><ci:user entity="{user}"><ci:roles><ci:entry>attendee</ci:entry></ci:roles><ci:endpoint entity="{endpoint}"/></ci:user></addUser>"#
        )
    }

    /// Amy's SUBSCRIBE to the conference.
    pub fn subscribe(&self) -> Raw {
        let lines = "Event: conference\r\nAccept: application/conference-info+xml\r\nSupported: ms-benotify, ms-piggyback-first-notify\r\n";
        let request = self.request("SUBSCRIBE", self.conference.to_string());
        Raw { lines: lines.into(), content_type: "", ..request }
    }

    /// Amy, joined by hand: her connection and her next request in the dialog.
    pub async fn joined(&self) -> (Peer, Raw) {
        let mut peer = self.deployment.peer();
        let invite = Raw { call_id: "amy-joined".into(), ..self.invite() };
        let response = peer.asks(&invite.bytes()).await.expect("Amy is answered");
        assert_eq!(response.status, 200, "Amy may join");
        let to = response.headers.get("To").expect("the response has a To").to_string();
        let ack = Raw { method: "ACK", to: to.clone(), content_type: "", body: Vec::new(), ..invite.clone() };
        peer.send(&ack.bytes()).await;
        (peer, Raw { method: "INFO", to, cseq: 2, ..invite })
    }

    /// Says `bytes` over a connection of its own and compares what is answered. `(0, "")`: the
    /// connection is closed without an answer.
    pub async fn check(&self, name: &str, bytes: &[u8], expected: Expected) {
        let response = self.deployment.peer().asks(bytes).await;
        compare(name, response.as_ref(), expected);
    }

    /// The meeting goes on: Hao comes in and talks to Vivian.
    pub async fn goes_on(mut self) {
        let mut hao = self.deployment.sign_on("hao").await;
        hao.joins(&self.conference).await;
        hao.says("what was all that?").await;
        assert_eq!(self.vivian.hears().await, ("hao".to_owned(), "what was all that?".to_owned()));
        self.vivian.says("never mind").await;
        assert_eq!(hao.hears().await, ("vivian".to_owned(), "never mind".to_owned()));
    }
}

/// A C3P request with these commands.
pub fn c3p(from: &str, to: &str, commands: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><request {C3P} from="{from}" to="{to}" requestId="1">{commands}</request>"#
    )
}

/// Compares a response with what is expected of it.
pub fn compare(name: &str, response: Option<&Response>, (status, number): Expected) {
    let Some(response) = response else {
        assert_eq!(status, 0, "{name}: no answer");
        return;
    };
    assert_eq!(response.status, status, "{name}: {} {:?}", response.reason, response.headers);
    let header = |name: &str| response.headers.get(name).map(|value| value.to_string());
    let number_of = |name: &str| Some(format!("{name} {}", header(name)?.split(';').next()?));
    let told = number_of("ms-diagnostics").or_else(|| number_of("ms-diagnostics-public"));
    assert_eq!(told.unwrap_or_default(), number, "{name}");
    if !number.is_empty() {
        let header = header(number.split(' ').next().unwrap_or_default()).unwrap_or_default();
        let sentence = header.split("reason=\"").nth(1).unwrap_or_default();
        assert!(sentence.trim_end_matches('"').ends_with('.'), "{name}: a plain sentence, not {header}");
        assert!(header.contains("source=\"sip.example.test\""), "{name}: {header}");
    }
}
