//! Randomness, handed in: tags, branches, nonces and endpoint identifiers come from here.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// A generator of unguessable values that the shell seeds.
///
/// It is never written out: a machine restored from a snapshot is given a fresh one, so that no
/// value repeats. The default one is unseeded and panics when it is drawn from, which makes a
/// forgotten seeding loud.
#[derive(Clone, Default)]
pub struct Entropy(Option<Box<ChaCha20Rng>>);

impl Entropy {
    /// A generator whose every value follows from `seed` (32 bytes).
    pub fn from_seed(seed: [u8; 32]) -> Entropy {
        Entropy(Some(Box::new(ChaCha20Rng::from_seed(seed))))
    }

    /// A second generator, independent of what this one yields from here on.
    pub fn fork(&mut self) -> Entropy {
        Entropy::from_seed(self.bytes())
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// If the generator was never seeded.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.as_mut().expect("the shell seeds entropy before it drives a machine").fill_bytes(&mut bytes);
        bytes
    }

    /// A random number of 64 bits.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// `2 * N` lower-case hexadecimal digits, for tags, branches and nonces.
    pub fn hex<const N: usize>(&mut self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
        self.bytes::<N>().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// A random GUID in the braced, upper-case form OCS uses for endpoint entities:
    /// `{2508C0BD-1234-4ABC-8DEF-0123456789AB}`.
    pub fn guid(&mut self) -> String {
        let mut b: [u8; 16] = self.bytes();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_values_and_forks_differ() {
        let mut one = Entropy::from_seed([7; 32]);
        let mut two = Entropy::from_seed([7; 32]);
        assert_eq!(one.hex::<8>(), two.hex::<8>());
        assert_ne!(one.fork().number(), one.number());
        let guid = two.guid();
        assert_eq!(guid.len(), 38);
        assert_eq!(&guid[15..16], "4");
    }

    #[test]
    #[should_panic(expected = "seeds entropy")]
    fn unseeded_is_loud() {
        Entropy::default().number();
    }
}
