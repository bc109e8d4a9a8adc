//! G.711: eight bits that stand for fourteen (µ-law) or thirteen (A-law), by tables.
//!
//! The tables are computed when the program is compiled, from the segments of the recommendation.

/// µ-law to 16 bits.
static DECODE_MU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = (((((bits & 0x0f) as i16) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
        table[code] = if bits & 0x80 != 0 { -magnitude } else { magnitude };
        code += 1;
    }
    table
};

/// A-law to 16 bits.
static DECODE_A: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ 0x55;
        let segment = (bits & 0x70) >> 4;
        let step = (((bits & 0x0f) as i16) << 4) + 8;
        let magnitude = if segment == 0 { step } else { (step + 0x100) << (segment - 1) };
        table[code] = if bits & 0x80 != 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
};

/// The upper 14 bits of a sample to µ-law.
static ENCODE_MU: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < 1 << 14 {
        // The index is the sample in two's complement, without its two lowest bits.
        let sample = if index < 1 << 13 { index as i32 } else { index as i32 - (1 << 14) };
        let (sign, magnitude) = if sample < 0 { (0x80, -sample - 1) } else { (0, sample) };
        let biased = if magnitude > 8158 { 8191 } else { magnitude + 33 };
        let segment = 26 - biased.leading_zeros();
        let bits = sign | (segment as u8) << 4 | ((biased >> (segment + 1)) & 0x0f) as u8;
        table[index] = !bits;
        index += 1;
    }
    table
};

/// The upper 13 bits of a sample to A-law.
static ENCODE_A: [u8; 1 << 13] = {
    let mut table = [0; 1 << 13];
    let mut index = 0;
    while index < 1 << 13 {
        let sample = if index < 1 << 12 { index as i32 } else { index as i32 - (1 << 13) };
        let (sign, magnitude) = if sample < 0 { (0, -sample - 1) } else { (0x80, sample) };
        let bits = if magnitude < 32 {
            (magnitude >> 1) as u8
        } else {
            let segment = 27 - magnitude.leading_zeros();
            (segment as u8) << 4 | ((magnitude >> segment) & 0x0f) as u8
        };
        table[index] = (sign | bits) ^ 0x55;
        index += 1;
    }
    table
};

/// Which of the two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, payload type 0.
    Mu,
    /// A-law, payload type 8.
    A,
}

impl Law {
    /// A code as a sample of 16 bits.
    pub fn sample(self, code: u8) -> i16 {
        match self {
            Law::Mu => DECODE_MU[usize::from(code)],
            Law::A => DECODE_A[usize::from(code)],
        }
    }

    /// A sample of 16 bits as the code nearest to it.
    pub fn code(self, sample: i16) -> u8 {
        let bits = usize::from(sample.cast_unsigned());
        match self {
            Law::Mu => ENCODE_MU[bits >> 2],
            Law::A => ENCODE_A[bits >> 3],
        }
    }

    /// Codes as samples, as far as both reach.
    pub fn decode(self, codes: &[u8], samples: &mut [i16]) {
        let table = match self {
            Law::Mu => &DECODE_MU,
            Law::A => &DECODE_A,
        };
        for (sample, code) in samples.iter_mut().zip(codes) {
            *sample = table[usize::from(*code)];
        }
    }

    /// Samples as codes, as far as both reach.
    pub fn encode(self, samples: &[i16], codes: &mut [u8]) {
        match self {
            Law::Mu => {
                for (code, sample) in codes.iter_mut().zip(samples) {
                    *code = ENCODE_MU[usize::from(sample.cast_unsigned() >> 2)];
                }
            }
            Law::A => {
                for (code, sample) in codes.iter_mut().zip(samples) {
                    *code = ENCODE_A[usize::from(sample.cast_unsigned() >> 3)];
                }
            }
        }
    }

    /// The sum of the codes' magnitudes, 0 to 127 each, which grow by 16 when the sound doubles. One
    /// pass without a table: the codes are ordered by magnitude in both laws.
    pub fn magnitudes(self, codes: &[u8]) -> u32 {
        let flipped = match self {
            Law::Mu => 0xff,
            Law::A => 0x55,
        };
        codes.iter().map(|code| u32::from((code ^ flipped) & 0x7f)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code's value by the decision rules of the recommendation, in units of 16 bits.
    fn expanded(law: Law, code: u8) -> i32 {
        match law {
            Law::Mu => {
                let (negative, segment, step) =
                    (code & 0x80 == 0, u32::from(!code >> 4 & 7), i32::from(!code & 15));
                let magnitude = (2 * step + 33) * 2_i32.pow(segment) - 33;
                4 * if negative { -magnitude } else { magnitude }
            }
            Law::A => {
                let code = code ^ 0x55;
                let (negative, segment, step) =
                    (code & 0x80 == 0, u32::from(code >> 4 & 7), i32::from(code & 15));
                let magnitude =
                    if segment == 0 { 2 * step + 1 } else { (2 * step + 33) * 2_i32.pow(segment - 1) };
                8 * if negative { -magnitude } else { magnitude }
            }
        }
    }

    #[test]
    fn every_code_has_the_value_of_the_recommendation() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                assert_eq!(i32::from(law.sample(code)), expanded(law, code), "{law:?} {code}");
            }
        }
    }

    /// The magnitudes that a code stands for, from the first to before the last: the decision values of
    /// the recommendation, in units of 14 and 13 bits.
    fn decided(law: Law, code: u8) -> std::ops::Range<i32> {
        match law {
            Law::Mu => {
                let (segment, step) = (u32::from(!code >> 4 & 7), i32::from(!code & 15));
                let [from, to] = [16, 17].map(|edge| (edge + step) * 2_i32.pow(segment + 1) - 33);
                from.max(0)..to
            }
            Law::A => {
                let code = code ^ 0x55;
                let (segment, step) = (u32::from(code >> 4 & 7), i32::from(code & 15));
                let base = if segment == 0 { 0 } else { 16 };
                let [from, to] = [0, 1].map(|edge| (base + step + edge) * 2_i32.pow(segment.max(1)));
                from..to
            }
        }
    }

    #[test]
    fn every_sample_becomes_the_code_it_is_decided_for() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let code = law.code(sample);
                let shifted = i32::from(sample) >> if law == Law::Mu { 2 } else { 3 };
                let (negative, magnitude) = if shifted < 0 { (true, -shifted - 1) } else { (false, shifted) };
                let magnitude = magnitude.min(if law == Law::Mu { 8158 } else { 4095 });
                assert!(decided(law, code).contains(&magnitude), "{law:?} {sample} {code}");
                assert_eq!(code & 0x80 == 0, negative, "{law:?} {sample} {code}");
            }
            for code in 0..=255 {
                let again = law.code(law.sample(code));
                assert!(again == code || law.sample(code) == 0, "{law:?} {code} comes back as {again}");
            }
        }
    }

    #[test]
    fn known_codes() {
        assert_eq!(
            [0, 32767, -32768, 4, -4].map(|sample| Law::Mu.code(sample)),
            [0xff, 0x80, 0x00, 0xfe, 0x7f]
        );
        assert_eq!([0, 32767, -32768, -1].map(|sample| Law::A.code(sample)), [0xd5, 0xaa, 0x2a, 0x55]);
    }

    #[test]
    fn magnitudes_are_logarithmic() {
        for law in [Law::Mu, Law::A] {
            assert_eq!(law.magnitudes(&[law.code(0)]), 0);
            let loud = law.magnitudes(&[law.code(-16000)]);
            let half = law.magnitudes(&[law.code(8000)]);
            assert!((15..=17).contains(&(loud - half)), "{law:?}: {loud} {half}");
        }
    }
}
