//! Keys that another field manager took and gave back. The first time they are written again at once. Whoever takes one again soon would
//! otherwise cause a write that finds it out and one that corrects the other keys, every time: so the wait doubles with each time, for the
//! pod and, with [`OwnerBackOffs`](crate::plan::back_off::OwnerBackOffs), for its owner. Until it is over they are left out, as if they were still taken.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::Moment;

use super::{Owned, PodWrites, doubled};
use crate::action::Change;
use crate::settings::Settings;

/// The keys of one pod that were given back and have not been written since.
#[derive(Debug, Default)]
pub(super) struct GivenBack {
    keys: BTreeMap<String, Owned>,
    /// How often in a row a key was found taken, each time soon after the one before, and when last.
    taken: u32,
    taken_at: Moment,
}

impl GivenBack {
    /// From being taken to being written again.
    fn wait(&self, settings: &Settings) -> Duration {
        match self.taken {
            0 | 1 => Duration::ZERO,
            times => doubled(settings.repair_every, times - 1, settings.repair_most),
        }
    }
}

impl PodWrites {
    /// A key is gone from the pod: whoever took it gave it back.
    pub(super) fn give_back(&mut self, key: String, owned: Owned) {
        self.given_back.keys.insert(key, owned);
    }

    /// Another field manager was found to own a key.
    pub(crate) fn take(&mut self, key: &str, owned: Owned) {
        self.given_back.keys.remove(key);
        self.conflicts.insert(key.to_owned(), owned);
    }

    /// Counts that keys were found taken; whether others had been taken shortly before. If none was for several times the wait, it
    /// begins anew.
    pub(crate) fn count_taken(&mut self, now: Moment, settings: &Settings) -> bool {
        let given_back = &mut self.given_back;
        let wait = given_back.wait(settings).max(settings.repair_every);
        if now >= given_back.taken_at + wait * 4 {
            given_back.taken = 0;
        }
        given_back.taken = given_back.taken.saturating_add(1);
        given_back.taken_at = now;
        given_back.taken > 1
    }

    /// Leaves the keys that were given back out until they may be written, which is not before `owner_until`; returns when that is.
    pub(crate) fn hold_given_back(
        &mut self,
        now: Moment,
        owner_until: Option<Moment>,
        settings: &Settings,
    ) -> Option<Moment> {
        let keys = &self.given_back.keys;
        if keys.is_empty() {
            return None;
        }
        let own = self.given_back.taken_at + self.given_back.wait(settings);
        let until = owner_until.map_or(own, |owner| owner.max(own));
        if until > now {
            self.conflicts.extend(keys.iter().map(|(key, owned)| (key.clone(), owned.clone())));
            return Some(until);
        }
        self.conflicts.retain(|key, _| !keys.contains_key(key));
        None
    }

    /// Whether a change writes keys that were given back.
    pub(crate) fn writes_given_back(&self, change: &Change) -> bool {
        self.given_back.keys.keys().any(|key| change.writes(key))
    }

    /// What was given back and is in this change is ours again.
    pub(crate) fn regain(&mut self, change: &Change) {
        self.given_back.keys.retain(|key, _| !change.writes(key));
    }

    /// Whether keys are taken, or may be again: they have not been ours for the shortest time between two repairs.
    pub(crate) fn is_taken(&self, now: Moment, settings: &Settings) -> bool {
        let is_recent = self.last.is_some_and(|(_, at)| now < at + settings.repair_every);
        is_recent || !self.conflicts.is_empty() || !self.given_back.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// Keys that were taken at these times, and given back at once.
    fn taken_at(times: &[u64]) -> PodWrites {
        let mut writes = PodWrites::default();
        for time in times {
            writes.count_taken(at(*time), &Settings::default());
        }
        writes.give_back("key".into(), Owned { manager: None, shown: true });
        writes
    }

    fn held_until(writes: &mut PodWrites, now: u64, owner: Option<u64>) -> Option<Moment> {
        let until = writes.hold_given_back(at(now), owner.map(at), &Settings::default());
        assert_eq!(until.is_some(), writes.conflicts.contains_key("key"), "left out while it is held");
        until
    }

    #[test]
    fn a_key_is_written_again_at_once_the_first_time_and_ever_later_when_it_is_taken_again() {
        assert_eq!(held_until(&mut taken_at(&[1000]), 1000, None), None);
        assert_eq!(held_until(&mut taken_at(&[1000, 1010]), 1010, None), Some(at(1070)));
        let mut writes = taken_at(&[1000, 1010, 1070, 1200, 1500, 1800]);
        assert_eq!(held_until(&mut writes, 1800, None), Some(at(2100)), "the longest wait");
        assert_eq!(held_until(&mut writes, 2099, None), Some(at(2100)));
        assert_eq!(held_until(&mut writes, 2100, None), None);
    }

    #[test]
    fn calm_for_four_waits_begins_anew() {
        assert_eq!(held_until(&mut taken_at(&[1000, 1239]), 1239, None), Some(at(1299)));
        assert_eq!(held_until(&mut taken_at(&[1000, 1240]), 1240, None), None);
    }

    #[test]
    fn the_owner_may_have_to_wait_longer_and_then_the_key_is_left_out_again() {
        let mut writes = taken_at(&[1000]);
        assert_eq!(held_until(&mut writes, 1000, Some(1100)), Some(at(1100)));
        assert_eq!(held_until(&mut writes, 1100, None), None);
        assert_eq!(held_until(&mut writes, 1100, Some(1300)), Some(at(1300)), "another pod is tried first");
    }
}
