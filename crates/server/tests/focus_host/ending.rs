//! The end of a meeting, with subscribers who have not answered and people who come meanwhile.

use std::time::Duration;

use confab_conference::focus;
use confab_server::focus_host::{Action, Event};
use confab_sip::Method;

use crate::hall::{Hall, flow, header};

fn ends(hall: &mut Hall) {
    hall.hear(Event::Focus(focus::Event::EndRequested));
}

#[test]
fn everybody_is_told_and_then_it_is_over() {
    let mut hall = Hall::new();
    let ann = hall.joins(1, "ann");
    let bob = hall.joins(2, "bob");
    let watcher = hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    hall.settles();
    hall.forget();
    ends(&mut hall);
    hall.settles();
    for leg in [&ann, &bob] {
        let bye = hall.one_sent_to(leg);
        assert_eq!(bye.request.method, Method::Bye);
        assert!(header(&bye.request, "Reason").contains("ended"));
    }
    let told = hall.sent_to(&watcher);
    let last = told.last().expect("the watcher is told");
    assert_eq!(header(&last.request, "Subscription-State"), "terminated;reason=noresource");
    let over = hall.done.iter().position(|action| matches!(action, Action::Focus(focus::Action::End)));
    assert_eq!(over, Some(hall.done.len() - 1), "the end is the last");
}

#[test]
fn last_words_wait_for_the_answer_and_newcomers_for_the_next_meeting() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", "");
    let first = hall.one_sent_to(&watcher);
    ends(&mut hall);
    assert!(hall.sent_to(&watcher).is_empty() && !hall.has_ended(), "the NOTIFY is unanswered");

    let newcomer = hall.invite("bob", "bob");
    let key = hall.receives(flow(2), "bob", newcomer);
    assert!(hall.answer_to(&key).is_none(), "he is kept");
    let update = ann.dialog.request(Method::Update);
    assert_eq!(hall.within(&mut ann, update).status, 481, "what belongs to the old meeting is not");

    hall.forget();
    hall.answers(&first, 200);
    let last = hall.one_sent_to(&watcher);
    assert_eq!(header(&last.request, "Subscription-State"), "terminated;reason=noresource");
    let [Action::Late(late), Action::Focus(focus::Action::End)] = &hall.done[..] else {
        panic!("{:?}", hall.done)
    };
    assert!(matches!(&**late, Event::Request { key: of, .. } if *of == key));
}

#[test]
fn nobody_is_waited_for_for_long() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", "");
    hall.one_sent_to(&watcher);
    ends(&mut hall);
    hall.forget();
    hall.waits(Duration::from_millis(1900));
    assert!(!hall.has_ended());
    // The hall watches for a second NOTIFY; the last one may leave unasked.
    let first = hall.sent_to(&watcher);
    assert!(first.is_empty());
    hall.answered_or_not(&watcher);
    hall.waits(Duration::from_millis(200));
    let last = hall.one_sent_to(&watcher);
    assert!(header(&last.request, "Subscription-State").starts_with("terminated"));
    assert!(hall.has_ended());
}

#[test]
fn whose_connection_breaks_is_not_waited_for() {
    let mut hall = Hall::new();
    hall.joins(1, "ann");
    hall.settles();
    let watcher = hall.subscribes(1, "ann", "");
    hall.one_sent_to(&watcher);
    ends(&mut hall);
    assert!(!hall.has_ended());
    hall.hear(Event::FlowClosed { flow: flow(1) });
    assert!(hall.has_ended());
}

#[test]
fn a_meeting_that_everybody_left_is_over_after_a_while() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let bye = ann.dialog.request(Method::Bye);
    hall.within(&mut ann, bye);
    hall.forget();
    hall.waits(Duration::from_secs(500));
    assert!(!hall.has_ended());
    hall.waits(Duration::from_secs(200));
    assert!(hall.has_ended());
}
