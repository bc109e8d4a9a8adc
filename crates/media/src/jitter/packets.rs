//! What has come of a codec whose packets are decoded whole (Opus): the last of them with their timestamps.

/// Packets that are kept.
const SLOTS: usize = 32;

/// Bytes of all of them together, which hold two of the longest and half a second of the usual.
const LEN: usize = 16_384;

/// Where a packet stands.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    at: u32,
    units: u32,
    begin: usize,
    len: usize,
}

/// A packet that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// When it begins.
    pub at: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The packets, each newer than the one before in the order they came.
pub struct Packets {
    bytes: Box<[u8; LEN]>,
    slots: [Slot; SLOTS],
    /// Where the next one is put.
    slot: usize,
    begin: usize,
}

impl Packets {
    /// No packets.
    pub fn new() -> Packets {
        Packets { bytes: Box::new([0; LEN]), slots: [Slot::default(); SLOTS], slot: 0, begin: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots = [Slot::default(); SLOTS];
    }

    /// Stores a packet of `units` from timestamp `at` on; the oldest make room for it.
    pub fn store(&mut self, at: u32, units: u32, payload: &[u8]) {
        let len = payload.len();
        if len == 0 || len > LEN / 2 {
            return;
        }
        if self.begin + len > LEN {
            self.begin = 0;
        }
        let (begin, end) = (self.begin, self.begin + len);
        for slot in &mut self.slots {
            if slot.begin < end && begin < slot.begin + slot.len {
                *slot = Slot::default();
            }
        }
        self.bytes[begin..end].copy_from_slice(payload);
        self.slots[self.slot] = Slot { at, units, begin, len };
        self.slot = (self.slot + 1) % SLOTS;
        self.begin = end;
    }

    /// Whether a packet from timestamp `at` on has come.
    pub fn holds(&self, at: u32) -> bool {
        self.slots.iter().any(|slot| slot.len > 0 && slot.at == at)
    }

    /// The packet that timestamp `at` lies in.
    pub fn covering(&self, at: u32) -> Option<Stored<'_>> {
        let found = self.slots.iter().find(|slot| slot.len > 0 && at.wrapping_sub(slot.at) < slot.units)?;
        Some(self.stored(found))
    }

    /// The first packet that begins after timestamp `at`, by less than `within`.
    pub fn after(&self, at: u32, within: u32) -> Option<Stored<'_>> {
        let ahead = |slot: &Slot| slot.at.wrapping_sub(at).wrapping_sub(1);
        let later = self.slots.iter().filter(|slot| slot.len > 0 && ahead(slot) < within.saturating_sub(1));
        later.min_by_key(|slot| ahead(slot)).map(|slot| self.stored(slot))
    }

    fn stored(&self, slot: &Slot) -> Stored<'_> {
        Stored { at: slot.at, payload: &self.bytes[slot.begin..slot.begin + slot.len] }
    }
}

impl Default for Packets {
    fn default() -> Packets {
        Packets::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_by_time_in_whatever_order_they_came() {
        let mut packets = Packets::new();
        let start = u32::MAX - 1000;
        for number in [0_u32, 2, 1] {
            packets.store(start.wrapping_add(960 * number), 960, &[number as u8; 80]);
        }
        for number in 0..3_u32 {
            let at = start.wrapping_add(960 * number);
            assert!(packets.holds(at) && !packets.holds(at.wrapping_add(1)));
            assert_eq!(
                packets.covering(at.wrapping_add(959)),
                Some(Stored { at, payload: &[number as u8; 80] })
            );
        }
        assert_eq!(packets.covering(start.wrapping_sub(1)), None);
        assert_eq!(packets.after(start, 961).map(|next| next.at), Some(start.wrapping_add(960)));
        assert_eq!(packets.after(start, 960), None);
        packets.clear();
        assert!(!packets.holds(start));
    }

    #[test]
    fn new_ones_push_out_the_oldest() {
        let mut packets = Packets::new();
        for number in 0..1000_u32 {
            let len = 1 + (number as usize * 37) % 1275;
            packets.store(number * 960, 960, &vec![number as u8; len]);
            for back in 0..=5.min(number) {
                let number = number - back;
                let stored = packets.covering(number * 960 + 3).unwrap();
                assert!(stored.payload.iter().all(|byte| *byte == number as u8));
            }
        }
        packets.store(0, 960, &[0; 9000]);
        packets.store(0, 960, &[]);
        assert!(!packets.holds(0));
    }
}
