//! Taking a SIP URI apart (RFC 3261 §19.1), as far as conferencing needs it.

use super::UserUri;
use crate::xml::{Malformed, quoted};

/// The longest URI, in bytes.
pub const MAX_URI: usize = 1024;

/// The person in a SIP URI, and its `opaque` parameter.
pub(super) fn split(uri: &str) -> Result<(UserUri, Option<String>), Malformed> {
    let malformed = || Malformed::new(format!("{} is no SIP URI with a user part.", quoted(uri)));
    let trimmed = uri.trim();
    if trimmed.len() > MAX_URI {
        return Err(malformed());
    }
    let (scheme, rest) = trimmed.split_once(':').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return Err(malformed());
    }
    let (user_info, rest) = rest.split_once('@').ok_or_else(malformed)?;
    let user = user_info.split(':').next().unwrap_or_default();
    let user = unescape(user, is_harmless).filter(|user| is_user(user)).ok_or_else(malformed)?;
    let rest = rest.split('?').next().unwrap_or_default();
    let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
    let host = host(host_port).ok_or_else(malformed)?;
    let opaque = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("opaque").then(|| value.trim())
    });
    let opaque = opaque.map(|value| unescape(value, |_| true).ok_or_else(malformed)).transpose()?;
    let canonical = ["sip:", &user, "@", host].concat().to_ascii_lowercase();
    Ok((UserUri(canonical), opaque))
}

/// The host without its port.
fn host(host_port: &str) -> Option<&str> {
    if host_port.starts_with('[') {
        let (address, after) = host_port.split_at(host_port.find(']')? + 1);
        let fits = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'[' | b']');
        return (is_port(after) && address.bytes().all(fits)).then_some(address);
    }
    let at = host_port.find(':').unwrap_or(host_port.len());
    let (host, port) = host_port.split_at(at);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (is_port(port) && !host.is_empty() && host.bytes().all(fits)).then_some(host)
}

/// Nothing, or a colon and digits.
fn is_port(port: &str) -> bool {
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_user(user: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'@' | b':');
    !user.is_empty() && user.bytes().all(fits)
}

/// Whether a character means the same with and without escape (RFC 3261 §25.1, unreserved).
fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

/// Undoes `%41` where `may` allows it; `None` if an escape is broken or the result no UTF-8.
fn unescape(text: &str, may: fn(u8) -> bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, rest) = rest.split_at_checked(2)?;
        let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if may(byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend_from_slice(digits);
        }
        bytes = rest;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_one_address_each() {
        let check = |uri: &str, expect: Option<&str>| {
            assert_eq!(UserUri::parse(uri).ok().map(|user| user.to_string()).as_deref(), expect, "{uri}");
        };
        check("sip:ann@example.test", Some("sip:ann@example.test"));
        check(" SIP:Ann@Example.TEST:5061;transport=tls?a=b ", Some("sip:ann@example.test"));
        check("sips:ann:secret@example.test", Some("sip:ann@example.test"));
        check("sip:%61nn%40x@example.test", Some("sip:ann%40x@example.test"));
        check("sip:+4930555;ext=1@example.test;user=phone", Some("sip:+4930555;ext=1@example.test"));
        check("sip:ann@[2001:DB8::1]:5060", Some("sip:ann@[2001:db8::1]"));
        check("sip:ann@example.test;gruu;opaque=app:conf:focusfactory", Some("sip:ann@example.test"));
        check("sip:example.test", None);
        check("sip:@example.test", None);
        check("sip:ann@", None);
        check("sip:ann@example.test:port", None);
        check("sip:ann@[::1", None);
        check("sip:an n@example.test", None);
        check("sip:ann%4@example.test", None);
        check("sip:ann@b@c", None);
        check("tel:+4930555", None);
        check("ann@example.test", None);
        check("", None);
    }
}
