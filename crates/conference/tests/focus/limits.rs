//! How much one conference takes, and one person in it.

use std::time::Duration;

use confab_conference::{
    focus::{Action, JoinId},
    policy::Identity,
    reason::Reason,
};
use confab_schema::{cccp::Command, conference_info::Role};

use crate::{answers::*, stage::*};

/// Endpoints and subscriptions of one person; waiting requests for each person allowed.
const PER_PERSON: usize = 10;

#[test]
fn a_full_conference_takes_the_organizer_alone() {
    let mut stage = Stage::with(|_, policy| policy.max_participants = 2);
    stage.join("pat");
    stage.join("bob");
    let eve = stage.join("eve");
    assert_eq!(join_refused(&stage.look(), eve), Some(Reason::Full));
    let second = stage.join_with("bob", "{second}");
    assert_eq!(granted(&stage.look(), second), Some(Role::Attendee), "he is in already");
    let ann = stage.join("ann");
    assert_eq!(granted(&stage.look(), ann), Some(Role::Presenter));
    stage.mcu_ready();
    let command = stage.command(ann, "ann", call("eve"));
    assert_eq!(command_refused(&stage.look(), command), Some(Reason::Full));
    let command = stage.command(ann, "ann", call("bob"));
    assert!(accepted(&stage.look(), command));
}

#[test]
fn the_called_take_their_place() {
    let mut stage = Stage::with(|_, policy| policy.max_participants = 2);
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.command(ann, "ann", call("bob"));
    stage.look();
    let eve = stage.join("eve");
    assert_eq!(join_refused(&stage.look(), eve), Some(Reason::Full));
}

#[test]
fn one_person_joins_with_so_many_endpoints() {
    let mut stage = Stage::new();
    stage.join("ann");
    for n in 0..PER_PERSON {
        let join = stage.join_with("bob", &format!("{{{n}}}"));
        assert_eq!(granted(&stage.look(), join), Some(Role::Attendee));
    }
    let another = stage.join_with("bob", "{another}");
    assert_eq!(join_refused(&stage.look(), another), Some(Reason::Full));
    let again = stage.join_with("bob", "{0}");
    assert_eq!(granted(&stage.look(), again), Some(Role::Attendee), "an endpoint may replace itself");
    let pat = stage.join("pat");
    assert_eq!(granted(&stage.look(), pat), Some(Role::Presenter), "he keeps nobody out");
}

#[test]
fn one_person_has_so_many_subscriptions() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.join("bob");
    let subscriptions: Vec<_> = (0..=PER_PERSON).map(|_| stage.subscribe("bob")).collect();
    let done = stage.look();
    assert_eq!(subscription_refused(&done, subscriptions[PER_PERSON - 1]), None);
    assert_eq!(subscription_refused(&done, subscriptions[PER_PERSON]), Some(Reason::Busy));
    let anns = stage.subscribe("ann");
    assert_eq!(subscription_refused(&stage.look(), anns), None);
}

#[test]
fn so_many_commands_wait() {
    let mut stage = Stage::with(|_, policy| policy.max_participants = 1);
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.look();
    let commands: Vec<_> =
        (0..PER_PERSON).map(|_| stage.command(ann, "ann", give_role("ann", Role::Presenter))).collect();
    let requests = mcu_commands(&stage.look());
    let busy = stage.command(ann, "ann", Command::GetConference(keys()));
    assert_eq!(command_refused(&stage.look(), busy), Some(Reason::Busy));
    stage.mcu_succeeds(&requests[0]);
    assert_eq!(verdict(&stage.look(), commands[0]), Some("success"));
    let command = stage.command(ann, "ann", Command::GetConference(keys()));
    assert_eq!(verdict(&stage.look(), command), Some("success"));
}

#[test]
fn so_many_invites_wait() {
    for ready in [false, true] {
        let mut stage = Stage::with(|_, policy| policy.max_participants = 1);
        stage.join("ann");
        if ready {
            stage.mcu_ready();
        }
        stage.look();
        for _ in 0..PER_PERSON {
            let invite = stage.invite("ann");
            assert_eq!(invite_refused(&stage.done, invite), None);
        }
        let busy = stage.invite("ann");
        assert_eq!(invite_refused(&stage.done, busy), Some(Reason::Busy));
        stage.done.retain(|action| !matches!(action, Action::RefuseInvite { .. }));
        match mcu_commands(&stage.look()).first() {
            Some(request) => stage.mcu_succeeds(request),
            None => stage.wait(Duration::from_secs(30)),
        }
        stage.look();
        let invite = stage.invite("ann");
        assert_eq!(invite_refused(&stage.look(), invite), None);
    }
}

#[test]
fn an_endpoint_has_a_name_of_some_length() {
    for (length, refusal) in
        [(0, Some(Reason::InvalidEndpoint)), (128, None), (129, Some(Reason::InvalidEndpoint))]
    {
        let mut stage = Stage::new();
        let join = JoinId(99);
        let name = "x".repeat(length);
        stage.ask_to_join(join, "ann", Identity::Enterprise, add_user("ann", None, &name, None));
        assert_eq!(join_refused(&stage.look(), join), refusal, "{length}");
    }
}
