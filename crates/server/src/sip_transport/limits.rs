//! How many connections there may be, in all and from one address.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

/// The limits of one role's connections, and the count.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The largest message taken, in bytes.
    pub max_message: usize,
    max_connections: usize,
    max_per_address: usize,
    /// Whether peers may be silent for as long as they like.
    pub(super) patient: bool,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A place among the open connections; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
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
        }
    }

    /// For connections that we open ourselves, and those within the process: there may be any
    /// number, and the other end may be silent, as a server is to whom nothing happens.
    pub fn of_our_own() -> ConnectionLimits {
        let limits = ConnectionLimits::new(confab_sip::MAX_MESSAGE, usize::MAX, usize::MAX);
        ConnectionLimits { patient: true, ..limits }
    }

    /// A place for a connection from `address`, if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().expect("nobody panics while counting");
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.max_connections || here >= self.max_per_address {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Some(Place { open: Arc::clone(&self.open), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().expect("nobody panics while counting");
        open.all -= 1;
        match open.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_all_and_by_address() {
        let limits = ConnectionLimits::new(1000, 3, 2);
        let [one, two, three] = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]].map(IpAddr::from);
        let first = limits.enter(one);
        let second = limits.enter(one);
        assert!(first.is_some() && second.is_some());
        assert!(limits.enter(one).is_none(), "two from one address");
        let third = limits.enter(two);
        assert!(third.is_some());
        assert!(limits.enter(three).is_none(), "three in all");
        drop(first);
        assert!(limits.enter(three).is_some());
    }
}
