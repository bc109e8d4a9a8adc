//! Steps 4 and 7: the lobby. Who may not come in at once waits until a leader lets him in or sends him
//! away (MS-CONFBAS §4.4.8; `on-hold` of RFC 4575 §5.7.3 is just that).
//!
//! Whoever waits stands in a roster and among subscribers of his own, so that nothing which asks for
//! those who are in finds him: he has no rights but [`policy::may_who_waits`], is told of nobody but
//! himself, and leaders alone are told of him. He may call, by as many legs as he likes: the conferencing
//! server is told with each that he waits, holds them all, and lets them all in at once.

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::Time;
use confab_schema::{
    cccp::{Code, Command, ConferenceKeys, Response, ResultBody},
    conference_info::{ConferenceInfo, EndpointStatus, Role, State, User, Users, View},
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{
    Action, CommandId, Ending, Focus, PersonalDocument, SubscriptionId, command::Incoming,
    mcu_session::Purpose, notify::Subscribers, roster::Roster,
};
use crate::{
    policy::{self, Permission, Right},
    reason::Reason,
};

// Deviation: no text within reach has the words of these reasons; UCMA tells the cases apart.
/// The reason for letting somebody in who is in.
const ALREADY_ADMITTED: &str = "alreadyAdmitted";
/// The reason for letting somebody in where there is no room.
const CONFERENCE_FULL: &str = "conferenceFull";

/// Who waits. Nobody is in it and in the conference's roster at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lobby {
    pub(super) roster: Roster,
    pub(super) subscribers: Subscribers,
}

/// What leaders have not been told of the lobby, and who sees more or less from now on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LobbyChanges {
    pub(super) people: BTreeSet<UserUri>,
    pub(super) turned: BTreeMap<UserUri, Turn>,
}

/// Why somebody is to be told everything anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Turn {
    /// He sees more.
    More,
    /// He sees the lobby no longer.
    Less,
}

/// How somebody comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) role: Role,
    /// In the lobby.
    pub(super) waits: bool,
}

impl Focus {
    /// Where this person is if he is anywhere: among those who wait, or those who are in.
    pub(super) fn roster_of(&self, user: &UserUri) -> &Roster {
        if self.lobby.roster.holds(user) { &self.lobby.roster } else { &self.roster }
    }

    pub(super) fn roster_of_mut(&mut self, user: &UserUri) -> &mut Roster {
        if self.lobby.roster.holds(user) { &mut self.lobby.roster } else { &mut self.roster }
    }

    /// May this person exercise a right that one needs to have joined for himself?
    pub(super) fn may_himself(&self, user: &UserUri, right: Right) -> Permission {
        if self.lobby.roster.has_joined(user) {
            policy::may_who_waits(right)
        } else {
            policy::may(self.roster.joined_role(user), right)
        }
    }

    /// May he join this medium?
    pub(super) fn may_join_medium(&self, user: &UserUri, media: McuType) -> Permission {
        match self.may_himself(user, Right::JoinMedium) {
            Permission::Allow if self.lobby.roster.holds(user) && !policy::holds_the_waiting(media) => {
                Permission::Refuse(Reason::InLobby)
            }
            permission => permission,
        }
    }

    /// `setLobbyAccess`: one person or several are let in or sent away.
    pub(super) fn set_lobby_access(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        keys: &ConferenceKeys,
        users: &[String],
        granted: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        self.check_entity(keys.entity.as_deref())?;
        let parse = |user: &String| UserUri::parse(user).map_err(|_| Reason::InvalidTargetUser);
        let targets = users.iter().map(parse).collect::<Result<BTreeSet<UserUri>, Reason>>()?;
        if targets.is_empty() {
            return Err(Reason::InvalidTargetUser);
        }
        self.allow(incoming, Right::KeepLobby)?;
        self.accept(incoming, out);
        let mut waits = BTreeSet::new();
        let mut failure = None;
        for user in targets {
            if !self.lobby.roster.holds(&user) {
                let is_in = self.roster.holds(&user);
                failure.get_or_insert(if is_in { ALREADY_ADMITTED } else { "userDoesntExist" });
            } else if !granted {
                waits.extend(self.remove_from_mcus(&user, Some(incoming.command), out));
                self.remove_person(now, &user, Some(Ending::Denied), out);
            } else if policy::may_be_let_in(&self.policy, self.roster.len()) == Permission::Allow {
                waits.extend(self.let_in(now, &user, Some(incoming.command), out));
            } else {
                failure.get_or_insert(CONFERENCE_FULL);
            }
        }
        let mut response = Response::new(incoming.request, Code::Success, ResultBody::Empty);
        if let Some(token) = failure {
            response = Response::failed(incoming.request, token);
        }
        self.finish_with(incoming, response, waits, out);
        Ok(())
    }

    /// Somebody who waits is in from now on; the IDs of the requests that have his voice in are returned.
    pub(super) fn let_in(
        &mut self,
        now: Time,
        user: &UserUri,
        command: Option<CommandId>,
        out: &mut Vec<Action>,
    ) -> Vec<u32> {
        let Some(person) = self.lobby.roster.take(user) else { return Vec::new() };
        self.roster.put(user, person);
        for (subscription, view) in self.lobby.subscribers.take_user(user) {
            self.subscribers.add(subscription, user.clone(), view);
        }
        // He has been told of nobody but himself.
        self.changes.lobby.turned.insert(user.clone(), Turn::More);
        self.changes.waiting(now, user);
        self.changed(now, user);
        out.push(Action::CountPeople { count: self.roster.len() });
        let media: Vec<McuType> =
            self.mcus.ready().filter(|media| policy::holds_the_waiting(*media)).collect();
        let purpose = command.map_or(Purpose::Nothing, Purpose::Command);
        let send = |media| {
            let (keys, users) = (self.keys(), vec![user.to_string()]);
            let command = Command::SetLobbyAccess { keys, users, granted: true };
            self.command_mcu(media, command, purpose.clone(), out)
        };
        media.into_iter().filter_map(send).collect()
    }

    /// Somebody has another role, and sees the lobby or does not.
    pub(super) fn turn(&mut self, user: &UserUri, before: bool) {
        let keeps = self.keeps_lobby(user);
        let concerns = self.lobby.roster.len() > 0 || !self.changes.lobby.people.is_empty();
        if concerns && keeps != before {
            let turn = if keeps { Turn::More } else { Turn::Less };
            self.changes.lobby.turned.insert(user.clone(), turn);
        }
    }

    /// Whether he is told who waits.
    pub(super) fn keeps_lobby(&self, user: &UserUri) -> bool {
        policy::may(self.roster.role(user), Right::KeepLobby) == Permission::Allow
    }

    /// All that somebody is told who waits: that he does.
    // Deviation: no text within reach says what Lync tells him; RFC 4575 has a word for it.
    pub(super) fn waiting_info(&self, user: &UserUri) -> ConferenceInfo {
        let mut document = ConferenceInfo::full(self.record.uri.to_string(), self.changes.version());
        let users = self.waiting_document(user).into_iter().collect();
        document.users = Some(Users { state: State::Full, users });
        document
    }

    /// Everybody who waits, as leaders are shown them.
    pub(super) fn all_waiting(&self) -> impl Iterator<Item = User> {
        self.lobby.roster.users().filter_map(|user| self.waiting_document(user))
    }

    /// A person who waits: on hold, with all his endpoints that would be connected.
    pub(super) fn waiting_document(&self, user: &UserUri) -> Option<User> {
        let mut document = self.lobby.roster.document(user)?;
        for endpoint in &mut document.endpoints {
            if endpoint.status == Some(EndpointStatus::Connected) {
                endpoint.status = Some(EndpointStatus::OnHold);
            }
        }
        Some(document)
    }

    /// What is told apart from what everybody is told: to whoever sees more or less now, everything; to
    /// leaders, what has changed of the lobby. Also whose subscriptions are done with by that.
    pub(super) fn tell_of_the_lobby(
        &self,
        document: &ConferenceInfo,
        changes: &LobbyChanges,
        view: View,
    ) -> (Vec<PersonalDocument>, BTreeSet<SubscriptionId>) {
        let (mut documents, mut apart) = (Vec::new(), BTreeSet::new());
        for (user, turn) in &changes.turned {
            let subscriptions = self.subscribers.of_with_view(user, view);
            if !subscriptions.is_empty() {
                apart.extend(subscriptions.iter().copied());
                let document = self.turned_info(user, *turn, changes).to_bytes(view);
                documents.push(PersonalDocument { subscriptions, document });
            }
        }
        let news = self.lobby_news(document, changes);
        if news.is_empty() {
            return (documents, apart);
        }
        let mut subscriptions = self.subscribers.with_view(view);
        subscriptions.retain(|subscription| {
            let reader = self.subscribers.reader(*subscription);
            !apart.contains(subscription) && reader.is_some_and(|(user, _)| self.keeps_lobby(user))
        });
        if !subscriptions.is_empty() {
            apart.extend(subscriptions.iter().copied());
            let mut document = document.clone();
            let users =
                &mut document.users.get_or_insert_with(|| Users { state: State::Partial, users: Vec::new() });
            users.users.retain(|user| !news.iter().any(|waiting| waiting.entity == user.entity));
            users.users.extend(news);
            documents.push(PersonalDocument { subscriptions, document: document.to_bytes(view) });
        }
        (documents, apart)
    }

    /// What leaders are told of the lobby beside this document: of a full one, everybody who waits.
    fn lobby_news(&self, document: &ConferenceInfo, changes: &LobbyChanges) -> Vec<User> {
        let mut news: Vec<User> = match document.state {
            State::Full => self.all_waiting().collect(),
            _ => changes.people.iter().filter_map(|user| self.waiting_document(user)).collect(),
        };
        let listed = |user: &UserUri| self.roster.holds(user) && self.is_listed(user);
        let gone = changes.people.iter().filter(|user| !self.lobby.roster.holds(user) && !listed(user));
        news.extend(gone.map(|user| User::deleted(user.to_string())));
        news
    }

    /// Everything, for somebody who sees more than before or less.
    fn turned_info(&self, user: &UserUri, turn: Turn, changes: &LobbyChanges) -> ConferenceInfo {
        let mut document = self.full_info(user);
        if turn == Turn::Less {
            let hidden = self.lobby.roster.users().chain(&changes.people);
            let hidden: BTreeSet<&UserUri> = hidden.filter(|user| !self.roster.holds(user)).collect();
            let users = &mut document.users.get_or_insert_default().users;
            users.extend(hidden.into_iter().map(|user| User::deleted(user.to_string())));
        }
        document
    }
}
