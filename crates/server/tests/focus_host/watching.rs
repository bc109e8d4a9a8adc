//! SUBSCRIBE dialogs, in the dialect of OCS and plain.

use std::time::Duration;

use confab_schema::conference_info::{ConferenceInfo, State};
use confab_server::focus_host::Event;
use confab_sip::Method;

use crate::hall::{Hall, Leg, Sent, flow, header};

const OCS: &str = "ms-benotify, ms-piggyback-first-notify, com.microsoft.autoextend";

fn document(sent: &Sent) -> ConferenceInfo {
    ConferenceInfo::parse(&sent.request.body).unwrap()
}

fn people(document: &ConferenceInfo) -> Vec<String> {
    let mut people: Vec<String> =
        document.users.iter().flat_map(|users| &users.users).map(|user| user.entity.clone()).collect();
    people.sort();
    people
}

#[test]
fn the_dialect_of_ocs() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", OCS);
    let headers = &watcher.answer.headers;
    assert!(headers.get("ms-piggyback-cseq").is_some());
    assert_eq!(headers.get("Subscription-State").unwrap().split(';').next(), Some("active"));
    let first = ConferenceInfo::parse(&watcher.answer.body).unwrap();
    assert_eq!((first.state, people(&first)), (State::Full, vec!["sip:ann@example.test".to_owned()]));
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty(), "the first document was in the 200");

    for who in ["bob", "pat", "cid"] {
        hall.joins(2, who);
        hall.settles();
    }
    let told = hall.sent_to(&watcher);
    assert_eq!(told.len(), 3, "a BENOTIFY waits for no answer");
    for (n, sent) in told.iter().enumerate() {
        assert_eq!(sent.request.method, Method::Benotify);
        assert_eq!(document(sent).version, first.version + 1 + u32::try_from(n).unwrap());
    }
}

#[test]
fn autoextend_keeps_it_and_otherwise_it_expires() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let extended = hall.subscribes(1, "ann", OCS);
    hall.joins(2, "bob");
    let plain = hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    hall.settles();
    hall.forget();
    hall.waits(Duration::from_secs(3000));
    hall.joins(3, "pat");
    hall.settles();
    assert_eq!((hall.sent_to(&extended).len(), hall.sent_to(&plain).len()), (1, 1));
    hall.waits(Duration::from_secs(700));
    let last = hall.one_sent_to(&plain);
    assert_eq!(header(&last.request, "Subscription-State"), "terminated;reason=timeout");
    let bye = ann.dialog.request(Method::Bye);
    hall.within(&mut ann, bye);
    hall.joins(4, "cid");
    hall.settles();
    assert!(hall.sent_to(&plain).is_empty());
}

#[test]
fn plain_notify_one_at_a_time_and_then_all_there_is() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", "");
    assert!(watcher.answer.body.is_empty());
    let first = hall.one_sent_to(&watcher);
    assert_eq!(first.request.method, Method::Notify);
    assert_eq!(document(&first).state, State::Full);
    assert!(header(&first.request, "Subscription-State").starts_with("active;expires="));

    // He is slow, and much happens meanwhile. The hall itself watches that no second NOTIFY leaves.
    for who in ["bob", "pat", "cid"] {
        hall.joins(2, who);
        hall.settles();
    }
    assert!(hall.sent_to(&watcher).is_empty());
    hall.answers(&first, 200);
    hall.settles();
    let second = hall.one_sent_to(&watcher);
    let whole = document(&second);
    assert_eq!(whole.state, State::Full, "one whole document instead of what he has missed");
    assert_eq!(people(&whole).len(), 4);

    hall.answers(&second, 200);
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty(), "he knows everything");
    hall.joins(5, "dan");
    hall.settles();
    let third = document(&hall.one_sent_to(&watcher));
    assert_eq!(
        (third.state, third.version),
        (State::Partial, whole.version + 1),
        "and is told changes again"
    );
}

#[test]
fn some_answers_to_a_notify_say_that_nobody_listens() {
    for (answer, stays) in
        [(Some(200), true), (Some(500), true), (Some(481), false), (Some(489), false), (None, false)]
    {
        let mut hall = Hall::new();
        hall.joins(1, "ann");
        let watcher = hall.subscribes(1, "ann", "");
        let first = hall.one_sent_to(&watcher);
        match answer {
            None => hall.is_silent(&first),
            Some(status) => hall.answers(&first, status),
        }
        hall.joins(2, "bob");
        hall.settles();
        assert_eq!(hall.sent_to(&watcher).len(), usize::from(stays), "{answer:?}");
    }
}

/// Ann's SUBSCRIBE within her dialog.
fn resubscribes(hall: &mut Hall, watcher: &mut Leg, expires: &str) -> confab_sip::Response {
    let request = watcher.dialog.request(Method::Subscribe);
    let request = request.with_header("Event", "conference").with_header("Expires", expires);
    hall.within(watcher, request)
}

#[test]
fn a_refresh_is_told_everything_when_he_can_take_it() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let mut watcher = hall.subscribes(1, "ann", "");
    let first = hall.one_sent_to(&watcher);
    assert_eq!(resubscribes(&mut hall, &mut watcher, "600").headers.expires(), Some(600));
    assert!(hall.sent_to(&watcher).is_empty(), "the first NOTIFY is still unanswered");
    hall.answers(&first, 200);
    hall.settles();
    let second = hall.one_sent_to(&watcher);
    assert_eq!(document(&second).state, State::Full);
    hall.answers(&second, 200);
    assert_eq!(resubscribes(&mut hall, &mut watcher, "600").status, 200);
    assert_eq!(document(&hall.one_sent_to(&watcher)).state, State::Full, "at once when none is");
}

#[test]
fn an_end_waits_for_the_answer_too() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let mut watcher = hall.subscribes(1, "ann", "");
    let first = hall.one_sent_to(&watcher);
    assert_eq!(resubscribes(&mut hall, &mut watcher, "0").status, 200);
    assert!(hall.sent_to(&watcher).is_empty());
    assert_eq!(resubscribes(&mut hall, &mut watcher, "600").status, 481);
    hall.answers(&first, 200);
    let last = hall.one_sent_to(&watcher);
    assert!(header(&last.request, "Subscription-State").starts_with("terminated"));
    hall.joins(2, "bob");
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty());
}

#[test]
fn one_that_runs_out_unanswered_gets_its_last_word() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", "");
    let first = hall.one_sent_to(&watcher);
    hall.waits(Duration::from_secs(3601));
    assert!(hall.sent_to(&watcher).is_empty());
    hall.answers(&first, 200);
    let last = hall.one_sent_to(&watcher);
    assert_eq!(header(&last.request, "Subscription-State"), "terminated;reason=timeout");
}

#[test]
fn whose_subscription_was_ended_meanwhile_cannot_renew_it() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    let mut watcher = hall.subscribes(2, "bob", "");
    let first = hall.one_sent_to(&watcher);
    let bye = bob.dialog.request(Method::Bye);
    assert_eq!(hall.within(&mut bob, bye).status, 200);
    hall.settles();
    let renewed = resubscribes(&mut hall, &mut watcher, "600");
    assert!(renewed.status >= 400, "{renewed:?}");
    hall.answers(&first, 200);
    assert!(hall.sent_to(&watcher).len() <= 1);
}

#[test]
fn pidgin_sipe_leaves_by_a_subscribe_outside_the_dialog() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let other = hall.subscribes(1, "ann", OCS);
    hall.joins(2, "bob");
    let watcher = hall.subscribes(2, "bob", OCS);
    hall.settles();
    hall.forget();
    let leaving = hall.subscribe("bob", OCS).with_header("Expires", "0");
    let answer = hall.asks(flow(2), "bob", leaving);
    assert_eq!((answer.status, answer.headers.expires()), (200, Some(0)));
    hall.joins(3, "pat");
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty());
    assert_eq!(hall.sent_to(&other).len(), 1, "nobody else's is touched");
}

#[test]
fn an_endpoint_that_subscribes_anew_is_told_once() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let old = hall.subscribes(1, "ann", OCS);
    let new = hall.subscribes(1, "ann", OCS);
    hall.joins(2, "bob");
    hall.settles();
    assert_eq!((hall.sent_to(&old).len(), hall.sent_to(&new).len()), (0, 1));
}

#[test]
fn whose_connection_is_gone_watches_no_more() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let watcher = hall.subscribes(1, "ann", OCS);
    hall.joins(2, "bob");
    hall.settles();
    hall.forget();
    hall.hear(Event::FlowClosed { flow: flow(1) });
    hall.joins(3, "pat");
    hall.settles();
    assert!(hall.sent_to(&watcher).is_empty());
}

#[test]
fn what_is_no_subscription_is_refused() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    let mut wrong = hall.subscribe("ann", OCS);
    wrong.headers.set("Event", "presence");
    let refused = hall.asks(flow(1), "ann", wrong);
    assert_eq!((refused.status, refused.headers.get("Allow-Events").unwrap().as_str()), (489, "conference"));
    let mut wrong = hall.subscribe("ann", OCS);
    wrong.headers.set("Accept", "application/pidf+xml");
    assert_eq!(hall.asks(flow(1), "ann", wrong).status, 406);
    let stranger = hall.subscribe("eve", OCS);
    let refused = hall.asks(flow(2), "eve", stranger);
    assert_eq!(refused.status / 100, 4);
    assert!(refused.headers.get("Warning").is_some());
    let mut dialog = hall.subscribes(1, "ann", OCS);
    dialog.dialog = {
        let mut answer = dialog.answer.clone();
        answer.headers.set("To", "<sip:ann@example.test>;tag=unknown");
        let subscribe = hall.subscribe("ann", OCS);
        confab_sip::Dialog::from_response(&subscribe, &answer).unwrap()
    };
    assert_eq!(resubscribes(&mut hall, &mut dialog, "600").status, 481);
}
