//! `urn:ietf:params:xml:ns:conference-info` (RFC 4575) with the extensions of OCS 2007 R2
//! (MS-CONFBAS §2.2.2.2, §2.2.2.4): what a conference is and who is in it. Steps 3 and 7.
//!
//! The same document is a notification (with a version) and, inside C3P, a command's argument
//! (without). Children stand in the schemas' order: RFC 4575's first, the extensions after them.

mod call;
mod description;
mod endpoint;
mod print;
mod rules;
mod user;
mod view;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::xml::{Element, Malformed, Writer, quoted};
pub use call::{CallQuality, CallRecord, NAMESPACE as AV};
pub use description::{AdmissionPolicy, ConfUri, Description, Organizer};
pub use endpoint::{
    DisconnectionMethod, Endpoint, EndpointStatus, JoiningInfo, JoiningMethod, Media, MediaFilter,
    MediaStatus,
};
pub use print::Print;
pub use rules::{MediaRules, RuleRole};
pub use user::{Role, User};
pub(crate) use user::{read_roles, write_roles};
pub use view::{ConferenceView, EntityMedia, EntityView};

/// The namespace of RFC 4575.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// The namespace of the extensions of OCS, by custom `msci`.
pub const EXTENSIONS: &str = "http://schemas.microsoft.com/rtc/2005/08/confinfoextensions";
/// The namespace of what Lync added to them, by custom `msci2`; it stands behind the separator.
pub const LATER_EXTENSIONS: &str = "http://schemas.microsoft.com/rtc/2008/12/confinfoextensions";
/// The media type of a notification.
pub const CONTENT_TYPE: &str = "application/conference-info+xml";
/// The event package (RFC 4575 §3.1).
pub const EVENT: &str = "conference";

words! {
    /// How much of a thing an element tells (RFC 4575 §5.1).
    #[derive(Default)]
    pub enum State {
        /// All: what is not there is not.
        #[default]
        Full = "full",
        /// What has changed.
        Partial = "partial",
        /// That it is gone.
        Deleted = "deleted",
    }
}

/// In which form a document is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum View {
    /// With the extensions of OCS.
    Microsoft,
    /// RFC 4575 alone.
    Rfc4575,
}

/// A `conference-info` document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConferenceInfo {
    /// The conference's URI; empty in `addConference`.
    pub entity: String,
    /// Whether this is all of it or a change.
    pub state: State,
    /// One more with each notification. 0 = none: no notification nor a record, but a command's
    /// argument; then no `state` is printed either.
    pub version: u32,
    /// What the conference is.
    pub description: Option<Description>,
    /// What RFC 4575 knows of its state.
    pub conference_state: Option<ConferenceState>,
    /// Who is in it, or invited.
    pub users: Option<Users>,
    /// Its conferencing servers.
    pub view: Option<ConferenceView>,
    /// Between servers only: what became of legs that are over.
    pub calls: Vec<CallRecord>,
}

/// RFC 4575's `conference-state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConferenceState {
    /// How many people are in.
    pub user_count: Option<u32>,
    /// Whether the conference is going on.
    pub active: Option<bool>,
    /// Whether nobody new gets in.
    pub locked: Option<bool>,
}

/// RFC 4575's `users`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// Whether these are all of them.
    pub state: State,
    /// In the order they stand.
    pub users: Vec<User>,
}

impl ConferenceInfo {
    /// A notification of everything, still empty.
    pub fn full(entity: impl Into<String>, version: u32) -> ConferenceInfo {
        ConferenceInfo { entity: entity.into(), version, ..ConferenceInfo::default() }
    }

    /// A notification of a change, still empty.
    pub fn partial(entity: impl Into<String>, version: u32) -> ConferenceInfo {
        ConferenceInfo { state: State::Partial, ..ConferenceInfo::full(entity, version) }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no well-formed `conference-info`, or a value in it makes no sense.
    pub fn parse(document: &[u8]) -> Result<ConferenceInfo, Malformed> {
        let root = Element::parse(document)?;
        if !root.is(NAMESPACE, "conference-info") {
            return Err(Malformed::new(format!("{} is no conference-info.", quoted(&root.name))));
        }
        ConferenceInfo::read(&root)
    }

    /// Prints the document.
    pub fn to_bytes(&self, view: View) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer, view);
        writer.finish()
    }

    /// Prints the document for readers some of whom find one person in it as others do not. If it
    /// has no `users`, it gets an empty list of them.
    pub fn print(&self, view: View) -> Print {
        Print::of(self, view)
    }

    pub(crate) fn read(element: &Element) -> Result<ConferenceInfo, Malformed> {
        let users = part(element, "users").map(|users| {
            let read = parts(users, "user").map(User::read).collect::<Result<_, _>>()?;
            Ok(Users { state: state(users)?, users: read })
        });
        let conference_state = part(element, "conference-state").map(|state| {
            Ok(ConferenceState {
                user_count: part(state, "user-count").map(number).transpose()?,
                active: part(state, "active").map(boolean).transpose()?,
                locked: part(state, "locked").map(boolean).transpose()?,
            })
        });
        Ok(ConferenceInfo {
            entity: element.attr("entity").unwrap_or_default().to_owned(),
            state: state(element)?,
            version: element.attr("version").map_or(Ok(0), |version| parse_number(version, "version"))?,
            description: part(element, "conference-description").map(Description::read).transpose()?,
            // One that says nothing is as good as none, and is not printed either.
            conference_state: conference_state
                .transpose()?
                .filter(|state| *state != ConferenceState::default()),
            users: users.transpose()?,
            view: part(element, "conference-view").map(ConferenceView::read).transpose()?,
            calls: element.child(AV, "calls").map_or(Ok(Vec::new()), |calls| {
                calls.elements().filter(|call| call.is(AV, "call")).map(CallRecord::read).collect()
            })?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer, view: View) {
        let form = self.form(view);
        let extended = self.description.is_some() || self.users.is_some() || self.view.is_some();
        self.write_before_users(writer, form, extended);
        if let Some(users) = &self.users {
            writer.start(NAMESPACE, "users");
            form.state(writer, users.state);
            users.users.iter().for_each(|user| user.write(writer, form));
            writer.end();
        }
        self.write_after_users(writer, form);
    }

    fn form(&self, view: View) -> Form {
        Form { microsoft: view == View::Microsoft, states: self.version != 0 }
    }

    /// `extended` says whether anything in it may be in the namespace of the extensions.
    fn write_root(&self, writer: &mut Writer, form: Form, extended: bool) {
        writer.start(NAMESPACE, "conference-info");
        if form.microsoft && extended {
            writer.declare(EXTENSIONS);
        }
        if form.microsoft && self.view.is_some() && form.states {
            writer.declare(NAMESPACE);
        }
        writer.attribute("entity", &self.entity);
        form.state(writer, self.state);
        if self.version != 0 {
            writer.attribute("version", &self.version.to_string());
        }
    }

    fn write_before_users(&self, writer: &mut Writer, form: Form, extended: bool) {
        self.write_root(writer, form, extended);
        if let Some(description) = &self.description {
            description.write(writer, form);
        }
        self.write_conference_state(writer, form);
    }

    fn write_after_users(&self, writer: &mut Writer, form: Form) {
        if let Some(view) = self.view.as_ref().filter(|_| form.microsoft) {
            view.write(writer, form);
        }
        if form.microsoft && !self.calls.is_empty() {
            call::write_separator(writer);
            writer.start(AV, "calls");
            self.calls.iter().for_each(|call| call.write(writer));
            writer.end();
        }
        writer.end();
    }

    /// In the plain form the lock, which OCS keeps in its own view of the Focus, stands here.
    fn write_conference_state(&self, writer: &mut Writer, form: Form) {
        let mut state = self.conference_state.clone().unwrap_or_default();
        if !form.microsoft && state.locked.is_none() {
            let views = self.view.iter().flat_map(|view| &view.entity_views);
            state.locked = views.filter(|view| view.entity == self.entity).find_map(|view| view.locked);
        }
        if state == ConferenceState::default() {
            return;
        }
        writer.start(NAMESPACE, "conference-state");
        writer.optional(NAMESPACE, "user-count", state.user_count.map(|count| count.to_string()).as_deref());
        writer.optional(NAMESPACE, "active", state.active.map(flag));
        writer.optional(NAMESPACE, "locked", state.locked.map(flag));
        writer.end();
    }
}

/// How the parts of a document are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// With the extensions of OCS.
    pub(crate) microsoft: bool,
    /// With `state` attributes, as notifications have them and commands do not.
    pub(crate) states: bool,
}

impl Form {
    /// As C3P carries users and media.
    pub(crate) const COMMAND: Form = Form { microsoft: true, states: false };

    fn state(self, writer: &mut Writer, state: State) {
        if self.states || state != State::Full {
            writer.attribute("state", state.as_str());
        }
    }

    /// `state` is a global attribute, so that elements of other namespaces can carry it.
    fn global_state(self, writer: &mut Writer, state: State) {
        if self.states || state != State::Full {
            writer.attribute_ns(NAMESPACE, "state", state.as_str());
        }
    }
}

/// Where the parts of a document may be, so that a missing or wrong prefix among the five
/// namespaces of conferencing does no harm while foreign elements stay foreign.
const NEAR: [&str; 6] =
    [NAMESPACE, EXTENSIONS, LATER_EXTENSIONS, crate::cccp::NAMESPACE, crate::cccp::EXTENSIONS, ""];

/// Whether the element is of conferencing.
pub(crate) fn is_near(element: &Element) -> bool {
    NEAR.contains(&&*element.ns)
}

/// The child with this local name in any of the namespaces of conferencing.
pub(crate) fn part<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.elements().find(|child| child.name == name && is_near(child))
}

/// All of them.
pub(crate) fn parts<'a>(element: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    element.elements().filter(move |child| child.name == name && is_near(child))
}

/// The text of such a child.
pub(crate) fn part_text(element: &Element, name: &str) -> Option<String> {
    part(element, name).map(|child| child.text().into_owned())
}

/// Such a child as it is, put into the namespace it belongs to.
fn whole(element: &Element, name: &str) -> Option<Element> {
    let mut whole = part(element, name)?.clone();
    whole.ns = EXTENSIONS.into();
    Some(whole)
}

/// A mandatory attribute.
pub(crate) fn required(element: &Element, name: &str) -> Result<String, Malformed> {
    let missing = || Malformed::new(format!("{} has no attribute {name}.", quoted(&element.name)));
    element.attr(name).map(str::to_owned).ok_or_else(missing)
}

/// `xsd:boolean`.
pub(crate) fn boolean(element: &Element) -> Result<bool, Malformed> {
    match &*element.text().to_ascii_lowercase() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => {
            Err(Malformed::new(format!("{} is {}, not true or false.", quoted(&element.name), quoted(other))))
        }
    }
}

/// What [`boolean`] reads.
pub(crate) const fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

pub(crate) fn parse_number(text: &str, what: &str) -> Result<u32, Malformed> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = || Malformed::new(format!("{} is no {what}: a number from 0 to {}.", quoted(text), u32::MAX));
    text.parse().ok().filter(|_| digits).ok_or_else(wrong)
}

fn number(element: &Element) -> Result<u32, Malformed> {
    parse_number(&element.text(), &element.name)
}

fn state(element: &Element) -> Result<State, Malformed> {
    let Some(word) = element.attr("state") else { return Ok(State::Full) };
    State::parse(word).ok_or_else(|| Malformed::new(format!("{} is no state.", quoted(word))))
}
