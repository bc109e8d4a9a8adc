//! Lines for the log that strangers can bring about as often as they like: one a minute at most, which says
//! how many there were.

use std::time::Duration;

use confab_machine::Time;

/// So far apart they are at least.
const APART: Duration = Duration::from_secs(60);

/// Counts what is told rarely.
#[derive(Debug, Default)]
pub(crate) struct Rarely {
    told: Option<Time>,
    untold: u64,
}

impl Rarely {
    /// It happened once more. If it is time to tell: how often since it was told last, this time included.
    pub fn happened(&mut self, now: Time) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + APART) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_and_none_is_left_out() {
        let (start, mut rarely) = (Time::from_unix_secs(1_800_000_000), Rarely::default());
        let told: Vec<Option<u64>> =
            (0..=120).map(|second| rarely.happened(start + Duration::from_secs(second))).collect();
        let expected = |second| [(0, 1), (60, 60), (120, 60)].into_iter().find(|(at, _)| *at == second);
        for (second, told) in told.into_iter().enumerate() {
            assert_eq!(told, expected(second).map(|(_, count)| count), "{second} s");
        }
    }
}
