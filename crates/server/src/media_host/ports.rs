//! The ports of a leg: an even one for RTP and the next for RTCP (RFC 3550 §11), out of a range.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Mutex,
};

use confab_machine::Entropy;
use confab_media::{Flow, LegId, Port, session::Kind};
use nix::sys::socket::{setsockopt, sockopt};

/// Where ports are taken from.
pub struct PortRange {
    addresses: Vec<IpAddr>,
    first: u16,
    /// How many pairs there are.
    pairs: u16,
    /// The next pair to try. It begins anywhere, so that a server that was started again does not hear
    /// what was meant for the one before.
    next: Mutex<u16>,
}

/// No port is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no port for media is free: widen [media] ports")]
pub struct NoPort;

/// A port that was opened.
pub struct Opened {
    pub(super) port: Port,
    pub(super) socket: UdpSocket,
    pub(super) local: SocketAddr,
}

impl Opened {
    /// The port as the MCU knows it.
    pub fn address(&self) -> (Kind, Flow, SocketAddr) {
        (self.port.kind, self.port.flow, self.local)
    }
}

impl PortRange {
    /// Ports of `addresses` from the first to the last of `range`.
    pub fn new(addresses: Vec<IpAddr>, range: (u16, u16), mut entropy: Entropy) -> PortRange {
        let first = range.0.next_multiple_of(2);
        let pairs = (range.1.saturating_add(1).saturating_sub(first) / 2).max(1);
        let next = u16::try_from(entropy.number() % u64::from(pairs)).expect("it is below a u16");
        PortRange { addresses, first, pairs, next: Mutex::new(next) }
    }

    /// Opens a port for each flow of a stream, on each address.
    ///
    /// # Errors
    /// [`NoPort`] if no pair of the range is free.
    pub fn open(&self, leg: LegId, kind: Kind, flows: &[Flow]) -> Result<Vec<Opened>, NoPort> {
        for _ in 0..self.pairs {
            let number = self.advance();
            let opened: io::Result<Vec<Opened>> = self
                .addresses
                .iter()
                .flat_map(|ip| flows.iter().map(move |flow| (*ip, *flow)))
                .map(|(ip, flow)| {
                    let local = SocketAddr::new(ip, number + u16::from(flow == Flow::Rtcp));
                    let socket = UdpSocket::bind(local)?;
                    socket.set_nonblocking(true)?;
                    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
                    Ok(Opened { port: Port { leg, kind, flow }, socket, local })
                })
                .collect();
            match opened {
                Ok(opened) => return Ok(opened),
                // Somebody else has it.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::warn!(%error, "a port for media cannot be opened");
                    return Err(NoPort);
                }
            }
        }
        Err(NoPort)
    }

    /// The even port of the next pair.
    fn advance(&self) -> u16 {
        let mut next = self.next.lock().expect("nobody panics while holding it");
        let number = self.first + *next * 2;
        *next = (*next + 1) % self.pairs;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn ports_come_in_pairs_until_there_are_none() {
        // Two pairs that nobody has: the system chose the first, and the range may not begin there.
        let range = |first| PortRange::new(vec![LOCAL], (first, first + 3), Entropy::from_seed([1; 32]));
        let free = (30_000..32_000).step_by(4).find(|first| {
            (*first..*first + 4).all(|port| UdpSocket::bind(SocketAddr::new(LOCAL, port)).is_ok())
        });
        let range = range(free.unwrap());
        let both = [Flow::Rtp, Flow::Rtcp];
        let one = range.open(LegId(1), Kind::Audio, &both).unwrap();
        let two = range.open(LegId(2), Kind::Audio, &both).unwrap();
        for pair in [&one, &two] {
            let ports: Vec<u16> = pair.iter().map(|opened| opened.local.port()).collect();
            assert!(ports[0].is_multiple_of(2) && ports[1] == ports[0] + 1, "{ports:?}");
        }
        assert!(matches!(range.open(LegId(3), Kind::Audio, &both), Err(NoPort)));
        drop(one);
        assert!(range.open(LegId(3), Kind::Video, &[Flow::Rtp]).is_ok());
    }
}
