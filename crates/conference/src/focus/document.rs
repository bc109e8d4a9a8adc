//! Step 7: what the documents of the event package `conference` hold (RFC 4575 §5, c3p §8.1).

use confab_schema::{
    conference_info::{
        ConfUri, ConferenceInfo, ConferenceState, ConferenceView, Description, EntityMedia, EntityView,
        Organizer, State, User, Users,
    },
    uri::{McuType, UserUri},
};

use super::Focus;
use crate::policy;

impl Focus {
    /// Everything that `user` may know.
    pub(super) fn full_info(&self, user: &UserUri) -> ConferenceInfo {
        let mut document = self.full_info_for_all();
        if let Some(users) = &mut document.users
            && !self.is_listed(user)
        {
            users.users.extend(self.roster.document(user));
        }
        if self.keeps_lobby(user) {
            document.users.get_or_insert_default().users.extend(self.all_waiting());
        }
        document
    }

    /// Everything that everybody may know: in a large meeting without the attendees, each of whom
    /// knows of himself besides.
    pub(super) fn full_info_for_all(&self) -> ConferenceInfo {
        let mut document = ConferenceInfo::full(self.record.uri.to_string(), self.changes.version());
        document.description = Some(self.description());
        document.conference_state = self.head_count();
        // Nobody looks through a large meeting for the few who stand out.
        let users = match self.changes.known() {
            Some(known) => self.documents(known.iter().filter(|user| self.stands_out(user))),
            None => self.documents(self.roster.users()),
        };
        document.users = Some(Users { state: State::Full, users });
        document.view = Some(self.conference_view(State::Full));
        document
    }

    fn documents<'a>(&self, people: impl Iterator<Item = &'a UserUri>) -> Vec<User> {
        people.filter_map(|user| self.roster.document(user)).collect()
    }

    /// Whether everybody is told of this person, if he is in.
    pub(super) fn is_listed(&self, user: &UserUri) -> bool {
        !self.changes.is_large() || self.stands_out(user)
    }

    /// Whether he is told of even in a large meeting.
    pub(super) fn stands_out(&self, user: &UserUri) -> bool {
        self.roster.role(user).is_some_and(policy::stands_out)
    }

    /// How many people are in, where not all of them are listed.
    pub(super) fn head_count(&self) -> Option<ConferenceState> {
        let count = u32::try_from(self.roster.len()).unwrap_or(u32::MAX);
        self.changes
            .is_large()
            .then(|| ConferenceState { user_count: Some(count), ..ConferenceState::default() })
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
            lobby: record.lobby.then_some(true),
            ..Description::default()
        }
    }

    /// The lock, in the view of the Focus and of each MCU: pidgin-sipe looks only at the chat one.
    pub(super) fn conference_view(&self, state: State) -> ConferenceView {
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
            media: entity_media(media),
            rules: self.rules.of(media).cloned(),
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

/// What a conferencing server serves: clients look for the word of a stream, not of a server.
fn entity_media(media: McuType) -> Vec<EntityMedia> {
    let kind = if media == McuType::AudioVideo { "audio" } else { media.as_str() };
    let label = if media == McuType::AudioVideo { "main-audio" } else { media.as_str() };
    vec![EntityMedia { label: label.to_owned(), ..EntityMedia::new(kind) }]
}
