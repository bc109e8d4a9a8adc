//! Phones of every kind in the call of one conference: each says a tone, and everybody hears the others' and not his own.

use std::net::{IpAddr, Ipv6Addr};

use confab_interop::baresip::{Account, Baresip};
use confab_interop::guest;
use confab_interop::linphone::Linphone;
use confab_interop::meeting::Meeting;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::sound::{Ear, TONES};
use confab_interop::tap::Tap;
use confab_interop::turn::{self, Turn};
use confab_interop::voice::{Encryption, Voice};
use confab_interop::wire::{self, Quality, Wire};
use confab_interop::{Scratch, Server, Tool, namespace};

/// What alice, bob, pat, lin and sam say.
const ALICE: u32 = TONES[0];
const BOB: u32 = TONES[1];
const PAT: u32 = TONES[2];
const LIN: u32 = TONES[3];
const SAM: u32 = TONES[4];

/// A server whose media are where a network of one's own has an address.
fn server(scratch: &Scratch) -> Server {
    let media = format!("\n[media]\naddresses = [\"{}\"]\n", namespace::ADDRESS);
    Server::start_with(scratch, Authentication::Nobody, &media)
}

/// A baresip that has registered.
fn phone(scratch: &Scratch, server: &Server, user: &str, voice: &Voice) -> Baresip {
    let account = Account { user, password: "unused", transport: "tcp", server: server.address() };
    let mut phone = Baresip::registered(scratch, &account, voice);
    phone.wait("REGISTER_OK");
    phone
}

/// A baresip that has made the one conference of this server, and the conference.
fn maker(scratch: &Scratch, server: &mut Server, user: &str, voice: &Voice) -> (Baresip, String) {
    let mut maker = phone(scratch, server, user, voice);
    maker.dial("sip:conference@example.test");
    let conference = server.only_conference();
    (maker, conference)
}

/// A SIPp that calls the conference; it hears at the port.
fn sipp(scratch: &Scratch, server: &Server, conference: &str, tone: u32) -> (Sipp, u16) {
    let scenario = Scenario {
        file: "speak",
        server: Some(server.address()),
        transport: Transport::Tcp,
        user: "sam",
        password: "unused",
        authenticated_uri: "example.test",
        keys: &[("target", conference)],
        call_id: None,
    };
    let (mut sipp, port) = Sipp::speaking(scratch, &scenario, tone);
    sipp.wait_logged("sam speaks");
    (sipp, port)
}

/// A SIPE in the conference's call.
fn sipe(scratch: &Scratch, server: &Server, user: &str, conference: &str, tone: u32) -> Sipe {
    let mut sipe = Sipe::with_voice(scratch, user, SignOn::Tcp(server.address()), tone);
    sipe.joins_the_call(conference);
    sipe
}

/// Each of these hears what the others say, and not himself.
fn all_hear_each_other(ears: &[(&Ear, u32)]) {
    for (ear, own) in ears {
        let others: Vec<u32> = ears.iter().map(|(_, tone)| *tone).filter(|tone| tone != own).collect();
        ear.hears(&others, &[*own]);
    }
}

/// Nobody has ever heard himself.
fn nobody_heard_himself(ears: &[(&Ear, u32)]) {
    for (ear, own) in ears {
        ear.never_heard(*own);
    }
}

#[test]
fn sipe_baresip_linphone_and_sipp_hear_each_other() {
    let test = "sipe_baresip_linphone_and_sipp_hear_each_other";
    let needs = [Tool::Sipe, Tool::Baresip, Tool::Linphone, Tool::Sipp, Tool::Namespace];
    namespace::run(test, &needs, |scratch| {
        let tap = Tap::start();
        let mut server = server(scratch);
        let (mut pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let mut alice = sipe(scratch, &server, "alice", &conference, ALICE);
        all_hear_each_other(&[(alice.ear(), ALICE), (pat.ear(), PAT)]);
        let mut lin = Linphone::registered(scratch, "lin", &Voice::plain(LIN), server.address());
        lin.dial(&conference);
        all_hear_each_other(&[(alice.ear(), ALICE), (pat.ear(), PAT), (lin.ear(), LIN)]);
        pat.command("mute", "");
        let (sam, port) = sipp(scratch, &server, &conference, SAM);
        let sams = tap.ear("sam", port);
        // Three at once are heard; who is silent hears all three.
        all_hear_each_other(&[(alice.ear(), ALICE), (lin.ear(), LIN), (&sams, SAM)]);
        pat.ear().hears(&[ALICE, LIN, SAM], &[PAT]);
        // linphonec takes muting for a matter of its microphone, and plays its file on.
        lin.command("terminate");
        lin.is_over();
        pat.command("mute", "");
        all_hear_each_other(&[(alice.ear(), ALICE), (pat.ear(), PAT), (&sams, SAM)]);
        nobody_heard_himself(&[(alice.ear(), ALICE), (pat.ear(), PAT), (lin.ear(), LIN), (&sams, SAM)]);
        alice.command(&["hangup"]);
        pat.ear().hears(&[SAM], &[ALICE, PAT, LIN]);
        alice.quit();
        lin.quit();
        drop(sam);
    });
}

#[test]
fn two_sipes_and_a_phone_hear_each_other_until_one_is_put_out() {
    let test = "two_sipes_and_a_phone_hear_each_other_until_one_is_put_out";
    namespace::run(test, &[Tool::Sipe, Tool::Baresip, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let mut meeting = Meeting::with_a_call(scratch, &mut server, [ALICE, BOB]);
        let mut pat = phone(scratch, &server, "pat", &Voice::plain(PAT));
        pat.dial(meeting.uri());
        {
            let [alices, bobs] = [&meeting.alice, &meeting.bob].map(|member| member.client.ear());
            all_hear_each_other(&[(alices, ALICE), (bobs, BOB), (pat.ear(), PAT)]);
        }
        meeting.chat_about("what they hear");
        pat.command("hangup", "");
        pat.wait("CALL_CLOSED");
        meeting.alice.client.ear().hears(&[BOB], &[ALICE, PAT]);
        pat.dial(meeting.uri());
        meeting.alice.client.ear().hears(&[BOB, PAT], &[ALICE]);
        meeting.put_out_bob();
        pat.ear().hears(&[ALICE], &[BOB, PAT]);
        meeting.alice.client.ear().hears(&[PAT], &[ALICE, BOB]);
        let [alices, bobs] = [&meeting.alice, &meeting.bob].map(|member| member.client.ear());
        nobody_heard_himself(&[(alices, ALICE), (bobs, BOB), (pat.ear(), PAT)]);
        meeting.sign_off();
    });
}

#[test]
fn encrypted_and_plain_phones_hear_each_other() {
    let test = "encrypted_and_plain_phones_hear_each_other";
    namespace::run(test, &[Tool::Baresip, Tool::Linphone, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let required = Voice::plain(BOB).encrypted(Encryption::Required);
        let mut bob = phone(scratch, &server, "bob", &required);
        bob.dial(&conference);
        all_hear_each_other(&[(pat.ear(), PAT), (bob.ear(), BOB)]);
        let voice = Voice::plain(LIN).encrypted(Encryption::Required);
        let mut lin = Linphone::registered(scratch, "lin", &voice, server.address());
        lin.dial(&conference);
        all_hear_each_other(&[(pat.ear(), PAT), (bob.ear(), BOB), (lin.ear(), LIN)]);
        bob.command("hangup", "");
        bob.wait("CALL_CLOSED");
        let optional = Voice::plain(ALICE).encrypted(Encryption::Optional).with_codecs("pcma");
        let mut alice = phone(scratch, &server, "alice", &optional);
        alice.dial(&conference);
        all_hear_each_other(&[(pat.ear(), PAT), (alice.ear(), ALICE), (lin.ear(), LIN)]);
        nobody_heard_himself(&[(pat.ear(), PAT), (alice.ear(), ALICE), (lin.ear(), LIN)]);
        lin.quit();
    });
}

#[test]
fn a_sipe_that_requires_keys_and_a_plain_phone_hear_each_other() {
    let test = "a_sipe_that_requires_keys_and_a_plain_phone_hear_each_other";
    namespace::run(test, &[Tool::Sipe, Tool::Baresip, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let required = ["encryption-policy=required"];
        let sign_on = SignOn::Tcp(server.address());
        let mut alice = Sipe::with_settings(scratch, "alice", sign_on, ALICE, &required);
        alice.joins_the_call(&conference);
        let ears = [(pat.ear(), PAT), (alice.ear(), ALICE)];
        all_hear_each_other(&ears);
        nobody_heard_himself(&ears);
        assert!(alice.sip_log().contains(" RTP/SAVP 0 "), "what they agreed on has keys");
        alice.quit();
    });
}

#[test]
fn a_key_that_somebody_presses_is_told_to_who_asks() {
    let test = "a_key_that_somebody_presses_is_told_to_who_asks";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (mut pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let scenario = Scenario {
            file: "hear_key",
            server: Some(server.address()),
            transport: Transport::Tcp,
            user: "sam",
            password: "unused",
            authenticated_uri: "example.test",
            keys: &[("target", &conference)],
            call_id: None,
        };
        let mut sam = Sipp::start(scratch, &scenario);
        sam.wait_logged("sam listens");
        pat.command("sndcode", "7");
        sam.finish();
    });
}

#[test]
fn phones_of_every_codec_hear_each_other() {
    namespace::run("phones_of_every_codec_hear_each_other", &[Tool::Baresip, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT).with_codecs("opus"));
        let mut bob = phone(scratch, &server, "bob", &Voice::plain(BOB).with_codecs("g722"));
        bob.dial(&conference);
        let mut lin = phone(scratch, &server, "lin", &Voice::plain(LIN).with_codecs("pcma"));
        lin.dial(&conference);
        let ears = [(pat.ear(), PAT), (bob.ear(), BOB), (lin.ear(), LIN)];
        all_hear_each_other(&ears);
        nobody_heard_himself(&ears);
    });
}

#[test]
fn a_phone_with_ice_and_one_behind_a_relay_are_heard() {
    let test = "a_phone_with_ice_and_one_behind_a_relay_are_heard";
    namespace::run(test, &[Tool::Baresip, Tool::Coturn, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT).with_ice());
        let mut relay = Turn::start(scratch);
        let behind = Voice { turn: Some((relay.address(), turn::USER, turn::PASSWORD)), ..Voice::plain(BOB) };
        let mut bob = Baresip::guest(scratch, "bob", server.address(), &behind);
        bob.dial(&conference);
        relay.has_lent();
        relay.relays();
        let ears = [(pat.ear(), PAT), (bob.ear(), BOB)];
        all_hear_each_other(&ears);
        nobody_heard_himself(&ears);
    });
}

#[test]
fn phones_hear_each_other_over_ipv6() {
    namespace::run("phones_hear_each_other_over_ipv6", &[Tool::Baresip, Tool::Namespace], |scratch| {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mut server = Server::start_at(scratch, Authentication::Nobody, address, "");
        let voice = |tone| Voice { address, ..Voice::plain(tone) };
        let (pat, conference) = maker(scratch, &mut server, "pat", &voice(PAT));
        let mut bob = phone(scratch, &server, "bob", &voice(BOB));
        bob.dial(&conference);
        let ears = [(pat.ear(), PAT), (bob.ear(), BOB)];
        all_hear_each_other(&ears);
        nobody_heard_himself(&ears);
    });
}

#[test]
fn a_phone_behind_a_bad_line_is_heard_and_hears() {
    let test = "a_phone_behind_a_bad_line_is_heard_and_hears";
    namespace::run(test, &[Tool::Baresip, Tool::Line], |scratch| {
        let line = Wire::lay(scratch, Quality { loss_percent: 5, jitter_ms: 40 });
        let accounts = [("pat", "unused"), ("bob", "unused"), ("far", "unused")];
        let mut server = Server::start_at(scratch, Authentication::Digest(&accounts), wire::NEAR, "");
        let near = |tone| Voice { address: wire::NEAR, ..Voice::plain(tone) };
        let (pat, conference) = maker(scratch, &mut server, "pat", &near(PAT));
        let mut bob = phone(scratch, &server, "bob", &near(BOB));
        bob.dial(&conference);
        all_hear_each_other(&[(pat.ear(), PAT), (bob.ear(), BOB)]);
        let mut far = phone(scratch, &server, "far", &Voice::plain(LIN).behind(&line));
        far.dial(&conference);
        // What is lost on the line is noise to who listens to single tones: who has no such line still hears them clearly.
        pat.ear().hears(&[BOB, LIN], &[PAT]);
        bob.ear().hears(&[PAT, LIN], &[BOB]);
        far.ear().hears(&[PAT, BOB], &[]);
        nobody_heard_himself(&[(pat.ear(), PAT), (bob.ear(), BOB), (far.ear(), LIN)]);
    });
}

#[test]
fn who_holds_the_line_is_not_heard() {
    namespace::run("who_holds_the_line_is_not_heard", &[Tool::Baresip, Tool::Namespace], |scratch| {
        let tap = Tap::start();
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let mut bob = phone(scratch, &server, "bob", &Voice::plain(BOB));
        bob.dial(&conference);
        let (_sam, port) = sipp(scratch, &server, &conference, SAM);
        let sams = tap.ear("sam", port);
        all_hear_each_other(&[(pat.ear(), PAT), (bob.ear(), BOB), (&sams, SAM)]);
        let bobs = tap.ear("bob", bob.port());
        bob.command("hold", "");
        pat.ear().hears(&[SAM], &[PAT, BOB]);
        sams.hears(&[PAT], &[SAM, BOB]);
        bob.command("resume", "");
        // Its recording has ended with its holding the line.
        all_hear_each_other(&[(pat.ear(), PAT), (&bobs, BOB), (&sams, SAM)]);
    });
}

#[test]
fn a_second_phone_of_the_same_person_takes_over() {
    let test = "a_second_phone_of_the_same_person_takes_over";
    namespace::run(test, &[Tool::Baresip, Tool::Linphone, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (pat, conference) = maker(scratch, &mut server, "pat", &Voice::plain(PAT));
        let mut desk = phone(scratch, &server, "bob", &Voice::plain(BOB));
        desk.dial(&conference);
        all_hear_each_other(&[(pat.ear(), PAT), (desk.ear(), BOB)]);
        let mut other = Linphone::registered(scratch, "bob", &Voice::plain(LIN), server.address());
        other.dial(&conference);
        pat.ear().hears(&[LIN], &[PAT, BOB]);
        other.ear().hears(&[PAT], &[LIN, BOB]);
        other.quit();
        drop(desk);
    });
}

/// alice gives her conference a command, which must succeed.
fn command(scratch: &Scratch, server: &Server, conference: &str, command: &str) {
    let id = conference.rsplit(':').next().expect("a conference's address ends in its ID");
    let scenario = Scenario {
        file: "command",
        server: Some(server.address()),
        transport: Transport::Tcp,
        user: "alice",
        password: "unused",
        authenticated_uri: "example.test",
        keys: &[("conf", id), ("command", command)],
        call_id: None,
    };
    Sipp::run(scratch, &scenario);
}

/// The command that mutes all attendees, who may not undo it.
fn mute_all(conference: &str) -> String {
    let mcu = conference.replace(":focus:", ":audio-video:");
    format!(
        "<modifyConference mscp:mcuUri=\"{mcu}\" xmlns:mscp=\"http://schemas.microsoft.com/rtc/2005/08/cccpextensions\">\
         <ci:conference-info entity=\"{conference}\" state=\"partial\"><msci:conference-view>\
         <msci:entity-view entity=\"{mcu}\"><msci:entity-state><msci:mediaFiltersRules><msci:initialFilters>\
         <msci:role>attendee</msci:role><msci:ingressFilter>block</msci:ingressFilter></msci:initialFilters>\
         <msci:mayModifyOwnFilters><msci:role>attendee</msci:role><msci:value>false</msci:value>\
         </msci:mayModifyOwnFilters></msci:mediaFiltersRules></msci:entity-state></msci:entity-view>\
         </msci:conference-view></ci:conference-info></modifyConference>"
    )
}

#[test]
fn when_all_are_muted_the_presenter_alone_is_heard() {
    let test = "when_all_are_muted_the_presenter_alone_is_heard";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp, Tool::Namespace], |scratch| {
        let mut server = server(scratch);
        let (alice, conference) = maker(scratch, &mut server, "alice", &Voice::plain(ALICE));
        let mut bob = phone(scratch, &server, "bob", &Voice::plain(BOB));
        bob.dial(&conference);
        let mut pat = phone(scratch, &server, "pat", &Voice::plain(PAT));
        pat.dial(&conference);
        let ears = [(alice.ear(), ALICE), (bob.ear(), BOB), (pat.ear(), PAT)];
        all_hear_each_other(&ears);
        command(scratch, &server, &conference, &mute_all(&conference));
        bob.ear().hears(&[ALICE], &[PAT, BOB]);
        pat.ear().hears(&[ALICE], &[PAT, BOB]);
        alice.ear().hears(&[], &[ALICE, BOB, PAT]);
        nobody_heard_himself(&ears);
    });
}

#[test]
fn a_phone_without_an_account_joins_by_the_conference_key() {
    let test = "a_phone_without_an_account_joins_by_the_conference_key";
    namespace::run(test, &[Tool::Baresip, Tool::Sipp, Tool::Namespace], |scratch| {
        let more = format!(
            "\n[media]\naddresses = [\"{}\"]\n[conferences]\nallow_anonymous = true\n",
            namespace::ADDRESS
        );
        let mut server = Server::start_with(scratch, Authentication::Nobody, &more);
        let (alice, conference) = maker(scratch, &mut server, "alice", &Voice::plain(ALICE));
        let (_, id) = conference.rsplit_once(':').expect("a conference's URI ends in its ID");
        guest::open(scratch, &server, id);
        let stranger =
            |name, key, tone| Baresip::stranger(scratch, name, server.address(), key, &Voice::plain(tone));
        let mut known = stranger("guest", guest::KEY, PAT);
        known.dial(&conference);
        let ears = [(alice.ear(), ALICE), (known.ear(), PAT)];
        all_hear_each_other(&ears);
        nobody_heard_himself(&ears);
        let mut guessing = stranger("guessing", "harvest-2025", BOB);
        guessing.command("dial", &conference);
        guessing.wait("CALL_CLOSED");
    });
}
