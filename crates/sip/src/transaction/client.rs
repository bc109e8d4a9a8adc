//! The client transaction of every method but INVITE (RFC 3261 §17.1.2).
//!
//! Against the RFC's picture: Trying is [`State::AwaitingAnswer`], Proceeding `AwaitingFinal`,
//! Completed `AwaitingRepeats`, Terminated `Over`.

use confab_machine::Time;

use super::{
    Failure,
    machine::ClientEffect,
    timers::{Resend, Timers, earlier},
};
use crate::{Request, Response};

pub(super) struct Client {
    request: Request,
    reliable: bool,
    timers: Timers,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Any response.
    AwaitingAnswer {
        resend: Option<Resend>,
        until: Time,
    },
    /// A final response.
    AwaitingFinal {
        resend: Option<Resend>,
        until: Time,
    },
    /// The same final response again.
    AwaitingRepeats {
        until: Time,
    },
    Over,
}

impl Client {
    pub(super) fn start(
        now: Time,
        request: Request,
        reliable: bool,
        timers: Timers,
        out: &mut Vec<ClientEffect>,
    ) -> Client {
        out.push(ClientEffect::Transmit(request.clone()));
        let resend = (!reliable).then(|| Resend::start(now, &timers, timers.t2));
        let state = State::AwaitingAnswer { resend, until: now + timers.give_up() };
        Client { request, reliable, timers, state }
    }

    pub(super) fn receive(&mut self, now: Time, response: Response, out: &mut Vec<ClientEffect>) {
        match (&mut self.state, response.status) {
            (State::AwaitingAnswer { resend, until }, 100..=199) => {
                if let Some(resend) = resend {
                    resend.slow_down();
                }
                self.state = State::AwaitingFinal { resend: *resend, until: *until };
                out.push(ClientEffect::Deliver(response));
            }
            (State::AwaitingFinal { .. }, 100..=199) => out.push(ClientEffect::Deliver(response)),
            (State::AwaitingAnswer { .. } | State::AwaitingFinal { .. }, _) => {
                self.state = if self.reliable {
                    State::Over
                } else {
                    State::AwaitingRepeats { until: now + self.timers.t4 }
                };
                out.push(ClientEffect::Deliver(response));
            }
            (State::AwaitingRepeats { .. } | State::Over, _) => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::AwaitingAnswer { resend, until } | State::AwaitingFinal { resend, until } => {
                Some(earlier(*resend, *until))
            }
            State::AwaitingRepeats { until } => Some(*until),
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        match &mut self.state {
            State::AwaitingAnswer { until, .. } | State::AwaitingFinal { until, .. } if *until <= now => {
                self.state = State::Over;
                out.push(ClientEffect::Fail(Failure::Timeout));
            }
            State::AwaitingAnswer { resend: Some(resend), .. }
            | State::AwaitingFinal { resend: Some(resend), .. }
                if resend.at <= now =>
            {
                resend.advance(now);
                out.push(ClientEffect::Transmit(self.request.clone()));
            }
            State::AwaitingRepeats { until } if *until <= now => self.state = State::Over,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::samples::{at, request, response, summary};

    fn check(reliable: bool, steps: &[(u64, &str)], expect: &[&str]) {
        let mut effects = Vec::new();
        let mut said = Vec::new();
        let mut machine = Client::start(at(0), request("INFO"), reliable, Timers::default(), &mut effects);
        said.append(&mut summary(0, &mut effects));
        for (ms, step) in steps {
            while let Some(due) = machine.deadline().filter(|due| *due <= at(*ms)) {
                machine.handle_timeout(due, &mut effects);
                assert!(machine.deadline().is_none_or(|next| next > due), "a timeout moves its deadline");
                said.append(&mut summary(due.since(at(0)).as_millis(), &mut effects));
            }
            if *step != "-" {
                machine.receive(at(*ms), response("INFO", step), &mut effects);
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
    fn trying() {
        let sent = ["500", "1500", "3500", "7500", "11500", "15500", "19500", "23500", "27500", "31500"];
        let mut expect = vec![String::from("0 send INFO")];
        expect.extend(sent.iter().map(|ms| format!("{ms} send INFO")));
        expect.extend([String::from("32000 fail Timeout"), String::from("over")]);
        check(false, &[(40_000, "-")], &expect.iter().map(String::as_str).collect::<Vec<_>>());
        check(true, &[(40_000, "-")], &["0 send INFO", "32000 fail Timeout", "over"]);
    }

    #[test]
    fn proceeding_repeats_slowly_and_still_gives_up() {
        check(
            false,
            &[(600, "100"), (10_000, "100"), (40_000, "-")],
            &[
                "0 send INFO",
                "500 send INFO",
                "600 deliver 100",
                "1500 send INFO",
                "5500 send INFO",
                "9500 send INFO",
                "10000 deliver 100",
                "13500 send INFO",
                "17500 send INFO",
                "21500 send INFO",
                "25500 send INFO",
                "29500 send INFO",
                "32000 fail Timeout",
                "over",
            ],
        );
    }

    #[test]
    fn completed_absorbs_repeats() {
        check(
            false,
            &[(10, "202"), (20, "202"), (30, "100"), (5_010, "-")],
            &["0 send INFO", "10 deliver 202", "over"],
        );
        check(true, &[(10, "481"), (20, "481")], &["0 send INFO", "10 deliver 481", "over"]);
    }
}
