//! Which packets of a source came before (RFC 3711 §3.3), and how often its numbers have gone round.

/// So many packets back are told apart; older ones are refused.
const WINDOW: u64 = 128;

/// The packets of one source that were seen of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The highest index, if there was any packet.
    highest: Option<u64>,
    /// Bit `n` is set if the packet `n` before the highest came.
    seen: u128,
}

impl Window {
    /// The index that a packet with this sequence number most likely has: the one nearest to the highest
    /// (RFC 3711 §3.3.1). `None` if it would lie before the first.
    pub fn guess(&self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(sequence)) };
        let ahead = sequence.wrapping_sub(highest as u16).cast_signed();
        highest.checked_add_signed(i64::from(ahead))
    }

    /// Whether the packet has not come before, and is not too old to know.
    pub fn is_fresh(&self, index: u64) -> bool {
        match self.highest {
            Some(highest) if index <= highest => {
                let back = highest - index;
                back < WINDOW && self.seen >> back & 1 == 0
            }
            _ => true,
        }
    }

    /// It came. To be called for fresh and verified packets alone.
    pub fn mark(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => self.seen |= 1 << (highest - index),
            Some(highest) => {
                let ahead = index - highest;
                self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
                self.highest = Some(index);
            }
            None => (self.highest, self.seen) = (Some(index), 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_fresh_once() {
        let mut window = Window::default();
        for index in [10, 12, 11, 300, 200, 299] {
            assert!(window.is_fresh(index), "{index}");
            window.mark(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(!window.is_fresh(172), "128 back");
        assert!(window.is_fresh(173));
        assert!(window.is_fresh(100_000));
    }

    #[test]
    fn the_number_of_rounds_is_guessed() {
        let mut window = Window::default();
        assert_eq!(window.guess(65_530), Some(65_530));
        window.mark(65_530);
        assert_eq!(window.guess(65_535), Some(65_535));
        assert_eq!(window.guess(3), Some(65_539));
        window.mark(65_539);
        assert_eq!(window.guess(65_529), Some(65_529), "late, from the round before");
        window.mark(3 * 65_536 + 100);
        assert_eq!(window.guess(99), Some(3 * 65_536 + 99));
        assert_eq!(window.guess(65_535), Some(3 * 65_536 - 1));
        let mut young = Window::default();
        young.mark(5);
        assert_eq!(young.guess(65_535), None, "there is no round before the first");
    }
}
