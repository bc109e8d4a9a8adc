//! Two unmodified OCS clients and a third: create, join, chat, lock, promote, eject, leave (mission steps 1 to 8).

use confab_interop::mcu::Mcu;
use confab_interop::meeting::Meeting;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Server, Tool, namespace};

#[test]
fn two_sipes_confer() {
    namespace::run("two_sipes_confer", &[Tool::Sipe], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_both_ways();
        meeting.lock_keeps_carol_out(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();
        meeting.leave();
        has_all_steps(&server.flow(meeting.id()));
        meeting.sign_off();
    });
}

#[test]
fn two_sipes_confer_through_a_remote_mcu() {
    namespace::run("two_sipes_confer_through_a_remote_mcu", &[Tool::Sipe], |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let mcu = Mcu::start(scratch, &server, "mcu");
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_both_ways();
        meeting.lock_keeps_carol_out(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();
        let flow = mcu.flow(meeting.id());
        assert!(flow.lines().any(|line| step_of(line) == Some(8)), "no step 8 in:\n{flow}");
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn three_sipes_are_in_a_large_meeting() {
    namespace::run("three_sipes_are_in_a_large_meeting", &[Tool::Sipe], |scratch| {
        let large = "\n[conferences]\nlarge_meeting = 2\n";
        let mut server = Server::start_with(scratch, Authentication::Nobody, large);
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_about("the first day");
        meeting.carol_makes_it_large(scratch, &server);
        meeting.chat_about("the second day");
        meeting.all_leave_but_alice(&server);
        meeting.bob_comes_again();
        meeting.chat_about("the third day");
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn a_conference_that_nobody_made_is_refused() {
    namespace::run("a_conference_that_nobody_made_is_refused", &[Tool::Sipe], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let mut carol = Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address()));
        let unknown = "sip:alice@example.test;gruu;opaque=app:conf:focus:id:NEVERMADE0000000";
        carol.command(&["join-conf", unknown]);
        carol.is_refused();
        carol.quit();
    });
}

/// `confab flow` shows the eight steps, one after the other. What has no part in the chain may stand anywhere:
/// the first notification may overtake the asking for a server.
fn has_all_steps(flow: &str) {
    let mut steps = flow.lines().filter_map(step_of);
    let missing = (1..=8).find(|step| !steps.any(|found| found == *step));
    assert!(missing.is_none(), "step {missing:?} does not follow the one before it in:\n{flow}");
}

/// The step of a line of the ladder: `# t from to step text`.
fn step_of(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace();
    words.next()?.parse::<u32>().ok()?; // a heading has none
    words.nth(3)?.parse().ok()
}
