//! Listens to the network: which RTP packets come to a port, and what is in them. For clients that record nothing, and for
//! what must not be sent at all.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sound::{Ear, from_pcmu};
use crate::{Deadline, poll};

/// No datagram is longer.
const LONGEST: usize = 65_536;
/// How long a reading of the socket waits before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// The payload type of PCMU (RFC 3551).
const PCMU: u8 = 0;
/// The fixed part of an RTP header (RFC 3550 §5.1), in bytes.
const RTP_HEADER: usize = 12;

/// What came to one port.
#[derive(Default)]
struct Heard {
    packets: u64,
    /// The last one, and where it came from.
    last: Option<(SocketAddrV4, Vec<u8>)>,
    samples: Arc<Mutex<Vec<i16>>>,
}

type Ports = Arc<Mutex<BTreeMap<u16, Heard>>>;

/// Reads every UDP packet over IPv4 that this network namespace receives. Needs the right to (CAP_NET_RAW), which everybody has
/// in a namespace of his own.
pub struct Tap {
    ports: Ports,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Tap {
    /// Begins to listen.
    pub fn start() -> Tap {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP));
        let socket = socket.expect("the scenario has asked for a namespace");
        socket.set_read_timeout(Some(LOOK)).expect("a socket takes a timeout");
        // A busy conference must not push out what is looked for; the kernel gives as much of this as it likes.
        let _ = socket.set_recv_buffer_size(8 << 20);
        let (ports, stop) = (Ports::default(), Arc::new(AtomicBool::new(false)));
        let (into, ends) = (Arc::clone(&ports), Arc::clone(&stop));
        let reader = std::thread::spawn(move || read(&socket, &into, &ends));
        Tap { ports, stop, reader: Some(reader) }
    }

    /// What is heard at this port, when it is PCMU and not encrypted.
    pub fn ear(&self, name: &str, port: u16) -> Ear {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        Ear::shared(name, Arc::clone(&ports.entry(port).or_default().samples))
    }

    /// How many RTP packets have come to this port.
    pub fn packets(&self, port: u16) -> u64 {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.get(&port).map_or(0, |heard| heard.packets)
    }

    /// The last RTP packet that has come to this port, and where it came from.
    pub fn last(&self, port: u16) -> Option<(SocketAddrV4, Vec<u8>)> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.get(&port).and_then(|heard| heard.last.clone())
    }

    /// Waits until so many more have come to it.
    pub fn wait_packets(&self, port: u16, more: u64) {
        let wanted = self.packets(port) + more;
        let came = poll(Deadline::step(), || (self.packets(port) >= wanted).then_some(()));
        assert!(came.is_some(), "port {port} got {} of {wanted} packets", self.packets(port));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join(); // what went wrong in it says itself
        }
    }
}

fn read(mut socket: &Socket, ports: &Ports, stop: &AtomicBool) {
    let mut buffer = vec![0; LONGEST];
    while !stop.load(Ordering::Relaxed) {
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("the network cannot be listened to: {error}"),
        };
        if let Some((from, port, rtp)) = rtp_of(&buffer[..length]) {
            let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.entry(port).or_default().take(from, rtp);
        }
    }
}

/// Where an IP packet with UDP comes from, the destination's port and the RTP packet in it, if there is one. RTCP is none.
fn rtp_of(packet: &[u8]) -> Option<(SocketAddrV4, u16, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let udp = packet.get(header..)?;
    let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let from = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let from = SocketAddrV4::new(from, u16::from_be_bytes([udp[0], udp[1]]));
    let rtp = udp.get(8..)?;
    let is_rtp = rtp.len() > RTP_HEADER && rtp[0] >> 6 == 2 && !(192..=223).contains(&rtp[1]);
    is_rtp.then_some((from, port, rtp))
}

impl Heard {
    fn take(&mut self, from: SocketAddrV4, rtp: &[u8]) {
        self.packets += 1;
        self.last = Some((from, rtp.to_vec()));
        let sources = usize::from(rtp[0] & 0x0f) * 4;
        if let (PCMU, Some(payload)) = (rtp[1] & 0x7f, rtp.get(RTP_HEADER + sources..)) {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.extend(payload.iter().map(|byte| from_pcmu(*byte)));
        }
    }
}
