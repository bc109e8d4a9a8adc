//! Two unmodified OCS clients and a third: create, join, chat, lock, promote, eject, leave (mission steps 1 to 8).

use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::{Scratch, Server, Tool, namespace};

#[test]
fn two_sipes_confer() {
    namespace::run("two_sipes_confer", &[Tool::Sipe], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_both_ways();
        meeting.lock_keeps_carol_out(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();
        meeting.leave();
        meeting.flow_has_all_steps(&mut server);
        meeting.sign_off();
    });
}

#[test]
fn two_sipes_confer_through_a_remote_mcu() {
    namespace::run("two_sipes_confer_through_a_remote_mcu", &[Tool::Sipe], |scratch| {
        let mut server = Server::start_with_remote_mcu(scratch);
        let mut meeting = Meeting::begin(scratch, &mut server);
        meeting.chat_both_ways();
        meeting.lock_keeps_carol_out(scratch, &server);
        meeting.promote_bob();
        meeting.eject_carol();
        let flow = server.flow_of_mcu(id_of(&meeting.focus));
        assert!(flow.lines().any(|line| step_of(line) == Some(8)), "no step 8 in:\n{flow}");
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn a_conference_that_nobody_made_is_refused() {
    namespace::run("a_conference_that_nobody_made_is_refused", &[Tool::Sipe], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let mut carol = Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address()));
        let unknown = "sip:alice@example.test;gruu;opaque=app:conf:focus:id:NEVERMADE0000000";
        carol.command(&["join-conf", unknown]);
        refusal(&mut carol);
        carol.quit();
    });
}

/// alice's conference, as its members see it.
struct Meeting {
    focus: String,
    alice: Member,
    bob: Member,
    carol: Option<Member>,
}

/// A client and the name its conference has there.
struct Member {
    client: Sipe,
    chat: String,
}

impl Meeting {
    /// alice creates a conference and invites bob, who is taken in; each sees the other.
    fn begin(scratch: &Scratch, server: &mut Server) -> Meeting {
        let at = SignOn::Tcp(server.address());
        let mut alice = Sipe::signed_on(scratch, "alice", at);
        let bob = Sipe::signed_on(scratch, "bob", at);
        alice.command(&["new-conf", &bob.uri()]);
        let mut alice = Member::joined(alice);
        let focus = alice.client.focus_uri();
        server.watch(id_of(&focus));
        let mut bob = Member::joined(bob);
        alice.sees("chat-user-joined", &bob.client.uri());
        bob.sees("chat-user-joined", &alice.client.uri());
        assert!(bob.leads(&alice.client.uri()), "the organizer is a presenter");
        assert!(!alice.leads(&bob.client.uri()), "an invited person is an attendee");
        Meeting { focus, alice, bob, carol: None }
    }

    fn chat_both_ways(&mut self) {
        self.alice.says("hello bob");
        self.bob.hears(&self.alice.client.uri(), "hello bob");
        self.bob.says("hello alice & all <of> you");
        self.alice.hears(&self.bob.client.uri(), "hello alice & all <of> you");
    }

    fn lock_keeps_carol_out(&mut self, scratch: &Scratch, server: &Server) {
        let mut carol = Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address()));
        self.alice.client.command(&["chat-lock", &self.alice.chat]);
        self.alice.is_offered("Unlock");
        carol.command(&["join-conf", &self.focus]);
        refusal(&mut carol);
        self.alice.client.command(&["chat-unlock", &self.alice.chat]);
        self.alice.is_offered("Lock");
        carol.command(&["join-conf", &self.focus]);
        let mut carol = Member::joined(carol);
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-joined", &carol.client.uri());
        }
        carol.says("here I am");
        self.bob.hears(&carol.client.uri(), "here I am");
        self.carol = Some(carol);
    }

    fn promote_bob(&mut self) {
        let bob = self.bob.client.uri();
        self.alice.client.command(&["chat-leader", &self.alice.chat, &bob]);
        for member in [&mut self.alice, &mut self.bob] {
            member.client.wait("chat-user-flags", |event| event["who"] == bob && event["leader"] == true);
        }
    }

    fn eject_carol(&mut self) {
        let mut carol = self.carol.take().expect("she has joined");
        let uri = carol.client.uri();
        // bob does it: he may since he was promoted.
        self.bob.client.command(&["chat-eject", &self.bob.chat, &uri]);
        carol.client.wait("message", |event| {
            let text = event["text"].as_str().unwrap_or_default();
            event["conv"] == carol.chat && event["dir"] == "system" && text.contains("disconnected")
        });
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-left", &uri);
        }
        carol.client.quit();
    }

    fn leave(&mut self) {
        self.bob.client.command(&["chat-leave", &self.bob.chat]);
        self.alice.sees("chat-user-left", &self.bob.client.uri());
        self.alice.client.command(&["chat-leave", &self.alice.chat]);
    }

    /// `confab flow` shows the eight steps; each begins after the one before it.
    fn flow_has_all_steps(&self, server: &mut Server) {
        let flow = server.flow(id_of(&self.focus));
        let steps: Vec<u32> = flow.lines().filter_map(step_of).collect();
        let begins = |step| steps.iter().position(|found| *found == step);
        let order: Vec<Option<usize>> = (1..=8).map(begins).collect();
        assert!(
            order.iter().all(Option::is_some) && order.is_sorted(),
            "steps begin at {order:?} in:\n{flow}"
        );
    }

    fn sign_off(self) {
        self.alice.client.quit();
        self.bob.client.quit();
    }
}

impl Member {
    /// Waits until the client is in the conference's chat.
    fn joined(mut client: Sipe) -> Member {
        Member { chat: chat_of(&mut client), client }
    }

    fn sees(&mut self, event: &str, who: &str) {
        self.client.wait(event, |event| event["conv"] == self.chat && event["who"] == who);
    }

    fn says(&mut self, text: &str) {
        self.client.command(&["chat-send", &self.chat, text]);
    }

    fn hears(&mut self, who: &str, text: &str) {
        self.client.wait("message", |event| {
            event["kind"] == "chat" && event["dir"] == "in" && event["who"] == who && event["text"] == text
        });
    }

    /// What a presenter may do with the conference changes with its lock; SIPE announces the lock in no other way.
    fn is_offered(&mut self, entry: &str) {
        let offered = |event: &serde_json::Value| {
            event["entries"].as_array().is_some_and(|entries| entries.iter().any(|offered| offered == entry))
        };
        self.client.ask_until(&["chat-menu", &self.chat], "menu", offered);
    }

    fn leads(&mut self, who: &str) -> bool {
        let chat = self.client.ask_until(&["chats"], "chat", |event| event["conv"] == self.chat);
        let users = chat["users"].as_array().expect("a chat lists its users");
        users.iter().any(|user| user["who"] == who && user["leader"] == true)
    }
}

/// The name that a conference has in the client once it has been joined.
fn chat_of(client: &mut Sipe) -> String {
    let joined = client.wait("chat-joined", |_| true);
    joined["conv"].as_str().expect("a chat has a name").to_owned()
}

/// Waits for the notice that a join was refused; it must give a reason in words.
fn refusal(client: &mut Sipe) {
    let notice = client.wait("notice", |event| event["level"] == "error");
    let reason = notice["secondary"].as_str().unwrap_or_default();
    assert!(reason.split_whitespace().count() >= 3, "no sentence that tells a person why: {notice}");
}

fn id_of(focus: &str) -> &str {
    focus.rsplit(':').next().expect("a focus URI ends in its ID")
}

/// The step of a line of the ladder: `# t from to step text`.
fn step_of(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace();
    words.next()?.parse::<u32>().ok()?; // a heading has none
    words.nth(3)?.parse().ok()
}
