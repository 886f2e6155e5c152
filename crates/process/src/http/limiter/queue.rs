//! Connections in the order in which they are closed: within an address the oldest first, and the address with the most
//! first. Every operation takes logarithmic time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Numbers that rise with time. The smallest is the oldest.
pub(super) type Age = u64;

#[derive(Debug)]
pub(super) struct Queue<T> {
    by_address: HashMap<IpAddr, BTreeMap<Age, T>>,
    /// The count, the oldest, the address: the last one has the most, and of several the oldest.
    by_count: BTreeSet<(usize, Reverse<Age>, IpAddr)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { by_address: HashMap::new(), by_count: BTreeSet::new() }
    }
}

impl<T: Copy> Queue<T> {
    pub(super) fn insert(&mut self, address: IpAddr, age: Age, item: T) {
        self.change(address, |items| {
            items.insert(age, item);
        });
    }

    pub(super) fn remove(&mut self, address: IpAddr, age: Age) {
        self.change(address, |items| {
            items.remove(&age);
        });
    }

    /// The oldest of an address.
    pub(super) fn oldest_of(&self, address: IpAddr) -> Option<T> {
        self.by_address.get(&address)?.first_key_value().map(|(_, item)| *item)
    }

    /// The oldest of the address that has the most.
    pub(super) fn oldest_of_most(&self) -> Option<T> {
        let (_, _, address) = self.by_count.last()?;
        self.oldest_of(*address)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let by_count: usize = self.by_count.iter().map(|(count, ..)| count).sum();
        assert_eq!(by_count, self.by_address.values().map(BTreeMap::len).sum::<usize>());
        by_count
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeMap<Age, T>)) {
        let items = self.by_address.entry(address).or_default();
        if let Some(key) = rank(address, items) {
            self.by_count.remove(&key);
        }
        change(items);
        match rank(address, items) {
            Some(key) => drop(self.by_count.insert(key)),
            None => drop(self.by_address.remove(&address)),
        }
    }
}

fn rank<T>(address: IpAddr, items: &BTreeMap<Age, T>) -> Option<(usize, Reverse<Age>, IpAddr)> {
    let (oldest, _) = items.first_key_value()?;
    Some((items.len(), Reverse(*oldest), address))
}
