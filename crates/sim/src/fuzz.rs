//! Fuzz targets: plain functions of bytes that panic when a promise is broken. Their corpus lies
//! under `corpus/`, one folder per target; what once made a target panic stays there for ever.

mod c3p_sequence;
mod damage;
mod documents;
mod messages;

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
