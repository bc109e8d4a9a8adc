//! A document printed once for many readers, and for some of them with one person put in as only
//! they are to see him: without printing the rest again.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;

use super::{ConferenceInfo, Form, NAMESPACE, State, User, View};
use crate::xml::Writer;

/// A printed document that knows where each person stands in it.
#[derive(Clone, Debug)]
pub struct Print {
    form: Form,
    bytes: Bytes,
    people: BTreeMap<String, Range<usize>>,
    /// Where one more person is put.
    end: usize,
}

impl Print {
    pub(super) fn of(document: &ConferenceInfo, view: View) -> Print {
        let form = document.form(view);
        let mut writer = Writer::new();
        document.write_before_users(&mut writer, form, true);
        let (state, users) = match &document.users {
            Some(users) => (users.state, users.users.as_slice()),
            None => (State::Partial, [].as_slice()),
        };
        let mut people = BTreeMap::new();
        let mut end = start_users(&mut writer, form, state);
        for user in users {
            user.write(&mut writer, form);
            people.insert(user.entity.clone(), end..writer.position());
            end = writer.position();
        }
        writer.end();
        document.write_after_users(&mut writer, form);
        Print { form, bytes: writer.finish(), people, end }
    }

    /// As it was printed.
    pub fn document(&self) -> Bytes {
        self.bytes.clone()
    }

    /// With `user` in place of what it says of him, or after everybody else.
    pub fn with(&self, user: &User) -> Bytes {
        let place = self.people.get(&user.entity).cloned().unwrap_or(self.end..self.end);
        let mut writer = Writer::new();
        ConferenceInfo::default().write_root(&mut writer, self.form, true);
        let from = start_users(&mut writer, self.form, State::Full);
        user.write(&mut writer, self.form);
        let until = writer.position();
        let person = &writer.finish()[from..until];
        let mut document = Vec::with_capacity(self.bytes.len() + person.len());
        document.extend_from_slice(&self.bytes[..place.start]);
        document.extend_from_slice(person);
        document.extend_from_slice(&self.bytes[place.end..]);
        document.into()
    }
}

/// Begins the list of people, and gives where the first of them will stand.
fn start_users(writer: &mut Writer, form: Form, state: State) -> usize {
    writer.start(NAMESPACE, "users");
    form.state(writer, state);
    writer.position()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conference_info::{ConferenceState, ConferenceView, Endpoint, Role, Users},
        uri::McuType,
    };

    fn person(name: &str, session_type: &str) -> User {
        let leg = Endpoint { session_type: Some(session_type.into()), ..Endpoint::new("{1}") };
        let entity = format!("sip:{name}@example.test");
        User { roles: vec![Role::Attendee], endpoints: vec![leg], ..User::new(entity) }
    }

    fn document(users: Vec<User>, view: Option<ConferenceView>) -> ConferenceInfo {
        let users = Some(Users { state: State::Partial, users });
        let conference_state = Some(ConferenceState { user_count: Some(3), ..ConferenceState::default() });
        ConferenceInfo { conference_state, users, view, ..ConferenceInfo::partial("sip:focus", 7) }
    }

    /// What is put in stands as if the whole had been printed with it.
    #[track_caller]
    fn check(users: &[User], with: &User, expect: &[User]) {
        for view in [View::Microsoft, View::Rfc4575] {
            for servers in [None, Some(ConferenceView::of_types(&[McuType::Chat]))] {
                let print = document(users.to_vec(), servers.clone()).print(view);
                let expect = document(expect.to_vec(), servers).to_bytes(view);
                assert_eq!(print.with(with), expect, "{view:?}");
            }
        }
    }

    #[test]
    fn somebody_is_put_in() {
        let (ann, bob, eve) = (person("ann", "focus"), person("bob", "chat"), person("eve", "focus"));
        let gone = User::deleted(bob.entity.clone());
        let of = |people: &[&User]| people.iter().copied().cloned().collect::<Vec<User>>();
        check(&of(&[&ann]), &bob, &of(&[&ann, &bob]));
        check(&of(&[&ann, &gone, &eve]), &bob, &of(&[&ann, &bob, &eve]));
        check(&of(&[&gone]), &bob, &of(&[&bob]));
        check(&[], &bob, &of(&[&bob]));
    }

    #[test]
    fn without_it_is_what_is_always_printed() {
        let document = document(vec![person("ann", "focus")], None);
        assert_eq!(document.print(View::Microsoft).document(), document.to_bytes(View::Microsoft));
        let nobody = ConferenceInfo { users: None, ..document };
        let read = ConferenceInfo::parse(&nobody.print(View::Microsoft).with(&person("bob", "chat")));
        assert_eq!(read.unwrap().users.unwrap().users, [person("bob", "chat")]);
    }
}
