//! Who is heard: muting one, muting all, and those who wait to be let in (MS-CONFAV §3.2.5.4, c3p §8.6, §8.7).
//!
//! It holds for a person, by whatever leg he is in or comes later. A command is answered, and the roster shows
//! it, when the data plane has said that it is so.

use std::{collections::BTreeSet, time::Duration};

use confab_machine::Time;
use confab_media::session::{self, Command, Gate};
use confab_schema::{
    cccp::{self, Code, ResultBody},
    conference_info::{Media, MediaFilter, MediaRules, MediaStatus, Role},
    uri::UserUri,
};

use super::{Voices, Waking};
use crate::{
    Action,
    conference::{Leg, LegId, Room},
    control::{self, Fault, MediaVerb},
};

/// How long the data plane may take to confirm.
const CONFIRM_LIMIT: Duration = Duration::from_secs(2);

/// A command that awaits its confirmation.
#[derive(Debug)]
pub(super) struct Gating {
    control: (u64, cccp::Request),
    /// The commands to the data plane that it has not confirmed.
    awaiting: BTreeSet<u64>,
    people: Vec<UserUri>,
}

impl Room<Voices> {
    /// `modifyEndpointMedia`, or the rules of mute-all.
    pub(super) fn gate(
        &mut self,
        now: Time,
        control: (u64, &cccp::Request),
        verb: MediaVerb<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Option<ResultBody>, Fault> {
        let wanted = match verb {
            MediaVerb::Filter { user, keys, media } => {
                if self.roster.person(&user).is_none() {
                    return Err(Fault::NoSuchUser);
                }
                if self.roster.leg_named(&user, &keys.endpoint).is_none() {
                    return Err(Fault::NoSuchEndpoint);
                }
                // Deviation: voices alone can be muted; pictures are switched by who speaks.
                if keys.media != super::calls::AUDIO_ID {
                    return Err(Fault::NotSupported);
                }
                let gate = wanted_gate(media).ok_or(Fault::NotSupported)?;
                vec![(user, gate)]
            }
            MediaVerb::LetIn(user) => {
                let role = self.roster.person(&user).ok_or(Fault::NoSuchUser)?.roles.first().copied();
                let gate = first_gate(&self.medium.rules, role);
                let person = self.medium.person(&user, role);
                // Whom a leader has put on hold since is not in the lobby.
                let waited = std::mem::replace(&mut person.in_lobby, false);
                if waited { vec![(user, gate)] } else { Vec::new() }
            }
            MediaVerb::Rules(rules) => {
                self.medium.rules = rules.clone();
                self.changes.view = true;
                self.ruled()
            }
        };
        Ok(self.set_gates(now, control, wanted, out))
    }

    /// Somebody waits in the lobby: he is not heard and hears nothing, by whatever leg he is here or comes.
    pub(super) fn hold(&mut self, user: &UserUri, out: &mut Vec<Action>) {
        let role = self.roster.person(user).and_then(|person| person.roles.first().copied());
        let person = self.medium.person(user, role);
        person.in_lobby = true;
        let gate = std::mem::replace(&mut person.gate, Gate::Waiting);
        person.shown = Gate::Waiting;
        let legs = self.live_legs(user);
        if gate != Gate::Waiting && !legs.is_empty() {
            self.medium.last_gate += 1;
            let id = self.medium.last_gate;
            out.push(Action::Media(Command::Gate { id, legs, gate: Gate::Waiting }));
        }
    }

    /// The legs of a person of which the data plane knows.
    fn live_legs(&self, user: &UserUri) -> Vec<session::LegId> {
        let calls = &self.medium.calls;
        let live = |id: &LegId| calls.get(id).is_some_and(|call| call.is_live());
        let legs = self.roster.legs_of(user).map(|(id, _)| id);
        legs.filter(live).map(|id| session::LegId(id.0)).collect()
    }

    /// What the rules make of everybody who is in; who waits goes on waiting.
    fn ruled(&mut self) -> Vec<(UserUri, Gate)> {
        let people: Vec<(UserUri, Option<Role>)> = self
            .roster
            .people()
            .map(|(user, person)| (user.clone(), person.roles.first().copied()))
            .collect();
        let mut wanted = Vec::new();
        for (user, role) in people {
            let gate = first_gate(&self.medium.rules, role);
            match self.medium.people.get(&user).map(|person| person.gate) {
                Some(Gate::Waiting) => {}
                Some(_) => wanted.push((user, gate)),
                // He has not come yet, and is shown as he will begin.
                None => drop(self.changes.people.insert(user)),
            }
        }
        wanted
    }

    /// Has it so; the answer, unless that waits for the data plane.
    fn set_gates(
        &mut self,
        now: Time,
        control: (u64, &cccp::Request),
        wanted: Vec<(UserUri, Gate)>,
        out: &mut Vec<Action>,
    ) -> Option<ResultBody> {
        let mut gating =
            Gating { control: (control.0, control.1.clone()), awaiting: BTreeSet::new(), people: Vec::new() };
        for gate in [Gate::Open, Gate::Muted, Gate::Waiting] {
            let mut legs = Vec::new();
            for (user, _) in wanted.iter().filter(|(_, wanted)| *wanted == gate) {
                let role = self.roster.person(user).and_then(|person| person.roles.first().copied());
                let person = self.medium.person(user, role);
                if std::mem::replace(&mut person.gate, gate) == gate {
                    continue;
                }
                legs.extend(self.live_legs(user));
                gating.people.push(user.clone());
            }
            if !legs.is_empty() {
                self.medium.last_gate += 1;
                let id = self.medium.last_gate;
                gating.awaiting.insert(id);
                out.push(Action::Media(Command::Gate { id, legs, gate }));
            }
        }
        if gating.awaiting.is_empty() {
            self.show(&gating.people);
            return Some(ResultBody::Empty);
        }
        let last = self.medium.last_gate;
        self.medium.gatings.insert(last, gating);
        self.wake(now + CONFIRM_LIMIT, Waking::Gating(last));
        None
    }

    /// The data plane has done what this command said.
    pub(super) fn gated(&mut self, id: u64, out: &mut Vec<Action>) {
        let found = self.medium.gatings.iter_mut().find(|(_, gating)| gating.awaiting.contains(&id));
        let Some((&number, gating)) = found else { return };
        gating.awaiting.remove(&id);
        if !gating.awaiting.is_empty() {
            return;
        }
        let Some(gating) = self.medium.gatings.remove(&number) else { return };
        self.show(&gating.people);
        let (id, request) = gating.control;
        let response = cccp::Response::new(&request, Code::Success, ResultBody::Empty);
        out.push(Action::ControlResponse { id, response });
    }

    /// The data plane has not confirmed in time, or nobody will hear that it has.
    pub(super) fn not_gated(&mut self, number: u64, out: &mut Vec<Action>) {
        let Some(gating) = self.medium.gatings.remove(&number) else { return };
        let (id, request) = gating.control;
        out.push(Action::ControlResponse { id, response: control::failure(&request, Fault::Other) });
    }

    /// From now on the roster shows these people as they are wanted to be, and so would a successor.
    fn show(&mut self, people: &[UserUri]) {
        for user in people {
            let Some(person) = self.medium.people.get_mut(user) else { continue };
            person.shown = person.gate;
            let word = person.word();
            let legs: Vec<LegId> = self.roster.legs_of(user).map(|(id, _)| id).collect();
            for id in legs {
                if let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) {
                    session.own.gate = word.clone();
                }
            }
            self.changes.people.insert(user.clone());
        }
    }
}

/// What a medium is to be: blocked both ways is to wait, blocked inward is to be mute. A status alone says
/// the same; `None` if neither is said.
fn wanted_gate(media: &Media) -> Option<Gate> {
    let blocked = |filter: Option<MediaFilter>| filter.map(|filter| filter == MediaFilter::Block);
    let by_status =
        media.status.map(|status| matches!(status, MediaStatus::RecvOnly | MediaStatus::Inactive));
    match (blocked(media.ingress_filter).or(by_status)?, blocked(media.egress_filter)) {
        (true, Some(true)) => Some(Gate::Waiting),
        (true, _) => Some(Gate::Muted),
        (false, Some(true)) => None,
        (false, _) => Some(Gate::Open),
    }
}

/// What a person who comes in begins with.
pub(super) fn first_gate(rules: &MediaRules, role: Option<Role>) -> Gate {
    if rules.begins_muted(role) { Gate::Muted } else { Gate::Open }
}
