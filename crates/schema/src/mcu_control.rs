//! `urn:confab:params:xml:ns:mcu-control`: how a conferencing server (MCU) tells the Conferencing
//! Server Factory that it lives, and the names by which servers find each other. Steps 5 to 7.
//!
//! No public text describes this link of OCS; the words of the status are those of
//! draft-levin-xcon-cccp-04.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    conference_info::{parse_number, required},
    uri::McuType,
    xml::{Element, Malformed, Writer, quoted},
};

/// The namespace.
pub const NAMESPACE: &str = "urn:confab:params:xml:ns:mcu-control";
/// The media type of a health report.
pub const CONTENT_TYPE: &str = "application/mcu-control+xml";

/// In `connection-info`: the SIP URI at which the conferencing server itself can be reached.
pub const MCU_SERVER_URI: &str = "Mcu-Server-Uri";
/// In `connection-info`: the SIP URI of the conference on that server.
pub const MCU_CONFERENCE_URI: &str = "Mcu-Conference-Uri";
/// In `connection-info`: the URL to which the Focus posts its commands to the server.
pub const MCU_CONTROL_URL: &str = "Mcu-Control-Url";
/// In `connection-info`: the URL to which the server posts what it has to tell the Focus.
pub const FOCUS_URL: &str = "Focus-Url";

words! {
    /// How much a conferencing server can still take.
    pub enum ServerStatus {
        /// Enough.
        Normal = "normal",
        /// Some; another one would be better.
        Loaded = "loaded",
        /// No new conference.
        Full = "full",
        /// Nothing at all.
        Unavailable = "unavailable",
    }
}

/// A health report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The server's control URL; the key.
    pub url: String,
    /// What it serves.
    pub media: McuType,
    /// How much it can still take.
    pub status: ServerStatus,
    /// How many conferences it serves now.
    pub conferences: u32,
    /// How many people are on it now.
    pub participants: u32,
    /// Who made it.
    pub vendor: String,
    /// Another one after each start: what it served before is lost then.
    pub instance: Option<String>,
}

impl Health {
    /// Reads a report.
    ///
    /// # Errors
    /// If it is no health report, or lacks something.
    pub fn parse(document: &[u8]) -> Result<Health, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(NAMESPACE, "health") {
            return Err(Malformed::new(format!("{} is no health report.", quoted(&root.name))));
        }
        let status = required(&root, "status")?;
        Ok(Health {
            url: required(&root, "url")?,
            media: McuType::parse(&required(&root, "media")?)?,
            status: ServerStatus::parse(&status)
                .ok_or_else(|| Malformed::new(format!("{} is no server status.", quoted(&status))))?,
            conferences: parse_number(&required(&root, "conferences")?, "count of conferences")?,
            participants: parse_number(&required(&root, "participants")?, "count of participants")?,
            vendor: root.attr("vendor").unwrap_or_default().to_owned(),
            instance: root.attr("instance").map(str::to_owned),
        })
    }

    /// Prints the report.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start(NAMESPACE, "health");
        writer.attribute("url", &self.url);
        writer.attribute("media", self.media.as_str());
        writer.attribute("status", self.status.as_str());
        writer.attribute("conferences", &self.conferences.to_string());
        writer.attribute("participants", &self.participants.to_string());
        writer.attribute("vendor", &self.vendor);
        if let Some(instance) = &self.instance {
            writer.attribute("instance", instance);
        }
        writer.finish()
    }
}
