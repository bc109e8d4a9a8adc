//! Bodies of several parts: multipart/related, alternative, mixed (RFC 2046 §5.1, RFC 5621).

use bytes::{Bytes, BytesMut};

use crate::Text;
use crate::message::{Headers, MAX_HEADERS, Malformed, MediaType, head};

/// The most parts of a body: a batched presence answer has one for each contact.
pub const MAX_PARTS: usize = 2048;

/// The longest boundary, in bytes (RFC 2046 §5.1.1).
pub const MAX_BOUNDARY: usize = 70;

/// One part: its headers (Content-Type, Content-ID, Content-Disposition) and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The headers.
    pub headers: Headers,
    /// What it holds.
    pub body: Bytes,
}

impl Part {
    /// A part of this type.
    pub fn new(content_type: &str, body: Bytes) -> Part {
        let mut headers = Headers::new();
        headers.push("Content-Type", content_type);
        Part { headers, body }
    }

    /// The same part with one more header.
    pub fn with_header(mut self, name: &str, value: impl Into<Text>) -> Part {
        self.headers.push(name, value);
        self
    }
}

/// Takes the body of a message or part of type `content_type` apart. Parts that have parts of
/// their own are not taken apart further.
///
/// # Errors
/// When the type is not multipart or names no boundary, the boundary is not found, the last one is
/// missing, or the headers of a part cannot be read.
pub fn parse(content_type: &MediaType, body: &Bytes) -> Result<Vec<Part>, Malformed> {
    let fault = |problem: &'static str| Malformed::new("multipart body", problem);
    if !content_type.kind.starts_with("multipart/") {
        return Err(fault("is not of a multipart type"));
    }
    let boundary = content_type.params.unquoted("boundary").unwrap_or_default();
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
        return Err(fault("has no boundary of 1 to 70 characters"));
    }
    let delimiter = format!("--{boundary}");
    let mut next =
        find_delimiter(body, 0, delimiter.as_bytes()).ok_or_else(|| fault("lacks its boundary"))?;
    let mut parts = Vec::new();
    while !next.last {
        let start = next.after;
        next = find_delimiter(body, start, delimiter.as_bytes())
            .ok_or_else(|| fault("ends before its last boundary"))?;
        if parts.len() == MAX_PARTS {
            return Err(fault("has too many parts"));
        }
        parts.push(part(body.slice(start..next.before.max(start)))?);
    }
    Ok(parts)
}

/// Prints parts between `boundary`s, which must occur in none of them; see [`boundary_for`].
///
/// A blank line is put before each boundary.
// Deviation: that line end belongs to the part by RFC 2046 §5.1.1, and none needs it; but
// libpurple cuts the last two characters off a part that does not end in an empty line.
pub fn print(parts: &[Part], boundary: &str) -> Bytes {
    let mut out = BytesMut::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        for (name, value) in part.headers.iter() {
            let line = format!("{name}: {value}").replace(['\r', '\n'], " ");
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&part.body);
        out.extend_from_slice(b"\r\n\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out.freeze()
}

/// A boundary that occurs in none of the parts. It follows from them, so that the same parts
/// always print the same.
pub fn boundary_for(parts: &[Part]) -> String {
    let occurs = |boundary: &str| {
        parts.iter().any(|part| part.body.windows(boundary.len()).any(|window| window == boundary.as_bytes()))
    };
    let mut number = 0_u32;
    loop {
        let boundary = format!("part-boundary-{number}");
        if !occurs(&boundary) {
            return boundary;
        }
        number += 1;
    }
}

/// A boundary line: the bytes between parts.
struct Delimiter {
    /// Where the part before it ends.
    before: usize,
    /// Where the part after it begins.
    after: usize,
    /// Whether it is the one behind the last part.
    last: bool,
}

/// The first line at or behind `from` that begins with `delimiter` and holds nothing else.
fn find_delimiter(body: &[u8], from: usize, delimiter: &[u8]) -> Option<Delimiter> {
    let mut line = from;
    while line <= body.len() {
        let end = body[line..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| line + at + 1);
        if let Some(rest) = body[line..end].strip_prefix(delimiter) {
            let (rest, last) = match rest.strip_prefix(b"--") {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            if rest.iter().all(u8::is_ascii_whitespace) {
                let before = body[..line].strip_suffix(b"\r\n").map_or(line, <[u8]>::len);
                return Some(Delimiter { before, after: end, last });
            }
        }
        if end == body.len() {
            return None;
        }
        line = end;
    }
    None
}

/// Reads one part: headers, an empty line, what it holds.
fn part(bytes: Bytes) -> Result<Part, Malformed> {
    let fault = |problem: &'static str| Malformed::new("part of a multipart body", problem);
    // Without headers a part begins with the empty line; without a body that line is the one
    // before the boundary, which is no longer here.
    let (head_end, body_start) = match bytes.strip_prefix(b"\r\n") {
        Some(_) => (0, 2),
        None => {
            let end = head::end(&bytes, 0).unwrap_or(bytes.len());
            (end, end)
        }
    };
    let lines =
        std::str::from_utf8(&bytes[..head_end]).map_err(|_| fault("has headers that are not UTF-8"))?;
    let lines = Text::from(lines);
    let mut headers = Headers::new();
    for line in head::header_lines(&lines) {
        let line = line.map_err(fault)?;
        if headers.len() == MAX_HEADERS {
            return Err(fault("has too many headers"));
        }
        headers.push(lines.part(line.name), lines.part(&line.value));
    }
    Ok(Part { headers, body: bytes.slice(body_start..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    fn parts(content_type: &str, body: &str) -> Result<Vec<(String, String)>, String> {
        let parts =
            parse(&kind(content_type), &Bytes::from(body.to_owned())).map_err(|fault| fault.to_string())?;
        let plain = |part: &Part| {
            let kind = part.headers.get("Content-Type").map(|kind| kind.to_string()).unwrap_or_default();
            (kind, String::from_utf8_lossy(&part.body).into_owned())
        };
        Ok(parts.iter().map(plain).collect())
    }

    #[test]
    fn takes_bodies_apart() {
        let check = |body: &str, expect: &[(&str, &str)]| {
            let expect: Vec<_> = expect.iter().map(|(k, b)| ((*k).to_owned(), (*b).to_owned())).collect();
            assert_eq!(parts("multipart/mixed;boundary=\"b\"", body), Ok(expect), "{body:?}");
        };
        check(
            "--b\r\nContent-Type: a/b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--",
            &[("a/b", "one"), ("", "two")],
        );
        check("preamble\r\n--b  \r\n\r\none\r\n\r\n--b--\r\nepilogue", &[("", "one\r\n")]);
        check("--b\r\n\r\n--bb\r\n--b-x\r\n--b--\r\n", &[("", "--bb\r\n--b-x")]);
        check("--b\r\nc:\r\n a/b\r\n\r\n--b--", &[("a/b", "")]);
        check("--b--", &[]);
    }

    #[test]
    fn refuses() {
        let check = |content_type: &str, body: &str, expect: &str| {
            assert_eq!(parts(content_type, body), Err(expect.to_owned()));
        };
        let mixed = "multipart/mixed;boundary=b";
        check("text/plain;boundary=b", "", "multipart body: is not of a multipart type");
        check("multipart/mixed", "", "multipart body: has no boundary of 1 to 70 characters");
        check(mixed, "--c\r\n", "multipart body: lacks its boundary");
        check(mixed, "--b\r\n\r\none\r\n--b\r\n", "multipart body: ends before its last boundary");
        check(mixed, "--b\r\nno colon\r\n\r\n--b--", "part of a multipart body: has no colon");
        let many = "--b\r\n\r\n\r\n".repeat(MAX_PARTS + 1) + "--b--";
        check(mixed, &many, "multipart body: has too many parts");
    }

    #[test]
    fn what_is_printed_is_read_again_with_a_blank_line_at_the_end() {
        let printed = [
            Part::new("application/rlmi+xml", Bytes::from("<list/>")).with_header("Content-ID", "<root@x>"),
            Part::new("text/plain", Bytes::from("--part-boundary-0")),
        ];
        let boundary = boundary_for(&printed);
        assert_eq!(boundary, "part-boundary-1");
        let body = print(&printed, &boundary);
        assert_eq!(
            body,
            "--part-boundary-1\r\nContent-Type: application/rlmi+xml\r\nContent-ID: <root@x>\r\n\r\n<list/>\r\n\
             \r\n--part-boundary-1\r\nContent-Type: text/plain\r\n\r\n--part-boundary-0\r\n\r\n--part-boundary-1--\r\n"
        );
        let read = parse(&kind("multipart/related;boundary=part-boundary-1"), &body).unwrap();
        assert_eq!(read[0].headers, printed[0].headers);
        assert_eq!(read[0].body, "<list/>\r\n");
    }
}
