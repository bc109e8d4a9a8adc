//! Why something was refused, read from a SIP response (`ms-diagnostics`, MS-OCER §2) or a C3P one.

use confab_schema::cccp;
use confab_sip::{Headers, Response};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A refusal: legal to ask for, but somebody said no. Displays as the sentence for the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// The SIP status. 408 = nobody answered, 503 = no connection, 400 = we could not ask so,
    /// 502 = the answer made no sense; 200 when only the C3P answer refuses.
    pub status: u16,
    /// The number of `ms-diagnostics`.
    pub diagnostics: Option<u32>,
    /// The reason token of a C3P failure, such as `mcuTypeNotAvailable`.
    pub token: Option<String>,
    /// What a person is shown.
    pub sentence: String,
}

impl Refusal {
    /// A refusal of our own.
    pub(crate) fn local(status: u16, sentence: &str) -> Refusal {
        Refusal { status, diagnostics: None, token: None, sentence: sentence.to_owned() }
    }

    /// The refusal that a final response other than 2xx is.
    pub(crate) fn from_response(response: &Response) -> Refusal {
        let diagnostics = Diagnostics::of(&response.headers);
        let sentence = diagnostics
            .reason
            .or_else(|| response.headers.get("Warning").and_then(|value| quoted(value)))
            .unwrap_or_else(|| match response.status {
                401 | 407 => "The address or the password is wrong.".to_owned(),
                _ => format!("The server answered {} {}.", response.status, response.reason),
            });
        Refusal { status: response.status, diagnostics: diagnostics.number, token: None, sentence }
    }

    /// The refusal that a C3P failure is; `status` is that of the SIP response that carried it.
    pub(crate) fn from_c3p(status: u16, response: &cccp::Response) -> Refusal {
        let token = response.failure_reason().map(str::to_owned);
        let sentence = match &token {
            Some(token) => format!("The server refused the command: {token}."),
            None => "The server refused the command and gave no reason.".to_owned(),
        };
        Refusal { status, diagnostics: None, token, sentence }
    }
}

/// What an `ms-diagnostics` or `ms-diagnostics-public` header says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnostics {
    /// The number, without its sub-number.
    pub number: Option<u32>,
    /// The sentence.
    pub reason: Option<String>,
}

impl Diagnostics {
    /// The first of the two headers that is there.
    pub(crate) fn of(headers: &Headers) -> Diagnostics {
        let Some(value) = headers.get("ms-diagnostics").or_else(|| headers.get("ms-diagnostics-public"))
        else {
            return Diagnostics::default();
        };
        let digits = value.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let lower = value.to_ascii_lowercase();
        let reason = lower.find("reason=").and_then(|at| quoted(&value[at..]));
        Diagnostics { number: digits.parse().ok(), reason }
    }
}

/// The first quoted string in `text`, without its quotes and escapes; `None` if it is empty.
fn quoted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('"')?;
    let mut inside = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => inside.push(characters.next()?),
            character => inside.push(character),
        }
    }
    Some(inside).filter(|inside| !inside.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, value: &str, number: Option<u32>, reason: Option<&str>) {
        let mut headers = Headers::default();
        headers.push(header, value);
        assert_eq!(Diagnostics::of(&headers), Diagnostics { number, reason: reason.map(str::to_owned) });
    }

    #[test]
    fn diagnostics_are_read_leniently() {
        check(
            "ms-diagnostics",
            r#"3014;source="fe.example.test";reason="Locked.""#,
            Some(3014),
            Some("Locked."),
        );
        check("ms-diagnostics-public", r#"3004;reason="Say \"please\"""#, Some(3004), Some("Say \"please\""));
        check("ms-diagnostics", r#"1.2;REASON="x""#, Some(1), Some("x"));
        check("ms-diagnostics", r#"nonsense;reason="never closed"#, None, None);
        check("X-Other", "3014", None, None);
    }
}
