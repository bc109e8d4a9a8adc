//! Pictures: everybody sees who speaks, and he sees who spoke before. They are passed on as they come,
//! to those who take the same codec; nothing is decoded.
//!
//! Another person is shown from the beginning of a whole picture of his, which he is asked for. Each
//! receiver gets one stream with one source, one sequence and one clock, whoever is in it; pictures of VP8 are
//! counted on, too.

mod keyframe;
mod stream;
mod vp8;

use std::net::SocketAddr;
use std::time::Duration;

use confab_machine::{Entropy, Time};

use crate::{
    LegId, Port, Sink,
    rtcp::{self, Packet as Feedback},
    rtp::Packet,
    session::{Gate, PersonId, StreamSpec},
    transport::{OVERHEAD, Received},
};
use stream::{LONGEST, Stream};

/// Whoever is shown is shown for so long, unless he goes.
const HOLD: Duration = Duration::from_secs(2);

/// The pictures of one room.
pub(crate) struct Switch {
    /// In the order of their names.
    streams: Vec<Stream>,
    /// Who speaks, since when, and who spoke before.
    speaker: Option<PersonId>,
    since: Time,
    before: Option<PersonId>,
    /// Who speaks now, if [`HOLD`] is not over.
    next: Option<PersonId>,
    /// Who is shown whom may have to be chosen anew.
    is_stale: bool,
    next_look: Time,
    scratch: Box<[u8; LONGEST + OVERHEAD]>,
}

impl Switch {
    /// Nobody has a picture.
    pub fn new() -> Switch {
        Switch {
            streams: Vec::new(),
            speaker: None,
            since: Time::EPOCH,
            before: None,
            next: None,
            is_stale: false,
            next_look: Time::EPOCH,
            scratch: Box::new([0; LONGEST + OVERHEAD]),
        }
    }

    /// A leg's picture was negotiated, or is refused.
    pub fn set(
        &mut self,
        now: Time,
        (leg, person): (LegId, PersonId),
        gate: Gate,
        spec: Option<&StreamSpec>,
        entropy: &mut Entropy,
    ) {
        let Some(spec) = spec else { return self.close(leg) };
        match self.find(leg) {
            Ok(at) => self.streams[at].renegotiate(now, spec),
            Err(at) => self.streams.insert(at, Stream::new(now, leg, person, gate, spec, entropy)),
        }
        self.gate(leg, gate);
    }

    /// Whether a leg takes part. At once nobody sees it any more if it does not.
    pub fn gate(&mut self, leg: LegId, gate: Gate) {
        let Ok(at) = self.find(leg) else { return };
        let stream = &mut self.streams[at];
        stream.gate = gate;
        if gate == Gate::Waiting {
            stream.outgoing.shown = None;
        }
        if gate != Gate::Open || !stream.we_receive {
            stream.stop();
            self.hide(leg);
        }
        self.is_stale = true;
    }

    /// A leg is over: its peer is told, and it goes.
    pub fn leave(&mut self, now: Time, leg: LegId, name: &str, sink: &mut dyn Sink) {
        if let Ok(at) = self.find(leg) {
            self.streams[at].leave(now, name, &mut self.scratch[..], sink);
        }
        self.close(leg);
    }

    /// A leg has no picture any more.
    pub fn close(&mut self, leg: LegId) {
        if let Ok(at) = self.find(leg) {
            self.streams.remove(at);
            self.hide(leg);
            self.is_stale = true;
        }
    }

    /// This person speaks, louder than others.
    pub fn speaks(&mut self, person: PersonId) {
        self.next = Some(person);
    }

    /// Takes a datagram of a picture; a packet is passed on at once.
    pub fn receive(
        &mut self,
        now: Time,
        port: Port,
        from: SocketAddr,
        datagram: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let Ok(at) = self.find(port.leg) else { return };
        let stream = &mut self.streams[at];
        match stream.transport.receive(now, port.flow, from, datagram, sink) {
            Received::Rtp(bytes) => {
                if let Some(packet) = Packet::parse(bytes) {
                    self.pass_on(now, at, &packet, sink);
                }
            }
            Received::Rtcp(compound) => self.feedback(now, at, compound),
            Received::Nothing => {}
        }
    }

    /// Every 20 ms: chooses who is shown, asks for pictures, reports; `name` is what the room is called in reports.
    pub fn tick(&mut self, now: Time, name: &str, sink: &mut dyn Sink) {
        if self.streams.is_empty() {
            return;
        }
        if let Some(next) = self.next.filter(|_| now.since(self.since) >= HOLD) {
            self.next = None;
            if self.speaker != Some(next) {
                (self.before, self.speaker) = (self.speaker, Some(next));
                self.since = now;
                self.is_stale = true;
            }
        }
        if self.is_stale || now >= self.next_look {
            self.is_stale = false;
            self.next_look = now + Duration::from_secs(1);
            self.choose(now);
        }
        for at in 0..self.streams.len() {
            if let Some(Ok(sender)) = self.streams[at].waits_for().map(|leg| self.find(leg)) {
                self.streams[sender].is_waited_for = true;
            }
        }
        for stream in &mut self.streams {
            stream.tick(now, name, &mut self.scratch[..], sink);
        }
    }

    fn pass_on(&mut self, now: Time, at: usize, packet: &Packet<'_>, sink: &mut dyn Sink) {
        let stream = &mut self.streams[at];
        let was_seen = stream.is_seen(now);
        let Some(codec) = stream.take(now, packet) else { return };
        let begins = keyframe::begins(codec, packet.payload);
        if begins {
            stream.refreshed();
        }
        // Who begins to send may be whom somebody waits for.
        self.is_stale |= !was_seen;
        let leg = stream.leg;
        for other in &mut self.streams {
            if other.sees() && other.outgoing.format.codec == codec {
                other.show(now, leg, packet, begins, &mut self.scratch[..], sink);
            }
        }
    }

    /// What a receiver says: whoever is shown him is asked for a whole picture if he lacks one.
    fn feedback(&mut self, now: Time, at: usize, compound: &[u8]) {
        let stream = &mut self.streams[at];
        let mut lacks = false;
        stream.reported(now, compound);
        for packet in rtcp::packets(compound) {
            if let Feedback::PictureLoss { media, .. } | Feedback::FullIntra { media, .. } = packet {
                lacks |= media == stream.outgoing.ssrc;
            }
        }
        let shown = stream.outgoing.shown.or(stream.outgoing.wanted);
        if lacks
            && stream.sees()
            && let Some(Ok(shown)) = shown.map(|leg| self.find(leg))
        {
            self.streams[shown].want_picture();
        }
    }

    /// Chooses for everybody whom he is to see: who speaks, who spoke before, whoever he sees already, or
    /// anybody who can be seen.
    fn choose(&mut self, now: Time) {
        for at in 0..self.streams.len() {
            let receiver = &self.streams[at];
            let can_be_seen = |other: &&Stream| {
                other.person != receiver.person
                    && other.is_seen(now)
                    && other.incoming.codec == Some(receiver.outgoing.format.codec)
            };
            let rank = |other: &Stream| {
                let is = |person: Option<PersonId>| person == Some(other.person);
                let shown = receiver.outgoing.shown == Some(other.leg);
                (is(self.speaker), is(self.before), shown, std::cmp::Reverse(other.leg))
            };
            let best = self.streams.iter().filter(can_be_seen).max_by_key(|other| rank(other));
            let wanted = best.filter(|_| receiver.sees()).map(|best| best.leg);
            let is_new = wanted != receiver.outgoing.wanted && wanted != receiver.outgoing.shown;
            self.streams[at].outgoing.wanted = wanted;
            if is_new && let Some(Ok(sender)) = wanted.map(|leg| self.find(leg)) {
                self.streams[sender].want_picture();
            }
        }
    }

    /// Nobody sees this leg any more.
    fn hide(&mut self, leg: LegId) {
        for stream in &mut self.streams {
            let outgoing = &mut stream.outgoing;
            outgoing.shown = outgoing.shown.filter(|shown| *shown != leg);
            outgoing.wanted = outgoing.wanted.filter(|wanted| *wanted != leg);
        }
    }

    /// Where a leg is, or would be.
    fn find(&self, leg: LegId) -> Result<usize, usize> {
        self.streams.binary_search_by_key(&leg, |stream| stream.leg)
    }
}

#[cfg(test)]
mod tests;
