//! Which synchronization source of a stream is listened to: one at a time, and a new one neither at its
//! first packet nor soon after the last change, as receivers of MS-RTP do.

use std::time::Duration;

use confab_machine::Time;

/// For so long a source that was changed to stays.
const THROTTLE: Duration = Duration::from_millis(500);

/// How a packet's source compares with the one that is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is the same.
    Same,
    /// It is another from here on.
    Changed,
    /// It is not listened to.
    Ignored,
}

/// The source that is listened to.
#[derive(Debug, Default)]
pub struct Source {
    current: Option<u32>,
    since: Time,
    /// Another one, and the sequence number that would confirm it.
    candidate: Option<(u32, u16)>,
}

impl Source {
    /// Decides on a packet.
    pub fn hear(&mut self, now: Time, ssrc: u32, sequence: u16) -> Heard {
        if self.current == Some(ssrc) {
            return Heard::Same;
        }
        let is_first = self.current.is_none();
        let is_confirmed = self.candidate == Some((ssrc, sequence)) && now.since(self.since) >= THROTTLE;
        if !is_first && !is_confirmed {
            self.candidate = Some((ssrc, sequence.wrapping_add(1)));
            return Heard::Ignored;
        }
        (self.current, self.since, self.candidate) = (Some(ssrc), now, None);
        Heard::Changed
    }

    /// The source, once there is one.
    pub fn current(&self) -> Option<u32> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_packet_confirms_and_changes_are_throttled() {
        let mut source = Source::default();
        let at = |ms: u64| Time::from_micros(ms * 1000);
        assert_eq!(source.hear(at(0), 1, 10), Heard::Changed);
        assert_eq!(source.hear(at(20), 1, 11), Heard::Same);
        assert_eq!(source.hear(at(600), 2, 70), Heard::Ignored, "one packet is no source");
        assert_eq!(source.hear(at(600), 2, 90), Heard::Ignored, "nor are two that do not follow each other");
        assert_eq!(source.hear(at(620), 2, 91), Heard::Changed);
        assert_eq!(source.hear(at(640), 1, 40), Heard::Ignored);
        assert_eq!(source.hear(at(660), 1, 41), Heard::Ignored, "too soon after the last change");
        assert_eq!(source.hear(at(1200), 1, 42), Heard::Changed);
        assert_eq!(source.current(), Some(1));
    }
}
