//! Slow, silent and half-open peers on real sockets, while others sign on and meet. Nobody is
//! delayed: everything is done long before a single one of those peers is given up.

use std::{net::SocketAddr, time::Duration};

use confab_sim::deployment::Deployment;
use confab_sip::Transport;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// Peers of each kind.
const PEERS: usize = 50;
/// Requests of a peer who never reads an answer.
const UNREAD: usize = 5000;
/// The server gives up a handshake, or a message that has begun, after 30 seconds; who is not
/// delayed is done by then.
const DEADLINE: Duration = Duration::from_secs(20);

/// A peer that says this and then nothing for ever.
async fn falls_silent(server: SocketAddr, after: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("the server accepts connections");
    stream.write_all(after).await.expect("the server takes what a peer begins with");
    stream
}

/// A peer that asks and asks and never reads. It is disconnected or stuck in the end.
async fn never_reads(server: SocketAddr) {
    let mut stream = TcpStream::connect(server).await.expect("the server accepts connections");
    for number in 0..UNREAD {
        let request = format!(
            "OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKdeaf{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:deaf@example.test>;tag=d\r\nTo: <sip:example.test>\r\n\
             Call-ID: deaf{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        if stream.write_all(request.as_bytes()).await.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_delay_nobody() {
    let deployment = Deployment::on_loopback().await;
    let tcp = deployment.address(Transport::Tcp).address;
    let tls = deployment.address(Transport::Tls).address;
    let head = "INVITE sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKslow\r\n";
    let body = format!("{head}Content-Length: 60000\r\n\r\nv=0");
    // The first bytes of a ClientHello of 512 bytes.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut slow = Vec::new();
    for _ in 0..PEERS {
        slow.push(falls_silent(tcp, b"").await);
        slow.push(falls_silent(tcp, b"INV").await);
        slow.push(falls_silent(tcp, head.as_bytes()).await);
        slow.push(falls_silent(tcp, body.as_bytes()).await);
        slow.push(falls_silent(tls, b"").await);
        slow.push(falls_silent(tls, hello).await);
    }
    let deaf: Vec<_> = (0..4).map(|_| tokio::spawn(never_reads(tcp))).collect();

    let meeting = async {
        let mut vivian = deployment.sign_on_over(Transport::Tcp, "vivian").await;
        let mut amy = deployment.sign_on_over(Transport::Tls, "amy").await;
        let conference = vivian.schedules("The harbour", vec![]).await;
        vivian.joins(&conference).await;
        amy.joins(&conference).await;
        amy.says("no queue at all").await;
        assert_eq!(vivian.hears().await, ("amy".to_owned(), "no queue at all".to_owned()));
    };
    timeout(DEADLINE, meeting).await.expect("slow peers delayed the others");
    for peer in deaf {
        peer.abort();
    }
    drop(slow);
}
