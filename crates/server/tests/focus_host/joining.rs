//! INVITE dialogs: how they begin, are kept alive and end.

use std::time::Duration;

use confab_conference::focus;
use confab_schema::{
    cccp::{self, Code, ResultBody},
    uri::{ConferenceUri, McuType},
};
use confab_server::focus_host::{Action, Event};
use confab_sip::{Method, Request};

use crate::hall::{CONFERENCE, Hall, Leg, flow, header, user};

/// Whether the leg's person is still in the Focus' dialog.
fn is_in(hall: &mut Hall, leg: &mut Leg) -> bool {
    let update = leg.dialog.request(Method::Update);
    hall.within(leg, update).status == 200
}

#[test]
fn an_invite_is_answered_with_the_person_added() {
    let mut hall = Hall::new();
    let ann = hall.joins(1, "ann");
    let headers = &ann.answer.headers;
    assert!(headers.to().unwrap().tag().is_some());
    let contact = &headers.contacts().unwrap()[0];
    assert_eq!(contact.uri.to_string(), CONFERENCE);
    assert!(contact.params.has("isfocus"));
    assert_eq!(headers.get("Allow-Events").unwrap().as_str(), "conference");
    assert_eq!(&*headers.content_type().unwrap().kind, "application/cccp+xml");
    let body = cccp::Response::parse(&ann.answer.body).unwrap();
    assert_eq!(body.code, Code::Success);
    let ResultBody::AddUser { user: added, .. } = &body.results[0].body else { panic!("{body:?}") };
    assert_eq!(added.entity, "sip:ann@example.test");
    assert_eq!(hall.counted(), Some(1));
    let asked =
        |action: &Action| matches!(action, Action::Focus(focus::Action::RequestMcu { media: McuType::Chat }));
    assert!(hall.done.iter().any(asked), "the first to join has the media provisioned");
}

#[test]
fn what_is_no_join_is_refused() {
    type Change = fn(&mut Request);
    let changes: [(Change, u16); 5] = [
        (|r| r.headers.set("Content-Type", "application/sdp"), 400),
        (|r| r.headers.remove("Content-Type"), 415),
        (|r| r.set_body("application/cccp+xml", "<request".into()), 400),
        (|r| r.headers.push("Session-Expires", "10"), 422),
        (|r| r.headers.remove("Contact"), 400),
    ];
    let mut hall = Hall::new();
    for (number, (change, status)) in changes.into_iter().enumerate() {
        let mut invite = hall.invite("ann", "ann");
        change(&mut invite);
        assert_eq!(hall.asks(flow(1), "ann", invite).status, status, "change {number}");
        assert_eq!(hall.counted(), None);
    }
    for (method, status) in [
        (Method::Info, 481),
        (Method::Bye, 481),
        (Method::Options, 200),
        (Method::Message, 405),
        (Method::Refer, 400),
    ] {
        let request = hall.request(method.clone(), "ann", "ann");
        assert_eq!(hall.asks(flow(1), "ann", request).status, status, "{method}");
    }
}

#[test]
fn whoever_hangs_up_is_out() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    assert_eq!(hall.counted(), Some(2));
    let bye = bob.dialog.request(Method::Bye);
    assert_eq!(hall.within(&mut bob, bye.clone()).status, 200);
    assert_eq!(hall.counted(), Some(1));
    assert_eq!(hall.within(&mut bob, bye).status, 481);
    assert!(is_in(&mut hall, &mut ann));
}

#[test]
fn lost_connections_and_missing_acknowledgements_end_the_dialog() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    hall.counted();
    hall.hear(Event::FlowClosed { flow: flow(2) });
    assert_eq!(hall.counted(), Some(1));
    assert!(!is_in(&mut hall, &mut bob));
    assert!(is_in(&mut hall, &mut ann));

    let invite = hall.invite("pat", "pat");
    let key = hall.receives(flow(3), "pat", invite);
    assert_eq!(hall.answer_to(&key).unwrap().status, 200);
    assert_eq!(hall.counted(), Some(2));
    hall.hear(Event::NotAcknowledged { key: key.clone() });
    assert_eq!(hall.counted(), Some(1));
    hall.hear(Event::NotAcknowledged { key });
    assert_eq!(hall.counted(), None);
}

#[test]
fn an_endpoint_that_joins_again_replaces_itself() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let mut old = hall.joins(2, "bob");
    hall.counted();
    let mut new = hall.joins(3, "bob");
    let bye = hall.one_sent_to(&old);
    assert_eq!((bye.request.method.clone(), bye.flow), (Method::Bye, flow(2)));
    assert!(header(&bye.request, "Reason").contains("joined the conference again"));
    assert!(hall.counted().is_none_or(|count| count == 2));
    assert!(!is_in(&mut hall, &mut old));
    assert!(is_in(&mut hall, &mut new));
    hall.answers(&bye, 481);
    assert!(is_in(&mut hall, &mut new), "what his old end says is nothing to the new one");

    let second = hall.invite("bob", "phone");
    let mut second = hall.joins_with(4, "bob", second);
    assert!(is_in(&mut hall, &mut new) && is_in(&mut hall, &mut second), "another endpoint replaces nothing");
    hall.hear(Event::FlowClosed { flow: flow(3) });
    assert!(is_in(&mut hall, &mut second));
}

#[test]
fn nobody_acts_in_the_dialog_of_another() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    hall.joins(2, "bob");
    let bye = ann.dialog.request(Method::Bye);
    assert_eq!(hall.asks(flow(2), "bob", bye).status, 481);
    assert!(is_in(&mut hall, &mut ann));
}

/// A join whose client asks for this session timer.
fn with_timer(hall: &mut Hall, timer: &str) -> Leg {
    let invite =
        hall.invite("ann", "ann").with_header("Supported", "timer").with_header("Session-Expires", timer);
    hall.joins_with(1, "ann", invite)
}

#[test]
fn sessions_are_refreshed_when_that_is_ours_to_do() {
    let mut hall = Hall::new();
    let ann = with_timer(&mut hall, "1800;refresher=uas");
    hall.forget();
    for _ in 0..3 {
        hall.waits(Duration::from_secs(899));
        assert!(hall.sent_to(&ann).is_empty());
        hall.waits(Duration::from_secs(2));
        let update = hall.one_sent_to(&ann);
        assert_eq!(update.request.method, Method::Update);
        assert!(header(&update.request, "Session-Expires").starts_with("1800"));
        hall.answers(&update, 200);
    }
    hall.waits(Duration::from_secs(901));
    let update = hall.one_sent_to(&ann);
    hall.answers(&update, 500);
    assert_eq!(hall.counted(), None, "another answer leaves it to the timer");
    hall.waits(Duration::from_secs(1000));
    assert_eq!(hall.one_sent_to(&ann).request.method, Method::Bye);
    assert_eq!(hall.counted(), Some(0));
}

#[test]
fn a_refresh_that_says_the_session_is_gone_ends_it() {
    for status in [481, 408] {
        let mut hall = Hall::new();
        let mut ann = with_timer(&mut hall, "1800;refresher=uas");
        hall.waits(Duration::from_secs(901));
        let update = hall.one_sent_to(&ann);
        hall.counted();
        if status == 408 {
            hall.is_silent(&update)
        } else {
            hall.answers(&update, status)
        }
        assert_eq!(hall.counted(), Some(0), "{status}");
        assert!(!is_in(&mut hall, &mut ann));
    }
}

#[test]
fn sessions_that_nobody_keeps_alive_expire() {
    let mut hall = Hall::new();
    let mut ann = with_timer(&mut hall, "1800;refresher=uac");
    hall.waits(Duration::from_secs(1700));
    let update = ann.dialog.request(Method::Update).with_header("Supported", "timer");
    let kept = hall.within(&mut ann, update.with_header("Session-Expires", "1800;refresher=uac"));
    assert_eq!(kept.status, 200);
    hall.forget();
    hall.waits(Duration::from_secs(1760));
    assert!(hall.sent_to(&ann).is_empty());
    hall.waits(Duration::from_secs(30));
    assert_eq!(hall.one_sent_to(&ann).request.method, Method::Bye);
    assert_eq!(hall.counted(), Some(0));
    assert!(!is_in(&mut hall, &mut ann));

    let mut hall = Hall::new();
    let mut bob = hall.joins(1, "bob");
    hall.forget();
    hall.waits(Duration::from_secs(23 * 3600));
    assert!(is_in(&mut hall, &mut bob), "who cannot do timers has none");
}

#[test]
fn invites_to_an_mcu_get_the_word_of_the_focus() {
    let mut hall = Hall::new();
    let ann = hall.invite("ann", "ann");
    let key = hall.receives(flow(1), "ann", ann);
    let mcu = ConferenceUri::parse(CONFERENCE).unwrap().mcu(McuType::Chat);
    hall.forget();
    hall.hear(Event::McuInvite { key: key.clone(), user: user("eve"), mcu });
    let [Action::RefuseInvite { key: of, .. }] = &hall.done[..] else { panic!("{:?}", hall.done) };
    assert_eq!(*of, key);
}
