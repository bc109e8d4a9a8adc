//! RTP packets, read where they lie and written in place (RFC 3550 §5).
//!
//! Whatever the bytes are, reading gives a packet or `None`. Header extensions (RFC 3550 §5.3.1,
//! RFC 8285) are passed over by their length: nothing in them is needed here.

/// Bytes of a header without contributing sources.
pub const HEADER_LEN: usize = 12;

/// The most contributing sources a header holds.
pub const MAX_SOURCES: usize = 15;

/// The payload type of comfort noise at 8 kHz (RFC 3389), which some send in their pauses without having said so.
pub const COMFORT_NOISE: u8 = 13;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first packet of a talk spurt, or the last of a picture.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// One more with each packet.
    pub sequence: u16,
    /// When the first sample was taken, on the payload's clock.
    pub timestamp: u32,
    /// The synchronization source.
    pub ssrc: u32,
}

/// A packet in the buffer it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    sources: &'a [u8],
    /// What it carries, without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` if it is none of version 2, or is shorter than it says.
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let (sources, mut rest) = rest.split_at_checked(usize::from(fixed[0] & 0x0f) * 4)?;
        if fixed[0] & 0x10 != 0 {
            let (head, behind) = rest.split_first_chunk::<4>()?;
            let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
            rest = behind.get(words * 4..)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            if padding == 0 {
                return None;
            }
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        let header = Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        Some(Packet { header, sources, payload: rest })
    }

    /// The contributing sources, first to last.
    pub fn sources(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
    }
}

impl Header {
    /// Writes the header with `sources` (the first fifteen of them) to the beginning of `out` and gives
    /// its length, behind which the payload belongs.
    ///
    /// # Panics
    /// If `out` is shorter than that: packets are written to buffers that hold the longest.
    pub fn write(&self, sources: &[u32], out: &mut [u8]) -> usize {
        let sources = &sources[..sources.len().min(MAX_SOURCES)];
        out[0] = 0x80 | sources.len() as u8;
        out[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let length = HEADER_LEN + 4 * sources.len();
        for (word, source) in out[HEADER_LEN..length].chunks_exact_mut(4).zip(sources) {
            word.copy_from_slice(&source.to_be_bytes());
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 0xfffe,
        timestamp: 0x1234_5678,
        ssrc: 0x9abc_def0,
    };

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0; 80];
        for sources in [&[][..], &[1], &[7; 15]] {
            let length = HEADER.write(sources, &mut bytes);
            bytes[length] = 0x55;
            let packet = Packet::parse(&bytes[..=length]).unwrap();
            assert_eq!(packet.header, HEADER);
            assert_eq!(packet.sources().collect::<Vec<_>>(), sources);
            assert_eq!(packet.payload, [0x55]);
        }
        assert_eq!(HEADER.write(&[3; 20], &mut [0; 72]), 72, "the first fifteen sources");
    }

    #[test]
    fn extensions_and_padding_are_passed_over() {
        let mut bytes = vec![0; 12];
        HEADER.write(&[], &mut bytes);
        bytes[0] |= 0x30;
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        bytes.extend([1, 2, 3]);
        bytes.extend([0, 2]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload, [1, 2, 3]);
        for (length, what) in [(12, "no extension"), (15, "half of one"), (19, "less than it says")] {
            assert_eq!(Packet::parse(&bytes[..length]), None, "{what}");
        }
        *bytes.last_mut().unwrap() = 0;
        assert_eq!(Packet::parse(&bytes), None, "padding without a length");
        *bytes.last_mut().unwrap() = 200;
        assert_eq!(Packet::parse(&bytes), None, "more padding than there is");
    }

    #[test]
    fn any_bytes_are_taken() {
        assert_eq!(Packet::parse(&[]), None);
        let mut state = 1_u32;
        for round in 0..100_000 {
            let mut bytes = [0; 40];
            for byte in &mut bytes {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            bytes[0] |= 0x80;
            if let Some(packet) = Packet::parse(&bytes[..round % 41]) {
                assert!(packet.payload.len() <= 28 && packet.sources().count() <= 7);
            }
        }
    }
}
