//! Step 4: the conference key, which people who have not signed in prove that they know (c3p §7.2).
//!
//! It is the organizer's secret. A record holds it sealed; who can open it is outside of this crate.

use std::fmt;

use confab_machine::Entropy;
use serde::{Deserialize, Serialize};

/// How long a key is, in characters. An organizer's program may have made a short one.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=64;
/// How many digits a key of digits alone has at least.
const LEAST_DIGITS: usize = 8;
/// How many characters a key of ours has: fifty bits, and attempts are few.
const MADE_LENGTH: usize = 10;
/// What a key of ours is made of: nothing that is misread or misheard for something else.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A conference key in clear. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ConferenceKey(String);

impl ConferenceKey {
    /// Takes a key of 6 to 64 visible ASCII characters; one of digits alone has at least 8. `None` if
    /// it is no such key.
    pub fn parse(key: &str) -> Option<ConferenceKey> {
        let digits = key.bytes().all(|byte| byte.is_ascii_digit());
        let good = LENGTH.contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
            && (!digits || key.len() >= LEAST_DIGITS);
        good.then(|| ConferenceKey(key.to_owned()))
    }

    /// A new key that nobody can guess.
    pub fn fresh(entropy: &mut Entropy) -> ConferenceKey {
        let drawn: [u8; MADE_LENGTH] = entropy.bytes();
        ConferenceKey(
            drawn.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect(),
        )
    }

    /// The key in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConferenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConferenceKey(..)")
    }
}

/// A conference key as a record holds it: of use only to who can open it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedKey(pub Vec<u8>);

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_odd_keys_are_none() {
        for (key, good) in [
            ("pencil", true),
            ("penci", false),
            ("", false),
            ("1234567", false),
            ("12345678", true),
            ("pen cil", false),
            ("crayon\u{e9}", false),
            ("crayon\r\nX: y", false),
            ("\"=;,%?", true),
        ] {
            assert_eq!(ConferenceKey::parse(key).is_some(), good, "{key}");
        }
        assert!(ConferenceKey::parse(&"a".repeat(64)).is_some());
        assert!(ConferenceKey::parse(&"a".repeat(65)).is_none());
    }

    #[test]
    fn made_keys_are_good_and_differ_and_are_not_shown() {
        let mut entropy = Entropy::from_seed([1; 32]);
        let (one, two) = (ConferenceKey::fresh(&mut entropy), ConferenceKey::fresh(&mut entropy));
        assert_ne!(one, two);
        for key in [one, two] {
            assert_eq!(ConferenceKey::parse(key.reveal()).as_ref(), Some(&key));
            assert!(!format!("{key:?} {:?}", SealedKey(key.reveal().into())).contains(key.reveal()));
        }
    }
}
