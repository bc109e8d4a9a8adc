//! Where a message came from and where it goes: one connection or one datagram peer (RFC 5626 §3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A two-way path to one peer, which the shell that owns the sockets numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The shell's number for it; never used again for another path.
    pub id: u64,
    /// What carries it.
    pub transport: Transport,
}

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A TLS connection.
    Tls,
    /// A pipe within this process.
    Inproc,
}

impl Transport {
    /// Whether nothing is lost or reordered on it, so that nothing need be sent twice.
    pub const fn reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The name in a Via (RFC 3261 §20.42), upper-case.
    ///
    /// Only our own roles see a Via of a pipe; it calls itself TCP, which it behaves like.
    pub const fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp | Transport::Inproc => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Inproc => "inproc",
        })
    }
}
