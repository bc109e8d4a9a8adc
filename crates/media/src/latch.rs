//! Symmetric RTP (RFC 4961): where a peer without connectivity checks is reached.
//!
//! His description names an address, which is wrong as often as there is a NAT between. So the first
//! address that sends us the stream is the one we answer to. An address that has proved itself is never
//! given up for another, or anybody could turn a call to himself by one datagram.

use std::net::SocketAddr;

use crate::Flow;

/// So many packets in sequence prove an address where there are no keys: 80 ms of voice.
const RUN: u8 = 4;

/// Sequence numbers may go ahead by this much in a run, for what is lost.
const LARGEST_GAP: u16 = 16;

/// What is thought of the sender of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the peer as far as we know.
    Taken,
    /// It is the peer, and from now on nobody else is.
    Fixed,
    /// It is somebody else.
    Refused,
}

/// An address on its way to being believed.
#[derive(Clone, Copy, Debug)]
struct Probation {
    from: SocketAddr,
    ssrc: u32,
    next: u16,
    run: u8,
}

impl Probation {
    fn new(from: SocketAddr, ssrc: u32, sequence: u16) -> Probation {
        Probation { from, ssrc, next: sequence.wrapping_add(1), run: 1 }
    }

    /// Counts a packet; whether the run is long enough.
    fn advance(&mut self, ssrc: u32, sequence: u16) -> bool {
        if ssrc == self.ssrc && sequence.wrapping_sub(self.next) <= LARGEST_GAP {
            self.next = sequence.wrapping_add(1);
            self.run = self.run.saturating_add(1);
        } else {
            *self = Probation::new(self.from, ssrc, sequence);
        }
        self.run >= RUN
    }
}

/// The choice of a stream's address.
#[derive(Clone, Debug)]
struct Latch {
    /// Where the description says.
    signalled: SocketAddr,
    /// Who is answered to, and who else would like to be.
    current: Option<Probation>,
    challenger: Option<Probation>,
    /// Who has proved himself.
    fixed: Option<SocketAddr>,
}

impl Latch {
    /// Nobody has sent anything yet.
    fn new(signalled: SocketAddr) -> Latch {
        Latch { signalled, current: None, challenger: None, fixed: None }
    }

    /// Where to send; `None` if the description names no place and nobody has been heard.
    fn destination(&self) -> Option<SocketAddr> {
        let heard = self.fixed.or(self.current.map(|current| current.from));
        heard.or_else(|| is_place(self.signalled).then_some(self.signalled))
    }

    /// A packet of RTCP on a port of its own, without keys: taken from whoever was fixed, or else from the
    /// place the description names or one on the machine RTP comes from (`near`), which then is fixed if
    /// RTP is (`provable`).
    fn beside(&mut self, from: SocketAddr, near: bool, provable: bool) -> Verdict {
        match self.fixed {
            Some(fixed) if fixed == from => Verdict::Taken,
            None if near && provable => {
                self.fixed = Some(from);
                Verdict::Fixed
            }
            None if near || from == self.signalled => Verdict::Taken,
            _ => Verdict::Refused,
        }
    }

    /// A packet of the stream that was verified with the peer's key.
    fn verified(&mut self, from: SocketAddr) -> Verdict {
        match self.fixed {
            None => {
                self.fixed = Some(from);
                Verdict::Fixed
            }
            Some(fixed) if fixed == from => Verdict::Taken,
            Some(_) => Verdict::Refused,
        }
    }

    /// A packet of a stream without keys. `provable` says whether a run proves an address; it does not
    /// where a verified packet may still come.
    fn unverified(&mut self, from: SocketAddr, ssrc: u32, sequence: u16, provable: bool) -> Verdict {
        if let Some(fixed) = self.fixed {
            return if fixed == from { Verdict::Taken } else { Verdict::Refused };
        }
        let ours = self.current.is_none_or(|current| current.from == from);
        let slot = if ours { &mut self.current } else { &mut self.challenger };
        let proved = match slot {
            Some(probation) if probation.from == from => probation.advance(ssrc, sequence),
            _ => {
                *slot = Some(Probation::new(from, ssrc, sequence));
                false
            }
        };
        if proved && provable {
            self.fixed = Some(from);
            return Verdict::Fixed;
        }
        if proved && !ours && self.current.is_some_and(|current| current.run < RUN) {
            (self.current, self.challenger) = (self.challenger, None);
            return Verdict::Taken;
        }
        if ours { Verdict::Taken } else { Verdict::Refused }
    }
}

/// The addresses of a stream: of RTP, and of RTCP unless both share a port.
#[derive(Debug)]
pub(crate) struct Symmetric {
    rtp: Latch,
    rtcp: Option<Latch>,
}

impl Symmetric {
    /// Where the description says.
    pub fn new(rtp: SocketAddr, rtcp: SocketAddr) -> Symmetric {
        Symmetric { rtp: Latch::new(rtp), rtcp: (rtcp != rtp).then(|| Latch::new(rtcp)) }
    }

    /// Whether this is what the description said.
    pub fn is_at(&self, rtp: SocketAddr, rtcp: SocketAddr) -> bool {
        self.rtp.signalled == rtp && self.rtcp.as_ref().map_or(rtp, |latch| latch.signalled) == rtcp
    }

    /// Whether RTCP shares the port of RTP.
    pub fn is_shared(&self) -> bool {
        self.rtcp.is_none()
    }

    /// Whether anybody has proved himself.
    pub fn is_fixed(&self) -> bool {
        self.rtp.fixed.is_some() || self.rtcp.as_ref().is_some_and(|latch| latch.fixed.is_some())
    }

    /// Whether a packet from there may be the peer's: nobody else has proved to be he.
    pub fn admits(&self, flow: Flow, from: SocketAddr) -> bool {
        let latch = self.rtcp.as_ref().filter(|_| flow == Flow::Rtcp).unwrap_or(&self.rtp);
        latch.fixed.is_none_or(|fixed| fixed == from)
    }

    /// Where a flow goes. RTCP goes, until it is heard, beside where RTP was found (RFC 3605 names another
    /// port).
    pub fn destination(&self, flow: Flow) -> Option<SocketAddr> {
        let rtp = self.rtp.destination();
        let Some(rtcp) = self.rtcp.as_ref().filter(|_| flow == Flow::Rtcp) else { return rtp };
        let (signalled, heard) = (self.rtp.signalled, rtp?);
        if rtcp.fixed.is_some() || signalled.ip() == heard.ip() {
            return rtcp.destination();
        }
        let port = if signalled.port() == heard.port() {
            rtcp.signalled.port()
        } else {
            heard.port().checked_add(1)?
        };
        Some(SocketAddr::new(heard.ip(), port))
    }

    /// A packet that was verified with the peer's key.
    pub fn verified(&mut self, flow: Flow, from: SocketAddr) -> Verdict {
        let latch = self.rtcp.as_mut().filter(|_| flow == Flow::Rtcp).unwrap_or(&mut self.rtp);
        latch.verified(from)
    }

    /// RTP without keys; `provable` as in [`Latch::unverified`].
    pub fn rtp_unverified(&mut self, from: SocketAddr, ssrc: u32, sequence: u16, provable: bool) -> Verdict {
        self.rtp.unverified(from, ssrc, sequence, provable)
    }

    /// RTCP that is not verified: from where RTP comes, or from the machine it comes from.
    pub fn rtcp_unverified(&mut self, flow: Flow, from: SocketAddr, provable: bool) -> Verdict {
        let rtp = self.rtp.destination();
        match &mut self.rtcp {
            Some(latch) if flow == Flow::Rtcp => {
                let near = rtp.is_some_and(|rtp| rtp.ip() == from.ip());
                latch.beside(from, near, provable && self.rtp.fixed.is_some())
            }
            _ if rtp == Some(from) => Verdict::Taken,
            _ => Verdict::Refused,
        }
    }
}

/// Whether an address can be sent to: descriptions put people on hold with 0.0.0.0 (RFC 2543), and refuse
/// streams with port 0.
pub(crate) fn is_place(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_run_of_packets_is_believed_and_nothing_else_from_then_on() {
        let mut latch = Latch::new(address(1));
        assert_eq!(latch.destination(), Some(address(1)));
        assert_eq!(latch.unverified(address(2), 7, 65_534, true), Verdict::Taken);
        assert_eq!(latch.destination(), Some(address(2)));
        for sequence in [65_535, 2] {
            assert_eq!(latch.unverified(address(2), 7, sequence, true), Verdict::Taken);
        }
        assert_eq!(latch.fixed, None);
        assert_eq!(latch.unverified(address(2), 7, 3, true), Verdict::Fixed);
        for sequence in 0..20 {
            assert_eq!(latch.unverified(address(3), 8, sequence, true), Verdict::Refused);
        }
        assert_eq!(latch.unverified(address(2), 9, 100, true), Verdict::Taken, "another source of his");
        assert_eq!(latch.destination(), Some(address(2)));
    }

    #[test]
    fn one_stray_packet_does_not_keep_the_peer_out() {
        let mut latch = Latch::new(address(1));
        assert_eq!(latch.unverified(address(9), 1, 1, true), Verdict::Taken);
        for sequence in 0..3 {
            assert_eq!(latch.unverified(address(2), 7, sequence, true), Verdict::Refused);
        }
        assert_eq!(latch.unverified(address(2), 7, 3, true), Verdict::Fixed);
    }

    #[test]
    fn the_same_packet_again_and_again_is_no_run() {
        let mut latch = Latch::new(address(1));
        for _ in 0..100 {
            latch.unverified(address(9), 1, 1, true);
        }
        assert_eq!(latch.fixed, None);
    }

    #[test]
    fn a_verified_packet_goes_before_what_was_believed_without() {
        let mut latch = Latch::new(address(1));
        for sequence in 0..100 {
            assert_eq!(latch.unverified(address(9), 1, sequence, false), Verdict::Taken);
        }
        assert_eq!(latch.verified(address(2)), Verdict::Fixed);
        assert_eq!(latch.destination(), Some(address(2)));
        assert_eq!(latch.unverified(address(9), 1, 100, false), Verdict::Refused);
        assert_eq!(latch.verified(address(3)), Verdict::Refused);
    }

    #[test]
    fn nowhere_is_no_place() {
        for nowhere in ["0.0.0.0:4000", "[::]:4000", "192.0.2.1:0", "224.0.0.1:4000"] {
            assert_eq!(Latch::new(nowhere.parse().unwrap()).destination(), None);
        }
    }
}
