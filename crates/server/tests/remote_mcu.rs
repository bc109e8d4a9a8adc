//! An MCU as a process of its own: a front end and one or two MCUs on loopback, over mutual TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "remote_mcu/deployment.rs"]
mod deployment;
#[path = "cli/program.rs"]
#[expect(dead_code, reason = "the tests of the command line use more of it")]
mod program;
#[path = "remote_mcu/strangers.rs"]
mod strangers;

use deployment::{Caller, FrontEnd, Mcu};

#[test]
fn two_people_chat_through_it() {
    let front_end = FrontEnd::start();
    let mcu = Mcu::start(&front_end);
    let mut ann = Caller::creates(&front_end, "ann");
    let mut bob = Caller::joins(&front_end, "bob", &ann.conference);
    ann.program.says("bob@example.test is here as attendee");
    bob.program.types("here I am");
    ann.program.says("bob@example.test: here I am");
    ann.program.types("hello & <welcome>");
    bob.program.says("ann@example.test: hello & <welcome>");
    assert!(mcu.has(&ann), "the MCU of the other process did it");

    ann.program.types("/eject bob@example.test");
    bob.program.says("A leader removed you");
    assert!(bob.program.ends().success);
    ann.program.types("/end");
    assert!(ann.program.ends().success);
}

#[test]
fn a_drained_one_gets_no_more_conferences_and_says_when_the_last_is_gone() {
    let front_end = FrontEnd::start();
    let first = Mcu::start(&front_end);
    let mut ann = Caller::creates(&front_end, "ann");
    ann.chats_with(&front_end, "amy");
    assert!(first.has(&ann));
    let mut drain = first.drains();
    drain.says("takes no more conferences");
    drain.says("1 conference is not over yet");

    let second = Mcu::start(&front_end);
    let mut bob = Caller::creates(&front_end, "bob");
    bob.chats_with(&front_end, "ben");
    assert!(second.has(&bob) && !first.has(&bob));
    // What was there goes on.
    ann.chats_with(&front_end, "eve");
    ann.program.types("/end");
    assert!(ann.program.ends().success);
    drain.says("No conference is left");
    assert!(drain.ends().success);

    let refused = front_end.place.confab(&["drain"], "").refused();
    assert!(refused.contains("only a conferencing server"), "{refused}");
    let refused = first.place.confab(&["conference", "list"], "").refused();
    assert!(refused.contains("the front end knows"), "{refused}");
}

#[test]
fn one_that_was_started_again_is_linked_again() {
    let front_end = FrontEnd::start();
    let mut mcu = Mcu::start(&front_end);
    let mut ann = Caller::creates(&front_end, "ann");
    ann.chats_with(&front_end, "amy");
    ann.program.types("/end");
    assert!(ann.program.ends().success);
    mcu.is_killed_and_started_again();
    let mut bob = Caller::creates(&front_end, "bob");
    bob.chats_with(&front_end, "ben");
    assert!(mcu.has(&bob));
}

#[test]
fn one_that_was_started_again_at_once_goes_on_with_its_chats() {
    let front_end = FrontEnd::start();
    let mut mcu = Mcu::start(&front_end);
    let mut ann = Caller::creates(&front_end, "ann");
    let mut bob = Caller::joins(&front_end, "bob", &ann.conference);
    ann.program.says("bob@example.test is here as attendee");
    bob.program.types("before");
    ann.program.says("bob@example.test: before");
    mcu.is_killed_and_started_again();
    bob.program.types("after");
    ann.program.says("bob@example.test: after");
    ann.program.types("so it is");
    bob.program.says("ann@example.test: so it is");
    assert!(mcu.has(&ann));
    ann.program.types("/end");
    assert!(ann.program.ends().success);
    assert!(bob.program.ends().success);
}
