//! The sound of a phone: a tone of its own in G.711 µ-law, and what it hears of others.
//!
//! A tone has a whole number of waves in 20 ms. So one that is played a packet sooner or later, for want of one or to be
//! rid of one, goes on where it was, and a search over a second finds all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    f64::consts::TAU,
};

use confab_machine::Time;
use confab_media::{
    codec::g711::Law,
    rtp::{HEADER_LEN, Header, Packet},
};

/// Samples in a second.
const HZ: f64 = 8000.0;
/// Samples in a packet.
pub const FRAME: u32 = 160;
/// How loud a tone is: two together are not too loud for the law.
const AMPLITUDE: f64 = 8000.0;
/// How loud the loudest sample of a packet is in which somebody speaks.
const SOUND: u16 = 1000;

/// What speaks.
#[derive(Debug)]
pub struct Mouth {
    /// The tone, in Hertz.
    hz: f64,
    /// The synchronization source.
    pub source: u32,
    sequence: u16,
    timestamp: u32,
    /// Samples so far.
    samples: u64,
    /// Whether it is the first packet after a pause.
    begins: bool,
    /// Nothing but silence is said.
    pub silent: bool,
}

impl Mouth {
    /// A mouth that has a tone of `hz`, a multiple of 50, and this source.
    pub fn new(hz: u32, source: u32) -> Mouth {
        assert!(hz.is_multiple_of(50), "a whole number of waves in 20 ms");
        let (sequence, timestamp) = (source as u16, source.wrapping_mul(77));
        Mouth { hz: hz.into(), source, sequence, timestamp, samples: 0, begins: true, silent: false }
    }

    /// The next packet, of 20 ms.
    pub fn speak(&mut self) -> Vec<u8> {
        let header = Header {
            marker: std::mem::take(&mut self.begins),
            payload_type: 0,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.source,
        };
        let mut packet = vec![0; HEADER_LEN + FRAME as usize];
        header.write(&[], &mut packet);
        let sound: Vec<i16> = (0..u64::from(FRAME)).map(|at| self.sample(self.samples + at)).collect();
        Law::Mu.encode(&sound, &mut packet[HEADER_LEN..]);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME);
        self.samples += u64::from(FRAME);
        packet
    }

    /// Nothing is sent for so many packets' time.
    pub fn pause(&mut self, packets: u32) {
        self.timestamp = self.timestamp.wrapping_add(packets.wrapping_mul(FRAME));
        self.begins = true;
    }

    /// From now on it is another source, with numbers of its own.
    pub fn change_source(&mut self) {
        let source = self.source.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        *self = Mouth { samples: self.samples, silent: self.silent, ..Mouth::new(self.hz as u32, source) };
    }

    fn sample(&self, at: u64) -> i16 {
        let angle = (at as f64 * self.hz / HZ).fract() * TAU;
        if self.silent { 0 } else { (AMPLITUDE * angle.sin()) as i16 }
    }
}

/// What was heard, packet by packet.
#[derive(Debug, Default)]
pub struct Ear(Vec<Heard>);

#[derive(Debug)]
struct Heard {
    at: Time,
    header: Header,
    /// Whose it is, as the packet says.
    sources: Vec<u32>,
    sound: Vec<i16>,
}

impl Ear {
    /// Takes what came at this time; what is no packet of sound is nothing.
    pub fn hear(&mut self, at: Time, datagram: &[u8]) {
        let packet = Packet::parse(datagram).filter(|packet| packet.header.payload_type == 0);
        let Some(packet) = packet else { return };
        let mut sound = vec![0; packet.payload.len()];
        Law::Mu.decode(packet.payload, &mut sound);
        let (header, sources) = (packet.header, packet.sources().collect());
        let came_before =
            |heard: &Heard| (heard.header.ssrc, heard.header.sequence) == (header.ssrc, header.sequence);
        if !self.0.iter().rev().take(FRAME as usize).any(came_before) {
            self.0.push(Heard { at, header, sources, sound });
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many packets came.
    pub fn packets(&self) -> usize {
        self.0.len()
    }

    /// How strong a tone is: 1 as it is sent, 0 if it is not there.
    pub fn strength(&self, hz: u32) -> f64 {
        let mut waves: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        let mut count = 0;
        for Heard { header, sound, .. } in &self.0 {
            let (re, im) = waves.entry(header.ssrc).or_default();
            for (number, sample) in (0_u32..).zip(sound) {
                // Where a packet belongs says its timestamp; that rolls over at a whole number of seconds' samples no
                // more than the tone does, for both are told by 160.
                let place = f64::from(header.timestamp % FRAME + number) * f64::from(hz) / HZ;
                let place = place + f64::from(header.timestamp / FRAME) * f64::from(hz) / 50.0;
                let (sin, cos) = (place.fract() * TAU).sin_cos();
                *re += f64::from(*sample) * cos;
                *im += f64::from(*sample) * sin;
                count += 1;
            }
        }
        let together: f64 = waves.values().map(|(re, im)| re.hypot(*im)).sum();
        2.0 * together / f64::from(count.max(1)) / AMPLITUDE
    }

    /// Whose voices are in what was heard, as the packets say.
    pub fn sources(&self) -> BTreeSet<u32> {
        self.0.iter().flat_map(|heard| heard.sources.iter().copied()).collect()
    }

    /// When the first packet after `time` came in which somebody speaks.
    pub fn first_sound(&self, time: Time) -> Option<Time> {
        let is_loud = |heard: &&Heard| {
            heard.at >= time && heard.sound.iter().any(|sample| sample.unsigned_abs() > SOUND)
        };
        self.0.iter().find(is_loud).map(|heard| heard.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tone_is_found_and_no_other() {
        let (mut mouth, mut ear) = (Mouth::new(450, 7), Ear::default());
        for number in 0..30 {
            let packet = mouth.speak();
            // One is lost, one comes twice, and one source follows another.
            for _ in 0..[1, 1, 1, 0, 2][number % 5] {
                ear.hear(Time::EPOCH, &packet);
            }
            if number == 15 {
                mouth.change_source();
            }
        }
        assert_eq!(ear.packets(), 24);
        assert!(ear.strength(450) > 0.95, "{}", ear.strength(450));
        for hz in [400, 500, 900, 1350] {
            assert!(ear.strength(hz) < 0.02, "{hz}: {}", ear.strength(hz));
        }
    }
}
