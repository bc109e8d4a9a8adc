//! A conferencing server in another language, written from `docs/protocol/control-link.md`: SIPE clients confer through it.

use confab_interop::mcu::Mcu;
use confab_interop::meeting::Meeting;
use confab_interop::{Server, Tool, namespace};

#[test]
fn two_sipes_confer_through_a_python_mcu() {
    namespace::run("two_sipes_confer_through_a_python_mcu", &[Tool::Sipe, Tool::Python], |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let mut mcu = Mcu::start_python(scratch, &server, "python");
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_both_ways();
        mcu.wait_line("connected sip:bob@example.test");
        meeting.lock_keeps_carol_out(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();

        // Another of its make takes over in the same dialogs.
        let mut successor = Mcu::start_python(scratch, &server, "successor");
        mcu.kill();
        meeting.chat_about("the new server");
        successor.wait_line(&format!("conference {}", meeting.uri()));
        meeting.nothing_was_heard_twice();
        meeting.leave();
        meeting.sign_off();
    });
}
