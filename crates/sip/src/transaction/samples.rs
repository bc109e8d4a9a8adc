//! Messages and shorthand for the tests of the transaction machines.

use confab_machine::Time;

use super::machine::{ClientEffect, ServerEffect};
use crate::{Message, Request, Response};

/// So many milliseconds after the start.
pub(super) fn at(ms: u64) -> Time {
    Time::from_micros(1_000_000_000 + ms * 1000)
}

/// A request as it goes over the wire, with a branch.
pub(super) fn request(method: &str) -> Request {
    request_with_via(method, "SIP/2.0/TCP host.test:5070;branch=z9hG4bKnear")
}

/// The same request, with this Via.
pub(super) fn request_with_via(method: &str, via: &str) -> Request {
    let text = format!(
        "{method} sip:bob@example.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@example.test>;tag=near;epid=01\r\nTo: <sip:bob@example.test>\r\n\
         Call-ID: call\r\nCSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
    );
    match Message::parse(text.into()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => unreachable!("it was printed as a request"),
    }
}

/// The response to [`request`] of this status, with a To tag if one follows a blank.
pub(super) fn response(method: &str, status_and_tag: &str) -> Response {
    let (status, tag) = status_and_tag.split_once(' ').unwrap_or((status_and_tag, ""));
    let mut response = Response::to(&request(method), status.parse().unwrap());
    if !tag.is_empty() {
        response.set_to_tag(tag);
    }
    response
}

/// What a client machine did, a line each, with the milliseconds it happened at.
pub(super) fn summary(ms: u128, effects: &mut Vec<ClientEffect>) -> Vec<String> {
    let line = |effect| match effect {
        ClientEffect::Transmit(request) => format!("{ms} send {}", request.method),
        ClientEffect::Deliver(response) => format!("{ms} deliver {}", response.status),
        ClientEffect::Repeat(response) => format!("{ms} repeat {}", response.status),
        ClientEffect::Cancel(request) => format!("{ms} {}", request.method).to_lowercase(),
        ClientEffect::Fail(failure) => format!("{ms} fail {failure:?}"),
    };
    effects.drain(..).map(line).collect()
}

/// The same of a server machine.
pub(super) fn server_summary(ms: u128, effects: &mut Vec<ServerEffect>) -> Vec<String> {
    let line = |effect| match effect {
        ServerEffect::Transmit(response) => format!("{ms} send {}", response.status),
        ServerEffect::Fail(failure) => format!("{ms} fail {failure:?}"),
    };
    effects.drain(..).map(line).collect()
}
