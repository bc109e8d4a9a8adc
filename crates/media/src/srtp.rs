//! SRTP and SRTCP with keys from the description (RFC 3711, RFC 4568, RFC 7714): AES-CM with
//! HMAC-SHA1, 80 or 32 bits, and AES-GCM.
//!
//! Packets are protected and opened where they stand, and nothing is allocated for one. A packet
//! whose tag is wrong, or that came before, changes nothing at all.

mod cipher;
mod window;

use crate::session::{MasterKey, Protection, Suite};
use cipher::Cipher;
use window::Window;

/// A packet grows by this much at most: index, tag and the longest key identifier.
pub const OVERHEAD: usize = 4 + 16 + MAX_IDENTIFIER;

/// The longest key identifier (RFC 4568 §6.1).
const MAX_IDENTIFIER: usize = 128;

/// Sources of one direction that are told apart; the one longest silent is forgotten for a new one.
const MAX_SOURCES: usize = 8;

/// Set in the index of SRTCP if the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// One direction of a stream under one master key.
#[derive(Debug)]
pub struct Context {
    rtp: Cipher,
    rtcp: Cipher,
    /// The key identifier that each packet bears, if any.
    identifier: Vec<u8>,
    sources: Vec<Source>,
    /// The next index of SRTCP we send.
    next_rtcp: u32,
    /// Counts packets, to know which source is longest silent.
    uses: u64,
}

/// What is known of one source.
#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    used: u64,
}

impl Context {
    /// A direction with this key; `None` if the salt or identifier does not fit the suite.
    pub fn new(suite: Suite, master: &MasterKey) -> Option<Context> {
        let salt_len = if suite == Suite::AesGcm { 12 } else { 14 };
        if master.salt.len() != salt_len || master.identifier.len() > MAX_IDENTIFIER {
            return None;
        }
        Some(Context {
            rtp: Cipher::for_rtp(suite, &master.key, &master.salt),
            rtcp: Cipher::for_rtcp(suite, &master.key, &master.salt),
            identifier: master.identifier.clone(),
            sources: Vec::with_capacity(MAX_SOURCES),
            next_rtcp: 1,
            uses: 0,
        })
    }

    /// Protects the RTP packet in `packet[..len]`; its new length, or `None` if it is no RTP packet, has
    /// no room to grow, or was protected before.
    pub fn protect_rtp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        let end = len + self.rtp.tag_len() + self.identifier.len();
        if packet.len() < end {
            return None;
        }
        let header = rtp_header_len(&packet[..len])?;
        let (ssrc, sequence) = (rtp_ssrc(packet), rtp_sequence(packet));
        let (found, index) = self.index(ssrc, sequence)?;
        let end = self.rtp.seal_rtp(packet, (header, len), ssrc, index, &self.identifier)?;
        self.source(found, ssrc).rtp.mark(index);
        Some(end)
    }

    /// Opens an SRTP packet; the length of the RTP packet that stands in its place then. `None` if it is
    /// not the peer's, or came before. With AES-GCM a packet that is not the peer's is destroyed.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Option<usize> {
        let header = rtp_header_len(packet)?;
        let (ssrc, sequence) = (rtp_ssrc(packet), rtp_sequence(packet));
        let (found, index) = self.index(ssrc, sequence)?;
        let len = self.rtp.open_rtp(packet, header, ssrc, index, &self.identifier)?;
        self.source(found, ssrc).rtp.mark(index);
        Some(len)
    }

    /// Protects the RTCP compound in `packet[..len]`; its new length, or `None` if it is none, has no room
    /// to grow, or the key is used up.
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        let end = len + 4 + self.rtcp.tag_len() + self.identifier.len();
        if len < RTCP_HEADER || packet.len() < end || self.next_rtcp >= ENCRYPTED {
            return None;
        }
        let index = self.next_rtcp;
        let len = self.rtcp.seal_rtcp(packet, len, rtcp_ssrc(packet), index | ENCRYPTED, &self.identifier)?;
        self.next_rtcp += 1;
        Some(len)
    }

    /// Opens an SRTCP packet; the length of the compound that stands in its place then. `None` as with
    /// [`Context::open_rtp`].
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        if packet.len() < RTCP_HEADER {
            return None;
        }
        let ssrc = rtcp_ssrc(packet);
        let found = self.find(ssrc);
        let fresh = |index: u32| found.is_none_or(|at| self.sources[at].rtcp.is_fresh(u64::from(index)));
        let (len, index) = self.rtcp.open_rtcp(packet, ssrc, &self.identifier, fresh)?;
        self.source(found, ssrc).rtcp.mark(u64::from(index));
        Some(len)
    }

    fn find(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.ssrc == ssrc)
    }

    /// The place of a source and the 48-bit index of its packet; `None` if it came before.
    fn index(&self, ssrc: u32, sequence: u16) -> Option<(Option<usize>, u64)> {
        let found = self.find(ssrc);
        let index = match found {
            Some(at) => {
                let window = &self.sources[at].rtp;
                window.guess(sequence).filter(|index| window.is_fresh(*index))?
            }
            None => u64::from(sequence),
        };
        Some((found, index))
    }

    /// The source at `found`, or a new one in the place of the one longest silent.
    fn source(&mut self, found: Option<usize>, ssrc: u32) -> &mut Source {
        self.uses += 1;
        let at = found.unwrap_or_else(|| {
            if self.sources.len() == MAX_SOURCES {
                let silent = (0..MAX_SOURCES).min_by_key(|at| self.sources[*at].used);
                self.sources.swap_remove(silent.expect("there are sources"));
            }
            self.sources.push(Source { ssrc, rtp: Window::default(), rtcp: Window::default(), used: 0 });
            self.sources.len() - 1
        });
        let source = &mut self.sources[at];
        source.used = self.uses;
        source
    }
}

/// The keys of a stream, at work.
#[derive(Debug)]
pub(crate) struct Session {
    /// What was negotiated.
    pub agreed: Protection,
    /// What we send with.
    pub send: Context,
    /// What the peer sends with.
    pub receive: Context,
    /// Whether a packet of the peer's was ever verified.
    pub verified: bool,
}

impl Session {
    /// The session of these keys; `None` if a salt does not fit the suite.
    pub fn new(agreed: &Protection) -> Option<Session> {
        Some(Session {
            send: Context::new(agreed.suite, &agreed.send)?,
            receive: Context::new(agreed.suite, &agreed.receive)?,
            agreed: agreed.clone(),
            verified: false,
        })
    }

    /// Whether a packet without protection is taken as well.
    // Deviation: never with GCM, which MS-SDPEXT does not know, and which leaves nothing of a packet it refuses.
    pub fn is_optional(&self) -> bool {
        self.agreed.optional && !self.verified && self.agreed.suite != Suite::AesGcm
    }
}

/// What every RTCP packet begins with.
pub(crate) const RTCP_HEADER: usize = 8;

/// The length of an RTP packet's header with contributing sources and extension; `None` if it is no RTP
/// packet (RFC 3550 §5.1).
pub(crate) fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let fixed = packet.get(..12)?;
    if fixed[0] >> 6 != 2 {
        return None;
    }
    let mut len = 12 + 4 * usize::from(fixed[0] & 0x0f);
    if fixed[0] & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (len <= packet.len()).then_some(len)
}

/// The sequence number of an RTP packet.
pub(crate) fn rtp_sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// The source of an RTP packet.
pub(crate) fn rtp_ssrc(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]])
}

/// The source of an RTCP packet.
fn rtcp_ssrc(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

/// Puts `what` at `at`; where it ends.
fn append(packet: &mut [u8], at: usize, what: &[u8]) -> usize {
    packet[at..at + what.len()].copy_from_slice(what);
    at + what.len()
}

#[cfg(test)]
mod tests;
