//! Session descriptions as ordered lines with typed access (RFC 4566, RFC 3264, MS-SDPEXT).
//!
//! What is read is printed again byte for byte: dialects differ in details that matter to someone
//! (candidates of older drafts, blanks at line ends). Only what a media line says is checked.
//!
//! - `sdp/rtp.rs`: one medium over RTP as typed values; `sdp/crypto.rs` and `sdp/ice.rs` its keys and
//!   connectivity checks;
//! - `sdp/body.rs`: which description of a body is meant.

pub mod body;
pub mod crypto;
pub mod ice;
pub mod rtp;

use std::fmt::Write;

use bytes::Bytes;

use crate::{Malformed, Text, Uri};

/// The most lines of a description.
pub const MAX_LINES: usize = 2048;

/// The port of SIP where none is named (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// The most media of a description.
pub const MAX_MEDIA: usize = 64;

/// A session description: lines for the whole session, then media, each with lines of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Sdp {
    /// The lines before the first medium.
    pub session: Section,
    /// The media in order; an answer has as many as its offer.
    pub media: Vec<Media>,
    /// Empty lines at the end.
    tail: Text,
}

/// One medium: its `m=` line and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    line: Line,
    port: u16,
    /// The lines that belong to it: `c=`, `b=`, `a=`.
    pub section: Section,
}

/// Lines in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section(Vec<Line>);

/// One line with its line end, as it came: `a=rtpmap:0 PCMU/8000\r\n`.
#[derive(Clone, Debug, PartialEq)]
struct Line(Text);

impl Sdp {
    /// Reads a description. Line ends may be CRLF or LF; empty lines may stand at the end.
    // Deviation: v=, o=, s= and t= may be missing, as they are in the first part of what clients
    // send as multipart/alternative for OCS 2007.
    ///
    /// # Errors
    /// When it is not UTF-8, a line is not of the form `x=value`, or a media line lacks kind, port
    /// or protocol.
    pub fn parse(bytes: &[u8]) -> Result<Sdp, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("SDP", "is not UTF-8"))?;
        let content = text.trim_end_matches(['\r', '\n']).len();
        // The end of the last line belongs to that line.
        let end = ["\r\n", "\n"].into_iter().find(|end| text[content..].starts_with(end)).map_or(0, str::len);
        let text = Text::from(text);
        let (content, tail) = text.split_at(content + end);
        let mut sdp = Sdp { session: Section::default(), media: Vec::new(), tail: text.part(tail) };
        for (index, line) in content.split_inclusive('\n').enumerate() {
            let fault = |problem: &'static str| Malformed::new(format!("SDP line {}", index + 1), problem);
            let line = Line(text.part(line));
            if !line.is_readable() {
                return Err(fault("is not a letter, an equals sign and a value"));
            }
            if index == MAX_LINES || line.kind() == 'm' && sdp.media.len() == MAX_MEDIA {
                return Err(fault("is one more than a description may have"));
            }
            match (line.kind(), sdp.media.last_mut()) {
                ('m', _) => sdp.media.push(Media::parse(line).map_err(fault)?),
                (_, Some(medium)) => medium.section.0.push(line),
                (_, None) => sdp.session.0.push(line),
            }
        }
        if sdp.session.0.is_empty() && sdp.media.is_empty() {
            return Err(Malformed::new("SDP", "is empty"));
        }
        Ok(sdp)
    }

    /// The description as a body.
    pub fn to_bytes(&self) -> Bytes {
        let media =
            self.media.iter().flat_map(|medium| std::iter::once(&medium.line).chain(&medium.section.0));
        let mut text = String::new();
        for line in self.session.0.iter().chain(media) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push_str("\r\n");
            }
            text.push_str(&line.0);
        }
        text.push_str(&self.tail);
        Bytes::from(text)
    }

    /// The medium `m=message` of an instant-messaging session, if it is offered and not refused.
    pub fn message(&self) -> Option<&Media> {
        self.media.iter().find(|medium| medium.is_message())
    }

    /// The media types the peer takes in messages, as its `a=accept-types` lists them; empty if
    /// it does not say.
    pub fn accept_types(&self) -> Vec<&str> {
        let types = self.message().and_then(|medium| medium.section.attribute("accept-types"));
        types.unwrap_or_default().split_ascii_whitespace().collect()
    }

    /// Where `medium` is received: the address of its own `c=` line or of the session's.
    pub fn address<'a>(&'a self, medium: &'a Media) -> Option<&'a str> {
        let connection = medium.section.value('c').or_else(|| self.session.value('c'))?;
        let address = connection.split_ascii_whitespace().nth(2)?;
        address.split('/').next()
    }

    /// An offer of instant messaging in a SIP dialog. `sent_by` is where the sender speaks SIP,
    /// `host` or `host:port`, as in its Via; nothing else is received there.
    pub fn message_offer(sent_by: &str, accept_types: &[&str]) -> Sdp {
        let (mut sdp, port) = Sdp::blank(sent_by, 0);
        sdp.media.push(Media::message(port, "null", accept_types));
        sdp
    }

    /// A description without any medium: the offer of an end that has none (RFC 3264 §5), or, if
    /// there is an `offer`, the answer that refuses all of it. `version` tells it from those that were
    /// sent in the dialog before; it never goes back.
    pub fn without_media(offer: Option<&Sdp>, sent_by: &str, version: u32) -> Sdp {
        let (mut sdp, _) = Sdp::blank(sent_by, version);
        sdp.media = offer.map_or_else(Vec::new, |offer| offer.media.iter().map(Media::refused).collect());
        sdp
    }

    /// The answer to an offer of instant messaging: `m=message` is accepted in the name of `uri`,
    /// all other media are refused. `sent_by` as in [`Sdp::message_offer`].
    ///
    /// # Errors
    /// When the offer has no `m=message`, which is to be answered with 488.
    pub fn message_answer(
        offer: &Sdp,
        sent_by: &str,
        uri: &Uri,
        accept_types: &[&str],
    ) -> Result<Sdp, Malformed> {
        let accepted = offer.media.iter().position(Media::is_message);
        let accepted = accepted.ok_or_else(|| Malformed::new("SDP", "offers no instant messaging"))?;
        let (mut sdp, port) = Sdp::blank(sent_by, 0);
        for (index, offered) in offer.media.iter().enumerate() {
            sdp.media.push(if index == accepted {
                Media::message(port, &uri.to_string(), accept_types)
            } else {
                offered.refused()
            });
        }
        Ok(sdp)
    }

    /// A description without media, as OCS clients write it, and the port `sent_by` names.
    fn blank(sent_by: &str, version: u32) -> (Sdp, u16) {
        let (host, port) = match sent_by.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().ok()),
            None => (sent_by, None),
        };
        let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => format!("IN IP6 {address}"),
            None => format!("IN IP4 {host}"),
        };
        let mut session = Section::default();
        session.push('v', "0");
        session.push('o', &format!("- 0 {version} {address}"));
        session.push('s', "session");
        session.push('c', &address);
        session.push('t', "0 0");
        (Sdp { session, media: Vec::new(), tail: Text::default() }, port.unwrap_or(DEFAULT_PORT))
    }
}

impl Media {
    /// What it is: `audio`, `video`, `message`, `applicationsharing`.
    pub fn kind(&self) -> &str {
        self.fields().next().unwrap_or_default()
    }

    /// The port it is received at; 0 = refused.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it is carried: `RTP/AVP`, `sip`.
    pub fn protocol(&self) -> &str {
        self.fields().nth(2).unwrap_or_default()
    }

    /// The formats in order of preference: payload types of RTP, an address or `null` for `sip`.
    pub fn formats(&self) -> impl Iterator<Item = &str> {
        self.fields().skip(3)
    }

    /// The attributes of this medium; see [`Section::attributes`].
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.section.attributes(name)
    }

    /// The first attribute of this name; see [`Section::attribute`].
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.section.attribute(name)
    }

    /// Whether it is instant messages in the SIP dialog itself; MSRP, for one, is another medium.
    fn is_message(&self) -> bool {
        self.kind() == "message" && self.port != 0 && self.protocol().eq_ignore_ascii_case("sip")
    }

    fn parse(line: Line) -> Result<Media, &'static str> {
        let mut fields = line.value().split_ascii_whitespace();
        let (kind, port, protocol) = (fields.next(), fields.next(), fields.next());
        if kind.is_none() || protocol.is_none() {
            return Err("is a media line without kind, port or protocol");
        }
        let port = port.and_then(|port| port.split('/').next()).and_then(crate::message::scan::number);
        let port = port
            .and_then(|port| u16::try_from(port).ok())
            .ok_or("has a port that is no number below 65536")?;
        Ok(Media { line, port, section: Section::default() })
    }

    fn message(port: u16, format: &str, accept_types: &[&str]) -> Media {
        let line = Line::new('m', &format!("message {port} sip {format}"));
        let mut section = Section::default();
        section.push_attribute("accept-types", &accept_types.join(" "));
        Media { line, port, section }
    }

    /// The same medium as an answer refuses it (RFC 3264 §6).
    pub fn refused(&self) -> Media {
        let mut value = format!("{} 0 {}", self.kind(), self.protocol());
        for format in self.formats() {
            write!(value, " {format}").expect("a String takes all that is written to it");
        }
        Media { line: Line::new('m', &value), port: 0, section: Section::default() }
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.line.value().split_ascii_whitespace()
    }
}

impl Section {
    /// The value of the first line of this kind: `c` for `c=IN IP4 192.0.2.1`.
    pub fn value(&self, kind: char) -> Option<&str> {
        self.0.iter().find(|line| line.kind() == kind).map(Line::value)
    }

    /// The value of the first attribute of this name; empty for an attribute without one
    /// (`a=inactive`).
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.all_attributes().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The values of all attributes of this name.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all_attributes().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Names and values of all attributes.
    pub fn all_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let attributes = self.0.iter().filter(|line| line.kind() == 'a').map(Line::value);
        attributes.map(|attribute| attribute.split_once(':').unwrap_or((attribute, "")))
    }

    /// Appends a line.
    pub fn push(&mut self, kind: char, value: &str) {
        self.0.push(Line::new(kind, value));
    }

    /// Appends an attribute; one without a value if `value` is empty.
    pub fn push_attribute(&mut self, name: &str, value: &str) {
        if value.is_empty() { self.push('a', name) } else { self.push('a', &format!("{name}:{value}")) }
    }

    /// Takes out all attributes of this name.
    pub fn remove_attributes(&mut self, name: &str) {
        let is_it = |line: &Line| line.kind() == 'a' && line.value().split(':').next() == Some(name);
        self.0.retain(|line| !is_it(line));
    }
}

impl Line {
    /// A line of our own. A line end within the value would begin another line: it becomes a blank.
    fn new(kind: char, value: &str) -> Line {
        Line(format!("{kind}={}\r\n", value.replace(['\r', '\n'], " ")).into())
    }

    fn is_readable(&self) -> bool {
        let bytes = self.0.as_bytes();
        bytes.len() >= 2 && bytes[0].is_ascii_lowercase() && bytes[1] == b'=' && !self.value().contains('\r')
    }

    fn kind(&self) -> char {
        self.0.chars().next().unwrap_or_default()
    }

    fn value(&self) -> &str {
        let line = self.0.strip_suffix('\n').unwrap_or(&self.0);
        line.strip_suffix('\r').unwrap_or(line).get(2..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.2\r\ns=session\r\nc=IN IP4 192.0.2.2/127\r\nb=CT:99980\r\n\
        t=0 0\r\nm=audio 34080/2 RTP/AVP 114 0 101\r\na=candidate:1 1 UDP 2028994815 192.0.2.2 34080 typ host \r\n\
        a=candidate:1 2 UDP 2028994814 192.0.2.2 34081 typ host \r\na=rtpmap:0 PCMU/8000\r\na=inactive\r\n\
        m=applicationsharing 0 TCP/RTP/AVP 127\r\nc=IN IP6 2001:db8::1\r\n";

    fn parse(text: &str) -> Sdp {
        Sdp::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn prints_what_it_read() {
        let fallback = "o=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nm=audio 0 RTP/AVP\r\n\r\n";
        for text in [AUDIO, fallback, "v=0\nm=audio 1 RTP/AVP 0 \na=x\r\na=y", "v=0\r\n\r\n\n", "v="] {
            assert_eq!(parse(text).to_bytes(), text);
        }
    }

    #[test]
    fn typed_access() {
        let sdp = parse(AUDIO);
        let [audio, sharing] = &sdp.media[..] else { panic!("two media") };
        assert_eq!((audio.kind(), audio.port(), audio.protocol()), ("audio", 34080, "RTP/AVP"));
        assert_eq!(audio.formats().collect::<Vec<_>>(), ["114", "0", "101"]);
        assert_eq!(audio.attributes("candidate").count(), 2);
        assert_eq!((audio.attribute("inactive"), audio.attribute("sendrecv")), (Some(""), None));
        assert_eq!((sdp.address(audio), sdp.address(sharing)), (Some("192.0.2.2"), Some("2001:db8::1")));
        assert_eq!(sdp.session.value('b'), Some("CT:99980"));
        assert!(sdp.message().is_none() && sdp.accept_types().is_empty());
    }

    #[test]
    fn changes_leave_the_rest_as_it_was() {
        let mut sdp = parse("v=0\nm=audio 1 RTP/AVP 0\na=x:1\na=y\na=x");
        let section = &mut sdp.media[0].section;
        section.remove_attributes("y");
        section.push_attribute("label", "main-audio\r\na=evil");
        section.push_attribute("inactive", "");
        assert_eq!(
            sdp.to_bytes(),
            "v=0\nm=audio 1 RTP/AVP 0\na=x:1\na=x\r\na=label:main-audio  a=evil\r\na=inactive\r\n"
        );
    }

    #[test]
    fn faults_are_sentences() {
        let check = |bytes: &[u8], expect: &str| {
            assert_eq!(Sdp::parse(bytes).unwrap_err().to_string(), expect);
        };
        check(b"", "SDP: is empty");
        check(b"\r\n\r\n", "SDP line 1: is not a letter, an equals sign and a value");
        check(b"v=\xff", "SDP: is not UTF-8");
        check(b"v=0\r\nm =video 1 RTP/AVP 31\r\n", "SDP line 2: is not a letter, an equals sign and a value");
        check(b"v=0\r\n\r\ns=-\r\n", "SDP line 2: is not a letter, an equals sign and a value");
        check(b"m=audio 1\r\n", "SDP line 1: is a media line without kind, port or protocol");
        check(b"m=audio 65536 RTP/AVP 0", "SDP line 1: has a port that is no number below 65536");
        check(b"a=x\ry", "SDP line 1: is not a letter, an equals sign and a value");
        check(
            "v=0\n".repeat(MAX_LINES + 1).as_bytes(),
            "SDP line 2049: is one more than a description may have",
        );
        check(
            "m=audio 1 RTP/AVP 0\n".repeat(MAX_MEDIA + 1).as_bytes(),
            "SDP line 65: is one more than a description may have",
        );
    }

    #[test]
    fn instant_messaging_is_offered_and_answered() {
        let offer = Sdp::message_offer("192.0.2.1:15100", &["text/plain", "text/html"]);
        assert_eq!(
            offer.to_bytes(),
            "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=session\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=message 15100 sip null\r\na=accept-types:text/plain text/html\r\n"
        );
        assert_eq!(offer.accept_types(), ["text/plain", "text/html"]);

        let mut offer = parse(std::str::from_utf8(&offer.to_bytes()).unwrap());
        offer.media.insert(0, parse("m=audio 5 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n").media.remove(0));
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:chat:id:1".parse().unwrap();
        let answer = Sdp::message_answer(&offer, "[::1]", &uri, &["text/plain"]).unwrap();
        assert_eq!(
            answer.to_bytes(),
            "v=0\r\no=- 0 0 IN IP6 ::1\r\ns=session\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0 8\r\n\
             m=message 5060 sip sip:ann@example.test;gruu;opaque=app:conf:chat:id:1\r\na=accept-types:text/plain\r\n"
        );
        let msrp = parse("v=0\r\nm=message 2855 TCP/MSRP *\r\n");
        assert!(msrp.message().is_none() && Sdp::message_answer(&msrp, "[::1]", &uri, &[]).is_err());
        let refused = Sdp::message_answer(&parse(AUDIO), "[::1]", &uri, &[]);
        assert_eq!(refused.unwrap_err().to_string(), "SDP: offers no instant messaging");
    }

    #[test]
    fn who_has_no_media_offers_and_answers_too() {
        assert_eq!(
            Sdp::without_media(None, "sip.example.test", 3).to_bytes(),
            "v=0\r\no=- 0 3 IN IP4 sip.example.test\r\ns=session\r\nc=IN IP4 sip.example.test\r\nt=0 0\r\n"
        );
        let answer = Sdp::without_media(Some(&parse(AUDIO)), "192.0.2.1", 0).to_bytes();
        let media = "m=audio 0 RTP/AVP 114 0 101\r\nm=applicationsharing 0 TCP/RTP/AVP 127\r\n";
        assert!(answer.ends_with(media.as_bytes()), "{answer:?}");
    }
}
