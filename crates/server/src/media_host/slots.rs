//! The slots of a period of 20 ms: which rooms are in each, and which is best for a room.

use confab_media::arrivals::PARTS;

/// How long a slot is, in microseconds.
pub(super) const SLOT_US: u64 = 2_000;
/// How many there are in a period: as many as parts of it are told apart, so that a slot begins with its part.
pub(super) const SLOTS: usize = PARTS;

/// How long a packet waits, in milliseconds on average, that comes so many parts before a room's slot (the first: in
/// that of the slot itself, when it has begun). From the parts just before, what is a little late waits for 20 ms
/// more and makes the jitter buffer grow for seconds, so these count for more than they are.
const WAITS: [u32; SLOTS] = [19, 19, 12, 8, 7, 9, 11, 13, 15, 17];
/// A room moves for so many milliseconds less on average. It moves when nobody hears of it, so this is little.
const GAIN: u32 = 1;
/// So much is needed to choose: most of a second of one voice.
const ENOUGH: u32 = 100;

/// A slot that is not heavier than this with a room takes it, whatever the others have: a quarter of what it can do.
const LIGHT: usize = 64;

/// The slots of a thread.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The rooms of each that have somebody in them.
    rooms: [Vec<u64>; SLOTS],
    /// How much work they are together.
    weights: [usize; SLOTS],
}

impl Slots {
    /// Whether no room is in any.
    pub fn are_empty(&self) -> bool {
        self.rooms.iter().all(Vec::is_empty)
    }

    /// Whether no room is in this slot, counted from the epoch.
    pub fn is_empty(&self, slot: u64) -> bool {
        self.rooms[index(slot)].is_empty()
    }

    /// A room is in a slot from now on.
    pub fn enter(&mut self, slot: usize, room: u64) {
        self.rooms[slot].push(room);
    }

    /// Goes through the rooms of a slot; those stay of which `stays` says so. What enters another slot meanwhile is
    /// in it.
    pub fn take(&mut self, slot: usize) -> Vec<u64> {
        std::mem::take(&mut self.rooms[slot])
    }

    /// Puts back what was taken and stays.
    pub fn put_back(&mut self, slot: usize, mut stay: Vec<u64>) {
        stay.append(&mut self.rooms[slot]);
        self.rooms[slot] = stay;
    }

    /// The work of a room in a slot was `old` and is `new`.
    pub fn weigh(&mut self, slot: usize, old: usize, new: usize) {
        self.weights[slot] = self.weights[slot] + new - old;
    }

    /// A better slot for a room of this weight that is in slot `own`, if there is one: `parts` is when the packets come
    /// of those who speak in it.
    pub fn better(&self, parts: &[u32; PARTS], own: usize, weight: usize) -> Option<usize> {
        let count: u32 = parts.iter().sum();
        if count < ENOUGH {
            return None;
        }
        let free = (0..SLOTS).filter(|slot| *slot == own || self.takes(*slot, own, weight));
        let best = free.min_by_key(|slot| wait(parts, *slot))?;
        (wait(parts, best) + GAIN * count <= wait(parts, own)).then_some(best)
    }

    /// Whether a slot takes a room: it is light, or not heavier then than the one the room comes from, or hardly
    /// heavier than all are on average.
    pub fn takes(&self, slot: usize, own: usize, weight: usize) -> bool {
        let then = self.weights[slot] + weight;
        let all: usize = self.weights.iter().sum();
        then <= LIGHT || then <= self.weights[own] || 4 * then * SLOTS <= 5 * all
    }
}

/// The place of a slot that is counted from the epoch.
pub(super) fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

/// How long all these packets wait together for a slot.
fn wait(parts: &[u32; PARTS], slot: usize) -> u32 {
    parts.iter().enumerate().map(|(part, count)| count * WAITS[(slot + SLOTS - part) % SLOTS]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(come: &[(usize, u32)]) -> [u32; PARTS] {
        let mut parts = [0; PARTS];
        come.iter().for_each(|(part, count)| parts[*part] = *count);
        parts
    }

    fn best(come: &[(usize, u32)], own: usize) -> usize {
        Slots::default().better(&parts(come), own, 4).unwrap_or(own)
    }

    #[test]
    fn one_voice_is_mixed_soon_after_it_came_and_not_at_once() {
        for part in 0..SLOTS {
            for own in 0..SLOTS {
                let waits = WAITS[(own + SLOTS - part) % SLOTS];
                let expected = if waits >= 7 + GAIN { (part + 4) % SLOTS } else { own };
                assert_eq!(best(&[(part, 500)], own), expected, "{part} {own}");
            }
        }
    }

    #[test]
    fn of_several_voices_all_count() {
        // Two that come together and one alone; the one who speaks most; as evenly as can be.
        assert_eq!(best(&[(0, 300), (1, 300), (5, 300)], 5), 4);
        assert_eq!(best(&[(0, 300), (3, 200), (7, 200)], 0), 5);
        assert_eq!(best(&[(0, 100), (3, 100), (7, 500)], 8), 1);
        let everywhere: Vec<_> = (0..SLOTS).map(|part| (part, 100)).collect();
        assert_eq!(
            (0..SLOTS).map(|own| best(&everywhere, own)).collect::<Vec<_>>(),
            (0..SLOTS).collect::<Vec<_>>()
        );
        // Around the end of a period.
        assert_eq!(best(&[(9, 300), (8, 300)], 8), 2);
    }

    #[test]
    fn nobody_moves_for_little_nor_for_few_packets() {
        assert_eq!(Slots::default().better(&parts(&[(4, ENOUGH - 1)]), 4, 4), None);
        assert_eq!(Slots::default().better(&parts(&[(4, ENOUGH)]), 4, 4), Some(8));
        // After a move nothing is better, wherever it came from.
        for first in 0..SLOTS {
            for second in 0..SLOTS {
                for own in 0..SLOTS {
                    let come = [(first, 300), (second, 200)];
                    let new = best(&come, own);
                    assert_eq!(best(&come, new), new, "{come:?} {own}");
                }
            }
        }
    }

    #[test]
    fn a_slot_that_is_full_declines() {
        let come = parts(&[(0, 500)]);
        let mut slots = Slots::default();
        for slot in 0..SLOTS {
            slots.weigh(slot, 0, 160);
        }
        slots.weigh(4, 160, 198);
        assert_eq!(slots.better(&come, 5, 4), Some(4), "a little more than the others have");
        slots.weigh(4, 198, 202);
        assert_eq!(slots.better(&come, 7, 4), Some(3), "the next best");
        slots.weigh(7, 160, 210);
        assert_eq!(slots.better(&come, 7, 4), Some(4), "it is no worse than where the room is");
        // A large room may go anywhere where it is alone.
        let mut slots = Slots::default();
        slots.weigh(5, 0, 1000);
        assert_eq!(slots.better(&come, 5, 1000), Some(4));
        slots.weigh(4, 0, 1);
        assert_eq!(slots.better(&come, 5, 1000), Some(3), "not where another waits for it");
    }
}
