//! What came of a stream and what did not, from sequence numbers and times of arrival (RFC 3550 §6.4.1,
//! appendices A.1, A.3 and A.8).

use std::time::Duration;

use confab_machine::Time;

use crate::rtp::Header;

/// A sequence number further ahead or behind than this is a new beginning.
const MAX_DROPOUT: u16 = 3000;

/// Statistics of one stream over all of its sources.
#[derive(Debug, Default)]
pub struct Reception {
    source: Option<Stretch>,
    /// Of stretches that are over.
    lost: u64,
    received: u64,
    /// In units of the RTP clock, 16 times.
    jitter: u32,
    clock_hz: u32,
    expected_before: u32,
    received_before: u64,
}

/// One source from one beginning on.
#[derive(Debug)]
struct Stretch {
    ssrc: u32,
    base: u32,
    /// The highest sequence number with its rounds above it.
    highest: u32,
    received: u32,
    transit: u32,
}

impl Reception {
    /// Counts a packet of a stream whose clock has `clock_hz`.
    pub fn count(&mut self, now: Time, header: &Header, clock_hz: u32) {
        self.received += 1;
        self.clock_hz = clock_hz;
        let ticks = (now.as_micros() / 125).wrapping_mul(u64::from(clock_hz / 1000)) / 8;
        let transit = (ticks as u32).wrapping_sub(header.timestamp);
        if let Some(stretch) = &mut self.source
            && stretch.ssrc == header.ssrc
        {
            let ahead = header.sequence.wrapping_sub(stretch.highest as u16);
            let is_ahead = ahead < 0x8000;
            if ahead < MAX_DROPOUT || ahead.wrapping_neg() < MAX_DROPOUT {
                if is_ahead {
                    stretch.highest = stretch.highest.wrapping_add(u32::from(ahead));
                }
                stretch.received += 1;
                let change = transit.wrapping_sub(stretch.transit).cast_signed().unsigned_abs();
                stretch.transit = transit;
                // A clock that was set is no jitter.
                if change < clock_hz {
                    self.jitter = self.jitter + change - ((self.jitter + 8) >> 4);
                }
                return;
            }
        }
        self.begin(header, transit);
    }

    fn begin(&mut self, header: &Header, transit: u32) {
        self.lost += self.stretch_lost();
        let base = u32::from(header.sequence);
        (self.expected_before, self.received_before) = (0, self.received - 1);
        self.source = Some(Stretch { ssrc: header.ssrc, base, highest: base, received: 1, transit });
    }

    fn stretch_lost(&self) -> u64 {
        let lost = self.source.as_ref().map(|stretch| stretch.expected().saturating_sub(stretch.received));
        u64::from(lost.unwrap_or(0))
    }

    /// Packets that came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The packet that was counted last had come before: it makes up for none that did not come.
    pub fn came_twice(&mut self) {
        if let Some(stretch) = self.source.as_mut().filter(|stretch| stretch.received > 1) {
            stretch.received -= 1;
            self.received -= 1;
        }
    }

    /// Packets that did not come.
    pub fn lost(&self) -> u64 {
        self.lost + self.stretch_lost()
    }

    /// The highest sequence number of the present source, with its rounds above it, and the source.
    pub fn highest(&self) -> Option<(u32, u32)> {
        self.source.as_ref().map(|stretch| (stretch.ssrc, stretch.highest))
    }

    /// Interarrival jitter in units of the RTP clock.
    pub fn jitter_units(&self) -> u32 {
        self.jitter >> 4
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        let micros = u64::from(self.jitter_units()) * 1_000_000 / u64::from(self.clock_hz.max(1));
        Duration::from_micros(micros)
    }

    /// What was lost since this was asked for the last time, in 256ths of what was expected.
    pub fn fraction_lost(&mut self) -> u8 {
        let Some(stretch) = &self.source else { return 0 };
        let expected = stretch.expected().wrapping_sub(self.expected_before);
        let received = self.received.saturating_sub(self.received_before);
        (self.expected_before, self.received_before) = (stretch.expected(), self.received);
        let lost = u64::from(expected).saturating_sub(received);
        if lost == 0 { 0 } else { (lost * 256 / u64::from(expected)).min(255) as u8 }
    }
}

impl Stretch {
    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc }
    }

    #[test]
    fn losses_are_counted_over_rounds_and_sources() {
        let mut reception = Reception::default();
        let mut at = 0;
        let mut come = |reception: &mut Reception, sequence: u16, ssrc| {
            at += 20_000;
            reception.count(Time::from_micros(at), &header(sequence, (at / 125) as u32, ssrc), 8000);
        };
        for sequence in [65_533, 65_534, 0, 1, 65_535, 5] {
            come(&mut reception, sequence, 1);
        }
        assert_eq!((reception.received(), reception.lost()), (6, 3));
        assert_eq!(reception.highest(), Some((1, 65_536 + 5)));
        assert_eq!(reception.fraction_lost(), (3 * 256 / 9) as u8);
        assert_eq!(reception.fraction_lost(), 0, "nothing since");
        for sequence in [30_000, 30_002] {
            come(&mut reception, sequence, 2);
        }
        assert_eq!((reception.received(), reception.lost()), (8, 4));
        assert_eq!(reception.fraction_lost(), (256 / 3) as u8);
        assert_eq!(reception.jitter(), Duration::ZERO);
    }

    #[test]
    fn jitter_is_the_mean_deviation() {
        let mut reception = Reception::default();
        for number in 0..2000_u64 {
            let late = if number % 2 == 0 { 0 } else { 10_000 };
            let time = Time::from_micros(number * 20_000 + late);
            reception.count(time, &header(number as u16, number as u32 * 160, 1), 8000);
        }
        let jitter = reception.jitter();
        assert!((9..=10).contains(&jitter.as_millis()), "{jitter:?}");
    }
}
