//! The codecs of the voice: what each needs, and one way to encode with them all.
//!
//! - `codec/g711.rs`: G.711, µ-law and A-law.
//! - `codec/g722.rs`: G.722.
//! - `codec/opus.rs`: Opus, by libopus, unless it is left out of the build.
//! - `codec/resample.rs`: from one's rate to another's.

pub mod g711;
pub mod g722;
pub mod opus;
pub mod resample;

use crate::session::Codec;
use g711::Law;

/// How often a second sound is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// 8 kHz.
    Narrow,
    /// 16 kHz.
    Wide,
    /// 48 kHz.
    Full,
}

impl Rate {
    /// All of them.
    pub const ALL: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    /// Samples in 20 ms.
    pub const fn frame(self) -> usize {
        match self {
            Rate::Narrow => 160,
            Rate::Wide => 320,
            Rate::Full => 960,
        }
    }
}

/// Samples in 20 ms at the highest rate.
pub const LONGEST_FRAME: usize = Rate::Full.frame();

impl Codec {
    /// What a voice is sampled with; `None` for pictures.
    pub const fn rate(self) -> Option<Rate> {
        match self {
            Codec::Pcmu | Codec::Pcma => Some(Rate::Narrow),
            Codec::G722 => Some(Rate::Wide),
            Codec::Opus => Some(Rate::Full),
            Codec::H264 | Codec::Vp8 => None,
        }
    }

    /// Units of a voice's RTP clock in 20 ms.
    pub const fn clock_step(self) -> u32 {
        match self {
            Codec::Opus => 960,
            _ => 160,
        }
    }

    /// Whether this build mixes it.
    pub const fn is_mixed(self) -> bool {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => true,
            Codec::Opus => cfg!(feature = "opus"),
            Codec::H264 | Codec::Vp8 => false,
        }
    }

    /// Whether its packets are decoded whole and not byte by byte.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Codec::Opus)
    }

    /// The law of G.711 it is.
    pub(crate) const fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            _ => None,
        }
    }
}

/// Encodes one voice, 20 ms after 20 ms.
pub enum Encoder {
    /// G.711.
    G711(Law),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus.
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder that has heard nothing; `None` if the codec is not mixed here.
    pub fn new(codec: Codec) -> Option<Encoder> {
        match codec {
            Codec::Pcmu => Some(Encoder::G711(Law::Mu)),
            Codec::Pcma => Some(Encoder::G711(Law::A)),
            Codec::G722 => Some(Encoder::G722(Box::default())),
            Codec::Opus => opus::Encoder::new().map(Encoder::Opus),
            Codec::H264 | Codec::Vp8 => None,
        }
    }

    /// Forgets what it has heard.
    pub fn reset(&mut self) {
        match self {
            Encoder::G711(_) => {}
            Encoder::G722(encoder) => **encoder = g722::Encoder::new(),
            Encoder::Opus(encoder) => encoder.reset(),
        }
    }

    /// Encodes 20 ms at the codec's rate; gives the bytes of `payload` it takes.
    pub fn encode(&mut self, sound: &[i16], payload: &mut [u8]) -> usize {
        match self {
            Encoder::G711(law) => law.encode(sound, payload),
            Encoder::G722(encoder) => encoder.encode(sound, payload),
            Encoder::Opus(encoder) => return encoder.encode(sound, payload),
        }
        payload.len().min(Rate::Narrow.frame())
    }
}
