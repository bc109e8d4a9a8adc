//! How a request is refused: a status, the sentence a person reads (RFC 3261 §20.43) and, where
//! OCS has a number for it, `ms-diagnostics` (MS-OCER §2.2.1).

use confab_sip::{Request, Response};

/// A legal request that is answered no, or an illegal one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The SIP status.
    pub status: u16,
    /// The number OCS has for this fault.
    pub diagnostic: Option<u32>,
    /// What a person is told, without quotation marks.
    pub sentence: String,
    /// A header the status demands: `Require` with 421, `Min-Expires` with 423.
    pub header: Option<(&'static str, String)>,
}

impl Refusal {
    pub fn new(status: u16, sentence: impl Into<String>) -> Refusal {
        Refusal { status, diagnostic: None, sentence: sentence.into(), header: None }
    }

    pub fn with_diagnostic(mut self, id: u32) -> Refusal {
        self.diagnostic = Some(id);
        self
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.header = Some((name, value.into()));
        self
    }

    /// The response that says so on behalf of `host`.
    pub fn response(&self, request: &Request, host: &str) -> Response {
        let sentence = harmless(&self.sentence);
        let mut response = Response::to(request, self.status);
        if let Some((name, value)) = &self.header {
            response.headers.set(name, value.as_str());
        }
        response.headers.set("Warning", format!("399 {host} \"{sentence}\""));
        if let Some(id) = self.diagnostic {
            response.headers.set("ms-diagnostics", format!("{id};reason=\"{sentence}\";source=\"{host}\""));
        }
        response
    }
}

/// A sentence, which may quote the client, as it can stand between quotation marks in a header.
fn harmless(sentence: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    sentence.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_cannot_end_the_header() {
        assert_eq!(harmless("\"a\\\" is no\r\nVia: b"), "'a'' is no  Via: b");
    }
}
