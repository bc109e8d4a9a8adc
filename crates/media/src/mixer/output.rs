//! What is encoded: one frame for all who hear the same with the same codec.

use crate::{
    codec::{Encoder, LONGEST_FRAME, Rate},
    mixer::{ALL, VARIANTS},
    session::Codec,
};

/// Codecs with which somebody may be sent a voice.
pub(crate) const OUTPUTS: usize = CODECS.len();

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

/// Bytes a frame takes at most; Opus takes a quarter of that in the mean.
const LONGEST: usize = 400;

/// More than so many hundredths is not made up for: a copy of everything makes the sound of all others worse
/// who are sent the same.
const MOST_LOSS: u32 = 15;

/// The place of a codec's output; `None` if it is not mixed here.
pub(crate) fn index(codec: Codec) -> Option<usize> {
    CODECS.iter().position(|known| *known == codec).filter(|_| codec.is_mixed())
}

/// The frames of one codec.
pub(crate) struct Output {
    codec: Codec,
    tick: u32,
    /// The loss that its packets are made for, in hundredths.
    loss: u8,
    frames: Box<[Frame; VARIANTS]>,
}

/// The frame of one variant.
struct Frame {
    /// Made when the variant is heard for the first time, so that rooms pay for what they need.
    encoder: Option<Encoder>,
    bytes: [u8; LONGEST],
    len: usize,
    /// The tick it was encoded in.
    tick: u32,
    /// Who hears it has heard another variant just before.
    joined: bool,
    /// What is encoded, where an encoder that begins is to go on from it; and whether that must be done.
    mix: Vec<i16>,
    warm: bool,
}

impl Output {
    /// The output of the codec with this index.
    pub fn new(index: usize) -> Output {
        let codec = CODECS[index];
        let frame = |_| Frame {
            encoder: None,
            bytes: [0; LONGEST],
            len: 0,
            tick: 0,
            joined: false,
            mix: if codec.is_whole() { vec![0; LONGEST_FRAME] } else { Vec::new() },
            warm: false,
        };
        Output { codec, tick: 1, loss: 0, frames: Box::new(std::array::from_fn(frame)) }
    }

    /// What is encoded must have this rate.
    pub fn rate(&self) -> Rate {
        self.codec.rate().unwrap_or(Rate::Narrow)
    }

    /// Whether a frame depends on those before it.
    pub fn remembers(&self) -> bool {
        self.codec.law().is_none()
    }

    /// Whether a packet can bear a copy of the one before.
    pub fn can_repair(&self) -> bool {
        self.codec.is_whole()
    }

    /// Somebody misses so many 256ths of what he is sent; from now on packets are made for that.
    pub fn expect_loss(&mut self, missed: u8) {
        let loss = (u32::from(missed) * 100).div_ceil(256).min(MOST_LOSS) as u8;
        if std::mem::replace(&mut self.loss, loss) == loss {
            return;
        }
        for encoder in self.frames.iter_mut().filter_map(|frame| frame.encoder.as_mut()) {
            expect_loss(encoder, loss);
        }
    }

    /// A new tick begins.
    pub fn forget(&mut self) {
        self.tick = self.tick.wrapping_add(1);
    }

    /// From now on, before the next tick begins, somebody hears the variant `to` who heard `from` until now,
    /// so that his decoder remembers something else. One of the two is what everybody hears.
    pub fn join(&mut self, from: usize, to: usize) {
        if !self.remembers() || from == to {
            return;
        }
        let tick = self.tick;
        let (before, behind) = self.frames.split_at_mut(from.max(to));
        let (old, new) =
            if from < to { (&before[from], &mut behind[0]) } else { (&behind[0], &mut before[to]) };
        new.joined = true;
        // Those who hear the new one already must not be disturbed, and what nobody has heard just now is of
        // no help.
        if (to == ALL && new.tick == tick) || old.tick != tick {
            return;
        }
        // Goes on where his decoder is.
        if let Some(Encoder::G722(old)) = &old.encoder {
            match &mut new.encoder {
                Some(Encoder::G722(own)) => own.clone_from(old),
                own => *own = Some(Encoder::G722(old.clone())),
            }
            new.tick = tick;
        }
        new.mix.copy_from_slice(&old.mix);
        new.warm = true;
    }

    /// Whether a variant has been encoded in this tick.
    pub fn is_ready(&self, variant: usize) -> bool {
        self.frames[variant].tick == self.tick
    }

    /// The frame of a variant, encoded from `mix` unless it is there.
    pub fn frame(&mut self, variant: usize, mix: &[i16]) -> &[u8] {
        let frame = &mut self.frames[variant];
        if frame.tick != self.tick {
            if frame.encoder.is_none() {
                frame.encoder = Encoder::new(self.codec);
                frame.encoder.iter_mut().for_each(|encoder| expect_loss(encoder, self.loss));
            }
            let is_next = frame.tick.wrapping_add(1) == self.tick;
            frame.len = frame.encoder.as_mut().map_or(0, |encoder| {
                let (joined, warm) = (std::mem::take(&mut frame.joined), std::mem::take(&mut frame.warm));
                if !is_next {
                    // An encoder keeps some milliseconds of what it heard last, which may be long ago: it must
                    // not be heard now.
                    encoder.reset();
                }
                if joined {
                    begin_anew(encoder, if warm { &frame.mix } else { &[] }, &mut frame.bytes);
                }
                let len = encoder.encode(mix, &mut frame.bytes);
                if let Encoder::Opus(encoder) = encoder {
                    encoder.stand_alone(false);
                }
                len
            });
            frame.tick = self.tick;
            if !frame.mix.is_empty() {
                frame.mix.copy_from_slice(mix);
            }
        }
        &self.frames[variant].bytes[..self.frames[variant].len]
    }
}

fn expect_loss(encoder: &mut Encoder, loss: u8) {
    if let Encoder::Opus(encoder) = encoder {
        encoder.expect_loss(loss);
    }
}

/// Opus can make a frame that needs nothing of those before, and hear what was `last` heard before that, so
/// that nothing is missing between; the others recover by themselves.
fn begin_anew(encoder: &mut Encoder, last: &[i16], scratch: &mut [u8]) {
    if let Encoder::Opus(encoder) = encoder {
        if !last.is_empty() {
            encoder.reset();
            encoder.encode(last, scratch);
        }
        encoder.stand_alone(true);
    }
}
