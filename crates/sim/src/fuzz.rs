//! Fuzz targets: plain functions of bytes that panic when a promise is broken. Their corpus lies
//! under `corpus/`, one folder per target; what once made a target panic stays there for ever.

mod c3p_sequence;
mod damage;
mod documents;
mod media;
mod messages;
mod pieces;
mod server_bytes;
mod users;

pub use damage::Damage;

/// Something that takes any bytes and must not panic.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its corpus' folder.
    pub name: &'static str,
    /// It.
    pub run: fn(&[u8]),
}

/// SIP: the framing of a stream, messages, and every typed value in them.
pub const SIP: Target = Target { name: "sip", run: messages::sip };
/// Session descriptions.
pub const SDP: Target = Target { name: "sdp", run: messages::sdp };
/// C3P: requests and responses.
pub const CCCP: Target = Target { name: "cccp", run: documents::cccp };
/// Conference-info in both views.
pub const CONFERENCE_INFO: Target = Target { name: "conference_info", run: documents::conference_info };
/// Any sequence of what can happen to a Focus.
pub const C3P_SEQUENCE: Target = Target { name: "c3p_sequence", run: c3p_sequence::c3p_sequence };
/// The framing of a stream, under a limit and a cut that the bytes choose.
pub const FRAME: Target = Target { name: "frame", run: pieces::frame };
/// Bodies of several parts.
pub const MULTIPART: Target = Target { name: "multipart", run: pieces::multipart };
/// Challenges and credentials.
pub const DIGEST: Target = Target { name: "digest", run: pieces::digest };
/// Every other XML document: presence, roaming data, invitations, health reports.
pub const DOCUMENTS: Target = Target { name: "documents", run: documents::documents };
/// Registrar and presence under any requests.
pub const USERS: Target = Target { name: "users", run: users::users };
/// Any bytes on a connection to a running Confab, in which two people go on talking.
pub const SERVER_BYTES: Target = Target { name: "server_bytes", run: server_bytes::server_bytes };
/// RTP to a leg, in clear and protected.
pub const RTP: Target = Target { name: "rtp", run: media::rtp };
/// RTCP to a leg, and what it says.
pub const RTCP: Target = Target { name: "rtcp", run: media::rtcp };
/// Connectivity checks in each dialect.
pub const STUN: Target = Target { name: "stun", run: media::stun };

/// All of them.
pub const ALL: [Target; 14] = [
    SIP,
    SDP,
    CCCP,
    CONFERENCE_INFO,
    C3P_SEQUENCE,
    FRAME,
    MULTIPART,
    DIGEST,
    DOCUMENTS,
    USERS,
    SERVER_BYTES,
    RTP,
    RTCP,
    STUN,
];
