//! Who is in the conference on this MCU: people, and a leg for each of their endpoints.

use std::collections::BTreeMap;

use confab_machine::Time;
use confab_schema::{
    cccp,
    conference_info::{DisconnectionMethod, Endpoint, EndpointStatus, JoiningMethod, Media, Role, User},
    uri::UserUri,
};
use confab_sip::{Dialog, DialogId, Flow, ServerKey, SessionTimer};

use super::{content::Accepts, handover};

/// One leg, for as long as the conference lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LegId(u64);

/// Everybody whom the Focus added.
#[derive(Debug, Default)]
pub(super) struct Roster {
    people: BTreeMap<UserUri, Person>,
    legs: BTreeMap<LegId, Leg>,
    dialogs: BTreeMap<DialogId, LegId>,
    last_leg: u64,
}

/// One person.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) display_text: Option<String>,
    pub(super) roles: Vec<Role>,
    /// In the order in which the Focus added them.
    pub(super) legs: Vec<LegId>,
}

/// One endpoint of a person on this MCU.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) user: UserUri,
    /// The endpoint's name, which the Focus gave it.
    pub(super) entity: String,
    pub(super) joining_method: JoiningMethod,
    pub(super) endpoint_uri: Option<String>,
    pub(super) state: LegState,
}

/// How far a leg is.
#[derive(Debug)]
pub(super) enum LegState {
    /// His INVITE is to come.
    Expected { until: Time },
    /// Our INVITE has not been answered finally.
    Called(Box<Call>),
    /// There is a dialog.
    InSession(Box<Session>),
    /// Our INVITE came to nothing; the roster shows so for a while.
    Disconnected { method: DisconnectionMethod, until: Time },
}

/// Our INVITE to somebody.
#[derive(Debug)]
pub(super) struct Call {
    /// The number of the INVITE.
    pub(super) id: u64,
    /// The command that asked for it, and the host's name for that.
    pub(super) control: (u64, cccp::Request),
    /// Whether it rings there.
    pub(super) alerting: bool,
    pub(super) until: Time,
}

/// An IM session with somebody.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) dialog: Dialog,
    /// The way he came last; `None` for somebody who was called and has sent nothing yet.
    pub(super) flow: Option<Flow>,
    pub(super) accepts: Accepts,
    /// His INVITE, while its 200 awaits the ACK.
    pub(super) unacknowledged: Option<ServerKey>,
    /// The number of our INVITE, if we called.
    pub(super) call: Option<u64>,
    /// Until when he is taken to be there without a word from him, if he can do session timers.
    pub(super) timer: Option<SessionTimer>,
}

impl Session {
    pub(super) fn is_connected(&self) -> bool {
        self.unacknowledged.is_none()
    }

    /// When its session timer has something to say.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timer.map(|timer| timer.deadline())
    }
}

impl Leg {
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            LegState::InSession(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            LegState::InSession(session) => Some(session),
            _ => None,
        }
    }

    fn status(&self) -> EndpointStatus {
        match &self.state {
            LegState::Expected { .. } => EndpointStatus::Pending,
            LegState::Called(call) if call.alerting => EndpointStatus::Alerting,
            LegState::Called(_) => EndpointStatus::DialingOut,
            LegState::InSession(session) if session.is_connected() => EndpointStatus::Connected,
            LegState::InSession(_) => EndpointStatus::Pending,
            LegState::Disconnected { .. } => EndpointStatus::Disconnected,
        }
    }
}

impl Roster {
    pub(super) fn people(&self) -> impl Iterator<Item = (&UserUri, &Person)> {
        self.people.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    pub(super) fn person(&self, user: &UserUri) -> Option<&Person> {
        self.people.get(user)
    }

    pub(super) fn person_mut(&mut self, user: &UserUri) -> Option<&mut Person> {
        self.people.get_mut(user)
    }

    pub(super) fn leg(&self, leg: LegId) -> Option<&Leg> {
        self.legs.get(&leg)
    }

    pub(super) fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(&leg)
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        self.legs.iter().map(|(id, leg)| (*id, leg))
    }

    pub(super) fn legs_of(&self, user: &UserUri) -> impl Iterator<Item = (LegId, &Leg)> {
        let legs = self.people.get(user).into_iter().flat_map(|person| &person.legs);
        legs.filter_map(|id| Some((*id, self.legs.get(id)?)))
    }

    /// The leg of this endpoint.
    pub(super) fn leg_named(&self, user: &UserUri, entity: &str) -> Option<(LegId, &Leg)> {
        self.legs_of(user).find(|(_, leg)| leg.entity == entity)
    }

    /// The endpoint of this person that has waited longest for his INVITE.
    pub(super) fn expected(&self, user: &UserUri) -> Option<LegId> {
        self.legs_of(user).find(|(_, leg)| matches!(leg.state, LegState::Expected { .. })).map(|(id, _)| id)
    }

    /// The endpoints that hear what is said: from their 200 on, not only from their ACK, or they
    /// would miss what is said between the two.
    pub(super) fn in_session(&self) -> impl Iterator<Item = LegId> {
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
    pub(super) fn add_leg(&mut self, leg: Leg) -> LegId {
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
    pub(super) fn begin_session(&mut self, id: LegId, session: Session) {
        if let Some(leg) = self.legs.get_mut(&id) {
            self.dialogs.insert(session.dialog.id(), id);
            leg.state = LegState::InSession(Box::new(session));
        }
    }

    /// Removes a leg, and the person with his last one.
    pub(super) fn remove_leg(&mut self, id: LegId) -> Option<Leg> {
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

    /// The person as notifications show him, with the complete list of endpoints: a client may
    /// take what is missing for gone. `None` if he is not in.
    pub(super) fn document(&self, user: &UserUri) -> Option<User> {
        let person = self.people.get(user)?;
        let mut document = User::new(user.to_string());
        document.display_text.clone_from(&person.display_text);
        document.roles.clone_from(&person.roles);
        document.endpoints = self.legs_of(user).map(|(_, leg)| leg.document()).collect();
        Some(document)
    }
}

impl Leg {
    fn document(&self) -> Endpoint {
        let mut endpoint = Endpoint::new(self.entity.clone());
        endpoint.session_type = Some(super::MEDIA.as_str().to_owned());
        endpoint.endpoint_uri.clone_from(&self.endpoint_uri);
        endpoint.status = Some(self.status());
        endpoint.joining_method = Some(self.joining_method);
        if let LegState::Disconnected { method, .. } = self.state {
            endpoint.disconnection_method = Some(method);
        }
        endpoint.media = vec![Media::new("1", super::MEDIA.as_str())];
        // Even before the ACK: his client has a session, whether or not we live to hear of it.
        endpoint.handover = self.session().map(handover::write);
        endpoint
    }
}
