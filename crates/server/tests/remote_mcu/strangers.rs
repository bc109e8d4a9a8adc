//! Who is let in between processes: nobody without a certificate of the private authority, and with
//! one only as what it names.

use bytes::Bytes;
use confab_server::{
    control_link::{CCCP, CONFERENCE_INFO, ControlClient, HEALTH, LinkError},
    inproc::InprocNetwork,
    private_ca::{Peer, PeerRole, PrivateCa},
    trust::Trust,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::deployment::{FrontEnd, Mcu};

/// An authority that has nothing to do with ours.
fn foreign(role: PeerRole) -> Trust {
    let data: TempDir = tempfile::tempdir().unwrap();
    let authority = PrivateCa::open(data.path()).unwrap();
    Trust::issued(&authority, role, &[]).unwrap()
}

/// A certificate as `confab cert` issues it.
fn ours(front_end: &FrontEnd, role: PeerRole) -> Trust {
    Trust::issued(&PrivateCa::open(&front_end.place.data()).unwrap(), role, &[]).unwrap()
}

/// The HTTP status with which a post is refused; `None` if there is no answer at all.
async fn refusal(trust: Trust, url: &str, content_type: &str) -> Option<u16> {
    let client = ControlClient::with_remote(InprocNetwork::default(), trust);
    match client.post(url, content_type, Bytes::from_static(b"<nothing/>")).await {
        Ok(_) => panic!("{url} took what it could not have read"),
        Err(LinkError::Refused { status, .. }) => Some(status.as_u16()),
        Err(_) => None,
    }
}

async fn to_sip(trust: &Trust, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let (host, port) = address.rsplit_once(':').unwrap();
    trust.connect(host, port.parse().unwrap(), Peer::Mcu).await
}

/// Whether an MCU answers a request on this link.
async fn answers(link: std::io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut link) = link else { return false };
    let request = "OPTIONS sip:nobody@example.test SIP/2.0\r\n\
        Via: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKstranger\r\nMax-Forwards: 70\r\n\
        From: <sip:eve@example.test>;tag=1\r\nTo: <sip:nobody@example.test>\r\n\
        Call-ID: stranger\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    if link.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    // Before the answer there may be signs of life.
    let mut said = Vec::new();
    while !said.ends_with(b"SIP/2.0") {
        match link.read_u8().await {
            Ok(byte) => said.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[tokio::test]
async fn certificates_of_others_are_refused() {
    let front_end = FrontEnd::start();
    let mcu = Mcu::start(&front_end);
    let factory = format!("{}/LiveServer/MCUFactory/", front_end.control);
    let commands = format!("https://{}/LiveServer/IMMCU/", mcu.control);
    for role in PeerRole::ALL {
        assert_eq!(refusal(foreign(role), &factory, HEALTH).await, None);
        assert_eq!(refusal(foreign(role), &commands, CCCP).await, None);
        assert!(to_sip(&foreign(role), &mcu.sip).await.is_err());
    }
    // Nor is anybody let in who shows none, or speaks no TLS.
    for address in [front_end.control.trim_start_matches("https://"), &mcu.control, &mcu.sip] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"POST /LiveServer/MCUFactory/ HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        // A reset is as good as an end.
        let _ = plain.read_to_end(&mut said).await;
        assert!(!said.starts_with(b"HTTP"), "{address} answered without TLS");
    }
}

#[tokio::test]
async fn each_role_does_its_own_only() {
    let front_end = FrontEnd::start();
    let mcu = Mcu::start(&front_end);
    let factory = format!("{}/LiveServer/MCUFactory/", front_end.control);
    let focus = format!("{}/LiveServer/Focus/0123456789abcdef", front_end.control);
    let commands = format!("https://{}/LiveServer/IMMCU/", mcu.control);
    // 400 and 404 come from behind the door: who may post is told what is wrong with the post.
    for (url, content_type, from_front_end, from_mcu) in [
        (&factory, HEALTH, 403, 400),
        (&factory, CCCP, 400, 403),
        (&focus, CONFERENCE_INFO, 403, 404),
        (&commands, CCCP, 400, 403),
    ] {
        let trust = |role| ours(&front_end, role);
        let said = refusal(trust(PeerRole::FrontEnd), url, content_type).await;
        assert_eq!(said, Some(from_front_end), "a front end posts {content_type} to {url}");
        let said = refusal(trust(PeerRole::ImMcu), url, content_type).await;
        assert_eq!(said, Some(from_mcu), "an MCU posts {content_type} to {url}");
    }
    assert!(answers(to_sip(&ours(&front_end, PeerRole::FrontEnd), &mcu.sip).await).await);
    assert!(!answers(to_sip(&ours(&front_end, PeerRole::ImMcu), &mcu.sip).await).await);
    // A front end takes nobody for an MCU who is none.
    let control = front_end.control.trim_start_matches("https://");
    assert!(to_sip(&ours(&front_end, PeerRole::FrontEnd), control).await.is_err());
}
