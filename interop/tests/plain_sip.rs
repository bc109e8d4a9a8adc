//! Ordinary SIP phones: Digest, and calls routed both ways.

use confab_interop::baresip::{Account, Baresip};
use confab_interop::server::Authentication;
use confab_interop::{Server, Tool, namespace};

const ACCOUNTS: Authentication = Authentication::Digest(&[("alice", "wonderland"), ("bob", "builder")]);

#[test]
fn two_phones_register_and_call_each_other() {
    namespace::run("two_phones_register_and_call_each_other", &[Tool::Baresip], |scratch| {
        let confab = Server::start(scratch, ACCOUNTS);
        let server = confab.address();
        let mut alice = Baresip::start(
            scratch,
            &Account { user: "alice", password: "wonderland", transport: "tcp", server },
        );
        let mut bob =
            Baresip::start(scratch, &Account { user: "bob", password: "builder", transport: "udp", server });
        alice.wait("REGISTER_OK");
        bob.wait("REGISTER_OK");
        call(&mut alice, &mut bob, "bob");
        call(&mut bob, &mut alice, "alice");
    });
}

#[test]
fn a_wrong_password_is_refused() {
    namespace::run("a_wrong_password_is_refused", &[Tool::Baresip], |scratch| {
        let confab = Server::start(scratch, ACCOUNTS);
        let server = confab.address();
        for (user, password) in [("alice", "looking-glass"), ("mallory", "wonderland")] {
            let mut phone = Baresip::start(scratch, &Account { user, password, transport: "tcp", server });
            let answer = phone.wait_any(&["REGISTER_OK", "REGISTER_FAIL"]);
            assert_eq!(answer["type"], "REGISTER_FAIL", "{user}: {answer}");
        }
    });
}

/// The caller dials, the callee answers, the callee hangs up: both hear of each.
fn call(caller: &mut Baresip, callee: &mut Baresip, user: &str) {
    caller.command("dial", &format!("sip:{user}@example.test"));
    for phone in [&mut *caller, &mut *callee] {
        phone.wait("CALL_ESTABLISHED");
    }
    callee.command("hangup", "");
    caller.wait("CALL_CLOSED");
}
