//! The MCU calls somebody in (c3p §9.2).

use confab_schema::{
    cccp::{Code, Command},
    conference_info::JoiningMethod,
};
use confab_sip::{Method, Request};

use crate::room::{CHAT, Room, add_user};

/// Ann's conference calls Bob; it rings there.
fn ringing() -> (Room, Request) {
    let mut room = Room::of(&["ann"]);
    room.enter("bob");
    room.client("bob").answer = None;
    let pending = room.command(add_user("bob", "{1}", JoiningMethod::DialedOut)).expect("an answer");
    assert_eq!(pending.code, Code::Pending);
    assert_eq!(room.told(), ["bob {1} dialing-out dialed-out"]);
    let invite = room.client("bob").received.pop_front().expect("INVITE");
    room.answer("bob", &invite, 180);
    assert_eq!(room.told(), ["bob {1} alerting dialed-out"]);
    (room, invite)
}

fn last_code(room: &Room) -> Option<Code> {
    room.answers.last().map(|response| response.code)
}

#[test]
fn he_picks_up() {
    let (mut room, invite) = ringing();
    assert!(invite.headers.get("From").is_some_and(|from| from.starts_with(&format!("<{CHAT}>;tag="))));
    assert_eq!(invite.headers.get("To").map(|to| &**to), Some("<sip:bob@example.test>"));
    assert!(invite.body.windows(9).any(|window| window == b"m=message"));
    room.answer("bob", &invite, 200);
    assert_eq!(room.told(), ["bob {1} connected dialed-out"]);
    assert_eq!(last_code(&room), Some(Code::Success));
    assert_eq!(room.inbox("bob", &Method::Ack).len(), 1);
    room.answer("bob", &invite, 200);
    assert_eq!(room.inbox("bob", &Method::Ack).len(), 1, "his 200 came again, so does the ACK");

    room.client("bob").answer = Some(200);
    room.say("ann", "hi");
    assert_eq!(room.inbox("bob", &Method::Message), ["text/plain: hi"]);
    assert_eq!(room.say("bob", "hi ann").status, 202);
    assert_eq!(room.inbox("ann", &Method::Message), ["text/plain: hi ann"]);
    let again = room.command(add_user("bob", "{1}", JoiningMethod::DialedOut)).expect("an answer");
    assert_eq!(again.code, Code::Success);
}

#[test]
fn he_is_busy() {
    let (mut room, invite) = ringing();
    room.answer("bob", &invite, 486);
    assert_eq!(last_code(&room), Some(Code::Failure));
    assert_eq!(room.told(), ["bob {1} disconnected dialed-out"]);
    room.wait(4);
    assert_eq!(room.told(), ["bob deleted"]);
}

#[test]
fn nobody_picks_up() {
    let (mut room, invite) = ringing();
    room.wait(179);
    assert!(room.told().is_empty());
    room.wait(2);
    assert_eq!(room.inbox("bob", &Method::Cancel).len(), 1);
    assert_eq!(last_code(&room), Some(Code::Failure));
    room.answer("bob", &invite, 200);
    assert_eq!(
        room.client("bob").received.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(),
        ["ACK", "BYE"]
    );
    room.wait(4);
    assert_eq!(room.told(), ["bob deleted"]);
}

#[test]
fn he_is_not_wanted_any_more() {
    let (mut room, invite) = ringing();
    room.delete_user("bob");
    let codes: Vec<Code> = room.answers.iter().rev().take(2).map(|response| response.code).collect();
    assert_eq!(codes, [Code::Success, Code::Failure], "first the call fails, then he is deleted");
    assert_eq!(room.told(), ["bob deleted"]);
    assert_eq!(room.inbox("bob", &Method::Cancel).len(), 1);
    room.answer("bob", &invite, 487);
    assert!(room.told().is_empty());
}

#[test]
fn he_offers_no_messaging() {
    let (mut room, invite) = ringing();
    let mut response =
        confab_sip::Response::to(&invite, 200).with_header("Contact", "<sip:bob@bob.example.test>");
    response.set_to_tag("bobtag");
    room.answer_with("bob", response);
    assert_eq!(last_code(&room), Some(Code::Failure));
    assert_eq!(room.inbox("bob", &Method::Bye).len(), 1);
}

#[test]
fn the_leader_says_where() {
    let check = |refer_to: &str, expect: Option<(&str, Option<&str>)>| {
        let mut room = Room::of(&["ann"]);
        room.enter("bob");
        room.client("bob").answer = None;
        let Command::AddUser(mut add) = add_user("bob", "{1}", JoiningMethod::DialedOut) else {
            panic!("addUser")
        };
        add.user.endpoints[0].endpoint_uri = Some("sip:bob@elsewhere.example.test".to_owned());
        add.user.endpoints[0].refer_to_uri = Some(refer_to.to_owned()).filter(|uri| !uri.is_empty());
        room.command(Command::AddUser(add));
        let invite = room.client("bob").received.pop_front();
        let sent = invite.map(|invite| {
            assert_eq!(invite.headers.get("To").map(|to| &**to), Some("<sip:bob@example.test>"));
            assert!(invite.headers.get("P-Asserted-Identity").is_none());
            (invite.uri.to_string(), invite.headers.get("Subject").map(|subject| subject.to_string()))
        });
        let sent = sent.as_ref().map(|(uri, subject)| (&**uri, subject.as_deref()));
        assert_eq!(sent, expect, "{refer_to}");
    };
    check("", Some(("sip:bob@elsewhere.example.test", None)));
    check("sip:bob@third.example.test", Some(("sip:bob@third.example.test", None)));
    check(
        "sip:bob@third.example.test?Subject=a%20b&P-Asserted-Identity=%3Csip:eve%40example.test%3E",
        Some(("sip:bob@third.example.test", Some("a b"))),
    );
    check("sip:bob@third.example.test?Subject=a%0D%0AVia:%20x", Some(("sip:bob@third.example.test", None)));
    check("tel:+14255550100", None);
}
