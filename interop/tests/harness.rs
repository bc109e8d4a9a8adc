//! The harness itself, without the server: each foreign client starts, and is heard.

use confab_interop::baresip::Baresip;
use confab_interop::dns::Dns;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::sound::TONES;
use confab_interop::voice::Voice;
use confab_interop::{Deadline, Line, Process, Tool, namespace, ports};

#[test]
fn two_sipes_start() {
    namespace::run("two_sipes_start", &[Tool::Sipe], |scratch| {
        let nobody = ports::free();
        let mut clients = ["alice", "bob"].map(|name| Sipe::start(scratch, name, SignOn::Tcp(nobody)));
        for client in &mut clients {
            client.wait("ready", |_| true);
            client.wait("connection-error", |event| event["code"] == 0);
        }
        assert_eq!(
            clients[0].try_command(&["im", "sip:bob@example.test", "it's"]),
            Err("not connected".into())
        );
        clients.into_iter().for_each(Sipe::quit);
    });
}

#[test]
fn two_baresips_call() {
    namespace::run("two_baresips_call", &[Tool::Baresip], |scratch| {
        let address = ports::free();
        let voice = Voice::plain(TONES[0]);
        let mut bob = Baresip::unregistered(scratch, "bob", address, &voice);
        let mut alice = Baresip::unregistered(scratch, "alice", ports::free(), &voice);
        alice.command("dial", &format!("sip:bob@{address};transport=tcp"));
        alice.wait("CALL_ESTABLISHED");
        bob.wait("CALL_ESTABLISHED");
        alice.command("hangup", "");
        bob.wait("CALL_CLOSED");
    });
}

#[test]
fn two_sipps_call() {
    namespace::run("two_sipps_call", &[Tool::Sipp], |scratch| {
        for transport in [Transport::Udp, Transport::Tcp] {
            let scenario = |file, server| Scenario {
                file,
                server,
                transport,
                user: "alice",
                password: "sesame",
                authenticated_uri: "example.test",
                keys: &[],
                call_id: None,
            };
            let answerer = Sipp::start(scratch, &scenario("harness_answer", None));
            Sipp::run(scratch, &scenario("register_digest", Some(answerer.address())));
            answerer.finish();
        }
    });
}

#[test]
fn dnsmasq_answers() {
    namespace::run("dnsmasq_answers", &[Tool::Namespace, Tool::Dnsmasq], |scratch| {
        let server = ports::free();
        let _dns = Dns::start(scratch, "_sip._tcp.example.test", "sip.example.test", server);
        let look_up = |host| {
            let mut command = std::process::Command::new("getent");
            command.args(["ahostsv4", host]);
            let mut process = Process::start(scratch, "getent", command);
            process.line(Deadline::step())
        };
        let Line::Text(address) = look_up("sip.example.test") else { panic!("no address came") };
        assert!(address.starts_with("127.0.0.1 "), "{address}");
        assert_eq!(look_up("nowhere.example.test"), Line::Ended);
    });
}
