//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1).
//!
//! Against the RFC's picture: Proceeding is [`State::AwaitingUser`], Completed `AwaitingAck`,
//! Confirmed `AwaitingRepeatedAcks`, Accepted `AwaitingAcks`, Terminated `Over`.
//!
//! Beyond the RFC's machine it also repeats a 2xx until its ACK passes, which the RFC leaves to
//! the user of the transaction (§13.3.1.4): so every user, and every hop of a path, does it right.

use std::time::Duration;

use confab_machine::Time;

use super::{
    Failure,
    machine::ServerEffect,
    timers::{Resend, Timers, earlier},
};
use crate::{Request, Response, Text};

/// How long a user may take before the peer is told 100, so that it stops repeating.
const TRYING_AFTER: Duration = Duration::from_millis(200);
/// How many 2xx of different forks are repeated until they are acknowledged.
const MAX_FORKS: usize = 16;

pub(super) struct InviteServer {
    reliable: bool,
    timers: Timers,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The user's final response. At `trying_at` a 100 is sent for it.
    AwaitingUser {
        latest: Box<Response>,
        trying_at: Option<Time>,
        cancelled: bool,
    },
    /// The ACK of a refusal.
    AwaitingAck {
        refusal: Box<Response>,
        resend: Option<Resend>,
        until: Time,
    },
    /// The same ACK again.
    AwaitingRepeatedAcks {
        until: Time,
    },
    /// The ACKs of all 2xx.
    AwaitingAcks {
        unacknowledged: Vec<Answer>,
        until: Time,
    },
    Over,
}

/// A 2xx whose ACK has not passed.
#[derive(Debug)]
struct Answer {
    tag: Text,
    response: Response,
    resend: Option<Resend>,
}

impl InviteServer {
    pub(super) fn start(now: Time, request: &Request, reliable: bool, timers: Timers) -> InviteServer {
        let latest = Box::new(Response::to(request, 100));
        let state = State::AwaitingUser { latest, trying_at: Some(now + TRYING_AFTER), cancelled: false };
        InviteServer { reliable, timers, state }
    }

    /// The same INVITE came again.
    pub(super) fn repeat(&mut self, out: &mut Vec<ServerEffect>) {
        match &self.state {
            State::AwaitingUser { latest, trying_at: None, .. }
            | State::AwaitingAck { refusal: latest, .. } => {
                out.push(ServerEffect::Transmit(latest.as_ref().clone()));
            }
            _ => {}
        }
    }

    /// The user answers. What it may not say any more is ignored.
    pub(super) fn respond(&mut self, now: Time, response: Response, out: &mut Vec<ServerEffect>) {
        let until = now + self.timers.give_up();
        match (&mut self.state, response.status) {
            (State::AwaitingUser { latest, trying_at, .. }, 100..=199) => {
                *trying_at = None;
                **latest = response.clone();
            }
            (State::AwaitingUser { .. }, 200..=299) => {
                let unacknowledged = vec![self.answer(now, response.clone())];
                self.state = State::AwaitingAcks { unacknowledged, until };
            }
            (State::AwaitingUser { .. }, _) => {
                let resend = (!self.reliable).then(|| Resend::start(now, &self.timers, self.timers.t2));
                self.state = State::AwaitingAck { refusal: Box::new(response.clone()), resend, until };
            }
            (State::AwaitingAcks { unacknowledged, .. }, 200..=299) => {
                // Another fork, or one whose ACK was lost further down: its sender repeats it, so
                // that ACK must pass once more.
                let tag = to_tag(&response);
                let known = unacknowledged.iter().any(|answer| answer.tag == tag);
                if !known && unacknowledged.len() < MAX_FORKS {
                    let answer = self.answer(now, response.clone());
                    if let State::AwaitingAcks { unacknowledged, .. } = &mut self.state {
                        unacknowledged.push(answer);
                    }
                }
            }
            _ => return,
        }
        out.push(ServerEffect::Transmit(response));
    }

    /// An ACK came for the answer with this To tag. Whether the user must hear of it: it must if
    /// it acknowledges a 2xx.
    pub(super) fn acknowledge(&mut self, now: Time, to_tag: &str) -> bool {
        match &mut self.state {
            State::AwaitingAck { .. } => {
                self.state = if self.reliable {
                    State::Over
                } else {
                    State::AwaitingRepeatedAcks { until: now + self.timers.t4 }
                };
                false
            }
            State::AwaitingAcks { unacknowledged, .. } => {
                unacknowledged.retain(|answer| answer.tag != to_tag);
                true
            }
            State::AwaitingUser { .. } | State::AwaitingRepeatedAcks { .. } | State::Over => false,
        }
    }

    /// A CANCEL came. Whether the user must hear of it: only the first time, and only while it has
    /// not answered.
    pub(super) fn cancel(&mut self) -> bool {
        match &mut self.state {
            State::AwaitingUser { cancelled, .. } => !std::mem::replace(cancelled, true),
            _ => false,
        }
    }

    /// The way back is gone.
    pub(super) fn lose_flow(&mut self, out: &mut Vec<ServerEffect>) {
        let matters = match &self.state {
            State::AwaitingUser { .. } => true,
            State::AwaitingAcks { unacknowledged, .. } => !unacknowledged.is_empty(),
            _ => false,
        };
        if matters {
            out.push(ServerEffect::Fail(Failure::Transport));
        }
        self.state = State::Over;
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::AwaitingUser { trying_at, .. } => *trying_at,
            State::AwaitingAck { resend, until, .. } => Some(earlier(*resend, *until)),
            State::AwaitingRepeatedAcks { until } => Some(*until),
            State::AwaitingAcks { unacknowledged, until } => {
                let resends = unacknowledged.iter().filter_map(|answer| answer.resend);
                Some(resends.map(|resend| resend.at).fold(*until, Time::min))
            }
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ServerEffect>) {
        match &mut self.state {
            State::AwaitingUser { latest, trying_at: trying_at @ Some(_), .. } => {
                *trying_at = None;
                out.push(ServerEffect::Transmit(latest.as_ref().clone()));
            }
            State::AwaitingAck { until, .. } if *until <= now => {
                self.state = State::Over;
                out.push(ServerEffect::Fail(Failure::Timeout));
            }
            State::AwaitingAck { refusal, resend: Some(resend), .. } if resend.at <= now => {
                resend.advance(now);
                out.push(ServerEffect::Transmit(refusal.as_ref().clone()));
            }
            State::AwaitingAcks { unacknowledged, until } if *until <= now => {
                if !unacknowledged.is_empty() {
                    out.push(ServerEffect::Fail(Failure::Timeout));
                }
                self.state = State::Over;
            }
            State::AwaitingAcks { unacknowledged, .. } => {
                for answer in unacknowledged {
                    if let Some(resend) = answer.resend.as_mut().filter(|resend| resend.at <= now) {
                        resend.advance(now);
                        out.push(ServerEffect::Transmit(answer.response.clone()));
                    }
                }
            }
            State::AwaitingRepeatedAcks { until } if *until <= now => self.state = State::Over,
            _ => {}
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn answer(&self, now: Time, response: Response) -> Answer {
        let resend = (!self.reliable).then(|| Resend::start(now, &self.timers, self.timers.t2));
        Answer { tag: to_tag(&response), response, resend }
    }
}

fn to_tag(response: &Response) -> Text {
    response.headers.to().ok().and_then(|to| to.tag().map(Text::from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::samples::{at, request, response, server_summary};

    /// Plays `steps` on a new transaction: a millisecond, and a status the user answers with,
    /// "INVITE", "ACK tag", "CANCEL", "closed", or "-" for timers only.
    fn check(reliable: bool, steps: &[(u64, &str)], expect: &[&str]) {
        let mut effects = Vec::new();
        let mut said: Vec<String> = Vec::new();
        let mut machine = InviteServer::start(at(0), &request("INVITE"), reliable, Timers::default());
        for (ms, step) in steps {
            while let Some(due) = machine.deadline().filter(|due| *due <= at(*ms)) {
                machine.handle_timeout(due, &mut effects);
                assert!(machine.deadline().is_none_or(|next| next > due), "a timeout moves its deadline");
                said.append(&mut server_summary(due.since(at(0)).as_millis(), &mut effects));
            }
            match *step {
                "-" => {}
                "INVITE" => machine.repeat(&mut effects),
                "closed" => machine.lose_flow(&mut effects),
                "CANCEL" if machine.cancel() => said.push(format!("{ms} cancelled")),
                "CANCEL" => {}
                step => match step.strip_prefix("ACK ") {
                    Some(tag) if machine.acknowledge(at(*ms), tag) => said.push(format!("{ms} pass ACK")),
                    Some(_) => {}
                    None => machine.respond(at(*ms), response("INVITE", step), &mut effects),
                },
            }
            said.append(&mut server_summary(u128::from(*ms), &mut effects));
        }
        if machine.is_over() {
            assert_eq!(machine.deadline(), None);
            said.push("over".into());
        }
        assert_eq!(said, expect);
    }

    #[test]
    fn proceeding() {
        check(
            false,
            &[
                (50, "INVITE"),
                (300, "INVITE"),
                (400, "180 a"),
                (500, "INVITE"),
                (600, "ACK a"),
                (999_999, "-"),
            ],
            &["200 send 100", "300 send 100", "400 send 180", "500 send 180"],
        );
        check(true, &[(10, "180 a"), (999, "-")], &["10 send 180"]);
        check(true, &[(10, "closed")], &["10 fail Transport", "over"]);
    }

    #[test]
    fn completed_repeats_until_acknowledged() {
        check(
            false,
            &[
                (10, "486 a"),
                (20, "INVITE"),
                (30, "180 a"),
                (40, "200 a"),
                (8_000, "ACK a"),
                (9_000, "INVITE"),
                (12_999, "ACK a"),
                (13_000, "-"),
            ],
            &[
                "10 send 486",
                "20 send 486",
                "510 send 486",
                "1510 send 486",
                "3510 send 486",
                "7510 send 486",
                "over",
            ],
        );
        check(true, &[(10, "486 a"), (20, "INVITE"), (30, "ACK a")], &["10 send 486", "20 send 486", "over"]);
        check(true, &[(10, "486 a"), (40_000, "-")], &["10 send 486", "32010 fail Timeout", "over"]);
        check(true, &[(10, "486 a"), (20, "closed")], &["10 send 486", "over"]);
    }

    #[test]
    fn completed_gives_up() {
        let sent =
            ["10", "510", "1510", "3510", "7510", "11510", "15510", "19510", "23510", "27510", "31510"];
        let mut expect: Vec<String> = sent.iter().map(|ms| format!("{ms} send 486")).collect();
        expect.extend([String::from("32010 fail Timeout"), String::from("over")]);
        check(false, &[(10, "486 a"), (40_000, "-")], &expect.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn accepted_repeats_until_acknowledged() {
        check(
            false,
            &[
                (10, "200 a"),
                (20, "INVITE"),
                (2_000, "ACK b"),
                (4_000, "ACK a"),
                (5_000, "ACK a"),
                (33_000, "-"),
            ],
            &[
                "10 send 200",
                "510 send 200",
                "1510 send 200",
                "2000 pass ACK",
                "3510 send 200",
                "4000 pass ACK",
                "5000 pass ACK",
                "over",
            ],
        );
        check(
            true,
            &[(10, "200 a"), (20, "200 b"), (30, "ACK a"), (40, "CANCEL"), (50, "486 a"), (40_000, "-")],
            &["10 send 200", "20 send 200", "30 pass ACK", "32010 fail Timeout", "over"],
        );
        check(true, &[(10, "200 a"), (20, "ACK a"), (30, "closed")], &["10 send 200", "20 pass ACK", "over"]);
        check(true, &[(10, "200 a"), (30, "closed")], &["10 send 200", "30 fail Transport", "over"]);
    }

    #[test]
    fn cancel_is_heard_once_and_in_time() {
        check(
            true,
            &[(10, "CANCEL"), (20, "CANCEL"), (30, "487 a"), (40, "CANCEL"), (50, "ACK a")],
            &["10 cancelled", "30 send 487", "over"],
        );
    }
}
