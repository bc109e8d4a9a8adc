//! The pieces presence is made of: states and the card of a contact (MS-PRES §2.2.2), and the
//! request to watch many at once (namespace `http://schemas.microsoft.com/2006/01/sip/batch-subscribe`).

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use crate::{
    date,
    xml::{Element, Malformed, XSI, quoted},
};

/// The namespace of `state`.
pub const STATE: &str = "http://schemas.microsoft.com/2006/09/sip/state";
/// The namespace of `contactCard`.
pub const CONTACT_CARD: &str = "http://schemas.microsoft.com/2006/09/sip/contactcard";
/// The namespace of `note`.
pub const NOTE: &str = "http://schemas.microsoft.com/2006/09/sip/note";
/// The namespace of `batchSub`.
pub const BATCH: &str = "http://schemas.microsoft.com/2006/01/sip/batch-subscribe";
/// The namespace of the `categoryList` in it.
pub const CATEGORY_LIST: &str = "http://schemas.microsoft.com/2006/09/sip/categorylist";
/// The type of [`BatchSubscribe`].
pub const BATCH_TYPE: &str = "application/msrtc-adrl-categorylist+xml";
/// The most resources of one batch.
pub const MAX_RESOURCES: usize = 1000;
/// The most categories a batch may ask for.
pub const MAX_CATEGORY_NAMES: usize = 32;
/// The longest name of a category, activity token, subject or location, in bytes.
pub const MAX_WORD: usize = 256;

/// One opinion on what a user is doing: of a device, a calendar, a telephone or himself; or what
/// the server made of them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whose opinion it is.
    pub kind: StateKind,
    /// Whether a person set it.
    pub manual: bool,
    /// 3000 available, 6000 busy, 9000 do not disturb, 12000 be right back, 15000 away, 18000
    /// offline, each up to the next.
    pub availability: u32,
    /// What more precisely.
    pub activity: Option<Activity>,
    /// The subject of the meeting the user is in.
    pub meeting_subject: Option<String>,
    /// The place of that meeting.
    pub meeting_location: Option<String>,
    /// When the user was last at one of his devices.
    pub last_active: Option<Time>,
}

/// A word for what a user is doing, valid while availability lies within its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// `on-the-phone`, `in-a-conference`, …
    pub token: String,
    /// The lowest availability it goes with.
    pub min: Option<u32>,
    /// The highest availability it goes with.
    pub max: Option<u32>,
}

words! {
    /// The `xsi:type` of a state.
    pub enum StateKind {
        /// What the server made of all others.
        AggregateState = "aggregateState",
        /// What the user said.
        UserState = "userState",
        /// Whether someone is at a device.
        MachineState = "machineState",
        /// What the calendar says.
        CalendarState = "calendarState",
        /// Whether the user is in a call.
        PhoneState = "phoneState",
        /// Whether the user is in a conference.
        ConferenceState = "conferenceState",
    }
}

/// `batchSub`: whom to watch, whom no longer, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSubscribe {
    /// The subscriber.
    pub uri: String,
    /// In the order they stand.
    pub actions: Vec<BatchAction>,
}

/// One part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchAction {
    /// Watch these.
    Subscribe {
        /// Addresses as they stand.
        resources: Vec<String>,
        /// Names of categories; empty = all that are usual.
        categories: Vec<String>,
    },
    /// Watch these no more.
    Unsubscribe {
        /// Addresses as they stand.
        resources: Vec<String>,
    },
}

impl State {
    /// A state that says nothing but this.
    pub fn new(kind: StateKind, availability: u32) -> State {
        State {
            kind,
            manual: false,
            availability,
            activity: None,
            meeting_subject: None,
            meeting_location: None,
            last_active: None,
        }
    }

    /// Reads the `state` of a publication.
    ///
    /// # Errors
    /// If it is no state, of no known kind, or without availability.
    pub fn from_element(element: &Element) -> Result<State, Malformed> {
        if !element.is(STATE, "state") {
            return Err(Malformed::new("The category state holds no state."));
        }
        let kind = element.attr_ns(XSI, "type").or_else(|| element.attr("type")).unwrap_or_default();
        // The value is a qualified name, but not everybody writes a prefix, or declares it.
        let kind = StateKind::parse(kind.rsplit(':').next().unwrap_or_default())
            .ok_or_else(|| Malformed::new(format!("{} is no kind of state.", quoted(kind))))?;
        let availability = element.child(STATE, "availability").map(Element::text).unwrap_or_default();
        let availability = availability
            .parse()
            .map_err(|_| Malformed::new(format!("{} is no availability.", quoted(&availability))))?;
        Ok(State {
            kind,
            manual: element.attr("manual").is_some_and(|word| word.eq_ignore_ascii_case("true")),
            availability,
            activity: element.child(STATE, "activity").and_then(Activity::from_element),
            meeting_subject: text_of(element, "meetingSubject"),
            meeting_location: text_of(element, "meetingLocation"),
            last_active: element.attr("lastActive").map(date::parse).transpose()?,
        })
    }

    /// The `state` element.
    pub fn to_element(&self) -> Element {
        let mut element = Element::new(STATE, "state").with_attribute_ns(XSI, "type", self.kind.as_str());
        if self.manual {
            element.set_attribute("", "manual", "true");
        }
        if let Some(time) = self.last_active {
            element.set_attribute("", "lastActive", date::format(time));
        }
        let subject = self.meeting_subject.as_deref().map(|text| leaf("meetingSubject", text));
        let location = self.meeting_location.as_deref().map(|text| leaf("meetingLocation", text));
        element
            .with_child(leaf("availability", &self.availability.to_string()))
            .with_children(self.activity.as_ref().map(Activity::to_element))
            .with_children(subject)
            .with_children(location)
    }
}

impl Activity {
    /// Whether it goes with this availability.
    pub fn goes_with(&self, availability: u32) -> bool {
        self.min.is_none_or(|min| min <= availability) && self.max.is_none_or(|max| availability <= max)
    }

    /// An activity without a readable token is left out: its words are in languages we do not have.
    fn from_element(element: &Element) -> Option<Activity> {
        let token = element.attr("token").filter(|token| !token.is_empty() && token.len() <= MAX_WORD)?;
        let bound = |name: &str| element.attr(name).and_then(|number| number.trim().parse().ok());
        Some(Activity {
            token: token.to_owned(),
            min: bound("minAvailability"),
            max: bound("maxAvailability"),
        })
    }

    fn to_element(&self) -> Element {
        let mut element = Element::new(STATE, "activity").with_attribute("token", &self.token);
        for (name, bound) in [("minAvailability", self.min), ("maxAvailability", self.max)] {
            if let Some(bound) = bound {
                element.set_attribute("", name, bound.to_string());
            }
        }
        element
    }
}

/// The card that says no more than a name.
pub fn contact_card(display_name: &str) -> Element {
    let name = Element::new(CONTACT_CARD, "displayName").with_text(display_name);
    let name = Element::new(CONTACT_CARD, "name").with_child(name);
    Element::new(CONTACT_CARD, "contactCard")
        .with_child(Element::new(CONTACT_CARD, "identity").with_child(name))
}

/// What a `note` says.
pub fn note_text(note: &Element) -> Option<String> {
    let text = note.any_child("body").map(|body| body.text().into_owned());
    text.filter(|text| !text.is_empty())
}

impl BatchSubscribe {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not XML, is another document, exceeds a limit, or names no such action.
    pub fn parse(document: &[u8]) -> Result<BatchSubscribe, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(BATCH, "batchSub") {
            return Err(Malformed::new("The document is no batchSub."));
        }
        let mut actions = Vec::new();
        let mut count = 0;
        for action in root.all(BATCH, "action") {
            let resources = resources(action)?;
            count += resources.len();
            if count > MAX_RESOURCES {
                return Err(Malformed::new(format!("There are more than {MAX_RESOURCES} resources.")));
            }
            actions.push(match action.attr("name").unwrap_or_default() {
                "subscribe" => BatchAction::Subscribe { resources, categories: category_names(action)? },
                "unsubscribe" => BatchAction::Unsubscribe { resources },
                other => return Err(Malformed::new(format!("{} is no action of a batch.", quoted(other)))),
            });
        }
        Ok(BatchSubscribe { uri: root.attr("uri").unwrap_or_default().to_owned(), actions })
    }
}

fn resources(action: &Element) -> Result<Vec<String>, Malformed> {
    let lists = action.all(BATCH, "adhocList");
    let uris = lists.flat_map(|list| list.all(BATCH, "resource")).map(|resource| resource.attr("uri"));
    let uris: Option<Vec<&str>> = uris.collect();
    let uris = uris.ok_or_else(|| Malformed::new("A resource has no uri."))?;
    Ok(uris.into_iter().map(str::to_owned).collect())
}

fn category_names(action: &Element) -> Result<Vec<String>, Malformed> {
    let lists = action.all(CATEGORY_LIST, "categoryList");
    let names = lists.flat_map(|list| list.all(CATEGORY_LIST, "category")).filter_map(|c| c.attr("name"));
    let names: Vec<String> = names.map(str::to_owned).take(MAX_CATEGORY_NAMES + 1).collect();
    if names.len() > MAX_CATEGORY_NAMES || names.iter().any(|name| name.len() > MAX_WORD) {
        let sentence = format!("There are more than {MAX_CATEGORY_NAMES} categories, or too long ones.");
        return Err(Malformed::new(sentence));
    }
    Ok(names)
}

fn leaf(name: &str, text: &str) -> Element {
    Element::new(STATE, name).with_text(text)
}

/// The text of a child, unless there is none to speak of.
fn text_of(element: &Element, name: &str) -> Option<String> {
    let text = element.child(STATE, name)?.text();
    (!text.is_empty() && text.len() <= MAX_WORD).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEETING: &str = r#"<state xmlns="http://schemas.microsoft.com/2006/09/sip/state" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="calendarState" manual="true"><availability>6500</availability><activity token="in-a-meeting" minAvailability="6500" maxAvailability="8999"/><meetingSubject>Plans</meetingSubject><meetingLocation>Room 1</meetingLocation></state>"#;

    fn read(document: &str) -> Result<State, Malformed> {
        State::from_element(&Element::parse(document.as_bytes())?)
    }

    #[test]
    fn states() {
        let state = read(MEETING).unwrap();
        assert_eq!((state.kind, state.availability, state.manual), (StateKind::CalendarState, 6500, true));
        let activity = state.activity.as_ref().unwrap();
        assert!(activity.goes_with(6500) && activity.goes_with(8999) && !activity.goes_with(9000));
        assert_eq!(state.to_element().to_string(), MEETING);
        let prefixed = MEETING.replace("\"calendarState\"", "\"es:calendarState\"");
        assert_eq!(read(&prefixed).unwrap(), state);
        assert_eq!(read(&MEETING.replace("token=\"in-a-meeting\"", "")).unwrap().activity, None);
    }

    #[test]
    fn states_refused() {
        let check = |from: &str, to: &str| assert!(read(&MEETING.replace(from, to)).is_err(), "{from} {to}");
        check("calendarState", "moodState");
        check("6500</", "-1</");
        check("6500</", "</");
        check("sip/state", "sip/condition");
    }

    #[test]
    fn cards_and_notes() {
        let expect = r#"<contactCard xmlns="http://schemas.microsoft.com/2006/09/sip/contactcard"><identity><name><displayName>Ann &amp; Co</displayName></name></identity></contactCard>"#;
        assert_eq!(contact_card("Ann & Co").to_string(), expect);
        let note = Element::parse(b"<note xmlns='urn:n'><body type='personal'> Out </body></note>").unwrap();
        assert_eq!(note_text(&note).as_deref(), Some("Out"));
        assert_eq!(note_text(&Element::new(NOTE, "note")), None);
    }

    const BATCH_SAMPLE: &str = r#"<batchSub xmlns="http://schemas.microsoft.com/2006/01/sip/batch-subscribe" uri="sip:ann@example.test" name="">
<action name="subscribe" id="1"><adhocList><resource uri="sip:bob@example.test"/><resource uri="sip:carol@example.test"><context/></resource></adhocList>
<categoryList xmlns="http://schemas.microsoft.com/2006/09/sip/categorylist"><category name="note"/><category name="state"/></categoryList></action>
<action name="unsubscribe" id="1"><adhocList><resource uri="sip:dan@example.test"/></adhocList></action></batchSub>"#;

    #[test]
    fn batches() {
        let batch = BatchSubscribe::parse(BATCH_SAMPLE.as_bytes()).unwrap();
        assert_eq!(batch.uri, "sip:ann@example.test");
        let expect = [
            BatchAction::Subscribe {
                resources: vec!["sip:bob@example.test".into(), "sip:carol@example.test".into()],
                categories: vec!["note".into(), "state".into()],
            },
            BatchAction::Unsubscribe { resources: vec!["sip:dan@example.test".into()] },
        ];
        assert_eq!(batch.actions, expect);
        let check =
            |document: &str| assert!(BatchSubscribe::parse(document.as_bytes()).is_err(), "{document}");
        check("<batchSub/>");
        check(&BATCH_SAMPLE.replace("unsubscribe", "unsub"));
        check(&BATCH_SAMPLE.replace("resource uri", "resource url"));
        let many = "<resource uri='sip:x@example.test'/>".repeat(MAX_RESOURCES);
        check(&BATCH_SAMPLE.replace("</adhocList>", &format!("{many}</adhocList>")));
        let many = "<category name='x'/>".repeat(MAX_CATEGORY_NAMES);
        check(&BATCH_SAMPLE.replace("</categoryList>", &format!("{many}</categoryList>")));
    }
}
