//! Step 7: what leaders command. Each goes to the Focus by INFO; its answer comes in the response,
//! or as an INFO of the Focus after a 202 that says `pending` (c3p §4.1).

use std::{collections::BTreeMap, time::Duration};

use confab_machine::Time;
use confab_schema::{
    cccp::{self, Code, MediaKeys, UserKeys},
    conference_info::{Media, MediaFilter, Role},
    uri::{McuType, UserUri},
};
use confab_sip::Method;

use super::Session;
use crate::{
    refusal::Refusal,
    user_agent::{Answer, Context, Errand},
    vocabulary::{Command, Ending, Observation, Outcome},
};

/// How long the final answer to a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// The key of the voice among the media of an endpoint (MS-CONFAV §3.2.5.4).
const VOICE: &str = "1";
/// How many commands wait for their final answers at once.
const MAX_COMMANDS: usize = 64;

/// The commands that have no final answer, by request ID.
#[derive(Debug, Default)]
pub(super) struct Commands(BTreeMap<u32, (Command, Time)>);

impl Commands {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.values().map(|(_, until)| *until).min()
    }

    pub(super) fn timeout(&mut self, cx: &mut Context<'_>) {
        let late: Vec<u32> =
            self.0.iter().filter(|(_, (_, until))| *until <= cx.now).map(|(id, _)| *id).collect();
        for id in late {
            self.done(
                cx,
                id,
                Outcome::Refused(Refusal::local(408, "The Focus did not say how the command ended.")),
            );
        }
    }

    /// The conference is over: its end is what [`Command::End`] wanted, whether or not it said so.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>, reason: Ending) {
        for (command, _) in std::mem::take(&mut self.0).into_values() {
            let outcome = if command == Command::End && reason == Ending::ConferenceEnded {
                Outcome::Success
            } else {
                Outcome::Refused(Refusal::local(
                    481,
                    "The conference was over before the command was through.",
                ))
            };
            cx.observe(Observation::CommandDone { command, outcome });
        }
    }

    fn done(&mut self, cx: &mut Context<'_>, request_id: u32, outcome: Outcome) {
        if let Some((command, _)) = self.0.remove(&request_id) {
            cx.observe(Observation::CommandDone { command, outcome });
        }
    }
}

impl Session {
    /// Sends a leader's command.
    pub(super) fn lead(&mut self, cx: &mut Context<'_>, command: Command) {
        let Some(document) = self.c3p(&command) else {
            let refusal = Refusal::local(404, "No phone of this person is known to be in the conference.");
            return cx.observe(Observation::CommandDone { command, outcome: Outcome::Refused(refusal) });
        };
        let focus = self.conference.to_string();
        let Some(dialog) = self.dialog.as_mut().filter(|_| self.commands.0.len() < MAX_COMMANDS) else {
            let refusal =
                Refusal::local(400, "Join the conference, and let earlier commands end, before this one.");
            return cx.observe(Observation::CommandDone { command, outcome: Outcome::Refused(refusal) });
        };
        let mut info = cx.agent.request_in(dialog, Method::Info);
        let (request_id, body) = cx.agent.cccp(&focus, document);
        info.set_body(cccp::CONTENT_TYPE, body);
        self.commands.0.insert(request_id, (command, cx.now + COMMAND_TIMEOUT));
        cx.send(info, self.purpose(Errand::Command { request_id }));
    }

    fn c3p(&self, command: &Command) -> Option<cccp::Command> {
        let keys = |user: &UserUri| UserKeys { entity: self.conference.to_string(), user: user.to_string() };
        let roles = |user: &UserUri, role: Role| cccp::Command::ModifyUserRoles {
            keys: keys(user),
            roles: vec![role],
        };
        Some(match command {
            Command::Lock { locked } => {
                cccp::Command::ModifyConferenceLock { keys: self.keys(), locked: *locked }
            }
            Command::Promote { user } => roles(user, Role::Presenter),
            Command::Demote { user } => roles(user, Role::Attendee),
            Command::Eject { user } => cccp::Command::DeleteUser { mcu_uri: None, keys: keys(user) },
            Command::Mute { user, muted } => self.filter(user, *muted)?,
            Command::SetLobbyAccess { user, granted } => cccp::Command::SetLobbyAccess {
                keys: self.keys(),
                users: vec![user.to_string()],
                granted: *granted,
            },
            Command::End => cccp::Command::DeleteConference(self.keys()),
            _ => return None,
        })
    }

    /// The voice of a person is kept out or not; any endpoint of his names him.
    fn filter(&self, user: &UserUri, muted: bool) -> Option<cccp::Command> {
        let legs = &self.roster.participant(user)?.endpoints;
        let leg = legs.iter().find(|leg| leg.connected && leg.session == McuType::AudioVideo.as_str())?;
        let keys = MediaKeys {
            entity: self.conference.to_string(),
            user: user.to_string(),
            endpoint: leg.entity.clone(),
            media: VOICE.into(),
        };
        let filter = if muted { MediaFilter::Block } else { MediaFilter::Unblock };
        let media = Media { id: VOICE.into(), ingress_filter: Some(filter), ..Media::default() };
        let mcu_uri = Some(self.conference.mcu(McuType::AudioVideo).to_string());
        Some(cccp::Command::ModifyEndpointMedia { mcu_uri, keys, media })
    }

    /// The SIP response to a command's INFO. A 2xx may carry the final answer already.
    pub(super) fn command_answered(&mut self, cx: &mut Context<'_>, request_id: u32, answer: Answer) {
        match answer {
            Ok(response) => match cccp::Response::parse(&response.body) {
                Ok(document) => self.conclude(cx, request_id, response.status, &document),
                Err(_) if response.status == 200 => self.commands.done(cx, request_id, Outcome::Success),
                Err(_) => {}
            },
            Err(refusal) => {
                let gone = refusal.status == 481;
                self.commands.done(cx, request_id, Outcome::Refused(refusal));
                if gone {
                    self.dialog = None;
                    self.end(cx, Ending::Lost);
                }
            }
        }
    }

    /// The Focus says by INFO how a command ended.
    // Deviation: it is matched by request ID and `to`; `from` may be written in another way.
    pub(super) fn final_response(&mut self, cx: &mut Context<'_>, body: &[u8]) {
        if let Ok(document) = cccp::Response::parse(body)
            && document.to == cx.agent.config.user.to_string()
        {
            self.conclude(cx, document.request_id, 200, &document);
        }
    }

    fn conclude(&mut self, cx: &mut Context<'_>, request_id: u32, status: u16, document: &cccp::Response) {
        match document.code {
            Code::Pending => {}
            Code::Success => self.commands.done(cx, request_id, Outcome::Success),
            Code::Failure => {
                self.commands.done(cx, request_id, Outcome::Refused(Refusal::from_c3p(status, document)));
            }
        }
    }
}
