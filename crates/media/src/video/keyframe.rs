//! Whether a whole picture begins in a packet, which can be shown without any before it.

use super::vp8::Descriptor;
use crate::session::Codec;

/// Units of H.264: a slice of a whole picture, and the parameters that come before one (RFC 6184 §1.3).
const WHOLE_SLICE: u8 = 5;
const PARAMETERS: u8 = 7;
/// Packets of several units, and of a part of one (RFC 6184 §5.2).
const STAP_A: u8 = 24;
const STAP_B: u8 = 25;
const FU_A: u8 = 28;
const FU_B: u8 = 29;

/// Whether a whole picture begins in this payload: any bytes at all.
pub(super) fn begins(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264(payload).unwrap_or(false),
        Codec::Vp8 => vp8(payload).unwrap_or(false),
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => false,
    }
}

fn h264(payload: &[u8]) -> Option<bool> {
    let is_whole = |unit: u8| matches!(unit & 0x1f, WHOLE_SLICE | PARAMETERS);
    let (first, rest) = payload.split_first()?;
    Some(match first & 0x1f {
        STAP_A => units(rest).any(is_whole),
        // A number for decoding comes first.
        STAP_B => units(rest.get(2..)?).any(is_whole),
        FU_A | FU_B => {
            let header = rest.first()?;
            header & 0x80 != 0 && is_whole(*header)
        }
        _ => is_whole(*first),
    })
}

/// The first byte of each unit of an aggregation.
fn units(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (len, behind) = rest.split_first_chunk()?;
        let unit = behind.get(..usize::from(u16::from_be_bytes(*len)))?;
        rest = &behind[unit.len()..];
        unit.first().copied()
    })
}

/// RFC 7741 §4.3: the first partition of a frame, whose header says that it is whole.
fn vp8(payload: &[u8]) -> Option<bool> {
    let descriptor = Descriptor::read(payload)?;
    Some(descriptor.begins && payload.get(descriptor.len)? & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_pictures_of_h264() {
        for (payload, expected) in [
            (&[0x65, 1, 2][..], true),
            (&[0x67, 1, 2], true),
            (&[0x68, 1], false),
            (&[0x41, 1], false),
            (&[0x06, 1], false),
            (&[], false),
            // STAP-A: access unit delimiter and parameters; parameters of the picture alone; cut short.
            (&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42], true),
            (&[0x78, 0, 1, 0x68], false),
            (&[0x78, 0, 9, 0x67], false),
            (&[0x78, 0, 0, 0, 1, 0x65], false),
            (&[0x79, 0, 7, 0, 1, 0x65], true),
            (&[0x79, 0], false),
            // FU-A: the beginning of a whole slice, its middle, the beginning of another.
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x7c, 0x81, 1], false),
            (&[0x7d, 0x85, 1], true),
            (&[0x7c], false),
        ] {
            assert_eq!(begins(Codec::H264, payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn whole_pictures_of_vp8() {
        for (payload, expected) in [
            (&[0x10, 0x50][..], true),
            (&[0x10, 0x51], false),
            (&[0x00, 0x50], false),
            (&[0x11, 0x50], false),
            (&[0x10], false),
            (&[], false),
            // Picture numbers of one and two bytes, layers and the rest.
            (&[0x90, 0x80, 0x12, 0x50], true),
            (&[0x90, 0x80, 0x92, 0x34, 0x50], true),
            (&[0x90, 0xf0, 0x92, 0x34, 1, 2, 0x50], true),
            (&[0x90, 0xf0, 0x92, 0x34, 1, 2, 0x51], false),
            (&[0x90, 0x20, 2, 0x50], true),
            (&[0x90, 0x80, 0x92], false),
            (&[0x90], false),
        ] {
            assert_eq!(begins(Codec::Vp8, payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        for first in 0..=255 {
            for second in 0..=255 {
                for len in 0..5 {
                    let payload = [first, second, 0x80, 0xff, 0x07];
                    begins(Codec::H264, &payload[..len]);
                    begins(Codec::Vp8, &payload[..len]);
                }
            }
        }
        assert!(!begins(Codec::Opus, &[0x65, 0x65]));
    }
}
