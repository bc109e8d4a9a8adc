//! Keys that are pressed in a conference.

use std::time::Duration;

use confab_media::{
    Event, LegId,
    rtp::Header,
    session::{Codec, Gate},
};

use crate::bed::Bed;

/// Presses a key for five packets, of whose end three copies come.
fn press(bed: &mut Bed, leg: LegId, event: u8) {
    let start = bed.phone(leg).timestamp;
    for number in 1..=7_u16 {
        let phone = bed.phone(leg);
        let mut packet = vec![0; 12];
        let header = Header {
            marker: number == 1,
            payload_type: 101,
            sequence: phone.sequence,
            timestamp: start,
            ssrc: phone.ssrc,
        };
        header.write(&[], &mut packet);
        phone.sequence = phone.sequence.wrapping_add(1);
        phone.timestamp = phone.timestamp.wrapping_add(160);
        let [high, low] = (number.min(5) * 160).to_be_bytes();
        packet.extend([event, if number >= 5 { 0x8a } else { 0x0a }, high, low]);
        bed.deliver(leg, packet);
        bed.tick();
    }
}

#[test]
fn keys_are_told_once_of_everybody() {
    for gate in [Gate::Open, Gate::Muted, Gate::Waiting] {
        let mut bed = Bed::default();
        let one = bed.join_with(1, 1, Codec::Pcmu, gate, |_| {});
        bed.run(20);
        bed.events();
        press(&mut bed, one, 10);
        press(&mut bed, one, 6);
        let digit = |digit| Event::Digit { leg: one, digit, duration: Duration::from_millis(100) };
        assert_eq!(bed.answers(), [digit('*'), digit('6')], "{gate:?}");
        bed.run(50);
        assert_eq!(bed.answers(), []);
    }
}

#[test]
fn a_key_is_not_heard_as_sound() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(20);
    press(&mut bed, one, 1);
    bed.run(40);
    assert!(bed.phones[&two].hears(350.0, 30) > 0.5, "he is heard again");
    assert_eq!(bed.phones[&one].packets.len(), 67);
}
