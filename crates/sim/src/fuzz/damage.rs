//! Seeded damage: what turns one file of a corpus into thousands of inputs.

use confab_machine::Entropy;

/// The most places damaged at once.
const PLACES: usize = 4;
/// The longest run of bytes taken out, doubled or brought in.
const RUN: usize = 80;
/// The longest input; more adds nothing but time.
const LONGEST: usize = 64 * 1024;

/// What parsers trip over.
const POISON: [&[u8]; 28] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\r\n ",
    b"\"",
    b"'",
    b"\\",
    b"<",
    b">",
    b"</",
    b"/>",
    b"&",
    b"&amp;",
    b"&#0;",
    b"<![CDATA[",
    b"<!--",
    b";",
    b",",
    b"=",
    b"%00",
    b"\0",
    b"\xff",
    b"\xc3",
    "é".as_bytes(),
    b"-1",
    b"4294967296",
    b"99999999999999999999",
];

/// A source of damage. The same seed does the same damage.
pub struct Damage {
    entropy: Entropy,
}

impl Damage {
    /// The damage that follows from `seed`.
    pub fn new(seed: u64) -> Damage {
        let mut whole = [0; 32];
        whole[..8].copy_from_slice(&seed.to_le_bytes());
        Damage { entropy: Entropy::from_seed(whole) }
    }

    /// A number below `limit`; 0 if there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.entropy.number() % limit.max(1) as u64).expect("it is below a usize")
    }

    /// A file of the corpus, damaged in one to four places, with pieces of another.
    pub fn of(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        let other = self.below(corpus.len());
        for _ in 0..=self.below(PLACES) {
            self.hit(&mut bytes, &corpus[other]);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn hit(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(RUN)).min(bytes.len());
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            3 => {
                let from = self.below(other.len());
                let to = (from + self.below(RUN)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            4 => drop(bytes.splice(at..at, POISON[self.below(POISON.len())].iter().copied())),
            _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            _ => bytes.push(self.entropy.bytes::<1>()[0]),
        }
    }
}
