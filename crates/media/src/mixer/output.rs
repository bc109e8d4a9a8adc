//! What is encoded: one frame for all who hear the same with the same codec.

use crate::{
    codec::{Encoder, Rate},
    mixer::{ALL, VARIANTS},
    session::Codec,
};

/// Codecs with which somebody may be sent a voice.
pub(crate) const OUTPUTS: usize = CODECS.len();

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

/// Bytes a frame takes at most; Opus takes a quarter of that in the mean.
const LONGEST: usize = 400;

/// The place of a codec's output; `None` if it is not mixed here.
pub(crate) fn index(codec: Codec) -> Option<usize> {
    CODECS.iter().position(|known| *known == codec).filter(|_| codec.is_mixed())
}

/// The frames of one codec.
pub(crate) struct Output {
    codec: Codec,
    frames: Box<[Frame; VARIANTS]>,
}

/// The frame of one variant.
struct Frame {
    /// Made when the variant is heard for the first time, so that rooms pay for what they need.
    encoder: Option<Encoder>,
    bytes: [u8; LONGEST],
    len: usize,
    ready: bool,
    /// Who hears it has heard another variant just before.
    joined: bool,
}

impl Output {
    /// The output of the codec with this index.
    pub fn new(index: usize) -> Output {
        let frame = |_| Frame { encoder: None, bytes: [0; LONGEST], len: 0, ready: false, joined: false };
        Output { codec: CODECS[index], frames: Box::new(std::array::from_fn(frame)) }
    }

    /// What is encoded must have this rate.
    pub fn rate(&self) -> Rate {
        self.codec.rate().unwrap_or(Rate::Narrow)
    }

    /// Whether a frame depends on those before it.
    pub fn remembers(&self) -> bool {
        self.codec.law().is_none()
    }

    /// A new tick begins.
    pub fn forget(&mut self) {
        for frame in self.frames.iter_mut() {
            frame.ready = false;
        }
    }

    /// From now on somebody hears `variant` who heard another one before, so that the decoder's memory is
    /// of something else.
    pub fn join(&mut self, variant: usize) {
        if !self.remembers() {
            return;
        }
        let [all, others @ ..] = &mut *self.frames;
        let Some(other) = variant.checked_sub(ALL + 1).and_then(|at| others.get_mut(at)) else {
            all.joined = true;
            return;
        };
        other.joined = true;
        // He has heard what everybody hears, and goes on from there.
        if let Some(Encoder::G722(all)) = &all.encoder {
            match &mut other.encoder {
                Some(Encoder::G722(own)) => own.clone_from(all),
                own => *own = Some(Encoder::G722(all.clone())),
            }
        }
    }

    /// Whether a variant has been encoded in this tick.
    pub fn is_ready(&self, variant: usize) -> bool {
        self.frames[variant].ready
    }

    /// The frame of a variant, encoded from `mix` unless it is there.
    pub fn frame(&mut self, variant: usize, mix: &[i16]) -> &[u8] {
        let frame = &mut self.frames[variant];
        if !std::mem::replace(&mut frame.ready, true) {
            if frame.encoder.is_none() {
                frame.encoder = Encoder::new(self.codec);
            }
            let joined = std::mem::take(&mut frame.joined);
            frame.len = frame.encoder.as_mut().map_or(0, |encoder| {
                if joined {
                    stand_alone(encoder, true);
                }
                let len = encoder.encode(mix, &mut frame.bytes);
                if joined {
                    stand_alone(encoder, false);
                }
                len
            });
        }
        &frame.bytes[..frame.len]
    }
}

/// Opus can make a frame that needs nothing of those before; the others recover by themselves.
fn stand_alone(encoder: &mut Encoder, alone: bool) {
    if let Encoder::Opus(encoder) = encoder {
        encoder.stand_alone(alone);
    }
}
