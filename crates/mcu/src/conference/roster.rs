//! Who is in the conference on this MCU: people, and a leg for each of their endpoints.

use std::collections::BTreeMap;

use confab_machine::Time;
use confab_schema::{
    cccp,
    conference_info::{DisconnectionMethod, Endpoint, EndpointStatus, JoiningMethod, Role, User},
    uri::UserUri,
};
use confab_sip::{Dialog, DialogId, Flow, Request, ServerKey, SessionTimer};

use super::{Medium, handover};

/// One leg, for as long as the conference lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LegId(pub(crate) u64);

/// Everybody whom the Focus added, with sessions of a kind.
#[derive(Debug)]
pub(crate) struct Roster<S> {
    people: BTreeMap<UserUri, Person>,
    legs: BTreeMap<LegId, Leg<S>>,
    dialogs: BTreeMap<DialogId, LegId>,
    last_leg: u64,
}

/// One person.
#[derive(Debug, Default)]
pub(crate) struct Person {
    pub(crate) display_text: Option<String>,
    pub(crate) roles: Vec<Role>,
    /// In the order in which the Focus added them.
    pub(crate) legs: Vec<LegId>,
}

/// One endpoint of a person on this MCU.
#[derive(Debug)]
pub(crate) struct Leg<S> {
    pub(crate) user: UserUri,
    /// The endpoint's name, which the Focus gave it.
    pub(crate) entity: String,
    pub(crate) joining_method: JoiningMethod,
    pub(crate) endpoint_uri: Option<String>,
    pub(crate) state: LegState<S>,
}

/// How far a leg is.
#[derive(Debug)]
pub(crate) enum LegState<S> {
    /// His INVITE is to come.
    Expected { until: Time },
    /// His INVITE has come, and the medium is about to answer it.
    Arriving(Box<Arrival>),
    /// Our INVITE has not been answered finally.
    Called(Box<Call>),
    /// There is a dialog.
    InSession(Box<Session<S>>),
    /// Our INVITE came to nothing; the roster shows so for a while.
    Disconnected { method: DisconnectionMethod, until: Time },
}

/// Somebody's INVITE.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) request: Request,
    pub(super) key: ServerKey,
    pub(super) flow: Flow,
    /// The dialog that our 200 opens.
    pub(super) dialog: Dialog,
}

/// Our INVITE to somebody.
#[derive(Debug)]
pub(crate) struct Call {
    /// The number of the INVITE, once it was sent.
    pub(super) id: Option<u64>,
    /// The INVITE, until it is sent with its offer.
    pub(super) invite: Option<Request>,
    /// The command that asked for it, and the host's name for that.
    pub(super) control: (u64, cccp::Request),
    /// Whether it rings there.
    pub(super) alerting: bool,
    pub(super) until: Time,
}

/// A session with somebody.
#[derive(Debug)]
pub(crate) struct Session<S> {
    pub(crate) dialog: Dialog,
    /// The way he came last; `None` for somebody who was called and has sent nothing yet.
    pub(crate) flow: Option<Flow>,
    /// What the medium keeps of it.
    pub(crate) own: S,
    /// His INVITE, while its 200 awaits the ACK.
    pub(super) unacknowledged: Option<ServerKey>,
    /// The number of our INVITE, if we called.
    pub(super) call: Option<u64>,
    /// Until when he is taken to be there without a word from him, if he can do session timers.
    pub(super) timer: Option<SessionTimer>,
}

impl<S> Session<S> {
    pub(crate) fn is_connected(&self) -> bool {
        self.unacknowledged.is_none()
    }

    /// When its session timer has something to say.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timer.map(|timer| timer.deadline())
    }
}

impl<S> Leg<S> {
    pub(crate) fn session(&self) -> Option<&Session<S>> {
        match &self.state {
            LegState::InSession(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session<S>> {
        match &mut self.state {
            LegState::InSession(session) => Some(session),
            _ => None,
        }
    }

    fn status(&self) -> EndpointStatus {
        match &self.state {
            LegState::Expected { .. } | LegState::Arriving(_) => EndpointStatus::Pending,
            LegState::Called(call) if call.alerting => EndpointStatus::Alerting,
            LegState::Called(_) => EndpointStatus::DialingOut,
            LegState::InSession(session) if session.is_connected() => EndpointStatus::Connected,
            LegState::InSession(_) => EndpointStatus::Pending,
            LegState::Disconnected { .. } => EndpointStatus::Disconnected,
        }
    }
}

impl<S> Default for Roster<S> {
    fn default() -> Roster<S> {
        Roster { people: BTreeMap::new(), legs: BTreeMap::new(), dialogs: BTreeMap::new(), last_leg: 0 }
    }
}

impl<S> Roster<S> {
    pub(crate) fn people(&self) -> impl Iterator<Item = (&UserUri, &Person)> {
        self.people.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.people.len()
    }

    pub(crate) fn person(&self, user: &UserUri) -> Option<&Person> {
        self.people.get(user)
    }

    pub(crate) fn person_mut(&mut self, user: &UserUri) -> Option<&mut Person> {
        self.people.get_mut(user)
    }

    pub(crate) fn leg(&self, leg: LegId) -> Option<&Leg<S>> {
        self.legs.get(&leg)
    }

    pub(crate) fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg<S>> {
        self.legs.get_mut(&leg)
    }

    pub(crate) fn legs(&self) -> impl Iterator<Item = (LegId, &Leg<S>)> {
        self.legs.iter().map(|(id, leg)| (*id, leg))
    }

    pub(crate) fn legs_of(&self, user: &UserUri) -> impl Iterator<Item = (LegId, &Leg<S>)> {
        let legs = self.people.get(user).into_iter().flat_map(|person| &person.legs);
        legs.filter_map(|id| Some((*id, self.legs.get(id)?)))
    }

    /// The leg of this endpoint.
    pub(crate) fn leg_named(&self, user: &UserUri, entity: &str) -> Option<(LegId, &Leg<S>)> {
        self.legs_of(user).find(|(_, leg)| leg.entity == entity)
    }

    /// The endpoint of this person that has waited longest for his INVITE.
    pub(super) fn expected(&self, user: &UserUri) -> Option<LegId> {
        self.legs_of(user).find(|(_, leg)| matches!(leg.state, LegState::Expected { .. })).map(|(id, _)| id)
    }

    /// The endpoints that hear what is said: from their 200 on, not only from their ACK, or they
    /// would miss what is said between the two.
    pub(crate) fn in_session(&self) -> impl Iterator<Item = LegId> {
        self.legs.iter().filter(|(_, leg)| leg.session().is_some()).map(|(id, _)| *id)
    }

    /// The leg with this dialog.
    pub(super) fn in_dialog(&self, dialog: &DialogId) -> Option<LegId> {
        self.dialogs.get(dialog).copied()
    }

    /// Adds a person, or takes what is new about him.
    pub(super) fn add_person(&mut self, user: &UserUri, document: &User) {
        let person = self.people.entry(user.clone()).or_default();
        if document.display_text.is_some() {
            person.display_text.clone_from(&document.display_text);
        }
        if !document.roles.is_empty() {
            person.roles.clone_from(&document.roles);
        }
    }

    /// Adds an endpoint of somebody who was added before.
    pub(super) fn add_leg(&mut self, leg: Leg<S>) -> LegId {
        self.last_leg += 1;
        let id = LegId(self.last_leg);
        let person = self.people.get_mut(&leg.user).expect("the person was added before his endpoint");
        person.legs.push(id);
        if let Some(session) = leg.session() {
            self.dialogs.insert(session.dialog.id(), id);
        }
        self.legs.insert(id, leg);
        id
    }

    /// Gives a leg its dialog.
    pub(super) fn begin_session(&mut self, id: LegId, session: Session<S>) {
        if let Some(leg) = self.legs.get_mut(&id) {
            self.dialogs.insert(session.dialog.id(), id);
            leg.state = LegState::InSession(Box::new(session));
        }
    }

    /// Removes a leg, and the person with his last one.
    pub(super) fn remove_leg(&mut self, id: LegId) -> Option<Leg<S>> {
        let leg = self.legs.remove(&id)?;
        if let Some(session) = leg.session() {
            self.dialogs.remove(&session.dialog.id());
        }
        if let Some(person) = self.people.get_mut(&leg.user) {
            person.legs.retain(|other| *other != id);
            if person.legs.is_empty() {
                self.people.remove(&leg.user);
            }
        }
        Some(leg)
    }
}

/// The person as notifications show him, with the complete list of endpoints: a client may
/// take what is missing for gone. `None` if he is not in.
pub(super) fn document<M: Medium>(roster: &Roster<M::Session>, medium: &M, user: &UserUri) -> Option<User> {
    let person = roster.people.get(user)?;
    let mut document = User::new(user.to_string());
    document.display_text.clone_from(&person.display_text);
    document.roles.clone_from(&person.roles);
    let role = person.roles.first().copied();
    document.endpoints = roster.legs_of(user).map(|(id, leg)| endpoint(medium, id, leg, role)).collect();
    Some(document)
}

fn endpoint<M: Medium>(medium: &M, id: LegId, leg: &Leg<M::Session>, role: Option<Role>) -> Endpoint {
    let mut endpoint = Endpoint::new(leg.entity.clone());
    endpoint.session_type = Some(M::MEDIA.as_str().to_owned());
    endpoint.endpoint_uri.clone_from(&leg.endpoint_uri);
    endpoint.status = Some(leg.status());
    endpoint.joining_method = Some(leg.joining_method);
    if let LegState::Disconnected { method, .. } = leg.state {
        endpoint.disconnection_method = Some(method);
    }
    medium.describe(id, leg, role, &mut endpoint);
    // Even before the ACK: his client has a session, whether or not we live to hear of it.
    endpoint.handover = leg.session().map(handover::write);
    endpoint
}
