//! REFER as the Focus sees it (RFC 4579 §5.5, §5.10): somebody who speaks no C3P wants a person brought
//! in or taken out. It is the same command that C3P has for it, with the same rights and limits.

use confab_machine::Time;
use confab_schema::{
    cccp::{self, AddUser, Command, UserKeys},
    conference_info::{Endpoint, JoiningMethod, User},
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{Action, CommandId, Focus, command::Incoming};
use crate::reason::Reason;

/// What a REFER wants done with somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Referral {
    /// Call him in, at this SIP URI.
    Call {
        /// The URI.
        uri: String,
    },
    /// Take him out.
    Remove,
}

impl Focus {
    pub(super) fn referred(
        &mut self,
        now: Time,
        command: CommandId,
        user: UserUri,
        target: &UserUri,
        wanted: Referral,
        out: &mut Vec<Action>,
    ) {
        // Nobody hears a new command before the database has answered for the last one.
        self.saved();
        let request = self.in_c3p(&user, target, wanted);
        let incoming = Incoming { command, join: None, user, request: &request };
        let tried = self.may_command().and_then(|()| match request.commands.as_slice() {
            [Command::AddUser(add)] => self.add_user(now, &incoming, add, out),
            [Command::DeleteUser { keys, .. }] => self.delete_user(now, &incoming, None, keys, out),
            _ => Err(Reason::CommandNotImplemented),
        });
        if let Err(reason) = tried {
            out.push(Action::RefuseCommand { command, reason });
        }
    }

    /// The command that a client with C3P would have sent. A call is made once: by the medium that its
    /// referrer uses himself, by voice if he has that, else by the first whose server is there.
    fn in_c3p(&mut self, user: &UserUri, target: &UserUri, wanted: Referral) -> cccp::Request {
        let conference = self.record.uri.to_string();
        let command = match wanted {
            Referral::Remove => {
                let keys = UserKeys { entity: conference.clone(), user: target.to_string() };
                Command::DeleteUser { mcu_uri: None, keys }
            }
            Referral::Call { uri } => {
                let media = self.media.iter().min_by_key(|media| {
                    let is_ready = self.mcus.control_url(**media).is_some();
                    let is_used = self.roster.is_on(user, **media);
                    let is_voice = **media == McuType::AudioVideo;
                    (!is_ready, !is_used, !(is_used && is_voice))
                });
                let mcu = media.map(|media| self.record.uri.mcu(*media).to_string());
                let mut endpoint = Endpoint::new(self.entropy.guid());
                endpoint.joining_method = Some(JoiningMethod::DialedOut);
                endpoint.refer_to_uri = Some(uri);
                let mut person = User::new(target.to_string());
                person.endpoints = vec![endpoint];
                Command::AddUser(AddUser { mcu_uri: mcu, keys: self.keys(), user: person })
            }
        };
        cccp::Request::new(1, user.to_string(), conference, command)
    }
}
