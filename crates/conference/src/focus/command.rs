//! Step 7: the C3P commands participants send (c3p §8, §9): each is authorized here by the policy,
//! carried out, relayed to the conferencing servers and answered, first `pending`, then finally.

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Code, Command, CommandResult, ResultBody, UserKeys},
    conference_info::{ConferenceInfo, JoiningMethod, Role},
    uri::{McuType, McuUri, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{Action, CommandId, Ending, Focus, JoinId, join::the_endpoint, mcu_session::Purpose};
use crate::{
    policy::{self, Permission, Right},
    reason::Reason,
    record::{ConferenceRecord, RecordChange},
};

/// The commands that wait for conferencing servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PendingCommands(BTreeMap<CommandId, Pending>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    /// Where its author hears of it; `None` if that is for the shell to know.
    join: Option<JoinId>,
    /// The request IDs of the commands to MCUs that have not been answered.
    waits: BTreeSet<u32>,
    /// What is sent when the last one is.
    response: cccp::Response,
}

/// A change of the record that the database may still refuse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Unsaved {
    previous: ConferenceRecord,
    /// Whose change it is, if somebody waits for it.
    command: Option<CommandId>,
    /// When it was handed to the database.
    pub(super) at: Time,
}

/// A command on its way through this file: what to call it, where it came from, what it asks.
pub(super) struct Incoming<'a> {
    pub(super) command: CommandId,
    pub(super) join: Option<JoinId>,
    pub(super) user: UserUri,
    pub(super) request: &'a cccp::Request,
}

impl Focus {
    pub(super) fn command(
        &mut self,
        now: Time,
        command: CommandId,
        join: JoinId,
        request: &cccp::Request,
        out: &mut Vec<Action>,
    ) {
        // Nobody hears a new command before the database has answered for the last one.
        self.saved();
        if let Err(reason) = self.try_command(now, command, join, request, out) {
            out.push(Action::RefuseCommand { command, reason });
        }
    }

    fn try_command(
        &mut self,
        now: Time,
        command: CommandId,
        join: JoinId,
        request: &cccp::Request,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let Some(user) = self.roster.user_of(join).cloned() else {
            let waits = self.lobby.roster.user_of(join).is_some();
            return Err(if waits { Reason::InLobby } else { Reason::NotJoined });
        };
        self.check_envelope(&user, request)?;
        self.may_command()?;
        let incoming = Incoming { command, join: Some(join), user, request };
        let [wanted] = request.commands.as_slice() else {
            // Deviation: several commands in one INFO are refused as notSupported rather than done atomically.
            self.accept(&incoming, out);
            self.finish_failed(&incoming, "notSupported", out);
            return Ok(());
        };
        match wanted {
            Command::AddUser(add) => self.add_user(now, &incoming, add, out),
            Command::DeleteUser { mcu_uri, keys } => {
                self.delete_user(now, &incoming, mcu_uri.as_deref(), keys, out)
            }
            Command::ModifyUserRoles { keys, roles } => self.modify_roles(now, &incoming, keys, roles, out),
            Command::ModifyConferenceLock { keys, locked } => {
                self.check_entity(keys.entity.as_deref())?;
                self.lock(now, &incoming, *locked, out)
            }
            Command::GetConference(keys) | Command::GetConferenceWithKey { keys, .. } => {
                self.check_entity(keys.entity.as_deref())?;
                self.allow(&incoming, Right::Watch)?;
                let info = self.full_info(&incoming.user);
                self.accept(&incoming, out);
                self.finish(&incoming, ResultBody::Conference(Box::new(info)), BTreeSet::new(), out);
                Ok(())
            }
            Command::DeleteConference(keys) => {
                self.check_entity(keys.entity.as_deref())?;
                self.allow(&incoming, Right::End)?;
                let info =
                    ConferenceInfo { entity: self.record.uri.to_string(), ..ConferenceInfo::default() };
                self.accept(&incoming, out);
                self.finish(&incoming, ResultBody::Conference(Box::new(info)), BTreeSet::new(), out);
                self.end(now, Ending::ConferenceEnded, out);
                Ok(())
            }
            Command::ModifyConference { mcu_uri: Some(mcu), info, .. } => {
                self.check_entity(Some(&info.entity))?;
                self.configure_mcu(&incoming, wanted, mcu, out)
            }
            Command::ModifyEndpointMedia { mcu_uri, keys, media } => {
                self.check_entity(Some(&keys.entity))?;
                self.filter(&incoming, mcu_uri.as_deref(), keys, media, out)
            }
            Command::SetLobbyAccess { keys, users, granted } => {
                self.set_lobby_access(now, &incoming, keys, users, *granted, out)
            }
            Command::Unknown { name, .. } => self.decline(&incoming, name, out),
            Command::GetConferencingCapabilities
            | Command::GetAvailableMcuTypes
            | Command::AddConference { .. }
            | Command::ModifyConference { mcu_uri: None, .. }
            | Command::GetConferences => Err(Reason::CommandNotImplemented),
        }
    }

    /// Whether one more command may wait for its MCUs.
    pub(super) fn may_command(&self) -> Result<(), Reason> {
        if self.commands.0.len() < self.waiting_limit() { Ok(()) } else { Err(Reason::Busy) }
    }

    /// Commands that are known and cannot be done here are answered as C3P has it, all others as
    /// not implemented.
    fn decline(&mut self, incoming: &Incoming<'_>, name: &str, out: &mut Vec<Action>) -> Result<(), Reason> {
        let token = match name {
            "modifyConferenceAnnouncements" => {
                self.allow(incoming, Right::ConfigureMcu)?;
                "notSupported"
            }
            "endorseUser" => "otherFailure",
            _ => return Err(Reason::CommandNotImplemented),
        };
        self.accept(incoming, out);
        self.finish_failed(incoming, token, out);
        Ok(())
    }

    pub(super) fn allow(&self, incoming: &Incoming<'_>, right: Right) -> Result<(), Reason> {
        match policy::may(self.roster.role(&incoming.user), right) {
            Permission::Allow => Ok(()),
            Permission::Refuse(reason) => Err(reason),
        }
    }

    /// `addUser` to one MCU: a person brings himself in, or a leader calls somebody (c3p §9).
    pub(super) fn add_user(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        add: &AddUser,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        self.check_entity(add.keys.entity.as_deref())?;
        let media = self.this_mcu(add.mcu_uri.as_deref().ok_or(Reason::InvalidAddUser)?)?;
        let target = UserUri::parse(&add.user.entity).map_err(|_| Reason::InvalidTargetUser)?;
        let endpoint = the_endpoint(&add.user)?;
        let oneself = target == incoming.user;
        let role = self.roster.role(&incoming.user);
        let permission = match endpoint.joining_method {
            Some(JoiningMethod::DialedIn) if oneself => policy::may(role, Right::JoinMedium),
            Some(JoiningMethod::DialedIn) => return Err(Reason::InvalidTargetUser),
            Some(JoiningMethod::DialedOut) if oneself => {
                policy::may_call_himself(role, self.roster.identity(&incoming.user))
            }
            Some(JoiningMethod::DialedOut) => policy::may(role, Right::CallOthers),
            _ => return Err(Reason::InvalidJoiningMethod),
        };
        if let Permission::Refuse(reason) = permission {
            return Err(reason);
        }
        let present = self.roster.role(&target);
        let admission = policy::may_be_called(&self.record, &self.policy, now, present, self.roster.len());
        if let Permission::Refuse(reason) = admission {
            return Err(reason);
        }
        if self.mcus.control_url(media).is_none() {
            return Err(Reason::McuUnavailable);
        }
        self.accept(incoming, out);
        // Who calls somebody has let him in.
        if self.let_in(now, &target, None, out).is_empty() && self.roster.role(&target).is_none() {
            let role = policy::role_when_called(&self.record, &target, add.user.roles.first().copied());
            let name = add.user.display_text.clone().unwrap_or_else(|| target.user().to_owned());
            self.roster.add_person(&target, name, role);
            self.changed(now, &target);
            out.push(Action::CountPeople { count: self.roster.len() });
        }
        let mut person = add.user.clone();
        person.roles = self.roster.role(&target).into_iter().collect();
        let command = Command::AddUser(AddUser { keys: self.keys(), user: person, ..add.clone() });
        let purpose = Purpose::Call(incoming.command, target);
        let waits = self.command_mcu(media, command, purpose, out).into_iter().collect();
        self.finish(incoming, ResultBody::Empty, waits, out);
        Ok(())
    }

    /// `deleteUser`: out of the conference, or out of one MCU only (c3p §8.3).
    pub(super) fn delete_user(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        mcu_uri: Option<&str>,
        keys: &UserKeys,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let target = self.target(keys)?;
        let right = if target == incoming.user { Right::RemoveOneself } else { Right::EjectOthers };
        self.allow(incoming, right)?;
        let media = mcu_uri.map(|uri| self.this_mcu(uri)).transpose()?;
        self.accept(incoming, out);
        if !self.roster_of(&target).holds(&target) {
            self.finish_failed(incoming, "userDoesntExist", out);
            return Ok(());
        }
        let waits: Vec<u32> = match media {
            Some(media) => {
                self.put_out(media, &target, Purpose::Command(incoming.command), out).into_iter().collect()
            }
            // His own dialog ends now, so that a later answer would not reach him.
            None if target == incoming.user => {
                self.remove_from_mcus(&target, None, out);
                Vec::new()
            }
            None => self.remove_from_mcus(&target, Some(incoming.command), out),
        };
        self.finish(incoming, ResultBody::Empty, waits.into_iter().collect(), out);
        if media.is_none() {
            let ending = match target == incoming.user {
                true => Ending::RemovedOneself,
                false if self.lobby.roster.holds(&target) => Ending::Denied,
                false => Ending::Ejected,
            };
            self.remove_person(now, &target, Some(ending), out);
        }
        Ok(())
    }

    /// `modifyUserRoles`: promote and demote (c3p §8.4).
    fn modify_roles(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        keys: &UserKeys,
        roles: &[Role],
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let target = self.target(keys)?;
        let [role] = *roles else { return Err(Reason::InvalidRole) };
        let own = self.roster.role(&incoming.user);
        if let Permission::Refuse(reason) = policy::may_give_role(&self.record, own, &target, role) {
            return Err(reason);
        }
        self.accept(incoming, out);
        let kept_lobby = self.keeps_lobby(&target);
        if !self.roster.set_role(&target, role) {
            self.finish_failed(incoming, "userDoesntExist", out);
            return Ok(());
        }
        self.turn(&target, kept_lobby);
        self.changed(now, &target);
        let command = Command::ModifyUserRoles {
            keys: UserKeys { entity: self.record.uri.to_string(), user: target.to_string() },
            roles: vec![role],
        };
        let waits = self.relay(&command, incoming.command, out);
        self.finish(incoming, ResultBody::Empty, waits, out);
        Ok(())
    }

    /// `modifyConferenceLock` (c3p §8.5). The record comes first: what follows waits for it.
    fn lock(
        &mut self,
        now: Time,
        incoming: &Incoming<'_>,
        locked: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        self.allow(incoming, Right::Lock)?;
        self.accept(incoming, out);
        if self.record.locked != locked {
            self.save(now, RecordChange::Locked { locked, at: now }, Some(incoming.command), out);
            self.changes.view(now);
        }
        let command = Command::ModifyConferenceLock { keys: self.keys(), locked };
        let waits = self.relay(&command, incoming.command, out);
        self.finish(incoming, ResultBody::Empty, waits, out);
        Ok(())
    }

    /// Changes the record and has it saved, for the author of `command` if there is one. What is
    /// wanted after this waits for the database.
    pub(super) fn save(
        &mut self,
        now: Time,
        change: RecordChange,
        command: Option<CommandId>,
        out: &mut Vec<Action>,
    ) {
        let changed = self.record.changed(change);
        let previous = std::mem::replace(&mut self.record, changed);
        self.unsaved = Some(Unsaved { previous, command, at: now });
        out.push(Action::Save { record: Box::new(self.record.clone()), change });
    }

    /// The database refused the change: it is undone and its author told why.
    pub(super) fn save_failed(&mut self, reason: Reason, out: &mut Vec<Action>) {
        let Some(unsaved) = self.unsaved.take() else { return };
        self.record = unsaved.previous;
        if let Some(command) = unsaved.command
            && let Some(pending) = self.commands.0.remove(&command)
        {
            self.mcus.forget(pending.waits);
            let response = failed(pending.response, reason.c3p_token());
            out.push(Action::FinishCommand { command, join: pending.join, response });
        }
    }

    /// The meeting is over: no conferencing server will finish what it was asked.
    pub(super) fn abandon_commands(&mut self, out: &mut Vec<Action>) {
        self.saved();
        for (command, pending) in std::mem::take(&mut self.commands.0) {
            let response = failed(pending.response, Reason::NoSuchConference.c3p_token());
            out.push(Action::FinishCommand { command, join: pending.join, response });
        }
    }

    fn target(&self, keys: &UserKeys) -> Result<UserUri, Reason> {
        self.check_entity(Some(&keys.entity))?;
        UserUri::parse(&keys.user).map_err(|_| Reason::InvalidTargetUser)
    }

    /// The medium of an MCU URI that belongs to this conference.
    pub(super) fn this_mcu(&self, uri: &str) -> Result<McuType, Reason> {
        let uri = McuUri::parse(uri).map_err(|_| Reason::InvalidMcu)?;
        if uri.conference == self.record.uri && self.media.contains(&uri.media) {
            Ok(uri.media)
        } else {
            Err(Reason::InvalidMcu)
        }
    }

    /// Sends a command to every MCU that is ready.
    fn relay(&mut self, command: &Command, id: CommandId, out: &mut Vec<Action>) -> BTreeSet<u32> {
        let media: Vec<McuType> = self.mcus.ready().collect();
        let send = |media| self.command_mcu(media, command.clone(), Purpose::Command(id), out);
        media.into_iter().filter_map(send).collect()
    }

    pub(super) fn accept(&self, incoming: &Incoming<'_>, out: &mut Vec<Action>) {
        let response = cccp::Response::new(incoming.request, Code::Pending, ResultBody::Empty);
        out.push(Action::AcceptCommand { command: incoming.command, response });
    }

    /// The command is done when the MCUs have answered these requests.
    pub(super) fn finish(
        &mut self,
        incoming: &Incoming<'_>,
        body: ResultBody,
        waits: BTreeSet<u32>,
        out: &mut Vec<Action>,
    ) {
        self.finish_with(incoming, cccp::Response::new(incoming.request, Code::Success, body), waits, out);
    }

    /// The same with a response that is there already.
    pub(super) fn finish_with(
        &mut self,
        incoming: &Incoming<'_>,
        response: cccp::Response,
        waits: BTreeSet<u32>,
        out: &mut Vec<Action>,
    ) {
        let pending = Pending { join: incoming.join, waits, response };
        // What a Save holds back must be dropped with it, so it stays pending until then.
        if pending.waits.is_empty() {
            out.push(Action::FinishCommand {
                command: incoming.command,
                join: pending.join,
                response: pending.response.clone(),
            });
            if self.unsaved.is_none() {
                return;
            }
        }
        self.commands.0.insert(incoming.command, pending);
    }

    pub(super) fn finish_failed(&self, incoming: &Incoming<'_>, token: &str, out: &mut Vec<Action>) {
        let response = cccp::Response::new(incoming.request, Code::Success, ResultBody::Empty);
        out.push(Action::FinishCommand {
            command: incoming.command,
            join: incoming.join,
            response: failed(response, token),
        });
    }

    /// Time has passed since the last change was handed to the database and no failure was heard.
    pub(super) fn settle(&mut self, now: Time) {
        if self.unsaved.as_ref().is_some_and(|unsaved| unsaved.at < now) {
            self.saved();
        }
    }

    /// The last change was saved.
    pub(super) fn saved(&mut self) {
        if let Some(unsaved) = self.unsaved.take()
            && let Some(command) = unsaved.command
            && self.commands.0.get(&command).is_some_and(|pending| pending.waits.is_empty())
        {
            self.commands.0.remove(&command);
        }
    }

    /// One MCU has answered its part of a command.
    pub(super) fn command_step_done(
        &mut self,
        command: CommandId,
        request_id: u32,
        answer: &cccp::Response,
        out: &mut Vec<Action>,
    ) {
        let Some(pending) = self.commands.0.get_mut(&command) else { return };
        pending.waits.remove(&request_id);
        // To remove, to re-rank or to let in somebody who is not on that MCU is done.
        let token = answer.results.first().and_then(|result| result.reason.as_deref());
        let name = pending.response.results.first().map(|result| result.name.clone()).unwrap_or_default();
        let absent = matches!(name.as_str(), "deleteUser" | "modifyUserRoles" | "setLobbyAccess")
            && token == Some("userDoesntExist");
        if answer.code == Code::Failure && !absent {
            let token = token.or(answer.reason.as_deref()).unwrap_or("otherFailure").to_owned();
            pending.response = failed(pending.response.clone(), &token);
        } else if let Some(result) = answer.results.first()
            && let (ResultBody::AddUser { .. }, Some(own)) =
                (&result.body, pending.response.results.first_mut())
        {
            own.body = result.body.clone();
        }
        if pending.waits.is_empty()
            && let Some(pending) = self.commands.0.remove(&command)
        {
            out.push(Action::FinishCommand { command, join: pending.join, response: pending.response });
        }
    }
}

/// The response turned into a failure with this reason.
fn failed(mut response: cccp::Response, token: &str) -> cccp::Response {
    response.code = Code::Failure;
    for CommandResult { reason, body, .. } in &mut response.results {
        *reason = Some(token.to_owned());
        *body = ResultBody::Empty;
    }
    response
}
