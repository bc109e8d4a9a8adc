//! How one stream of a leg gets to the peer and back: addresses, keys, connectivity checks.
//!
//! Everything that is not the peer's is counted and has no other effect. RTP and RTCP may share a
//! port (RFC 5761); what a datagram is follows from its first bytes (RFC 7983).

use std::net::SocketAddr;

use confab_machine::{Entropy, Time};

pub use crate::srtp::OVERHEAD;
use crate::{
    Flow, Port, Sink,
    ice::Agent,
    latch::{Symmetric, Verdict},
    session::{Protection, StreamSpec, TransportSpec},
    srtp::{self, Session},
    stun,
};

/// What a datagram turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// An RTP packet of the peer's, in clear. Its header with contributing sources and extension lies
    /// within it.
    Rtp(&'a [u8]),
    /// A compound of RTCP of the peer's, in clear.
    Rtcp(&'a [u8]),
    /// Nothing to listen to: it was answered, or refused and counted.
    Nothing,
}

/// One stream's way to the peer.
#[derive(Debug)]
pub struct Transport {
    port: Port,
    keys: Keys,
    path: Path,
    entropy: Entropy,
    /// Sockets were connected that are not to be any more.
    loosen: bool,
    rejected: u64,
}

/// How the stream is protected.
#[derive(Debug)]
enum Keys {
    /// Not at all.
    None,
    /// With these.
    Session(Box<Session>),
    /// With keys that cannot be, so that nothing passes.
    Unusable,
}

/// How the peer is reached.
#[derive(Debug)]
enum Path {
    /// Where he says, or is found to send from.
    Plain(Box<Symmetric>),
    /// Where checks get through.
    Ice(Box<Agent>),
}

impl Path {
    fn new(now: Time, port: Port, spec: &TransportSpec, entropy: Entropy) -> Path {
        match spec {
            TransportSpec::Plain { rtp, rtcp } => Path::Plain(Box::new(Symmetric::new(*rtp, *rtcp))),
            TransportSpec::Ice(spec) => Path::Ice(Box::new(Agent::new(now, port, spec, entropy))),
        }
    }
}

impl Transport {
    /// The transport of a stream whose RTP flow has this `port`. `entropy` is for the transaction
    /// identifiers of STUN.
    pub fn new(now: Time, port: Port, spec: &StreamSpec, entropy: Entropy) -> Transport {
        let mut entropy = entropy;
        let keys = Keys::new(spec.protection.as_ref());
        let path = Path::new(now, port, &spec.transport, entropy.fork());
        Transport { port, keys, path, entropy, loosen: false, rejected: 0 }
    }

    /// What was negotiated has changed: keys and addresses are kept where they are the same.
    pub fn renegotiate(&mut self, now: Time, spec: &StreamSpec) {
        if self.keys.agreed() != spec.protection.as_ref() {
            self.keys = Keys::new(spec.protection.as_ref());
        }
        match (&mut self.path, &spec.transport) {
            (Path::Plain(old), TransportSpec::Plain { rtp, rtcp }) if old.is_at(*rtp, *rtcp) => {}
            (Path::Ice(agent), TransportSpec::Ice(spec)) => agent.renegotiate(now, spec),
            (path, new) => {
                self.loosen |= matches!(path, Path::Plain(old) if old.is_fixed());
                *path = Path::new(now, self.port, new, self.entropy.fork());
            }
        }
    }

    /// Takes one datagram, opening it where it stands. What is not the peer's is counted and nothing.
    pub fn receive<'a>(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        datagram: &'a mut [u8],
        sink: &mut dyn Sink,
    ) -> Received<'a> {
        let received = match datagram {
            [0x80..=0xbf, 192..=223, ..] => {
                self.receive_rtcp(now, flow, from, datagram, sink).map(Received::Rtcp)
            }
            [0x80..=0xbf, _, ..] if flow == Flow::Rtp => {
                self.receive_rtp(now, from, datagram, sink).map(Received::Rtp)
            }
            _ if stun::is_stun(datagram) => self.check(now, flow, from, datagram, sink),
            _ => None,
        };
        received.unwrap_or_else(|| {
            self.rejected += 1;
            Received::Nothing
        })
    }

    /// Protects the RTP packet in `packet[..len]` in place; there is room for [`OVERHEAD`] bytes more.
    /// Its new length, or `None` if it must not be sent.
    pub fn protect_rtp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        match &mut self.keys {
            Keys::None => Some(len),
            Keys::Session(session) => session.send.protect_rtp(packet, len),
            Keys::Unusable => None,
        }
    }

    /// Protects the compound in `packet[..len]` in place; there is room for [`OVERHEAD`] bytes more. Its
    /// new length, or `None` if it must not be sent.
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        match &mut self.keys {
            Keys::None => Some(len),
            Keys::Session(session) => session.send.protect_rtcp(packet, len),
            Keys::Unusable => None,
        }
    }

    /// Where this flow goes to now; `None` while no way is known.
    pub fn destination(&self, flow: Flow) -> Option<SocketAddr> {
        match &self.path {
            Path::Plain(path) => path.destination(flow),
            Path::Ice(agent) => agent.destination(flow),
        }
    }

    /// The port RTCP is sent from: that of RTP where both share one.
    pub fn rtcp_flow(&self) -> Flow {
        let shared = match &self.path {
            Path::Plain(path) => path.is_shared(),
            Path::Ice(agent) => agent.is_shared(),
        };
        if shared { Flow::Rtp } else { Flow::Rtcp }
    }

    /// Whether [`Transport::tick`] has anything to do.
    pub fn needs_ticks(&self) -> bool {
        self.loosen || matches!(self.path, Path::Ice(_))
    }

    /// Connectivity checks and keep-alives: to be called every 20 ms while [`Transport::needs_ticks`].
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink) {
        if std::mem::take(&mut self.loosen) {
            sink.disconnect(self.port);
            sink.disconnect(Port { flow: Flow::Rtcp, ..self.port });
        }
        if let Path::Ice(agent) = &mut self.path {
            agent.tick(now, sink);
        }
    }

    /// Datagrams that were refused.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    fn receive_rtp<'a>(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &'a mut [u8],
        sink: &mut dyn Sink,
    ) -> Option<&'a [u8]> {
        // Before it is opened: what was opened counts as having come.
        if !self.admits(now, Flow::Rtp, from) {
            return None;
        }
        let (len, verified) = self.keys.open_rtp(datagram)?;
        let packet = &datagram[..len];
        let provable = self.keys.is_none();
        let verdict = match &mut self.path {
            Path::Ice(_) => Verdict::Taken,
            Path::Plain(path) if verified => path.verified(Flow::Rtp, from),
            Path::Plain(path) => {
                path.rtp_unverified(from, srtp::rtp_ssrc(packet), srtp::rtp_sequence(packet), provable)
            }
        };
        self.obey(verdict, Flow::Rtp, from, sink).then_some(packet)
    }

    fn receive_rtcp<'a>(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        datagram: &'a mut [u8],
        sink: &mut dyn Sink,
    ) -> Option<&'a [u8]> {
        if !self.admits(now, flow, from) {
            return None;
        }
        let (len, verified) = self.keys.open_rtcp(datagram)?;
        let provable = self.keys.is_none();
        let verdict = match &mut self.path {
            Path::Ice(_) => Verdict::Taken,
            Path::Plain(path) if verified => path.verified(flow, from),
            Path::Plain(path) => path.rtcp_unverified(flow, from, provable),
        };
        self.obey(verdict, flow, from, sink).then_some(&datagram[..len])
    }

    /// A STUN message. Without connectivity checks nobody has a password to send one with.
    fn check(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        datagram: &[u8],
        sink: &mut dyn Sink,
    ) -> Option<Received<'static>> {
        match &mut self.path {
            Path::Ice(agent) => agent.receive(now, flow, from, datagram, sink).then_some(Received::Nothing),
            Path::Plain(_) => None,
        }
    }

    /// Whether media may come from there at all.
    fn admits(&mut self, now: Time, flow: Flow, from: SocketAddr) -> bool {
        match &mut self.path {
            Path::Plain(path) => path.admits(flow, from),
            Path::Ice(agent) => agent.admits(now, flow, from),
        }
    }

    /// Whether the packet is taken.
    fn obey(&mut self, verdict: Verdict, flow: Flow, from: SocketAddr, sink: &mut dyn Sink) -> bool {
        if verdict == Verdict::Fixed {
            sink.connect(Port { flow, ..self.port }, from);
        }
        verdict != Verdict::Refused
    }
}

impl Keys {
    fn new(agreed: Option<&Protection>) -> Keys {
        match agreed.map(Session::new) {
            None => Keys::None,
            Some(Some(session)) => Keys::Session(Box::new(session)),
            Some(None) => Keys::Unusable,
        }
    }

    fn agreed(&self) -> Option<&Protection> {
        match self {
            Keys::Session(session) => Some(&session.agreed),
            Keys::None | Keys::Unusable => None,
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Keys::None)
    }

    /// The length of the RTP packet in clear, and whether it was verified; `None` if it is refused.
    fn open_rtp(&mut self, packet: &mut [u8]) -> Option<(usize, bool)> {
        let plain = |packet: &[u8]| srtp::rtp_header_len(packet).map(|_| (packet.len(), false));
        match self {
            Keys::None => plain(packet),
            Keys::Session(session) => match session.receive.open_rtp(packet) {
                Some(len) => {
                    session.verified = true;
                    Some((len, true))
                }
                None if session.is_optional() => plain(packet),
                None => None,
            },
            Keys::Unusable => None,
        }
    }

    /// The length of the compound in clear, and whether it was verified; `None` if it is refused.
    fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<(usize, bool)> {
        let plain = |packet: &[u8]| (packet.len() >= srtp::RTCP_HEADER).then_some((packet.len(), false));
        match self {
            Keys::None => plain(packet),
            Keys::Session(session) => match session.receive.open_rtcp(packet) {
                Some(len) => {
                    session.verified = true;
                    Some((len, true))
                }
                None if session.is_optional() => plain(packet),
                None => None,
            },
            Keys::Unusable => None,
        }
    }
}
