//! Invitations both ways, and requests nobody asked for.

use bytes::Bytes;
use confab_client::{Command, Event, InvitationAnswer, Observation};
use confab_sip::{Message, Method};

use crate::desk::*;

/// A request from bob outside of any dialog.
fn from_bob(desk: &mut Desk, method: &str, headers: &str, body: &str) {
    let text = format!(
        "{method} sip:vivian@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-{method}\r\n\
         From: <sip:bob@example.test>;tag=b;epid=99\r\nTo: <sip:vivian@example.test>\r\nCall-ID: bob-{method}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:bob@192.0.2.8>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let message = Message::parse(Bytes::from(text)).unwrap();
    desk.event(Event::Received { flow: FLOW, message });
}

fn invitation() -> String {
    format!(
        r#"<Conferencing version="2.0"><focus-uri>{FOCUS}</focus-uri><subject>Plans</subject><im available="true"><first-im/></im></Conferencing>"#
    )
}

const INVITATION: &str = "Content-Type: application/ms-conf-invite+xml\r\n";

#[test]
fn asks_somebody_in() {
    for (status, expect) in [
        (200, Some(InvitationAnswer::Accepted)),
        (603, Some(InvitationAnswer::Declined)),
        (415, Some(InvitationAnswer::NotSupported)),
        (486, None),
    ] {
        let mut desk = Desk::of("vivian");
        desk.join("presenter");
        desk.said();
        desk.wants(Command::Invite { user: user("bob") });
        let invite = desk.request(&Method::Invite);
        assert_eq!(invite.uri.to_string(), "sip:bob@example.test");
        let body = String::from_utf8_lossy(&invite.body).into_owned();
        assert!(body.contains(FOCUS) && body.contains("<subject>Plans</subject>"), "{body}");
        desk.reply(&invite, 180, &[], "");
        desk.reply(&invite, status, &[("Contact", "<sip:bob@192.0.2.8>")], "");
        desk.request(&Method::Ack);
        if status == 200 {
            desk.request(&Method::Bye);
        }
        desk.nothing_sent();
        let said = desk.said();
        let [Observation::InvitationAnswered { user: bob, answer }] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(*bob, user("bob"));
        match expect {
            Some(expect) => assert_eq!(*answer, expect),
            None => assert!(matches!(answer, InvitationAnswer::Failed(refusal) if refusal.status == 486)),
        }
    }
}

#[test]
fn is_asked_in_and_answers() {
    for (accept, status) in [(true, 200), (false, 603)] {
        let mut desk = Desk::of("vivian");
        from_bob(&mut desk, "INVITE", INVITATION, &invitation());
        let ringing = desk.response(180);
        let invited = Observation::Invited {
            id: 1,
            from: user("bob"),
            conference: conference(),
            subject: "Plans".to_owned(),
        };
        assert_eq!(desk.said(), [invited]);
        desk.wants(Command::AnswerInvitation { id: 1, accept });
        let answer = desk.response(status);
        assert_eq!(answer.headers.get("To"), ringing.headers.get("To"));
        let tag = answer.headers.to().unwrap().tag().unwrap().to_owned();
        if accept {
            let bye = format!(
                "BYE sip:vivian@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-bye\r\n\
                 From: <sip:bob@example.test>;tag=b\r\nTo: <sip:vivian@example.test>;tag={tag}\r\n\
                 Call-ID: bob-INVITE\r\nCSeq: 2 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            );
            let message = Message::parse(Bytes::from(bye)).unwrap();
            desk.event(Event::Received { flow: FLOW, message });
            desk.response(200);
        }
    }
}

#[test]
fn an_invitation_can_be_withdrawn() {
    let mut desk = Desk::of("vivian");
    from_bob(&mut desk, "INVITE", INVITATION, &invitation());
    desk.response(180);
    desk.said();
    let cancel = "CANCEL sip:vivian@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK-INVITE\r\n\
                  From: <sip:bob@example.test>;tag=b;epid=99\r\nTo: <sip:vivian@example.test>\r\n\
                  Call-ID: bob-INVITE\r\nCSeq: 1 CANCEL\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    let message = Message::parse(Bytes::from(cancel)).unwrap();
    desk.event(Event::Received { flow: FLOW, message });
    desk.response(200);
    desk.response(487);
    assert_eq!(desk.said(), [Observation::InvitationWithdrawn { id: 1 }]);
    desk.wants(Command::AnswerInvitation { id: 1, accept: true });
    desk.nothing_sent();
}

#[test]
fn what_nobody_asked_for_has_its_answer() {
    for (method, headers, body, status) in [
        ("INVITE", "Content-Type: application/sdp\r\n", "v=0\r\n", 415),
        ("INVITE", INVITATION, "<Conferencing/>", 400),
        ("OPTIONS", "", "", 200),
        ("MESSAGE", "Content-Type: text/plain\r\n", "psst", 481),
        ("INFO", "", "", 481),
        ("BYE", "", "", 481),
        ("UPDATE", "", "", 481),
        ("NOTIFY", "Event: conference\r\n", "", 481),
        ("SUBSCRIBE", "Event: presence\r\n", "", 489),
        ("REFER", "", "", 405),
        ("SERVICE", "", "", 405),
        ("NONSENSE", "", "", 405),
    ] {
        let mut desk = Desk::of("vivian");
        from_bob(&mut desk, method, headers, body);
        let response = desk.response(status);
        assert_eq!(
            response.headers.get("Allow").is_some(),
            matches!(method, "OPTIONS") || status == 405,
            "{method}"
        );
        assert_eq!(desk.said(), []);
    }
    // BENOTIFY is never answered.
    let mut desk = Desk::of("vivian");
    from_bob(&mut desk, "BENOTIFY", "Event: conference\r\n", "");
    desk.nothing_sent();
}
