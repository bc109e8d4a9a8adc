//! When in each 20 ms the packets of those who speak come, so that a shell can mix soon after.

use confab_machine::Time;

/// So many parts of 2 ms are told apart.
pub const PARTS: usize = 10;

/// How long 20 ms and a part of them are, in microseconds.
const PERIOD_US: u64 = 20_000;
const PART_US: u64 = PERIOD_US / PARTS as u64;

/// What a packet counts for, and what one of who leads: his words are what everybody waits for.
const COUNTS: u32 = 2;
const LEADS: u32 = 3;

/// Beyond so much all count for half: what was a quarter of a minute of one voice ago is as good as forgotten.
const KEPT: u32 = 2048;

/// How many packets came in each part of 20 ms, counted from the epoch, by what they count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    parts: [u32; PARTS],
}

impl Arrivals {
    /// A packet of somebody who speaks came at this time; whether he leads.
    pub(crate) fn note(&mut self, at: Time, leads: bool) {
        self.parts[(at.as_micros() % PERIOD_US / PART_US) as usize] += if leads { LEADS } else { COUNTS };
        if self.parts.iter().sum::<u32>() > KEPT {
            self.parts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// The packets of each part, of late; two for each, three for each of who leads.
    pub fn parts(&self) -> &[u32; PARTS] {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_long_ago_is_forgotten() {
        let mut arrivals = Arrivals::default();
        for packet in 0..3000 {
            arrivals.note(Time::from_micros(packet * PERIOD_US + 4_700), true);
        }
        let old = arrivals.parts()[2];
        assert!((1024..=2048).contains(&old) && arrivals.parts().iter().sum::<u32>() == old);
        for packet in 0..3000 {
            arrivals.note(Time::from_micros(packet * PERIOD_US + 19_999), false);
        }
        assert!(arrivals.parts()[2] <= old / 8 && arrivals.parts()[9] >= 1024, "{arrivals:?}");
    }
}
