//! Tones: what a phone says, and what is in the recording of what it hears. Nothing here looks at a clock: a recording grows,
//! and it is its newest windows that are judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Deadline, poll};

/// Tones in Hz that different people say at once: none is near another's harmonics, nor near what two of them make together
/// in a quantizer. Each has a whole number of periods in a [`WINDOW_MS`].
pub const TONES: [u32; 7] = [420, 610, 860, 1170, 1540, 1970, 2460];
/// How loud each is, as the amplitude of 16-bit samples: all of [`TONES`] together are not clipped.
pub const AMPLITUDE: f64 = 4500.0;
/// Rate of the files that phones play, in samples a second.
pub const RATE: u32 = 8000;

/// Length of what is judged at a time, in milliseconds.
const WINDOW_MS: usize = 200;
/// So many windows in a row have to agree.
const WINDOWS: usize = 3;
/// So many windows lack a tone that was there, from the third on: what is in the network and in the phone's own buffer is
/// played to its end.
const LACKING_WINDOWS: usize = 10;
const WINDOWS_ON_THE_WAY: usize = 2;
/// A tone is there when it has this share of a window's power at least, and is not when it has [`ABSENT`] at most: between
/// them nothing is decided. Eight equally loud ones have an eighth each; what a quantizer adds stays below a thousandth.
const PRESENT: f64 = 0.04;
const ABSENT: f64 = 0.005;
/// Below this mean square nothing is there at all.
const SILENT: f64 = 30.0 * 30.0;
/// Length of a file that a phone plays: longer than any scenario, in seconds.
const FILE_SECONDS: u32 = 150;

/// Where a phone's recording is.
#[derive(Clone, Debug)]
enum Source {
    /// 16-bit samples and nothing else, at this rate.
    Raw(PathBuf, u32),
    /// The newest WAV file in this folder whose name ends so.
    Newest(PathBuf, &'static str),
    /// Samples at [`RATE`] that somebody else adds to.
    Shared(Arc<Mutex<Vec<i16>>>),
}

/// What somebody hears.
#[derive(Clone, Debug)]
pub struct Ear {
    name: String,
    source: Source,
}

impl Ear {
    /// A file of bare 16-bit samples, mono, that grows.
    pub fn raw(name: &str, path: PathBuf, rate: u32) -> Ear {
        Ear { name: name.to_owned(), source: Source::Raw(path, rate) }
    }

    /// The newest of several WAV files, one for each call.
    pub fn newest(name: &str, folder: PathBuf, suffix: &'static str) -> Ear {
        Ear { name: name.to_owned(), source: Source::Newest(folder, suffix) }
    }

    /// Samples at [`RATE`] that are added from elsewhere.
    pub fn shared(name: &str, samples: Arc<Mutex<Vec<i16>>>) -> Ear {
        Ear { name: name.to_owned(), source: Source::Shared(samples) }
    }

    /// Waits until some windows in a row, of what is recorded from now on, hold every one of `tones` and none of `others`.
    pub fn hears(&self, tones: &[u32], others: &[u32]) {
        let from = self.sound().samples.len();
        let mut last = Vec::new();
        let heard = poll(Deadline::step(), || {
            let sound = self.sound();
            last = sound.windows(from).map(|window| sound.shares(window, tones, others)).collect();
            let fits = |(present, absent): &(Vec<f64>, Vec<f64>)| {
                present.iter().all(|share| *share >= PRESENT) && absent.iter().all(|share| *share <= ABSENT)
            };
            last.windows(WINDOWS).any(|some| some.iter().all(fits)).then_some(())
        });
        if heard.is_none() {
            let shown = &last[last.len().saturating_sub(WINDOWS)..];
            panic!(
                "{} does not hear {tones:?} without {others:?}; after {} windows, the shares of these in the last: {shown:.3?}",
                self.name,
                last.len()
            );
        }
    }

    /// For two seconds from now on none of these tones is recorded, but for what was on its way.
    pub fn lacks(&self, tones: &[u32]) {
        let from = self.sound().samples.len();
        let recorded = poll(Deadline::step(), || {
            let sound = self.sound();
            (sound.windows(from).count() >= LACKING_WINDOWS).then_some(sound)
        });
        let sound = recorded.unwrap_or_else(|| panic!("{} records nothing any more", self.name));
        for (number, window) in sound.windows(from).enumerate().skip(WINDOWS_ON_THE_WAY) {
            let (shares, _) = sound.shares(window, tones, &[]);
            let absent = shares.iter().all(|share| *share <= ABSENT);
            assert!(absent, "{} heard one of {tones:?} in window {number}: {shares:.3?} of it", self.name);
        }
    }

    /// Waits until some windows of silence in a row were recorded, from now on.
    pub fn hears_nothing(&self) {
        let from = self.sound().samples.len();
        let silent = |window: &[i16]| power(window) <= SILENT;
        let found = poll(Deadline::step(), || {
            let sound = self.sound();
            let windows: Vec<bool> = sound.windows(from).map(silent).collect();
            windows.windows(WINDOWS).any(|some| some.iter().all(|silent| *silent)).then_some(())
        });
        assert!(found.is_some(), "{} hears something", self.name);
    }

    /// Nowhere in its whole recording until now is this tone.
    pub fn never_heard(&self, tone: u32) {
        let sound = self.sound();
        let windows = sound.windows(0).count();
        assert!(windows >= WINDOWS, "{} has a recording of {windows} windows only", self.name);
        for (number, window) in sound.windows(0).enumerate() {
            let share = sound.share(window, tone);
            assert!(share < PRESENT, "{} heard {tone} Hz in window {number}: {share:.3} of it", self.name);
        }
    }

    /// How much it has recorded, in milliseconds.
    pub fn length_ms(&self) -> usize {
        let sound = self.sound();
        sound.samples.len() * 1000 / sound.rate as usize
    }

    fn sound(&self) -> Sound {
        match &self.source {
            Source::Newest(folder, suffix) => {
                newest(folder, suffix).and_then(|path| read_wav(&path)).unwrap_or_default()
            }
            Source::Raw(path, rate) => {
                Sound { rate: *rate, samples: samples_of(&fs::read(path).unwrap_or_default()) }
            }
            Source::Shared(samples) => {
                Sound { rate: RATE, samples: samples.lock().unwrap_or_else(PoisonError::into_inner).clone() }
            }
        }
    }
}

/// A recording as it is now; mono.
#[derive(Debug)]
struct Sound {
    rate: u32,
    samples: Vec<i16>,
}

impl Default for Sound {
    fn default() -> Sound {
        Sound { rate: RATE, samples: Vec::new() }
    }
}

impl Sound {
    fn windows(&self, from: usize) -> impl Iterator<Item = &[i16]> {
        let new = self.samples.get(from..).unwrap_or_default();
        new.chunks_exact(self.rate as usize * WINDOW_MS / 1000)
    }

    fn shares(&self, window: &[i16], tones: &[u32], others: &[u32]) -> (Vec<f64>, Vec<f64>) {
        let shares = |tones: &[u32]| tones.iter().map(|tone| self.share(window, *tone)).collect();
        (shares(tones), shares(others))
    }

    /// The share of the window's power that the tone has: Goertzel's algorithm.
    fn share(&self, window: &[i16], tone: u32) -> f64 {
        let all = power(window);
        if all <= SILENT {
            return 0.0;
        }
        let twice_cosine = 2.0 * (std::f64::consts::TAU * f64::from(tone) / f64::from(self.rate)).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for sample in window {
            (one, two) = (f64::from(*sample) + twice_cosine * one - two, one);
        }
        let length = window.len() as f64;
        let amplitude_squared = 4.0 * (one * one + two * two - twice_cosine * one * two) / (length * length);
        amplitude_squared / 2.0 / all
    }
}

/// The mean square.
fn power(window: &[i16]) -> f64 {
    window.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / window.len().max(1) as f64
}

/// The file in the folder with the greatest name of those that end so: the names have the time in them.
fn newest(folder: &Path, suffix: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.to_string_lossy().ends_with(suffix)).max()
}

/// A WAV file of 16-bit samples; the first channel, if there are several. What its header says of its length is not
/// believed: that is written when the recording ends.
fn read_wav(path: &Path) -> Option<Sound> {
    let bytes = fs::read(path).ok()?;
    let number = |at: usize, length: usize| {
        let mut number = [0; 4];
        number[..length].copy_from_slice(bytes.get(at..at + length)?);
        Some(u32::from_le_bytes(number))
    };
    let mut at = 12;
    let (mut rate, mut channels) = (RATE, 1);
    loop {
        let (id, length) = (bytes.get(at..at + 4)?, number(at + 4, 4)? as usize);
        at += 8;
        match id {
            b"fmt " => {
                channels = number(at + 2, 2)? as usize;
                rate = number(at + 4, 4)?;
            }
            b"data" => break,
            _ => {}
        }
        at += length;
    }
    let samples = samples_of(&bytes[at..]);
    Some(Sound { rate, samples: samples.into_iter().step_by(channels.max(1)).collect() })
}

fn samples_of(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect()
}

/// So many samples of a tone at [`RATE`].
fn samples(tone: u32) -> impl Iterator<Item = i16> {
    let step = std::f64::consts::TAU * f64::from(tone) / f64::from(RATE);
    (0..FILE_SECONDS * RATE).map(move |number| {
        #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
        let sample = (AMPLITUDE * (step * f64::from(number)).sin()).round() as i16;
        sample
    })
}

/// Writes a tone as a WAV file, for a phone to play.
pub fn write_wav(path: &Path, tone: u32) {
    let length = FILE_SECONDS * RATE * 2;
    let mut bytes = Vec::with_capacity(44 + length as usize);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(length + 36).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend_from_slice(&RATE.to_le_bytes());
    bytes.extend_from_slice(&(RATE * 2).to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend(samples(tone).flat_map(i16::to_le_bytes));
    fs::write(path, bytes).expect("the temporary folder can be written");
}

/// Writes a tone as bare PCMU (G.711 µ-law).
pub fn write_pcmu(path: &Path, tone: u32) {
    let bytes: Vec<u8> = samples(tone).map(pcmu).collect();
    fs::write(path, bytes).expect("the temporary folder can be written");
}

/// One sample as PCMU.
pub fn pcmu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = i32::from(sample).abs().min(32_635) + 0x84;
    let exponent = 24 - biased.leading_zeros(); // the top bit of seven is bit 14
    let mantissa = (biased >> (exponent + 3)) & 0x0f;
    !(sign | u8::try_from(exponent << 4).expect("it is below 8") | u8::try_from(mantissa).expect("four bits"))
}

/// One sample from PCMU.
pub fn from_pcmu(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4)) - 0x84;
    i16::try_from(if byte & 0x80 == 0 { magnitude } else { -magnitude }).expect("µ-law has 14 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcmu_is_read_as_it_is_written() {
        for sample in (-32_000..32_000).step_by(37) {
            let read = from_pcmu(pcmu(sample));
            assert!((i32::from(read) - i32::from(sample)).abs() <= 8 + i32::from(sample).abs() / 16);
        }
        assert_eq!((pcmu(0), from_pcmu(0xff)), (0xff, 0));
    }

    #[test]
    fn a_tone_is_heard_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        write_wav(&path, TONES[2]);
        let sound = read_wav(&path).unwrap();
        let window = sound.windows(400).next().unwrap();
        assert!(sound.share(window, TONES[2]) > 0.99);
        for tone in TONES.into_iter().filter(|tone| *tone != TONES[2]) {
            assert!(sound.share(window, tone) < ABSENT / 10.0, "{tone}");
        }
        assert_eq!(sound.share(&[0; 1600], TONES[2]), 0.0);
    }

    #[test]
    fn all_tones_are_heard_together() {
        let mixed: Vec<i16> = (0..1600)
            .map(|number| TONES.iter().map(|tone| samples(*tone).nth(number).unwrap()).sum())
            .collect();
        let through: Vec<i16> = mixed.iter().map(|sample| from_pcmu(pcmu(*sample))).collect();
        let sound = Sound { rate: RATE, samples: through };
        for tone in TONES {
            assert!(sound.share(&sound.samples, tone) > PRESENT * 2.0, "{tone}");
        }
        assert!(sound.share(&sound.samples, 1000) < ABSENT / 5.0);
    }
}
