//! Which of the descriptions that a body holds is meant (RFC 2046 §5.1.4, MS-SDPEXT §3.1.5.1).

use bytes::Bytes;

use super::Sdp;
use crate::{Headers, Text, multipart};

/// The type of descriptions.
pub const CONTENT_TYPE: &str = "application/sdp";

/// A description as a body holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The description.
    pub sdp: Sdp,
    /// The name of the part it was taken from, which the answer says in `Ms-Accepted-Content-ID`.
    pub content_id: Option<Text>,
}

/// Why a body yields no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is of another type (415).
    WrongType,
    /// It cannot be read (400).
    Malformed,
}

/// The description in the body of a message; `None` if there is no body.
///
/// Of `multipart/alternative` the last part is meant that has a medium which is not refused. The first
/// is for the servers of 2007, and clients of today leave it empty.
///
/// # Errors
/// What is wrong with the body.
pub fn read(headers: &Headers, body: &Bytes) -> Result<Option<Described>, Unreadable> {
    let Some(kind) = headers.content_type() else {
        return if body.is_empty() { Ok(None) } else { Err(Unreadable::WrongType) };
    };
    if kind.kind.eq_ignore_ascii_case(CONTENT_TYPE) {
        let sdp = Sdp::parse(body).map_err(|_| Unreadable::Malformed)?;
        return Ok(Some(Described { sdp, content_id: None }));
    }
    if !kind.kind.eq_ignore_ascii_case("multipart/alternative") {
        return Err(Unreadable::WrongType);
    }
    let parts = multipart::parse(&kind, body).map_err(|_| Unreadable::Malformed)?;
    let mut meant: Option<Described> = None;
    for part in parts {
        let is_sdp =
            part.headers.content_type().is_some_and(|kind| kind.kind.eq_ignore_ascii_case(CONTENT_TYPE));
        let Some(sdp) = is_sdp.then(|| Sdp::parse(&part.body).ok()).flatten() else { continue };
        let offers = |sdp: &Sdp| sdp.media.iter().any(|medium| medium.port() != 0);
        if meant.as_ref().is_none_or(|meant| offers(&sdp) || !offers(&meant.sdp)) {
            meant = Some(Described { sdp, content_id: part.headers.get("Content-ID").cloned() });
        }
    }
    meant.map(Some).ok_or(Unreadable::WrongType)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str, expect: Result<Option<(&str, Option<&str>)>, Unreadable>) {
        let mut headers = Headers::new();
        if !content_type.is_empty() {
            headers.push("Content-Type", content_type);
        }
        let described = read(&headers, &Bytes::copy_from_slice(body.as_bytes()));
        let described = described.map(|described| {
            described.map(|described| {
                let medium = described.sdp.media.first().map_or("", |medium| medium.kind()).to_owned();
                (medium, described.content_id.map(|id| id.to_string()))
            })
        });
        let expect = expect.map(|some| some.map(|(kind, id)| (kind.to_owned(), id.map(str::to_owned))));
        assert_eq!(described, expect, "{content_type} {body}");
    }

    #[test]
    fn the_part_that_is_meant() {
        let both = |first: &str, second: &str| {
            format!(
                "--b\r\nContent-Type: application/sdp\r\nContent-ID: <1>\r\n\r\n{first}\r\n\
                 --b\r\nContent-Type: application/sdp\r\nContent-ID: <2>\r\n\r\n{second}\r\n--b--\r\n"
            )
        };
        let kind = "multipart/alternative;boundary=b";
        let (audio, video, stub) = (
            "v=0\r\nm=audio 4 RTP/AVP 0\r\n",
            "v=0\r\nm=video 4 RTP/AVP 34\r\n",
            "o=-\r\nm=text 0 RTP/AVP\r\n",
        );
        check("application/sdp", audio, Ok(Some(("audio", None))));
        check(kind, &both(stub, audio), Ok(Some(("audio", Some("<2>")))));
        check(kind, &both(audio, stub), Ok(Some(("audio", Some("<1>")))));
        check(kind, &both(audio, video), Ok(Some(("video", Some("<2>")))));
        check(kind, &both("nonsense", audio), Ok(Some(("audio", Some("<2>")))));
        check("", "", Ok(None));
    }

    #[test]
    fn other_bodies_are_none() {
        check("", "v=0\r\n", Err(Unreadable::WrongType));
        check("text/plain", "v=0\r\n", Err(Unreadable::WrongType));
        check("application/sdp", "nonsense", Err(Unreadable::Malformed));
        check("multipart/alternative;boundary=b", "nonsense", Err(Unreadable::Malformed));
        check("multipart/alternative;boundary=b", "--b\r\n\r\nv=0\r\n--b--", Err(Unreadable::WrongType));
        check("multipart/mixed;boundary=b", "--b--", Err(Unreadable::WrongType));
    }
}
