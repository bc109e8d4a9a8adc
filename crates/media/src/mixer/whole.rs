//! Sound of a codec whose packets are decoded whole: cut into 20 ms, whatever the packets hold.

use crate::{
    codec::{
        LONGEST_FRAME,
        opus::{self, LONGEST},
    },
    jitter::packets::Packets,
};

/// Samples that the decoder makes up in multiples of: 2.5 ms.
const GRAIN: usize = 120;

/// After so many frames with nothing real in them there is only silence.
const GONE: u32 = 5;

/// What has been decoded and not played.
#[derive(Default)]
pub(crate) struct Whole {
    decoder: Option<opus::Decoder>,
    sound: Vec<i16>,
    /// The timestamp of the first sample, and how many there are.
    at: u32,
    len: usize,
    missing: u32,
}

impl Whole {
    /// Makes a decoder, or gives it back.
    pub fn prepare(&mut self, needed: bool) {
        if !needed {
            *self = Whole::default();
        } else if self.decoder.is_none() {
            self.decoder = opus::Decoder::new();
            self.sound = vec![0; LONGEST + LONGEST_FRAME];
        }
    }

    /// Whether there is a decoder.
    pub fn is_prepared(&self) -> bool {
        self.decoder.is_some()
    }

    /// Begins with another voice.
    pub fn reset(&mut self) {
        self.len = 0;
        self.missing = GONE;
        if let Some(decoder) = &mut self.decoder {
            decoder.reset();
        }
    }

    /// Decodes 20 ms from timestamp `at` on. Whether there is anything.
    pub fn decode(&mut self, packets: &Packets, at: u32, out: &mut [i16; LONGEST_FRAME]) -> bool {
        let passed = at.wrapping_sub(self.at) as usize;
        if passed <= self.len {
            self.drop_first(passed);
        } else {
            self.len = 0;
        }
        self.at = at;
        let Some(decoder) = &mut self.decoder else { return false };
        while self.len < LONGEST_FRAME {
            let wanted = at.wrapping_add(self.len as u32);
            let gap = LONGEST_FRAME - self.len;
            let free = &mut self.sound[self.len..];
            let made = if let Some(packet) = packets.covering(wanted) {
                self.missing = 0;
                let made = decoder.decode(packet.payload, free);
                // It may begin before what is wanted, with the first packet after something else.
                let early = (wanted.wrapping_sub(packet.at) as usize).min(made);
                free.copy_within(early..made, 0);
                made - early
            } else {
                let next = packets.after(wanted, gap as u32 + 1);
                let gap = next.map_or(gap, |next| next.at.wrapping_sub(wanted) as usize);
                // The copy in the packet after the next gap would be of something later.
                let copy = packets.covering(wanted.wrapping_add(gap as u32)).map(|packet| packet.payload);
                decoder.conceal(copy, &mut free[..gap.next_multiple_of(GRAIN)]).min(gap)
            };
            if made == 0 {
                self.sound[self.len..LONGEST_FRAME].fill(0);
                self.len = LONGEST_FRAME;
            }
            self.len += made;
        }
        out.copy_from_slice(&self.sound[..LONGEST_FRAME]);
        self.drop_first(LONGEST_FRAME);
        self.at = at.wrapping_add(LONGEST_FRAME as u32);
        true
    }

    /// Decodes 20 ms from timestamp `at` on of another voice than before. What the decoder remembers of that
    /// one it forgets over the two packets before: on a virtual machine a reset takes longer than these, because
    /// it asks the processor for its features.
    pub fn sample(&mut self, packets: &Packets, at: u32, out: &mut [i16; LONGEST_FRAME]) {
        self.len = 0;
        for back in [2, 1] {
            let before = at.wrapping_sub(back * LONGEST_FRAME as u32);
            if packets.covering(before).is_some() {
                self.decode(packets, before, out);
            }
        }
        if !self.decode(packets, at, out) {
            out.fill(0);
        }
    }

    /// Makes up 20 ms that did not come. Whether there is anything to be heard in them.
    pub fn fill(&mut self, out: &mut [i16; LONGEST_FRAME]) -> bool {
        self.len = 0;
        self.missing = (self.missing + 1).min(GONE);
        let made = match &mut self.decoder {
            Some(decoder) if self.missing < GONE => decoder.conceal(None, out),
            _ => 0,
        };
        out[made..].fill(0);
        made > 0
    }

    fn drop_first(&mut self, count: usize) {
        self.sound.copy_within(count..self.len, 0);
        self.len -= count;
    }
}
