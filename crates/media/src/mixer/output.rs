//! What is encoded: one frame for all who hear the same with the same codec.

use crate::{
    codec::{Rate, g711::Law},
    mixer::VARIANTS,
    session::Codec,
};

/// Codecs with which somebody may be sent a voice.
pub(crate) const OUTPUTS: usize = CODECS.len();

const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

/// The place of a codec's output; `None` if it is no voice.
pub(crate) fn index(codec: Codec) -> Option<usize> {
    CODECS.iter().position(|known| *known == codec)
}

/// The frames of one codec.
pub(crate) struct Output {
    law: Law,
    frames: Box<[[u8; 160]; VARIANTS]>,
    ready: [bool; VARIANTS],
}

impl Output {
    /// The output of the codec with this index.
    pub fn new(index: usize) -> Output {
        let law = CODECS[index].law().expect("so far all of them are G.711");
        Output { law, frames: Box::new([[0; 160]; VARIANTS]), ready: [false; VARIANTS] }
    }

    /// What is encoded must have this rate.
    pub fn rate(&self) -> Rate {
        Rate::Narrow
    }

    /// Whether a frame depends on those before it.
    pub fn remembers(&self) -> bool {
        false
    }

    /// A new tick begins.
    pub fn forget(&mut self) {
        self.ready = [false; VARIANTS];
    }

    /// Whether a variant has been encoded in this tick.
    pub fn is_ready(&self, variant: usize) -> bool {
        self.ready[variant]
    }

    /// The frame of a variant, encoded from `mix` unless it is there.
    pub fn frame(&mut self, variant: usize, mix: &[i16]) -> &[u8] {
        if !std::mem::replace(&mut self.ready[variant], true) {
            self.law.encode(mix, &mut self.frames[variant]);
        }
        &self.frames[variant]
    }
}
