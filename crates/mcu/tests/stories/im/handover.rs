//! An MCU is lost and another goes on in the same sessions.

use confab_schema::{
    cccp::{AddUser, Code, Command},
    conference_info::{EndpointStatus, JoiningMethod, User},
};
use confab_sip::Method;

use crate::room::*;

/// The last that an MCU told of each person.
fn told(room: &mut Room) -> Vec<User> {
    let mut people: Vec<User> = Vec::new();
    for document in room.notifications.drain(..) {
        for user in document.users.into_iter().flat_map(|users| users.users) {
            people.retain(|other| other.entity != user.entity);
            people.push(user);
        }
    }
    people
}

fn take_over(room: &mut Room, user: User) -> Code {
    let command = Command::AddUser(AddUser { mcu_uri: Some(CHAT.to_owned()), keys: keys(), user });
    room.command(command).expect("an answer").code
}

#[test]
fn another_goes_on_in_the_same_sessions() {
    let mut lost = Room::new();
    for name in ["ann", "bob"] {
        lost.expect(name);
        lost.enter(name);
        assert_eq!(lost.join(name), 200);
    }
    let people = told(&mut lost);
    lost.say("ann", "before");
    assert_eq!(lost.inbox("bob", &Method::Message).len(), 1);

    let mut next = Room::new();
    next.clients = std::mem::take(&mut lost.clients);
    for user in people {
        assert_eq!(take_over(&mut next, user), Code::Success);
    }
    for user in told(&mut next) {
        assert_eq!(user.endpoints[0].status, Some(EndpointStatus::Connected), "{}", user.entity);
    }
    assert_eq!(next.say("ann", "after").status, 202);
    let received = next.client("bob").received.pop_front().expect("bob hears it");
    assert_eq!(received.body, "after");
    let number = received.headers.cseq().unwrap().number;
    assert!(number > 1, "his client has seen lower numbers in this dialog");
    assert_eq!(next.say("bob", "me too").status, 202);
    assert_eq!(next.inbox("ann", &Method::Message), ["text/plain: me too"]);
}

#[test]
fn what_cannot_be_read_is_waited_for_as_if_it_were_new() {
    let mut room = Room::new();
    let Command::AddUser(mut add) = add_user("ann", "{1}", JoiningMethod::DialedIn) else { unreachable!() };
    add.user.endpoints[0].handover = Some("of another make".to_owned());
    assert_eq!(take_over(&mut room, add.user), Code::Success);
    assert_eq!(told(&mut room)[0].endpoints[0].status, Some(EndpointStatus::Pending));
}
