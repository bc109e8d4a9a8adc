//! Where the MCUs of active conferences are, and where they were before.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_machine::Time;
use confab_schema::uri::McuUri;

/// Former places of one MCU that are remembered.
const FORMER_LIMIT: usize = 16;
/// For so long after an MCU was lost its successor may not have its dialogs yet.
const UNSETTLED: Duration = Duration::from_secs(10);

/// The places, by the SIP URIs that clients know.
#[derive(Default)]
pub(super) struct McuPlaces {
    places: BTreeMap<McuUri, Place>,
}

#[derive(Default)]
struct Place {
    server_uri: String,
    former: BTreeSet<String>,
    /// When it was lost, until its successor has the dialogs.
    unsettled: Option<Time>,
}

impl McuPlaces {
    /// The SIP URI of the server where `mcu` is now.
    pub(super) fn of(&self, mcu: &McuUri) -> Option<&String> {
        self.places.get(mcu).map(|place| &place.server_uri)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// From now on `mcu` is at `server_uri`.
    pub(super) fn set(&mut self, mcu: McuUri, server_uri: String) {
        let place = self.places.entry(mcu).or_default();
        place.unsettled = None;
        if place.server_uri == server_uri {
            return;
        }
        place.former.remove(&server_uri);
        let former = std::mem::replace(&mut place.server_uri, server_uri);
        if !former.is_empty() && place.former.len() < FORMER_LIMIT {
            place.former.insert(former);
        }
    }

    /// `mcu` is lost where it was, and another server is looked for. That may be the same one, which woke up or
    /// was started again.
    pub(super) fn unsettle(&mut self, now: Time, mcu: &McuUri) {
        if let Some(place) = self.places.get_mut(mcu) {
            place.unsettled = Some(now);
        }
    }

    /// Whether `mcu` was lost just now, and who has it next may not have its dialogs yet.
    pub(super) fn is_unsettled(&self, now: Time, mcu: &McuUri) -> bool {
        let since = self.places.get(mcu).and_then(|place| place.unsettled);
        since.is_some_and(|since| now.since(since) < UNSETTLED)
    }

    /// Whether `mcu` was at `server_uri` and is elsewhere now.
    pub(super) fn has_left(&self, mcu: &McuUri, server_uri: &str) -> bool {
        self.places.get(mcu).is_some_and(|place| place.former.contains(server_uri))
    }

    /// The conference of `mcu` is over.
    pub(super) fn remove(&mut self, mcu: &McuUri) {
        self.places.remove(mcu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_places_are_told_from_the_present_one() {
        let mcu = McuUri::parse("sip:ann@example.test;gruu;opaque=app:conf:chat:id:3E1C92F04C68").unwrap();
        let mut places = McuPlaces::default();
        assert!(!places.has_left(&mcu, "sip:one"), "of what is not known nothing is said");
        for place in ["sip:one", "sip:two", "sip:one"] {
            places.set(mcu.clone(), place.into());
            assert_eq!(places.of(&mcu).map(String::as_str), Some(place));
            assert!(!places.has_left(&mcu, place));
        }
        assert!(places.has_left(&mcu, "sip:two"));
        assert!(!places.has_left(&mcu, "sip:three"), "another server may still call for it");
        places.remove(&mcu);
        assert!(!places.has_left(&mcu, "sip:two"));
    }
}
