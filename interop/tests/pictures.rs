//! Video phones in a conference: who speaks is seen by the others.

use confab_interop::baresip::Baresip;
use confab_interop::server::Authentication;
use confab_interop::sound::TONES;
use confab_interop::voice::Voice;
use confab_interop::{Server, Tool, namespace};

#[test]
fn video_phones_see_each_other() {
    namespace::run("video_phones_see_each_other", &[Tool::Baresip], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let phone =
            |user, tone| Baresip::guest(scratch, user, server.address(), &Voice::plain(tone).with_picture());
        let (mut bob, mut carol) = (phone("bob", TONES[0]), phone("carol", TONES[1]));
        bob.dial("sip:conference@example.test");
        carol.dial(&server.only_conference());
        bob.ear().hears(&[TONES[1]], &[TONES[0]]);
        bob.sees();
        carol.sees();
    });
}
