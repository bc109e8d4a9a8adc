//! What the two ends of a voice tell each other of it: sender and receiver reports every few seconds
//! (RFC 3550 §6), and what follows from the peer's.

use std::time::Duration;

use confab_machine::Time;

use crate::{
    reception::Reception,
    rtcp::{self, Packet, Report, SenderInfo, Writer},
};

/// Reports are this far apart in the mean; each time between half of it and half as much again.
const INTERVAL: Duration = Duration::from_secs(5);

/// The reports of one voice.
#[derive(Debug)]
pub(crate) struct Reports {
    next: Time,
    random: u32,
    /// Packets that had been sent when the last report was made.
    sent_before: u64,
    /// The middle of the NTP time in the peer's last sender report, and when it came.
    last: Option<(u32, Time)>,
    round_trip: Option<Duration>,
    sent_lost: Option<u64>,
    /// What the peer missed lately, in 256ths.
    misses: u8,
}

/// What we send.
pub(crate) struct Sent {
    pub ssrc: u32,
    pub timestamp: u32,
    pub packets: u64,
    pub octets: u64,
}

impl Reports {
    /// The first is made after half the usual time at the earliest; `random` decides when.
    pub fn new(now: Time, random: u32) -> Reports {
        let mut reports = Reports {
            next: now,
            random: random | 1,
            sent_before: 0,
            last: None,
            round_trip: None,
            sent_lost: None,
            misses: 0,
        };
        reports.wait(now);
        reports
    }

    /// Hears a compound from the peer of the voice that is sent as `ssrc`.
    pub fn hear(&mut self, now: Time, ssrc: u32, compound: &[u8]) {
        for packet in rtcp::packets(compound) {
            let reports = match packet {
                Packet::SenderReport { info, reports, .. } => {
                    self.last = Some((rtcp::middle(info.ntp), now));
                    reports
                }
                Packet::ReceiverReport { reports, .. } => reports,
                _ => continue,
            };
            for report in reports.iter().filter(|report| report.ssrc == ssrc) {
                self.sent_lost = Some(u64::try_from(report.lost).unwrap_or(0));
                self.misses = report.fraction_lost;
                self.round_trip = report.round_trip(now).or(self.round_trip);
            }
        }
    }

    /// Whether it is time for a report.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// Writes the next report to `out`, with what `more` adds to it, and gives its length.
    pub fn write(
        &mut self,
        now: Time,
        name: &str,
        sent: &Sent,
        reception: &mut Reception,
        out: &mut [u8],
        more: impl FnOnce(&mut Writer<'_>),
    ) -> Option<usize> {
        self.wait(now);
        let report = reception.highest().map(|(ssrc, highest)| Report {
            ssrc,
            fraction_lost: reception.fraction_lost(),
            lost: i32::try_from(reception.lost()).unwrap_or(i32::MAX),
            highest,
            jitter: reception.jitter_units(),
            last_report: self.last.map_or(0, |(last, _)| last),
            delay: self.last.map_or(0, |(_, at)| rtcp::delay(now.since(at))),
        });
        let mut writer = Writer::new(out);
        if sent.packets > std::mem::replace(&mut self.sent_before, sent.packets) {
            let info = SenderInfo {
                ntp: rtcp::ntp(now),
                timestamp: sent.timestamp,
                packets: sent.packets as u32,
                octets: sent.octets as u32,
            };
            writer.sender_report(sent.ssrc, info, report.as_slice());
        } else {
            writer.receiver_report(sent.ssrc, report.as_slice());
        }
        writer.description(sent.ssrc, name);
        more(&mut writer);
        writer.finish()
    }

    /// The latest round trip, if the peer reports.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What the peer reported lost, if it did.
    pub fn sent_lost(&self) -> Option<u64> {
        self.sent_lost
    }

    /// What the peer missed between its last two reports, in 256ths of what it was sent.
    pub fn misses(&self) -> u8 {
        self.misses
    }

    fn wait(&mut self, now: Time) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.next = now + INTERVAL / 2 + INTERVAL * (self.random >> 16) / (1 << 16);
    }
}
