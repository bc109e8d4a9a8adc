//! Steps 3 and 4: joining, subscribing and leaving (MS-CONFBAS §3.4, c3p §7).

use confab_machine::Time;
use confab_schema::{
    cccp::{self, Command, CommandResult, ResultBody},
    conference_info::{Endpoint, Role, User, View},
    uri::UserUri,
};

use super::{
    Action, ENDPOINTS_PER_PERSON, Ending, Focus, JoinId, SubscriptionId, lobby::Place, notify::Subscribers,
};
use crate::{
    policy::{self, Admission, Identity, Permission, Right},
    reason::Reason,
};

/// The longest endpoint entity taken, in bytes; a braced GUID has 38.
const ENDPOINT_ENTITY_LIMIT: usize = 128;

/// The person at the other end of an INVITE, as the front end vouches for him.
pub(super) struct Joiner {
    pub(super) user: UserUri,
    pub(super) identity: Identity,
    pub(super) display_name: String,
}

/// The one endpoint that an `addUser` is about.
pub(super) fn the_endpoint(user: &User) -> Result<&Endpoint, Reason> {
    let [endpoint] = user.endpoints.as_slice() else { return Err(Reason::InvalidAddUser) };
    if endpoint.entity.is_empty() || endpoint.entity.len() > ENDPOINT_ENTITY_LIMIT {
        return Err(Reason::InvalidEndpoint);
    }
    Ok(endpoint)
}

impl Focus {
    pub(super) fn join(
        &mut self,
        now: Time,
        join: JoinId,
        joiner: Joiner,
        request: &cccp::Request,
        out: &mut Vec<Action>,
    ) {
        match self.admit(now, &joiner, request) {
            Err(reason) => out.push(Action::RefuseJoin { join, reason }),
            Ok((place, endpoint)) => {
                // The joiner's answer leaves first, then everything that follows from it.
                out.push(Action::Admit { join, response: self.admitted(&joiner.user, place.role, request) });
                let roster = if place.waits { &mut self.lobby.roster } else { &mut self.roster };
                if let Some(old) = roster.join_of(&joiner.user, &endpoint) {
                    roster.remove_join(old);
                    out.push(Action::EndJoin { join: old, ending: Ending::Replaced });
                }
                roster.add_person(&joiner.user, joiner.display_name, place.role);
                roster.add_join(&joiner.user, join, endpoint, joiner.identity);
                self.changed(now, &joiner.user);
                out.push(Action::CountPeople { count: self.roster.len() });
                self.activate(now, out);
            }
        }
    }

    /// The place and the endpoint entity of somebody who may come in.
    fn admit(&self, now: Time, joiner: &Joiner, request: &cccp::Request) -> Result<(Place, String), Reason> {
        self.check_envelope(&joiner.user, request)?;
        let [Command::AddUser(add)] = request.commands.as_slice() else {
            return Err(Reason::InvalidAddUser);
        };
        self.check_entity(add.keys.entity.as_deref())?;
        if add.mcu_uri.is_some() {
            return Err(Reason::NotForAnMcu);
        }
        if UserUri::parse(&add.user.entity).ok().as_ref() != Some(&joiner.user) {
            return Err(Reason::InvalidTargetUser);
        }
        let endpoint = the_endpoint(&add.user)?;
        let roster = self.roster_of(&joiner.user);
        let again = roster.join_of(&joiner.user, &endpoint.entity).is_some();
        if !again && roster.join_count(&joiner.user) >= ENDPOINTS_PER_PERSON {
            return Err(Reason::Full);
        }
        Ok((self.admission(now, joiner)?, endpoint.entity.clone()))
    }

    /// The place of somebody who may come in, whichever way he comes. Who waits goes on waiting with
    /// whatever he comes by, until he is let in.
    pub(super) fn admission(&self, now: Time, joiner: &Joiner) -> Result<Place, Reason> {
        let present = self.roster.role(&joiner.user);
        let people = self.roster.len();
        match policy::may_join(
            &self.record,
            &self.policy,
            now,
            &joiner.user,
            joiner.identity,
            present,
            people,
        ) {
            Admission::Refuse(reason) => Err(reason),
            Admission::Admit(role) | Admission::Wait(role) if self.lobby.roster.holds(&joiner.user) => {
                Ok(Place { role, waits: true })
            }
            Admission::Admit(role) => Ok(Place { role, waits: false }),
            Admission::Wait(role) => match policy::may_wait(&self.policy, self.lobby.roster.len()) {
                Permission::Allow => Ok(Place { role, waits: true }),
                Permission::Refuse(reason) => Err(reason),
            },
        }
    }

    /// The body of the 200: keys and person as asked, with the role that was granted.
    fn admitted(&self, user: &UserUri, role: Role, request: &cccp::Request) -> cccp::Response {
        let Some(Command::AddUser(add)) = request.commands.first() else {
            unreachable!("admit() checked that there is one addUser")
        };
        let mut granted = User::new(user.to_string());
        granted.roles = vec![role];
        let body = ResultBody::AddUser {
            keys: add.keys.clone(),
            user: Box::new(granted),
            connection_info: Vec::new(),
        };
        cccp::Response::success(request, CommandResult::new("addUser", body))
    }

    /// `from` is the sender and `to` is this conference.
    pub(super) fn check_envelope(&self, user: &UserUri, request: &cccp::Request) -> Result<(), Reason> {
        if UserUri::parse(&request.from).ok().as_ref() != Some(user) {
            return Err(Reason::BadFrom);
        }
        if !self.is_this(&request.to) {
            return Err(Reason::BadTo);
        }
        Ok(())
    }

    /// The conference named inside a command is this one.
    pub(super) fn check_entity(&self, entity: Option<&str>) -> Result<(), Reason> {
        if entity.is_some_and(|uri| self.is_this(uri)) {
            Ok(())
        } else {
            Err(Reason::InvalidConferenceEntity)
        }
    }

    fn is_this(&self, uri: &str) -> bool {
        confab_schema::uri::ConferenceUri::parse(uri).is_ok_and(|uri| uri == self.record.uri)
    }

    pub(super) fn subscribe(
        &mut self,
        subscription: SubscriptionId,
        user: UserUri,
        view: View,
        out: &mut Vec<Action>,
    ) {
        let refusal = match self.may_himself(&user, Right::Watch) {
            Permission::Refuse(reason) => Some(reason),
            Permission::Allow if self.subscribers_with(&user).count(&user) >= ENDPOINTS_PER_PERSON => {
                Some(Reason::Busy)
            }
            Permission::Allow => None,
        };
        if let Some(reason) = refusal {
            out.push(Action::RefuseSubscription { subscription, reason });
            return;
        }
        self.subscribers_with(&user).add(subscription, user, view);
        self.refresh(subscription, out);
    }

    /// Among whom somebody who may subscribe is told.
    fn subscribers_with(&mut self, user: &UserUri) -> &mut Subscribers {
        if self.lobby.roster.holds(user) { &mut self.lobby.subscribers } else { &mut self.subscribers }
    }

    pub(super) fn refresh(&mut self, subscription: SubscriptionId, out: &mut Vec<Action>) {
        if let Some(document) = self.full_document(subscription) {
            out.push(Action::AcceptSubscription { subscription, document });
        } else {
            out.push(Action::RefuseSubscription { subscription, reason: Reason::NotJoined });
        }
    }

    pub(super) fn leave(&mut self, now: Time, join: JoinId, out: &mut Vec<Action>) {
        let gone = self.roster.remove_join(join).or_else(|| self.lobby.roster.remove_join(join));
        let Some(user) = gone else { return };
        self.changed(now, &user);
        // Who has left the Focus with his last endpoint has left the conference: his media go too.
        if !self.roster_of(&user).has_joined(&user) {
            self.remove_from_mcus(&user, None, out);
            self.remove_person(now, &user, None, out);
        }
    }

    /// Takes a person out of the roster or the lobby, ends his dialogs (telling him `ending`, if given)
    /// and tells the others.
    pub(super) fn remove_person(
        &mut self,
        now: Time,
        user: &UserUri,
        ending: Option<Ending>,
        out: &mut Vec<Action>,
    ) {
        let waited = self.lobby.roster.holds(user);
        let (joins, invites) = self.roster_of_mut(user).remove_person(user);
        for join in joins {
            if let Some(ending) = ending {
                out.push(Action::EndJoin { join, ending });
            }
        }
        out.extend(invites.into_iter().map(|invite| Action::InviteOver { invite }));
        let subscribers = if waited { &mut self.lobby.subscribers } else { &mut self.subscribers };
        for subscription in subscribers.remove_user(user) {
            out.push(Action::EndSubscription { subscription });
        }
        if waited {
            return self.changes.waiting(now, user);
        }
        self.changed(now, user);
        out.push(Action::CountPeople { count: self.roster.len() });
    }
}
