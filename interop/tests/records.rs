//! What `confab conference show` says of calls that are over.

use confab_interop::baresip::{Account, Baresip};
use confab_interop::server::Authentication;
use confab_interop::sound::TONES;
use confab_interop::voice::Voice;
use confab_interop::{Deadline, Scratch, Server, Tool, namespace, poll};

/// What pat and bob say.
const PAT: u32 = TONES[2];
const BOB: u32 = TONES[1];

fn phone(scratch: &Scratch, server: &Server, user: &str, tone: u32) -> Baresip {
    let account = Account { user, password: "unused", transport: "tcp", server: server.address() };
    let mut phone = Baresip::registered(scratch, &account, &Voice::plain(tone));
    phone.wait("REGISTER_OK");
    phone
}

/// The line about the call of this person, when there is one.
fn call_of(server: &Server, id: &str, user: &str) -> String {
    let call = poll(Deadline::step(), || {
        let shown = server.confab(&["conference", "show", id]);
        shown.lines().find(|line| line.starts_with("call ") && line.contains(user)).map(str::to_owned)
    });
    call.expect("the call is written down")
}

#[test]
fn what_became_of_calls_is_shown() {
    namespace::run("what_became_of_calls_is_shown", &[Tool::Baresip, Tool::Namespace], |scratch| {
        let media = format!("\n[media]\naddresses = [\"{}\"]\n", namespace::ADDRESS);
        let mut server = Server::start_with(scratch, Authentication::Nobody, &media);
        let mut pat = phone(scratch, &server, "pat", PAT);
        pat.dial("sip:conference@example.test");
        let conference = server.only_conference();
        let id = conference.rsplit(':').next().expect("a conference has an ID").to_owned();
        let mut bob = phone(scratch, &server, "bob", BOB);
        bob.dial(&conference);
        pat.ear().hears(&[BOB], &[PAT]);
        bob.command("hangup", "");
        let call = call_of(&server, &id, "bob@example.test came");
        assert!(call.contains(", PCMU, departed; loss 0.0 %") && call.contains("MOS 4."), "{call}");

        server.confab(&["conference", "end", &id]);
        let call = call_of(&server, &id, "pat@example.test came");
        assert!(call.contains("departed (The conference has ended.); loss"), "{call}");
    });
}
