//! Session timers (RFC 4028): who is silently gone does not stay in the roster for ever.

use confab_schema::{
    cccp::{AddUser, Code, Command},
    conference_info::JoiningMethod,
};
use confab_sip::{Method, Request, Response};

use crate::room::*;

const SDP: &str = "v=0\r\nm=message 5060 sip null\r\n";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.get(name).map_or("", |value| value)
}

/// A request of the client's with these headers more, and its answer.
fn send_with(room: &mut Room, name: &str, method: Method, body: &str, headers: &[(&str, &str)]) -> Response {
    let content_type = if body.is_empty() { "" } else { "application/sdp" };
    room.client(name).cseq += 1;
    let mut request = room.build(name, method, content_type, body);
    request.headers.push("P-Asserted-Identity", format!("<sip:{name}@example.test>"));
    for (header, value) in headers {
        request.headers.push(*header, *value);
    }
    room.send_request(name, request)
}

/// Bob joins with this Session-Expires.
fn joins(room: &mut Room, session_expires: &str) -> Response {
    room.expect("bob");
    room.enter("bob");
    let client = room.client("bob");
    client.set_dialog("call-bob", "<sip:bob@example.test>;tag=bobtag", &format!("<{CHAT}>"));
    let headers = [("Supported", "timer"), ("Session-Expires", session_expires)];
    let response = send_with(room, "bob", Method::Invite, SDP, &headers);
    if response.status == 200 {
        let to = header(&response, "To").to_owned();
        room.client("bob").set_dialog("call-bob", "<sip:bob@example.test>;tag=bobtag", &to);
        room.ack("bob");
        room.notifications.clear();
    }
    response
}

/// The requests of this method that came to Bob since the last look.
fn came(room: &mut Room, method: &Method) -> Vec<Request> {
    let received = std::mem::take(&mut room.client("bob").received);
    received.into_iter().filter(|request| request.method == *method).collect()
}

#[test]
fn who_does_not_refresh_is_taken_out() {
    let mut room = Room::new();
    let response = joins(&mut room, "600");
    assert_eq!(header(&response, "Session-Expires"), "600;refresher=uac");
    assert!(
        response.headers.has_token("Require", "timer") && response.headers.has_token("Supported", "timer")
    );
    room.wait(500);
    let headers = [("Supported", "timer"), ("Session-Expires", "600;refresher=uac")];
    let refreshed = send_with(&mut room, "bob", Method::Update, "", &headers);
    assert_eq!(header(&refreshed, "Session-Expires"), "600;refresher=uac");
    assert!(refreshed.body.is_empty());
    room.wait(560);
    assert!(came(&mut room, &Method::Bye).is_empty());
    room.wait(10);
    assert_eq!(came(&mut room, &Method::Bye).len(), 1);
    assert_eq!(room.told(), ["bob deleted"]);
}

#[test]
fn a_reinvite_refreshes_too() {
    let mut room = Room::new();
    joins(&mut room, "600");
    room.wait(500);
    let headers = [("Supported", "timer"), ("Session-Expires", "600;refresher=uac")];
    let refreshed = send_with(&mut room, "bob", Method::Invite, SDP, &headers);
    assert_eq!((refreshed.status, header(&refreshed, "Session-Expires")), (200, "600;refresher=uac"));
    assert!(!refreshed.body.is_empty());
    room.ack("bob");
    room.wait(500);
    assert!(came(&mut room, &Method::Bye).is_empty());
}

#[test]
fn we_refresh_when_asked_to() {
    let mut room = Room::new();
    joins(&mut room, "600;refresher=uas");
    room.wait(301);
    let update = came(&mut room, &Method::Update).pop().expect("a refresh");
    assert_eq!(update.headers.get("Session-Expires").unwrap(), &"600;refresher=uac");
    assert_eq!(update.headers.get("Contact").unwrap().as_str(), format!("<{CHAT}>;isfocus"));
    room.client("bob").answer = Some(405);
    room.wait(300);
    assert_eq!(came(&mut room, &Method::Update).len(), 1);
    room.wait(200);
    assert!(came(&mut room, &Method::Bye).is_empty(), "who answers at all is there");
    room.client("bob").answer = None;
    room.wait(200);
    assert_eq!(room.told(), ["bob deleted"], "who does not answer is gone");
}

#[test]
fn a_session_that_the_client_does_not_know_is_over() {
    let mut room = Room::new();
    joins(&mut room, "600;refresher=uas");
    room.client("bob").answer = Some(481);
    room.wait(301);
    assert_eq!(room.told(), ["bob deleted"]);
}

#[test]
fn too_short_a_session_is_refused() {
    let mut room = Room::new();
    let response = joins(&mut room, "60");
    assert_eq!((response.status, header(&response, "Min-SE")), (422, "90"));
    assert_eq!(room.told(), ["bob deleted"], "his INVITE is used up");
    joins(&mut room, "90");
    let shorter = send_with(&mut room, "bob", Method::Update, "", &[("Session-Expires", "10")]);
    assert_eq!((shorter.status, header(&shorter, "Min-SE")), (422, "90"));
    room.wait(59);
    assert!(came(&mut room, &Method::Bye).is_empty());
    room.wait(2);
    assert_eq!(came(&mut room, &Method::Bye).len(), 1, "the refused request refreshed nothing");
}

#[test]
fn whoever_cannot_do_timers_has_none() {
    let mut room = Room::of(&["bob"]);
    room.wait(24 * 3600);
    assert!(room.notifications.is_empty());
    // Timers may be required of us, other things not.
    let required = send_with(&mut room, "bob", Method::Update, "", &[("Require", "timer")]);
    assert_eq!(required.status, 200);
    assert_eq!(send_with(&mut room, "bob", Method::Update, "", &[("Require", "100rel")]).status, 420);
}

/// Bob is called and answers with this Session-Expires.
fn is_called(session_expires: &str) -> Room {
    let mut room = Room::new();
    room.enter("bob");
    room.client("bob").answer = None;
    room.command(add_user("bob", "{1}", JoiningMethod::DialedOut));
    let invite = came(&mut room, &Method::Invite).pop().expect("INVITE");
    assert_eq!(invite.headers.get("Session-Expires").unwrap(), &"1800");
    let mut response = Response::to(&invite, 200).with_header("Contact", "<sip:bob@bob.example.test>");
    response.set_to_tag("bobtag");
    response.set_body("application/sdp", SDP.into());
    if !session_expires.is_empty() {
        response.headers.push("Session-Expires", session_expires);
    }
    room.answer_with("bob", response);
    room.notifications.clear();
    room
}

#[test]
fn who_was_called_has_a_timer_if_he_can() {
    let mut room = is_called("1800;refresher=uas");
    room.wait(1767);
    assert!(room.notifications.is_empty());
    room.wait(1);
    assert_eq!(room.told(), ["bob deleted"]);
    let mut room = is_called("600;refresher=uac");
    room.wait(301);
    assert_eq!(came(&mut room, &Method::Update).len(), 1);
    let mut room = is_called("");
    room.wait(24 * 3600);
    assert!(room.notifications.is_empty());
}

#[test]
fn a_successor_goes_on_with_the_timer() {
    let mut lost = Room::new();
    joins(&mut lost, "600");
    let update = send_with(&mut lost, "bob", Method::Info, "", &[]);
    assert_ne!(update.status, 481);
    lost.command(Command::ModifyUserRoles { keys: user_keys("bob"), roles: Vec::new() });
    let user = lost.notifications.pop().and_then(|told| told.users).expect("he is told of").users.remove(0);
    let mut next = Room::new();
    next.clients = std::mem::take(&mut lost.clients);
    next.wait(100);
    let add = Command::AddUser(AddUser { mcu_uri: Some(CHAT.to_owned()), keys: keys(), user });
    assert_eq!(next.command(add).map(|response| response.code), Some(Code::Success));
    next.notifications.clear();
    next.wait(567);
    assert!(next.notifications.is_empty(), "a whole session from the handover on");
    next.wait(1);
    assert_eq!(next.told(), ["bob deleted"]);
}

#[test]
fn who_came_by_the_conference_has_it_as_the_contact() {
    for (to, contact) in [(CHAT, CHAT), (FOCUS, FOCUS), ("sip:conference@example.test", FOCUS)] {
        let mut room = Room::new();
        room.expect("bob");
        room.enter("bob");
        let local = "<sip:bob@example.test>;tag=bobtag";
        room.client("bob").set_dialog("call-bob", local, &format!("<{to}>"));
        let response = send_with(&mut room, "bob", Method::Invite, SDP, &[]);
        assert_eq!(header(&response, "Contact"), format!("<{contact}>;isfocus"), "{to}");
    }
}
