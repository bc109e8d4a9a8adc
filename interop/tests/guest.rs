//! Somebody who has not signed in, in Python from the specifications: with the conference's key he joins SIPE clients.

use confab_interop::guest::{self, Guest, KEY};
use confab_interop::meeting::Meeting;
use confab_interop::server::Authentication;
use confab_interop::{Server, Tool, namespace};

#[test]
fn a_guest_with_the_key_joins_two_sipes() {
    let needs = [Tool::Sipe, Tool::Sipp, Tool::Python];
    namespace::run("a_guest_with_the_key_joins_two_sipes", &needs, |scratch| {
        let more = "\n[conferences]\nallow_anonymous = true\n";
        let mut server = Server::start_with(scratch, Authentication::Nobody, more);
        let mut meeting = Meeting::begin(scratch, &mut server);
        guest::open(scratch, &server, meeting.id());

        let mut guest = Guest::start(scratch, &server, meeting.uri(), KEY, "Harvest Hand");
        guest.says("challenged");
        guest.says("a wrong key is refused");
        let who = guest.says("in as ");
        guest.says("sees sip:alice@example.test sip:bob@example.test");
        meeting.sees_come(&who);
        meeting.alice.hears(&who, "hello, I am new here");
        meeting.bob.hears(&who, "hello, I am new here");
        meeting.alice.says("welcome");
        guest.says("heard welcome from sip:alice@example.test");
        guest.says("refused elsewhere");
        guest.says("may not lock");
        meeting.promote(&who);
        guest.says("is presenter");
        guest.says("has locked");
        meeting.eject(&who);
        guest.says("put out: ");
        meeting.chat_about("the guest");
        meeting.leave();
        meeting.sign_off();
    });
}
