//! Attacks on the ports where a server receives sound: from strangers, and in the name of those who speak there. Each goes on
//! until it is dropped.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sound::{AMPLITUDE, RATE, pcmu};
use crate::{Deadline, poll};

/// A packet every so often, where it is not a flood.
const APART: Duration = Duration::from_millis(20);
/// A flood sends so many at once, every [`BURST_APART`]: ten thousand a second.
const BURST: usize = 100;
const BURST_APART: Duration = Duration::from_millis(10);
/// The numbers of the headers that Linux leaves to whoever sends a whole IP packet (IPPROTO_RAW).
const WHOLE_PACKETS: i32 = 255;
/// Samples of 20 ms.
const FRAME: usize = 160;

/// What is sent to a port again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A tone in RTP, from an address that nobody has spoken of.
    Stranger,
    /// The same, ten thousand packets a second.
    StrangerFlood,
    /// Datagrams of one byte.
    Tiny,
    /// Datagrams of nine thousand bytes.
    Huge,
    /// What looks like STUN, RTCP and DTLS, and is none.
    Rubbish,
    /// A tone in RTP in the name of the person whose port it is, who has agreed on keys: it has none.
    WithoutKeys,
    /// The person's own packets, changed.
    WrongKeys,
    /// The person's own packets, again.
    Replay,
    /// The person's own packets changed, ten thousand a second.
    WrongKeysFlood,
}

impl Attack {
    /// Those from strangers.
    pub const STRANGERS: [Attack; 5] =
        [Attack::Stranger, Attack::StrangerFlood, Attack::Tiny, Attack::Huge, Attack::Rubbish];
    /// Those in the name of somebody with keys.
    pub const FORGED: [Attack; 4] =
        [Attack::WithoutKeys, Attack::WrongKeys, Attack::Replay, Attack::WrongKeysFlood];

    /// The datagram with this number; `own` is one of the person's.
    fn datagram(self, number: u64, tone: u32, own: &[u8]) -> Vec<u8> {
        let [.., high, low] = number.to_be_bytes();
        match self {
            Attack::Stranger | Attack::StrangerFlood | Attack::WithoutKeys => rtp(number, tone),
            Attack::Tiny => vec![low],
            Attack::Huge => [rtp(number, tone), vec![low; 8828]].concat(),
            Attack::Rubbish => match number % 4 {
                0 => [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, low][..], &[high; 19]].concat(),
                1 => vec![0x81, 203, 0, 1, 0, 0, high, low],
                2 => vec![22, 254, 253, high, low, 0, 0, 0, 0, 0, 0, 0, 200],
                _ => vec![low; 172],
            },
            Attack::WrongKeys | Attack::WrongKeysFlood => {
                // A number soon to come, so that only the tag can tell.
                let mut packet = own.to_vec();
                let sequence =
                    u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(1 + u16::from(low % 64));
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                packet
            }
            Attack::Replay => own.to_vec(),
        }
    }
}

/// A tone in RTP.
fn rtp(number: u64, tone: u32) -> Vec<u8> {
    let [.., sequence_high, sequence_low] = number.to_be_bytes();
    let first = usize::try_from(number).expect("there are few") * FRAME;
    let timestamp = u32::try_from(first % (1 << 32)).expect("32 bits");
    let mut packet = vec![0x80, 0, sequence_high, sequence_low];
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(b"evil");
    let step = std::f64::consts::TAU * f64::from(tone) / f64::from(RATE);
    packet.extend((first..first + FRAME).map(|sample| {
        #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
        let sample = (2.0 * AMPLITUDE * (step * sample as f64).sin()) as i16;
        pcmu(sample)
    }));
    packet
}

/// An attack that goes on.
pub struct Attacking {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacking {
    /// Begins a stranger's attack on this port; the tone is what must never be heard.
    pub fn stranger(attack: Attack, target: SocketAddr, tone: u32) -> Attacking {
        let socket = UdpSocket::bind((target.ip(), 0)).expect("the target is on this machine");
        // The network drops what is too much.
        Attacking::begin(attack, tone, Vec::new(), move |datagram| drop(socket.send_to(datagram, target)))
    }

    /// Begins an attack in the name of whoever has sent this packet to this port.
    pub fn forged(
        attack: Attack,
        target: SocketAddrV4,
        own: (SocketAddrV4, Vec<u8>),
        tone: u32,
    ) -> Attacking {
        let (from, packet) = own;
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(WHOLE_PACKETS)));
        let socket = socket.expect("the scenario has asked for a namespace");
        Attacking::begin(attack, tone, packet, move |datagram| {
            let whole = in_ip(from, target, datagram);
            drop(socket.send_to(&whole, &SocketAddr::V4(target).into())); // as above
        })
    }

    fn begin(attack: Attack, tone: u32, own: Vec<u8>, send: impl Fn(&[u8]) + Send + 'static) -> Attacking {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&stop), Arc::clone(&sent));
        let is_flood = matches!(attack, Attack::StrangerFlood | Attack::WrongKeysFlood);
        let (burst, apart) = if is_flood { (BURST, BURST_APART) } else { (1, APART) };
        let thread = std::thread::spawn(move || {
            let mut numbers = 0..;
            while !ends.load(Ordering::Relaxed) {
                for number in (&mut numbers).take(burst) {
                    send(&attack.datagram(number, tone, &own));
                }
                counts.fetch_add(burst as u64, Ordering::Relaxed);
                std::thread::park_timeout(apart);
            }
        });
        Attacking { stop, sent, thread: Some(thread) }
    }

    /// Waits until so many more datagrams were sent.
    pub fn goes_on(&self, count: u64) {
        let wanted = self.sent.load(Ordering::Relaxed) + count;
        let sent = || (self.sent.load(Ordering::Relaxed) >= wanted).then_some(());
        poll(Deadline::step(), sent).expect("an attack goes on");
    }
}

impl Drop for Attacking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // what went wrong in it says itself
        }
    }
}

/// An IPv4 packet with UDP (RFC 791, RFC 768). Its checksums may be left to the kernel and left out.
fn in_ip(from: SocketAddrV4, to: SocketAddrV4, datagram: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).expect("a datagram fits").to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length(28 + datagram.len()));
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    packet.extend_from_slice(&from.port().to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&length(8 + datagram.len()));
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(datagram);
    packet
}
