//! Two unmodified OCS clients go on talking, whatever others do to their server.

use confab_interop::attack::{Flood, Flooding, Held};
use confab_interop::meeting::Meeting;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Server, Tool, namespace};

/// Connections that are opened and say nothing.
const IDLE: usize = 10_000;
/// Handshakes that are begun and not ended.
const HALF_OPEN: usize = 1_000;
/// How often they speak during a flood, and how much of it comes each time before.
const ROUNDS: usize = 3;
const MUCH: u64 = 100;
/// The most memory the server may ever have had, in MiB.
const MEMORY: u64 = 1024;

#[test]
fn two_sipes_talk_through_ten_thousand_idle_connections() {
    let test = "two_sipes_talk_through_ten_thousand_idle_connections";
    namespace::run(test, &[Tool::Sipe, Tool::ManyFiles], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let mut meeting = Meeting::begin(scratch, &mut server);
        let idle = Held::open(server.address(), IDLE, b"");
        meeting.chat_about("idle connections");
        let half_open = Held::half_open(server.tls_address(), HALF_OPEN);
        meeting.chat_about("half-open ones");
        // Nobody was turned away for them, and newcomers get in.
        let carol = Sipe::signed_on(scratch, "carol", SignOn::Tls(server.tls_address()));
        assert_eq!(idle.open_still(), IDLE, "idle connections are held");
        drop((idle, half_open));
        meeting.chat_about("what is over");
        assert!(server.most_memory() < MEMORY, "it took {} MiB", server.most_memory());
        carol.quit();
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn two_sipes_talk_through_every_flood() {
    namespace::run("two_sipes_talk_through_every_flood", &[Tool::Sipe], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let mut meeting = Meeting::begin(scratch, &mut server);
        for flood in Flood::ALL {
            let flooding = Flooding::begin(flood, server.address(), server.tls_address());
            for round in 1..=ROUNDS {
                flooding.goes_on(MUCH);
                meeting.chat_about(&format!("{flood:?} {round}"));
            }
        }
        meeting.nothing_was_heard_twice();
        assert!(server.most_memory() < MEMORY, "it took {} MiB", server.most_memory());
        meeting.leave();
        meeting.sign_off();
    });
}
