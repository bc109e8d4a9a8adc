//! When an MCU is lost: another is asked for, and the sessions go on there. An MCU tells with each
//! endpoint what a successor needs to know of it; the Focus keeps that, shows it to nobody, and
//! hands it to the next MCU. Participants notice nothing unless no successor is found in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Code, Command, UserKeys},
    conference_info::{Endpoint, EndpointStatus},
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{
    Action, Focus,
    mcu_session::{MCU_WAIT, Purpose, RETRY_FIRST},
    put_out::PutOuts,
};
use crate::reason::Reason;

/// The longest handover kept for an endpoint, in bytes.
const HANDOVER_LIMIT: usize = 16 * 1024;

/// What successors need to know, and which media wait for one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Handovers {
    /// Of each person on each medium, by the entity of the endpoint; snapshots share it.
    of: BTreeMap<McuType, BTreeMap<UserUri, Arc<BTreeMap<String, String>>>>,
    /// Until when the endpoints of a lost MCU wait for its successor.
    moving: BTreeMap<McuType, Moving>,
    put_out: PutOuts,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moving {
    until: Time,
    /// Where the medium is now, as soon as the successor has taken an endpoint over.
    server_uri: Option<String>,
    /// The endpoints that the successor is to take over and has not told of.
    untold: BTreeMap<UserUri, BTreeSet<String>>,
}

impl Handovers {
    /// To `legs`, which a successor tells of somebody's endpoints, adds those of his in `before` that it is to take
    /// over as well and has not told of: it takes them one by one.
    pub(super) fn complete(
        &mut self,
        media: McuType,
        user: &UserUri,
        legs: &mut Vec<Endpoint>,
        before: &[Endpoint],
    ) {
        let moving = self.moving.get_mut(&media);
        let Some(untold) = moving.and_then(|moving| moving.untold.get_mut(user)) else { return };
        untold.retain(|entity| legs.iter().all(|leg| leg.entity != *entity));
        let kept = self.of.get(&media).and_then(|people| people.get(user));
        let missing = before.iter().filter(|leg| untold.contains(&leg.entity)).map(|leg| {
            let handover = kept.and_then(|kept| kept.get(&leg.entity)).cloned();
            Endpoint { handover, ..leg.clone() }
        });
        legs.extend(missing);
    }

    /// Takes what the MCU said for its successor out of `legs`, all that `user` has there.
    pub(super) fn keep(&mut self, media: McuType, user: &UserUri, legs: &mut [Endpoint]) {
        let taken = legs.iter_mut().filter_map(|leg| Some((leg.entity.clone(), leg.handover.take()?)));
        let kept: BTreeMap<String, String> =
            taken.filter(|(_, handover)| handover.len() <= HANDOVER_LIMIT).collect();
        let people = self.of.entry(media).or_default();
        if kept.is_empty() {
            people.remove(user);
        } else {
            people.insert(user.clone(), Arc::new(kept));
        }
    }

    pub(super) fn moving(&self) -> impl Iterator<Item = McuType> {
        self.moving.keys().copied()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.moving.values().map(|moving| moving.until).min()
    }

    /// Those whom no MCU has confirmed to have removed.
    pub(super) fn put_out(&mut self) -> &mut PutOuts {
        &mut self.put_out
    }

    fn of(&self, media: McuType, user: &UserUri, endpoint: &str) -> Option<&String> {
        self.of.get(&media)?.get(user)?.get(endpoint)
    }
}

impl Focus {
    /// The MCU of a medium is gone.
    pub(super) fn mcu_lost(&mut self, now: Time, media: McuType, out: &mut Vec<Action>) {
        let Some(unanswered) = self.mcus.take_lost(media) else { return };
        let mut kept = BTreeSet::new();
        for (request_id, purpose) in unanswered {
            match purpose {
                Purpose::Invite(invite, user) => {
                    kept.insert(invite);
                    self.mcus.wait(now, invite, user, media);
                }
                // Its successor begins with roles, lock and people as they are by then.
                Purpose::Command(command) => {
                    let done = self.answer_for_lost(media, request_id, Code::Success);
                    self.command_step_done(command, request_id, &done, out);
                }
                Purpose::Setting(command) => {
                    let failed = self.answer_for_lost(media, request_id, Code::Failure);
                    self.command_step_done(command, request_id, &failed, out);
                }
                Purpose::Call(command, user) => {
                    let failed = self.answer_for_lost(media, request_id, Code::Failure);
                    self.command_step_done(command, request_id, &failed, out);
                    if self.roster.is_gone(&user) {
                        self.remove_person(now, &user, None, out);
                    }
                }
                Purpose::Handover(..) | Purpose::Nothing => {}
            }
        }
        self.lose_medium_joins(now, media, &kept, out);
        let moving = Moving { until: now + MCU_WAIT, server_uri: None, untold: BTreeMap::new() };
        let former = self.mcus.handovers().moving.insert(media, moving);
        if former.is_some_and(|former| former.until + RETRY_FIRST > now + MCU_WAIT) {
            self.request_mcu_later(now, media);
        } else {
            self.request_mcu(media, out);
        }
    }

    fn answer_for_lost(&self, media: McuType, request_id: u32, code: Code) -> cccp::Response {
        cccp::Response {
            request_id,
            from: self.record.uri.mcu(media).to_string(),
            to: self.record.uri.to_string(),
            code,
            reason: (code == Code::Failure).then(|| Reason::McuUnavailable.c3p_token().into()),
            results: Vec::new(),
        }
    }

    /// Somebody is removed from the conference, and so from the MCU of a medium if that is there; the request ID.
    pub(super) fn put_out(
        &mut self,
        media: McuType,
        user: &UserUri,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) -> Option<u32> {
        let legs = self.roster_of(user).legs(user, media).to_vec();
        let heirs = legs.into_iter().filter_map(|leg| self.take_over(media, user, leg)).collect();
        self.remove_there(media, user, heirs, purpose, out)
    }

    fn remove_there(
        &mut self,
        media: McuType,
        user: &UserUri,
        heirs: Vec<Command>,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) -> Option<u32> {
        let keys = UserKeys { entity: self.record.uri.to_string(), user: user.to_string() };
        let command = Command::DeleteUser { mcu_uri: None, keys };
        let request_id = self.command_mcu(media, command, purpose, out);
        if !heirs.is_empty() {
            self.mcus.handovers().put_out.add(media, user, request_id, heirs);
        }
        request_id
    }

    /// The successor removes those whom its predecessor may not have.
    fn put_out_again(&mut self, media: McuType, out: &mut Vec<Action>) {
        for (user, heirs) in self.mcus.handovers().put_out.take(media) {
            for heir in &heirs {
                self.command_mcu(media, heir.clone(), Purpose::Nothing, out);
            }
            self.remove_there(media, &user, heirs, Purpose::Nothing, out);
        }
    }

    /// The successor is ready: it takes over every endpoint that can be handed to it.
    pub(super) fn hand_over(&mut self, now: Time, media: McuType, out: &mut Vec<Action>) {
        if !self.mcus.handovers().moving.contains_key(&media) {
            return;
        }
        // Before those who stay: who is back already must not be removed with what he had.
        self.put_out_again(media, out);
        let mut left_out = Vec::new();
        for (user, legs) in self.legs_on(media) {
            for leg in legs {
                let endpoint = leg.entity.clone();
                let stays = !self.mcus.handovers().put_out.has(media, &user, &endpoint);
                let command = self.take_over(media, &user, leg).filter(|_| stays);
                let Some(command) = command else {
                    left_out.push((user.clone(), endpoint));
                    continue;
                };
                if let Some(moving) = self.mcus.handovers().moving.get_mut(&media) {
                    moving.untold.entry(user.clone()).or_default().insert(endpoint.clone());
                }
                self.command_mcu(media, command, Purpose::Handover(user.clone(), endpoint), out);
            }
        }
        for (user, endpoint) in left_out {
            self.drop_leg(now, media, &user, &endpoint, out);
        }
    }

    /// What has a successor go on with an endpoint of somebody's, if its predecessor said what that needs.
    fn take_over(&mut self, media: McuType, user: &UserUri, mut leg: Endpoint) -> Option<Command> {
        // What its predecessor knew of the lobby may be old.
        if self.lobby.roster.holds(user) {
            leg.status = Some(EndpointStatus::OnHold);
        } else if leg.status == Some(EndpointStatus::OnHold) {
            leg.status = Some(EndpointStatus::Connected);
        }
        leg.handover = Some(self.mcus.handovers().of(media, user, &leg.entity)?.clone());
        let mut person = self.roster_of(user).document(user)?;
        person.endpoints = vec![leg];
        let mcu_uri = Some(self.record.uri.mcu(media).to_string());
        Some(Command::AddUser(AddUser { mcu_uri, keys: self.keys(), user: person }))
    }

    /// What has another MCU go on with all endpoints on this one.
    pub(super) fn heirs(&mut self, media: McuType) -> Vec<cccp::Request> {
        let put_out = self.mcus.handovers().put_out.take(media);
        let mut commands: Vec<Command> = put_out.into_iter().flat_map(|(_, heirs)| heirs).collect();
        for (user, legs) in self.legs_on(media) {
            commands.extend(legs.into_iter().filter_map(|leg| self.take_over(media, &user, leg)));
        }
        commands.into_iter().map(|command| self.mcu_request(media, command)).collect()
    }

    /// The successor took an endpoint over, at `server_uri`, or did not. With the last of them the
    /// front end is told.
    pub(super) fn handed_over(
        &mut self,
        now: Time,
        media: McuType,
        user: &UserUri,
        endpoint: &str,
        server_uri: Option<String>,
        out: &mut Vec<Action>,
    ) {
        let moving = self.mcus.handovers().moving.get_mut(&media);
        match (server_uri, moving) {
            (Some(server_uri), Some(moving)) => moving.server_uri = Some(server_uri),
            (Some(_), None) => {}
            (None, _) => self.drop_leg(now, media, user, endpoint, out),
        }
        // Whoever speaks there before it knows him would be told that he is in no session.
        if self.mcus.hands_over(media) {
            return;
        }
        let moving = self.mcus.handovers().moving.get_mut(&media);
        if let Some(server_uri) = moving.and_then(|moving| moving.server_uri.take()) {
            out.push(Action::MoveMcu { media, server_uri });
        }
    }

    /// The time for moving is over. If no successor was found, nobody is on the medium any more.
    pub(super) fn give_up_handovers(&mut self, now: Time, out: &mut Vec<Action>) {
        let over: Vec<McuType> = {
            let late = self.mcus.handovers().moving.extract_if(.., |_, moving| moving.until <= now);
            late.map(|(media, _)| media).collect()
        };
        for media in over {
            if self.mcus.control_url(media).is_some() {
                continue;
            }
            self.changes.view(now);
            self.mcus.handovers().put_out.take(media);
            for (user, legs) in self.legs_on(media) {
                for leg in legs {
                    self.drop_leg(now, media, &user, &leg.entity, out);
                }
            }
        }
    }

    /// An endpoint is on the medium no more; the person's client has to come anew.
    fn drop_leg(&mut self, now: Time, media: McuType, user: &UserUri, endpoint: &str, out: &mut Vec<Action>) {
        self.roster_of_mut(user).remove_leg(user, media, endpoint);
        self.changed(now, user);
        self.end_medium_joins(now, user, media, out);
        if self.roster_of(user).is_gone(user) {
            self.remove_person(now, user, None, out);
        }
    }

    /// Everybody's endpoints on one conferencing server, also of those who wait.
    fn legs_on(&self, media: McuType) -> Vec<(UserUri, Vec<Endpoint>)> {
        let mut legs = self.roster.legs_on(media);
        legs.extend(self.lobby.roster.legs_on(media));
        legs
    }
}
