//! `conference-description`: what a conference is (RFC 4575 §5.3, MS-CONFPRO §2.2.1.2).

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{
    EXTENSIONS, Form, LATER_EXTENSIONS, NAMESPACE, State, boolean, call::write_separator, flag, part,
    part_text, parts, whole,
};
use crate::{
    date,
    xml::{Element, Malformed, Writer, quoted},
};

words! {
    /// Who may join (MS-CONFPRO §2.2.1.2).
    pub enum AdmissionPolicy {
        /// Anybody who has signed in.
        OpenAuthenticated = "openAuthenticated",
        /// Only the people the organizer named.
        ClosedAuthenticated = "closedAuthenticated",
        /// Also people who know no more than the conference key.
        Anonymous = "anonymous",
    }
}

/// RFC 4575's `conference-description` with what OCS adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The organizer's description.
    pub display_text: Option<String>,
    /// The topic.
    pub subject: Option<String>,
    /// Where the conferencing servers are.
    pub conf_uris: Vec<ConfUri>,
    /// The ID in the conference's URI.
    pub conference_id: Option<String>,
    /// What people who have not signed in must know.
    pub conference_key: Option<String>,
    /// When the record was last changed.
    pub last_update: Option<Time>,
    /// When the conference was last activated.
    pub last_activate: Option<Time>,
    /// Whether it is going on.
    pub is_active: Option<bool>,
    /// When the record may be deleted.
    pub expiry: Option<Time>,
    /// Who may join.
    pub admission: Option<AdmissionPolicy>,
    /// Who scheduled it.
    pub organizer: Option<Organizer>,
    /// The whole element `notification-data`: the organizer's, for everybody to see.
    pub notification_data: Option<Element>,
    /// The whole element `organizer-roaming-data`: the organizer's, for himself.
    pub organizer_data: Option<Element>,
    /// Whether who is not admitted at once waits in the lobby.
    pub lobby: Option<bool>,
}

/// An entry of `conf-uris`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfUri {
    /// The SIP URI.
    pub uri: String,
    /// What to call it.
    pub display_text: Option<String>,
    /// What it is for: the word of an MCU type.
    pub purpose: Option<String>,
}

/// Who scheduled a conference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organizer {
    /// What he is called.
    pub display_name: Option<String>,
    /// His SIP URI.
    pub uri: Option<String>,
}

impl Description {
    pub(super) fn read(element: &Element) -> Result<Description, Malformed> {
        let time = |name| part(element, name).map(|child| date::parse(&child.text())).transpose();
        let conf_uris = part(element, "conf-uris").map(|uris| {
            let read = |entry| ConfUri {
                uri: part_text(entry, "uri").unwrap_or_default(),
                display_text: part_text(entry, "display-text"),
                purpose: part_text(entry, "purpose"),
            };
            parts(uris, "entry").map(read).collect()
        });
        Ok(Description {
            display_text: part_text(element, "display-text"),
            subject: part_text(element, "subject"),
            conf_uris: conf_uris.unwrap_or_default(),
            conference_id: part_text(element, "conference-id"),
            conference_key: part_text(element, "conference-key"),
            last_update: time("last-update")?,
            last_activate: time("last-activate")?,
            is_active: part(element, "is-active").map(boolean).transpose()?,
            expiry: time("expiry-time")?,
            admission: part(element, "admission-policy").map(admission).transpose()?,
            organizer: part(element, "organizer").map(|organizer| Organizer {
                display_name: part_text(organizer, "display-name"),
                uri: part_text(organizer, "uri"),
            }),
            notification_data: whole(element, "notification-data"),
            organizer_data: whole(element, "organizer-roaming-data"),
            lobby: part(element, "lobby-capable").map(boolean).transpose()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(NAMESPACE, "conference-description");
        writer.optional(NAMESPACE, "display-text", self.display_text.as_deref());
        writer.optional(NAMESPACE, "subject", self.subject.as_deref());
        if !self.conf_uris.is_empty() {
            writer.start(NAMESPACE, "conf-uris");
            form.state(writer, State::Full);
            for entry in &self.conf_uris {
                writer.start(NAMESPACE, "entry");
                writer.leaf(NAMESPACE, "uri", &entry.uri);
                writer.optional(NAMESPACE, "display-text", entry.display_text.as_deref());
                writer.optional(NAMESPACE, "purpose", entry.purpose.as_deref());
                writer.end();
            }
            writer.end();
        }
        if form.microsoft {
            self.write_extensions(writer);
        }
        writer.end();
    }

    // Deviation: no text within reach gives the order of these; conference-id comes first, opaque data last.
    // Nor does any say by which word a conference has a lobby: it is the one of joining clients, as
    // servers of another make have it.
    fn write_extensions(&self, writer: &mut Writer) {
        let time = |time: Option<Time>| time.map(date::format);
        writer.optional(EXTENSIONS, "conference-id", self.conference_id.as_deref());
        writer.optional(EXTENSIONS, "conference-key", self.conference_key.as_deref());
        writer.optional(EXTENSIONS, "last-update", time(self.last_update).as_deref());
        writer.optional(EXTENSIONS, "last-activate", time(self.last_activate).as_deref());
        writer.optional(EXTENSIONS, "is-active", self.is_active.map(flag));
        writer.optional(EXTENSIONS, "expiry-time", time(self.expiry).as_deref());
        writer.optional(EXTENSIONS, "admission-policy", self.admission.map(AdmissionPolicy::as_str));
        if let Some(organizer) = &self.organizer {
            writer.start(EXTENSIONS, "organizer");
            writer.optional(EXTENSIONS, "display-name", organizer.display_name.as_deref());
            writer.optional(EXTENSIONS, "uri", organizer.uri.as_deref());
            writer.end();
        }
        for data in [&self.notification_data, &self.organizer_data].into_iter().flatten() {
            writer.element(data);
        }
        if let Some(lobby) = self.lobby {
            write_separator(writer);
            writer.leaf(LATER_EXTENSIONS, "lobby-capable", flag(lobby));
        }
    }
}

/// An unknown policy is an error: to take it for the default would open what was meant closed.
fn admission(element: &Element) -> Result<AdmissionPolicy, Malformed> {
    let word = element.text();
    AdmissionPolicy::parse(&word)
        .ok_or_else(|| Malformed::new(format!("{} is no admission policy.", quoted(&word))))
}
