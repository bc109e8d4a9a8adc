//! What came to one person: RTP as RFC 3550 counts it (§A.3, §A.8).

use crate::clock::milliseconds;
use crate::tones::Codec;

/// Between two packets this is a gap, in nanoseconds.
const GAP: f64 = 40e6;
const LONG_GAP: f64 = 60e6;
/// A clock that jumps by more, in nanoseconds, says nothing of jitter.
const JUMP: f64 = 2e9;

/// Counters of one person's stream.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    /// Packets of earlier sources that should have come.
    expected_before: u64,
    /// Packets.
    pub packets: u64,
    /// Of them those that came late or twice.
    pub late: u64,
    /// Bytes of RTP.
    pub bytes: u64,
    /// Times without a packet for more than 40 ms.
    pub gaps: u64,
    /// For more than 60 ms.
    pub long_gaps: u64,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    first: u64,
    highest: u64,
    arrival: u64,
    timestamp: u32,
    jitter: f64,
}

/// The fixed header of an RTP packet (RFC 3550 §5.1), as far as it is wanted here.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The payload type.
    pub payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// Where the payload begins.
    pub length: usize,
}

impl Header {
    /// Reads it; `None` if it is none, or RTCP.
    pub fn read(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; 12] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 || (192..=223).contains(&fixed[1]) {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let mut length = 12 + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = packet.get(length + 2..length + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        (length < packet.len()).then_some(Header {
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: word(4),
            ssrc: word(8),
            length,
        })
    }
}

impl Reception {
    /// Counts a packet. Returns the time since the last one in order, in nanoseconds.
    pub fn take(&mut self, header: &Header, arrival: u64, bytes: usize, codec: Codec) -> Option<f64> {
        self.packets += 1;
        self.bytes += bytes as u64;
        let sequence = u64::from(header.sequence);
        let Some(source) = self.source.as_mut().filter(|source| source.ssrc == header.ssrc) else {
            self.expected_before += self.source.as_ref().map_or(0, Source::expected);
            self.source = Some(Source {
                ssrc: header.ssrc,
                first: sequence,
                highest: sequence,
                arrival,
                timestamp: header.timestamp,
                jitter: 0.0,
            });
            return None;
        };
        let step = header.sequence.wrapping_sub(low(source.highest)).cast_signed();
        let Ok(step @ 1..) = u64::try_from(step) else {
            self.late += 1;
            return None;
        };
        source.highest += step;
        let since = arrival.saturating_sub(source.arrival) as f64;
        let by_clock = f64::from(header.timestamp.wrapping_sub(source.timestamp).cast_signed());
        let difference = (since - by_clock / codec.clock_rate() * 1e9).abs();
        if difference < JUMP {
            source.jitter += (difference - source.jitter) / 16.0;
        }
        (source.arrival, source.timestamp) = (arrival, header.timestamp);
        self.gaps += u64::from(since > GAP);
        self.long_gaps += u64::from(since > LONG_GAP);
        Some(since)
    }

    /// Packets that should have come, going by their numbers.
    pub fn expected(&self) -> u64 {
        self.expected_before + self.source.as_ref().map_or(0, Source::expected)
    }

    /// Packets that did not.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.packets - self.late)
    }

    /// Jitter in milliseconds, if anything came.
    pub fn jitter_ms(&self) -> Option<f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a short time")]
        self.source.as_ref().map(|source| milliseconds(source.jitter as u64))
    }
}

impl Source {
    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }
}

fn low(sequence: u64) -> u16 {
    u16::try_from(sequence & 0xffff).expect("sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16) -> [u8; 13] {
        let mut packet = [0; 13];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    #[test]
    fn loss_is_counted_over_the_end_of_the_numbers() {
        let mut reception = Reception::default();
        for sequence in [65_534, 65_535, 1, 0, 3] {
            let packet = packet(sequence);
            let header = Header::read(&packet).unwrap();
            reception.take(&header, 0, packet.len(), Codec::Pcmu);
        }
        assert_eq!((reception.expected(), reception.packets, reception.late), (6, 5, 1));
        assert_eq!(reception.lost(), 2);
    }

    #[test]
    fn rtcp_is_no_rtp() {
        let mut report = packet(1);
        report[1] = 200;
        assert!(Header::read(&report).is_none());
        assert!(Header::read(&packet(1)[..12]).is_none());
    }
}
