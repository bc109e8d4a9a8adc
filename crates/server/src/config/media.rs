//! `[media]`: where audio and video are received, and by how many threads they are mixed.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
};

use anyhow::ensure;
use confab_mcu::AvOptions;
use serde::{Deserialize, Serialize};

use super::{FrontEndConfig, McuConfig};
use crate::roles::own_address;

/// More threads than any machine has a use for.
const MOST_THREADS: usize = 256;

/// `[media]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// The addresses of this machine at which audio and video are received, one of IPv4 and one of IPv6 at
    /// most. Empty: those that SIP is listened for on.
    pub addresses: Vec<IpAddr>,
    /// The first UDP port for audio and video. A call takes two for audio and two for video.
    pub first_port: u16,
    /// The last UDP port for audio and video.
    pub last_port: u16,
    /// How many threads mix. 0: as many as there are processors.
    pub threads: usize,
    /// Whether pictures are passed on. If not, calls with pictures become calls without.
    pub video: bool,
    /// The dialects of ICE that are spoken. Who offers another is asked to offer without or in one of these.
    pub ice: Vec<Ice>,
}

/// A dialect of ICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Ice {
    /// That of OCS 2007 (MS-ICE).
    #[serde(rename = "draft-6")]
    Draft6,
    /// That of OCS 2007 R2 and after (MS-ICE2).
    #[serde(rename = "draft-19")]
    Draft19,
    /// That of everybody else.
    #[serde(rename = "rfc8445")]
    Rfc8445,
}

impl Default for MediaConfig {
    fn default() -> MediaConfig {
        // Above what Linux gives to those who do not ask for a port, for the greater part.
        MediaConfig {
            addresses: Vec::new(),
            first_port: 49152,
            last_port: 65535,
            threads: 0,
            video: true,
            ice: vec![Ice::Draft6, Ice::Draft19, Ice::Rfc8445],
        }
    }
}

impl MediaConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.first_port >= 1024 && self.last_port.saturating_sub(self.first_port) >= 3,
            "media.first_port = {} and media.last_port = {} leave no room for a call; a call takes four ports \
             above 1023",
            self.first_port,
            self.last_port
        );
        for (position, address) in self.addresses.iter().enumerate() {
            let alone = self.addresses[..position].iter().all(|other| other.is_ipv4() != address.is_ipv4());
            ensure!(
                alone && !address.is_unspecified(),
                "media.addresses may have one IPv4 and one IPv6 address of this machine, which people are told: \
                 {address} is one too many or none"
            );
        }
        ensure!(
            self.threads <= MOST_THREADS,
            "media.threads = {} is out of range; it must be 0 to {MOST_THREADS}",
            self.threads
        );
        Ok(())
    }

    /// How many threads that makes.
    pub fn thread_count(&self) -> usize {
        let all = || thread::available_parallelism().map_or(1, usize::from);
        if self.threads == 0 { all() } else { self.threads }
    }

    /// What an A/V conferencing server does.
    pub fn options(&self) -> AvOptions {
        let speaks = |dialect| self.ice.contains(&dialect);
        AvOptions {
            draft6: speaks(Ice::Draft6),
            draft19: speaks(Ice::Draft19),
            rfc8445: speaks(Ice::Rfc8445),
            video: self.video,
        }
    }

    /// How many ports there are.
    pub fn port_count(&self) -> usize {
        usize::from(self.last_port.saturating_sub(self.first_port)) + 1
    }

    /// The addresses of a front end, unless others are set: those of its listeners, one of each family.
    pub fn addresses_beside(&self, front_end: &FrontEndConfig) -> Vec<IpAddr> {
        self.addresses_or(front_end.listen.iter().map(|listen| listen.address.ip()))
    }

    /// The addresses of a conferencing server that is a process of its own, unless others are set.
    pub fn addresses_of(&self, mcu: &McuConfig) -> Vec<IpAddr> {
        self.addresses_or(mcu.host.parse().ok().into_iter().chain([mcu.sip.ip()]))
    }

    fn addresses_or(&self, listening: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
        if !self.addresses.is_empty() {
            return self.addresses.clone();
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in listening.map(|ip| if ip.is_unspecified() { own_address() } else { ip }) {
            if !addresses.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
                addresses.push(ip);
            }
        }
        if addresses.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_not_done() {
        let options = |text: &str| toml::from_str::<MediaConfig>(text).map(|media| media.options());
        assert_eq!(options("").unwrap(), AvOptions::default());
        let one = AvOptions { draft6: false, draft19: false, rfc8445: true, video: false };
        assert_eq!(options("video = false\nice = ['rfc8445']").unwrap(), one);
        let fault = options("ice = ['draft-5']").unwrap_err().to_string();
        assert!(fault.contains("`draft-6`, `draft-19`, `rfc8445`"), "{fault}");
    }

    #[test]
    fn media_are_received_where_sip_is() {
        let beside = |listen: &[&str], set: &[&str]| {
            let listen = listen.iter().map(|listen| (*listen).to_owned().try_into().unwrap()).collect();
            let front_end = FrontEndConfig { listen, ..FrontEndConfig::default() };
            let addresses = set.iter().map(|address| address.parse().unwrap()).collect();
            let media = MediaConfig { addresses, ..MediaConfig::default() };
            let addresses = media.addresses_beside(&front_end);
            addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        let listen = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060", "tcp:[::1]:5060"];
        assert_eq!(beside(&listen, &[]), ["127.0.0.1", "::1"]);
        assert_eq!(beside(&listen, &["192.0.2.1"]), ["192.0.2.1"]);
        assert_eq!(beside(&["udp:0.0.0.0:5060"], &[]), [own_address().to_string()]);
    }
}
