//! Writing messages (RFC 3261 §7).

use std::fmt::Write;

use bytes::Bytes;
use memchr::memchr2;

use super::{Headers, Request, Response, headers::same_name};

pub(super) fn request(request: &Request) -> Bytes {
    head_of_request(request, request.body.len()).with(&request.body)
}

pub(super) fn request_head(request: &Request) -> Bytes {
    head_of_request(request, 0).with(&[])
}

pub(super) fn response(response: &Response) -> Bytes {
    head_of_response(response, response.body.len()).with(&response.body)
}

pub(super) fn response_head(response: &Response) -> Bytes {
    head_of_response(response, 0).with(&[])
}

/// With room for so many bytes more.
fn head_of_request(request: &Request, room: usize) -> Printer {
    let mut out = Printer::new(&request.headers, room);
    out.line(format_args!("{} {} SIP/2.0", request.method, request.uri));
    out.rest(&request.headers, request.body.len());
    out
}

fn head_of_response(response: &Response, room: usize) -> Printer {
    let mut out = Printer::new(&response.headers, room);
    out.line(format_args!("SIP/2.0 {} {}", response.status, response.reason));
    out.rest(&response.headers, response.body.len());
    out
}

/// Room for the first line, Content-Length and the empty line.
const FRAME: usize = 256;

struct Printer {
    head: String,
}

impl Printer {
    /// With room for the head and so much more, so that it is written once and where it stays.
    fn new(headers: &Headers, room: usize) -> Printer {
        let lines: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        Printer { head: String::with_capacity(FRAME + lines + room) }
    }

    /// Appends one line.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let start = self.head.len();
        self.head.write_fmt(line).expect("a String takes all that is written to it");
        self.end_line(start);
    }

    /// Ends the line that began at `start`. A line end within it would let a value pass for a header
    /// of its own or for the end of the head: it becomes a blank.
    fn end_line(&mut self, start: usize) {
        if memchr2(b'\r', b'\n', &self.head.as_bytes()[start..]).is_some() {
            let clean = self.head.split_off(start).replace(['\r', '\n'], " ");
            self.head.push_str(&clean);
        }
        self.head.push_str("\r\n");
    }

    /// Appends the headers. Content-Length stands last, whatever the list says.
    fn rest(&mut self, headers: &Headers, body: usize) {
        for (name, value) in headers.iter().filter(|(name, _)| !same_name(name, "Content-Length")) {
            let start = self.head.len();
            self.head.push_str(name);
            self.head.push_str(": ");
            self.head.push_str(value);
            self.end_line(start);
        }
        self.line(format_args!("Content-Length: {body}"));
        self.head.push_str("\r\n");
    }

    /// The head with this behind it.
    fn with(self, body: &[u8]) -> Bytes {
        let mut message = self.head.into_bytes();
        message.extend_from_slice(body);
        message.into()
    }
}
