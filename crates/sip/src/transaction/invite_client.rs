//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).
//!
//! Against the RFC's picture: Calling is [`State::AwaitingAnswer`], Proceeding `AwaitingFinal`,
//! Completed `AwaitingRepeats`, Accepted `AwaitingForks`, Terminated `Over`.

use std::{collections::BTreeSet, time::Duration};

use confab_machine::Time;

use super::{
    Failure,
    machine::ClientEffect,
    timers::{Resend, Timers, earlier},
};
use crate::{CSeq, Method, Request, Response, Text};

/// Timer D: how long repeated finals are answered by ACK on an unreliable transport.
const TIMER_D: Duration = Duration::from_secs(32);
/// How many 2xx from different forks one INVITE may be answered by; a further one counts as a
/// repetition.
const MAX_FORKS: usize = 16;
/// Max-Forwards of what we make.
const MAX_FORWARDS: &str = "70";

pub(super) struct InviteClient {
    request: Request,
    reliable: bool,
    timers: Timers,
    cancel_wanted: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Any response.
    AwaitingAnswer {
        resend: Option<Resend>,
        until: Time,
    },
    /// A final response; without limit, unless it was cancelled.
    AwaitingFinal {
        until: Option<Time>,
    },
    /// The same refusal again, because our ACK was lost.
    AwaitingRepeats {
        ack: Box<Request>,
        until: Time,
    },
    /// More 2xx: the same again, or from other forks.
    AwaitingForks {
        tags: BTreeSet<Text>,
        until: Time,
    },
    Over,
}

impl InviteClient {
    pub(super) fn start(
        now: Time,
        request: Request,
        reliable: bool,
        timers: Timers,
        out: &mut Vec<ClientEffect>,
    ) -> InviteClient {
        out.push(ClientEffect::Transmit(request.clone()));
        let resend = (!reliable).then(|| Resend::start(now, &timers, Duration::MAX));
        let state = State::AwaitingAnswer { resend, until: now + timers.give_up() };
        InviteClient { request, reliable, timers, cancel_wanted: false, state }
    }

    pub(super) fn receive(&mut self, now: Time, response: Response, out: &mut Vec<ClientEffect>) {
        match (&mut self.state, response.status) {
            (State::AwaitingAnswer { .. }, 100..=199) => {
                self.state = State::AwaitingFinal { until: None };
                out.push(ClientEffect::Deliver(response));
                if self.cancel_wanted {
                    self.cancel(now, out);
                }
            }
            (State::AwaitingFinal { .. }, 100..=199) => out.push(ClientEffect::Deliver(response)),
            (State::AwaitingAnswer { .. } | State::AwaitingFinal { .. }, 200..=299) => {
                let tags = BTreeSet::from([to_tag(&response)]);
                self.state = State::AwaitingForks { tags, until: now + self.timers.give_up() };
                out.push(ClientEffect::Deliver(response));
            }
            (State::AwaitingAnswer { .. } | State::AwaitingFinal { .. }, _) => {
                let ack = related(&self.request, Method::Ack, response.headers.get("To"));
                out.push(ClientEffect::Transmit(ack.clone()));
                out.push(ClientEffect::Deliver(response));
                self.state = if self.reliable {
                    State::Over
                } else {
                    State::AwaitingRepeats { ack: Box::new(ack), until: now + TIMER_D }
                };
            }
            (State::AwaitingRepeats { ack, .. }, 300..) => {
                out.push(ClientEffect::Transmit(ack.as_ref().clone()));
            }
            (State::AwaitingForks { tags, .. }, 200..=299) => {
                let is_new = tags.len() < MAX_FORKS && tags.insert(to_tag(&response));
                out.push(if is_new {
                    ClientEffect::Deliver(response)
                } else {
                    ClientEffect::Repeat(response)
                });
            }
            (State::AwaitingRepeats { .. } | State::AwaitingForks { .. } | State::Over, _) => {}
        }
    }

    /// Gives the INVITE up. A CANCEL may only follow a provisional response (RFC 3261 §9.1), so
    /// before one has come the wish is kept.
    pub(super) fn cancel(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        match &mut self.state {
            State::AwaitingAnswer { .. } => self.cancel_wanted = true,
            State::AwaitingFinal { until: until @ None } => {
                *until = Some(now + self.timers.give_up());
                out.push(ClientEffect::Cancel(related(&self.request, Method::Cancel, None)));
            }
            _ => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::AwaitingAnswer { resend, until } => Some(earlier(*resend, *until)),
            State::AwaitingFinal { until } => *until,
            State::AwaitingRepeats { until, .. } | State::AwaitingForks { until, .. } => Some(*until),
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        match &mut self.state {
            State::AwaitingAnswer { until, .. } | State::AwaitingFinal { until: Some(until) }
                if *until <= now =>
            {
                self.state = State::Over;
                out.push(ClientEffect::Fail(Failure::Timeout));
            }
            State::AwaitingAnswer { resend: Some(resend), .. } if resend.at <= now => {
                resend.advance(now);
                out.push(ClientEffect::Transmit(self.request.clone()));
            }
            State::AwaitingRepeats { until, .. } | State::AwaitingForks { until, .. } if *until <= now => {
                self.state = State::Over;
            }
            _ => {}
        }
    }

    /// Whether the transaction user still waits for the outcome.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::AwaitingAnswer { .. } | State::AwaitingFinal { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

/// The ACK or CANCEL that belongs to `invite` (RFC 3261 §9.1, §17.1.1.3): same Request-URI, Via,
/// Route, From, Call-ID and number. The To of an ACK is that of the response.
fn related(invite: &Request, method: Method, to: Option<&Text>) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    if let Ok(via) = invite.headers.top_via() {
        request.headers.push("Via", via.to_string());
    }
    request.headers.push("Max-Forwards", MAX_FORWARDS);
    for route in invite.headers.all("Route") {
        request.headers.push("Route", route);
    }
    for name in ["From", "To", "Call-ID"] {
        let replacement = to.filter(|_| name == "To");
        if let Some(value) = replacement.or_else(|| invite.headers.get(name)) {
            request.headers.push(name, value);
        }
    }
    if let Ok(cseq) = invite.headers.cseq() {
        request.headers.push("CSeq", CSeq { number: cseq.number, method }.to_string());
    }
    request
}

fn to_tag(response: &Response) -> Text {
    response.headers.to().ok().and_then(|to| to.tag().map(Text::from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::samples::{at, request, response, summary};

    /// Starts a transaction and plays `steps` on it: a millisecond, and a status, a "cancel" or
    /// "-" for timers only. Timers that fall due in between are run at their time.
    fn check(reliable: bool, steps: &[(u64, &str)], expect: &[&str]) {
        let mut effects = Vec::new();
        let mut said = Vec::new();
        let mut machine =
            InviteClient::start(at(0), request("INVITE"), reliable, Timers::default(), &mut effects);
        said.append(&mut summary(0, &mut effects));
        for (ms, step) in steps {
            while let Some(due) = machine.deadline().filter(|due| *due <= at(*ms)) {
                machine.handle_timeout(due, &mut effects);
                assert!(machine.deadline().is_none_or(|next| next > due), "a timeout moves its deadline");
                said.append(&mut summary(due.since(at(0)).as_millis(), &mut effects));
            }
            match *step {
                "-" => {}
                "cancel" => machine.cancel(at(*ms), &mut effects),
                status => machine.receive(at(*ms), response("INVITE", status), &mut effects),
            }
            said.append(&mut summary(u128::from(*ms), &mut effects));
        }
        if machine.is_over() {
            assert_eq!(machine.deadline(), None);
            said.push("over".into());
        }
        assert_eq!(said, expect);
    }

    #[test]
    fn calling() {
        check(
            false,
            &[(40_000, "-")],
            &[
                "0 send INVITE",
                "500 send INVITE",
                "1500 send INVITE",
                "3500 send INVITE",
                "7500 send INVITE",
                "15500 send INVITE",
                "31500 send INVITE",
                "32000 fail Timeout",
                "over",
            ],
        );
        check(true, &[(40_000, "-")], &["0 send INVITE", "32000 fail Timeout", "over"]);
    }

    #[test]
    fn proceeding_waits_without_limit() {
        check(
            false,
            &[(10, "100"), (20, "180"), (500_000, "486")],
            &["0 send INVITE", "10 deliver 100", "20 deliver 180", "500000 send ACK", "500000 deliver 486"],
        );
    }

    #[test]
    fn completed_acknowledges_each_refusal() {
        check(
            false,
            &[(10, "404"), (20, "404"), (30, "180"), (30, "200"), (31_000, "404"), (32_010, "-")],
            &["0 send INVITE", "10 send ACK", "10 deliver 404", "20 send ACK", "31000 send ACK", "over"],
        );
        check(true, &[(10, "404"), (20, "404")], &["0 send INVITE", "10 send ACK", "10 deliver 404", "over"]);
    }

    #[test]
    fn accepted_tells_forks_from_repeats() {
        for reliable in [false, true] {
            check(
                reliable,
                &[(10, "200 a"), (20, "200 a"), (30, "200 b"), (40, "180 c"), (50, "486 d"), (32_010, "-")],
                &["0 send INVITE", "10 deliver 200", "20 repeat 200", "30 deliver 200", "over"],
            );
        }
    }

    #[test]
    fn cancel_waits_for_a_provisional() {
        check(
            true,
            &[(10, "cancel"), (20, "100"), (30, "cancel"), (40, "487")],
            &["0 send INVITE", "20 deliver 100", "20 cancel", "40 send ACK", "40 deliver 487", "over"],
        );
        check(true, &[(10, "cancel"), (20, "200 a"), (30, "cancel")], &["0 send INVITE", "20 deliver 200"]);
        check(
            true,
            &[(10, "180"), (20, "cancel"), (32_020, "-")],
            &["0 send INVITE", "10 deliver 180", "20 cancel", "32020 fail Timeout", "over"],
        );
    }

    #[test]
    fn ack_and_cancel_repeat_what_identifies_the_invite() {
        let mut invite = request("INVITE");
        invite.headers.push("Route", "<sip:one.test;lr>, <sip:two.test;lr>");
        invite.headers.push("Contact", "<sip:ann@host.test>");
        let cancel = related(&invite, Method::Cancel, None);
        for name in ["Via", "Route", "From", "To", "Call-ID"] {
            assert_eq!(cancel.headers.get(name), invite.headers.get(name));
        }
        assert_eq!(cancel.headers.get("CSeq").unwrap(), &"7 CANCEL");
        assert_eq!(cancel.headers.get("Contact"), None);
        let to = Text::from("<sip:bob@example.test>;tag=far");
        assert_eq!(related(&invite, Method::Ack, Some(&to)).headers.get("To"), Some(&to));
    }
}
