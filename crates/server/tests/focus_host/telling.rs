//! Many subscribers: they are told some at a time.

use std::time::Duration;

use confab_machine::Machine;
use confab_schema::{
    cccp::{Command, UserKeys},
    conference_info::{ConferenceInfo, State},
};
use confab_server::focus_host::Action;
use confab_sip::Method;

use crate::hall::{CONFERENCE, Hall, Leg, flow, header, user};

const OCS: &str = "ms-benotify, ms-piggyback-first-notify";
const PEOPLE: u64 = 20;
const EACH: u64 = 10;
/// How many are told at once.
const SOME: usize = 128;

/// A meeting whose subscribers cannot be told all at once, in which somebody joins and the first of them have been told.
fn told_in_part() -> (Hall, Leg, Vec<Leg>) {
    let mut hall = Hall::new();
    let ann = hall.joins(1, "ann");
    let mut watchers = Vec::new();
    for number in 0..PEOPLE {
        let who = format!("guest{number}");
        hall.joins(2 + number, &who);
        let flows = 100 + number * EACH..100 + (number + 1) * EACH;
        watchers.extend(flows.map(|flow| hall.subscribes(flow, &who, OCS)));
    }
    hall.settles();
    hall.forget();
    hall.joins(50, "late");
    hall.forget();
    hall.now = hall.now + Duration::from_millis(10);
    assert_eq!(some_are_told(&mut hall), SOME);
    (hall, ann, watchers)
}

/// How many requests leave when the time has come.
fn some_are_told(hall: &mut Hall) -> usize {
    assert!(hall.host.deadline().is_some_and(|at| at <= hall.now), "there is more to tell");
    let mut out = Vec::new();
    hall.host.handle_timeout(hall.now, &mut out);
    out.iter().filter(|action| matches!(action, Action::Send { .. })).count()
}

#[test]
fn many_are_told_some_at_a_time_and_who_asks_is_answered_between() {
    let (mut hall, ..) = told_in_part();
    let mut out = Vec::new();
    let request = hall.request(Method::Options, "ann", "ann");
    let event = hall.event(flow(1), "ann", request);
    hall.host.handle(hall.now, event, &mut out);
    out.retain(|action| !matches!(action, Action::Note(_)));
    assert!(matches!(&out[..], [Action::Respond { .. }]), "{out:?}");
    assert_eq!(some_are_told(&mut hall), usize::try_from(PEOPLE * EACH).unwrap() - SOME);
    assert!(hall.host.deadline().is_none_or(|at| at > hall.now), "all are told");
}

#[test]
fn who_was_sent_everything_meanwhile_is_told_nothing_older() {
    let (mut hall, _, mut watchers) = told_in_part();
    let mut last = watchers.pop().unwrap();
    let request = last.dialog.request(Method::Subscribe).with_header("Event", "conference");
    let answer = hall.within(&mut last, request.with_header("Supported", OCS));
    let whole = ConferenceInfo::parse(&answer.body).unwrap();
    assert_eq!(whole.state, State::Full);
    hall.settles();
    assert!(hall.sent_to(&last).is_empty());
    let other = watchers.pop().unwrap();
    let told = ConferenceInfo::parse(&hall.one_sent_to(&other).request.body).unwrap();
    assert_eq!((told.state, told.version), (State::Partial, whole.version));
    hall.joins(51, "later");
    hall.settles();
    let next = ConferenceInfo::parse(&hall.one_sent_to(&last).request.body).unwrap();
    assert_eq!(next.version, whole.version + 1, "and he is told what is new");
}

#[test]
fn who_is_put_out_meanwhile_is_told_before() {
    let (mut hall, mut ann, mut watchers) = told_in_part();
    let last = watchers.pop().unwrap();
    let keys = UserKeys { entity: CONFERENCE.to_owned(), user: user(&last.who).to_string() };
    hall.commands(&mut ann, Command::DeleteUser { mcu_uri: None, keys });
    hall.settles();
    let sent = hall.sent_to(&last);
    let states: Vec<String> = sent.iter().map(|sent| header(&sent.request, "Subscription-State")).collect();
    assert!(
        matches!(&states[..], [first, second] if first.starts_with("active") && second.starts_with("terminated")),
        "{states:?}"
    );
}
