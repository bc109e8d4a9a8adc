//! The conference as the Focus tells it: full and partial documents of the event package
//! `conference` (RFC 4575 §4) merged into one picture. Step 7.

use std::collections::BTreeMap;

use confab_schema::{
    conference_info::{self, ConferenceInfo, Endpoint, JoiningMethod, Role, State, User},
    uri::{McuType, McuUri, UserUri},
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// How many people a roster keeps; a server that names more is not believed.
pub const MAX_PARTICIPANTS: usize = 10_000;
/// How many endpoints of one person a roster keeps.
pub const MAX_ENDPOINTS: usize = 64;
/// How many servers of one conference a roster keeps.
const MAX_VIEWS: usize = 32;

/// Who is in the conference, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    version: Option<u32>,
    subject: String,
    organizer: Option<String>,
    locked: bool,
    participants: IndexMap<UserUri, Participant>,
    head_count: Option<usize>,
    /// Where each medium's conferencing server is.
    mcus: BTreeMap<McuType, McuUri>,
    /// The servers that are up: the URIs of the entity views.
    views: BTreeMap<String, bool>,
}

/// One person, however many endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// His address.
    pub user: UserUri,
    /// What he is called.
    pub display_name: Option<String>,
    /// What he may do.
    pub role: Role,
    /// His programs and phones, in the order they came.
    pub endpoints: Vec<Leg>,
}

impl Participant {
    /// Whether one of his endpoints is connected to this medium.
    pub fn is_on(&self, media: McuType) -> bool {
        self.endpoints.iter().any(|leg| leg.connected && leg.session == media.as_str())
    }

    /// Whether he waits in the lobby until a leader lets him in; leaders and he himself see it.
    pub fn waits(&self) -> bool {
        self.endpoints.iter().any(|leg| leg.on_hold)
    }
}

/// One endpoint of a person at one server of the conference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The endpoint's name, which commands about it carry.
    pub entity: String,
    /// `focus`, or the medium: `chat`, `audio-video` …
    pub session: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is kept waiting.
    pub on_hold: bool,
    /// Whether the conference called it, rather than the other way round.
    pub dialed_out: bool,
}

/// What a document changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RosterChange {
    /// Everything is as this says.
    Snapshot(Box<Roster>),
    /// Somebody came in, or something about him changed; this is all about him.
    Changed(Participant),
    /// Somebody is no longer in.
    Left {
        /// Who.
        user: UserUri,
    },
    /// The conference was locked or unlocked.
    Locked {
        /// Whether nobody else gets in.
        locked: bool,
    },
    /// So many people are in now, of whom not all are named.
    Count {
        /// How many.
        people: usize,
    },
    /// The conference has another subject.
    Subject {
        /// The new one.
        subject: String,
    },
}

/// What became of a document.
#[derive(Debug, PartialEq)]
pub(crate) enum Applied {
    /// It was merged; these are the changes, possibly none.
    Changed(Vec<RosterChange>),
    /// It was older than what we know.
    Outdated,
    /// Some document before it is missing: ask for a full one.
    Gap,
    /// The conference is over.
    Deleted,
}

impl Roster {
    /// The version of the newest document.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// What the conference is about; may be empty.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the organizer is called.
    pub fn organizer(&self) -> Option<&str> {
        self.organizer.as_deref()
    }

    /// Whether nobody else gets in.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// How many people are in, if the meeting is so large that only the presenters among them are
    /// named, and oneself.
    pub fn head_count(&self) -> Option<usize> {
        self.head_count
    }

    /// The people who are named, in the order they came.
    pub fn participants(&self) -> impl ExactSizeIterator<Item = &Participant> {
        self.participants.values()
    }

    /// One of them.
    pub fn participant(&self, user: &UserUri) -> Option<&Participant> {
        self.participants.get(user)
    }

    /// Where the conferencing server for `media` is.
    pub fn mcu(&self, media: McuType) -> Option<&McuUri> {
        self.mcus.get(&media)
    }

    /// Whether the conferencing server for `media` is up.
    pub(crate) fn is_up(&self, media: McuType) -> bool {
        self.mcu(media).is_some_and(|mcu| self.views.contains_key(&mcu.to_string()))
    }

    /// Merges a document. `refreshed` says that a full one was asked for and is believed
    /// whatever its version is.
    pub(crate) fn apply(&mut self, document: &ConferenceInfo, refreshed: bool) -> Applied {
        let known = self.version;
        let stale = known.is_some_and(|known| document.version <= known);
        match document.state {
            State::Deleted => Applied::Deleted,
            State::Full if stale && !refreshed => Applied::Outdated,
            State::Full => {
                *self = Roster { version: Some(document.version), ..Roster::default() };
                self.merge(document);
                Applied::Changed(vec![RosterChange::Snapshot(Box::new(self.clone()))])
            }
            State::Partial => match known {
                _ if stale => Applied::Outdated,
                Some(known) if document.version == known.saturating_add(1) => {
                    self.version = Some(document.version);
                    Applied::Changed(self.merge(document))
                }
                _ => Applied::Gap,
            },
        }
    }

    fn merge(&mut self, document: &ConferenceInfo) -> Vec<RosterChange> {
        let mut changes = Vec::new();
        if let Some(description) = &document.description {
            self.describe(description, &mut changes);
        }
        if let Some(users) = &document.users {
            if users.state == State::Full {
                let gone = |user: &UserUri| !users.users.iter().any(|other| other.entity_is(user));
                let left: Vec<UserUri> =
                    self.participants.keys().filter(|user| gone(user)).cloned().collect();
                for user in left {
                    self.participants.shift_remove(&user);
                    changes.push(RosterChange::Left { user });
                }
            }
            for user in &users.users {
                changes.extend(self.merge_user(user));
            }
        }
        if let Some(people) = document.conference_state.as_ref().and_then(|state| state.user_count)
            && let people = people as usize
            && self.head_count.replace(people) != Some(people)
        {
            changes.push(RosterChange::Count { people });
        }
        if let Some(view) = &document.view {
            self.merge_view(view, document, &mut changes);
        }
        changes
    }

    fn describe(&mut self, description: &conference_info::Description, changes: &mut Vec<RosterChange>) {
        if let Some(subject) = &description.subject
            && *subject != self.subject
        {
            self.subject.clone_from(subject);
            changes.push(RosterChange::Subject { subject: subject.clone() });
        }
        if let Some(organizer) = &description.organizer
            && organizer.display_name.is_some()
        {
            self.organizer.clone_from(&organizer.display_name);
        }
        for entry in &description.conf_uris {
            if let Ok(mcu) = McuUri::parse(&entry.uri) {
                self.mcus.insert(mcu.media, mcu);
            }
        }
    }

    fn merge_user(&mut self, user: &User) -> Option<RosterChange> {
        let address = UserUri::parse(&user.entity).ok()?;
        if user.state == State::Deleted {
            return self.participants.shift_remove(&address).map(|_| RosterChange::Left { user: address });
        }
        if self.participants.len() >= MAX_PARTICIPANTS && !self.participants.contains_key(&address) {
            return None;
        }
        let before = self.participants.get(&address).cloned();
        let partial = user.state == State::Partial;
        let mut participant = match &before {
            Some(before) if partial => before.clone(),
            _ => Participant {
                user: address.clone(),
                display_name: None,
                role: Role::Attendee,
                endpoints: Vec::new(),
            },
        };
        if user.display_text.is_some() {
            participant.display_name.clone_from(&user.display_text);
        }
        if !user.roles.is_empty() {
            let leads = user.roles.contains(&Role::Presenter);
            participant.role = if leads { Role::Presenter } else { Role::Attendee };
        }
        for endpoint in &user.endpoints {
            merge_endpoint(&mut participant.endpoints, endpoint);
        }
        if before.as_ref() == Some(&participant) {
            return None;
        }
        self.participants.insert(address, participant.clone());
        Some(RosterChange::Changed(participant))
    }

    fn merge_view(
        &mut self,
        view: &conference_info::ConferenceView,
        document: &ConferenceInfo,
        changes: &mut Vec<RosterChange>,
    ) {
        if view.state == State::Full {
            self.views.clear();
        }
        for entity in &view.entity_views {
            if entity.state == State::Deleted {
                self.views.remove(&entity.entity);
            } else if self.views.len() >= MAX_VIEWS && !self.views.contains_key(&entity.entity) {
                break;
            } else if let Some(locked) = entity.locked {
                self.views.insert(entity.entity.clone(), locked);
            } else {
                self.views.entry(entity.entity.clone()).or_insert(false);
            }
        }
        // The Focus' own view decides; a server that has none says it in those of its MCUs.
        let locked = match self.views.get(&document.entity) {
            Some(locked) => *locked,
            None => self.views.values().any(|locked| *locked),
        };
        if locked != self.locked {
            self.locked = locked;
            changes.push(RosterChange::Locked { locked });
        }
    }
}

fn merge_endpoint(legs: &mut Vec<Leg>, endpoint: &Endpoint) {
    let at = legs.iter().position(|leg| leg.entity == endpoint.entity);
    if endpoint.state == State::Deleted {
        if let Some(at) = at {
            legs.remove(at);
        }
        return;
    }
    let known = at.map(|at| legs[at].clone()).filter(|_| endpoint.state == State::Partial);
    let leg = Leg {
        entity: endpoint.entity.clone(),
        session: endpoint
            .session_type
            .clone()
            .or(known.as_ref().map(|leg| leg.session.clone()))
            .unwrap_or_default(),
        connected: endpoint.status.map_or(known.as_ref().is_some_and(|leg| leg.connected), |status| {
            status == conference_info::EndpointStatus::Connected
        }),
        on_hold: endpoint.status.map_or(known.as_ref().is_some_and(|leg| leg.on_hold), |status| {
            status == conference_info::EndpointStatus::OnHold
        }),
        dialed_out: endpoint
            .joining_method
            .map_or(known.is_some_and(|leg| leg.dialed_out), |method| method == JoiningMethod::DialedOut),
    };
    match at {
        Some(at) => legs[at] = leg,
        None if legs.len() < MAX_ENDPOINTS => legs.push(leg),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use confab_schema::conference_info::{
        ConferenceState, ConferenceView, EndpointStatus, EntityView, Users,
    };

    use super::*;

    const FOCUS: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:ABCD1234";

    fn endpoint(entity: &str, state: State, status: Option<EndpointStatus>) -> Endpoint {
        Endpoint { state, status, session_type: Some("chat".to_owned()), ..Endpoint::new(entity) }
    }

    fn ann(state: State, endpoints: Vec<Endpoint>) -> User {
        User { state, endpoints, ..User::new("sip:ann@example.test") }
    }

    fn document(state: State, version: u32, users: Vec<User>) -> ConferenceInfo {
        let users = Some(Users { state, users });
        ConferenceInfo { state, users, ..ConferenceInfo::full(FOCUS, version) }
    }

    /// The endpoints of ann after `user` was merged into a roster where `{a}` is connected.
    #[track_caller]
    fn check(user: User, expect: &[(&str, bool)]) {
        let mut roster = Roster::default();
        let connected = endpoint("{a}", State::Full, Some(EndpointStatus::Connected));
        roster.apply(&document(State::Full, 1, vec![ann(State::Full, vec![connected])]), false);
        roster.apply(&document(State::Partial, 2, vec![user]), false);
        let participants = roster.participants().flat_map(|participant| &participant.endpoints);
        let legs: Vec<_> = participants.map(|leg| (leg.entity.as_str(), leg.connected)).collect();
        assert_eq!(legs, expect);
    }

    #[test]
    fn a_full_user_replaces_and_a_partial_one_adds() {
        let pending = || endpoint("{b}", State::Full, Some(EndpointStatus::Pending));
        check(ann(State::Full, vec![pending()]), &[("{b}", false)]);
        check(ann(State::Partial, vec![pending()]), &[("{a}", true), ("{b}", false)]);
        check(ann(State::Partial, vec![endpoint("{a}", State::Deleted, None)]), &[]);
        check(ann(State::Partial, vec![endpoint("{a}", State::Partial, None)]), &[("{a}", true)]);
        check(ann(State::Partial, vec![endpoint("{a}", State::Full, None)]), &[("{a}", false)]);
        check(ann(State::Deleted, vec![]), &[]);
    }

    #[test]
    fn a_large_meeting_is_counted() {
        let mut roster = Roster::default();
        let counted = |document: ConferenceInfo, people| {
            let state = ConferenceState { user_count: Some(people), ..ConferenceState::default() };
            ConferenceInfo { conference_state: Some(state), ..document }
        };
        let bob = || User::deleted("sip:bob@example.test");
        let all = vec![ann(State::Full, Vec::new()), User::new("sip:bob@example.test")];
        roster.apply(&document(State::Full, 1, all.clone()), false);
        assert_eq!(roster.head_count(), None);
        // It became large: bob is one of many now.
        let large = counted(document(State::Full, 2, vec![ann(State::Full, Vec::new()), bob()]), 501);
        assert!(matches!(roster.apply(&large, false), Applied::Changed(changes) if changes.len() == 1));
        assert_eq!((roster.head_count(), roster.participants().len()), (Some(501), 1));
        let same = counted(document(State::Partial, 3, Vec::new()), 501);
        assert_eq!(roster.apply(&same, false), Applied::Changed(Vec::new()));
        let more = counted(document(State::Partial, 4, Vec::new()), 502);
        let counted = RosterChange::Count { people: 502 };
        assert_eq!(roster.apply(&more, false), Applied::Changed(vec![counted]));
        roster.apply(&document(State::Full, 5, all), false);
        assert_eq!((roster.head_count(), roster.participants().len()), (None, 2));
    }

    #[test]
    fn versions_decide_what_is_believed() {
        let mut roster = Roster::default();
        let mut check = |state, version, refreshed, expect: &str| {
            let applied = format!("{:?}", roster.apply(&document(state, version, Vec::new()), refreshed));
            assert!(applied.starts_with(expect), "{state:?} {version}: {applied}");
        };
        check(State::Partial, 1, false, "Gap");
        check(State::Full, 4, false, "Changed");
        check(State::Full, 4, false, "Outdated");
        check(State::Full, 4, true, "Changed");
        check(State::Partial, 4, false, "Outdated");
        check(State::Partial, 5, false, "Changed([])");
        check(State::Partial, 7, false, "Gap");
        check(State::Full, 9, false, "Changed");
        check(State::Full, 1, true, "Changed");
        check(State::Deleted, 2, false, "Deleted");
    }

    #[test]
    fn the_lock_is_told_by_the_focus_or_else_by_any_server() {
        let chat = FOCUS.replace("focus", "chat");
        let view = |entity: &str, locked| EntityView {
            entity: entity.to_owned(),
            locked: Some(locked),
            ..EntityView::default()
        };
        for (entity_views, expect) in [
            (vec![view(&chat, true)], true),
            (vec![view(&chat, true), view(FOCUS, false)], false),
            (vec![view(&chat, false), view(FOCUS, true)], true),
            (vec![], false),
        ] {
            let mut roster = Roster::default();
            let view = Some(ConferenceView { state: State::Full, entity_views });
            roster.apply(&ConferenceInfo { view, ..ConferenceInfo::full(FOCUS, 1) }, false);
            assert_eq!(roster.locked(), expect);
        }
    }
}
