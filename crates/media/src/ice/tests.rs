//! Peers that are played message by message, as the clients in the field behave.

use super::*;
use crate::{
    session::{CandidateKind, Kind, LegId},
    stun::Transaction,
};

const NOW: Time = Time::from_unix_secs(1_800_000_000);
const PORT: Port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Wanted {
    sent: Vec<(Flow, SocketAddr, Vec<u8>)>,
    told: Vec<Event>,
}

impl Sink for Wanted {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        self.sent.push((port.flow, to, datagram.to_vec()));
    }

    fn connect(&mut self, _: Port, _: SocketAddr) {}

    fn tell(&mut self, event: Event) {
        self.told.push(event);
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn text(user: &str, password: &str) -> IceCredentials {
    IceCredentials { user: user.into(), password: password.into() }
}

fn candidate(component: u8, priority: u32, at: &str) -> Candidate {
    let (foundation, kind) = ("1".into(), CandidateKind::Host);
    Candidate { foundation, component, priority, address: address(at), kind, credentials: None }
}

fn spec(dialect: IceDialect, remote_candidates: Vec<Candidate>) -> IceSpec {
    IceSpec {
        dialect,
        controlling: false,
        tie_breaker: 9,
        local: text("LUFR", "local-password-of-22"),
        remote: text("RUFR", "remote-password-of-22"),
        local_candidates: vec![candidate(1, 900, "192.0.2.10:4000"), candidate(2, 899, "192.0.2.10:4001")],
        remote_candidates,
        multiplexed: true,
    }
}

fn agent(spec: &IceSpec) -> (Agent, Wanted) {
    (Agent::new(NOW, PORT, spec, Entropy::from_seed([1; 32])), Wanted::default())
}

/// A check of the peer's with USE-CANDIDATE or not, from there.
fn check(agent: &mut Agent, wanted: &mut Wanted, from: &str, uses: bool, with_version: bool) -> Transaction {
    let dialect = agent.dialect;
    let mut random = [0; 16];
    random[12..].copy_from_slice(&(wanted.sent.len() as u32).to_be_bytes());
    let transaction = Builder::transaction(dialect, random);
    let mut builder = Builder::new(dialect, Class::Request, &transaction);
    builder.username(b"LUFR:RUFR\0\0\0".trim_ascii_end());
    builder.priority(500);
    builder.role(true, 5);
    if uses {
        builder.use_candidate();
    }
    if with_version {
        builder.version();
    }
    let check = builder.finish(b"local-password-of-22", false).to_vec();
    assert!(agent.receive(NOW, Flow::Rtp, address(from), &check, wanted));
    transaction
}

/// Answers every check of ours that is waiting, as the peer.
fn answer_all(agent: &mut Agent, wanted: &mut Wanted) {
    for (flow, to, datagram) in std::mem::take(&mut wanted.sent) {
        let Some(request) = Message::read(agent.dialect, &datagram) else { continue };
        if request.class() != Class::Request {
            continue;
        }
        let mut builder = Builder::new(agent.dialect, Class::Success, &request.transaction());
        builder.mapped_address(address("192.0.2.10:4000"));
        let answer = builder.finish(b"remote-password-of-22", false).to_vec();
        agent.receive(NOW, flow, to, &answer, wanted);
    }
}

/// SIPE's offer and ours: 32 and 16 bytes in base64 without padding, one pair of credentials for both
/// components, and another candidate of SIPE's with its own.
fn sipes_offer() -> IceSpec {
    let sipe = text("c2lwZS1jYW5kaWRhdGUtb25lLXVzZXItMzItYnl0ZXM", "c2lwZS1vbmUtMTZieXRlcw");
    let other = text("c2lwZS1jYW5kaWRhdGUtdHdvLXVzZXItMzItYnl0ZXM", "c2lwZS10d28tMTZieXRlcw");
    let ours = text("Y29uZmFiLWNhbmRpZGF0ZS11c2VyLTMyLWJ5dGVzISE", "Y29uZmFiLTE2LWJ5dGVzIQ");
    let with = |candidate, own: &IceCredentials| Candidate { credentials: Some(own.clone()), ..candidate };
    let theirs = vec![
        with(candidate(1, 830, "192.0.2.2:48643"), &sipe),
        with(candidate(2, 830, "192.0.2.2:51181"), &sipe),
        with(candidate(1, 450, "203.0.113.2:48643"), &other),
    ];
    IceSpec {
        local_candidates: vec![
            with(candidate(1, 830, "192.0.2.10:4000"), &ours),
            with(candidate(2, 830, "192.0.2.10:4001"), &ours),
        ],
        local: ours,
        remote: sipe,
        multiplexed: false,
        ..spec(IceDialect::Draft6, theirs)
    }
}

#[test]
fn draft_6_as_sipe_offers_it() {
    let offer = sipes_offer();
    let (mut agent, mut wanted) = agent(&offer);
    let sipe_name = b"sipe-candidate-one-user-32-bytes";
    let our_name = b"confab-candidate-user-32-bytes!!";
    for (flow, component, from) in
        [(Flow::Rtp, b":1", "192.0.2.2:48643"), (Flow::Rtcp, b":2", "192.0.2.2:51181")]
    {
        // Its check: a name, and nothing else that is protected.
        let name = [our_name, &component[..], b":", sipe_name, component, &[0; 3]].concat();
        let mut builder = Builder::new(IceDialect::Draft6, Class::Request, &[0x99; 16]);
        builder.username(&name);
        let check = builder.finish(b"confab-16-bytes!", false).to_vec();
        assert!(agent.receive(NOW, flow, address(from), &check, &mut wanted));
        let (_, to, answer) = wanted.sent.pop().expect("it is answered");
        let answer = Message::read(IceDialect::Draft6, &answer).expect("in its dialect");
        assert_eq!((to, answer.class()), (address(from), Class::Success));
        assert_eq!(answer.whole_username(), Some(&name[..]));
        assert!(answer.is_by(b"confab-16-bytes!"));
    }
    // Ours go to what it checked first.
    for (tick, component) in [(1, b":1"), (2, b":2")] {
        agent.tick(NOW + tick * TICK, &mut wanted);
        let (flow, to, sent) = wanted.sent.remove(0);
        let ours = Message::read(IceDialect::Draft6, &sent).expect("in its dialect");
        let name = [sipe_name, &component[..], b":", our_name, component, &[0; 3]].concat();
        assert_eq!((ours.whole_username(), name.len() % 4), (Some(&name[..]), 0));
        assert!(ours.is_by(b"sipe-one-16bytes") && ours.priority().is_none() && ours.role().is_none());
        let mut builder = Builder::new(IceDialect::Draft6, Class::Success, &ours.transaction());
        builder.username(&name);
        let answer = builder.finish(b"sipe-one-16bytes", false).to_vec();
        assert!(agent.receive(NOW + tick * TICK, flow, to, &answer, &mut wanted));
    }
    agent.tick(NOW + 3 * TICK, &mut wanted);
    let pairs = vec![
        (address("192.0.2.10:4000"), address("192.0.2.2:48643")),
        (address("192.0.2.10:4001"), address("192.0.2.2:51181")),
    ];
    assert_eq!(wanted.told, [Event::Connected { leg: LegId(1), kind: Kind::Audio, pairs }]);
    // The offer of the end names what was chosen, and nothing begins anew.
    let last = IceSpec { remote_candidates: offer.remote_candidates[..2].to_vec(), ..offer.clone() };
    agent.renegotiate(NOW + 4 * TICK, &last);
    agent.tick(NOW + 5 * TICK, &mut wanted);
    assert_eq!(wanted.told.len(), 1);
    assert_eq!(agent.destination(Flow::Rtcp), Some(address("192.0.2.2:51181")));
    // New credentials do.
    let anew = IceSpec { remote: text("bmV3", "bmV3"), remote_candidates: Vec::new(), ..offer };
    agent.renegotiate(NOW + 6 * TICK, &anew);
    assert_eq!((agent.outcome, agent.pairs.len()), (Outcome::Checking, 0));
    assert_eq!(agent.destination(Flow::Rtcp), Some(address("192.0.2.2:51181")), "until there is better");
}

#[test]
fn who_tells_no_version_gets_everything_with_both_fingerprints() {
    let (mut agent, mut wanted) =
        agent(&spec(IceDialect::Draft19, vec![candidate(1, 900, "203.0.113.5:5000")]));
    check(&mut agent, &mut wanted, "203.0.113.5:5000", false, false);
    agent.tick(NOW + TICK, &mut wanted);
    assert_eq!(wanted.sent.len(), 4, "an answer and a check, twice each");
    for pair in wanted.sent.chunks(2) {
        assert_eq!(pair[0].2[..pair[0].2.len() - 4], pair[1].2[..pair[1].2.len() - 4]);
    }
    wanted.sent.clear();
    check(&mut agent, &mut wanted, "203.0.113.5:5000", false, true);
    agent.tick(NOW + 2 * TICK, &mut wanted);
    assert_eq!(wanted.sent.len(), 2, "an answer and a check");
    let request = Message::read(IceDialect::Draft19, &wanted.sent[1].2).expect("in its dialect");
    assert!(request.has_version() && request.role() == Some((false, 9)));
}

#[test]
fn of_pairs_nominated_one_after_the_other_the_best_is_used() {
    let near = candidate(1, 900, "203.0.113.5:5000");
    let relayed = candidate(1, 10, "203.0.113.99:3478");
    let (mut agent, mut wanted) = agent(&spec(IceDialect::Rfc8445, vec![near, relayed]));
    // Aggressive: each check says that it be used. The worse pair is through first.
    for (tick, from) in [(1, "203.0.113.99:3478"), (2, "203.0.113.5:5000"), (3, "203.0.113.99:3478")] {
        check(&mut agent, &mut wanted, from, true, false);
        agent.tick(NOW + tick * TICK, &mut wanted);
        answer_all(&mut agent, &mut wanted);
        let expected = if tick == 1 { "203.0.113.99:3478" } else { "203.0.113.5:5000" };
        assert_eq!(agent.destination(Flow::Rtp), Some(address(expected)), "{tick}");
    }
    agent.tick(NOW + 4 * TICK, &mut wanted);
    assert_eq!(wanted.told.len(), 1);
}

#[test]
fn a_valid_pair_is_used_before_anybody_nominates_it() {
    let (mut agent, mut wanted) =
        agent(&spec(IceDialect::Rfc8445, vec![candidate(1, 900, "203.0.113.5:5000")]));
    assert_eq!(agent.destination(Flow::Rtp), None);
    agent.tick(NOW + TICK, &mut wanted);
    answer_all(&mut agent, &mut wanted);
    agent.tick(NOW + 2 * TICK, &mut wanted);
    assert_eq!(agent.destination(Flow::Rtp), Some(address("203.0.113.5:5000")));
    assert!(wanted.told.is_empty());
    // Who never nominates is connected all the same in the end.
    agent.tick(NOW + LIMIT, &mut wanted);
    assert!(matches!(wanted.told[..], [Event::Connected { .. }]));
}

#[test]
fn an_answer_from_elsewhere_or_of_somebody_else_is_none() {
    let (mut agent, mut wanted) =
        agent(&spec(IceDialect::Rfc8445, vec![candidate(1, 900, "203.0.113.5:5000")]));
    agent.tick(NOW + TICK, &mut wanted);
    let request = wanted.sent.remove(0).2;
    let request = Message::read(IceDialect::Rfc8445, &request).expect("a check");
    let mut builder = Builder::new(IceDialect::Rfc8445, Class::Success, &request.transaction());
    let right = builder.finish(b"remote-password-of-22", false).to_vec();
    let wrong = builder.finish(b"another-password", false).to_vec();
    for (from, answer) in [("203.0.113.5:5000", &wrong), ("203.0.113.6:5000", &right)] {
        assert!(!agent.receive(NOW, Flow::Rtp, address(from), answer, &mut wanted));
    }
    assert!(agent.receive(NOW, Flow::Rtp, address("203.0.113.5:5000"), &right, &mut wanted));
    assert!(!agent.receive(NOW, Flow::Rtp, address("203.0.113.5:5000"), &right, &mut wanted), "again");
    assert_eq!(agent.destination(Flow::Rtp), Some(address("203.0.113.5:5000")));
}

#[test]
fn what_was_chosen_of_many_stays_in_use() {
    let mut first = spec(IceDialect::Draft19, vec![candidate(1, 900, "203.0.113.5:5000")]);
    first.local_candidates.insert(0, candidate(1, 950, "[2001:db8::10]:4000"));
    let (mut agent, mut wanted) = agent(&first);
    agent.tick(NOW + TICK, &mut wanted);
    answer_all(&mut agent, &mut wanted);
    check(&mut agent, &mut wanted, "203.0.113.5:5000", true, true);
    agent.tick(NOW + 2 * TICK, &mut wanted);
    assert_eq!(wanted.told.len(), 1);
    wanted.sent.clear();
    // In the end both describe but the pair that was chosen, which is another of ours by number.
    let mut last = first.clone();
    last.local_candidates.remove(0);
    last.local_candidates.truncate(1);
    agent.renegotiate(NOW + 3 * TICK, &last);
    assert_eq!(agent.destination(Flow::Rtp), Some(address("203.0.113.5:5000")));
    agent.tick(NOW + Duration::from_secs(20), &mut wanted);
    let (_, to, sent) = &wanted.sent[0];
    let keep_alive = Message::read(IceDialect::Draft19, sent).expect("a check");
    assert_eq!((*to, keep_alive.class()), (address("203.0.113.5:5000"), Class::Request));
    // Of 900, not of 950: the lower 24 bits of the priority are those of the candidate.
    assert_eq!(keep_alive.priority(), Some((110 << 24) | 900));
    // New credentials of ours, which an answer may have named, are known at once.
    let renamed = IceSpec { local: text("bmV3", "bmV3"), ..sipes_offer() };
    let (mut other, mut wanted) = self::agent(&sipes_offer());
    other.renegotiate(NOW, &renamed);
    assert_eq!((other.ours.len(), other.theirs.len()), (2, 2));
    other.tick(NOW + TICK, &mut wanted);
    assert!(!wanted.sent.is_empty());
}

#[test]
fn of_two_who_would_be_the_same_the_larger_number_is_controlling() {
    for (we_control, theirs, answer, then) in [
        (false, 5, Class::Success, true),
        (false, 20, Class::Error, false),
        (true, 5, Class::Error, true),
        (true, 20, Class::Success, false),
    ] {
        let offer = IceSpec { controlling: we_control, ..spec(IceDialect::Rfc8445, Vec::new()) };
        let (mut agent, mut wanted) = agent(&offer);
        let transaction = Builder::transaction(IceDialect::Rfc8445, [7; 16]);
        let mut builder = Builder::new(IceDialect::Rfc8445, Class::Request, &transaction);
        builder.username(b"LUFR:RUFR");
        builder.role(we_control, theirs);
        let check = builder.finish(b"local-password-of-22", false).to_vec();
        assert!(agent.receive(NOW, Flow::Rtp, address("203.0.113.5:1"), &check, &mut wanted));
        let sent = Message::read(IceDialect::Rfc8445, &wanted.sent[0].2).expect("an answer");
        assert_eq!((sent.class(), agent.controlling), (answer, then), "{we_control} {theirs}");
        assert_eq!(sent.error(), (answer == Class::Error).then_some(487));
        assert_eq!(agent.pairs.len(), usize::from(answer == Class::Success));
    }
}

#[test]
fn a_check_of_another_session_is_not_answered() {
    let (mut agent, mut wanted) = agent(&spec(IceDialect::Rfc8445, Vec::new()));
    for name in [&b"LUFR:ELSE"[..], b"LUFR", b"ELSE:RUFR", b"", b"LUFRRUFR"] {
        let transaction = Builder::transaction(IceDialect::Rfc8445, [7; 16]);
        let mut builder = Builder::new(IceDialect::Rfc8445, Class::Request, &transaction);
        builder.username(name);
        builder.priority(1);
        let check = builder.finish(b"local-password-of-22", false).to_vec();
        assert!(!agent.receive(NOW, Flow::Rtp, address("203.0.113.5:1"), &check, &mut wanted));
    }
    assert!(wanted.sent.is_empty() && agent.pairs.is_empty());
}

#[test]
fn candidates_have_a_limit() {
    let many = (0..1_000).map(|port| candidate(1, port, &format!("203.0.113.5:{}", port + 1))).collect();
    let (mut agent, mut wanted) = agent(&spec(IceDialect::Rfc8445, many));
    assert_eq!(agent.pairs.len(), MAX_PAIRS);
    assert!(agent.pairs.iter().all(|pair| pair.remote_priority >= 1_000 - MAX_PAIRS as u32));
    // Checks from yet another address are answered, and leave nothing behind.
    check(&mut agent, &mut wanted, "203.0.113.77:1", false, false);
    assert_eq!((agent.pairs.len(), wanted.sent.len()), (MAX_PAIRS, 1));
}
