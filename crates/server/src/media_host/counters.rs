//! What a thread of the data plane has done, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use confab_media::session::Quality;

/// Counted by one thread and read by others.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    late_slots: AtomicU64,
    calls: AtomicU64,
    packets: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    rejected: AtomicU64,
    mos: AtomicU64,
}

/// What all threads together have done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rooms that are open.
    pub rooms: u64,
    /// Datagrams that came, of whatever kind.
    pub received: u64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// Slots that were let go because a thread had too much to do; each is 20 ms of a room's sound.
    pub late_slots: u64,
    /// Legs that are over.
    pub calls: u64,
    /// Packets of sound that were taken from them.
    pub packets: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets that were refused: not verified, of an unknown payload type, from another address.
    pub rejected: u64,
    /// The sum of their estimated mean opinion scores, in hundredths.
    pub mos: u64,
}

impl Counters {
    pub(super) fn received(&self, datagrams: u64) {
        self.received.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, datagrams: u64) {
        self.sent.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, slots: u64) {
        self.late_slots.fetch_add(slots, Ordering::Relaxed);
    }

    /// A leg is over.
    pub(super) fn closed(&self, quality: &Quality) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.calls, 1);
        add(&self.packets, quality.received);
        add(&self.lost, quality.lost);
        add(&self.late, quality.late);
        add(&self.rejected, quality.rejected);
        add(&self.mos, u64::from(quality.mos));
    }

    /// Adds what was counted here to `totals`.
    pub(super) fn add_to(&self, totals: &mut Totals) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        totals.received += read(&self.received);
        totals.sent += read(&self.sent);
        totals.late_slots += read(&self.late_slots);
        totals.calls += read(&self.calls);
        totals.packets += read(&self.packets);
        totals.lost += read(&self.lost);
        totals.late += read(&self.late);
        totals.rejected += read(&self.rejected);
        totals.mos += read(&self.mos);
    }
}
