//! Mutual TLS between the processes of one Confab: both ends show a certificate of the private
//! authority (`private_ca.rs`), and each looks which role the other's names.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tracing::{debug, warn};

use crate::{
    clock::Clock,
    private_ca::{Peer, PeerRole, PrivateCa, RoleFiles},
    rarely::Rarely,
};

/// How long connecting and the handshake may take together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a peer that connects to us may take for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Handshakes under way at once on one listener; further connections are closed.
const HANDSHAKES: usize = 128;
/// Connections that wait to be taken by their role.
const BACKLOG: usize = 128;
/// How long the listener rests when the operating system is out of sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a process proves its role with, and judges others by. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// A connection from a process that has proved its role.
pub struct Accepted {
    /// The connection.
    pub stream: server::TlsStream<TcpStream>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What its certificate names; `None` if that is no role we know.
    pub role: Option<PeerRole>,
}

impl Trust {
    /// By the files that `confab cert` has written.
    ///
    /// # Errors
    /// Sentences that name the file that is missing or wrong.
    pub fn load(files: &RoleFiles) -> anyhow::Result<Trust> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).with_context(|| {
                format!(
                    "{} cannot be read; `confab cert` on the front end's machine makes it",
                    path.display()
                )
            })
        };
        let (certificate, key) = (read(&files.certificate)?, read(&files.private_key)?);
        Trust::of(&certificate, &key, &read(&files.authority)?).with_context(|| {
            format!("{} and the files beside it do not fit together", files.certificate.display())
        })
    }

    /// By a certificate that the authority issues for this moment.
    ///
    /// # Errors
    /// If a host is no DNS name.
    pub fn issued(authority: &PrivateCa, role: PeerRole, hosts: &[String]) -> anyhow::Result<Trust> {
        let issued = authority.issue(role, hosts)?;
        let (certificate, key) = (issued.certificate.as_bytes(), issued.private_key.as_bytes());
        Trust::of(certificate, key, authority.certificate().as_bytes())
    }

    fn of(certificate: &[u8], private_key: &[u8], authority: &[u8]) -> anyhow::Result<Trust> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .context("the certificate is not in PEM form")?;
        let key = || PrivateKeyDer::from_pem_slice(private_key).context("the key is not in PEM form");
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(authority) {
            roots.add(root.context("the authority's certificate is not in PEM form")?)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .context("the authority's file holds no certificate")?;
        let acceptor = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .context("the key does not belong to the certificate")?;
        let connector = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .context("the key does not belong to the certificate")?;
        Ok(Trust {
            acceptor: TlsAcceptor::from(Arc::new(acceptor)),
            connector: TlsConnector::from(Arc::new(connector)),
        })
    }

    /// Connects to `host` at `port`, where `peer` must answer.
    ///
    /// # Errors
    /// If nobody is there within five seconds, or somebody else.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        peer: Peer,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let connecting = async {
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            // Small documents that somebody waits for.
            let _ = stream.set_nodelay(true);
            // The authority vouches for roles, and the role's name is what TLS checks here.
            self.connector.connect(peer.server_name(), stream).await
        };
        timeout(CONNECT_LIMIT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes connections on `listener` until the process ends; those of strangers fail in their
    /// handshake and are not among them.
    pub fn listen(&self, listener: TcpListener, clock: Clock) -> mpsc::Receiver<Accepted> {
        let (accepted, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(accept(listener, self.acceptor.clone(), clock, accepted));
        receiver
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    clock: Clock,
    accepted: mpsc::Sender<Accepted>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let strangers: Arc<Mutex<Rarely>> = Arc::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                warn!(%error, "a connection of another process could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&handshakes).try_acquire_owned() else {
            debug!(%peer, "too many handshakes are under way; one more is refused");
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        let strangers = Arc::clone(&strangers);
        tokio::spawn(async move {
            match shake_hands(stream, peer, &acceptor, place).await {
                Ok(connection) => {
                    // Only a role that has ended takes none.
                    let _ = accepted.send(connection).await;
                }
                Err(error) => {
                    let mut strangers = strangers.lock().expect("nobody panics while counting");
                    if let Some(count) = strangers.happened(clock.now()) {
                        warn!(%peer, %error, count, "a stranger was turned away from the link between processes");
                    }
                }
            }
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    _place: OwnedSemaphorePermit,
) -> io::Result<Accepted> {
    let stream = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let role = certificates.and_then(|chain| role_of(chain.first()?));
    Ok(Accepted { stream, peer, role })
}

/// The role that a certificate names. Its chain has been verified.
fn role_of(certificate: &CertificateDer<'_>) -> Option<PeerRole> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    PeerRole::ALL.into_iter().find(|role| verify_server_name(&certificate, &role.server_name()).is_ok())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn listening(trust: &Trust) -> (u16, mpsc::Receiver<Accepted>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (port, trust.listen(listener, Clock::start()))
    }

    #[tokio::test]
    async fn each_knows_the_others_role() {
        let data = tempfile::tempdir().unwrap();
        let authority = PrivateCa::open(data.path()).unwrap();
        let front_end = Trust::issued(&authority, PeerRole::FrontEnd, &[]).unwrap();
        let files = authority.issue_into(&data.path().join("mcu"), PeerRole::ImMcu, &[]).unwrap();
        let mcu = Trust::load(&files).unwrap();
        let (port, mut connections) = listening(&front_end).await;

        let _open = mcu.connect("127.0.0.1", port, Peer::FrontEnd).await.unwrap();
        assert_eq!(connections.recv().await.unwrap().role, Some(PeerRole::ImMcu));
        // Who looks for an MCU does not take a front end for one.
        assert!(mcu.connect("127.0.0.1", port, Peer::Mcu).await.is_err());
    }

    #[tokio::test]
    async fn strangers_are_turned_away() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = PrivateCa::open(ours.path()).unwrap();
        let theirs = PrivateCa::open(theirs.path()).unwrap();
        let (port, mut connections) =
            listening(&Trust::issued(&ours, PeerRole::FrontEnd, &[]).unwrap()).await;

        // Theirs does not trust us.
        let stranger = Trust::issued(&theirs, PeerRole::ImMcu, &[]).unwrap();
        assert!(stranger.connect("127.0.0.1", port, Peer::FrontEnd).await.is_err());
        // One that does is not trusted by us: the connection ends without a byte.
        let issued = theirs.issue(PeerRole::ImMcu, &[]).unwrap();
        let credulous = Trust::of(
            issued.certificate.as_bytes(),
            issued.private_key.as_bytes(),
            ours.certificate().as_bytes(),
        );
        let stream = credulous.unwrap().connect("127.0.0.1", port, Peer::FrontEnd).await;
        if let Ok(mut stream) = stream {
            assert!(stream.read_u8().await.is_err());
        }
        // Neither arrived: what does is the one that comes after them.
        let friend = Trust::issued(&ours, PeerRole::ImMcu, &[]).unwrap();
        let _open = friend.connect("127.0.0.1", port, Peer::FrontEnd).await.unwrap();
        assert_eq!(connections.recv().await.unwrap().role, Some(PeerRole::ImMcu));
        assert!(connections.try_recv().is_err());
    }
}
