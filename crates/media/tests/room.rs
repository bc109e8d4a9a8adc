//! A room as its participants hear it: tones go in at every leg, and are looked for at every other.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "room/bed.rs"]
mod bed;
#[path = "room/codecs.rs"]
mod codecs;
#[path = "room/hostile.rs"]
mod hostile;
#[path = "room/keys.rs"]
mod keys;
#[path = "room/moves.rs"]
mod moves;
#[path = "room/network.rs"]
mod network;
#[path = "room/recording.rs"]
mod recording;
#[path = "room/reports.rs"]
mod reports;
#[path = "room/sender.rs"]
mod sender;
#[path = "room/stories.rs"]
mod stories;

use bed::Bed;
use confab_media::{
    Command, Event, LegId,
    rtp::Packet,
    session::{Codec, Gate},
};

const HEARD: f32 = 0.5;
const SILENT: f32 = 0.02;

#[test]
fn everybody_hears_everybody_else_and_nobody_himself() {
    let mut bed = Bed::default();
    let codecs = [Codec::Pcmu, Codec::Pcma, Codec::Pcmu];
    let legs: Vec<LegId> = (1..=3).map(|n| bed.join(n, n, codecs[n as usize - 1])).collect();
    bed.run(60);
    for one in &legs {
        for other in &legs {
            let hz = bed.phones[other].hz;
            let gain = bed.phones[one].hears(hz, 50);
            assert!(if one == other { gain < SILENT } else { gain > HEARD }, "{one:?} {other:?}: {gain}");
        }
        assert_eq!(bed.phones[one].packets.len(), 60, "a packet for each 20 ms");
    }
}

#[test]
fn three_of_fifty_are_heard_by_all() {
    let mut bed = Bed::default();
    for n in 1..=50 {
        let leg = bed.join(n, n, Codec::Pcmu);
        bed.phone(leg).talks = [7, 20, 33].contains(&n);
    }
    bed.run(60);
    for (leg, phone) in &bed.phones {
        for talker in [7, 20, 33] {
            let gain = phone.hears(300.0 + 50.0 * talker as f32, 50);
            assert!(if leg.0 == talker { gain < SILENT } else { gain > HEARD }, "{leg:?} {talker}: {gain}");
        }
        let packet = Packet::parse(phone.packets.last().unwrap()).unwrap();
        let expected: Vec<u32> =
            [107, 120, 133].into_iter().filter(|source| *source != 100 + leg.0 as u32).collect();
        let mut sources: Vec<u32> = packet.sources().collect();
        sources.sort_unstable();
        assert_eq!(sources, expected);
    }
}

#[test]
fn a_fourth_is_heard_once_he_is_louder() {
    let mut bed = Bed::default();
    let legs: Vec<LegId> = (1..=5).map(|n| bed.join(n, n, Codec::Pcmu)).collect();
    bed.phone(legs[4]).talks = false;
    bed.phone(legs[3]).talks = false;
    bed.run(30);
    bed.phone(legs[3]).talks = true;
    bed.run(60);
    let listener = &bed.phones[&legs[4]];
    let heard: Vec<bool> = (0..4).map(|n| listener.hears(350.0 + 50.0 * n as f32, 50) > HEARD).collect();
    assert_eq!(heard, [true, true, true, false], "those who are heard stay");
    bed.phone(legs[0]).talks = false;
    bed.run(60);
    let listener = &bed.phones[&legs[4]];
    assert!(listener.hears(500.0, 30) > HEARD);
    assert!(listener.hears(350.0, 30) < SILENT);
}

#[test]
fn the_stream_is_one_for_the_whole_call() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.phone(two).talks = false;
    bed.run(20);
    bed.phone(two).talks = true;
    bed.run(20);
    bed.phone(two).talks = false;
    bed.run(80);
    bed.phone(two).talks = true;
    bed.run(20);
    let headers: Vec<_> =
        bed.phones[&one].packets.iter().map(|packet| Packet::parse(packet).unwrap().header).collect();
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
        assert_eq!((pair[1].ssrc, pair[1].payload_type), (0x5001, 0));
    }
    assert_eq!(headers.iter().filter(|header| header.marker).count(), 2, "one for each talk spurt");
}

#[test]
fn one_who_is_muted_is_not_mixed_from_the_confirmation_on() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for (gate, hears) in [(Gate::Muted, true), (Gate::Waiting, false)] {
            mute(codec, gate, hears);
        }
    }
}

/// Lets a telephone with this codec hear one who is muted or must wait.
fn mute(codec: Codec, gate: Gate, hears: bool) {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, codec);
    let two = bed.join(2, 2, codec);
    bed.run(50);
    bed.events();
    let packet = bed.phone(one).speak();
    bed.deliver(one, packet);
    bed.gate(7, one, gate);
    assert_eq!(bed.answers(), [], "not yet sent so");
    bed.run(1);
    assert_eq!(bed.answers(), [Event::Gated { id: 7 }]);
    bed.phone(two).heard.clear();
    bed.phone(one).heard.clear();
    bed.run(30);
    let phone = &bed.phones[&two];
    assert!(phone.hears(350.0, 30) < SILENT, "{codec:?} {gate:?}");
    let first = bed::gain(&phone.heard[..phone.frame()], phone.frame() as f32 * 50.0, 350.0);
    assert!(first < 0.05, "{codec:?} {gate:?}: not in the first packet either: {first}");
    assert!(phone.packets.iter().rev().take(30).all(|packet| packet[0] == 0x80), "no source");
    assert_eq!(bed.phones[&one].hears(400.0, 20) > HEARD, hears, "{codec:?} {gate:?}");
    if !hears {
        let most = bed.phones[&one].heard.iter().skip(3000).map(|sample| sample.abs()).max();
        // Silence wanders a little in G.722.
        assert!(most <= Some(32), "{codec:?}: not even noise: {most:?}");
    }
    bed.gate(8, one, Gate::Open);
    bed.run(50);
    assert!(bed.phones[&two].hears(350.0, 20) > HEARD);
    assert!(bed.events().contains(&Event::Gated { id: 8 }));
}

#[test]
fn the_dominant_speaker_comes_first_and_does_not_change_with_every_word() {
    let mut bed = Bed::default();
    let legs: Vec<LegId> = (1..=3).map(|n| bed.join(n, n, Codec::Pcmu)).collect();
    bed.phone(legs[1]).talks = false;
    bed.phone(legs[2]).talks = false;
    bed.run(20);
    bed.phone(legs[1]).talks = true;
    for tick in 0..100 {
        bed.phone(legs[0]).talks = tick % 10 < 7;
        bed.run(1);
    }
    let first = |packet: &Vec<u8>| Packet::parse(packet).unwrap().sources().next();
    let led: Vec<_> = bed.phones[&legs[2]].packets.iter().skip(2).map(first).collect();
    let changes = led.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 1, "{led:?}");
}

#[test]
fn a_voice_that_is_given_up_is_not_heard_any_more() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(30);
    let mut spec = sender::spec(1, 1, Codec::Pcmu);
    spec.audio = None;
    bed.command(Command::Set { leg: one, spec: Box::new(spec), gate: Gate::Open });
    let heard = bed.phones[&one].packets.len();
    bed.phone(two).heard.clear();
    bed.run(30);
    assert!(bed.phones[&two].hears(350.0, 30) < SILENT);
    assert_eq!(bed.phones[&one].packets.len(), heard);
}

#[test]
fn what_was_said_while_muted_is_not_heard_afterwards() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(30);
    bed.gate(1, one, Gate::Muted);
    bed.run(30);
    for _ in 0..3 {
        let packet = bed.phone(one).speak();
        bed.deliver(one, packet);
    }
    bed.gate(2, one, Gate::Open);
    bed.phone(two).heard.clear();
    for _ in 0..10 {
        bed.tick();
    }
    assert!(bed.phones[&two].heard.iter().all(|sample| sample.abs() < 40));
}

#[test]
fn a_leg_that_waits_from_the_beginning_is_never_heard() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join_with(2, 2, Codec::Pcmu, Gate::Waiting, |_| {});
    bed.run(60);
    assert!(bed.phones[&one].hears(400.0, 60) < SILENT && bed.phones[&two].hears(350.0, 60) < SILENT);
    assert!(bed.phones[&one].packets.iter().all(|packet| packet[0] == 0x80));
}

#[test]
fn a_confirmation_waits_for_packets_that_are_being_filled() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let sixty = std::time::Duration::from_millis(60);
    let two = bed.join_with(2, 2, Codec::Pcmu, Gate::Open, |audio| audio.packet_time = sixty);
    bed.run(31);
    bed.events();
    assert_eq!(bed.phones[&two].packets.len(), 10);
    bed.gate(1, one, Gate::Muted);
    for _ in 0..2 {
        bed.run(1);
        assert_eq!(bed.answers(), []);
    }
    bed.run(1);
    assert_eq!(bed.answers(), [Event::Gated { id: 1 }]);
    bed.phone(two).heard.clear();
    bed.run(30);
    assert!(bed.phones[&two].hears(350.0, 30) < SILENT);
    assert!(bed.phones[&two].packets.iter().all(|packet| packet.len() >= 12 + 480));
}

#[test]
fn commands_about_nobody_are_answered_too() {
    let mut bed = Bed::default();
    bed.gate(1, LegId(9), Gate::Muted);
    assert_eq!(bed.events(), [Event::Gated { id: 1 }]);
    bed.command(Command::Close { leg: LegId(9) });
    assert_eq!(bed.events(), []);
    assert!(bed.room.is_idle());
    let one = bed.join(1, 1, Codec::Pcmu);
    assert!(!bed.room.is_idle());
    bed.gate(2, one, Gate::Muted);
    bed.command(Command::Close { leg: one });
    let events = bed.events();
    assert!(matches!(events[..], [Event::Closed { .. }, Event::Gated { id: 2 }]), "{events:?}");
    assert!(bed.room.is_idle());
}

#[test]
fn who_is_on_hold_is_sent_nothing_and_not_heard() {
    let mut bed = Bed::default();
    let one = bed.join_with(1, 1, Codec::Pcmu, Gate::Open, |audio| audio.we_send = false);
    let two = bed.join_with(2, 2, Codec::Pcmu, Gate::Open, |audio| audio.we_receive = false);
    let three = bed.join(3, 3, Codec::Pcmu);
    bed.run(40);
    assert_eq!(bed.phones[&one].packets.len(), 0);
    assert!(bed.phones[&three].hears(350.0, 30) > HEARD && bed.phones[&three].hears(400.0, 30) < SILENT);
    assert!(bed.phones[&two].hears(350.0, 30) > HEARD);
}

#[test]
fn a_second_leg_takes_over_without_gap_or_echo() {
    let mut bed = Bed::default();
    let desk = bed.join(1, 1, Codec::Pcmu);
    let other = bed.join(2, 2, Codec::Pcmu);
    bed.run(40);
    // The mobile hears before it sends, and neither hears the other.
    let mobile = bed.join(3, 1, Codec::Pcma);
    bed.phone(mobile).hz = bed.phones[&desk].hz;
    for _ in 0..20 {
        for leg in [desk, other] {
            let packet = bed.phone(leg).speak();
            bed.deliver(leg, packet);
        }
        bed.tick();
    }
    assert!(bed.phones[&mobile].hears(400.0, 15) > HEARD && bed.phones[&mobile].hears(350.0, 15) < SILENT);
    bed.phone(other).heard.clear();
    bed.run(40);
    let heard = &bed.phones[&other].heard;
    for (at, frame) in heard.chunks_exact(160).enumerate() {
        let gain = bed::gain(frame, 8000.0, 350.0);
        assert!((0.3..1.3).contains(&gain), "frame {at}: no gap and no echo: {gain}");
    }
    assert!(bed.phones[&desk].hears(400.0, 30) < SILENT, "the older leg hears nothing");
    assert!(bed.phones[&mobile].hears(400.0, 30) > HEARD && bed.phones[&mobile].hears(350.0, 30) < SILENT);
    bed.command(Command::Close { leg: mobile });
    bed.phones.remove(&mobile);
    bed.run(40);
    assert!(bed.phones[&desk].hears(400.0, 30) > HEARD, "until it is alone again");
    assert!(bed.phones[&other].hears(350.0, 30) > HEARD);
}

#[test]
fn of_two_legs_that_go_over_together_the_newer_is_used_whoever_is_ready_first() {
    let mut bed = Bed::default();
    let other = bed.join(3, 3, Codec::Pcmu);
    let mobile = bed.join(2, 1, Codec::Pcmu);
    let desk = bed.join(1, 1, Codec::Pcmu);
    bed.run(40);
    let heard = &bed.phones[&other];
    let hz = |leg| bed.phones[leg].hz;
    assert!(heard.hears(hz(&mobile), 30) > HEARD && heard.hears(hz(&desk), 30) < SILENT);
}

#[test]
fn closing_tells_how_it_was_and_ends_it() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(50);
    for _ in 0..5 {
        bed.phone(one).speak();
    }
    bed.run(50);
    bed.events();
    bed.command(Command::Close { leg: one });
    let [Event::Closed { leg, quality }] = bed.events()[..] else { panic!("one event") };
    assert_eq!((leg, quality.received, quality.lost, quality.sent), (one, 100, 5, 100));
    let heard = bed.phones[&one].packets.len();
    bed.run(10);
    assert_eq!(bed.phones[&one].packets.len(), heard, "nothing is sent to it from then on");
    assert!(bed.phones[&two].hears(350.0, 10) < SILENT);
}

#[test]
fn who_speaks_is_told_and_silence_as_well() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.phone(two).talks = false;
    bed.run(100);
    assert_eq!(bed.events(), [Event::Speaking { legs: vec![one] }]);
    bed.phone(two).talks = true;
    bed.phone(one).talks = false;
    bed.run(100);
    let told: Vec<Event> = bed.events();
    assert_eq!(told.last(), Some(&Event::Speaking { legs: vec![two] }), "{told:?}");
    assert!(told.len() <= 4);
    for _ in 0..1600 {
        let packet = bed.phone(two).speak();
        bed.deliver(two, packet);
        bed.tick();
    }
    assert_eq!(bed.events(), [Event::Silent { leg: one }], "once");
}
