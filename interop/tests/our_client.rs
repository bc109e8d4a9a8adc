//! Our own client finds the server by itself, through DNS, and is in one conference with a SIPE.

use confab_interop::server::{self, Authentication};
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Deadline, Process, Scratch, Server, Tool, dns::Dns, namespace};

const NEEDS: [Tool; 3] = [Tool::Sipe, Tool::Dnsmasq, Tool::Namespace];

#[test]
fn our_client_finds_the_server_and_invites_a_sipe() {
    namespace::run("our_client_finds_the_server_and_invites_a_sipe", &NEEDS, |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let _dns =
            Dns::start(scratch, "_sipinternal._tcp.example.test", "sip.example.test", server.address());
        let mut alice = Sipe::signed_on(scratch, "alice", SignOn::Discover);
        let mut vivian = Caller::start(scratch, &["--invite", "alice@example.test"]);
        server.watch(vivian.id());
        vivian.sees("alice@example.test is here as attendee");
        let chat = chat_of(&mut alice);
        talk(&mut vivian, &mut alice, &chat);

        vivian.types("/eject alice@example.test");
        vivian.sees("alice@example.test has left");
        alice.wait("message", |event| {
            event["conv"] == chat.as_str()
                && event["text"].as_str().is_some_and(|text| text.contains("disconnected"))
        });
        vivian.leaves();
        alice.quit();
    });
}

#[test]
fn our_client_finds_the_server_over_tls_and_joins_a_sipe() {
    namespace::run("our_client_finds_the_server_over_tls_and_joins_a_sipe", &NEEDS, |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let service = "_sipinternaltls._tcp.example.test";
        let _dns = Dns::start(scratch, service, "sip.example.test", server.tls_address());
        let mut alice = Sipe::signed_on(scratch, "alice", SignOn::Discover);
        let _bob = Sipe::signed_on(scratch, "bob", SignOn::Discover);
        alice.command(&["new-conf", "sip:bob@example.test"]);
        let chat = chat_of(&mut alice);
        let focus = alice.focus_uri();
        let certificate = server.certificate();
        let certificate = certificate.to_str().expect("the temporary folder has a plain name");
        let mut vivian = Caller::start(scratch, &[&focus, "--trust", certificate]);
        server.watch(vivian.id());
        vivian.sees("alice@example.test is here as presenter");
        vivian.sees("bob@example.test is here as attendee");
        talk(&mut vivian, &mut alice, &chat);

        alice.command(&["chat-eject", &chat, "sip:vivian@example.test"]);
        vivian.sees("A leader removed you from the conference.");
        assert!(vivian.process.wait(Deadline::step()).success());
    });
}

/// Vivian at `confab call`, who is in a conference.
struct Caller {
    process: Process,
    conference: String,
}

impl Caller {
    fn start(scratch: &Scratch, words: &[&str]) -> Caller {
        let words = [&["--user", "vivian@example.test"], words].concat();
        let mut process = server::call(scratch, "vivian", &words);
        let line = process.wait_line(Deadline::step(), |line| line.starts_with("* You are in "));
        let conference = line.split(' ').nth(4).expect("the line names the conference").to_owned();
        Caller { process, conference }
    }

    fn id(&self) -> &str {
        self.conference.rsplit(':').next().expect("its URI ends in its ID")
    }

    fn types(&mut self, line: &str) {
        self.process.write_line(line);
    }

    fn sees(&mut self, text: &str) {
        self.process.wait_line(Deadline::step(), |line| line.contains(text));
    }

    fn leaves(mut self) {
        self.types("/leave");
        self.sees("You have left the conference.");
        assert!(self.process.wait(Deadline::step()).success());
    }
}

/// Both hear each other.
fn talk(vivian: &mut Caller, alice: &mut Sipe, chat: &str) {
    let hears = |event: &serde_json::Value, who: &str, text: &str| {
        event["conv"] == chat && event["dir"] == "in" && event["who"] == who && event["text"] == text
    };
    alice
        .wait("chat-user-joined", |event| event["conv"] == chat && event["who"] == "sip:vivian@example.test");
    vivian.types("good morning & <welcome>");
    alice.wait("message", |event| hears(event, "sip:vivian@example.test", "good morning & <welcome>"));
    alice.command(&["chat-send", chat, "morning, who else comes?"]);
    vivian.sees("alice@example.test: morning, who else comes?");
}

fn chat_of(client: &mut Sipe) -> String {
    let joined = client.wait("chat-joined", |_| true);
    joined["conv"].as_str().expect("a chat has a name").to_owned()
}
