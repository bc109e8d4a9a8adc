//! TLS for SIP: our certificate, and whom a client of ours trusts (RFC 5922).

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where the certificate chain and its key lie.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub private_key: PathBuf,
}

impl TlsFiles {
    /// The files in `data` of a certificate that signs itself, made for `names` if they are not
    /// there yet. It keeps listeners out, but clients must be told to trust it.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn self_signed(data: &Path, names: &[String]) -> anyhow::Result<TlsFiles> {
        let files =
            TlsFiles { certificate: data.join("tls-certificate.pem"), private_key: data.join("tls-key.pem") };
        if !files.certificate.exists() || !files.private_key.exists() {
            let made = rcgen::generate_simple_self_signed(names.to_vec())
                .context("a TLS certificate could not be made")?;
            write_private(&files.private_key, made.signing_key.serialize_pem().as_bytes())?;
            fs::write(&files.certificate, made.cert.pem())
                .with_context(|| format!("{} cannot be written", files.certificate.display()))?;
        }
        Ok(files)
    }
}

/// Writes a file that only we may read.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// The server's side of TLS 1.2 and 1.3 with this certificate.
///
/// # Errors
/// Sentences that name the file that is missing or wrong.
pub fn acceptor(files: &TlsFiles) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .with_context(|| format!("{} holds no private key in PEM form", files.private_key.display()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS 1.2 and 1.3 are built in")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            format!("{} does not belong to {}", files.private_key.display(), files.certificate.display())
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The client's side, which trusts the certificates in the PEM file `trusted`.
///
/// # Errors
/// Sentences that name the file that is missing or wrong.
pub fn connector_for(trusted: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted)? {
        roots.add(certificate).with_context(|| format!("{} cannot be trusted", trusted.display()))?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS 1.2 and 1.3 are built in")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("the certificate {} cannot be read", path.display());
    let chain = CertificateDer::pem_file_iter(path)
        .with_context(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(unreadable)?;
    ensure!(!chain.is_empty(), "{} holds no certificate in PEM form", path.display());
    Ok(chain)
}
