//! Connections of those who have proved nothing, and floods of what they send: limits hold, and those
//! who are signed in go on.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{net::SocketAddr, time::Duration};

use confab_server::config::AuthScheme;
use confab_sim::{deployment::Deployment, person::Person};
use confab_sip::Transport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

/// So soon somebody must have proved who he is.
const PROOF: Duration = Duration::from_secs(60);
/// How long a connection lasts on which nothing comes, once somebody has.
const IDLE: Duration = Duration::from_secs(660);
/// How long a message that has begun may take.
const PROGRESS: Duration = Duration::from_secs(30);
/// What two people who chat while others flood the server have for all of it.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often they speak.
const WORDS: usize = 30;
/// Connections of a flood.
const FLOODERS: u16 = 8;
const PASSWORD: &str = "correct horse";

const OPTIONS: &[u8] = b"OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
    From: <sip:amy@example.test>;tag=a\r\nTo: <sip:example.test>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// How long the server leaves a connection open on which this is said every so often.
async fn lasts(mut stream: DuplexStream, said: &[u8], every: Duration) -> Duration {
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    loop {
        match timeout(every, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => return begun.elapsed(),
            Err(_) if stream.write_all(said).await.is_err() => return begun.elapsed(),
            Err(_) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_proves_nothing_is_not_kept() {
    let near =
        |took: Duration, expected: Duration| took >= expected && took < expected + Duration::from_secs(25);
    let deployment = Deployment::closed().await;
    for (name, said, expected) in [
        ("nothing", &b""[..], PROOF),
        ("keep-alives", b"\r\n\r\n", PROOF),
        ("requests without credentials", OPTIONS, PROOF),
        ("a message letter by letter", b"O", PROGRESS),
    ] {
        let took = lasts(deployment.connect().0, said, Duration::from_secs(1)).await;
        assert!(near(took, expected), "{name}: {took:?}");
    }
    // Where nobody is challenged, the first request proves it.
    let deployment = Deployment::open().await;
    let (mut stream, _) = deployment.connect();
    stream.write_all(OPTIONS).await.unwrap();
    let took = lasts(stream, b"", Duration::from_secs(1)).await;
    assert!(near(took, IDLE), "somebody who is known: {took:?}");
}

/// Whether the server has closed this connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    timeout(DEADLINE, stream.read(&mut [0])).await.is_ok_and(|read| matches!(read, Ok(0) | Err(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_strangers_make_room() {
    let deployment = Deployment::on_loopback_as(|config| {
        config.front_end.max_connections = 10;
        config.front_end.max_connections_per_address = 10;
    })
    .await;
    let mut vivian = deployment.sign_on_over(Transport::Tcp, "vivian").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    let mut strangers = Vec::new();
    for _ in 0..5 {
        for transport in [Transport::Tcp, Transport::Tls] {
            strangers.push(TcpStream::connect(deployment.address(transport).address).await.unwrap());
        }
    }
    // Nine places were free; the first stranger had to go for the tenth, and the second for Amy.
    assert!(is_closed(&mut strangers[0]).await);
    let mut amy = deployment.sign_on_over(Transport::Tls, "amy").await;
    assert!(is_closed(&mut strangers[1]).await);
    amy.joins(&conference).await;
    vivian.says("is it crowded?").await;
    assert_eq!(amy.hears().await, ("vivian".to_owned(), "is it crowded?".to_owned()));
}

/// Each says something that the other hears, again and again.
async fn talk(one: &mut Person, other: &mut Person) {
    for number in 0..WORDS {
        let words = format!("word {number}");
        one.says(&words).await;
        assert_eq!(other.hears().await.1, words);
        other.says(&words).await;
        assert_eq!(one.hears().await.1, words);
    }
}

/// Sends requests without credentials, over and over, and takes the answers.
async fn floods(server: SocketAddr, method: &'static str, uri: String, connection: u16) {
    loop {
        let Ok(stream) = TcpStream::connect(server).await else { continue };
        let (mut reader, mut writer) = stream.into_split();
        let taken = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        for number in 0_u64.. {
            let request = format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK{connection}x{number}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:amy@example.test>;tag=f{number}\r\nTo: <{uri}>\r\n\
                 Call-ID: {connection}x{number}\r\nCSeq: 1 {method}\r\nEvent: conference\r\nContent-Length: 0\r\n\r\n"
            );
            if writer.write_all(request.as_bytes()).await.is_err() {
                break;
            }
        }
        taken.abort();
    }
}

/// The same in datagrams, as fast as they can be sent.
async fn floods_with_datagrams(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0_u64.. {
        let request = String::from_utf8_lossy(OPTIONS).replace("z9hG4bKa", &format!("z9hG4bK{number}"));
        let _ = socket.send_to(request.as_bytes(), server).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_without_credentials_delay_nobody() {
    let deployment = Deployment::on_loopback_as(|config| config.auth = vec![AuthScheme::Digest]).await;
    for name in ["vivian", "amy", "hao"] {
        deployment.add_account(name, PASSWORD).await;
    }
    let sign_on = |transport, name| deployment.sign_on_over_with(transport, name, Some(PASSWORD));
    let mut vivian = sign_on(Transport::Tcp, "vivian").await;
    let mut amy = sign_on(Transport::Tls, "amy").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    amy.joins(&conference).await;

    let tcp = deployment.address(Transport::Tcp).address;
    let focus = conference.to_string();
    for (method, uri) in [("REGISTER", "sip:example.test"), ("INVITE", &*focus), ("SUBSCRIBE", &*focus)] {
        let flooders = (0..FLOODERS).map(|number| tokio::spawn(floods(tcp, method, uri.to_owned(), number)));
        let mut flooders: Vec<_> = flooders.collect();
        flooders.push(tokio::spawn(floods_with_datagrams(deployment.address(Transport::Udp).address)));
        let talked = timeout(DEADLINE, talk(&mut vivian, &mut amy)).await;
        talked.unwrap_or_else(|_| panic!("a flood of {method} delays those who are signed in"));
        // Nor does it keep people from coming.
        let hao = timeout(DEADLINE, sign_on(Transport::Tcp, "hao")).await;
        drop(hao.unwrap_or_else(|_| panic!("a flood of {method} keeps people from signing in")));
        flooders.into_iter().for_each(|flooder| flooder.abort());
    }
}
