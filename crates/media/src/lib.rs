//! The data plane: what is heard and seen in a conference, packet by packet (step 8 of the join flow).
//!
//! It has no socket and no clock. Its shell hands in datagrams and the time, and takes what is to be
//! sent through a [`Sink`]; nothing is allocated, locked or logged for a packet. Commands come from
//! the A/V MCU, whose words are those of [`session`].
//!
//! - `arrivals.rs`: when packets come, so that a shell knows when to mix.
//! - `codec.rs`: G.711, G.722 and Opus as samples and back, at the rate that is wanted.
//! - `events.rs`: keys that were pressed.
//! - `jitter.rs`: when what has come is played; `conceal.rs`: what is heard instead of what is lost.
//! - `room.rs`: one conference, the way in. `leg.rs`: one leg of it, `reception.rs`: how it is received.
//!   `mixer.rs`: who hears whom, `speaking.rs`: who is told to speak.
//! - `quality.rs`: what a call must have sounded like.
//! - `rtcp.rs`: reports and feedback; `reports.rs`: those of a voice.
//! - `rtp.rs`: packets, read and written.
//! - `session.rs`: what was negotiated for a leg, what is commanded and what is reported.
//! - `transport.rs`: how a stream gets to its peer and back: `latch.rs` or `ice.rs` (with `stun.rs`) finds his
//!   address, `srtp.rs` protects.
//! - `video.rs`: who sees whom.

pub mod arrivals;
pub mod codec;
pub mod conceal;
pub mod events;
mod ice;
pub mod jitter;
mod latch;
mod leg;
mod mixer;
pub mod quality;
pub mod reception;
mod reports;
pub mod room;
pub mod rtcp;
pub mod rtp;
pub mod session;
mod speaking;
pub mod srtp;
mod stun;
pub mod transport;
mod video;

use std::net::SocketAddr;

pub use room::Room;
pub use session::{Command, Event, LegId, LegSpec};

/// One of the two flows of a stream (RFC 3550 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// RTP, and RTCP as well where both share a port (RFC 5761).
    Rtp,
    /// RTCP.
    Rtcp,
}

/// What one socket is for: a flow of one stream of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The leg.
    pub leg: LegId,
    /// Audio or video.
    pub kind: session::Kind,
    /// RTP or RTCP.
    pub flow: Flow,
}

/// Where the data plane puts what it wants done.
pub trait Sink {
    /// Send a datagram.
    fn send(&mut self, port: Port, to: SocketAddr, datagram: &[u8]);
    /// From now on only `from` speaks to this port, so the shell may connect its socket.
    fn connect(&mut self, port: Port, from: SocketAddr);
    /// Anybody may speak to this port again, because the peer says that he has moved. A shell that does not
    /// connect its sockets has nothing to do.
    fn disconnect(&mut self, port: Port) {
        let _ = port;
    }
    /// Tell the MCU.
    fn tell(&mut self, event: Event);
}
