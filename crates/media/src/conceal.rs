//! What is heard instead of sound that was lost, where the codec does not know itself: the last period
//! of the voice again and again, and ever softer, in the spirit of G.711 Appendix I.

/// The shortest and the longest period that is looked for, in samples at 8 kHz: 200 and 66 Hz.
const SHORTEST: usize = 40;
const LONGEST: usize = 120;

/// Samples at 8 kHz that are compared to find it: 20 ms.
const COMPARED: usize = 160;

/// Samples at 8 kHz that are remembered.
const REMEMBERED: usize = COMPARED + LONGEST;

/// Samples at 8 kHz that are played at full strength, and after which nothing is left: 10 and 60 ms.
const FULL: usize = 80;
const GONE: usize = 480;

/// Samples at 8 kHz in which what was made up goes over into what came: 4 ms.
const SEAM: usize = 32;

/// Remembers the last sound of one voice and makes more of it. Nothing is allocated.
#[derive(Clone)]
pub struct Concealer {
    /// 1 at 8 kHz, 2 at 16 kHz.
    scale: usize,
    history: [i16; 2 * REMEMBERED],
    /// Samples made up since the last that came.
    made: usize,
    period: usize,
    /// The last period, so that its end goes over into its beginning.
    cycle: [i16; 2 * LONGEST],
    /// How far the first sample made up would jump.
    jump: i32,
}

impl Concealer {
    /// One that has heard nothing, at 8 kHz or, if `wide`, at 16 kHz.
    pub fn new(wide: bool) -> Concealer {
        Concealer {
            scale: if wide { 2 } else { 1 },
            history: [0; 2 * REMEMBERED],
            made: 0,
            period: SHORTEST,
            cycle: [0; 2 * LONGEST],
            jump: 0,
        }
    }

    /// Hears what came. Behind something made up its beginning is changed, so that nothing clicks.
    pub fn hear(&mut self, sound: &mut [i16]) {
        if self.made > 0 {
            let seam = (SEAM * self.scale).min(sound.len());
            for (at, sample) in sound[..seam].iter_mut().enumerate() {
                let old = i32::from(self.next_made());
                let new = i32::from(*sample);
                *sample = (old + (new - old) * (at as i32 + 1) / (seam as i32 + 1)) as i16;
            }
            self.made = 0;
        }
        self.remember(sound);
    }

    /// Makes up what did not come. Whether there is anything to be heard in it.
    pub fn fill(&mut self, sound: &mut [i16]) -> bool {
        if self.made == 0 {
            self.begin();
        }
        let audible = self.made < GONE * self.scale;
        for sample in &mut *sound {
            *sample = self.next_made();
        }
        self.remember(sound);
        audible
    }

    fn len(&self) -> usize {
        REMEMBERED * self.scale
    }

    fn remember(&mut self, sound: &[i16]) {
        let len = self.len();
        let sound = &sound[sound.len().saturating_sub(len)..];
        let history = &mut self.history[..len];
        history.copy_within(sound.len().., 0);
        history[len - sound.len()..].copy_from_slice(sound);
    }

    fn begin(&mut self) {
        self.period = self.find_period();
        let history = &self.history[..self.len()];
        let (end, period) = (history.len(), self.period);
        self.cycle[..period].copy_from_slice(&history[end - period..]);
        let quarter = period / 4;
        for at in 0..quarter {
            let weight = at as i32 + 1;
            let own = i32::from(history[end - quarter + at]);
            let before = i32::from(history[end - period - quarter + at]);
            self.cycle[period - quarter + at] = (own + (before - own) * weight / quarter as i32) as i16;
        }
        self.jump = i32::from(history[end - 1]) - i32::from(history[end - period - 1]);
    }

    /// The lag at which the last sound is most like what was before it.
    fn find_period(&self) -> usize {
        let history = &self.history[..self.len()];
        let recent = &history[history.len() - COMPARED * self.scale..];
        let likeness = |lag: usize| {
            let begin = history.len() - COMPARED * self.scale - lag;
            let earlier = &history[begin..begin + recent.len()];
            let (mut both, mut power) = (0_i64, 1_i64);
            // Every other sample at 8 kHz, every fourth at 16 kHz: a voice's period is told by its low notes.
            for (new, old) in recent.iter().zip(earlier).step_by(2 * self.scale) {
                both += i64::from(*new) * i64::from(*old);
                power += i64::from(*old) * i64::from(*old);
            }
            both.max(0) as f32 / (power as f32).sqrt()
        };
        let lags = SHORTEST * self.scale..=LONGEST * self.scale;
        lags.map(|lag| (lag, likeness(lag)))
            .reduce(|best, one| if one.1 > best.1 { one } else { best })
            .map_or(SHORTEST, |(lag, _)| lag)
    }

    fn next_made(&mut self) -> i16 {
        let (full, gone) = (FULL * self.scale, GONE * self.scale);
        let at = self.made;
        self.made = (at + 1).min(gone);
        if at >= gone {
            return 0;
        }
        let mut sample = i32::from(self.cycle[at % self.period]);
        let seam = SEAM * self.scale;
        if at < seam {
            sample += self.jump * (seam - at) as i32 / seam as i32;
        }
        if at > full {
            sample = sample * (gone - at) as i32 / (gone - full) as i32;
        }
        sample.clamp(-32768, 32767) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, rate: f32, from: usize, len: usize) -> Vec<i16> {
        let sample = |at: usize| (8000.0 * (at as f32 * hz * std::f32::consts::TAU / rate).sin()) as i16;
        (from..from + len).map(sample).collect()
    }

    #[test]
    fn a_voice_goes_on_and_fades() {
        for (wide, rate, frame) in [(false, 8000.0, 160), (true, 16000.0, 320)] {
            for hz in [80.0, 150.0, 200.0] {
                let mut concealer = Concealer::new(wide);
                for at in 0..4 {
                    concealer.hear(&mut tone(hz, rate, at * frame, frame));
                }
                let mut made = vec![0; frame];
                assert!(concealer.fill(&mut made));
                let real = tone(hz, rate, 4 * frame, frame);
                let half = frame / 2;
                let error: f32 = made[..half]
                    .iter()
                    .zip(&real)
                    .map(|(a, b)| f32::from(*a) - f32::from(*b))
                    .map(|e| e * e)
                    .sum();
                let power: f32 = real[..half].iter().map(|sample| f32::from(*sample).powi(2)).sum();
                assert!(error < power / 10.0, "{hz} at {rate}: {error} of {power}");
                assert!(concealer.fill(&mut made) && concealer.fill(&mut made));
                assert!(!concealer.fill(&mut made), "nothing is left after 60 ms");
                assert!(made.iter().all(|sample| *sample == 0));
            }
        }
    }

    #[test]
    fn what_comes_again_begins_without_a_click() {
        let mut concealer = Concealer::new(false);
        for at in 0..4 {
            concealer.hear(&mut tone(150.0, 8000.0, at * 160, 160));
        }
        let mut made = [0; 160];
        concealer.fill(&mut made);
        // Out of step by half a period.
        let mut again = tone(150.0, 8000.0, 5 * 160 + 26, 160);
        concealer.hear(&mut again);
        let whole = [&made[..], &again].concat();
        let steepest = whole.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
        assert!(steepest < Some(2000), "{steepest:?}");
    }

    #[test]
    fn silence_stays_silence() {
        let mut concealer = Concealer::new(false);
        let mut made = [1; 160];
        concealer.fill(&mut made);
        assert!(made.iter().all(|sample| *sample == 0));
        concealer.fill(&mut [0; 7]);
        concealer.hear(&mut [i16::MIN; 3]);
        concealer.hear(&mut [i16::MAX; 1000]);
        concealer.fill(&mut [0; 1000]);
    }
}
