//! `conference-view`: the Focus and the conferencing servers of a conference (MS-CONFBAS §2.2.2.2).

use serde::{Deserialize, Serialize};

use super::{
    EXTENSIONS, Form, MediaRules, MediaStatus, NAMESPACE, State, boolean, flag, part, part_text, parts,
    required, state, whole,
};
use crate::{
    uri::McuType,
    xml::{Element, Malformed, Writer},
};

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConferenceView {
    /// Whether these are all.
    pub state: State,
    /// In the order they stand.
    pub entity_views: Vec<EntityView>,
}

/// The Focus or one conferencing server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntityView {
    /// In a notification its URI, in a command the word of its MCU type; the key.
    pub entity: String,
    /// Whether this is all about it, a change, or its end.
    pub state: State,
    /// The whole element `entity-capabilities`, if there is one.
    pub capabilities: Option<Element>,
    /// Whether it lets nobody new in.
    pub locked: Option<bool>,
    /// What it serves.
    pub media: Vec<EntityMedia>,
    /// Who is heard in it, if it has such rules.
    pub rules: Option<MediaRules>,
}

/// A medium of a conferencing server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityMedia {
    /// Which of the conference's media.
    pub label: String,
    /// `chat`, `audio`, `video`, `applicationsharing`.
    pub kind: String,
    /// Which way it flows.
    pub status: Option<MediaStatus>,
}

impl ConferenceView {
    /// What a command asks for: a server of each type.
    pub fn of_types(types: &[McuType]) -> ConferenceView {
        let entity_views = types.iter().map(|media| EntityView::new(media.as_str())).collect();
        ConferenceView { state: State::Full, entity_views }
    }

    pub(super) fn read(element: &Element) -> Result<ConferenceView, Malformed> {
        let entity_views = parts(element, "entity-view").map(EntityView::read).collect::<Result<_, _>>()?;
        Ok(ConferenceView { state: state(element)?, entity_views })
    }

    pub(super) fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(EXTENSIONS, "conference-view");
        form.global_state(writer, self.state);
        self.entity_views.iter().for_each(|view| view.write(writer, form));
        writer.end();
    }
}

impl EntityView {
    /// A server of which no more is known.
    pub fn new(entity: impl Into<String>) -> EntityView {
        EntityView { entity: entity.into(), ..EntityView::default() }
    }

    fn read(element: &Element) -> Result<EntityView, Malformed> {
        let mut view = EntityView::new(required(element, "entity")?);
        view.state = state(element)?;
        view.capabilities = whole(element, "entity-capabilities");
        if let Some(state) = part(element, "entity-state") {
            view.locked = part(state, "locked").map(boolean).transpose()?;
            let entries =
                part(state, "media").map(|media| parts(media, "entry").map(EntityMedia::read).collect());
            view.media = entries.unwrap_or_default();
            view.rules = part(state, "mediaFiltersRules").map(MediaRules::read).transpose()?;
        }
        Ok(view)
    }

    fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(EXTENSIONS, "entity-view");
        form.global_state(writer, self.state);
        writer.attribute("entity", &self.entity);
        if let Some(capabilities) = &self.capabilities {
            writer.element(capabilities);
        }
        if self.locked.is_some() || !self.media.is_empty() || self.rules.is_some() {
            writer.start(EXTENSIONS, "entity-state");
            writer.optional(EXTENSIONS, "locked", self.locked.map(flag));
            if !self.media.is_empty() {
                writer.start(EXTENSIONS, "media");
                self.media.iter().for_each(|media| media.write(writer));
                writer.end();
            }
            if let Some(rules) = &self.rules {
                rules.write(writer);
            }
            writer.end();
        }
        writer.end();
    }
}

impl EntityMedia {
    /// A medium that is called what it is and flows both ways.
    pub fn new(kind: impl Into<String>) -> EntityMedia {
        let kind = kind.into();
        EntityMedia { label: kind.clone(), kind, status: Some(MediaStatus::SendRecv) }
    }

    fn read(element: &Element) -> EntityMedia {
        EntityMedia {
            label: element.attr("label").unwrap_or_default().to_owned(),
            kind: part_text(element, "type").unwrap_or_default(),
            status: part(element, "status").and_then(|status| MediaStatus::parse(&status.text())),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "entry");
        writer.attribute("label", &self.label);
        writer.leaf(NAMESPACE, "type", &self.kind);
        writer.optional(NAMESPACE, "status", self.status.map(MediaStatus::as_str));
        writer.end();
    }
}
