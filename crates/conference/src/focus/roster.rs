//! Who is in the conference: one entry per person, however many endpoints he joined with.

use std::{collections::BTreeMap, sync::Arc};

use confab_schema::{
    conference_info::{Endpoint, EndpointStatus, JoiningMethod, MediaFilter, Role, State, User},
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{InviteId, JoinId};
use crate::policy::Identity;

/// Everybody in the conference, or everybody in its lobby.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Roster {
    people: BTreeMap<UserUri, Participant>,
    /// Whose each INVITE dialog is.
    joins: BTreeMap<JoinId, UserUri>,
    /// Whose each INVITE is that joined by a medium.
    invites: BTreeMap<InviteId, UserUri>,
}

/// One person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Participant {
    display_name: String,
    role: Role,
    /// How he proved who he is when he joined last, if he has.
    identity: Option<Identity>,
    /// The entity of each endpoint that has joined the Focus.
    joins: BTreeMap<JoinId, String>,
    /// The endpoints that joined by a medium alone.
    medium_joins: BTreeMap<InviteId, MediumJoin>,
    /// The endpoints on each conferencing server, as that server last described them; snapshots share
    /// them.
    legs: BTreeMap<McuType, Arc<Vec<Endpoint>>>,
}

/// An endpoint that has a session with a conferencing server and none with the Focus.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MediumJoin {
    media: McuType,
    /// The endpoint's name, which the server repeats.
    endpoint: String,
    /// Whether the server has told of it.
    seen: bool,
}

impl Participant {
    /// Whether he has joined himself and was not merely called.
    fn has_joined(&self) -> bool {
        !self.joins.is_empty() || !self.medium_joins.is_empty()
    }
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// With how many endpoints the person has joined.
    pub(super) fn join_count(&self, user: &UserUri) -> usize {
        self.people.get(user).map_or(0, |person| person.joins.len() + person.medium_joins.len())
    }

    /// How somebody who has joined has proved who he is.
    pub(super) fn identity(&self, user: &UserUri) -> Option<Identity> {
        self.people.get(user)?.identity
    }

    /// Whether somebody who has signed in has joined and is still there.
    pub(super) fn has_authenticated(&self) -> bool {
        let signed_in = |person: &Participant| person.identity == Some(Identity::Enterprise);
        self.people.values().any(|person| signed_in(person) && person.has_joined())
    }

    /// The role of somebody who is in.
    pub(super) fn role(&self, user: &UserUri) -> Option<Role> {
        self.people.get(user).map(|person| person.role)
    }

    /// The role of somebody who has joined himself and was not merely called by an MCU.
    pub(super) fn joined_role(&self, user: &UserUri) -> Option<Role> {
        self.people.get(user).filter(|person| person.has_joined()).map(|person| person.role)
    }

    /// Whether the person is in, or waits, as this roster is.
    pub(super) fn holds(&self, user: &UserUri) -> bool {
        self.people.contains_key(user)
    }

    /// Whether the person has joined himself.
    pub(super) fn has_joined(&self, user: &UserUri) -> bool {
        self.joined_role(user).is_some()
    }

    /// Whose dialog this is.
    pub(super) fn user_of(&self, join: JoinId) -> Option<&UserUri> {
        self.joins.get(&join)
    }

    /// The dialog by which this endpoint of this person is in, if it is.
    pub(super) fn join_of(&self, user: &UserUri, endpoint: &str) -> Option<JoinId> {
        let person = self.people.get(user)?;
        person.joins.iter().find(|(_, entity)| *entity == endpoint).map(|(join, _)| *join)
    }

    /// Adds a person without an endpoint, or leaves the one who is there as he is.
    pub(super) fn add_person(&mut self, user: &UserUri, display_name: String, role: Role) {
        self.people.entry(user.clone()).or_insert_with(|| Participant {
            display_name,
            role,
            identity: None,
            joins: BTreeMap::new(),
            medium_joins: BTreeMap::new(),
            legs: BTreeMap::new(),
        });
    }

    /// Adds an endpoint that joined the Focus to somebody who was added before.
    pub(super) fn add_join(&mut self, user: &UserUri, join: JoinId, endpoint: String, identity: Identity) {
        let person = self.people.get_mut(user).expect("the person was added before his endpoint");
        person.identity = Some(identity);
        person.joins.insert(join, endpoint);
        self.joins.insert(join, user.clone());
    }

    /// Removes one endpoint that had joined the Focus and returns whose it was.
    pub(super) fn remove_join(&mut self, join: JoinId) -> Option<UserUri> {
        let user = self.joins.remove(&join)?;
        if let Some(person) = self.people.get_mut(&user) {
            person.joins.remove(&join);
        }
        Some(user)
    }

    /// Adds an endpoint that joins by a medium to somebody who was added before.
    pub(super) fn add_medium_join(
        &mut self,
        user: &UserUri,
        invite: InviteId,
        media: McuType,
        endpoint: String,
        identity: Identity,
    ) {
        let person = self.people.get_mut(user).expect("the person was added before his endpoint");
        person.identity = Some(identity);
        person.medium_joins.insert(invite, MediumJoin { media, endpoint, seen: false });
        self.invites.insert(invite, user.clone());
    }

    /// The name of the endpoint that joins by this INVITE.
    pub(super) fn medium_join(&self, invite: InviteId) -> Option<&str> {
        let person = self.people.get(self.invites.get(&invite)?)?;
        person.medium_joins.get(&invite).map(|join| join.endpoint.as_str())
    }

    /// Removes one endpoint that joined by a medium and returns whose it was.
    pub(super) fn remove_medium_join(&mut self, invite: InviteId) -> Option<UserUri> {
        let user = self.invites.remove(&invite)?;
        if let Some(person) = self.people.get_mut(&user) {
            person.medium_joins.remove(&invite);
        }
        Some(user)
    }

    /// Removes those endpoints that joined by this medium and that its server told of before and does
    /// not any more.
    pub(super) fn end_medium_joins(&mut self, user: &UserUri, media: McuType) -> Vec<InviteId> {
        let Some(person) = self.people.get_mut(user) else { return Vec::new() };
        let legs = person.legs.get(&media).map_or(&[][..], |legs| legs);
        let mut over = Vec::new();
        person.medium_joins.retain(|invite, join| {
            let there = join.media == media && legs.iter().any(|leg| leg.entity == join.endpoint);
            let gone = join.media == media && join.seen && !there;
            join.seen |= there;
            over.extend(gone.then_some(*invite));
            !gone
        });
        for invite in &over {
            self.invites.remove(invite);
        }
        over
    }

    /// The INVITEs that joined by this medium and that its server has not told of.
    pub(super) fn unseen_medium_joins(&self, media: McuType) -> Vec<InviteId> {
        let joins = self.people.values().flat_map(|person| &person.medium_joins);
        joins.filter(|(_, join)| join.media == media && !join.seen).map(|(invite, _)| *invite).collect()
    }

    /// Removes a person with everything he had; the dialogs that are to be ended are returned, and the
    /// INVITEs by which he is in no longer.
    pub(super) fn remove_person(&mut self, user: &UserUri) -> (Vec<JoinId>, Vec<InviteId>) {
        let Some(person) = self.take(user) else { return (Vec::new(), Vec::new()) };
        (person.joins.into_keys().collect(), person.medium_joins.into_keys().collect())
    }

    /// Takes a person out with everything he has, to go on in another roster.
    pub(super) fn take(&mut self, user: &UserUri) -> Option<Participant> {
        let person = self.people.remove(user)?;
        person.joins.keys().for_each(|join| drop(self.joins.remove(join)));
        person.medium_joins.keys().for_each(|invite| drop(self.invites.remove(invite)));
        Some(person)
    }

    /// Puts in somebody who was taken out of another roster.
    pub(super) fn put(&mut self, user: &UserUri, person: Participant) {
        self.joins.extend(person.joins.keys().map(|join| (*join, user.clone())));
        self.invites.extend(person.medium_joins.keys().map(|invite| (*invite, user.clone())));
        self.people.insert(user.clone(), person);
    }

    /// Gives somebody a role; `false` if he is not in.
    pub(super) fn set_role(&mut self, user: &UserUri, role: Role) -> bool {
        match self.people.get_mut(user) {
            Some(person) => {
                person.role = role;
                true
            }
            None => false,
        }
    }

    /// Whether somebody who is in has just these endpoints on one conferencing server.
    pub(super) fn has_legs(&self, user: &UserUri, media: McuType, legs: &[Endpoint]) -> bool {
        self.people.contains_key(user) && self.legs(user, media) == legs
    }

    /// Somebody's endpoints on one conferencing server, as it last described them.
    pub(super) fn legs(&self, user: &UserUri, media: McuType) -> &[Endpoint] {
        let person = self.people.get(user);
        person.and_then(|person| person.legs.get(&media)).map_or(&[][..], |legs| legs)
    }

    /// Whether somebody has an endpoint on one conferencing server.
    pub(super) fn is_on(&self, user: &UserUri, media: McuType) -> bool {
        self.people.get(user).is_some_and(|person| person.legs.contains_key(&media))
    }

    /// Replaces somebody's endpoints on one conferencing server; `false` if he is not in.
    pub(super) fn set_legs(&mut self, user: &UserUri, media: McuType, legs: Vec<Endpoint>) -> bool {
        let Some(person) = self.people.get_mut(user) else { return false };
        if legs.is_empty() {
            person.legs.remove(&media);
        } else {
            person.legs.insert(media, Arc::new(legs));
        }
        true
    }

    /// Everybody's endpoints on one conferencing server, as it last described them.
    pub(super) fn legs_on(&self, media: McuType) -> Vec<(UserUri, Vec<Endpoint>)> {
        let people = self.people.iter();
        people.filter_map(|(user, person)| Some((user.clone(), person.legs.get(&media)?.to_vec()))).collect()
    }

    /// Whether a leader has somebody wait on one conferencing server: he is not heard and hears nothing.
    pub(super) fn is_held(&self, user: &UserUri, media: McuType) -> bool {
        let legs = self.people.get(user).and_then(|person| person.legs.get(&media));
        let streams = legs.into_iter().flat_map(|legs| &**legs).flat_map(|leg| &leg.media);
        streams.into_iter().any(|stream| stream.egress_filter == Some(MediaFilter::Block))
    }

    /// Forgets one endpoint on one conferencing server.
    pub(super) fn remove_leg(&mut self, user: &UserUri, media: McuType, endpoint: &str) {
        let Some(person) = self.people.get_mut(user) else { return };
        let Some(legs) = person.legs.get_mut(&media) else { return };
        Arc::make_mut(legs).retain(|leg| leg.entity != endpoint);
        if legs.is_empty() {
            person.legs.remove(&media);
        }
    }

    /// Whether nothing keeps this person in any more: no endpoint at the Focus nor at any server.
    pub(super) fn is_gone(&self, user: &UserUri) -> bool {
        self.people.get(user).is_some_and(|person| !person.has_joined() && person.legs.is_empty())
    }

    pub(super) fn joins(&self) -> impl Iterator<Item = JoinId> {
        self.joins.keys().copied()
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &UserUri> {
        self.people.keys()
    }

    /// The person as notifications show him, with the complete list of endpoints: a client may
    /// take what is missing for gone. `None` if he is not in.
    pub(super) fn document(&self, user: &UserUri) -> Option<User> {
        let person = self.people.get(user)?;
        let mut endpoints: Vec<Endpoint> = Vec::with_capacity(person.joins.len() + person.legs.len());
        endpoints.extend(person.joins.values().map(|entity| {
            let mut endpoint = Endpoint::new(entity.clone());
            endpoint.session_type = Some("focus".into());
            endpoint.status = Some(EndpointStatus::Connected);
            endpoint.joining_method = Some(JoiningMethod::DialedIn);
            endpoint
        }));
        endpoints.extend(person.legs.values().flat_map(|legs| &**legs).cloned());
        let mut document = User::new(user.to_string());
        document.state = State::Full;
        document.display_text = Some(person.display_name.clone());
        document.roles = vec![person.role];
        document.endpoints = endpoints;
        Some(document)
    }
}
