//! Plain SIP clients in conferences with clients of OCS (RFC 4579, 4575, 4028, 3515).

use confab_interop::baresip::{Account, Baresip};
use confab_interop::mcu::Mcu;
use confab_interop::meeting::Meeting;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::sound::TONES;
use confab_interop::voice::Voice;
use confab_interop::{Deadline, Scratch, Server, Tool, namespace, poll};

const PAT: &str = "sip:pat@example.test";

/// Starts a scenario of this user with a word filled in.
fn start(
    scratch: &Scratch,
    server: &Server,
    file: &str,
    transport: Transport,
    user: &str,
    word: (&str, &str),
) -> Sipp {
    let scenario = Scenario {
        file,
        server: Some(server.address()),
        transport,
        user,
        password: "unused",
        authenticated_uri: "example.test",
        keys: &[word],
        call_id: None,
    };
    Sipp::start(scratch, &scenario)
}

/// The ID at the end of a conference's URI.
fn id_of(conference: &str) -> &str {
    conference.rsplit_once(':').expect("it ends with its ID").1
}

#[test]
fn a_phone_chats_with_two_sipes() {
    namespace::run("a_phone_chats_with_two_sipes", &[Tool::Sipe, Tool::Sipp], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let mut meeting = Meeting::begin(scratch, &mut server);
        for transport in [Transport::Tcp, Transport::Udp] {
            let word = ("conf_id", meeting.id());
            let mut pat = start(scratch, &server, "plain_member", transport, "pat", word);
            pat.wait_logged("pat is in");
            for member in [&mut meeting.alice, &mut meeting.bob] {
                member.client.wait("chat-user-joined", |event| event["who"] == PAT);
            }
            meeting.alice.says("hello pat");
            for member in [&mut meeting.alice, &mut meeting.bob] {
                member.client.wait("message", |event| {
                    let text = event["text"].as_str().unwrap_or_default();
                    event["who"] == PAT && event["dir"] == "in" && text.starts_with("hello from a phone")
                });
            }
            for member in [&mut meeting.alice, &mut meeting.bob] {
                member.client.wait("chat-user-left", |event| event["who"] == PAT);
            }
            pat.finish();
        }
        meeting.leave();
        meeting.sign_off();
    });
}

#[test]
fn a_phone_makes_a_conference_and_has_a_sipe_called() {
    namespace::run(
        "a_phone_makes_a_conference_and_has_a_sipe_called",
        &[Tool::Sipe, Tool::Sipp],
        |scratch| {
            let server = Server::start(scratch, Authentication::Nobody);
            let mut dave = Sipe::signed_on(scratch, "dave", SignOn::Tcp(server.address()));
            let mut pat = start(scratch, &server, "plain_create", Transport::Tcp, "pat", ("guest", "dave"));
            pat.wait_logged("the REFER ended with 200");
            dave.wait("message", |event| event["text"].as_str().unwrap_or_default().contains("hello all"));
            pat.finish();
            dave.quit();
        },
    );
}

#[test]
fn a_voice_phone_makes_a_conference_and_others_are_heard_in_it() {
    let test = "a_voice_phone_makes_a_conference_and_others_are_heard_in_it";
    namespace::run(test, &[Tool::Baresip], |scratch| {
        let mut server = Server::start(scratch, Authentication::Nobody);
        let address = server.address();
        let phone = |user, tone| {
            let account = Account { user, password: "unused", transport: "tcp", server: address };
            let mut phone = Baresip::registered(scratch, &account, &Voice::plain(tone));
            phone.wait("REGISTER_OK");
            phone
        };
        let [bob, carol, dave] = [TONES[0], TONES[1], TONES[2]];
        let mut bobs = phone("bob", bob);
        bobs.dial("sip:conference@example.test");
        let conference = server.only_conference();
        let mut carols = phone("carol", carol);
        carols.dial(&conference);
        bobs.ear().hears(&[carol], &[bob]);
        carols.ear().hears(&[bob], &[carol]);
        let mut daves = phone("dave", dave);
        daves.dial(&conference);
        bobs.ear().hears(&[carol, dave], &[bob]);
        carols.ear().hears(&[bob, dave], &[carol]);
        daves.ear().hears(&[bob, carol], &[dave]);
        daves.command("hangup", "");
        bobs.ear().hears(&[carol], &[bob, dave]);
        let flow = server.flow(id_of(&conference));
        let mixing = flow.lines().filter(|line| line.contains("INVITE sip:"));
        assert!(
            mixing.clone().count() == 3 && mixing.into_iter().all(|line| line.contains("AVMCU")),
            "{flow}"
        );
        // What became of his call is written down.
        let id = id_of(&conference);
        let shown = || server.confab(&["conference", "show", id]);
        let is_his = |line: &str| {
            let words = ["call ", "dave@example.test came", "PCMU", "departed", "MOS"];
            words.iter().all(|word| line.contains(word))
        };
        let written = poll(Deadline::step(), || shown().lines().any(is_his).then_some(()));
        assert!(written.is_some(), "his call is not in:\n{}", shown());
        let metrics = server.confab(&["metrics"]);
        for line in ["confab_participants 2", "confab_media_rooms 1", "confab_calls_ended_total 1"] {
            assert!(metrics.lines().any(|metric| metric == line), "{line} is not in:\n{metrics}");
        }
    });
}

#[test]
fn voices_go_on_when_their_server_dies() {
    namespace::run("voices_go_on_when_their_server_dies", &[Tool::Baresip], |scratch| {
        let mut server = Server::start_without_mcu(scratch);
        let _chat = Mcu::start(scratch, &server, "immcu");
        let mut first = Mcu::start_av(scratch, &server, "avmcu-1");
        let [bob, carol] = [TONES[0], TONES[1]];
        let phone = |user, tone| Baresip::guest(scratch, user, server.address(), &Voice::plain(tone));
        let (mut bobs, mut carols) = (phone("bob", bob), phone("carol", carol));
        bobs.dial("sip:conference@example.test");
        let conference = server.only_conference();
        carols.dial(&conference);
        bobs.ear().hears(&[carol], &[bob]);
        carols.ear().hears(&[bob], &[carol]);
        let second = Mcu::start_av(scratch, &server, "avmcu-2");
        first.kill();
        // They are called by the other.
        let id = id_of(&conference);
        let called = |flow: &str| flow.matches("200 INVITE").count() == 2;
        let moved = poll(Deadline::step(), || called(&second.flow(id)).then_some(()));
        assert!(moved.is_some(), "nobody was called by the other server:\n{}", second.flow(id));
        bobs.ear().hears(&[carol], &[bob]);
        carols.ear().hears(&[bob], &[carol]);
    });
}

#[test]
fn who_cannot_chat_is_called_to_the_chat_in_vain() {
    let test = "who_cannot_chat_is_called_to_the_chat_in_vain";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let account = Account { user: "bob", password: "unused", transport: "tcp", server: server.address() };
        let mut bob = Baresip::start(scratch, &account);
        bob.wait("REGISTER_OK");
        let mut pat = start(scratch, &server, "plain_create", Transport::Tcp, "pat", ("guest", "bob"));
        pat.wait_logged("the REFER ended with 480");
        pat.finish();
    });
}
