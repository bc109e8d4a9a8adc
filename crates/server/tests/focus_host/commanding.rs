//! INFO: the answer at once, and the final one behind it.

use confab_conference::focus;
use confab_schema::cccp::{self, Code};
use confab_server::focus_host::{Action, Event};
use confab_sip::Method;

use crate::hall::{Hall, flow, lock};

#[test]
fn a_command_is_pending_then_durable_then_final() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let bob = hall.joins(2, "bob");
    hall.subscribes(2, "bob", "ms-benotify, ms-piggyback-first-notify");
    hall.settles();
    hall.forget();
    let mut info = ann.dialog.request(Method::Info);
    info.set_body("application/cccp+xml", hall.document("ann", lock(true)));
    let key = hall.receives(flow(1), "ann", info.clone());

    hall.settles();
    let at = |hall: &Hall, wanted: &dyn Fn(&Action) -> bool| hall.done.iter().position(wanted).unwrap();
    let answered = at(&hall, &|action| matches!(action, Action::Respond { key: of, .. } if *of == key));
    let saved = at(
        &hall,
        &|action| matches!(action, Action::Focus(focus::Action::Save { record, .. }) if record.locked),
    );
    let finished =
        at(&hall, &|action| matches!(action, Action::Send { request, .. } if request.method == Method::Info));
    let told = at(
        &hall,
        &|action| matches!(action, Action::Send { request, .. } if request.method == Method::Benotify),
    );
    assert!(answered < saved && saved < finished && saved < told, "nobody hears of it before it is saved");

    let pending = hall.answer_to(&key).unwrap();
    assert_eq!(pending.status, 202);
    assert_eq!(cccp::Response::parse(&pending.body).unwrap().code, Code::Pending);
    let last = hall.one_sent_to(&ann);
    let result = cccp::Response::parse(&last.request.body).unwrap();
    let asked = cccp::Request::parse(&info.body).unwrap();
    assert_eq!((result.code, result.request_id), (Code::Success, asked.request_id));
    assert!(hall.sent_to(&bob).is_empty(), "it is the answer of who asked");
}

#[test]
fn a_save_that_failed_is_told() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    hall.forget();
    assert_eq!(hall.commands(&mut ann, lock(true)).status, 202);
    // The shell has done nothing of what followed.
    hall.forget();
    hall.hear(Event::Focus(focus::Event::StoreFailed));
    let last = hall.one_sent_to(&ann);
    assert_eq!(cccp::Response::parse(&last.request.body).unwrap().code, Code::Failure);
}

#[test]
fn a_final_answer_needs_no_answer_but_481_says_he_is_gone() {
    for (answer, stays) in
        [(None, true), (Some(200), true), (Some(500), true), (Some(501), true), (Some(481), false)]
    {
        let mut hall = Hall::new();
        let mut ann = hall.joins(1, "ann");
        hall.commands(&mut ann, lock(true));
        let last = hall.one_sent_to(&ann);
        match answer {
            None => hall.is_silent(&last),
            Some(status) => hall.answers(&last, status),
        }
        let expect = if stays { 202 } else { 481 };
        assert_eq!(hall.commands(&mut ann, lock(false)).status, expect, "{answer:?}");
    }
}

#[test]
fn what_is_no_command_is_refused() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    let mut bob = hall.joins(2, "bob");
    hall.settles();
    hall.forget();
    let mut info = ann.dialog.request(Method::Info);
    info.set_body("text/plain", "lock it, please".into());
    assert_eq!(hall.within(&mut ann, info).status, 415);
    let mut info = ann.dialog.request(Method::Info);
    info.set_body("application/cccp+xml", "<request>".into());
    let refused = hall.within(&mut ann, info);
    assert_eq!(refused.status, 400);
    assert!(refused.headers.get("ms-diagnostics").is_some() && refused.headers.get("Warning").is_some());
    let old = {
        let mut info = ann.dialog.request(Method::Info);
        info.headers.set("CSeq", "1 INFO");
        info
    };
    assert_eq!(hall.within(&mut ann, old).status, 500, "its number goes back");
    let refused = hall.commands(&mut bob, lock(true));
    let said = hall.sent_to(&bob);
    let failed = refused.status >= 400
        || said
            .iter()
            .any(|sent| cccp::Response::parse(&sent.request.body).is_ok_and(|it| it.code == Code::Failure));
    assert!(failed, "an attendee locks nothing");
}

#[test]
fn who_comes_back_by_another_connection_is_reached_there() {
    let mut hall = Hall::new();
    let mut ann = hall.joins(1, "ann");
    ann.flow = flow(9);
    hall.commands(&mut ann, lock(true));
    assert_eq!(hall.one_sent_to(&ann).flow, flow(9));
    hall.hear(Event::FlowClosed { flow: flow(1) });
    assert_eq!(hall.commands(&mut ann, lock(false)).status, 202, "her old connection is nothing to her");
}
