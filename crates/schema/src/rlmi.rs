//! The table of contents of a list notification: `application/rlmi+xml` (RFC 4662 §5).

use bytes::Bytes;

use crate::xml::Element;

/// The namespace.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:rlmi";
/// The type of this document.
pub const CONTENT_TYPE: &str = "application/rlmi+xml";

/// `list`: which resources of a subscription to many are in this notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceList {
    /// The list, which for a list in the request is the subscriber himself.
    pub uri: String,
    /// Rises by one with each notification.
    pub version: u32,
    /// Whether all resources of the subscription are here.
    pub full_state: bool,
    /// The resources.
    pub resources: Vec<Resource>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Whose presence it is.
    pub uri: String,
    /// The one instance of it there is.
    pub instance: Instance,
}

/// What has become of the subscription to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Its state is in the part with this Content-ID (without angle brackets).
    Active {
        /// Content-ID without angle brackets.
        cid: String,
    },
    /// It is watched no more.
    Terminated {
        /// A word of RFC 6665 §4.1.3: `noresource`, `rejected`, …
        reason: &'static str,
    },
}

impl ResourceList {
    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        Element::new(NAMESPACE, "list")
            .with_attribute("uri", &self.uri)
            .with_attribute("version", self.version.to_string())
            .with_attribute("fullState", self.full_state.to_string())
            .with_children(self.resources.iter().map(Resource::to_element))
            .to_bytes()
    }
}

impl Resource {
    fn to_element(&self) -> Element {
        let instance = Element::new(NAMESPACE, "instance").with_attribute("id", "0");
        let instance = match &self.instance {
            Instance::Active { cid } => instance.with_attribute("state", "active").with_attribute("cid", cid),
            Instance::Terminated { reason } => {
                instance.with_attribute("state", "terminated").with_attribute("reason", *reason)
            }
        };
        Element::new(NAMESPACE, "resource").with_attribute("uri", &self.uri).with_child(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = ResourceList {
            uri: "sip:ann@example.test".into(),
            version: 2,
            full_state: false,
            resources: vec![
                Resource {
                    uri: "sip:bob@example.test".into(),
                    instance: Instance::Active { cid: "1@x".into() },
                },
                Resource {
                    uri: "sip:eve@example.test".into(),
                    instance: Instance::Terminated { reason: "noresource" },
                },
            ],
        };
        let expect = r#"<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:ann@example.test" version="2" fullState="false"><resource uri="sip:bob@example.test"><instance id="0" state="active" cid="1@x"/></resource><resource uri="sip:eve@example.test"><instance id="0" state="terminated" reason="noresource"/></resource></list>"#;
        assert_eq!(std::str::from_utf8(&list.to_bytes()), Ok(expect));
    }
}
