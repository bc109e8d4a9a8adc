//! What no foreign client can do: SIPp scenarios written by hand from the protocol, sharing no code with the server.

use confab_interop::server::Authentication;
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::{Deadline, Scratch, Server, Tool, namespace, poll};

/// The conference that alice makes.
const ID: &str = "HARVEST20261121";
const FOCUS: &str = "sip:alice@example.test;gruu;opaque=app:conf:focus:id:HARVEST20261121";
/// A setting of the IM MCU, which has none.
const MUTE_ALL: &str = "<modifyConference mscp:mcuUri=\"sip:alice@example.test;gruu;opaque=app:conf:chat:id:HARVEST20261121\" \
    xmlns:mscp=\"http://schemas.microsoft.com/rtc/2005/08/cccpextensions\"><ci:conference-info \
    entity=\"sip:alice@example.test;gruu;opaque=app:conf:focus:id:HARVEST20261121\" state=\"partial\"/></modifyConference>";
const ANNOUNCE: &str = "<modifyConferenceAnnouncements><conferenceKeys \
    confEntity=\"sip:alice@example.test;gruu;opaque=app:conf:focus:id:HARVEST20261121\"/><enabled>true</enabled>\
    </modifyConferenceAnnouncements>";

/// Starts a scenario of this user over TCP, with the conference and perhaps a C3P command to fill in.
fn start(scratch: &Scratch, server: &Server, file: &str, user: &str, command: &str) -> Sipp {
    let scenario = Scenario {
        file,
        server: Some(server.address()),
        transport: Transport::Tcp,
        user,
        password: "unused",
        authenticated_uri: "example.test",
        keys: &[("conf", ID), ("command", command)],
        call_id: None,
    };
    Sipp::start(scratch, &scenario)
}

/// A server on which alice has made the conference.
fn with_conference(scratch: &Scratch) -> Server {
    let mut server = Server::start(scratch, Authentication::Nobody);
    server.watch(ID);
    start(scratch, &server, "factory_create", "alice", "").finish();
    server
}

fn roles_of_bob(role: &str) -> String {
    format!(
        "<modifyUserRoles><userKeys confEntity=\"{FOCUS}\" userEntity=\"sip:bob@example.test\"/>\
         <ci:user-roles><ci:entry>{role}</ci:entry></ci:user-roles></modifyUserRoles>"
    )
}

#[test]
fn the_factory_reads_and_deletes() {
    namespace::run("the_factory_reads_and_deletes", &[Tool::Sipp], |scratch| {
        let server = with_conference(scratch);
        start(scratch, &server, "factory_read_delete", "alice", "").finish();
        start(scratch, &server, "join_unknown", "bob", "").finish();
    });
}

#[test]
fn a_conference_outlives_a_power_failure() {
    namespace::run("a_conference_outlives_a_power_failure", &[Tool::Sipp], |scratch| {
        let mut server = with_conference(scratch);
        server.kill_and_restart(scratch);
        start(scratch, &server, "factory_read_delete", "alice", "").finish();
    });
}

#[test]
fn a_presenter_is_made_attendee_and_the_meeting_ends() {
    namespace::run("a_presenter_is_made_attendee_and_the_meeting_ends", &[Tool::Sipp], |scratch| {
        let server = with_conference(scratch);
        let mut member = start(scratch, &server, "member", "bob", "");
        member.wait_logged("bob has joined");
        let mut bob = start(scratch, &server, "watch", "bob", "");
        bob.wait_logged("bob is watching");
        start(scratch, &server, "command", "alice", &roles_of_bob("presenter")).finish();
        bob.wait_logged("bob is presenter");
        start(scratch, &server, "command", "alice", &roles_of_bob("attendee")).finish();
        bob.wait_logged("bob is attendee");
        start(scratch, &server, "end_meeting", "alice", "").finish();
        bob.finish();
        member.finish();
    });
}

#[test]
fn an_attendee_commands_nobody() {
    namespace::run("an_attendee_commands_nobody", &[Tool::Sipp], |scratch| {
        let server = with_conference(scratch);
        let eject = format!(
            "<deleteUser><userKeys confEntity=\"{FOCUS}\" userEntity=\"sip:alice@example.test\"/></deleteUser>"
        );
        let lock = format!(
            "<modifyConferenceLock><conferenceKeys confEntity=\"{FOCUS}\"/><locked>true</locked></modifyConferenceLock>"
        );
        for command in [&eject, &lock, &roles_of_bob("presenter"), MUTE_ALL, ANNOUNCE] {
            start(scratch, &server, "command_refused", "bob", command).finish();
        }
    });
}

#[test]
fn the_factory_changes_and_lists() {
    namespace::run("the_factory_changes_and_lists", &[Tool::Sipp], |scratch| {
        let server = with_conference(scratch);
        start(scratch, &server, "factory_modify_list", "alice", "").finish();
        let read = format!("<getConference><conferenceKeys confEntity=\"{FOCUS}\"/></getConference>");
        start(scratch, &server, "command", "bob", &read).finish();
    });
}

#[test]
fn commands_that_cannot_be_done_say_so() {
    namespace::run("commands_that_cannot_be_done_say_so", &[Tool::Sipp], |scratch| {
        let mut server = with_conference(scratch);
        let mut member = start(scratch, &server, "member", "bob", "");
        member.wait_logged("bob has joined");
        let ready = || server.flow(ID).contains("/LiveServer/IMMCU/").then_some(());
        poll(Deadline::step(), ready).expect("the IM MCU becomes ready");
        for (command, why) in
            [(MUTE_ALL, "notSupported"), (ANNOUNCE, "notSupported"), ("<endorseUser/>", "otherFailure")]
        {
            let mut alice = start(scratch, &server, "command_failed", "alice", command);
            alice.wait_logged(&format!("it failed: {why}"));
            alice.finish();
        }
        let lobby = format!(
            "<setLobbyAccess><conferenceKeys confEntity=\"{FOCUS}\"/><userEntity>sip:bob@example.test</userEntity>\
             <access>denied</access></setLobbyAccess>"
        );
        start(scratch, &server, "command_refused", "carol", &lobby).finish();
        let mut alice = start(scratch, &server, "command_failed", "alice", &lobby);
        alice.wait_logged("it failed: alreadyAdmitted");
        alice.finish();
        let endpoint = "<modifyEndpoint/>";
        start(scratch, &server, "command_unknown", "carol", endpoint).finish();
        start(scratch, &server, "end_meeting", "alice", "").finish();
        member.finish();
    });
}

#[test]
fn a_stranger_may_not_watch() {
    namespace::run("a_stranger_may_not_watch", &[Tool::Sipp], |scratch| {
        let server = with_conference(scratch);
        start(scratch, &server, "subscribe_refused", "mallory", "").finish();
    });
}
