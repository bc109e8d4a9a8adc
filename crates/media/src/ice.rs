//! Connectivity checks: finding pairs of addresses over which a stream gets to its peer and back, in
//! three dialects: RFC 8445, draft 19 (MS-ICE2) and draft 6 (MS-ICE).
//!
//! Ours are host candidates alone. Checks of the peer's are answered from the first, and show where he
//! is (peer-reflexive candidates). Media may flow as soon as one pair is valid; what is said in the end is
//! the pair the controlling side nominates. Draft 6 knows no nomination: the best valid pair is used.

mod checks;
mod names;
mod pair;

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};

use crate::{
    Event, Flow, Port, Sink,
    latch::is_place,
    session::{Candidate, IceCredentials, IceDialect, IceSpec},
    stun::{Builder, Class, Message},
};
use names::Credentials;
use pair::{Pair, Purpose, State, same_place};

/// Pairs of one stream at most; further candidates of the peer's are passed over.
const MAX_PAIRS: usize = 64;
/// Credentials that descriptions of draft 6 may name for one stream.
const MAX_CREDENTIALS: usize = 32;
/// After this there is no way to the peer, if none was found.
const LIMIT: Duration = Duration::from_secs(30);

/// The state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Checks go on.
    Checking,
    /// Every component has its pair.
    Connected,
    /// No way was found, or the peer no longer answers.
    Unreachable,
}

/// The checks of one stream.
#[derive(Debug)]
pub(crate) struct Agent {
    port: Port,
    entropy: Entropy,
    /// What was negotiated.
    agreed: IceSpec,
    /// What the peer is found to speak.
    // Deviation: descriptions do not tell draft 19 and RFC 8445 apart for certain; the first check that can be
    // verified does.
    dialect: IceDialect,
    controlling: bool,
    /// Ours, of which draft 6 has one for each candidate.
    ours: Vec<Credentials>,
    theirs: Vec<Credentials>,
    pairs: Vec<Pair>,
    outcome: Outcome,
    /// The peer says which of Microsoft's dialects he speaks.
    has_version: bool,
    began: Time,
    first_valid: Option<Time>,
    next_keep_alive: Time,
    last_heard: Time,
    /// Where the stream went before the checks began anew, for RTP and RTCP.
    former: [Option<SocketAddr>; 2],
}

impl Agent {
    /// The checks of a stream whose RTP flow has this `port`.
    pub fn new(now: Time, port: Port, spec: &IceSpec, entropy: Entropy) -> Agent {
        let mut agent = Agent {
            port,
            entropy,
            agreed: spec.clone(),
            dialect: spec.dialect,
            controlling: spec.controlling,
            ours: Vec::new(),
            theirs: Vec::new(),
            pairs: Vec::new(),
            outcome: Outcome::Checking,
            has_version: false,
            began: now,
            first_valid: None,
            next_keep_alive: now,
            last_heard: now,
            former: [None; 2],
        };
        agent.learn(spec);
        agent
    }

    /// What was negotiated has changed. New credentials begin the checks anew (RFC 8445 §9), while the
    /// stream stays where it is; otherwise further candidates are added.
    pub fn renegotiate(&mut self, now: Time, spec: &IceSpec) {
        let goes_on = match spec.dialect {
            // The description of the end names but the pair that was chosen.
            IceDialect::Draft6 => self.agreed.dialect == IceDialect::Draft6 && self.knows_any(spec),
            IceDialect::Draft19 | IceDialect::Rfc8445 => {
                (&self.agreed.local, &self.agreed.remote) == (&spec.local, &spec.remote)
                    || (self.theirs.is_empty() && self.agreed.local == spec.local)
            }
        };
        if goes_on && self.outcome != Outcome::Unreachable {
            if self.theirs.is_empty() {
                self.began = now;
            }
            // A description that names but what was chosen makes nothing unknown that pairs are of.
            let mut ours = std::mem::take(&mut self.agreed.local_candidates);
            for new in &spec.local_candidates {
                if !ours.iter().any(|old| (old.component, old.address) == (new.component, new.address)) {
                    ours.push(new.clone());
                }
            }
            self.agreed = IceSpec { local_candidates: ours, ..spec.clone() };
            self.learn(spec);
            return;
        }
        let former = [self.destination(Flow::Rtp), self.destination(Flow::Rtcp)];
        let entropy = self.entropy.fork();
        *self = Agent { former, ..Agent::new(now, self.port, spec, entropy) };
    }

    /// Whether a datagram of media from there is the peer's: a check was answered there, or came from there
    /// under our password.
    pub fn admits(&mut self, now: Time, flow: Flow, from: SocketAddr) -> bool {
        let component = self.component(flow);
        let known = self.pairs.iter().any(|pair| {
            pair.component == component && (pair.is_valid() || pair.is_heard) && same_place(pair.remote, from)
        });
        let former = self.former[usize::from(component - 1)];
        let admitted = known || former.is_some_and(|former| same_place(former, from));
        if admitted {
            self.last_heard = now;
        }
        admitted
    }

    /// Whether RTCP shares the port of RTP.
    pub fn is_shared(&self) -> bool {
        self.agreed.multiplexed
    }

    /// Where a flow goes now: over the nominated pair, or any valid one, or where it went before.
    pub fn destination(&self, flow: Flow) -> Option<SocketAddr> {
        if self.outcome == Outcome::Unreachable {
            return None;
        }
        let component = self.component(flow);
        let pair = self.nominated(component).or_else(|| self.valid(component));
        pair.map(|pair| pair.remote).or(self.former[usize::from(component - 1)])
    }

    /// Takes a STUN message; whether it is one of the peer's.
    pub fn receive(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        datagram: &[u8],
        sink: &mut dyn Sink,
    ) -> bool {
        if self.agreed.multiplexed && flow == Flow::Rtcp {
            return false;
        }
        let sibling = match self.dialect {
            IceDialect::Draft6 => None,
            IceDialect::Draft19 => Some(IceDialect::Rfc8445),
            IceDialect::Rfc8445 => Some(IceDialect::Draft19),
        };
        for dialect in [Some(self.dialect), sibling].into_iter().flatten() {
            let Some(message) = Message::read(dialect, datagram) else { continue };
            let taken = match message.class() {
                Class::Request => self.request(now, flow, from, dialect, &message, sink),
                Class::Success | Class::Error => self.answer(now, flow, from, &message),
                // A keep-alive; whether it is the peer's does not matter, as it does nothing.
                Class::Indication => true,
            };
            if taken {
                self.has_version |= message.has_version();
                return true;
            }
        }
        false
    }

    /// A check of the peer's, or of somebody who would like to be.
    fn request(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        dialect: IceDialect,
        message: &Message<'_>,
        sink: &mut dyn Sink,
    ) -> bool {
        let component = self.component(flow);
        let Some(name) = message.username() else { return false };
        let to_us = |(at, own): (usize, &Credentials)| {
            let sender = names::sender(dialect, component, &own.user, name)?;
            message.is_by(&own.password).then_some((at, sender))
        };
        let Some((own, sender)) = self.ours.iter().enumerate().find_map(to_us) else { return false };
        let theirs = self.theirs.iter().position(|credentials| credentials.user == sender);
        if theirs.is_none() && !self.theirs.is_empty() && dialect != IceDialect::Draft6 {
            return false;
        }
        self.dialect = dialect;
        let port = Port { flow, ..self.port };
        let mut class = Class::Success;
        if let Some((controlling, tie_breaker)) = message.role()
            && controlling == self.controlling
        {
            // RFC 8445 §7.3.1.1: the larger number is controlling; whoever gets the request decides.
            if (self.agreed.tie_breaker >= tie_breaker) == self.controlling {
                class = Class::Error;
            } else {
                self.controlling = !self.controlling;
            }
        }
        self.respond(port, from, class, message, own, sink);
        if class == Class::Success {
            self.heard(now, component, from, theirs, message);
        }
        true
    }

    /// Answers a check.
    fn respond(
        &self,
        port: Port,
        to: SocketAddr,
        class: Class,
        request: &Message<'_>,
        own: usize,
        sink: &mut dyn Sink,
    ) {
        let (dialect, password) = (self.dialect, &self.ours[own].password);
        let mut builder = Builder::new(dialect, class, &request.transaction());
        let name = request.whole_username().filter(|_| dialect != IceDialect::Rfc8445);
        if let Some(name) = name.filter(|_| dialect == IceDialect::Draft6) {
            builder.username(name);
        }
        if class == Class::Error {
            builder.error(487, "Role Conflict...");
        } else {
            builder.mapped_address(to);
        }
        if let Some(name) = name.filter(|_| dialect == IceDialect::Draft19) {
            builder.username(name);
            builder.version();
        }
        sink.send(port, to, builder.finish(password, false));
        if dialect == IceDialect::Draft19 && !request.has_version() {
            sink.send(port, to, builder.finish(password, true));
        }
    }

    /// A check of the peer's was answered: the pair it came over is to be checked from our side as well,
    /// and used if he says so (RFC 8445 §7.3.1.3 to §7.3.1.5).
    fn heard(
        &mut self,
        now: Time,
        component: u8,
        from: SocketAddr,
        theirs: Option<usize>,
        message: &Message<'_>,
    ) {
        // What draft 6 does not say, and where nothing else is known: as a peer-reflexive candidate has it.
        let priority = message.priority().unwrap_or((110 << 24) | (65_535 << 8) | 255);
        let Some(at) = self.pair(component, from, priority) else { return };
        let asks = !self.controlling && (message.uses_candidate() || self.dialect == IceDialect::Draft6);
        let pair = &mut self.pairs[at];
        pair.theirs = theirs.or(pair.theirs);
        pair.is_heard = true;
        self.last_heard = now;
        if pair.is_valid() {
            pair.is_nominated |= asks;
        } else {
            pair.is_asked_for |= asks;
            // Once more after it failed, or at once if it waits: the way may just have opened.
            pair.is_wanted = true;
            if pair.state == State::Failed {
                pair.state = State::Waiting;
            }
        }
    }

    /// An answer to a check of ours.
    fn answer(&mut self, now: Time, flow: Flow, from: SocketAddr, message: &Message<'_>) -> bool {
        let component = self.component(flow);
        let transaction = message.transaction();
        let Some(at) = self.pairs.iter().position(|pair| {
            pair.component == component && pair.check.is_some_and(|check| check.transaction == transaction)
        }) else {
            // Microsoft's dialects send each message twice: the second answers nothing any more.
            return self.dialect == IceDialect::Draft19;
        };
        let pair = &mut self.pairs[at];
        let by_peer = pair.theirs.is_some_and(|theirs| message.is_by(&self.theirs[theirs].password));
        // The answer must come from where the check went, or the way is not the same in both directions.
        if !by_peer || !same_place(pair.remote, from) {
            return false;
        }
        let Some(check) = pair.check.take() else { return false };
        if message.class() == Class::Error {
            if message.error() == Some(487) {
                pair.state = State::Waiting;
                pair.is_wanted = true;
                if check.controlling == self.controlling {
                    self.controlling = !self.controlling;
                }
            } else if check.purpose != Purpose::KeepAlive {
                pair.state = State::Failed;
            }
            return true;
        }
        pair.state = State::Succeeded;
        pair.is_wanted = false;
        let asked = pair.is_asked_for && !self.controlling;
        let said = check.purpose == Purpose::Nominate && self.controlling;
        pair.is_nominated |= asked || said;
        self.last_heard = now;
        self.first_valid.get_or_insert(now);
        true
    }

    /// Takes the candidates and credentials of a description, and of ours.
    fn learn(&mut self, spec: &IceSpec) {
        let own = spec.local_candidates.iter().filter_map(|candidate| candidate.credentials.as_ref());
        for text in own.chain([&spec.local]) {
            remember(&mut self.ours, spec.dialect, text);
        }
        remember(&mut self.theirs, spec.dialect, &spec.remote);
        let mut candidates: Vec<&Candidate> = spec.remote_candidates.iter().collect();
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
        for candidate in candidates {
            let usable = candidate.component == 1 || (candidate.component == 2 && !spec.multiplexed);
            if !usable || !is_place(candidate.address) {
                continue;
            }
            let text = candidate.credentials.as_ref().unwrap_or(&spec.remote);
            let theirs = remember(&mut self.theirs, spec.dialect, text);
            if let Some(at) = self.pair(candidate.component, candidate.address, candidate.priority) {
                let pair = &mut self.pairs[at];
                pair.theirs = theirs.or(pair.theirs);
                pair.remote_priority = candidate.priority;
            }
        }
        if self.dialect != IceDialect::Draft6 && !self.theirs.is_empty() {
            // Checks that came before the description are followed up now.
            self.pairs.iter_mut().for_each(|pair| pair.theirs = pair.theirs.or(Some(0)));
        }
    }

    /// Whether a description of draft 6 has credentials in it that are known.
    fn knows_any(&self, spec: &IceSpec) -> bool {
        let own = spec.remote_candidates.iter().filter_map(|candidate| candidate.credentials.as_ref());
        own.chain([&spec.remote])
            .filter_map(|text| Credentials::read(spec.dialect, text))
            .any(|credentials| self.theirs.contains(&credentials))
    }

    /// The pair with this address of the peer's, made if need be; `None` if there are too many, or we have
    /// no address of its family.
    fn pair(&mut self, component: u8, remote: SocketAddr, priority: u32) -> Option<usize> {
        let known = |pair: &Pair| pair.component == component && same_place(pair.remote, remote);
        if let Some(at) = self.pairs.iter().position(known) {
            return Some(at);
        }
        let ours = |candidate: &Candidate| {
            candidate.component == component && candidate.address.is_ipv4() == remote.is_ipv4()
        };
        let local = self.agreed.local_candidates.iter().position(ours)?;
        if self.pairs.len() == MAX_PAIRS {
            return None;
        }
        let text = self.agreed.local_candidates[local].credentials.as_ref().unwrap_or(&self.agreed.local);
        let ours = remember(&mut self.ours, self.agreed.dialect, text)?;
        self.pairs.push(Pair { local, ours, ..Pair::new(component, remote, priority) });
        Some(self.pairs.len() - 1)
    }

    /// The nominated pair of a component.
    fn nominated(&self, component: u8) -> Option<&Pair> {
        self.best(component, |pair| pair.is_valid() && pair.is_nominated)
    }

    /// The best valid pair of a component.
    fn valid(&self, component: u8) -> Option<&Pair> {
        self.best(component, Pair::is_valid)
    }

    fn best(&self, component: u8, which: impl Fn(&Pair) -> bool) -> Option<&Pair> {
        let of_component = self.pairs.iter().filter(|pair| pair.component == component && which(pair));
        of_component.max_by_key(|pair| self.priority(pair))
    }

    fn priority(&self, pair: &Pair) -> u64 {
        let ours = self.agreed.local_candidates.get(pair.local).map_or(0, |local| local.priority);
        pair.priority(ours, self.controlling)
    }

    /// The component of a flow: 1 = RTP and what shares its port, 2 = RTCP.
    fn component(&self, flow: Flow) -> u8 {
        if flow == Flow::Rtp || self.agreed.multiplexed { 1 } else { 2 }
    }

    /// Tells the pairs that were found.
    fn tell_connected(&self, sink: &mut dyn Sink) {
        let ends = |pair: &Pair| {
            let local = self.agreed.local_candidates.get(pair.local);
            local.map(|local| (local.address, pair.remote))
        };
        let pairs = [1, 2].into_iter().filter_map(|component| self.nominated(component).and_then(ends));
        let (leg, kind) = (self.port.leg, self.port.kind);
        sink.tell(Event::Connected { leg, kind, pairs: pairs.collect() });
    }
}

/// The place of these credentials among those that are known, where they are added if there is room.
fn remember(known: &mut Vec<Credentials>, dialect: IceDialect, text: &IceCredentials) -> Option<usize> {
    let credentials = Credentials::read(dialect, text)?;
    if let Some(at) = known.iter().position(|old| *old == credentials) {
        return Some(at);
    }
    if known.len() == MAX_CREDENTIALS {
        return None;
    }
    known.push(credentials);
    Some(known.len() - 1)
}

#[cfg(test)]
mod tests;
