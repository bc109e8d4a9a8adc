//! Following the conference (RFC 6665, RFC 4575 §3): SUBSCRIBE in a dialog of its own, its first
//! document perhaps in the 200, the later ones by BENOTIFY or NOTIFY.

use std::time::Duration;

use confab_machine::Time;
use confab_schema::conference_info::{CONTENT_TYPE as CONFERENCE_INFO, EVENT};
use confab_sip::{Dialog, DialogId, Method, Request, ServerKey, Text};

use super::{Session, move_target};
use crate::{
    user_agent::{Answer, Context, Errand, Purpose},
    vocabulary::{Ending, Observation, Undertaking},
};

/// How long before its end a subscription is refreshed; a short one at half its time.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);
/// For how long we are subscribed if nothing says so.
const DEFAULT_EXPIRES: u32 = 3600;

#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) dialog: Option<Dialog>,
    /// Call-ID and tag of a SUBSCRIBE that is not answered: a NOTIFY may overtake the 200.
    opening: Option<(Text, String)>,
    /// Whether a SUBSCRIBE within the dialog is not answered.
    refreshing: bool,
    /// Whether documents are missing and a full one was asked for.
    pub(super) awaits_full: bool,
    /// The newest version of what came and could not be used, for something before it was missing.
    missed: Option<u32>,
    pub(super) refresh_at: Option<Time>,
}

impl Subscription {
    /// Whether requests of this dialog come from the notifier.
    pub(super) fn is_told_by(&self, id: &DialogId) -> bool {
        match &self.dialog {
            Some(dialog) => dialog.id() == *id,
            None => self
                .opening
                .as_ref()
                .is_some_and(|(call_id, tag)| *call_id == id.call_id && id.local_tag == tag.as_str()),
        }
    }

    fn extend(&mut self, now: Time, expires: u32) {
        let lasts = Duration::from_secs(u64::from(expires));
        self.refresh_at = Some(now + lasts.saturating_sub(REFRESH_AHEAD).max(lasts / 2));
    }
}

impl Session {
    pub(super) fn subscribe(&mut self, cx: &mut Context<'_>) {
        self.subscription = Subscription { awaits_full: true, ..Subscription::default() };
        let Ok(request) = cx.agent.request_to(Method::Subscribe, &self.conference.to_string()) else {
            return;
        };
        let tag = request.headers.from().ok().and_then(|from| from.tag().map(str::to_owned));
        self.subscription.opening = request.headers.get("Call-ID").cloned().zip(tag);
        cx.send(with_package(request), self.purpose(Errand::Subscribe));
    }

    /// Asks for a full document within the subscription, which also extends it.
    pub(super) fn resubscribe(&mut self, cx: &mut Context<'_>) {
        self.subscription.awaits_full = true;
        self.subscription.refresh_at = None;
        if self.subscription.refreshing {
            return;
        }
        let purpose = self.purpose(Errand::Subscribe);
        match self.subscription.dialog.as_mut() {
            Some(dialog) => {
                self.subscription.refreshing = true;
                let request = cx.agent.request_in(dialog, Method::Subscribe);
                cx.send(with_package(request), purpose);
            }
            // A first SUBSCRIBE that is not answered yet will bring a full document.
            None if self.subscription.opening.is_some() => {}
            None => self.subscribe(cx),
        }
    }

    /// A partial document came after one that did not.
    pub(super) fn misses(&mut self, cx: &mut Context<'_>, version: u32) {
        self.subscription.missed = self.subscription.missed.max(Some(version));
        self.resubscribe(cx);
    }

    /// A document was used. If it was the full one that was asked for, and is older than one that came
    /// ahead of it, it is asked for again, once.
    pub(super) fn caught_up(&mut self, cx: &mut Context<'_>) {
        self.subscription.awaits_full = false;
        if self.subscription.missed.take() > self.roster.version() {
            self.resubscribe(cx);
        }
    }

    pub(super) fn subscribed(&mut self, cx: &mut Context<'_>, sent: &Request, answer: Answer) {
        let was_refresh = std::mem::take(&mut self.subscription.refreshing);
        self.subscription.opening = None;
        match answer {
            Ok(response) => {
                if was_refresh {
                    move_target(self.subscription.dialog.as_mut(), &response);
                } else {
                    self.subscription.dialog = Dialog::from_response(sent, &response).ok();
                }
                self.subscription.extend(cx.now, response.headers.expires().unwrap_or(DEFAULT_EXPIRES));
                if response.headers.content_type().is_some_and(|kind| kind.kind == CONFERENCE_INFO) {
                    self.document(cx, &response.body);
                }
            }
            // The subscription is gone, though not necessarily the conference.
            Err(_) if was_refresh => self.subscribe(cx),
            Err(refusal) => cx.observe(Observation::Refused { what: Undertaking::Subscribe, refusal }),
        }
    }

    pub(super) fn notified(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) {
        if !matches!(request.method, Method::Notify | Method::Benotify) {
            return cx.refuse_method(key, request);
        }
        cx.answer(key, request, 200);
        let state = request.headers.get("Subscription-State").map(|state| state.to_ascii_lowercase());
        let state = state.as_deref().unwrap_or("active").replace(' ', "");
        let ended = state.starts_with("terminated");
        if !ended {
            // Deviation: every notification begins the time anew (autoextend), but a client that
            // hears nothing refreshes the subscription all the same.
            let expires = parameter(&state, "expires").and_then(|expires| expires.parse().ok());
            self.subscription.extend(cx.now, expires.unwrap_or(DEFAULT_EXPIRES));
        }
        if !request.body.is_empty() {
            self.document(cx, &request.body);
        }
        if ended {
            self.subscription = Subscription::default();
            match parameter(&state, "reason") {
                Some("noresource") => self.foretold = Some(Ending::ConferenceEnded),
                Some("rejected") => self.foretold = Some(Ending::Ejected),
                Some("deactivated" | "timeout") => self.subscribe(cx),
                _ => {}
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, cx: &mut Context<'_>) {
        let Some(mut dialog) = std::mem::take(&mut self.subscription).dialog else { return };
        let mut request = cx.agent.request_in(&mut dialog, Method::Subscribe);
        request.headers.push("Event", EVENT);
        request.headers.push("Expires", "0");
        cx.send(request, Purpose::Farewell);
    }
}

/// The headers that ask for this event package in the manner of this dialect.
fn with_package(mut request: Request) -> Request {
    for (name, value) in [
        ("Event", EVENT),
        ("Accept", CONFERENCE_INFO),
        ("Supported", "com.microsoft.autoextend"),
        ("Supported", "ms-benotify"),
        ("Proxy-Require", "ms-benotify"),
        ("Supported", "ms-piggyback-first-notify"),
    ] {
        request.headers.push(name, value);
    }
    request
}

/// The value of a parameter of a Subscription-State.
fn parameter<'a>(state: &'a str, name: &str) -> Option<&'a str> {
    state.split(';').skip(1).find_map(|part| part.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v))
}
