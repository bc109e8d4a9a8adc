//! Step 7: the conference state, full and partial, versioned (RFC 4575, c3p §8).
//!
//! There is one version per conference and every change goes to every subscriber, serialized once
//! per view. The first change after a quiet time leaves at once; those that follow within
//! [`COALESCE`] leave together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    conference_info::{
        ConfUri, ConferenceInfo, ConferenceView, Description, EntityMedia, EntityView, Organizer, State,
        User, Users, View,
    },
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{Action, Focus, SubscriptionId};

/// Changes within this time of the last notification are sent together.
const COALESCE: Duration = Duration::from_millis(100);

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

    pub(super) fn add(&mut self, subscription: SubscriptionId, user: UserUri, view: View) {
        self.of_user.entry(user.clone()).or_default().insert(subscription);
        self.views.insert(subscription, (user, view));
    }

    pub(super) fn view(&self, subscription: SubscriptionId) -> Option<View> {
        self.views.get(&subscription).map(|(_, view)| *view)
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

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = SubscriptionId> + use<> {
        self.of_user.clear();
        std::mem::take(&mut self.views).into_keys()
    }

    fn with_view(&self, wanted: View) -> Vec<SubscriptionId> {
        self.views.iter().filter(|(_, (_, view))| *view == wanted).map(|(id, _)| *id).collect()
    }
}

/// What subscribers have not been told yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    /// The version of the last document sent, or of the first to be sent.
    version: u32,
    users: BTreeSet<UserUri>,
    /// Whether the conference's own state changed: lock, or which MCUs are there.
    view: bool,
    since: Option<Time>,
    last_sent: Option<Time>,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes { version: 1, users: BTreeSet::new(), view: false, since: None, last_sent: None }
    }
}

impl Changes {
    /// Somebody came, changed or went.
    pub(super) fn user(&mut self, now: Time, user: &UserUri) {
        self.users.insert(user.clone());
        self.since.get_or_insert(now);
    }

    /// The conference's own state changed.
    pub(super) fn view(&mut self, now: Time) {
        self.view = true;
        self.since.get_or_insert(now);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let since = self.since?;
        Some(self.last_sent.map_or(since, |sent| since.max(sent + COALESCE)))
    }
}

impl Focus {
    /// Sends what has changed to everybody, if anything has.
    pub(super) fn send_changes(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.changes.since.take().is_none() {
            return;
        }
        self.changes.last_sent = Some(now);
        self.changes.version += 1;
        let users: Vec<User> = std::mem::take(&mut self.changes.users)
            .into_iter()
            .map(|user| {
                self.roster.document(&user).unwrap_or_else(|| {
                    let mut gone = User::new(user.to_string());
                    gone.state = State::Deleted;
                    gone
                })
            })
            .collect();
        let mut document = ConferenceInfo::partial(self.record.uri.to_string(), self.changes.version);
        if !users.is_empty() {
            document.users = Some(Users { state: State::Partial, users });
        }
        if std::mem::take(&mut self.changes.view) {
            document.view = Some(self.conference_view(State::Partial));
        }
        for view in [View::Microsoft, View::Rfc4575] {
            let subscriptions = self.subscribers.with_view(view);
            if !subscriptions.is_empty() {
                let document = document.to_bytes(view);
                out.push(Action::Notify { subscriptions, document, version: self.changes.version });
            }
        }
    }

    /// Everything, in place of the changes that a slow subscriber missed.
    pub(super) fn catch_up(&mut self, subscription: SubscriptionId, out: &mut Vec<Action>) {
        if let Some(view) = self.subscribers.view(subscription) {
            let document = self.full_document(view);
            let version = self.changes.version;
            out.push(Action::Notify { subscriptions: vec![subscription], document, version });
        }
    }

    /// Everything, for somebody who subscribes or asks anew.
    pub(super) fn full_document(&self, view: View) -> Bytes {
        self.full_info().to_bytes(view)
    }

    pub(super) fn full_info(&self) -> ConferenceInfo {
        let mut document = ConferenceInfo::partial(self.record.uri.to_string(), self.changes.version);
        document.state = State::Full;
        document.description = Some(self.description());
        let users = self.roster.users().filter_map(|user| self.roster.document(user)).collect();
        document.users = Some(Users { state: State::Full, users });
        document.view = Some(self.conference_view(State::Full));
        document
    }

    fn description(&self) -> Description {
        let record = &self.record;
        let conf_uris = self.media.iter().map(|media| ConfUri {
            uri: record.uri.mcu(*media).to_string(),
            display_text: Some(media.as_str().into()),
            purpose: Some(media.as_str().into()),
        });
        Description {
            subject: Some(record.subject.clone()),
            conf_uris: conf_uris.collect(),
            conference_id: Some(record.uri.id.to_string()),
            expiry: Some(record.expires),
            last_update: Some(record.updated),
            is_active: Some(true),
            admission: Some(record.admission),
            organizer: Some(Organizer {
                display_name: Some(record.organizer().user().into()),
                uri: Some(record.organizer().to_string()),
            }),
            notification_data: record.notification_data.clone(),
            ..Description::default()
        }
    }

    /// The lock, in the view of the Focus and of each MCU: pidgin-sipe looks only at the chat one.
    fn conference_view(&self, state: State) -> ConferenceView {
        let locked = Some(self.record.locked);
        let mut entity_views = vec![EntityView {
            entity: self.record.uri.to_string(),
            state: State::Full,
            locked,
            ..EntityView::default()
        }];
        entity_views.extend(self.mcus.shown().map(|media| EntityView {
            entity: self.record.uri.mcu(media).to_string(),
            state: State::Full,
            locked,
            media: vec![EntityMedia::new(media.as_str())],
            ..EntityView::default()
        }));
        if state == State::Partial {
            // What is only left out of a change is still there for whoever reads it.
            let shown: Vec<McuType> = self.mcus.shown().collect();
            let gone = self.media.iter().filter(|media| !shown.contains(media));
            entity_views.extend(gone.map(|media| EntityView {
                entity: self.record.uri.mcu(*media).to_string(),
                state: State::Deleted,
                ..EntityView::default()
            }));
        }
        ConferenceView { state, entity_views }
    }
}
