//! The mixer: who is heard, and what each of the others hears of him.
//!
//! How loud everybody is has been measured without decoding. The loudest few have a place each, are
//! decoded, and heard by all but their own person. Who loses his place is faded out in one more frame.
//!
//! - `mixer/output.rs`: one encoded frame for all who hear the same with the same codec.
//! - `mixer/place.rs`: one talker, decoded, at every rate that somebody needs.
//! - `mixer/whole.rs`: his packets, where a codec decodes them whole.

mod output;
mod place;
mod whole;

use confab_machine::Entropy;

use self::{
    output::{OUTPUTS, Output},
    place::Place,
    whole::Whole,
};
use crate::{
    LegId,
    codec::{LONGEST_FRAME, Rate},
    leg::{Frame, Leg},
    session::{Gate, PersonId},
};

/// So many are heard at once.
pub const TALKERS: usize = 3;

/// Places: for those who are heard, and for as many who are on their way out.
const PLACES: usize = 2 * TALKERS;

/// Who is not louder than this (1.5 dB above nothing, about -68 dBov) is not heard.
pub(crate) const QUIETEST: u32 = 4;

/// Who is heard stays so until somebody is louder by this, 4.5 dB.
const ADVANTAGE: u32 = 12;

/// Who has just begun counts for less by this, 9 dB: a click is nobody's word, and codecs begin too loud.
const SUDDEN: u32 = 24;

/// What can be heard: [`ALL`] there is, all but the person at a place (1 to [`PLACES`]), or [`NOTHING`].
const VARIANTS: usize = PLACES + 2;
const ALL: usize = 0;
const NOTHING: usize = VARIANTS - 1;

/// In so many ticks everybody has his turn who may be louder than he says.
const ROUND: usize = 50;

/// Beyond this sums are bent, so that loud talkers together are not cut off.
const KNEE: i32 = 24_576;

/// What becomes of a room's voices.
pub(crate) struct Mixer {
    places: [Place; PLACES],
    outputs: [Option<Output>; OUTPUTS],
    /// The rates somebody needs.
    rates: [bool; Rate::ALL.len()],
    noise: Noise,
    /// Decodes now and then what says of itself that it is no voice, and the leg it is that has its turn.
    probe: Whole,
    turn: usize,
    /// Ticks until it is asked again what the lines lose.
    until_losses: usize,
    /// Who is heard in each variant, the dominant one first.
    sources: [Sources; VARIANTS],
    mix: Box<[i16; LONGEST_FRAME]>,
}

/// The sources of one variant.
#[derive(Clone, Copy, Default)]
struct Sources {
    list: [u32; PLACES],
    len: usize,
}

impl Sources {
    fn push(&mut self, source: u32) {
        self.list[self.len] = source;
        self.len += 1;
    }
}

/// Somebody who is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Talker {
    pub leg: LegId,
    pub level: u32,
}

impl Mixer {
    pub fn new(entropy: &mut Entropy) -> Mixer {
        Mixer {
            places: std::array::from_fn(|_| Place::default()),
            outputs: [const { None }; OUTPUTS],
            rates: [false; Rate::ALL.len()],
            noise: Noise::new(entropy.number() as u32),
            probe: Whole::default(),
            turn: 0,
            until_losses: 0,
            sources: [Sources::default(); VARIANTS],
            mix: Box::new([0; LONGEST_FRAME]),
        }
    }

    /// Legs have come, gone or changed: prepares for what they need. `also` is a rate at which somebody
    /// listens who is no leg.
    pub fn arrange(&mut self, legs: &[Option<Leg>], also: Option<Rate>) {
        let mut used = [false; OUTPUTS];
        for voice in legs.iter().flatten().filter_map(|leg| leg.voice.as_ref()) {
            if let Some(index) = output::index(voice.sends_as()) {
                used[index] = true;
            }
        }
        self.rates = [false; Rate::ALL.len()];
        for (index, output) in self.outputs.iter_mut().enumerate() {
            if !used[index] {
                *output = None;
                continue;
            }
            let output = output.get_or_insert_with(|| Output::new(index));
            self.rates[output.rate() as usize] = true;
        }
        if let Some(rate) = also {
            self.rates[rate as usize] = true;
        }
        let whole =
            legs.iter().flatten().filter_map(|leg| leg.voice.as_ref()).any(|voice| voice.may_be_whole());
        self.probe.prepare(whole);
        for place in &mut self.places {
            place.prepare(&self.rates, whole);
            if place
                .holder()
                .is_some_and(|holder| legs[holder.slot].as_ref().is_none_or(|leg| leg.id != holder.leg))
            {
                place.leave();
            }
        }
    }

    /// A leg may not be heard any more, from this moment on.
    pub fn hush(&mut self, leg: LegId) {
        for place in &mut self.places {
            if place.holder().is_some_and(|holder| holder.leg == leg) {
                place.leave();
            }
        }
    }

    /// Chooses who is heard of those that have been listened to, and decodes them. `dominant` is who led
    /// until now.
    pub fn play(&mut self, legs: &mut [Option<Leg>], dominant: Option<LegId>) {
        self.look_again(legs);
        self.mind_losses(legs);
        self.choose(legs);
        for place in &mut self.places {
            if let Some(slot) = place.holder().map(|holder| holder.slot)
                && let Some(voice) = legs[slot].as_mut().and_then(|leg| leg.voice.as_mut())
            {
                place.play(voice, &self.rates);
            }
        }
        self.name_sources(dominant);
        self.noise.forget();
        for output in self.outputs.iter_mut().flatten() {
            output.forget();
        }
    }

    /// The tick is over: who was on his way out is.
    pub fn settle(&mut self, legs: &mut [Option<Leg>]) {
        for (at, place) in self.places.iter_mut().enumerate() {
            if let Some(holder) = place.holder().filter(|holder| holder.leaving) {
                if let Some(voice) = legs[holder.slot].as_mut().and_then(|leg| leg.voice.as_mut()) {
                    voice.placed = false;
                }
                place.leave();
                for output in self.outputs.iter_mut().flatten() {
                    output.join(ALL + 1 + at, ALL);
                }
            }
        }
    }

    /// Who is heard now, in no order.
    pub fn talkers(&self) -> impl Iterator<Item = Talker> {
        self.places.iter().filter(|place| place.is_heard()).filter_map(|place| {
            let holder = place.holder()?;
            Some(Talker { leg: holder.leg, level: holder.level })
        })
    }

    /// What this leg hears in this tick; `None` if its codec is none that we speak.
    pub fn frame(&mut self, leg: &Leg) -> Option<Frame<'_>> {
        let index = output::index(leg.voice.as_ref()?.sends_as())?;
        let variant = self.variant(leg, self.outputs[index].as_ref()?.remembers());
        let rate = self.outputs[index].as_ref()?.rate();
        if !self.outputs[index].as_ref()?.is_ready(variant) {
            let person = self.excluded(variant);
            let mix = &mut self.mix[..rate.frame()];
            if variant == NOTHING {
                mix.fill(0);
            } else if !sum(&self.places, person, rate, mix) {
                mix.copy_from_slice(self.noise.frame(rate));
            }
        }
        let sources = &self.sources[variant];
        let payload = self.outputs[index].as_mut()?.frame(variant, &self.mix[..rate.frame()]);
        Some(Frame { payload, sources: &sources.list[..sources.len] })
    }

    /// The mix of everybody, for somebody who is no leg. `rate` is what [`Mixer::arrange`] was told.
    pub fn everything(&mut self, rate: Rate) -> &[i16] {
        let mix = &mut self.mix[..rate.frame()];
        sum(&self.places, None, rate, mix);
        mix
    }

    /// Whoever sends what is no voice by its own word is decoded once a second nevertheless, and at once
    /// if there is suddenly more of it: it may be music, or a tone.
    fn look_again(&mut self, legs: &mut [Option<Leg>]) {
        if !self.probe.is_prepared() {
            return;
        }
        for _ in 0..legs.len().div_ceil(ROUND) {
            self.turn = (self.turn + 1) % legs.len().max(ROUND);
            if let Some(leg) = legs.get_mut(self.turn).and_then(Option::as_mut) {
                clear_up(&mut self.probe, &mut self.mix, leg);
            }
        }
        let is_suspect = |leg: &&mut Leg| leg.voice.as_ref().is_some_and(|voice| voice.is_suspect());
        for leg in legs.iter_mut().flatten().filter(is_suspect).take(TALKERS) {
            clear_up(&mut self.probe, &mut self.mix, leg);
        }
    }

    /// Once a second: what is encoded for many has to bear what the worst of their lines loses.
    fn mind_losses(&mut self, legs: &[Option<Leg>]) {
        if self.until_losses > 0 {
            self.until_losses -= 1;
            return;
        }
        self.until_losses = ROUND - 1;
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let Some(output) = output.as_mut().filter(|output| output.can_repair()) else { continue };
            let voices = legs.iter().flatten().filter_map(|leg| leg.voice.as_ref());
            let listeners = voices.filter(|voice| output::index(voice.sends_as()) == Some(index));
            output.expect_loss(listeners.map(|voice| voice.peer_misses()).max().unwrap_or(0));
        }
    }

    fn choose(&mut self, legs: &mut [Option<Leg>]) {
        let mut best = [(QUIETEST - 1, usize::MAX); TALKERS];
        for (slot, leg) in legs.iter().enumerate() {
            let Some(voice) = leg.as_ref().and_then(Leg::open_voice) else { continue };
            if voice.level < QUIETEST {
                continue;
            }
            let score = match voice.placed {
                true if voice.loudness >= QUIETEST => voice.level + ADVANTAGE,
                // In his pause he keeps a place that nobody else wants.
                true => QUIETEST,
                // For a free place any sound will do; to take another's it must last or be much louder.
                false => voice.steady.max(voice.loudness.saturating_sub(SUDDEN)).max(QUIETEST + 1),
            };
            if let Some(at) = best.iter().position(|(least, _)| score > *least) {
                best[at..].rotate_right(1);
                best[at] = (score, slot);
            }
        }
        for place in &mut self.places {
            let Some(holder) = place.holder_mut() else { continue };
            let Some(at) = best.iter().position(|(_, slot)| *slot == holder.slot) else {
                holder.leaving = true;
                continue;
            };
            best[at].1 = usize::MAX;
            if let Some(voice) = legs[holder.slot].as_ref().and_then(|leg| leg.voice.as_ref()) {
                (holder.level, holder.source) = (voice.level, voice.source());
            }
        }
        for (_, slot) in best {
            let Some(leg) = legs.get_mut(slot).and_then(Option::as_mut) else { continue };
            let over =
                self.places.iter().any(|place| place.holder().is_some_and(|old| old.person == leg.person));
            let free = self.places.iter().position(|place| place.holder().is_none());
            let free = free.expect("there are places for those who come and those who go");
            self.places[free].take(slot, leg, over);
            for output in self.outputs.iter_mut().flatten() {
                output.join(ALL, ALL + 1 + free);
            }
        }
    }

    /// The dominant speaker is the first of the sources, as MS-RTP has it.
    fn name_sources(&mut self, dominant: Option<LegId>) {
        let mut order: [usize; PLACES] = std::array::from_fn(|at| at);
        let rank = |at: usize| {
            let holder = self.places[at].holder();
            holder.map_or((false, 0), |holder| (Some(holder.leg) == dominant, holder.level))
        };
        order.sort_unstable_by_key(|at| std::cmp::Reverse(rank(*at)));
        for variant in ALL..NOTHING {
            self.sources[variant] = Sources::default();
            let person = self.excluded(variant);
            for at in order {
                let place = &self.places[at];
                if let Some(holder) = place.holder().filter(|_| place.is_heard())
                    && person != Some(holder.person)
                {
                    self.sources[variant].push(holder.source);
                }
            }
        }
    }

    /// What a leg hears. With a codec that `remembers` what it encoded before, one who has a place hears
    /// his own variant in his pauses as well.
    fn variant(&self, leg: &Leg, remembers: bool) -> usize {
        if leg.gate == Gate::Waiting || leg.behind {
            return NOTHING;
        }
        let own = self.places.iter().position(|place| {
            place.holder().is_some_and(|holder| holder.person == leg.person)
                && (remembers || place.is_heard())
        });
        own.map_or(ALL, |at| ALL + 1 + at)
    }

    /// Who is left out of a variant.
    fn excluded(&self, variant: usize) -> Option<PersonId> {
        let at = variant.checked_sub(ALL + 1)?;
        self.places.get(at)?.holder().map(|holder| holder.person)
    }
}

/// Decodes what a leg says is no voice, and says how loud it is.
fn clear_up(probe: &mut Whole, sound: &mut [i16; LONGEST_FRAME], leg: &mut Leg) {
    if leg.open_voice().is_none() {
        return;
    }
    let Some(voice) = &mut leg.voice else { return };
    if let Some((packets, at)) = voice.doubtful() {
        probe.sample(packets, at, sound);
        voice.is_cleared_up(place::level(sound));
    }
}

/// Adds up all who are heard but `person`. Whether there is anybody.
fn sum(places: &[Place; PLACES], person: Option<PersonId>, rate: Rate, mix: &mut [i16]) -> bool {
    let mut heard = places.iter().filter_map(|place| {
        let holder = place.holder().filter(|_| place.is_heard())?;
        (Some(holder.person) != person).then(|| place.sound(rate))
    });
    let Some(first) = heard.next() else {
        mix.fill(0);
        return false;
    };
    mix.copy_from_slice(first);
    let Some(second) = heard.next() else { return true };
    let mut sums = [0_i32; LONGEST_FRAME];
    let sums = &mut sums[..mix.len()];
    for (sum, (one, other)) in sums.iter_mut().zip(first.iter().zip(second)) {
        *sum = i32::from(*one) + i32::from(*other);
    }
    for sound in heard {
        for (sum, sample) in sums.iter_mut().zip(sound) {
            *sum += i32::from(*sample);
        }
    }
    for (sample, sum) in mix.iter_mut().zip(sums) {
        *sample = bend(*sum);
    }
    true
}

/// A sum as a sample: as it is up to the knee, then ever flatter towards the largest.
fn bend(sum: i32) -> i16 {
    let room = 32_767 - KNEE;
    let over = sum.abs() - KNEE;
    if over <= 0 {
        return sum as i16;
    }
    let bent = KNEE + (i64::from(over) * i64::from(room) / i64::from(over + room)) as i32;
    (bent * sum.signum()) as i16
}

/// The noise that is heard when nobody is, so that the line does not seem dead: about -70 dBov.
struct Noise {
    state: u32,
    sound: [i16; LONGEST_FRAME],
    made: [bool; Rate::ALL.len()],
}

impl Noise {
    fn new(seed: u32) -> Noise {
        Noise { state: seed | 1, sound: [0; LONGEST_FRAME], made: [false; Rate::ALL.len()] }
    }

    fn forget(&mut self) {
        self.made = [false; Rate::ALL.len()];
    }

    /// The noise of this tick.
    fn frame(&mut self, rate: Rate) -> &[i16] {
        if !std::mem::replace(&mut self.made[rate as usize], true) {
            for sample in &mut self.sound[..rate.frame()] {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 17;
                self.state ^= self.state << 5;
                *sample = (self.state >> 27) as i16 - 16;
            }
        }
        &self.sound[..rate.frame()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_bend_and_never_turn_over() {
        assert_eq!([0, 1, -1, KNEE, -KNEE].map(bend), [0, 1, -1, KNEE as i16, -KNEE as i16]);
        let mut last = i16::MIN;
        for sum in (-200_000..=200_000).step_by(7) {
            let sample = bend(sum);
            assert!(sample >= last, "{sum}");
            last = sample;
        }
        assert!(bend(6 * 32_767) > 32_000 && bend(-6 * 32_768) < -32_000);
    }

    #[test]
    fn the_noise_is_soft_and_has_no_mean() {
        let mut noise = Noise::new(5);
        let (mut total, mut most) = (0_i64, 0);
        for _ in 0..500 {
            noise.forget();
            for sample in noise.frame(Rate::Full) {
                total += i64::from(*sample);
                most = most.max(sample.unsigned_abs());
            }
        }
        assert!(most <= 16 && (total / (500 * 960)).abs() <= 1, "{total} {most}");
    }
}
