//! CSeq: a request's number within its dialog, and its method (RFC 3261 §20.16).

use std::{fmt, str::FromStr};

use super::{Malformed, Method, scan};
use crate::Text;

/// `1 INVITE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CSeq {
    /// The number, below 2³¹.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    pub(super) fn parse(text: &Text) -> Result<CSeq, Malformed> {
        let fault = |problem: &str| Malformed::new("CSeq", format!("{:?} {problem}", text.as_str()));
        let (number, method) = text.split_once([' ', '\t']).ok_or_else(|| fault("lacks number or method"))?;
        let number = scan::number(number).and_then(|number| u32::try_from(number).ok());
        let number =
            number.filter(|number| number >> 31 == 0).ok_or_else(|| fault("has no number below 2^31"))?;
        let method = Method::parse(&text.part(scan::trim(method))).map_err(|fault| fault.at("CSeq"))?;
        Ok(CSeq { number, method })
    }
}

impl FromStr for CSeq {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<CSeq, Malformed> {
        CSeq::parse(&Text::from(text))
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

crate::text::serde_as_text!(CSeq);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(text.parse::<CSeq>().ok().map(|cseq| cseq.to_string()).as_deref(), expect, "{text}");
        };
        check("1 INVITE", Some("1 INVITE"));
        check("0009   INVITE", Some("9 INVITE"));
        check("2147483647 FOO", Some("2147483647 FOO"));
        check("2147483648 FOO", None);
        check("9292394834772304023312 OPTIONS", None);
        check("INVITE", None);
        check("1", None);
        check("1 IN VITE", None);
        check("-1 INVITE", None);
    }
}
