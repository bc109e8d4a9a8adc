//! RTCP: reports, names, farewells and feedback, read and written (RFC 3550 §6, RFC 4585, RFC 5104).
//!
//! Nothing is allocated. What Microsoft's clients append to their reports (MS-RTP profile extensions)
//! lies within the length of the report and is passed over.

use std::time::Duration;

use confab_machine::Time;

/// The most report blocks one report holds.
pub const MAX_REPORTS: usize = 31;

/// From the epoch of NTP, 1900, to that of Unix, in seconds.
const NTP_EPOCH_SECS: u64 = 2_208_988_800;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// The item of a description that names its source.
const CNAME: u8 = 1;
/// Formats of feedback.
const NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;

/// What a sender says of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was made, in NTP's 32.32 bits.
    pub ntp: u64,
    /// The same moment on the stream's own clock.
    pub timestamp: u32,
    /// Packets sent since the stream began.
    pub packets: u32,
    /// Octets of payload in them.
    pub octets: u32,
}

/// How one source is received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits, negative if packets came twice.
    pub lost: i32,
    /// The highest sequence number, with its rounds above it.
    pub highest: u32,
    /// Interarrival jitter on the source's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time in the last sender report; zero if there was none.
    pub last_report: u32,
    /// How long ago that came, in 65,536ths of a second.
    pub delay: u32,
}

impl Report {
    /// Bytes of one block.
    const LEN: usize = 24;

    /// Reads a block of exactly [`Report::LEN`] bytes.
    fn read(block: &[u8]) -> Report {
        let lost = word(block, 4) & 0x00ff_ffff;
        Report {
            ssrc: word(block, 0),
            fraction_lost: block[4],
            // The sign of 24 bits, moved to where 32 bits have it and back.
            lost: ((lost << 8).cast_signed()) >> 8,
            highest: word(block, 8),
            jitter: word(block, 12),
            last_report: word(block, 16),
            delay: word(block, 20),
        }
    }

    /// How long our sender report and this answer were on their way, measured at `now`, when the answer
    /// came (RFC 3550 §6.4.1); `None` if it answers none, or the peer's figures cannot be.
    pub fn round_trip(&self, now: Time) -> Option<Duration> {
        /// Longer than this it is no round trip but a clock that was set, or nonsense.
        const LONGEST: u32 = 60 << 16;
        if self.last_report == 0 {
            return None;
        }
        let trip = middle(ntp(now)).wrapping_sub(self.last_report).wrapping_sub(self.delay);
        // Rounding on both sides may make a short way a little less than nothing.
        if trip > u32::MAX - 0x0fff {
            return Some(Duration::ZERO);
        }
        (trip <= LONGEST).then(|| Duration::from_micros((u64::from(trip) * 1_000_000) >> 16))
    }
}

/// The report blocks of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

impl<'a> Reports<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Report> + use<'a> {
        self.0.chunks_exact(Report::LEN).map(Report::read)
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SR.
    SenderReport {
        /// Who reports.
        ssrc: u32,
        /// What he sent.
        info: SenderInfo,
        /// What he received.
        reports: Reports<'a>,
    },
    /// RR.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// What he received.
        reports: Reports<'a>,
    },
    /// SDES with a canonical name; only the first chunk is looked at.
    Description {
        /// The source.
        ssrc: u32,
        /// Its name, as it stands there.
        cname: &'a [u8],
    },
    /// BYE of its first source.
    Goodbye {
        /// The source.
        ssrc: u32,
    },
    /// PLI: a picture was lost (RFC 4585 §6.3.1).
    PictureLoss {
        /// Who asks.
        sender: u32,
        /// Whom.
        media: u32,
    },
    /// FIR: a whole picture is wanted (RFC 5104 §4.3.1).
    FullIntra {
        /// Who asks.
        sender: u32,
        /// Whom; the first, if several.
        media: u32,
        /// A repeated request bears the same number.
        sequence: u8,
    },
    /// Generic NACK: packets are wanted again (RFC 4585 §6.2.1).
    Nack {
        /// Who asks.
        sender: u32,
        /// Whom.
        media: u32,
        /// The first that is missing.
        first: u16,
    },
    /// Anything else that is framed well.
    Other {
        /// The packet type.
        kind: u8,
    },
}

/// The packets of a compound, as far as they are framed well.
#[derive(Clone, Debug)]
pub struct Packets<'a>(&'a [u8]);

/// Reads a compound: any bytes at all. Ends at the first packet that cannot be.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets(datagram)
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let all = self.0;
        let header = all.get(..4)?;
        let len = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 6 != 2 || all.len() < len {
            self.0 = &[];
            return None;
        }
        let (packet, rest) = all.split_at(len);
        self.0 = rest;
        let count = header[0] & 0x1f;
        Some(read(header[1], count, packet).unwrap_or(Packet::Other { kind: header[1] }))
    }
}

/// Reads a packet of one of the kinds we know.
fn read(kind: u8, count: u8, packet: &[u8]) -> Option<Packet<'_>> {
    let reports = |at: usize| {
        let end = at + usize::from(count) * Report::LEN;
        packet.get(at..end).map(Reports)
    };
    let ssrc = |at: usize| packet.get(at..at + 4).map(|bytes| word(bytes, 0));
    Some(match kind {
        SENDER_REPORT => {
            let reports = reports(28)?;
            let ntp = u64::from(ssrc(8)?) << 32 | u64::from(ssrc(12)?);
            let info = SenderInfo { ntp, timestamp: ssrc(16)?, packets: ssrc(20)?, octets: ssrc(24)? };
            Packet::SenderReport { ssrc: ssrc(4)?, info, reports }
        }
        RECEIVER_REPORT => Packet::ReceiverReport { ssrc: ssrc(4)?, reports: reports(8)? },
        DESCRIPTION if count > 0 => Packet::Description { ssrc: ssrc(4)?, cname: cname(packet.get(8..)?)? },
        GOODBYE if count > 0 => Packet::Goodbye { ssrc: ssrc(4)? },
        TRANSPORT_FEEDBACK if count == NACK => {
            let first = u16::from_be_bytes([*packet.get(12)?, *packet.get(13)?]);
            Packet::Nack { sender: ssrc(4)?, media: ssrc(8)?, first }
        }
        PAYLOAD_FEEDBACK if count == PICTURE_LOSS => {
            Packet::PictureLoss { sender: ssrc(4)?, media: ssrc(8)? }
        }
        PAYLOAD_FEEDBACK if count == FULL_INTRA => {
            Packet::FullIntra { sender: ssrc(4)?, media: ssrc(12)?, sequence: *packet.get(16)? }
        }
        _ => return None,
    })
}

/// The canonical name among the items of a chunk.
fn cname(mut items: &[u8]) -> Option<&[u8]> {
    loop {
        let [kind, len, rest @ ..] = items else { return None };
        if *kind == 0 {
            return None;
        }
        let value = rest.get(..usize::from(*len))?;
        if *kind == CNAME {
            return Some(value);
        }
        items = &rest[value.len()..];
    }
}

/// Four bytes that are there.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a compound into a buffer. What does not fit is left out whole, and [`Writer::finish`] says so.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    /// An empty compound.
    pub fn new(buffer: &'a mut [u8]) -> Writer<'a> {
        Writer { buffer, len: 0, full: false }
    }

    /// SR, or what begins a compound of somebody who has sent. Of `reports` at most [`MAX_REPORTS`].
    pub fn sender_report(&mut self, ssrc: u32, info: SenderInfo, reports: &[Report]) {
        let reports = &reports[..reports.len().min(MAX_REPORTS)];
        self.packet(SENDER_REPORT, reports.len(), 6 + 6 * reports.len(), |out| {
            out.word(ssrc);
            out.word((info.ntp >> 32) as u32);
            out.word(info.ntp as u32);
            out.word(info.timestamp);
            out.word(info.packets);
            out.word(info.octets);
            out.reports(reports);
        });
    }

    /// RR, or what begins a compound of somebody who has not sent. Of `reports` at most [`MAX_REPORTS`].
    pub fn receiver_report(&mut self, ssrc: u32, reports: &[Report]) {
        let reports = &reports[..reports.len().min(MAX_REPORTS)];
        self.packet(RECEIVER_REPORT, reports.len(), 1 + 6 * reports.len(), |out| {
            out.word(ssrc);
            out.reports(reports);
        });
    }

    /// SDES with a canonical name of at most 255 bytes; every compound needs one.
    pub fn description(&mut self, ssrc: u32, cname: &str) {
        let name = &cname.as_bytes()[..cname.len().min(255)];
        // The list of items ends with at least one zero, and on a whole word.
        let words = (2 + name.len()) / 4 + 1;
        self.packet(DESCRIPTION, 1, 1 + words, |out| {
            out.word(ssrc);
            let end = out.len + 4 * words;
            out.bytes(&[CNAME, name.len() as u8]);
            out.bytes(name);
            out.buffer[out.len..end].fill(0);
            out.len = end;
        });
    }

    /// BYE.
    pub fn goodbye(&mut self, ssrc: u32) {
        self.packet(GOODBYE, 1, 1, |out| out.word(ssrc));
    }

    /// PLI (RFC 4585 §6.3.1).
    pub fn picture_loss(&mut self, sender: u32, media: u32) {
        self.packet(PAYLOAD_FEEDBACK, usize::from(PICTURE_LOSS), 2, |out| {
            out.word(sender);
            out.word(media);
        });
    }

    /// FIR (RFC 5104 §4.3.1). Each new wish bears a new `sequence`.
    pub fn full_intra(&mut self, sender: u32, media: u32, sequence: u8) {
        self.packet(PAYLOAD_FEEDBACK, usize::from(FULL_INTRA), 4, |out| {
            out.word(sender);
            out.word(0);
            out.word(media);
            out.bytes(&[sequence, 0, 0, 0]);
        });
    }

    /// The length of the compound, if everything had room.
    pub fn finish(self) -> Option<usize> {
        (!self.full).then_some(self.len)
    }

    /// A packet whose body has `words` words, which `body` writes.
    fn packet(&mut self, kind: u8, count: usize, words: usize, body: impl FnOnce(&mut Self)) {
        if self.buffer.len() - self.len < 4 + 4 * words {
            self.full = true;
            return;
        }
        let len = (words as u16).to_be_bytes();
        self.bytes(&[0x80 | count as u8, kind, len[0], len[1]]);
        body(self);
    }

    fn reports(&mut self, reports: &[Report]) {
        for report in reports {
            let lost = report.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0x00ff_ffff;
            self.word(report.ssrc);
            self.word(u32::from(report.fraction_lost) << 24 | lost);
            self.word(report.highest);
            self.word(report.jitter);
            self.word(report.last_report);
            self.word(report.delay);
        }
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// A moment as NTP has it: seconds since 1900 above, parts of 2^32 of a second below.
pub fn ntp(now: Time) -> u64 {
    let micros = now.as_micros() % 1_000_000;
    ((now.as_unix_secs() + NTP_EPOCH_SECS) << 32) | ((micros << 32) / 1_000_000)
}

/// The middle 32 bits of an NTP time, as report blocks have it.
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// `duration` in 65,536ths of a second, as [`Report::delay`] has it.
pub fn delay(duration: Duration) -> u32 {
    u32::try_from((duration.as_micros() << 16) / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: Report = Report {
        ssrc: 7,
        fraction_lost: 64,
        lost: -2,
        highest: 0x0001_0005,
        jitter: 80,
        last_report: 0x1122_3344,
        delay: 65_536,
    };

    fn write(build: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = [0xaa; 1_500];
        let mut writer = Writer::new(&mut buffer);
        build(&mut writer);
        let len = writer.finish().expect("it fits");
        buffer[..len].to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        let info = SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 160, packets: 3, octets: 480 };
        let bytes = write(|out| {
            out.sender_report(1, info, &[REPORT, Report { lost: 9, ..REPORT }]);
            out.description(1, "confab@example.test");
            out.goodbye(1);
            out.picture_loss(1, 2);
            out.full_intra(1, 3, 250);
        });
        assert_eq!(bytes.len() % 4, 0);
        let read: Vec<Packet<'_>> = packets(&bytes).collect();
        let Packet::SenderReport { ssrc: 1, info: read_info, reports } = read[0] else { panic!("{read:?}") };
        assert_eq!(read_info, info);
        assert_eq!(reports.iter().collect::<Vec<_>>(), [REPORT, Report { lost: 9, ..REPORT }]);
        assert_eq!(
            read[1..],
            [
                Packet::Description { ssrc: 1, cname: b"confab@example.test" },
                Packet::Goodbye { ssrc: 1 },
                Packet::PictureLoss { sender: 1, media: 2 },
                Packet::FullIntra { sender: 1, media: 3, sequence: 250 },
            ]
        );
        // Names of every length end on a whole word, with a zero behind them.
        for len in 0..9 {
            let bytes = write(|out| out.description(1, &"abcdefgh"[..len]));
            assert_eq!((bytes.len() % 4, bytes.last()), (0, Some(&0)));
            assert_eq!(
                packets(&bytes).collect::<Vec<_>>(),
                [Packet::Description { ssrc: 1, cname: &b"abcdefgh"[..len] }]
            );
        }
    }

    #[test]
    fn extensions_behind_the_reports_are_passed_over() {
        // A receiver report with one block, then MS-RTP's estimate of the bandwidth: type 1, 12 bytes.
        let mut bytes = write(|out| out.receiver_report(5, &[REPORT]));
        bytes.extend([0, 1, 0, 12, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xfd]);
        bytes[3] += 3;
        bytes.extend(write(|out| out.goodbye(5)));
        let read: Vec<Packet<'_>> = packets(&bytes).collect();
        let Packet::ReceiverReport { ssrc: 5, reports } = read[0] else { panic!("{read:?}") };
        assert_eq!(reports.iter().collect::<Vec<_>>(), [REPORT]);
        assert_eq!(read[1], Packet::Goodbye { ssrc: 5 });
    }

    #[test]
    fn a_nack_has_its_first_packet() {
        let bytes = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0x12, 0x34, 0, 0];
        assert_eq!(
            packets(&bytes).collect::<Vec<_>>(),
            [Packet::Nack { sender: 1, media: 2, first: 0x1234 }]
        );
    }

    #[test]
    fn damaged_compounds_end_early() {
        let whole = write(|out| {
            out.receiver_report(5, &[REPORT]);
            out.description(5, "a@example.test");
        });
        for len in 0..whole.len() {
            assert!(packets(&whole[..len]).count() < 2, "{len}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x1f, 0x80, 0x9f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                for packet in packets(&damaged) {
                    if let Packet::ReceiverReport { reports, .. } = packet {
                        assert!(reports.iter().count() <= MAX_REPORTS);
                    }
                }
            }
        }
        // Reports that are announced and are not there make a packet of no known kind.
        assert_eq!(
            packets(&[0x81, 201, 0, 1, 0, 0, 0, 1]).collect::<Vec<_>>(),
            [Packet::Other { kind: 201 }]
        );
    }

    #[test]
    fn what_has_no_room_is_not_sent() {
        let mut buffer = [0; 12];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(1, &[]);
        writer.description(1, "somebody@example.test");
        assert_eq!(writer.finish(), None);
    }

    #[test]
    fn the_round_trip_is_what_neither_side_waited() {
        let sent = Time::from_unix_secs(1_800_000_000);
        let answer = |delay_ms: u64| Report {
            last_report: middle(ntp(sent)),
            delay: delay(Duration::from_millis(delay_ms)),
            ..REPORT
        };
        let came = sent + Duration::from_millis(1_080);
        let trip = answer(1_000).round_trip(came).expect("it answers a report of ours");
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_micros(50), "{trip:?}");
        // A peer that rounds up is at once back, not 18 hours away.
        assert_eq!(answer(1_081).round_trip(came), Some(Duration::ZERO));
        assert_eq!(answer(500_000).round_trip(came), None);
        assert_eq!(Report { last_report: 0, ..answer(0) }.round_trip(came), None);
        // Half of the second of NTP is half of 2^32.
        assert_eq!(ntp(sent + Duration::from_millis(500)) as u32, 1 << 31);
    }
}
