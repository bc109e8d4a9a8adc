//! A pair: one of our addresses, one of the peer's, and what checks between them have shown.

use std::{net::SocketAddr, time::Duration};

use confab_machine::Time;

use crate::stun::Transaction;

/// A check is sent so often before its pair is given up (RFC 8489 §6.2.1).
const TRIES: u8 = 7;
/// The first repetition comes after this, each other after twice the time before, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_millis(1_600);

/// How far a pair has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not checked yet.
    Waiting,
    /// A check is on its way.
    InProgress,
    /// An answer came: the pair is valid.
    Succeeded,
    /// None came.
    Failed,
}

/// Why a check is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether the pair works.
    Try,
    /// To have it used.
    Nominate,
    /// To see whether it still works.
    KeepAlive,
}

/// A check on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub transaction: Transaction,
    pub purpose: Purpose,
    /// The role we had.
    pub controlling: bool,
    tries: u8,
    wait: Duration,
    next: Time,
}

impl Check {
    pub fn new(transaction: Transaction, purpose: Purpose, controlling: bool) -> Check {
        Check { transaction, purpose, controlling, tries: 0, wait: FIRST_WAIT, next: Time::EPOCH }
    }

    /// It is sent, once more.
    pub fn sent(&mut self, now: Time) {
        if self.tries > 0 {
            self.wait = (2 * self.wait).min(LONGEST_WAIT);
        }
        self.tries += 1;
        self.next = now + self.wait;
    }

    /// It is sent once more out of turn, because the peer shows that the way is open now.
    pub fn sent_again(&mut self, now: Time) {
        self.next = now + self.wait;
    }

    /// Whether it is to be sent again, or given up.
    pub fn is_due(&self, now: Time) -> bool {
        self.next <= now
    }

    /// Whether it was sent often enough.
    pub fn is_over(&self) -> bool {
        self.tries >= if self.purpose == Purpose::KeepAlive { 1 } else { TRIES }
    }
}

/// A pair of addresses of one component.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// 1 = RTP, 2 = RTCP.
    pub component: u8,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Which of our candidates it is with, and its credentials.
    pub local: usize,
    pub ours: usize,
    /// The priority of the peer's candidate.
    pub remote_priority: u32,
    /// Whose credentials the peer's candidate has; `None` while they are unknown.
    pub theirs: Option<usize>,
    pub state: State,
    pub check: Option<Check>,
    /// It is to be checked before others: the peer has checked it.
    pub is_wanted: bool,
    /// A check of the peer's came over it.
    pub is_heard: bool,
    /// The peer wants it used, as soon as it is valid.
    pub is_asked_for: bool,
    /// It is valid, and the controlling side has said that it be used.
    pub is_nominated: bool,
}

impl Pair {
    /// A pair nothing is known of.
    pub fn new(component: u8, remote: SocketAddr, remote_priority: u32) -> Pair {
        Pair {
            component,
            remote,
            local: 0,
            ours: 0,
            remote_priority,
            theirs: None,
            state: State::Waiting,
            check: None,
            is_wanted: false,
            is_heard: false,
            is_asked_for: false,
            is_nominated: false,
        }
    }

    /// Whether media may go this way.
    pub fn is_valid(&self) -> bool {
        self.state == State::Succeeded
    }

    /// The priority of the pair (RFC 8445 §6.1.2.3).
    pub fn priority(&self, ours: u32, controlling: bool) -> u64 {
        let (ours, theirs) = (u64::from(ours), u64::from(self.remote_priority));
        let (leader, other) = if controlling { (ours, theirs) } else { (theirs, ours) };
        (leader.min(other) << 32) + 2 * leader.max(other) + u64::from(leader > other)
    }
}

/// The same place, whatever scope or flow label an IPv6 address came with.
pub(super) fn same_place(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() && one.port() == other.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_of_a_pair_is_that_of_the_standard() {
        let pair = Pair::new(1, SocketAddr::from(([192, 0, 2, 1], 1)), 100);
        assert_eq!(pair.priority(200, true), (100 << 32) + 400 + 1);
        assert_eq!(pair.priority(200, false), (100 << 32) + 400);
        assert_eq!(pair.priority(u32::MAX, true), (100 << 32) + 2 * u64::from(u32::MAX) + 1);
    }

    #[test]
    fn a_check_is_repeated_more_and_more_seldom() {
        let mut check = Check::new([0; 16], Purpose::Try, true);
        let mut now = Time::from_unix_secs(1);
        let mut waits = Vec::new();
        while !check.is_over() {
            check.sent(now);
            let began = now;
            while !check.is_due(now) {
                now = now + Duration::from_millis(20);
            }
            waits.push(now.since(began).as_millis());
        }
        assert_eq!(waits, [500, 1_000, 1_600, 1_600, 1_600, 1_600, 1_600]);
    }
}
