//! What instant messages may hold, and which form of one each receiver gets (c3p §10, MS-CONFIM).

use bytes::Bytes;
use confab_sip::{Request, Sdp, Text, multipart};
use serde::{Deserialize, Serialize};

/// What the MCU takes in messages, as its session description says.
pub(super) const ACCEPT_TYPES: [&str; 5] =
    ["text/plain", "text/html", "text/rtf", "multipart/alternative", COMPOSING];

const COMPOSING: &str = "application/im-iscomposing+xml";
const ALTERNATIVE: &str = "multipart/alternative";

/// The root element of the typing notice that Communicator sends by INFO.
const KEYBOARD_ACTIVITY: &str = "KeyboardActivity";

/// The longest typing notice, in bytes.
const TYPING_BYTES: usize = 4 << 10;

/// The most media types one receiver is remembered to take.
const MAX_ACCEPT_TYPES: usize = 32;

/// The media types one participant takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Accepts(Vec<String>);

/// A body and its Content-Type, word for word as its author wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    /// Type and subtype, lower-case.
    kind: Text,
    pub(super) content_type: Text,
    pub(super) body: Bytes,
}

/// What somebody sends to the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    /// Something to read.
    Message(Message),
    /// That he is typing.
    Typing(Content),
}

/// A message in one or several forms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    whole: Content,
    /// The parts of multipart/alternative, the richest last.
    forms: Vec<Content>,
}

/// Why something is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is longer than allowed (413).
    TooLarge,
    /// It is of no type that conferences take (415).
    WrongType,
    /// It is compressed (415).
    Encoded,
    /// Its parts cannot be told apart (400).
    Malformed,
}

impl Unusable {
    pub(super) const fn status(self) -> u16 {
        match self {
            Unusable::TooLarge => 413,
            Unusable::WrongType | Unusable::Encoded => 415,
            Unusable::Malformed => 400,
        }
    }
}

impl Accepts {
    /// What a session description says; one that says nothing takes plain text only.
    pub(super) fn of(sdp: &Sdp) -> Accepts {
        let types = sdp.accept_types();
        if types.is_empty() {
            return Accepts(vec![ACCEPT_TYPES[0].to_owned()]);
        }
        Accepts(types.into_iter().take(MAX_ACCEPT_TYPES).map(str::to_ascii_lowercase).collect())
    }

    pub(super) fn takes(&self, content: &Content) -> bool {
        self.0.iter().any(|accepted| match accepted.strip_suffix("/*") {
            Some("*") => true,
            Some(major) => content.kind.split('/').next() == Some(major),
            None => accepted == "*" || *accepted == *content.kind,
        })
    }
}

impl Message {
    /// The best form for somebody who takes these types: the richest of several; `None` if he
    /// takes none. All forms share the author's bytes.
    // Deviation: several forms are always reduced to one; all go only to who takes nothing else.
    pub(super) fn form_for(&self, accepts: &Accepts) -> Option<&Content> {
        let best = self.forms.iter().rev().find(|form| accepts.takes(form));
        best.or_else(|| accepts.takes(&self.whole).then_some(&self.whole))
    }
}

/// What a MESSAGE holds.
pub(super) fn read_message(request: &Request, max_bytes: usize) -> Result<Sent, Unusable> {
    let content = read_content(request, max_bytes)?;
    match &*content.kind {
        COMPOSING if content.body.len() > TYPING_BYTES => Err(Unusable::TooLarge),
        COMPOSING => Ok(Sent::Typing(content)),
        ALTERNATIVE => Ok(Sent::Message(Message { forms: read_forms(request)?, whole: content })),
        kind if ACCEPT_TYPES.contains(&kind) => {
            Ok(Sent::Message(Message { whole: content, forms: Vec::new() }))
        }
        _ => Err(Unusable::WrongType),
    }
}

/// What an INFO holds: the typing notice of Communicator and nothing else.
pub(super) fn read_info(request: &Request) -> Result<Content, Unusable> {
    let content = read_content(request, TYPING_BYTES)?;
    let root = || confab_schema::xml::Element::parse(&content.body).ok();
    let is_typing =
        &*content.kind == "application/xml" && root().is_some_and(|root| root.name == KEYBOARD_ACTIVITY);
    if is_typing { Ok(content) } else { Err(Unusable::WrongType) }
}

fn read_content(request: &Request, max_bytes: usize) -> Result<Content, Unusable> {
    if request.body.len() > max_bytes {
        return Err(Unusable::TooLarge);
    }
    if request
        .headers
        .get("Content-Encoding")
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        return Err(Unusable::Encoded);
    }
    let (kind, content_type) =
        request.headers.content_type().zip(request.headers.get("Content-Type")).ok_or(Unusable::WrongType)?;
    Ok(Content { kind: kind.kind, content_type: content_type.clone(), body: request.body.clone() })
}

/// The forms of a multipart/alternative (RFC 2046 §5.1.4). One that is encoded for mail could not
/// stand alone in a SIP message and is left out.
fn read_forms(request: &Request) -> Result<Vec<Content>, Unusable> {
    let kind = request.headers.content_type().ok_or(Unusable::WrongType)?;
    let parts = multipart::parse(&kind, &request.body).map_err(|_| Unusable::Malformed)?;
    let forms = parts.into_iter().filter_map(|part| {
        let encoding =
            part.headers.get("Content-Transfer-Encoding").map(|encoding| encoding.to_ascii_lowercase());
        let plain = encoding.is_none_or(|encoding| ["7bit", "8bit", "binary"].contains(&&*encoding));
        let kind = part.headers.content_type()?.kind;
        let content_type = part.headers.get("Content-Type")?.clone();
        plain.then_some(Content { kind, content_type, body: part.body })
    });
    Ok(forms.collect())
}

#[cfg(test)]
mod tests {
    use confab_sip::{Method, Uri};

    use super::*;

    const BOTH: &str = "--b\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nhi\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n<b>hi</b>\r\n--b--\r\n";

    fn request(content_type: &str, body: &str) -> Request {
        let mut request = Request::new(Method::Message, Uri::sip("ann", "example.test"));
        request.set_body(content_type, Bytes::copy_from_slice(body.as_bytes()));
        request
    }

    fn accepts(types: &str) -> Accepts {
        let attribute = if types.is_empty() { String::new() } else { format!("a=accept-types:{types}\r\n") };
        let sdp = format!("v=0\r\nm=message 5060 sip null\r\n{attribute}");
        Accepts::of(&Sdp::parse(sdp.as_bytes()).unwrap())
    }

    #[test]
    fn each_receiver_gets_the_best_form_he_takes() {
        let check = |content_type: &str, body: &str, types: &str, expect: Option<(&str, &str)>| {
            let Ok(Sent::Message(message)) = read_message(&request(content_type, body), 1000) else {
                panic!("{content_type} is a message");
            };
            let form = message.form_for(&accepts(types));
            let form = form.map(|form| (&*form.content_type, std::str::from_utf8(&form.body).unwrap()));
            assert_eq!(form, expect, "{content_type} for {types}");
        };
        let multipart = "multipart/alternative;boundary=b";
        let plain = Some(("text/plain; charset=UTF-8", "hi"));
        let html = Some(("text/html", "<b>hi</b>"));
        check(multipart, BOTH, "text/plain text/html multipart/alternative", html);
        check(multipart, BOTH, "TEXT/HTML text/plain", html);
        check(multipart, BOTH, "text/plain image/gif", plain);
        check(multipart, BOTH, "", plain);
        check(multipart, BOTH, "text/*", html);
        check(multipart, BOTH, "*", html);
        check(multipart, BOTH, "multipart/alternative", Some((multipart, BOTH)));
        check(multipart, BOTH, "image/gif", None);
        check("text/plain;msgr=WAAt", "hi", "text/plain", Some(("text/plain;msgr=WAAt", "hi")));
        check("text/html", "<i>hi</i>", "text/plain", None);
        check("text/html", "<i>hi</i>", "text/plain */*", Some(("text/html", "<i>hi</i>")));
        let encoded = "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
            --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--\r\n";
        check(multipart, encoded, "text/plain text/html", Some(("text/plain", "hi")));
    }

    #[test]
    fn what_conferences_do_not_take_is_refused() {
        let check = |content_type: &str, body: &str, expect: u16| {
            let status = match read_message(&request(content_type, body), 100) {
                Ok(_) => 200,
                Err(unusable) => unusable.status(),
            };
            assert_eq!(status, expect, "{content_type}");
        };
        check("text/plain", "hi", 200);
        check("text/rtf", "{\\rtf1 hi}", 200);
        check("application/im-iscomposing+xml", "<isComposing/>", 200);
        check("text/x-msmsgsinvite", "Invitation-Command: INVITE", 415);
        check("application/sdp", "v=0", 415);
        check("nonsense", "hi", 415);
        check("text/plain", &"x".repeat(101), 413);
        check("multipart/alternative", "no boundary", 400);
        let mut zipped = request("text/plain", "hi");
        zipped.headers.set("Content-Encoding", "gzip");
        assert_eq!(read_message(&zipped, 100), Err(Unusable::Encoded));
    }

    #[test]
    fn info_holds_typing_notices_only() {
        let check = |content_type: &str, body: &str, expect: bool| {
            assert_eq!(read_info(&request(content_type, body)).is_ok(), expect, "{body}");
        };
        check(
            "application/xml",
            "<?xml version=\"1.0\"?><KeyboardActivity> <status status=\"type\" /></KeyboardActivity>",
            true,
        );
        check("application/xml", "<KeyboardActivity", false);
        check("application/xml", "<other/>", false);
        check("text/plain", "<KeyboardActivity/>", false);
        check(
            "application/xml",
            &format!("<KeyboardActivity>{}</KeyboardActivity>", " ".repeat(5000)),
            false,
        );
    }
}
