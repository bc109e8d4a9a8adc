//! One talker, decoded, at every rate that somebody needs.

use crate::{
    LegId,
    codec::{LONGEST_FRAME, Rate, g711::Law},
    conceal::Concealer,
    jitter::Pull,
    leg::{Leg, Voice},
    mixer::QUIETEST,
    session::PersonId,
};

/// What a piece of sound is that comes or is lost together, in timestamp units: 10 ms of G.711 and G.722.
const PIECE: usize = 80;

/// Who was loud before he was heard begins softly, for 5 ms; who goes on on another leg takes 20 ms.
const FADE_IN: usize = 40;
const FADE_OVER: usize = 160;

/// Who has the place.
pub(crate) struct Holder {
    pub leg: LegId,
    /// Where the leg stands in the room.
    pub slot: usize,
    pub person: PersonId,
    pub source: u32,
    pub level: u32,
    /// In so many samples at 8 kHz he fades in.
    arriving: usize,
    /// This is his last frame.
    pub leaving: bool,
}

/// A place among the talkers.
pub(crate) struct Place {
    holder: Option<Holder>,
    heard: bool,
    concealer: Concealer,
    /// As it is decoded, and at every rate in use.
    decoded: [i16; LONGEST_FRAME],
    sound: [Vec<i16>; Rate::ALL.len()],
}

impl Default for Place {
    fn default() -> Place {
        Place {
            holder: None,
            heard: false,
            concealer: Concealer::new(false),
            decoded: [0; LONGEST_FRAME],
            sound: [const { Vec::new() }; Rate::ALL.len()],
        }
    }
}

impl Place {
    /// Makes room for the sound at these rates.
    pub fn prepare(&mut self, rates: &[bool; Rate::ALL.len()]) {
        for rate in Rate::ALL {
            let len = if rates[rate as usize] { rate.frame() } else { 0 };
            self.sound[rate as usize].resize(len, 0);
        }
    }

    /// Who has it.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Who has it.
    pub fn holder_mut(&mut self) -> Option<&mut Holder> {
        self.holder.as_mut()
    }

    /// Gives the place to the leg at `slot`; `over` if another leg of its person leaves another place.
    pub fn take(&mut self, slot: usize, leg: &mut Leg, over: bool) {
        let Some(voice) = &mut leg.voice else { return };
        voice.placed = true;
        self.holder = Some(Holder {
            leg: leg.id,
            slot,
            person: leg.person,
            source: voice.source(),
            level: voice.level,
            arriving: match voice.loudness_before {
                _ if over => FADE_OVER,
                QUIETEST.. => FADE_IN,
                _ => 0,
            },
            leaving: false,
        });
        self.concealer = Concealer::new(false);
    }

    /// Nobody has the place any more.
    pub fn leave(&mut self) {
        (self.holder, self.heard) = (None, false);
    }

    /// Whether there is anything to be heard of the holder in this tick.
    pub fn is_heard(&self) -> bool {
        self.heard
    }

    /// The holder's sound of this tick at a rate that is prepared for.
    pub fn sound(&self, rate: Rate) -> &[i16] {
        &self.sound[rate as usize]
    }

    /// Decodes what the holder's leg has pulled, and brings it to the rates in use.
    pub fn play(&mut self, voice: &Voice, rates: &[bool; Rate::ALL.len()]) {
        let Some(law) = voice.codec.law() else { return };
        let frame = Rate::Narrow.frame();
        self.heard = match voice.pull {
            Pull::Nothing => {
                self.decoded[..frame].fill(0);
                false
            }
            Pull::Missing => self.concealer.fill(&mut self.decoded[..frame]),
            Pull::Ready { at, skip } => {
                let mut heard = self.decode(voice, law, at);
                if skip {
                    let mut first = [0; LONGEST_FRAME];
                    first[..frame].copy_from_slice(&self.decoded[..frame]);
                    heard |= self.decode(voice, law, at.wrapping_add(frame as u32));
                    cross(&first[..frame], &mut self.decoded[..frame]);
                }
                heard
            }
        };
        let Some(holder) = &mut self.holder else { return };
        match std::mem::take(&mut holder.arriving) {
            0 => {}
            samples => fade_in(&mut self.decoded[..samples]),
        }
        if holder.leaving {
            fade_out(&mut self.decoded[..frame]);
        }
        for rate in Rate::ALL {
            if rates[rate as usize] && rate == Rate::Narrow {
                self.sound[rate as usize].copy_from_slice(&self.decoded[..frame]);
            }
        }
    }

    /// Decodes 20 ms from timestamp `at` on and makes up what of it did not come. Whether there is
    /// anything to be heard.
    fn decode(&mut self, voice: &Voice, law: Law, at: u32) -> bool {
        let line = voice.jitter.line();
        let mut heard = false;
        let pieces = self.decoded[..Rate::Narrow.frame()].chunks_exact_mut(PIECE);
        for (number, piece) in pieces.enumerate() {
            let at = at.wrapping_add((number * PIECE) as u32);
            if line.holds(at, PIECE as u32) {
                let (one, other) = line.pieces(at, PIECE);
                law.decode(one, piece);
                law.decode(other, &mut piece[one.len()..]);
                self.concealer.hear(piece);
                heard |= voice.loudness > 0;
            } else {
                heard |= self.concealer.fill(piece);
            }
        }
        heard
    }
}

/// From `first` over into what stands in `sound`.
fn cross(first: &[i16], sound: &mut [i16]) {
    let len = sound.len() as i32;
    for (at, (sample, first)) in sound.iter_mut().zip(first).enumerate() {
        let (new, old) = (i32::from(*sample), i32::from(*first));
        *sample = (old + (new - old) * at as i32 / len) as i16;
    }
}

/// From nothing to full strength.
fn fade_in(sound: &mut [i16]) {
    let len = sound.len() as i32;
    for (at, sample) in sound.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * at as i32 / len) as i16;
    }
}

/// From full strength to nothing.
fn fade_out(sound: &mut [i16]) {
    let len = sound.len() as i32;
    for (at, sample) in sound.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * (len - at as i32) / len) as i16;
    }
}
