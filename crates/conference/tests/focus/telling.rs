//! Step 7: notifications: when they leave, what they hold, and that no version is skipped.

use std::time::Duration;

use confab_conference::focus::{Action, Event};
use confab_schema::{
    cccp::Command,
    conference_info::{EndpointStatus, Role, State},
};

use crate::{answers::*, stage::*};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_first_change_leaves_soon_and_the_rest_together() {
    let mut stage = Stage::new();
    stage.join("ann");
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    let version = stage.watchers[&subscription].known.version;

    let bob = stage.join("bob");
    stage.wait(ms(9));
    let done = stage.look();
    assert!(
        done.iter().any(|action| matches!(action, Action::Admit { .. })),
        "the joiner has his answer first"
    );
    assert!(notified(&done).is_empty());
    stage.wait(ms(1));
    let [document] = notified(&stage.look()).try_into().unwrap();
    assert_eq!((document.state, document.version), (State::Partial, version + 1));

    stage.wait(ms(30));
    stage.join("pat");
    stage.wait(ms(30));
    stage.join("eve");
    stage.leave(bob);
    assert!(notified(&stage.look()).is_empty());
    stage.wait(ms(39));
    assert!(notified(&stage.look()).is_empty());
    stage.wait(ms(1));
    let [document] = notified(&stage.look()).try_into().unwrap();
    assert_eq!(document.version, version + 2);
    let told: Vec<(String, State)> =
        document.users.unwrap().users.into_iter().map(|user| (user.entity, user.state)).collect();
    let expect = [("bob", State::Deleted), ("eve", State::Full), ("pat", State::Full)];
    assert_eq!(told, expect.map(|(who, state)| (user(who).to_string(), state)));
    assert_eq!(document.view, None, "what has not changed is not told");

    // After a quiet time the next one leaves as soon again.
    stage.wait(ms(100));
    stage.join("bob");
    stage.wait(ms(10));
    assert_eq!(notified(&stage.look()).len(), 1);
}

#[test]
fn a_late_timer_still_spreads_notifications() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.subscribe("ann");
    stage.settle();
    stage.join("bob");
    stage.join("eve");
    stage.look();
    // The process slept: what was due long ago leaves now, and the next not right behind it.
    stage.now = stage.now + ms(500);
    stage.join("pat");
    assert_eq!(notified(&stage.look()).len(), 1);
    stage.join_with("pat", "{other}");
    assert!(notified(&stage.look()).is_empty());
    stage.wait(ms(100));
    assert_eq!(notified(&stage.look()).len(), 1);
}

#[test]
fn everybody_is_told_the_same_once() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    let subscriptions = [stage.subscribe("ann"), stage.subscribe("ann"), stage.subscribe("bob")];
    stage.settle();
    stage.look();
    stage.command(ann, "ann", give_role("bob", Role::Presenter));
    let to_all = |done: &[Action]| -> Vec<_> {
        let told = done.iter().filter_map(|action| match action {
            Action::Notify { subscriptions, .. } => Some(subscriptions.clone()),
            _ => None,
        });
        told.collect()
    };
    stage.settle();
    assert_eq!(to_all(&stage.look()), [subscriptions]);
    stage.hear(Event::Unsubscribed { subscription: subscriptions[0] });
    stage.hear(Event::Unsubscribed { subscription: subscriptions[0] });
    stage.leave(bob);
    stage.settle();
    assert_eq!(to_all(&stage.look()), [[subscriptions[1]]]);
}

#[test]
fn what_is_not_told_yet_is_told_before_the_end() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.join("bob");
    stage.join("eve");
    stage.look();
    stage.command(ann, "ann", Command::DeleteConference(keys()));
    let done = stage.look();
    let told = place(&done, |action| matches!(action, Action::Notify { .. }));
    let ended = place(&done, |action| *action == Action::EndSubscription { subscription });
    assert!(told < ended);
}

#[test]
fn a_subscriber_in_the_middle_misses_nothing() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    let first = stage.subscribe("ann");
    for (number, who) in ["bob", "pat", "eve"].into_iter().enumerate() {
        stage.join(who);
        let subscription = stage.subscribe(who);
        stage.mcu_tells(&[(who, Some(EndpointStatus::Connected))]);
        stage.settle();
        // The watchers themselves check each version.
        let known = [&stage.watchers[&first], &stage.watchers[&subscription]];
        assert_eq!(known[0].known.version, known[1].known.version);
        assert_eq!(known[0].users(), known[1].users());
        assert_eq!(known[0].users().len(), number + 2);
        assert!(known[1].partials > 0);
    }
}
