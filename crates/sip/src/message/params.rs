//! Parameters of URIs and header values: `;name=value;flag` (RFC 3261 §7.3.1, §19.1.1).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Malformed, scan};
use crate::Text;

/// Parameters in the order they came, values as written, quotation marks included.
///
/// Names are compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(Vec<(Text, Option<Text>)>);

impl Params {
    /// No parameters.
    pub fn new() -> Params {
        Params::default()
    }

    /// The value of the first parameter of this name, without the quotation marks around it, if
    /// it has them; `None` if the parameter is absent or has no value.
    ///
    /// Escapes within a quoted value are left as they are; [`Params::unquoted`] resolves them.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.find(name)?.1.as_deref()?;
        Some(if scan::is_quoted(value) { &value[1..value.len() - 1] } else { value })
    }

    /// What the value of the first parameter of this name means: unquoted, escapes resolved.
    pub fn unquoted(&self, name: &str) -> Option<String> {
        self.find(name)?.1.as_deref().map(|value| scan::unquote(value).into_owned())
    }

    /// Whether there is a parameter of this name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Gives the parameter this value, as written on the wire, in its place or at the end.
    pub fn set(&mut self, name: impl Into<Text>, value: impl Into<Text>) {
        self.put(name.into(), Some(value.into()));
    }

    /// Gives the parameter this value as a quoted string.
    pub fn set_quoted(&mut self, name: impl Into<Text>, value: &str) {
        self.put(name.into(), Some(scan::quote(value).into()));
    }

    /// Puts the parameter there without a value (`;lr`).
    pub fn set_flag(&mut self, name: impl Into<Text>) {
        self.put(name.into(), None);
    }

    /// Takes all parameters of this name out and says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.0.len() < before
    }

    /// Names and values, as written.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, Option<&Text>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `part`, a piece of `whole` that is empty or begins with `;`, as parameters of a
    /// header value: blanks may stand around names and values, and values may be quoted.
    pub(super) fn parse(whole: &Text, part: &str) -> Result<Params, Malformed> {
        let mut params = Params::new();
        let mut pieces = scan::split(part, b';').into_iter();
        if let Some(stray) = pieces.next().filter(|before| !before.is_empty()) {
            return Err(Malformed::new("parameters", format!("{stray:?} stands before the first semicolon")));
        }
        for piece in pieces {
            let (name, value) = match piece.split_once('=') {
                Some((name, value)) => (scan::trim(name), Some(scan::trim(value))),
                None => (piece, None),
            };
            if !scan::is_token(name) {
                return Err(Malformed::new("parameters", format!("{name:?} is not a parameter's name")));
            }
            if !value.is_none_or(is_value) {
                return Err(Malformed::new(
                    "parameters",
                    format!("the value of {name} is neither token nor quoted"),
                ));
            }
            params.0.push((whole.part(name), value.map(|value| whole.part(value))));
        }
        Ok(params)
    }

    pub(super) fn append(&mut self, name: Text, value: Option<Text>) {
        self.0.push((name, value));
    }

    fn find(&self, name: &str) -> Option<&(Text, Option<Text>)> {
        self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    fn put(&mut self, name: Text, value: Option<Text>) {
        match self.0.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            Some(param) => param.1 = value,
            None => self.0.push((name, value)),
        }
    }
}

/// A quoted string, or something without blanks, quotation marks and separators of its own. Wider
/// than a token: addresses (`received=[::1]`) and what Microsoft's clients write pass.
fn is_value(value: &str) -> bool {
    if value.starts_with('"') {
        return scan::is_quoted(value);
    }
    !value.is_empty() && !value.contains(|c: char| c.is_ascii_control() || " \"<>,".contains(c))
}

impl fmt::Display for Params {
    /// `;name=value;flag`, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Params, Malformed> {
        let text = Text::from(text);
        Params::parse(&text, &text)
    }

    #[test]
    fn reads_and_prints() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse(text).ok().map(|params| params.to_string()).as_deref(), expect, "{text}");
        };
        check("", Some(""));
        check("; a = 1 ;b;c=\"x;y\"", Some(";a=1;b;c=\"x;y\""));
        check(";received=[2001:db8::1]", Some(";received=[2001:db8::1]"));
        check("a=1", None);
        check(";;a", None);
        check(";a=1;", None);
        check(";a b=1", None);
        check(";a=", None);
        check(";a=\"open", None);
        check(";a=1 2", None);
    }

    #[test]
    fn looks_up_and_changes() {
        let mut params = parse(r#";+sip.instance="<urn:uuid:1>";lr;Tag=x;n="a \"b\"""#).unwrap();
        assert_eq!(params.get("+SIP.instance"), Some("<urn:uuid:1>"));
        assert_eq!(params.get("tag"), Some("x"));
        assert_eq!(params.get("lr"), None);
        assert!(params.has("lr") && !params.has("maddr"));
        assert_eq!(params.unquoted("n").as_deref(), Some(r#"a "b""#));
        params.set("tag", "y");
        params.set_flag("isfocus");
        params.set_quoted("gruu", "sip:a@b;gruu");
        assert!(params.remove("n") && !params.remove("n"));
        assert_eq!(
            params.to_string(),
            r#";+sip.instance="<urn:uuid:1>";lr;Tag=y;isfocus;gruu="sip:a@b;gruu""#
        );
    }
}
