//! Step 7: who is told what, and when: the conference state, full and partial, versioned (RFC 4575
//! §4, c3p §8).
//!
//! There is one version per conference. Each document raises it and goes to every subscriber, so
//! nobody's versions skip, and it is serialized once per view. The first change after a quiet time
//! leaves after [`GATHER`], and what comes of it meanwhile with it; those that follow within [`COALESCE`]
//! leave together.
//!
//! Presenters and attendees read the same, but for the lobby (`lobby.rs`). What only the organizer may
//! see (the conference key, his own data) is in nobody's document, and a Focus could not open the key if
//! it wished to.
//!
//! **A large meeting** has more people than [`MeetingPolicy::large_meeting`], and stays one until half of
//! them have left. There everybody is told of the presenters and
//! of how many people are in, and each attendee of himself besides. If an attendee joined, changed
//! or left, that is told of in numbers: by the next document for all, which holds the number
//! whatever else it is about. Those of whom there is news find their own entry in it, put into what
//! was printed once for everybody. So a personal document has no version of its own that others
//! would miss, and the work for all does not grow with the attendees who come and go: if nothing
//! but attendees changed, documents are [`REST`] apart for each subscriber that each must be sent
//! to. When a meeting becomes large or ceases to be, everybody gets a full document in place of the
//! change. It names as deleted who was told of before and is not in it.
//!
//! [`MeetingPolicy::large_meeting`]: crate::policy::MeetingPolicy::large_meeting

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    conference_info::{ConferenceInfo, State, User, Users, View},
    uri::UserUri,
};
use serde::{Deserialize, Serialize};

use super::{Action, Focus, PersonalDocument, SubscriptionId, lobby::LobbyChanges};

/// A change waits so long: whoever makes it has his answer before everybody is told, and that he joined and with what is
/// told together. Nobody sees it: it is half a picture on a screen.
const GATHER: Duration = Duration::from_millis(10);

/// Changes within this time of the last notification are sent together.
const COALESCE: Duration = Duration::from_millis(100);

/// In a large meeting, news of attendees rests for so long times the number of subscribers. To tell
/// one of them takes less than a tenth of it, so this is the share of a processor it can take up.
const REST: Duration = Duration::from_micros(200);

/// Who is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Subscribers {
    views: BTreeMap<SubscriptionId, (UserUri, View)>,
    of_user: BTreeMap<UserUri, BTreeSet<SubscriptionId>>,
}

impl Subscribers {
    pub(super) fn count(&self, user: &UserUri) -> usize {
        self.of_user.get(user).map_or(0, BTreeSet::len)
    }

    fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn add(&mut self, subscription: SubscriptionId, user: UserUri, view: View) {
        self.of_user.entry(user.clone()).or_default().insert(subscription);
        self.views.insert(subscription, (user, view));
    }

    /// Whose subscription it is, and in which form he reads.
    pub(super) fn reader(&self, subscription: SubscriptionId) -> Option<(&UserUri, View)> {
        self.views.get(&subscription).map(|(user, view)| (user, *view))
    }

    pub(super) fn remove(&mut self, subscription: SubscriptionId) {
        let Some((user, _)) = self.views.remove(&subscription) else { return };
        if let Some(of_user) = self.of_user.get_mut(&user) {
            of_user.remove(&subscription);
            if of_user.is_empty() {
                self.of_user.remove(&user);
            }
        }
    }

    pub(super) fn remove_user(&mut self, user: &UserUri) -> BTreeSet<SubscriptionId> {
        let subscriptions = self.of_user.remove(user).unwrap_or_default();
        for subscription in &subscriptions {
            self.views.remove(subscription);
        }
        subscriptions
    }

    /// Takes somebody's subscriptions out, to go on among other subscribers.
    pub(super) fn take_user(&mut self, user: &UserUri) -> Vec<(SubscriptionId, View)> {
        let views = &mut self.views;
        let subscriptions = self.of_user.remove(user).unwrap_or_default();
        subscriptions.into_iter().filter_map(|id| Some((id, views.remove(&id)?.1))).collect()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = SubscriptionId> + use<> {
        self.of_user.clear();
        std::mem::take(&mut self.views).into_keys()
    }

    pub(super) fn with_view(&self, wanted: View) -> Vec<SubscriptionId> {
        self.views.iter().filter(|(_, (_, view))| *view == wanted).map(|(id, _)| *id).collect()
    }

    pub(super) fn of_with_view(&self, user: &UserUri, wanted: View) -> Vec<SubscriptionId> {
        let all = self.of_user.get(user).into_iter().flatten();
        all.filter(|id| self.reader(**id).is_some_and(|(_, view)| view == wanted)).copied().collect()
    }
}

/// What subscribers have not been told yet, and what they have been.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    /// The version of the last document sent, or of the first to be sent.
    version: u32,
    users: BTreeSet<UserUri>,
    /// Whether the conference's own state changed: lock, or which MCUs are there.
    view: bool,
    /// Since when there is something of which everybody is told.
    since: Option<Time>,
    /// Since when there is news of attendees of a large meeting.
    slight_since: Option<Time>,
    last_sent: Option<Time>,
    /// Whether it is told as a large meeting.
    large: bool,
    /// In a large meeting, whomever subscribers may have been told of.
    known: BTreeSet<UserUri>,
    /// What has changed of the lobby.
    pub(super) lobby: LobbyChanges,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes {
            version: 1,
            users: BTreeSet::new(),
            view: false,
            since: None,
            slight_since: None,
            last_sent: None,
            large: false,
            known: BTreeSet::new(),
            lobby: LobbyChanges::default(),
        }
    }
}

impl Changes {
    /// The conference's own state changed.
    pub(super) fn view(&mut self, now: Time) {
        self.view = true;
        self.since.get_or_insert(now);
    }

    /// Somebody came into the lobby, changed or left it.
    pub(super) fn waiting(&mut self, now: Time, user: &UserUri) {
        self.lobby.people.insert(user.clone());
        self.since.get_or_insert(now);
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn is_large(&self) -> bool {
        self.large
    }

    /// In a large meeting, whomever subscribers may have been told of: all who stand out among them.
    pub(super) fn known(&self) -> Option<&BTreeSet<UserUri>> {
        self.large.then_some(&self.known)
    }

    /// When to send what has changed to so many subscribers.
    fn deadline(&self, subscribers: usize) -> Option<Time> {
        let at = |since: Time, pause| {
            let gathered = since + GATHER;
            self.last_sent.map_or(gathered, |sent| gathered.max(sent + pause))
        };
        let slight = REST.saturating_mul(u32::try_from(subscribers).unwrap_or(u32::MAX)).max(COALESCE);
        let dues =
            [self.since.map(|since| at(since, COALESCE)), self.slight_since.map(|since| at(since, slight))];
        dues.into_iter().flatten().min()
    }
}

impl Focus {
    pub(super) fn changes_deadline(&self) -> Option<Time> {
        self.changes.deadline(self.subscribers.len())
    }

    /// Somebody came, changed or went.
    pub(super) fn changed(&mut self, now: Time, user: &UserUri) {
        if self.lobby.roster.holds(user) {
            return self.changes.waiting(now, user);
        }
        let stands_out = self.stands_out(user);
        let changes = &mut self.changes;
        changes.users.insert(user.clone());
        if changes.large && stands_out {
            changes.known.insert(user.clone());
        }
        let slight = changes.large && !changes.known.contains(user);
        let since = if slight { &mut changes.slight_since } else { &mut changes.since };
        since.get_or_insert(now);
    }

    /// Sends what has changed to everybody, if anything has.
    pub(super) fn send_changes(&mut self, now: Time, out: &mut Vec<Action>) {
        let changes = &mut self.changes;
        if [changes.since.take(), changes.slight_since.take()] == [None, None] {
            return;
        }
        changes.last_sent = Some(now);
        changes.version += 1;
        let users = std::mem::take(&mut changes.users);
        let lobby = std::mem::take(&mut changes.lobby);
        // A change has something to tell to everybody, and versions do not skip for those who are not to
        // know of the lobby.
        let view = std::mem::take(&mut changes.view) || users.is_empty();
        let limit = self.policy.large_meeting;
        let large = self.roster.len() > if changes.large { limit / 2 } else { limit };
        if large != changes.large {
            self.tell_all_anew(large, users, &lobby, out);
            return;
        }
        let mut document = ConferenceInfo::partial(self.record.uri.to_string(), self.changes.version);
        document.conference_state = self.head_count();
        let (listed, own) = self.news(users);
        if !listed.is_empty() {
            document.users = Some(Users { state: State::Partial, users: listed });
        }
        if view {
            document.view = Some(self.conference_view(State::Partial));
        }
        self.tell(&document, &own, &lobby, out);
    }

    /// What there is to tell everybody of these people, and what each of some alone.
    fn news(&mut self, users: BTreeSet<UserUri>) -> (Vec<User>, Vec<(UserUri, User)>) {
        let (mut listed, mut own) = (Vec::new(), Vec::new());
        for user in users {
            let document = self.roster.document(&user);
            let is_listed = self.is_listed(&user);
            let known = &mut self.changes.known;
            match document {
                Some(document) if is_listed => listed.push(document),
                document => {
                    if known.remove(&user) || !self.changes.large {
                        listed.push(User::deleted(user.to_string()));
                    }
                    own.extend(document.map(|document| (user, document)));
                }
            }
        }
        (listed, own)
    }

    /// Sends everything to everybody, as of a large meeting or of one that is none.
    fn tell_all_anew(
        &mut self,
        large: bool,
        users: BTreeSet<UserUri>,
        lobby: &LobbyChanges,
        out: &mut Vec<Action>,
    ) {
        let known: BTreeSet<UserUri> = if large {
            users.into_iter().chain(self.roster.users().cloned()).collect()
        } else {
            std::mem::take(&mut self.changes.known)
        };
        self.changes.large = large;
        let (listed, others): (BTreeSet<UserUri>, BTreeSet<UserUri>) =
            known.into_iter().partition(|user| self.roster.role(user).is_some() && self.is_listed(user));
        if large {
            self.changes.known = listed;
        }
        let mut own = Vec::new();
        let mut document = self.full_info_for_all();
        let users = &mut document.users.get_or_insert_default().users;
        for user in others {
            // Deviation: a full document replaces all anyway, but pidgin-sipe merges it like any other.
            users.push(User::deleted(user.to_string()));
            own.extend(self.roster.document(&user).map(|person| (user, person)));
        }
        self.tell(&document, &own, lobby, out);
    }

    /// Sends a document to everybody, to those in `own` with what they alone are told, and to leaders with
    /// what has changed of the lobby.
    fn tell(
        &self,
        document: &ConferenceInfo,
        own: &[(UserUri, User)],
        lobby: &LobbyChanges,
        out: &mut Vec<Action>,
    ) {
        let version = document.version;
        for view in [View::Microsoft, View::Rfc4575] {
            let mut subscriptions = self.subscribers.with_view(view);
            if subscriptions.is_empty() {
                continue;
            }
            let (mut documents, mut apart) = self.tell_of_the_lobby(document, lobby, view);
            if own.is_empty() && apart.is_empty() {
                out.push(Action::Notify { subscriptions, document: document.to_bytes(view), version });
                continue;
            }
            let print = document.print(view);
            for (user, person) in own.iter().filter(|(user, _)| !lobby.turned.contains_key(user)) {
                let his = self.subscribers.of_with_view(user, view);
                if !his.is_empty() {
                    apart.extend(his.iter().copied());
                    documents.push(PersonalDocument { subscriptions: his, document: print.with(person) });
                }
            }
            subscriptions.retain(|subscription| !apart.contains(subscription));
            if !subscriptions.is_empty() {
                out.push(Action::Notify { subscriptions, document: print.document(), version });
            }
            if !documents.is_empty() {
                out.push(Action::NotifyEach { documents, version });
            }
        }
    }

    /// Everything, in place of the changes that a slow subscriber missed.
    pub(super) fn catch_up(&mut self, subscription: SubscriptionId, out: &mut Vec<Action>) {
        if let Some(document) = self.full_document(subscription) {
            let version = self.changes.version;
            out.push(Action::Notify { subscriptions: vec![subscription], document, version });
        }
    }

    /// Everything that a subscriber may know, in the form he reads.
    pub(super) fn full_document(&self, subscription: SubscriptionId) -> Option<Bytes> {
        if let Some((user, view)) = self.lobby.subscribers.reader(subscription) {
            return Some(self.waiting_info(user).to_bytes(view));
        }
        let (user, view) = self.subscribers.reader(subscription)?;
        Some(self.full_info(user).to_bytes(view))
    }
}
