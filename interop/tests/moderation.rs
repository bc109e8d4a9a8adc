//! Leaders decide who takes part in the call: whoever waits in the lobby, is sent away or is muted is looked for in what the
//! phones of the others record, and the others in what he records.

use confab_interop::baresip::{Account, Baresip};
use confab_interop::server::Authentication;
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::sound::TONES;
use confab_interop::tap::Tap;
use confab_interop::voice::Voice;
use confab_interop::{Deadline, Scratch, Server, Tool, namespace, poll};

/// What alice, bob, eve and dan say.
const ALICE: u32 = TONES[0];
const BOB: u32 = TONES[1];
const EVE: u32 = TONES[2];
const DAN: u32 = TONES[3];

/// The conference that alice schedules.
const ID: &str = "ORCHARD20261121";
const FOCUS: &str = "sip:alice@example.test;gruu;opaque=app:conf:focus:id:ORCHARD20261121";

/// A server whose media are where a network of one's own has an address.
fn server(scratch: &Scratch) -> Server {
    let media = format!("\n[media]\naddresses = [\"{}\"]\n", namespace::ADDRESS);
    Server::start_with(scratch, Authentication::Nobody, &media)
}

/// A baresip that has registered and says this.
fn phone(scratch: &Scratch, server: &Server, user: &str, tone: u32) -> Baresip {
    let account = Account { user, password: "unused", transport: "tcp", server: server.address() };
    let mut phone = Baresip::registered(scratch, &account, &Voice::plain(tone));
    phone.wait("REGISTER_OK");
    phone
}

/// The same in the call of the conference.
fn caller(scratch: &Scratch, server: &Server, user: &str, tone: u32, conference: &str) -> Baresip {
    let mut phone = phone(scratch, server, user, tone);
    phone.dial(conference);
    phone
}

fn scenario<'a>(
    server: &Server,
    file: &'a str,
    user: &'a str,
    keys: &'a [(&'a str, &'a str)],
) -> Scenario<'a> {
    Scenario {
        file,
        server: Some(server.address()),
        transport: Transport::Tcp,
        user,
        password: "unused",
        authenticated_uri: "example.test",
        keys,
        call_id: None,
    }
}

/// Somebody joins the conference with a client of C3P besides, and gives it a command, which must succeed; what he was told.
fn command(scratch: &Scratch, server: &Server, user: &str, conference: &str, command: &str) -> String {
    let id = conference.rsplit(':').next().expect("a conference's address ends in its ID");
    Sipp::run_and_read(scratch, &scenario(server, "command", user, &[("conf", id), ("command", command)]))
}

/// The roster as this person is shown it.
fn roster(scratch: &Scratch, server: &Server, user: &str, conference: &str) -> String {
    let read = format!("<getConference><conferenceKeys confEntity=\"{conference}\"/></getConference>");
    let told = command(scratch, server, user, conference, &read);
    let from = told.rfind("<conference-info").expect("the state of the conference is told");
    told[from..].to_owned()
}

/// What a roster says of somebody, if he is in it.
fn person<'a>(roster: &'a str, user: &str) -> Option<&'a str> {
    let from = roster.find(&format!("<user entity=\"sip:{user}@example.test\""))?;
    let length = roster[from..].find("</user>")?;
    Some(&roster[from..from + length])
}

fn lobby_access(user: &str, access: &str) -> String {
    format!(
        "<setLobbyAccess><conferenceKeys confEntity=\"{FOCUS}\"/><userEntity>sip:{user}@example.test</userEntity>\
         <access>{access}</access></setLobbyAccess>"
    )
}

#[test]
fn who_waits_in_the_lobby_hears_nobody_and_is_not_heard_until_a_leader_lets_him_in() {
    let test = "who_waits_in_the_lobby_hears_nobody_and_is_not_heard_until_a_leader_lets_him_in";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp, Tool::Namespace], |scratch| {
        let tap = Tap::start();
        let mut server = server(scratch);
        server.watch(ID);
        Sipp::run(scratch, &scenario(&server, "factory_lobby", "alice", &[("conf", ID)]));
        let alice = caller(scratch, &server, "alice", ALICE, FOCUS);
        let bob = caller(scratch, &server, "bob", BOB, FOCUS);
        alice.ear().hears(&[BOB], &[ALICE]);
        bob.ear().hears(&[ALICE], &[BOB]);

        // Nobody has asked eve and dan: their calls are answered, and that is all.
        let eve = caller(scratch, &server, "eve", EVE, FOCUS);
        let mut dan = caller(scratch, &server, "dan", DAN, FOCUS);
        for waiting in [&eve, &dan] {
            // Something is sent to them, and nobody is in it.
            tap.wait_packets(waiting.port(), 50);
            waiting.ear().lacks(&[ALICE, BOB, EVE, DAN]);
        }
        alice.ear().hears(&[BOB], &[ALICE, EVE, DAN]);
        bob.ear().hears(&[ALICE], &[BOB, EVE, DAN]);
        let leaders = roster(scratch, &server, "alice", FOCUS);
        for waiting in ["eve", "dan"] {
            let person = person(&leaders, waiting).expect("a leader is told who waits");
            assert!(person.contains("<status>on-hold</status>"), "{person}");
        }
        let attendees = roster(scratch, &server, "bob", FOCUS);
        assert!(person(&attendees, "alice").is_some() && !attendees.contains("sip:eve@"), "{attendees}");

        command(scratch, &server, "alice", FOCUS, &lobby_access("eve", "granted"));
        alice.ear().hears(&[BOB, EVE], &[ALICE, DAN]);
        bob.ear().hears(&[ALICE, EVE], &[BOB, DAN]);
        eve.ear().hears(&[ALICE, BOB], &[EVE, DAN]);
        dan.ear().lacks(&[ALICE, BOB, EVE, DAN]);

        command(scratch, &server, "alice", FOCUS, &lobby_access("dan", "denied"));
        dan.wait("CALL_CLOSED");
        for tone in [ALICE, BOB, EVE, DAN] {
            dan.ear().never_heard(tone);
        }
        for (ear, own) in [(alice.ear(), ALICE), (bob.ear(), BOB), (eve.ear(), EVE)] {
            ear.never_heard(DAN);
            ear.never_heard(own);
        }
        let told = poll(Deadline::step(), || {
            let roster = roster(scratch, &server, "bob", FOCUS);
            person(&roster, "eve")
                .is_some_and(|eve| eve.contains("<status>connected</status>"))
                .then_some(roster)
        });
        assert!(!told.expect("everybody is told that eve is in").contains("sip:dan@"));
    });
}

#[test]
fn one_who_is_muted_is_not_heard_from_the_confirmation_on() {
    let test = "one_who_is_muted_is_not_heard_from_the_confirmation_on";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let alice = caller(scratch, &server, "alice", ALICE, "sip:conference@example.test");
        let conference = server.only_conference();
        let bob = caller(scratch, &server, "bob", BOB, &conference);
        let eve = caller(scratch, &server, "eve", EVE, &conference);
        alice.ear().hears(&[BOB, EVE], &[ALICE]);
        bob.ear().hears(&[ALICE, EVE], &[BOB]);
        let told = roster(scratch, &server, "alice", &conference);
        let leg = person(&told, "eve").and_then(|eve| eve.split_once("<endpoint entity=\""));
        let leg = leg.and_then(|(_, leg)| leg.split('"').next()).expect("eve has an endpoint");
        let mcu = conference.replace(":focus:", ":audio-video:");
        let filter = |status: &str, filter: &str| {
            format!(
                "<modifyEndpointMedia mscp:mcuUri=\"{mcu}\" \
                 xmlns:mscp=\"http://schemas.microsoft.com/rtc/2005/08/cccpextensions\"><mediaKeys \
                 confEntity=\"{conference}\" userEntity=\"sip:eve@example.test\" endpointEntity=\"{leg}\" mediaId=\"1\"/>\
                 <ci:media id=\"1\"><ci:type>audio</ci:type><ci:status>{status}</ci:status>\
                 <msci:media-ingress-filter>{filter}</msci:media-ingress-filter></ci:media></modifyEndpointMedia>"
            )
        };
        command(scratch, &server, "alice", &conference, &filter("recvonly", "block"));
        alice.ear().lacks(&[ALICE, EVE]);
        bob.ear().lacks(&[BOB, EVE]);
        alice.ear().hears(&[BOB], &[ALICE, EVE]);
        bob.ear().hears(&[ALICE], &[BOB, EVE]);
        eve.ear().hears(&[ALICE, BOB], &[EVE]);
        let told = roster(scratch, &server, "bob", &conference);
        let shown = person(&told, "eve").expect("eve is in");
        assert!(shown.contains("<msci:media-ingress-filter>block</msci:media-ingress-filter>"), "{shown}");

        command(scratch, &server, "alice", &conference, &filter("sendrecv", "unblock"));
        alice.ear().hears(&[BOB, EVE], &[ALICE]);
        bob.ear().hears(&[ALICE, EVE], &[BOB]);
        for (ear, own) in [(alice.ear(), ALICE), (bob.ear(), BOB), (eve.ear(), EVE)] {
            ear.never_heard(own);
        }
    });
}
