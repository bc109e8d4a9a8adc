//! Step 8: the chat.

use std::time::Duration;

use confab_client::{Command, Observation, TextFormat, Undertaking};
use confab_sip::Method;

use crate::desk::*;

fn say(text: &str) -> Command {
    Command::Say { text: text.to_owned() }
}

const BOB: (&str, &str) = ("Ms-Sender", "<sip:bob@example.test>");

#[test]
fn messages_go_out_and_are_reported() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    desk.said();
    desk.wants(say("hello all"));
    let message = desk.request(&Method::Message);
    assert_eq!(message.headers.get("Call-ID"), joined.chat.headers.get("Call-ID"));
    assert_eq!(&message.body[..], b"hello all");
    desk.reply(&message, 202, &[("Message-Id", "2")], "");
    let accepted = Observation::MessageAccepted { message_id: Some(2), text: "hello all".into() };
    assert_eq!(desk.said(), [accepted]);

    let report = |inside: &str| {
        format!(
            r#"<imdn xmlns="http://schemas.microsoft.com/rtc/2005/08/imdn"><message-id>2</message-id>{inside}</imdn>"#
        )
    };
    let kind = [("Content-Type", "application/ms-imdn+xml")];
    desk.tell(&joined.chat, "BENOTIFY", 5, &kind, &report(""));
    assert_eq!(desk.said(), [Observation::MessageDelivered { message_id: 2 }]);
    let missed = r#"<recipient uri="&lt;sip:bob@example.test&gt;"><status>408</status></recipient>"#;
    desk.tell(&joined.chat, "BENOTIFY", 6, &kind, &report(missed));
    let said = desk.said();
    let [Observation::MessageUndelivered { message_id, recipients }] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!((*message_id, recipients[0].1), (2, Some(408)));
    assert!(recipients[0].0.contains("sip:bob@example.test"));
    desk.nothing_sent();
}

#[test]
fn messages_come_in() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    desk.said();
    let check = |desk: &mut Desk, cseq, kind, body: &str, status, expect: Option<(TextFormat, &str)>| {
        desk.tell(&joined.chat, "MESSAGE", cseq, &[("Content-Type", kind), BOB, ("Message-Id", "7")], body);
        desk.response(status);
        let expect = expect.map(|(format, text)| Observation::MessageReceived {
            from: Some(user("bob")),
            text: text.to_owned(),
            format,
            message_id: Some(7),
        });
        assert_eq!(desk.said(), expect.into_iter().collect::<Vec<_>>());
    };
    check(
        &mut desk,
        1,
        "text/plain; charset=UTF-8;msgr=WAA",
        "héllo",
        200,
        Some((TextFormat::Plain, "héllo")),
    );
    check(&mut desk, 2, "text/html", "<b>x</b>", 200, Some((TextFormat::Html, "<b>x</b>")));
    check(&mut desk, 3, "image/gif", "GIF89a", 415, None);
    let parts = "--b\r\nContent-Type: text/html\r\n\r\n<i>y</i>\r\n--b\r\nContent-Type: text/plain\r\n\r\ny\r\n--b--\r\n";
    check(&mut desk, 4, "multipart/alternative;boundary=b", parts, 200, Some((TextFormat::Plain, "y")));
    // An older CSeq than the last one is an error.
    check(&mut desk, 3, "text/plain", "late", 500, None);
}

#[test]
fn typing_is_shown_both_ways() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    desk.said();
    desk.wants(Command::Typing { active: true });
    let info = desk.request(&Method::Info);
    let body = String::from_utf8_lossy(&info.body).into_owned();
    assert!(body.contains("KeyboardActivity") && body.contains("\"type\""), "{body}");
    let composing =
        r#"<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>"#;
    for (cseq, method, kind, body, active) in [
        (1, "INFO", "application/xml", body.as_str(), true),
        (
            2,
            "INFO",
            "application/xml",
            r#"<KeyboardActivity><status status="idle"/></KeyboardActivity>"#,
            false,
        ),
        (3, "MESSAGE", "application/im-iscomposing+xml", composing, true),
    ] {
        desk.tell(&joined.chat, method, cseq, &[("Content-Type", kind), BOB], body);
        desk.response(200);
        assert_eq!(desk.said(), [Observation::Typing { from: Some(user("bob")), active }]);
    }
}

#[test]
fn what_is_said_early_waits_for_the_chat() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    desk.wants(say("first"));
    desk.wants(say("second"));
    let focus = desk.request(&Method::Invite);
    desk.admit(&focus, "attendee");
    let subscribe = desk.request(&Method::Subscribe);
    desk.reply(&subscribe, 200, &[DOCUMENT, ("Contact", "<sip:f@192.0.2.9>")], &first_document(1, ""));
    let chat = desk.request(&Method::Invite);
    desk.reply(&chat, 200, &[SDP, ("Contact", "<sip:c@192.0.2.9>")], "v=0\r\n");
    desk.request(&Method::Ack);
    for text in ["first", "second"] {
        assert_eq!(desk.request(&Method::Message).body, text);
    }
}

#[test]
fn a_chat_that_is_not_up_yet_is_tried_again() {
    let mut desk = Desk::of("vivian");
    desk.wants(Command::Join { conference: conference() });
    let focus = desk.request(&Method::Invite);
    desk.admit(&focus, "attendee");
    let subscribe = desk.request(&Method::Subscribe);
    desk.reply(&subscribe, 200, &[DOCUMENT, ("Contact", "<sip:f@192.0.2.9>")], &first_document(1, ""));
    desk.said();
    desk.wants(say("patience"));
    for _ in 0..5 {
        let chat = desk.request(&Method::Invite);
        desk.reply(&chat, 480, &[], "");
        desk.request(&Method::Ack);
        desk.nothing_sent();
        desk.wait(Duration::from_secs(2));
    }
    let chat = desk.request(&Method::Invite);
    assert_eq!(desk.said(), []);
    desk.reply(&chat, 480, &[], "");
    desk.request(&Method::Ack);
    let said = desk.said();
    assert!(
        matches!(
            said.as_slice(),
            [
                Observation::Refused { what: Undertaking::Say, .. },
                Observation::Refused { what: Undertaking::Chat, .. }
            ]
        ),
        "{said:?}"
    );
    // Its view appears: it is up now.
    let view = format!(
        r#"<msci:conference-view ci:state="partial" xmlns:ci="urn:ietf:params:xml:ns:conference-info"><msci:entity-view ci:state="full" entity="{CHAT}"/></msci:conference-view>"#
    );
    let headers = [DOCUMENT, ("Event", "conference"), ("Subscription-State", "active;expires=3600")];
    desk.tell(&subscribe, "BENOTIFY", 2, &headers, &info("partial", 2, &view));
    desk.request(&Method::Invite);
}

#[test]
fn the_server_can_close_the_chat() {
    let mut desk = Desk::of("vivian");
    let joined = desk.join("attendee");
    desk.said();
    desk.tell(&joined.chat, "BYE", 1, &[], "");
    desk.response(200);
    assert_eq!(desk.said(), [Observation::ChatClosed]);
    desk.wants(say("anybody?"));
    let said = desk.said();
    assert!(matches!(said.as_slice(), [Observation::Refused { what: Undertaking::Say, .. }]), "{said:?}");
    assert!(desk.client.conference().is_some());
}
