//! How a refusal looks in SIP: the status, `ms-diagnostics` where MS-OCER has a number, and a
//! Warning for everybody else, both with the same sentence.

use confab_conference::reason::Reason;
use confab_sip::{Request, Response};

/// The response that refuses `request`; `source` is this server's name.
pub fn response(request: &Request, reason: Reason, source: &str) -> Response {
    let sentence = reason.sentence();
    let mut response = Response::to(request, reason.sip_status());
    if let Some(number) = reason.diagnostics() {
        let name = if reason.is_public() { "ms-diagnostics-public" } else { "ms-diagnostics" };
        response = response.with_header(name, diagnostics(number, source, sentence));
    }
    response.with_header("Warning", warning(source, sentence))
}

/// The same, with a sentence of its own and this kind of Warning.
pub fn explained(request: &Request, reason: Reason, source: &str, code: u16, sentence: &str) -> Response {
    let mut response = Response::to(request, reason.sip_status());
    if let Some(number) = reason.diagnostics() {
        response = response.with_header("ms-diagnostics", diagnostics(number, source, sentence));
    }
    response.with_header("Warning", format!("{code} {source} \"{sentence}\""))
}

/// A response of this status with a sentence for a person.
pub fn plain(request: &Request, status: u16, source: &str, sentence: &str) -> Response {
    Response::to(request, status).with_header("Warning", warning(source, sentence))
}

/// The response with a sentence for a person, though nothing is refused.
pub fn with_note(response: Response, source: &str, sentence: &str) -> Response {
    response.with_header("Warning", warning(source, sentence))
}

fn diagnostics(number: u16, source: &str, sentence: &str) -> String {
    format!("{number};source=\"{source}\";reason=\"{sentence}\"")
}

/// 399 is "miscellaneous" (RFC 3261 §20.43).
fn warning(source: &str, sentence: &str) -> String {
    format!("399 {source} \"{sentence}\"")
}
