//! Steps 5 and 6: the Conferencing Server Factory. It knows which conferencing servers (MCUs) are
//! alive, and finds one of the type a Focus asks for.
//!
//! Choosing is a function over the health table; asking the chosen MCU to provision a conference
//! is the shell's errand, because the MCU may live elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_machine::{Component, Time};
use confab_schema::{
    mcu_control::{Health, ServerStatus},
    uri::McuType,
};

/// How often an MCU reports its health.
pub const HEALTH_PERIOD: Duration = Duration::from_secs(1);
/// An MCU that has not reported for this long is gone, and knows it: it counts from its last report
/// that was taken.
pub const HEALTH_LIMIT: Duration = Duration::from_secs(4);
/// How many MCUs one factory keeps track of.
pub const MCU_LIMIT: usize = 1000;

/// What a conferencing server for `media` is called in the flow trace.
pub const fn component(media: McuType) -> Component {
    match media {
        McuType::AudioVideo | McuType::PhoneConf => Component::AvMcu,
        McuType::Chat | McuType::Meeting | McuType::ApplicationSharing => Component::ImMcu,
    }
}

/// The factory's table of conferencing servers, by their control URL.
#[derive(Debug, Default)]
pub struct McuFactory {
    mcus: BTreeMap<String, Entry>,
    /// The URLs of those that live and die with the factory.
    companions: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    health: Health,
    seen: Time,
}

/// What becomes of a health report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is noted.
    Taken,
    /// It is noted, and the server has been started again: what must now be said of it as it was.
    StartedAgain(Health),
    /// There are [`MCU_LIMIT`] servers already.
    NoRoom,
}

impl Entry {
    /// What is said of a server that is lost.
    fn lost(self) -> Health {
        Health { status: ServerStatus::Unavailable, ..self.health }
    }
}

impl McuFactory {
    /// Takes a health report.
    pub fn report(&mut self, now: Time, health: Health) -> Reported {
        if !self.mcus.contains_key(&health.url) && self.mcus.len() >= MCU_LIMIT {
            return Reported::NoRoom;
        }
        let instance = health.instance.clone();
        match self.mcus.insert(health.url.clone(), Entry { health, seen: now }) {
            Some(former) if former.health.instance != instance => Reported::StartedAgain(former.lost()),
            _ => Reported::Taken,
        }
    }

    /// The MCU at this URL lives in the factory's own process, so its silence is a standstill of both: it is never
    /// taken for gone.
    pub fn add_companion(&mut self, url: String) {
        self.companions.insert(url);
    }

    /// Since when nothing was heard of an MCU whose silence means something.
    fn silent_since(&self, url: &str, entry: &Entry) -> Option<Time> {
        (!self.companions.contains(url)).then_some(entry.seen)
    }

    /// The control URLs of the MCUs that can take a conference of this medium now: the idlest
    /// first. The caller tries them in this order until one provisions the conference.
    pub fn candidates(&self, now: Time, media: McuType) -> Vec<String> {
        let mut fit: Vec<&Entry> = self
            .mcus
            .iter()
            .filter(|(url, entry)| {
                self.silent_since(url, entry).is_none_or(|seen| now.since(seen) < HEALTH_LIMIT)
            })
            .map(|(_, entry)| entry)
            .filter(|entry| entry.health.media == media)
            .filter(|entry| matches!(entry.health.status, ServerStatus::Normal | ServerStatus::Loaded))
            .collect();
        fit.sort_by_key(|entry| {
            let loaded = entry.health.status == ServerStatus::Loaded;
            (loaded, entry.health.participants, entry.health.conferences)
        });
        fit.into_iter().map(|entry| entry.health.url.clone()).collect()
    }

    /// Forgets the MCUs that have not reported in time, and returns what must now be said of each:
    /// that it is unavailable.
    pub fn drop_silent(&mut self, now: Time) -> Vec<Health> {
        let companions = &self.companions;
        let silent = self
            .mcus
            .extract_if(.., |url, entry| !companions.contains(url) && now.since(entry.seen) >= HEALTH_LIMIT);
        silent.map(|(_, entry)| entry.lost()).collect()
    }

    /// When the next MCU will have been silent for too long, unless it reports before.
    pub fn deadline(&self) -> Option<Time> {
        let silences = self.mcus.iter().filter_map(|(url, entry)| self.silent_since(url, entry));
        silences.min().map(|seen| seen + HEALTH_LIMIT)
    }

    /// The last health report of each MCU, with its age.
    pub fn servers(&self, now: Time) -> impl Iterator<Item = (&Health, Duration)> {
        self.mcus.values().map(move |entry| (&entry.health, now.since(entry.seen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(url: &str, media: McuType, status: ServerStatus, participants: u32) -> Health {
        Health {
            url: url.into(),
            media,
            status,
            conferences: 1,
            participants,
            vendor: "Confab".into(),
            instance: Some("1".into()),
        }
    }

    fn idle(url: &str) -> Health {
        health(url, McuType::Chat, ServerStatus::Normal, 0)
    }

    #[test]
    fn chooses_the_idlest_that_is_alive_and_of_the_type() {
        let mut factory = McuFactory::default();
        let start = Time::from_unix_secs(100);
        for (url, media, status, participants) in [
            ("https://a", McuType::Chat, ServerStatus::Normal, 10),
            ("https://b", McuType::Chat, ServerStatus::Normal, 2),
            ("https://c", McuType::Chat, ServerStatus::Loaded, 0),
            ("https://d", McuType::Chat, ServerStatus::Full, 0),
            ("https://e", McuType::AudioVideo, ServerStatus::Normal, 0),
        ] {
            assert_eq!(factory.report(start, health(url, media, status, participants)), Reported::Taken);
        }
        assert_eq!(factory.candidates(start, McuType::Chat), ["https://b", "https://a", "https://c"]);
        assert!(factory.candidates(start, McuType::Meeting).is_empty());

        assert_eq!(factory.deadline(), Some(start + HEALTH_LIMIT));
        let later = start + HEALTH_LIMIT;
        factory.report(later, health("https://a", McuType::Chat, ServerStatus::Normal, 10));
        assert_eq!(factory.candidates(later, McuType::Chat), ["https://a"]);
        assert_eq!(factory.drop_silent(later).len(), 4);
        assert_eq!(factory.servers(later).count(), 1);
    }

    #[test]
    fn who_shares_its_process_is_never_taken_for_gone() {
        let mut factory = McuFactory::default();
        factory.add_companion("https://a".into());
        for url in ["https://a", "https://b"] {
            assert_eq!(factory.report(Time::EPOCH, idle(url)), Reported::Taken);
        }
        let later = Time::EPOCH + HEALTH_LIMIT * 2;
        assert_eq!(factory.deadline(), Some(Time::EPOCH + HEALTH_LIMIT));
        assert_eq!(
            factory.drop_silent(later).into_iter().map(|lost| lost.url).collect::<Vec<_>>(),
            ["https://b"]
        );
        assert_eq!(factory.candidates(later, McuType::Chat), ["https://a"]);
        assert_eq!(factory.deadline(), None);
    }

    #[test]
    fn keeps_a_limited_number() {
        let mut factory = McuFactory::default();
        for n in 0..MCU_LIMIT {
            assert_eq!(factory.report(Time::EPOCH, idle(&format!("https://{n}"))), Reported::Taken);
        }
        assert_eq!(factory.report(Time::EPOCH, idle("https://x")), Reported::NoRoom);
        assert_eq!(factory.report(Time::EPOCH, idle("https://0")), Reported::Taken);
    }

    #[test]
    fn one_that_was_started_again_has_lost_what_it_had() {
        let mut factory = McuFactory::default();
        assert_eq!(factory.report(Time::EPOCH, idle("https://a")), Reported::Taken);
        let again = Health { instance: Some("2".into()), ..idle("https://a") };
        let lost = Health { status: ServerStatus::Unavailable, ..idle("https://a") };
        assert_eq!(factory.report(Time::EPOCH, again.clone()), Reported::StartedAgain(lost));
        assert_eq!(factory.report(Time::EPOCH, again), Reported::Taken);
        assert_eq!(factory.candidates(Time::EPOCH, McuType::Chat), ["https://a"]);
    }
}
