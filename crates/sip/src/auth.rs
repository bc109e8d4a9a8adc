//! Authentication of requests (RFC 3261 §22): what its schemes share.
//!
//! A challenge and its answer are a scheme name and a list of parameters; [`Asker`] says under
//! which headers they travel. ACK and CANCEL cannot be challenged (§22.1) and must not be verified
//! either: they carry the credentials of their INVITE a second time, which looks like a replay.

mod authority;
mod digest;

pub use authority::{DigestAuthority, Verdict};
pub use digest::{
    Algorithm, AuthError, Challenge, Credentials, Ha1s, authorize, credentials, ha1, strongest,
};

/// How many parameters one header may have. Real ones have about ten.
const MAX_PARAMETERS: usize = 32;

/// Who asks for credentials: it decides the status and the names of the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The server that answers the request itself (RFC 3261 §22.2).
    Server,
    /// A proxy on the way (§22.3).
    Proxy,
}

impl Asker {
    /// The status of the refusal: 401 or 407.
    pub const fn status(self) -> u16 {
        match self {
            Asker::Server => 401,
            Asker::Proxy => 407,
        }
    }

    /// The header that carries a challenge.
    pub const fn challenge_header(self) -> &'static str {
        match self {
            Asker::Server => "WWW-Authenticate",
            Asker::Proxy => "Proxy-Authenticate",
        }
    }

    /// The header that carries the answer.
    pub const fn credentials_header(self) -> &'static str {
        match self {
            Asker::Server => "Authorization",
            Asker::Proxy => "Proxy-Authorization",
        }
    }
}

/// A challenge or credentials, taken apart: `Scheme name=value, name="value"`.
#[derive(Clone, PartialEq, Eq)]
struct Parameters {
    scheme: String,
    list: Vec<(String, String)>,
}

impl Parameters {
    /// Reads one header value. Quoted values are unescaped (RFC 3261 §25.1); a name that comes
    /// twice makes it unreadable, because two readers could pick different ones.
    fn parse(value: &str) -> Option<Parameters> {
        let (scheme, mut rest) = value.trim().split_once([' ', '\t'])?;
        let mut parameters = Parameters { scheme: scheme.to_owned(), list: Vec::new() };
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return Some(parameters);
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = read_value(after.trim_start())?;
            let name = name.trim().to_ascii_lowercase();
            if name.is_empty()
                || name.contains([' ', '\t', '"', ','])
                || parameters.get(&name).is_some()
                || parameters.list.len() == MAX_PARAMETERS
            {
                return None;
            }
            parameters.list.push((name, value));
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
    }

    /// The value of the parameter with this lower-case name.
    fn get(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Takes a token or a quoted string off the front: its value, and what follows.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (!token.contains('"')).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// `value` as a quoted string.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_headers_apart() {
        fn check(value: &str, expect: Option<&[(&str, &str)]>) {
            let parsed = Parameters::parse(value).map(|parameters| parameters.list);
            let expect = expect.map(|list| {
                list.iter()
                    .map(|(name, value)| (String::from(*name), String::from(*value)))
                    .collect::<Vec<_>>()
            });
            assert_eq!(parsed, expect, "{value}");
        }
        check(r#"Digest realm="a, b", qop=auth"#, Some(&[("realm", "a, b"), ("qop", "auth")]));
        check(r#"Digest  REALM = "x" ,, nc=1,"#, Some(&[("realm", "x"), ("nc", "1")]));
        check(r#"Digest username="a\"b\\c""#, Some(&[("username", "a\"b\\c")]));
        check(r#"Digest realm="""#, Some(&[("realm", "")]));
        check(r#"Digest realm="x" nonce="y""#, None);
        check(r#"Digest realm="x", Realm="y""#, None);
        check(r#"Digest realm="x"#, None);
        check(r#"Digest realm"#, None);
        check(r#"Digest realm=x"y""#, None);
        check("Digest", None);
        check("", None);
        let many: String = (0..=MAX_PARAMETERS).map(|number| format!("p{number}=1,")).collect();
        check(&format!("Digest {many}"), None);
    }

    #[test]
    fn quoting_is_undone_by_reading() {
        let value = "a\"b\\c";
        assert_eq!(read_value(&quoted(value)), Some((value.to_owned(), "")));
    }
}
