//! `application/ms-conf-invite+xml`: one person invites another to a conference, from client to
//! client by INVITE (MS-CONFBAS §3.11; c3p §9.3). The document has no namespace.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    uri::ConferenceUri,
    xml::{Element, Malformed, Writer, quoted},
};

/// The media type.
pub const CONTENT_TYPE: &str = "application/ms-conf-invite+xml";

/// The only version clients send.
const VERSION: &str = "2.0";

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfInvite {
    /// The conference to join.
    pub focus_uri: ConferenceUri,
    /// What it is about; may be empty.
    pub subject: String,
    /// Whether there are instant messages.
    pub im_available: bool,
    /// Whether there is voice; then the invitee is rung rather than brought in silently.
    pub audio_available: bool,
    /// Ties the invitation to an earlier conversation of the two.
    pub conversation_id: Option<String>,
}

impl ConfInvite {
    /// Reads an invitation.
    ///
    /// # Errors
    /// If it is none, or does not say to which conference.
    pub fn parse(document: &[u8]) -> Result<ConfInvite, Malformed> {
        let root = Element::parse(document)?;
        if root.name != "Conferencing" {
            return Err(Malformed::new(format!("{} is no invitation to a conference.", quoted(&root.name))));
        }
        let text = |name| root.any_child(name).map(|child| child.text().into_owned());
        let available = |name| {
            let medium = root.any_child(name).and_then(|medium| medium.attr("available"));
            medium.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
        };
        let focus_uri = text("focus-uri")
            .ok_or_else(|| Malformed::new("The invitation does not say to which conference."))?;
        Ok(ConfInvite {
            focus_uri: ConferenceUri::parse(&focus_uri)?,
            subject: text("subject").unwrap_or_default(),
            im_available: available("im"),
            audio_available: available("audio"),
            conversation_id: text("conversation-id"),
        })
    }

    /// Prints the invitation.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start("", "Conferencing");
        writer.attribute("version", VERSION);
        writer.leaf("", "focus-uri", &self.focus_uri.to_string());
        writer.leaf("", "subject", &self.subject);
        writer.start("", "im");
        if self.im_available {
            writer.attribute("available", "true");
            writer.leaf("", "first-im", "");
        } else {
            writer.attribute("available", "false");
        }
        writer.end();
        if self.audio_available {
            writer.start("", "audio");
            writer.attribute("available", "true");
            writer.end();
        }
        writer.optional("", "conversation-id", self.conversation_id.as_deref());
        writer.finish()
    }
}
