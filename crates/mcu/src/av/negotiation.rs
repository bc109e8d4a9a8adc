//! Offer and answer for one stream (RFC 3264): what is taken of an offer, what we offer, and what both
//! come to for the data plane.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use confab_machine::Entropy;
use confab_media::session::{
    self, CandidateKind, Codec, IceCredentials, IceDialect, IceSpec, Kind, MasterKey, Protection, StreamSpec,
    Suite, TransportSpec,
};
use confab_sip::sdp::{
    crypto::{Crypto, CryptoSuite},
    ice::{self, Candidate, Credentials, Ice},
    rtp::{Direction, Encryption, Format, Profile, RtpMedium},
};

use super::AvOptions;

/// The payload types of our own offers that are not fixed.
const OPUS: u8 = 96;
const H264: u8 = 97;
const VP8: u8 = 98;
const TELEPHONE_EVENT: u8 = 101;

/// What telephone events are taken: keys and the hook flash (RFC 4733 §3.2).
const EVENTS: &str = "0-16";

/// What receivers of pictures may ask their senders for: a whole one (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
const WISHES: [&str; 2] = ["nack pli", "ccm fir"];

/// How much sound a packet of ours holds unless another is asked for, in milliseconds.
const PACKET_TIME_MS: u16 = 20;

/// RFC 8445 §5.1.2: the preference of candidates that are addresses of the machine.
const HOST_PREFERENCE: u32 = 126;

/// Why a stream cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Connectivity checks of a kind that is switched off here.
    Checks,
    /// Protection is required, and none that is known is offered.
    Protection,
    /// No format is known on both sides.
    Formats,
    /// He names no address, or one of a family that this server has none of.
    Address,
}

/// What we have for one stream of a leg, for as long as the leg lasts.
#[derive(Debug)]
pub(super) struct Own {
    kind: Kind,
    ssrc: u32,
    /// Our addresses for RTP, and for RTCP where it has a port of its own.
    pub(super) rtp: Vec<SocketAddr>,
    pub(super) rtcp: Vec<SocketAddr>,
    /// Ours by suite, made when they are first wanted: a description that is repeated says the same.
    keys: Vec<(Suite, MasterKey)>,
    /// Ours, and the peer's user fragment that they answer: with another one checks begin anew.
    checks: Option<(String, IceCredentials)>,
    tie_breaker: u64,
    entropy: Entropy,
}

/// What was agreed on, and the line that says so.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) spec: StreamSpec,
    pub(super) answer: RtpMedium,
}

impl Own {
    pub(super) fn new(kind: Kind, mut entropy: Entropy) -> Own {
        let ssrc = u32::from_le_bytes(entropy.bytes());
        let tie_breaker = entropy.number();
        let (rtp, rtcp, keys) = (Vec::new(), Vec::new(), Vec::new());
        Own { kind, ssrc, rtp, rtcp, keys, checks: None, tie_breaker, entropy }
    }

    /// The answer to an offer.
    pub(super) fn answer(&mut self, offer: &RtpMedium, options: AvOptions) -> Result<Agreed, Unfit> {
        let format = choose(self.kind, &offer.formats).ok_or(Unfit::Formats)?;
        let events = events(self.kind, &offer.formats, format.clock);
        let (protection, crypto, profile) = self.protect(offer)?;
        let multiplexed = offer.multiplexed && self.rtcp.is_empty();
        let checks = match &offer.ice {
            Some(ice) if options.allows(dialect(ice.dialect)) => Some(ice),
            Some(ice) if ice.dialect == ice::IceDialect::Draft6 => return Err(Unfit::Checks),
            _ => None,
        };
        let rtp = self.address_like(offer.address).ok_or(Unfit::Address)?;
        let ice = checks.map(|ice| self.describe_checks(ice, multiplexed));
        let transport = match (checks, &ice) {
            (Some(theirs), Some(ours)) => self.check(theirs, ours, false, multiplexed),
            _ => plain(offer, multiplexed)?,
        };
        let time = packet_time(offer.packet_time_ms);
        let spec = StreamSpec {
            send: session::Format {
                number: format.number,
                codec: codec(self.kind, format).ok_or(Unfit::Formats)?,
            },
            receive: vec![session::Format {
                number: format.number,
                codec: codec(self.kind, format).ok_or(Unfit::Formats)?,
            }],
            receive_events: events.map(|events| events.number),
            packet_time: Duration::from_millis(time.into()),
            we_send: offer.direction.receives(),
            we_receive: offer.direction.sends(),
            ssrc: self.ssrc,
            protection,
            transport,
        };
        let mut formats = vec![answered(self.kind, format)];
        formats.extend(events.map(|events| Format { parameters: Some(EVENTS.into()), ..events.clone() }));
        let answer = RtpMedium {
            kind: offer.kind.clone(),
            port: rtp.port(),
            profile,
            address: Some(rtp.ip()),
            formats,
            packet_time_ms: (self.kind == Kind::Audio).then_some(time),
            direction: Direction::new(spec.we_send, spec.we_receive),
            rtcp: if multiplexed { None } else { same_family(&self.rtcp, rtp.ip()) },
            multiplexed,
            crypto,
            encryption: offer.encryption.filter(|_| spec.protection.is_some()),
            ice,
            feedback: feedback(self.kind, &offer.feedback, format.number),
            label: offer.label.clone(),
        };
        Ok(Agreed { spec, answer })
    }

    /// Our offer: what we like best first, protected if the peer can (MS-SDPEXT §3.1.5.6), with our addresses for
    /// connectivity checks and without, and RTCP on a port of its own.
    // Deviation: the keys stand in an RTP/AVP line, as OCS writes it; RFC 4568 has them in RTP/SAVP only.
    pub(super) fn offer(&mut self, options: AvOptions) -> Option<RtpMedium> {
        let rtp = *self.rtp.first()?;
        let crypto = [(1, CryptoSuite::AesCm80), (2, CryptoSuite::AesCm32)].map(|(tag, suite)| Crypto {
            tag,
            suite,
            key: self.key(suite),
            identifier: Vec::new(),
        });
        let checks = options.allows(IceDialect::Rfc8445) || options.allows(IceDialect::Draft19);
        let ice = checks.then(|| {
            let local = self.credentials("", ice::IceDialect::Rfc8445);
            Ice {
                dialect: ice::IceDialect::Rfc8445,
                credentials: Credentials { user: local.user, password: local.password },
                lite: false,
                candidates: self.candidates(None, false),
                chosen: Vec::new(),
                chosen_user: None,
            }
        });
        Some(RtpMedium {
            kind: word(self.kind).to_owned(),
            port: rtp.port(),
            profile: Profile::Avp,
            address: Some(rtp.ip()),
            formats: offered(self.kind),
            packet_time_ms: (self.kind == Kind::Audio).then_some(PACKET_TIME_MS),
            direction: Direction::SendRecv,
            rtcp: same_family(&self.rtcp, rtp.ip()),
            multiplexed: false,
            crypto: crypto.to_vec(),
            encryption: Some(Encryption::Optional),
            ice,
            feedback: if self.kind == Kind::Video {
                WISHES.map(|wish| format!("* {wish}")).to_vec()
            } else {
                Vec::new()
            },
            label: None,
        })
    }

    /// What the answer to [`Own::offer`] comes to.
    pub(super) fn accept(&mut self, answer: &RtpMedium, options: AvOptions) -> Result<StreamSpec, Unfit> {
        let format = choose(self.kind, &answer.formats).ok_or(Unfit::Formats)?;
        let kind = self.kind;
        let codec_of = |format: &Format| codec(kind, format);
        let ours: Vec<session::Format> = offered(self.kind)
            .iter()
            .filter(|ours| {
                answer
                    .formats
                    .iter()
                    .any(|theirs| codec_of(theirs).is_some() && codec_of(theirs) == codec_of(ours))
            })
            .filter_map(|ours| Some(session::Format { number: ours.number, codec: codec_of(ours)? }))
            .collect();
        let protection = match answer.crypto.first() {
            Some(crypto) => Some(Protection {
                suite: suite(crypto.suite),
                send: self.master_key(crypto.suite),
                receive: read_key(crypto),
                optional: false,
            }),
            None if answer.profile.is_secure() => return Err(Unfit::Protection),
            None => None,
        };
        let transport = match &answer.ice {
            Some(theirs) if options.allows(dialect(theirs.dialect)) => {
                let local = self.credentials("", theirs.dialect);
                let ours = Ice {
                    dialect: theirs.dialect,
                    credentials: Credentials { user: local.user, password: local.password },
                    lite: false,
                    candidates: self.candidates(None, false),
                    chosen: Vec::new(),
                    chosen_user: None,
                };
                self.check(theirs, &ours, true, false)
            }
            _ => plain(answer, false)?,
        };
        Ok(StreamSpec {
            send: session::Format { number: format.number, codec: codec_of(format).ok_or(Unfit::Formats)? },
            receive: ours,
            receive_events: events(self.kind, &answer.formats, format.clock).map(|_| TELEPHONE_EVENT),
            packet_time: Duration::from_millis(packet_time(answer.packet_time_ms).into()),
            we_send: answer.direction.receives(),
            we_receive: answer.direction.sends(),
            ssrc: self.ssrc,
            protection,
            transport,
        })
    }

    /// The keys of a stream, the line that answers with ours, and the profile to answer with.
    fn protect(&mut self, offer: &RtpMedium) -> Result<(Option<Protection>, Vec<Crypto>, Profile), Unfit> {
        let gcm = offer.crypto.iter().find(|crypto| crypto.suite == CryptoSuite::AesGcm);
        let wanted = gcm.or(offer.crypto.first()).filter(|_| offer.encryption != Some(Encryption::Rejected));
        let secure = match &offer.profile {
            Profile::Savp => true,
            Profile::Savpf => true,
            Profile::Avp | Profile::Avpf => false,
            Profile::Other(_) => return Err(Unfit::Protection),
        };
        let Some(wanted) = wanted else {
            let required = secure || offer.encryption == Some(Encryption::Required);
            return if required {
                Err(Unfit::Protection)
            } else {
                Ok((None, Vec::new(), offer.profile.clone()))
            };
        };
        // Who offers protection without insisting gets it (MS-SDPEXT §3.1.5.6).
        let profile = match offer.profile {
            Profile::Avpf | Profile::Savpf => Profile::Savpf,
            _ => Profile::Savp,
        };
        let key = self.key(wanted.suite);
        let identifier = wanted.identifier.clone();
        let send = MasterKey { identifier: identifier.clone(), ..self.master_key(wanted.suite) };
        let protection =
            Protection { suite: suite(wanted.suite), send, receive: read_key(wanted), optional: !secure };
        let crypto = Crypto { tag: wanted.tag, suite: wanted.suite, key, identifier };
        Ok((Some(protection), vec![crypto], profile))
    }

    /// Our master key of a suite.
    fn master_key(&mut self, wanted: CryptoSuite) -> MasterKey {
        let wanted_suite = suite(wanted);
        if let Some((_, key)) = self.keys.iter().find(|(suite, _)| *suite == wanted_suite) {
            return key.clone();
        }
        let salt = self.entropy.bytes::<14>();
        let key = MasterKey {
            key: self.entropy.bytes(),
            salt: salt[..wanted.key_bytes() - 16].to_vec(),
            identifier: Vec::new(),
        };
        self.keys.push((wanted_suite, key.clone()));
        key
    }

    /// The same as descriptions have it: key and salt in one.
    fn key(&mut self, suite: CryptoSuite) -> Vec<u8> {
        let key = self.master_key(suite);
        [&key.key[..], &key.salt[..]].concat()
    }

    /// Our credentials toward a peer with this user fragment.
    fn credentials(&mut self, their_user: &str, dialect: ice::IceDialect) -> IceCredentials {
        if let Some((user, ours)) = &self.checks
            && user == their_user
        {
            return ours.clone();
        }
        let ours = if dialect == ice::IceDialect::Draft6 {
            let Credentials { user, password } =
                Credentials::draft6(self.entropy.bytes(), self.entropy.bytes());
            IceCredentials { user, password }
        } else {
            IceCredentials { user: self.entropy.hex::<4>(), password: self.entropy.hex::<12>() }
        };
        self.checks = Some((their_user.to_owned(), ours.clone()));
        ours
    }

    /// Our part of connectivity checks, in answer to theirs. Once they have chosen, so have we.
    fn describe_checks(&mut self, theirs: &Ice, multiplexed: bool) -> Ice {
        let IceCredentials { user, password } = self.credentials(&theirs.credentials.user, theirs.dialect);
        let credentials = Credentials { user, password };
        let own = (theirs.dialect == ice::IceDialect::Draft6).then_some(&credentials);
        let mut candidates = self.candidates(own, multiplexed);
        let mut chosen = Vec::new();
        if !theirs.chosen.is_empty() {
            let is_chosen = |ours: &Candidate| theirs.chosen.contains(&(ours.component, ours.address));
            // Behind a translator of addresses they have chosen one that we do not know of.
            if candidates.iter().any(is_chosen) {
                candidates.retain(is_chosen);
            }
            for component in [1, 2] {
                let first = theirs.candidates.iter().find(|candidate| candidate.component == component);
                chosen.extend(first.map(|candidate| (component, candidate.address)));
            }
        }
        let chosen_user = theirs.chosen_user.as_ref().map(|_| theirs.credentials.user.clone());
        Ice { dialect: theirs.dialect, credentials, lite: false, candidates, chosen, chosen_user }
    }

    fn candidates(&self, credentials: Option<&Credentials>, multiplexed: bool) -> Vec<Candidate> {
        let flows = [(1_u8, &self.rtp), (2, &self.rtcp)];
        let flows = flows.into_iter().filter(|(component, _)| *component == 1 || !multiplexed);
        flows
            .flat_map(|(component, addresses)| {
                addresses.iter().enumerate().map(move |(index, address)| (component, index, *address))
            })
            .map(|(component, index, address)| {
                let place = u32::try_from(index).unwrap_or_default();
                Candidate {
                    foundation: (index + 1).to_string(),
                    component,
                    priority: match credentials {
                        // Of draft 6 in thousandths: one step apart, RTP and RTCP alike.
                        Some(_) => 830 - place,
                        None => HOST_PREFERENCE << 24 | (65_535 - place) << 8 | (256 - u32::from(component)),
                    },
                    address,
                    kind: ice::CandidateKind::Host,
                    credentials: credentials.cloned(),
                }
            })
            .collect()
    }

    fn check(&self, theirs: &Ice, ours: &Ice, offered: bool, multiplexed: bool) -> TransportSpec {
        let credentials = |credentials: &Credentials| IceCredentials {
            user: credentials.user.clone(),
            password: credentials.password.clone(),
        };
        let candidates = |all: &[Candidate]| {
            all.iter()
                .map(|candidate| session::Candidate {
                    foundation: candidate.foundation.clone(),
                    component: candidate.component,
                    priority: candidate.priority,
                    address: candidate.address,
                    kind: kind(candidate.kind),
                    credentials: candidate.credentials.as_ref().map(credentials),
                })
                .collect()
        };
        TransportSpec::Ice(Box::new(IceSpec {
            dialect: dialect(theirs.dialect),
            controlling: offered || theirs.lite,
            tie_breaker: self.tie_breaker,
            local: credentials(&ours.credentials),
            remote: credentials(&theirs.credentials),
            local_candidates: candidates(&ours.candidates),
            remote_candidates: candidates(&theirs.candidates),
            multiplexed,
        }))
    }

    /// Our address of the family that the peer uses; the first if he does not say.
    fn address_like(&self, theirs: Option<IpAddr>) -> Option<SocketAddr> {
        match theirs {
            Some(theirs) => same_family(&self.rtp, theirs),
            None => self.rtp.first().copied(),
        }
    }
}

/// As media lines call it.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    }
}

fn same_family(ours: &[SocketAddr], theirs: IpAddr) -> Option<SocketAddr> {
    ours.iter().copied().find(|ours| ours.is_ipv4() == theirs.is_ipv4())
}

fn plain(medium: &RtpMedium, multiplexed: bool) -> Result<TransportSpec, Unfit> {
    let rtp = medium.rtp_address().ok_or(Unfit::Address)?;
    let rtcp = if multiplexed { rtp } else { medium.rtcp_address().unwrap_or(rtp) };
    Ok(TransportSpec::Plain { rtp, rtcp })
}

/// How well we like a format: the lower the better.
fn rank(codec: Codec) -> u8 {
    match codec {
        Codec::Opus | Codec::H264 | Codec::Vp8 => 0,
        Codec::G722 => 1,
        Codec::Pcmu | Codec::Pcma => 2,
    }
}

/// The format we take of those that are offered: of equally good ones the first.
fn choose(kind: Kind, formats: &[Format]) -> Option<&Format> {
    let known = formats.iter().filter_map(|format| Some((rank(codec(kind, format)?), format)));
    known.min_by_key(|(rank, _)| *rank).map(|(_, format)| format)
}

fn codec(kind: Kind, format: &Format) -> Option<Codec> {
    let of = |encoding, clock| format.is(encoding, clock);
    match kind {
        // Opus is written with two channels, however many it has (RFC 7587 §7): with one, it is an older draft's.
        Kind::Audio if of("opus", 48_000) && format.channels == 2 => Some(Codec::Opus),
        Kind::Audio if format.channels != 1 => None,
        Kind::Audio if of("G722", 8000) => Some(Codec::G722),
        Kind::Audio if of("PCMU", 8000) => Some(Codec::Pcmu),
        Kind::Audio if of("PCMA", 8000) => Some(Codec::Pcma),
        Kind::Video if of("H264", 90_000) => Some(Codec::H264),
        Kind::Video if of("VP8", 90_000) => Some(Codec::Vp8),
        _ => None,
    }
}

/// The telephone events that go with a format: at its clock, or at the usual one.
fn events(kind: Kind, formats: &[Format], clock: u32) -> Option<&Format> {
    let at = |clock| formats.iter().find(|format| format.is("telephone-event", clock));
    (kind == Kind::Audio).then(|| at(clock).or_else(|| at(8000))).flatten()
}

/// What may be asked for of what is offered.
fn feedback(kind: Kind, offered: &[String], number: u8) -> Vec<String> {
    let is_taken = |line: &&String| {
        let asked = line.split_once(' ').filter(|(of, _)| *of == "*" || *of == number.to_string());
        kind == Kind::Video && asked.is_some_and(|(_, wish)| WISHES.contains(&wish.trim()))
    };
    offered.iter().filter(is_taken).cloned().collect()
}

/// A format as our answer has it.
fn answered(kind: Kind, offered: &Format) -> Format {
    let parameters = match codec(kind, offered) {
        Some(Codec::Opus) => Some("useinbandfec=1".to_owned()),
        Some(Codec::H264) => offered.parameters.clone(),
        _ => None,
    };
    Format { parameters, ..offered.clone() }
}

/// What we offer, best first.
fn offered(kind: Kind) -> Vec<Format> {
    let format = |number, encoding: &str, clock, channels, parameters: Option<&str>| Format {
        number,
        encoding: encoding.to_owned(),
        clock,
        channels,
        parameters: parameters.map(str::to_owned),
    };
    match kind {
        Kind::Audio => vec![
            format(OPUS, "opus", 48_000, 2, Some("useinbandfec=1")),
            format(9, "G722", 8000, 1, None),
            format(8, "PCMA", 8000, 1, None),
            format(0, "PCMU", 8000, 1, None),
            format(TELEPHONE_EVENT, "telephone-event", 8000, 1, Some(EVENTS)),
        ],
        Kind::Video => vec![
            format(H264, "H264", 90_000, 1, Some("profile-level-id=42e01f;packetization-mode=1")),
            format(VP8, "VP8", 90_000, 1, None),
        ],
    }
}

/// 10 to 60 ms in steps of 10, the usual 20 otherwise.
fn packet_time(asked: Option<u16>) -> u16 {
    asked.filter(|time| (10..=60).contains(time) && time % 10 == 0).unwrap_or(PACKET_TIME_MS)
}

fn read_key(crypto: &Crypto) -> MasterKey {
    let (key, salt) = crypto.key.split_at(16);
    MasterKey {
        key: key.try_into().expect("a crypto line has a key of 16 bytes"),
        salt: salt.to_vec(),
        identifier: crypto.identifier.clone(),
    }
}

fn suite(suite: CryptoSuite) -> Suite {
    match suite {
        CryptoSuite::AesCm80 => Suite::AesCm80,
        CryptoSuite::AesCm32 => Suite::AesCm32,
        CryptoSuite::AesGcm => Suite::AesGcm,
    }
}

pub(super) fn dialect(dialect: ice::IceDialect) -> IceDialect {
    match dialect {
        ice::IceDialect::Draft6 => IceDialect::Draft6,
        ice::IceDialect::Draft19 => IceDialect::Draft19,
        ice::IceDialect::Rfc8445 => IceDialect::Rfc8445,
    }
}

fn kind(kind: ice::CandidateKind) -> CandidateKind {
    match kind {
        ice::CandidateKind::Host => CandidateKind::Host,
        ice::CandidateKind::ServerReflexive => CandidateKind::ServerReflexive,
        ice::CandidateKind::PeerReflexive => CandidateKind::PeerReflexive,
        ice::CandidateKind::Relayed => CandidateKind::Relayed,
    }
}
