//! Media types of bodies: Content-Type (RFC 3261 §20.15, RFC 2045 §5.1).

use std::{fmt, str::FromStr};

use super::{Malformed, Params, scan};
use crate::Text;

/// `text/plain;charset=UTF-8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType {
    /// Type and subtype, lower-case: `application/cccp+xml`.
    pub kind: Text,
    /// The parameters: `charset`, `boundary`, `msgr`.
    pub params: Params,
}

impl MediaType {
    pub(super) fn parse(text: &Text) -> Result<MediaType, Malformed> {
        let (kind, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        let fault = || Malformed::new("media type", format!("{:?} is not type/subtype", kind));
        let (major, minor) = kind.split_once('/').ok_or_else(fault)?;
        let (major, minor) = (scan::trim(major), scan::trim(minor));
        if !scan::is_token(major) || !scan::is_token(minor) {
            return Err(fault());
        }
        let lower = format!("{major}/{minor}").to_ascii_lowercase();
        let kind = if kind == lower { text.part(kind) } else { lower.into() };
        Ok(MediaType { kind, params: Params::parse(text, params)? })
    }
}

impl FromStr for MediaType {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<MediaType, Malformed> {
        MediaType::parse(&Text::from(scan::trim(text)))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.params)
    }
}

crate::text::serde_as_text!(MediaType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let check = |text: &str, expect: Option<&str>| {
            let read = text.parse::<MediaType>().ok().map(|kind| kind.to_string());
            assert_eq!(read.as_deref(), expect, "{text}");
        };
        check("application/SOAP+xml", Some("application/soap+xml"));
        check("text/plain; charset=UTF-8;msgr=WAAtAE0A", Some("text/plain;charset=UTF-8;msgr=WAAtAE0A"));
        check(
            "multipart/related;type=\"application/rlmi+xml\";start=\"<root@x>\";boundary=bnd",
            Some("multipart/related;type=\"application/rlmi+xml\";start=\"<root@x>\";boundary=bnd"),
        );
        check("text", None);
        check("text/", None);
        check("", None);
    }
}
