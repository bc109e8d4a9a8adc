//! What the Focus is told: partial conference-info documents, each changed person with all his
//! endpoints here (c3p §8.2, §14).

use confab_schema::{
    conference_info::{ConferenceInfo, ConferenceView, EntityView, State, User, Users},
    uri::UserUri,
};

use super::{Medium, Room, roster};
use crate::Action;

impl<M: Medium> Room<M> {
    /// One document for all that changed since the last.
    pub(super) fn notify_changes(&mut self, out: &mut Vec<Action>) {
        let changes = std::mem::take(&mut self.changes);
        if self.ended || changes.people.is_empty() && !changes.view && !changes.news {
            return;
        }
        self.version += 1;
        let users: Vec<User> = changes.people.iter().map(|user| self.person(user)).collect();
        let mut document = ConferenceInfo::partial(self.conference.to_string(), self.version);
        document.users = (!users.is_empty()).then_some(Users { state: State::Partial, users });
        document.view = changes.view.then(|| self.view(State::Partial));
        self.medium.add_news(&mut document);
        out.push(Action::Notify(Box::new(document)));
    }

    /// Everything.
    pub(super) fn description(&self) -> ConferenceInfo {
        let mut users: Vec<User> = self.roster.people().map(|(user, _)| self.person(user)).collect();
        // What a successor needs is told as it changes; who asks wants to know who is in.
        users.iter_mut().flat_map(|user| &mut user.endpoints).for_each(|endpoint| endpoint.handover = None);
        let mut document = ConferenceInfo::full(self.conference.to_string(), self.version.max(1));
        document.users = Some(Users { state: State::Full, users });
        document.view = Some(self.view(State::Full));
        document
    }

    fn person(&self, user: &UserUri) -> User {
        let document = roster::document(&self.roster, &self.medium, user);
        document.unwrap_or_else(|| User::deleted(user.to_string()))
    }

    fn view(&self, state: State) -> ConferenceView {
        let mut view = EntityView::new(self.mcu_uri.to_string());
        view.locked = Some(self.locked);
        self.medium.describe_view(&mut view);
        ConferenceView { state, entity_views: vec![view] }
    }
}
