//! The picture of one leg: what comes of it, and the one stream it is shown.

use std::time::Duration;

use confab_machine::{Entropy, Time};

use crate::{
    Flow, LegId, Port, Sink,
    reception::Reception,
    reports::{Reports, Sent},
    rtcp::Writer,
    rtp::{Header, Packet},
    session::{Codec, Format, Gate, Kind, PersonId, StreamSpec},
    transport::{OVERHEAD, Transport},
    video::vp8::Numbering,
};

/// The clock of every picture.
const CLOCK_HZ: u32 = 90_000;
/// The longest packet that is passed on; what is longer was not made for a network.
pub(super) const LONGEST: usize = 1_500;
/// A picture is asked for at most so often.
const PACE: Duration = Duration::from_millis(500);
/// Somebody who waits for one asks again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Who has sent nothing for so long sends no picture.
const STALE: Duration = Duration::from_secs(3);

/// A leg's picture.
pub(super) struct Stream {
    pub leg: LegId,
    pub person: PersonId,
    pub gate: Gate,
    pub transport: Transport,
    formats: Vec<Format>,
    pub we_receive: bool,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
    /// Somebody has to be shown it, and lacks a whole picture to begin with. Holds for one tick.
    pub is_waited_for: bool,
    reports: Reports,
}

/// What comes.
#[derive(Default)]
pub(super) struct Incoming {
    /// What it last was.
    pub codec: Option<Codec>,
    ssrc: u32,
    last: Option<Time>,
    reception: Reception,
    /// A whole picture is wanted.
    is_wanted: bool,
    asked: Option<Time>,
    /// The number of the wish (RFC 5104 §4.3.1.1), and whether one has come since.
    wish: u8,
    is_fulfilled: bool,
}

/// What is told with a report.
enum Also {
    /// Nothing more.
    Nothing,
    /// That a whole picture is wanted.
    Wish,
    /// That this is the end.
    Farewell,
}

/// What is sent: one source, one sequence and one clock, whoever is shown.
pub(super) struct Outgoing {
    pub format: Format,
    pub we_send: bool,
    pub ssrc: u32,
    /// Who is shown, and who is to be as soon as a whole picture of his comes.
    pub shown: Option<LegId>,
    pub wanted: Option<LegId>,
    /// The source that is shown, and the number its first packet had there.
    source: u32,
    first: u16,
    sequence_shift: u16,
    timestamp_shift: u32,
    numbering: Numbering,
    /// The highest number and the latest time that were sent.
    sequence: u16,
    timestamp: u32,
    sent_at: Time,
    packets: u64,
    octets: u64,
}

impl Stream {
    pub fn new(
        now: Time,
        leg: LegId,
        person: PersonId,
        gate: Gate,
        spec: &StreamSpec,
        entropy: &mut Entropy,
    ) -> Stream {
        let port = Port { leg, kind: Kind::Video, flow: Flow::Rtp };
        let outgoing = Outgoing {
            format: spec.send,
            we_send: spec.we_send,
            ssrc: spec.ssrc,
            shown: None,
            wanted: None,
            source: 0,
            first: 0,
            sequence_shift: 0,
            timestamp_shift: 0,
            numbering: Numbering::default(),
            sequence: entropy.number() as u16,
            timestamp: entropy.number() as u32,
            sent_at: now,
            packets: 0,
            octets: 0,
        };
        Stream {
            leg,
            person,
            gate,
            transport: Transport::new(now, port, spec, entropy.fork()),
            formats: spec.receive.clone(),
            we_receive: spec.we_receive,
            incoming: Incoming::default(),
            outgoing,
            is_waited_for: false,
            reports: Reports::new(now, entropy.number() as u32),
        }
    }

    /// What was negotiated has changed.
    pub fn renegotiate(&mut self, now: Time, spec: &StreamSpec) {
        self.transport.renegotiate(now, spec);
        self.formats.clone_from(&spec.receive);
        self.we_receive = spec.we_receive;
        let outgoing = &mut self.outgoing;
        (outgoing.format, outgoing.we_send, outgoing.ssrc) = (spec.send, spec.we_send, spec.ssrc);
    }

    /// Whether others may see it now: it is open, it sends, and is not held.
    pub fn is_seen(&self, now: Time) -> bool {
        let sends = self.incoming.last.is_some_and(|last| now.since(last) < STALE);
        self.gate == Gate::Open && self.we_receive && sends
    }

    /// Whether it is shown anybody: it takes pictures and does not wait.
    pub fn sees(&self) -> bool {
        self.gate != Gate::Waiting && self.outgoing.we_send
    }

    /// Whom it is to be shown, if a whole picture of his has not come yet.
    pub fn waits_for(&self) -> Option<LegId> {
        let outgoing = &self.outgoing;
        outgoing.wanted.filter(|_| self.sees() && outgoing.wanted != outgoing.shown)
    }

    /// Counts a packet that came; its codec, if it is one that was negotiated and may be seen.
    pub fn take(&mut self, now: Time, packet: &Packet<'_>) -> Option<Codec> {
        let header = &packet.header;
        let format = self.formats.iter().find(|format| format.number == header.payload_type)?;
        self.incoming.reception.count(now, header, CLOCK_HZ);
        self.incoming.ssrc = header.ssrc;
        if self.gate != Gate::Open || !self.we_receive {
            return None;
        }
        self.incoming.codec = Some(format.codec);
        self.incoming.last = Some(now);
        Some(format.codec)
    }

    /// A whole picture came, so nobody waits for one any more.
    pub fn refreshed(&mut self) {
        self.incoming.is_wanted = false;
        self.incoming.is_fulfilled = true;
    }

    /// What comes is not of it any more: muted, held, gone.
    pub fn stop(&mut self) {
        self.incoming.last = None;
        self.incoming.is_wanted = false;
    }

    /// What the peer reports.
    pub fn reported(&mut self, now: Time, compound: &[u8]) {
        self.reports.hear(now, self.outgoing.ssrc, compound);
    }

    /// Somebody wants a whole picture of it.
    pub fn want_picture(&mut self) {
        self.incoming.is_wanted = true;
    }

    /// Asks for a whole picture if one is wanted, not too often; and reports now and then.
    pub fn tick(&mut self, now: Time, name: &str, scratch: &mut [u8], sink: &mut dyn Sink) {
        if self.transport.needs_ticks() {
            self.transport.tick(now, sink);
        }
        let since = self.incoming.asked.map(|asked| now.since(asked));
        let again = std::mem::take(&mut self.is_waited_for) && since.is_none_or(|since| since >= AGAIN);
        let first = self.incoming.is_wanted && since.is_none_or(|since| since >= PACE);
        let asks = self.incoming.last.is_some() && (first || again);
        if asks {
            self.incoming.asked = Some(now);
            self.incoming.is_wanted = false;
            // A wish that is repeated has its old number.
            let is_new = std::mem::take(&mut self.incoming.is_fulfilled);
            self.incoming.wish = self.incoming.wish.wrapping_add(u8::from(is_new));
        }
        if asks || self.reports.is_due(now) {
            self.report(now, name, if asks { Also::Wish } else { Also::Nothing }, scratch, sink);
        }
    }

    /// It is over, as the peer is told if he was ever sent anything (RFC 3550 §6.6).
    pub fn leave(&mut self, now: Time, name: &str, scratch: &mut [u8], sink: &mut dyn Sink) {
        if self.outgoing.packets > 0 {
            self.report(now, name, Also::Farewell, scratch, sink);
        }
    }

    fn report(&mut self, now: Time, name: &str, also: Also, scratch: &mut [u8], sink: &mut dyn Sink) {
        let Some(to) = self.transport.destination(Flow::Rtcp) else { return };
        let (incoming, outgoing) = (&mut self.incoming, &self.outgoing);
        let (incoming_ssrc, wish) = (incoming.ssrc, incoming.wish);
        let sent = Sent {
            ssrc: outgoing.ssrc,
            timestamp: outgoing.clock(now),
            packets: outgoing.packets,
            octets: outgoing.octets,
        };
        let more = |writer: &mut Writer<'_>| match also {
            Also::Nothing => {}
            Also::Wish => {
                // Some know the one, some the other.
                writer.picture_loss(outgoing.ssrc, incoming_ssrc);
                writer.full_intra(outgoing.ssrc, incoming_ssrc, wish);
            }
            Also::Farewell => writer.goodbye(outgoing.ssrc),
        };
        let end =
            self.reports.write(now, name, &sent, &mut incoming.reception, &mut scratch[..LONGEST], more);
        if let Some(len) = end.and_then(|end| self.transport.protect_rtcp(scratch, end)) {
            let port = Port { leg: self.leg, kind: Kind::Video, flow: self.transport.rtcp_flow() };
            sink.send(port, to, &scratch[..len]);
        }
    }

    /// Shows it a packet of somebody else's. `begins`: a whole picture begins in it, so that he may be
    /// shown from here on.
    pub fn show(
        &mut self,
        now: Time,
        from: LegId,
        packet: &Packet<'_>,
        begins: bool,
        scratch: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let outgoing = &mut self.outgoing;
        let header = &packet.header;
        let is_shown = outgoing.shown == Some(from) && outgoing.source == header.ssrc;
        if !is_shown {
            let may_begin = outgoing.wanted == Some(from) || outgoing.shown == Some(from);
            if !may_begin || !begins {
                return;
            }
            outgoing.begin(now, from, header);
            outgoing.numbering.begin(packet.payload);
        }
        // What was on its way before he was shown is of a picture nobody has.
        if header.sequence.wrapping_sub(outgoing.first).cast_signed() < 0
            && outgoing.is_young(header.sequence)
        {
            return;
        }
        let Some(to) = self.transport.destination(Flow::Rtp) else { return };
        let sequence = header.sequence.wrapping_add(outgoing.sequence_shift);
        let timestamp = header.timestamp.wrapping_add(outgoing.timestamp_shift);
        let (payload_type, ssrc) = (outgoing.format.number, outgoing.ssrc);
        let new = Header { marker: header.marker, payload_type, sequence, timestamp, ssrc };
        let begin = new.write(&[], scratch);
        let end = begin + packet.payload.len();
        if end > LONGEST {
            return;
        }
        scratch[begin..end].copy_from_slice(packet.payload);
        if outgoing.format.codec == Codec::Vp8 {
            let latest = outgoing.is_latest(sequence);
            outgoing.numbering.renumber(&mut scratch[begin..end], latest);
        }
        if let Some(len) = self.transport.protect_rtp(&mut scratch[..end + OVERHEAD], end) {
            sink.send(Port { leg: self.leg, kind: Kind::Video, flow: Flow::Rtp }, to, &scratch[..len]);
            outgoing.sent(now, &new, packet.payload.len());
        }
    }
}

impl Outgoing {
    /// `from` is shown from this packet on: its number is the next, and its time the present.
    fn begin(&mut self, now: Time, from: LegId, header: &Header) {
        (self.shown, self.source, self.first) = (Some(from), header.ssrc, header.sequence);
        self.sequence_shift = self.sequence.wrapping_add(1).wrapping_sub(header.sequence);
        // At least a frame later, or two pictures would be one.
        let ahead = self.clock(now).wrapping_sub(self.timestamp).max(CLOCK_HZ / 30);
        let next = self.timestamp.wrapping_add(ahead);
        self.timestamp_shift = next.wrapping_sub(header.timestamp);
    }

    /// What the clock of the stream shows.
    fn clock(&self, now: Time) -> u32 {
        let ticks = now.since(self.sent_at).as_micros() * u128::from(CLOCK_HZ) / 1_000_000;
        self.timestamp.wrapping_add(ticks as u32)
    }

    /// Whether so little was sent of who is shown that numbers below the first are older, and not of the
    /// next round.
    fn is_young(&self, sequence: u16) -> bool {
        let sent = self.sequence.wrapping_sub(self.first.wrapping_add(self.sequence_shift));
        let ahead = sequence.wrapping_add(self.sequence_shift).wrapping_sub(self.sequence);
        sent < 0x4000 && ahead.cast_signed() < 0
    }

    /// Whether nothing newer was sent.
    fn is_latest(&self, sequence: u16) -> bool {
        sequence.wrapping_sub(self.sequence).cast_signed() > 0
    }

    fn sent(&mut self, now: Time, header: &Header, octets: usize) {
        if self.is_latest(header.sequence) {
            (self.sequence, self.timestamp, self.sent_at) = (header.sequence, header.timestamp, now);
        }
        self.packets += 1;
        self.octets += octets as u64;
    }
}
