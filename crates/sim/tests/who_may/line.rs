//! Somebody's connection, used by hand: signs in, asks, and answers what the server asks.

use std::time::Duration;

use confab_schema::cccp;
use confab_sim::{
    deployment::{DOMAIN, Deployment},
    peer::Peer,
};
use confab_sip::{
    Headers, Message, Method, Request, Response,
    auth::{self, Challenge},
};
use tokio::time::timeout;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse";
/// The key of every conference.
pub const KEY: &str = "Harbour-2026-11";
/// How long the answer to what has one may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long the answer to what has none is waited for.
const SHORT: Duration = Duration::from_secs(1);

/// A connection.
pub struct Line {
    peer: Peer,
    /// Who is at this end.
    pub name: &'static str,
    /// What challenges are answered with.
    password: &'static str,
}

/// A request out of its parts.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: String,
    pub uri: String,
    /// Whole header values.
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// Further header lines, each with its end.
    pub lines: String,
    pub content_type: &'static str,
    pub body: String,
}

impl Ask {
    fn bytes(&self, more: &str) -> Vec<u8> {
        let Ask { method, uri, from, to, call_id, cseq, lines, content_type, body } = self;
        let branch = format!("{call_id}{cseq}{}", more.len());
        let content_type =
            if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let head = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:192.0.2.7:5060;transport=tcp>\r\n{lines}{more}{content_type}Content-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

impl Line {
    /// A connection on which nobody has proved anything.
    pub fn open(deployment: &Deployment, name: &'static str) -> Line {
        Line { peer: deployment.peer(), name, password: PASSWORD }
    }

    /// The same of somebody who does not sign in and knows the conference's key.
    pub fn of_guest(deployment: &Deployment) -> Line {
        Line { peer: deployment.peer(), name: "guest", password: KEY }
    }

    /// The address of who is at this end.
    pub fn address(&self) -> String {
        let domain = if self.password == KEY { "anonymous.invalid" } else { DOMAIN };
        format!("sip:{}@{domain}", self.name)
    }

    /// Signs in.
    pub async fn signs_in(&mut self) {
        let address = self.address();
        let ask = Ask {
            method: "REGISTER".into(),
            uri: format!("sip:{DOMAIN}"),
            from: format!("<{address}>;tag={}0", self.name),
            to: format!("<{address}>"),
            call_id: format!("register-{}", self.name),
            cseq: 1,
            ..Ask::default()
        };
        let response = self.asks_with_password(&ask).await.unwrap();
        assert_eq!(response.status, 200, "{} signs in: {:?}", self.name, response.headers);
    }

    /// The final answer to a request, an INVITE's acknowledged; `None` if there is none.
    pub async fn asks(&mut self, ask: &Ask) -> Option<Response> {
        self.exchange(ask, "").await
    }

    /// The same, a challenge answered with the password of who is at this end.
    pub async fn asks_with_password(&mut self, ask: &Ask) -> Option<Response> {
        let response = self.exchange(ask, "").await?;
        let (asks, answers) = match response.status {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return Some(response),
        };
        let challenge = Challenge::parse(response.headers.get(asks).unwrap()).unwrap();
        let method: Method = ask.method.parse().unwrap();
        let answer = auth::authorize(&challenge, &method, &ask.uri, self.name, self.password, "c", 1);
        let again = Ask { cseq: ask.cseq + 1, ..ask.clone() };
        self.exchange(&again, &format!("{answers}: {answer}\r\n")).await
    }

    async fn exchange(&mut self, ask: &Ask, more: &str) -> Option<Response> {
        self.peer.send(&ask.bytes(more)).await;
        let answered = !matches!(ask.method.as_str(), "ACK" | "BENOTIFY");
        let response =
            timeout(if answered { PATIENCE } else { SHORT }, self.response_to(ask)).await.ok()??;
        if ask.method == "INVITE" {
            let to = header(&response.headers, "To");
            let ack = Ask { method: "ACK".into(), to, content_type: "", body: String::new(), ..ask.clone() };
            // Of a 2xx a request of its own, along the dialog's route; else part of the INVITE.
            let ack = if response.status < 300 { Ask { lines: route(&response), ..ack } } else { ack };
            self.peer.send(&ack.bytes(more)).await;
        }
        Some(response)
    }

    async fn response_to(&mut self, ask: &Ask) -> Option<Response> {
        loop {
            match self.peer.receive().await? {
                Message::Response(response) => {
                    let cseq = response.headers.cseq().unwrap();
                    let ours = header(&response.headers, "Call-ID") == ask.call_id && cseq.number == ask.cseq;
                    if ours && response.status >= 200 {
                        return Some(response);
                    }
                }
                Message::Request(request) => self.takes(&request).await,
            }
        }
    }

    /// The final C3P answer that the Focus sends by INFO in this dialog.
    pub async fn final_answer(&mut self, call_id: &str) -> Option<cccp::Response> {
        let waiting = async {
            loop {
                let Message::Request(request) = self.peer.receive().await? else { continue };
                self.takes(&request).await;
                if request.method == Method::Info && header(&request.headers, "Call-ID") == call_id {
                    return cccp::Response::parse(&request.body).ok();
                }
            }
        };
        timeout(PATIENCE, waiting).await.ok()?
    }

    /// Answers a request: takes everything but calls.
    async fn takes(&mut self, request: &Request) {
        let status = match request.method {
            Method::Ack | Method::Benotify => return,
            Method::Invite => 486,
            _ => 200,
        };
        let mut response = Response::to(request, status).with_header("Server", "a phone");
        response.set_to_tag("phone");
        self.peer.send(&Message::from(response).to_bytes()).await;
    }

    /// Answers whatever comes, for ever.
    pub async fn answers_for_ever(mut self) {
        while let Some(message) = self.peer.receive_patiently().await {
            if let Message::Request(request) = message {
                self.takes(&request).await;
            }
        }
    }
}

/// A header's value, or nothing.
pub fn header(headers: &Headers, name: &str) -> String {
    headers.get(name).map(ToString::to_string).unwrap_or_default()
}

/// The Route lines of a dialog whose INVITE was answered so.
pub fn route(response: &Response) -> String {
    let routes = response.headers.record_routes().unwrap_or_default();
    routes.iter().rev().map(|route| format!("Route: {route}\r\n")).collect()
}
