//! SIPp: Digest over UDP and TCP, OPTIONS, and a MESSAGE from one transport to the other.

use confab_interop::server::Authentication;
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::{Server, Tool, namespace};

const ACCOUNTS: Authentication = Authentication::Digest(&[("alice", "wonderland"), ("bob", "builder")]);

/// alice, over TCP.
const ALICE: Scenario = Scenario {
    file: "",
    server: None,
    transport: Transport::Tcp,
    user: "alice",
    password: "wonderland",
    authenticated_uri: "example.test",
    keys: &[],
    call_id: None,
};

#[test]
fn sipp_registers_over_udp_and_tcp() {
    namespace::run("sipp_registers_over_udp_and_tcp", &[Tool::Sipp], |scratch| {
        let confab = Server::start(scratch, ACCOUNTS);
        let server = Some(confab.address());
        for transport in [Transport::Udp, Transport::Tcp] {
            Sipp::run(scratch, &Scenario { file: "register_digest", server, transport, ..ALICE });
            let password = "looking-glass";
            Sipp::run(scratch, &Scenario { file: "register_refused", server, transport, password, ..ALICE });
        }
    });
}

#[test]
fn sipp_sends_a_message_to_sipp() {
    namespace::run("sipp_sends_a_message_to_sipp", &[Tool::Sipp], |scratch| {
        let confab = Server::start(scratch, ACCOUNTS);
        let server = Some(confab.address());
        for (from, to) in [(Transport::Tcp, Transport::Udp), (Transport::Udp, Transport::Tcp)] {
            let bob = Scenario {
                file: "receive_message",
                server,
                transport: to,
                user: "bob",
                password: "builder",
                ..ALICE
            };
            let mut bob = Sipp::start(scratch, &bob);
            bob.wait_logged("registered");
            let call_id = Some(bob.call_id());
            let authenticated_uri = "bob@example.test";
            Sipp::run(
                scratch,
                &Scenario {
                    file: "send_message",
                    server,
                    transport: from,
                    authenticated_uri,
                    call_id,
                    ..ALICE
                },
            );
            bob.finish();
        }
    });
}
