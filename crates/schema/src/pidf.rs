//! Presence for any SIP client: `application/pidf+xml` (RFC 3863), with the activities of a person
//! (RFC 4479, RFC 4480).

use bytes::Bytes;

use crate::xml::Element;

/// The namespace of the document.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf";
/// The namespace of `person`.
pub const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
/// The namespace of `activities`.
pub const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
/// The type of this document.
pub const CONTENT_TYPE: &str = "application/pidf+xml";

/// `presence`: one user, seen as one tuple and one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whose: `sip:ann@example.test`.
    pub entity: String,
    /// Whether there is a way to reach the user.
    pub open: bool,
    /// What the user is doing.
    pub activity: Option<Activity>,
    /// What the user wrote about it.
    pub note: Option<String>,
}

/// The activities of RFC 4480 §3.2 that presence here is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Not at the device.
    Away,
    /// Doing something else.
    Busy,
    /// In a meeting.
    Meeting,
    /// In a call.
    OnThePhone,
}

impl Activity {
    /// The name of its element.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Away => "away",
            Activity::Busy => "busy",
            Activity::Meeting => "meeting",
            Activity::OnThePhone => "on-the-phone",
        }
    }
}

impl Presence {
    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        let basic = if self.open { "open" } else { "closed" };
        let status =
            Element::new(NAMESPACE, "status").with_child(Element::new(NAMESPACE, "basic").with_text(basic));
        let tuple = Element::new(NAMESPACE, "tuple")
            .with_attribute("id", "t1")
            .with_child(status)
            .with_child(Element::new(NAMESPACE, "contact").with_text(&self.entity));
        let note = self.note.as_ref().map(|note| Element::new(NAMESPACE, "note").with_text(note));
        let person = self.activity.map(|activity| {
            let activity = Element::new(RPID, activity.as_str());
            Element::new(DATA_MODEL, "person")
                .with_attribute("id", "p1")
                .with_child(Element::new(RPID, "activities").with_child(activity))
        });
        Element::new(NAMESPACE, "presence")
            .with_attribute("entity", &self.entity)
            .with_child(tuple)
            .with_children(note)
            .with_children(person)
            .to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let check = |presence: Presence, expect: &str| {
            assert_eq!(std::str::from_utf8(&presence.to_bytes()), Ok(expect));
        };
        let entity = "sip:ann@example.test".to_owned();
        check(
            Presence { entity: entity.clone(), open: false, activity: None, note: None },
            r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:ann@example.test"><tuple id="t1"><status><basic>closed</basic></status><contact>sip:ann@example.test</contact></tuple></presence>"#,
        );
        check(
            Presence {
                entity,
                open: true,
                activity: Some(Activity::OnThePhone),
                note: Some("<back> soon".into()),
            },
            r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:ann@example.test"><tuple id="t1"><status><basic>open</basic></status><contact>sip:ann@example.test</contact></tuple><note>&lt;back&gt; soon</note><person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p1"><activities xmlns="urn:ietf:params:xml:ns:pidf:rpid"><on-the-phone/></activities></person></presence>"#,
        );
    }
}
