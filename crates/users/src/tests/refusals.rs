//! What is refused, and with which status.

use super::*;

/// Says it to users of whom ann (flow 1) is registered, and compares status and diagnostics.
fn check(start: &str, lines: &str, body: &str, status: u16, diagnostic: &str) {
    let mut it = Fixture::new();
    it.register("ann", 1);
    let response = it.say("ann", 1, start, lines, body);
    let id = header(&response.headers, "ms-diagnostics").split(';').next().unwrap().to_owned();
    assert_eq!((response.status, id.as_str()), (status, diagnostic), "{start} {lines} {body}");
    let sentence = header(&response.headers, "Warning");
    assert!(status == 200 || sentence.ends_with(".\""), "a sentence says why: {sentence}");
    assert_eq!(it.sent, []);
}

const CONTACT: &str = "Contact: <sip:ann@192.0.2.7>\n";

fn subscribe(to: &str, event: &str, lines: &str, body: &str, status: u16, diagnostic: &str) {
    let lines = format!("{CONTACT}Event: {event}\n{lines}");
    check(&format!("SUBSCRIBE sip:{to}"), &lines, body, status, diagnostic);
}

#[test]
fn subscriptions() {
    for event in [
        "vnd-microsoft-roaming-contacts",
        "vnd-microsoft-roaming-self",
        "vnd-microsoft-provisioning",
        "vnd-microsoft-provisioning-v2",
        "vnd-microsoft-roaming-ACL",
        "presence.wpending",
    ] {
        subscribe("bob@example.test", event, "", "", 403, "4004");
    }
    subscribe("ann@example.test", "weather", "", "", 489, "-");
    check("SUBSCRIBE sip:ann@example.test", CONTACT, "", 489, "-");
    subscribe("nobody@example.test", "presence", "", "", 404, "4005");
    subscribe("example.test", "presence", "", "", 404, "4005");
    subscribe("ann@example.test;gruu;opaque=srvr:MRAS:0", "presence", "", "", 404, "4005");
    subscribe("bob@example.test", "presence", "Accept: text/html\n", "", 406, "-");
    subscribe("bob@example.test", "presence", "Require: magic\n", "", 420, "-");
    subscribe("bob@example.test", "presence", "To: <sip:bob@example.test>;tag=gone\n", "", 481, "-");
    subscribe("ann@example.test", "presence", "From: <sip:bob@example.test>;tag=1\n", "", 403, "4004");
    subscribe("ann@example.test", "vnd-microsoft-roaming-self", "", "<roaming", 400, "4001");
    subscribe("ann@example.test", "vnd-microsoft-provisioning-v2", "", "<a/>", 400, "4001");
    let batch = "Content-Type: application/msrtc-adrl-categorylist+xml\n";
    let categories = "Accept: application/msrtc-event-categories+xml\n";
    subscribe("ann@example.test", "presence", &format!("{batch}{categories}"), "<a/>", 400, "4001");
    let empty = "<batchSub xmlns='http://schemas.microsoft.com/2006/01/sip/batch-subscribe'/>";
    subscribe("ann@example.test", "presence", batch, empty, 406, "-");
    subscribe("bob@example.test", "presence", &format!("{batch}{categories}"), empty, 403, "4004");
}

fn service(to: &str, content_type: &str, body: &str, status: u16, diagnostic: &str) {
    let lines = format!("Content-Type: {content_type}\n");
    check(&format!("SERVICE sip:{to}@example.test"), &lines, body, status, diagnostic);
}

#[test]
fn services() {
    let publish = "application/msrtc-category-publish+xml";
    let of = |user: &str| {
        format!(
            "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications \
             uri=\"{user}\"/></publish>"
        )
    };
    service("ann", publish, &of("sip:ann@example.test"), 200, "-");
    service("ann", publish, &of("sip:bob@example.test"), 403, "4004");
    service("ann", publish, &of("nobody"), 400, "-");
    service("bob", publish, &of("sip:bob@example.test"), 403, "4004");
    service("ann", publish, "<publish", 400, "4001");
    let bad_state = of("sip:ann@example.test").replace(
        "/></publish>",
        "><publication categoryName='state' container='2' expireType='static'><mood/></publication></publications>\
         </publish>",
    );
    service("ann", publish, &bad_state, 400, "4001");
    service("ann", "application/msrtc-setcontainermembers+xml", "<a/>", 400, "4001");
    service("ann", "application/msrtc-presence-setsubscriber+xml", "<a/>", 400, "4001");
    service("ann", "application/SOAP+xml", "<Envelope/>", 501, "-");
    service("ann", "application/msrtc-reporterror+xml", "<reportError/>", 200, "-");
    service("ann", "application/msrtc-media-relay-auth+xml", "<request/>", 415, "4013");
    check("SERVICE sip:ann@example.test", "", "", 415, "4013");
    check("SERVICE sip:ann@example.test;gruu;opaque=srvr:MRAS:0", "", "", 404, "4005");
    check("MESSAGE sip:ann@example.test", "", "", 405, "-");
}

#[test]
fn only_who_is_signed_in_publishes() {
    let mut it = Fixture::new();
    assert_eq!(it.publish("ann", 1, &first_publications()).status, 403);
    it.register("ann", 2);
    assert_eq!(it.publish("ann", 1, &first_publications()).status, 403, "another client of his");
    assert_eq!(it.publish("ann", 2, &first_publications()).status, 200);
}

#[test]
fn nobody_continues_the_subscription_of_another() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    let first = it.subscribe("ann", 1, "vnd-microsoft-roaming-self", "", "");
    let to = format!(
        "To: <sip:ann@example.test>;tag={}\nCall-ID: {}\n",
        first.headers.to().unwrap().tag().unwrap(),
        header(&first.headers, "Call-ID")
    );
    // The From tag is the one of ann's client, as the flow has the same number.
    assert_eq!(it.subscribe("bob", 1, "vnd-microsoft-roaming-self", &to, "").status, 403);
    assert_eq!(it.subscribe("ann", 1, "vnd-microsoft-roaming-contacts", &to, "").status, 489);
    it.cseq = 0;
    assert_eq!(it.subscribe("ann", 1, "vnd-microsoft-roaming-self", &to, "").status, 500);
    it.cseq = 90;
    assert_eq!(it.subscribe("ann", 1, "vnd-microsoft-roaming-self", &to, "").status, 200);
}

#[test]
fn subscriptions_of_a_user_are_limited() {
    let mut it = Fixture::new();
    let lines =
        |number: usize| format!("Event: presence\nContact: <sip:ann@192.0.2.9>\nCall-ID: watch-{number}\n");
    for number in 0..MAX_SUBSCRIPTIONS {
        let start = format!("SUBSCRIBE sip:user{number}@example.test");
        assert_eq!(it.say("ann", 1, &start, &lines(number), "").status, 200);
    }
    let refused = it.say("ann", 1, "SUBSCRIBE sip:bob@example.test", &lines(999), "");
    assert_eq!(refused.status, 403);
}

#[test]
fn people_named_in_a_request_are_found() {
    let request = |text: &str, body: &str| {
        let text = format!(
            "{text}\r\nVia: SIP/2.0/TCP a.test;branch=z9hG4bK1\r\nFrom: <sip:ann@example.test>;tag=1\r\n\
             To: <sip:ann@example.test>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\nEvent: presence\r\n\
             Content-Type: application/msrtc-adrl-categorylist+xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match Message::parse(Bytes::from(text)).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a request"),
        }
    };
    let one = request("SUBSCRIBE sip:Bob@example.test SIP/2.0", "");
    assert_eq!(Users::people_in(&one), [address("bob")]);
    let batch = r#"<batchSub xmlns="http://schemas.microsoft.com/2006/01/sip/batch-subscribe"><action name="subscribe"><adhocList><resource uri="sip:dan@example.test"/><resource uri="sip:bob@example.test"/><resource uri="sip:Dan@example.test"/><resource uri="tel:1"/></adhocList></action></batchSub>"#;
    let many = request("SUBSCRIBE sip:ann@example.test SIP/2.0", batch);
    assert_eq!(Users::people_in(&many), [address("bob"), address("dan")]);
}
