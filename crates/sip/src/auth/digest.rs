//! Digest arithmetic and the client's side of it (RFC 7616, in SIP by RFC 3261 §22.4 and RFC 8760).
//!
//! Deliberately absent: `qop=auth-int`, which proxies that touch a body would break; `userhash`,
//! which would make each look-up a search; and the RFC 2069 form without `qop`, which a replay
//! passes unseen.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::{Parameters, quoted};
use crate::Method;

/// A hash that Digest is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5: what every SIP phone can do.
    Md5,
    /// MD5 with a session key (RFC 7616 §3.4.2): what OCS clients join anonymously with.
    // Deviation: the session key is made anew for each answer, of the nonces that stand in it.
    Md5Sess,
    /// SHA-256 (RFC 8760).
    Sha256,
}

impl Algorithm {
    /// Strongest first: the order of the challenges in a 401 (RFC 8760 §2.3).
    pub const PREFERRED: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Md5Sess, Algorithm::Md5];

    /// The `algorithm` parameter's value.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Md5Sess => "MD5-sess",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Reads the `algorithm` parameter; absent means MD5.
    fn named(name: Option<&str>) -> Result<Algorithm, AuthError> {
        let Some(name) = name else { return Ok(Algorithm::Md5) };
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or(AuthError::Unsupported("algorithm"))
    }

    /// The hash of `text` in lower-case hexadecimal digits.
    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 | Algorithm::Md5Sess => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a challenge or credentials cannot be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a scheme name with parameters, or one parameter is ill-formed.
    #[error("the authentication header cannot be read")]
    Unreadable,
    /// Another scheme than Digest.
    #[error("the authentication scheme is not Digest")]
    OtherScheme,
    /// A parameter that must be there is not.
    #[error("the authentication header lacks its {0} parameter")]
    Missing(&'static str),
    /// A parameter has a value that we do not do.
    #[error("the authentication header's {0} parameter has an unsupported value")]
    Unsupported(&'static str),
}

/// The hash of user, realm and password: all of a password that a server keeps for Digest.
/// Lower-case hexadecimal digits. Whoever has it can sign in, so it is a secret too.
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    algorithm.hash(&format!("{user}:{realm}:{password}"))
}

/// What a server knows about one user: [`ha1`] for each algorithm it was computed for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ha1s {
    /// For MD5.
    pub md5: Option<String>,
    /// For SHA-256.
    pub sha256: Option<String>,
}

impl Ha1s {
    /// Both hashes of one password.
    pub fn of(user: &str, realm: &str, password: &str) -> Ha1s {
        Ha1s {
            md5: Some(ha1(Algorithm::Md5, user, realm, password)),
            sha256: Some(ha1(Algorithm::Sha256, user, realm, password)),
        }
    }

    /// The one for `algorithm`.
    pub fn for_algorithm(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 | Algorithm::Md5Sess => self.md5.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }
}

impl fmt::Debug for Ha1s {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1s(..)")
    }
}

/// What a client answers a challenge with: an `Authorization` or `Proxy-Authorization` value.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it says it is.
    pub username: String,
    /// Where.
    pub realm: String,
    /// The nonce it answers.
    pub nonce: String,
    /// The request's URI, as the client saw it.
    pub uri: String,
    /// The challenge's, sent back.
    pub opaque: Option<String>,
    /// With which hash.
    pub algorithm: Algorithm,
    pub(super) cnonce: String,
    /// Eight hexadecimal digits, as they are hashed.
    pub(super) nc: String,
    pub(super) response: String,
}

impl Credentials {
    /// How often the client has used the nonce, this time included.
    pub(super) fn count(&self) -> u32 {
        u32::from_str_radix(&self.nc, 16).expect("checked when it was read")
    }

    /// What `response` must be for someone who knows `ha1`.
    pub(super) fn expected_response(&self, method: &Method, ha1: &str) -> String {
        let session;
        let ha1 = match self.algorithm {
            Algorithm::Md5 | Algorithm::Sha256 => ha1,
            Algorithm::Md5Sess => {
                session = self.algorithm.hash(&format!("{ha1}:{}:{}", self.nonce, self.cnonce));
                session.as_str()
            }
        };
        let ha2 = self.algorithm.hash(&format!("{method}:{}", self.uri));
        self.algorithm.hash(&format!("{ha1}:{}:{}:{}:auth:{ha2}", self.nonce, self.nc, self.cnonce))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("realm", &self.realm)
            .field("algorithm", &self.algorithm)
            .field("nc", &self.nc)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Credentials {
    /// The header value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest username={}, realm={}, nonce={}, uri={}, algorithm={}, cnonce={}, nc={}, qop=auth, response=\"{}\"",
            quoted(&self.username),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(&self.uri),
            self.algorithm.name(),
            quoted(&self.cnonce),
            self.nc,
            self.response,
        )?;
        match &self.opaque {
            Some(opaque) => write!(f, ", opaque={}", quoted(opaque)),
            None => Ok(()),
        }
    }
}

/// Reads an `Authorization` or `Proxy-Authorization` value: whom to look up before
/// [`super::DigestAuthority::verify`] can judge it.
pub fn credentials(header: &str) -> Result<Credentials, AuthError> {
    let parameters = digest_parameters(header)?;
    let required = |name: &'static str| parameters.get(name).ok_or(AuthError::Missing(name));
    if !required("qop")?.eq_ignore_ascii_case("auth") {
        return Err(AuthError::Unsupported("qop"));
    }
    let nc = required("nc")?;
    if nc.len() != 8 || !nc.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(AuthError::Unreadable);
    }
    Ok(Credentials {
        username: required("username")?.to_owned(),
        realm: required("realm")?.to_owned(),
        nonce: required("nonce")?.to_owned(),
        uri: required("uri")?.to_owned(),
        opaque: parameters.get("opaque").map(str::to_owned),
        algorithm: Algorithm::named(parameters.get("algorithm"))?,
        cnonce: required("cnonce")?.to_owned(),
        nc: nc.to_owned(),
        response: required("response")?.to_owned(),
    })
}

/// What a server asks: a `WWW-Authenticate` or `Proxy-Authenticate` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Which password to use.
    pub realm: String,
    /// To be hashed in.
    pub nonce: String,
    /// To be sent back as it is.
    pub opaque: Option<String>,
    /// With which hash.
    pub algorithm: Algorithm,
    /// The password was right and only the nonce too old: try again without asking the user.
    pub stale: bool,
}

impl Challenge {
    /// Reads one header value. A challenge that does not offer `qop="auth"` is refused.
    pub fn parse(header: &str) -> Result<Challenge, AuthError> {
        let parameters = digest_parameters(header)?;
        let required = |name: &'static str| parameters.get(name).ok_or(AuthError::Missing(name));
        if !required("qop")?.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) {
            return Err(AuthError::Unsupported("qop"));
        }
        Ok(Challenge {
            realm: required("realm")?.to_owned(),
            nonce: required("nonce")?.to_owned(),
            opaque: parameters.get("opaque").map(str::to_owned),
            algorithm: Algorithm::named(parameters.get("algorithm"))?,
            stale: parameters.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }
}

impl fmt::Display for Challenge {
    /// The header value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", quoted(&self.realm), quoted(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", quoted(opaque))?;
        }
        write!(f, ", algorithm={}, qop=\"auth\"", self.algorithm.name())?;
        if self.stale { f.write_str(", stale=TRUE") } else { Ok(()) }
    }
}

/// The challenge to answer among the header values of one 401 or 407: the strongest we can do.
/// `None` if there is none, for instance because the server only speaks NTLM.
pub fn strongest<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    headers.into_iter().filter_map(|header| Challenge::parse(header).ok()).max_by_key(|c| c.algorithm)
}

/// The client's answer to `challenge`, as a header value.
///
/// `uri` is the request's URI in the form it is sent; `cnonce` is fresh from
/// [`confab_machine::Entropy`]; `nc` is how often this nonce has been used, 1 for the first time.
pub fn authorize(
    challenge: &Challenge,
    method: &Method,
    uri: &str,
    user: &str,
    password: &str,
    cnonce: &str,
    nc: u32,
) -> String {
    let mut credentials = Credentials {
        username: user.to_owned(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.to_owned(),
        opaque: challenge.opaque.clone(),
        algorithm: challenge.algorithm,
        cnonce: cnonce.to_owned(),
        nc: format!("{nc:08x}"),
        response: String::new(),
    };
    let ha1 = ha1(challenge.algorithm, user, &challenge.realm, password);
    credentials.response = credentials.expected_response(method, &ha1);
    credentials.to_string()
}

fn digest_parameters(header: &str) -> Result<Parameters, AuthError> {
    let parameters = Parameters::parse(header).ok_or(AuthError::Unreadable)?;
    if parameters.scheme.eq_ignore_ascii_case("Digest") {
        Ok(parameters)
    } else {
        Err(AuthError::OtherScheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 2617 §3.5 and RFC 7616 §3.9.1 (method GET).
    #[test]
    fn published_vectors() {
        fn check(challenge: &str, password: &str, uri: &str, cnonce: &str, expect: &str) {
            let challenge = Challenge::parse(challenge).unwrap();
            let method = Method::Other("GET".into());
            let header = authorize(&challenge, &method, uri, "Mufasa", password, cnonce, 1);
            let credentials = credentials(&header).unwrap();
            assert_eq!(credentials.response, expect);
            assert_eq!((credentials.username.as_str(), credentials.count()), ("Mufasa", 1));
            let ha1 = ha1(challenge.algorithm, "Mufasa", &challenge.realm, password);
            assert_eq!(credentials.expected_response(&method, &ha1), expect);
        }
        check(
            r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
            "Circle Of Life",
            "/dir/index.html",
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
        );
        let nonce = r#"nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v""#;
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, expect) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            check(
                &format!(
                    r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, {nonce}"#
                ),
                "Circle of Life",
                "/dir/index.html",
                cnonce,
                expect,
            );
        }
    }

    /// Computed by hand with `md5sum`: no RFC prints one.
    #[test]
    fn a_session_key_is_of_both_nonces() {
        let challenge = r#"Digest realm="ann@example.test", qop="auth", algorithm=MD5-sess, nonce="n0", opaque="00C0FFEE""#;
        let challenge = Challenge::parse(challenge).unwrap();
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F0";
        let header = authorize(&challenge, &Method::Invite, uri, "guest", "pencil", "c0", 1);
        let given = credentials(&header).unwrap();
        assert_eq!((given.algorithm, given.opaque.as_deref()), (Algorithm::Md5Sess, Some("00C0FFEE")));
        assert_eq!(given.response, "553f54c955110c06cbbbc569a47c312f");
    }

    #[test]
    fn picks_the_strongest_it_can_do() {
        let md5 = r#"Digest realm="r", nonce="n1", qop="auth""#;
        let sha = r#"Digest realm="r", nonce="n2", qop="auth", algorithm=sha-256, opaque="o", stale=true"#;
        let sess = r#"Digest realm="r", nonce="n3", qop="auth", algorithm=SHA-256-sess"#;
        let ntlm = r#"NTLM realm="r", targetname="fe.example.test", version=3"#;
        let challenge = strongest([ntlm, md5, sess, sha]).unwrap();
        assert_eq!((challenge.nonce.as_str(), challenge.stale), ("n2", true));
        assert_eq!(Challenge::parse(&challenge.to_string()), Ok(challenge));
        assert_eq!(strongest([ntlm, sess]), None);
        assert_eq!(Challenge::parse(ntlm), Err(AuthError::OtherScheme));
        assert_eq!(Challenge::parse(sess), Err(AuthError::Unsupported("algorithm")));
        assert_eq!(Challenge::parse(r#"Digest realm="r", nonce="n""#), Err(AuthError::Missing("qop")));
    }

    #[test]
    fn ill_formed_credentials_are_told_apart() {
        fn check(change: (&str, &str), expect: AuthError) {
            let good = r#"Digest username="a", realm="r", nonce="n", uri="sip:x", qop=auth, nc=00000001, cnonce="c", response="00""#;
            assert!(credentials(good).is_ok());
            assert_eq!(credentials(&good.replace(change.0, change.1)), Err(expect));
        }
        check(("username=\"a\", ", ""), AuthError::Missing("username"));
        check(("qop=auth, ", ""), AuthError::Missing("qop"));
        check(("qop=auth", "qop=auth-int"), AuthError::Unsupported("qop"));
        check(("00000001", "1"), AuthError::Unreadable);
        check(("00000001", "0000000g"), AuthError::Unreadable);
        check(("Digest", "Basic"), AuthError::OtherScheme);
        check(("response", "algorithm=SHA-512, response"), AuthError::Unsupported("algorithm"));
    }

    #[test]
    fn debug_tells_no_secret() {
        let header = authorize(
            &Challenge::parse(r#"Digest realm="r", nonce="n", qop="auth", opaque="o""#).unwrap(),
            &Method::Register,
            "sip:example.test",
            "vivian",
            "pencil",
            "c",
            2,
        );
        assert!(header.ends_with(r#", opaque="o""#));
        let credentials = credentials(&header).unwrap();
        let debug = format!("{credentials:?} {:?}", Ha1s::of("vivian", "r", "pencil"));
        assert!(!debug.contains(&credentials.response) && !debug.contains("vivian"));
        assert!(!debug.contains(&ha1(Algorithm::Md5, "vivian", "r", "pencil")));
    }
}
