//! REFER: people are brought in and taken out by who speaks no C3P.

use confab_conference::{
    focus::{Action, CommandId, Event, Referral},
    reason::Reason,
};
use confab_schema::{cccp::Command, conference_info::JoiningMethod};

use crate::{answers::*, stage::*};

fn refer(stage: &mut Stage, who: &str, target: &str, wanted: Referral) -> CommandId {
    let command = CommandId(stage.next_id());
    stage.hear(Event::Referred { command, user: user(who), target: user(target), wanted });
    command
}

fn call(uri: &str) -> Referral {
    Referral::Call { uri: uri.into() }
}

/// Ann, who leads, and Bob, who does not; the chat server is ready.
fn meeting() -> Stage {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.join("bob");
    stage.mcu_ready();
    stage.settle();
    stage.look();
    stage
}

#[test]
fn a_leader_has_somebody_called() {
    let mut stage = meeting();
    let command = refer(&mut stage, "ann", "eve", call("sip:eve@example.test;transport=tcp"));
    let done = stage.look();
    assert!(accepted(&done, command));
    let add = mcu_command(&done);
    let [Command::AddUser(wanted)] = add.commands.as_slice() else { panic!("{add:?}") };
    assert_eq!(
        (wanted.mcu_uri.as_deref(), wanted.user.entity.as_str()),
        (Some(CHAT), "sip:eve@example.test")
    );
    let endpoint = &wanted.user.endpoints[0];
    assert_eq!(endpoint.joining_method, Some(JoiningMethod::DialedOut));
    assert_eq!(endpoint.refer_to_uri.as_deref(), Some("sip:eve@example.test;transport=tcp"));
    stage.mcu_succeeds(&add);
    let done = stage.look();
    assert_eq!(verdict(&done, command), Some("success"));
    assert!(done.iter().any(|action| matches!(action, Action::FinishCommand { join: None, .. })));

    let failing = refer(&mut stage, "ann", "pat", call("sip:pat@example.test"));
    let add = mcu_command(&stage.look());
    stage.mcu_fails(&add, "otherFailure");
    assert_eq!(verdict(&stage.look(), failing), Some("otherFailure"));
}

#[test]
fn rights_are_those_of_commands() {
    let mut stage = meeting();
    for (who, target, wanted, reason) in [
        ("bob", "eve", call("sip:eve@example.test"), Reason::AttendeeDialOut),
        ("bob", "ann", Referral::Remove, Reason::NotPresenter),
        ("eve", "bob", call("sip:bob@example.test"), Reason::NotJoined),
        ("eve", "bob", Referral::Remove, Reason::NotJoined),
    ] {
        let command = refer(&mut stage, who, target, wanted);
        let done = stage.look();
        assert_eq!(command_refused(&done, command), Some(reason), "{who} {target}");
        assert!(mcu_commands(&done).is_empty());
    }
    let mut stage = Stage::new();
    stage.join("ann");
    let early = refer(&mut stage, "ann", "eve", call("sip:eve@example.test"));
    assert_eq!(command_refused(&stage.look(), early), Some(Reason::McuUnavailable));
}

#[test]
fn people_are_taken_out() {
    let mut stage = meeting();
    let eject = refer(&mut stage, "ann", "bob", Referral::Remove);
    let done = stage.look();
    assert!(accepted(&done, eject));
    let remove = mcu_command(&done);
    assert!(matches!(remove.commands[0], Command::DeleteUser { .. }));
    assert!(done.iter().any(|action| matches!(action, Action::EndJoin { .. })));
    stage.mcu_fails(&remove, "userDoesntExist");
    assert_eq!(verdict(&stage.look(), eject), Some("success"), "to remove who is not on the chat is done");
    let absent = refer(&mut stage, "ann", "eve", Referral::Remove);
    assert_eq!(verdict(&stage.look(), absent), Some("userDoesntExist"));
    let oneself = refer(&mut stage, "ann", "ann", Referral::Remove);
    let done = stage.look();
    assert_eq!(verdict(&done, oneself), Some("success"));
}

#[test]
fn the_end_leaves_none_without_an_outcome() {
    let mut stage = meeting();
    let command = refer(&mut stage, "ann", "eve", call("sip:eve@example.test"));
    stage.hear(Event::EndRequested);
    assert!(verdict(&stage.look(), command).is_some_and(|verdict| verdict != "success"));
}
