//! What nobody should send, and what comes of it: it is counted, and the others hear nothing of it.

use std::time::Duration;

use confab_media::{
    Command, Event, Flow, Port,
    rtp::Header,
    session::{Codec, Kind, Quality},
};

use crate::{bed::Bed, sender::address};

/// Whether the other two of three hear each other, and nobody himself.
fn is_untouched(bed: &Bed) -> bool {
    let [two, three] = [2, 3].map(|n| &bed.phones[&confab_media::LegId(n)]);
    two.hears(450.0, 40) > 0.5 && three.hears(400.0, 40) > 0.5 && two.hears(400.0, 40) < 0.05
}

fn three() -> Bed {
    let mut bed = Bed::default();
    for n in 1..=3 {
        bed.join(n, n, Codec::Pcmu);
    }
    bed.run(10);
    bed
}

fn quality(bed: &mut Bed) -> Quality {
    bed.events();
    bed.command(Command::Close { leg: confab_media::LegId(1) });
    match bed.events()[..] {
        [Event::Closed { quality, .. }] => quality,
        ref other => panic!("{other:?}"),
    }
}

/// Lets the others speak while the first one sends what `hostile` makes.
fn attack(bed: &mut Bed, ticks: usize, mut hostile: impl FnMut(usize) -> Vec<Vec<u8>>) {
    for tick in 0..ticks {
        for packet in hostile(tick) {
            bed.deliver(confab_media::LegId(1), packet);
        }
        for n in [2, 3] {
            let packet = bed.phone(confab_media::LegId(n)).speak();
            bed.deliver(confab_media::LegId(n), packet);
        }
        bed.tick();
    }
}

fn packet(sequence: u16, timestamp: u32, ssrc: u32, payload_type: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0; 12];
    Header { marker: false, payload_type, sequence, timestamp, ssrc }.write(&[], &mut packet);
    packet.resize(12 + len, 0x10);
    packet
}

#[test]
fn packets_of_one_byte_and_of_nine_thousand_are_counted() {
    let mut bed = three();
    attack(&mut bed, 60, |tick| {
        let number = tick as u16;
        let huge = packet(number, u32::from(number) * 160, 101, 0, 9000 - 12);
        vec![vec![0x80], vec![0], vec![], huge, packet(number, 0, 101, 0, 0)]
    });
    assert!(is_untouched(&bed));
    assert!(quality(&mut bed).rejected >= 4 * 60);
}

#[test]
fn ten_thousand_packets_a_second_do_no_harm() {
    let mut bed = three();
    let mut number = 0_u32;
    attack(&mut bed, 60, |_| {
        let packets = (0..200).map(|_| {
            number += 1;
            packet(number as u16, number * 160, 101, 0, 160)
        });
        packets.collect()
    });
    assert!(is_untouched(&bed));
    let mut state = 1_u32;
    attack(&mut bed, 60, |_| {
        let packets = (0..200).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            packet(
                (state >> 8) as u16,
                state.rotate_left(9),
                state >> 30,
                [0, 8, 9, 111, 77][state as usize % 5],
                160,
            )
        });
        packets.collect()
    });
    assert!(is_untouched(&bed));
}

#[test]
fn silence_for_ever_is_told_once_and_costs_nobody_anything() {
    let mut bed = three();
    attack(&mut bed, 4000, |_| vec![]);
    assert!(is_untouched(&bed));
    let silent = bed.events().into_iter().filter(|event| matches!(event, Event::Silent { .. }));
    assert_eq!(silent.count(), 1);
}

#[test]
fn payloads_that_change_with_every_packet_do_no_harm() {
    let mut bed = three();
    attack(&mut bed, 200, |tick| {
        let kind = [0, 8, 9, 111, 101, 13, 127][tick % 7];
        vec![packet(tick as u16, tick as u32 * 160, 101, kind, [160, 80, 33, 3][tick % 4])]
    });
    assert!(is_untouched(&bed));
}

#[test]
fn another_address_is_not_heard() {
    let mut bed = three();
    bed.run(50);
    let port = Port { leg: confab_media::LegId(1), kind: Kind::Audio, flow: Flow::Rtp };
    for tick in 0..60_u32 {
        let mut stranger = packet(tick as u16, tick * 160, 999, 0, 160);
        bed.room.receive(bed.now, port, address(2999), &mut stranger, &mut bed.wire);
        bed.run(1);
    }
    assert!(is_untouched(&bed));
    assert!(bed.phones[&confab_media::LegId(2)].hears(350.0, 40) > 0.5);
    assert_eq!(quality(&mut bed).rejected, 60);
}

#[test]
fn a_leg_that_is_unknown_is_nothing() {
    let mut bed = three();
    let port = Port { leg: confab_media::LegId(77), kind: Kind::Audio, flow: Flow::Rtp };
    bed.room.receive(bed.now, port, address(1), &mut [0x80; 172], &mut bed.wire);
    let port = Port { leg: confab_media::LegId(1), kind: Kind::Video, flow: Flow::Rtp };
    bed.room.receive(bed.now, port, address(1), &mut [0x80; 172], &mut bed.wire);
    bed.now = bed.now + Duration::from_secs(1);
    bed.run(60);
    assert!(is_untouched(&bed));
}
