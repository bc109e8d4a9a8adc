//! The session timer of the Focus dialog (RFC 4028): refreshed by UPDATE when that is our part.
//!
//! Deliberately absent: ending the session when the other side no longer refreshes it; that the
//! flow is lost, or a 481 to our next request, says so as well.

use std::time::Duration;

use confab_machine::Time;
use confab_sip::{Headers, Method};

use super::{Session, move_target};
use crate::{
    user_agent::{Answer, Context, Errand},
    vocabulary::Ending,
};

/// How long after a refresh that the server could not take the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The shortest interval a server may ask for, in seconds (RFC 4028 §4).
const MIN_SESSION_EXPIRES: u64 = 90;

#[derive(Debug, Default)]
pub(super) struct SessionTimer {
    interval: u64,
    refresh_at: Option<Time>,
}

impl SessionTimer {
    /// Reads what was agreed on: `Session-Expires: 1800;refresher=uac`.
    pub(super) fn agreed(&mut self, now: Time, headers: &Headers) {
        let Some(value) = headers.get("Session-Expires") else { return };
        let mut parts = value.split(';').map(str::trim);
        let Some(interval) = parts.next().and_then(|number| number.parse::<u64>().ok()) else { return };
        let is_ours = parts.any(|part| part.eq_ignore_ascii_case("refresher=uac"));
        self.interval = interval.max(MIN_SESSION_EXPIRES);
        self.refresh_at = is_ours.then(|| now + Duration::from_secs(self.interval / 2));
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.refresh_at
    }
}

impl Session {
    pub(super) fn refresh(&mut self, cx: &mut Context<'_>) {
        self.timer.refresh_at = None;
        let purpose = self.purpose(Errand::Refresh);
        let Some(dialog) = self.dialog.as_mut() else { return };
        let mut update = cx.agent.request_in(dialog, Method::Update);
        update.headers.push("Supported", "timer");
        update.headers.push("Session-Expires", format!("{};refresher=uac", self.timer.interval));
        cx.send(update, purpose);
    }

    /// The answer to the UPDATE. A server that does not know it is not bothered again, one that
    /// cannot now is.
    pub(super) fn refreshed(&mut self, cx: &mut Context<'_>, answer: Answer) {
        match answer {
            Ok(response) => {
                self.timer.agreed(cx.now, &response.headers);
                move_target(self.dialog.as_mut(), &response);
            }
            Err(refusal) if matches!(refusal.status, 408 | 481) => {
                self.dialog = None;
                self.end(cx, Ending::Lost);
            }
            Err(refusal) if refusal.status / 100 == 5 && refusal.status != 501 => {
                self.timer.refresh_at = Some(cx.now + RETRY_AFTER);
            }
            Err(_) => {}
        }
    }
}
