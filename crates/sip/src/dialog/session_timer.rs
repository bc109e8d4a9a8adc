//! Session timers (RFC 4028): how two ends agree on one, which of them keeps the session alive, and
//! when a silent peer is given up.

use std::time::Duration;

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use crate::{Headers, Request, Response};

/// The session interval we ask for, in seconds.
const SESSION_EXPIRES: u32 = 1800;
/// The shortest session interval allowed, in seconds (RFC 4028 §5).
const MIN_SESSION_EXPIRES: u32 = 90;

/// The timer that the two ends of a session have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimer {
    /// Seconds.
    interval: u32,
    refresher: Refresher,
    /// When it was agreed on or last refreshed.
    since: Time,
    /// Our refresh is on its way.
    refreshing: bool,
}

/// Who must refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Refresher {
    We,
    They,
}

/// What a session timer wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionDue {
    /// Send a refresh, with the headers of [`SessionTimer::write`].
    Refresh,
    /// Nobody kept the session alive: end it.
    Expire,
}

impl SessionTimer {
    /// The refusal of a request that asks for too short a session (422, RFC 4028 §6).
    pub fn refusal(request: &Request) -> Option<Response> {
        let too_small =
            session_expires(&request.headers).is_some_and(|(interval, _)| interval < MIN_SESSION_EXPIRES);
        too_small.then(|| Response::to(request, 422).with_header("Min-SE", MIN_SESSION_EXPIRES.to_string()))
    }

    /// What a response of this status says of session timers: 422 names the shortest interval.
    pub(super) fn explain(response: &mut Response) {
        if response.status == 422 {
            response.headers.push("Min-SE", MIN_SESSION_EXPIRES.to_string());
        }
    }

    /// The timer that a 2xx to `request` agrees on, which is written into it (RFC 4028 §9): none if
    /// neither the client nor a proxy asks for one and the client could not keep one.
    pub fn answer(now: Time, request: &Request, response: &mut Response) -> Option<SessionTimer> {
        response.headers.push("Supported", "timer");
        let timer = negotiate(now, request)?;
        let refresher = match timer.refresher {
            Refresher::We => "uas",
            Refresher::They => "uac",
        };
        if timer.refresher == Refresher::They {
            response.headers.push("Require", "timer");
        }
        response.headers.push("Session-Expires", format!("{};refresher={refresher}", timer.interval));
        Some(timer)
    }

    /// Asks for a timer in an INVITE of ours (RFC 4028 §7.1).
    pub fn ask(invite: &mut Request) {
        invite.headers.push("Supported", "timer");
        invite.headers.push("Session-Expires", SESSION_EXPIRES.to_string());
    }

    /// The timer that the 2xx to an INVITE of ours agrees on, if its sender can keep one.
    pub fn answered(now: Time, response: &Response) -> Option<SessionTimer> {
        let (interval, refresher) = session_expires(&response.headers)?;
        // Seen from our end of the dialog: the UAC is we.
        let refresher = match refresher {
            Some(Refresher::We) => Refresher::They,
            Some(Refresher::They) | None => Refresher::We,
        };
        let interval = interval.max(MIN_SESSION_EXPIRES);
        Some(SessionTimer { interval, refresher, since: now, refreshing: false })
    }

    /// When [`SessionTimer::due`] has something to say, if nothing happens first.
    pub fn deadline(&self) -> Time {
        let interval = Duration::from_secs(self.interval.into());
        // RFC 4028 §10: who refreshes does it at half time; at the end the BYE leaves a little
        // earlier than the last moment, so that no other end is quicker.
        let wait = if self.refresher == Refresher::We && !self.refreshing {
            interval / 2
        } else {
            interval - (interval / 3).min(Duration::from_secs(32))
        };
        self.since + wait
    }

    /// What is to be done now, if anything.
    pub fn due(&mut self, now: Time) -> Option<SessionDue> {
        if self.deadline() > now {
            return None;
        }
        if self.refresher == Refresher::They || self.refreshing {
            return Some(SessionDue::Expire);
        }
        self.refreshing = true;
        Some(SessionDue::Refresh)
    }

    /// Writes what a refresh of ours says.
    pub fn write(&self, refresh: &mut Request) {
        refresh.headers.push("Supported", "timer");
        refresh.headers.push("Session-Expires", format!("{};refresher=uac", self.interval));
    }

    /// Our refresh was answered, or the session goes on at another server: it begins anew.
    pub fn refreshed(&mut self, now: Time) {
        self.since = now;
        self.refreshing = false;
    }
}

/// What a Session-Expires says: seconds, and who is wanted to refresh, seen from the end that
/// answers.
fn session_expires(headers: &Headers) -> Option<(u32, Option<Refresher>)> {
    let mut pieces = headers.get("Session-Expires")?.split(';').map(str::trim);
    let interval = pieces.next()?.parse().ok()?;
    let refresher = pieces.find_map(|piece| match piece.to_ascii_lowercase().as_str() {
        "refresher=uas" => Some(Refresher::We),
        "refresher=uac" => Some(Refresher::They),
        _ => None,
    });
    Some((interval, refresher))
}

fn negotiate(now: Time, request: &Request) -> Option<SessionTimer> {
    let headers = &request.headers;
    let can = headers.has_token("Supported", "timer") || headers.has_token("Require", "timer");
    let (asked, wanted) = match session_expires(headers) {
        Some(asked) => asked,
        None if can => (SESSION_EXPIRES, None),
        None => return None,
    };
    let refresher = if can { wanted.unwrap_or(Refresher::They) } else { Refresher::We };
    let least = headers.get("Min-SE").and_then(|least| least.parse().ok()).unwrap_or(MIN_SESSION_EXPIRES);
    let interval = asked.min(SESSION_EXPIRES).max(least.min(asked));
    Some(SessionTimer { interval, refresher, since: now, refreshing: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::samples::request;

    const START: Time = Time::from_unix_secs(1_000);

    fn after(seconds: u64) -> Time {
        START + Duration::from_secs(seconds)
    }

    /// The timer that a callee's 200 with this Session-Expires agrees on.
    fn called(session_expires: &str) -> Option<SessionTimer> {
        let mut invite = request("INVITE", 1, "", "");
        SessionTimer::ask(&mut invite);
        assert_eq!(invite.headers.get("Session-Expires").unwrap(), &"1800");
        let mut response = Response::to(&invite, 200);
        if !session_expires.is_empty() {
            response.headers.push("Session-Expires", session_expires);
        }
        SessionTimer::answered(START, &response)
    }

    #[test]
    fn a_callee_says_who_refreshes() {
        assert_eq!(called(""), None, "who cannot keep one has none");
        let mut ours = called("600;refresher=uac").unwrap();
        assert_eq!(ours.due(after(299)), None);
        assert_eq!(ours.due(after(300)), Some(SessionDue::Refresh));
        assert_eq!(ours.deadline(), after(568));
        ours.refreshed(after(310));
        assert_eq!(ours.deadline(), after(610));
        let mut theirs = called("600;refresher=uas").unwrap();
        assert_eq!(theirs.deadline(), after(568));
        assert_eq!(theirs.due(after(568)), Some(SessionDue::Expire));
        assert_eq!(called("5;refresher=uas").unwrap().deadline(), after(60), "never shorter than we allow");
    }
}
