//! The configuration: one TOML file, a table per role, every default here beside its comment; the
//! tables of a Confab on several machines are in `config/machines.rs`, that of audio and video is in
//! `config/media.rs`.
//!
//! Without a file everything runs on this machine, on SQLite, with SIP on all addresses.

mod machines;
mod media;

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, bail, ensure};
use confab_schema::uri::UserUri;
use confab_sip::{Transport, auth::Algorithm};
use serde::{Deserialize, Serialize};

use crate::{data, front_end::ANONYMOUS_DOMAIN};
pub use machines::{ControlConfig, McuConfig};
pub use media::MediaConfig;

/// No conference is scheduled further ahead, so none is by default.
const LONGEST_LIFETIME_DAYS: u64 = 10 * 365;
/// A supervisor would start the server again by then.
const LONGEST_DATABASE_WAIT_S: u64 = 3600;

/// How people prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthScheme {
    /// SIP Digest (RFC 8760).
    Digest,
}

/// A hash that Digest challenges with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum DigestAlgorithm {
    /// What every SIP phone can do.
    #[serde(rename = "md5")]
    Md5,
    /// The stronger one (RFC 8760).
    #[serde(rename = "sha-256")]
    Sha256,
}

impl From<DigestAlgorithm> for Algorithm {
    fn from(algorithm: DigestAlgorithm) -> Algorithm {
        match algorithm {
            DigestAlgorithm::Md5 => Algorithm::Md5,
            DigestAlgorithm::Sha256 => Algorithm::Sha256,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SIP domain: what stands behind the @ in everybody's address.
    pub domain: String,
    /// How people prove who they are; `[]` challenges nobody and is for tests on loopback only.
    pub auth: Vec<AuthScheme>,
    /// What Digest challenges with, in this order: "sha-256" and "md5". Phones such as baresip 1.0
    /// give up at a challenge they do not know, so put "sha-256" first where none of them is left.
    pub digest_algorithms: Vec<DigestAlgorithm>,
    /// Where databases and keys live; `--data` overrides it.
    pub data: PathBuf,
    /// A file whose first line is the URL of a PostgreSQL database, for accounts and conference
    /// records; only its owner and group may read it. Empty: SQLite in the data directory.
    pub database_url_file: PathBuf,
    /// How many seconds `confab serve` waits at its start for a PostgreSQL that is not up yet.
    pub database_wait_seconds: u64,
    /// The SIP front end.
    pub front_end: FrontEndConfig,
    /// What conferences may do.
    pub conferences: ConferencesConfig,
    /// Where audio and video are received.
    pub media: MediaConfig,
    /// The front end's side of the link to conferencing servers on other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlConfig>,
    /// A conferencing server for instant messages, and nothing else in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub im_mcu: Option<McuConfig>,
    /// A conferencing server for audio and video, and nothing else in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub av_mcu: Option<McuConfig>,
}

/// `[front_end]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontEndConfig {
    /// Where SIP is listened for: `udp:`, `tcp:` or `tls:` and an address with port.
    pub listen: Vec<Listen>,
    /// The name or address that clients reach this server by; it stands in Via and Record-Route.
    /// Empty: the address a listener is bound to.
    pub host: String,
    /// The certificate chain for TLS, PEM. Empty: one is made at first start, signed by itself.
    pub certificate: PathBuf,
    /// The private key for TLS, PEM.
    pub private_key: PathBuf,
    /// The largest SIP message taken, in bytes.
    pub max_message: usize,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How many of them from one address.
    pub max_connections_per_address: usize,
}

/// `[conferences]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConferencesConfig {
    /// How many people may be in one conference.
    pub max_participants: usize,
    /// In a meeting of more people than this, everybody is told of the presenters, of himself and of
    /// how many people are in; it is told whole again when half of them have left.
    pub large_meeting: usize,
    /// The name before the @ that a phone calls to make a conference of its own and join it. Nobody can
    /// have it as an account. Empty: there is none.
    pub factory: String,
    /// How many conferences one person may have scheduled at once.
    pub max_per_organizer: usize,
    /// Whether organizers may open conferences to people who have not signed in but know the key.
    pub allow_anonymous: bool,
    /// Whether new conferences have a lobby, unless their organizer says otherwise: whom they would
    /// refuse, and who has not signed in, waits there until a leader lets him in.
    pub lobby: bool,
    /// How many days a conference lives that was scheduled without an expiry.
    pub default_lifetime_days: u64,
    /// How many days after its expiry a conference is deleted; until then its organizer may still
    /// prolong it.
    pub content_grace_days: u64,
    /// How many minutes after the last person who signed in has left it a meeting ends.
    pub empty_minutes: u64,
    /// How many hours after the last join a meeting ends.
    pub idle_hours: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domain: "example.test".into(),
            auth: vec![AuthScheme::Digest],
            digest_algorithms: vec![DigestAlgorithm::Md5],
            data: "/var/lib/confab".into(),
            database_url_file: PathBuf::new(),
            database_wait_seconds: 60,
            front_end: FrontEndConfig::default(),
            conferences: ConferencesConfig::default(),
            control: None,
            media: MediaConfig::default(),
            im_mcu: None,
            av_mcu: None,
        }
    }
}

impl Default for FrontEndConfig {
    fn default() -> FrontEndConfig {
        let any = |transport, port| Listen { transport, address: SocketAddr::from(([0, 0, 0, 0], port)) };
        FrontEndConfig {
            listen: vec![
                any(ListenTransport::Udp, 5060),
                any(ListenTransport::Tcp, 5060),
                any(ListenTransport::Tls, 5061),
            ],
            host: String::new(),
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            max_message: 256 * 1024,
            max_connections: 20_000,
            max_connections_per_address: 2_000,
        }
    }
}

impl Default for ConferencesConfig {
    fn default() -> ConferencesConfig {
        ConferencesConfig {
            max_participants: 250,
            factory: "conference".into(),
            large_meeting: 500,
            max_per_organizer: 1000,
            allow_anonymous: false,
            lobby: false,
            default_lifetime_days: 14,
            content_grace_days: 14,
            empty_minutes: 10,
            idle_hours: 24,
        }
    }
}

/// A listener: transport and address, written `tcp:192.0.2.1:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Listen {
    /// The transport.
    pub transport: ListenTransport,
    /// The address; port 0 lets the operating system choose.
    pub address: SocketAddr,
}

/// A transport that can be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenTransport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// An encrypted stream.
    Tls,
}

impl ListenTransport {
    /// The word in the configuration and in SIP URIs.
    pub const fn as_str(self) -> &'static str {
        match self {
            ListenTransport::Udp => "udp",
            ListenTransport::Tcp => "tcp",
            ListenTransport::Tls => "tls",
        }
    }
}

impl From<ListenTransport> for Transport {
    fn from(transport: ListenTransport) -> Transport {
        match transport {
            ListenTransport::Udp => Transport::Udp,
            ListenTransport::Tcp => Transport::Tcp,
            ListenTransport::Tls => Transport::Tls,
        }
    }
}

impl FromStr for Listen {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Listen> {
        let (transport, address) = text
            .split_once(':')
            .with_context(|| format!("`{text}` is no listener; write it like tcp:127.0.0.1:5060"))?;
        let transport = match transport {
            "udp" => ListenTransport::Udp,
            "tcp" => ListenTransport::Tcp,
            "tls" => ListenTransport::Tls,
            other => bail!("`{other}` is no transport; udp, tcp and tls are"),
        };
        let address = address
            .parse()
            .with_context(|| format!("`{address}` is no address with port; write it like 127.0.0.1:5060"))?;
        Ok(Listen { transport, address })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Listen, String> {
        text.parse().map_err(|error: anyhow::Error| error.to_string())
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> String {
        format!("{}:{}", listen.transport.as_str(), listen.address)
    }
}

impl Config {
    /// Reads the file at `path`, or the defaults without one.
    ///
    /// # Errors
    /// Sentences that name file, line and what to do.
    pub fn load(path: Option<&PathBuf>) -> anyhow::Result<Config> {
        let config = match path {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
                toml::from_str(&text)
                    .with_context(|| format!("the configuration {} is not right", path.display()))?
            }
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses what is unsafe or cannot work, naming the setting and the remedy.
    ///
    /// # Errors
    /// One sentence for the first rule that is broken.
    pub fn check(&self) -> anyhow::Result<()> {
        let domain_ok = !self.domain.is_empty()
            && self.domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        ensure!(domain_ok, "domain = \"{}\" is no DNS name; write it like example.com", self.domain);
        ensure!(
            !self.domain.eq_ignore_ascii_case(ANONYMOUS_DOMAIN),
            "domain = \"{ANONYMOUS_DOMAIN}\" is for addresses that are nobody's; take a domain of your own"
        );
        ensure!(!self.front_end.listen.is_empty(), "front_end.listen is empty, so nobody could connect");
        let both = self.front_end.certificate.as_os_str().is_empty()
            == self.front_end.private_key.as_os_str().is_empty();
        ensure!(both, "front_end.certificate and front_end.private_key belong together: set both or none");
        ensure!(
            self.front_end.max_message >= 16 * 1024,
            "front_end.max_message is too small for an OCS client's sign-in; use at least 16384"
        );
        ensure!(
            !self.digest_algorithms.is_empty(),
            "digest_algorithms is empty, so nobody could sign in; use [\"md5\"] or [\"sha-256\", \"md5\"]"
        );
        ensure!(
            self.database_wait_seconds <= LONGEST_DATABASE_WAIT_S,
            "database_wait_seconds = {} is out of range; it must be 0 to {LONGEST_DATABASE_WAIT_S}",
            self.database_wait_seconds
        );
        self.conferences.check()?;
        self.media.check()?;
        if let Some((table, mcu)) = self.own_mcu() {
            ensure!(
                (self.im_mcu.is_none() || self.av_mcu.is_none())
                    && self.control.is_none()
                    && self.front_end == FrontEndConfig::default()
                    && self.database_url_file.as_os_str().is_empty(),
                "[{table}] makes this process a conferencing server and nothing else, so it cannot stand beside \
                 [front_end], [control], another [..._mcu] or database_url_file; give each process a \
                 configuration of its own"
            );
            return mcu.check(table);
        }
        if let Some(control) = &self.control {
            control.check()?;
            ensure!(
                !self.auth.is_empty() || control.listen.ip().is_loopback(),
                "auth = [] lets everybody be anybody, so it may only listen on loopback, but control.listen is \
                 {}; set it to a loopback address or set auth = [\"digest\"]",
                control.listen
            );
        }
        if self.auth.is_empty()
            && let Some(open) = self.front_end.listen.iter().find(|listen| !listen.address.ip().is_loopback())
        {
            bail!(
                "auth = [] lets everybody be anybody, so it may only listen on loopback, but \
                 front_end.listen has {}; remove that listener or set auth = [\"digest\"]",
                String::from(*open)
            );
        }
        ensure!(
            !self.auth.is_empty() || self.database_url_file.as_os_str().is_empty(),
            "auth = [] lets everybody be anybody, so it only works on data of its own, but database_url_file \
             leads to a database; remove that or set auth = [\"digest\"]"
        );
        data::database(self)?;
        Ok(())
    }
}

impl Config {
    /// The conferencing server that this process is and nothing else, with the name of its table.
    pub fn own_mcu(&self) -> Option<(&'static str, &McuConfig)> {
        let im_mcu = self.im_mcu.as_ref().map(|own| ("im_mcu", own));
        im_mcu.or_else(|| self.av_mcu.as_ref().map(|own| ("av_mcu", own)))
    }
}

impl ConferencesConfig {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.max_participants > 0, "conferences.max_participants must be at least 1");
        ensure!(
            self.factory.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c)),
            "conferences.factory = \"{}\" cannot stand before the @ of an address; write it like conference",
            self.factory
        );
        ensure!(self.large_meeting > 1, "conferences.large_meeting must be at least 2");
        for (name, value, least, most) in [
            ("default_lifetime_days", self.default_lifetime_days, 1, LONGEST_LIFETIME_DAYS),
            ("content_grace_days", self.content_grace_days, 0, 365),
            ("empty_minutes", self.empty_minutes, 1, 24 * 60),
            ("idle_hours", self.idle_hours, 1, 365 * 24),
        ] {
            ensure!(
                (least..=most).contains(&value),
                "conferences.{name} = {value} is out of range; it must be {least} to {most}"
            );
        }
        Ok(())
    }

    /// Whom phones of this domain call to make a conference, if they may.
    pub fn factory_address(&self, domain: &str) -> Option<UserUri> {
        let address = || UserUri::parse(&format!("sip:{}@{domain}", self.factory)).ok();
        if self.factory.is_empty() { None } else { address() }
    }

    /// How long after its expiry a conference is deleted.
    pub const fn content_grace(&self) -> Duration {
        Duration::from_secs(self.content_grace_days * 24 * 3600)
    }
}

/// The effective configuration as a commented TOML file (`confab check --print`).
pub fn print(config: &Config) -> String {
    // The comments are the doc comments of this file, so that they cannot drift apart.
    let toml = toml::to_string_pretty(config).expect("a checked configuration can be written as TOML");
    let comments = comments();
    let mut table = String::new();
    let mut out = String::new();
    for line in toml.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ") {
            // Every conferencing server has the same settings.
            let of = if table.ends_with("_mcu") { "mcu" } else { &table };
            let path = if of.is_empty() { key.to_owned() } else { format!("{of}.{key}") };
            for comment in comments.iter().filter(|(of, _)| *of == path).flat_map(|(_, lines)| lines) {
                out.push_str("# ");
                out.push_str(comment);
                out.push('\n');
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The doc comments of the settings, by path.
fn comments() -> Vec<(String, Vec<&'static str>)> {
    let mut table = None;
    let mut pending = Vec::new();
    let mut comments = Vec::new();
    let sources =
        [include_str!("config.rs"), include_str!("config/machines.rs"), include_str!("config/media.rs")];
    for line in sources.iter().flat_map(|source| source.lines()).map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            pending.push(comment);
        } else if let Some(name) = line.strip_prefix("pub struct ") {
            table = match name.split([' ', ';']).next() {
                Some("Config") => Some(""),
                Some("FrontEndConfig") => Some("front_end."),
                Some("ConferencesConfig") => Some("conferences."),
                Some("ControlConfig") => Some("control."),
                Some("McuConfig") => Some("mcu."),
                Some("MediaConfig") => Some("media."),
                _ => None,
            };
            pending.clear();
        } else if let (Some(table), Some((field, _))) = (table, field(line)) {
            comments.push((format!("{table}{field}"), std::mem::take(&mut pending)));
        } else if !line.starts_with("#[") {
            pending.clear();
        }
    }
    comments
}

fn field(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("pub ")?.strip_suffix(',')?.split_once(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn refusals_name_the_setting() {
        for (text, word) in [
            ("domain = \"a b\"", "domain"),
            ("domain = \"anonymous.invalid\"", "nobody's"),
            ("surprise = 1", "surprise"),
            ("auth = []", "loopback"),
            ("[front_end]\nlisten = []", "listen"),
            ("[front_end]\nlisten = [\"sctp:127.0.0.1:1\"]", "sctp"),
            ("[front_end]\ncertificate = \"a.pem\"", "private_key"),
            ("[conferences]\nmax_participants = 0", "max_participants"),
            ("[conferences]\nfactory = \"the room\"", "conferences.factory"),
            ("[conferences]\nlarge_meeting = 1", "large_meeting"),
            ("database_url_file = \"/nowhere/url\"", "/nowhere/url"),
            ("database_wait_seconds = 3601", "0 to 3600"),
            ("database_url_file = \"/dev/null\"", "/dev/null"),
            (
                "auth = []\ndatabase_url_file = \"url\"\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]",
                "database_url_file",
            ),
            ("[conferences]\ndefault_lifetime_days = 0", "default_lifetime_days"),
            ("[conferences]\ncontent_grace_days = 366", "content_grace_days = 366"),
            ("[conferences]\nempty_minutes = 0", "1 to 1440"),
            ("[conferences]\nidle_hours = 0", "idle_hours"),
            ("[conferences]\nidle_hours = 9223372036854775807", "idle_hours"),
            ("[control]\nlisten = \"here\"", "listen"),
            ("[control]\nhost = \"a/b\"", "control.host"),
            (
                "auth = []\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]\n[control]\nlisten = \"0.0.0.0:1\"",
                "control.listen",
            ),
            ("[im_mcu]", "im_mcu.factory"),
            ("[im_mcu]\nfactory = \"http://a:1\"", "im_mcu.factory"),
            ("[im_mcu]\nfactory = \"https://a:1/LiveServer/\"", "im_mcu.factory"),
            ("[im_mcu]\nfactory = \"https://a:1\"\nsecret = 1", "secret"),
            ("[im_mcu]\nfactory = \"https://a:1\"\n[control]", "of its own"),
            ("[im_mcu]\nfactory = \"https://a:1\"\n[front_end]\nhost = \"b\"", "of its own"),
            ("[av_mcu]\nfactory = \"http://a:1\"", "av_mcu.factory"),
            ("[im_mcu]\nfactory = \"https://a:1\"\n[av_mcu]\nfactory = \"https://a:1\"", "another"),
            ("[media]\nfirst_port = 6000\nlast_port = 6000", "media.last_port"),
            ("[media]\naddresses = [\"0.0.0.0\"]", "media.addresses"),
            ("[media]\naddresses = [\"192.0.2.1\", \"192.0.2.2\"]", "media.addresses"),
            ("[media]\nthreads = 1000", "media.threads"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn printed_it_is_commented_and_reads_back() {
        let config = parse("auth = []\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]").unwrap();
        let text = print(&config);
        assert!(
            text.contains("# How many people may be in one conference.\nmax_participants = 250\n"),
            "{text}"
        );
        assert_eq!(parse(&text).unwrap(), config);
        for (table, comment) in [
            ("[control]", "# Where conferencing servers of other machines report, over mutual TLS."),
            (
                "[av_mcu]\nfactory = \"https://a:1\"",
                "# Where the front end's [control] listens: https://HOST:PORT.",
            ),
            ("[media]", "# How many threads mix. 0: as many as there are processors."),
        ] {
            let config = parse(table).unwrap();
            let text = print(&config);
            assert!(text.contains(comment), "{text}");
        }
    }
}
