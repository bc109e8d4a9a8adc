//! One voice at another rate: by two between 8 and 16 kHz, by three and six to and from 48 kHz.
//!
//! A windowed sinc in as many phases as the factor, in whole numbers; nothing is allocated for a frame.

use std::sync::LazyLock;

use super::{LONGEST_FRAME, Rate};

/// Samples at the lower rate that one sample is made of. Half of them is the delay.
const TAPS: usize = 24;

/// The largest factor.
const MOST: usize = 6;

/// What is kept of the frame before.
const KEPT: usize = TAPS * MOST - 1;

/// The filters for two, three and six.
static FILTERS: LazyLock<[Filter; 3]> = LazyLock::new(|| [2, 3, 6].map(Filter::new));

/// The weights for one factor.
struct Filter {
    factor: usize,
    /// To the lower rate: all of them, whose sum is one.
    down: Vec<i16>,
    /// To the higher rate: those of each phase, oldest sample first, whose sum is one.
    up: Vec<[i16; TAPS]>,
}

impl Filter {
    fn new(factor: usize) -> Filter {
        let len = TAPS * factor;
        let middle = (len as f64 - 1.0) / 2.0;
        // Flat up to nine tenths of what the lower rate holds.
        let cut = 0.9 / factor as f64;
        let weight = |at: usize| {
            let from = at as f64 - middle;
            let angle = std::f64::consts::PI * cut * from;
            let sinc = if from == 0.0 { 1.0 } else { angle.sin() / angle };
            let turn = std::f64::consts::TAU * (at as f64 + 0.5) / len as f64;
            sinc * (0.42 - 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
        };
        let weights: Vec<f64> = (0..len).map(weight).collect();
        let scaled = |weight: f64, sum: f64| (weight / sum * 32_767.0).round() as i16;
        let sum: f64 = weights.iter().sum();
        let phase = |phase: usize| {
            let own = |tap: usize| weights[phase + (TAPS - 1 - tap) * factor];
            let sum: f64 = (0..TAPS).map(own).sum();
            std::array::from_fn(|tap| scaled(own(tap), sum))
        };
        Filter {
            factor,
            down: weights.iter().map(|weight| scaled(*weight, sum)).collect(),
            up: (0..factor).map(phase).collect(),
        }
    }
}

/// Brings one voice from a rate to another.
pub struct Resampler {
    kept: [i16; KEPT],
}

impl Resampler {
    /// One that has heard nothing.
    pub const fn new() -> Resampler {
        Resampler { kept: [0; KEPT] }
    }

    /// Forgets what it has heard.
    pub fn reset(&mut self) {
        self.kept = [0; KEPT];
    }

    /// 20 ms at the rate `from` as 20 ms at the rate `to`.
    pub fn convert(&mut self, from: Rate, sound: &[i16], to: Rate, out: &mut [i16]) {
        debug_assert!(sound.len() == from.frame() && out.len() == to.frame());
        let (most, least) = (from.frame().max(to.frame()), from.frame().min(to.frame()));
        let Some(filter) = FILTERS.iter().find(|filter| filter.factor == most / least) else {
            out.copy_from_slice(sound);
            return;
        };
        let mut whole = [0; KEPT + LONGEST_FRAME];
        let kept = if from < to { TAPS - 1 } else { filter.down.len() - 1 };
        whole[..kept].copy_from_slice(&self.kept[KEPT - kept..]);
        let whole = &mut whole[..kept + sound.len()];
        whole[kept..].copy_from_slice(sound);
        if from < to {
            for (window, group) in whole.windows(TAPS).zip(out.chunks_exact_mut(filter.factor)) {
                for (sample, weights) in group.iter_mut().zip(&filter.up) {
                    *sample = weighed(window, weights);
                }
            }
        } else {
            let windows = whole.windows(filter.down.len()).skip(filter.factor - 1).step_by(filter.factor);
            for (sample, window) in out.iter_mut().zip(windows) {
                *sample = weighed(window, &filter.down);
            }
        }
        let end = whole.len();
        let keep = KEPT.min(end);
        self.kept[KEPT - keep..].copy_from_slice(&whole[end - keep..]);
    }
}

impl Default for Resampler {
    fn default() -> Resampler {
        Resampler::new()
    }
}

fn weighed(sound: &[i16], weights: &[i16]) -> i16 {
    let products = sound.iter().zip(weights).map(|(sample, weight)| i32::from(*sample) * i32::from(*weight));
    // The weights' magnitudes add up to less than two, so the sum fits.
    let sum: i32 = products.sum();
    ((sum + (1 << 14)) >> 15).clamp(-32_768, 32_767) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hz(rate: Rate) -> f64 {
        rate.frame() as f64 * 50.0
    }

    /// A tone of amplitude 8,000 through the converter, and how strong `wanted` is in it then.
    fn strength(from: Rate, to: Rate, tone: f64, wanted: f64) -> f64 {
        let mut resampler = Resampler::new();
        let mut heard = Vec::new();
        for frame in 0..20 {
            let sample = |at: usize| {
                let at = (frame * from.frame() + at) as f64;
                (8000.0 * (at * tone / hz(from) * std::f64::consts::TAU).sin()) as i16
            };
            let sound: Vec<i16> = (0..from.frame()).map(sample).collect();
            let mut out = vec![0; to.frame()];
            resampler.convert(from, &sound, to, &mut out);
            heard.extend(out);
        }
        let heard = &heard[10 * to.frame()..];
        let angle = |at: usize| at as f64 * wanted / hz(to) * std::f64::consts::TAU;
        let part = |wave: fn(f64) -> f64| -> f64 {
            heard.iter().enumerate().map(|(at, sample)| f64::from(*sample) * wave(angle(at))).sum()
        };
        2.0 * part(f64::sin).hypot(part(f64::cos)) / heard.len() as f64 / 8000.0
    }

    #[test]
    fn tones_stay_what_they_are() {
        for from in Rate::ALL {
            for to in Rate::ALL {
                for tone in [100.0, 1000.0, 3000.0] {
                    let gain = strength(from, to, tone, tone);
                    assert!((0.97..1.03).contains(&gain), "{tone} from {from:?} to {to:?}: {gain}");
                }
            }
        }
    }

    #[test]
    fn what_the_rate_cannot_hold_is_gone() {
        assert!(strength(Rate::Full, Rate::Narrow, 5000.0, 3000.0) < 0.003);
        assert!(strength(Rate::Full, Rate::Wide, 10_000.0, 6000.0) < 0.003);
        assert!(strength(Rate::Wide, Rate::Narrow, 5000.0, 3000.0) < 0.003);
        assert!(strength(Rate::Narrow, Rate::Full, 3000.0, 5000.0) < 0.003, "no image");
        assert!(strength(Rate::Narrow, Rate::Wide, 3000.0, 5000.0) < 0.003, "no image");
        assert!(strength(Rate::Wide, Rate::Full, 6000.0, 10_000.0) < 0.003, "no image");
    }

    #[test]
    fn the_loudest_sound_does_not_turn_over() {
        for filter in FILTERS.iter() {
            let total =
                |weights: &[i16]| weights.iter().map(|weight| i64::from(weight.unsigned_abs())).sum::<i64>();
            let most = filter.up.iter().map(|phase| total(phase)).chain([total(&filter.down)]).max();
            assert!(most < Some(65_000), "{most:?}");
        }
        let mut out = [0; LONGEST_FRAME];
        for from in Rate::ALL {
            for to in Rate::ALL {
                let sound: Vec<i16> =
                    (0..from.frame()).map(|at| if at / 5 % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
                Resampler::new().convert(from, &sound, to, &mut out[..to.frame()]);
            }
        }
    }
}
