//! The server transaction of every method but INVITE (RFC 3261 §17.2.2).
//!
//! Against the RFC's picture: Trying and Proceeding are [`State::AwaitingUser`], Completed is
//! `AwaitingRepeats`, Terminated `Over`.

use std::time::Duration;

use confab_machine::Time;

use super::{Failure, machine::ServerEffect, timers::Timers};
use crate::Response;

/// How long the user may take to answer. The RFC has no limit here; without one a user that
/// forgets a request would keep its transaction for ever. All clients have given up long before.
const UNANSWERED_LIMIT: Duration = Duration::from_secs(180);

pub(super) struct Server {
    reliable: bool,
    timers: Timers,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The user's final response.
    AwaitingUser {
        provisional: Option<Box<Response>>,
        until: Time,
    },
    /// The same request again.
    AwaitingRepeats {
        response: Box<Response>,
        until: Time,
    },
    Over,
}

impl Server {
    pub(super) fn start(now: Time, reliable: bool, timers: Timers) -> Server {
        let state = State::AwaitingUser { provisional: None, until: now + UNANSWERED_LIMIT };
        Server { reliable, timers, state }
    }

    /// The same request came again.
    pub(super) fn repeat(&mut self, out: &mut Vec<ServerEffect>) {
        match &self.state {
            State::AwaitingUser { provisional: Some(response), .. }
            | State::AwaitingRepeats { response, .. } => {
                out.push(ServerEffect::Transmit(response.as_ref().clone()));
            }
            State::AwaitingUser { provisional: None, .. } | State::Over => {}
        }
    }

    /// The user answers. What it may not say any more is ignored.
    pub(super) fn respond(&mut self, now: Time, response: Response, out: &mut Vec<ServerEffect>) {
        let State::AwaitingUser { provisional, .. } = &mut self.state else { return };
        if response.status < 200 {
            *provisional = Some(Box::new(response.clone()));
        } else if self.reliable {
            self.state = State::Over;
        } else {
            let until = now + self.timers.give_up();
            self.state = State::AwaitingRepeats { response: Box::new(response.clone()), until };
        }
        out.push(ServerEffect::Transmit(response));
    }

    /// The way back is gone.
    pub(super) fn lose_flow(&mut self, out: &mut Vec<ServerEffect>) {
        if matches!(self.state, State::AwaitingUser { .. }) {
            out.push(ServerEffect::Fail(Failure::Transport));
        }
        self.state = State::Over;
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::AwaitingUser { until, .. } | State::AwaitingRepeats { until, .. } => Some(*until),
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ServerEffect>) {
        match &self.state {
            State::AwaitingUser { until, .. } if *until <= now => {
                self.state = State::Over;
                out.push(ServerEffect::Fail(Failure::Timeout));
            }
            State::AwaitingRepeats { until, .. } if *until <= now => self.state = State::Over,
            _ => {}
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::samples::{at, response, server_summary};

    fn check(reliable: bool, steps: &[(u64, &str)], expect: &[&str]) {
        let mut effects = Vec::new();
        let mut said: Vec<String> = Vec::new();
        let mut machine = Server::start(at(0), reliable, Timers::default());
        for (ms, step) in steps {
            while let Some(due) = machine.deadline().filter(|due| *due <= at(*ms)) {
                machine.handle_timeout(due, &mut effects);
                assert!(machine.deadline().is_none_or(|next| next > due), "a timeout moves its deadline");
                said.append(&mut server_summary(due.since(at(0)).as_millis(), &mut effects));
            }
            match *step {
                "-" => {}
                "INFO" => machine.repeat(&mut effects),
                "closed" => machine.lose_flow(&mut effects),
                status => machine.respond(at(*ms), response("INFO", status), &mut effects),
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
    fn trying_and_proceeding() {
        check(
            false,
            &[(10, "INFO"), (20, "100"), (30, "INFO"), (200_000, "-")],
            &["20 send 100", "30 send 100", "180000 fail Timeout", "over"],
        );
        check(true, &[(10, "closed")], &["10 fail Transport", "over"]);
    }

    #[test]
    fn completed() {
        check(
            false,
            &[(10, "202"), (20, "INFO"), (30, "100"), (40, "500"), (32_009, "INFO"), (32_010, "-")],
            &["10 send 202", "20 send 202", "32009 send 202", "over"],
        );
        check(true, &[(10, "202"), (20, "INFO")], &["10 send 202", "over"]);
        check(false, &[(10, "202"), (20, "closed")], &["10 send 202", "over"]);
    }
}
