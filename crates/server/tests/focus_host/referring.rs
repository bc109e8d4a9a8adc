//! REFER: 202, and what became of it by NOTIFY.

use confab_conference::focus;
use confab_schema::{cccp, uri::McuType};
use confab_server::focus_host::{Action, Event};
use confab_sip::{Dialog, Method, Request, Response};

use crate::hall::{CONFERENCE, Hall, Leg, Sent, flow, header};

const BOB: &str = "<sip:bob@example.test>";

/// A meeting that Ann leads, with its chat server.
fn meeting() -> (Hall, Leg) {
    let mut hall = Hall::new();
    let ann = hall.joins(1, "ann");
    let control_url = "http://immcu.inproc/1".to_owned();
    hall.hear(Event::Focus(focus::Event::McuReady { media: McuType::Chat, control_url }));
    hall.settles();
    hall.forget();
    (hall, ann)
}

fn refer(hall: &mut Hall, who: &str, refer_to: &str) -> Request {
    hall.request(Method::Refer, who, who).with_header("Refer-To", refer_to)
}

/// The dialog that an accepted REFER began.
fn begun(who: &str, refer: &Request, answer: &Response) -> Leg {
    assert_eq!(answer.status, 202, "{answer:?}");
    let dialog = Dialog::from_response(refer, answer).unwrap();
    Leg { dialog, flow: flow(1), who: who.into(), answer: answer.clone() }
}

fn says(sent: &Sent) -> (String, String) {
    assert_eq!(sent.request.method, Method::Notify);
    assert_eq!(&*sent.request.headers.content_type().unwrap().kind, "message/sipfrag");
    let state = header(&sent.request, "Subscription-State");
    (state.split(';').next().unwrap().into(), String::from_utf8(sent.request.body.to_vec()).unwrap())
}

/// The chat server answers the last command that it was given.
fn server_answers(hall: &mut Hall, succeeds: bool) {
    let command = hall.done.iter().rev().find_map(|action| match action {
        Action::Focus(focus::Action::CommandMcu { request, .. }) => Some(request.clone()),
        _ => None,
    });
    let request = command.expect("it was commanded");
    let response = if succeeds {
        cccp::Response::new(&request, cccp::Code::Success, cccp::ResultBody::Empty)
    } else {
        cccp::Response::failed(&request, "otherFailure")
    };
    hall.hear(Event::Focus(focus::Event::McuAnswered { media: McuType::Chat, response }));
}

#[test]
fn the_outcome_comes_by_notify() {
    for (succeeds, last) in [(true, "SIP/2.0 200 OK\r\n"), (false, "SIP/2.0 480 Temporarily Unavailable\r\n")]
    {
        let (mut hall, _) = meeting();
        let request = refer(&mut hall, "ann", BOB);
        let answer = hall.asks(flow(1), "ann", request.clone());
        let leg = begun("ann", &request, &answer);
        assert_eq!(leg.dialog.target().to_string(), CONFERENCE);
        let trying = hall.one_sent_to(&leg);
        assert_eq!(header(&trying.request, "Event"), "refer");
        assert_eq!(says(&trying), ("active".into(), "SIP/2.0 100 Trying\r\n".into()));
        server_answers(&mut hall, succeeds);
        assert!(hall.sent_to(&leg).is_empty(), "one NOTIFY at a time");
        hall.answers(&trying, 200);
        let told = hall.one_sent_to(&leg);
        assert_eq!(says(&told), ("terminated".into(), last.into()));
        hall.answers(&told, 200);
        assert!(hall.sent_to(&leg).is_empty());
    }
}

#[test]
fn it_may_come_in_the_dialog_with_the_focus() {
    let (mut hall, mut ann) = meeting();
    for _ in 0..2 {
        let request = ann.dialog.request(Method::Refer).with_header("Refer-To", BOB);
        assert_eq!(hall.within(&mut ann, request.clone()).status, 202);
        let trying = hall.one_sent_to(&ann);
        let number = request.headers.cseq().unwrap().number;
        assert_eq!(header(&trying.request, "Event"), format!("refer;id={number}"));
        hall.answers(&trying, 200);
        server_answers(&mut hall, true);
        let told = hall.one_sent_to(&ann);
        assert_eq!(says(&told).1, "SIP/2.0 200 OK\r\n");
        hall.answers(&told, 200);
    }
}

#[test]
fn who_wants_no_notification_gets_none() {
    let (mut hall, mut ann) = meeting();
    let request = refer(&mut hall, "ann", BOB).with_header("Refer-Sub", "false");
    let answer = hall.asks(flow(1), "ann", request);
    assert_eq!((answer.status, answer.headers.get("Refer-Sub").unwrap().as_str()), (202, "false"));
    server_answers(&mut hall, true);
    let sent = |hall: &Hall| hall.done.iter().any(|action| matches!(action, Action::Send { .. }));
    assert!(!sent(&hall));
    // In a dialog that is not the Focus' own only this can be done.
    let mut foreign = refer(&mut hall, "ann", BOB);
    foreign.headers.set("To", format!("<{CONFERENCE}>;tag=mcu"));
    let refused = hall.asks(flow(1), "ann", foreign.clone());
    assert_eq!(refused.status, 403);
    assert!(refused.headers.get("Warning").unwrap().contains("Refer-Sub: false"));
    let silent = foreign.with_header("Refer-Sub", "false");
    assert_eq!(hall.asks(flow(1), "ann", silent).status, 202);
    let within =
        ann.dialog.request(Method::Refer).with_header("Refer-To", BOB).with_header("Refer-Sub", "false");
    assert_eq!(hall.within(&mut ann, within).status, 202);
    server_answers(&mut hall, true);
    assert!(!sent(&hall));
}

#[test]
fn a_bye_takes_somebody_out() {
    let (mut hall, _) = meeting();
    let bob = hall.joins(2, "bob");
    let request = refer(&mut hall, "ann", "<sip:bob@example.test;method=BYE>");
    let answer = hall.asks(flow(1), "ann", request.clone());
    let leg = begun("ann", &request, &answer);
    assert_eq!(hall.one_sent_to(&bob).request.method, Method::Bye);
    let trying = hall.one_sent_to(&leg);
    hall.answers(&trying, 200);
    server_answers(&mut hall, true);
    assert_eq!(says(&hall.one_sent_to(&leg)).1, "SIP/2.0 200 OK\r\n");
    let nobody = refer(&mut hall, "ann", "<sip:eve@example.test;method=BYE>");
    let answer = hall.asks(flow(1), "ann", nobody.clone());
    let leg = begun("ann", &nobody, &answer);
    let trying = hall.one_sent_to(&leg);
    hall.answers(&trying, 200);
    assert_eq!(says(&hall.one_sent_to(&leg)).1, "SIP/2.0 404 Not Found\r\n");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_sentence() {
    let (mut hall, _) = meeting();
    hall.joins(2, "bob");
    for (who, refer_to, status, words) in [
        ("ann", "", 400, "one Refer-To"),
        ("ann", "<sip:bob@example.test>, <sip:eve@example.test>", 400, "one Refer-To"),
        ("ann", "<tel:+4930555>", 416, "SIP address"),
        ("ann", "<sip:eve@example.test?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", 403, "Replaces"),
        ("ann", "<sip:eve@example.test;method=MESSAGE>", 403, "INVITE and BYE"),
        ("ann", "<sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68>", 403, "names no person"),
        ("ann", "<sip:example.test>", 403, "names no person"),
        ("bob", "<sip:eve@example.test>", 403, "leaders"),
        ("eve", "<sip:eve@example.test>", 403, "not in this conference"),
    ] {
        let mut request = refer(&mut hall, who, refer_to);
        if refer_to.is_empty() {
            request.headers.remove("Refer-To");
        }
        let answer = hall.asks(flow(3), who, request);
        assert_eq!(answer.status, status, "{refer_to}: {answer:?}");
        assert!(answer.headers.get("Warning").unwrap().contains(words), "{refer_to}: {answer:?}");
    }
    let mut nowhere = refer(&mut hall, "ann", BOB);
    nowhere.headers.remove("Contact");
    assert_eq!(hall.asks(flow(1), "ann", nowhere).status, 400);
}

#[test]
fn they_are_limited() {
    let (mut hall, _) = meeting();
    // Calls that ring: nothing comes of them yet.
    for number in 0..11 {
        let request = refer(&mut hall, "ann", BOB).with_header("Refer-Sub", "false");
        let answer = hall.asks(flow(1), "ann", request);
        assert_eq!(answer.status, if number < 10 { 202 } else { 503 }, "{number}: {answer:?}");
    }
    server_answers(&mut hall, true);
    let request = refer(&mut hall, "ann", BOB).with_header("Refer-Sub", "false");
    assert_eq!(hall.asks(flow(1), "ann", request).status, 202, "one is done");
}

#[test]
fn the_subscription_may_be_ended() {
    let (mut hall, _) = meeting();
    let request = refer(&mut hall, "ann", BOB);
    let answer = hall.asks(flow(1), "ann", request.clone());
    let mut leg = begun("ann", &request, &answer);
    let trying = hall.one_sent_to(&leg);
    hall.answers(&trying, 200);
    let renew =
        leg.dialog.request(Method::Subscribe).with_header("Event", "refer").with_header("Expires", "900");
    let renewed = hall.within(&mut leg, renew);
    assert_eq!((renewed.status, renewed.headers.expires()), (200, Some(300)));
    let of_eve =
        leg.dialog.request(Method::Subscribe).with_header("Event", "refer").with_header("Expires", "0");
    assert_eq!(hall.asks(flow(2), "eve", of_eve).status, 481);
    let end = leg.dialog.request(Method::Subscribe).with_header("Event", "refer").with_header("Expires", "0");
    assert_eq!(hall.within(&mut leg, end).status, 200);
    server_answers(&mut hall, true);
    assert!(hall.sent_to(&leg).is_empty());
}

#[test]
fn who_knows_nothing_of_it_is_told_nothing_more() {
    let (mut hall, _) = meeting();
    let request = refer(&mut hall, "ann", BOB);
    let answer = hall.asks(flow(1), "ann", request.clone());
    let leg = begun("ann", &request, &answer);
    let trying = hall.one_sent_to(&leg);
    hall.answers(&trying, 481);
    server_answers(&mut hall, true);
    assert!(hall.sent_to(&leg).is_empty());
}
