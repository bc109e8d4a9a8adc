//! Tones, encoded beforehand, and the search for them.

use std::f64::consts::TAU;

use clap::ValueEnum;

/// How loud a talker is, as the amplitude of 16-bit samples.
pub const AMPLITUDE: f64 = 6000.0;
/// Different tones; each is a multiple of 50 Hz, so that it has whole periods in a frame.
pub const TONES: usize = 52;
/// Frames a second.
const FRAMES: usize = 50;

/// What everybody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// Opus, 16 kHz mono at 24 kbit/s.
    Opus,
}

/// The frames of a tone, or of silence: some at first, then some that are repeated.
#[derive(Debug)]
pub struct Frames {
    frames: Vec<Vec<u8>>,
    repeated: usize,
}

impl Frames {
    /// The frame with this number.
    pub fn frame(&self, number: usize) -> &[u8] {
        let last = self.frames.len();
        let number =
            if number < last { number } else { last - self.repeated + (number - last) % self.repeated };
        &self.frames[number]
    }
}

/// Makes samples of what one person hears.
pub enum Decoder {
    /// Each byte is a sample of its own.
    Bytes(fn(u8) -> i16),
    /// Opus, with its memory.
    Opus(Box<opus::Decoder>),
}

impl Decoder {
    /// Decodes a payload; what cannot be decoded is silence.
    pub fn decode(&mut self, payload: &[u8], into: &mut Vec<i16>) {
        into.clear();
        match self {
            Decoder::Bytes(sample) => into.extend(payload.iter().map(|byte| sample(*byte))),
            Decoder::Opus(decoder) => {
                into.resize(LONGEST, 0);
                let length = decoder.decode(payload, into, false).unwrap_or(0);
                into.truncate(length);
            }
        }
    }
}

/// Samples of the longest Opus packet, 120 ms.
const LONGEST: usize = 1920;
/// Frames of an Opus tone before those that are repeated, and those: a second of each, until the encoder has settled.
const SETTLING: usize = 50;
const REPEATED: usize = 100;

impl Codec {
    /// The static payload type (RFC 3551).
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::Opus => 111,
        }
    }

    /// What one frame adds to the RTP time stamp.
    pub fn clock_step(self) -> u32 {
        if self == Codec::Opus { 960 } else { 160 }
    }

    /// RTP clock ticks a second.
    pub fn clock_rate(self) -> f64 {
        f64::from(self.clock_step()) * FRAMES as f64
    }

    /// Samples a second that are judged.
    pub fn rate(self) -> usize {
        if self == Codec::Opus { 16_000 } else { 8000 }
    }

    /// Its line in SDP, after `a=rtpmap:`.
    pub fn map(self) -> &'static str {
        match self {
            Codec::Pcmu => "0 PCMU/8000",
            Codec::Pcma => "8 PCMA/8000",
            Codec::Opus => "111 opus/48000/2",
        }
    }

    /// The frames of a tone of this amplitude. The tone begins with the first.
    pub fn frames(self, tone: f64, amplitude: f64) -> Frames {
        let length = self.rate() / FRAMES;
        let sample = |number: usize| {
            #[expect(clippy::cast_possible_truncation, reason = "an amplitude fits into 16 bits")]
            let sample = (amplitude * (TAU * tone * number as f64 / self.rate() as f64).sin()).round() as i16;
            sample
        };
        // A frame of 20 ms has whole periods of 50 Hz.
        match self {
            Codec::Pcmu => Frames { frames: vec![(0..length).map(sample).map(pcmu).collect()], repeated: 1 },
            Codec::Pcma => Frames { frames: vec![(0..length).map(sample).map(pcma).collect()], repeated: 1 },
            Codec::Opus => {
                let frame: Vec<i16> = (0..length).map(sample).collect();
                Frames { frames: encoded(&frame), repeated: REPEATED }
            }
        }
    }

    /// A decoder.
    pub fn decoder(self) -> Decoder {
        match self {
            Codec::Pcmu => Decoder::Bytes(from_pcmu),
            Codec::Pcma => Decoder::Bytes(from_pcma),
            Codec::Opus => {
                let decoder = opus::Decoder::new(16_000, opus::Channels::Mono);
                Decoder::Opus(Box::new(decoder.expect("libopus knows this rate")))
            }
        }
    }
}

/// The same samples again and again in Opus, after some silence.
fn encoded(frame: &[i16]) -> Vec<Vec<u8>> {
    let encoder = opus::Encoder::new(16_000, opus::Channels::Mono, opus::Application::Voip);
    let mut encoder = encoder.expect("libopus knows this rate");
    // The cheapest that still sounds like itself: it is the server that is measured.
    let set = encoder.set_bitrate(opus::Bitrate::Bits(24_000));
    set.expect("libopus knows this bit rate");
    let mut encode =
        |samples: &[i16]| encoder.encode_vec(samples, 1275).expect("a frame of 20 ms can be encoded");
    let silence = vec![0; frame.len()];
    (0..10).for_each(|_| drop(encode(&silence)));
    (0..SETTLING + REPEATED).map(|_| encode(frame)).collect()
}

/// The tone of somebody, in Hz; people of one conference have different ones, up to [`TONES`].
pub fn tone(number: usize) -> f64 {
    400.0 + 50.0 * (number % TONES) as f64
}

/// Looks for one tone (Goertzel's algorithm), sample by sample.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    twice_cosine: f64,
    one: f64,
    two: f64,
}

impl Search {
    /// Looks for this tone in samples of this rate.
    pub fn new(tone: f64, rate: usize) -> Search {
        Search { twice_cosine: 2.0 * (TAU * tone / rate as f64).cos(), one: 0.0, two: 0.0 }
    }

    /// Goes on with these.
    pub fn take(&mut self, samples: &[i16]) {
        for sample in samples {
            let next = f64::from(*sample) + self.twice_cosine * self.one - self.two;
            (self.one, self.two) = (next, self.one);
        }
    }

    /// How loud it is in the samples so far, of which there are so many.
    pub fn amplitude(&self, length: usize) -> f64 {
        let power = self.one.powi(2) + self.two.powi(2) - self.twice_cosine * self.one * self.two;
        power.max(0.0).sqrt() * 2.0 / length.max(1) as f64
    }
}

/// One sample of G.711 µ-law.
pub fn pcmu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = i32::from(sample).abs().min(32_635) + 0x84;
    let exponent = 24 - biased.leading_zeros(); // the top bit of seven is bit 14
    let mantissa = (biased >> (exponent + 3)) & 0x0f;
    !(sign | byte(exponent.cast_signed() << 4 | mantissa))
}

fn from_pcmu(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4)) - 0x84;
    signed(magnitude, byte & 0x80 == 0)
}

fn pcma(sample: i16) -> u8 {
    let sample = i32::from(sample) >> 3;
    let (mask, magnitude) = if sample >= 0 { (0xd5, sample) } else { (0x55, -sample - 1) };
    let exponent = (27 - (magnitude | 0x1f).leading_zeros().cast_signed()).max(0);
    let mantissa = (magnitude >> exponent.max(1)) & 0x0f;
    byte(exponent << 4 | mantissa) ^ mask
}

fn from_pcma(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte & 0x70) >> 4, i32::from(byte & 0x0f) << 4);
    let magnitude = if exponent == 0 { mantissa + 8 } else { (mantissa + 0x108) << (exponent - 1) };
    signed(magnitude, byte & 0x80 != 0)
}

fn byte(value: i32) -> u8 {
    u8::try_from(value).expect("seven bits")
}

fn signed(magnitude: i32, positive: bool) -> i16 {
    i16::try_from(if positive { magnitude } else { -magnitude }).expect("G.711 has 14 bits at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_laws_are_read_as_they_are_written() {
        for sample in (-32_000..32_000).step_by(37) {
            let error = |read: i16| (i32::from(read) - i32::from(sample)).abs();
            let allowed = 16 + i32::from(sample).abs() / 16;
            assert!(error(from_pcmu(pcmu(sample))) <= allowed, "{sample}");
            assert!(error(from_pcma(pcma(sample))) <= allowed, "{sample}");
        }
    }

    #[test]
    fn a_tone_is_found_again() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::Opus] {
            let (frames, mut decoder) = (codec.frames(tone(7), AMPLITUDE), codec.decoder());
            let search = |number| Search::new(tone(number), codec.rate());
            let (mut samples, mut there, mut absent, mut length) = (Vec::new(), search(7), search(9), 0);
            for number in 0..300 {
                decoder.decode(frames.frame(number), &mut samples);
                if number >= 20 {
                    there.take(&samples);
                    absent.take(&samples);
                    length += samples.len();
                }
            }
            assert!((there.amplitude(length) / AMPLITUDE - 1.0).abs() < 0.3, "{codec:?}");
            assert!(absent.amplitude(length) < AMPLITUDE * 0.05, "{codec:?}");
        }
    }
}
