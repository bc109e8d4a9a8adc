//! Ports on loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::{Deadline, poll};

/// How often [`free`] tries before it gives up.
const ATTEMPTS: usize = 100;

/// A loopback address whose port nobody uses now, neither over UDP nor over TCP.
pub fn free() -> SocketAddr {
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free over both UDP and TCP");
}

/// An even loopback port, free over UDP as the next three are: what a program takes for RTP and RTCP.
pub fn free_pair() -> u16 {
    for _ in 0..ATTEMPTS {
        let port = free().port() & !1;
        let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if port < u16::MAX - 3 && (port..port + 4).all(is_free) {
            return port;
        }
    }
    panic!("no two pairs of ports are free over UDP");
}

/// Waits until somebody receives at this loopback address, over whichever transport.
pub fn wait_until_open(address: SocketAddr, deadline: Deadline) {
    let open = || ["/proc/net/tcp", "/proc/net/udp"].iter().any(|table| lists(table, address.port()));
    poll(deadline, || open().then_some(())).unwrap_or_else(|| panic!("nobody listens at {address}"));
}

/// Whether the kernel's socket table has a listening (TCP state 0A) or unconnected (UDP state 07) socket at the port.
fn lists(table: &str, port: u16) -> bool {
    let local_port = format!(":{port:04X}");
    fs::read_to_string(table).unwrap_or_default().lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(&local_port)) && matches!(state, Some("0A" | "07"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_open_when_somebody_listens() {
        let address = free();
        assert!(!lists("/proc/net/tcp", address.port()));
        let _listener = TcpListener::bind(address).unwrap();
        wait_until_open(address, Deadline::after(1));
    }
}
