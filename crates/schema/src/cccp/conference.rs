//! What commands about conferences carry: their keys, and how to reach a server
//! (MS-CONFPRO §2.2.1.2, §4.5; MS-CONFBAS §2.2.3.18).

use serde::{Deserialize, Serialize};

use super::{EXTENSIONS, NAMESPACE};
use crate::{
    conference_info::{self, part, part_text, parts},
    xml::{Element, Writer},
};

/// Which conference: at the Focus Factory by its ID, elsewhere by its URI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConferenceKeys {
    /// The conference's URI.
    pub entity: Option<String>,
    /// Its ID; the organizer is who asks.
    pub conference_id: Option<String>,
}

impl ConferenceKeys {
    /// The conference with this URI.
    pub fn of(entity: impl Into<String>) -> ConferenceKeys {
        ConferenceKeys { entity: Some(entity.into()), conference_id: None }
    }

    /// The `conferenceKeys` in `command`; those without any if there are none.
    pub(super) fn read(command: &Element) -> ConferenceKeys {
        let keys = part(command, "conferenceKeys");
        let attribute = |name| keys.and_then(|keys| keys.attr(name)).map(str::to_owned);
        ConferenceKeys { entity: attribute("confEntity"), conference_id: attribute("conference-id") }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        if *self == ConferenceKeys::default() {
            return;
        }
        writer.start(NAMESPACE, "conferenceKeys");
        if let Some(entity) = &self.entity {
            writer.attribute("confEntity", entity);
        }
        if let Some(id) = &self.conference_id {
            writer.attribute_ns(conference_info::EXTENSIONS, "conference-id", id);
        }
        writer.end();
    }
}

/// The value of a key in `connection-info`; keys are compared without case.
pub fn connection_value<'a>(entries: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let (_, value) = entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    Some(value)
}

pub(super) fn read_connection_info(command: &Element) -> Vec<(String, String)> {
    let entry = |entry| Some((part_text(entry, "key")?, part_text(entry, "value").unwrap_or_default()));
    let read = part(command, "connection-info").map(|info| parts(info, "entry").filter_map(entry).collect());
    read.unwrap_or_default()
}

// Deviation: connection-info is printed in the mscp namespace; no text within reach names one.
pub(super) fn write_connection_info(writer: &mut Writer, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    writer.start(EXTENSIONS, "connection-info");
    for (key, value) in entries {
        writer.start(EXTENSIONS, "entry");
        writer.leaf(EXTENSIONS, "key", key);
        writer.leaf(EXTENSIONS, "value", value);
        writer.end();
    }
    writer.end();
}
