//! One talker, decoded, at every rate that somebody needs.

use crate::{
    LegId,
    codec::{LONGEST_FRAME, Rate, g711::Law, g722, resample::Resampler},
    conceal::Concealer,
    jitter::Pull,
    leg::{Leg, Voice},
    mixer::{QUIETEST, whole::Whole},
    session::{Codec, PersonId},
};

/// What a piece of sound is that comes or is lost together, in timestamp units: 10 ms of G.711 and G.722.
const PIECE: usize = 80;

/// So many frames a decoder hears before the first that is played.
const WARMING: u32 = 3;

/// Who was loud before he was heard begins softly, for 5 ms; who goes on on another leg takes 20 ms.
const FADE_IN: usize = 4;
const FADE_OVER: usize = 1;

/// Who has the place.
pub(crate) struct Holder {
    pub leg: LegId,
    /// Where the leg stands in the room.
    pub slot: usize,
    pub person: PersonId,
    pub source: u32,
    pub level: u32,
    /// In this part of the first frame he fades in.
    arriving: Option<usize>,
    /// This is his last frame.
    pub leaving: bool,
}

/// A place among the talkers.
pub(crate) struct Place {
    holder: Option<Holder>,
    heard: bool,
    codec: Codec,
    /// The decoder has heard nothing of the holder.
    cold: bool,
    concealer: Concealer,
    g722: g722::Decoder,
    whole: Whole,
    resamplers: [Resampler; Rate::ALL.len()],
    /// As it is decoded, and at every rate in use.
    decoded: [i16; LONGEST_FRAME],
    sound: [Vec<i16>; Rate::ALL.len()],
}

impl Default for Place {
    fn default() -> Place {
        Place {
            holder: None,
            heard: false,
            codec: Codec::Pcmu,
            cold: true,
            concealer: Concealer::new(false),
            g722: g722::Decoder::new(),
            whole: Whole::default(),
            resamplers: [const { Resampler::new() }; Rate::ALL.len()],
            decoded: [0; LONGEST_FRAME],
            sound: [const { Vec::new() }; Rate::ALL.len()],
        }
    }
}

impl Place {
    /// Makes room for the sound at these rates, and for decoding whole packets if there may be any.
    pub fn prepare(&mut self, rates: &[bool; Rate::ALL.len()], whole: bool) {
        for rate in Rate::ALL {
            let len = if rates[rate as usize] { rate.frame() } else { 0 };
            self.sound[rate as usize].resize(len, 0);
        }
        self.whole.prepare(whole);
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
                _ if over => Some(FADE_OVER),
                QUIETEST.. => Some(FADE_IN),
                _ => None,
            },
            leaving: false,
        });
        for resampler in &mut self.resamplers {
            resampler.reset();
        }
        self.start(voice.codec);
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
    pub fn play(&mut self, voice: &mut Voice, rates: &[bool; Rate::ALL.len()]) {
        if voice.codec != self.codec {
            self.start(voice.codec);
        }
        let Some(rate) = self.codec.rate() else { return };
        let frame = rate.frame();
        self.heard = match voice.pull {
            Pull::Nothing => {
                self.decoded[..frame].fill(0);
                false
            }
            Pull::Missing if self.codec.is_whole() => self.whole.fill(&mut self.decoded),
            Pull::Missing => self.concealer.fill(&mut self.decoded[..frame]),
            Pull::Ready { at, skip } => {
                if std::mem::take(&mut self.cold) {
                    self.warm(voice, at);
                }
                let mut heard = self.decode(voice, at);
                if skip {
                    let first = self.decoded;
                    heard |= self.decode(voice, at.wrapping_add(self.codec.clock_step()));
                    cross(&first[..frame], &mut self.decoded[..frame]);
                }
                heard
            }
        };
        let sound = &mut self.decoded[..frame];
        if self.codec.law().is_none() {
            // What was measured before decoding is a guess.
            let level = level(sound);
            voice.is_found(level);
            self.heard &= level >= QUIETEST;
        }
        let Some(holder) = &mut self.holder else { return };
        if let Some(part) = holder.arriving.take() {
            fade_in(&mut sound[..frame / part]);
        }
        if holder.leaving {
            fade_out(sound);
        }
        for to in Rate::ALL {
            if rates[to as usize] {
                self.resamplers[to as usize].convert(rate, sound, to, &mut self.sound[to as usize]);
            }
        }
    }

    fn start(&mut self, codec: Codec) {
        (self.codec, self.cold) = (codec, true);
        self.concealer = Concealer::new(codec == Codec::G722);
        self.g722 = g722::Decoder::new();
        self.whole.reset();
    }

    /// Lets the decoder hear what came just before timestamp `at`, so that who was loud already is heard as
    /// he is from the first frame on.
    fn warm(&mut self, voice: &Voice, at: u32) {
        if self.codec.law().is_some() {
            return;
        }
        let step = self.codec.clock_step();
        for back in (1..=WARMING).rev() {
            let at = at.wrapping_sub(back * step);
            if let Some(packets) = voice.jitter.packets().filter(|_| self.codec.is_whole()) {
                if packets.covering(at).is_some() {
                    self.whole.decode(packets, at, &mut self.decoded);
                }
            } else if voice.jitter.line().holds(at, step) {
                self.decode(voice, at);
            }
        }
    }

    /// Decodes 20 ms from timestamp `at` on and makes up what of it did not come. Whether there is
    /// anything to be heard.
    fn decode(&mut self, voice: &Voice, at: u32) -> bool {
        if self.codec.is_whole() {
            let packets = voice.jitter.packets();
            return packets.is_some_and(|packets| self.whole.decode(packets, at, &mut self.decoded));
        }
        let line = voice.jitter.line();
        let law = self.codec.law();
        let mut heard = false;
        let samples = if law.is_some() { PIECE } else { 2 * PIECE };
        for (number, piece) in self.decoded[..2 * samples].chunks_exact_mut(samples).enumerate() {
            let at = at.wrapping_add((number * PIECE) as u32);
            if line.holds(at, PIECE as u32) {
                let (one, other) = line.pieces(at, PIECE);
                decode_piece(law, &mut self.g722, one, other, piece);
                self.concealer.hear(piece);
                heard |= law.is_none() || voice.loudness > 0;
            } else {
                heard |= self.concealer.fill(piece);
            }
        }
        heard
    }
}

fn decode_piece(law: Option<Law>, g722: &mut g722::Decoder, one: &[u8], other: &[u8], piece: &mut [i16]) {
    match law {
        Some(law) => {
            law.decode(one, piece);
            law.decode(other, &mut piece[one.len()..]);
        }
        None => {
            g722.decode(one, piece);
            g722.decode(other, &mut piece[2 * one.len()..]);
        }
    }
}

/// How loud decoded sound is, in steps of 3/8 dB as the codes of G.711 have them.
pub(crate) fn level(sound: &[i16]) -> u32 {
    let power: i64 = sound.iter().map(|sample| i64::from(*sample) * i64::from(*sample)).sum();
    let strength = (power as f32 / sound.len().max(1) as f32).sqrt();
    (16.0 * (1.0 + strength / 132.0).log2()) as u32
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
