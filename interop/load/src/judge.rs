//! What one person hears: whether it is the others, whether he hears himself, and how late it comes.

use crate::clock::milliseconds;
use crate::schedule::Schedule;
use crate::tones::{AMPLITUDE, Codec, Decoder, Search, TONES, tone};

/// The part of a turn in which everybody who talks must be heard; the server has had time, and nobody has stopped.
const STEADY: std::ops::Range<f64> = 0.35..0.70;
/// The part in which the first talker is alone: his tone must come then, to say anything of the delay.
const ALONE: f64 = 0.25;
/// A tone is heard that is louder than this share of what was said, and not heard that is not louder than that.
const HEARD: f64 = 0.3;
const UNHEARD: f64 = 0.1;
/// A sample above this share of the amplitude is the beginning of a tone, if a tenth of a second before was below that.
const BEGINS: f64 = 0.2;
const QUIET: f64 = 0.1;
/// A frame with less than this share of the power of those who talk is a gap in the sound.
const GAP: f64 = 0.1;

/// What has been found out about all who are judged.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The delay that the server adds, in milliseconds: from the sending of a tone's first packet to the first sample of it.
    pub delays: Vec<f64>,
    /// Beginnings of tones that had to be heard, and those that were.
    pub beginnings: u64,
    /// See above.
    pub beginnings_heard: u64,
    /// Times somebody heard himself begin.
    pub echoes: u64,
    /// How loud the others, oneself, and somebody of another conference were, as shares of what they said.
    pub others: Vec<f64>,
    /// See above.
    pub oneself: Vec<f64>,
    /// See above.
    pub strangers: Vec<f64>,
    /// Turns of somebody that were judged, and those in which he heard what he had to and nothing else.
    pub checks: u64,
    /// See above.
    pub checks_passed: u64,
    /// Frames in which somebody was to be heard, and those without sound.
    pub frames: u64,
    /// See above.
    pub gaps: u64,
}

/// When the first talkers of some turns began: by conference, of the last four turns.
#[derive(Debug)]
pub struct Beginnings(Vec<[(u64, u64); 4]>);

impl Beginnings {
    /// Of so many conferences.
    pub fn new(conferences: usize) -> Beginnings {
        Beginnings(vec![[(u64::MAX, 0); 4]; conferences])
    }

    /// The first talker of this turn has begun at this time.
    pub fn note(&mut self, conference: usize, turn: u64, time: u64) {
        self.0[conference][place(turn)] = (turn, time);
    }

    fn of(&self, conference: usize, turn: u64) -> Option<u64> {
        let (noted, time) = self.0[conference][place(turn)];
        (noted == turn).then_some(time)
    }
}

fn place(turn: u64) -> usize {
    usize::try_from(turn % 4).expect("it is below four")
}

/// Whose tone is looked for.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Other,
    Own,
    Stranger,
}

/// The judge of what one person hears.
pub struct Judge {
    conference: usize,
    person: usize,
    codec: Codec,
    decoder: Decoder,
    samples: Vec<i16>,
    /// How long it has been quiet, in samples.
    quiet: usize,
    /// The turn whose beginning was heard.
    begun: Option<u64>,
    /// The turn that is being judged.
    turn: Option<u64>,
    searches: Vec<(Whose, Search)>,
    length: usize,
}

/// A payload, when it came, and what is known of that time.
pub struct Heard<'a> {
    /// When it came.
    pub arrival: u64,
    /// The payload.
    pub payload: &'a [u8],
    /// Who talks when.
    pub schedule: &'a Schedule,
    /// When they began.
    pub beginnings: &'a Beginnings,
    /// From which turn on there are findings; before, one only listens.
    pub from: Option<u64>,
}

impl Judge {
    /// The judge of this person of this conference.
    pub fn new(conference: usize, person: usize, codec: Codec) -> Judge {
        Judge {
            conference,
            person,
            codec,
            decoder: codec.decoder(),
            samples: Vec::new(),
            quiet: 0,
            begun: None,
            turn: None,
            searches: Vec::new(),
            length: 0,
        }
    }

    /// Forgets what it was judging.
    pub fn restart(&mut self) {
        self.turn = None;
        self.searches.clear();
    }

    /// Listens to a payload.
    pub fn hear(&mut self, heard: &Heard, findings: &mut Findings) {
        if heard.arrival < heard.schedule.begin {
            return;
        }
        let mut samples = std::mem::take(&mut self.samples);
        self.decoder.decode(heard.payload, &mut samples);
        let (turn, phase) = heard.schedule.at(heard.arrival);
        let counts = heard.from.is_some_and(|from| turn >= from);
        self.listen_for_the_beginning(&samples, heard, counts && phase < ALONE, findings);
        if counts && STEADY.contains(&phase) {
            self.listen_to_all(&samples, heard.schedule, turn, findings);
        } else if counts && phase >= STEADY.end && self.turn == Some(turn) {
            self.conclude(heard.schedule, findings);
        }
        self.samples = samples;
    }

    fn listen_for_the_beginning(
        &mut self,
        samples: &[i16],
        heard: &Heard,
        counts: bool,
        findings: &mut Findings,
    ) {
        let is_loud = |sample: &i16| f64::from(*sample).abs() > AMPLITUDE * BEGINS;
        let Some(first) = samples.iter().position(is_loud) else {
            let is_quiet = |sample: &i16| f64::from(*sample).abs() < AMPLITUDE * QUIET;
            self.quiet = if samples.iter().all(is_quiet) { self.quiet + samples.len() } else { 0 };
            return;
        };
        let was_quiet = self.quiet >= self.codec.rate() / 10;
        self.quiet = 0;
        let (turn, _) = heard.schedule.at(heard.arrival);
        let Some(began) = heard.beginnings.of(self.conference, turn).filter(|_| was_quiet && counts) else {
            return;
        };
        if self.person == heard.schedule.first(turn) {
            findings.echoes += 1;
            return;
        }
        self.begun = Some(turn);
        let into_the_packet = first as f64 * 1000.0 / self.codec.rate() as f64;
        findings.delays.push(milliseconds(heard.arrival.saturating_sub(began)) + into_the_packet);
    }

    fn listen_to_all(&mut self, samples: &[i16], schedule: &Schedule, turn: u64, findings: &mut Findings) {
        if self.turn != Some(turn) {
            if self.person != schedule.first(turn) {
                findings.beginnings += 1;
                findings.beginnings_heard += u64::from(self.begun == Some(turn));
            }
            (self.turn, self.length) = (Some(turn), 0);
            self.searches = self.wanted(schedule, turn).collect();
        }
        for (_, search) in &mut self.searches {
            search.take(samples);
        }
        self.length += samples.len();
        let others = self.searches.iter().filter(|(whose, _)| matches!(whose, Whose::Other)).count();
        if others > 0 {
            let power = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
            let power = power / samples.len().max(1) as f64;
            findings.frames += 1;
            findings.gaps += u64::from(power < GAP * others as f64 * AMPLITUDE * AMPLITUDE / 2.0);
        }
    }

    /// The tones that are looked for: of all who talk, and of somebody who is in another conference, if anywhere.
    fn wanted(&self, schedule: &Schedule, turn: u64) -> impl Iterator<Item = (Whose, Search)> + use<> {
        let (person, rate) = (self.person, self.codec.rate());
        let first = tone_of(self.conference, schedule.first(turn));
        let conference = self.conference;
        let talkers = schedule.talkers(turn).map(move |talker| {
            let whose = if talker == person { Whose::Own } else { Whose::Other };
            (whose, Search::new(tone(tone_of(conference, talker)), rate))
        });
        talkers.chain([(Whose::Stranger, Search::new(tone(first + TONES / 2), rate))])
    }

    fn conclude(&mut self, schedule: &Schedule, findings: &mut Findings) {
        if self.searches.is_empty() {
            return;
        }
        findings.checks += 1;
        // Half of what should have come is enough to judge; with less the check has failed.
        let steady = (STEADY.end - STEADY.start) * schedule.turn_seconds() * self.codec.rate() as f64;
        if self.length as f64 * 2.0 > steady {
            let mut passed = true;
            for (whose, search) in &self.searches {
                let share = search.amplitude(self.length) / AMPLITUDE;
                let (found, fits) = match whose {
                    Whose::Other => (&mut findings.others, share > HEARD),
                    Whose::Own => (&mut findings.oneself, share < UNHEARD),
                    Whose::Stranger => (&mut findings.strangers, share < UNHEARD),
                };
                found.push(share);
                passed &= fits;
            }
            findings.checks_passed += u64::from(passed);
        }
        self.searches.clear();
    }
}

/// The number of somebody's tone: neighbours in a conference have different ones, and so have neighbouring conferences.
pub fn tone_of(conference: usize, person: usize) -> usize {
    conference * 7 + person
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::clock::MILLISECOND;
    use crate::options::Options;

    /// When everything begins.
    const BEGIN: u64 = 1_000 * crate::clock::SECOND;

    /// What one of four people is found to hear in two turns of one second, in which `says` says whose tones are in a frame
    /// that came so many milliseconds after the beginning.
    fn judged(person: usize, says: impl Fn(&Schedule, u64) -> Vec<usize>) -> Findings {
        let options = Options::parse_from(["load", "--turn-ms", "1000"]);
        let schedule = Schedule::new(&options, BEGIN);
        let mut beginnings = Beginnings::new(1);
        (0..2).for_each(|turn| beginnings.note(0, turn, BEGIN + turn * 1_000 * MILLISECOND));
        let (mut judge, mut findings) = (Judge::new(0, person, Codec::Pcmu), Findings::default());
        for since in (0..2_000).step_by(20) {
            let mut mixed = vec![0_i16; 160];
            let mut samples = Vec::new();
            for talker in says(&schedule, since) {
                let frames = Codec::Pcmu.frames(tone(tone_of(0, talker)), AMPLITUDE / 3.0);
                Codec::Pcmu.decoder().decode(frames.frame(0), &mut samples);
                mixed.iter_mut().zip(&samples).for_each(|(sum, sample)| *sum += sample * 3);
            }
            // Undone by the judge's decoding, but for what the codec takes away.
            let payload: Vec<u8> = mixed.iter().map(|sample| crate::tones::pcmu(*sample)).collect();
            let arrival = BEGIN + since * MILLISECOND;
            let (payload, schedule, beginnings) = (payload.as_slice(), &schedule, &beginnings);
            judge.hear(&Heard { arrival, payload, schedule, beginnings, from: Some(0) }, &mut findings);
        }
        findings
    }

    fn talkers(schedule: &Schedule, since: u64, delay: u64) -> Vec<usize> {
        let (turn, phase) = schedule.at(BEGIN + since.saturating_sub(delay) * MILLISECOND);
        if since < delay {
            Vec::new()
        } else {
            (0..4).filter(|person| schedule.talks(*person, turn, phase)).collect()
        }
    }

    #[test]
    fn a_good_mixer_passes_and_its_delay_is_measured() {
        // Person 1 is not the first talker in either turn.
        let findings = judged(1, |schedule, since| {
            talkers(schedule, since, 40).into_iter().filter(|talker| *talker != 1).collect()
        });
        assert_eq!((findings.checks, findings.checks_passed, findings.echoes), (2, 2, 0));
        assert_eq!(
            (findings.beginnings_heard, findings.gaps),
            (1, 0),
            "of the first turn nobody knows how it began"
        );
        assert!((40.0..42.0).contains(&findings.delays[0]), "{:?}", findings.delays);
    }

    #[test]
    fn who_hears_himself_or_too_few_fails_it() {
        let with_himself = judged(1, |schedule, since| talkers(schedule, since, 40));
        assert_eq!(with_himself.checks_passed, 0);
        let echo = judged(3, |schedule, since| talkers(schedule, since, 40));
        assert_eq!(echo.echoes, 1, "he is the first to talk in the second turn");
        let deaf = judged(1, |schedule, since| talkers(schedule, since, 40).into_iter().take(1).collect());
        assert_eq!((deaf.checks, deaf.checks_passed), (2, 0));
        assert!(judged(1, |_, _| Vec::new()).gaps > 0);
    }
}
