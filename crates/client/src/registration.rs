//! Signing on and staying so (RFC 3261 §10, MS-SIPREGE §3.1): REGISTER with epid and instance,
//! refreshed before it expires; the GRUU that the registrar makes; being signed off by it.

use std::time::Duration;

use confab_machine::Time;
use confab_sip::{Method, Request, Response, ServerKey, Text, Uri};

use crate::{
    refusal::Refusal,
    user_agent::{Answer, Context, Purpose},
    vocabulary::{Observation, SignOff, Undertaking},
};

/// How long before its end a registration is refreshed; a short one at half its time.
const REFRESH_AHEAD: Duration = Duration::from_secs(30);
/// How long after a refresh that failed the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// For how long we are registered if the registrar does not say (RFC 3261 §10.2.1.1).
const DEFAULT_EXPIRES: u32 = 3600;

/// The registration of one client.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    state: State,
    /// From and Call-ID of this sign-on, which all its REGISTERs share.
    names: Option<(Text, Text)>,
    /// The number of the last of them.
    number: u32,
    refresh_at: Option<Time>,
    expires_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    SigningOn,
    On,
    SigningOff,
}

impl Registration {
    pub(crate) fn register(&mut self, cx: &mut Context<'_>) {
        if self.state == State::SigningOn {
            return;
        }
        if self.state != State::On {
            self.state = State::SigningOn;
        }
        self.send(cx, Purpose::Register);
    }

    /// Whether we are signed on or about to be.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.state, State::SigningOn | State::On)
    }

    pub(crate) fn unregister(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Off => cx.observe(Observation::SignedOff { reason: SignOff::Requested }),
            State::SigningOff => {}
            State::SigningOn | State::On => {
                self.state = State::SigningOff;
                self.refresh_at = None;
                self.send(cx, Purpose::Unregister);
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, purpose: Purpose) {
        let agent = &mut *cx.agent;
        let registrar = Uri::sip("", agent.config.user.domain());
        let mut request = agent.request(Method::Register, registrar);
        let mut own = agent.address();
        own.params.remove("epid");
        own.display_name = None;
        request.headers.set("To", own.to_string());
        match &self.names {
            Some((from, call_id)) => {
                request.headers.set("From", from);
                request.headers.set("Call-ID", call_id);
            }
            None => {
                let header = |name| request.headers.get(name).cloned();
                self.names = header("From").zip(header("Call-ID"));
            }
        }
        request.headers.set("CSeq", format!("{} REGISTER", self.next_number()));
        let contact = agent.local_uri("");
        let instance = &agent.config.instance;
        request.headers.set(
            "Contact",
            format!(
                "<{contact}>;methods=\"{methods}\";proxy=replace;+sip.instance=\"<urn:uuid:{instance}>\"",
                methods = crate::user_agent::ALLOW,
            ),
        );
        request.headers.push("Supported", "gruu-10, adhoclist, msrtc-event-categories");
        request.headers.push("Event", "registration");
        request.headers.push("ms-keep-alive", "UAC;hop-hop=yes");
        if matches!(purpose, Purpose::Unregister) {
            request.headers.push("Expires", "0");
        }
        cx.send(request, purpose);
    }

    /// The number of the next REGISTER, which may be the last one again with credentials.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    /// The answer to a REGISTER.
    pub(crate) fn registered(&mut self, cx: &mut Context<'_>, answer: Answer) {
        if !self.is_wanted() {
            return;
        }
        match answer {
            Ok(response) => self.accepted(cx, &response),
            Err(refusal) => self.refused(cx, refusal),
        }
    }

    fn accepted(&mut self, cx: &mut Context<'_>, response: &Response) {
        let instance = format!("<urn:uuid:{}>", cx.agent.config.instance).to_ascii_lowercase();
        let contacts = response.headers.contacts().unwrap_or_default();
        let is_ours =
            |value: Option<String>| value.is_some_and(|value| value.to_ascii_lowercase() == instance);
        let ours = contacts.iter().find(|contact| is_ours(contact.params.unquoted("+sip.instance")));
        let expires = ours
            .and_then(|contact| contact.params.get("expires")?.parse().ok())
            .or_else(|| response.headers.expires())
            .unwrap_or(DEFAULT_EXPIRES);
        cx.agent.gruu = ours.and_then(|contact| contact.params.unquoted("gruu")?.parse().ok());
        if let Some(timeout) = keep_alive(response) {
            cx.agent.keep_alive_every(timeout);
        }
        let lasts = Duration::from_secs(u64::from(expires));
        self.expires_at = Some(cx.now + lasts);
        self.refresh_at = Some(cx.now + lasts.saturating_sub(REFRESH_AHEAD).max(lasts / 2));
        if self.state == State::SigningOn {
            self.state = State::On;
            cx.observe(Observation::Registered { expires });
        }
    }

    fn refused(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        let passing = refusal.status == 408 || refusal.status / 100 == 5;
        if self.state == State::On && passing {
            self.refresh_at = Some(cx.now + RETRY_AFTER);
            return;
        }
        if self.state == State::On {
            cx.observe(Observation::SignedOff { reason: SignOff::Expired });
        }
        *self = Registration::default();
        cx.observe(Observation::Refused { what: Undertaking::Register, refusal });
    }

    /// The answer to the REGISTER that ends it: whatever it is, we are gone.
    pub(crate) fn unregistered(&mut self, cx: &mut Context<'_>) {
        if self.state == State::SigningOff {
            self.end(cx, SignOff::Requested);
        }
    }

    /// The registrar tells by NOTIFY that the registration has ended.
    pub(crate) fn notified(&mut self, cx: &mut Context<'_>, key: &ServerKey, request: &Request) {
        cx.answer(key, request, 200);
        let state = request.headers.get("Subscription-State").map(|state| state.to_ascii_lowercase());
        if self.state == State::Off || !state.is_some_and(|state| state.starts_with("terminated")) {
            return;
        }
        let body = String::from_utf8_lossy(&request.body).to_ascii_lowercase();
        let reason = match body.split("event=").nth(1).unwrap_or_default().trim() {
            event if event.starts_with("rejected") => SignOff::Disabled,
            event if event.starts_with("deactivated") => SignOff::Moved,
            _ => SignOff::Elsewhere,
        };
        self.end(cx, reason);
    }

    pub(crate) fn flow_closed(&mut self, cx: &mut Context<'_>) {
        if self.state != State::Off {
            self.end(cx, SignOff::Disconnected);
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, reason: SignOff) {
        *self = Registration::default();
        cx.agent.gruu = None;
        cx.observe(Observation::SignedOff { reason });
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        [self.refresh_at, self.expires_at].into_iter().flatten().min()
    }

    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>) {
        if self.expires_at.is_some_and(|at| at <= cx.now) {
            self.end(cx, SignOff::Expired);
        } else if self.refresh_at.is_some_and(|at| at <= cx.now) {
            self.refresh_at = None;
            self.register(cx);
        }
    }
}

/// How long the server lets a connection be silent: `ms-keep-alive: UAS; timeout=300`.
fn keep_alive(response: &Response) -> Option<Duration> {
    let value = response.headers.get("ms-keep-alive")?.to_ascii_lowercase();
    let seconds: u64 = value.split("timeout=").nth(1)?.split(';').next()?.trim().parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
