//! A plain SIP phone: it speaks RFC 3261 and what builds on it, and knows nothing of C3P.

use std::collections::VecDeque;

use confab_sip::{Dialog, Message, Method, Request, Response};

use crate::{deployment::DOMAIN, peer::Peer};

/// A phone on a connection of its own.
pub struct Phone {
    name: String,
    peer: Peer,
    asked: u32,
    /// Requests that came and nobody has asked for yet; they have been answered.
    unread: VecDeque<Request>,
}

/// A dialog of a phone.
pub struct Call {
    /// Its end of it.
    pub dialog: Dialog,
    /// The 2xx that began it.
    pub answer: Response,
}

impl Phone {
    /// The phone of `name`, on this stream.
    pub fn new(name: &str, peer: Peer) -> Phone {
        Phone { name: name.to_owned(), peer, asked: 0, unread: VecDeque::new() }
    }

    /// A request outside of any dialog.
    pub fn request(&mut self, method: Method, uri: &str) -> Request {
        self.asked += 1;
        let (name, number) = (&self.name, self.asked);
        Request::new(method.clone(), uri.parse().expect("the test writes a URI"))
            .with_header("Max-Forwards", "70")
            .with_header("From", format!("<sip:{name}@{DOMAIN}>;tag={name}{number}"))
            .with_header("To", format!("<{uri}>"))
            .with_header("Call-ID", format!("call-{name}-{number}"))
            .with_header("CSeq", format!("{number} {method}"))
            .with_header("Contact", self.contact())
    }

    fn contact(&self) -> String {
        format!("<sip:{}@198.51.100.1:5060;transport=tcp>", self.name)
    }

    /// An INVITE that offers these media lines; nothing at all if there are none.
    pub fn invite(&mut self, uri: &str, media: &str) -> Request {
        let mut invite = self.request(Method::Invite, uri);
        if !media.is_empty() {
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n{media}"
            );
            invite.set_body("application/sdp", sdp.into());
        }
        invite
    }

    /// Sends a request and waits for its final response. What comes meanwhile is answered and kept.
    pub async fn asks(&mut self, request: &Request) -> Response {
        self.sends(request).await;
        let cseq = request.headers.cseq().expect("it has a number");
        let call_id = request.headers.call_id().expect("it has one").clone();
        loop {
            match self.next().await {
                Message::Response(response)
                    if response.status >= 200
                        && response.headers.call_id().is_ok_and(|of| *of == call_id)
                        && response.headers.cseq().is_ok_and(|of| of == cseq) =>
                {
                    return response;
                }
                Message::Response(_) => {}
                Message::Request(request) => self.unread.push_back(request),
            }
        }
    }

    /// Sends a request as it is, with a Via of its own.
    pub async fn sends(&mut self, request: &Request) {
        self.asked += 1;
        let mut request = request.clone();
        let branch = format!("z9hG4bK{}{}", self.name, self.asked);
        request.headers.push_front("Via", format!("SIP/2.0/TCP 198.51.100.1:5060;branch={branch}"));
        if request.body.is_empty() {
            request.headers.set("Content-Length", "0");
        }
        self.peer.send(&request.to_bytes()).await;
    }

    /// Sends an INVITE, acknowledges the 2xx, and gives the dialog; or the refusal.
    ///
    /// # Errors
    /// The refusal.
    pub async fn calls(&mut self, invite: &Request) -> Result<Call, Response> {
        let answer = self.asks(invite).await;
        if answer.status >= 300 {
            return Err(answer);
        }
        let dialog = Dialog::from_response(invite, &answer).expect("a 2xx begins a dialog");
        let ack = dialog.ack(invite.headers.cseq().expect("it has a number").number);
        self.sends(&ack).await;
        Ok(Call { dialog, answer })
    }

    /// Sends a SUBSCRIBE to the state of a conference.
    ///
    /// # Errors
    /// The refusal.
    pub async fn watches(&mut self, conference: &str) -> Result<Call, Response> {
        let subscribe = self
            .request(Method::Subscribe, conference)
            .with_header("Event", "conference")
            .with_header("Accept", "application/conference-info+xml")
            .with_header("Expires", "600");
        let answer = self.asks(&subscribe).await;
        if answer.status >= 300 {
            return Err(answer);
        }
        let dialog = Dialog::from_response(&subscribe, &answer).expect("a 2xx begins a dialog");
        Ok(Call { dialog, answer })
    }

    /// Sends a request within a dialog and waits for its final response.
    pub async fn within(&mut self, call: &mut Call, method: Method, text: &str) -> Response {
        let mut request = call.dialog.request(method).with_header("Contact", self.contact());
        if !text.is_empty() {
            request.set_body("text/plain", text.to_owned().into());
        }
        self.asks(&request).await
    }

    /// Waits for a request of this method, which is answered 200, as all that come before it.
    pub async fn hears(&mut self, method: Method) -> Request {
        if let Some(index) = self.unread.iter().position(|request| request.method == method) {
            return self.unread.remove(index).expect("it was just found");
        }
        loop {
            match self.next().await {
                Message::Request(request) if request.method == method => return request,
                Message::Request(request) => self.unread.push_back(request),
                Message::Response(_) => {}
            }
        }
    }

    /// Waits for a NOTIFY whose body says all of `words`; which one it is.
    pub async fn is_notified(&mut self, words: &[&str]) -> String {
        loop {
            let notify = self.hears(Method::Notify).await;
            let body = String::from_utf8_lossy(&notify.body).into_owned();
            if words.iter().all(|word| body.contains(word)) {
                return body;
            }
        }
    }

    /// The next message; a request among them has its 200.
    async fn next(&mut self) -> Message {
        let name = &self.name;
        let message = self.peer.receive().await.unwrap_or_else(|| panic!("{name} hears nothing more"));
        if let Message::Request(request) = &message
            && request.method != Method::Ack
        {
            let mut answer = Response::to(request, 200).with_header("Contact", self.contact());
            answer.set_to_tag(&format!("{}-answers", self.name));
            if request.method == Method::Invite {
                let sdp = "v=0\r\no=- 2 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
                           m=message 5060 sip null\r\n";
                answer.set_body("application/sdp", sdp.into());
            } else {
                answer.headers.set("Content-Length", "0");
            }
            self.peer.send(&answer.to_bytes()).await;
        }
        message
    }
}
