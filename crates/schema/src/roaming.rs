//! What a user keeps at the server and finds again wherever he signs in: roaming data (MS-PRES
//! §2.2.2), the contact list, the access list and the waiting watchers of 2005 (MS-SIP §2.2).

use bytes::Bytes;

use crate::{
    categories::Categories,
    publication::{Member, SUBSCRIBERS},
    xml::{Element, Malformed},
};

/// The namespace of `roamingList` and `roamingData`.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/roaming-self";
/// The namespace of `containers`.
pub const CONTAINERS: &str = "http://schemas.microsoft.com/2006/09/sip/containers";
/// The type of [`RoamingList`] and [`RoamingData`].
pub const SELF_TYPE: &str = "application/vnd-microsoft-roaming-self+xml";
/// The type of [`ContactList`].
pub const CONTACTS_TYPE: &str = "application/vnd-microsoft-roaming-contacts+xml";
/// The type of [`AccessList`].
pub const ACCESS_LIST_TYPE: &str = "application/vnd-microsoft-roaming-acls+xml";
/// The type of [`WaitingWatchers`].
pub const WAITING_WATCHERS_TYPE: &str = "text/xml+msrtc.wpending";

/// `roamingList`: which parts of the roaming data a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoamingList {
    /// What the user has published.
    pub categories: bool,
    /// Who may see which container.
    pub containers: bool,
    /// Who watches.
    pub subscribers: bool,
}

/// `roamingData`: the parts that were wanted, or those that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoamingData {
    /// What the user has published; a client replaces all it knows of each name that is here.
    pub categories: Option<Categories>,
    /// Who may see which container; a client replaces the containers that are here.
    pub containers: Option<Vec<Container>>,
    /// Who watches.
    pub subscribers: Option<Vec<Subscriber>>,
}

/// Who sees what is in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Which: 100 public, 200 company, 300 workgroup, 400 personal, 32000 blocked.
    pub id: u32,
    /// Rises by one with each change.
    pub version: u32,
    /// Who.
    pub members: Vec<Member>,
}

/// Someone who watches the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The address without `sip:`.
    pub user: String,
    /// The name people see, if it is known.
    pub display_name: Option<String>,
    /// Whether the user has been told.
    pub acknowledged: bool,
}

/// `contactList`: the groups and contacts of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactList {
    /// The number of the last change.
    pub delta: u32,
    /// Number and name; group 1, `~`, holds the contacts of no other group.
    pub groups: Vec<(u32, String)>,
    /// The contacts.
    pub contacts: Vec<Contact>,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The address without `sip:`.
    pub uri: String,
    /// The name the user gave it.
    pub name: String,
    /// The groups it is in.
    pub groups: Vec<u32>,
    /// Whether its presence is wanted.
    pub subscribed: bool,
}

/// `ACLlist`: who may see and call the user, as clients of 2005 ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessList {
    /// The number of the last change.
    pub delta: u32,
}

/// `watchers`: who waits for the user's consent, as clients of 2005 ask for it. Nobody ever does
/// here: containers have taken the place of consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingWatchers;

impl RoamingList {
    /// Everything.
    pub const ALL: RoamingList = RoamingList { categories: true, containers: true, subscribers: true };

    /// Reads a document; kinds that are not known here are ignored.
    ///
    /// # Errors
    /// If it is not XML or is another document.
    pub fn parse(document: &[u8]) -> Result<RoamingList, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(NAMESPACE, "roamingList") {
            return Err(Malformed::new("The document is no roamingList."));
        }
        let has =
            |kind: &str| root.all(NAMESPACE, "roaming").any(|roaming| roaming.attr("type") == Some(kind));
        let (categories, containers) = (has("categories"), has("containers"));
        Ok(RoamingList { categories, containers, subscribers: has("subscribers") })
    }
}

impl RoamingData {
    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        let mut root = Element::new(NAMESPACE, "roamingData");
        if let Some(categories) = &self.categories {
            root = root.with_child(categories.to_element());
        }
        if let Some(containers) = &self.containers {
            let containers = containers.iter().map(Container::to_element);
            root = root.with_child(Element::new(CONTAINERS, "containers").with_children(containers));
        }
        if let Some(subscribers) = &self.subscribers {
            let subscribers = subscribers.iter().map(Subscriber::to_element);
            root = root.with_child(Element::new(SUBSCRIBERS, "subscribers").with_children(subscribers));
        }
        root.to_bytes()
    }
}

impl Container {
    fn to_element(&self) -> Element {
        let members = self.members.iter().map(|member| {
            let element = Element::new(CONTAINERS, "member").with_attribute("type", member.kind.as_str());
            match &member.value {
                Some(value) => element.with_attribute("value", value),
                None => element,
            }
        });
        Element::new(CONTAINERS, "container")
            .with_attribute("id", self.id.to_string())
            .with_attribute("version", self.version.to_string())
            .with_children(members)
    }
}

impl Subscriber {
    fn to_element(&self) -> Element {
        let element = Element::new(SUBSCRIBERS, "subscriber")
            .with_attribute("user", &self.user)
            .with_attribute("acknowledged", self.acknowledged.to_string());
        match &self.display_name {
            Some(name) => element.with_attribute("displayName", name),
            None => element,
        }
    }
}

impl ContactList {
    /// The list of a user who has no contacts.
    pub fn empty() -> ContactList {
        ContactList { delta: 1, groups: vec![(1, "~".to_owned())], contacts: Vec::new() }
    }

    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        let groups = self.groups.iter().map(|(id, name)| {
            Element::new("", "group")
                .with_attribute("id", id.to_string())
                .with_attribute("name", name)
                .with_attribute("externalURI", "")
        });
        Element::new("", "contactList")
            .with_attribute("deltaNum", self.delta.to_string())
            .with_children(groups)
            .with_children(self.contacts.iter().map(Contact::to_element))
            .to_bytes()
    }
}

impl Contact {
    fn to_element(&self) -> Element {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        Element::new("", "contact")
            .with_attribute("uri", &self.uri)
            .with_attribute("name", &self.name)
            .with_attribute("groups", groups.join(" "))
            .with_attribute("subscribed", self.subscribed.to_string())
            .with_attribute("externalURI", "")
    }
}

impl AccessList {
    /// The document: everybody may see and call.
    pub fn to_bytes(self) -> Bytes {
        let everybody = Element::new("", "ace")
            .with_attribute("type", "ALL")
            .with_attribute("mask", "")
            .with_attribute("rights", "AA");
        Element::new("", "ACLlist")
            .with_attribute("deltaNum", self.delta.to_string())
            .with_child(Element::new("", "userACL").with_child(everybody))
            .to_bytes()
    }
}

impl WaitingWatchers {
    /// The document.
    pub fn to_bytes(self) -> Bytes {
        Element::new("", "watchers").to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::MemberKind;

    fn check(document: Bytes, expect: &str) {
        assert_eq!(std::str::from_utf8(&document), Ok(expect));
    }

    #[test]
    fn lists_of_what_is_wanted() {
        let wanted = RoamingList::parse(
            br#"<roamingList xmlns="http://schemas.microsoft.com/2006/09/sip/roaming-self"><roaming type="categories"/><roaming type="delegates"/></roamingList>"#,
        );
        let expect = RoamingList { categories: true, containers: false, subscribers: false };
        assert_eq!(wanted, Ok(expect));
        assert!(RoamingList::parse(b"<roamingList/>").is_err());
        assert!(RoamingList::parse(b"roaming").is_err());
    }

    #[test]
    fn roaming_data() {
        let data = RoamingData {
            categories: Some(Categories { uri: "sip:ann@example.test".into(), categories: Vec::new() }),
            containers: Some(vec![Container {
                id: 200,
                version: 1,
                members: vec![
                    Member { kind: MemberKind::SameEnterprise, value: None },
                    Member { kind: MemberKind::Domain, value: Some("other.test".into()) },
                ],
            }]),
            subscribers: Some(vec![Subscriber {
                user: "bob@example.test".into(),
                display_name: Some("Bob".into()),
                acknowledged: false,
            }]),
        };
        check(
            data.to_bytes(),
            r#"<roamingData xmlns="http://schemas.microsoft.com/2006/09/sip/roaming-self"><categories xmlns="http://schemas.microsoft.com/2006/09/sip/categories" uri="sip:ann@example.test"/><containers xmlns="http://schemas.microsoft.com/2006/09/sip/containers"><container id="200" version="1"><member type="sameEnterprise"/><member type="domain" value="other.test"/></container></containers><subscribers xmlns="http://schemas.microsoft.com/2006/09/sip/presence-subscribers"><subscriber user="bob@example.test" acknowledged="false" displayName="Bob"/></subscribers></roamingData>"#,
        );
        check(
            RoamingData::default().to_bytes(),
            r#"<roamingData xmlns="http://schemas.microsoft.com/2006/09/sip/roaming-self"/>"#,
        );
    }

    #[test]
    fn contact_lists() {
        check(
            ContactList::empty().to_bytes(),
            r#"<contactList deltaNum="1"><group id="1" name="~" externalURI=""/></contactList>"#,
        );
        let contact = Contact {
            uri: "bob@example.test".into(),
            name: "Bob".into(),
            groups: vec![1, 3],
            subscribed: true,
        };
        let list = ContactList { delta: 4, groups: Vec::new(), contacts: vec![contact] };
        check(
            list.to_bytes(),
            r#"<contactList deltaNum="4"><contact uri="bob@example.test" name="Bob" groups="1 3" subscribed="true" externalURI=""/></contactList>"#,
        );
    }

    #[test]
    fn documents_of_2005() {
        let expect =
            r#"<ACLlist deltaNum="1"><userACL><ace type="ALL" mask="" rights="AA"/></userACL></ACLlist>"#;
        check(AccessList { delta: 1 }.to_bytes(), expect);
        check(WaitingWatchers.to_bytes(), "<watchers/>");
    }
}
