//! Who has subscribed to what, indexed by everything that can end or concern a subscription.

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::Time;
use confab_schema::{provisioning::GroupRequest, roaming::RoamingList, uri::UserUri};
use confab_sip::{DialogId, Flow, Subscription};

/// Most subscriptions of one user.
pub const MAX_SUBSCRIPTIONS: usize = 256;
/// Most subscriptions of all users.
pub const MAX_ALL_SUBSCRIPTIONS: usize = 500_000;
/// Most people one subscription watches.
pub const MAX_WATCHED: usize = 1000;

/// One client's subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    /// Whose client.
    pub user: UserUri,
    /// Which of his clients.
    pub epid: Option<String>,
    /// The way it came, which notifications go back.
    pub flow: Flow,
    pub subscription: Subscription,
    pub topic: Topic,
}

/// What a client has subscribed to. All but presence is its user's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Topic {
    Contacts,
    Roaming(RoamingList),
    /// The first version, which clients of 2005 ask for.
    OldProvisioning,
    Provisioning(GroupRequest),
    AccessList,
    WaitingWatchers,
    Presence(Watch),
}

/// Whom a client watches, and how it wants to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watch {
    pub format: Format,
    /// Of a batch the number of its next notification; `None` watches one.
    pub batch: Option<u32>,
    pub people: BTreeMap<UserUri, Watched>,
    /// Names of categories; empty = the usual ones.
    pub categories: Vec<String>,
}

/// The documents presence is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Categories,
    Pidf,
}

/// One of the people a client watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// His address as the client wrote it.
    pub address: String,
    pub display_name: String,
    /// A digest of what was told last, so that nothing is told twice.
    pub told: u64,
}

/// All subscriptions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions {
    all: BTreeMap<DialogId, Subscriber>,
    by_expiry: BTreeSet<(Time, DialogId)>,
    by_flow: BTreeMap<Flow, BTreeSet<DialogId>>,
    by_user: BTreeMap<UserUri, BTreeSet<DialogId>>,
    by_watched: BTreeMap<UserUri, BTreeSet<DialogId>>,
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many subscriptions `user` has made.
    pub fn count(&self, user: &UserUri) -> usize {
        self.by_user.get(user).map_or(0, BTreeSet::len)
    }

    pub fn get(&self, id: &DialogId) -> Option<&Subscriber> {
        self.all.get(id)
    }

    /// The subscriptions `user` has made.
    pub fn of(&self, user: &UserUri) -> Vec<DialogId> {
        ids(self.by_user.get(user))
    }

    /// The subscriptions by which `user` is watched.
    pub fn watching(&self, user: &UserUri) -> Vec<DialogId> {
        ids(self.by_watched.get(user))
    }

    pub fn put(&mut self, subscriber: Subscriber) {
        let id = subscriber.subscription.dialog().id();
        self.by_expiry.insert((subscriber.subscription.expires_at(), id.clone()));
        self.by_flow.entry(subscriber.flow).or_default().insert(id.clone());
        self.by_user.entry(subscriber.user.clone()).or_default().insert(id.clone());
        for person in subscriber.people() {
            self.by_watched.entry(person.clone()).or_default().insert(id.clone());
        }
        self.all.insert(id, subscriber);
    }

    pub fn take(&mut self, id: &DialogId) -> Option<Subscriber> {
        let subscriber = self.all.remove(id)?;
        self.by_expiry.remove(&(subscriber.subscription.expires_at(), id.clone()));
        remove(&mut self.by_flow, &subscriber.flow, id);
        remove(&mut self.by_user, &subscriber.user, id);
        for person in subscriber.people() {
            remove(&mut self.by_watched, person, id);
        }
        Some(subscriber)
    }

    /// Changes a subscription, but neither its flow nor whom it watches: so that telling a thousand
    /// watchers does not sort them anew.
    pub fn modify<T>(&mut self, id: &DialogId, change: impl FnOnce(&mut Subscriber) -> T) -> Option<T> {
        let subscriber = self.all.get_mut(id)?;
        let before = subscriber.subscription.expires_at();
        let result = change(subscriber);
        let after = subscriber.subscription.expires_at();
        if before != after {
            self.by_expiry.remove(&(before, id.clone()));
            self.by_expiry.insert((after, id.clone()));
        }
        Some(result)
    }

    pub fn flow_closed(&mut self, flow: Flow) {
        for id in ids(self.by_flow.get(&flow)) {
            self.take(&id);
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        self.by_expiry.first().map(|(time, _)| *time)
    }

    /// Takes out a subscription whose time is up.
    pub fn take_expired(&mut self, now: Time) -> Option<Subscriber> {
        let (_, id) = self.by_expiry.first().filter(|(time, _)| *time <= now).cloned()?;
        self.take(&id)
    }
}

impl Subscriber {
    fn people(&self) -> impl Iterator<Item = &UserUri> {
        let watch = match &self.topic {
            Topic::Presence(watch) => Some(watch),
            _ => None,
        };
        watch.into_iter().flat_map(|watch| watch.people.keys())
    }
}

fn ids(set: Option<&BTreeSet<DialogId>>) -> Vec<DialogId> {
    set.into_iter().flatten().cloned().collect()
}

fn remove<K: Ord>(index: &mut BTreeMap<K, BTreeSet<DialogId>>, key: &K, id: &DialogId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
