//! Step 8: what is said reaches the others, and its author learns whom it did not reach.

use confab_mcu::McuLimits;
use confab_sip::Method;

use crate::room::Room;

const BOTH: &str = "--b\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nhi\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<b>hi</b>\r\n--b--\r\n";
const TYPING: &str = "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>";

fn imdn(room: &mut Room, name: &str) -> String {
    let reports = room.inbox(name, &Method::Benotify);
    assert_eq!(reports.len(), 1, "one report");
    assert!(reports[0].starts_with("application/ms-imdn+xml: "));
    reports[0].clone()
}

#[test]
fn three_people_chat() {
    let mut room = Room::of(&["ann", "bob", "eve"]);
    let response = room.say("ann", "hi all");
    assert_eq!(response.status, 202);
    assert_eq!(response.headers.get("Message-Id").map(|id| &**id), Some("1"));

    let received = room.client("bob").received.front().cloned().expect("a message");
    assert_eq!(received.method, Method::Message);
    assert_eq!(received.headers.get("Ms-Sender").map(|sender| &**sender), Some("<sip:ann@example.test>"));
    assert_eq!(received.headers.get("Message-Id").map(|id| &**id), Some("1"));
    assert_eq!(received.headers.get("Content-Type").map(|kind| &**kind), Some("text/plain; charset=UTF-8"));
    assert_eq!(room.inbox("bob", &Method::Message), ["text/plain: hi all"]);
    assert_eq!(room.inbox("eve", &Method::Message), ["text/plain: hi all"]);
    let report = imdn(&mut room, "ann");
    assert!(report.contains("<message-id>1</message-id>") && !report.contains("<recipient"), "{report}");

    assert_eq!(room.say("bob", "hi ann").headers.get("Message-Id").map(|id| &**id), Some("2"));
    assert_eq!(room.inbox("ann", &Method::Message), ["text/plain: hi ann"]);
    assert_eq!(room.inbox("eve", &Method::Message), ["text/plain: hi ann"]);
    assert!(room.inbox("bob", &Method::Message).is_empty(), "no echo");
}

#[test]
fn the_report_lists_who_was_not_reached() {
    let mut room = Room::of(&["ann", "bob", "eve", "joe"]);
    room.client("bob").answer = Some(486);
    room.client("eve").answer = None;
    room.say("ann", "hi");
    assert!(room.inbox("ann", &Method::Benotify).is_empty(), "Eve has not answered yet");
    room.wait(61);
    let report = imdn(&mut room, "ann");
    assert!(report.contains("uri=\"&lt;sip:bob@example.test&gt;\""), "{report}");
    assert!(report.contains("<status>486</status>"), "{report}");
    assert!(report.contains("sip:eve@example.test") && report.contains("<status>408</status>"), "{report}");
    assert!(!report.contains("joe"), "{report}");
    assert_eq!(room.told(), ["eve deleted"], "who does not answer is out, who refuses is not");
}

#[test]
fn a_leg_that_is_gone_is_dropped() {
    let mut room = Room::of(&["ann", "bob"]);
    room.client("bob").answer = Some(481);
    room.say("ann", "hi");
    assert!(imdn(&mut room, "ann").contains("<status>481</status>"));
    assert_eq!(room.told(), ["bob deleted"]);
    room.say("ann", "anybody?");
    assert!(!imdn(&mut room, "ann").contains("<recipient"), "nobody was left to be reached");
}

#[test]
fn each_receiver_gets_the_form_he_takes() {
    let mut room = Room::of(&["ann"]);
    for (name, types) in [("bob", "text/plain"), ("eve", "text/plain text/html"), ("joe", "image/gif")] {
        room.expect(name);
        room.enter(name);
        room.client(name).accept_types = types;
        room.join(name);
    }
    room.send("ann", Method::Message, "multipart/alternative;boundary=b", BOTH);
    assert_eq!(room.inbox("bob", &Method::Message), ["text/plain: hi"]);
    assert_eq!(room.inbox("eve", &Method::Message), ["text/html: <b>hi</b>"]);
    assert!(room.inbox("joe", &Method::Message).is_empty());
    let report = imdn(&mut room, "ann");
    assert!(report.contains("sip:joe@example.test") && report.contains("<status>415</status>"), "{report}");
}

#[test]
fn typing_is_passed_on_without_a_report() {
    let mut room = Room::of(&["ann", "bob"]);
    assert_eq!(room.send("ann", Method::Info, "application/xml", TYPING).status, 200);
    let received = room.client("bob").received.front().cloned().expect("a notice");
    assert_eq!(received.headers.get("Ms-Sender").map(|sender| &**sender), Some("<sip:ann@example.test>"));
    assert_eq!(room.inbox("bob", &Method::Info), [format!("application/xml: {TYPING}")]);
    let composing = "application/im-iscomposing+xml";
    assert_eq!(room.send("ann", Method::Message, composing, "<isComposing/>").status, 200);
    assert_eq!(room.inbox("bob", &Method::Message), [format!("{composing}: <isComposing/>")]);
    assert!(room.inbox("ann", &Method::Benotify).is_empty());

    room.client("bob").answer = None;
    room.send("ann", Method::Info, "application/xml", TYPING);
    room.wait(61);
    assert!(room.told().is_empty(), "a client that leaves INFO unanswered stays in");
}

#[test]
fn what_cannot_be_passed_on_is_refused() {
    let limits = McuLimits { message_bytes: 100, ..McuLimits::default() };
    let mut room = Room::with_limits(limits);
    room.enter("ann");
    room.expect("ann");
    room.join("ann");
    let check = |room: &mut Room, method: Method, kind: &str, body: &str, expect: u16| {
        let response = room.send("ann", method, kind, body);
        assert_eq!(response.status, expect, "{kind}");
        response
    };
    let refused = check(&mut room, Method::Message, "text/x-msmsgsinvite", "x", 415);
    assert!(refused.headers.get("Accept").is_some_and(|types| types.contains("text/html")));
    check(&mut room, Method::Message, "text/plain", &"x".repeat(101), 413);
    check(&mut room, Method::Message, "multipart/alternative;boundary=b", "nothing", 400);
    check(&mut room, Method::Info, "application/xml", "<other/>", 415);
    check(&mut room, Method::Info, "application/cccp+xml", "<request/>", 415);
    check(&mut room, Method::Refer, "", "", 405);
    assert_eq!(room.send("ann", Method::Options, "", "").status, 200);
    assert!(room.inbox("ann", &Method::Benotify).is_empty());
}

#[test]
fn too_much_under_way_is_put_off() {
    let mut room = Room::with_limits(McuLimits { pending: 1, ..McuLimits::default() });
    for name in ["ann", "bob"] {
        room.expect(name);
        room.enter(name);
        room.join(name);
    }
    room.client("bob").answer = None;
    assert_eq!(room.say("ann", "one").status, 202);
    let refused = room.say("ann", "two");
    assert_eq!(refused.status, 500);
    assert!(refused.headers.get("Retry-After").is_some());
    assert_eq!(room.send("ann", Method::Info, "application/xml", TYPING).status, 200);
    assert!(room.inbox("bob", &Method::Info).is_empty());
}

#[test]
fn another_device_of_the_author_reads_along() {
    let mut room = Room::of(&["ann", "bob"]);
    room.enter("bob");
    // The Focus need not have announced a second INVITE; it is one more endpoint of Bob's.
    let phone = room.clients.len() - 1;
    room.clients[phone].name = "phone".to_owned();
    room.clients[phone].accept_types = "text/plain";
    let invite = {
        room.client("phone").cseq = 1;
        let sdp = "v=0\r\nm=message 5060 sip null\r\n";
        let mut request = room.build("phone", Method::Invite, "application/sdp", sdp);
        request.headers.set("From", "<sip:bob@example.test>;tag=phone");
        request.headers.set("To", format!("<{}>", crate::room::CHAT));
        request.headers.set("Call-ID", "phone");
        request.headers.push("P-Asserted-Identity", "\"Bob\" <sip:bob@example.test>, <tel:+14255550100>");
        request
    };
    let accepted = room.send_request("phone", invite.clone());
    assert_eq!(accepted.status, 200);
    let mut ack = invite;
    ack.method = Method::Ack;
    ack.headers.set("CSeq", "1 ACK");
    ack.headers.set("To", accepted.headers.get("To").unwrap().clone());
    room.tell(confab_mcu::Event::SipAck { request: ack });
    let told = room.told();
    assert!(told[0].starts_with("bob {bob} connected dialed-in {"), "{told:?}");
    assert!(told[0].ends_with("} connected dialed-in"), "{told:?}");

    room.say("bob", "from my desk");
    assert_eq!(room.inbox("phone", &Method::Message), ["text/plain: from my desk"]);
    room.client("phone").answer = Some(500);
    room.say("ann", "hi");
    assert!(!imdn(&mut room, "ann").contains("<recipient"), "his desk got it");
}

#[test]
fn the_trace_has_one_line_for_a_fan_out_and_no_text() {
    let mut room = Room::of(&["ann", "bob", "eve"]);
    room.trace.clear();
    room.say("ann", "secret words");
    assert_eq!(
        room.trace,
        [
            "MESSAGE sip:ann@example.test",
            "202 MESSAGE",
            "MESSAGE 1 of sip:ann@example.test to 2 others",
            "BENOTIFY imdn 1 to sip:ann@example.test, 0 not reached",
        ]
    );
}
