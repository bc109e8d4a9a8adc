//! A network that loses, delays and reorders packets, and clocks that run fast or slow: the tone survives.

use std::{collections::BTreeMap, time::Duration};

use confab_machine::Time;
use confab_media::{
    Command, Event, LegId,
    session::{Codec, Quality},
};

use crate::bed::{Bed, gain};

/// What befalls the packets of one sender.
#[derive(Clone, Copy, Default)]
struct Network {
    /// In a thousand.
    lost: u64,
    doubled: u64,
    /// The most a packet is delayed, each by its own.
    jitter: Duration,
    /// How much faster the sender's clock is, in millionths.
    drift: i64,
}

/// One who speaks over such a network, and one who hears him over a good one.
struct Call {
    bed: Bed,
    network: Network,
    speaker: LegId,
    listener: LegId,
    on_the_way: BTreeMap<(Time, u64), Vec<u8>>,
    packets: u64,
    start: Time,
    random: u64,
}

impl Call {
    fn new(codec: Codec, network: Network, seed: u64) -> Call {
        let mut bed = Bed::default();
        let speaker = bed.join(1, 1, codec);
        let listener = bed.join(2, 2, Codec::Pcmu);
        bed.phone(listener).talks = false;
        let start = bed.now;
        Call {
            bed,
            network,
            speaker,
            listener,
            on_the_way: BTreeMap::new(),
            packets: 0,
            start,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below.max(1)
    }

    /// When the speaker takes the next packet's last sample, on his own clock.
    fn next(&self) -> Time {
        let micros = (self.packets as i64 * 20_000) * 1_000_000 / (1_000_000 + self.network.drift);
        self.start + Duration::from_micros(micros as u64 + 7_000)
    }

    fn run(&mut self, seconds: usize) {
        for _ in 0..seconds * 50 {
            let until = self.bed.now + Duration::from_millis(20);
            while self.next() < until {
                self.send();
            }
            while let Some(entry) = self.on_the_way.first_entry() {
                if entry.key().0 >= until {
                    break;
                }
                let packet = entry.remove();
                self.bed.deliver(self.speaker, packet);
            }
            let packet = self.bed.phone(self.listener).speak();
            self.bed.deliver(self.listener, packet);
            self.bed.tick();
        }
    }

    fn send(&mut self) {
        let at = self.next();
        self.packets += 1;
        let packet = self.bed.phone(self.speaker).speak();
        if self.random(1000) < self.network.lost {
            return;
        }
        for _ in 0..1 + u64::from(self.random(1000) < self.network.doubled) {
            let delay = Duration::from_micros(self.random(self.network.jitter.as_micros() as u64));
            let number = self.random(1 << 30);
            self.on_the_way.insert((at + delay, number), packet.clone());
        }
    }

    /// The weakest and the mean strength of the tone in the last so many seconds, tenth by tenth of a second.
    fn heard(&self, seconds: usize) -> (f32, f32) {
        let heard = &self.bed.phones[&self.listener].heard;
        let hz = self.bed.phones[&self.speaker].hz;
        let windows: Vec<f32> = heard[heard.len() - seconds * 8000..]
            .chunks_exact(800)
            .map(|window| {
                // A clock that drifts shifts the tone by less than a window can tell.
                gain(window, 8000.0, hz)
            })
            .collect();
        let least = windows.iter().copied().fold(f32::MAX, f32::min);
        (least, windows.iter().sum::<f32>() / windows.len() as f32)
    }

    fn quality(mut self) -> Quality {
        self.bed.events();
        self.bed.command(Command::Close { leg: self.speaker });
        match self.bed.events()[..] {
            [Event::Closed { quality, .. }] => quality,
            ref other => panic!("{other:?}"),
        }
    }
}

const CODECS: [Codec; 3] = [Codec::Pcma, Codec::G722, Codec::Opus];

#[test]
fn a_good_network_is_not_heard_at_all() {
    for codec in CODECS {
        let mut call = Call::new(codec, Network::default(), 1);
        call.run(5);
        let (least, _) = call.heard(4);
        assert!(least > 0.9, "{codec:?}: {least}");
        // From the end of a packet to the next tick, and what the codec takes: nothing is kept back.
        let delay = call.delay();
        assert!(
            delay <= Duration::from_millis(if codec == Codec::Opus { 35 } else { 21 }),
            "{codec:?}: {delay:?}"
        );
        let quality = call.quality();
        assert_eq!((quality.lost, quality.late, quality.rejected), (0, 0, 0));
    }
}

#[test]
fn the_tone_survives_a_tenth_of_its_packets() {
    for codec in CODECS {
        for seed in 1..4 {
            let network = Network { lost: 100, doubled: 50, ..Network::default() };
            let mut call = Call::new(codec, network, seed);
            call.run(20);
            let (least, mean) = call.heard(18);
            // Three lost one after the other are a hole.
            assert!(least > 0.05 && mean > 0.8, "{codec:?} {seed}: {least} {mean}");
            let quality = call.quality();
            assert!((60..140).contains(&quality.lost), "{codec:?} {seed}: {quality:?}");
            assert_eq!(quality.late, 0);
        }
    }
}

#[test]
fn the_tone_survives_jitter_of_a_tenth_of_a_second() {
    for codec in CODECS {
        for seed in 1..4 {
            let network = Network { jitter: Duration::from_millis(100), ..Network::default() };
            let mut call = Call::new(codec, network, seed);
            call.run(10);
            let before = call.bed.phones[&call.listener].packets.len();
            call.run(20);
            let (_, mean) = call.heard(20);
            assert!(mean > 0.9, "{codec:?} {seed}: {mean}");
            assert_eq!(call.bed.phones[&call.listener].packets.len() - before, 1000);
            let late = call.quality().late;
            assert!(late < 60, "{codec:?} {seed}: learnt by few late ones: {late}");
        }
    }
}

#[test]
fn all_of_it_at_once() {
    for codec in CODECS {
        for seed in 1..3 {
            let network = Network { lost: 50, doubled: 20, jitter: Duration::from_millis(60), drift: 100 };
            let mut call = Call::new(codec, network, seed);
            call.run(30);
            let (_, mean) = call.heard(20);
            assert!(mean > 0.75, "{codec:?} {seed}: {mean}");
        }
    }
}

#[test]
fn clocks_may_drift_and_the_delay_stays() {
    for drift in [-200, 200] {
        let mut call = Call::new(Codec::Pcmu, Network { drift, ..Network::default() }, 5);
        call.run(300);
        let (least, mean) = call.heard(280);
        assert!(least > 0.5 && mean > 0.97, "{drift}: {least} {mean}");
        // 60 ms have been gained or lost in five minutes, in steps of a packet.
        let late = call.delay();
        assert!(late <= Duration::from_millis(60), "{drift}: {late:?}");
    }
}

#[test]
fn delay_is_given_back_when_the_network_is_good_again() {
    let network = Network { jitter: Duration::from_millis(100), ..Network::default() };
    let mut call = Call::new(Codec::Pcmu, network, 3);
    call.run(20);
    let bad = call.delay();
    call.network = Network::default();
    call.run(40);
    let good = call.delay();
    assert!(bad > Duration::from_millis(60) && good <= Duration::from_millis(40), "{bad:?} then {good:?}");
}

#[test]
fn a_new_source_is_taken_and_the_tone_goes_on() {
    let mut call = Call::new(Codec::Pcmu, Network::default(), 1);
    call.run(5);
    let speaker = call.speaker;
    let phone = call.bed.phone(speaker);
    (phone.ssrc, phone.sequence, phone.timestamp) = (77, 5, 99);
    call.run(3);
    let (least, _) = call.heard(2);
    assert!(least > 0.9, "{least}");
    // And a clock that was set, forwards and backwards.
    for jump in [1_000_000_u32, 3_000_000_000, 4000, u32::MAX - 4000] {
        let phone = call.bed.phone(speaker);
        phone.timestamp = phone.timestamp.wrapping_add(jump);
        call.run(3);
        let (least, _) = call.heard(2);
        assert!(least > 0.9, "{jump}: {least}");
    }
}

#[test]
fn pauses_without_packets_are_pauses() {
    let mut call =
        Call::new(Codec::Pcmu, Network { jitter: Duration::from_millis(15), ..Network::default() }, 2);
    for _ in 0..5 {
        call.run(2);
        let (least, _) = call.heard(1);
        assert!(least > 0.7, "{least}");
        // Silence suppression: nothing is sent for two seconds, and the clock goes on.
        let speaker = call.speaker;
        for _ in 0..100 {
            call.packets += 1;
            let phone = call.bed.phone(speaker);
            let sequence = phone.sequence;
            phone.speak();
            phone.sequence = sequence;
            call.on_the_way.clear();
            let packet = call.bed.phone(call.listener).speak();
            call.bed.deliver(call.listener, packet);
            call.bed.tick();
        }
        let heard = &call.bed.phones[&call.listener].heard;
        assert!(heard[heard.len() - 8000..].iter().all(|sample| sample.abs() < 40));
    }
}

impl Call {
    /// How long after it was taken a sound is heard, found by a pause in it.
    fn delay(&mut self) -> Duration {
        let (speaker, listener) = (self.speaker, self.listener);
        self.bed.phone(speaker).talks = false;
        self.run(1);
        self.bed.phone(speaker).talks = true;
        let begin = self.bed.phones[&listener].heard.len();
        let spoken = self.next();
        let now = self.bed.now;
        self.run(1);
        let heard = &self.bed.phones[&listener].heard[begin..];
        let at = heard.iter().position(|sample| sample.abs() > 1000).unwrap();
        (now + Duration::from_micros(at as u64 * 125)).since(spoken)
    }
}
