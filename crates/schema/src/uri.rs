//! The SIP URIs that C3P documents carry (MS-CONFPRO §2.2.1.2; c3p §2): people, conferences, their
//! servers and the factory. They are built and compared here, never routed.
//!
//! All of a conference's URIs follow from its organizer and its ID, and clients build them
//! themselves by replacing one word, so the scheme is not ours to change:
//! `sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F0`.

mod split;

use std::{cmp::Ordering, fmt, hash};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::xml::{Malformed, quoted};
pub use split::MAX_URI;
use split::split;

/// How long the ID of a conference is, in characters.
pub const ID_LENGTH: std::ops::RangeInclusive<usize> = 8..=32;

/// What stands between the organizer and the rest of the `opaque` parameter.
const GRUU: &str = ";gruu;opaque=app:conf:";
const FOCUS: &str = "focus";
const FOCUS_FACTORY: &str = "focusfactory";

macro_rules! as_string {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_string!(UserUri, ConferenceId, ConferenceUri, McuUri, FactoryUri, McuType);

/// A person's address, `sip:ann@example.test`: in lower case, without port and parameters, so that
/// equal people have equal addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserUri(String);

impl UserUri {
    /// Reads a `sip:` or `sips:` URI with a user part; port, password, parameters and headers are
    /// dropped.
    ///
    /// # Errors
    /// If it is no such URI.
    pub fn parse(uri: &str) -> Result<UserUri, Malformed> {
        Ok(split(uri)?.0)
    }

    /// The user as a trace may name him: his URI, but a telephone number stays out of it.
    pub fn traced(&self) -> &str {
        let user = self.user().strip_prefix('+').unwrap_or(self.user());
        let number = !user.is_empty() && user.chars().all(|c| c.is_ascii_digit() || "-.();=".contains(c));
        if number { "a telephone" } else { &self.0 }
    }

    /// The address as people write it, without the scheme: `ann@example.test`.
    pub fn address(&self) -> &str {
        self.0.strip_prefix("sip:").unwrap_or(&self.0)
    }

    /// The part before the `@`: `ann`. Escapes of harmless characters are undone.
    pub fn user(&self) -> &str {
        self.parts().0
    }

    /// The part after the `@`: `example.test`.
    pub fn domain(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0["sip:".len()..].split_once('@').expect("parse saw to the @")
    }
}

impl fmt::Display for UserUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What tells an organizer's conferences apart: 8 to 32 ASCII letters and digits. Case is kept and
/// does not matter.
#[derive(Clone, Debug)]
pub struct ConferenceId(String);

impl ConferenceId {
    /// Reads an ID.
    ///
    /// # Errors
    /// If it has the wrong length or characters.
    pub fn parse(id: &str) -> Result<ConferenceId, Malformed> {
        if ID_LENGTH.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(ConferenceId(id.to_owned()));
        }
        let (from, to) = (ID_LENGTH.start(), ID_LENGTH.end());
        Err(Malformed::new(format!(
            "{} is no conference ID; one has {from} to {to} letters and digits.",
            quoted(id)
        )))
    }

    /// The ID as it was made.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for ConferenceId {
    fn eq(&self, other: &ConferenceId) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ConferenceId {}

impl PartialOrd for ConferenceId {
    fn partial_cmp(&self, other: &ConferenceId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ConferenceId {
    fn cmp(&self, other: &ConferenceId) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl hash::Hash for ConferenceId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl fmt::Display for ConferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A conference, which is to say its Focus: `sip:ann@example.test;gruu;opaque=app:conf:focus:id:ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConferenceUri {
    /// Who scheduled it.
    pub organizer: UserUri,
    /// Which of his conferences it is.
    pub id: ConferenceId,
}

impl ConferenceUri {
    /// Reads a Focus' URI.
    ///
    /// # Errors
    /// If it is another URI or none.
    pub fn parse(uri: &str) -> Result<ConferenceUri, Malformed> {
        match OpaqueTarget::parse(uri) {
            OpaqueTarget::Focus(conference) => Ok(conference),
            _ => Err(Malformed::new(format!("{} is no conference URI.", quoted(uri)))),
        }
    }

    /// The URI of the conference's server for a medium.
    pub fn mcu(&self, media: McuType) -> McuUri {
        McuUri { conference: self.clone(), media }
    }
}

impl fmt::Display for ConferenceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{GRUU}{FOCUS}:id:{}", self.organizer, self.id)
    }
}

/// A conference's server for one medium: `sip:ann@example.test;gruu;opaque=app:conf:chat:id:ID`.
/// It is as virtual as the conference: SIP to it goes to the Focus first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct McuUri {
    /// The conference.
    pub conference: ConferenceUri,
    /// The medium.
    pub media: McuType,
}

impl McuUri {
    /// Reads a conferencing server's URI.
    ///
    /// # Errors
    /// If it is another URI or none.
    pub fn parse(uri: &str) -> Result<McuUri, Malformed> {
        match OpaqueTarget::parse(uri) {
            OpaqueTarget::Mcu(mcu) => Ok(mcu),
            _ => Err(Malformed::new(format!("{} is no conferencing server's URI.", quoted(uri)))),
        }
    }
}

impl fmt::Display for McuUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConferenceUri { organizer, id } = &self.conference;
        write!(f, "{organizer}{GRUU}{}:id:{id}", self.media)
    }
}

/// Where a person schedules conferences: `sip:ann@example.test;gruu;opaque=app:conf:focusfactory`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactoryUri(UserUri);

impl FactoryUri {
    /// The Focus Factory of this person.
    pub fn of(organizer: UserUri) -> FactoryUri {
        FactoryUri(organizer)
    }

    /// Reads a Focus Factory's URI.
    ///
    /// # Errors
    /// If it is another URI or none.
    pub fn parse(uri: &str) -> Result<FactoryUri, Malformed> {
        match OpaqueTarget::parse(uri) {
            OpaqueTarget::FocusFactory(factory) => Ok(factory),
            _ => Err(Malformed::new(format!("{} is no Focus Factory's URI.", quoted(uri)))),
        }
    }

    /// Whose it is.
    pub fn organizer(&self) -> &UserUri {
        &self.0
    }
}

impl fmt::Display for FactoryUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{GRUU}{FOCUS_FACTORY}", self.0)
    }
}

/// What a conferencing server does: one type per medium (MS-CONFBAS §2.2.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum McuType {
    /// Instant messages.
    Chat,
    /// Voice and video.
    AudioVideo,
    /// Web conferencing.
    Meeting,
    /// A desktop or a program shown to all.
    ApplicationSharing,
    /// Telephony by an audio conferencing provider.
    PhoneConf,
}

impl McuType {
    /// All of them.
    pub const ALL: [McuType; 5] = [
        McuType::Chat,
        McuType::AudioVideo,
        McuType::Meeting,
        McuType::ApplicationSharing,
        McuType::PhoneConf,
    ];

    /// The word for it in URIs and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            McuType::Chat => "chat",
            McuType::AudioVideo => "audio-video",
            McuType::Meeting => "meeting",
            McuType::ApplicationSharing => "applicationsharing",
            McuType::PhoneConf => "phone-conf",
        }
    }

    /// Reads the word, in any case.
    ///
    /// # Errors
    /// If it is no type this product knows.
    pub fn parse(word: &str) -> Result<McuType, Malformed> {
        McuType::ALL
            .into_iter()
            .find(|media| media.as_str().eq_ignore_ascii_case(word.trim()))
            .ok_or_else(|| Malformed::new(format!("{} is no type of conferencing server.", quoted(word))))
    }
}

impl fmt::Display for McuType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a SIP URI means to a conferencing system: its `opaque` parameter says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpaqueTarget {
    /// No `opaque` parameter: the person himself.
    User(UserUri),
    /// A conference.
    Focus(ConferenceUri),
    /// Where he schedules conferences.
    FocusFactory(FactoryUri),
    /// A conference's server for one medium.
    Mcu(McuUri),
    /// Anything else: one of his endpoints, another service, a host, no SIP URI at all.
    Other,
}

impl OpaqueTarget {
    /// Sorts any text.
    pub fn parse(uri: &str) -> OpaqueTarget {
        let Ok((user, opaque)) = split(uri) else { return OpaqueTarget::Other };
        match opaque {
            None => OpaqueTarget::User(user),
            Some(opaque) => conference_target(user, &opaque).unwrap_or(OpaqueTarget::Other),
        }
    }
}

fn conference_target(organizer: UserUri, opaque: &str) -> Option<OpaqueTarget> {
    let mut words = opaque.split(':');
    let is = |word: Option<&str>, expect: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(expect));
    if !is(words.next(), "app") || !is(words.next(), "conf") {
        return None;
    }
    let kind = words.next()?;
    let rest: Vec<&str> = words.collect();
    match rest.as_slice() {
        [] if kind.eq_ignore_ascii_case(FOCUS_FACTORY) => {
            Some(OpaqueTarget::FocusFactory(FactoryUri(organizer)))
        }
        [key, id] if key.eq_ignore_ascii_case("id") => {
            let conference = ConferenceUri { organizer, id: ConferenceId::parse(id).ok()? };
            if kind.eq_ignore_ascii_case(FOCUS) {
                return Some(OpaqueTarget::Focus(conference));
            }
            let media = McuType::parse(kind).ok()?;
            Some(OpaqueTarget::Mcu(McuUri { conference, media }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uri_is_sorted() {
        let ann = UserUri::parse("sip:ann@example.test").unwrap();
        let id = ConferenceId::parse("3E1C92F0").unwrap();
        let conference = ConferenceUri { organizer: ann.clone(), id };
        let check = |uri: &str, expect: OpaqueTarget| assert_eq!(OpaqueTarget::parse(uri), expect, "{uri}");
        let focus = || OpaqueTarget::Focus(conference.clone());
        check("sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F0", focus());
        check("SIP:Ann@example.test:5061;opaque=APP:conf:Focus:ID:3e1c92f0;gruu?conf-key=1", focus());
        check("sip:ann@example.test;gruu;opaque=app%3Aconf%3Afocus%3Aid%3A3E1C92F0", focus());
        check(
            "sip:ann@example.test;gruu;opaque=app:conf:audio-video:id:3E1C92F0",
            OpaqueTarget::Mcu(conference.mcu(McuType::AudioVideo)),
        );
        check(
            "sip:ann@example.test;gruu;opaque=app:conf:focusfactory",
            OpaqueTarget::FocusFactory(FactoryUri::of(ann.clone())),
        );
        check("sip:ann@example.test", OpaqueTarget::User(ann.clone()));
        check("sip:ann@example.test;transport=tcp", OpaqueTarget::User(ann));
        for other in [
            "sip:ann@example.test;gruu;opaque=app:conf:focus:id:SHORT",
            "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F0:x",
            "sip:ann@example.test;gruu;opaque=app:conf:data-conf:id:3E1C92F0",
            "sip:ann@example.test;gruu;opaque=app:conf:focus",
            "sip:ann@example.test;gruu;opaque=srvr:MRAS:0",
            "sip:ann@example.test;opaque=user:epid:abc;gruu",
            "sip:ann@example.test;opaque=%",
            "sip:example.test",
            "tel:+4930555",
            "",
        ] {
            check(other, OpaqueTarget::Other);
        }
    }

    #[test]
    fn uris_print_what_they_read() {
        let focus = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3e1C92F0";
        let conference = ConferenceUri::parse(focus).unwrap();
        assert_eq!(conference.to_string(), focus);
        for media in McuType::ALL {
            let mcu = conference.mcu(media);
            assert_eq!(mcu.to_string(), focus.replace("focus", media.as_str()));
            assert_eq!(McuUri::parse(&mcu.to_string()), Ok(mcu));
        }
        let factory = "sip:ann@example.test;gruu;opaque=app:conf:focusfactory";
        assert_eq!(FactoryUri::parse(factory).unwrap().to_string(), factory);
        assert!(ConferenceUri::parse(factory).is_err());
        assert!(McuUri::parse(focus).is_err());
        let json = serde_json::to_string(&conference).unwrap();
        assert_eq!(serde_json::from_str::<ConferenceUri>(&json).unwrap(), conference);
        assert!(serde_json::from_str::<ConferenceUri>("\"sip:ann@example.test\"").is_err());
    }

    #[test]
    fn ids_ignore_case_and_keep_it() {
        let (one, two) = (ConferenceId::parse("abcDEF12").unwrap(), ConferenceId::parse("ABCdef12").unwrap());
        assert_eq!(one, two);
        assert_eq!(one.cmp(&two), Ordering::Equal);
        assert_eq!(one.to_string(), "abcDEF12");
        assert!(ConferenceId::parse("3814A82809A34ED0958CFDB60957BDF").is_ok());
        for bad in ["", "1234567", "123456789012345678901234567890123", "1234567-", "１２３４５６７８"]
        {
            assert!(ConferenceId::parse(bad).is_err(), "{bad}");
        }
    }
}
