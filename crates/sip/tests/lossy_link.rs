//! Two transaction layers over a bad link: whatever is lost, doubled or overtaken, the user at one
//! end sees each request once and the user at the other end sees exactly one outcome of each.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, time::Duration};

use confab_machine::{Entropy, Time};
use confab_sip::{
    ClientKey, Flow, Headers, Message, Method, Request, Response, ServerKey, TransactionOutput, Transactions,
    Transport, Uri,
};

/// Requests in one run.
const REQUESTS: u64 = 24;
/// Runs of each kind; a failure names its seed.
const SEEDS: u8 = 24;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Caller,
    Callee,
}

/// What happens next.
enum Event {
    Arrive(Side, Message),
    Ask(Request),
    GiveUp(u64),
    Answer(ServerKey, Response),
}

/// What one request came to.
#[derive(Debug, Default)]
struct Outcome {
    seen: u32,
    answered: Option<u16>,
    finals: Vec<u16>,
    failures: usize,
    acknowledged: bool,
}

struct World {
    transport: Transport,
    /// Of 100 messages so many are lost, and a third of that doubled.
    loss: u64,
    dice: Entropy,
    now: Time,
    agenda: BTreeMap<(Time, u64), Event>,
    scheduled: u64,
    caller: Transactions,
    callee: Transactions,
    asked: BTreeMap<u64, ClientKey>,
    outcomes: BTreeMap<String, Outcome>,
    /// Answers to INVITE whose ACK the callee never saw.
    unacknowledged: usize,
}

impl World {
    fn new(seed: u8, transport: Transport, loss: u64) -> World {
        let mut dice = Entropy::from_seed([seed; 32]);
        World {
            transport,
            loss,
            now: Time::from_unix_secs(1_000),
            agenda: BTreeMap::new(),
            scheduled: 0,
            caller: Transactions::new(dice.fork(), 1_000),
            callee: Transactions::new(dice.fork(), 1_000),
            asked: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            unacknowledged: 0,
            dice,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.number() % sides
    }

    fn schedule(&mut self, ms: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((self.now + Duration::from_millis(ms), self.scheduled), event);
    }

    fn run(&mut self, invite: bool) {
        for number in 0..REQUESTS {
            let at = self.roll(10_000);
            self.schedule(at, Event::Ask(request(number, invite)));
            if invite {
                // After a provisional response an INVITE waits until its user gives it up.
                let patience = if self.roll(4) == 0 { self.roll(2_500) } else { 100_000 };
                self.schedule(at + patience, Event::GiveUp(number));
            }
        }
        loop {
            let events = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let timers = [self.caller.deadline(), self.callee.deadline()].into_iter().flatten().min();
            let Some(next) = [events, timers].into_iter().flatten().min() else { return };
            assert!(next >= self.now, "a timer lies in the past");
            self.now = next;
            let mut out = Vec::new();
            if events == Some(next) {
                let (_, event) = self.agenda.pop_first().unwrap();
                self.happen(event);
            } else if self.caller.deadline() == Some(next) {
                self.caller.handle_timeout(next, &mut out);
                self.caller_hears(out);
            } else {
                self.callee.handle_timeout(next, &mut out);
                self.callee_hears(out);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let flow = Flow { id: 7, transport: self.transport };
        let mut out = Vec::new();
        match event {
            Event::Arrive(Side::Caller, message) => {
                self.caller.receive(self.now, flow, message, &mut out);
                self.caller_hears(out);
            }
            Event::Arrive(Side::Callee, message) => {
                self.callee.receive(self.now, flow, message, &mut out);
                self.callee_hears(out);
            }
            Event::Ask(request) => {
                let number = request.headers.cseq().unwrap().number.into();
                let key = self.caller.request(self.now, flow, "caller.test", request, &mut out);
                self.asked.insert(number, key);
                self.caller_hears(out);
            }
            Event::GiveUp(number) => {
                if let Some(key) = self.asked.get(&number).cloned() {
                    self.caller.cancel(self.now, &key, &mut out);
                    self.caller_hears(out);
                }
            }
            Event::Answer(key, response) => {
                let outcome = self.outcome(&response.headers);
                if response.status >= 200 && outcome.answered.is_none() {
                    outcome.answered = Some(response.status);
                }
                self.callee.respond(self.now, &key, response, &mut out);
                self.callee_hears(out);
            }
        }
    }

    fn outcome(&mut self, headers: &Headers) -> &mut Outcome {
        self.outcomes.entry(headers.call_id().unwrap().to_string()).or_default()
    }

    fn transmit(&mut self, to: Side, message: &Message) {
        let message = Message::parse(message.to_bytes()).unwrap();
        if self.transport.reliable() {
            self.schedule(20, Event::Arrive(to, message));
            return;
        }
        let copies = match self.roll(100) {
            roll if roll < self.loss => 0,
            roll if roll < self.loss + self.loss / 3 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = 1 + self.roll(800);
            self.schedule(delay, Event::Arrive(to, message.clone()));
        }
    }

    fn caller_hears(&mut self, out: Vec<TransactionOutput>) {
        for output in out {
            match output {
                TransactionOutput::Transmit { message, .. } => self.transmit(Side::Callee, &message),
                TransactionOutput::Response { key, response } => {
                    assert_eq!(response.headers.vias().unwrap().len(), 0, "our Via was taken off");
                    if response.status >= 200 {
                        self.outcome(&response.headers).finals.push(response.status);
                    }
                    if response.status == 200 && key.method() == &Method::Invite {
                        self.acknowledge(&response);
                    }
                }
                TransactionOutput::StrayResponse { response, .. } => {
                    let is_invite = response.headers.cseq().unwrap().method == Method::Invite;
                    if response.status == 200 && is_invite {
                        self.acknowledge(&response);
                    }
                }
                TransactionOutput::Failed { key, .. } => {
                    let number =
                        self.asked.iter().find(|(_, other)| **other == key).map(|(number, _)| *number);
                    let call_id = format!("call-{}", number.unwrap());
                    self.outcomes.entry(call_id).or_default().failures += 1;
                }
                other => panic!("not for a caller: {other:?}"),
            }
        }
    }

    fn acknowledge(&mut self, response: &Response) {
        let number = response.headers.cseq().unwrap().number;
        let mut ack = Request::new(Method::Ack, Uri::sip("callee", "callee.test"))
            .with_header("CSeq", format!("{number} ACK"));
        for name in ["From", "To", "Call-ID"] {
            ack.headers.push(name, response.headers.get(name).unwrap());
        }
        let mut out = Vec::new();
        let flow = Flow { id: 7, transport: self.transport };
        self.caller.request(self.now, flow, "caller.test", ack, &mut out);
        self.caller_hears(out);
    }

    fn callee_hears(&mut self, out: Vec<TransactionOutput>) {
        for output in out {
            match output {
                TransactionOutput::Transmit { message, .. } => self.transmit(Side::Caller, &message),
                TransactionOutput::Request { key, request, .. } => {
                    self.outcome(&request.headers).seen += 1;
                    if self.roll(2) == 0 {
                        let wait = self.roll(1_000);
                        self.schedule(wait, Event::Answer(key.clone(), Response::to(&request, 180)));
                    }
                    let status = if self.roll(3) == 0 { 486 } else { 200 };
                    let wait = 1_000 + self.roll(3_000);
                    self.schedule(wait, Event::Answer(key, Response::to(&request, status)));
                }
                TransactionOutput::Ack { request, .. } => {
                    self.outcome(&request.headers).acknowledged = true;
                }
                TransactionOutput::Cancelled { key } => {
                    let pending = self.agenda.values().find_map(|event| match event {
                        Event::Answer(other, response) if *other == key && response.status >= 200 => {
                            Some(response)
                        }
                        _ => None,
                    });
                    let mut refusal = pending.expect("a cancelled INVITE was not answered yet").clone();
                    refusal.status = 487;
                    self.schedule(0, Event::Answer(key, refusal));
                }
                TransactionOutput::ServerFailed { key, .. } => {
                    assert_eq!(key.method(), &Method::Invite);
                    self.unacknowledged += 1;
                }
                other => panic!("not for a callee: {other:?}"),
            }
        }
    }
}

fn request(number: u64, invite: bool) -> Request {
    let method = if invite { Method::Invite } else { Method::Message };
    Request::new(method.clone(), Uri::sip("callee", "callee.test"))
        .with_header("From", "<sip:caller@caller.test>;tag=caller")
        .with_header("To", "<sip:callee@callee.test>")
        .with_header("Call-ID", format!("call-{number}"))
        .with_header("CSeq", format!("{number} {method}"))
}

/// Plays all seeds; returns how many requests came to nothing and how many answers to INVITE were
/// never acknowledged.
fn check(transport: Transport, loss: u64, invite: bool) -> (usize, usize) {
    let (mut failures, mut unacknowledged) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed, transport, loss);
        world.run(invite);
        assert_eq!(world.outcomes.len() as u64, REQUESTS, "seed {seed}");
        for (call_id, outcome) in &world.outcomes {
            let place = format!("seed {seed}, {call_id}: {outcome:?}");
            assert_eq!(outcome.finals.len() + outcome.failures, 1, "one outcome: {place}");
            assert!(outcome.seen == 1 || outcome.failures == 1, "{place}");
            assert!(outcome.seen <= 1, "seen once: {place}");
            if let [status] = outcome.finals[..] {
                assert_eq!(outcome.answered, Some(status), "what was answered: {place}");
            }
            if invite && outcome.finals == [200] {
                assert!(outcome.acknowledged || world.unacknowledged > 0, "{place}");
            }
            failures += outcome.failures;
        }
        unacknowledged += world.unacknowledged;
    }
    (failures, unacknowledged)
}

#[test]
fn nothing_is_lost_on_connections() {
    for transport in [Transport::Tcp, Transport::Inproc] {
        assert_eq!(check(transport, 0, false), (0, 0));
        assert_eq!(check(transport, 0, true), (0, 0));
    }
}

#[test]
fn datagrams_that_only_overtake_each_other_lose_nothing() {
    assert_eq!(check(Transport::Udp, 0, false), (0, 0));
    assert_eq!(check(Transport::Udp, 0, true), (0, 0));
}

#[test]
fn one_outcome_each_over_datagrams_that_get_lost() {
    let total = usize::from(SEEDS) * usize::try_from(REQUESTS).unwrap();
    for (loss, invite) in [(10, false), (10, true), (30, false), (30, true)] {
        let (failures, unacknowledged) = check(Transport::Udp, loss, invite);
        assert!(failures * 50 <= total && unacknowledged * 50 <= total, "{failures}, {unacknowledged}");
    }
    // Most is lost here: what fails must still fail once.
    check(Transport::Udp, 75, false);
    check(Transport::Udp, 75, true);
}
