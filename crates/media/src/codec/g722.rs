//! G.722 at 64 kbit/s: two bands of a voice sampled at 16 kHz, each coded as its difference from what was
//! expected (ITU-T G.722). One byte holds two samples: six bits of the lower band, two of the upper.
//!
//! Ours, because the crates there are bring an asynchronous runtime along. The arithmetic is that of the
//! recommendation to the bit; its blocks are named where they stand.

/// The filter that divides and joins the bands (§3.1); the other half is its mirror image.
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's 60 steps, and the codes of negative and positive ones (tables 14, 15).
const LEVELS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121,
    1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
const fn low_code(step: usize, negative: bool) -> u8 {
    let step = step as u8;
    match (negative, step) {
        (true, 1 | 2) => 64 - step,
        (true, _) => 34 - step,
        (false, _) => 62 - step,
    }
}

/// What the codes stand for: six bits and four bits of the lower band, two of the upper (tables 16 to 18).
const SIX_BITS: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
const FOUR_BITS: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const TWO_BITS: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How much louder or softer a code says the band becomes, on a scale of 2,048 for twice as loud.
const LOW_STEPS: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
const HIGH_STEPS: [i32; 4] = [798, -214, 798, -214];

/// Powers of two between 2,048 and 4,096.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The loudest the bands become on that scale.
const LOW_MOST: i32 = 18_432;
const HIGH_MOST: i32 = 22_528;

fn saturated(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// How loud a band was of late.
fn scaled(loudness: i32, step: i32, most: i32) -> i32 {
    (((loudness * 127) >> 7) + step).clamp(0, most)
}

/// The size of a step at a loudness; `full` is 8 in the lower band and 10 in the upper.
fn step_size(loudness: i32, full: i32) -> i32 {
    let power = POWERS[(loudness >> 6 & 31) as usize];
    let shift = full - (loudness >> 11);
    (if shift < 0 { power << -shift } else { power >> shift }) << 2
}

/// What is known of one band, the same in the encoder and the decoder.
#[derive(Clone, Debug)]
struct Band {
    /// What is expected next, and the part of it that differences make.
    expected: i32,
    from_differences: i32,
    loudness: i32,
    step: i32,
    /// Two weights of what was reconstructed, and six of the differences; what they weigh, newest first.
    poles: [i32; 2],
    zeros: [i32; 6],
    reconstructed: [i32; 2],
    partial: [i32; 2],
    differences: [i32; 6],
}

impl Band {
    fn new(step: i32) -> Band {
        Band {
            expected: 0,
            from_differences: 0,
            loudness: 0,
            step,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; 6],
        }
    }

    fn low() -> Band {
        Band::new(32)
    }

    fn high() -> Band {
        Band::new(8)
    }

    fn hear_low(&mut self, code: u8) {
        let index = usize::from(code >> 2 & 15);
        let difference = (self.step * FOUR_BITS[index]) >> 15;
        self.loudness = scaled(self.loudness, LOW_STEPS[index], LOW_MOST);
        self.step = step_size(self.loudness, 8);
        self.learn(difference);
    }

    /// Gives the difference that the code stands for.
    fn hear_high(&mut self, code: u8) -> i32 {
        let index = usize::from(code & 3);
        let difference = (self.step * TWO_BITS[index]) >> 15;
        self.loudness = scaled(self.loudness, HIGH_STEPS[index], HIGH_MOST);
        self.step = step_size(self.loudness, 10);
        self.learn(difference);
        difference
    }

    /// Block 4: adapts the weights and says what is expected next.
    fn learn(&mut self, difference: i32) {
        let reconstructed = saturated(self.expected + difference);
        let partial = saturated(self.from_differences + difference);
        let same = |one: i32, other: i32| (one < 0) == (other < 0);

        // UPPOL2 and UPPOL1.
        let first = saturated(self.poles[0] << 2);
        let turned = if same(partial, self.partial[0]) { (-first).min(32_767) } else { first };
        let sign = if same(partial, self.partial[1]) { 128 } else { -128 };
        let second = ((turned >> 7) + sign + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let sign = if same(partial, self.partial[0]) { 192 } else { -192 };
        let most = saturated(15_360 - second);
        let first = saturated(sign + ((self.poles[0] * 32_640) >> 15)).clamp(-most, most);
        self.poles = [first, second];

        // UPZERO and FILTEZ.
        let gain = if difference == 0 { 0 } else { 128 };
        for (weight, old) in self.zeros.iter_mut().zip(self.differences) {
            let change = if same(old, difference) { gain } else { -gain };
            *weight = saturated(change + ((*weight * 32_640) >> 15));
        }
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        let weighed =
            self.zeros.iter().zip(self.differences).map(|(weight, old)| (weight * saturated(2 * old)) >> 15);
        self.from_differences = saturated(weighed.sum());

        // FILTEP.
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        let [new, old] = self.reconstructed.map(|value| saturated(2 * value));
        let from_poles = saturated(((first * new) >> 15) + ((second * old) >> 15));
        self.expected = saturated(from_poles + self.from_differences);
    }
}

/// The last samples of the mirror filters, as pairs.
#[derive(Clone, Debug)]
struct Filter {
    first: [i32; 12],
    second: [i32; 12],
}

impl Filter {
    fn new() -> Filter {
        Filter { first: [0; 12], second: [0; 12] }
    }

    /// Takes a pair and gives the two sums over it and those before it.
    fn take(&mut self, first: i32, second: i32) -> (i32, i32) {
        self.first.copy_within(1.., 0);
        self.second.copy_within(1.., 0);
        (self.first[11], self.second[11]) = (first, second);
        let odd = self.first.iter().zip(MIRROR).map(|(sample, weight)| sample * weight).sum();
        let even = self.second.iter().zip(MIRROR.iter().rev()).map(|(sample, weight)| sample * weight).sum();
        (odd, even)
    }
}

/// Encodes one voice.
#[derive(Clone, Debug)]
pub struct Encoder {
    low: Band,
    high: Band,
    filter: Filter,
}

impl Encoder {
    /// An encoder that has heard nothing.
    pub fn new() -> Encoder {
        Encoder { low: Band::low(), high: Band::high(), filter: Filter::new() }
    }

    /// Encodes pairs of samples, a byte each, as far as both reach.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) {
        for (code, pair) in codes.iter_mut().zip(samples.chunks_exact(2)) {
            let (odd, even) = self.filter.take(i32::from(pair[0]), i32::from(pair[1]));
            let low = self.encode_low((even + odd) >> 14);
            *code = self.encode_high((even - odd) >> 14) << 6 | low;
        }
    }

    fn encode_low(&mut self, sample: i32) -> u8 {
        let error = saturated(sample - self.low.expected);
        let magnitude = if error < 0 { -(error + 1) } else { error };
        let is_below = |level: &i32| magnitude < (level * self.low.step) >> 12;
        let step = LEVELS.iter().skip(1).position(is_below).unwrap_or(LEVELS.len() - 1) + 1;
        let code = low_code(step, error < 0);
        self.low.hear_low(code);
        code
    }

    fn encode_high(&mut self, sample: i32) -> u8 {
        let error = saturated(sample - self.high.expected);
        let magnitude = if error < 0 { -(error + 1) } else { error };
        let is_large = magnitude >= (564 * self.high.step) >> 12;
        let code = match (error < 0, is_large) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.high.hear_high(code);
        code
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

/// Decodes one voice.
#[derive(Clone, Debug)]
pub struct Decoder {
    low: Band,
    high: Band,
    filter: Filter,
}

impl Decoder {
    /// A decoder that has heard nothing.
    pub fn new() -> Decoder {
        Decoder { low: Band::low(), high: Band::high(), filter: Filter::new() }
    }

    /// Decodes bytes, a pair of samples each, as far as both reach.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) {
        for (pair, code) in samples.chunks_exact_mut(2).zip(codes) {
            let fine = (self.low.step * SIX_BITS[usize::from(code & 63)]) >> 15;
            let low = (self.low.expected + fine).clamp(-16_384, 16_383);
            self.low.hear_low(*code);
            let expected = self.high.expected;
            let high = (expected + self.high.hear_high(code >> 6)).clamp(-16_384, 16_383);
            let (odd, even) = self.filter.take(low + high, low - high);
            pair[0] = saturated(even >> 11) as i16;
            pair[1] = saturated(odd >> 11) as i16;
        }
    }
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

/// What the meter shows of silence, in which the steps wander about the smallest.
const WANDERING: u32 = 16;

/// How loud a voice is, from its codes alone: they say of themselves how the lower band's steps grow.
#[derive(Clone, Debug, Default)]
pub struct Meter(i32);

impl Meter {
    /// Hears codes. How loud they are in the mean, in steps of 3/8 dB.
    pub fn hear(&mut self, codes: &[u8]) -> u32 {
        let mut sum = 0;
        for code in codes {
            self.0 = scaled(self.0, LOW_STEPS[usize::from(code >> 2 & 15)], LOW_MOST);
            sum += self.0;
        }
        let mean = sum / (codes.len().max(1) as i32) / 128;
        mean.cast_unsigned().saturating_sub(WANDERING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, strength: f64, len: usize) -> Vec<i16> {
        (0..len)
            .map(|at| (strength * (at as f64 * hz / 16_000.0 * std::f64::consts::TAU).sin()) as i16)
            .collect()
    }

    fn again(sound: &[i16]) -> Vec<i16> {
        let mut codes = vec![0; sound.len() / 2];
        Encoder::new().encode(sound, &mut codes);
        let mut heard = vec![0; sound.len()];
        Decoder::new().decode(&codes, &mut heard);
        heard
    }

    /// Sums that an implementation whose bits are known to be right gave for the same sound.
    #[test]
    fn the_bits_are_those_of_the_recommendation() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as u16).cast_signed()
        };
        let mut sound = [0; 16_000];
        for (at, sample) in sound.iter_mut().enumerate() {
            let noise = random();
            *sample = match at / 4000 {
                0 => 0,
                1 => noise / 64,
                2 => (at as i32 % 100 * 600 - 30_000) as i16,
                _ => noise,
            };
        }
        let mut codes = [0; 8000];
        Encoder::new().encode(&sound, &mut codes);
        let mut heard = [0; 16_000];
        Decoder::new().decode(&codes, &mut heard);
        let sum = codes.iter().fold(0_u32, |sum, code| sum.rotate_left(5) ^ u32::from(*code));
        assert_eq!(sum, 0xd72a_b0ef);
        let sum =
            heard.iter().fold(0_u32, |sum, sample| sum.rotate_left(5) ^ u32::from(sample.cast_unsigned()));
        assert_eq!(sum, 0x90aa_1d7f);
    }

    #[test]
    fn tones_come_back() {
        for hz in [300.0, 1000.0, 2500.0, 3400.0, 5000.0, 6500.0] {
            let sound = tone(hz, 8000.0, 6400);
            let heard = again(&sound);
            // Both filters together take 22 samples.
            let pairs = heard[1600 + 22..].iter().zip(&sound[1600..]);
            let error: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let power: f64 = sound[1600..].iter().map(|sample| f64::from(*sample).powi(2)).sum();
            let decibels = 10.0 * (power / error).log10();
            assert!(decibels > if hz < 4000.0 { 25.0 } else { 12.0 }, "{hz}: {decibels}");
        }
    }

    #[test]
    fn the_meter_follows_the_sound() {
        let level = |strength| {
            let mut codes = vec![0; 1600];
            Encoder::new().encode(&tone(700.0, strength, 3200), &mut codes);
            Meter::default().hear(&codes)
        };
        let levels = [0.0, 60.0, 600.0, 6000.0].map(level);
        assert_eq!(levels[0], 0);
        assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{levels:?}");
        assert!(levels[3] > 40, "{levels:?}");
    }

    #[test]
    fn any_codes_and_samples_are_taken() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u16
        };
        let codes: Vec<u8> = (0..100_000).map(|_| random() as u8).collect();
        let mut heard = vec![0; 200_000];
        Decoder::new().decode(&codes, &mut heard);
        let noise: Vec<i16> = (0..100_000).map(|_| random().cast_signed()).collect();
        again(&noise);
        again(&[i16::MIN; 4000]);
        let square: Vec<i16> =
            (0..4000).map(|at| if at / 8 % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
        again(&square);
    }
}
