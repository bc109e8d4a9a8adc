//! SIP messages: requests and responses, and the typed values in their headers (RFC 3261 §7, §20).

mod cseq;
pub(crate) mod head;
pub(crate) mod headers;
mod malformed;
mod media_type;
mod method;
mod name_addr;
mod params;
pub(crate) mod parse;
mod print;
pub(crate) mod scan;
mod status;
mod uri;
mod via;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use cseq::CSeq;
pub use headers::Headers;
pub use malformed::Malformed;
pub use media_type::MediaType;
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::Params;
pub use status::{reason_phrase, sipfrag};
pub use uri::{Scheme, Uri};
pub use via::Via;

use crate::Text;

/// The longest message that is read, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The longest request line or status line, in bytes.
pub const MAX_START_LINE: usize = 8 << 10;

/// The longest header, folds included, in bytes: a Kerberos ticket in base64 fits.
pub const MAX_HEADER_LINE: usize = 64 << 10;

/// The most header lines of a message.
pub const MAX_HEADERS: usize = 256;

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Reads one message: a datagram, or what [`crate::frame::Framer`] found in a stream.
    ///
    /// Empty lines before it are skipped, bytes behind the body that Content-Length tells are
    /// left out. What is read has Via, From, To, Call-ID and CSeq, all of which typed access can
    /// read, and a CSeq of its own method; all else is read when asked for.
    ///
    /// # Errors
    /// [`Malformed`], with what a server needs for its refusal if this was a request.
    pub fn parse(bytes: Bytes) -> Result<Message, Malformed> {
        parse::message(bytes)
    }

    /// What goes over the wire: headers in order, then the one Content-Length, then the body.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }

    /// What goes over the wire before the body.
    pub fn head_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => print::request_head(request),
            Message::Response(response) => print::response_head(response),
        }
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The headers, to change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Message::Request(request) => &mut request.headers,
            Message::Response(response) => &mut response.headers,
        }
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Message {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Message {
        Message::Response(response)
    }
}

/// Asks someone to do something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    pub method: Method,
    /// Whom: the Request-URI.
    pub uri: Uri,
    /// The headers.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Bytes,
}

impl Request {
    /// A request without headers.
    pub fn new(method: Method, uri: Uri) -> Request {
        Request { method, uri, headers: Headers::with_room(), body: Bytes::new() }
    }

    /// The same request with one more header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Text>) -> Request {
        self.headers.push(Text::fixed(name), value);
        self
    }

    /// Gives it a body of this type.
    pub fn set_body(&mut self, content_type: impl Into<Text>, body: Bytes) {
        self.headers.remove("Content-Type");
        self.headers.push(Text::fixed("Content-Type"), content_type);
        self.body = body;
    }

    /// What goes over the wire.
    pub fn to_bytes(&self) -> Bytes {
        print::request(self)
    }
}

/// Says what became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// What people read.
    pub reason: Text,
    /// The headers.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Bytes,
}

/// What a response repeats of its request, as it stands there (RFC 3261 §8.2.6.2, §12.1.1).
const REPEATED: [&str; 6] = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];

impl Response {
    /// The response of this status to `request`, with the standard phrase. It repeats the
    /// request's Via, From, To, Call-ID, CSeq and Record-Route as they are, and a 100 also its
    /// Timestamp; it adds no tag to To.
    pub fn to(request: &Request, status: u16) -> Response {
        let repeated = |name: &str| {
            REPEATED.iter().any(|other| headers::same_name(name, other))
                || status == 100 && headers::same_name(name, "Timestamp")
        };
        let mut headers = Headers::new();
        for (name, value) in request.headers.iter().filter(|(name, _)| repeated(name)) {
            headers.push(name, value);
        }
        Response { status, reason: reason_phrase(status).into(), headers, body: Bytes::new() }
    }

    /// The same response with this phrase.
    pub fn with_reason(mut self, reason: impl Into<Text>) -> Response {
        self.reason = reason.into();
        self
    }

    /// The same response with one more header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Text>) -> Response {
        self.headers.push(Text::fixed(name), value);
        self
    }

    /// Gives it a body of this type.
    pub fn set_body(&mut self, content_type: impl Into<Text>, body: Bytes) {
        self.headers.remove("Content-Type");
        self.headers.push(Text::fixed("Content-Type"), content_type);
        self.body = body;
    }

    /// Gives To this tag, if it has none. The rest of To stays as the client wrote it.
    pub fn set_to_tag(&mut self, tag: &str) {
        if self.headers.to().is_ok_and(|to| to.tag().is_none()) {
            let to = self.headers.get("To").map(|to| format!("{to};tag={tag}"));
            self.headers.set("To", to.unwrap_or_default());
        }
    }

    /// What goes over the wire.
    pub fn to_bytes(&self) -> Bytes {
        print::response(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:ann@example.test SIP/2.0\r\n\
        Via: SIP/2.0/TCP p.test;branch=z9hG4bK2\r\nVia: SIP/2.0/tcp 192.0.2.1:5061\r\n\
        Record-Route: <sip:p.test;lr>\r\nFrom: \"Bob\" <sip:bob@example.test>;tag=1;epid=0a\r\n\
        t: sip:ann@example.test\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nTimestamp: 5\r\n\
        Supported: ms-sender\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";

    fn invite() -> Request {
        match Message::parse(Bytes::from(INVITE)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn prints_what_it_read() {
        assert_eq!(invite().to_bytes(), INVITE);
        let json = serde_json::to_string(&Message::from(invite())).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), invite().into());
    }

    #[test]
    fn a_response_repeats_its_request() {
        let mut response = Response::to(&invite(), 200).with_header("Supported", "ms-sender");
        response.set_to_tag("x");
        response.set_to_tag("y");
        response.set_body("text/plain", Bytes::from("ok"));
        assert_eq!(
            response.to_bytes(),
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP p.test;branch=z9hG4bK2\r\nVia: SIP/2.0/tcp 192.0.2.1:5061\r\n\
             Record-Route: <sip:p.test;lr>\r\nFrom: \"Bob\" <sip:bob@example.test>;tag=1;epid=0a\r\n\
             t: sip:ann@example.test;tag=x\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nSupported: ms-sender\r\n\
             Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
        );
        assert_eq!(Response::to(&invite(), 100).headers.get("Timestamp").map(Text::as_str), Some("5"));
        assert_eq!(Response::to(&invite(), 404).with_reason("Nobody").reason, "Nobody");
        assert_eq!(Response::to(&invite(), 499).reason, "Request Failure");
    }

    #[test]
    fn no_value_can_end_its_line_and_the_length_is_counted() {
        let mut request = Request::new(Method::Info, Uri::sip("ann", "example.test"))
            .with_header("Subject", "a\r\nEvil: 1\r\n\r\nbody")
            .with_header("content-length", "77")
            .with_header("l", "78");
        request.set_body("text/plain", Bytes::from("hi"));
        assert_eq!(
            request.to_bytes(),
            "INFO sip:ann@example.test SIP/2.0\r\nSubject: a  Evil: 1    body\r\n\
             Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
        );
        let response = Response::to(&invite(), 200).with_reason("x\r\ny");
        assert!(response.to_bytes().starts_with(b"SIP/2.0 200 x  y\r\n"));
    }
}
