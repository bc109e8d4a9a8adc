//! How many connections there may be, in all and from one address, and who goes first when there
//! are too many: whoever has been connected longest without proving who he is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Bytes of unfinished messages that those who have proved nothing may have here, all together.
/// Beyond that a connection that brings more of an unfinished message is closed.
const UNFINISHED_LIMIT: usize = 64 * 1024 * 1024;

/// The limits of one role's connections, and the count.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The largest message taken, in bytes.
    pub max_message: usize,
    max_connections: usize,
    max_per_address: usize,
    /// Whether peers are ours: believed from the start, and silent for as long as they like.
    pub(super) patient: bool,
    open: Arc<Mutex<Open>>,
    unfinished: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    all: BTreeMap<u64, Entry>,
    /// How many are from an address.
    by_address: BTreeMap<IpAddr, usize>,
    /// Those who have proved nothing, by age; and the same by address.
    strangers: BTreeSet<u64>,
    strangers_of: BTreeSet<(IpAddr, u64)>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    evicted: Arc<Notify>,
}

impl Open {
    fn forget(&mut self, number: u64) -> Option<Entry> {
        let entry = self.all.remove(&number)?;
        self.believe(entry.address, number);
        match self.by_address.get_mut(&entry.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.by_address.remove(&entry.address)),
        }
        Some(entry)
    }

    fn believe(&mut self, address: IpAddr, number: u64) {
        self.strangers.remove(&number);
        self.strangers_of.remove(&(address, number));
    }

    /// The stranger who has been here longest, of this address or of any.
    fn oldest_stranger(&self, of: Option<IpAddr>) -> Option<u64> {
        let Some(address) = of else { return self.strangers.first().copied() };
        let first = self.strangers_of.range((address, 0)..).next();
        first.filter(|(of, _)| *of == address).map(|(_, number)| *number)
    }
}

/// A place among the open connections; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
    number: u64,
    evicted: Arc<Notify>,
}

impl ConnectionLimits {
    /// Limits with nothing open yet.
    pub fn new(max_message: usize, max_connections: usize, max_per_address: usize) -> ConnectionLimits {
        ConnectionLimits {
            max_message,
            max_connections,
            max_per_address,
            patient: false,
            open: Arc::default(),
            unfinished: Arc::default(),
        }
    }

    /// For connections that we open ourselves, and those within the process: there may be any
    /// number, and the other end may be silent, as a server is to whom nothing happens.
    pub fn of_our_own() -> ConnectionLimits {
        let limits = ConnectionLimits::new(confab_sip::MAX_MESSAGE, usize::MAX, usize::MAX);
        ConnectionLimits { patient: true, ..limits }
    }

    /// A place for a connection from `address`, if there is one or a stranger can give up his.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut open = lock(&self.open);
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        let too_many_here = here >= self.max_per_address;
        if too_many_here || open.all.len() >= self.max_connections {
            let oldest = open.oldest_stranger(too_many_here.then_some(address))?;
            if let Some(entry) = open.forget(oldest) {
                entry.evicted.notify_one();
            }
        }
        open.last += 1;
        let (number, evicted) = (open.last, Arc::new(Notify::new()));
        open.all.insert(number, Entry { address, evicted: Arc::clone(&evicted) });
        *open.by_address.entry(address).or_default() += 1;
        open.strangers.insert(number);
        open.strangers_of.insert((address, number));
        Some(Place { open: Arc::clone(&self.open), address, number, evicted })
    }

    /// What a stranger's connection holds of an unfinished message; nothing yet.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished { all: Arc::clone(&self.unfinished), own: 0 }
    }
}

impl Place {
    /// Its holder has proved who he is: nobody takes it from him any more.
    pub(super) fn believe(&self) {
        lock(&self.open).believe(self.address, self.number);
    }

    /// Waits until somebody else has got it.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).forget(self.number);
    }
}

/// What one stranger's connection holds of an unfinished message, in bytes.
#[derive(Debug)]
pub(super) struct Unfinished {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Unfinished {
    /// It holds so much now; `false` if that is more than there is room for.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let grows = bytes > self.own;
        let all = self.all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all = all - self.own.min(all);
        self.all.fetch_sub(self.own, Ordering::Relaxed);
        self.own = bytes;
        !grows || all <= UNFINISHED_LIMIT
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().expect("nobody panics while counting")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    /// Whether somebody else has got it.
    async fn is_evicted(place: &Place) -> bool {
        tokio::select! {
            biased;
            () = place.evicted() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn those_who_proved_themselves_stay() {
        let limits = ConnectionLimits::new(1000, 3, 2);
        let (first, second) = (limits.enter(ONE).unwrap(), limits.enter(ONE).unwrap());
        first.believe();
        second.believe();
        assert!(limits.enter(ONE).is_none(), "two from one address");
        let third = limits.enter(TWO).unwrap();
        third.believe();
        assert!(limits.enter(TWO).is_none(), "three in all");
        drop(first);
        assert!(limits.enter(TWO).is_some());
        assert!(!is_evicted(&second).await && !is_evicted(&third).await);
    }

    #[tokio::test]
    async fn the_oldest_stranger_gives_up_his_place() {
        let limits = ConnectionLimits::new(1000, 3, 2);
        let (first, second, third) =
            (limits.enter(ONE).unwrap(), limits.enter(TWO).unwrap(), limits.enter(ONE).unwrap());
        first.believe();
        // Too many of this address: one of this address goes, though another is older.
        let fourth = limits.enter(ONE).unwrap();
        assert!(is_evicted(&third).await);
        // Too many in all: the oldest of any goes.
        let _fifth = limits.enter(IpAddr::from([127, 0, 0, 3])).unwrap();
        assert!(is_evicted(&second).await);
        assert!(!is_evicted(&first).await && !is_evicted(&fourth).await);
        // Who was evicted is counted no more when he goes.
        drop((second, third));
        assert_eq!(lock(&limits.open).all.len(), 3);
        assert_eq!(lock(&limits.open).by_address.values().sum::<usize>(), 3);
    }

    #[test]
    fn strangers_together_hold_so_much() {
        let limits = ConnectionLimits::new(1000, 3, 2);
        let (mut one, mut two) = (limits.unfinished(), limits.unfinished());
        assert!(one.set(UNFINISHED_LIMIT) && one.set(UNFINISHED_LIMIT - 10));
        assert!(two.set(10) && !two.set(11));
        assert!(two.set(5), "who holds less may always go on");
        drop(one);
        assert!(two.set(11));
        assert_eq!(limits.unfinished.load(Ordering::Relaxed), 11);
    }
}
