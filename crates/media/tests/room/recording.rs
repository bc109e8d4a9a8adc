//! Somebody who hears everything and is no leg.

use std::sync::mpsc::{Sender, channel};

use confab_machine::Time;
use confab_media::{codec::Rate, room::Recorder, session::Codec};

use crate::bed::{Bed, gain};

struct Tape(Sender<(Time, Vec<i16>)>);

impl Recorder for Tape {
    fn hear(&mut self, now: Time, sound: &[i16]) {
        self.0.send((now, sound.to_vec())).unwrap();
    }
}

#[test]
fn a_recording_holds_everybody_whoever_else_needs_its_rate() {
    for (rate, codec) in [(Rate::Wide, Codec::Pcmu), (Rate::Full, Codec::Pcmu), (Rate::Wide, Codec::Opus)] {
        let mut bed = Bed::default();
        bed.join(1, 1, codec);
        bed.join(8, 2, Codec::Pcma);
        bed.run(10);
        let (tape, heard) = channel();
        bed.room.record(rate, Some(Box::new(Tape(tape))));
        bed.run(100);
        bed.room.record(rate, None);
        bed.run(10);
        let frames: Vec<(Time, Vec<i16>)> = heard.try_iter().collect();
        assert_eq!(frames.len(), 100);
        assert!(frames.windows(2).all(|pair| pair[1].0.since(pair[0].0).as_millis() == 20));
        let sound: Vec<i16> = frames.into_iter().skip(50).flat_map(|(_, sound)| sound).collect();
        let hz = rate.frame() as f32 * 50.0;
        for tone in [350.0, 700.0] {
            let gain = gain(&sound, hz, tone);
            assert!((0.7..1.3).contains(&gain), "{rate:?} {codec:?} {tone}: {gain}");
        }
    }
}
