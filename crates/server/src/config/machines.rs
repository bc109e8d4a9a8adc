//! The tables of a Confab that runs on several machines: `[control]` where the front end is,
//! `[im_mcu]` or `[av_mcu]` where a conferencing server is. A role runs because its table is there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::ensure;
use confab_schema::uri::McuType;
use serde::{Deserialize, Serialize};

use crate::private_ca::{PeerRole, RoleFiles};

/// `[control]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Where conferencing servers of other machines report, over mutual TLS. With this table the
    /// front end runs no conferencing server itself.
    pub listen: SocketAddr,
    /// The name or address that those machines reach it by. Empty: the address listened on.
    pub host: String,
    /// What conferences may have, for there are servers elsewhere: "chat", "audio-video".
    pub media: Vec<Medium>,
}

/// A medium that conferences may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// Instant messages.
    Chat,
    /// Audio and video.
    AudioVideo,
}

impl From<Medium> for McuType {
    fn from(medium: Medium) -> McuType {
        match medium {
            Medium::Chat => McuType::Chat,
            Medium::AudioVideo => McuType::AudioVideo,
        }
    }
}

/// `[im_mcu]` and `[av_mcu]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct McuConfig {
    /// Where front ends post commands, over mutual TLS.
    pub control: SocketAddr,
    /// Where front ends send SIP, over mutual TLS.
    pub sip: SocketAddr,
    /// The name or address that front ends reach this machine by. Empty: the addresses listened on.
    pub host: String,
    /// Where the front end's [control] listens: https://HOST:PORT.
    pub factory: String,
    /// The certificate that `confab cert ROLE` issued, PEM. Empty: ROLE.pem in the data directory; the role
    /// of [im_mcu] is immcu, that of [av_mcu] avmcu.
    pub certificate: PathBuf,
    /// Its key, PEM. Empty: ROLE-key.pem in the data directory.
    pub private_key: PathBuf,
    /// The private authority's certificate, PEM. Empty: authority.pem in the data directory.
    pub authority: PathBuf,
}

impl Default for ControlConfig {
    fn default() -> ControlConfig {
        ControlConfig { listen: any(5071), host: String::new(), media: vec![Medium::Chat] }
    }
}

impl Default for McuConfig {
    fn default() -> McuConfig {
        McuConfig {
            control: any(5072),
            sip: any(5073),
            host: String::new(),
            factory: String::new(),
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            authority: PathBuf::new(),
        }
    }
}

impl ControlConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.media.is_empty(), "control.media is empty, so conferences could have nothing");
        check_host("control.host", &self.host)
    }
}

impl McuConfig {
    /// The files with which this conferencing server proves that it is one.
    pub fn role_files(&self, data: &Path, role: PeerRole) -> RoleFiles {
        let usual = RoleFiles::of(data, role);
        let or = |set: &Path, usual| if set.as_os_str().is_empty() { usual } else { set.to_owned() };
        RoleFiles {
            certificate: or(&self.certificate, usual.certificate),
            private_key: or(&self.private_key, usual.private_key),
            authority: or(&self.authority, usual.authority),
        }
    }

    pub(super) fn check(&self, table: &str) -> anyhow::Result<()> {
        check_host(&format!("{table}.host"), &self.host)?;
        let place = self.factory.strip_prefix("https://").and_then(|place| place.rsplit_once(':'));
        let right = place.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']) && port.parse::<u16>().is_ok()
        });
        ensure!(
            right,
            "{table}.factory = \"{}\" is not where a front end listens; write it like https://confab.example.com:5071",
            self.factory
        );
        Ok(())
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// A name or an address, as it may stand in a URL.
fn check_host(setting: &str, host: &str) -> anyhow::Result<()> {
    let right = host.is_empty()
        || host.parse::<std::net::IpAddr>().is_ok()
        || host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    ensure!(right, "{setting} = \"{host}\" is neither a DNS name nor an address");
    Ok(())
}
