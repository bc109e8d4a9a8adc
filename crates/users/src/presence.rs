//! Presence: what users publish about themselves, and what of it each watcher sees (MS-PRES).
//!
//! What a user publishes goes into containers; what a watcher sees is the container he is a member
//! of. States go into two containers that nobody is a member of: from each the server makes one
//! aggregate ([`aggregate`](aggregate::aggregate)), which all others see.

mod aggregate;
mod containers;
mod publications;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::Time;
use confab_schema::{
    categories::{Categories, Category, ExpireType},
    presence::{State, StateKind},
    publication::{Publish, SetContainerMembers, SetSubscribers, WrongDelta},
    roaming::{Container, Subscriber},
    uri::UserUri,
};

use aggregate::class;
use containers::Containers;
pub use containers::{MAX_CONTAINERS, MAX_MEMBER, MAX_MEMBERS};
pub(crate) use publications::Changed;
use publications::Publications;
use publications::STATE;
pub use publications::{MAX_CATEGORY, MAX_PUBLICATION, MAX_PUBLICATIONS, MAX_PUBLISHED};
pub(crate) use view::USUAL_CATEGORIES;

/// Most watchers one user can have acknowledged.
pub const MAX_SUBSCRIBERS: usize = 1000;

/// Where the inputs lie whose aggregate most people see, without the subjects of meetings.
const INPUT: u32 = 2;
/// Where the inputs lie whose aggregate close colleagues see.
const WORKGROUP_INPUT: u32 = 3;
/// The instance of the aggregate.
const AGGREGATE_INSTANCE: u32 = 1;

/// The presence of all users.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    people: BTreeMap<UserUri, Presentity>,
    by_deadline: BTreeSet<(Time, UserUri)>,
}

/// Why something is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It follows versions that are not the current ones.
    Stale(WrongDelta),
    /// The data cannot be read.
    Malformed(String),
    /// A limit is reached, and in a sentence which.
    TooMuch(String),
}

/// One user whose presence there is.
#[derive(Clone, Debug)]
struct Presentity {
    signed_in: bool,
    publications: Publications,
    containers: Containers,
    subscribers: BTreeMap<UserUri, bool>,
    /// The aggregates of both inputs.
    states: [State; 2],
    /// Counts the changes of the aggregates.
    version: u32,
    /// When they changed last.
    changed: Option<Time>,
    /// When the user was last at one of his devices, if he is at none now.
    last_active: Option<Time>,
    /// When the next publication ends, as it stands in the index.
    deadline: Option<Time>,
}

impl Presence {
    /// An endpoint of `user` publishes; all or nothing.
    pub fn publish(
        &mut self,
        now: Time,
        user: &UserUri,
        epid: &str,
        request: &Publish,
    ) -> Result<Changed, Rejected> {
        let mut changed = self.edit(user, |person| person.publications.apply(now, epid, request))?;
        changed.extend(self.refresh(now, user));
        Ok(changed)
    }

    /// `user` says who sees what; all or nothing. Returns the containers that have changed.
    pub fn set_members(
        &mut self,
        user: &UserUri,
        request: &SetContainerMembers,
    ) -> Result<BTreeSet<u32>, Rejected> {
        self.edit(user, |person| person.containers.apply(request))
    }

    /// `user` says which of his watchers he knows of.
    pub fn set_subscribers(&mut self, user: &UserUri, request: &SetSubscribers) -> Result<(), Rejected> {
        self.edit(user, |person| {
            let mut subscribers = person.subscribers.clone();
            for (address, acknowledged) in &request.subscribers {
                let address = format!("sip:{}", confab_schema::publication::bare(address));
                let watcher =
                    UserUri::parse(&address).map_err(|fault| Rejected::Malformed(fault.to_string()))?;
                subscribers.insert(watcher, *acknowledged);
            }
            if subscribers.len() > MAX_SUBSCRIBERS {
                let sentence = format!("There can be {MAX_SUBSCRIBERS} known watchers.");
                return Err(Rejected::TooMuch(sentence));
            }
            person.subscribers = subscribers;
            Ok(())
        })
    }

    /// `user` has an endpoint. Returns what has changed by that.
    pub fn signed_in(&mut self, now: Time, user: &UserUri) -> Changed {
        self.people.entry(user.clone()).or_default().signed_in = true;
        self.refresh(now, user)
    }

    /// An endpoint of `user` has signed out, the last one or not. Returns what has changed by that.
    pub fn signed_out(&mut self, now: Time, user: &UserUri, epid: Option<&str>, last: bool) -> Changed {
        let Some(person) = self.people.get_mut(user) else { return Changed::new() };
        person.signed_in = !last;
        let mut changed = person.publications.endpoint_gone(epid, last);
        changed.extend(self.refresh(now, user));
        changed
    }

    /// When the next publication ends by its time.
    pub fn deadline(&self) -> Option<Time> {
        self.by_deadline.first().map(|(time, _)| *time)
    }

    /// Takes away what has ended, and returns whose it was.
    pub fn expire(&mut self, now: Time) -> Vec<(UserUri, Changed)> {
        let mut all = Vec::new();
        while let Some((_, user)) = self.by_deadline.first().filter(|(time, _)| *time <= now).cloned() {
            let person = self.people.get_mut(&user).expect("only people who publish are in the index");
            let mut changed = person.publications.expire(now);
            changed.extend(self.refresh(now, &user));
            all.push((user, changed));
        }
        all
    }

    /// What `user` is told of his own publications: those of the categories in `changed`, or all.
    pub fn owned(&self, user: &UserUri, changed: Option<&Changed>) -> Categories {
        let mut categories = Vec::new();
        if let Some(person) = self.people.get(user) {
            categories = person.publications.owned(changed);
            if changed.is_none_or(|changed| changed.iter().any(|(name, _)| name == STATE)) {
                categories.extend(person.owned_aggregates());
            }
        }
        Categories { uri: user.to_string(), categories }
    }

    /// The containers of `user`, or those of `ids`.
    pub fn containers(&self, user: &UserUri, ids: Option<&BTreeSet<u32>>) -> Vec<Container> {
        self.people.get(user).map(|person| person.containers.list(ids)).unwrap_or_default()
    }

    /// The watchers `user` knows of.
    pub fn subscribers(&self, user: &UserUri) -> Vec<Subscriber> {
        let known = self.people.get(user).into_iter().flat_map(|person| &person.subscribers);
        known
            .map(|(watcher, acknowledged)| Subscriber {
                user: format!("{}@{}", watcher.user(), watcher.domain()),
                display_name: None,
                acknowledged: *acknowledged,
            })
            .collect()
    }

    /// Changes a person, and forgets one about whom there is nothing to know.
    fn edit<T>(
        &mut self,
        user: &UserUri,
        change: impl FnOnce(&mut Presentity) -> Result<T, Rejected>,
    ) -> Result<T, Rejected> {
        let result = change(self.people.entry(user.clone()).or_default());
        self.forget_if_blank(user);
        result
    }

    /// Makes the aggregates anew. Returns what has changed.
    fn refresh(&mut self, now: Time, user: &UserUri) -> Changed {
        let Some(person) = self.people.get_mut(user) else { return Changed::new() };
        let mut changed = Changed::new();
        if person.refresh(now) {
            changed.extend([INPUT, WORKGROUP_INPUT].map(|container| (STATE.to_owned(), container)));
        }
        let deadline = person.publications.deadline();
        if let Some(old) = std::mem::replace(&mut person.deadline, deadline) {
            self.by_deadline.remove(&(old, user.clone()));
        }
        self.by_deadline.extend(deadline.map(|time| (time, user.clone())));
        self.forget_if_blank(user);
        changed
    }

    fn forget_if_blank(&mut self, user: &UserUri) {
        if self.people.get(user).is_some_and(Presentity::is_blank) {
            self.people.remove(user);
        }
    }
}

impl Default for Presentity {
    fn default() -> Presentity {
        let offline = State::new(StateKind::AggregateState, aggregate::OFFLINE);
        Presentity {
            signed_in: false,
            publications: Publications::default(),
            containers: Containers::default(),
            subscribers: BTreeMap::new(),
            states: [offline.clone(), offline],
            version: 0,
            changed: None,
            last_active: None,
            deadline: None,
        }
    }
}

impl Presentity {
    fn refresh(&mut self, now: Time) -> bool {
        let [mut most, mut workgroup] = [INPUT, WORKGROUP_INPUT]
            .map(|input| aggregate::aggregate(self.signed_in, self.publications.states(input)));
        most.meeting_subject = None;
        most.meeting_location = None;
        let is_active = |state: &State| state.availability < class::AVAILABLE_IDLE;
        if is_active(&most) {
            self.last_active = None;
        } else if is_active(&self.states[0]) {
            self.last_active = Some(now);
        }
        most.last_active = self.last_active;
        workgroup.last_active = self.last_active;
        let states = [most, workgroup];
        let has_changed = states != self.states;
        if has_changed {
            self.states = states;
            self.version += 1;
            self.changed = Some(now);
        }
        has_changed
    }

    /// The aggregates as their owner is told of them, so that each of his clients shows what others
    /// see.
    // Deviation: documented for the containers watchers see; to the owner they are told with the
    // inputs they are made of, which is where pidgin-sipe looks for them.
    fn owned_aggregates(&self) -> impl Iterator<Item = Category> {
        [INPUT, WORKGROUP_INPUT].into_iter().zip(&self.states).map(|(container, state)| Category {
            instance: Some(AGGREGATE_INSTANCE),
            container: Some(container),
            version: Some(self.version),
            publish_time: self.changed,
            expire_type: Some(ExpireType::Static),
            data: Some(state.to_element()),
            ..Category::new(STATE)
        })
    }

    fn is_blank(&self) -> bool {
        !self.signed_in
            && self.publications.is_empty()
            && self.containers.is_empty()
            && self.subscribers.is_empty()
    }
}
