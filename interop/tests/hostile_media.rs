//! Phones go on hearing each other, whatever others send to the ports of their conference.

use std::net::{Ipv4Addr, SocketAddrV4};

use confab_interop::attack_media::{Attack, Attacking};
use confab_interop::baresip::{Account, Baresip};
use confab_interop::server::Authentication;
use confab_interop::sound::TONES;
use confab_interop::tap::Tap;
use confab_interop::voice::{Encryption, Voice};
use confab_interop::wire::{self, Quality, Wire};
use confab_interop::{Scratch, Server, Tool, namespace, poll};

/// What pat and bob say, and what attackers say.
const PAT: u32 = TONES[0];
const BOB: u32 = TONES[2];
const EVIL: u32 = TONES[4];
/// So many datagrams of an attack come before it is listened for, and of a flood: a second of it.
const SOME: u64 = 20;
const MUCH: u64 = 5_000;
/// The most memory the server may ever have had, in MiB.
const MEMORY: u64 = 512;

/// A phone that has registered and called.
fn caller(scratch: &Scratch, server: &Server, user: &str, voice: &Voice, target: &str) -> Baresip {
    let account = Account { user, password: "unused", transport: "tcp", server: server.address() };
    let mut phone = Baresip::registered(scratch, &account, voice);
    phone.wait("REGISTER_OK");
    phone.dial(target);
    phone
}

/// Each hears the other, and nobody hears the attackers.
fn are_untouched(pat: &Baresip, bob: &Baresip) {
    pat.ear().hears(&[BOB], &[PAT, EVIL]);
    bob.ear().hears(&[PAT], &[BOB, EVIL]);
}

#[test]
fn phones_hear_each_other_through_every_attack_on_their_ports() {
    let test = "phones_hear_each_other_through_every_attack_on_their_ports";
    namespace::run(test, &[Tool::Baresip, Tool::Namespace], |scratch| {
        let tap = Tap::start();
        let mut server = Server::start(scratch, Authentication::Nobody);
        let pat = caller(scratch, &server, "pat", &Voice::plain(PAT), "sip:conference@example.test");
        let conference = server.only_conference();
        let voice = Voice::plain(BOB).encrypted(Encryption::Required);
        let bob = caller(scratch, &server, "bob", &voice, &conference);
        are_untouched(&pat, &bob);
        let port = |phone: &Baresip| SocketAddrV4::new(Ipv4Addr::LOCALHOST, phone.remote_port());
        for attack in Attack::STRANGERS {
            let attacks = [port(&pat), port(&bob)].map(|port| Attacking::stranger(attack, port.into(), EVIL));
            goes_on(attack, &attacks);
            are_untouched(&pat, &bob);
        }
        for attack in Attack::FORGED {
            let own = poll(confab_interop::Deadline::step(), || tap.last(port(&bob).port()));
            let attacks = [Attacking::forged(attack, port(&bob), own.expect("bob speaks"), EVIL)];
            goes_on(attack, &attacks);
            // They do arrive: bob alone would take minutes for so many.
            if attack == Attack::WrongKeysFlood {
                tap.wait_packets(port(&bob).port(), MUCH);
            }
            are_untouched(&pat, &bob);
        }
        are_untouched(&pat, &bob);
        pat.ear().never_heard(EVIL);
        bob.ear().never_heard(EVIL);
        assert!(server.most_memory() < MEMORY, "it took {} MiB", server.most_memory());
    });
}

fn goes_on(attack: Attack, attacks: &[Attacking]) {
    let is_flood = matches!(attack, Attack::StrangerFlood | Attack::WrongKeysFlood);
    for attacking in attacks {
        attacking.goes_on(if is_flood { MUCH } else { SOME });
    }
}

#[test]
fn who_is_silent_for_ever_is_no_harm() {
    namespace::run("who_is_silent_for_ever_is_no_harm", &[Tool::Baresip, Tool::Line], |scratch| {
        let nothing = Wire::lay(scratch, Quality { loss_percent: 100, jitter_ms: 0 });
        let accounts = [("pat", "unused"), ("bob", "unused"), ("far", "unused")];
        let mut server = Server::start_at(scratch, Authentication::Digest(&accounts), wire::NEAR, "");
        let near = |tone| Voice { address: wire::NEAR, ..Voice::plain(tone) };
        let pat = caller(scratch, &server, "pat", &near(PAT), "sip:conference@example.test");
        let conference = server.only_conference();
        let voice = Voice::plain(EVIL).behind(&nothing);
        let mut far = caller(scratch, &server, "far", &voice, &conference);
        let bob = caller(scratch, &server, "bob", &near(BOB), &conference);
        are_untouched(&pat, &bob);
        far.command("hangup", "");
        far.wait("CALL_CLOSED");
        are_untouched(&pat, &bob);
    });
}
