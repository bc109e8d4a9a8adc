//! What a call must have sounded like: the E-model (ITU-T G.107) with every parameter at its default but
//! delay, loss and codec, and the mean opinion score that follows from its rating.

use std::time::Duration;

use crate::session::Codec;

/// The rating of an undisturbed call (ITU-T G.107, all parameters at their defaults).
const UNDISTURBED: f64 = 93.2;

/// From this delay on people begin to interrupt each other, in ms.
const NOTICED_MS: f64 = 177.3;

/// The rating of a stream: 0 (of no use) to 93.2. `delay` is from mouth to ear; of `expected` packets
/// `missed` were not played.
pub fn rating(codec: Codec, delay: Duration, missed: u64, expected: u64) -> f64 {
    let delay = delay.as_secs_f64() * 1_000.0;
    let by_delay = 0.024 * delay + 0.11 * (delay - NOTICED_MS).max(0.0);
    let (impairment, robustness) = equipment(codec);
    let loss = if expected == 0 { 0.0 } else { 100.0 * missed.min(expected) as f64 / expected as f64 };
    let by_equipment = impairment + (95.0 - impairment) * loss / (loss + robustness);
    (UNDISTURBED - by_delay - by_equipment).max(0.0)
}

/// The mean opinion score of a rating in hundredths: 100 to 450 (ITU-T G.107 annex B).
pub fn opinion(rating: f64) -> u16 {
    let rating = rating.clamp(0.0, 100.0);
    let score = 1.0 + 0.035 * rating + 7e-6 * rating * (rating - 60.0) * (100.0 - rating);
    (score.clamp(1.0, 4.5) * 100.0).round() as u16
}

/// What a codec costs by itself (Ie), and how well it bears loss that strikes at random (Bpl).
// Deviation: ITU-T G.113 has both for G.711 with concealment. The wideband codecs are counted as good as that: its figures for
// them are on the wideband scale, and for Opus there are none.
fn equipment(codec: Codec) -> (f64, f64) {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => (0.0, 25.1),
        // Pictures are not judged by it; what is left is the loss.
        Codec::H264 | Codec::Vp8 => (0.0, 4.3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_ratings_as_the_standard_lists_them() {
        for (rating, score) in [
            (-5.0, 100),
            (0.0, 100),
            (50.0, 258),
            (60.0, 310),
            (70.0, 360),
            (80.0, 402),
            (90.0, 434),
            (93.2, 441),
            (100.0, 450),
            (200.0, 450),
        ] {
            assert_eq!(opinion(rating), score, "{rating}");
        }
    }

    #[test]
    fn delay_and_loss_cost_what_they_should() {
        let ms = Duration::from_millis;
        let check = |delay, missed, expected: f64| {
            let rating = rating(Codec::Pcmu, delay, missed, 1_000);
            assert!((rating - expected).abs() < 0.05, "{delay:?} {missed}: {rating}");
        };
        check(ms(0), 0, 93.2);
        check(ms(100), 0, 90.8);
        check(ms(300), 0, 93.2 - 7.2 - 13.5);
        check(ms(0), 10, 93.2 - 3.6);
        check(ms(0), 100, 93.2 - 27.1);
        check(ms(0), 1_000, 93.2 - 75.9);
        check(ms(5_000), 1_000, 0.0);
        assert!((rating(Codec::Opus, ms(0), 0, 0) - 93.2).abs() < 1e-9, "nothing was expected");
        assert_eq!(
            opinion(rating(Codec::Pcmu, ms(20), 5_000, 10)),
            opinion(rating(Codec::Pcmu, ms(20), 10, 10))
        );
    }
}
