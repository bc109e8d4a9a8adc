//! Step 7: what the Focus commands every MCU (c3p §8, §9).

use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Code, ResultBody},
    conference_info::{
        CallRecord, ConferenceInfo, DisconnectionMethod, Endpoint, EndpointStatus, JoiningMethod, User,
    },
    mcu_control::{MCU_CONFERENCE_URI, MCU_SERVER_URI},
    uri::UserUri,
};

use super::{
    Farewell, INVITE_WAIT, Medium, Room, Timer,
    roster::{Leg, LegId, LegState},
};
use crate::{
    Action,
    control::{self, Fault, Verb},
};

/// What somebody is told whom the Focus removed.
const REMOVED: Farewell =
    Farewell { method: DisconnectionMethod::Booted, sentence: "You were removed from the conference." };
/// What everybody is told when the conference ends.
const CONFERENCE_ENDED: Farewell =
    Farewell { method: DisconnectionMethod::Departed, sentence: "The conference has ended." };

impl<M: Medium> Room<M> {
    pub(super) fn control(&mut self, now: Time, id: u64, request: cccp::Request, out: &mut Vec<Action>) {
        let response = match self.try_control(now, id, &request, out) {
            Ok(Some(body)) => cccp::Response::new(&request, Code::Success, body),
            Ok(None) => return,
            Err(fault) => control::failure(&request, fault),
        };
        out.push(Action::ControlResponse { id, response });
    }

    /// Everything is done: the command that ended the conference is answered, with what became of
    /// those who were in to the last.
    pub(crate) fn finish(
        &mut self,
        control: (u64, &cccp::Request),
        calls: Vec<CallRecord>,
        out: &mut Vec<Action>,
    ) {
        self.timers.clear();
        let (id, request) = control;
        let info = ConferenceInfo { entity: self.conference.to_string(), calls, ..ConferenceInfo::default() };
        let body = ResultBody::Conference(Box::new(info));
        out.push(Action::ControlResponse { id, response: cccp::Response::new(request, Code::Success, body) });
        out.push(Action::Ended);
    }

    /// The body of the answer, or `None` if it was given or will be.
    fn try_control(
        &mut self,
        now: Time,
        id: u64,
        request: &cccp::Request,
        out: &mut Vec<Action>,
    ) -> Result<Option<ResultBody>, Fault> {
        if self.ended {
            return Err(Fault::NoSuchConference);
        }
        match control::read(request, &self.conference)? {
            Verb::Expect { user, add, endpoint } => self.expect(now, &user, add, endpoint, out).map(Some),
            Verb::Call { user, add, endpoint } => self.call(now, (id, request), &user, add, endpoint, out),
            Verb::Remove(user) => {
                let legs = self.legs_of(&user);
                if legs.is_empty() {
                    return Err(Fault::NoSuchUser);
                }
                for leg in legs {
                    self.remove_leg(now, leg, Some(REMOVED), out);
                }
                Ok(Some(ResultBody::Empty))
            }
            Verb::SetRoles(user, roles) => {
                let person = self.roster.person_mut(&user).ok_or(Fault::NoSuchUser)?;
                person.roles = roles.to_vec();
                self.changes.people.insert(user);
                Ok(Some(ResultBody::Empty))
            }
            // Those who are in go on as before: the lock is the Focus' to enforce, ours to show.
            Verb::Lock(locked) => {
                self.changes.view |= self.locked != locked;
                self.locked = locked;
                Ok(Some(ResultBody::Empty))
            }
            Verb::Describe => Ok(Some(ResultBody::Conference(Box::new(self.description())))),
            Verb::End => {
                for leg in self.roster.legs().map(|(leg, _)| leg).collect::<Vec<_>>() {
                    self.remove_leg(now, leg, Some(CONFERENCE_ENDED), out);
                }
                self.ended = true;
                self.requests.clear();
                self.timers.clear();
                if !M::winds_up(self, now, (id, request), out) {
                    self.finish((id, request), Vec::new(), out);
                }
                Ok(None)
            }
            Verb::Media(verb) => M::command(self, now, (id, request), verb, out),
        }
    }

    /// `addUser` of somebody who comes himself; the same endpoint may be added again.
    fn expect(
        &mut self,
        now: Time,
        user: &UserUri,
        add: &AddUser,
        endpoint: &Endpoint,
        out: &mut Vec<Action>,
    ) -> Result<ResultBody, Fault> {
        match self.roster.leg_named(user, &endpoint.entity).map(|(leg, present)| (leg, &present.state)) {
            Some((_, LegState::InSession(_) | LegState::Arriving(_))) => {}
            Some((leg, LegState::Expected { until })) => {
                let (until, later) = (*until, now + INVITE_WAIT);
                self.timers.remove(&(until, Timer::Leg(leg)));
                self.timers.insert((later, Timer::Leg(leg)));
                if let Some(leg) = self.roster.leg_mut(leg) {
                    leg.state = LegState::Expected { until: later };
                }
            }
            present => {
                let waits = endpoint.status == Some(EndpointStatus::OnHold);
                if waits && !M::HOLDS {
                    return Err(Fault::NotSupported);
                }
                if let Some((leg, _)) = present {
                    self.remove_leg(now, leg, None, out);
                }
                let until = now + INVITE_WAIT;
                let state = Self::first_state(now, endpoint, until);
                let is_expected = matches!(state, LegState::Expected { .. });
                let leg = self.add_leg(user, &add.user, endpoint, JoiningMethod::DialedIn, state)?;
                if waits {
                    M::hold(self, user, out);
                }
                if is_expected {
                    self.timers.insert((until, Timer::Leg(leg)));
                } else {
                    self.await_refresh(leg);
                    M::resumed(self, now, leg, out);
                }
            }
        }
        self.roster.add_person(user, &add.user);
        self.changes.people.insert(user.clone());
        Ok(self.added(add, endpoint, JoiningMethod::DialedIn))
    }

    /// Adds the endpoint that `addUser` names, within the limits.
    pub(super) fn add_leg(
        &mut self,
        user: &UserUri,
        document: &User,
        endpoint: &Endpoint,
        joining_method: JoiningMethod,
        state: LegState<M::Session>,
    ) -> Result<LegId, Fault> {
        let endpoints = self.roster.person(user).map(|person| person.legs.len());
        if endpoints.is_none() && self.roster.len() >= self.limits.participants
            || endpoints.is_some_and(|count| count >= self.limits.endpoints_per_person)
        {
            return Err(Fault::Other);
        }
        self.roster.add_person(user, document);
        self.changes.people.insert(user.clone());
        Ok(self.roster.add_leg(Leg {
            user: user.clone(),
            entity: endpoint.entity.clone(),
            joining_method,
            endpoint_uri: endpoint.endpoint_uri.clone(),
            state,
        }))
    }

    /// The answer to `addUser`: who was added, and where his INVITE goes (c3p §9.1).
    pub(super) fn added(
        &self,
        add: &AddUser,
        endpoint: &Endpoint,
        joining_method: JoiningMethod,
    ) -> ResultBody {
        let mut user = User::new(add.user.entity.clone());
        user.roles.clone_from(&add.user.roles);
        let mut endpoint =
            Endpoint { joining_method: Some(joining_method), handover: None, ..endpoint.clone() };
        endpoint.media.clear();
        user.endpoints = vec![endpoint];
        let connection_info = match joining_method {
            JoiningMethod::DialedIn => vec![
                (MCU_SERVER_URI.to_owned(), self.server_uri.clone()),
                (MCU_CONFERENCE_URI.to_owned(), self.mcu_uri.to_string()),
            ],
            _ => Vec::new(),
        };
        ResultBody::AddUser { keys: add.keys.clone(), user: Box::new(user), connection_info }
    }

    pub(super) fn legs_of(&self, user: &UserUri) -> Vec<LegId> {
        self.roster.legs_of(user).map(|(leg, _)| leg).collect()
    }
}
