//! Telephone events: keys that were pressed, from packets that repeat themselves (RFC 4733).
//!
//! Each key is told once: at its end, of which three copies come, or after a second of it. All packets of
//! one key have the timestamp of its beginning; a key that is held for longer than a packet can say goes
//! on under another timestamp (§2.5.1.3).

use std::time::Duration;

use confab_machine::Time;

/// A key that is held for so long is told before its end.
const HELD: Duration = Duration::from_secs(1);

/// When nothing has come of a key for so long its end was lost.
const LOST: Duration = Duration::from_millis(200);

/// Keys that follow each other faster than this were pressed by nobody.
const SHORTEST: Duration = Duration::from_millis(30);

/// The longest that one packet can say.
const SEGMENT: u16 = u16::MAX;

/// A key, and how long it was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// `0`–`9`, `*`, `#`, `A`–`D`, or `!` for a hook flash.
    pub digit: char,
    /// From the clock of the stream.
    pub duration: Duration,
}

/// The keys of one stream.
#[derive(Debug, Default)]
pub struct Events {
    current: Option<Pressed>,
    /// When the last was told.
    told: Time,
}

#[derive(Debug)]
struct Pressed {
    timestamp: u32,
    digit: char,
    /// Of segments that are over, and of this one, in timestamp units.
    before: u32,
    duration: u16,
    since: Time,
    last: Time,
    told: bool,
}

impl Events {
    /// Hears a packet of events with this payload and timestamp, on a clock of `clock_hz`. A key, if it is
    /// to be told now. What is no event is nothing.
    pub fn hear(&mut self, now: Time, timestamp: u32, payload: &[u8], clock_hz: u32) -> Option<Key> {
        let [event, flags, high, low, ..] = *payload else { return None };
        let digit = digit(event)?;
        let (ended, duration) = (flags & 0x80 != 0, u16::from_be_bytes([high, low]));
        let mut earlier = None;
        match &mut self.current {
            Some(current) if current.timestamp == timestamp => {
                (current.duration, current.last) = (current.duration.max(duration), now);
            }
            Some(current) if current.goes_on(timestamp, digit) => {
                current.before = current.before.saturating_add(u32::from(current.duration));
                (current.timestamp, current.duration, current.last) = (timestamp, duration, now);
            }
            // A copy of one that is over, behind the next.
            Some(current) if current.timestamp.wrapping_sub(timestamp) < u32::MAX / 2 => return None,
            current => {
                earlier = current.take();
                let before = 0;
                let told = false;
                *current = Some(Pressed { timestamp, digit, before, duration, since: now, last: now, told });
            }
        }
        // The end of the one before was lost, with all its copies.
        let missed = earlier.and_then(|mut earlier| self.tell(now, &mut earlier, clock_hz));
        missed.or_else(|| self.ask(now, ended, clock_hz))
    }

    /// Whether a key has to be told because it is held, or because its end was lost.
    pub fn tick(&mut self, now: Time, clock_hz: u32) -> Option<Key> {
        let is_lost = self.current.as_ref()?.is_open() && now.since(self.current.as_ref()?.last) >= LOST;
        self.ask(now, is_lost, clock_hz)
    }

    fn ask(&mut self, now: Time, ended: bool, clock_hz: u32) -> Option<Key> {
        let mut current = self.current.take()?;
        let is_due = ended || now.since(current.since) >= HELD;
        let key = if is_due { self.tell(now, &mut current, clock_hz) } else { None };
        self.current = Some(current);
        key
    }

    fn tell(&mut self, now: Time, pressed: &mut Pressed, clock_hz: u32) -> Option<Key> {
        let is_new = !std::mem::replace(&mut pressed.told, true);
        if !is_new || now.since(self.told) < SHORTEST {
            return None;
        }
        self.told = now;
        let units = u64::from(pressed.before) + u64::from(pressed.duration);
        let duration = Duration::from_micros(units * 1_000_000 / u64::from(clock_hz.max(1)));
        Some(Key { digit: pressed.digit, duration })
    }
}

impl Pressed {
    fn is_open(&self) -> bool {
        !self.told
    }

    fn goes_on(&self, timestamp: u32, digit: char) -> bool {
        self.digit == digit
            && self.duration == SEGMENT
            && timestamp == self.timestamp.wrapping_add(u32::from(self.duration))
    }
}

/// The key of an event's number (RFC 4733 §3.2).
fn digit(event: u8) -> Option<char> {
    b"0123456789*#ABCD!".get(usize::from(event)).map(|digit| char::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(event: u8, ended: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [event, if ended { 0x8a } else { 0x0a }, high, low]
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(1_000_000_000 + ms * 1000)
    }

    fn key(digit: char, ms: u64) -> Option<Key> {
        Some(Key { digit, duration: Duration::from_millis(ms) })
    }

    #[test]
    fn a_key_is_told_at_its_end_and_copies_are_not() {
        let mut events = Events::default();
        for (number, told) in "0123456789*#ABCD!".chars().enumerate() {
            let (begin, start) = (number as u64 * 200, (u32::MAX - 2000).wrapping_add(number as u32 * 1600));
            for packet in 1..5 {
                let heard = events.hear(
                    at(begin + packet * 20),
                    start,
                    &payload(number as u8, false, packet as u16 * 160),
                    8000,
                );
                assert_eq!(heard, None);
            }
            for copy in 0..3 {
                let heard =
                    events.hear(at(begin + 100 + copy), start, &payload(number as u8, true, 800), 8000);
                assert_eq!(heard, if copy == 0 { key(told, 100) } else { None });
            }
            assert_eq!(events.tick(at(begin + 190), 8000), None);
        }
    }

    #[test]
    fn the_same_key_twice_is_two_keys_and_late_copies_are_none() {
        let mut events = Events::default();
        assert_eq!(events.hear(at(0), 1000, &payload(5, true, 800), 8000), key('5', 100));
        assert_eq!(events.hear(at(150), 2200, &payload(5, true, 800), 8000), key('5', 100));
        assert_eq!(events.hear(at(200), 1000, &payload(5, true, 800), 8000), None, "overtaken");
    }

    #[test]
    fn a_key_that_is_held_is_told_once_after_a_second() {
        let mut events = Events::default();
        let mut told = Vec::new();
        let (mut start, mut begun) = (7_u32, 0);
        for packet in 0..1000_u64 {
            let units = packet * 160 - begun;
            if units > u64::from(SEGMENT) {
                told.extend(events.hear(at(packet * 20), start, &payload(3, false, SEGMENT), 8000));
                start = start.wrapping_add(u32::from(SEGMENT));
                begun += u64::from(SEGMENT);
                continue;
            }
            told.extend(events.hear(at(packet * 20), start, &payload(3, false, units as u16), 8000));
            told.extend(events.tick(at(packet * 20 + 10), 8000));
        }
        told.extend(events.hear(at(20_000), start, &payload(3, true, 30_000), 8000));
        assert_eq!(told, [key('3', 1000).unwrap()]);
    }

    #[test]
    fn an_end_that_is_lost_is_noticed() {
        let mut events = Events::default();
        assert_eq!(events.hear(at(0), 0, &payload(1, false, 160), 8000), None);
        assert_eq!(events.tick(at(100), 8000), None);
        assert_eq!(events.tick(at(200), 8000), key('1', 20));
        assert_eq!(events.tick(at(400), 8000), None);
        assert_eq!(events.hear(at(500), 4000, &payload(2, false, 160), 8000), None);
        assert_eq!(
            events.hear(at(600), 4800, &payload(3, false, 160), 8000),
            key('2', 20),
            "by the next key"
        );
        assert_eq!(events.hear(at(700), 4800, &payload(3, true, 800), 8000), key('3', 100));
    }

    #[test]
    fn floods_and_nonsense_are_nothing() {
        let mut events = Events::default();
        let told = (0..10_000_u32)
            .filter_map(|n| events.hear(at(u64::from(n) / 10), n * 100, &payload(1, true, 80), 8000));
        assert!(told.count() <= 1000 / 30 + 1);
        for len in 0..4 {
            assert_eq!(events.hear(at(5000), 1, &[1; 4][..len], 8000), None);
        }
        assert_eq!(events.hear(at(5000), 9_000_000, &payload(17, true, 800), 8000), None);
        assert_eq!(events.hear(at(5000), 9_000_000, &payload(255, true, 800), 8000), None);
    }
}
