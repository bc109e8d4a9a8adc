//! Addresses with a display name and header parameters: From, To, Contact, Route (RFC 3261 §20.10).

use std::{fmt, str::FromStr};

use super::{Malformed, Params, Uri, scan};
use crate::Text;

/// `"Ann Smith" <sip:ann@example.test>;tag=1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameAddr {
    /// What to show people: unquoted, escapes resolved. Never empty.
    pub display_name: Option<Text>,
    /// The address.
    pub uri: Uri,
    /// The parameters of the header value: `tag`, `epid`, `expires`, `+sip.instance`.
    pub params: Params,
}

/// Parameters that belong to the header even of an address without brackets that is a GRUU.
const HEADER_PARAMS: [&str; 2] = ["tag", "epid"];

impl NameAddr {
    /// The bare address.
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr { display_name: None, uri, params: Params::new() }
    }

    /// The dialog tag.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The endpoint identifier of OCS (MS-SIPRE §2.2.1), at most 16 characters.
    pub fn epid(&self) -> Option<&str> {
        self.params.get("epid")
    }

    /// Gives it this tag.
    pub fn set_tag(&mut self, tag: &str) {
        self.params.set("tag", tag);
    }

    /// The same address with this tag.
    pub fn with_tag(mut self, tag: &str) -> NameAddr {
        self.set_tag(tag);
        self
    }

    /// Reads one value that shares the memory of `text`.
    pub(crate) fn parse(text: &Text) -> Result<NameAddr, Malformed> {
        let whole = scan::trim(text);
        match scan::find(whole, b'<') {
            Some(open) => parse_bracketed(text, &whole[..open], &whole[open + 1..]),
            None => parse_bare(text, whole),
        }
    }
}

fn fault(text: &str, problem: &str) -> Malformed {
    Malformed::new("address", format!("{text:?} {problem}"))
}

fn parse_bracketed(text: &Text, name: &str, rest: &str) -> Result<NameAddr, Malformed> {
    let (uri, params) = rest.split_once('>').ok_or_else(|| fault(text, "has an open bracket"))?;
    let name = scan::trim(name);
    let display_name = if name.starts_with('"') {
        if !scan::is_quoted(name) {
            return Err(fault(text, "has a display name that is not one quoted string"));
        }
        text.part(&scan::unquote(name))
    } else {
        // Deviation: a display name may hold letters beyond ASCII without being quoted.
        let named = |word: &str| word.chars().all(|c| !c.is_ascii()) || scan::is_token(&ascii_of(word));
        if !name.split([' ', '\t']).all(named) {
            return Err(fault(text, "has a display name that ought to be quoted"));
        }
        text.part(name)
    };
    Ok(NameAddr {
        display_name: (!display_name.is_empty()).then_some(display_name),
        uri: Uri::parse(&text.part(uri))?,
        params: Params::parse(text, scan::trim(params))?,
    })
}

fn ascii_of(word: &str) -> String {
    word.chars().filter(char::is_ascii).collect()
}

/// An address without brackets: what follows a semicolon belongs to the header (RFC 3261 §20).
// Deviation: when that is a GRUU (`gruu`, or `opaque` naming a conference), all but tag and epid
// belongs to the URI: clients that join a conference anonymously write To this way.
fn parse_bare(text: &Text, whole: &str) -> Result<NameAddr, Malformed> {
    let (uri, params) = whole.split_at(scan::find(whole, b';').unwrap_or(whole.len()));
    let uri = scan::trim(uri);
    if uri.contains(['?', ',']) {
        return Err(fault(text, "holds a question mark or a comma and ought to be in brackets"));
    }
    let mut address = NameAddr {
        uri: Uri::parse(&text.part(uri))?,
        params: Params::parse(text, params)?,
        display_name: None,
    };
    let opaque = address.params.get("opaque").unwrap_or_default();
    if address.params.has("gruu") || opaque.starts_with("app:conf") {
        let mut kept = Params::new();
        for (name, value) in address.params.iter() {
            let is_header = HEADER_PARAMS.iter().any(|header| name.eq_ignore_ascii_case(header));
            let side = if is_header { &mut kept } else { &mut address.uri.params };
            side.append(name.clone(), value.cloned());
        }
        address.params = kept;
        // What may stand in a header's parameter may not all stand in a URI's.
        address.uri = Uri::parse(&address.uri.to_string().into())?;
    }
    Ok(address)
}

impl FromStr for NameAddr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<NameAddr, Malformed> {
        NameAddr::parse(&Text::from(text))
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> NameAddr {
        NameAddr::new(uri)
    }
}

impl fmt::Display for NameAddr {
    /// Always with brackets; the display name always quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            write!(f, "{} ", scan::quote(name))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

crate::text::serde_as_text!(NameAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms_and_prints_one() {
        let check = |text: &str, expect: &str| {
            let address: NameAddr = text.parse().unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(address.to_string(), expect);
            assert_eq!(expect.parse::<NameAddr>().unwrap(), address);
        };
        check("sip:ann@example.test", "<sip:ann@example.test>");
        check(" <sip:ann@example.test;lr> ; tag = 1 ", "<sip:ann@example.test;lr>;tag=1");
        check("Ann  Smith <sip:ann@example.test>", "\"Ann  Smith\" <sip:ann@example.test>");
        check("Jörg<sip:j@example.test>;tag=1", "\"Jörg\" <sip:j@example.test>;tag=1");
        check(r#""A \"<B\" \\" <sip:a@b.test>"#, r#""A \"<B\" \\" <sip:a@b.test>"#);
        check(r#""" <sip:a@b.test>"#, "<sip:a@b.test>");
        check("sip:ann@example.test;tag=1;epid=ab", "<sip:ann@example.test>;tag=1;epid=ab");
        check("sip:+14255550100@gw.test;user=phone", "<sip:+14255550100@gw.test>;user=phone");
        check(
            "sip:ann@example.test;gruu;opaque=app:conf:focus:id:1;tag=x;epid=ab",
            "<sip:ann@example.test;gruu;opaque=app:conf:focus:id:1>;tag=x;epid=ab",
        );
        check(
            "sip:ann@example.test;opaque=app:conf:focus:id:1",
            "<sip:ann@example.test;opaque=app:conf:focus:id:1>",
        );
        check("<tel:+14255550100;ext=1>;tag=1", "<tel:+14255550100;ext=1>;tag=1");
        check("isbn:2983792873;tag=1", "<isbn:2983792873>;tag=1");
        check(
            r#"<sip:a@b.test>;+sip.instance="<urn:uuid:1>";methods="A, B""#,
            r#"<sip:a@b.test>;+sip.instance="<urn:uuid:1>";methods="A, B""#,
        );
    }

    #[test]
    fn tells_tag_and_epid() {
        let mut from: NameAddr = "<sip:ann@example.test>;tag=1;epid=0a1b".parse().unwrap();
        assert_eq!((from.tag(), from.epid()), (Some("1"), Some("0a1b")));
        from.set_tag("2");
        assert_eq!(from.with_tag("3").to_string(), "<sip:ann@example.test>;tag=3;epid=0a1b");
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "*",
            "<>",
            "<sip:ann@example.test",
            "\"Ann <sip:ann@example.test>",
            "\"Ann\" Smith <sip:ann@example.test>",
            "Smith, Ann <sip:ann@example.test>",
            "< sip:ann@example.test >",
            "<sip:ann@example.test>tag=1",
            "<sip:ann@example.test>;;;;",
            "sip:ann@example.test?Route=%3Csip:b.test%3E",
            "sip:ann@example.test,sip:bob@example.test",
        ] {
            assert!(text.parse::<NameAddr>().is_err(), "{text}");
        }
    }
}
