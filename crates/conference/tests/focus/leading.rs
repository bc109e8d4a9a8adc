//! Step 7: what leaders command, and what becomes of it.

use std::time::Duration;

use confab_conference::{
    focus::{Action, CommandId, Ending, Event},
    reason::Reason,
};
use confab_machine::Machine;
use confab_schema::{
    cccp::{Code, Command, Response, ResultBody},
    conference_info::{EndpointStatus, JoiningMethod, Role, State},
    uri::McuType,
};

use crate::{answers::*, stage::*};

#[test]
fn a_leader_ejects() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let bob = stage.join("bob");
    let anns = stage.subscribe("ann");
    let bobs = stage.subscribe("bob");
    stage.mcu_tells(&[("bob", Some(EndpointStatus::Connected))]);
    stage.settle();
    stage.look();

    let command = stage.command(ann, "ann", eject("bob"));
    let done = stage.look();
    assert!(accepted(&done, command));
    let delete = mcu_command(&done);
    assert!(matches!(&delete.commands[0], Command::DeleteUser { keys, .. } if keys.user.contains("bob")));
    assert_eq!(ended(&done, bob), Some(Ending::Ejected));
    assert!(done.contains(&Action::EndSubscription { subscription: bobs }));
    assert!(done.contains(&Action::CountPeople { count: 1 }));
    assert_eq!(finished(&done, command), None, "not before the server has done it");
    stage.settle();
    assert_eq!(stage.watchers[&anns].user("bob"), None);

    stage.mcu_succeeds(&delete);
    stage.mcu_tells(&[("bob", None)]);
    let done = stage.look();
    let response = finished(&done, command).unwrap();
    assert_eq!((response.code, response.results[0].name.as_str()), (Code::Success, "deleteUser"));
    assert!(mcu_commands(&done).is_empty());
    // He is not locked out.
    let again = stage.join("bob");
    assert_eq!(granted(&stage.look(), again), Some(Role::Attendee));
    stage.hear(Event::EndRequested);
    let done = stage.look();
    assert_eq!((ended(&done, bob), ended(&done, again)), (None, Some(Ending::ConferenceEnded)));
}

#[test]
fn a_leader_ejects_from_one_server_only() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    stage.mcu_ready();
    stage.look();
    let from_chat = Command::DeleteUser { mcu_uri: Some(CHAT.into()), keys: user_keys("bob") };
    let command = stage.command(ann, "ann", from_chat);
    let done = stage.look();
    assert_eq!(ended(&done, bob), None);
    stage.mcu_fails(&mcu_command(&done), "userDoesntExist");
    assert_eq!(verdict(&stage.look(), command), Some("success"), "to remove who is not there is done");
}

#[test]
fn nobody_ejects_who_is_not_in() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let command = stage.command(ann, "ann", eject("eve"));
    let done = stage.look();
    assert!(accepted(&done, command));
    assert_eq!(verdict(&done, command), Some("userDoesntExist"));
}

#[test]
fn who_removes_himself_is_answered_before_his_dialog_ends() {
    let mut stage = Stage::new();
    stage.join("ann");
    let bob = stage.join("bob");
    stage.mcu_ready();
    stage.mcu_tells(&[("bob", Some(EndpointStatus::Connected))]);
    stage.look();
    let command = stage.command(bob, "bob", eject("bob"));
    let done = stage.look();
    assert_eq!(verdict(&done, command), Some("success"));
    let answered = place(&done, |action| matches!(action, Action::FinishCommand { .. }));
    let ended = place(&done, |action| matches!(action, Action::EndJoin { join, .. } if *join == bob));
    assert!(answered < ended);
    assert!(matches!(mcu_command(&done).commands[0], Command::DeleteUser { .. }));
}

#[test]
fn who_leaves_is_removed_where_he_may_be() {
    let mut stage = Stage::new();
    stage.join("ann");
    let [amy, bob, eve] = ["amy", "bob", "eve"].map(|who| stage.join(who));
    stage.mcu_ready();
    stage.mcu_tells(&[("amy", Some(EndpointStatus::Connected))]);
    // The answer to his addUser is still to come.
    stage.invite("bob");
    stage.look();
    for (who, is_there) in [(amy, true), (bob, true), (eve, false)] {
        stage.leave(who);
        let commands = stage.look().into_iter().filter(|action| matches!(action, Action::CommandMcu { .. }));
        assert_eq!(commands.count(), usize::from(is_there), "{who:?}");
    }
}

#[test]
fn a_leader_promotes_and_demotes() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    for (role, may_lock) in [(Role::Presenter, true), (Role::Attendee, false)] {
        stage.look();
        let command = stage.command(ann, "ann", give_role("bob", role));
        let done = stage.look();
        assert!(accepted(&done, command));
        let relayed = mcu_command(&done);
        assert!(
            matches!(&relayed.commands[0], Command::ModifyUserRoles { roles, .. } if roles == &[role]),
            "{relayed:?}"
        );
        stage.mcu_succeeds(&relayed);
        assert_eq!(verdict(&stage.look(), command), Some("success"));
        stage.settle();
        assert_eq!(stage.watchers[&subscription].user("bob").unwrap().roles, [role]);
        stage.look();
        let try_lock = stage.command(bob, "bob", lock(true));
        let refusal = (!may_lock).then_some(Reason::NotPresenter);
        assert_eq!(command_refused(&stage.look(), try_lock), refusal);
    }
    // With another endpoint he stays what he is.
    stage.command(ann, "ann", give_role("bob", Role::Presenter));
    let second = stage.join_with("bob", "{second}");
    assert_eq!(granted(&stage.look(), second), Some(Role::Presenter));
    let command = stage.command(ann, "ann", give_role("eve", Role::Presenter));
    assert_eq!(verdict(&stage.look(), command), Some("userDoesntExist"));
}

#[test]
fn who_is_on_no_server_is_promoted_too() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.join("bob");
    stage.mcu_ready();
    stage.look();
    for (reason, expect) in [("userDoesntExist", "success"), ("otherFailure", "otherFailure")] {
        let command = stage.command(ann, "ann", give_role("bob", Role::Presenter));
        let request = mcu_command(&stage.look());
        stage.mcu_fails(&request, reason);
        assert_eq!(verdict(&stage.look(), command), Some(expect));
    }
}

#[test]
fn a_leader_locks_and_unlocks() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.settle();
    // The join that made the conference active has raised the version, too.
    for (locked, version) in [(true, 3), (false, 4)] {
        stage.look();
        let command = stage.command(ann, "ann", lock(locked));
        let done = stage.look();
        let saved = place(&done, |action| matches!(action, Action::Save { .. }));
        let pending = place(&done, |action| matches!(action, Action::AcceptCommand { .. }));
        let relayed = place(&done, |action| matches!(action, Action::CommandMcu { .. }));
        assert!(
            pending < saved && saved < relayed,
            "nothing but the pending answer leaves before it is saved"
        );
        assert_eq!((stage.stored.locked, stage.stored.version), (locked, version));
        assert_eq!(stage.stored.updated, stage.focus.record().updated);
        stage.mcu_succeeds(&mcu_command(&done));
        assert_eq!(verdict(&stage.look(), command), Some("success"));
        stage.settle();
        let locks = [(CHAT, Some(locked)), (CONFERENCE, Some(locked))];
        assert_eq!(stage.watchers[&subscription].locks(), locks);
        stage.look();
        let eve = stage.join("eve");
        assert_eq!(join_refused(&stage.look(), eve), locked.then_some(Reason::Locked));
    }
}

#[test]
fn a_lock_that_changes_nothing_saves_nothing() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.settle();
    stage.look();
    let command = stage.command(ann, "ann", lock(false));
    let done = stage.look();
    assert_eq!(verdict(&done, command), Some("success"));
    assert!(!done.iter().any(|action| matches!(action, Action::Save { .. } | Action::Notify { .. })));
}

#[test]
fn a_lock_that_cannot_be_saved_is_undone() {
    for ready in [false, true] {
        let mut stage = Stage::new();
        let ann = stage.join("ann");
        if ready {
            stage.mcu_ready();
        }
        let subscription = stage.subscribe("ann");
        stage.settle();
        stage.look();
        stage.database = Database::Fails;
        let command = stage.command(ann, "ann", lock(true));
        let done = stage.look();
        assert!(accepted(&done, command));
        assert_eq!(verdict(&done, command), Some(Reason::StoreUnavailable.c3p_token()));
        assert!(mcu_commands(&done).is_empty(), "no server has heard of it");
        assert_eq!(stage.focus.record(), &stage.stored);
        stage.settle();
        // The subscriber's watcher has seen to it that no version was skipped.
        assert!(stage.watchers[&subscription].locks().iter().all(|(_, locked)| *locked == Some(false)));
        let eve = stage.join("eve");
        assert_eq!(join_refused(&stage.look(), eve), None);

        stage.database = Database::Takes;
        let command = stage.command(ann, "ann", lock(true));
        let done = stage.look();
        if ready {
            stage.mcu_succeeds(&mcu_command(&done));
            assert_eq!(verdict(&stage.look(), command), Some("success"));
        } else {
            assert_eq!(verdict(&done, command), Some("success"));
        }
        assert!(stage.stored.locked);
    }
}

#[test]
fn failed_saves_leave_nothing_behind() {
    let mut stage = Stage::with(|_, policy| policy.max_participants = 1);
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.database = Database::Fails;
    for _ in 0..20 {
        stage.look();
        let command = stage.command(ann, "ann", lock(true));
        assert_eq!(verdict(&stage.look(), command), Some("otherFailure"));
    }
    let invite = stage.invite("ann");
    assert_eq!(invite_refused(&stage.look(), invite), None, "nothing waits for the server");
}

#[test]
fn two_commands_in_one_moment_are_two() {
    let mut stage = Stage::new();
    let join = stage.join("ann");
    stage.settle();
    let [first, second] = [(1, true), (2, false)].map(|(id, locked)| {
        let request = stage.request("ann", lock(locked));
        (CommandId(id), Event::Command { command: CommandId(id), join, request })
    });
    // The clock stands still: the first record is saved, the second is not.
    let mut done = Vec::new();
    for event in [first.1, second.1, Event::StoreFailed, Event::EndRequested] {
        if matches!(event, Event::StoreFailed) {
            // What followed the Save was not done.
            done.retain(|action| finished(std::slice::from_ref(action), second.0).is_none());
        }
        stage.focus.handle(stage.now, event, &mut done);
    }
    assert_eq!(verdict(&done, first.0), Some("success"));
    assert_eq!(verdict(&done, second.0), Some("otherFailure"));
    assert!(stage.focus.record().locked);
}

#[test]
fn a_meeting_whose_record_was_deleted_ends_and_owes_no_answer() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.mcu_ready();
    stage.settle();
    stage.look();
    let waiting = stage.command(ann, "ann", eject("bob"));
    stage.look();
    stage.database = Database::IsEmpty;
    let command = stage.command(ann, "ann", lock(true));
    let done = stage.look();
    assert!(accepted(&done, command));
    for command in [command, waiting] {
        let answers: Vec<_> =
            done.iter().filter_map(|action| finished(std::slice::from_ref(action), command)).collect();
        let [answer] = &answers[..] else { panic!("one answer: {done:?}") };
        assert_eq!(answer.failure_reason(), Some("conferenceDoesntExist"));
    }
    assert_eq!(ended(&done, ann), Some(Ending::ConferenceEnded));
    assert_eq!(ended(&done, bob), None, "he was ejected before");
    assert_eq!(done.last(), Some(&Action::End));
}

#[test]
fn nothing_on_time_is_lost_with_a_record_that_cannot_be_saved() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.settle();
    let sent = stage.now;
    let invite = stage.invite("ann");
    // The INVITE has waited long enough in the very moment of the command.
    stage.now = sent + Duration::from_secs(30);
    stage.database = Database::Fails;
    stage.command(ann, "ann", lock(true));
    assert_eq!(invite_refused(&stage.look(), invite), Some(Reason::McuUnavailable));
}

#[test]
fn a_leader_calls_somebody() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    let command = stage.command(ann, "ann", call("eve"));
    let done = stage.look();
    assert!(accepted(&done, command));
    assert!(done.contains(&Action::CountPeople { count: 2 }));
    let request = mcu_command(&done);
    let [Command::AddUser(add)] = request.commands.as_slice() else { panic!("{request:?}") };
    assert_eq!(add.user.roles, [Role::Attendee]);
    assert_eq!(add.user.endpoints[0].joining_method, Some(JoiningMethod::DialedOut));
    stage.mcu_tells(&[("eve", Some(EndpointStatus::DialingOut))]);
    stage.settle();
    let eve = stage.watchers[&subscription].user("eve").unwrap();
    assert_eq!(eve.endpoints[0].status, Some(EndpointStatus::DialingOut));
    stage.mcu_answers(Response::pending(&request));
    stage.mcu_tells(&[("eve", Some(EndpointStatus::Connected))]);
    assert_eq!(finished(&stage.look(), command), None);
    stage.mcu_succeeds(&request);
    let done = stage.look();
    let response = finished(&done, command).unwrap();
    let ResultBody::AddUser { user, .. } = &response.results[0].body else { panic!("{response:?}") };
    // Clients insist on the joining method here too.
    assert_eq!(user.endpoints[0].joining_method, Some(JoiningMethod::DialedOut));
    // When she hangs up she is gone.
    stage.mcu_tells(&[("eve", None)]);
    stage.settle();
    assert_eq!(stage.watchers[&subscription].user("eve"), None);
    assert!(stage.look().contains(&Action::CountPeople { count: 1 }));
}

#[test]
fn a_call_that_fails_leaves_no_ghost() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    let failed = stage.command(ann, "ann", call("eve"));
    let request = mcu_command(&stage.look());
    stage.mcu_fails(&request, "otherFailure");
    assert_eq!(verdict(&stage.look(), failed), Some("otherFailure"));
    let lost = stage.command(ann, "ann", call("eve"));
    let request_id = mcu_command(&stage.look()).request_id;
    stage.hear(Event::McuUnreachable { media: McuType::Chat, request_id });
    assert_eq!(verdict(&stage.look(), lost), Some("otherFailure"));
    stage.settle();
    assert_eq!(stage.watchers[&subscription].user("eve"), None);
    assert_eq!(stage.full_document("ann").users.unwrap().users.len(), 1);
}

#[test]
fn a_call_that_fails_takes_nobody_out_who_is_in() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.join("bob");
    stage.mcu_ready();
    stage.look();
    let command = stage.command(ann, "ann", call("bob"));
    let request = mcu_command(&stage.look());
    stage.mcu_fails(&request, "otherFailure");
    assert_eq!(verdict(&stage.look(), command), Some("otherFailure"));
    assert_eq!(stage.full_document("ann").users.unwrap().users.len(), 2);
}

#[test]
fn the_called_organizer_leads() {
    let mut stage = Stage::new();
    let pat = stage.join("pat");
    stage.mcu_ready();
    stage.command(pat, "pat", call("ann"));
    stage.mcu_tells(&[("ann", Some(EndpointStatus::Connected))]);
    stage.look();
    let ann = stage.join("ann");
    assert_eq!(granted(&stage.look(), ann), Some(Role::Presenter));
}

#[test]
fn an_attendee_calls_nobody_but_himself() {
    let mut stage = Stage::new();
    stage.join("ann");
    let bob = stage.join("bob");
    stage.mcu_ready();
    stage.look();
    let others = stage.command(bob, "bob", call("eve"));
    assert_eq!(command_refused(&stage.look(), others), Some(Reason::AttendeeDialOut));
    assert_eq!(Reason::AttendeeDialOut.diagnostics(), Some(3015));
    let himself = stage.command(bob, "bob", call("bob"));
    assert!(accepted(&stage.look(), himself));
    let dial_in = add_user("bob", Some(CHAT), "{web}", Some(JoiningMethod::DialedIn));
    let medium = stage.command(bob, "bob", dial_in);
    let done = stage.look();
    assert!(accepted(&done, medium));
    stage.mcu_succeeds(&mcu_command(&done));
    let done = stage.look();
    let ResultBody::AddUser { connection_info, .. } = &finished(&done, medium).unwrap().results[0].body
    else {
        panic!("{done:?}")
    };
    assert_eq!(connection_info[0].1, SERVER_URI);
}

#[test]
fn anybody_in_may_read_the_state() {
    let mut stage = Stage::new();
    stage.join("ann");
    let bob = stage.join("bob");
    stage.settle();
    stage.look();
    let command = stage.command(bob, "bob", Command::GetConference(keys()));
    let done = stage.look();
    assert!(accepted(&done, command));
    let response = finished(&done, command).unwrap();
    let ResultBody::Conference(info) = &response.results[0].body else { panic!("{response:?}") };
    assert_eq!(info.state, State::Full);
    let full = stage.full_document("bob");
    assert_eq!((info.version, &info.users), (full.version, &full.users));
}

#[test]
fn a_leader_ends_the_meeting() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    stage.mcu_ready();
    let subscriptions = [stage.subscribe("ann"), stage.subscribe("bob")];
    stage.look();
    let refused = stage.command(bob, "bob", Command::DeleteConference(keys()));
    assert_eq!(command_refused(&stage.look(), refused), Some(Reason::NotPresenter));

    let command = stage.command(ann, "ann", Command::DeleteConference(keys()));
    let done = stage.look();
    let response = finished(&done, command).unwrap();
    let ResultBody::Conference(info) = &response.results[0].body else { panic!("{response:?}") };
    assert_eq!(info.entity, CONFERENCE);
    let answered = place(&done, |action| matches!(action, Action::FinishCommand { .. }));
    for join in [ann, bob] {
        assert_eq!(ended(&done, join), Some(Ending::ConferenceEnded));
        assert!(answered < place(&done, |action| matches!(action, Action::EndJoin { .. })));
    }
    for subscription in subscriptions {
        assert!(done.contains(&Action::EndSubscription { subscription }));
    }
    assert!(matches!(mcu_command(&done).commands[0], Command::DeleteConference(_)));
    assert_eq!(done.last(), Some(&Action::End));
}

#[test]
fn one_command_at_a_time() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.look();
    let mut request = stage.request("ann", lock(true));
    request.commands.push(eject("bob"));
    let command = stage.command_with(ann, request);
    let done = stage.look();
    let Some(Action::AcceptCommand { response, .. }) = done.first() else { panic!("{done:?}") };
    assert_eq!((response.code, response.results.len()), (Code::Pending, 2));
    let response = finished(&done, command).unwrap();
    assert_eq!((response.code, response.failure_reason()), (Code::Failure, Some("notSupported")));
    assert!(!stage.stored.locked);
}

#[test]
fn who_left_gets_no_late_answers_that_matter() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.join("pat");
    stage.mcu_ready();
    stage.look();
    let command = stage.command(ann, "ann", give_role("pat", Role::Attendee));
    let request = mcu_command(&stage.look());
    stage.leave(ann);
    stage.mcu_succeeds(&request);
    // The answer names her dialog; the shell knows that it is gone.
    assert_eq!(verdict(&stage.look(), command), Some("success"));
}
