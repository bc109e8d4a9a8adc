//! CRC-32 (ITU-T V.42), and as peers compute it in whose table one entry is wrong.

const TABLE: [u32; 256] = table();

/// The entry that is wrong in the field, and what stands in its place.
const RIGHT: u32 = 0x8bbe_b8ea;
const WRONG: u32 = 0x08bb_e8ea;

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// The checksum; with `typo`, the wrong one.
pub(super) fn crc32(bytes: &[u8], typo: bool) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let entry = TABLE[usize::from(crc as u8 ^ byte)];
        (crc >> 8) ^ if typo && entry == RIGHT { WRONG } else { entry }
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789", false), 0xcbf4_3926);
        assert_eq!(TABLE.iter().filter(|entry| **entry == RIGHT).count(), 1);
        let all: Vec<u8> = (0..=255).collect();
        assert_ne!(crc32(&all, true), crc32(&all, false));
    }
}
