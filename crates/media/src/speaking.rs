//! Who speaks, as people are told it: not more often than twice a second, and not word by word.

use std::time::Duration;

use confab_machine::Time;

use crate::{
    LegId,
    mixer::{TALKERS, Talker},
};

/// At most so often it is told.
const INTERVAL: Duration = Duration::from_millis(500);

/// Who pauses for less still speaks.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is louder than this (about -52 dBov) speaks; below it is the noise of a room.
pub(crate) const SPEECH: u32 = 12;

/// Another is dominant when he is louder by this, 6 dB.
const ADVANTAGE: u32 = 16;

/// More are not kept in mind: those who are heard, and those who were a moment ago.
const REMEMBERED: usize = 4 * TALKERS;

/// Who speaks.
#[derive(Debug, Default)]
pub(crate) struct Speaking {
    recent: Vec<Recent>,
    dominant: Option<LegId>,
    told: Vec<LegId>,
    next: Time,
}

#[derive(Debug)]
struct Recent {
    leg: LegId,
    level: u32,
    last: Time,
}

impl Speaking {
    pub fn new() -> Speaking {
        Speaking {
            recent: Vec::with_capacity(REMEMBERED),
            told: Vec::with_capacity(REMEMBERED),
            ..Speaking::default()
        }
    }

    /// Hears who is heard in this tick. Who speaks, loudest first, if that is to be told now.
    pub fn hear(&mut self, now: Time, talkers: impl Iterator<Item = Talker>) -> Option<Vec<LegId>> {
        for recent in &mut self.recent {
            recent.level = 0;
        }
        for talker in talkers.filter(|talker| talker.level >= SPEECH) {
            if let Some(recent) = self.recent.iter_mut().find(|recent| recent.leg == talker.leg) {
                (recent.level, recent.last) = (talker.level, now);
            } else if self.recent.len() < REMEMBERED {
                self.recent.push(Recent { leg: talker.leg, level: talker.level, last: now });
            }
        }
        self.recent.retain(|recent| now.since(recent.last) < PAUSE);
        self.choose_dominant();
        if now < self.next || !self.has_changed() {
            return None;
        }
        self.next = now + INTERVAL;
        let dominant = self.dominant;
        self.recent.sort_by_key(|recent| (Some(recent.leg) != dominant, std::cmp::Reverse(recent.level)));
        self.told.clear();
        self.told.extend(self.recent.iter().map(|recent| recent.leg));
        Some(self.told.clone())
    }

    /// Who leads, if anybody speaks.
    pub fn dominant(&self) -> Option<LegId> {
        self.dominant
    }

    /// A leg may not speak any more, or is gone.
    pub fn forget(&mut self, leg: LegId) {
        self.recent.retain(|recent| recent.leg != leg);
    }

    fn choose_dominant(&mut self) {
        let level =
            |leg| self.recent.iter().find(|recent| Some(recent.leg) == leg).map(|recent| recent.level);
        let loudest = self.recent.iter().max_by_key(|recent| recent.level);
        let Some(loudest) = loudest else {
            self.dominant = None;
            return;
        };
        // In his pauses the dominant one stays so, unless somebody else speaks.
        let beaten = match level(self.dominant) {
            None => true,
            Some(0) => loudest.level > 0,
            Some(own) => loudest.level > own + ADVANTAGE,
        };
        if beaten {
            self.dominant = Some(loudest.leg);
        }
    }

    fn has_changed(&self) -> bool {
        self.told.first().copied() != self.dominant
            || self.told.len() != self.recent.len()
            || self.recent.iter().any(|recent| !self.told.contains(&recent.leg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(speaking: &mut Speaking, ms: u64, levels: &[(u64, u32)]) -> Option<Vec<u64>> {
        let talkers = levels.iter().map(|(leg, level)| Talker { leg: LegId(*leg), level: *level });
        let told = speaking.hear(Time::from_micros(1_000_000 + ms * 1000), talkers);
        told.map(|legs| legs.iter().map(|leg| leg.0).collect())
    }

    #[test]
    fn changes_are_told_twice_a_second_at_most_and_pauses_are_none() {
        let mut speaking = Speaking::new();
        assert_eq!(hear(&mut speaking, 0, &[]), None);
        assert_eq!(hear(&mut speaking, 20, &[(1, 60)]), Some(vec![1]));
        assert_eq!(hear(&mut speaking, 40, &[(1, 60), (2, 50), (3, 5)]), None, "too soon");
        assert_eq!(
            hear(&mut speaking, 520, &[(1, 60), (2, 70)]),
            Some(vec![1, 2]),
            "2 is not loud enough to lead"
        );
        assert_eq!(hear(&mut speaking, 900, &[]), None, "a pause");
        assert_eq!(hear(&mut speaking, 1400, &[(1, 40)]), None);
        assert_eq!(hear(&mut speaking, 1600, &[(1, 40)]), Some(vec![1]));
        assert_eq!(hear(&mut speaking, 2200, &[(1, 40), (2, 60)]), Some(vec![2, 1]));
        speaking.forget(LegId(2));
        assert_eq!(hear(&mut speaking, 2800, &[]), Some(vec![1]));
        assert_eq!(hear(&mut speaking, 3400, &[]), Some(vec![]));
        assert_eq!(hear(&mut speaking, 9999, &[]), None);
    }
}
