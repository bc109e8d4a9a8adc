//! alice's conference at SIPE clients: create, join, chat, lock, promote, eject, leave.

use crate::sipe::{SignOn, Sipe};
use crate::{Deadline, Scratch, Server, poll};

/// alice's conference, as its members see it.
pub struct Meeting {
    focus: String,
    /// Who made it.
    pub alice: Member,
    /// Whom she has invited.
    pub bob: Member,
    carol: Option<Member>,
}

/// A client and the name its conference has there.
pub struct Member {
    /// The client.
    pub client: Sipe,
    chat: String,
}

impl Meeting {
    /// alice creates a conference and invites bob, who is taken in; each sees the other.
    pub fn begin(scratch: &Scratch, server: &mut Server) -> Meeting {
        let at = SignOn::Tcp(server.address());
        let alice = Sipe::signed_on(scratch, "alice", at);
        let bob = Sipe::signed_on(scratch, "bob", at);
        Meeting::of(server, alice, bob)
    }

    /// The same, and both join its call by their own menu; alice says the first of these tones and bob the second.
    pub fn with_a_call(scratch: &Scratch, server: &mut Server, tones: [u32; 2]) -> Meeting {
        let at = SignOn::Tcp(server.address());
        let alice = Sipe::with_voice(scratch, "alice", at, tones[0]);
        let bob = Sipe::with_voice(scratch, "bob", at, tones[1]);
        let mut meeting = Meeting::of(server, alice, bob);
        for member in [&mut meeting.alice, &mut meeting.bob] {
            member.joins_the_call();
        }
        meeting
    }

    fn of(server: &mut Server, mut alice: Sipe, bob: Sipe) -> Meeting {
        alice.command(&["new-conf", &bob.uri()]);
        let mut alice = Member::joined(alice);
        let focus = alice.client.focus_uri();
        let mut bob = Member::joined(bob);
        alice.sees("chat-user-joined", &bob.client.uri());
        bob.sees("chat-user-joined", &alice.client.uri());
        assert!(bob.leads(&alice.client.uri()), "the organizer is a presenter");
        assert!(!alice.leads(&bob.client.uri()), "an invited person is an attendee");
        let meeting = Meeting { focus, alice, bob, carol: None };
        server.watch(meeting.id());
        meeting
    }

    /// The conference's ID.
    pub fn id(&self) -> &str {
        self.focus.rsplit(':').next().expect("a focus URI ends in its ID")
    }

    /// The address of its Focus.
    pub fn uri(&self) -> &str {
        &self.focus
    }

    /// Each says something that the other hears.
    pub fn chat_both_ways(&mut self) {
        self.alice.says("hello bob");
        self.bob.hears(&self.alice.client.uri(), "hello bob");
        self.bob.says("hello alice & all <of> you");
        self.alice.hears(&self.bob.client.uri(), "hello alice & all <of> you");
    }

    /// The same with words of one's own, to tell one time from another.
    pub fn chat_about(&mut self, what: &str) {
        let (from_alice, from_bob) = (format!("alice on {what}"), format!("bob on {what}"));
        self.alice.says(&from_alice);
        self.bob.says(&from_bob);
        self.bob.hears(&self.alice.client.uri(), &from_alice);
        self.alice.hears(&self.bob.client.uri(), &from_bob);
    }

    /// Whatever was said until now was heard once by each.
    pub fn nothing_was_heard_twice(&self) {
        for member in [&self.alice, &self.bob] {
            let heard = member.client.messages();
            for (index, text) in heard.iter().enumerate() {
                assert!(!heard[..index].contains(text), "{} heard {text:?} twice", member.client.uri());
            }
        }
    }

    /// alice locks the conference, and carol cannot join until she unlocks it.
    pub fn lock_keeps_carol_out(&mut self, scratch: &Scratch, server: &Server) {
        let mut carol = Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address()));
        self.alice.client.command(&["chat-lock", &self.alice.chat]);
        self.alice.is_offered("Unlock");
        carol.command(&["join-conf", &self.focus]);
        carol.is_refused();
        self.alice.client.command(&["chat-unlock", &self.alice.chat]);
        self.alice.is_offered("Lock");
        self.takes_in(carol);
    }

    /// carol joins.
    pub fn carol_joins(&mut self, scratch: &Scratch, server: &Server) {
        self.takes_in(Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address())));
    }

    fn takes_in(&mut self, mut carol: Sipe) {
        carol.command(&["join-conf", &self.focus]);
        let mut carol = Member::joined(carol);
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-joined", &carol.client.uri());
        }
        carol.says("here I am");
        self.bob.hears(&carol.client.uri(), "here I am");
        self.carol = Some(carol);
    }

    /// alice makes bob a presenter.
    pub fn promote_bob(&mut self) {
        let bob = self.bob.client.uri();
        self.promote(&bob);
    }

    /// alice makes somebody a presenter.
    pub fn promote(&mut self, who: &str) {
        self.alice.client.command(&["chat-leader", &self.alice.chat, who]);
        for member in [&mut self.alice, &mut self.bob] {
            member.client.wait("chat-user-flags", |event| event["who"] == who && event["leader"] == true);
        }
    }

    /// Somebody has come who is at another program.
    pub fn sees_come(&mut self, who: &str) {
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-joined", who);
        }
    }

    /// alice removes somebody who is at another program.
    pub fn eject(&mut self, who: &str) {
        self.alice.client.command(&["chat-eject", &self.alice.chat, who]);
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-left", who);
        }
    }

    /// alice removes bob, who is told so.
    pub fn put_out_bob(&mut self) {
        let bob = self.bob.client.uri();
        self.alice.client.command(&["chat-eject", &self.alice.chat, &bob]);
        self.bob.is_disconnected();
        self.alice.sees("chat-user-left", &bob);
    }

    /// carol joins and makes the meeting large: who leads is there for everybody, others are not.
    pub fn carol_makes_it_large(&mut self, scratch: &Scratch, server: &Server) {
        let mut carol = Sipe::signed_on(scratch, "carol", SignOn::Tcp(server.address()));
        carol.command(&["join-conf", &self.focus]);
        let mut carol = Member::joined(carol);
        self.alice.sees("chat-user-left", &self.bob.client.uri());
        let oneself = carol.client.uri();
        carol.sees("chat-user-joined", &oneself);
        carol.says("here I am");
        for member in [&mut self.alice, &mut self.bob] {
            member.hears(&carol.client.uri(), "here I am");
        }
        assert!(carol.leads(&self.alice.client.uri()), "everybody is told who leads");
        assert!(!carol.lists(&self.bob.client.uri()), "he is one of many");
        self.carol = Some(carol);
    }

    /// bob and carol leave, of which alice is told in numbers alone.
    pub fn all_leave_but_alice(&mut self, server: &Server) {
        let mut carol = self.carol.take().expect("she has joined");
        for member in [&mut self.bob, &mut carol] {
            member.client.command(&["chat-leave", &member.chat]);
        }
        carol.client.quit();
        let alone =
            || server.confab(&["conference", "show", self.id()]).contains("active, 1 in it").then_some(());
        poll(Deadline::step(), alone).expect("who leaves is out");
    }

    /// bob joins again; nobody is counted any more.
    pub fn bob_comes_again(&mut self) {
        self.bob.client.command(&["join-conf", &self.focus]);
        self.bob.chat = chat_of(&mut self.bob.client);
        self.alice.sees("chat-user-joined", &self.bob.client.uri());
    }

    /// bob removes carol: he may since he was promoted.
    pub fn eject_carol(&mut self) {
        let mut carol = self.carol.take().expect("she has joined");
        let uri = carol.client.uri();
        self.bob.client.command(&["chat-eject", &self.bob.chat, &uri]);
        carol.is_disconnected();
        for member in [&mut self.alice, &mut self.bob] {
            member.sees("chat-user-left", &uri);
        }
        carol.client.quit();
    }

    /// bob and then alice leave.
    pub fn leave(&mut self) {
        self.bob.client.command(&["chat-leave", &self.bob.chat]);
        self.alice.sees("chat-user-left", &self.bob.client.uri());
        self.alice.client.command(&["chat-leave", &self.alice.chat]);
    }

    /// Both sign off.
    pub fn sign_off(self) {
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

    /// Joins the call and waits until its sound has found a way.
    pub fn joins_the_call(&mut self) {
        self.client.joins_the_call_of(&self.chat);
    }

    /// Says something to the conference.
    pub fn says(&mut self, text: &str) {
        self.client.command(&["chat-send", &self.chat, text]);
    }

    /// Waits until it hears this.
    pub fn hears(&mut self, who: &str, text: &str) {
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
        self.listed().iter().any(|user| user["who"] == who && user["leader"] == true)
    }

    fn lists(&mut self, who: &str) -> bool {
        self.listed().iter().any(|user| user["who"] == who)
    }

    fn listed(&mut self) -> Vec<serde_json::Value> {
        let chat = self.client.ask_until(&["chats"], "chat", |event| event["conv"] == self.chat);
        chat["users"].as_array().expect("a chat lists its users").clone()
    }

    /// Waits until its client says that it was put out.
    fn is_disconnected(&mut self) {
        self.client.wait("message", |event| {
            let text = event["text"].as_str().unwrap_or_default();
            event["conv"] == self.chat && event["dir"] == "system" && text.contains("disconnected")
        });
    }
}

/// The name that a conference has in the client once it has been joined.
fn chat_of(client: &mut Sipe) -> String {
    let joined = client.wait("chat-joined", |_| true);
    joined["conv"].as_str().expect("a chat has a name").to_owned()
}
