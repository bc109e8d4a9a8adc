//! SIPE sees who is there, and talks with one person.

use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Server, Tool, namespace};

#[test]
fn a_sipe_sees_another_come_and_go() {
    namespace::run("a_sipe_sees_another_come_and_go", &[Tool::Sipe], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let at = SignOn::Tcp(server.address());
        let mut bob = Sipe::signed_on(scratch, "bob", at);
        let mut alice = Sipe::signed_on(scratch, "alice", at);
        // It clears its local list once, when the server's has come; who is added before is forgotten.
        alice.wait_logged("sipe_buddy_cleanup_local_list");
        alice.command(&["add-buddy", &bob.uri()]);
        let presence = |online: bool, status: &'static str| {
            let bob = bob.uri();
            move |event: &serde_json::Value| {
                event["who"] == bob && event["online"] == online && event["status"] == status
            }
        };
        alice.wait("presence", presence(true, "available"));
        let (busy, offline) = (presence(true, "busy"), presence(false, "offline"));
        bob.command(&["status", "busy"]);
        alice.wait("presence", busy);
        bob.quit();
        alice.wait("presence", offline);
        alice.quit();
    });
}

#[test]
fn two_sipes_talk() {
    namespace::run("two_sipes_talk", &[Tool::Sipe], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        // One of them over TLS: the server carries messages from one transport to another.
        let mut alice = Sipe::signed_on(scratch, "alice", SignOn::Tcp(server.address()));
        let mut bob = Sipe::signed_on(scratch, "bob", SignOn::Tls(server.tls_address()));
        alice.command(&["im", &bob.uri(), "are you there?"]);
        hears(&mut bob, &alice.uri(), "are you there?");
        bob.command(&["typing", &alice.uri()]);
        let typist = bob.uri();
        alice.wait("typing", |event| event["who"] == typist);
        bob.command(&["im", &alice.uri(), "I am"]);
        hears(&mut alice, &bob.uri(), "I am");
        alice.quit();
        bob.quit();
    });
}

fn hears(client: &mut Sipe, who: &str, text: &str) {
    client.wait("message", |event| {
        event["kind"] == "im" && event["dir"] == "in" && event["who"] == who && event["text"] == text
    });
}
