//! How long a meeting goes on, what the record says of it, and what the organizer changes meanwhile.

use std::time::Duration;

use confab_conference::{
    focus::{Action, Ending, Event, JoinId},
    policy::Identity,
    reason::Reason,
    record::{Invitee, RecordChange},
};
use confab_machine::{Machine, Time};
use confab_schema::{
    cccp::Command,
    conference_info::{AdmissionPolicy, EndpointStatus, Role},
    uri::McuType,
};

use crate::{answers::*, stage::*};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// When the meeting was last said to end if nobody joins.
fn expected_end(done: &[Action]) -> Option<Time> {
    done.iter().rev().find_map(|action| match action {
        Action::ExpectEnd { at } => Some(*at),
        _ => None,
    })
}

fn saves(done: &[Action]) -> usize {
    done.iter().filter(|action| matches!(action, Action::Save { .. })).count()
}

#[test]
fn the_first_join_is_in_the_record() {
    let mut stage = Stage::new();
    let began = stage.now;
    stage.join("bob");
    let done = stage.look();
    assert_eq!((stage.stored.last_activated, stage.stored.version), (Some(began), 2));
    assert_eq!(stage.stored.updated, Time::from_unix_secs(900_000), "nobody has changed it");
    assert!(matches!(done.last(), Some(Action::Save { .. })), "nothing waits for that: {done:#?}");
    // No further join is the first one, not even into a meeting that was empty for a while.
    let ann = stage.join("ann");
    stage.leave(ann);
    stage.wait(MINUTE);
    stage.join("pat");
    assert_eq!((saves(&stage.look()), stage.stored.version), (0, 2));
}

#[test]
fn who_is_refused_activates_nothing() {
    let mut stage = Stage::with(|record, _| record.locked = true);
    stage.join("bob");
    assert_eq!((saves(&stage.look()), stage.stored.last_activated), (0, None));
}

#[test]
fn a_meeting_begins_though_the_database_is_away() {
    let mut stage = Stage::new();
    stage.database = Database::Fails;
    let ann = stage.join("ann");
    let done = stage.look();
    assert_eq!(granted(&done, ann), Some(Role::Presenter));
    assert!(done.contains(&Action::RequestMcu { media: McuType::Chat }));
    assert_eq!(stage.focus.record(), &stage.stored, "what was not saved is not believed");
    let subscription = stage.subscribe("ann");
    stage.join("bob");
    stage.settle();
    assert!(stage.watchers[&subscription].user("bob").is_some());
    assert_eq!(saves(&stage.look()), 0, "nobody else waits for a database that is away");
}

#[test]
fn a_meeting_ends_a_day_after_the_last_join() {
    let mut stage = Stage::new();
    let first = stage.now;
    let ann = stage.join("ann");
    assert_eq!(expected_end(&stage.look()), Some(first + 24 * HOUR));
    let subscription = stage.subscribe("ann");
    stage.wait(23 * HOUR);
    stage.look();
    // That she is asked for something, or tells something, is no join.
    stage.command(ann, "ann", Command::GetConference(keys()));
    assert_eq!(expected_end(&stage.look()), None);
    let again = stage.now;
    let bob = stage.join("bob");
    assert_eq!(expected_end(&stage.look()), Some(again + 24 * HOUR));
    stage.leave(bob);
    stage.wait(23 * HOUR);
    assert!(!stage.look().contains(&Action::End));
    stage.wait(HOUR);
    let done = stage.look();
    assert_eq!(ended(&done, ann), Some(Ending::Idle));
    assert!(done.contains(&Action::EndSubscription { subscription }));
    assert_eq!(done.last(), Some(&Action::End));
    assert_eq!(stage.focus.deadline(), None);
}

#[test]
fn a_meeting_ends_ten_minutes_after_the_last_who_signed_in() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.command(ann, "ann", call("eve"));
    stage.mcu_tells(&[("eve", Some(EndpointStatus::Connected))]);
    stage.look();
    let left = stage.now;
    stage.leave(ann);
    assert_eq!(expected_end(&stage.look()), Some(left + 10 * MINUTE), "a phone alone is no meeting");
    stage.wait(9 * MINUTE);
    let back = stage.now;
    let bob = stage.join("bob");
    assert_eq!(expected_end(&stage.look()), Some(back + 24 * HOUR));
    stage.wait(HOUR);
    stage.leave(bob);
    stage.look();
    stage.wait(10 * MINUTE);
    let done = stage.look();
    assert!(matches!(&mcu_command(&done).commands[0], Command::DeleteConference(_)));
    assert_eq!(done.last(), Some(&Action::End));
}

#[test]
fn the_limits_are_settings() {
    let mut stage = Stage::with(|_, policy| (policy.empty_limit_s, policy.idle_limit_s) = (60, 3600));
    let (start, ann) = (stage.now, stage.join("ann"));
    assert_eq!(expected_end(&stage.look()), Some(start + HOUR));
    let left = stage.now;
    stage.leave(ann);
    assert_eq!(expected_end(&stage.look()), Some(left + MINUTE));
}

#[test]
fn a_meeting_ends_when_its_record_expires() {
    let mut stage = Stage::with(|record, _| record.expires = Time::from_unix_secs(1_000_000) + HOUR);
    let ann = stage.join("ann");
    let subscription = stage.subscribe("ann");
    stage.wait(HOUR - MINUTE);
    assert!(!stage.look().contains(&Action::End));
    stage.wait(MINUTE);
    let done = stage.look();
    assert_eq!(ended(&done, ann), Some(Ending::Expired));
    assert!(done.contains(&Action::EndSubscription { subscription }));
    assert_eq!(done.last(), Some(&Action::End));
}

#[test]
fn a_new_expiry_holds_at_once() {
    for (later, over) in [(HOUR, false), (Duration::ZERO, true)] {
        let mut stage = Stage::with(|record, _| record.expires = Time::from_unix_secs(1_000_000) + HOUR);
        stage.join("ann");
        let now = stage.now;
        stage.organizer_changes(|record| {
            record.expires = if over { now } else { record.expires + later };
        });
        stage.told_record();
        stage.wait(HOUR);
        assert_eq!(stage.look().contains(&Action::End), over, "{later:?}");
        stage.wait(HOUR);
        assert_eq!(stage.look().contains(&Action::End), !over, "{later:?}");
    }
}

#[test]
fn a_changed_record_holds_for_those_who_join_afterwards() {
    let mut stage = Stage::new();
    let (bob, eve) = (stage.join("bob"), stage.join("eve"));
    let subscription = stage.subscribe("bob");
    stage.settle();
    stage.look();
    stage.organizer_changes(|record| {
        record.subject = "Other plans".into();
        record.admission = AdmissionPolicy::ClosedAuthenticated;
        record.participants = vec![Invitee { user: user("bob"), role: Role::Presenter }];
    });
    stage.told_record();
    stage.settle();
    assert_eq!(stage.look(), [], "nobody who is in is told anything");
    assert_eq!(stage.watchers[&subscription].description().subject.as_deref(), Some("Plans"));
    // Who is in stays what he is, whatever he joins with.
    let second = stage.join_with("eve", "{second}");
    assert_eq!(granted(&stage.look(), second), Some(Role::Attendee));
    let dan = stage.join("dan");
    assert_eq!(join_refused(&stage.look(), dan), Some(Reason::NotInvited));
    for join in [bob, eve, second] {
        stage.leave(join);
    }
    let (bob, eve) = (stage.join("bob"), stage.join("eve"));
    let done = stage.look();
    assert_eq!(granted(&done, bob), Some(Role::Presenter), "he joined again");
    assert_eq!(join_refused(&done, eve), Some(Reason::NotInvited));
    let description = stage.full_document("bob").description.unwrap();
    assert_eq!(description.subject.as_deref(), Some("Other plans"));
    assert_eq!(description.admission, Some(AdmissionPolicy::ClosedAuthenticated));
}

#[test]
fn new_media_wait_for_the_next_meeting() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.organizer_changes(|record| record.media = vec![McuType::AudioVideo]);
    stage.told_record();
    let document = stage.full_document("ann");
    let uris: Vec<_> = document.description.unwrap().conf_uris.into_iter().map(|entry| entry.uri).collect();
    assert_eq!(uris, [CHAT]);
    stage.look();
    stage.command(ann, "ann", call("eve"));
    assert!(!mcu_commands(&stage.look()).is_empty(), "the chat goes on");
    assert_eq!(stage.focus.record().media, [McuType::AudioVideo]);
}

#[test]
fn a_lock_by_the_organizer_holds_at_once() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    stage.organizer_changes(|record| record.locked = true);
    stage.told_record();
    let relayed = mcu_command(&stage.look());
    assert!(matches!(relayed.commands[0], Command::ModifyConferenceLock { locked: true, .. }));
    stage.mcu_succeeds(&relayed);
    stage.settle();
    assert!(stage.watchers[&subscription].locks().iter().all(|(_, locked)| *locked == Some(true)));
    let bob = stage.join("bob");
    assert_eq!(join_refused(&stage.look(), bob), Some(Reason::Locked));
}

#[test]
fn an_older_record_changes_nothing() {
    let mut stage = Stage::new();
    stage.join("ann");
    let mut old = stage.focus.record().clone();
    let newest = old.clone();
    old.subject = "Yesterday's plans".into();
    stage.hear(Event::RecordChanged { record: Box::new(old.clone()) });
    old.version -= 1;
    stage.hear(Event::RecordChanged { record: Box::new(old) });
    assert_eq!(stage.focus.record(), &newest);
}

#[test]
fn neither_side_of_a_conflict_loses_its_change() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    // The organizer was quicker, and the Focus has not heard of it.
    stage.organizer_changes(|record| record.subject = "Other plans".into());
    let command = stage.command(ann, "ann", lock(true));
    let done = stage.look();
    stage.mcu_succeeds(&mcu_command(&done));
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    assert_eq!((stage.stored.subject.as_str(), stage.stored.locked), ("Other plans", true));
    assert_eq!(stage.focus.record(), &stage.stored);
    stage.settle();
    assert!(stage.watchers[&subscription].locks().iter().all(|(_, locked)| *locked == Some(true)));
    // From then on they agree again.
    let command = stage.command(ann, "ann", lock(false));
    stage.mcu_succeeds(&mcu_command(&stage.done));
    assert_eq!(verdict(&stage.look(), command), Some("success"));
    assert_eq!(stage.focus.record(), &stage.stored);
}

#[test]
fn a_first_join_does_not_undo_what_the_organizer_did() {
    let mut stage = Stage::new();
    let began = stage.now;
    stage.organizer_changes(|record| record.locked = true);
    let ann = stage.join("ann");
    assert_eq!(granted(&stage.look(), ann), Some(Role::Presenter));
    assert_eq!((stage.stored.locked, stage.stored.last_activated), (true, Some(began)));
    assert_eq!(stage.focus.record(), &stage.stored);
    let bob = stage.join("bob");
    assert_eq!(join_refused(&stage.look(), bob), Some(Reason::Locked));
}

#[test]
fn a_change_is_made_to_whatever_record_there_is() {
    let record = Stage::new().stored;
    let at = Time::from_unix_secs(7);
    let locked = record.changed(RecordChange::Locked { locked: true, at });
    assert_eq!((locked.version, locked.locked, locked.updated), (2, true, at));
    let both = locked.changed(RecordChange::Activated { at });
    assert_eq!((both.version, both.locked, both.last_activated), (3, true, Some(at)));
    assert_eq!((both.subject, both.participants), (record.subject, record.participants));
}

#[test]
fn a_stranger_keeps_no_meeting_alive() {
    let mut stage = Stage::new();
    let join = JoinId(1);
    stage.ask_to_join(join, "eve", Identity::Anonymous, add_user("eve", None, "{1}", None));
    let refused = stage.now;
    let done = stage.look();
    assert_eq!(join_refused(&done, join), Some(Reason::AnonymousNotAllowed));
    assert!(expected_end(&done).is_some_and(|at| at <= refused + 10 * MINUTE));
    stage.wait(10 * MINUTE);
    assert_eq!(stage.look().last(), Some(&Action::End));
}
