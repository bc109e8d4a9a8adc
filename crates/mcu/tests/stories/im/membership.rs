//! Steps 7 and 8: who gets in, how the Focus hears of it, and how people go.

use confab_mcu::McuLimits;
use confab_schema::{
    cccp::{Code, Command, ResultBody},
    conference_info::{JoiningMethod, Role, State},
};
use confab_sip::{Method, Response};

use crate::room::{CHAT, FOCUS, Room, SERVER, add_user, keys, user_keys};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.get(name).map_or("", |value| value)
}

#[test]
fn added_invited_connected() {
    let mut room = Room::new();
    let added = room.command(add_user("bob", "{1}", JoiningMethod::DialedIn)).expect("an answer");
    assert_eq!(added.code, Code::Success);
    let ResultBody::AddUser { user, connection_info, .. } = &added.results[0].body else { panic!("addUser") };
    assert_eq!(user.endpoints[0].joining_method, Some(JoiningMethod::DialedIn));
    let info: Vec<(&str, &str)> = connection_info.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(info, [("Mcu-Server-Uri", SERVER), ("Mcu-Conference-Uri", CHAT)]);
    let first = room.notifications.last().expect("the first notification");
    assert_eq!((first.version, first.state, first.entity.as_str()), (1, State::Partial, FOCUS));
    let view = &first.view.as_ref().expect("a view").entity_views[0];
    assert_eq!((view.entity.as_str(), view.locked, view.media[0].kind.as_str()), (CHAT, Some(false), "chat"));
    assert_eq!(room.told(), ["bob {1} pending dialed-in"]);

    room.enter("bob");
    let accepted = room.invite("bob", "application/sdp", "v=0\r\nm=message 5060 sip null\r\n");
    assert_eq!(header(&accepted, "Contact"), format!("<{CHAT}>;isfocus"));
    assert_eq!(header(&accepted, "Supported"), "ms-sender");
    let answer = String::from_utf8_lossy(&accepted.body);
    assert!(
        answer.contains(&format!("m=message 5062 sip {CHAT}\r\na=accept-types:text/plain text/html")),
        "{answer}"
    );
    room.told();
    room.ack("bob");
    assert_eq!(room.told(), ["bob {1} connected dialed-in"]);

    assert_eq!(room.send("bob", Method::Bye, "", "").status, 200);
    assert_eq!(room.told(), ["bob deleted"]);
    assert_eq!(room.say("bob", "too late").status, 481);
}

#[test]
fn the_same_endpoint_is_added_once() {
    let mut room = Room::new();
    for _ in 0..2 {
        room.command(add_user("bob", "{1}", JoiningMethod::DialedIn));
        assert_eq!(room.told(), ["bob {1} pending dialed-in"]);
    }
    room.wait(61);
    assert_eq!(room.told(), ["bob deleted"], "his INVITE never came");
}

#[test]
fn strangers_are_refused() {
    let mut room = Room::of(&["ann"]);
    room.enter("eve");
    let refused = room.invite("eve", "application/sdp", "v=0\r\nm=message 5060 sip null\r\n");
    assert_eq!(refused.status, 403);
    assert!(header(&refused, "ms-diagnostics").starts_with("3014;source=\"mcu.example.test\";reason=\""));
    assert!(room.told().is_empty());

    room.delete_user("ann");
    assert_eq!(room.join("ann"), 403, "who was removed has to be added again");
}

#[test]
fn nobody_speaks_in_somebody_elses_session() {
    let mut room = Room::of(&["ann", "bob"]);
    let mut forged = room.build("ann", Method::Message, "text/plain", "I am Ann");
    forged.headers.set("CSeq", "9 MESSAGE");
    forged.headers.push("P-Asserted-Identity", "<sip:eve@example.test>");
    assert_eq!(room.send_request("ann", forged).status, 403);
    assert!(room.inbox("bob", &Method::Message).is_empty());
}

#[test]
fn invites_that_cannot_be_answered() {
    let check = |content_type: &str, body: &str, expect: u16| {
        let mut room = Room::new();
        room.enter("bob");
        room.expect("bob");
        assert_eq!(room.invite("bob", content_type, body).status, expect, "{body}");
        assert_eq!(room.told(), ["bob deleted"], "he is not waited for");
    };
    check("application/sdp", "v=0\r\nm=audio 5000 RTP/AVP 0\r\n", 488);
    check("application/sdp", "v=0\r\nm=message 0 sip null\r\n", 488);
    check("application/sdp", "nonsense", 400);
    check("application/cccp+xml", "<request/>", 415);
    check("", "", 488);
}

#[test]
fn required_extensions_are_refused() {
    let mut room = Room::of(&["ann"]);
    let mut request = room.build("ann", Method::Options, "", "");
    request.headers.set("CSeq", "9 OPTIONS");
    request.headers.push("Require", "com.microsoft.rtc-multiparty");
    let refused = room.send_request("ann", request);
    assert_eq!((refused.status, header(&refused, "Unsupported")), (420, "com.microsoft.rtc-multiparty"));
}

#[test]
fn sessions_are_renegotiated() {
    let mut room = Room::of(&["ann", "bob"]);
    let sdp = "v=0\r\nm=message 5060 sip null\r\na=accept-types:text/html\r\n";
    let answer = room.send("bob", Method::Invite, "application/sdp", sdp);
    assert_eq!((answer.status, header(&answer, "Content-Type")), (200, "application/sdp"));
    room.ack("bob");
    room.say("ann", "plain");
    assert!(room.inbox("bob", &Method::Message).is_empty(), "he takes HTML only now");
    assert_eq!(room.send("bob", Method::Update, "", "").status, 200);
    let refused = room.send("bob", Method::Invite, "application/sdp", "v=0\r\nm=audio 5000 RTP/AVP 0\r\n");
    assert_eq!(refused.status, 488);
    room.ack("bob");
    assert!(room.told().is_empty());
}

#[test]
fn an_invite_without_ack_is_taken_back() {
    let mut room = Room::new();
    room.enter("bob");
    room.expect("bob");
    room.invite("bob", "application/sdp", "v=0\r\nm=message 5060 sip null\r\n");
    room.told();
    room.wait(40);
    assert_eq!(room.told(), ["bob deleted"]);
    assert_eq!(room.inbox("bob", &Method::Bye).len(), 1);
}

#[test]
fn whoever_speaks_is_connected_even_if_his_ack_was_lost() {
    let mut room = Room::of(&["ann"]);
    room.enter("bob");
    room.expect("bob");
    room.invite("bob", "application/sdp", "v=0\r\nm=message 5060 sip null\r\n");
    room.told();
    assert_eq!(room.say("bob", "hi").status, 202);
    assert_eq!(room.told(), ["bob {bob} connected dialed-in"]);
    assert_eq!(room.inbox("ann", &Method::Message), ["text/plain: hi"]);
}

#[test]
fn a_leader_ejects() {
    let mut room = Room::of(&["ann", "eve"]);
    assert_eq!(room.delete_user("eve").code, Code::Success);
    assert_eq!(room.told(), ["eve deleted"]);
    let bye = room.client("eve").received.pop_front().expect("BYE");
    assert_eq!(bye.method, Method::Bye);
    assert!(bye.headers.get("Reason").is_some());
    room.say("ann", "she is gone");
    assert!(room.inbox("eve", &Method::Message).is_empty());
    let again = room.delete_user("eve");
    assert_eq!((again.code, again.results[0].reason.as_deref()), (Code::Failure, Some("userDoesntExist")));
}

#[test]
fn roles_and_lock_are_shown_and_change_nothing_else() {
    let mut room = Room::of(&["ann", "bob"]);
    room.command(Command::ModifyUserRoles { keys: user_keys("bob"), roles: vec![Role::Presenter] });
    let document = room.notifications.pop().expect("a notification");
    let users = document.users.expect("users").users;
    assert_eq!((users.len(), users[0].roles.as_slice()), (1, [Role::Presenter].as_slice()));

    room.command(Command::ModifyConferenceLock { keys: keys(), locked: true });
    let document = room.notifications.pop().expect("a notification");
    assert_eq!(document.view.expect("a view").entity_views[0].locked, Some(true));
    assert!(document.users.is_none());
    room.notifications.clear();
    room.command(Command::ModifyConferenceLock { keys: keys(), locked: true });
    assert!(room.notifications.is_empty(), "nothing changed");
    assert_eq!(room.say("bob", "still here").status, 202);
}

#[test]
fn everything_is_described() {
    let mut room = Room::of(&["ann", "bob"]);
    let response = room.command(Command::GetConference(keys())).expect("an answer");
    let ResultBody::Conference(info) = &response.results[0].body else { panic!("a conference") };
    assert_eq!(info.state, State::Full);
    assert_eq!(info.users.as_ref().map(|users| users.users.len()), Some(2));
}

#[test]
fn the_end() {
    let mut room = Room::of(&["ann", "bob"]);
    let response = room.command(Command::DeleteConference(keys())).expect("an answer");
    assert_eq!(response.code, Code::Success);
    assert!(room.ended);
    assert_eq!(room.inbox("ann", &Method::Bye).len(), 1);
    assert_eq!(room.inbox("bob", &Method::Bye).len(), 1);
}

#[test]
fn limits_hold() {
    let limits = McuLimits { participants: 1, endpoints_per_person: 2, ..McuLimits::default() };
    let mut room = Room::with_limits(limits);
    let mut check = |name: &str, endpoint: &str, expect: Code| {
        let response = room.command(add_user(name, endpoint, JoiningMethod::DialedIn)).expect("an answer");
        assert_eq!(response.code, expect, "{name} {endpoint}");
    };
    check("ann", "{1}", Code::Success);
    check("ann", "{2}", Code::Success);
    check("ann", "{3}", Code::Failure);
    check("ann", "{1}", Code::Success);
    check("bob", "{1}", Code::Failure);
}
