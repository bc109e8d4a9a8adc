//! A Focus is a value: written down in the middle of a meeting and read again, it goes on as it
//! would have.

use std::time::Duration;

use confab_conference::{
    focus::{Action, CommandId, Event, Focus, InviteId, Referral},
    policy::Identity,
};
use confab_machine::{Entropy, Machine};
use confab_schema::{
    conference_info::{EndpointStatus, Role, View},
    uri::McuType,
};

use crate::{answers::*, stage::*};

fn written(focus: &Focus) -> String {
    serde_json::to_string(focus).unwrap()
}

fn read(snapshot: &str) -> Focus {
    serde_json::from_str(snapshot).unwrap()
}

/// A meeting with something under way in every corner of the Focus.
fn meeting() -> Stage {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.join("bob");
    stage.join_with("bob", "{other}");
    stage.mcu_ready();
    stage.subscribe("ann");
    stage.subscribe_for("bob", View::Rfc4575);
    stage.mcu_tells(&[("bob", Some(EndpointStatus::Connected))]);
    stage.settle();
    stage.command(ann, "ann", lock(true));
    stage.command(ann, "ann", give_role("bob", Role::Presenter));
    stage.command(ann, "ann", call("bob"));
    stage.invite("ann");
    let invite = InviteId(stage.next_id());
    let (identity, display_name) = (Identity::Enterprise, "PAT".into());
    let offered = vec![McuType::Chat];
    stage.hear(Event::JoinMedium { invite, user: user("pat"), identity, display_name, offered });
    let command = CommandId(stage.next_id());
    let wanted = Referral::Call { uri: "sip:bob@example.test".into() };
    stage.hear(Event::Referred { command, user: user("ann"), target: user("bob"), wanted });
    stage.join("eve");
    stage.look();
    stage
}

#[test]
fn it_reads_back_as_it_was_written() {
    let stage = meeting();
    let bytes = written(&stage.focus);
    let focus: Focus = read(&bytes);
    assert_eq!(written(&focus), bytes);
    assert_eq!(focus.record(), stage.focus.record());
    assert_eq!(focus.deadline(), stage.focus.deadline());
}

#[test]
fn it_goes_on_as_it_would_have() {
    let go_on = |restore: bool| -> Vec<Action> {
        let mut stage = meeting();
        if restore {
            stage.focus = read(&written(&stage.focus));
        }
        // A snapshot holds no entropy: it is seeded anew.
        stage.focus.seed(Entropy::from_seed([2; 32]));
        let pat = stage.join("pat");
        stage.invite("ann");
        let requests = mcu_commands(&stage.done);
        stage.mcu_succeeds(&requests[0]);
        for request_id in 1..10 {
            stage.hear(Event::McuUnreachable { media: McuType::Chat, request_id });
        }
        stage.command(pat, "pat", lock(false));
        stage.command(pat, "pat", eject("bob"));
        stage.leave(pat);
        stage.wait(Duration::from_secs(60));
        stage.hear(Event::EndRequested);
        stage.look()
    };
    let (without, with) = (go_on(false), go_on(true));
    assert_eq!(without.last(), Some(&Action::End));
    assert_eq!(without, with);
}

#[test]
fn one_that_waits_for_its_server_waits_on() {
    let mut stage = Stage::new();
    stage.join("ann");
    let invite = stage.invite("ann");
    stage.hear(Event::McuUnavailable { media: McuType::Chat });
    stage.look();
    stage.focus = read(&written(&stage.focus));
    stage.focus.seed(Entropy::from_seed([3; 32]));
    stage.wait(Duration::from_secs(2));
    assert_eq!(stage.look(), [Action::RequestMcu { media: McuType::Chat }]);
    stage.mcu_ready();
    stage.mcu_succeeds(&mcu_command(&stage.done));
    assert_eq!(forwarded(&stage.look(), invite), Some(SERVER_URI));
}
