//! Steps 2 and 4: the conference record, which is all that the conferencing database holds of a
//! conference (MS-CONFPRO §2.2.1.2).

use confab_machine::Time;
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
    xml::Element,
};
use serde::{Deserialize, Serialize};

use crate::conference_key::SealedKey;

/// A conference as it was scheduled. It outlives every meeting held under it, until it expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConferenceRecord {
    /// Organizer and ID; the key.
    pub uri: ConferenceUri,
    /// 1 when inserted, one more with each saved change (the optimistic lock).
    pub version: u32,
    /// Shown to participants as the topic.
    pub subject: String,
    /// The organizer's description.
    pub description: String,
    /// After this moment the record may be deleted and nobody can join.
    pub expires: Time,
    /// Who may join.
    pub admission: AdmissionPolicy,
    /// What people who have not signed in must know, if anything: sealed.
    pub conference_key: Option<SealedKey>,
    /// Whether a leader has locked it: nobody new gets in.
    pub locked: bool,
    /// Whether who would be kept out, or has not signed in, waits in the lobby for a leader's word.
    pub lobby: bool,
    /// Those the organizer named, with the role each gets on joining.
    pub participants: Vec<Invitee>,
    /// The media it was scheduled with: one conferencing server each.
    pub media: Vec<McuType>,
    /// Opaque XML that every participant's notifications carry, if the organizer gave any.
    pub notification_data: Option<Element>,
    /// Opaque XML for the organizer alone, if any.
    pub organizer_data: Option<Element>,
    /// When it was scheduled.
    pub created: Time,
    /// When it was last changed.
    pub updated: Time,
    /// When somebody last joined an inactive conference and so activated it.
    pub last_activated: Option<Time>,
}

/// What a list tells of a conference: little, however much the organizer attached to it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConferenceSummary {
    /// Organizer and ID.
    pub uri: ConferenceUri,
    /// As in the record, like all that follows.
    pub version: u32,
    /// The topic.
    pub subject: String,
    /// Until when it can be joined.
    pub expires: Time,
    /// Who may join.
    pub admission: AdmissionPolicy,
    /// When it was last changed.
    pub updated: Time,
    /// When its last meeting began.
    pub last_activated: Option<Time>,
}

impl From<&ConferenceRecord> for ConferenceSummary {
    fn from(record: &ConferenceRecord) -> ConferenceSummary {
        ConferenceSummary {
            uri: record.uri.clone(),
            version: record.version,
            subject: record.subject.clone(),
            expires: record.expires,
            admission: record.admission,
            updated: record.updated,
            last_activated: record.last_activated,
        }
    }
}

/// What the Focus of an active conference changes of its record. Everything else is the
/// organizer's, who changes it at the Focus Factory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordChange {
    /// Somebody joined while the conference was not active.
    Activated {
        /// When.
        at: Time,
    },
    /// A leader locked or unlocked it.
    Locked {
        /// Whether nobody new gets in.
        locked: bool,
        /// When.
        at: Time,
    },
}

impl ConferenceRecord {
    /// Who scheduled it.
    pub fn organizer(&self) -> &UserUri {
        &self.uri.organizer
    }

    /// The next version of the record, with `change` and nothing else changed. The same change can
    /// be made to whatever version the database holds, so neither it nor what somebody else changed
    /// meanwhile is lost.
    pub fn changed(&self, change: RecordChange) -> ConferenceRecord {
        let mut next = self.clone();
        next.version += 1;
        match change {
            RecordChange::Activated { at } => next.last_activated = Some(at),
            RecordChange::Locked { locked, at } => (next.locked, next.updated) = (locked, at),
        }
        next
    }

    /// The role the organizer gave to `user`: presenter for himself, the listed one for an
    /// invitee, none for anybody else.
    pub fn listed_role(&self, user: &UserUri) -> Option<Role> {
        if user == self.organizer() {
            return Some(Role::Presenter);
        }
        self.participants.iter().find(|invitee| &invitee.user == user).map(|invitee| invitee.role)
    }
}

/// Somebody the organizer named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitee {
    /// Who.
    pub user: UserUri,
    /// The role he gets when he joins.
    pub role: Role,
}
