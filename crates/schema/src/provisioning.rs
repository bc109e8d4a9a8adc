//! In-band provisioning: what a client is told about its server and its rights at sign-in
//! (MS-SIPREGE §2.2.2; groups of the second version).

use bytes::Bytes;

use crate::xml::{Element, Malformed};

/// The namespace of the request.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist";
/// The namespace of the answer.
pub const NOTIFICATION: &str = "http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification";
/// The type of both.
pub const CONTENT_TYPE: &str = "application/vnd-microsoft-roaming-provisioning-v2+xml";
/// The type of the first version, which clients of 2005 ask for.
pub const OLD_CONTENT_TYPE: &str = "application/vnd-microsoft-roaming-provisioning+xml";
/// The most groups that may be asked for.
pub const MAX_GROUPS: usize = 64;

/// `provisioningGroupList`: the names of the groups a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRequest {
    /// `ServerConfiguration`, `meetingPolicy`, `ucPolicy`, …
    pub groups: Vec<String>,
}

/// `provisionGroupList`: the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupList {
    /// The groups that are known.
    pub groups: Vec<Group>,
}

/// One group of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
}

/// The two forms groups have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// An element for each setting, named like it: `ServerConfiguration`.
    Elements(Vec<(String, String)>),
    /// An instance with named properties: the policies.
    Properties(Vec<(String, String)>),
}

impl GroupRequest {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, or asks for too many groups.
    pub fn parse(document: &[u8]) -> Result<GroupRequest, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(NAMESPACE, "provisioningGroupList") {
            return Err(Malformed::new("The document is no provisioningGroupList."));
        }
        let names = root.all(NAMESPACE, "provisioningGroup").filter_map(|group| group.attr("name"));
        let groups: Vec<String> = names.map(str::to_owned).take(MAX_GROUPS + 1).collect();
        if groups.len() > MAX_GROUPS {
            return Err(Malformed::new(format!("There are more than {MAX_GROUPS} groups.")));
        }
        Ok(GroupRequest { groups })
    }
}

impl GroupList {
    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        let groups = self.groups.iter().map(Group::to_element);
        Element::new(NOTIFICATION, "provisionGroupList").with_children(groups).to_bytes()
    }
}

/// The answer of the first version to a user whose telephone is not controlled by a server.
// Deviation: clients look for `user/line`; the name of the root is ours.
pub fn no_line() -> Bytes {
    Element::new("", "provisioning").with_child(Element::new("", "user")).to_bytes()
}

impl Group {
    fn to_element(&self) -> Element {
        let group = Element::new(NOTIFICATION, "provisionGroup").with_attribute("name", &self.name);
        match &self.settings {
            Settings::Elements(settings) => group.with_children(
                settings.iter().map(|(name, value)| Element::new(NOTIFICATION, name).with_text(value)),
            ),
            Settings::Properties(properties) => {
                let properties = properties.iter().map(|(name, value)| {
                    Element::new(NOTIFICATION, "property").with_attribute("name", name).with_text(value)
                });
                group.with_child(Element::new(NOTIFICATION, "instance").with_children(properties))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let document = br#"<provisioningGroupList xmlns="http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist"> <provisioningGroup name="ServerConfiguration"/> <provisioningGroup name="ucPolicy"/></provisioningGroupList>"#;
        let request = GroupRequest::parse(document).unwrap();
        assert_eq!(request.groups, ["ServerConfiguration", "ucPolicy"]);
        assert!(GroupRequest::parse(b"<provisioningGroupList/>").is_err());
        let group = r#"<provisioningGroup name="x"/>"#.repeat(MAX_GROUPS);
        let many = String::from_utf8_lossy(document).replace("</", &format!("{group}</"));
        assert!(GroupRequest::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn answers() {
        let property = vec![("MeetingSize".to_owned(), "250".to_owned())];
        let list = GroupList {
            groups: vec![
                Group {
                    name: "ServerConfiguration".into(),
                    settings: Settings::Elements(vec![(
                        "focusFactoryUri".into(),
                        "sip:a@b.test;gruu".into(),
                    )]),
                },
                Group { name: "meetingPolicy".into(), settings: Settings::Properties(property) },
            ],
        };
        let expect = r#"<provisionGroupList xmlns="http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification"><provisionGroup name="ServerConfiguration"><focusFactoryUri>sip:a@b.test;gruu</focusFactoryUri></provisionGroup><provisionGroup name="meetingPolicy"><instance><property name="MeetingSize">250</property></instance></provisionGroup></provisionGroupList>"#;
        assert_eq!(std::str::from_utf8(&list.to_bytes()), Ok(expect));
        assert_eq!(std::str::from_utf8(&no_line()), Ok("<provisioning><user/></provisioning>"));
    }
}
