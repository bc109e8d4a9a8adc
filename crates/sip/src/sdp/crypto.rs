//! `a=crypto` lines: keys of SRTP within the description (RFC 4568, RFC 7714 §14; MS-SDPEXT §3.1.5.2).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Base64 with or without padding: both are met.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest master key identifier (RFC 4568 §6.1).
const MAX_IDENTIFIER: usize = 128;

/// A suite of transforms that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CryptoSuite {
    /// `AES_CM_128_HMAC_SHA1_80`
    AesCm80,
    /// `AES_CM_128_HMAC_SHA1_32`
    AesCm32,
    /// `AEAD_AES_128_GCM`
    AesGcm,
}

/// One `a=crypto` line.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto {
    /// By which the answer names it.
    pub tag: u32,
    /// The transforms.
    pub suite: CryptoSuite,
    /// The master key (16 bytes) and, behind it, the salt (14 bytes; 12 for GCM).
    pub key: Vec<u8>,
    /// The master key identifier, as packets bear it; empty if there is none.
    pub identifier: Vec<u8>,
}

/// Keys are not for logs.
impl std::fmt::Debug for Crypto {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Crypto({} {:?})", self.tag, self.suite)
    }
}

impl CryptoSuite {
    const ALL: [(CryptoSuite, &'static str); 3] = [
        (CryptoSuite::AesCm80, "AES_CM_128_HMAC_SHA1_80"),
        (CryptoSuite::AesCm32, "AES_CM_128_HMAC_SHA1_32"),
        (CryptoSuite::AesGcm, "AEAD_AES_128_GCM"),
    ];

    /// How many bytes master key and salt have together.
    pub const fn key_bytes(self) -> usize {
        match self {
            CryptoSuite::AesCm80 | CryptoSuite::AesCm32 => 30,
            CryptoSuite::AesGcm => 28,
        }
    }

    fn name(self) -> &'static str {
        CryptoSuite::ALL.iter().find(|(suite, _)| *suite == self).map_or("", |(_, name)| name)
    }
}

impl Crypto {
    /// Reads the value of one line. `None` if it is not to be used: another suite, several keys, or a session
    /// parameter that is not optional (RFC 4568 §6.3).
    pub fn parse(value: &str) -> Option<Crypto> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next()?.parse().ok()?;
        let suite = fields.next()?;
        let (suite, _) = CryptoSuite::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(suite))?;
        let (key, identifier) = key(fields.next()?, *suite)?;
        let is_tolerable = |parameter: &str| parameter.starts_with('-') || parameter.starts_with("WSH=");
        fields.all(is_tolerable).then_some(Crypto { tag, suite: *suite, key, identifier })
    }

    /// The value of the line. The lifetime is always named, for there are clients that read no line without it;
    /// the master key identifier only if there is one (MS-SDPEXT, RFC 4568 §6.1).
    pub fn value(&self) -> String {
        let mut text = format!("{} {} inline:{}|2^31", self.tag, self.suite.name(), BASE64.encode(&self.key));
        if !self.identifier.is_empty() {
            let number = self.identifier.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
            text.push_str(&format!("|{number}:{}", self.identifier.len()));
        }
        text
    }
}

/// `inline:KEY[|LIFETIME][|MKI:LENGTH]`
fn key(parameter: &str, suite: CryptoSuite) -> Option<(Vec<u8>, Vec<u8>)> {
    let (method, info) = parameter.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") || info.contains(';') {
        return None;
    }
    let mut pieces = info.split('|');
    let key = BASE64.decode(pieces.next()?).ok().filter(|key| key.len() == suite.key_bytes())?;
    let mut marked = Vec::new();
    for piece in pieces {
        match piece.split_once(':') {
            Some((number, length)) => marked = identifier(number.parse().ok()?, length.parse().ok()?)?,
            // The lifetime: how many packets one key may protect is bounded by the sequence numbers anyway.
            None if piece.starts_with("2^") || piece.bytes().all(|byte| byte.is_ascii_digit()) => {}
            None => return None,
        }
    }
    Some((key, marked))
}

/// The number in so many bytes.
fn identifier(number: u128, length: usize) -> Option<Vec<u8>> {
    if length == 0 || length > MAX_IDENTIFIER {
        return None;
    }
    let bytes = number.to_be_bytes();
    if length >= bytes.len() {
        return Some([vec![0; length - bytes.len()], bytes.to_vec()].concat());
    }
    let (head, tail) = bytes.split_at(bytes.len() - length);
    head.iter().all(|byte| *byte == 0).then(|| tail.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW";

    #[test]
    fn lines_that_can_be_used() {
        let check = |value: &str, suite: CryptoSuite, identifier: &[u8]| {
            let crypto = Crypto::parse(value).unwrap_or_else(|| panic!("{value} can be used"));
            assert_eq!((crypto.suite, crypto.identifier.as_slice()), (suite, identifier), "{value}");
            assert_eq!(crypto.key.len(), suite.key_bytes());
            assert_eq!(Crypto::parse(&crypto.value()), Some(crypto), "{value} is printed as it is read");
        };
        check(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), CryptoSuite::AesCm80, &[]);
        check(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31"), CryptoSuite::AesCm80, &[]);
        check(
            &format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|1048576|1:4"),
            CryptoSuite::AesCm32,
            &[0, 0, 0, 1],
        );
        check(&format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31|1:1"), CryptoSuite::AesCm80, &[1]);
        check(
            &format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|66051:3 -NEW WSH=64"),
            CryptoSuite::AesCm80,
            &[1, 2, 3],
        );
        check(
            "7 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==|2^48",
            CryptoSuite::AesGcm,
            &[],
        );
    }

    #[test]
    fn lines_that_cannot() {
        for value in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "x AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 F8_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW",
            "1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW|2^31|1:0",
            "1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW|2^31|256:1",
            "1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW|2^31|1:129",
            "1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW|soon",
            "1 AES_CM_128_HMAC_SHA1_80 inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:A|1:1;inline:B|2:1",
            "1 AEAD_AES_128_GCM inline:ggnmEe/dKd/ZVzzjcEyFUI8KWkK3LuM3dtmoAYtW",
        ] {
            assert_eq!(Crypto::parse(value), None, "{value}");
        }
    }

    #[test]
    fn the_lifetime_is_always_named_and_an_identifier_only_if_there_is_one() {
        let offered = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let crypto = Crypto::parse(&offered).unwrap();
        assert_eq!(crypto.value(), format!("{offered}|2^31"));
        assert!(!format!("{crypto:?}").contains(KEY), "keys are not for logs");
    }
}
