//! Every codec in one mix.

use std::time::Duration;

use confab_media::{
    codec::opus,
    rtp::Packet,
    session::{Codec, Gate},
};

use crate::bed::{Bed, gain};

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

#[test]
fn every_pair_of_codecs_hears_each_other() {
    for one in CODECS {
        for other in CODECS {
            let mut bed = Bed::default();
            let legs = [bed.join(1, 1, one), bed.join(8, 2, other)];
            bed.run(100);
            for (me, him) in [(0, 1), (1, 0)] {
                let phone = &bed.phones[&legs[me]];
                let [his, own] = [him, me].map(|who| phone.hears(bed.phones[&legs[who]].hz, 50));
                assert!(his > 0.5 && own < 0.05, "{one:?} {other:?}: {his} {own}");
            }
        }
    }
}

#[test]
fn all_codecs_hear_each_other_in_one_room_and_nobody_himself() {
    let mut bed = Bed::default();
    let mut legs = Vec::new();
    for (at, codec) in CODECS.into_iter().enumerate() {
        for silent in [false, true] {
            let n = (4 * at + usize::from(silent)) as u64 + 1;
            let leg = bed.join(n, n, codec);
            bed.phone(leg).talks = !silent && codec != Codec::Pcma;
            legs.push(leg);
        }
    }
    bed.run(100);
    for (leg, phone) in &bed.phones {
        for talker in [1, 9, 13] {
            let gain = phone.hears(300.0 + 50.0 * talker as f32, 50);
            assert!(if leg.0 == talker { gain < 0.05 } else { gain > 0.5 }, "{leg:?} {talker}: {gain}");
        }
        assert_eq!(phone.packets.len(), 100);
        let steps = phone.packets.windows(2).map(|pair| {
            let [one, other] = [0, 1].map(|at| Packet::parse(&pair[at]).unwrap().header);
            assert_eq!(other.sequence, one.sequence.wrapping_add(1));
            other.timestamp.wrapping_sub(one.timestamp)
        });
        assert!(steps.into_iter().all(|step| step == phone.codec.clock_step()));
    }
}

#[test]
fn the_loudest_of_many_are_found_without_decoding_all() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut bed = Bed::default();
        for n in 1..=12 {
            let leg = bed.join(n, n, codec);
            bed.phone(leg).talks = [3, 6, 9].contains(&n);
        }
        bed.run(100);
        for (leg, phone) in &bed.phones {
            for talker in [3, 6, 9] {
                let gain = phone.hears(300.0 + 50.0 * talker as f32, 50);
                assert!(
                    if leg.0 == talker { gain < 0.05 } else { gain > 0.5 },
                    "{codec:?} {leg:?} {talker}: {gain}"
                );
            }
        }
    }
}

#[test]
fn who_was_loud_before_he_is_heard_is_heard_as_he_is_at_once() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut bed = Bed::default();
        let legs: Vec<_> = (1..=4).map(|n| bed.join(n, n, codec)).collect();
        let listener = bed.join(5, 5, Codec::Pcmu);
        bed.phone(listener).talks = false;
        bed.phone(legs[3]).talks = false;
        bed.run(20);
        bed.phone(legs[3]).talks = true;
        bed.run(40);
        bed.phone(legs[0]).talks = false;
        bed.run(100);
        let phone = &bed.phones[&listener];
        let strength: Vec<f32> =
            phone.heard.chunks_exact(160).map(|frame| gain(frame, 8000.0, 500.0)).collect();
        assert!(strength[25..60].iter().all(|gain| *gain < 0.05), "those who are heard stay");
        let begin = 60 + strength[60..].iter().position(|gain| *gain > 0.3).unwrap();
        // What its filters keep is missing in the first frame.
        assert!(strength[begin + 1] > 0.9, "{codec:?}: {:?}", &strength[begin..begin + 5]);
    }
}

#[test]
fn who_begins_to_speak_hears_the_others_go_on() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut bed = Bed::default();
        let one = bed.join(1, 1, codec);
        let two = bed.join(2, 2, codec);
        bed.phone(one).talks = false;
        bed.run(50);
        for _ in 0..3 {
            bed.phone(one).talks = true;
            bed.run(30);
            bed.phone(one).talks = false;
            bed.run(70);
        }
        let phone = &bed.phones[&one];
        let hz = phone.frame() as f32 * 50.0;
        let strength: Vec<f32> =
            phone.heard.chunks_exact(phone.frame()).map(|frame| gain(frame, hz, 400.0)).collect();
        let weakest = strength[30..].iter().copied().fold(f32::MAX, f32::min);
        let strongest = strength[30..].iter().copied().fold(f32::MIN, f32::max);
        assert!(weakest > 0.85 && strongest < 1.15, "{codec:?}: {weakest} {strongest}");
        assert!(bed.phones[&two].heard.iter().any(|sample| sample.abs() > 4000));
    }
}

#[test]
fn nothing_old_is_heard_when_somebody_begins_again() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut bed = Bed::default();
        let one = bed.join(1, 1, codec);
        let muted = bed.join(2, 2, codec);
        bed.run(40);
        bed.phone(one).talks = false;
        bed.run(5);
        bed.gate(1, muted, Gate::Muted);
        bed.run(80);
        bed.phone(one).talks = true;
        bed.phone(one).heard.clear();
        bed.run(10);
        let most = bed.phones[&one].heard.iter().map(|sample| sample.abs()).max();
        assert!(most < Some(100), "{codec:?}: {most:?}");
    }
}

#[test]
fn a_tone_is_heard_though_it_says_that_it_is_no_voice() {
    let mut bed = Bed::default();
    let one = bed.join_with(1, 1, Codec::Opus, Gate::Waiting, |_| {});
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(100);
    let packet = bed.phone(one).speak();
    assert!(!opus::is_active(Packet::parse(&packet).unwrap().payload), "after two seconds");
    bed.gate(1, one, Gate::Open);
    bed.run(10);
    let gain = bed.phones[&two].hears(350.0, 5);
    assert!(gain > 0.8, "{gain}");
}

#[test]
fn nobody_hears_himself_when_he_begins_and_ends_to_speak() {
    for codec in CODECS {
        let mut bed = Bed::default();
        let one = bed.join(1, 1, codec);
        let two = bed.join(2, 2, codec);
        bed.phone(two).talks = false;
        for _ in 0..4 {
            bed.phone(one).talks = true;
            bed.run(20);
            bed.phone(one).talks = false;
            bed.run(60);
        }
        let phone = &bed.phones[&one];
        for frames in phone.heard.chunks_exact(5 * phone.frame()) {
            let own = gain(frames, phone.frame() as f32 * 50.0, phone.hz);
            assert!(own < 0.02, "{codec:?}: {own}");
        }
        assert!(bed.phones[&two].heard.iter().any(|sample| *sample > 4000));
    }
}

#[test]
fn packets_hold_as_much_as_was_agreed() {
    for codec in [Codec::Pcma, Codec::G722] {
        for ms in [10, 20, 30, 40, 60] {
            let mut bed = Bed::default();
            let one =
                bed.join_with(1, 1, codec, Gate::Open, |audio| audio.packet_time = Duration::from_millis(ms));
            bed.join(2, 2, Codec::Pcmu);
            bed.run(120);
            let phone = &bed.phones[&one];
            assert_eq!(phone.packets.len() as u64, 2400 / ms);
            let headers: Vec<_> = phone.packets.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
            for pair in headers.windows(2) {
                assert_eq!(pair[1].header.timestamp, pair[0].header.timestamp.wrapping_add(8 * ms as u32));
                assert_eq!(pair[1].payload.len() as u64, 8 * ms);
            }
            assert!(phone.hears(400.0, 50) > 0.5, "{codec:?} {ms}");
        }
    }
}

#[test]
fn packets_of_any_length_are_heard() {
    let lengths = [(Codec::Pcmu, &[1, 2, 3, 4, 5, 6][..]), (Codec::Pcma, &[3, 6]), (Codec::G722, &[2, 4, 6])];
    for (codec, lengths) in lengths {
        for tens in lengths {
            let mut bed = Bed::default();
            let one = bed.join(1, 1, codec);
            let two = bed.join(2, 2, Codec::Pcmu);
            bed.phone(one).tens = *tens;
            for now in 0..500 {
                if now % tens == 0 {
                    let packet = bed.phone(one).speak();
                    bed.deliver(one, packet);
                }
                if now % 2 == 1 {
                    bed.tick();
                }
            }
            let phone = &bed.phones[&two];
            let weakest = phone.heard[16_000..].chunks_exact(800).map(|part| gain(part, 8000.0, 350.0));
            let weakest = weakest.fold(f32::MAX, f32::min);
            assert!(weakest > 0.8, "{codec:?} {tens}: {weakest}");
        }
    }
}

#[test]
fn a_codec_may_change_in_the_middle() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus, Codec::Pcmu, Codec::Opus, Codec::G722] {
        bed.phone(one).switch(codec);
        bed.run(50);
        let gain = bed.phones[&two].hears(350.0, 30);
        assert!(gain > 0.5, "{codec:?}: {gain}");
    }
}
