//! Printing XML: one pass, one string, namespaces declared as they are first needed.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{Element, Node, PREFIXES, XML};
use crate::conference_info;

/// Prints one document from its first tag to its last.
///
/// The root's namespace becomes the default one. An element of another namespace gets the prefix
/// that is declared for it, else the fixed prefix of its namespace, else it switches the default
/// namespace (conference-info does so inside C3P, as clients are used to it). Characters that XML cannot hold are printed as U+FFFD.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
    open: Vec<Open>,
    scope: Vec<Binding>,
    /// The start tag at the end of `out` still lacks its `>`.
    in_tag: bool,
    /// How many prefixes were made up.
    made_up: usize,
}

#[derive(Debug)]
struct Open {
    /// Where the tag's name stands in `out`.
    name: Range<usize>,
    /// How many bindings are those of the elements around it.
    outer: usize,
}

#[derive(Debug)]
struct Binding {
    /// Empty = the default namespace.
    prefix: Cow<'static, str>,
    ns: String,
}

impl Writer {
    /// An empty document.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Begins an element; [`Writer::end`] ends it.
    pub fn start(&mut self, ns: &str, name: &str) {
        self.close_tag();
        let outer = self.scope.len();
        let prefix = self.element_prefix(ns);
        self.out.push('<');
        let from = self.out.len();
        if let Prefix::Bound(prefix) | Prefix::Fixed(prefix) = &prefix
            && !prefix.is_empty()
        {
            self.out.push_str(prefix);
            self.out.push(':');
        }
        self.out.push_str(name);
        let name = from..self.out.len();
        self.open.push(Open { name, outer });
        self.in_tag = true;
        match prefix {
            Prefix::Bound(_) => {}
            Prefix::Fixed(prefix) => self.bind(prefix, ns.to_owned()),
            Prefix::Default => self.bind(Cow::Borrowed(""), ns.to_owned()),
        }
    }

    /// Declares the fixed prefix of `ns` on the element just begun, so that its descendants need
    /// not. Does nothing if the prefix is declared, or if the namespace has none.
    pub fn declare(&mut self, ns: &str) {
        if let Some(prefix) = fixed_prefix(ns)
            && self.bound_prefix(ns).is_none()
        {
            self.bind(Cow::Borrowed(prefix), ns.to_owned());
        }
    }

    /// Gives the element just begun an attribute of no namespace.
    pub fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.value(value);
    }

    /// Gives the element just begun an attribute of a namespace.
    pub fn attribute_ns(&mut self, ns: &str, name: &str, value: &str) {
        if ns.is_empty() {
            return self.attribute(name, value);
        }
        let prefix = match self.bound_prefix(ns) {
            Some(prefix) => prefix,
            None => {
                let prefix = fixed_prefix(ns).map_or_else(|| self.make_up_prefix(), Cow::Borrowed);
                self.bind(prefix.clone(), ns.to_owned());
                prefix
            }
        };
        self.out.push(' ');
        self.out.push_str(&prefix);
        self.out.push(':');
        self.out.push_str(name);
        self.value(value);
    }

    /// Where in the document stands what is written next. Nothing more can be added to the start
    /// tag of the element just begun.
    pub(crate) fn position(&mut self) -> usize {
        self.close_tag();
        self.out.len()
    }

    /// Writes text into the open element.
    pub fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.close_tag();
            escape(text, false, &mut self.out);
        }
    }

    /// Ends the element that was begun last.
    pub fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if self.in_tag {
            self.out.push_str("/>");
            self.in_tag = false;
        } else {
            self.out.push_str("</");
            self.out.extend_from_within(open.name);
            self.out.push('>');
        }
        self.scope.truncate(open.outer);
    }

    /// Writes an element that holds only text.
    pub fn leaf(&mut self, ns: &str, name: &str, text: &str) {
        self.start(ns, name);
        self.text(text);
        self.end();
    }

    /// As [`Writer::leaf`], if there is a text.
    pub fn optional(&mut self, ns: &str, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(ns, name, text);
        }
    }

    /// Writes a whole element.
    pub fn element(&mut self, element: &Element) {
        self.start(&element.ns, &element.name);
        self.content(element);
        self.end();
    }

    /// Ends what is open and returns the document, in UTF-8.
    pub fn finish(mut self) -> Bytes {
        while !self.open.is_empty() {
            self.end();
        }
        Bytes::from(self.out)
    }

    /// Gives the element just begun the attributes and children of `element`.
    pub(super) fn content(&mut self, element: &Element) {
        for attribute in &element.attributes {
            self.attribute_ns(&attribute.ns, &attribute.name, &attribute.value);
        }
        for node in &element.children {
            match node {
                Node::Element(element) => self.element(element),
                Node::Text(text) => self.text(text),
            }
        }
    }

    pub(super) fn default_namespace(&self) -> &str {
        let default = self.scope.iter().rev().find(|binding| binding.prefix.is_empty());
        default.map_or("", |binding| &binding.ns)
    }

    fn element_prefix(&self, ns: &str) -> Prefix {
        if self.default_namespace() == ns {
            return Prefix::Bound(Cow::Borrowed(""));
        }
        if let Some(prefix) = self.bound_prefix(ns) {
            return Prefix::Bound(prefix);
        }
        match fixed_prefix(ns) {
            Some(prefix) if !self.open.is_empty() && ns != conference_info::NAMESPACE => {
                Prefix::Fixed(Cow::Borrowed(prefix))
            }
            _ => Prefix::Default,
        }
    }

    /// The prefix declared for `ns`. Only the default namespace is ever redefined, so a prefix in
    /// scope means what it says.
    fn bound_prefix(&self, ns: &str) -> Option<Cow<'static, str>> {
        if ns == XML {
            return Some(Cow::Borrowed("xml"));
        }
        let binding = self.scope.iter().find(|binding| binding.ns == ns && !binding.prefix.is_empty())?;
        Some(binding.prefix.clone())
    }

    fn make_up_prefix(&mut self) -> Cow<'static, str> {
        self.made_up += 1;
        Cow::Owned(format!("n{}", self.made_up))
    }

    fn bind(&mut self, prefix: Cow<'static, str>, ns: String) {
        self.out.push_str(" xmlns");
        if !prefix.is_empty() {
            self.out.push(':');
            self.out.push_str(&prefix);
        }
        self.value(&ns);
        self.scope.push(Binding { prefix, ns });
    }

    fn value(&mut self, value: &str) {
        self.out.push_str("=\"");
        escape(value, true, &mut self.out);
        self.out.push('"');
    }

    fn close_tag(&mut self) {
        if self.in_tag {
            self.out.push('>');
            self.in_tag = false;
        }
    }
}

/// How an element's name is written.
enum Prefix {
    /// With this prefix, which is declared; empty = in the default namespace.
    Bound(Cow<'static, str>),
    /// With this prefix, which must be declared.
    Fixed(Cow<'static, str>),
    /// Without one, by switching the default namespace.
    Default,
}

fn fixed_prefix(ns: &str) -> Option<&'static str> {
    PREFIXES.iter().find(|(_, known)| *known == ns).map(|(prefix, _)| *prefix)
}

/// Whether XML 1.0 can hold this character (§2.2).
pub(super) fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn escape(text: &str, in_attribute: bool, out: &mut String) {
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' if in_attribute => out.push_str("&quot;"),
            '\n' if in_attribute => out.push_str("&#10;"),
            '\t' if in_attribute => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            char if is_xml_char(char) => out.push(char),
            _ => out.push('\u{fffd}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cccp;

    fn print(write: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::new();
        write(&mut writer);
        String::from_utf8(writer.finish().to_vec()).unwrap()
    }

    #[test]
    fn declares_each_namespace_once() {
        let document = print(|w| {
            w.start(conference_info::NAMESPACE, "root");
            w.declare(conference_info::EXTENSIONS);
            w.declare(conference_info::NAMESPACE);
            w.declare(conference_info::EXTENSIONS);
            w.start(conference_info::EXTENSIONS, "view");
            w.attribute_ns(conference_info::NAMESPACE, "state", "full");
            w.leaf(conference_info::NAMESPACE, "type", "chat");
        });
        let expect = concat!(
            r#"<root xmlns="urn:ietf:params:xml:ns:conference-info""#,
            r#" xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions""#,
            r#" xmlns:ci="urn:ietf:params:xml:ns:conference-info">"#,
            r#"<msci:view ci:state="full"><ci:type>chat</ci:type></msci:view></root>"#,
        );
        // The default namespace wins over the prefix for elements.
        assert_eq!(document, expect.replace("ci:type", "type"));
    }

    #[test]
    fn uses_fixed_prefixes_and_switches_the_default_for_the_rest() {
        let document = print(|w| {
            w.start("urn:a", "a");
            w.start(cccp::EXTENSIONS, "b");
            w.leaf("urn:a", "c", "");
            w.leaf("urn:d", "d", "x");
        });
        let expect = concat!(
            r#"<a xmlns="urn:a"><mscp:b xmlns:mscp="http://schemas.microsoft.com/rtc/2005/08/cccpextensions">"#,
            r#"<c/><d xmlns="urn:d">x</d></mscp:b></a>"#,
        );
        assert_eq!(document, expect);
    }

    #[test]
    fn escapes() {
        let document = print(|w| {
            w.start("", "a");
            w.attribute("b", "<>&\"'\r\n\t\u{1}");
            w.text("<>&\"'\r\n\t\u{ffff}\u{1f600}");
        });
        let expect = "<a b=\"&lt;&gt;&amp;&quot;'&#13;&#10;&#9;\u{fffd}\">&lt;&gt;&amp;\"'&#13;\n\t\u{fffd}\u{1f600}</a>";
        assert_eq!(document, expect);
    }
}
