//! What the A/V MCU and the data plane say to each other: what was negotiated for a leg, who may be
//! heard, and what became of it.

use std::{net::SocketAddr, time::Duration};

/// One leg of somebody: one call of one device. Unique within a room and never used again there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// A person, who is one participant however many legs he has. Unique within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u64);

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Voice, mixed.
    Audio,
    /// Pictures, switched.
    Video,
}

/// A codec the data plane speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kbit/s, 16 kHz of sound on an RTP clock of 8 kHz (RFC 3551 §4.5.2).
    G722,
    /// Opus, mono, RTP clock of 48 kHz (RFC 7587).
    Opus,
    /// H.264, passed on (RFC 6184).
    H264,
    /// VP8, passed on (RFC 7741).
    Vp8,
}

/// A payload type of a stream. The number is what the peer receives it by, or sends it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// 0 to 127.
    pub number: u8,
    /// What it is.
    pub codec: Codec,
}

/// What was negotiated for one leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegSpec {
    /// Whose leg it is. Nobody hears his own other legs.
    pub person: PersonId,
    /// The voice, unless it is refused.
    pub audio: Option<StreamSpec>,
    /// The picture, unless it is refused.
    pub video: Option<StreamSpec>,
}

/// What was negotiated for one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSpec {
    /// What we send: the first of what both sides know.
    pub send: Format,
    /// What the peer may send.
    pub receive: Vec<Format>,
    /// The payload type of telephone events the peer sends (RFC 4733), if he does.
    pub receive_events: Option<u8>,
    /// How much sound a packet of ours holds: 10 to 60 ms, 20 ms unless the peer asks for another. It is a
    /// wish: Opus is always sent 20 ms at a time.
    pub packet_time: Duration,
    /// Whether the peer wants to hear or see us (not on hold).
    pub we_send: bool,
    /// Whether the peer sends; what comes nevertheless is dropped.
    pub we_receive: bool,
    /// Our synchronization source, kept for as long as the leg lasts (signin-presence-media C3).
    pub ssrc: u32,
    /// The keys, if the stream is protected.
    pub protection: Option<Protection>,
    /// How the peer is reached.
    pub transport: TransportSpec,
}

/// How SRTP protects (RFC 3711, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// AES_CM_128_HMAC_SHA1_80
    AesCm80,
    /// AES_CM_128_HMAC_SHA1_32
    AesCm32,
    /// AEAD_AES_128_GCM
    AesGcm,
}

/// A master key with its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// 16 bytes.
    pub key: [u8; 16],
    /// 14 bytes for AES-CM, 12 for GCM.
    pub salt: Vec<u8>,
    /// The master key identifier each packet of this direction bears, as it stands in the packet; empty if
    /// none (1 to 128 bytes).
    pub identifier: Vec<u8>,
}

/// Keys are not for logs.
impl std::fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MasterKey(…)")
    }
}

/// The keys of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The transforms.
    pub suite: Suite,
    /// Ours, with which we send.
    pub send: MasterKey,
    /// The peer's.
    pub receive: MasterKey,
    /// The peer may send without protection as well (`a=encryption:optional`, MS-SDPEXT), until the first
    /// packet that is verified.
    pub optional: bool,
}

/// How the peer of a stream is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum TransportSpec {
    /// Where he says (RFC 3264), or where he is found to send from (symmetric RTP, RFC 4961).
    Plain {
        /// His address for RTP.
        rtp: SocketAddr,
        /// His address for RTCP; the same as for RTP if both share a port.
        rtcp: SocketAddr,
    },
    /// By connectivity checks.
    Ice(Box<IceSpec>),
}

/// The dialect of connectivity checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IceDialect {
    /// draft-ietf-mmusic-ice-06 as MS-ICE has it: credentials for each candidate.
    Draft6,
    /// draft-ietf-mmusic-ice-19 as MS-ICE2 has it.
    Draft19,
    /// RFC 8445.
    Rfc8445,
}

/// What was negotiated for connectivity checks.
#[derive(Clone, Debug, PartialEq)]
pub struct IceSpec {
    /// The dialect.
    pub dialect: IceDialect,
    /// Whether we decide which pair is used: we are the offerer, or the peer is a lite agent.
    pub controlling: bool,
    /// Decides role conflicts.
    pub tie_breaker: u64,
    /// Ours, as offered or answered. With draft 6 the credentials of our candidates.
    pub local: IceCredentials,
    /// The peer's. With draft 6 those of the candidate that is used in the description's own lines.
    pub remote: IceCredentials,
    /// Our candidates.
    pub local_candidates: Vec<Candidate>,
    /// The peer's candidates.
    pub remote_candidates: Vec<Candidate>,
    /// Whether RTCP shares the port of RTP.
    pub multiplexed: bool,
}

/// The user fragment and password of checks, as text or, with draft 6, the base64 of the description.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceCredentials {
    /// The user fragment.
    pub user: String,
    /// The password.
    pub password: String,
}

/// The password is not for logs.
impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "IceCredentials({}, …)", self.user)
    }
}

/// Where somebody may be reached over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of the same kind, base and server.
    pub foundation: String,
    /// 1 = RTP, 2 = RTCP.
    pub component: u8,
    /// The higher the better.
    pub priority: u32,
    /// The address.
    pub address: SocketAddr,
    /// How it was found.
    pub kind: CandidateKind,
    /// Its own credentials, with draft 6 only.
    pub credentials: Option<IceCredentials>,
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// An address of the machine.
    Host,
    /// As a server sees it.
    ServerReflexive,
    /// As the peer sees it.
    PeerReflexive,
    /// An address of a relay.
    Relayed,
}

/// Whether a leg takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// It hears and is heard.
    #[default]
    Open,
    /// It hears and is not heard: its packets are dropped before they are decoded.
    Muted,
    /// It waits in the lobby: it hears silence and is not heard.
    Waiting,
}

/// What the MCU wants of a room.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A leg begins, or what was negotiated for it has changed. Its ports are the shell's to open before.
    Set {
        /// The leg.
        leg: LegId,
        /// What was negotiated.
        spec: Box<LegSpec>,
        /// Whether it takes part.
        gate: Gate,
    },
    /// Whether legs take part. Answered by [`Event::Gated`] when it is so in what is sent.
    Gate {
        /// The MCU's name for it, repeated in the answer.
        id: u64,
        /// The legs; unknown ones are passed over.
        legs: Vec<LegId>,
        /// Whether they take part.
        gate: Gate,
    },
    /// A leg is over. Answered by [`Event::Closed`]; nothing is sent to it from then on.
    Close {
        /// The leg.
        leg: LegId,
    },
}

/// What the MCU is told of a room.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What was commanded is so: not one packet of these legs is mixed or passed on against it.
    Gated {
        /// The MCU's name for the command.
        id: u64,
    },
    /// Who speaks now, loudest first; told at most twice a second and only if it changed.
    Speaking {
        /// The legs that are heard in the mix.
        legs: Vec<LegId>,
    },
    /// A key was pressed (RFC 4733); told once, at its end or after a second.
    Digit {
        /// Whose.
        leg: LegId,
        /// `0`–`9`, `*`, `#`, `A`–`D`, or `!` for a hook flash.
        digit: char,
        /// How long it was held.
        duration: Duration,
    },
    /// Connectivity checks came to an end: media can flow, by this pair.
    Connected {
        /// The leg.
        leg: LegId,
        /// Audio or video.
        kind: Kind,
        /// Our end and his for RTP, then for RTCP unless both share a port.
        pairs: Vec<(SocketAddr, SocketAddr)>,
    },
    /// No way to the peer was found.
    Unreachable {
        /// The leg.
        leg: LegId,
    },
    /// Nothing has come from a leg that is not on hold for half a minute.
    Silent {
        /// The leg.
        leg: LegId,
    },
    /// A leg is over.
    Closed {
        /// The leg.
        leg: LegId,
        /// How it was for the whole time, audio alone.
        quality: Quality,
    },
}

/// How a stream was, from what came in and what the peer reported (RFC 3550 §6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Packets that came and were taken.
    pub received: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that were dropped: not verified, of an unknown payload type, from another address.
    pub rejected: u64,
    /// Packets we sent.
    pub sent: u64,
    /// What the peer reported lost of them, if it did.
    pub sent_lost: Option<u64>,
    /// Interarrival jitter at the end.
    pub jitter: Duration,
    /// The latest round trip, if the peer reports.
    pub round_trip: Option<Duration>,
    /// The mean opinion score estimated by the E-model (ITU-T G.107), 1 to 4.5, in hundredths.
    pub mos: u16,
}
