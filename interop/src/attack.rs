//! Attacks on a server: silent, half-open and slow connections, floods, bombs. Each goes on until it is dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::{Deadline, poll};

/// Connections from one address, as from a house behind one router.
const PER_ADDRESS: usize = 100;
/// Connections of one flood.
const FLOOD_CONNECTIONS: u32 = 8;
/// How long a slow sender waits between two bytes.
const SLOW: Duration = Duration::from_millis(200);
/// Requests written at once.
const BATCH: usize = 50;
/// The first bytes of a TLS ClientHello of 512 bytes.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Connections that are held open.
pub struct Held(Vec<Socket>);

impl Held {
    /// So many connections that say `first` and then nothing, from many addresses.
    pub fn open(server: SocketAddr, count: usize, first: &[u8]) -> Held {
        let connections = (0..count).map(|number| {
            let mut connection = connect(server, address(number / PER_ADDRESS));
            // A server that has had enough hangs up, which is its right.
            let _ = connection.write_all(first);
            connection
        });
        Held(connections.collect())
    }

    /// TLS handshakes that have begun and never go on.
    pub fn half_open(server: SocketAddr, count: usize) -> Held {
        Held::open(server, count, HELLO)
    }

    /// How many of them the server has not closed.
    pub fn open_still(&self) -> usize {
        let is_open = |connection: &&Socket| {
            connection.set_nonblocking(true).expect("a socket can be made non-blocking");
            let read = (&mut &**connection).read(&mut [0]);
            read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        self.0.iter().filter(is_open).count()
    }
}

/// Loopback addresses that nobody else uses.
fn address(number: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(number).expect("there are few addresses").to_be_bytes();
    Ipv4Addr::new(127, 9, high, low.saturating_add(1))
}

fn connect(server: SocketAddr, from: Ipv4Addr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets enough");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("all of 127 is this machine");
    socket.connect(&server.into()).expect("the server accepts connections");
    socket
}

/// What is done again and again.
#[derive(Clone, Copy, Debug)]
pub enum Flood {
    /// REGISTER of ever new people.
    Register,
    /// INVITE to conferences that do not exist.
    Invite,
    /// SUBSCRIBE to them.
    Subscribe,
    /// MESSAGE to people who do not exist.
    Message,
    /// Requests that cannot be read.
    Malformed,
    /// C3P that explodes when it is read by somebody careless.
    XmlBomb,
    /// A message with more headers than anybody needs.
    Headers,
    /// New connections, hung up at once.
    Connections,
    /// OPTIONS in datagrams.
    Datagrams,
    /// Datagrams of rubbish.
    Rubbish,
    /// Messages and handshakes sent byte by byte, on hundreds of connections.
    Slowly,
}

impl Flood {
    /// All of them.
    pub const ALL: [Flood; 11] = [
        Flood::Register,
        Flood::Invite,
        Flood::Subscribe,
        Flood::Message,
        Flood::Malformed,
        Flood::XmlBomb,
        Flood::Headers,
        Flood::Connections,
        Flood::Datagrams,
        Flood::Rubbish,
        Flood::Slowly,
    ];

    fn request(self, number: u64) -> Vec<u8> {
        let unknown = format!("sip:nobody@example.test;gruu;opaque=app:conf:focus:id:NOSUCH{number:010}");
        let person = format!("sip:flood{number}@example.test");
        let entities: String =
            (1..10).map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10))).collect();
        let bomb = format!("<!DOCTYPE request [<!ENTITY e0 \"ha\">{entities}]><request>&e9;</request>");
        let many: String = (0..10_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let cccp = "Content-Type: application/cccp+xml\r\n";
        match self {
            Flood::Register => {
                request("REGISTER", "sip:example.test", &person, number, "Expires: 600\r\n", "")
            }
            Flood::Invite => request("INVITE", &unknown, "sip:eve@example.test", number, cccp, "<request/>"),
            Flood::Subscribe => {
                request("SUBSCRIBE", &unknown, "sip:eve@example.test", number, "Event: conference\r\n", "")
            }
            Flood::Message => request("MESSAGE", &person, "sip:eve@example.test", number, "", "hello"),
            Flood::Malformed => {
                b"INVITE <<< SIP/2.0\r\nVia: SIP/2.0/TCP x\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            Flood::XmlBomb => {
                let factory = "sip:eve@example.test;gruu;opaque=app:conf:focusfactory";
                request("SERVICE", factory, "sip:eve@example.test", number, cccp, &bomb)
            }
            Flood::Headers => {
                request("OPTIONS", "sip:example.test", "sip:eve@example.test", number, &many, "")
            }
            Flood::Datagrams => {
                request("OPTIONS", "sip:example.test", "sip:eve@example.test", number, "", "")
            }
            Flood::Rubbish => vec![b'a' + u8::try_from(number % 26).expect("it is below 26"); 1200],
            Flood::Connections | Flood::Slowly => Vec::new(),
        }
    }
}

/// A flood that goes on.
pub struct Flooding {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flooding {
    /// Begins a flood.
    pub fn begin(flood: Flood, server: SocketAddr, tls: SocketAddr) -> Flooding {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = |number: u32| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                let from = Ipv4Addr::new(127, 8, 0, u8::try_from(number + 1).expect("there are few"));
                match flood {
                    Flood::Datagrams | Flood::Rubbish => by_datagrams(flood, server, from, &stop, &sent),
                    Flood::Connections => by_connecting(server, from, &stop, &sent),
                    Flood::Slowly => slowly(server, tls, from, &stop, &sent),
                    _ => on_a_stream(flood, server, from, &stop, &sent),
                }
            }
        };
        let threads = (0..FLOOD_CONNECTIONS).map(|number| std::thread::spawn(work(number))).collect();
        Flooding { stop, sent, threads }
    }

    /// Waits until so many requests, connections or bytes more were sent.
    pub fn goes_on(&self, count: u64) {
        let wanted = self.sent.load(Ordering::Relaxed) + count;
        let sent = || (self.sent.load(Ordering::Relaxed) >= wanted).then_some(());
        poll(Deadline::step(), sent).expect("a flood goes on");
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What went wrong in it says itself.
            let _ = thread.join();
        }
    }
}

fn request(method: &str, uri: &str, from: &str, number: u64, lines: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKflood{number}\r\nMax-Forwards: 70\r\n\
         From: <{from}>;tag=f{number}\r\nTo: <{uri}>\r\nCall-ID: flood{number}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:127.0.0.1:5060;transport=tcp>\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Numbers that no other thread uses.
fn numbers(from: Ipv4Addr) -> impl Iterator<Item = u64> {
    let [.., last] = from.octets();
    (u64::from(last) << 32)..
}

fn on_a_stream(flood: Flood, server: SocketAddr, from: Ipv4Addr, stop: &AtomicBool, sent: &AtomicU64) {
    let mut numbers = numbers(from);
    while !stop.load(Ordering::Relaxed) {
        let connection = connect(server, from);
        let mut stream = TcpStream::from(connection);
        let Ok(mut answers) = stream.try_clone() else { return };
        // Reads, so that the server has no reason to hang up but what is sent.
        let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
        while !stop.load(Ordering::Relaxed) {
            let batch: Vec<u8> =
                (&mut numbers).take(BATCH).flat_map(|number| flood.request(number)).collect();
            if stream.write_all(&batch).is_err() {
                break;
            }
            sent.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = reader.join();
    }
}

fn by_datagrams(flood: Flood, server: SocketAddr, from: Ipv4Addr, stop: &AtomicBool, sent: &AtomicU64) {
    let socket = UdpSocket::bind((from, 0)).expect("all of 127 is this machine");
    for number in numbers(from) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // The network drops what is too much.
        let _ = socket.send_to(&flood.request(number), server);
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

fn by_connecting(server: SocketAddr, from: Ipv4Addr, stop: &AtomicBool, sent: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let connection = connect(server, from);
        // Reset, not closed: there must be ports enough for this.
        let _ = connection.set_linger(Some(Duration::ZERO));
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

fn slowly(server: SocketAddr, tls: SocketAddr, from: Ipv4Addr, stop: &AtomicBool, sent: &AtomicU64) {
    let message = request("INVITE", "sip:example.test", "sip:eve@example.test", 1, "", "");
    let mut open: Vec<(Socket, &[u8])> = Vec::new();
    for _ in 0..PER_ADDRESS / 2 {
        open.push((connect(server, from), &message));
        open.push((connect(tls, from), HELLO));
    }
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        for (connection, text) in &mut open {
            let byte = text.get(at % text.len()).map_or(&b"x"[..], std::slice::from_ref);
            let _ = connection.write_all(byte);
            sent.fetch_add(1, Ordering::Relaxed);
        }
        at += 1;
        std::thread::park_timeout(SLOW);
    }
}
