//! The phones themselves, without a conference: each says a tone that another hears.

use confab_interop::baresip::Baresip;
use confab_interop::linphone::Linphone;
use confab_interop::server::Authentication;
use confab_interop::sipe::{SignOn, Sipe};
use confab_interop::sipp::{Scenario, Sipp, Transport};
use confab_interop::sound::TONES;
use confab_interop::tap::Tap;
use confab_interop::turn::{self, Turn};
use confab_interop::voice::{Encryption, Voice};
use confab_interop::wire::{Quality, Wire};
use confab_interop::{Scratch, Server, Tool, namespace, ports};

/// What the one says and the other hears.
const ALICE: u32 = TONES[0];
const BOB: u32 = TONES[3];

/// alice calls bob; each hears the other and not himself.
fn call_each_other(scratch: &Scratch, alice: &Voice, bob: &Voice) -> (Baresip, Baresip) {
    let address = (bob.address, ports::free().port()).into();
    let mut bob = Baresip::unregistered(scratch, "bob", address, bob);
    let own = (alice.address, ports::free().port()).into();
    let mut alice = Baresip::unregistered(scratch, "alice", own, alice);
    alice.dial(&format!("sip:bob@{address};transport=tcp"));
    bob.wait("CALL_ESTABLISHED");
    alice.ear().hears(&[BOB], &[ALICE]);
    bob.ear().hears(&[ALICE], &[BOB]);
    (alice, bob)
}

/// alice hangs up.
fn end(mut alice: Baresip, mut bob: Baresip) {
    alice.command("hangup", "");
    bob.wait("CALL_CLOSED");
    alice.ear().never_heard(ALICE);
    bob.ear().never_heard(BOB);
}

#[test]
fn two_baresips_hear_each_other() {
    namespace::run("two_baresips_hear_each_other", &[Tool::Baresip], |scratch| {
        let (mut alice, mut bob) = call_each_other(scratch, &Voice::plain(ALICE), &Voice::plain(BOB));
        alice.command("sndcode", "5");
        let digit = bob.wait("CALL_DTMF_START");
        assert_eq!(digit["param"], "5");
        // The tests of muting are no better than their ears: these hear that somebody falls silent, and speaks again.
        alice.command("mute", "");
        bob.ear().hears_nothing();
        alice.command("mute", "");
        bob.ear().hears(&[ALICE], &[BOB]);
        end(alice, bob);
    });
}

#[test]
fn two_baresips_hear_each_other_in_every_codec_and_encrypted() {
    let test = "two_baresips_hear_each_other_in_every_codec_and_encrypted";
    namespace::run(test, &[Tool::Baresip], |scratch| {
        for codecs in ["pcma", "g722", "opus"] {
            let voice = |tone| Voice::plain(tone).with_codecs(codecs).encrypted(Encryption::Required);
            let (alice, bob) = call_each_other(scratch, &voice(ALICE), &voice(BOB));
            end(alice, bob);
        }
    });
}

#[test]
fn two_baresips_hear_each_other_by_ice_and_by_a_relay() {
    let test = "two_baresips_hear_each_other_by_ice_and_by_a_relay";
    namespace::run(test, &[Tool::Baresip, Tool::Coturn], |scratch| {
        let ice = |tone| Voice::plain(tone).with_ice();
        let (alice, bob) = call_each_other(scratch, &ice(ALICE), &ice(BOB));
        end(alice, bob);
        let mut relay = Turn::start(scratch);
        let alice =
            Voice { turn: Some((relay.address(), turn::USER, turn::PASSWORD)), ..Voice::plain(ALICE) };
        let (alice, bob) = call_each_other(scratch, &alice, &Voice::plain(BOB));
        relay.has_lent();
        relay.relays();
        end(alice, bob);
    });
}

#[test]
fn a_linphone_and_a_baresip_hear_each_other() {
    namespace::run("a_linphone_and_a_baresip_hear_each_other", &[Tool::Baresip, Tool::Linphone], |scratch| {
        for encryption in [Encryption::None, Encryption::Required] {
            let address = ports::free();
            let voice = Voice::plain(BOB).encrypted(encryption);
            let mut bob = Baresip::unregistered(scratch, "bob", address, &voice);
            let voice = Voice::plain(ALICE).encrypted(encryption);
            let mut alice = Linphone::unregistered(scratch, "alice", &voice);
            alice.dial(&format!("sip:bob@{address};transport=tcp"));
            bob.wait("CALL_ESTABLISHED");
            alice.ear().hears(&[BOB], &[ALICE]);
            bob.ear().hears(&[ALICE], &[BOB]);
            bob.command("hangup", "");
            alice.is_over();
            alice.quit();
        }
    });
}

#[test]
fn a_sipp_and_a_baresip_hear_each_other() {
    let needs = [Tool::Baresip, Tool::Sipp, Tool::Namespace];
    namespace::run("a_sipp_and_a_baresip_hear_each_other", &needs, |scratch| {
        let tap = Tap::start();
        let address = ports::free();
        let mut bob = Baresip::unregistered(scratch, "bob", address, &Voice::plain(BOB));
        let target = format!("sip:bob@{address}");
        let scenario = Scenario {
            file: "speak",
            server: Some(address),
            transport: Transport::Tcp,
            user: "alice",
            password: "unused",
            authenticated_uri: "example.test",
            keys: &[("target", &target)],
            call_id: None,
        };
        let (alice, port) = Sipp::speaking(scratch, &scenario, ALICE);
        let ear = tap.ear("alice", port);
        bob.wait("CALL_ESTABLISHED");
        bob.ear().hears(&[ALICE], &[BOB]);
        ear.hears(&[BOB], &[ALICE]);
        tap.wait_packets(port, 10);
        bob.command("hangup", "");
        alice.finish();
    });
}

#[test]
fn two_sipes_hear_each_other() {
    namespace::run("two_sipes_hear_each_other", &[Tool::Sipe, Tool::Namespace], |scratch| {
        let server = Server::start(scratch, Authentication::Nobody);
        let at = SignOn::Tcp(server.address());
        let mut alice = Sipe::with_voice(scratch, "alice", at, ALICE);
        let mut bob = Sipe::with_voice(scratch, "bob", at, BOB);
        alice.command(&["call", &bob.uri()]);
        for sipe in [&mut alice, &mut bob] {
            sipe.wait("media-candidate-pair", |_| true);
        }
        alice.ear().hears(&[BOB], &[ALICE]);
        bob.ear().hears(&[ALICE], &[BOB]);
        alice.command(&["hangup"]);
        alice.quit();
        bob.quit();
    });
}

#[test]
fn a_bad_line_is_bad_for_sound_and_not_for_signalling() {
    let test = "a_bad_line_is_bad_for_sound_and_not_for_signalling";
    namespace::run(test, &[Tool::Baresip, Tool::Line], |scratch| {
        let deaf = Wire::lay(scratch, Quality { loss_percent: 100, jitter_ms: 0 });
        let address = (confab_interop::wire::NEAR, ports::free().port()).into();
        let near = Voice { address: confab_interop::wire::NEAR, ..Voice::plain(BOB) };
        let mut bob = Baresip::unregistered(scratch, "bob", address, &near);
        let far = (confab_interop::wire::FAR, ports::free().port()).into();
        let mut alice = Baresip::unregistered(scratch, "alice", far, &Voice::plain(ALICE).behind(&deaf));
        alice.dial(&format!("sip:bob@{address};transport=tcp"));
        bob.wait("CALL_ESTABLISHED");
        alice.command("hangup", "");
        bob.wait("CALL_CLOSED");
        drop((alice, bob, deaf));
        let line = Wire::lay(scratch, Quality { loss_percent: 2, jitter_ms: 10 });
        let (alice, bob) = call_each_other(scratch, &Voice::plain(ALICE).behind(&line), &near);
        end(alice, bob);
    });
}
