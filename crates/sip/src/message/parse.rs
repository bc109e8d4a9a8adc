//! Reading messages (RFC 3261 §7, §16.3; robust as RFC 4475 asks).

use bytes::Bytes;

use super::{
    Headers, MAX_HEADER_LINE, MAX_HEADERS, MAX_MESSAGE, MAX_START_LINE, Malformed, Message, Method, Request,
    Response, Uri, head, headers::same_name, scan,
};
use crate::Text;

/// Headers that a message has at most one of, by what they mean.
const SINGLE: [&str; 6] = ["Call-ID", "Content-Length", "CSeq", "From", "Max-Forwards", "To"];

/// Headers without which nothing can be answered.
const MANDATORY: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Reads one message. Reading goes on behind a fault, so that a request that is refused can be
/// answered; the first fault is the one that is told.
pub(super) fn message(bytes: Bytes) -> Result<Message, Malformed> {
    let skipped = bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
    let bytes = bytes.slice(skipped..);
    let mut faults = Faults::default();
    if bytes.len() > MAX_MESSAGE {
        return Err(Malformed::new("message", format!("is longer than {MAX_MESSAGE} bytes")));
    }
    let head_end = head::end(&bytes, 0);
    if head_end.is_none() {
        faults.note(Malformed::new("message", "has no empty line behind its headers"));
    }
    let head = bytes.slice(..head_end.unwrap_or(bytes.len()));
    let head = match std::str::from_utf8(&head) {
        Ok(head) => Text::from(head),
        Err(_) => {
            faults.note(Malformed::new("message", "holds bytes in its head that are not UTF-8"));
            String::from_utf8_lossy(&head).into()
        }
    };
    let (line, lines) = head::start_line(&head);
    let start = start(&head, line, &mut faults);
    let (headers, length) = headers(&head, lines, &mut faults);
    if faults.0.is_none() {
        check(&start, &headers, &mut faults);
    }
    let body = body(bytes.slice(head_end.unwrap_or(bytes.len())..), length, &mut faults);
    match (start, faults.0) {
        (Start::Request(method, uri), None) => Ok(Message::Request(Request { method, uri, headers, body })),
        (Start::Response(status, reason), None) => {
            Ok(Message::Response(Response { status, reason, headers, body }))
        }
        (Start::Request(method, uri), Some(fault)) => {
            Err(fault.with_partial(Some(Request { method, uri, headers, body: Bytes::new() })))
        }
        (_, fault) => {
            Err(fault.unwrap_or_else(|| Malformed::new("message", "is neither request nor response")))
        }
    }
}

/// What the first line says.
enum Start {
    Request(Method, Uri),
    Response(u16, Text),
    Unreadable,
}

#[derive(Default)]
struct Faults(Option<Malformed>);

impl Faults {
    fn note(&mut self, fault: Malformed) {
        self.0.get_or_insert(fault);
    }

    fn take<T>(&mut self, result: Result<T, Malformed>) -> Option<T> {
        result.map_err(|fault| self.note(fault)).ok()
    }
}

/// Reads a request line or status line, a piece of `head`.
fn start(head: &Text, line: &str, faults: &mut Faults) -> Start {
    if line.len() > MAX_START_LINE {
        faults.note(Malformed::new("start line", format!("is longer than {MAX_START_LINE} bytes")));
        return Start::Unreadable;
    }
    if line.contains(['\r', '\n']) {
        faults.note(Malformed::new("start line", "holds a carriage return or line feed that ends no line"));
        return Start::Unreadable;
    }
    if let Some(rest) = strip_version(line).and_then(|rest| rest.strip_prefix(' ')) {
        return match faults.take(status_line(head, rest)) {
            Some((status, reason)) => Start::Response(status, reason),
            None => Start::Unreadable,
        };
    }
    let Some((method, rest)) = line.split_once(' ') else {
        faults.note(Malformed::new("start line", "is neither a request line nor a status line"));
        return Start::Unreadable;
    };
    let Some(method) = faults.take(Method::parse(&head.part(method))) else { return Start::Unreadable };
    let uri = faults.take(request_uri(head, rest)).unwrap_or_else(|| Uri::sip("", "unreadable.invalid"));
    Start::Request(method, uri)
}

/// What follows `SIP/2.0`, if `line` begins with it.
fn strip_version(line: &str) -> Option<&str> {
    let (version, rest) = line.split_at_checked(7)?;
    version.eq_ignore_ascii_case("SIP/2.0").then_some(rest)
}

fn status_line(head: &Text, rest: &str) -> Result<(u16, Text), Malformed> {
    let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = scan::number(digits).filter(|status| digits.len() == 3 && (100..=699).contains(status));
    match status.and_then(|status| u16::try_from(status).ok()) {
        Some(status) => Ok((status, head.part(reason))),
        None => Err(Malformed::new("status line", format!("{digits:?} is not a status from 100 to 699"))),
    }
}

/// Reads what follows the method: a URI and the version, one blank between them.
fn request_uri(head: &Text, rest: &str) -> Result<Uri, Malformed> {
    let place = "request line";
    let (uri, version) = rest.split_once(' ').unwrap_or((rest, ""));
    if strip_version(version) != Some("") {
        let fault = Malformed::new(place, format!("ends in {version:?} instead of SIP/2.0"));
        let other = version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
        return Err(if other && !version.contains(' ') { fault.with_status(505) } else { fault });
    }
    let uri = Uri::parse(&head.part(uri)).map_err(|fault| fault.at(place))?;
    if uri.headers.is_some() && matches!(uri.scheme, super::Scheme::Sip | super::Scheme::Sips) {
        return Err(Malformed::new(place, "has a URI with headers, which only a link may have"));
    }
    Ok(uri)
}

/// Reads the header lines in `lines`, a piece of `head`: all but Content-Length, and its value.
fn headers(head: &Text, lines: &str, faults: &mut Faults) -> (Headers, Option<usize>) {
    let mut headers = Headers::new();
    let mut length: Option<Text> = None;
    for (number, line) in head::header_lines(lines).enumerate() {
        if number == MAX_HEADERS {
            faults.note(Malformed::new("message", format!("has more than {MAX_HEADERS} headers")));
            break;
        }
        let line = match line {
            Ok(line) => line,
            Err(problem) => {
                faults.note(Malformed::new(format!("header {}", number + 1), problem));
                continue;
            }
        };
        if line.name.len() + line.value.len() > MAX_HEADER_LINE {
            let place = format!("header {}", number + 1);
            faults.note(Malformed::new(place, format!("is longer than {MAX_HEADER_LINE} bytes")));
            continue;
        }
        let value = head.part(&line.value);
        let single = SINGLE.into_iter().find(|name| same_name(line.name, name));
        let earlier = match single {
            Some("Content-Length") => length.as_ref(),
            Some(name) => headers.get(name),
            None => None,
        };
        match earlier {
            Some(earlier) if *earlier != value => {
                faults.note(Malformed::new(
                    single.unwrap_or_default(),
                    "is there twice, with different values",
                ));
            }
            Some(_) => {}
            None if single == Some("Content-Length") => length = Some(value),
            None => headers.push(head.part(line.name), value),
        }
    }
    let length = length.and_then(|length| faults.take(content_length(&length)));
    (headers, length)
}

/// Reads the value of Content-Length.
pub(crate) fn content_length(text: &str) -> Result<usize, Malformed> {
    let length = scan::number(text).and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| Malformed::new("Content-Length", format!("{text:?} is not a number of bytes")))
}

/// Checks what everything that handles a message relies on.
fn check(start: &Start, headers: &Headers, faults: &mut Faults) {
    for name in MANDATORY.into_iter().filter(|name| headers.get(name).is_none()) {
        faults.note(Malformed::new(name, "is missing"));
    }
    if headers.call_id().is_ok_and(|call_id| call_id.is_empty()) {
        faults.note(Malformed::new("Call-ID", "is empty"));
    }
    faults.take(headers.top_via());
    faults.take(headers.vias());
    faults.take(headers.from());
    faults.take(headers.to());
    faults.take(headers.max_forwards());
    let cseq = faults.take(headers.cseq());
    if let (Start::Request(method, _), Some(cseq)) = (start, cseq)
        && cseq.method != *method
    {
        faults.note(Malformed::new("CSeq", format!("names {} in a request that is {method}", cseq.method)));
    }
}

/// The body: as many of the bytes behind the head as Content-Length says, or all (RFC 3261 §18.3).
fn body(rest: Bytes, length: Option<usize>, faults: &mut Faults) -> Bytes {
    match length {
        Some(length) if length > rest.len() => {
            let problem = format!("says {length} bytes, but {} follow", rest.len());
            faults.note(Malformed::new("Content-Length", problem));
            rest
        }
        Some(length) => rest.slice(..length),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with `lines` before an empty line and a body, and what it was taken for.
    fn parse(start: &str, lines: &str, body: &str) -> Result<Message, Malformed> {
        message(Bytes::from(format!("{start}\r\n{lines}\r\n{body}")))
    }

    const START: &str = "INFO sip:ann@example.test SIP/2.0";
    const LINES: &str = "v: SIP/2.0/UDP a.test\r\nf: <sip:a@b.test>;tag=1\r\nt: <sip:c@d.test>\r\n\
        i: 1\r\nCSeq: 1 INFO\r\n";

    #[test]
    fn bodies_by_content_length() {
        let check = |length: &str, body: &str, expect: Result<&str, &str>| {
            let read = parse(START, &format!("{LINES}{length}"), body);
            let read = read.as_ref().map(|message| message.body()).map_err(|fault| fault.to_string());
            assert_eq!(
                read,
                expect.map(|b| Bytes::from(b.to_owned())).as_ref().map_err(|f| f.to_string()),
                "{length}"
            );
        };
        check("", "body", Ok("body"));
        check("l: 4\r\n", "body", Ok("body"));
        check("l: 4\r\n", "body and more", Ok("body"));
        check("l: 0\r\nContent-Length: 0\r\n", "body", Ok(""));
        check("Content-Length: 5\r\n", "body", Err("Content-Length: says 5 bytes, but 4 follow"));
        check("Content-Length: -1\r\n", "body", Err("Content-Length: \"-1\" is not a number of bytes"));
        check("l: 4\r\nl: 3\r\n", "body", Err("Content-Length: is there twice, with different values"));
    }

    #[test]
    fn faults_are_told_and_the_rest_is_kept() {
        let check = |start: &str, lines: &str, expect: &str| {
            let fault = parse(start, lines, "").unwrap_err();
            assert_eq!(fault.to_string(), expect);
            fault
        };
        let partial = |fault: Malformed| fault.partial().cloned().expect("a request");
        for (extra, expect) in [
            ("no colon\r\n", "header 6: has no colon"),
            ("Call-ID: 2\r\n", "Call-ID: is there twice, with different values"),
            ("Max-Forwards: 300\r\n", "Max-Forwards: \"300\" is no number below 256"),
            ("A: 1\rB: 2\r\n", "header 6: holds a carriage return or line feed that ends no line"),
        ] {
            let fault = check(START, &format!("{LINES}{extra}"), expect);
            assert_eq!(fault.status(), 400);
            assert_eq!(partial(fault).headers.call_id().unwrap(), "1");
        }
        let fault = check(
            "INFO sip:ann@example.test SIP/7.0",
            LINES,
            "request line: ends in \"SIP/7.0\" instead of SIP/2.0",
        );
        assert_eq!(fault.status(), 505);
        assert_eq!(partial(fault).uri, Uri::sip("", "unreadable.invalid"));
        check(
            "INFO sip:ann@example.test  SIP/2.0",
            LINES,
            "request line: ends in \" SIP/2.0\" instead of SIP/2.0",
        );
        check("INFO", LINES, "start line: is neither a request line nor a status line");
        check("SIP/2.0 99 x", LINES, "status line: \"99\" is not a status from 100 to 699");
        check("BYE sip:ann@example.test SIP/2.0", LINES, "CSeq: names INFO in a request that is BYE");
        check(START, "", "Via: is missing");
        let many = format!("{LINES}{}", "A: 1\r\n".repeat(MAX_HEADERS));
        check(START, &many, "message: has more than 256 headers");
        let long = format!("{LINES}A: {}\r\n", "x".repeat(MAX_HEADER_LINE));
        check(START, &long, "header 6: is longer than 65536 bytes");
        let long = format!("INFO sip:{} SIP/2.0", "x".repeat(MAX_START_LINE));
        check(&long, LINES, "start line: is longer than 8192 bytes");
        let long = "x".repeat(MAX_MESSAGE + 1);
        assert_eq!(
            message(Bytes::from(long)).unwrap_err().to_string(),
            "message: is longer than 1048576 bytes"
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_but_answered() {
        let mut bytes = format!("{START}\r\n{LINES}Subject: ").into_bytes();
        bytes.extend_from_slice(b"\xff\r\n\r\n");
        let fault = message(Bytes::from(bytes)).unwrap_err();
        assert_eq!(fault.to_string(), "message: holds bytes in its head that are not UTF-8");
        assert_eq!(fault.partial().expect("a request").headers.len(), 6);
    }

    #[test]
    fn what_may_stand_before_and_what_must_behind() {
        let whole = format!("\r\n\r\n\r\n{START}\r\n{LINES}\r\n");
        assert!(message(Bytes::from(whole.clone())).is_ok());
        let cut = whole[..whole.len() - 2].to_owned();
        assert_eq!(
            message(Bytes::from(cut)).unwrap_err().to_string(),
            "message: has no empty line behind its headers"
        );
        for nothing in ["", "\r\n", "\r\n\r\n"] {
            assert!(message(Bytes::from(nothing)).is_err());
        }
    }

    #[test]
    fn identical_copies_of_a_single_header_are_one() {
        let read = parse(START, &format!("{LINES}Call-ID: 1\r\n"), "").unwrap();
        assert_eq!(read.headers().all("Call-ID").count(), 1);
    }
}
