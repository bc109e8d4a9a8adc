//! XML itself (XML 1.0, Namespaces in XML 1.0): a tree to read from, a writer to print with.
//!
//! [`Element::parse`] is how every document comes in, [`Writer`] how every document goes out. The
//! reader refuses what no message of ours needs and what attackers like: document types, entities
//! of one's own, deep or huge documents. It never panics, whatever the bytes.

mod parse;
mod writer;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use parse::{MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_NAMESPACE, MAX_NODES};
pub use writer::Writer;

/// The namespace of the attributes `xml:lang` and `xml:space`.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of `xsi:type` and `xsi:nil`.
pub const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// The prefix under which each namespace is always printed. A namespace that is not here is
/// printed by switching the default namespace.
const PREFIXES: [(&str, &str); 6] = [
    ("msci", crate::conference_info::EXTENSIONS),
    ("msci2", crate::conference_info::LATER_EXTENSIONS),
    ("mscp", crate::cccp::EXTENSIONS),
    ("ci", crate::conference_info::NAMESPACE),
    ("xsi", XSI),
    ("xml", XML),
];

/// The longest excerpt of a foreign text in a sentence of ours, in characters.
const MAX_QUOTE: usize = 80;

/// A document that cannot be read, and in a sentence why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// Says why, in a full sentence.
    pub fn new(sentence: impl Into<String>) -> Malformed {
        Malformed(sentence.into())
    }
}

/// A foreign text, quoted and cut for a sentence of ours.
pub fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_QUOTE).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTE).is_some() {
        cut.push('…');
    }
    format!("\"{cut}\"")
}

/// An element with everything in it.
///
/// Prefixes are not kept: a name is its namespace and its local name. Serializes as XML text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The namespace; empty = none.
    pub ns: Cow<'static, str>,
    /// The local name.
    pub name: String,
    /// In the order they stood; no two have the same namespace and name.
    pub attributes: Vec<Attribute>,
    /// In the order they stood; no two texts are neighbours.
    pub children: Vec<Node>,
}

/// An attribute of an [`Element`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The namespace; empty = none, as nearly all attributes have it.
    pub ns: Cow<'static, str>,
    /// The local name.
    pub name: String,
    /// The value, without escapes.
    pub value: String,
}

/// What an [`Element`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text, without escapes.
    Text(String),
}

/// Building.
impl Element {
    /// An empty element.
    pub fn new(ns: impl Into<Cow<'static, str>>, name: impl Into<String>) -> Element {
        Element { ns: ns.into(), name: name.into(), attributes: Vec::new(), children: Vec::new() }
    }

    /// With this attribute of no namespace.
    pub fn with_attribute(self, name: &str, value: impl Into<String>) -> Element {
        self.with_attribute_ns("", name, value)
    }

    /// With this attribute.
    pub fn with_attribute_ns(
        mut self,
        ns: impl Into<Cow<'static, str>>,
        name: &str,
        value: impl Into<String>,
    ) -> Element {
        self.set_attribute(ns, name, value);
        self
    }

    /// With this child after those it has.
    pub fn with_child(mut self, child: Element) -> Element {
        self.children.push(Node::Element(child));
        self
    }

    /// With these children after those it has.
    pub fn with_children(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }

    /// With this text after what it has.
    pub fn with_text(mut self, text: &str) -> Element {
        self.push_text(text);
        self
    }

    /// Gives the attribute this value, whether or not it is there.
    pub fn set_attribute(&mut self, ns: impl Into<Cow<'static, str>>, name: &str, value: impl Into<String>) {
        let (ns, value) = (ns.into(), value.into());
        match self.attributes.iter_mut().find(|attribute| attribute.ns == ns && attribute.name == name) {
            Some(attribute) => attribute.value = value,
            None => self.attributes.push(Attribute { ns, name: name.to_owned(), value }),
        }
    }

    /// Appends text.
    pub fn push_text(&mut self, text: &str) {
        match self.children.last_mut() {
            _ if text.is_empty() => {}
            Some(Node::Text(last)) => last.push_str(text),
            _ => self.children.push(Node::Text(text.to_owned())),
        }
    }
}

/// Reading.
impl Element {
    /// Whether it has this namespace and local name.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The child elements.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child with this namespace and local name.
    pub fn child(&self, ns: &str, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.is(ns, name))
    }

    /// All children with this namespace and local name.
    pub fn all<'a>(&'a self, ns: &'a str, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |element| element.is(ns, name))
    }

    /// The first child with this local name, whatever its namespace.
    pub fn any_child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// Its own text (not that of its children), without the white space around it.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        let first = texts.next().unwrap_or_default();
        match texts.next() {
            None => Cow::Borrowed(first.trim()),
            Some(second) => {
                let all: String = [first, second].into_iter().chain(texts).collect();
                Cow::Owned(all.trim().to_owned())
            }
        }
    }

    /// The attribute with this local name: the one without a namespace, else one of any namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        let any = || self.attributes.iter().find(|attribute| attribute.name == name);
        self.attr_ns("", name).or_else(|| any().map(|attribute| attribute.value.as_str()))
    }

    /// The attribute with this namespace and local name.
    pub fn attr_ns(&self, ns: &str, name: &str) -> Option<&str> {
        let attribute =
            self.attributes.iter().find(|attribute| attribute.ns == ns && attribute.name == name)?;
        Some(&attribute.value)
    }
}

/// Documents.
impl Element {
    /// Reads a document: UTF-8, or UTF-16 with a byte order mark.
    ///
    /// # Errors
    /// If it is not well-formed, has a document type or entities of its own, or exceeds a limit.
    pub fn parse(document: &[u8]) -> Result<Element, Malformed> {
        parse::document(document)
    }

    /// The element as a document, in UTF-8 without an XML declaration. Namespaces that have a
    /// fixed prefix are declared once, at the root.
    pub fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.start(&self.ns, &self.name);
        self.declare_prefixes(&mut writer);
        writer.content(self);
        writer.finish()
    }

    fn declare_prefixes(&self, writer: &mut Writer) {
        if self.ns != writer.default_namespace() {
            writer.declare(&self.ns);
        }
        for attribute in &self.attributes {
            writer.declare(&attribute.ns);
        }
        for element in self.elements() {
            element.declare_prefixes(writer);
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element, D::Error> {
        let text = String::deserialize(deserializer)?;
        Element::parse(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_attributes_and_text() {
        let document = Element::parse(
            br#"<?xml version="1.0"?><!-- c --><a xmlns="urn:a" xmlns:b="urn:b" x="1 &lt; 2" b:y="&#x41;"> one
                <b:c/><![CDATA[<two>]]> &amp; three<d xmlns="">four</d></a>"#,
        )
        .unwrap();
        assert!(document.is("urn:a", "a"));
        assert_eq!(document.attr("x"), Some("1 < 2"));
        assert_eq!(document.attr("y"), Some("A"));
        assert_eq!(document.attr_ns("urn:b", "y"), Some("A"));
        assert_eq!(document.attr_ns("", "y"), None);
        assert!(document.child("urn:b", "c").is_some());
        assert!(document.child("urn:a", "c").is_none());
        assert_eq!(document.any_child("d").map(Element::text).as_deref(), Some("four"));
        assert_eq!(document.text().split_whitespace().collect::<Vec<_>>(), ["one", "<two>", "&", "three"]);
    }

    #[test]
    fn prints_what_it_reads() {
        let check = |document: &str| {
            assert_eq!(Element::parse(document.as_bytes()).unwrap().to_string(), document);
        };
        check("<a/>");
        check(r#"<a xmlns="urn:a"><b>x</b> y</a>"#);
        check(r#"<a xmlns="urn:a"><b xmlns="urn:b"><c xmlns=""/><d/></b><e/></a>"#);
        check(r#"<a x="&lt;&quot;&amp;&#9;">&lt;b&gt; &amp;</a>"#);
        check(r#"<a xmlns="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="t"/>"#);
        check(r#"<a xml:lang="de"><b xmlns:n1="urn:x" n1:y="1" n1:z="2"/></a>"#);
        check(
            r#"<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions"><msci:x><y msci:z="1"/></msci:x></conference-info>"#,
        );
    }

    #[test]
    fn the_tree_holds_what_was_built() {
        let mut built = Element::new("urn:a", "a").with_attribute("x", "1").with_text("one");
        built.push_text(" two");
        built.set_attribute("", "x", "2");
        let built = built.with_child(Element::new("urn:a", "b"));
        assert_eq!(built.to_string(), r#"<a xmlns="urn:a" x="2">one two<b/></a>"#);
        assert_eq!(Element::parse(&built.to_bytes()), Ok(built.clone()));
        let json = serde_json::to_string(&built).unwrap();
        assert_eq!(serde_json::from_str::<Element>(&json).unwrap(), built);
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        assert_eq!(quoted("a\n\"b"), r#""a\n\"b""#);
        assert!(quoted(&"x".repeat(10_000)).chars().count() < 100);
    }
}
