//! What commands about people carry (MS-CONFBAS §2.2.3.4, §2.2.3.15, §2.2.3.17).

use serde::{Deserialize, Serialize};

use super::{EXTENSIONS, NAMESPACE, conference::ConferenceKeys};
use crate::{
    conference_info::{Form, Media, User, part, required},
    xml::{Element, Malformed, Writer, quoted},
};

/// Which person in which conference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserKeys {
    /// The conference's URI.
    pub entity: String,
    /// The person's.
    pub user: String,
}

/// Which medium of which endpoint (MS-CONFAV §3.2.5.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaKeys {
    /// The conference's URI.
    pub entity: String,
    /// The person's.
    pub user: String,
    /// The endpoint's entity.
    pub endpoint: String,
    /// The medium's key within it.
    pub media: String,
}

/// `addUser`: brings a person into the conference, or onto one of its servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddUser {
    /// Which server; none = the Focus.
    pub mcu_uri: Option<String>,
    /// Which conference.
    pub keys: ConferenceKeys,
    /// Who, with the role wanted and the endpoint it is about.
    pub user: User,
}

impl UserKeys {
    /// The `userKeys` in `command`.
    pub(super) fn read(command: &Element) -> Result<UserKeys, Malformed> {
        let keys = part(command, "userKeys").ok_or_else(|| lacks(command, "userKeys"))?;
        Ok(UserKeys { entity: required(keys, "confEntity")?, user: required(keys, "userEntity")? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "userKeys");
        writer.attribute("confEntity", &self.entity);
        writer.attribute("userEntity", &self.user);
        writer.end();
    }
}

impl MediaKeys {
    /// The `mediaKeys` in `command`; or, as its predecessor had it, `endpointKeys` and the `id` of the medium.
    pub(super) fn read(command: &Element, media: &Media) -> Result<MediaKeys, Malformed> {
        let keys = part(command, "mediaKeys").or_else(|| part(command, "endpointKeys"));
        let keys = keys.ok_or_else(|| lacks(command, "mediaKeys"))?;
        Ok(MediaKeys {
            entity: required(keys, "confEntity")?,
            user: required(keys, "userEntity")?,
            endpoint: required(keys, "endpointEntity")?,
            media: keys.attr("mediaId").unwrap_or(&media.id).to_owned(),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "mediaKeys");
        writer.attribute("confEntity", &self.entity);
        writer.attribute("userEntity", &self.user);
        writer.attribute("endpointEntity", &self.endpoint);
        writer.attribute("mediaId", &self.media);
        writer.end();
    }
}

impl AddUser {
    pub(super) fn read(command: &Element) -> Result<AddUser, Malformed> {
        let user = part(command, "user").ok_or_else(|| lacks(command, "user"))?;
        Ok(AddUser {
            mcu_uri: read_mcu_uri(command),
            keys: ConferenceKeys::read(command),
            user: User::read(user)?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_mcu_uri(writer, self.mcu_uri.as_deref());
        self.keys.write(writer);
        self.user.write(writer, Form::COMMAND);
    }
}

/// MS-CONFBAS writes the attribute both with and without a prefix.
pub(super) fn read_mcu_uri(command: &Element) -> Option<String> {
    command.attr("mcuUri").map(str::to_owned)
}

pub(super) fn write_mcu_uri(writer: &mut Writer, uri: Option<&str>) {
    if let Some(uri) = uri {
        writer.attribute_ns(EXTENSIONS, "mcuUri", uri);
    }
}

pub(super) fn lacks(command: &Element, part: &str) -> Malformed {
    Malformed::new(format!("The command {} lacks {part}.", quoted(&command.name)))
}
