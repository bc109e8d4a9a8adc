//! Datagrams to the ports of a leg: RTP, RTCP and connectivity checks, in clear and protected, in every
//! dialect. The first byte of the input chooses how the leg was negotiated.

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};
use confab_media::{
    Command, Event, Flow, LegId, LegSpec, Port, Room, Sink, rtcp,
    session::{
        Candidate, CandidateKind, Codec, Format, Gate, IceCredentials, IceDialect, IceSpec, Kind, MasterKey,
        PersonId, Protection, StreamSpec, Suite, TransportSpec,
    },
    transport::{Received, Transport},
};

const NOW: Time = Time::from_unix_secs(1_795_232_729);
const PORT: Port = Port { leg: LegId(1), kind: Kind::Audio, flow: Flow::Rtp };

/// What is sent in answer, and how often somebody was believed.
#[derive(Default)]
struct Seen {
    sent: Vec<usize>,
    connected: u32,
}

impl Sink for Seen {
    fn send(&mut self, _: Port, _: SocketAddr, datagram: &[u8]) {
        self.sent.push(datagram.len());
    }

    fn connect(&mut self, _: Port, _: SocketAddr) {
        self.connected += 1;
    }

    fn tell(&mut self, _: Event) {}
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

fn leg(suite: Option<Suite>, optional: bool, transport: TransportSpec) -> Transport {
    Transport::new(NOW, PORT, &spec(suite, optional, transport), Entropy::from_seed([1; 32]))
}

fn spec(suite: Option<Suite>, optional: bool, transport: TransportSpec) -> StreamSpec {
    let key = || {
        let salt = vec![7; if suite == Some(Suite::AesGcm) { 12 } else { 14 }];
        MasterKey { key: [3; 16], salt, identifier: vec![1] }
    };
    let protection = suite.map(|suite| Protection { suite, send: key(), receive: key(), optional });
    let format = Format { number: 0, codec: Codec::Pcmu };
    StreamSpec {
        send: format,
        receive: vec![format],
        receive_events: Some(101),
        packet_time: Duration::from_millis(20),
        we_send: true,
        we_receive: true,
        ssrc: 1,
        protection,
        transport,
    }
}

fn plain(mode: u8) -> Transport {
    let suite = match mode % 4 {
        0 => None,
        1 => Some(Suite::AesCm80),
        2 => Some(Suite::AesCm32),
        _ => Some(Suite::AesGcm),
    };
    leg(suite, mode & 4 != 0, TransportSpec::Plain { rtp: peer(), rtcp: peer() })
}

/// Sends the same bytes thrice: whatever they are, each is taken or counted, and nobody is believed because of
/// one datagram but by its key.
fn thrice(leg: &mut Transport, flow: Flow, bytes: &[u8], mut look: impl FnMut(&Received<'_>)) -> Seen {
    let mut seen = Seen::default();
    for nth in 1..=3 {
        let mut datagram = bytes.to_vec();
        let rejected = leg.rejected();
        let received = leg.receive(NOW, flow, peer(), &mut datagram, &mut seen);
        look(&received);
        let taken = received != Received::Nothing;
        assert!(leg.rejected() <= rejected + u64::from(!taken), "what is taken is not counted as refused");
        assert!(nth > 1 || leg.rejected() <= 1);
    }
    seen
}

/// See [`super::RTP`].
pub fn rtp(bytes: &[u8]) {
    let [mode, datagram @ ..] = bytes else { return };
    let mut leg = plain(*mode);
    let seen = thrice(&mut leg, Flow::Rtp, datagram, |received| {
        let (Received::Rtp(packet) | Received::Rtcp(packet)) = received else { return };
        assert!(packet.len() >= 8 && packet.len() <= datagram.len());
    });
    assert!(seen.sent.is_empty() && seen.connected <= 1);
    room(datagram);
}

/// The same to every port of a leg in a room, in which another goes on being heard and seen.
fn room(bytes: &[u8]) {
    let plain = || TransportSpec::Plain { rtp: peer(), rtcp: peer() };
    let stream =
        |codec| StreamSpec { receive: vec![Format { number: 0, codec }], ..spec(None, false, plain()) };
    let mut room = Room::new(Entropy::from_seed([1; 32]));
    let mut seen = Seen::default();
    for (leg, picture) in [(1, Codec::H264), (2, Codec::Vp8)] {
        let spec = LegSpec {
            person: PersonId(leg),
            audio: Some(stream(Codec::Pcmu)),
            video: Some(StreamSpec { send: Format { number: 0, codec: Codec::H264 }, ..stream(picture) }),
        };
        let command = Command::Set { leg: LegId(leg), spec: Box::new(spec), gate: Gate::Open };
        room.command(NOW, command, &mut seen);
    }
    for (leg, kind) in [(1, Kind::Audio), (1, Kind::Video), (2, Kind::Video)] {
        let port = Port { leg: LegId(leg), kind, flow: Flow::Rtp };
        room.receive(NOW, port, peer(), &mut bytes.to_vec(), &mut seen);
    }
    (1..5).for_each(|tick| room.tick(NOW + Duration::from_millis(20 * tick), &mut seen));
    assert!(seen.sent.iter().all(|len| *len <= 1_500), "no packet is longer than a network takes");
}

/// See [`super::RTCP`]. What is read of reports is written and read again as the same.
pub fn rtcp(bytes: &[u8]) {
    let [mode, datagram @ ..] = bytes else { return };
    let mut reports = Vec::new();
    for packet in rtcp::packets(datagram) {
        if let rtcp::Packet::ReceiverReport { reports: of_one, .. }
        | rtcp::Packet::SenderReport { reports: of_one, .. } = packet
        {
            reports.extend(of_one.iter());
        }
    }
    for report in &reports {
        let _ = report.round_trip(NOW);
    }
    let mut buffer = vec![0; 2_000];
    let mut writer = rtcp::Writer::new(&mut buffer);
    writer.receiver_report(1, &reports);
    let len = writer.finish().expect("a report has its limit");
    let again = rtcp::packets(&buffer[..len]).next();
    let Some(rtcp::Packet::ReceiverReport { reports: again, .. }) = again else { panic!("{again:?}") };
    assert!(again.iter().eq(reports.iter().copied().take(rtcp::MAX_REPORTS)), "it reads the same");
    thrice(&mut plain(*mode), Flow::Rtcp, datagram, |_| {});
}

/// See [`super::STUN`].
pub fn stun(bytes: &[u8]) {
    let [mode, datagram @ ..] = bytes else { return };
    let dialect = match mode % 3 {
        0 => IceDialect::Draft6,
        1 => IceDialect::Draft19,
        _ => IceDialect::Rfc8445,
    };
    let credentials =
        |user: &str, password: &str| IceCredentials { user: user.into(), password: password.into() };
    // With draft 6 they are base64.
    let (local, remote) =
        (credentials("LUFRLUFR", "localpassword234"), credentials("RUFRRUFR", "remotepassword23"));
    let candidate = |address: &str, own: &IceCredentials| Candidate {
        foundation: "1".into(),
        component: 1,
        priority: 100,
        address: address.parse().expect("an address"),
        kind: CandidateKind::Host,
        credentials: (dialect == IceDialect::Draft6).then(|| own.clone()),
    };
    let spec = IceSpec {
        dialect,
        controlling: mode & 0x80 != 0,
        tie_breaker: 5,
        local_candidates: vec![candidate("192.0.2.10:4000", &local)],
        remote_candidates: vec![candidate("192.0.2.1:4000", &remote)],
        local,
        remote,
        multiplexed: mode & 0x40 != 0,
    };
    let mut leg = leg(None, false, TransportSpec::Ice(Box::new(spec)));
    let seen = thrice(&mut leg, Flow::Rtp, datagram, |received| assert_eq!(*received, Received::Nothing));
    assert!(seen.sent.iter().all(|len| *len <= 600), "an answer is small");
    let mut later = Seen::default();
    for tick in 1..100 {
        leg.tick(NOW + Duration::from_millis(20 * tick), &mut later);
    }
    assert!(later.sent.len() < 100, "checks are paced");
    assert_eq!(leg.destination(Flow::Rtp), None, "nothing that one datagram says is a way");
}
