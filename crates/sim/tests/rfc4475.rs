//! The 49 torture messages of RFC 4475 at the door of a running server: what it answers to each, on
//! a stream and as a datagram, beside what the RFC says of it. The server is of the domain that most
//! of the messages are for, their senders are made people of it, and nobody is challenged, so that
//! they come as far as they can.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{path::Path, time::Duration};

use confab_sim::deployment::Deployment;
use confab_sip::Transport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

/// Whose server it is.
const DOMAIN: &str = "example.com";
/// How long a stream is listened to, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer over UDP may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The message; its section; what the RFC says; what is answered on a stream, and to a datagram. `-`
/// is no answer, `closed` that the connection is closed with or without one.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: [Row; 49] = [
    ("wsinv", "3.1.1.1", "valid", "481", "481"),
    ("intmeth", "3.1.1.2", "valid, an unknown method", "404", "404"),
    ("esc01", "3.1.1.3", "valid", "403", "403"),
    ("escnull", "3.1.1.4", "valid", "200", "200"),
    ("esc02", "3.1.1.5", "valid, an unknown method", "404", "404"),
    ("lwsdisp", "3.1.1.6", "valid", "404", "404"),
    ("longreq", "3.1.1.7", "valid", "403", "403"),
    ("dblreq", "3.1.1.8", "valid; what follows a datagram is ignored, on a stream it is a request and rubbish", "closed", "200"),
    ("semiuri", "3.1.1.9", "valid", "404", "404"),
    ("transports", "3.1.1.10", "valid", "404", "404"),
    ("mpart01", "3.1.1.11", "valid", "404", "404"),
    ("unreason", "3.1.1.12", "valid, a response", "-", "-"),
    ("noreason", "3.1.1.13", "valid, a response", "-", "-"),
    ("badinv01", "3.1.2.1", "400", "400", "400"),
    ("clerr", "3.1.2.2", "400 to a datagram; a stream waits for the rest", "-", "400"),
    ("ncl", "3.1.2.3", "400; a stream is closed", "400 closed", "400"),
    ("scalar02", "3.1.2.4", "400", "400", "400"),
    ("scalarlg", "3.1.2.5", "a response to drop", "-", "-"),
    ("quotbal", "3.1.2.6", "400", "400", "400"),
    ("ltgtruri", "3.1.2.7", "400", "400", "400"),
    ("lwsruri", "3.1.2.8", "400", "400", "400"),
    ("lwsstart", "3.1.2.9", "400", "400", "400"),
    ("trws", "3.1.2.10", "400", "400", "400"),
    ("escruri", "3.1.2.11", "400", "400", "400"),
    ("baddate", "3.1.2.12", "valid to those who do not look at Date", "404", "404"),
    ("regbadct", "3.1.2.13", "400", "400", "400"),
    ("badaspec", "3.1.2.14", "400", "400", "400"),
    ("baddn", "3.1.2.15", "400", "-", "400"),
    ("badvers", "3.1.2.16", "505", "505", "505"),
    ("mismatch01", "3.1.2.17", "400", "400", "400"),
    ("mismatch02", "3.1.2.18", "400 or 501", "400", "400"),
    ("bigcode", "3.1.2.19", "a response to drop", "-", "-"),
    ("badbranch", "3.2.1", "valid, or 400: its branch is empty", "404", "404"),
    ("insuf", "3.3.1", "400", "400", "400"),
    ("unkscm", "3.3.2", "416", "416", "416"),
    ("novelsc", "3.3.3", "416", "416", "416"),
    ("unksm2", "3.3.4", "refused by a registrar", "403", "403"),
    ("bext01", "3.3.5", "420", "420", "420"),
    ("invut", "3.3.6", "415 by who reads the body", "404", "404"),
    ("regaut01", "3.3.7", "refused by who challenges", "200", "200"),
    ("multi01", "3.3.8", "400", "400", "400"),
    ("mcl01", "3.3.9", "400; a stream is closed", "400 closed", "400"),
    ("bcast", "3.3.10", "a response to drop", "-", "-"),
    ("zeromf", "3.3.11", "483 by a proxy", "483", "483"),
    ("cparam01", "3.3.12", "valid", "200", "200"),
    ("cparam02", "3.3.13", "valid", "200", "200"),
    ("regescrt", "3.3.14", "valid", "200", "200"),
    ("sdp01", "3.3.15", "406 by who answers in another type", "404", "404"),
    ("inv2543", "3.4.1", "valid", "400 closed", "403"),
];

fn message(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sip/tests/rfc4475");
    let mut message = std::fs::read(folder.join(name).with_extension("dat")).unwrap();
    // Of the same length, so that nothing else changes.
    let ours = b"caller@example.com";
    for theirs in [b"caller@example.net", b"caller@example.org"] {
        while let Some(at) = message.windows(theirs.len()).position(|window| window == theirs) {
            message[at..at + ours.len()].copy_from_slice(ours);
        }
    }
    message
}

/// An OPTIONS that is answered 200.
fn probe(name: &str, transport: &str) -> String {
    format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1;branch=z9hG4bK{name}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@{DOMAIN}>;tag=p\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: {name}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The statuses of the responses in it, but for 100.
fn statuses(answered: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answered);
    let statuses = text.split("SIP/2.0 ").skip(1).filter_map(|rest| rest.get(..3));
    let statuses = statuses.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    statuses.filter(|status| *status != "100").map(str::to_owned).collect()
}

async fn on_a_stream(deployment: &Deployment, name: &str) -> String {
    let (mut stream, _) = deployment.connect();
    stream.write_all(&message(name)).await.unwrap();
    let mut answered = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut answered)).await.is_ok();
    let mut words = statuses(&answered);
    words.extend(closed.then(|| "closed".to_owned()));
    if words.is_empty() { "-".into() } else { words.join(" ") }
}

/// Look-ups in the database may overtake each other by a little, not by this many.
const PROBES: usize = 5;

/// What comes before the last of some probes is answered.
async fn as_a_datagram(socket: &UdpSocket, name: &str) -> String {
    let mut words = Vec::new();
    socket.send(&message(name)).await.unwrap();
    for number in 0..PROBES {
        socket.send(probe(&format!("probe-{name}-{number}"), "UDP").as_bytes()).await.unwrap();
        loop {
            let mut buffer = vec![0; 65_535];
            let count = timeout(DEADLINE, socket.recv(&mut buffer)).await.unwrap().unwrap();
            let answered = String::from_utf8_lossy(&buffer[..count]);
            if answered.contains("Call-ID: probe") {
                break;
            }
            words.extend(statuses(answered.as_bytes()));
        }
    }
    words.dedup();
    if words.is_empty() { "-".into() } else { words.join(" ") }
}

/// Compares all rows at once.
fn compare(way: &str, answers: &[(&str, &str, String)]) {
    let wrong = answers.iter().filter(|(_, expected, answered)| *expected != answered.as_str());
    let wrong: Vec<String> =
        wrong.map(|(name, expected, answered)| format!("{name}: {answered}, not {expected}")).collect();
    assert!(wrong.is_empty(), "{way}:\n{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_torture_message_is_answered_on_a_stream() {
    let deployment = Deployment::open_for(DOMAIN).await;
    let mut answers = Vec::new();
    for (name, _, _, expected, _) in TABLE {
        answers.push((name, expected, on_a_stream(&deployment, name).await));
    }
    compare("on a stream", &answers);
    let alive = deployment.peer().asks(probe("probe", "TCP").as_bytes()).await;
    assert_eq!(alive.map(|response| response.status), Some(200), "the server goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_torture_message_is_answered_as_a_datagram() {
    let deployment = Deployment::on_loopback_as(|config| config.domain = DOMAIN.into()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(deployment.address(Transport::Udp).address).await.unwrap();
    let mut answers = Vec::new();
    for (name, _, _, _, expected) in TABLE {
        answers.push((name, expected, as_a_datagram(&socket, name).await));
    }
    compare("as a datagram", &answers);
}
