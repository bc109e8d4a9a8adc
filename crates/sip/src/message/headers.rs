//! The headers of a message: an ordered list with typed access (RFC 3261 §7.3, §20).

use serde::{Deserialize, Serialize};

use super::{CSeq, Malformed, MediaType, NameAddr, Via, scan};
use crate::Text;

/// Headers in the order they came, names and values as written; a folded value is on one line.
///
/// Names are compared without case, and a compact form is the same as the long one. Content-Length
/// is never among them: it follows from the body, and is counted anew whenever a message is
/// printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(Text, Text)>);

/// As many headers as most requests have.
const ORDINARY: usize = 12;

/// Compact forms (RFC 3261 §7.3.3, and the registry of RFC 3968 for the extensions).
const COMPACT_FORMS: [(&str, &str); 19] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("s", "Subject"),
    ("t", "To"),
    ("u", "Allow-Events"),
    ("v", "Via"),
    ("x", "Session-Expires"),
];

/// The long form of a header's name, in which it is compared.
fn long_form(name: &str) -> &str {
    let same = |form: &&(&str, &'static str)| form.0.eq_ignore_ascii_case(name);
    if name.len() == 1 { COMPACT_FORMS.iter().find(same).map_or(name, |form| form.1) } else { name }
}

/// Whether both name the same header.
pub(crate) fn same_name(one: &str, two: &str) -> bool {
    long_form(one).eq_ignore_ascii_case(long_form(two))
}

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// No headers yet, with room for those of an ordinary request.
    pub(super) fn with_room() -> Headers {
        Headers(Vec::with_capacity(ORDINARY))
    }

    /// The value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.0.iter().find(|(other, _)| same_name(other, name)).map(|(_, value)| value)
    }

    /// The values of all headers of this name, a line each.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Text> {
        self.0.iter().filter(move |(other, _)| same_name(other, name)).map(|(_, value)| value)
    }

    /// The elements of all headers of this name: lines are split at commas that stand neither in
    /// quoted strings nor in brackets; empty elements are left out.
    pub fn list(&self, name: &str) -> Vec<Text> {
        let mut elements = Vec::new();
        for line in self.all(name) {
            let pieces = scan::split(line, b',').into_iter().filter(|piece| !piece.is_empty());
            elements.extend(pieces.map(|piece| line.part(piece)));
        }
        elements
    }

    /// Whether one element of the headers of this name is `token`, case and parameters aside, as
    /// in `Supported: ms-benotify, timer`.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let is_it = |piece: &str| {
            let word = piece.split(';').next().unwrap_or_default();
            scan::trim(word).eq_ignore_ascii_case(token)
        };
        self.all(name).any(|line| scan::split(line, b',').into_iter().any(is_it))
    }

    /// Makes this the only header of its name, in the place of the first one there was, or last.
    pub fn set(&mut self, name: &str, value: impl Into<Text>) {
        let value = value.into();
        match self.0.iter().position(|(other, _)| same_name(other, name)) {
            Some(at) => {
                self.0[at].1 = value;
                let mut index = 0;
                self.0.retain(|(other, _)| {
                    index += 1;
                    index <= at + 1 || !same_name(other, name)
                });
            }
            None => self.push(name, value),
        }
    }

    /// Appends a header after all others.
    pub fn push(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts a header before all others: where a proxy's Via and Record-Route belong.
    pub fn push_front(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        self.0.insert(0, (name.into(), value.into()));
    }

    /// Takes out all headers of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(other, _)| !same_name(other, name));
    }

    /// Takes out the first *element* of the headers of this name and returns it: the top Via of
    /// `Via: a, b` leaves `Via: b`.
    pub fn remove_first(&mut self, name: &str) -> Option<Text> {
        loop {
            let at = self.0.iter().position(|(other, _)| same_name(other, name))?;
            let line = self.0[at].1.clone();
            let (first, rest) = match scan::find(&line, b',') {
                Some(comma) => (&line[..comma], scan::trim(&line[comma + 1..])),
                None => (line.as_str(), ""),
            };
            if rest.is_empty() {
                self.0.remove(at);
            } else {
                self.0[at].1 = line.part(rest);
            }
            if !scan::trim(first).is_empty() {
                return Some(line.part(scan::trim(first)));
            }
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From: who sends the request.
    pub fn from(&self) -> Result<NameAddr, Malformed> {
        NameAddr::parse(self.required("From")?).map_err(|fault| fault.at("From"))
    }

    /// To: whom the request is meant for.
    pub fn to(&self) -> Result<NameAddr, Malformed> {
        NameAddr::parse(self.required("To")?).map_err(|fault| fault.at("To"))
    }

    /// Contact: where to reach the sender directly; empty if there is none. `Contact: *` is an
    /// error here: ask [`Headers::contact_is_star`] before.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, Malformed> {
        self.addresses("Contact")
    }

    /// Whether Contact is `*`: a REGISTER that removes all bindings (RFC 3261 §10.2.2).
    pub fn contact_is_star(&self) -> bool {
        self.list("Contact").iter().any(|contact| contact == "*")
    }

    /// Route: the proxies still to visit.
    pub fn routes(&self) -> Result<Vec<NameAddr>, Malformed> {
        self.addresses("Route")
    }

    /// Record-Route: the proxies that want to see what follows in the dialog.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, Malformed> {
        self.addresses("Record-Route")
    }

    /// All elements of the headers of this name as addresses: P-Asserted-Identity, Path, Refer-To.
    pub fn addresses(&self, name: &str) -> Result<Vec<NameAddr>, Malformed> {
        let parse = |value: &Text| NameAddr::parse(value).map_err(|fault| fault.at(name.to_owned()));
        self.list(name).iter().map(parse).collect()
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&Text, Malformed> {
        self.required("Call-ID")
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, Malformed> {
        CSeq::parse(self.required("CSeq")?)
    }

    /// Via, the last hop first.
    pub fn vias(&self) -> Result<Vec<Via>, Malformed> {
        self.list("Via").iter().map(Via::parse).collect()
    }

    /// The last hop.
    pub fn top_via(&self) -> Result<Via, Malformed> {
        let line = self.required("Via")?;
        let first = scan::split(line, b',').into_iter().find(|via| !via.is_empty()).unwrap_or_default();
        Via::parse(&line.part(first))
    }

    /// Max-Forwards, if it is there.
    pub fn max_forwards(&self) -> Result<Option<u8>, Malformed> {
        let Some(text) = self.get("Max-Forwards") else { return Ok(None) };
        let hops = scan::number(text).and_then(|hops| u8::try_from(hops).ok());
        match hops {
            Some(hops) => Ok(Some(hops)),
            None => {
                Err(Malformed::new("Max-Forwards", format!("{:?} is no number below 256", text.as_str())))
            }
        }
    }

    /// Expires in seconds, if it is there and a number. One too great to count is the greatest
    /// that can be (RFC 4475 §3.1.2.4).
    pub fn expires(&self) -> Option<u32> {
        let text = self.get("Expires")?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u32::MAX))
    }

    /// Content-Type, if it is there and readable.
    pub fn content_type(&self) -> Option<MediaType> {
        MediaType::parse(self.get("Content-Type")?).ok()
    }

    fn required(&self, name: &'static str) -> Result<&Text, Malformed> {
        self.get(name).ok_or_else(|| Malformed::new(name, "is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        Headers(lines.iter().map(|(name, value)| (Text::from(*name), Text::from(*value))).collect())
    }

    fn lines(headers: &Headers) -> String {
        headers.iter().map(|(name, value)| format!("{name}={value}|")).collect()
    }

    #[test]
    fn names_have_no_case_and_compact_forms() {
        let headers = headers(&[("v", "1"), ("VIA", "2"), ("Vi", "3"), ("o", "presence")]);
        assert_eq!(headers.all("Via").map(Text::as_str).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers.get("V").map(Text::as_str), Some("1"));
        assert_eq!(headers.get("event").map(Text::as_str), Some("presence"));
        assert!(headers.get("Contact").is_none());
    }

    #[test]
    fn lists_and_tokens() {
        let headers = headers(&[("Supported", "a, ,MS-Benotify;x=1"), ("k", "\"b,c\"")]);
        assert_eq!(headers.list("Supported"), ["a", "MS-Benotify;x=1", "\"b,c\""]);
        assert!(headers.has_token("Supported", "ms-benotify"));
        assert!(headers.has_token("supported", "A"));
        assert!(!headers.has_token("Supported", "b"));
    }

    #[test]
    fn changes_keep_the_order() {
        let mut headers = headers(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        headers.set("A", "5");
        headers.set("D", "6");
        headers.push_front("Via", "x, y");
        assert_eq!(lines(&headers), "Via=x, y|A=5|B=2|C=4|D=6|");
        headers.remove("b");
        assert_eq!(headers.remove_first("Via").as_deref(), Some("x"));
        assert_eq!(lines(&headers), "Via=y|A=5|C=4|D=6|");
        assert_eq!(headers.remove_first("Via").as_deref(), Some("y"));
        assert_eq!(headers.remove_first("Via"), None);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn typed_access() {
        let headers = headers(&[
            ("Via", ", SIP/2.0/TCP a.test;branch=z9hG4bK1, SIP/2.0/UDP b.test"),
            ("v", "SIP/2.0/UDP c.test"),
            ("m", "<sip:a@b.test>;expires=5, \"x, y\" <sip:c@d.test>"),
            ("Max-Forwards", "0070"),
            ("Expires", "10000000000000000000000"),
            ("Record-Route", "<sip:p.test;lr>"),
            ("P-Asserted-Identity", "<sip:a@b.test>, <tel:+1>"),
        ]);
        assert_eq!(headers.vias().unwrap().len(), 3);
        assert_eq!(headers.top_via().unwrap().host, "a.test");
        assert_eq!(headers.contacts().unwrap().len(), 2);
        assert_eq!(headers.max_forwards().unwrap(), Some(70));
        assert_eq!(headers.expires(), Some(u32::MAX));
        assert_eq!(headers.record_routes().unwrap().len(), 1);
        assert!(headers.routes().unwrap().is_empty());
        assert_eq!(headers.addresses("P-Asserted-Identity").unwrap().len(), 2);
        assert_eq!(headers.cseq().unwrap_err().to_string(), "CSeq: is missing");
    }

    #[test]
    fn star_is_no_contact() {
        let headers = headers(&[("Contact", "*")]);
        assert!(headers.contact_is_star() && headers.contacts().is_err());
    }
}
