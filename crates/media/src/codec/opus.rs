//! Opus in mono at 48 kHz (RFC 6716, RFC 7587), by libopus; and what its packets say without decoding.

/// Samples at 48 kHz that one packet holds at most: 120 ms.
pub const LONGEST: usize = 5760;

/// Samples at 48 kHz that a packet holds, by its first bytes (RFC 6716 §3); `None` if there can be no such
/// packet.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let configuration = first >> 3;
    let frame = match configuration {
        0..=11 => [480, 960, 1920, 2880][usize::from(configuration & 3)],
        12..=15 => [480, 960][usize::from(configuration & 1)],
        _ => [120, 240, 480, 960][usize::from(configuration & 3)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    let samples = frame * frames;
    (1..=LONGEST as u32).contains(&samples).then_some(samples)
}

/// Whether a packet holds a voice, as far as that can be seen: the speech layer says so in its first bits
/// (RFC 6716 §4.2.3), the music layer only whether it is silent altogether (§4.3).
pub fn is_active(packet: &[u8]) -> bool {
    let [first, rest @ ..] = packet else { return false };
    // Nothing at all, or a frame that stands for silence that goes on.
    if rest.len() < 2 {
        return false;
    }
    let configuration = first >> 3;
    if first & 3 != 0 {
        // Where its frames begin would have to be looked for.
        return true;
    }
    match configuration {
        0..=15 => {
            let frames = match configuration {
                0..=11 => [1, 1, 2, 3][usize::from(configuration & 3)],
                _ => 1,
            };
            rest[0] >> (8 - frames) != 0
        }
        // A flag that is set once in 32,768 times is fifteen ones when it is.
        _ => !(rest[0] == 0xff && rest[1] >= 0xfe),
    }
}

#[cfg(feature = "opus")]
mod library {
    use opus::{Application, Bitrate, Channels};

    /// Bits a second we send.
    const BIT_RATE: i32 = 32_000;

    /// How hard the encoder works, of ten. Beyond this it costs more than can be heard in a voice.
    const COMPLEXITY: i32 = 5;

    /// Encodes one voice.
    pub struct Encoder(opus::Encoder);

    impl Encoder {
        /// An encoder that has heard nothing and expects no loss; `None` if there is no memory for it.
        pub fn new() -> Option<Encoder> {
            let mut encoder = opus::Encoder::new(48_000, Channels::Mono, Application::Voip).ok()?;
            encoder.set_bitrate(Bitrate::Bits(BIT_RATE)).ok()?;
            encoder.set_complexity(COMPLEXITY).ok()?;
            encoder.set_inband_fec(true).ok()?;
            Some(Encoder(encoder))
        }

        /// Forgets what it has heard.
        pub fn reset(&mut self) {
            // It fails for no encoder that was made.
            let _ = self.0.reset_state();
        }

        /// Of a hundred packets so many will be lost: if any are, those with a voice bear a second copy of the one
        /// before (RFC 6716 §2.1.7).
        pub fn expect_loss(&mut self, percent: u8) {
            let _ = self.0.set_packet_loss_perc(i32::from(percent));
        }

        /// Encodes the next frame so that it can be understood without those before it, or as usual again.
        pub fn stand_alone(&mut self, alone: bool) {
            let _ = self.0.set_prediction_disabled(alone);
        }

        /// Encodes 20 ms; gives the bytes it takes, none if that fails.
        pub fn encode(&mut self, sound: &[i16], packet: &mut [u8]) -> usize {
            self.0.encode(sound, packet).unwrap_or(0)
        }
    }

    /// Decodes one voice.
    pub struct Decoder(opus::Decoder);

    impl Decoder {
        /// A decoder that has heard nothing; `None` if there is no memory for it.
        pub fn new() -> Option<Decoder> {
            opus::Decoder::new(48_000, Channels::Mono).ok().map(Decoder)
        }

        /// Forgets what it has heard.
        pub fn reset(&mut self) {
            let _ = self.0.reset_state();
        }

        /// Decodes a packet; gives the samples it holds, none if it is none.
        pub fn decode(&mut self, packet: &[u8], sound: &mut [i16]) -> usize {
            if packet.is_empty() { 0 } else { self.0.decode(packet, sound, false).unwrap_or(0) }
        }

        /// Makes up what was lost just before `next` from the copy in it, or from what was heard before.
        /// `sound` is a multiple of 2.5 ms; gives the samples made.
        pub fn conceal(&mut self, next: Option<&[u8]>, sound: &mut [i16]) -> usize {
            let made = self.0.decode(next.unwrap_or_default(), sound, next.is_some());
            made.unwrap_or(0)
        }
    }
}

/// Without libopus there are no such things.
#[cfg(not(feature = "opus"))]
mod library {
    /// No encoder.
    pub enum Encoder {}

    impl Encoder {
        /// None.
        pub fn new() -> Option<Encoder> {
            None
        }

        /// Cannot be.
        pub fn reset(&mut self) {
            match *self {}
        }

        /// Cannot be.
        pub fn expect_loss(&mut self, _: u8) {
            match *self {}
        }

        /// Cannot be.
        pub fn stand_alone(&mut self, _alone: bool) {
            match *self {}
        }

        /// Cannot be.
        pub fn encode(&mut self, _sound: &[i16], _packet: &mut [u8]) -> usize {
            match *self {}
        }
    }

    /// No decoder.
    pub enum Decoder {}

    impl Decoder {
        /// None.
        pub fn new() -> Option<Decoder> {
            None
        }

        /// Cannot be.
        pub fn reset(&mut self) {
            match *self {}
        }

        /// Cannot be.
        pub fn decode(&mut self, _packet: &[u8], _sound: &mut [i16]) -> usize {
            match *self {}
        }

        /// Cannot be.
        pub fn conceal(&mut self, _next: Option<&[u8]>, _sound: &mut [i16]) -> usize {
            match *self {}
        }
    }
}

pub use library::{Decoder, Encoder};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_table() {
        let check = |packet: &[u8], samples| assert_eq!(duration(packet), samples, "{packet:?}");
        check(&[], None);
        check(&[0b0000_0000], Some(480));
        check(&[0b0001_1000], Some(2880));
        check(&[0b0110_1000], Some(960));
        check(&[0b1000_0000], Some(120));
        check(&[0b1111_1001], Some(1920));
        check(&[0b1111_1011], None);
        check(&[0b1111_1011, 3], Some(2880));
        check(&[0b1111_1011, 6], Some(5760));
        check(&[0b1111_1011, 7], None);
        check(&[0b1111_1011, 0], None);
        for first in 0..=255 {
            for second in [0, 1, 6, 48, 63, 255] {
                duration(&[first, second]);
                is_active(&[first, second, 0]);
                is_active(&[first]);
            }
        }
    }

    #[cfg(feature = "opus")]
    #[test]
    fn tones_come_back_and_silence_is_seen() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new().unwrap());
        let mut packet = [0; 400];
        let mut sound = [0; LONGEST];
        let mut frame = |encoder: &mut Encoder, number: usize, strength: f64| {
            let sample = |at: usize| {
                let at = (number * 960 + at) as f64;
                (strength * (at * 440.0 / 48_000.0 * std::f64::consts::TAU).sin()) as i16
            };
            let original: Vec<i16> = (0..960).map(sample).collect();
            let len = encoder.encode(&original, &mut packet);
            assert_eq!(duration(&packet[..len]), Some(960));
            (len, packet)
        };
        let mut power = 0.0;
        for number in 0..50 {
            let (len, packet) = frame(&mut encoder, number, 8000.0);
            // A tone is no voice, as the encoder finds out after a while.
            assert!(!(2..20).contains(&number) || is_active(&packet[..len]), "{number}");
            assert_eq!(decoder.decode(&packet[..len], &mut sound), 960);
            if number >= 25 {
                power += sound[..960].iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / 960.0;
            }
        }
        let strength = (power / 25.0).sqrt() * std::f64::consts::SQRT_2;
        assert!((7000.0..9000.0).contains(&strength), "{strength}");
        let mut active = 0;
        for number in 0..100 {
            let (len, packet) = frame(&mut encoder, number, 0.0);
            active += usize::from(number >= 50 && is_active(&packet[..len]));
        }
        assert_eq!(active, 0, "silence is seen without decoding");
        assert_eq!(decoder.conceal(None, &mut sound[..960]), 960);
        assert_eq!(decoder.decode(&[0xff; 5], &mut sound), 0);
        for len in 0..200 {
            let noise: Vec<u8> = (0..len).map(|at| (at * 37 + len) as u8).collect();
            decoder.decode(&noise, &mut sound);
            decoder.conceal(Some(&noise), &mut sound[..960]);
        }
    }
}
