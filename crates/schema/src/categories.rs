//! Presence as its watchers get it: `application/msrtc-event-categories+xml` (MS-PRES §2.2.2),
//! namespace `http://schemas.microsoft.com/2006/09/sip/categories`.

use bytes::Bytes;
use confab_machine::Time;

use crate::{
    date,
    xml::{Element, Malformed, quoted},
};

/// The namespace of `categories` and `category`.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/categories";
/// The type of this document as a body of its own.
pub const CONTENT_TYPE: &str = "application/msrtc-event-categories+xml";
/// The most categories of one document that are read.
pub const MAX_CATEGORIES: usize = 1000;

/// What one user shows, or what he has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    /// Whose: `sip:ann@example.test`.
    pub uri: String,
    /// In no particular order.
    pub categories: Vec<Category>,
}

/// One piece of presence. Without an instance it says that there is none of this name (in this
/// container): `<category name="note"/>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Category {
    /// `state`, `note`, `contactCard`, `calendarData`, `device`, …
    pub name: String,
    /// Which of several of this name.
    pub instance: Option<u32>,
    /// For whom it is meant; only the owner is told.
    pub container: Option<u32>,
    /// Rises by one with each publication; only the owner is told.
    pub version: Option<u32>,
    /// When it was published.
    pub publish_time: Option<Time>,
    /// What ends it; only the owner is told.
    pub expire_type: Option<ExpireType>,
    /// Which endpoint published it; only the owner is told.
    pub endpoint_id: Option<String>,
    /// The piece itself, in a namespace of its own.
    pub data: Option<Element>,
}

words! {
    /// What ends a publication.
    pub enum ExpireType {
        /// Nothing but its owner.
        Static = "static",
        /// The endpoint that published it signs out.
        Endpoint = "endpoint",
        /// The last endpoint of the user signs out.
        User = "user",
        /// A time has passed.
        Time = "time",
    }
}

impl Categories {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, or a number or date in it cannot be read.
    pub fn parse(document: &[u8]) -> Result<Categories, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(NAMESPACE, "categories") {
            return Err(Malformed::new("The document does not begin with categories."));
        }
        let uri = root.attr("uri").unwrap_or_default().to_owned();
        if root.elements().count() > MAX_CATEGORIES {
            return Err(Malformed::new(format!("There are more than {MAX_CATEGORIES} categories.")));
        }
        let categories =
            root.all(NAMESPACE, "category").map(Category::from_element).collect::<Result<_, _>>()?;
        Ok(Categories { uri, categories })
    }

    /// The element, as it also stands within roaming data.
    pub fn to_element(&self) -> Element {
        Element::new(NAMESPACE, "categories")
            .with_attribute("uri", &self.uri)
            .with_children(self.categories.iter().map(Category::to_element))
    }

    /// The document.
    pub fn to_bytes(&self) -> Bytes {
        self.to_element().to_bytes()
    }
}

impl Category {
    /// The category of this name that says there is none.
    pub fn new(name: &str) -> Category {
        Category { name: name.to_owned(), ..Category::default() }
    }

    fn from_element(element: &Element) -> Result<Category, Malformed> {
        Ok(Category {
            name: element.attr("name").unwrap_or_default().to_owned(),
            instance: number(element, "instance")?,
            container: number(element, "container")?,
            version: number(element, "version")?,
            publish_time: element.attr("publishTime").map(date::parse).transpose()?,
            expire_type: expire_type(element)?,
            endpoint_id: element.attr("endpointId").map(str::to_owned),
            data: element.elements().next().cloned(),
        })
    }

    fn to_element(&self) -> Element {
        let mut element = Element::new(NAMESPACE, "category").with_attribute("name", &self.name);
        let attributes = [
            ("instance", self.instance.map(|number| number.to_string())),
            ("publishTime", self.publish_time.map(date::format)),
            ("container", self.container.map(|number| number.to_string())),
            ("version", self.version.map(|number| number.to_string())),
            ("expireType", self.expire_type.map(|kind| kind.as_str().to_owned())),
            ("endpointId", self.endpoint_id.clone()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                element.set_attribute("", name, value);
            }
        }
        element.with_children(self.data.clone())
    }
}

/// What ends the publication, if the element says so.
pub(crate) fn expire_type(element: &Element) -> Result<Option<ExpireType>, Malformed> {
    let Some(word) = element.attr("expireType") else { return Ok(None) };
    let unknown = || Malformed::new(format!("{} does not say what ends a publication.", quoted(word)));
    ExpireType::parse(word).map(Some).ok_or_else(unknown)
}

/// The attribute `name` as a number, if it is there.
pub(crate) fn number(element: &Element, name: &str) -> Result<Option<u32>, Malformed> {
    let Some(text) = element.attr(name) else { return Ok(None) };
    let number = text
        .trim()
        .parse()
        .map_err(|_| Malformed::new(format!("{name} is {}, which is no number below 2^32.", quoted(text))))?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<categories xmlns="http://schemas.microsoft.com/2006/09/sip/categories" uri="sip:ann@example.test"><category name="note" instance="0" publishTime="2009-01-02T03:04:05Z" container="200" version="3" expireType="static" endpointId="a1"><note xmlns="http://schemas.microsoft.com/2006/09/sip/note"><body>Out</body></note></category><category name="calendarData"/></categories>"#;

    #[test]
    fn prints_what_it_reads() {
        let document = Categories::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(document.categories[0].expire_type, Some(ExpireType::Static));
        assert_eq!(document.categories[1], Category::new("calendarData"));
        assert_eq!(std::str::from_utf8(&document.to_bytes()), Ok(SAMPLE));
    }

    #[test]
    fn refuses() {
        let check = |document: &str| assert!(Categories::parse(document.as_bytes()).is_err(), "{document}");
        check("");
        check("<categories/>");
        check(&SAMPLE.replace("version=\"3\"", "version=\"-3\""));
        check(&SAMPLE.replace("static", "never"));
        check(&SAMPLE.replace("2009-01", "2009-13"));
    }
}
