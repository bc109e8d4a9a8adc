//! Checks we send: which, when, and what follows from them.

use std::{cmp::Reverse, time::Duration};

use confab_machine::Time;

use super::{
    Agent, LIMIT, Outcome,
    names::Name,
    pair::{Check, Pair, Purpose, State},
};
use crate::{
    Event, Flow, Port, Sink,
    session::IceDialect,
    stun::{Builder, Class},
};

/// As the controlling side we wait so long for a better pair than the first.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between checks of a pair that is used (RFC 7675 §5.1); Microsoft's clients expect them seldom.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_MICROSOFT: Duration = Duration::from_secs(15);
/// Without any sign of life for this long nothing may be sent to the peer any more (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);

impl Agent {
    /// Sends what is due: to be called every 20 ms, and at most one new check goes out each time.
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink) {
        if self.outcome == Outcome::Unreachable {
            return;
        }
        self.repeat(now, sink);
        if let Some(at) = self.next_pair() {
            self.check(at, Purpose::Try, now, sink);
        }
        self.nominate(now, sink);
        self.conclude(now, sink);
        self.keep_alive(now, sink);
    }

    /// Repeats checks that are not answered, or gives their pairs up.
    fn repeat(&mut self, now: Time, sink: &mut dyn Sink) {
        for at in 0..self.pairs.len() {
            let pair = &mut self.pairs[at];
            let Some(check) = pair.check.filter(|check| check.is_due(now)) else { continue };
            if !check.is_over() {
                pair.check.iter_mut().for_each(|check| check.sent(now));
                self.send(at, sink);
                continue;
            }
            pair.check = None;
            if check.purpose == Purpose::KeepAlive {
                continue;
            }
            (pair.state, pair.is_nominated) = (State::Failed, false);
            let component = pair.component;
            if self.valid(component).is_none() {
                // While nothing else works it is tried anew: a NAT may open late, or everything was lost.
                self.pairs[at].state = State::Waiting;
            }
        }
    }

    /// The pair to be checked next: one the peer has checked, or while nothing is settled the best.
    fn next_pair(&self) -> Option<usize> {
        let best = |which: &dyn Fn(&Pair) -> bool| {
            let ready = |at: &usize| self.pairs[*at].theirs.is_some() && which(&self.pairs[*at]);
            (0..self.pairs.len())
                .filter(ready)
                .max_by_key(|at| (self.priority(&self.pairs[*at]), Reverse(*at)))
        };
        let is_open = |pair: &Pair| {
            pair.state == State::Waiting
                && self.outcome == Outcome::Checking
                && self.nominated(pair.component).is_none()
        };
        best(&|pair| pair.is_wanted).or_else(|| best(&is_open))
    }

    /// Begins a check. One that is on its way is sent again under its old name, so that whichever answer
    /// comes first counts.
    fn check(&mut self, at: usize, purpose: Purpose, now: Time, sink: &mut dyn Sink) {
        let transaction = Builder::transaction(self.dialect, self.entropy.bytes());
        let controlling = self.controlling;
        let pair = &mut self.pairs[at];
        pair.is_wanted = false;
        if purpose == Purpose::Try && pair.state != State::Succeeded {
            pair.state = State::InProgress;
        }
        match &mut pair.check {
            Some(check) if check.purpose == purpose && check.controlling == controlling => {
                check.sent_again(now);
            }
            check => {
                let check = check.insert(Check::new(transaction, purpose, controlling));
                check.sent(now);
            }
        }
        self.send(at, sink);
    }

    /// Sends the check of a pair.
    fn send(&self, at: usize, sink: &mut dyn Sink) {
        let (dialect, pair) = (self.dialect, &self.pairs[at]);
        let local = self.agreed.local_candidates.get(pair.local);
        let theirs = pair.theirs.map(|theirs| &self.theirs[theirs]);
        let (Some(check), Some(local), Some(theirs)) = (pair.check, local, theirs) else { return };
        let ours = &self.ours[pair.ours];
        let mut builder = Builder::new(dialect, Class::Request, &check.transaction);
        let name = Name::new(dialect, pair.component, &theirs.user, &ours.user);
        builder.username(name.bytes());
        if dialect != IceDialect::Draft6 {
            // As the candidate would have it if the peer found it (RFC 8445 §7.1.1).
            builder.priority((110 << 24) | (local.priority & 0x00ff_ffff));
            builder.role(check.controlling, self.agreed.tie_breaker);
            if check.purpose == Purpose::Nominate {
                builder.use_candidate();
            }
        }
        if dialect == IceDialect::Draft19 {
            builder.candidate_identifier(&local.foundation);
            builder.version();
        }
        let flow = if pair.component == 1 { Flow::Rtp } else { Flow::Rtcp };
        let port = Port { flow, ..self.port };
        sink.send(port, pair.remote, builder.finish(&theirs.password, false));
        if dialect == IceDialect::Draft19 && !self.has_version {
            // Deviation: as libnice does it: peers with the wrong table understand the second only.
            sink.send(port, pair.remote, builder.finish(&theirs.password, true));
        }
    }

    /// As the controlling side: has the best pair used (regular nomination, RFC 8445 §8.1.1). Draft 6 has
    /// no word for it, so that whatever works is used by both.
    fn nominate(&mut self, now: Time, sink: &mut dyn Sink) {
        if self.dialect == IceDialect::Draft6 {
            self.pairs.iter_mut().for_each(|pair| pair.is_nominated |= pair.is_valid());
            return;
        }
        let patient = self.first_valid.is_some_and(|valid| now.since(valid) < PATIENCE);
        if !self.controlling || self.outcome != Outcome::Checking {
            return;
        }
        for component in [1, 2] {
            let is_under_way = |pair: &Pair| {
                pair.component == component
                    && (pair.is_nominated
                        || pair.check.is_some_and(|check| check.purpose == Purpose::Nominate))
            };
            let Some(best) = self.valid(component) else { continue };
            let priority = self.priority(best);
            let may_improve = self.pairs.iter().any(|pair| {
                pair.component == component
                    && matches!(pair.state, State::Waiting | State::InProgress)
                    && self.priority(pair) > priority
            });
            if self.pairs.iter().any(is_under_way) || (patient && may_improve) {
                continue;
            }
            let at = self.pairs.iter().position(|pair| std::ptr::eq(pair, best));
            let at = at.expect("the best pair is one of them");
            self.check(at, Purpose::Nominate, now, sink);
        }
    }

    /// Whether it has come to an end.
    fn conclude(&mut self, now: Time, sink: &mut dyn Sink) {
        if self.outcome != Outcome::Checking {
            return;
        }
        let is_needed =
            |component: u8| component == 1 || self.pairs.iter().any(|pair| pair.component == component);
        let mut needed = [1, 2].into_iter().filter(|component| is_needed(*component));
        if needed.all(|component| self.nominated(component).is_some()) {
            self.connected(now, sink);
        } else if now.since(self.began) >= LIMIT && !self.theirs.is_empty() {
            // Who never says what to use has what works; RTCP alone is no reason to be silent.
            for component in [1, 2] {
                let best = self.valid(component).map(|best| best.remote);
                let is_best = |pair: &&mut Pair| pair.component == component && Some(pair.remote) == best;
                self.pairs.iter_mut().filter(is_best).for_each(|pair| pair.is_nominated = true);
            }
            if self.nominated(1).is_some() {
                self.connected(now, sink);
            } else {
                self.unreachable(sink);
            }
        }
    }

    fn connected(&mut self, now: Time, sink: &mut dyn Sink) {
        self.outcome = Outcome::Connected;
        self.former = [None; 2];
        self.last_heard = now;
        self.next_keep_alive = now + KEEP_ALIVE;
        self.tell_connected(sink);
    }

    fn unreachable(&mut self, sink: &mut dyn Sink) {
        self.outcome = Outcome::Unreachable;
        sink.tell(Event::Unreachable { leg: self.port.leg });
    }

    /// Checks the pairs in use from time to time, which keeps NATs open and shows that the peer still
    /// agrees.
    // Deviation: RFC 7675 counts answers alone. Media and checks of his count too, and Microsoft's clients need
    // not agree at all.
    fn keep_alive(&mut self, now: Time, sink: &mut dyn Sink) {
        if self.outcome != Outcome::Connected {
            return;
        }
        let is_rfc = self.dialect == IceDialect::Rfc8445;
        if is_rfc && now.since(self.last_heard) >= CONSENT {
            self.unreachable(sink);
            return;
        }
        if now < self.next_keep_alive {
            return;
        }
        self.next_keep_alive = now + if is_rfc { KEEP_ALIVE } else { KEEP_ALIVE_MICROSOFT };
        for component in [1, 2] {
            let used = self.nominated(component).map(|used| used.remote);
            let is_idle = |pair: &Pair| {
                pair.component == component && Some(pair.remote) == used && pair.check.is_none()
            };
            if let Some(at) = self.pairs.iter().position(is_idle) {
                self.check(at, Purpose::KeepAlive, now, sink);
            }
        }
    }
}
