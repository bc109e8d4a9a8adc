//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966) and the GRUUs of OCS (MS-SIPRE §3).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use super::{Malformed, Params, scan};
use crate::Text;

/// The scheme of a URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other, lower-case. Such a URI cannot be routed here (416).
    Other(Text),
}

impl Scheme {
    /// The name, lower-case.
    pub fn as_str(&self) -> &str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
            Scheme::Other(name) => name,
        }
    }
}

/// A URI that names a resource of SIP.
///
/// All pieces are as written: escapes are not resolved. Of a `tel` URI the number is `user` and
/// `host` is empty; of a URI of another scheme all that follows the colon is `user`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// What stands before the `@` and any colon there.
    pub user: Option<Text>,
    /// What stands between a colon in the user part and the `@`. Deprecated, but carried along.
    pub password: Option<Text>,
    /// Name or address; an IPv6 address in its square brackets.
    pub host: Text,
    /// The port, if one is given; absent is not the same as 5060.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params,
    /// What follows the question mark.
    pub headers: Option<Text>,
}

/// Parameters that never match when only one of two URIs has them (RFC 3261 §19.1.4).
// Deviation: gruu, opaque and gr are among them; without that a user and all his endpoints and
// conferences would be the same address.
const DISTINGUISHING_PARAMS: [&str; 8] =
    ["user", "ttl", "method", "maddr", "transport", "gruu", "opaque", "gr"];

impl Uri {
    /// `sip:user@host`; an empty `user` gives `sip:host`. Characters of `user` that a URI cannot
    /// hold are escaped.
    pub fn sip(user: &str, host: &str) -> Uri {
        Uri {
            scheme: Scheme::Sip,
            user: (!user.is_empty()).then(|| escape_user(user.as_bytes()).into()),
            password: None,
            host: host.into(),
            port: None,
            params: Params::new(),
            headers: None,
        }
    }

    /// The address of record: `sip:user@host` without password, port, parameters and headers, the
    /// host in lower case and the escapes of the user resolved, where the character cannot be
    /// mistaken for a part of the URI. Two URIs of one user have the same.
    ///
    /// Of a `tel` URI it is the number without visual separators.
    pub fn aor(&self) -> String {
        let scheme = self.scheme.as_str();
        let user = self.user.as_deref().unwrap_or_default();
        match self.scheme {
            Scheme::Tel => format!("tel:{}", digits(user)),
            Scheme::Other(_) => format!("{scheme}:{user}"),
            _ if user.is_empty() => format!("{scheme}:{}", self.host.to_ascii_lowercase()),
            _ => format!("{scheme}:{}@{}", canonical_user(user), self.host.to_ascii_lowercase()),
        }
    }

    /// The value of a parameter; see [`Params::get`].
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Whether there is a parameter of this name.
    pub fn has_param(&self, name: &str) -> bool {
        self.params.has(name)
    }

    /// The same URI with a parameter as written on the wire.
    pub fn with_param(mut self, name: &str, value: &str) -> Uri {
        self.params.set(name, value);
        self
    }

    /// The same URI with a parameter that has no value.
    pub fn with_flag(mut self, name: &str) -> Uri {
        self.params.set_flag(name);
        self
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4; for `tel` RFC 3966 §4).
    pub fn equivalent(&self, other: &Uri) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        let (user, other_user) = (self.user.as_deref(), other.user.as_deref());
        match self.scheme {
            Scheme::Other(_) => user == other_user,
            Scheme::Tel => {
                user.map(digits) == other_user.map(digits)
                    && matching(self, other, "phone-context")
                    && matching(self, other, "ext")
                    && matching(self, other, "isub")
            }
            Scheme::Sip | Scheme::Sips => {
                user.map(canonical_user) == other_user.map(canonical_user)
                    && self.password.as_deref().map(canonical_user)
                        == other.password.as_deref().map(canonical_user)
                    && self.host.eq_ignore_ascii_case(&other.host)
                    && self.port == other.port
                    && DISTINGUISHING_PARAMS.iter().all(|name| matching(self, other, name))
                    && shared_params_match(self, other)
                    && sorted_headers(self) == sorted_headers(other)
            }
        }
    }

    /// Reads a URI that shares the memory of `text`.
    pub(crate) fn parse(text: &Text) -> Result<Uri, Malformed> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| fault(text, "has no scheme"))?;
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        {
            return Err(fault(text, "has no scheme"));
        }
        if rest.contains(|c: char| c.is_ascii_control() || " <>\"".contains(c)) {
            return Err(fault(text, "holds a blank, a bracket, a quotation mark or a control character"));
        }
        if rest.is_empty() {
            return Err(fault(text, "ends after its scheme"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "sip" => parse_sip(text, Scheme::Sip, rest),
            "sips" => parse_sip(text, Scheme::Sips, rest),
            "tel" => parse_tel(text, rest),
            other => Ok(Uri {
                scheme: Scheme::Other(other.into()),
                user: Some(text.part(rest)),
                ..Uri::sip("", "")
            }),
        }
    }
}

fn fault(text: &str, problem: &str) -> Malformed {
    Malformed::new("URI", format!("{text:?} {problem}"))
}

fn parse_sip(text: &Text, scheme: Scheme, rest: &str) -> Result<Uri, Malformed> {
    let (userinfo, rest) = match rest.split_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    if rest.contains('@') {
        return Err(fault(text, "has more than one @"));
    }
    if userinfo.is_some_and(|userinfo| userinfo.is_empty() || userinfo.starts_with(':')) {
        return Err(fault(text, "has an @ but no user"));
    }
    if !userinfo.is_none_or(escapes_are_whole) || !escapes_are_whole(rest) {
        return Err(fault(text, "has a percent sign without two hexadecimal digits"));
    }
    let (user, password) = match userinfo.and_then(|userinfo| userinfo.split_once(':')) {
        Some((user, password)) => (Some(user), Some(password)),
        None => (userinfo, None),
    };
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, headers)) => (rest, Some(text.part(headers))),
        None => (rest, None),
    };
    let (hostport, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let (host, port) = parse_hostport(text, hostport)?;
    Ok(Uri {
        scheme,
        user: user.map(|user| text.part(user)),
        password: password.map(|password| text.part(password)),
        host,
        port,
        params: parse_params(text, params)?,
        headers,
    })
}

// Deviation: of a tel number only blanks and empty numbers are refused; what a dial plan can make
// of the rest is its business.
fn parse_tel(text: &Text, rest: &str) -> Result<Uri, Malformed> {
    let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    if number.is_empty() {
        return Err(fault(text, "has no number"));
    }
    Ok(Uri {
        scheme: Scheme::Tel,
        user: Some(text.part(number)),
        params: parse_params(text, params)?,
        ..Uri::sip("", "")
    })
}

/// Reads `host[:port]`, a piece of `whole`, as it stands in URIs and in Via.
pub(super) fn parse_hostport(whole: &Text, hostport: &str) -> Result<(Text, Option<u16>), Malformed> {
    let host_len = match hostport.strip_prefix('[') {
        Some(rest) => {
            let address = rest.split_once(']').map(|(address, _)| address);
            let address = address.filter(|address| address.parse::<Ipv6Addr>().is_ok());
            address.ok_or_else(|| fault(whole, "has square brackets around what is no IPv6 address"))?.len()
                + 2
        }
        None => hostport.find(':').unwrap_or(hostport.len()),
    };
    let (host, port) = hostport.split_at(host_len);
    let named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if host.is_empty() || !host.starts_with('[') && !host.bytes().all(named) {
        return Err(fault(whole, "has no readable host"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        digits => {
            let number = digits.and_then(scan::number).and_then(|port| u16::try_from(port).ok());
            Some(number.ok_or_else(|| fault(whole, "has a port that is no number below 65536"))?)
        }
    };
    Ok((whole.part(host), port))
}

/// Reads URI parameters; `part` is empty or begins with a semicolon. Unlike in header values there
/// are no blanks or quoted strings here.
fn parse_params(text: &Text, part: &str) -> Result<Params, Malformed> {
    let mut params = Params::new();
    for piece in part.split(';').skip(1) {
        let (name, value) = match piece.split_once('=') {
            Some((name, value)) => (name, Some(text.part(value))),
            None => (piece, None),
        };
        if name.is_empty() {
            return Err(fault(text, "has a parameter without a name"));
        }
        params.append(text.part(name), value);
    }
    Ok(params)
}

fn escapes_are_whole(text: &str) -> bool {
    let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && !(is_hex(bytes.next()) && is_hex(bytes.next())) {
            return false;
        }
    }
    true
}

/// The user part in one spelling: escapes resolved and set again, so that two ways to write the
/// same user are equal and no character in it can be taken for one that ends the user part.
fn canonical_user(user: &str) -> String {
    let mut plain = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    escape_user(&plain)
}

/// `plain` as it may stand before an `@`. Letters beyond ASCII stay, if they are UTF-8.
fn escape_user(plain: &[u8]) -> String {
    let mut user = String::with_capacity(plain.len());
    for chunk in plain.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_ascii_alphanumeric() || "-_.!~*'()&=+$,/".contains(char) || !char.is_ascii() {
                user.push(char);
            } else {
                user.push_str(&format!("%{:02X}", u32::from(char)));
            }
        }
        for byte in chunk.invalid() {
            user.push_str(&format!("%{byte:02X}"));
        }
    }
    user
}

/// A telephone number without visual separators, lower-case (RFC 3966 §5.1.1).
fn digits(number: &str) -> String {
    number.chars().filter(|c| !"-.()".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether both have the parameter with the same value, or neither has it.
fn matching(one: &Uri, two: &Uri, name: &str) -> bool {
    one.has_param(name) == two.has_param(name) && same_value(one.param(name), two.param(name))
}

fn same_value(one: Option<&str>, two: Option<&str>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => canonical_user(one).eq_ignore_ascii_case(&canonical_user(two)),
        (one, two) => one == two,
    }
}

fn shared_params_match(one: &Uri, two: &Uri) -> bool {
    one.params.iter().all(|(name, _)| !two.has_param(name) || matching(one, two, name))
}

/// The headers of a URI, each resolved, in a fixed order.
fn sorted_headers(uri: &Uri) -> Vec<(String, String)> {
    let headers = uri.headers.as_deref().unwrap_or_default();
    let mut sorted: Vec<_> = headers
        .split('&')
        .filter_map(|header| header.split_once('='))
        .map(|(name, value)| (canonical_user(name).to_ascii_lowercase(), canonical_user(value)))
        .collect();
    sorted.sort();
    sorted
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Uri, Malformed> {
        Uri::parse(&Text::from(text))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            if matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
                f.write_str("@")?;
            }
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        match &self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

crate::text::serde_as_text!(Uri);

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn prints_what_it_read() {
        for text in [
            "sip:example.test",
            "sip:ann@example.test",
            "sips:ann:secret@example.test:5061;transport=tls;lr?Subject=a&Priority=urgent",
            "sip:ann@[2001:db8::1]:5060;maddr=[::1]",
            "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68B3E9",
            "sip:user;par=u%40example.test@example.test",
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d@example.test",
            "tel:+1-425-555-0100;ext=3002;phone-context=example.test",
            "urn:service:sos",
            "http://www.example.test/a;b?c",
        ] {
            let parsed = uri(text);
            assert_eq!(parsed.to_string(), text);
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<Uri>(&json).unwrap(), parsed);
        }
        assert_eq!(uri("SIP:ann@example.test").to_string(), "sip:ann@example.test");
    }

    #[test]
    fn takes_it_apart() {
        let focus = uri("sip:ann@example.test:5070;gruu;opaque=app:conf:focus:id:1");
        assert_eq!(focus.user.as_deref(), Some("ann"));
        assert_eq!((focus.host.as_str(), focus.port), ("example.test", Some(5070)));
        assert!(focus.has_param("gruu"));
        assert_eq!(focus.param("opaque"), Some("app:conf:focus:id:1"));
        let tel = uri("tel:+14255550100;ext=1");
        assert_eq!((tel.user.as_deref(), tel.host.as_str()), (Some("+14255550100"), ""));
        assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme, Scheme::Other("soap.beep".into()));
        assert_eq!(Uri::sip("ann smith", "example.test").to_string(), "sip:ann%20smith@example.test");
        assert_eq!(Uri::sip("", "[::1]").with_flag("lr").to_string(), "sip:[::1];lr");
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "ann@example.test",
            ":ann",
            "sip:",
            "sip:@example.test",
            "sip:ann@",
            "sip:ann@a@b",
            "sip:ann@exa mple.test",
            "sip:ann@example.test:",
            "sip:ann@example.test:65536",
            "sip:ann@example.test:+5",
            "sip:ann@[::1",
            "sip:ann@[::1]x",
            "sip:ann@[nonsense]",
            "sip:ann@exämple.test",
            "sip:ann%4@example.test",
            "sip:ann%é0@example.test",
            "sip:ann@example.test;;lr",
            "<sip:ann@example.test>",
            "tel:",
            "sip:ann\r\n@example.test",
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_record() {
        let check = |text: &str, expect: &str| assert_eq!(uri(text).aor(), expect, "{text}");
        check("sip:%61nn:pw@Example.TEST:5061;transport=tls?a=b", "sip:ann@example.test");
        check("sips:Ann@example.test", "sips:Ann@example.test");
        check("sip:Example.test", "sip:example.test");
        check("sip:j%C3%B6rg@example.test", "sip:jörg@example.test");
        check("sip:null-%00-null@example.test", "sip:null-%00-null@example.test");
        check("sip:ann%40other.test%3bx@example.test", "sip:ann%40other.test%3Bx@example.test");
        check("sip:a;b@example.test", "sip:a%3Bb@example.test");
        check("sip:%ff@example.test", "sip:%FF@example.test");
        check("tel:+1-425-(555).0100;ext=1", "tel:+14255550100");
    }

    #[test]
    fn equivalence_of_rfc_3261() {
        let check = |one: &str, two: &str, expect: bool| {
            assert_eq!(uri(one).equivalent(&uri(two)), expect, "{one} {two}");
            assert_eq!(uri(two).equivalent(&uri(one)), expect, "{two} {one}");
        };
        check("sip:%61lice@atlanta.test;transport=TCP", "sip:alice@AtLanTa.test;Transport=tcp", true);
        check("sip:carol@chicago.test", "sip:carol@chicago.test;newparam=5", true);
        check("sip:carol@chicago.test;security=on", "sip:carol@chicago.test;newparam=5", true);
        check(
            "sip:a@b.test;transport=tcp?to=alice%40c.test&priority=urgent",
            "sip:a@b.test;transport=tcp?priority=urgent&to=alice%40c.test",
            true,
        );
        check("SIP:ALICE@AtLanTa.test;Transport=udp", "sip:alice@AtLanTa.test;Transport=UDP", false);
        check("sip:bob@biloxi.test", "sip:bob@biloxi.test:5060", false);
        check("sip:bob@biloxi.test", "sip:bob@biloxi.test;transport=udp", false);
        check("sip:bob@biloxi.test", "sip:bob@biloxi.test:6000;transport=tcp", false);
        check("sip:carol@chicago.test", "sip:carol@chicago.test?Subject=next%20meeting", false);
        check("sip:carol@chicago.test;security=on", "sip:carol@chicago.test;security=off", false);
        check("sip:ann@example.test", "sips:ann@example.test", false);
        check("sip:ann@example.test", "sip:ann@example.test;gruu;opaque=app:conf:focus:id:1", false);
        check("sip:ann@e.test;gruu;opaque=user:epid:x", "sip:ann@e.test;opaque=user:epid:x;gruu", true);
        check("tel:+1-425-555-0100", "tel:+14255550100", true);
        check("tel:5550100;phone-context=a.test", "tel:5550100;phone-context=b.test", false);
        check("urn:service:sos", "urn:service:sos.fire", false);
    }
}
