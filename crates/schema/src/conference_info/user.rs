//! `user`: a person in a conference (RFC 4575 §5.6).

use serde::{Deserialize, Serialize};

use super::{Endpoint, Form, NAMESPACE, State, part, part_text, parts, required, state};
use crate::{
    uri::UserUri,
    xml::{Element, Malformed, Writer},
};

words! {
    /// What a person may do (MS-CONFBAS §2.2.2.4).
    pub enum Role {
        /// Leads: also ejects, promotes, locks, ends.
        Presenter = "presenter",
        /// Takes part.
        Attendee = "attendee",
    }
}

/// A person, with all his endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// His SIP URI; the key.
    pub entity: String,
    /// Whether this is all about him, a change, or his end.
    pub state: State,
    /// What he is called.
    pub display_text: Option<String>,
    /// What he may do. Roles that are not known are left out on reading.
    pub roles: Vec<Role>,
    /// His programs and phones: one per server of the conference he is on.
    pub endpoints: Vec<Endpoint>,
}

impl User {
    /// A person of whom no more is known.
    pub fn new(entity: impl Into<String>) -> User {
        User { entity: entity.into(), ..User::default() }
    }

    /// A notification that this person is gone.
    pub fn deleted(entity: impl Into<String>) -> User {
        User { state: State::Deleted, ..User::new(entity) }
    }

    /// Whether this is `user`, however his URI is written here.
    pub fn entity_is(&self, user: &UserUri) -> bool {
        UserUri::parse(&self.entity).is_ok_and(|entity| entity == *user)
    }

    pub(crate) fn read(element: &Element) -> Result<User, Malformed> {
        let mut endpoints: Vec<Endpoint> =
            parts(element, "endpoint").map(Endpoint::read).collect::<Result<_, _>>()?;
        // Most have one, of a kilobyte, and a vector begins with room for four.
        endpoints.shrink_to_fit();
        Ok(User {
            entity: required(element, "entity")?,
            state: state(element)?,
            display_text: part_text(element, "display-text"),
            roles: part(element, "roles").map(read_roles).unwrap_or_default(),
            endpoints,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(NAMESPACE, "user");
        writer.attribute("entity", &self.entity);
        form.state(writer, self.state);
        writer.optional(NAMESPACE, "display-text", self.display_text.as_deref());
        if !self.roles.is_empty() {
            write_roles(writer, "roles", &self.roles);
        }
        self.endpoints.iter().for_each(|endpoint| endpoint.write(writer, form));
        writer.end();
    }
}

/// The roles in `roles` or `user-roles`.
pub(crate) fn read_roles(element: &Element) -> Vec<Role> {
    parts(element, "entry").filter_map(|entry| Role::parse(&entry.text())).collect()
}

pub(crate) fn write_roles(writer: &mut Writer, name: &str, roles: &[Role]) {
    writer.start(NAMESPACE, name);
    roles.iter().for_each(|role| writer.leaf(NAMESPACE, "entry", role.as_str()));
    writer.end();
}
