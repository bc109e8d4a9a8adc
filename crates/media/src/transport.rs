//! How one stream of a leg gets to the peer and back: addresses, keys, connectivity checks.
//!
//! Everything that is not the peer's is counted and has no other effect. RTP and RTCP may share a
//! port (RFC 5761); what a datagram is follows from its first bytes (RFC 7983).

use std::net::SocketAddr;

use confab_machine::{Entropy, Time};

pub use crate::srtp::OVERHEAD;
use crate::{
    Flow, Port, Sink,
    latch::{Latch, Verdict},
    session::{Protection, StreamSpec, TransportSpec},
    srtp::{self, Session},
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

/// What is found by checks is not known before.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// One stream's way to the peer.
#[derive(Debug)]
pub struct Transport {
    port: Port,
    keys: Keys,
    path: Path,
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

/// Addresses without connectivity checks.
#[derive(Debug)]
struct Path {
    rtp: Latch,
    /// Unless both share a port.
    rtcp: Option<Latch>,
    /// Sockets were connected that are not to be any more.
    loosen: bool,
}

impl Path {
    fn new(spec: &TransportSpec) -> Path {
        let (rtp, rtcp) = match *spec {
            TransportSpec::Plain { rtp, rtcp } => (rtp, rtcp),
            TransportSpec::Ice(_) => (NOWHERE, NOWHERE),
        };
        Path { rtp: Latch::new(rtp), rtcp: (rtcp != rtp).then(|| Latch::new(rtcp)), loosen: false }
    }

    /// What the peer's description says, if it has changed.
    fn renegotiate(&mut self, spec: &TransportSpec) {
        let new = Path::new(spec);
        let signalled = |path: &Path| (path.rtp.signalled(), path.rtcp.as_ref().map(Latch::signalled));
        if signalled(self) != signalled(&new) {
            let loosen = self.loosen || self.rtp.fixed().is_some();
            *self = Path { loosen, ..new };
        }
    }

    /// Where RTCP goes. Until it is heard, beside where RTP was found (RFC 3605 names another port).
    fn rtcp_destination(&self) -> Option<SocketAddr> {
        let rtp = self.rtp.destination();
        let Some(rtcp) = &self.rtcp else { return rtp };
        let (signalled, heard) = (self.rtp.signalled(), rtp?);
        if rtcp.is_heard() || signalled == heard || signalled.ip() == heard.ip() {
            return rtcp.destination();
        }
        let port = if signalled.port() == heard.port() {
            rtcp.signalled().port()
        } else {
            heard.port().checked_add(1)?
        };
        Some(SocketAddr::new(heard.ip(), port))
    }

    /// RTCP that is not verified: from where RTP comes, or from the machine it comes from.
    fn rtcp_unverified(&mut self, flow: Flow, from: SocketAddr, provable: bool) -> Verdict {
        match &mut self.rtcp {
            Some(latch) if flow == Flow::Rtcp => {
                let near = self.rtp.destination().is_some_and(|rtp| rtp.ip() == from.ip());
                latch.beside(from, near, provable && self.rtp.fixed().is_some())
            }
            _ if self.rtp.destination() == Some(from) => Verdict::Taken,
            _ => Verdict::Refused,
        }
    }
}

impl Transport {
    /// The transport of a stream whose RTP flow has this `port`. `entropy` is for the transaction
    /// identifiers of STUN.
    pub fn new(now: Time, port: Port, spec: &StreamSpec, entropy: Entropy) -> Transport {
        let _ = (now, entropy);
        let keys = Keys::new(spec.protection.as_ref());
        Transport { port, keys, path: Path::new(&spec.transport), rejected: 0 }
    }

    /// What was negotiated has changed: keys and addresses are kept where they are the same.
    pub fn renegotiate(&mut self, now: Time, spec: &StreamSpec) {
        let _ = now;
        if self.keys.agreed() != spec.protection.as_ref() {
            self.keys = Keys::new(spec.protection.as_ref());
        }
        self.path.renegotiate(&spec.transport);
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
        let _ = now;
        let received = match datagram {
            [0x80..=0xbf, 192..=223, ..] => self.receive_rtcp(flow, from, datagram, sink).map(Received::Rtcp),
            [0x80..=0xbf, _, ..] if flow == Flow::Rtp => {
                self.receive_rtp(from, datagram, sink).map(Received::Rtp)
            }
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
        match flow {
            Flow::Rtp => self.path.rtp.destination(),
            Flow::Rtcp => self.path.rtcp_destination(),
        }
    }

    /// Whether [`Transport::tick`] has anything to do.
    pub fn needs_ticks(&self) -> bool {
        self.path.loosen
    }

    /// Connectivity checks and keep-alives: to be called every 20 ms while [`Transport::needs_ticks`].
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink) {
        let _ = now;
        if std::mem::take(&mut self.path.loosen) {
            sink.disconnect(self.port);
            sink.disconnect(Port { flow: Flow::Rtcp, ..self.port });
        }
    }

    /// Datagrams that were refused.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    fn receive_rtp<'a>(
        &mut self,
        from: SocketAddr,
        datagram: &'a mut [u8],
        sink: &mut dyn Sink,
    ) -> Option<&'a [u8]> {
        let (len, verified) = self.keys.open_rtp(datagram)?;
        let packet = &datagram[..len];
        let verdict = if verified {
            self.path.rtp.verified(from)
        } else {
            let (ssrc, sequence) = (srtp::rtp_ssrc(packet), srtp::rtp_sequence(packet));
            self.path.rtp.unverified(from, ssrc, sequence, self.keys.is_none())
        };
        self.obey(verdict, Flow::Rtp, from, sink).then_some(packet)
    }

    fn receive_rtcp<'a>(
        &mut self,
        flow: Flow,
        from: SocketAddr,
        datagram: &'a mut [u8],
        sink: &mut dyn Sink,
    ) -> Option<&'a [u8]> {
        let (len, verified) = self.keys.open_rtcp(datagram)?;
        let verdict = if !verified {
            self.path.rtcp_unverified(flow, from, self.keys.is_none())
        } else {
            let latch = if flow == Flow::Rtcp { self.path.rtcp.as_mut() } else { None };
            latch.unwrap_or(&mut self.path.rtp).verified(from)
        };
        self.obey(verdict, flow, from, sink).then_some(&datagram[..len])
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
