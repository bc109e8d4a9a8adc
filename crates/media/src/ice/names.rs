//! Who checks whom: user names and passwords in each dialect.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::session::{IceCredentials, IceDialect};

/// The longest user fragment or password (RFC 8445 §5.3), and of draft 6 more than there is.
const LONGEST: usize = 256;

/// Descriptions of draft 6 leave the padding out; some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A user fragment with its password, as the bytes that stand in checks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

/// The password is not for logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// Reads them from a description; `None` if they are missing, too long or no base64.
    pub fn read(dialect: IceDialect, text: &IceCredentials) -> Option<Credentials> {
        let bytes = |text: &str| match dialect {
            IceDialect::Draft6 => BASE64.decode(text).ok(),
            IceDialect::Draft19 | IceDialect::Rfc8445 => Some(text.as_bytes().to_vec()),
        };
        let (user, password) = (bytes(&text.user)?, bytes(&text.password)?);
        let fits = |bytes: &[u8]| (1..=LONGEST).contains(&bytes.len());
        (fits(&user) && fits(&password)).then_some(Credentials { user, password })
    }
}

/// The USERNAME of a check to `to` by `from`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    bytes: [u8; 2 * LONGEST + 16],
    len: usize,
}

impl Name {
    /// Draft 6: both with the component behind, then one to four zeros, as libnice compares it. Draft 19:
    /// zeros up to a whole word.
    pub fn new(dialect: IceDialect, component: u8, to: &[u8], from: &[u8]) -> Name {
        let mut name = Name { bytes: [0; 2 * LONGEST + 16], len: 0 };
        let component = [b':', b'0' + component];
        name.push(to);
        if dialect == IceDialect::Draft6 {
            name.push(&component);
        }
        name.push(b":");
        name.push(from);
        match dialect {
            IceDialect::Draft6 => {
                name.push(&component);
                name.len += 4 - name.len % 4;
            }
            IceDialect::Draft19 => name.len = name.len.next_multiple_of(4),
            IceDialect::Rfc8445 => {}
        }
        name
    }

    /// As it stands in the attribute.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Who checks, if `name` (without zeros behind) is that of a check to `us`.
pub(super) fn sender<'a>(dialect: IceDialect, component: u8, us: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    let rest = name.strip_prefix(us)?;
    match dialect {
        IceDialect::Draft6 => {
            let component = [b':', b'0' + component];
            rest.strip_prefix(&component)?.strip_prefix(b":")?.strip_suffix(&component)
        }
        IceDialect::Draft19 | IceDialect::Rfc8445 => rest.strip_prefix(b":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IceDialect::{Draft6, Draft19, Rfc8445};

    #[test]
    fn names_say_who_checks_whom() {
        for dialect in [Draft6, Draft19, Rfc8445] {
            for from in [&b"a"[..], b"ab", b"abc", b"abcd:2"] {
                let name = Name::new(dialect, 2, b"us", from);
                let bare = name.bytes().trim_suffix_zeros();
                assert_eq!(sender(dialect, 2, b"us", bare), Some(from), "{dialect:?}");
                assert_eq!(sender(dialect, 2, b"others", bare), None);
                assert_eq!(sender(dialect, 1, b"us", bare).is_some(), dialect != Draft6);
            }
        }
        assert_eq!(Name::new(Draft6, 1, b"ab", b"cd").bytes(), b"ab:1:cd:1\0\0\0");
        assert_eq!(Name::new(Draft6, 1, b"ab", b"c").bytes(), b"ab:1:c:1\0\0\0\0");
        assert_eq!(Name::new(Draft19, 1, b"ab", b"cd").bytes(), b"ab:cd\0\0\0");
        assert_eq!(Name::new(Draft19, 1, b"ab", b"c").bytes(), b"ab:c");
        assert_eq!(Name::new(Rfc8445, 1, b"ab", b"cd").bytes(), b"ab:cd");
    }

    #[test]
    fn credentials_of_draft_6_are_base64_without_padding() {
        let read = |user: &str, password: &str| {
            let text = IceCredentials { user: user.into(), password: password.into() };
            Credentials::read(Draft6, &text)
        };
        let padded = read("AQIDBA==", "/+8=").expect("they are base64");
        assert_eq!((&padded.user[..], &padded.password[..]), (&[1, 2, 3, 4][..], &[0xff, 0xef][..]));
        assert_eq!(read("AQIDBA", "/+8"), Some(padded));
        for (user, password) in [("", "AQ"), ("AQ", ""), ("!!", "AQ")] {
            assert_eq!(read(user, password), None);
        }
        let long = IceCredentials { user: "u".repeat(257), password: "p".into() };
        assert_eq!(Credentials::read(Rfc8445, &long), None);
    }

    trait Bare {
        fn trim_suffix_zeros(&self) -> &[u8];
    }

    impl Bare for [u8] {
        fn trim_suffix_zeros(&self) -> &[u8] {
            let end = self.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            &self[..end]
        }
    }
}
