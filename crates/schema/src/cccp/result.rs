//! What a response says of each command (MS-CONFPRO §2.2.3, MS-CONFBAS §2.2.3).

use serde::{Deserialize, Serialize};

use super::{
    Code, NAMESPACE,
    capabilities::{Capabilities, read_mcu_types, write_mcu_types},
    conference::{ConferenceKeys, read_connection_info, write_connection_info},
};
use crate::{
    conference_info::{ConferenceInfo, Form, User, View, part, parts},
    uri::McuType,
    xml::{Element, Malformed, Writer},
};

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command's name.
    pub name: String,
    /// Why it failed, if it did: one word.
    pub reason: Option<String>,
    /// What it yielded, if it is done.
    pub body: ResultBody,
}

/// What a command yielded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ResultBody {
    /// Nothing, or nothing that is known here.
    Empty,
    /// Of `getConferencingCapabilities`.
    Capabilities(Capabilities),
    /// Of `getAvailableMcuTypes`.
    McuTypes(Vec<McuType>),
    /// Of the commands about one conference.
    Conference(Box<ConferenceInfo>),
    /// Of `addConference` between servers. Without entries it reads back as [`ResultBody::Conference`].
    Provisioned {
        /// The conference.
        info: Box<ConferenceInfo>,
        /// How to reach the conferencing server.
        connection_info: Vec<(String, String)>,
    },
    /// Of `getConferences`.
    Conferences(Vec<ConferenceInfo>),
    /// Of `addUser`.
    AddUser {
        /// The request's.
        keys: ConferenceKeys,
        /// The person, with the role and the endpoint he got.
        user: Box<User>,
        /// How to reach the conferencing server.
        connection_info: Vec<(String, String)>,
    },
}

impl CommandResult {
    /// What became of a command that did not fail.
    pub fn new(name: impl Into<String>, body: ResultBody) -> CommandResult {
        CommandResult { name: name.into(), reason: None, body }
    }

    /// What a command yielded is read only if it succeeded.
    pub(super) fn read(element: &Element, code: Code) -> Result<CommandResult, Malformed> {
        let done = code == Code::Success;
        Ok(CommandResult {
            name: element.name.clone(),
            reason: element.attr("reason").map(str::to_owned),
            body: if done { ResultBody::read(element)? } else { ResultBody::Empty },
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, &self.name);
        if let Some(reason) = &self.reason {
            writer.attribute("reason", reason);
            if self.name == "endorseUser" {
                // It has an attribute of its own for the same word (MS-CONFBAS §2.2.3.6).
                writer.attribute("result", reason);
            }
        }
        self.body.write(writer);
        writer.end();
    }
}

impl ResultBody {
    fn read(element: &Element) -> Result<ResultBody, Malformed> {
        let body = match element.name.as_str() {
            "getConferencingCapabilities" => Capabilities::read(element)?.map(ResultBody::Capabilities),
            "getAvailableMcuTypes" => read_mcu_types(element).map(ResultBody::McuTypes),
            "getConferences" => {
                let all = parts(element, "conference-info").map(ConferenceInfo::read);
                Some(ResultBody::Conferences(all.collect::<Result<_, _>>()?))
            }
            "addConference" | "modifyConference" | "getConference" | "deleteConference" => {
                ResultBody::read_conference(element)?
            }
            "addUser" => ResultBody::read_user(element)?,
            _ => None,
        };
        Ok(body.unwrap_or(ResultBody::Empty))
    }

    fn read_conference(element: &Element) -> Result<Option<ResultBody>, Malformed> {
        let Some(info) = part(element, "conference-info") else { return Ok(None) };
        let info = Box::new(ConferenceInfo::read(info)?);
        let connection_info = read_connection_info(element);
        Ok(Some(if connection_info.is_empty() {
            ResultBody::Conference(info)
        } else {
            ResultBody::Provisioned { info, connection_info }
        }))
    }

    fn read_user(element: &Element) -> Result<Option<ResultBody>, Malformed> {
        let Some(user) = part(element, "user") else { return Ok(None) };
        Ok(Some(ResultBody::AddUser {
            keys: ConferenceKeys::read(element),
            user: Box::new(User::read(user)?),
            connection_info: read_connection_info(element),
        }))
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            ResultBody::Empty => {}
            ResultBody::Capabilities(capabilities) => capabilities.write(writer),
            ResultBody::McuTypes(types) => write_mcu_types(writer, types),
            ResultBody::Conference(info) => info.write(writer, View::Microsoft),
            ResultBody::Provisioned { info, connection_info } => {
                info.write(writer, View::Microsoft);
                write_connection_info(writer, connection_info);
            }
            ResultBody::Conferences(all) => all.iter().for_each(|info| info.write(writer, View::Microsoft)),
            ResultBody::AddUser { keys, user, connection_info } => {
                keys.write(writer);
                user.write(writer, Form::COMMAND);
                write_connection_info(writer, connection_info);
            }
        }
    }
}
