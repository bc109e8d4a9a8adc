//! One medium over RTP as typed values, read and written (RFC 3264, 3551, 3605, 5761; MS-SDPEXT).
//!
//! Reading never fails: what is not understood is left out, and a medium of which too little remains is one
//! that the reader refuses.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use super::{Line, Media, Sdp, Section, crypto::Crypto, ice::Ice};
use crate::Text;

/// The most formats that are read of one medium.
const MAX_FORMATS: usize = 64;
/// The most `a=crypto` lines that are read of one medium.
const MAX_CRYPTO: usize = 16;

/// Payload types that need no `a=rtpmap` (RFC 3551 §6): number, encoding, clock rate.
const STATIC: [(u8, &str, u32); 10] = [
    (0, "PCMU", 8000),
    (3, "GSM", 8000),
    (4, "G723", 8000),
    (8, "PCMA", 8000),
    (9, "G722", 8000),
    (13, "CN", 8000),
    (18, "G729", 8000),
    (26, "JPEG", 90_000),
    (31, "H261", 90_000),
    (34, "H263", 90_000),
];

/// A medium over RTP.
#[derive(Clone, Debug, PartialEq)]
pub struct RtpMedium {
    /// `audio` or `video`.
    pub kind: String,
    /// Where it is received; 0 = refused.
    pub port: u16,
    /// How it is carried.
    pub profile: Profile,
    /// Where it is received; `None` if a name is given, or nothing that can be read.
    pub address: Option<IpAddr>,
    /// The formats in order of preference. Those of dynamic types without a description are left out.
    pub formats: Vec<Format>,
    /// How much sound a packet is to hold, in milliseconds (`a=ptime`).
    pub packet_time_ms: Option<u16>,
    /// Which way it flows, as the sender sees it. An address of zeros is a hold (RFC 3264 §8.4).
    pub direction: Direction,
    /// Where RTCP is received, if that is said (`a=rtcp`).
    pub rtcp: Option<SocketAddr>,
    /// RTCP may share the port of RTP (`a=rtcp-mux`).
    pub multiplexed: bool,
    /// The keys that can be used.
    pub crypto: Vec<Crypto>,
    /// Whether protection is wanted, if that is said (`a=encryption`).
    pub encryption: Option<Encryption>,
    /// Connectivity checks, if there are to be any.
    pub ice: Option<Ice>,
    /// What may be asked of the sender by RTCP, with the payload type or `*` before it (`a=rtcp-fb`, RFC 4585).
    pub feedback: Vec<String>,
    /// Which of the conference's media it is (`a=label`).
    pub label: Option<String>,
}

/// How RTP is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `RTP/AVP`
    Avp,
    /// `RTP/SAVP`
    Savp,
    /// `RTP/AVPF`
    Avpf,
    /// `RTP/SAVPF`
    Savpf,
    /// Another, as it is written.
    Other(String),
}

/// A payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// 0 to 127.
    pub number: u8,
    /// The encoding, as it is written: `PCMU`, `opus`, `telephone-event`.
    pub encoding: String,
    /// Ticks of its RTP clock in a second.
    pub clock: u32,
    /// Channels; 1 if it is not said.
    pub channels: u8,
    /// Its `a=fmtp`.
    pub parameters: Option<String>,
}

/// Which way a medium flows, as whoever describes it sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From him.
    SendOnly,
    /// To him.
    RecvOnly,
    /// Not at all.
    Inactive,
}

/// Whether protection is wanted (MS-SDPEXT §3.1.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encryption {
    /// `required`
    Required,
    /// `optional`
    Optional,
    /// `rejected`
    Rejected,
}

impl Direction {
    /// Made of whether its describer sends and receives.
    pub const fn new(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether its describer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether its describer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The attribute.
    pub const fn word(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    fn of(section: &Section) -> Option<Direction> {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        let words = [SendRecv, SendOnly, RecvOnly, Inactive];
        section
            .all_attributes()
            .find_map(|(name, _)| words.into_iter().find(|direction| direction.word() == name))
    }
}

impl Encryption {
    const fn word(self) -> &'static str {
        match self {
            Encryption::Required => "required",
            Encryption::Optional => "optional",
            Encryption::Rejected => "rejected",
        }
    }

    fn parse(word: &str) -> Option<Encryption> {
        use Encryption::{Optional, Rejected, Required};
        [Required, Optional, Rejected].into_iter().find(|encryption| encryption.word() == word)
    }
}

impl Profile {
    /// Whether it protects.
    pub const fn is_secure(&self) -> bool {
        matches!(self, Profile::Savp | Profile::Savpf)
    }

    /// As media lines name it.
    pub fn as_str(&self) -> &str {
        match self {
            Profile::Avp => "RTP/AVP",
            Profile::Savp => "RTP/SAVP",
            Profile::Avpf => "RTP/AVPF",
            Profile::Savpf => "RTP/SAVPF",
            Profile::Other(name) => name,
        }
    }

    fn parse(name: &str) -> Profile {
        match name.to_ascii_uppercase().as_str() {
            "RTP/AVP" => Profile::Avp,
            "RTP/SAVP" => Profile::Savp,
            "RTP/AVPF" => Profile::Avpf,
            "RTP/SAVPF" => Profile::Savpf,
            _ => Profile::Other(name.to_owned()),
        }
    }
}

impl Format {
    /// Whether it is this encoding at this clock rate; case does not matter.
    pub fn is(&self, encoding: &str, clock: u32) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding) && self.clock == clock
    }
}

impl RtpMedium {
    /// What `medium` of `sdp` says.
    pub fn read(sdp: &Sdp, medium: &Media) -> RtpMedium {
        let section = &medium.section;
        let address: Option<IpAddr> = sdp.address(medium).and_then(|address| address.parse().ok());
        let mut direction =
            Direction::of(section).or_else(|| Direction::of(&sdp.session)).unwrap_or_default();
        if address.is_some_and(|address| address.is_unspecified()) {
            direction = Direction::new(direction.sends(), false);
        }
        let packet_time_ms = section.attribute("ptime").and_then(|time| time.trim().parse().ok());
        RtpMedium {
            kind: medium.kind().to_owned(),
            port: medium.port(),
            profile: Profile::parse(medium.protocol()),
            address,
            formats: formats(medium),
            packet_time_ms,
            direction,
            rtcp: section.attribute("rtcp").and_then(|value| rtcp(value, address)),
            multiplexed: section.attribute("rtcp-mux").is_some(),
            crypto: section.attributes("crypto").take(MAX_CRYPTO).filter_map(Crypto::parse).collect(),
            encryption: section.attribute("encryption").and_then(|word| Encryption::parse(word.trim())),
            ice: Ice::read(sdp, medium),
            feedback: section.attributes("rtcp-fb").take(MAX_FORMATS).map(str::to_owned).collect(),
            label: section.attribute("label").map(str::to_owned),
        }
    }

    /// The media line with all that belongs to it.
    pub fn write(&self) -> Media {
        let mut value = format!("{} {} {}", self.kind, self.port, self.profile.as_str());
        for format in &self.formats {
            write!(value, " {}", format.number).expect("a String takes all that is written to it");
        }
        let mut section = Section::default();
        if let Some(address) = self.address {
            section.push('c', &connection(address));
        }
        for format in &self.formats {
            format.write(&mut section);
        }
        self.feedback.iter().for_each(|asked| section.push_attribute("rtcp-fb", asked));
        if let Some(time) = self.packet_time_ms {
            section.push_attribute("ptime", &time.to_string());
        }
        if let Some(rtcp) = self.rtcp {
            section.push_attribute("rtcp", &self.rtcp_value(rtcp));
        }
        if self.multiplexed {
            section.push_attribute("rtcp-mux", "");
        }
        self.crypto.iter().for_each(|crypto| section.push_attribute("crypto", &crypto.value()));
        if let Some(encryption) = self.encryption {
            section.push_attribute("encryption", encryption.word());
        }
        if let Some(ice) = &self.ice {
            ice.write(&mut section);
        }
        if let Some(label) = &self.label {
            section.push_attribute("label", label);
        }
        section.push_attribute(self.direction.word(), "");
        Media { line: Line::new('m', &value), port: self.port, section }
    }

    /// Where RTP is received, unless the medium is refused or a name is given.
    pub fn rtp_address(&self) -> Option<SocketAddr> {
        self.address.filter(|_| self.port != 0).map(|address| SocketAddr::new(address, self.port))
    }

    /// Where RTCP is received on a port of its own: as it is said, or one port higher (RFC 3550 §11).
    pub fn rtcp_address(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_address()?;
        self.rtcp.or_else(|| Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)))
    }

    fn rtcp_value(&self, rtcp: SocketAddr) -> String {
        if Some(rtcp.ip()) == self.address {
            rtcp.port().to_string()
        } else {
            format!("{} {}", rtcp.port(), connection(rtcp.ip()))
        }
    }
}

impl Format {
    fn write(&self, section: &mut Section) {
        let channels = if self.channels > 1 { format!("/{}", self.channels) } else { String::new() };
        let map = format!("{} {}/{}{channels}", self.number, self.encoding, self.clock);
        section.push_attribute("rtpmap", &map);
        if let Some(parameters) = &self.parameters {
            section.push_attribute("fmtp", &format!("{} {parameters}", self.number));
        }
    }
}

impl Sdp {
    /// A description of these media. `address` is ours; `session` and `version` are numbers of the `o=` line:
    /// the second rises with each description that differs within one dialog (RFC 3264 §8).
    pub fn of_media(address: IpAddr, session: u32, version: u32, media: Vec<Media>) -> Sdp {
        let address = connection(address);
        let mut lines = Section::default();
        lines.push('v', "0");
        lines.push('o', &format!("- {session} {version} {address}"));
        lines.push('s', "session");
        lines.push('c', &address);
        lines.push('t', "0 0");
        Sdp { session: lines, media, tail: Text::default() }
    }
}

fn connection(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("IN IP4 {address}"),
        IpAddr::V6(address) => format!("IN IP6 {address}"),
    }
}

/// `PORT` or `PORT IN IP4 ADDRESS` (RFC 3605).
fn rtcp(value: &str, usual: Option<IpAddr>) -> Option<SocketAddr> {
    let mut fields = value.split_ascii_whitespace();
    let port = fields.next()?.parse().ok().filter(|port| *port != 0)?;
    let address = fields.nth(2).map_or(usual, |address| address.parse().ok())?;
    Some(SocketAddr::new(address, port))
}

/// The formats of the media line, as `a=rtpmap` or RFC 3551 explains them.
fn formats(medium: &Media) -> Vec<Format> {
    let described: BTreeMap<u8, (&str, u32, u8)> = medium.attributes("rtpmap").filter_map(encoding).collect();
    let parameters: BTreeMap<u8, &str> = medium.attributes("fmtp").filter_map(numbered).collect();
    let mut formats: Vec<Format> = Vec::new();
    let numbers = medium.formats().filter_map(|number| number.parse().ok().filter(|number| *number < 128));
    for number in numbers.take(MAX_FORMATS) {
        let fixed =
            || STATIC.iter().find(|(other, ..)| *other == number).map(|(_, name, clock)| (*name, *clock, 1));
        let Some((encoding, clock, channels)) = described.get(&number).copied().or_else(fixed) else {
            continue;
        };
        if formats.iter().all(|format| format.number != number) {
            let parameters = parameters.get(&number).map(|text| text.trim().to_owned());
            formats.push(Format { number, encoding: encoding.to_owned(), clock, channels, parameters });
        }
    }
    formats
}

/// `NUMBER ENCODING/CLOCK[/CHANNELS]`
fn encoding(value: &str) -> Option<(u8, (&str, u32, u8))> {
    let (number, encoding) = numbered(value)?;
    let mut pieces = encoding.trim().split('/');
    let (name, clock) = (pieces.next()?, pieces.next()?.parse().ok()?);
    let channels =
        pieces.next().map_or(Some(1), |channels| channels.parse().ok()).filter(|channels| *channels > 0)?;
    (!name.is_empty()).then_some((number, (name, clock, channels)))
}

fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.trim_start().split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::ice::IceDialect;

    fn read(text: &str) -> RtpMedium {
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        RtpMedium::read(&sdp, &sdp.media[0])
    }

    fn names(medium: &RtpMedium) -> Vec<String> {
        medium
            .formats
            .iter()
            .map(|format| format!("{} {}/{}", format.number, format.encoding, format.clock))
            .collect()
    }

    #[test]
    fn formats_are_described_or_fixed() {
        let medium = read(
            "v=0\r\nm=audio 4000 RTP/AVP 96 0 8 97 9 0 300 x 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:97\r\na=rtpmap:97 G7221\r\n",
        );
        let expect =
            ["96 opus/48000", "0 PCMU/8000", "8 PCMA/8000", "9 G722/8000", "101 telephone-event/8000"];
        assert_eq!(names(&medium), expect);
        assert_eq!(
            (medium.formats[0].channels, medium.formats[0].parameters.as_deref()),
            (2, Some("useinbandfec=1"))
        );
        assert!(medium.formats[0].is("OPUS", 48_000) && !medium.formats[0].is("OPUS", 8000));
    }

    #[test]
    fn which_way_it_flows() {
        for (session, medium, expect) in [
            ("c=IN IP4 192.0.2.1\r\n", "", Direction::SendRecv),
            ("c=IN IP4 192.0.2.1\r\na=sendonly\r\n", "", Direction::SendOnly),
            ("c=IN IP4 192.0.2.1\r\na=sendonly\r\n", "a=recvonly\r\n", Direction::RecvOnly),
            ("c=IN IP4 192.0.2.1\r\n", "a=inactive\r\n", Direction::Inactive),
            ("c=IN IP4 0.0.0.0\r\n", "", Direction::SendOnly),
            ("c=IN IP4 192.0.2.1\r\n", "c=IN IP4 0.0.0.0\r\na=recvonly\r\n", Direction::Inactive),
            ("c=IN IP6 ::\r\n", "", Direction::SendOnly),
        ] {
            let read = read(&format!("v=0\r\n{session}m=audio 4 RTP/AVP 0\r\n{medium}"));
            assert_eq!(read.direction, expect, "{session}{medium}");
        }
    }

    #[test]
    fn where_it_is_received() {
        let check = |lines: &str, rtp: Option<&str>, rtcp: Option<&str>| {
            let medium = read(&format!("v=0\r\n{lines}"));
            let socket = |text: Option<&str>| text.map(|text| text.parse::<SocketAddr>().unwrap());
            assert_eq!((medium.rtp_address(), medium.rtcp_address()), (socket(rtp), socket(rtcp)), "{lines}");
        };
        let audio = "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";
        check(audio, Some("192.0.2.1:4000"), Some("192.0.2.1:4001"));
        check(&format!("{audio}a=rtcp:5000\r\n"), Some("192.0.2.1:4000"), Some("192.0.2.1:5000"));
        check(
            &format!("{audio}a=rtcp:5000 IN IP4 192.0.2.9\r\n"),
            Some("192.0.2.1:4000"),
            Some("192.0.2.9:5000"),
        );
        check(&format!("{audio}a=rtcp:0\r\n"), Some("192.0.2.1:4000"), Some("192.0.2.1:4001"));
        check("m=audio 65535 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n", Some("[2001:db8::1]:65535"), None);
        check("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 name.example.test\r\n", None, None);
        check("m=audio 0 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n", None, None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "v=0\r\no=- 3 7 IN IP4 192.0.2.1\r\ns=session\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
            m=audio 4000 RTP/SAVP 96 101\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtcp-fb:* nack pli\r\na=ptime:20\r\na=rtcp:4001\r\na=rtcp-mux\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW|2^31\r\n\
            a=encryption:optional\r\na=ice-ufrag:Yqlg\r\na=ice-pwd:Oi5xgDBoike0BtGnrtdNSD\r\n\
            a=candidate:1 1 UDP 2028994815 192.0.2.1 4000 typ host\r\na=label:main-audio\r\na=recvonly\r\n";
        let medium = read(text);
        assert!(medium.profile.is_secure() && medium.multiplexed);
        assert_eq!(medium.ice.as_ref().map(|ice| ice.dialect), Some(IceDialect::Draft19));
        let written = Sdp::of_media("192.0.2.1".parse().unwrap(), 3, 7, vec![medium.write()]);
        assert_eq!(written.to_bytes(), text);
    }

    #[test]
    fn six_is_written_as_six() {
        let mut medium =
            read("v=0\r\nc=IN IP6 2001:db8::1\r\nm=video 0 RTP/FAST 99\r\na=rtcp:9 IN IP6 2001:db8::2\r\n");
        assert_eq!(medium.profile, Profile::Other("RTP/FAST".into()));
        medium.port = 6;
        let written = Sdp::of_media("2001:db8::1".parse().unwrap(), 1, 0, vec![medium.write()]).to_bytes();
        let text = std::str::from_utf8(&written).unwrap();
        assert!(text.starts_with("v=0\r\no=- 1 0 IN IP6 2001:db8::1\r\n"), "{text}");
        assert!(
            text.contains("m=video 6 RTP/FAST\r\n") && text.contains("a=rtcp:9 IN IP6 2001:db8::2\r\n"),
            "{text}"
        );
    }
}
