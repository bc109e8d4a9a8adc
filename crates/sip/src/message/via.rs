//! Via: the way a request came, which its response goes back (RFC 3261 §20.42, RFC 3581).

use std::{fmt, str::FromStr};

use super::{Malformed, Params, scan, uri::parse_hostport};
use crate::Text;

/// What a branch made as RFC 3261 §8.1.1.7 says begins with.
const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop: `SIP/2.0/TCP host:port;branch=…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via {
    /// The transport as written; compare it without case.
    pub transport: Text,
    /// Name or address of the sender; an IPv6 address in its square brackets.
    pub host: Text,
    /// The port, if one is given.
    pub port: Option<u16>,
    /// The parameters: `branch`, `received`, `rport`, `ms-received-cid`.
    pub params: Params,
}

impl Via {
    /// A hop without parameters. `sent_by` is `host` or `host:port`.
    ///
    /// # Errors
    /// If `sent_by` is neither.
    pub fn new(transport: &str, sent_by: &str) -> Result<Via, Malformed> {
        let (host, port) = parse_hostport(&Text::from(sent_by), sent_by).map_err(|fault| fault.at("Via"))?;
        Ok(Via { transport: transport.into(), host, port, params: Params::new() })
    }

    /// The branch, if one is given.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// The branch, if it tells transactions apart: it begins with the magic cookie and goes on.
    /// `None` for requests of older stacks and of clients that leave it out, which are matched by
    /// the rules of RFC 2543 (RFC 3261 §17.2.3).
    pub fn unique_branch(&self) -> Option<&str> {
        self.branch().filter(|branch| {
            let cookie = branch.get(..MAGIC_COOKIE.len());
            cookie.is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
                && branch.len() > MAGIC_COOKIE.len()
        })
    }

    /// `host` or `host:port`, as the sender calls itself.
    pub fn sent_by(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// Reads one hop that shares the memory of `text`.
    pub(super) fn parse(text: &Text) -> Result<Via, Malformed> {
        let fault = |problem: &str| Malformed::new("Via", format!("{:?} {problem}", text.as_str()));
        let whole = scan::trim(text);
        let (sent, params) = whole.split_at(whole.find(';').unwrap_or(whole.len()));
        let mut pieces = sent.splitn(3, '/').map(scan::trim);
        let mut piece = || pieces.next().ok_or_else(|| fault("lacks protocol, version or transport"));
        let (name, version, rest) = (piece()?, piece()?, piece()?);
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(fault("is not of SIP/2.0"));
        }
        let (transport, sent_by) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
        if !scan::is_token(transport) {
            return Err(fault("has a transport that is not a token"));
        }
        // Blanks are allowed around the colon of the port.
        let (host, port) = match sent_by.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (scan::trim(host), Some(scan::trim(port))),
            None => (scan::trim(sent_by), None),
        };
        let (host, no_port) = parse_hostport(text, host).map_err(|fault| fault.at("Via"))?;
        let port = port.map(|port| scan::number(port).and_then(|port| u16::try_from(port).ok()));
        if no_port.is_some() || port == Some(None) {
            return Err(fault("has a port that is no number below 65536"));
        }
        let params = Params::parse(text, params).map_err(|fault| fault.at("Via"))?;
        Ok(Via { transport: text.part(transport), host, port: port.flatten(), params })
    }
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Via, Malformed> {
        Via::parse(&Text::from(text))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

crate::text::serde_as_text!(Via);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let check = |text: &str, expect: &str| {
            let via: Via = text.parse().unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(via.to_string(), expect);
        };
        check("SIP/2.0/tcp 127.0.0.1:5060;branch=z9hG4bK1", "SIP/2.0/tcp 127.0.0.1:5060;branch=z9hG4bK1");
        check("SIP/2.0/tcp 127.0.0.1:56704", "SIP/2.0/tcp 127.0.0.1:56704");
        check("SIP / 2.0 / UDP  [2001:db8::1] : 5060 ; rport", "SIP/2.0/UDP [2001:db8::1]:5060;rport");
        check(
            "sip/2.0/TLS host.test;received=[::1];ms-received-cid=4A",
            "SIP/2.0/TLS host.test;received=[::1];ms-received-cid=4A",
        );
    }

    #[test]
    fn tells_branches_apart() {
        let check = |params: &str, expect: Option<&str>| {
            let via: Via = format!("SIP/2.0/UDP host.test{params}").parse().unwrap();
            assert_eq!(via.unique_branch(), expect, "{params}");
        };
        check(";branch=z9hG4bK1", Some("z9hG4bK1"));
        check(";branch=Z9HG4BK1", Some("Z9HG4BK1"));
        check(";branch=z9hG4bK", None);
        check(";branch=390skdjuw", None);
        check("", None);
        assert_eq!(Via::new("TCP", "[::1]:5060").unwrap().sent_by(), "[::1]:5060");
        assert!(Via::new("TCP", "a b").is_err());
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP host.test",
            "HTTP/2.0/UDP host.test",
            "SIP/2.0/UDP host.test:port",
            "SIP/2.0/UDP host.test:1:2",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP a.test b.test",
        ] {
            assert!(text.parse::<Via>().is_err(), "{text}");
        }
    }
}
