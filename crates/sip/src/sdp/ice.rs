//! What a description says of connectivity checks, in the three dialects that are met: draft 6 with
//! credentials for each candidate (MS-ICE), draft 19 (MS-ICE2) and RFC 8445 with RFC 8839.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::{Media, Sdp, Section};

/// The most candidates that are read of one medium; what is beyond is passed over.
pub const MAX_CANDIDATES: usize = 32;

/// The priorities of draft 6 are fractions of one: this many steps are told apart.
const DRAFT6_STEPS: u32 = 1000;

/// Whose rules the checks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IceDialect {
    /// draft-ietf-mmusic-ice-06 as MS-ICE has it.
    Draft6,
    /// draft-ietf-mmusic-ice-19 as MS-ICE2 has it.
    Draft19,
    /// RFC 8445.
    Rfc8445,
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// `host`
    Host,
    /// `srflx`
    ServerReflexive,
    /// `prflx`
    PeerReflexive,
    /// `relay`
    Relayed,
}

/// A user fragment and its password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user fragment; with draft 6 the user of the candidate, in base64.
    pub user: String,
    /// The password; with draft 6 in base64.
    pub password: String,
}

/// Passwords are not for logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Credentials({}, …)", self.user)
    }
}

/// Where somebody may be reached over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of one kind and base; with draft 6 its user.
    pub foundation: String,
    /// 1 = RTP, 2 = RTCP.
    pub component: u8,
    /// The higher the better; with draft 6 in thousandths.
    pub priority: u32,
    /// The address.
    pub address: SocketAddr,
    /// How it was found; always [`CandidateKind::Host`] with draft 6, which does not say.
    pub kind: CandidateKind,
    /// Its own credentials, with draft 6 only.
    pub credentials: Option<Credentials>,
}

/// What one medium says of connectivity checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// Whose rules they follow.
    pub dialect: IceDialect,
    /// The sender's credentials; with draft 6 those of its first candidate.
    pub credentials: Credentials,
    /// The sender only answers checks (RFC 8445 §2.5).
    pub lite: bool,
    /// The sender's candidates over UDP. Those over TCP are passed over.
    pub candidates: Vec<Candidate>,
    /// The receiver's candidates that the sender has chosen, by component.
    pub chosen: Vec<(u8, SocketAddr)>,
    /// The same with draft 6: the user of the receiver's chosen candidate, in base64 without padding.
    pub chosen_user: Option<String>,
}

impl Credentials {
    /// Credentials of a candidate after draft 6: random bytes in base64 without padding.
    pub fn draft6(user: [u8; 32], password: [u8; 16]) -> Credentials {
        Credentials { user: STANDARD_NO_PAD.encode(user), password: STANDARD_NO_PAD.encode(password) }
    }
}

impl Ice {
    /// What `medium` of `sdp` says; `None` if it says nothing that can be used.
    pub(super) fn read(sdp: &Sdp, medium: &Media) -> Option<Ice> {
        let lines = || medium.attributes("candidate").take(MAX_CANDIDATES);
        let draft6: Vec<Candidate> = lines().filter_map(draft6_candidate).collect();
        if let Some(first) = draft6.first() {
            let chosen_user =
                medium.attribute("remote-candidate").map(|user| user.trim_end_matches('=').to_owned());
            return Some(Ice {
                dialect: IceDialect::Draft6,
                credentials: first.credentials.clone().unwrap_or_default(),
                lite: false,
                candidates: draft6,
                chosen: Vec::new(),
                chosen_user,
            });
        }
        let either = |name| medium.attribute(name).or_else(|| sdp.session.attribute(name));
        let (user, password) = (either("ice-ufrag")?.to_owned(), either("ice-pwd")?.to_owned());
        let over_tcp = lines().any(|line| transport(line).is_some_and(|word| word.starts_with("TCP-")));
        let dialect = if over_tcp || medium.attribute("encryption").is_some() {
            IceDialect::Draft19
        } else {
            IceDialect::Rfc8445
        };
        Some(Ice {
            dialect,
            credentials: Credentials { user, password },
            lite: sdp.session.attribute("ice-lite").is_some(),
            candidates: lines().filter_map(candidate).collect(),
            chosen: medium.attribute("remote-candidates").map(chosen).unwrap_or_default(),
            chosen_user: None,
        })
    }

    pub(super) fn write(&self, section: &mut Section) {
        if self.dialect != IceDialect::Draft6 {
            section.push_attribute("ice-ufrag", &self.credentials.user);
            section.push_attribute("ice-pwd", &self.credentials.password);
        }
        for candidate in &self.candidates {
            section.push_attribute("candidate", &self.line(candidate));
        }
        if let Some(user) = &self.chosen_user {
            section.push_attribute("remote-candidate", user);
        }
        let chosen: Vec<String> = self
            .chosen
            .iter()
            .map(|(component, address)| format!("{component} {} {}", address.ip(), address.port()))
            .collect();
        if !chosen.is_empty() {
            section.push_attribute("remote-candidates", &chosen.join(" "));
        }
    }

    fn line(&self, candidate: &Candidate) -> String {
        let Candidate { foundation, component, priority, address, kind, credentials } = candidate;
        match credentials {
            Some(Credentials { user, password }) => format!(
                "{user} {component} {password} UDP 0.{:03} {} {}",
                priority % DRAFT6_STEPS,
                address.ip(),
                address.port()
            ),
            None => format!(
                "{foundation} {component} UDP {priority} {} {} typ {}",
                address.ip(),
                address.port(),
                kind.word()
            ),
        }
    }
}

impl CandidateKind {
    fn word(self) -> &'static str {
        match self {
            CandidateKind::Host => "host",
            CandidateKind::ServerReflexive => "srflx",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
        }
    }

    fn parse(word: &str) -> Option<CandidateKind> {
        use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
        [Host, ServerReflexive, PeerReflexive, Relayed].into_iter().find(|kind| kind.word() == word)
    }
}

/// The third field of a line after draft 6.
fn transport(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(2)
}

/// `FOUNDATION COMPONENT UDP PRIORITY ADDRESS PORT typ KIND …`
fn candidate(line: &str) -> Option<Candidate> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
    let [foundation, component, transport, priority, address, port, "typ", kind] = fields[..] else {
        return None;
    };
    if !transport.eq_ignore_ascii_case("UDP") {
        return None;
    }
    Some(Candidate {
        foundation: foundation.to_owned(),
        component: component.parse().ok()?,
        priority: priority.parse().ok()?,
        address: socket(address, port)?,
        kind: CandidateKind::parse(kind)?,
        credentials: None,
    })
}

/// `USER COMPONENT PASSWORD UDP 0.PRIORITY ADDRESS PORT`
fn draft6_candidate(line: &str) -> Option<Candidate> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(7).collect();
    let [user, component, password, transport, priority, address, port] = fields[..] else { return None };
    if !transport.eq_ignore_ascii_case("UDP") {
        return None;
    }
    let digits = match priority.split_once('.') {
        Some(("1", _)) => "999",
        Some(("0", digits)) => digits,
        _ => return None,
    };
    let thousandths: String = digits.chars().chain("000".chars()).take(3).collect();
    Some(Candidate {
        foundation: user.to_owned(),
        component: component.parse().ok()?,
        priority: thousandths.parse().ok()?,
        address: socket(address, port)?,
        kind: CandidateKind::Host,
        credentials: Some(Credentials { user: user.to_owned(), password: password.to_owned() }),
    })
}

fn socket(address: &str, port: &str) -> Option<SocketAddr> {
    let address: IpAddr = address.parse().ok()?;
    Some(SocketAddr::new(address, port.parse().ok()?))
}

/// `COMPONENT ADDRESS PORT` once or twice.
fn chosen(value: &str) -> Vec<(u8, SocketAddr)> {
    let fields: Vec<&str> = value.split_ascii_whitespace().take(6).collect();
    let pair =
        |fields: &[&str]| Some((fields.first()?.parse().ok()?, socket(fields.get(1)?, fields.get(2)?)?));
    fields.chunks(3).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Option<Ice> {
        let sdp = Sdp::parse(format!("v=0\r\nm=audio 34080 RTP/AVP 0\r\n{lines}").as_bytes()).unwrap();
        Ice::read(&sdp, &sdp.media[0])
    }

    fn written(ice: &Ice) -> Vec<String> {
        let mut section = Section::default();
        ice.write(&mut section);
        section.all_attributes().map(|(name, value)| format!("{name}:{value}")).collect()
    }

    #[test]
    fn the_dialects_are_told_apart() {
        let draft6 = "a=candidate:YG5/5vUaOA2pe8jVG74iJtRFT5snHUulDDedz/z82Yw 1 2EJXY+1UEqGKHiFXpQytPA UDP 0.83 192.0.2.2 48643\r\n\
            a=candidate:erSUJCtngXZ0WdvMnic37hgQq1QrW1XWPcxan46ZARw 1 DzN322M3NmxEEWf6as8JgQ TCP 0.830 192.0.2.2 45931\r\n\
            a=remote-candidate:YG5=\r\n";
        let ice = read(draft6).unwrap();
        assert_eq!((ice.dialect, ice.candidates.len()), (IceDialect::Draft6, 1), "TCP is passed over");
        assert_eq!((ice.candidates[0].priority, ice.chosen_user.as_deref()), (830, Some("YG5")));
        assert_eq!(ice.credentials.password, "2EJXY+1UEqGKHiFXpQytPA");
        assert_eq!(
            written(&ice)[0],
            "candidate:YG5/5vUaOA2pe8jVG74iJtRFT5snHUulDDedz/z82Yw 1 2EJXY+1UEqGKHiFXpQytPA UDP 0.830 192.0.2.2 48643"
        );

        let draft19 = "a=candidate:1 1 UDP 2028994815 192.0.2.2 34080 typ host \r\n\
            a=candidate:2 1 TCP-ACT 1013580031 192.0.2.2 59489 typ host \r\n\
            a=candidate:3 2 UDP 7 2001:db8::1 9 typ relay raddr 192.0.2.2 rport 4\r\n\
            a=remote-candidates:1 192.0.2.9 4000 2 192.0.2.9 4001\r\na=ice-ufrag:Yqlg\r\na=ice-pwd:Oi5xgDBoike0BtGnrtdNSD\r\n";
        let ice = read(draft19).unwrap();
        assert_eq!((ice.dialect, ice.candidates.len()), (IceDialect::Draft19, 2));
        assert_eq!(ice.candidates[1].address, "[2001:db8::1]:9".parse().unwrap());
        assert_eq!(ice.candidates[1].kind, CandidateKind::Relayed);
        assert_eq!(ice.chosen[1], (2, "192.0.2.9:4001".parse().unwrap()));
        assert_eq!(
            written(&ice),
            [
                "ice-ufrag:Yqlg",
                "ice-pwd:Oi5xgDBoike0BtGnrtdNSD",
                "candidate:1 1 UDP 2028994815 192.0.2.2 34080 typ host",
                "candidate:3 2 UDP 7 2001:db8::1 9 typ relay",
                "remote-candidates:1 192.0.2.9 4000 2 192.0.2.9 4001",
            ]
        );

        let rfc =
            "a=candidate:1 1 udp 2028994815 192.0.2.2 34080 typ host\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n";
        assert_eq!(read(rfc).unwrap().dialect, IceDialect::Rfc8445);
        let marked = format!("{rfc}a=encryption:optional\r\n");
        assert_eq!(
            read(&marked).unwrap().dialect,
            IceDialect::Draft19,
            "who speaks MS-SDPEXT checks its way"
        );
    }

    #[test]
    fn what_cannot_be_used_is_none() {
        for lines in [
            "",
            "a=candidate:1 1 UDP 2028994815 192.0.2.2 34080 typ host\r\n",
            "a=ice-ufrag:a\r\n",
            "a=candidate:u 1 p UDP 2.0 192.0.2.2 5\r\na=candidate:u x p UDP 0.1 192.0.2.2 5\r\na=candidate\r\n",
        ] {
            assert_eq!(read(lines), None, "{lines}");
        }
        let broken = "a=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:1 1 UDP x 192.0.2.2 1 typ host\r\n\
            a=candidate:1 1 UDP 1 name.example.test 1 typ host\r\na=candidate:1 1 UDP 1 192.0.2.2 1 typ odd\r\na=remote-candidates:1 x\r\n";
        let ice = read(broken).unwrap();
        assert!(ice.candidates.is_empty() && ice.chosen.is_empty());
        let many = "a=candidate:1 1 UDP 1 192.0.2.2 34080 typ host\r\n".repeat(MAX_CANDIDATES + 1);
        assert_eq!(
            read(&format!("{many}a=ice-ufrag:a\r\na=ice-pwd:b\r\n")).unwrap().candidates.len(),
            MAX_CANDIDATES
        );
    }
}
