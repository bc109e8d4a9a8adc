//! What a user says about himself by SERVICE (MS-PRES §2.2.2): publications, who may see which
//! container, who is known to watch, and the fault that answers a stale version.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    categories::{ExpireType, expire_type, number},
    xml::{Element, Malformed, quoted},
};

/// The namespace of `publish`.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/rich-presence";
/// The namespace of `setContainerMembers`.
pub const CONTAINER_MANAGEMENT: &str = "http://schemas.microsoft.com/2006/09/sip/container-management";
/// The namespace of `setSubscribers`.
pub const SUBSCRIBERS: &str = "http://schemas.microsoft.com/2006/09/sip/presence-subscribers";
/// The type of [`Publish`].
pub const PUBLISH_TYPE: &str = "application/msrtc-category-publish+xml";
/// The type of [`SetContainerMembers`].
pub const SET_CONTAINER_MEMBERS_TYPE: &str = "application/msrtc-setcontainermembers+xml";
/// The type of [`SetSubscribers`].
pub const SET_SUBSCRIBERS_TYPE: &str = "application/msrtc-presence-setsubscriber+xml";
/// The type of [`WrongDelta`].
pub const FAULT_TYPE: &str = "application/msrtc-fault+xml";
/// The most publications, containers, members or subscribers in one document.
pub const MAX_OPERATIONS: usize = 256;

/// `publish`: pieces of presence to put there or to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whose: `sip:ann@example.test`.
    pub uri: String,
    /// In the order they stand; faults name them by their place, counted from one.
    pub publications: Vec<Publication>,
}

/// One piece of presence to put there or to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `state`, `note`, `device`, …
    pub category: String,
    /// Which of several of this name.
    pub instance: u32,
    /// For whom it is meant.
    pub container: u32,
    /// The version this follows; 0 = there is none yet.
    pub version: u32,
    /// What ends it.
    pub expire_type: ExpireType,
    /// With [`ExpireType::Time`] the seconds until it ends; 0 with any type takes it away.
    pub expires: Option<u32>,
    /// The piece itself.
    pub data: Option<Element>,
}

/// `setContainerMembers`: changes to who sees which container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetContainerMembers {
    /// In the order they stand.
    pub containers: Vec<ContainerChange>,
}

/// Changes to the members of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerChange {
    /// Which container.
    pub id: u32,
    /// The version this follows.
    pub version: u32,
    /// Members to add.
    pub added: Vec<Member>,
    /// Members to remove.
    pub removed: Vec<Member>,
}

/// Someone who sees what is in a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// What kind of members is meant.
    pub kind: MemberKind,
    /// The user (without `sip:`) or domain that is meant.
    pub value: Option<String>,
}

words! {
    /// Kinds of members, in the order in which they are searched.
    pub enum MemberKind {
        /// One user.
        User = "user",
        /// All users of a domain.
        Domain = "domain",
        /// All users of the own organisation.
        SameEnterprise = "sameEnterprise",
        /// All users of public networks.
        PublicCloud = "publicCloud",
        /// All users of partner organisations.
        Federated = "federated",
        /// Everybody.
        Everyone = "everyone",
    }
}

/// `setSubscribers`: watchers the user has been told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSubscribers {
    /// Watchers by address (with or without `sip:`) and whether the user has acknowledged them.
    pub subscribers: Vec<(String, bool)>,
}

/// The fault that tells which operations followed a stale version, and what is the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongDelta {
    /// Place in the request, counted from one, and current version.
    pub operations: Vec<(u32, u32)>,
}

impl Publish {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, exceeds a limit, or lacks a needed attribute.
    pub fn parse(document: &[u8]) -> Result<Publish, Malformed> {
        let root = root(document, NAMESPACE, "publish")?;
        let list = root.child(NAMESPACE, "publications");
        let list = list.ok_or_else(|| Malformed::new("publish has no publications."))?;
        let uri = required(list, "uri")?.to_owned();
        let publications = limited(list, "publication")?;
        let publications =
            publications.into_iter().map(Publication::from_element).collect::<Result<_, _>>()?;
        Ok(Publish { uri, publications })
    }
}

impl Publication {
    fn from_element(element: &Element) -> Result<Publication, Malformed> {
        Ok(Publication {
            category: required(element, "categoryName")?.to_owned(),
            instance: number(element, "instance")?.unwrap_or(0),
            container: needed(element, "container")?,
            version: number(element, "version")?.unwrap_or(0),
            expire_type: expire_type(element)?.ok_or_else(|| missing(element, "expireType"))?,
            expires: number(element, "expires")?,
            data: element.elements().next().cloned(),
        })
    }
}

impl SetContainerMembers {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, exceeds a limit, or names no such action or member.
    pub fn parse(document: &[u8]) -> Result<SetContainerMembers, Malformed> {
        let root = root(document, CONTAINER_MANAGEMENT, "setContainerMembers")?;
        let containers = limited(&root, "container")?;
        let containers =
            containers.into_iter().map(ContainerChange::from_element).collect::<Result<_, _>>()?;
        Ok(SetContainerMembers { containers })
    }
}

impl ContainerChange {
    fn from_element(element: &Element) -> Result<ContainerChange, Malformed> {
        let mut change = ContainerChange {
            id: needed(element, "id")?,
            version: number(element, "version")?.unwrap_or(0),
            added: Vec::new(),
            removed: Vec::new(),
        };
        for member in limited(element, "member")? {
            let value = member.attr("value").map(|value| bare(value).to_owned());
            let kind = required(member, "type")?;
            let unknown = || Malformed::new(format!("{} is no kind of member.", quoted(kind)));
            let found = Member { kind: MemberKind::parse(kind).ok_or_else(unknown)?, value };
            match required(member, "action")? {
                "add" => change.added.push(found),
                "remove" => change.removed.push(found),
                other => {
                    let sentence = format!("{} is nothing to do with a member.", quoted(other));
                    return Err(Malformed::new(sentence));
                }
            }
        }
        Ok(change)
    }
}

impl SetSubscribers {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, or exceeds a limit.
    pub fn parse(document: &[u8]) -> Result<SetSubscribers, Malformed> {
        let root = root(document, SUBSCRIBERS, "setSubscribers")?;
        let mut subscribers = Vec::new();
        for element in limited(&root, "subscriber")? {
            let acknowledged =
                element.attr("acknowledged").is_some_and(|word| word.eq_ignore_ascii_case("true"));
            subscribers.push((required(element, "user")?.to_owned(), acknowledged));
        }
        Ok(SetSubscribers { subscribers })
    }
}

impl WrongDelta {
    /// The document.
    // Deviation: clients look at names only; that the root is `Fault` without a namespace is ours.
    pub fn to_bytes(&self) -> Bytes {
        let operations = self.operations.iter().map(|(index, current)| {
            Element::new("", "operation")
                .with_attribute("index", index.to_string())
                .with_attribute("curVersion", current.to_string())
        });
        Element::new("", "Fault")
            .with_child(Element::new("", "Faultcode").with_text("Client.BadCall.WrongDelta"))
            .with_child(Element::new("", "details").with_children(operations))
            .to_bytes()
    }
}

/// An address without its scheme, as these documents write users.
pub fn bare(address: &str) -> &str {
    match address.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &address[4..],
        _ => address,
    }
}

fn root(document: &[u8], ns: &str, name: &str) -> Result<Element, Malformed> {
    let root = Element::parse(document)?;
    if root.is(ns, name) { Ok(root) } else { Err(Malformed::new(format!("The document is no {name}."))) }
}

/// The children of this name, in the namespace of `parent`.
fn limited<'a>(parent: &'a Element, name: &'a str) -> Result<Vec<&'a Element>, Malformed> {
    let found: Vec<_> = parent.all(&parent.ns, name).take(MAX_OPERATIONS + 1).collect();
    if found.len() > MAX_OPERATIONS {
        return Err(Malformed::new(format!("There are more than {MAX_OPERATIONS} of {name}.")));
    }
    Ok(found)
}

fn required<'a>(element: &'a Element, name: &str) -> Result<&'a str, Malformed> {
    element.attr(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(element, name))
}

fn needed(element: &Element, name: &str) -> Result<u32, Malformed> {
    number(element, name)?.ok_or_else(|| missing(element, name))
}

fn missing(element: &Element, name: &str) -> Malformed {
    Malformed::new(format!("{} has no {name}.", element.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: &str = r#"<publish xmlns="http://schemas.microsoft.com/2006/09/sip/rich-presence"><publications uri="sip:ann@example.test"><publication categoryName="state" instance="536870912" container="2" version="0" expireType="static"><state xmlns="http://schemas.microsoft.com/2006/09/sip/state"/></publication><publication categoryName="note" instance="0" container="200" version="4" expireType="static" expires="0"/></publications></publish>"#;

    #[test]
    fn publications() {
        let publish = Publish::parse(PUBLISH.as_bytes()).unwrap();
        assert_eq!(publish.uri, "sip:ann@example.test");
        let [state, note] = &publish.publications[..] else { panic!("two publications") };
        assert_eq!((state.instance, state.container, state.version), (0x2000_0000, 2, 0));
        assert!(state.data.as_ref().is_some_and(|data| data.name == "state"));
        assert_eq!((note.expires, &note.data), (Some(0), &None));
    }

    #[test]
    fn publications_refused() {
        let check = |document: &str| assert!(Publish::parse(document.as_bytes()).is_err(), "{document}");
        check("<publish/>");
        check(&PUBLISH.replace("rich-presence", "poor-presence"));
        check(&PUBLISH.replace("container=\"2\"", ""));
        check(&PUBLISH.replace("container=\"2\"", "container=\"two\""));
        check(&PUBLISH.replace("categoryName=\"note\"", ""));
        check(&PUBLISH.replace(" uri=", " url="));
        let many = "<publication categoryName='a' container='2' expireType='static'/>".repeat(MAX_OPERATIONS);
        check(&PUBLISH.replace("</publications>", &format!("{many}</publications>")));
    }

    #[test]
    fn members() {
        let document = br#"<setContainerMembers xmlns="http://schemas.microsoft.com/2006/09/sip/container-management"><container id="200" version="0"><member action="add" type="sameEnterprise"/><member action="remove" type="user" value="sip:bob@example.test"/></container></setContainerMembers>"#;
        let change = &SetContainerMembers::parse(document).unwrap().containers[0];
        assert_eq!((change.id, change.version), (200, 0));
        assert_eq!(change.added, [Member { kind: MemberKind::SameEnterprise, value: None }]);
        assert_eq!(change.removed[0].value.as_deref(), Some("bob@example.test"));
        let check = |from: &str, to: &str| {
            let document = String::from_utf8_lossy(document).replace(from, to);
            assert!(SetContainerMembers::parse(document.as_bytes()).is_err(), "{document}");
        };
        check("sameEnterprise", "neighbours");
        check("remove", "promote");
        check("id=\"200\"", "");
    }

    #[test]
    fn subscribers_and_faults() {
        let document = br#"<setSubscribers xmlns="http://schemas.microsoft.com/2006/09/sip/presence-subscribers"><subscriber user="bob@example.test" acknowledged="true"/></setSubscribers>"#;
        let read = SetSubscribers::parse(document).unwrap();
        assert_eq!(read.subscribers, [("bob@example.test".to_owned(), true)]);
        assert!(SetSubscribers::parse(b"<setSubscribers/>").is_err());
        let fault = WrongDelta { operations: vec![(1, 7), (3, 0)] }.to_bytes();
        let expect = r#"<Fault><Faultcode>Client.BadCall.WrongDelta</Faultcode><details><operation index="1" curVersion="7"/><operation index="3" curVersion="0"/></details></Fault>"#;
        assert_eq!(std::str::from_utf8(&fault), Ok(expect));
    }
}
