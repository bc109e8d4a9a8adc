//! A subscriber: it merges what it is told as RFC 4575 §4.6 says, and misses nothing.

use confab_schema::conference_info::{ConferenceInfo, Description, State, User};

/// What one subscriber knows.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    /// The whole, as merged from the documents.
    pub known: ConferenceInfo,
    /// How many partial documents came.
    pub partials: usize,
}

impl Watcher {
    /// The first document, or one asked for: always full.
    pub fn accepted(&mut self, document: ConferenceInfo) {
        assert_eq!(document.state, State::Full, "the first document is full");
        assert!(document.version >= self.known.version, "versions never go back");
        self.known = document;
        let users = &mut self.known.users.as_mut().expect("a full document has them").users;
        users.retain(|user| user.state != State::Deleted);
        users.sort_by(|one, other| one.entity.cmp(&other.entity));
    }

    /// A change, or everything in its place.
    pub fn notified(&mut self, document: ConferenceInfo) {
        if document.state == State::Full {
            assert!(document.version > self.known.version, "what is told is new");
            return self.accepted(document);
        }
        assert_eq!(document.version, self.known.version + 1, "a version never skips");
        assert_eq!(document.state, State::Partial);
        let told = document.users.is_some() || document.view.is_some() || document.conference_state.is_some();
        assert!(told, "a change has something to tell");
        self.partials += 1;
        self.known.version = document.version;
        if document.conference_state.is_some() {
            self.known.conference_state = document.conference_state;
        }
        for user in document.users.into_iter().flat_map(|users| users.users) {
            self.merge_user(user);
        }
        for view in document.view.into_iter().flat_map(|view| view.entity_views) {
            let known = &mut self.known.view.as_mut().expect("the full document has it").entity_views;
            if view.state == State::Deleted {
                known.retain(|other| other.entity != view.entity);
                continue;
            }
            known.retain(|other| other.entity != view.entity);
            known.push(view);
            known.sort_by(|one, other| one.entity.cmp(&other.entity));
        }
    }

    fn merge_user(&mut self, user: User) {
        let known = &mut self.known.users.as_mut().expect("the full document has them").users;
        known.retain(|other| other.entity != user.entity);
        // A user is always told completely: a client takes what is missing for gone.
        match user.state {
            State::Full => known.push(user),
            State::Partial => panic!("{user:?} is told in part"),
            State::Deleted => assert!(user.endpoints.is_empty()),
        }
        known.sort_by(|one, other| one.entity.cmp(&other.entity));
    }

    pub fn description(&self) -> &Description {
        self.known.description.as_ref().expect("the full document has it")
    }

    pub fn users(&self) -> &[User] {
        &self.known.users.as_ref().expect("the full document has them").users
    }

    /// Somebody, by the first part of his address.
    pub fn user(&self, who: &str) -> Option<&User> {
        self.users().iter().find(|user| user.entity == format!("sip:{who}@example.test"))
    }

    /// How many people are in, if they are counted.
    pub fn count(&self) -> Option<u32> {
        self.known.conference_state.as_ref().and_then(|state| state.user_count)
    }

    /// The names of those he knows of.
    pub fn names(&self) -> Vec<&str> {
        self.users()
            .iter()
            .filter_map(|user| Some(user.entity.strip_prefix("sip:")?.split_once('@')?.0))
            .collect()
    }

    /// The lock in each entity view, by entity.
    pub fn locks(&self) -> Vec<(&str, Option<bool>)> {
        let views = self.known.view.iter().flat_map(|view| &view.entity_views);
        views.map(|view| (view.entity.as_str(), view.locked)).collect()
    }
}
