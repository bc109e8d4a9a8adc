//! One leg in a room: what comes from it and what it is sent.

use std::{net::SocketAddr, time::Duration};

use confab_machine::{Entropy, Time};

use crate::{
    Flow, LegId, Port, Sink,
    codec::{Rate, g722, opus},
    events::{Events, Key},
    jitter::{Jitter, Pull, Taken, packets::Packets},
    mixer::QUIETEST,
    quality,
    reception::Reception,
    reports::{Reports, Sent},
    rtcp::Writer,
    rtp::{COMFORT_NOISE, Header, Packet},
    session::{Codec, Format, Gate, Kind, LegSpec, PersonId, Quality, StreamSpec},
    transport::{OVERHEAD, Received, Transport},
};

/// Room for the longest packet of sound that is sent.
pub(crate) const LONGEST_PACKET: usize = 1500;

/// How much a level falls in 20 ms once it is quieter, in steps of 3/8 dB: a third of a second from
/// full strength to a whisper.
const DECAY: u32 = 3;

/// How loud a voice is taken to be that says no more than that it is one, in eighths of a step; and how
/// fast, in 20 ms, somebody becomes so again who was found to be softer: it takes seconds.
const LIKELY: u32 = 64 * 8;
const FORGET: u32 = 2;

/// The clock of telephone events, whatever the voice's is: the only one that is offered.
const EVENT_HZ: u32 = 8000;

/// What is sent and heard at once.
const FRAME: Duration = Duration::from_millis(20);

/// After so long without a packet a leg is told of as silent.
const SILENT: Duration = Duration::from_secs(30);

/// One leg.
pub(crate) struct Leg {
    pub id: LegId,
    pub person: PersonId,
    pub gate: Gate,
    /// A newer leg of the same person speaks and hears instead of it.
    pub behind: bool,
    pub voice: Option<Voice>,
}

/// The audio stream of a leg.
pub(crate) struct Voice {
    transport: Transport,
    pub jitter: Jitter,
    formats: Vec<Format>,
    event_format: Option<u8>,
    events: Events,
    we_receive: bool,
    we_send: bool,
    /// What is in the jitter buffer.
    pub codec: Codec,
    meter: g722::Meter,
    /// How loud it is if its packets do not tell, in eighths.
    guess: u32,
    /// It was loud when it was decoded last, whatever it says of itself.
    no_voice_yet_loud: bool,
    /// How long packets are that are no voice by their own word: when they were decoded last, and now; and
    /// whether they have become so much longer that they should be decoded again.
    usual: u32,
    len: u32,
    suspect: bool,
    /// The codec it is sent.
    send_codec: Codec,
    outgoing: Outgoing,
    reception: Reception,
    reports: Reports,
    late: u64,
    rejected: u64,
    /// Something has come of it since it began.
    pub sends: bool,
    last_heard: Time,
    silence_told: bool,
    /// What is played in this tick and how loud it is; how loud the one before was.
    pub pull: Pull,
    pub loudness: u32,
    pub loudness_before: u32,
    /// How loud it was at least in three frames.
    pub steady: u32,
    /// How loud it is of late, and whether it has a place among the talkers.
    pub level: u32,
    pub placed: bool,
}

/// What came of a datagram.
pub(crate) enum Came {
    /// Nothing to go on with.
    Nothing,
    /// Sound.
    Sound,
    /// The first sound of the stream.
    First,
    /// A key is to be told.
    Key(Key),
}

/// What a leg is sent in one tick.
pub(crate) struct Frame<'a> {
    /// 20 ms of sound.
    pub payload: &'a [u8],
    /// Whom it is of, the dominant speaker first.
    pub sources: &'a [u32],
}

/// The stream a leg is sent.
struct Outgoing {
    port: Port,
    format: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    in_spurt: bool,
    packets: u64,
    octets: u64,
    /// What is kept until a packet is full, where one holds something else than 20 ms.
    pending: Option<Box<Pending>>,
}

/// A packet that is being filled.
struct Pending {
    bytes: [u8; 640],
    len: usize,
    full: usize,
    timestamp: u32,
}

impl Leg {
    pub fn new(now: Time, id: LegId, spec: &LegSpec, gate: Gate, entropy: &mut Entropy) -> Leg {
        let voice = spec.audio.as_ref().map(|spec| Voice::new(now, id, spec, entropy));
        Leg { id, person: spec.person, gate, behind: false, voice }
    }

    /// What was negotiated has changed.
    pub fn renegotiate(&mut self, now: Time, spec: &LegSpec, entropy: &mut Entropy) {
        self.voice = match (self.voice.take(), &spec.audio) {
            (Some(mut voice), Some(spec)) => {
                voice.renegotiate(now, spec);
                Some(voice)
            }
            (None, Some(spec)) => Some(Voice::new(now, self.id, spec, entropy)),
            (_, None) => None,
        };
    }

    /// From now on it takes part so.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
        if gate != Gate::Open
            && let Some(voice) = &mut self.voice
        {
            voice.hush();
        }
    }

    /// The voice, if it may be heard.
    pub fn open_voice(&self) -> Option<&Voice> {
        self.voice.as_ref().filter(|_| self.gate == Gate::Open && !self.behind)
    }
}

impl Voice {
    fn new(now: Time, leg: LegId, spec: &StreamSpec, entropy: &mut Entropy) -> Voice {
        let port = Port { leg, kind: Kind::Audio, flow: Flow::Rtp };
        let outgoing = Outgoing {
            port,
            format: spec.send.number,
            ssrc: spec.ssrc,
            sequence: entropy.number() as u16,
            timestamp: entropy.number() as u32,
            in_spurt: false,
            packets: 0,
            octets: 0,
            pending: Pending::of(spec),
        };
        Voice {
            transport: Transport::new(now, port, spec, entropy.fork()),
            jitter: buffer(spec),
            formats: formats(spec),
            event_format: spec.receive_events,
            events: Events::default(),
            we_receive: spec.we_receive,
            we_send: spec.we_send,
            codec: Codec::Pcmu,
            meter: g722::Meter::default(),
            guess: LIKELY,
            no_voice_yet_loud: false,
            usual: 0,
            len: 0,
            suspect: false,
            send_codec: spec.send.codec,
            outgoing,
            reception: Reception::default(),
            reports: Reports::new(now, entropy.number() as u32),
            late: 0,
            rejected: 0,
            sends: false,
            last_heard: now,
            silence_told: false,
            pull: Pull::Nothing,
            loudness: 0,
            loudness_before: 0,
            steady: 0,
            level: 0,
            placed: false,
        }
    }

    fn renegotiate(&mut self, now: Time, spec: &StreamSpec) {
        self.transport.renegotiate(now, spec);
        self.formats = formats(spec);
        self.event_format = spec.receive_events;
        if self.formats.iter().any(|format| format.codec.is_whole()) {
            self.jitter.prepare_whole();
        }
        (self.we_receive, self.we_send) = (spec.we_receive, spec.we_send);
        self.send_codec = spec.send.codec;
        self.outgoing.format = spec.send.number;
        self.outgoing.ssrc = spec.ssrc;
        self.outgoing.pending = Pending::of(spec);
        // Who is held is not missed.
        self.is_there(now);
        if !self.we_receive {
            self.hush();
        }
    }

    /// Forgets what came of it and was not played.
    fn hush(&mut self) {
        self.jitter.stop();
        self.pull = Pull::Nothing;
        (self.loudness, self.loudness_before, self.level) = (0, 0, 0);
    }

    fn is_there(&mut self, now: Time) {
        (self.last_heard, self.silence_told) = (now, false);
    }

    /// Takes a datagram.
    pub fn receive(
        &mut self,
        now: Time,
        flow: Flow,
        from: SocketAddr,
        datagram: &mut [u8],
        gate: Gate,
        sink: &mut dyn Sink,
    ) -> Came {
        let bytes = match self.transport.receive(now, flow, from, datagram, sink) {
            Received::Rtp(bytes) => bytes,
            Received::Rtcp(compound) => {
                self.is_there(now);
                self.reports.hear(now, self.outgoing.ssrc, compound);
                return Came::Nothing;
            }
            Received::Nothing => return Came::Nothing,
        };
        let Some(packet) = Packet::parse(bytes) else {
            self.rejected += 1;
            return Came::Nothing;
        };
        if !self.we_receive {
            return Came::Nothing;
        }
        let number = packet.header.payload_type;
        let format = self.formats.iter().find(|format| format.number == number).copied();
        let is_event = format.is_none() && self.event_format == Some(number);
        if format.is_none() && !is_event && number != COMFORT_NOISE {
            self.rejected += 1;
            return Came::Nothing;
        }
        self.is_there(now);
        let clock_hz = format.map_or(self.codec, |format| format.codec).clock_step() * 50;
        self.reception.count(now, &packet.header, clock_hz);
        let Some(format) = format else {
            if !is_event {
                // What noise his pause is of is not heard here; that the packet came is enough.
                return Came::Nothing;
            }
            // Keys are heard of those who are muted as well: they ask with them to be heard.
            let key = self.events.hear(now, packet.header.timestamp, packet.payload, EVENT_HZ);
            return key.map_or(Came::Nothing, Came::Key);
        };
        let codec = format.codec;
        if gate == Gate::Open {
            self.store(now, codec, &packet);
        }
        if std::mem::replace(&mut self.sends, true) { Came::Sound } else { Came::First }
    }

    fn store(&mut self, now: Time, codec: Codec, packet: &Packet<'_>) {
        if codec != self.codec {
            self.jitter.tune(codec.is_whole().then_some(codec.clock_step()));
            (self.codec, self.guess, self.no_voice_yet_loud) = (codec, LIKELY, false);
        }
        let units = if codec.is_whole() {
            opus::duration(packet.payload).unwrap_or(0)
        } else {
            packet.payload.len() as u32
        };
        match self.jitter.insert(now, &packet.header, packet.payload, units) {
            Taken::New => {}
            Taken::Duplicate => self.reception.came_twice(),
            Taken::Late => self.late += 1,
            Taken::Ignored => self.rejected += 1,
        }
    }

    /// Takes the next 20 ms out of the jitter buffer, and measures them without decoding.
    pub fn listen(&mut self) {
        self.pull = self.jitter.pull(self.placed);
        let two = self.loudness.min(self.loudness_before);
        self.loudness_before = self.loudness;
        self.loudness = match self.pull {
            Pull::Ready { at, .. } => self.measure(at),
            _ => 0,
        };
        self.steady = self.loudness.min(two);
        self.level = self.loudness.max(self.level.saturating_sub(DECAY));
    }

    fn measure(&mut self, at: u32) -> u32 {
        let frame = Rate::Narrow.frame();
        if let Some(law) = self.codec.law() {
            let (one, other) = self.jitter.line().pieces(at, frame);
            return (law.magnitudes(one) + law.magnitudes(other)) / frame as u32;
        }
        if self.codec.is_whole() {
            if !self.placed {
                self.guess = (self.guess + FORGET).min(LIKELY);
            }
            return self.measure_whole(at);
        }
        let (one, other) = self.jitter.line().pieces(at, frame);
        // Nearly always in one piece; where it is in two the louder one counts.
        let metered = self.meter.hear(one).max(if other.is_empty() { 0 } else { self.meter.hear(other) });
        // Where he is decoded anyway it is known better.
        if self.placed { self.guess / 8 } else { metered }
    }

    fn measure_whole(&mut self, at: u32) -> u32 {
        let packet = self.jitter.packets().and_then(|packets| packets.covering(at));
        let Some(packet) = packet else { return 0 };
        // One who is decoded anyway is as loud as he was found to be, be it a voice or music.
        if self.placed || self.no_voice_yet_loud || opus::is_active(packet.payload) {
            return self.guess / 8;
        }
        // Whatever he was before: what he says next may be loud.
        self.guess = LIKELY;
        self.len = packet.payload.len() as u32;
        self.suspect = self.len > self.usual + self.usual / 2;
        0
    }

    /// Whether packets that are no voice by their own word are longer than they were.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Where to decode what is played now, if it should be looked at whether it is as soft as it says.
    pub fn doubtful(&self) -> Option<(&Packets, u32)> {
        let Pull::Ready { at, .. } = self.pull else { return None };
        let packets = self.jitter.packets().filter(|_| self.codec.is_whole() && !self.placed)?;
        let packet = packets.covering(at)?;
        let may_sound = packet.payload.len() > 2 && !opus::is_active(packet.payload);
        may_sound.then_some((packets, at))
    }

    /// What was doubtful has been decoded, and is so loud.
    pub fn is_cleared_up(&mut self, level: u32) {
        self.suspect = false;
        if level < QUIETEST {
            self.no_voice_yet_loud = false;
            self.usual = self.len;
            return;
        }
        self.is_found(level);
        (self.loudness, self.level) = (level, self.level.max(level));
    }

    /// It was decoded, and is so loud.
    pub fn is_found(&mut self, level: u32) {
        self.guess = level * 8;
        self.no_voice_yet_loud = level >= QUIETEST;
    }

    /// The codec it is sent.
    pub fn sends_as(&self) -> Codec {
        self.send_codec
    }

    /// Whether packets may come that are decoded whole.
    pub fn may_be_whole(&self) -> bool {
        self.jitter.packets().is_some()
    }

    /// Whether it speaks and hears instead of older legs of its person.
    pub fn takes_over(&self) -> bool {
        self.sends && self.we_receive
    }

    /// The source that is heard.
    pub fn source(&self) -> u32 {
        self.jitter.source().unwrap_or(0)
    }

    /// Sends 20 ms, or as many packets as they fill. `scratch` holds [`LONGEST_PACKET`] and what protection adds.
    pub fn send(&mut self, frame: &Frame<'_>, scratch: &mut [u8], sink: &mut dyn Sink) {
        let step = self.send_codec.clock_step();
        if self.we_send && !frame.payload.is_empty() {
            self.outgoing.send(frame, &mut self.transport, scratch, sink);
        }
        self.outgoing.timestamp = self.outgoing.timestamp.wrapping_add(step);
    }

    /// What has to be done now and then; `name` is what the room is called in reports. A key, if it is to be
    /// told.
    pub fn tick(&mut self, now: Time, name: &str, scratch: &mut [u8], sink: &mut dyn Sink) -> Option<Key> {
        if self.transport.needs_ticks() {
            self.transport.tick(now, sink);
        }
        if self.reports.is_due(now) {
            self.report(now, name, false, scratch, sink);
        }
        self.events.tick(now, EVENT_HZ)
    }

    /// It is over, as the peer is told if he was ever sent anything (RFC 3550 §6.6).
    pub fn leave(&mut self, now: Time, name: &str, scratch: &mut [u8], sink: &mut dyn Sink) {
        if self.outgoing.packets > 0 {
            self.report(now, name, true, scratch, sink);
        }
    }

    /// Sends a report, the last one if it `leaves`.
    fn report(&mut self, now: Time, name: &str, leaves: bool, scratch: &mut [u8], sink: &mut dyn Sink) {
        let sent = Sent {
            ssrc: self.outgoing.ssrc,
            timestamp: self.outgoing.timestamp,
            packets: self.outgoing.packets,
            octets: self.outgoing.octets,
        };
        let room = scratch.len() - OVERHEAD;
        let more = |writer: &mut Writer<'_>| {
            if leaves {
                writer.goodbye(sent.ssrc);
            }
        };
        let out = &mut scratch[..room];
        let written = self.reports.write(now, name, &sent, &mut self.reception, out, more);
        let Some((len, to)) = written.zip(self.transport.destination(Flow::Rtcp)) else { return };
        if let Some(len) = self.transport.protect_rtcp(&mut scratch[..len + OVERHEAD], len) {
            sink.send(Port { flow: self.transport.rtcp_flow(), ..self.outgoing.port }, to, &scratch[..len]);
        }
    }

    /// Whether nothing has come for so long that it is to be told, once.
    pub fn falls_silent(&mut self, now: Time) -> bool {
        let silent = self.we_receive && now.since(self.last_heard) >= SILENT;
        silent && !std::mem::replace(&mut self.silence_told, true)
    }

    /// Packets that hold so many ticks are on their way still.
    pub fn ticks_in_packet(&self) -> u32 {
        self.outgoing.pending.as_ref().map_or(1, |pending| pending.full.div_ceil(160).max(1) as u32)
    }

    /// What the peer missed lately of what it was sent, in 256ths.
    pub fn peer_misses(&self) -> u8 {
        self.reports.misses()
    }

    /// How it was.
    pub fn quality(&self) -> Quality {
        let (received, lost) = (self.reception.received(), self.reception.lost());
        let round_trip = self.reports.round_trip();
        // From mouth to ear: the way, what was learnt about it, and a packet's time at either end.
        let delay = round_trip.unwrap_or_default() / 2 + self.jitter.depth() + FRAME * 2;
        let rating = quality::rating(self.codec, delay, lost + self.late, received + lost);
        Quality {
            received,
            lost,
            late: self.late,
            rejected: self.rejected + self.transport.rejected(),
            sent: self.outgoing.packets,
            sent_lost: self.reports.sent_lost(),
            jitter: self.reception.jitter(),
            round_trip,
            mos: quality::opinion(rating),
        }
    }
}

/// The formats of a peer that can be decoded.
fn formats(spec: &StreamSpec) -> Vec<Format> {
    spec.receive.iter().copied().filter(|format| format.codec.is_mixed()).collect()
}

/// A jitter buffer for all that a peer may send.
fn buffer(spec: &StreamSpec) -> Jitter {
    let mut buffer = Jitter::new();
    if formats(spec).iter().any(|format| format.codec.is_whole()) {
        buffer.prepare_whole();
    }
    buffer
}

impl Outgoing {
    fn send(
        &mut self,
        frame: &Frame<'_>,
        transport: &mut Transport,
        scratch: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let Some(mut pending) = self.pending.take() else {
            self.emit(self.timestamp, frame.payload, frame.sources, transport, scratch, sink);
            return;
        };
        if pending.len == 0 {
            pending.timestamp = self.timestamp;
        }
        let end = pending.len + frame.payload.len();
        pending.bytes[pending.len..end].copy_from_slice(frame.payload);
        pending.len = end;
        let mut begin = 0;
        while pending.len - begin >= pending.full {
            let payload = &pending.bytes[begin..begin + pending.full];
            self.emit(pending.timestamp, payload, frame.sources, transport, scratch, sink);
            begin += pending.full;
            pending.timestamp = pending.timestamp.wrapping_add(pending.full as u32);
        }
        pending.bytes.copy_within(begin..pending.len, 0);
        pending.len -= begin;
        self.pending = Some(pending);
    }

    fn emit(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        sources: &[u32],
        transport: &mut Transport,
        scratch: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let Some(to) = transport.destination(Flow::Rtp) else { return };
        let marker = !sources.is_empty() && !self.in_spurt;
        self.in_spurt = !sources.is_empty();
        let header =
            Header { marker, payload_type: self.format, sequence: self.sequence, timestamp, ssrc: self.ssrc };
        let begin = header.write(sources, scratch);
        let end = begin + payload.len();
        scratch[begin..end].copy_from_slice(payload);
        if let Some(len) = transport.protect_rtp(&mut scratch[..end + OVERHEAD], end) {
            self.sequence = self.sequence.wrapping_add(1);
            self.packets += 1;
            self.octets += payload.len() as u64;
            sink.send(self.port, to, &scratch[..len]);
        }
    }
}

impl Pending {
    /// Where packets of the stream do not hold 20 ms. Opus is not cut nor joined: a packet time is a wish.
    fn of(spec: &StreamSpec) -> Option<Box<Pending>> {
        let full = (spec.packet_time.as_millis().clamp(10, 60) / 10 * 80) as usize;
        let is_cut = full != Rate::Narrow.frame() && spec.send.codec != Codec::Opus;
        is_cut.then(|| Box::new(Pending { bytes: [0; 640], len: 0, full, timestamp: 0 }))
    }
}
