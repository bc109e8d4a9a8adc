//! What has come of a codec each byte of which is one tick of its RTP clock (G.711, G.722): a ring of
//! bytes with their timestamps as places, so that packets may be of any length and come in any order.

/// Bytes of the ring: 512 ms.
const LEN: usize = 4096;

/// Whether bytes have come is known for so many together, 1 ms.
const GRAIN: u32 = 8;

/// Grains in the ring.
const GRAINS: u32 = LEN as u32 / GRAIN;

/// The ring.
pub struct Line {
    bytes: Box<[u8; LEN]>,
    /// One bit for each grain that has come.
    come: [u64; GRAINS as usize / 64],
    /// Where a grain begins.
    origin: u32,
    /// Up to here, and from a ring's length before, the bits are of this round.
    horizon: u32,
}

impl Line {
    /// An empty ring.
    pub fn new() -> Line {
        Line { bytes: Box::new([0; LEN]), come: [0; GRAINS as usize / 64], origin: 0, horizon: 0 }
    }

    /// Forgets everything; `ahead` from timestamp `at` on can be stored.
    pub fn clear(&mut self, at: u32, ahead: u32) {
        self.come = [0; GRAINS as usize / 64];
        self.origin = at % GRAIN;
        self.horizon = at.wrapping_add(ahead.next_multiple_of(GRAIN));
    }

    /// From now on what lies before timestamp `horizon` can be stored; what lies a ring's length before it
    /// is forgotten.
    pub fn make_room(&mut self, horizon: u32) {
        // Whole grains only: what was stored in the one that the old horizon cuts must stay.
        let horizon = horizon.wrapping_add(self.origin.wrapping_sub(horizon) % GRAIN);
        let further = horizon.wrapping_sub(self.horizon);
        if further.cast_signed() <= 0 {
            return;
        }
        if further as usize >= LEN {
            self.come = [0; GRAINS as usize / 64];
        } else {
            for grain in self.grains(self.horizon, further) {
                self.come[grain as usize / 64] &= !(1 << (grain % 64));
            }
        }
        self.horizon = horizon;
    }

    /// Whether timestamp `at` is within the ring still.
    pub fn reaches(&self, at: u32) -> bool {
        self.horizon.wrapping_sub(at) as usize <= LEN
    }

    /// Stores `payload`, which begins at timestamp `at` and ends within the horizon.
    pub fn store(&mut self, at: u32, payload: &[u8]) {
        let payload = &payload[..payload.len().min(LEN)];
        let begin = at as usize % LEN;
        let (before, behind) = payload.split_at(payload.len().min(LEN - begin));
        self.bytes[begin..begin + before.len()].copy_from_slice(before);
        self.bytes[..behind.len()].copy_from_slice(behind);
        for grain in self.grains(at, payload.len() as u32) {
            self.come[grain as usize / 64] |= 1 << (grain % 64);
        }
    }

    /// Whether all of the `units` from timestamp `at` on have come.
    pub fn holds(&self, at: u32, units: u32) -> bool {
        self.reaches(at)
            && self.grains(at, units).all(|grain| self.come[grain as usize / 64] & (1 << (grain % 64)) != 0)
    }

    /// The `units` bytes (at most the ring's length) from timestamp `at` on, in up to two pieces, whether
    /// they have come or not.
    pub fn pieces(&self, at: u32, units: usize) -> (&[u8], &[u8]) {
        let begin = at as usize % LEN;
        let end = begin + units.min(LEN);
        (&self.bytes[begin..end.min(LEN)], &self.bytes[..end.saturating_sub(LEN)])
    }

    fn grains(&self, at: u32, units: u32) -> impl Iterator<Item = u32> + use<> {
        let at = at.wrapping_sub(self.origin);
        // A grain that is begun counts as come: what is missing of it is less than can be heard.
        let first = at / GRAIN;
        let count = (at % GRAIN + units).div_ceil(GRAIN).min(GRAINS);
        (first..first + count).map(|grain| grain % GRAINS)
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(line: &Line, at: u32, units: usize) -> Vec<u8> {
        let (before, behind) = line.pieces(at, units);
        [before, behind].concat()
    }

    #[test]
    fn what_is_stored_is_found_around_every_edge() {
        for start in [0, 4000, 4093, u32::MAX - 100, u32::MAX - 3] {
            let mut line = Line::new();
            line.clear(start, 2560);
            assert!(!line.holds(start, 160));
            let sound: Vec<u8> = (0..160).collect();
            line.store(start.wrapping_add(160), &sound);
            assert!(line.holds(start.wrapping_add(160), 160), "{start}");
            assert!(!line.holds(start, 161) && !line.holds(start.wrapping_add(160), 170));
            assert_eq!(bytes(&line, start.wrapping_add(160), 160), sound);
        }
    }

    #[test]
    fn what_lies_a_round_back_is_forgotten() {
        let mut line = Line::new();
        line.clear(0, 1000);
        line.store(0, &[1; 160]);
        line.make_room(4096);
        assert!(line.holds(0, 160) && line.reaches(0));
        line.make_room(4096 + 160);
        assert!(!line.reaches(0) && !line.holds(4096, 160), "its place is free for the next round");
        line.make_room(1_000_000);
        assert!(!line.holds(1_000_000 - 160, 160));
    }
}
