//! The private certificate authority between the processes of one Confab. It is made in the data
//! directory of the front end, and every certificate names the one role that its holder may play.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::ServerName;

/// The authority's certificate, which everybody has.
pub const AUTHORITY: &str = "authority.pem";
/// Its key, which never leaves the data directory it was made in.
const AUTHORITY_KEY: &str = "authority-key.pem";
/// What the authority calls itself. It is part of every certificate, so it never changes.
const AUTHORITY_NAME: &str = "Confab private authority";

/// What a process may be among those that trust one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum PeerRole {
    /// Front end, Focus and Conferencing Server Factory.
    #[value(name = "frontend")]
    FrontEnd,
    /// The conferencing server for instant messages.
    #[value(name = "immcu")]
    ImMcu,
    /// The conferencing server for audio and video.
    #[value(name = "avmcu")]
    AvMcu,
}

/// Who must answer where one process connects to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The front end.
    FrontEnd,
    /// A conferencing server, of whatever medium.
    Mcu,
}

impl Peer {
    /// The DNS name that certificates of such a process have, as TLS wants it. It is looked up nowhere.
    pub fn server_name(self) -> ServerName<'static> {
        let name = match self {
            Peer::FrontEnd => PeerRole::FrontEnd.dns_name(),
            Peer::Mcu => MCU_NAME,
        };
        ServerName::try_from(name).expect("the names of roles are DNS names")
    }
}

/// The DNS name in the certificate of every conferencing server, beside that of its role.
const MCU_NAME: &str = "mcu.confab.internal";

impl PeerRole {
    /// Every role.
    pub const ALL: [PeerRole; 3] = [PeerRole::FrontEnd, PeerRole::ImMcu, PeerRole::AvMcu];
    /// The conferencing servers.
    pub const MCUS: [PeerRole; 2] = [PeerRole::ImMcu, PeerRole::AvMcu];

    /// The word on the command line, in file names and as the certificate's common name.
    pub const fn as_str(self) -> &'static str {
        match self {
            PeerRole::FrontEnd => "frontend",
            PeerRole::ImMcu => "immcu",
            PeerRole::AvMcu => "avmcu",
        }
    }

    /// The DNS name that stands for the role in a certificate. It is looked up nowhere.
    pub const fn dns_name(self) -> &'static str {
        match self {
            PeerRole::FrontEnd => "frontend.confab.internal",
            PeerRole::ImMcu => "immcu.confab.internal",
            PeerRole::AvMcu => "avmcu.confab.internal",
        }
    }

    /// The same as TLS wants it.
    pub fn server_name(self) -> ServerName<'static> {
        ServerName::try_from(self.dns_name()).expect("the names of roles are DNS names")
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A certificate with its key, PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub private_key: String,
}

/// The authority of a data directory.
pub struct PrivateCa {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl PrivateCa {
    /// Opens the authority in `data`, making it if it is not there.
    ///
    /// # Errors
    /// If its files cannot be read or written.
    pub fn open(data: &Path) -> anyhow::Result<PrivateCa> {
        let (certificate, key) = (data.join(AUTHORITY), data.join(AUTHORITY_KEY));
        if !key.exists() {
            make(&certificate, &key)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let key_pair = KeyPair::from_pem(&read(&key)?)
            .with_context(|| format!("{} holds no private key in PEM form", key.display()))?;
        Ok(PrivateCa { certificate: read(&certificate)?, issuer: Issuer::new(params()?, key_pair) })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for `role`, valid for these host names and addresses besides.
    ///
    /// # Errors
    /// If a host is no DNS name.
    pub fn issue(&self, role: PeerRole, hosts: &[String]) -> anyhow::Result<Issued> {
        for host in hosts {
            let right =
                host.parse::<std::net::IpAddr>().is_ok() || ServerName::try_from(host.as_str()).is_ok();
            ensure!(right, "{host} is neither a DNS name nor an address");
            ensure!(
                !host.to_ascii_lowercase().ends_with(".confab.internal"),
                "{host} is how certificates name roles, so no host can be called that"
            );
        }
        let mut names = vec![role.dns_name().to_owned()];
        names.extend(PeerRole::MCUS.contains(&role).then(|| MCU_NAME.to_owned()));
        names.extend_from_slice(hosts);
        let mut params = CertificateParams::new(names).context("a certificate cannot name these hosts")?;
        params.distinguished_name = named(role.as_str());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().context("a key could not be made")?;
        let certificate =
            params.signed_by(&key, &self.issuer).context("a certificate could not be signed")?;
        Ok(Issued { certificate: certificate.pem(), private_key: key.serialize_pem() })
    }

    /// Issues a certificate for `role` into the directory `out`, beside the authority's own, for the
    /// machine that shall play it.
    ///
    /// # Errors
    /// If files of these names are there already, or cannot be written.
    pub fn issue_into(&self, out: &Path, role: PeerRole, hosts: &[String]) -> anyhow::Result<RoleFiles> {
        fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
        let files = RoleFiles::of(out, role);
        let issued = self.issue(role, hosts)?;
        write_new(&files.private_key, issued.private_key.as_bytes(), 0o600)?;
        write_new(&files.certificate, issued.certificate.as_bytes(), 0o644)?;
        let known = fs::read_to_string(&files.authority).ok();
        if known.as_deref() != Some(self.certificate()) {
            write_new(&files.authority, self.certificate.as_bytes(), 0o644)?;
        }
        Ok(files)
    }
}

/// The three files with which a process proves its role and judges others.
#[derive(Clone, Debug)]
pub struct RoleFiles {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub private_key: PathBuf,
    /// The authority's certificate, PEM.
    pub authority: PathBuf,
}

impl RoleFiles {
    /// Where they are in a directory of their own.
    pub fn of(directory: &Path, role: PeerRole) -> RoleFiles {
        RoleFiles {
            certificate: directory.join(format!("{role}.pem")),
            private_key: directory.join(format!("{role}-key.pem")),
            authority: directory.join(AUTHORITY),
        }
    }
}

fn make(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    ensure!(
        !certificate.exists(),
        "{} is there without its key {}: this is not the data directory in which the authority was made",
        certificate.display(),
        key.display()
    );
    let pair = KeyPair::generate().context("a key could not be made")?;
    let own = params()?.self_signed(&pair).context("the private authority could not be made")?;
    // The key last: whoever sees it sees both.
    fs::write(certificate, own.pem())
        .with_context(|| format!("{} cannot be written", certificate.display()))?;
    write_new(key, pair.serialize_pem().as_bytes(), 0o600)
}

fn params() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("an authority needs no names")?;
    params.distinguished_name = named(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(content))
        .with_context(|| format!("{} cannot be written; what is there is never replaced", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_its_keys_are_private() {
        let data = tempfile::tempdir().unwrap();
        let first = PrivateCa::open(data.path()).unwrap();
        let again = PrivateCa::open(data.path()).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data.path().join(AUTHORITY_KEY)), 0o600);

        let out = data.path().join("out");
        let files = again.issue_into(&out, PeerRole::ImMcu, &[]).unwrap();
        assert_eq!(mode(&files.private_key), 0o600);
        let refused = again.issue_into(&out, PeerRole::ImMcu, &[]).err().unwrap();
        assert!(refused.to_string().contains("never replaced"), "{refused}");
        // Another role fits beside it.
        again.issue_into(&out, PeerRole::FrontEnd, &[]).unwrap();
        assert!(!out.join(AUTHORITY_KEY).exists());
        let refused = PrivateCa::open(&out).err().unwrap();
        assert!(refused.to_string().contains("without its key"), "{refused}");
    }

    #[test]
    fn a_host_name_gives_no_role() {
        let data = tempfile::tempdir().unwrap();
        let authority = PrivateCa::open(data.path()).unwrap();
        for host in ["frontend.confab.internal", "FRONTEND.Confab.Internal", "a b"] {
            assert!(authority.issue(PeerRole::ImMcu, &[host.to_owned()]).is_err(), "{host}");
        }
        assert!(authority.issue(PeerRole::ImMcu, &["192.0.2.1".into(), "mcu.example.com".into()]).is_ok());
    }
}
