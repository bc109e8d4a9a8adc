//! The codecs of the voice: what each needs, and one way to decode and to encode them all.
//!
//! - `codec/g711.rs`: G.711, µ-law and A-law.

pub mod g711;

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

    /// The law of G.711 it is.
    pub(crate) const fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            _ => None,
        }
    }
}
