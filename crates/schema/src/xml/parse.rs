//! Reading XML: bytes to [`Element`], within limits.

use std::borrow::Cow;

use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_xml_entity,
    events::{BytesRef, BytesStart, Event},
    name::{QName, ResolveResult},
};

use super::{Attribute, Element, Malformed, Node, PREFIXES, quoted, writer::is_xml_char};

/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// How deep elements may nest.
pub const MAX_DEPTH: usize = 32;
/// How many elements, attributes and texts a document may have.
pub const MAX_NODES: usize = 100_000;
/// How many attributes, namespace declarations among them, an element may have.
pub const MAX_ATTRIBUTES: usize = 64;
/// How many namespace declarations may hold at one place: each element looks through them.
pub const MAX_DECLARATIONS: usize = 64;
/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE: usize = 256;

/// The namespace of namespace declarations, in which nothing else can be.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

pub(super) fn document(document: &[u8]) -> Result<Element, Malformed> {
    if document.len() > MAX_DOCUMENT {
        return Err(Malformed::new(format!("The document is larger than {MAX_DOCUMENT} bytes.")));
    }
    let text = decode(document)?;
    if let Some(char) = text.chars().find(|char| !is_xml_char(*char)) {
        return Err(bad_char(char));
    }
    let mut reader = NsReader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(not_well_formed)? {
            Event::Start(start) => {
                let (element, declarations) = element(&reader, &start, &mut tree)?;
                tree.open(element, declarations)?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let mut buffer = [0; 4];
                tree.text(resolve(&reference, &mut buffer)?)?;
            }
            Event::DocType(_) => return Err(Malformed::new("The document has a document type.")),
            Event::Eof => return tree.finish(),
            // `expand_empty_elements` turns `Empty` into `Start` and `End`.
            Event::Empty(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Tree {
    /// The elements that have begun, each with how many namespaces it declares.
    open: Vec<(Element, usize)>,
    /// How many all of them declare.
    declarations: usize,
    root: Option<Element>,
    nodes: usize,
}

impl Tree {
    fn count(&mut self) -> Result<(), Malformed> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Malformed::new(format!("The document has more than {MAX_NODES} nodes.")));
        }
        Ok(())
    }

    fn open(&mut self, element: Element, declarations: usize) -> Result<(), Malformed> {
        if self.root.is_some() {
            return Err(Malformed::new("The document has more than one root element."));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Malformed::new(format!("The document nests deeper than {MAX_DEPTH} elements.")));
        }
        self.declarations += declarations;
        if self.declarations > MAX_DECLARATIONS {
            return Err(Malformed::new(format!(
                "More than {MAX_DECLARATIONS} namespaces are declared at once."
            )));
        }
        self.count()?;
        self.open.push((element, declarations));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let popped = self.open.pop();
        let (element, declarations) = popped.ok_or_else(|| Malformed::new("An end tag has no start tag."))?;
        self.declarations -= declarations;
        match self.open.last_mut() {
            Some((parent, _)) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        match self.open.last_mut() {
            Some((parent, _)) => {
                parent.push_text(text);
                self.count()
            }
            None if text.trim().is_empty() => Ok(()),
            None => Err(Malformed::new("There is text outside the root element.")),
        }
    }

    fn finish(self) -> Result<Element, Malformed> {
        match self.open.last() {
            Some((open, _)) => Err(Malformed::new(format!("The element {} has no end.", quoted(&open.name)))),
            None => self.root.ok_or_else(|| Malformed::new("The document has no element.")),
        }
    }
}

/// The text of a document: UTF-8 unless a byte order mark says UTF-16. What the XML declaration
/// says is ignored; in practice it is wrong more often than the bytes are.
fn decode(document: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        let even = bytes.len().is_multiple_of(2);
        String::from_utf16(&units).ok().filter(|_| even).map(Cow::Owned)
    };
    let text = match document {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => std::str::from_utf8(rest).ok().map(Cow::Borrowed),
    };
    text.ok_or_else(|| Malformed::new("The document is neither UTF-8 nor UTF-16 with a byte order mark."))
}

/// An element without its content, and how many namespaces it declares.
fn element(
    reader: &NsReader<&[u8]>,
    start: &BytesStart<'_>,
    tree: &mut Tree,
) -> Result<(Element, usize), Malformed> {
    let (ns, local) = reader.resolver().resolve_element(start.name());
    let mut element = Element::new(namespace(&ns)?, name(local.into_inner())?);
    let mut declarations = 0;
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(not_well_formed)?;
        if declarations + element.attributes.len() >= MAX_ATTRIBUTES {
            return Err(Malformed::new(format!("An element has more than {MAX_ATTRIBUTES} attributes.")));
        }
        if is_declaration(attribute.key) {
            declarations += 1;
            continue;
        }
        tree.count()?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(not_well_formed)?;
        if let Some(char) = value.chars().find(|char| !is_xml_char(*char)) {
            return Err(bad_char(char));
        }
        let (ns, local) = reader.resolver().resolve_attribute(attribute.key);
        let (ns, name) = (namespace(&ns)?, name(local.into_inner())?);
        if name == "xmlns" {
            // Behind a prefix it is no declaration; printed without one it would become one.
            return Err(Malformed::new("An attribute of a namespace is called xmlns."));
        }
        if element.attr_ns(&ns, name).is_some() {
            return Err(Malformed::new(format!("The attribute {} is there twice.", quoted(name))));
        }
        element.attributes.push(Attribute { ns, name: name.to_owned(), value: value.into_owned() });
    }
    Ok((element, declarations))
}

fn is_declaration(name: QName<'_>) -> bool {
    name.as_namespace_binding().is_some()
}

/// The namespace by name. A prefix that nobody declared counts as none: such documents exist.
fn namespace(result: &ResolveResult<'_>) -> Result<Cow<'static, str>, Malformed> {
    let ResolveResult::Bound(ns) = result else { return Ok(Cow::Borrowed("")) };
    let ns = quick_xml::escape::unescape(ns.0).map_err(not_well_formed)?;
    let known = [crate::cccp::NAMESPACE].into_iter().chain(PREFIXES.iter().map(|(_, ns)| *ns));
    if let Some(known) = known.into_iter().find(|known| **known == *ns) {
        return Ok(Cow::Borrowed(known));
    }
    if ns.len() > MAX_NAMESPACE || ns == XMLNS || !ns.chars().all(is_xml_char) {
        return Err(Malformed::new(format!("{} is no namespace.", quoted(&ns))));
    }
    Ok(Cow::Owned(ns.into_owned()))
}

fn name(name: &str) -> Result<&str, Malformed> {
    let begins = |char: char| char.is_alphabetic() || char == '_';
    let continues = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '\u{b7}');
    if name.starts_with(begins) && name.chars().all(continues) {
        return Ok(name);
    }
    Err(Malformed::new(format!("{} is no name.", quoted(name))))
}

/// What a reference in text stands for.
fn resolve<'a>(reference: &BytesRef<'_>, buffer: &'a mut [u8; 4]) -> Result<&'a str, Malformed> {
    if let Some(char) = reference.resolve_char_ref().map_err(not_well_formed)? {
        return if is_xml_char(char) { Ok(char.encode_utf8(buffer)) } else { Err(bad_char(char)) };
    }
    resolve_xml_entity(reference).ok_or_else(|| {
        Malformed::new(format!("The entity {} is none of the five of XML.", quoted(reference)))
    })
}

fn bad_char(char: char) -> Malformed {
    Malformed::new(format!("The character U+{:04X} may not stand in XML.", u32::from(char)))
}

fn not_well_formed(error: impl std::fmt::Display) -> Malformed {
    Malformed::new(format!("The document is not well-formed XML: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_dangerous_or_broken() {
        let check = |document: &str, expect: &str| {
            let error = Element::parse(document.as_bytes()).expect_err(document).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("", "no element");
        check("text", "outside the root");
        check("<a/><b/>", "more than one root");
        check("<a>", "has no end");
        check("<a></b>", "not well-formed");
        check("</a>", "not well-formed");
        check("<!DOCTYPE a><a/>", "document type");
        check("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "document type");
        check("<a>&nbsp;</a>", "none of the five");
        check("<a b='&nbsp;'/>", "not well-formed");
        check("<a>&#0;</a>", "");
        check("<a>&#1;</a>", "U+0001");
        check("<a b='&#xFFFF;'/>", "U+FFFF");
        check("<a>\u{0}</a>", "U+0000");
        check("<a b='1' b='2'/>", "twice");
        check("<a xmlns:x='urn:x' xmlns:y='urn:x' x:b='1' y:b='2'/>", "twice");
        check("<a b:xmlns='urn:x'/>", "called xmlns");
        check("<1a/>", "no name");
        check("<a 1='x'/>", "no name");
        check("<a b/>", "not well-formed");
    }

    #[test]
    fn keeps_the_limits() {
        let nested = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat();
        assert!(Element::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Element::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        let wide = |count: usize| ["<a>", &"<b/>".repeat(count), "</a>"].concat();
        assert!(Element::parse(wide(MAX_NODES - 1).as_bytes()).is_ok());
        assert!(Element::parse(wide(MAX_NODES).as_bytes()).is_err());
        let attributes = |count: usize| {
            let all: String = (0..count).map(|n| format!(" a{n}=''")).collect();
            ["<a", &all, "/>"].concat()
        };
        assert!(Element::parse(attributes(MAX_ATTRIBUTES).as_bytes()).is_ok());
        assert!(Element::parse(attributes(MAX_ATTRIBUTES + 1).as_bytes()).is_err());
        let declared = |count: usize| {
            let nested: String = (0..count).map(|n| format!("<a xmlns:n{n}='urn:x'>")).collect();
            ["<b>", &nested, &"</a>".repeat(count), "</b>"].concat()
        };
        assert!(Element::parse(declared(MAX_DEPTH - 1).as_bytes()).is_ok());
        let wide = |count: usize| {
            let all: String = (0..count).map(|n| format!(" xmlns:n{n}='urn:x'")).collect();
            ["<a", &all, "><b", &all, "/></a>"].concat()
        };
        assert!(Element::parse(wide(MAX_DECLARATIONS / 2).as_bytes()).is_ok());
        assert!(Element::parse(wide(MAX_DECLARATIONS / 2 + 1).as_bytes()).is_err());
        let long = |length: usize| ["<a xmlns='", &"x".repeat(length), "'/>"].concat();
        assert!(Element::parse(long(MAX_NAMESPACE).as_bytes()).is_ok());
        assert!(Element::parse(long(MAX_NAMESPACE + 1).as_bytes()).is_err());
        assert!(Element::parse(&vec![b' '; MAX_DOCUMENT + 1]).is_err());
    }

    #[test]
    fn reads_every_encoding_that_occurs() {
        let text = "<a>Grüße 😀</a>";
        let expect = Element::parse(text.as_bytes()).unwrap();
        let bom = ["\u{feff}", text].concat();
        let big: Vec<u8> = bom.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let little: Vec<u8> = bom.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for document in [bom.as_bytes(), &big, &little] {
            assert_eq!(Element::parse(document), Ok(expect.clone()));
        }
        assert!(Element::parse(&little[..little.len() - 1]).is_err());
        assert!(Element::parse(b"<a>\xfc</a>").is_err());
    }

    #[test]
    fn an_undeclared_prefix_is_no_namespace() {
        let document = Element::parse(b"<x:a y:b='1'/>").unwrap();
        assert!(document.is("", "a"));
        assert_eq!(document.attr_ns("", "b"), Some("1"));
    }
}
