//! What both ends tell each other of a voice, and what is made of it.

use std::time::Duration;

use confab_media::{
    Command, Event, Flow, LegId, Port,
    rtcp::{self, Packet, Report, SenderInfo, Writer},
    rtp,
    session::{Codec, Gate, Kind, Quality},
};

use crate::bed::Bed;

/// Hands in a compound as from this telephone.
fn deliver(bed: &mut Bed, leg: LegId, write: impl FnOnce(&mut Writer<'_>)) {
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    let len = writer.finish().unwrap();
    let mut from = bed.phones[&leg].address;
    from.set_port(from.port() + 1);
    let port = Port { leg, kind: Kind::Audio, flow: Flow::Rtcp };
    bed.room.receive(bed.now, port, from, &mut buffer[..len], &mut bed.wire);
}

fn close(bed: &mut Bed, leg: LegId) -> Quality {
    bed.events();
    bed.command(Command::Close { leg });
    match bed.events()[..] {
        [Event::Closed { quality, .. }] => quality,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn reports_come_every_five_seconds_and_say_what_was_lost() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    bed.join(2, 2, Codec::Pcmu);
    for _ in 0..100 {
        bed.run(14);
        bed.phone(one).speak();
        bed.tick();
    }
    let reports = &bed.phones[&one].reports;
    assert!((4..=9).contains(&reports.len()), "{} in 30 s", reports.len());
    for pair in reports.windows(2) {
        let apart = pair[1].0.since(pair[0].0);
        assert!((2_500..=7_520).contains(&apart.as_millis()), "{apart:?}");
    }
    let (at, last) = reports.last().unwrap();
    let packets: Vec<_> = rtcp::packets(last).collect();
    let [Packet::SenderReport { ssrc: 0x5001, info, reports }, Packet::Description { ssrc: 0x5001, cname }] =
        packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((info.ntp, cname.len()), (rtcp::ntp(*at), 24));
    assert_eq!(info.octets, 160 * info.packets);
    let report = reports.iter().next().unwrap();
    assert_eq!(report.ssrc, 101);
    assert!((15..=19).contains(&report.fraction_lost), "one of fifteen: {report:?}");
    assert!((report.lost as u64 * 15).abs_diff(u64::from(info.packets)) < 30);
}

#[test]
fn the_peers_reports_give_round_trip_and_loss_and_the_score() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(400);
    let (at, ours) = bed.phones[&one].reports.last().unwrap().clone();
    let Some(Packet::SenderReport { info, .. }) = rtcp::packets(&ours).next() else { panic!() };
    let waited = bed.now.since(at);
    // He had it after 40 ms, kept it, and his answer takes 40 ms.
    bed.now = bed.now + Duration::from_millis(80);
    let report = Report {
        ssrc: 0x5001,
        lost: 7,
        last_report: rtcp::middle(info.ntp),
        delay: rtcp::delay(waited),
        ..Report::default()
    };
    let sent = SenderInfo { ntp: 0x1234_5678_9abc_def0, ..SenderInfo::default() };
    deliver(&mut bed, one, |out| {
        out.sender_report(101, sent, &[report, Report { ssrc: 1, lost: 99, ..report }])
    });
    bed.run(400);
    let (_, ours) = bed.phones[&one].reports.last().unwrap();
    let Some(Packet::SenderReport { reports, .. }) = rtcp::packets(ours).next() else { panic!() };
    let answer = reports.iter().next().unwrap();
    assert_eq!(answer.last_report, 0x5678_9abc);
    assert!(answer.delay > 0 && answer.delay < 9 << 16, "{answer:?}");
    let quality = close(&mut bed, one);
    assert_eq!(quality.sent_lost, Some(7));
    assert!(quality.round_trip.unwrap().as_millis().abs_diff(80) <= 1, "{quality:?}");
    assert!((430..=441).contains(&quality.mos), "{quality:?}");
    let quality = close(&mut bed, two);
    assert_eq!((quality.sent_lost, quality.round_trip), (None, None));
}

#[test]
fn loss_lowers_the_score() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    for _ in 0..100 {
        bed.run(4);
        bed.phone(one).speak();
        bed.tick();
    }
    let quality = close(&mut bed, one);
    assert_eq!((quality.received, quality.lost), (400, 99), "the last one is not missed yet");
    assert!((200..300).contains(&quality.mos), "{quality:?}");
}

#[test]
fn one_that_only_reports_is_not_silent() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    for _ in 0..10 {
        for _ in 0..250 {
            bed.tick();
        }
        deliver(&mut bed, one, |out| out.receiver_report(101, &[]));
    }
    assert_eq!(bed.events(), []);
}

#[test]
fn who_leaves_is_told_so_if_he_was_sent_anything() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join_with(2, 2, Codec::Pcmu, Gate::Open, |audio| audio.we_send = false);
    bed.run(10);
    for (leg, told) in [(one, true), (two, false)] {
        bed.command(Command::Close { leg });
        let sent = std::mem::take(&mut bed.wire.sent);
        assert_eq!(sent.len(), usize::from(told), "{leg:?}");
        for (port, _, datagram) in sent {
            assert_eq!(port, Port { leg, kind: Kind::Audio, flow: Flow::Rtcp });
            let packets: Vec<_> = rtcp::packets(&datagram).collect();
            assert!(matches!(
                packets[..],
                [Packet::SenderReport { .. }, Packet::Description { .. }, Packet::Goodbye { ssrc: 0x5001 }]
            ));
        }
    }
}

#[test]
fn comfort_noise_is_neither_lost_nor_refused() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Pcmu);
    let two = bed.join(2, 2, Codec::Pcmu);
    bed.run(20);
    bed.phone(one).number = 13;
    bed.run(20);
    assert!(bed.phones[&two].hears(350.0, 5) < 0.02, "his pause is a pause");
    bed.phone(one).number = 0;
    bed.run(20);
    assert!(bed.phones[&two].hears(350.0, 5) > 0.5);
    let quality = close(&mut bed, one);
    assert_eq!((quality.received, quality.lost, quality.rejected), (60, 0, 0));
}

/// Packets of the last second that bear a copy of the one before: the flag behind that of the voice (RFC 6716 §4.2.4).
fn with_copies(bed: &Bed, leg: LegId) -> usize {
    let packets = &bed.phones[&leg].packets;
    let payloads =
        packets[packets.len() - 50..].iter().map(|packet| rtp::Packet::parse(packet).unwrap().payload);
    payloads.filter(|payload| payload[0] >> 3 < 16 && payload[1] & 0x40 != 0).count()
}

#[test]
fn opus_bears_copies_of_what_is_lost_while_somebodys_line_loses() {
    let mut bed = Bed::default();
    let one = bed.join(1, 1, Codec::Opus);
    let two = bed.join(2, 2, Codec::Opus);
    let talker = bed.join(3, 3, Codec::Pcmu);
    for leg in [one, two] {
        bed.phone(leg).talks = false;
    }
    // Copies are made of what is voice, and that is not what lasts.
    let talk = |bed: &mut Bed| {
        for _ in 0..20 {
            bed.phone(talker).talks ^= true;
            bed.run(10);
        }
    };
    talk(&mut bed);
    assert_eq!(with_copies(&bed, one), 0, "nothing is lost yet");
    for (fraction_lost, copies) in [(26, true), (0, false)] {
        let report = Report { ssrc: 0x5001, fraction_lost, ..Report::default() };
        deliver(&mut bed, one, |out| out.receiver_report(101, &[report]));
        talk(&mut bed);
        for leg in [one, two] {
            let count = with_copies(&bed, leg);
            assert!(if copies { count > 10 } else { count == 0 }, "{leg:?} {fraction_lost}: {count}");
        }
    }
}
