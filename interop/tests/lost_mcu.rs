//! A conferencing server dies in the middle of a chat, in each way there is: the chat goes on at the same clients.

use confab_interop::mcu::Mcu;
use confab_interop::meeting::Meeting;
use confab_interop::{Server, Tool, namespace};

#[test]
fn a_chat_outlives_a_server_that_is_killed() {
    namespace::run("a_chat_outlives_a_server_that_is_killed", &[Tool::Sipe], |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let mut first = Mcu::start(scratch, &server, "first");
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_about("the first server");
        let second = Mcu::start(scratch, &server, "second");
        first.kill();
        // At once, while nobody has noticed; and again when somebody has.
        meeting.chat_about("its end");
        meeting.chat_about("the second server");
        assert!(has_sessions(&second, &meeting));
        meeting.nothing_was_heard_twice();
        // Who comes later is in the same chat, and leaders still lead.
        meeting.carol_joins(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn a_chat_outlives_a_server_that_is_frozen() {
    namespace::run("a_chat_outlives_a_server_that_is_frozen", &[Tool::Sipe], |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let first = Mcu::start(scratch, &server, "first");
        let mut meeting = Meeting::begin(scratch, &mut server);
        let mut second = Mcu::start(scratch, &server, "second");
        first.freeze();
        meeting.chat_about("a server that stands still");
        assert!(has_sessions(&second, &meeting));
        // It wakes up with those words in its ears, and keeps them to itself.
        first.thaw();
        meeting.chat_about("its return");
        meeting.nothing_was_heard_twice();
        // It is as good as any other now.
        second.kill();
        meeting.chat_about("the end of the second");
        meeting.nothing_was_heard_twice();
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn a_chat_outlives_a_server_that_is_cut_off() {
    let needs = [Tool::Sipe, Tool::Namespace];
    namespace::run("a_chat_outlives_a_server_that_is_cut_off", &needs, |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let first = Mcu::start_apart(scratch, &server, "first");
        let mut meeting = Meeting::begin(scratch, &mut server);
        let second = Mcu::start(scratch, &server, "second");
        first.cut_off();
        meeting.chat_about("a server that nobody reaches");
        assert!(has_sessions(&second, &meeting));
        first.reconnect();
        // It lets its conference go by itself.
        first.drain();
        meeting.chat_about("its return");
        meeting.nothing_was_heard_twice();
        meeting.leave();
        meeting.sign_off();
    });
}

/// Whether an MCU took sessions over: its flow of the conference has step 8.
fn has_sessions(mcu: &Mcu, meeting: &Meeting) -> bool {
    mcu.flow(meeting.id()).lines().any(|line| line.split_whitespace().nth(4) == Some("8"))
}
