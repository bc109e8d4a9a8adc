//! The 200 to a REGISTER: plain (RFC 3261 §10.3 step 8) or as clients of OCS need it
//! (MS-SIPREGE §3.1.5).

use std::time::Duration;

use confab_machine::Time;
use confab_sip::{Request, Response};

use super::{Binding, Dialect, Outcome};

/// How long a connection may be silent before the client sends a keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

/// What a client of OCS may subscribe to. No blanks: pidgin-sipe splits at the comma and trims
/// nothing.
const ALLOW_EVENTS: &str = "vnd-microsoft-provisioning,vnd-microsoft-roaming-contacts,\
     vnd-microsoft-roaming-ACL,presence,presence.wpending,vnd-microsoft-roaming-self,\
     vnd-microsoft-provisioning-v2";

/// Clients take a number of 6 or more for a later product than OCS 2007 R2.
// Deviation: the original's own value is not known; clients only read the first digit.
const SERVER: &str = "RTC/3.5";

/// The answer that lists `bindings`, all that the user has now.
pub(super) fn accepted(
    now: Time,
    request: &Request,
    bindings: &[Binding],
    dialect: Dialect,
    outcome: &Outcome,
) -> Response {
    let mut response = Response::to(request, 200);
    for binding in bindings {
        response.headers.push("Contact", binding.to_contact(now).to_string());
    }
    for route in request.headers.all("Path") {
        response.headers.push("Path", route.clone());
    }
    match dialect {
        Dialect::Plain => response,
        Dialect::Ocs => add_dialect(response, outcome),
    }
}

fn add_dialect(response: Response, outcome: &Outcome) -> Response {
    let keep_alive = KEEP_ALIVE.as_secs();
    // Deviation: documented for Lync; to the clients of 2007 R2 it is a header they do not read.
    let action = if outcome.refreshed { "refreshed" } else { "added" };
    let mut response = response
        .with_header("Expires", outcome.granted.as_secs().to_string())
        .with_header("ms-keep-alive", format!("UAS; tcp=no; hop-hop=yes; end-end=no; timeout={keep_alive}"))
        .with_header("Allow-Events", ALLOW_EVENTS)
        .with_header("Server", SERVER)
        // A line for each: pidgin-sipe compares the whole value, and falls back to the presence of
        // 2005 without them.
        .with_header("Supported", "adhoclist")
        .with_header("Supported", "msrtc-event-categories");
    if !outcome.granted.is_zero() {
        response.headers.push("presence-state", format!("register-action=\"{action}\""));
    }
    response
}
