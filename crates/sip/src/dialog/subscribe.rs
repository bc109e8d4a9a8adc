//! The notifying end of a subscription (RFC 6665 §4.2) with the extensions of OCS (MS-SIP §3):
//!
//! - `ms-benotify`: notifications go out as BENOTIFY, which nobody answers;
//! - `ms-piggyback-first-notify`: the first one is the body of the 200 to SUBSCRIBE;
//! - `com.microsoft.autoextend`: each one starts the expiry anew.
//!
//! A client may also end a subscription by a SUBSCRIBE with `Expires: 0` *outside* of its dialog
//! (pidgin-sipe leaves a conference that way). Such a request is answered like a look once at the
//! state; whoever holds the subscriptions must drop the client's older one for the same resource.

use std::time::Duration;

use bytes::Bytes;
use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::Dialog;
use crate::{Method, Request, Response, Text};

/// One client's subscription to something of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    dialog: Dialog,
    /// Our Contact, as it is printed into every notification.
    contact: Text,
    /// The Event header, with its `id` if it has one.
    event: Text,
    /// The types the client can read; empty if it does not say.
    accept: Vec<Text>,
    /// Seconds granted at the last SUBSCRIBE.
    granted: u32,
    /// Seconds granted at most, and to a client that does not ask for a number.
    longest: u32,
    expires_at: Time,
    benotify: bool,
    autoextend: bool,
    /// Whether the SUBSCRIBE at hand wants its notification in the answer.
    piggyback: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// The first SUBSCRIBE is not answered yet.
    New,
    Active,
    Ended,
}

/// How a SUBSCRIBE is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// The 200.
    pub response: Response,
    /// The notification to send after it; `None` if it went into the 200, or nobody waits for one.
    pub notify: Option<Request>,
}

/// Why a subscription is ended (RFC 6665 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// Subscribe again at once: we are moving it.
    Deactivated,
    /// Not now; subscribe again later.
    Giveup,
    /// The resource is gone.
    Noresource,
    /// Policy has changed: do not subscribe again.
    Rejected,
    /// It was not refreshed in time, or ended by the client.
    Timeout,
}

impl EndReason {
    const fn name(self) -> &'static str {
        match self {
            EndReason::Deactivated => "deactivated",
            EndReason::Giveup => "giveup",
            EndReason::Noresource => "noresource",
            EndReason::Rejected => "rejected",
            EndReason::Timeout => "timeout",
        }
    }
}

impl Subscription {
    /// The subscription that `request` asks for. `contact` is what our answers have as Contact, in brackets.
    /// `longest` is granted, in seconds, unless the client asks for less. Whether the Event is one
    /// of ours is for the caller to judge ([`Subscription::package`]).
    ///
    /// # Errors
    /// The refusal to send: 400 for what cannot be read, 489 if there is no Event.
    pub fn from_request(
        now: Time,
        request: &Request,
        local_tag: &str,
        contact: Text,
        longest: u32,
    ) -> Result<Subscription, Response> {
        let event = request.headers.get("Event").ok_or_else(|| Response::to(request, 489))?.detached();
        let dialog =
            Dialog::from_invite(request, local_tag).map_err(|fault| Response::to(request, fault.status()))?;
        let mut subscription = Subscription {
            dialog,
            contact,
            event,
            accept: Vec::new(),
            granted: 0,
            longest,
            expires_at: now,
            benotify: false,
            autoextend: false,
            piggyback: false,
            phase: Phase::New,
        };
        subscription.grant(now, request);
        Ok(subscription)
    }

    /// The dialog.
    pub fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// The event package: `conference`, `presence`.
    pub fn package(&self) -> &str {
        self.event.split(';').next().unwrap_or_default().trim()
    }

    /// Whether the client says that it can read this type.
    pub fn accepts(&self, content_type: &str) -> bool {
        self.accept.iter().any(|accepted| {
            accepted
                .split(';')
                .next()
                .is_some_and(|accepted| accepted.trim().eq_ignore_ascii_case(content_type))
        })
    }

    /// When it ends unless something happens before.
    pub fn expires_at(&self) -> Time {
        self.expires_at
    }

    /// Whether it has ended: by the client, by us, or because its time is up.
    pub fn is_over(&self, now: Time) -> bool {
        self.phase == Phase::Ended || self.expires_at <= now
    }

    /// Another SUBSCRIBE within its dialog came; answer it with [`Subscription::accept_response`].
    ///
    /// # Errors
    /// The status to refuse it with: 481 after the end, 489 for another Event, 500 when its number
    /// goes back, 400 when it cannot be read.
    pub fn refresh(&mut self, now: Time, request: &Request) -> Result<(), u16> {
        if self.phase == Phase::Ended {
            return Err(481);
        }
        if request.headers.get("Event") != Some(&self.event) {
            return Err(489);
        }
        self.dialog.accept(request)?;
        self.grant(now, request);
        Ok(())
    }

    /// The answer to the SUBSCRIBE that made this subscription or that [`Subscription::refresh`]
    /// took, with the whole state as `body`. `Expires: 0` ends the subscription here.
    pub fn accept_response(
        &mut self,
        now: Time,
        request: &Request,
        content_type: impl Into<Text>,
        body: Bytes,
    ) -> Acceptance {
        let is_new = std::mem::replace(&mut self.phase, Phase::Active) == Phase::New;
        let ends = self.granted == 0;
        let mut response = Response::to(request, 200);
        response.set_to_tag(&self.dialog.id().local_tag);
        response.headers.push("Contact", self.contact.clone());
        response.headers.push("Event", self.event.clone());
        response.headers.push("Expires", self.granted.to_string());
        self.grant_extensions(&mut response);
        if self.piggyback && (is_new || !ends) {
            // Deviation: a look once at the state is active;expires=0, because pidgin-sipe reads only active ones.
            response.headers.push("Subscription-State", self.active_for(now));
            response.headers.push("ms-piggyback-cseq", self.dialog.next_number().to_string());
            response.set_body(content_type, body);
            self.end_if(ends);
            return Acceptance { response, notify: None };
        }
        if ends && self.benotify && !is_new {
            // The client wants to hear no more, and a BENOTIFY is no answer it would wait for.
            response.headers.push("Subscription-State", ended(EndReason::Timeout));
            self.end_if(true);
            return Acceptance { response, notify: None };
        }
        let notify = if ends {
            let mut last = self.terminate(EndReason::Timeout);
            last.set_body(content_type, body);
            last
        } else {
            self.notify(now, content_type, body)
        };
        Acceptance { response, notify: Some(notify) }
    }

    /// A notification: NOTIFY, or BENOTIFY if the client can take that. With autoextend it starts
    /// the expiry anew.
    pub fn notify(&mut self, now: Time, content_type: impl Into<Text>, body: Bytes) -> Request {
        if self.autoextend {
            self.expires_at = now + Duration::from_secs(self.granted.into());
        }
        let state = self.active_for(now);
        let mut request = self.notification(state);
        request.set_body(content_type, body);
        request
    }

    /// The last notification, without a body, which the caller may add.
    pub fn terminate(&mut self, reason: EndReason) -> Request {
        self.phase = Phase::Ended;
        self.notification(ended(reason))
    }

    /// A NOTIFY was answered with this status, or not at all (408). Some answers mean that the
    /// client knows of no subscription (RFC 5057 §5.1); then it is over.
    pub fn notify_answered(&mut self, status: u16) {
        let ends = matches!(status, 404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604);
        self.end_if(ends);
    }

    /// Takes over what a SUBSCRIBE asks for, new or again.
    fn grant(&mut self, now: Time, request: &Request) {
        let headers = &request.headers;
        self.granted = headers.expires().unwrap_or(self.longest).min(self.longest);
        self.expires_at = now + Duration::from_secs(self.granted.into());
        // A refresh need not repeat what was agreed on; only the piggyback is for this one answer.
        // Deviation: over datagrams everything is NOTIFY: a BENOTIFY that is lost is never sent again.
        let datagrams = headers.top_via().is_ok_and(|via| via.transport.eq_ignore_ascii_case("UDP"));
        self.benotify = !datagrams && (self.benotify || headers.has_token("Supported", "ms-benotify"));
        self.autoextend |= headers.has_token("Supported", "com.microsoft.autoextend");
        self.piggyback = headers.has_token("Supported", "ms-piggyback-first-notify");
        let accept = headers.list("Accept");
        if !accept.is_empty() {
            self.accept = accept.iter().map(Text::detached).collect();
        }
    }

    fn grant_extensions(&self, response: &mut Response) {
        let granted = [(self.benotify, "ms-benotify"), (self.piggyback, "ms-piggyback-first-notify")];
        let tags: Vec<&str> = granted.into_iter().filter(|(is, _)| *is).map(|(_, tag)| tag).collect();
        if !tags.is_empty() {
            response.headers.push("Supported", tags.join(", "));
        }
        if self.autoextend {
            response.headers.push("Supported", "com.microsoft.autoextend");
        }
    }

    fn notification(&mut self, state: String) -> Request {
        let method = if self.benotify { Method::Benotify } else { Method::Notify };
        self.dialog
            .request(method)
            .with_header("Contact", self.contact.clone())
            .with_header("Event", self.event.clone())
            .with_header("Subscription-State", state)
    }

    fn active_for(&self, now: Time) -> String {
        format!("active;expires={}", self.expires_at.since(now).as_secs())
    }

    fn end_if(&mut self, ends: bool) {
        if ends {
            self.phase = Phase::Ended;
        }
    }
}

fn ended(reason: EndReason) -> String {
    format!("terminated;reason={}", reason.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::samples::request;

    const START: Time = Time::from_unix_secs(1_000);
    const DOCUMENT: &str = "application/conference-info+xml";
    const SIPE: &str = "Event: conference\r\nAccept: application/conference-info+xml\r\n\
        Supported: com.microsoft.autoextend\r\nSupported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
        Supported: ms-piggyback-first-notify\r\n";

    fn after(seconds: u64) -> Time {
        START + Duration::from_secs(seconds)
    }

    fn subscribed(lines: &str) -> (Subscription, Acceptance) {
        let request = request("SUBSCRIBE", 1, "", lines);
        let contact = Text::fixed("<sip:bob@example.test;gruu;opaque=app:conf:focus:id:ABCD>;isfocus");
        let mut subscription = Subscription::from_request(START, &request, "far", contact, 3600).unwrap();
        let acceptance = subscription.accept_response(START, &request, DOCUMENT, "first".into());
        (subscription, acceptance)
    }

    fn refreshed(subscription: &mut Subscription, now: Time, number: u32, lines: &str) -> Acceptance {
        let request = request("SUBSCRIBE", number, ";tag=far", lines);
        subscription.refresh(now, &request).unwrap();
        subscription.accept_response(now, &request, DOCUMENT, "again".into())
    }

    fn values<'a>(headers: &'a crate::Headers, names: &'a [&str]) -> Vec<&'a str> {
        names.iter().map(|name| headers.get(name).map_or("-", |value| value.as_str())).collect()
    }

    const NAMES: [&str; 6] =
        ["Event", "Expires", "Subscription-State", "Supported", "ms-piggyback-cseq", "Content-Type"];

    #[test]
    fn as_pidgin_sipe_needs_it() {
        let (mut subscription, Acceptance { response, notify }) = subscribed(SIPE);
        let expect = [
            "conference",
            "3600",
            "active;expires=3600",
            "ms-benotify, ms-piggyback-first-notify",
            "1",
            DOCUMENT,
        ];
        assert_eq!(values(&response.headers, &NAMES), expect);
        assert!(response.headers.has_token("Supported", "com.microsoft.autoextend"));
        assert_eq!((response.status, &response.body[..], notify), (200, &b"first"[..], None));

        let change = subscription.notify(after(1000), DOCUMENT, "second".into());
        let names = ["CSeq", "Event", "Subscription-State", "Content-Type", "To"];
        let to = "\"Ann\" <sip:ann@example.test>;tag=near;epid=0a1b2c";
        let expect = ["2 BENOTIFY", "conference", "active;expires=3600", DOCUMENT, to];
        assert_eq!(values(&change.headers, &names), expect);
        assert!(!subscription.is_over(after(4599)) && subscription.is_over(after(4600)));

        let end = format!("{SIPE}Expires: 0\r\n");
        let Acceptance { response, notify } = refreshed(&mut subscription, after(1001), 2, &end);
        assert_eq!((response.headers.get("ms-piggyback-cseq"), response.body.len(), notify), (None, 0, None));
        assert_eq!(
            values(&response.headers, &["Expires", "Subscription-State"]),
            ["0", "terminated;reason=timeout"]
        );
        assert!(subscription.is_over(after(1001)));
        assert_eq!(subscription.refresh(after(1002), &request("SUBSCRIBE", 3, ";tag=far", SIPE)), Err(481));
    }

    #[test]
    fn a_look_once() {
        let (subscription, Acceptance { response, notify }) = subscribed(&format!("{SIPE}Expires: 0\r\n"));
        assert_eq!(values(&response.headers, &NAMES)[1..3], ["0", "active;expires=0"]);
        assert_eq!((&response.body[..], notify), (&b"first"[..], None));
        assert!(subscription.is_over(START));
    }

    #[test]
    fn plain_rfc_6665() {
        let (mut subscription, Acceptance { response, notify }) = subscribed("Event: conference;id=7\r\n");
        let expect = ["conference;id=7", "3600", "-", "-", "-", "-"];
        assert_eq!(values(&response.headers, &NAMES), expect);
        let notify = notify.unwrap();
        let names = ["CSeq", "Event", "Subscription-State", "Content-Type"];
        assert_eq!(
            values(&notify.headers, &names),
            ["1 NOTIFY", "conference;id=7", "active;expires=3600", DOCUMENT]
        );
        assert_eq!((subscription.package(), &notify.body[..]), ("conference", &b"first"[..]));

        let change = subscription.notify(after(600), DOCUMENT, Bytes::new());
        assert_eq!(values(&change.headers, &names)[2], "active;expires=3000");
        let again = refreshed(&mut subscription, after(1000), 2, "Event: conference;id=7\r\nExpires: 60\r\n");
        assert_eq!(values(&again.notify.unwrap().headers, &names)[2], "active;expires=60");
        assert_eq!(subscription.expires_at(), after(1060));

        let end = refreshed(&mut subscription, after(1001), 3, "Event: conference;id=7\r\nExpires: 0\r\n");
        assert_eq!(values(&end.response.headers, &["Expires"]), ["0"]);
        let last = end.notify.unwrap();
        assert_eq!(values(&last.headers, &names)[2], "terminated;reason=timeout");
        assert_eq!(&last.body[..], b"again");
        assert!(subscription.is_over(after(1001)));
    }

    #[test]
    fn extensions_are_granted_one_by_one() {
        fn check(supported: &str, first: &str, later: &str) {
            let (mut subscription, acceptance) =
                subscribed(&format!("Event: presence\r\nSupported: {supported}\r\n"));
            let notified =
                acceptance.notify.map_or("in the answer".into(), |notify| notify.method.to_string());
            assert_eq!(
                (notified.as_str(), acceptance.response.headers.list("Supported").is_empty()),
                (first, false)
            );
            assert_eq!(subscription.notify(START, DOCUMENT, Bytes::new()).method.to_string(), later);
            let again = refreshed(&mut subscription, START, 2, "Event: presence\r\n");
            assert_eq!(again.notify.unwrap().method.to_string(), later, "what was agreed on stays");
        }
        check("ms-benotify", "BENOTIFY", "BENOTIFY");
        check("ms-piggyback-first-notify", "in the answer", "NOTIFY");
        check("com.microsoft.autoextend", "NOTIFY", "NOTIFY");
    }

    #[test]
    fn over_datagrams_every_notification_is_answered() {
        for (transport, method) in [("UDP", Method::Notify), ("TCP", Method::Benotify)] {
            let lines = "Event: presence\r\nSupported: ms-benotify\r\n";
            let mut request = request("SUBSCRIBE", 1, "", lines);
            request.headers.set("Via", format!("SIP/2.0/{transport} 192.0.2.1;branch=z9hG4bKa"));
            let contact = Text::fixed("<sip:fe.test>");
            let mut subscription = Subscription::from_request(START, &request, "far", contact, 60).unwrap();
            assert_eq!(subscription.notify(START, DOCUMENT, Bytes::new()).method, method);
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let contact = Text::fixed("<sip:fe.test>");
        let no_event = request("SUBSCRIBE", 1, "", "");
        let refusal = Subscription::from_request(START, &no_event, "far", contact.clone(), 60).unwrap_err();
        assert_eq!(refusal.status, 489);
        let mut no_contact = request("SUBSCRIBE", 1, "", "Event: conference\r\n");
        no_contact.headers.remove("Contact");
        let refusal = Subscription::from_request(START, &no_contact, "far", contact, 60).unwrap_err();
        assert_eq!(refusal.status, 400);
        let (mut subscription, _) =
            subscribed("Event: conference\r\nExpires: 99999\r\nAccept: A/b;q=1, c/d\r\n");
        assert_eq!(subscription.expires_at(), after(3600));
        assert!(subscription.accepts("a/B") && subscription.accepts("c/d") && !subscription.accepts("e/f"));
        let other = request("SUBSCRIBE", 2, ";tag=far", "Event: presence\r\n");
        assert_eq!(subscription.refresh(START, &other), Err(489));
        let old = request("SUBSCRIBE", 0, ";tag=far", "Event: conference\r\n");
        assert_eq!(subscription.refresh(START, &old), Err(500));
    }

    #[test]
    fn ends_from_either_side_and_can_be_written_down() {
        let (mut subscription, _) = subscribed(SIPE);
        let text = serde_json::to_string(&subscription).unwrap();
        assert_eq!(serde_json::from_str::<Subscription>(&text).unwrap(), subscription);
        let last = subscription.terminate(EndReason::Noresource);
        assert_eq!(values(&last.headers, &["Subscription-State"]), ["terminated;reason=noresource"]);
        assert!(subscription.is_over(START));
        for (status, ends) in [(200, false), (500, false), (401, false), (481, true), (408, true)] {
            let (mut subscription, _) = subscribed("Event: conference\r\n");
            subscription.notify_answered(status);
            assert_eq!(subscription.is_over(START), ends, "{status}");
        }
    }
}
