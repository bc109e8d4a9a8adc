//! The commands of C3P (MS-CONFPRO §2.2, MS-CONFBAS §2.2.3).

use serde::{Deserialize, Serialize};

use super::{
    NAMESPACE,
    conference::{ConferenceKeys, read_connection_info, write_connection_info},
    user::{AddUser, MediaKeys, UserKeys, lacks, read_mcu_uri, write_mcu_uri},
};
use crate::{
    conference_info::{
        ConferenceInfo, EXTENSIONS, Form, Media, Role, View, boolean, flag, is_near, part, part_text, parts,
        read_roles, write_roles,
    },
    uri::UserUri,
    xml::{Element, Malformed, Writer, quoted},
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Tell what the deployment can do.
    GetConferencingCapabilities,
    /// Tell which media it has; the older form of the above.
    GetAvailableMcuTypes,
    /// Schedule a conference; toward a conferencing server: serve it.
    AddConference {
        /// The conference.
        info: Box<ConferenceInfo>,
        /// Between servers: how to reach the Focus.
        connection_info: Vec<(String, String)>,
    },
    /// Change a scheduled conference, or the settings of one of its servers.
    ModifyConference {
        /// Which server; none = the record, at the Focus Factory.
        mcu_uri: Option<String>,
        /// The change. For a record its `version` is the one the sender last saw.
        info: Box<ConferenceInfo>,
        /// The command as it came, if it is for a server: what is not understood here must reach it.
        whole: Option<Element>,
    },
    /// Tell a conference's record; at the Focus: its state.
    GetConference(ConferenceKeys),
    /// The same with the conference key, encrypted for somebody (MS-CONFPRO §4.5).
    GetConferenceWithKey {
        /// Which conference.
        keys: ConferenceKeys,
        /// The X.509 certificate to encrypt for, in base64.
        certificate: String,
    },
    /// Tell all the conferences of the organizer.
    GetConferences,
    /// Delete a conference's record; at the Focus and its servers: end the meeting.
    DeleteConference(ConferenceKeys),
    /// Bring a person in.
    AddUser(AddUser),
    /// Take a person out.
    DeleteUser {
        /// Of which server only; none = altogether.
        mcu_uri: Option<String>,
        /// Who.
        keys: UserKeys,
    },
    /// Promote or demote.
    ModifyUserRoles {
        /// Whom.
        keys: UserKeys,
        /// To what. Roles that are not known are left out on reading.
        roles: Vec<Role>,
    },
    /// Lock or unlock.
    ModifyConferenceLock {
        /// Which conference.
        keys: ConferenceKeys,
        /// Whether nobody new is to get in.
        locked: bool,
    },
    /// Change what flows at one endpoint: mute it, or have it heard again (MS-CONFAV §3.2.5.4).
    ModifyEndpointMedia {
        /// Which server.
        mcu_uri: Option<String>,
        /// Which medium of whom.
        keys: MediaKeys,
        /// How it is to be.
        media: Media,
    },
    /// Let people in who wait in the lobby, or send them away (MS-CONFBAS §4.4.8).
    SetLobbyAccess {
        /// Which conference.
        keys: ConferenceKeys,
        /// The SIP URIs of the people; Microsoft's clients name one at a time.
        users: Vec<String>,
        /// Whether they come in.
        granted: bool,
    },
    /// A command that is not known here.
    Unknown {
        /// Its name.
        name: String,
        /// The whole of it.
        element: Element,
    },
}

impl Command {
    /// The command's name in the document.
    pub fn name(&self) -> &str {
        match self {
            Command::GetConferencingCapabilities => "getConferencingCapabilities",
            Command::GetAvailableMcuTypes => "getAvailableMcuTypes",
            Command::AddConference { .. } => "addConference",
            Command::ModifyConference { .. } => "modifyConference",
            Command::GetConference(_) | Command::GetConferenceWithKey { .. } => "getConference",
            Command::GetConferences => "getConferences",
            Command::DeleteConference(_) => "deleteConference",
            Command::AddUser(_) => "addUser",
            Command::DeleteUser { .. } => "deleteUser",
            Command::ModifyUserRoles { .. } => "modifyUserRoles",
            Command::ModifyConferenceLock { .. } => "modifyConferenceLock",
            Command::ModifyEndpointMedia { .. } => "modifyEndpointMedia",
            Command::SetLobbyAccess { .. } => "setLobbyAccess",
            Command::Unknown { name, .. } => name,
        }
    }

    /// The command in a few words for the flow trace; phone numbers are left out.
    pub fn summary(&self) -> String {
        let name = self.name();
        match self {
            Command::AddUser(add) => {
                let joining = add.user.endpoints.first().and_then(|endpoint| endpoint.joining_method);
                let joining = joining.map_or("", |method| method.as_str());
                [name, &person(&add.user.entity), joining].join(" ").trim_end().to_owned()
            }
            Command::DeleteUser { keys, .. } => [name, &person(&keys.user)].join(" "),
            Command::ModifyUserRoles { keys, roles } => {
                let role = roles.first().map_or("", |role| role.as_str());
                [name, &person(&keys.user), role].join(" ").trim_end().to_owned()
            }
            Command::ModifyConferenceLock { locked, .. } => [name, flag(*locked)].join(" "),
            Command::ModifyEndpointMedia { keys, media, .. } => {
                let filter = media.ingress_filter.map_or("", |filter| filter.as_str());
                [name, &person(&keys.user), filter].join(" ").trim_end().to_owned()
            }
            Command::SetLobbyAccess { users, granted, .. } => {
                let who = match users.as_slice() {
                    [user] => person(user),
                    users => format!("{} people", users.len()),
                };
                [name, &who, access(*granted)].join(" ")
            }
            _ => name.to_owned(),
        }
    }

    pub(super) fn read(element: &Element) -> Result<Command, Malformed> {
        let name = if is_near(element) { element.name.as_str() } else { "" };
        Ok(match name {
            "getConferencingCapabilities" => Command::GetConferencingCapabilities,
            "getAvailableMcuTypes" => Command::GetAvailableMcuTypes,
            "addConference" => {
                let connection_info = read_connection_info(element);
                Command::AddConference { info: conference_info(element)?, connection_info }
            }
            "modifyConference" => {
                let mcu_uri = read_mcu_uri(element);
                let whole = mcu_uri.is_some().then(|| element.clone());
                Command::ModifyConference { mcu_uri, info: conference_info(element)?, whole }
            }
            "getConference" => get_conference(element),
            "getConferences" => Command::GetConferences,
            "deleteConference" => Command::DeleteConference(ConferenceKeys::read(element)),
            "addUser" => Command::AddUser(AddUser::read(element)?),
            "deleteUser" => {
                Command::DeleteUser { mcu_uri: read_mcu_uri(element), keys: UserKeys::read(element)? }
            }
            "modifyUserRoles" => Command::ModifyUserRoles {
                keys: UserKeys::read(element)?,
                roles: part(element, "user-roles").map(read_roles).unwrap_or_default(),
            },
            "modifyConferenceLock" => Command::ModifyConferenceLock {
                keys: ConferenceKeys::read(element),
                locked: boolean(part(element, "locked").ok_or_else(|| lacks(element, "locked"))?)?,
            },
            "modifyEndpointMedia" => {
                let media = Media::read(part(element, "media").ok_or_else(|| lacks(element, "media"))?);
                let keys = MediaKeys::read(element, &media)?;
                Command::ModifyEndpointMedia { mcu_uri: read_mcu_uri(element), keys, media }
            }
            "setLobbyAccess" => {
                let users = parts(element, "userEntity").map(|user| user.text().into_owned()).collect();
                let word = part_text(element, "access").ok_or_else(|| lacks(element, "access"))?;
                let granted = [true, false].into_iter().find(|granted| access(*granted) == word.trim());
                let granted =
                    granted.ok_or_else(|| Malformed::new(format!("{} is no access.", quoted(&word))))?;
                Command::SetLobbyAccess { keys: ConferenceKeys::read(element), users, granted }
            }
            _ => Command::Unknown { name: element.name.clone(), element: element.clone() },
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        if let Command::Unknown { element, .. } | Command::ModifyConference { whole: Some(element), .. } =
            self
        {
            return writer.element(element);
        }
        writer.start(NAMESPACE, self.name());
        match self {
            Command::AddConference { info, connection_info } => {
                info.write(writer, View::Microsoft);
                write_connection_info(writer, connection_info);
            }
            Command::ModifyConference { mcu_uri, info, .. } => {
                write_mcu_uri(writer, mcu_uri.as_deref());
                info.write(writer, View::Microsoft);
            }
            Command::GetConference(keys) | Command::DeleteConference(keys) => keys.write(writer),
            Command::GetConferenceWithKey { keys, certificate } => {
                keys.write(writer);
                writer.start(EXTENSIONS, "encryption-key");
                writer.leaf(EXTENSIONS, "x509-certificate", certificate);
                writer.end();
            }
            Command::AddUser(add) => add.write(writer),
            Command::DeleteUser { mcu_uri, keys } => {
                write_mcu_uri(writer, mcu_uri.as_deref());
                keys.write(writer);
            }
            Command::ModifyUserRoles { keys, roles } => {
                keys.write(writer);
                write_roles(writer, "user-roles", roles);
            }
            Command::ModifyConferenceLock { keys, locked } => {
                keys.write(writer);
                writer.leaf(NAMESPACE, "locked", flag(*locked));
            }
            Command::ModifyEndpointMedia { mcu_uri, keys, media } => {
                write_mcu_uri(writer, mcu_uri.as_deref());
                keys.write(writer);
                media.write(writer, Form::COMMAND);
            }
            Command::SetLobbyAccess { keys, users, granted } => {
                keys.write(writer);
                users.iter().for_each(|user| writer.leaf(NAMESPACE, "userEntity", user));
                writer.leaf(NAMESPACE, "access", access(*granted));
            }
            Command::GetConferencingCapabilities
            | Command::GetAvailableMcuTypes
            | Command::GetConferences
            | Command::Unknown { .. } => {}
        }
        writer.end();
    }
}

fn get_conference(element: &Element) -> Command {
    let keys = ConferenceKeys::read(element);
    let encryption = part(element, "encryption-key");
    match encryption.and_then(|encryption| part_text(encryption, "x509-certificate")) {
        Some(certificate) => Command::GetConferenceWithKey { keys, certificate },
        None => Command::GetConference(keys),
    }
}

/// The one conference a command is about. A second one is refused, for nobody here would look at it
/// and a conferencing server that it is relayed to might.
fn conference_info(element: &Element) -> Result<Box<ConferenceInfo>, Malformed> {
    let mut all = parts(element, "conference-info");
    let info = all.next().ok_or_else(|| lacks(element, "conference-info"))?;
    if all.next().is_some() {
        return Err(Malformed::new(format!("{} holds more than one conference-info", element.name)));
    }
    Ok(Box::new(ConferenceInfo::read(info)?))
}

/// What is said of somebody who waits.
const fn access(granted: bool) -> &'static str {
    if granted { "granted" } else { "denied" }
}

/// A person's address as the trace may show it.
fn person(uri: &str) -> String {
    match UserUri::parse(uri) {
        Ok(user) if user.user().starts_with(|char: char| char == '+' || char.is_ascii_digit()) => {
            ["a phone number at ", user.domain()].concat()
        }
        Ok(user) => user.to_string(),
        Err(_) => "an unreadable URI".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conference_info::{Endpoint, JoiningMethod, User};

    #[test]
    fn summaries_hold_no_phone_number() {
        let add = |entity: &str, joining_method| {
            let endpoint = Endpoint { joining_method, ..Endpoint::new("{1}") };
            let user = User { endpoints: vec![endpoint], ..User::new(entity) };
            Command::AddUser(AddUser { mcu_uri: None, keys: ConferenceKeys::default(), user }).summary()
        };
        assert_eq!(add("sip:Ann@example.test", None), "addUser sip:ann@example.test");
        assert_eq!(
            add("sip:+4930555@example.test", Some(JoiningMethod::DialedOut)),
            "addUser a phone number at example.test dialed-out"
        );
        assert_eq!(add("tel:+4930555", None), "addUser an unreadable URI");
        let keys = UserKeys { entity: String::new(), user: "sip:bob@example.test".into() };
        let promote = Command::ModifyUserRoles { keys, roles: vec![Role::Presenter] };
        assert_eq!(promote.summary(), "modifyUserRoles sip:bob@example.test presenter");
    }

    #[test]
    fn a_command_is_about_one_conference() {
        let read = |name: &str, conferences: usize| {
            let info = Element::new(crate::conference_info::NAMESPACE, "conference-info")
                .with_attribute("entity", "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F0");
            let element = Element::new(NAMESPACE, name).with_children(vec![info; conferences]);
            Command::read(&element).map(drop)
        };
        for name in ["addConference", "modifyConference"] {
            assert_eq!(read(name, 1), Ok(()));
            assert!(read(name, 0).is_err());
            let error = read(name, 2).unwrap_err().to_string();
            assert_eq!(error, format!("{name} holds more than one conference-info"));
        }
    }
}
