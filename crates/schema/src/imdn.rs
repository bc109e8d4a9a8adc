//! `http://schemas.microsoft.com/rtc/2005/08/imdn`: what became of a message sent to a conference
//! (MS-CONFIM §2.2.2). The IM conferencing server sends one after each message, by BENOTIFY.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::xml::{Element, Malformed, Writer, quoted};

/// The namespace.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/rtc/2005/08/imdn";
/// The media type.
pub const CONTENT_TYPE: &str = "application/ms-imdn+xml";

/// A report: everybody got the message but those who are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imdn {
    /// The `Message-Id` in the answer to the message.
    pub message_id: u32,
    /// Who did not get it.
    pub recipients: Vec<Recipient>,
}

/// Somebody who did not get the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// His SIP URI. The document has it in angle brackets, which are dropped on reading.
    pub uri: String,
    /// The SIP status with which it failed, if the document says it.
    pub status: Option<u16>,
    /// Headers of that answer, such as `ms-diagnostics`.
    pub entries: Vec<(String, String)>,
}

impl Imdn {
    /// Reads a report.
    ///
    /// # Errors
    /// If it is none, or does not say of which message.
    pub fn parse(document: &[u8]) -> Result<Imdn, Malformed> {
        let root = Element::parse(document)?;
        if root.name != "imdn" {
            return Err(Malformed::new(format!("{} is no report on a message.", quoted(&root.name))));
        }
        let message_id = root.any_child("message-id").map(Element::text).unwrap_or_default();
        let message_id = message_id
            .parse()
            .map_err(|_| Malformed::new(format!("{} is no message's number.", quoted(&message_id))))?;
        let recipients = root.elements().filter(|child| child.name == "recipient").map(Recipient::read);
        Ok(Imdn { message_id, recipients: recipients.collect() })
    }

    /// Prints the report.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start(NAMESPACE, "imdn");
        writer.leaf(NAMESPACE, "message-id", &self.message_id.to_string());
        self.recipients.iter().for_each(|recipient| recipient.write(&mut writer));
        writer.finish()
    }
}

impl Recipient {
    fn read(element: &Element) -> Recipient {
        let text = |element: &Element, name| element.any_child(name).map(|child| child.text().into_owned());
        let entry = |entry| Some((text(entry, "key")?, text(entry, "value").unwrap_or_default()));
        let entries = element.elements().filter(|child| child.name == "entry").filter_map(entry);
        Recipient {
            uri: bare(element.attr("uri").unwrap_or_default()).to_owned(),
            status: text(element, "status").and_then(|status| status.parse().ok()),
            entries: entries.collect(),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "recipient");
        writer.attribute("uri", &["<", bare(&self.uri), ">"].concat());
        writer.optional(NAMESPACE, "status", self.status.map(|status| status.to_string()).as_deref());
        for (key, value) in &self.entries {
            writer.start(NAMESPACE, "entry");
            writer.leaf(NAMESPACE, "key", key);
            writer.leaf(NAMESPACE, "value", value);
            writer.end();
        }
        writer.end();
    }
}

/// A URI without the angle brackets around it.
fn bare(uri: &str) -> &str {
    let uri = uri.trim();
    uri.strip_prefix('<').and_then(|uri| uri.strip_suffix('>')).unwrap_or(uri)
}
