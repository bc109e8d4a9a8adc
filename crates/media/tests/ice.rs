//! Two ends find each other by connectivity checks, in each dialect, over a network with loss, delay and
//! NAT; and what must not come of it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Event, Flow, LegId, Port, Sink,
    session::{
        Candidate, CandidateKind, Codec, Format, IceCredentials, IceDialect, IceSpec, Kind, MasterKey,
        Protection, StreamSpec, Suite, TransportSpec,
    },
    transport::{OVERHEAD, Received, Transport},
};

const DIALECTS: [IceDialect; 3] = [IceDialect::Draft6, IceDialect::Draft19, IceDialect::Rfc8445];
const START: Time = Time::from_unix_secs(1_800_000_000);
const TICK: Duration = Duration::from_millis(20);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// What an end wants sent and told.
#[derive(Default)]
struct Wanted {
    sent: Vec<(Flow, SocketAddr, Vec<u8>)>,
    told: Vec<Event>,
}

impl Sink for Wanted {
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]) {
        self.sent.push((port.flow, to, datagram.to_vec()));
    }

    fn connect(&mut self, _: Port, _: SocketAddr) {
        panic!("checks may come from elsewhere later");
    }

    fn tell(&mut self, event: Event) {
        self.told.push(event);
    }
}

/// One end: ours, or the peer's.
struct End {
    transport: Transport,
    /// Its own addresses, of RTP and RTCP.
    own: [SocketAddr; 2],
    wanted: Wanted,
    heard: u32,
}

/// What both ends agree upon, as one of them has it.
#[derive(Clone)]
struct Agreed {
    dialect: IceDialect,
    controlling: bool,
    tie_breaker: u64,
    own: Vec<&'static str>,
    peers: Vec<&'static str>,
    multiplexed: bool,
    names: [&'static str; 2],
}

fn credentials(name: &str) -> IceCredentials {
    // Base64 as well, as draft 6 has it: 32 bytes and 16.
    IceCredentials {
        user: format!("{name}{}", "A".repeat(39)),
        password: format!("{name}{}", "B".repeat(18)),
    }
}

fn candidates(addresses: &[&str], name: &str, agreed: &Agreed) -> Vec<Candidate> {
    let components = if agreed.multiplexed { 1 } else { 2 };
    let all = addresses
        .iter()
        .enumerate()
        .flat_map(|(nth, text)| (1..=components).map(move |component| (nth, component, address(text))));
    let candidate = |(nth, component, rtp): (usize, u8, SocketAddr)| Candidate {
        foundation: (nth + 1).to_string(),
        component,
        priority: (126 << 24) | ((65_535 - nth as u32) << 8) | (256 - u32::from(component)),
        address: SocketAddr::new(rtp.ip(), rtp.port() + u16::from(component) - 1),
        kind: CandidateKind::Host,
        credentials: (agreed.dialect == IceDialect::Draft6).then(|| credentials(name)),
    };
    all.map(candidate).collect()
}

fn spec(agreed: &Agreed) -> StreamSpec {
    let [own, peers] = agreed.names;
    let key =
        |name: &str| MasterKey { key: [name.as_bytes()[0]; 16], salt: vec![7; 14], identifier: Vec::new() };
    StreamSpec {
        send: Format { number: 0, codec: Codec::Pcmu },
        receive: vec![Format { number: 0, codec: Codec::Pcmu }],
        receive_events: None,
        packet_time: TICK,
        we_send: true,
        we_receive: true,
        ssrc: 1,
        protection: Some(Protection {
            suite: Suite::AesCm80,
            send: key(own),
            receive: key(peers),
            optional: false,
        }),
        transport: TransportSpec::Ice(Box::new(IceSpec {
            dialect: agreed.dialect,
            controlling: agreed.controlling,
            tie_breaker: agreed.tie_breaker,
            local: credentials(own),
            remote: credentials(peers),
            local_candidates: candidates(&agreed.own, own, agreed),
            remote_candidates: candidates(&agreed.peers, peers, agreed),
            multiplexed: agreed.multiplexed,
        })),
    }
}

impl End {
    fn new(agreed: &Agreed, seed: u8) -> End {
        let rtp = address(agreed.own[0]);
        let port = Port { leg: LegId(u64::from(seed)), kind: Kind::Audio, flow: Flow::Rtp };
        End {
            transport: Transport::new(START, port, &spec(agreed), Entropy::from_seed([seed; 32])),
            own: [rtp, SocketAddr::new(rtp.ip(), rtp.port() + 1)],
            wanted: Wanted::default(),
            heard: 0,
        }
    }

    fn connected(&self) -> Vec<Vec<(SocketAddr, SocketAddr)>> {
        let pairs = |event: &Event| match event {
            Event::Connected { pairs, .. } => Some(pairs.clone()),
            _ => None,
        };
        self.wanted.told.iter().filter_map(pairs).collect()
    }

    fn is_unreachable(&self) -> bool {
        self.wanted.told.iter().any(|event| matches!(event, Event::Unreachable { .. }))
    }

    /// Sends one packet of media on each flow that has a way.
    fn speak(&mut self, sequence: u16) {
        let mut packet = vec![0x80, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0; 172 - 4 + OVERHEAD]);
        if let Some(to) = self.transport.destination(Flow::Rtp) {
            let len = self.transport.protect_rtp(&mut packet, 172).expect("it can be protected");
            self.wanted.sent.push((Flow::Rtp, to, packet[..len].to_vec()));
        }
    }
}

/// Everything between them.
struct Network {
    now: Time,
    /// Lost of a hundred.
    loss: u64,
    random: Entropy,
    on_the_way: Vec<(Time, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Addresses inside of a NAT begin with 10. Outside each has one port, which lets in whoever was sent to.
    mapped: BTreeMap<SocketAddr, SocketAddr>,
    let_in: Vec<(SocketAddr, SocketAddr)>,
}

impl Network {
    fn new(loss: u64, seed: u8) -> Network {
        Network {
            now: START,
            loss,
            random: Entropy::from_seed([seed; 32]),
            on_the_way: Vec::new(),
            mapped: BTreeMap::new(),
            let_in: Vec::new(),
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        let is_inside = |address: SocketAddr| address.ip().to_string().starts_with("10.");
        if self.random.number() % 100 < self.loss {
            return;
        }
        let arrival = self.now + Duration::from_millis(5 + self.random.number() % 60);
        if !is_inside(from) {
            // Into the NAT only by an open port.
            let Some((inside, _)) = self.mapped.iter().find(|(_, outside)| **outside == to) else {
                if !is_inside(to) {
                    self.on_the_way.push((arrival, from, to, datagram));
                }
                return;
            };
            if self.let_in.contains(&(to, from)) {
                self.on_the_way.push((arrival, from, *inside, datagram));
            }
            return;
        }
        let next = 62_000 + self.mapped.len() as u16;
        let outside = *self.mapped.entry(from).or_insert(SocketAddr::from(([198, 51, 100, 7], next)));
        self.let_in.push((outside, to));
        self.on_the_way.push((arrival, outside, to, datagram));
    }

    /// Lets 20 ms pass, in which both speak.
    fn step(&mut self, ends: &mut [End; 2], sequence: u16) {
        self.now = self.now + TICK;
        for end in ends.iter_mut() {
            end.transport.tick(self.now, &mut end.wanted);
            end.speak(sequence);
        }
        let (due, rest) = self.on_the_way.drain(..).partition(|(arrival, ..)| *arrival <= self.now);
        self.on_the_way = rest;
        for (_, from, to, mut datagram) in due {
            for end in ends.iter_mut() {
                let Some(place) = end.own.iter().position(|own| *own == to) else { continue };
                let flow = if place == 0 { Flow::Rtp } else { Flow::Rtcp };
                let received = end.transport.receive(self.now, flow, from, &mut datagram, &mut end.wanted);
                end.heard += u32::from(matches!(received, Received::Rtp(_)));
            }
        }
        for end in ends.iter_mut() {
            for (flow, to, datagram) in std::mem::take(&mut end.wanted.sent) {
                self.send(end.own[usize::from(flow == Flow::Rtcp)], to, datagram);
            }
        }
    }

    fn run(&mut self, ends: &mut [End; 2], time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let sequence = (self.now.since(START).as_millis() / TICK.as_millis()) as u16;
            self.step(ends, sequence);
        }
    }
}

const OURS: &str = "192.0.2.10:4000";
const OURS_6: &str = "[2001:db8::10]:4000";
const PUBLIC: &str = "203.0.113.5:5000";
const PRIVATE: &str = "10.0.0.5:5000";

/// We answer, and the peer at `peer` offers; each knows of the other.
fn agree(dialect: IceDialect, peer: &'static str) -> [Agreed; 2] {
    let ours = Agreed {
        dialect,
        controlling: false,
        tie_breaker: 7,
        own: vec![OURS],
        peers: vec![peer],
        multiplexed: false,
        names: ["ours", "peer"],
    };
    [ours.clone(), mirrored(&ours)]
}

fn mirrored(ours: &Agreed) -> Agreed {
    Agreed {
        controlling: !ours.controlling,
        tie_breaker: ours.tie_breaker + 1,
        own: ours.peers.clone(),
        peers: ours.own.clone(),
        names: [ours.names[1], ours.names[0]],
        ..ours.clone()
    }
}

fn ends([ours, peers]: &[Agreed; 2]) -> [End; 2] {
    [End::new(ours, 1), End::new(peers, 2)]
}

#[test]
fn two_ends_find_each_other_in_every_dialect_and_role() {
    for dialect in DIALECTS {
        for we_control in [false, true] {
            for multiplexed in [false, true] {
                let mut agreed = agree(dialect, PUBLIC);
                for (controlling, end) in [we_control, !we_control].into_iter().zip(&mut agreed) {
                    (end.controlling, end.multiplexed) = (controlling, multiplexed);
                }
                let mut ends = ends(&agreed);
                Network::new(0, 1).run(&mut ends, Duration::from_secs(2));
                let mut expected = vec![(address(OURS), address(PUBLIC))];
                if !multiplexed {
                    expected.push((address("192.0.2.10:4001"), address("203.0.113.5:5001")));
                }
                assert_eq!(ends[0].connected(), [expected], "{dialect:?} {we_control} {multiplexed}");
                assert_eq!(ends[1].connected().len(), 1);
                assert!(ends.iter().all(|end| end.heard > 60), "{dialect:?}");
            }
        }
    }
}

#[test]
fn a_peer_behind_a_nat_is_found_in_spite_of_loss() {
    for dialect in DIALECTS {
        for seed in 0..20 {
            let mut ends = ends(&agree(dialect, PRIVATE));
            let mut network = Network::new(30, seed);
            network.run(&mut ends, Duration::from_secs(15));
            for end in &ends {
                assert_eq!(end.connected().len(), 1, "{dialect:?} {seed}: {:?}", end.wanted.told);
                assert!(end.heard > 100, "{dialect:?} {seed} {}", end.heard);
            }
            let pairs = &ends[0].connected()[0];
            assert!(pairs.iter().all(|(_, remote)| remote.ip().to_string() == "198.51.100.7"));
        }
    }
}

#[test]
fn ipv6_is_used_beside_ipv4() {
    for dialect in DIALECTS {
        let mut agreed = agree(dialect, "[2001:db8::5]:5000");
        agreed[0].own = vec![OURS, OURS_6];
        agreed[1].own = vec!["[2001:db8::5]:5000"];
        agreed[1].peers = vec![OURS, OURS_6];
        let mut ends = ends(&agreed);
        ends[0].own = [address(OURS_6), address("[2001:db8::10]:4001")];
        Network::new(0, 1).run(&mut ends, Duration::from_secs(2));
        assert_eq!(ends[0].connected()[0][0], (address(OURS_6), address("[2001:db8::5]:5000")));
        assert!(ends.iter().all(|end| end.heard > 60));
    }
}

#[test]
fn a_conflict_of_roles_is_settled() {
    for dialect in [IceDialect::Draft19, IceDialect::Rfc8445] {
        for both_control in [true, false] {
            for seed in 0..10 {
                let mut agreed = agree(dialect, PUBLIC);
                agreed.iter_mut().for_each(|end| end.controlling = both_control);
                let mut ends = ends(&agreed);
                Network::new(20, seed).run(&mut ends, Duration::from_secs(12));
                assert!(
                    ends.iter().all(|end| end.connected().len() == 1),
                    "{dialect:?} {both_control} {seed}"
                );
            }
        }
    }
}

#[test]
fn a_dialect_that_was_mistaken_is_noticed() {
    for (ours, peers) in
        [(IceDialect::Rfc8445, IceDialect::Draft19), (IceDialect::Draft19, IceDialect::Rfc8445)]
    {
        let mut agreed = agree(ours, PUBLIC);
        agreed[1].dialect = peers;
        let mut ends = ends(&agreed);
        Network::new(0, 1).run(&mut ends, Duration::from_secs(3));
        assert!(ends.iter().all(|end| end.connected().len() == 1), "{ours:?} {peers:?}");
    }
}

#[test]
fn checks_are_answered_before_the_candidates_are_known() {
    for dialect in DIALECTS {
        let agreed = agree(dialect, PUBLIC);
        let mut early = spec(&agreed[0]);
        let TransportSpec::Ice(ice) = &mut early.transport else { unreachable!() };
        (ice.remote, ice.remote_candidates) = (IceCredentials::default(), Vec::new());
        let mut ends = ends(&agreed);
        let port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
        ends[0].transport = Transport::new(START, port, &early, Entropy::from_seed([1; 32]));
        let mut network = Network::new(0, 1);
        network.run(&mut ends, Duration::from_secs(1));
        assert!(ends[0].connected().is_empty());
        assert_eq!(ends[1].transport.destination(Flow::Rtp), Some(address(OURS)), "{dialect:?}");
        ends[0].transport.renegotiate(network.now, &spec(&agreed[0]));
        network.run(&mut ends, Duration::from_secs(2));
        assert!(ends.iter().all(|end| end.connected().len() == 1), "{dialect:?}");
    }
}

#[test]
fn who_answers_nothing_is_unreachable_after_half_a_minute() {
    for dialect in DIALECTS {
        let mut ends = ends(&agree(dialect, PUBLIC));
        let mut network = Network::new(100, 1);
        network.run(&mut ends, Duration::from_millis(29_900));
        assert!(ends.iter().all(|end| end.wanted.told.is_empty()));
        network.run(&mut ends, Duration::from_millis(200));
        assert!(ends.iter().all(|end| end.wanted.told.len() == 1 && end.is_unreachable()));
        assert_eq!(ends[0].transport.destination(Flow::Rtp), None);
    }
}

#[test]
fn who_falls_silent_is_sent_nothing_any_more_if_the_standard_says_so() {
    for dialect in DIALECTS {
        let mut ends = ends(&agree(dialect, PUBLIC));
        let mut network = Network::new(0, 1);
        network.run(&mut ends, Duration::from_secs(60));
        assert!(ends.iter().all(|end| end.connected().len() == 1 && !end.is_unreachable()));
        network.loss = 100;
        network.run(&mut ends, Duration::from_secs(29));
        assert!(ends.iter().all(|end| !end.is_unreachable()));
        network.run(&mut ends, Duration::from_secs(6));
        let lost = dialect == IceDialect::Rfc8445;
        assert!(ends.iter().all(|end| end.is_unreachable() == lost), "{dialect:?}");
        assert_eq!(ends[0].transport.destination(Flow::Rtp).is_none(), lost);
    }
}

#[test]
fn nobody_else_is_listened_to() {
    for dialect in DIALECTS {
        let agreed = agree(dialect, PUBLIC);
        let mut ends = ends(&agreed);
        // Media before any check: nothing, though the keys are right and the address was named.
        ends[1].wanted.sent.clear();
        let mut packet = [vec![0x80, 0, 0, 1], vec![0; 168 + OVERHEAD]].concat();
        let len = ends[1].transport.protect_rtp(&mut packet, 172).expect("it can be protected");
        let from = address(PUBLIC);
        let receive = |end: &mut End, from, datagram: &[u8]| {
            let mut datagram = datagram.to_vec();
            let received = end.transport.receive(START, Flow::Rtp, from, &mut datagram, &mut end.wanted);
            (received == Received::Nothing, end.transport.rejected())
        };
        assert_eq!(receive(&mut ends[0], from, &packet[..len]), (true, 1));
        // Checks of somebody who does not know our password: not even answered.
        let mut stranger = agreed[1].clone();
        stranger.names = ["else", "ours"];
        let mut wrong = spec(&stranger);
        let TransportSpec::Ice(ice) = &mut wrong.transport else { unreachable!() };
        ice.remote.password = credentials("none").password;
        for candidate in &mut ice.remote_candidates {
            candidate.credentials.iter_mut().for_each(|own| own.password = credentials("none").password);
        }
        let mut other = End::new(&stranger, 3);
        let port = Port { leg: LegId(3), kind: Kind::Audio, flow: Flow::Rtp };
        other.transport = Transport::new(START, port, &wrong, Entropy::from_seed([3; 32]));
        other.transport.tick(START + TICK, &mut other.wanted);
        assert!(!other.wanted.sent.is_empty());
        for (nth, (_, _, datagram)) in other.wanted.sent.iter().enumerate() {
            assert_eq!(receive(&mut ends[0], address("203.0.113.66:1"), datagram), (true, 2 + nth as u64));
        }
        assert!(ends[0].wanted.sent.is_empty());
        // Media from another address when the way is known.
        let mut network = Network::new(0, 1);
        network.run(&mut ends, Duration::from_secs(2));
        let rejected = ends[0].transport.rejected();
        let mut packet = [vec![0x80, 0, 0x7f, 0], vec![0; 168 + OVERHEAD]].concat();
        let len = ends[1].transport.protect_rtp(&mut packet, 172).expect("it can be protected");
        assert_eq!(receive(&mut ends[0], address("203.0.113.66:1"), &packet[..len]), (true, rejected + 1));
        assert!(!receive(&mut ends[0], from, &packet[..len]).0, "{dialect:?}");
        assert_eq!(ends[0].transport.destination(Flow::Rtp), Some(from));
    }
}

#[test]
fn new_credentials_begin_anew_and_the_stream_goes_on() {
    for dialect in DIALECTS {
        let mut agreed = agree(dialect, PUBLIC);
        let mut ends = ends(&agreed);
        let mut network = Network::new(0, 1);
        network.run(&mut ends, Duration::from_secs(2));
        // The same description again, as with hold and resume, changes nothing.
        for (end, agreed) in ends.iter_mut().zip(&agreed) {
            end.transport.renegotiate(network.now, &spec(agreed));
        }
        network.run(&mut ends, Duration::from_secs(2));
        assert!(ends.iter().all(|end| end.connected().len() == 1), "{dialect:?}");
        agreed[0].names = ["our2", "pee2"];
        agreed[1].names = ["pee2", "our2"];
        let heard = ends[0].heard;
        for (end, agreed) in ends.iter_mut().zip(&agreed) {
            let mut new = spec(agreed);
            new.protection = spec(&agree(dialect, PUBLIC)[usize::from(agreed.names[0] == "pee2")]).protection;
            end.transport.renegotiate(network.now, &new);
            assert!(end.transport.destination(Flow::Rtp).is_some(), "it stays where it was");
        }
        network.run(&mut ends, Duration::from_secs(2));
        assert!(ends.iter().all(|end| end.connected().len() == 2), "{dialect:?}");
        assert!(ends[0].heard - heard > 90, "{dialect:?}: {}", ends[0].heard - heard);
    }
}
