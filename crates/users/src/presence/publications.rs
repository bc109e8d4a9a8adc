//! What one user has published (MS-PRES §3.2): pieces of presence by category, instance and
//! container, each with a version.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use confab_machine::Time;
use confab_schema::{
    categories::{Category, ExpireType},
    presence::State,
    publication::{Publication, Publish, WrongDelta},
    xml::Element,
};

use super::Rejected;

/// Most publications of a user.
pub const MAX_PUBLICATIONS: usize = 128;
/// Largest publication, in bytes of XML.
pub const MAX_PUBLICATION: usize = 16 * 1024;
/// Most bytes of XML one user may publish in all: they go into one message when he signs in.
pub const MAX_PUBLISHED: usize = 256 * 1024;
/// Longest name of a category, in bytes.
pub const MAX_CATEGORY: usize = 64;

/// The category whose publications are states.
pub(crate) const STATE: &str = "state";

/// The publications of one user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publications {
    all: BTreeMap<Key, Held>,
}

/// Which publication. Ordered so that what a watcher of a category sees stands together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    category: String,
    container: u32,
    instance: u32,
}

#[derive(Clone, Debug)]
struct Held {
    version: u32,
    expire_type: ExpireType,
    publisher: String,
    publish_time: Time,
    ends_at: Option<Time>,
    data: Option<Element>,
    /// Bytes of the data.
    size: usize,
    /// Of the category `state`: what the data says.
    state: Option<State>,
}

/// Categories and containers in which something has changed.
pub(crate) type Changed = BTreeSet<(String, u32)>;

impl Publications {
    /// Applies all operations or, if one cannot be, none. `publisher` is the epid of the endpoint
    /// that publishes.
    pub fn apply(&mut self, now: Time, publisher: &str, request: &Publish) -> Result<Changed, Rejected> {
        self.check_versions(request)?;
        let mut all = self.all.clone();
        let mut changed = Changed::new();
        for publication in &request.publications {
            let key = Key::of(publication);
            changed.insert((key.category.clone(), key.container));
            if publication.expires == Some(0) {
                all.remove(&key);
            } else {
                let version = all.get(&key).map_or(0, |held| held.version) + 1;
                all.insert(key, Held::new(now, publisher, publication, version)?);
            }
        }
        if all.len() > MAX_PUBLICATIONS || all.values().map(|held| held.size).sum::<usize>() > MAX_PUBLISHED {
            let sentence = format!(
                "One user has at most {MAX_PUBLICATIONS} publications of {MAX_PUBLISHED} bytes in all."
            );
            return Err(Rejected::TooMuch(sentence));
        }
        self.all = all;
        Ok(changed)
    }

    fn check_versions(&self, request: &Publish) -> Result<(), Rejected> {
        let current =
            |publication: &Publication| self.all.get(&Key::of(publication)).map_or(0, |held| held.version);
        let stale: Vec<(u32, u32)> = (1..)
            .zip(&request.publications)
            .filter(|(_, publication)| current(publication) != publication.version)
            .map(|(index, publication)| (index, current(publication)))
            .collect();
        if stale.is_empty() { Ok(()) } else { Err(Rejected::Stale(WrongDelta { operations: stale })) }
    }

    /// Takes away what ends with the endpoint `epid`; if it was the `last` of the user, also what
    /// ends with the last, and what ends with an endpoint that was never heard to leave.
    pub fn endpoint_gone(&mut self, epid: Option<&str>, last: bool) -> Changed {
        self.remove(|held| match held.expire_type {
            ExpireType::Endpoint => last || Some(held.publisher.as_str()) == epid,
            ExpireType::User => last,
            ExpireType::Static | ExpireType::Time => false,
        })
    }

    /// Takes away what has ended by its time.
    pub fn expire(&mut self, now: Time) -> Changed {
        self.remove(|held| held.ends_at.is_some_and(|end| end <= now))
    }

    /// When the next publication ends by its time.
    pub fn deadline(&self) -> Option<Time> {
        self.all.values().filter_map(|held| held.ends_at).min()
    }

    fn remove(&mut self, ends: impl Fn(&Held) -> bool) -> Changed {
        let mut changed = Changed::new();
        self.all.retain(|key, held| {
            let ends = ends(held);
            if ends {
                changed.insert((key.category.clone(), key.container));
            }
            !ends
        });
        changed
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The states in `container`.
    pub fn states(&self, container: u32) -> impl Iterator<Item = &State> {
        self.of(STATE, container).filter_map(|(_, held)| held.state.as_ref())
    }

    /// What a watcher who sees `container` gets of `category`; empty if there is none.
    pub fn seen(&self, category: &str, container: u32) -> Vec<Category> {
        let seen = self.of(category, container).map(|(key, held)| Category {
            instance: Some(key.instance),
            publish_time: Some(held.publish_time),
            data: held.data.clone(),
            ..Category::new(category)
        });
        seen.collect()
    }

    /// What the owner is told: all publications of the names in `changed`, or all there are, and for
    /// each category and container in it that is empty now, that it is. A client replaces what it
    /// knows of a name by what it is told of it.
    pub fn owned(&self, changed: Option<&Changed>) -> Vec<Category> {
        let wanted =
            |name: &str| changed.is_none_or(|changed| changed.iter().any(|(other, _)| other == name));
        let held = self.all.iter().filter(|(key, _)| wanted(&key.category)).map(|(key, held)| Category {
            name: key.category.clone(),
            instance: Some(key.instance),
            container: Some(key.container),
            version: Some(held.version),
            publish_time: Some(held.publish_time),
            expire_type: Some(held.expire_type),
            endpoint_id: None,
            data: held.data.clone(),
        });
        let emptied = changed
            .into_iter()
            .flatten()
            .filter(|(name, container)| self.of(name, *container).next().is_none());
        let emptied =
            emptied.map(|(name, container)| Category { container: Some(*container), ..Category::new(name) });
        emptied.chain(held).collect()
    }

    fn of(&self, category: &str, container: u32) -> impl Iterator<Item = (&Key, &Held)> {
        let key = |instance| Key { category: category.to_owned(), container, instance };
        self.all.range(key(0)..=key(u32::MAX))
    }
}

impl Key {
    fn of(publication: &Publication) -> Key {
        Key {
            category: publication.category.clone(),
            container: publication.container,
            instance: publication.instance,
        }
    }
}

impl Held {
    fn new(now: Time, publisher: &str, publication: &Publication, version: u32) -> Result<Held, Rejected> {
        let data = publication.data.as_ref();
        let size = data.map_or(0, |data| data.to_bytes().len());
        if publication.category.len() > MAX_CATEGORY || size > MAX_PUBLICATION {
            let sentence = format!("A publication has at most {MAX_PUBLICATION} bytes.");
            return Err(Rejected::TooMuch(sentence));
        }
        let state = match data {
            Some(data) if publication.category == STATE => Some(State::from_element(data)),
            _ => None,
        };
        let lifetime = publication.expires.filter(|_| publication.expire_type == ExpireType::Time);
        Ok(Held {
            version,
            expire_type: publication.expire_type,
            publisher: publisher.to_owned(),
            publish_time: now,
            ends_at: lifetime.map(|seconds| now + Duration::from_secs(seconds.into())),
            data: publication.data.clone(),
            size,
            state: state.transpose().map_err(|fault| Rejected::Malformed(fault.to_string()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_unix_secs(1_700_000_000);

    fn note(container: u32, version: u32, expire_type: ExpireType) -> Publication {
        Publication {
            category: "note".into(),
            instance: 0,
            container,
            version,
            expire_type,
            expires: None,
            data: Some(Element::new("urn:n", "note").with_text(&format!("{container}"))),
        }
    }

    fn publish(it: &mut Publications, publications: &[Publication]) -> Result<Changed, Rejected> {
        let request = Publish { uri: "sip:ann@example.test".into(), publications: publications.to_vec() };
        it.apply(NOW, "epid1", &request)
    }

    #[test]
    fn versions_count_up_and_stale_ones_are_told() {
        let mut it = Publications::default();
        publish(&mut it, &[note(200, 0, ExpireType::Static)]).unwrap();
        publish(&mut it, &[note(200, 1, ExpireType::Static)]).unwrap();
        let stale = publish(&mut it, &[note(300, 0, ExpireType::Static), note(200, 1, ExpireType::Static)]);
        assert_eq!(stale, Err(Rejected::Stale(WrongDelta { operations: vec![(2, 2)] })));
        assert!(it.seen("note", 300).is_empty(), "all or nothing");
        assert_eq!(it.owned(None)[0].version, Some(2));
        let gone = publish(&mut it, &[note(300, 7, ExpireType::Static)]);
        assert_eq!(gone, Err(Rejected::Stale(WrongDelta { operations: vec![(1, 0)] })));
    }

    #[test]
    fn what_is_deleted_is_told_to_be_empty() {
        let mut it = Publications::default();
        publish(&mut it, &[note(200, 0, ExpireType::Static), note(300, 0, ExpireType::Static)]).unwrap();
        let delete = Publication { expires: Some(0), ..note(200, 1, ExpireType::Static) };
        let changed = publish(&mut it, &[delete]).unwrap();
        let told = it.owned(Some(&changed));
        assert_eq!((told[0].container, told[0].instance), (Some(200), None));
        assert_eq!((told[1].container, told[1].instance), (Some(300), Some(0)));
    }

    #[test]
    fn what_ends_when() {
        let check = |expire_type: ExpireType, epid: &str, last: bool, expect: bool| {
            let mut it = Publications::default();
            publish(&mut it, &[note(200, 0, expire_type)]).unwrap();
            let ended = !it.endpoint_gone(Some(epid), last).is_empty();
            assert_eq!(
                (ended, it.seen("note", 200).is_empty()),
                (expect, expect),
                "{expire_type:?} {epid} {last}"
            );
        };
        check(ExpireType::Endpoint, "epid1", false, true);
        check(ExpireType::Endpoint, "epid2", false, false);
        check(ExpireType::Endpoint, "epid2", true, true);
        check(ExpireType::User, "epid1", false, false);
        check(ExpireType::User, "epid2", true, true);
        check(ExpireType::Static, "epid1", true, false);
        let mut it = Publications::default();
        let minute = Publication { expires: Some(60), ..note(200, 0, ExpireType::Time) };
        publish(&mut it, &[minute]).unwrap();
        let end = NOW + Duration::from_secs(60);
        assert_eq!(it.deadline(), Some(end));
        assert_eq!(it.expire(NOW), Changed::new());
        assert_eq!(it.expire(end), Changed::from([("note".to_owned(), 200)]));
        assert_eq!(it.deadline(), None);
    }

    #[test]
    fn limits() {
        let mut it = Publications::default();
        let check = |it: &mut Publications, publications: &[Publication]| {
            assert!(matches!(publish(it, publications), Err(Rejected::TooMuch(_))));
            assert_eq!(it.owned(None), []);
        };
        let many: Vec<_> = (0..=MAX_PUBLICATIONS as u32).map(|n| note(n, 0, ExpireType::Static)).collect();
        check(&mut it, &many);
        let large = Element::new("urn:n", "note").with_text(&"x".repeat(MAX_PUBLICATION));
        check(&mut it, &[Publication { data: Some(large), ..note(200, 0, ExpireType::Static) }]);
        let named = Publication { category: "x".repeat(MAX_CATEGORY + 1), ..note(2, 0, ExpireType::Static) };
        check(&mut it, &[named]);
        let state = Publication { category: STATE.into(), ..note(2, 0, ExpireType::Static) };
        assert!(matches!(publish(&mut it, &[state]), Err(Rejected::Malformed(_))));
    }
}
