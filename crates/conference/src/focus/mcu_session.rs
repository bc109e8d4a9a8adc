//! Steps 5 to 8 as the Focus sees them: one conferencing server per medium, from unassigned to
//! ready, and the commands under way to each.

use std::{collections::BTreeMap, time::Duration};

use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Code, Command, ConferenceKeys, ResultBody, UserKeys},
    conference_info::{ConferenceInfo, Endpoint, EndpointStatus, JoiningMethod, State, User},
    mcu_control::MCU_SERVER_URI,
    uri::{McuType, McuUri, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{Action, CommandId, Focus, InviteId, handover::Handovers};
use crate::{policy::Permission, reason::Reason};

/// How long an INVITE waits for its conferencing server to come up (the 30 s of UCMA).
pub(super) const MCU_WAIT: Duration = Duration::from_secs(30);
/// How soon the factory is asked again after it found no server; doubled each time up to the last.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// The conferencing servers of one conference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct McuSessions {
    mcus: BTreeMap<McuType, Mcu>,
    handovers: Handovers,
    waiting: Vec<Waiting>,
    outstanding: BTreeMap<u32, Outstanding>,
    last_request_id: u32,
}

/// How far one medium is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Mcu {
    Unassigned,
    Provisioning { attempts: u32 },
    Retrying { at: Time, attempts: u32 },
    Ready { control_url: String },
}

/// An INVITE that came before its conferencing server was ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    invite: InviteId,
    user: UserUri,
    media: McuType,
    until: Time,
}

/// A command sent to an MCU that has not answered finally.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outstanding {
    media: McuType,
    purpose: Purpose,
}

/// What the answer to a command is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// An INVITE is forwarded when the MCU has taken the person.
    Invite(InviteId, UserUri),
    /// A participant's command is finished when the MCUs have done it.
    Command(CommandId),
    /// As `Command`; only this MCU will know that it was done, and its successor not.
    Setting(CommandId),
    /// As `Command`; this person is dropped from the roster if the call does not come about.
    Call(CommandId, UserUri),
    /// This endpoint of this person goes on with the successor of an MCU that was lost.
    Handover(UserUri, String),
    /// Nobody waits for it.
    Nothing,
}

impl McuSessions {
    pub(super) fn new(media: &[McuType]) -> McuSessions {
        McuSessions {
            mcus: media.iter().map(|media| (*media, Mcu::Unassigned)).collect(),
            handovers: Handovers::default(),
            waiting: Vec::new(),
            outstanding: BTreeMap::new(),
            last_request_id: 0,
        }
    }

    pub(super) fn unassigned(&self) -> Vec<McuType> {
        let unassigned = self.mcus.iter().filter(|(_, mcu)| matches!(mcu, Mcu::Unassigned));
        unassigned.map(|(media, _)| *media).collect()
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = McuType> {
        self.mcus.iter().filter(|(_, mcu)| matches!(mcu, Mcu::Ready { .. })).map(|(media, _)| *media)
    }

    pub(super) fn control_url(&self, media: McuType) -> Option<&str> {
        match self.mcus.get(&media) {
            Some(Mcu::Ready { control_url }) => Some(control_url),
            _ => None,
        }
    }

    pub(super) fn take_all(&mut self) -> BTreeMap<McuType, Mcu> {
        std::mem::take(&mut self.mcus)
    }

    /// The INVITEs that have no answer yet, whether their MCU is waited for or has been asked.
    pub(super) fn take_invites(&mut self) -> impl Iterator<Item = InviteId> + use<> {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.invite);
        let asked = std::mem::take(&mut self.outstanding).into_values();
        waiting.chain(asked.filter_map(|outstanding| match outstanding.purpose {
            Purpose::Invite(invite, _) => Some(invite),
            Purpose::Command(_)
            | Purpose::Setting(_)
            | Purpose::Call(..)
            | Purpose::Handover(..)
            | Purpose::Nothing => None,
        }))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let retries = self.mcus.values().filter_map(|mcu| match mcu {
            Mcu::Retrying { at, .. } => Some(*at),
            _ => None,
        });
        let waits = self.waiting.iter().map(|waiting| waiting.until);
        retries.chain(waits).chain(self.handovers.deadline()).min()
    }

    /// Forgets commands whose sending was held back and then dropped.
    pub(super) fn forget(&mut self, request_ids: impl IntoIterator<Item = u32>) {
        for id in request_ids {
            self.outstanding.remove(&id);
            self.handovers.put_out().confirm(id);
        }
    }

    /// What is told as there: an MCU that is ready, or whose successor is on its way.
    pub(super) fn shown(&self) -> impl Iterator<Item = McuType> {
        let moving = self.handovers.moving().filter(|media| self.control_url(*media).is_none());
        self.ready().chain(moving)
    }

    pub(super) fn handovers(&mut self) -> &mut Handovers {
        &mut self.handovers
    }

    /// Whether endpoints are being handed over to the MCU of a medium.
    pub(super) fn hands_over(&self, media: McuType) -> bool {
        self.outstanding.values().any(|outstanding| {
            outstanding.media == media && matches!(outstanding.purpose, Purpose::Handover(..))
        })
    }

    /// Forgets an MCU that was ready, and returns what it had not answered.
    pub(super) fn take_lost(&mut self, media: McuType) -> Option<Vec<(u32, Purpose)>> {
        let mcu = self.mcus.get_mut(&media).filter(|mcu| matches!(mcu, Mcu::Ready { .. }))?;
        *mcu = Mcu::Unassigned;
        let unanswered = self.outstanding.extract_if(.., |_, outstanding| outstanding.media == media);
        Some(unanswered.map(|(id, outstanding)| (id, outstanding.purpose)).collect())
    }

    /// Nobody waits any more for this INVITE to pass.
    pub(super) fn forget_waiting(&mut self, invite: InviteId) {
        self.waiting.retain(|waiting| waiting.invite != invite);
    }

    pub(super) fn wait(&mut self, now: Time, invite: InviteId, user: UserUri, media: McuType) {
        self.waiting.push(Waiting { invite, user, media, until: now + MCU_WAIT });
    }

    fn next_request_id(&mut self) -> u32 {
        // Clients of the original hold request IDs in 31 bits.
        self.last_request_id = (self.last_request_id + 1) & 0x7fff_ffff;
        self.last_request_id
    }
}

impl Focus {
    pub(super) fn request_mcu(&mut self, media: McuType, out: &mut Vec<Action>) {
        let attempts = match self.mcus.mcus.get(&media) {
            Some(Mcu::Retrying { attempts, .. }) => *attempts,
            _ => 0,
        };
        self.mcus.mcus.insert(media, Mcu::Provisioning { attempts });
        out.push(Action::RequestMcu { media });
    }

    /// One that was lost a moment ago, too, is asked for only after a while: who answers the factory
    /// and nothing else would keep us busy with nothing else.
    pub(super) fn request_mcu_later(&mut self, now: Time, media: McuType) {
        self.mcus.mcus.insert(media, Mcu::Provisioning { attempts: 0 });
        self.mcu_unavailable(now, media);
    }

    pub(super) fn mcu_ready(
        &mut self,
        now: Time,
        media: McuType,
        control_url: String,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.mcus.mcus.get(&media), Some(Mcu::Provisioning { .. })) {
            return;
        }
        self.mcus.mcus.insert(media, Mcu::Ready { control_url });
        self.changes.view(now);
        self.rule(media, out);
        self.hand_over(now, media, out);
        if self.record.locked {
            // It was provisioned without a word of the lock.
            let command = Command::ModifyConferenceLock { keys: self.keys(), locked: true };
            self.command_mcu(media, command, Purpose::Nothing, out);
        }
        let waiting = std::mem::take(&mut self.mcus.waiting);
        let (ready, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.media == media);
        self.mcus.waiting = others;
        for waiting in ready {
            // He may have left while he waited.
            match self.may_join_medium(&waiting.user, media) {
                Permission::Allow => self.add_invited(waiting.invite, &waiting.user, media, out),
                Permission::Refuse(reason) => self.refuse_invite(now, waiting.invite, reason, out),
            }
        }
    }

    pub(super) fn mcu_unavailable(&mut self, now: Time, media: McuType) {
        if let Some(Mcu::Provisioning { attempts }) = self.mcus.mcus.get(&media) {
            let wait = RETRY_FIRST.saturating_mul(1 << (*attempts).min(8)).min(RETRY_LAST);
            let attempts = attempts + 1;
            self.mcus.mcus.insert(media, Mcu::Retrying { at: now + wait, attempts });
        }
    }

    pub(super) fn mcu_timeout(&mut self, now: Time, out: &mut Vec<Action>) {
        let waiting = std::mem::take(&mut self.mcus.waiting);
        let (late, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| waiting.until <= now);
        self.mcus.waiting = others;
        for waiting in late {
            self.refuse_invite(now, waiting.invite, Reason::McuUnavailable, out);
        }
        self.give_up_handovers(now, out);
        let due =
            self.mcus.mcus.iter().filter(|(_, mcu)| matches!(mcu, Mcu::Retrying { at, .. } if *at <= now));
        for media in due.map(|(media, _)| *media).collect::<Vec<_>>() {
            self.request_mcu(media, out);
        }
    }

    pub(super) fn mcu_invited(
        &mut self,
        now: Time,
        invite: InviteId,
        user: &UserUri,
        mcu: &McuUri,
        out: &mut Vec<Action>,
    ) {
        match self.check_mcu_invite(user, mcu) {
            Err(reason) => out.push(Action::RefuseInvite { invite, reason }),
            Ok(()) => self.pass_on(now, invite, user, mcu.media, out),
        }
    }

    /// An INVITE that may pass does so as soon as its MCU is there.
    pub(super) fn pass_on(
        &mut self,
        now: Time,
        invite: InviteId,
        user: &UserUri,
        media: McuType,
        out: &mut Vec<Action>,
    ) {
        if self.mcus.control_url(media).is_some() {
            self.add_invited(invite, user, media, out);
        } else {
            self.mcus.wait(now, invite, user.clone(), media);
        }
    }

    fn check_mcu_invite(&self, user: &UserUri, mcu: &McuUri) -> Result<(), Reason> {
        if mcu.conference != self.record.uri {
            return Err(Reason::InvalidMcu);
        }
        if let Permission::Refuse(reason) = self.may_join_medium(user, mcu.media) {
            return Err(reason);
        }
        if !self.mcus.mcus.contains_key(&mcu.media) {
            return Err(Reason::MediumNotScheduled);
        }
        self.may_wait()
    }

    /// Whether one more INVITE may wait for its MCU.
    pub(super) fn may_wait(&self) -> Result<(), Reason> {
        let waiting = self.mcus.waiting.len() + self.mcus.outstanding.len();
        if waiting < self.waiting_limit() { Ok(()) } else { Err(Reason::Busy) }
    }

    /// Has the MCU take somebody whose INVITE is to be forwarded (the "direct media INVITE"), and hold him if
    /// he waits in the lobby.
    fn add_invited(&mut self, invite: InviteId, user: &UserUri, media: McuType, out: &mut Vec<Action>) {
        let roster = self.roster_of(user);
        let mut person = roster.document(user).unwrap_or_else(|| User::new(user.to_string()));
        let name = roster.medium_join(invite).map(str::to_owned);
        let mut endpoint = Endpoint::new(name.unwrap_or_else(|| self.entropy.guid()));
        endpoint.joining_method = Some(JoiningMethod::DialedIn);
        endpoint.status = self.lobby.roster.holds(user).then_some(EndpointStatus::OnHold);
        person.endpoints = vec![endpoint];
        let command = Command::AddUser(AddUser {
            mcu_uri: Some(self.record.uri.mcu(media).to_string()),
            keys: self.keys(),
            user: person,
        });
        self.command_mcu(media, command, Purpose::Invite(invite, user.clone()), out);
    }

    /// Sends a command to a medium's MCU, if it is ready, and returns the command's request ID.
    pub(super) fn command_mcu(
        &mut self,
        media: McuType,
        command: Command,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) -> Option<u32> {
        let control_url = self.mcus.control_url(media)?.to_owned();
        let request = self.mcu_request(media, command);
        let request_id = request.request_id;
        self.mcus.outstanding.insert(request_id, Outstanding { media, purpose });
        out.push(Action::CommandMcu { media, control_url, request });
        Some(request_id)
    }

    pub(super) fn mcu_request(&mut self, media: McuType, command: Command) -> cccp::Request {
        cccp::Request {
            request_id: self.mcus.next_request_id(),
            from: self.record.uri.to_string(),
            to: self.record.uri.mcu(media).to_string(),
            commands: vec![command],
        }
    }

    pub(super) fn end_request(&mut self, media: McuType) -> cccp::Request {
        let keys = self.keys();
        self.mcu_request(media, Command::DeleteConference(keys))
    }

    pub(super) fn keys(&self) -> ConferenceKeys {
        ConferenceKeys { entity: Some(self.record.uri.to_string()), conference_id: None }
    }

    /// Has every MCU remove somebody, or where nobody waits for it those that he may be on; the request IDs of
    /// the commands are returned. Who is on one nonetheless is removed when that tells of him.
    pub(super) fn remove_from_mcus(
        &mut self,
        user: &UserUri,
        command: Option<CommandId>,
        out: &mut Vec<Action>,
    ) -> Vec<u32> {
        let is_meant = |media: &McuType| command.is_some() || self.may_be_on(*media, user);
        let media: Vec<McuType> = self.mcus.shown().filter(is_meant).collect();
        let purpose = command.map_or(Purpose::Nothing, Purpose::Command);
        media.into_iter().filter_map(|media| self.put_out(media, user, purpose.clone(), out)).collect()
    }

    fn may_be_on(&self, media: McuType, user: &UserUri) -> bool {
        let is_going_there = |outstanding: &Outstanding| {
            let whom = match &outstanding.purpose {
                Purpose::Invite(_, user) | Purpose::Call(_, user) | Purpose::Handover(user, _) => Some(user),
                Purpose::Command(_) | Purpose::Setting(_) | Purpose::Nothing => None,
            };
            outstanding.media == media && whom == Some(user)
        };
        self.roster.is_on(user, media) || self.mcus.outstanding.values().any(is_going_there)
    }

    pub(super) fn mcu_answered(
        &mut self,
        now: Time,
        media: McuType,
        response: cccp::Response,
        out: &mut Vec<Action>,
    ) {
        let known = self.mcus.outstanding.get(&response.request_id).is_some_and(|o| o.media == media);
        if !known || response.code == Code::Pending {
            return;
        }
        let request_id = response.request_id;
        self.mcus.handovers.put_out().confirm(request_id);
        let Some(outstanding) = self.mcus.outstanding.remove(&request_id) else { return };
        let done = response.code == Code::Success;
        match outstanding.purpose {
            Purpose::Invite(invite, _) => match server_uri(&response) {
                Some(server_uri) if done => out.push(Action::ForwardInvite { invite, media, server_uri }),
                _ => self.refuse_invite(now, invite, Reason::McuUnavailable, out),
            },
            Purpose::Command(command) | Purpose::Setting(command) => {
                self.command_step_done(command, request_id, &response, out);
            }
            Purpose::Call(command, user) => {
                self.command_step_done(command, request_id, &response, out);
                if !done && self.roster.is_gone(&user) {
                    self.remove_person(now, &user, None, out);
                }
            }
            Purpose::Handover(user, endpoint) => {
                let server_uri = server_uri(&response).filter(|_| done);
                self.handed_over(now, media, &user, &endpoint, server_uri, out);
            }
            Purpose::Nothing => {}
        }
    }

    pub(super) fn mcu_unreachable(
        &mut self,
        now: Time,
        media: McuType,
        request_id: u32,
        out: &mut Vec<Action>,
    ) {
        // An MCU that does not answer its control link is of no more use to this conference.
        if self.mcus.outstanding.get(&request_id).is_some_and(|outstanding| outstanding.media == media) {
            self.mcu_lost(now, media, out);
        }
    }

    /// An MCU tells who is on it. Who is not in the conference (any more) is removed there.
    pub(super) fn mcu_notified(
        &mut self,
        now: Time,
        media: McuType,
        mut document: ConferenceInfo,
        out: &mut Vec<Action>,
    ) {
        if self.mcus.control_url(media).is_none() {
            return;
        }
        self.take_news(now, media, &mut document, out);
        for user in document.users.into_iter().flat_map(|users| users.users) {
            let Ok(uri) = UserUri::parse(&user.entity) else { continue };
            let mut legs = if user.state == State::Deleted { Vec::new() } else { user.endpoints };
            for leg in &mut legs {
                // Clients tell the media apart by it.
                leg.session_type.get_or_insert_with(|| media.as_str().into());
            }
            let before = self.roster_of(&uri).legs(&uri, media).to_vec();
            self.mcus.handovers.complete(media, &uri, &mut legs, &before);
            self.mcus.handovers.keep(media, &uri, &mut legs);
            let present = !legs.is_empty();
            let roster = self.roster_of_mut(&uri);
            if present && roster.has_legs(&uri, media, &legs) {
                continue;
            }
            if roster.set_legs(&uri, media, legs) {
                self.changed(now, &uri);
                self.end_medium_joins(now, &uri, media, out);
                if self.roster_of(&uri).is_gone(&uri) {
                    self.remove_person(now, &uri, None, out);
                }
            } else if present {
                let keys = UserKeys { entity: self.record.uri.to_string(), user: uri.to_string() };
                self.command_mcu(media, Command::DeleteUser { mcu_uri: None, keys }, Purpose::Nothing, out);
            }
        }
    }
}

/// The SIP URI at which an MCU takes the INVITE, from its answer to `addUser`.
fn server_uri(response: &cccp::Response) -> Option<String> {
    let ResultBody::AddUser { connection_info, .. } = &response.results.first()?.body else { return None };
    let entry = connection_info.iter().find(|(key, _)| key.eq_ignore_ascii_case(MCU_SERVER_URI));
    entry.map(|(_, value)| value.clone())
}
