//! What is tried again waits ever longer: a pod, and the pods of an owner together.
//!
//! A policy or another client mostly treats all pods of one owner alike. So once writes to two different pods of an owner in a row were
//! refused, or repairs of two were undone, one pod at a time is tried for all of them, ever more rarely, until one write succeeds or one
//! repair lasts. One pod alone says nothing of the others: it only waits itself.
//!
//! An owner is the controller of a pod within its namespace. Pods of successive ReplicaSets of a Deployment, or Jobs of a CronJob, have the same
//! one, and pods without a controller are one owner per namespace. When more than [`OWNERS`] owners of a namespace are in trouble, the whole
//! namespace is one: a policy for it is the likely cause, and memory stays bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_contract::{Moment, PodName};

use crate::facts::PodFacts;
use crate::writes::doubled;

/// Owners of one namespace that are told apart.
const OWNERS: usize = 8;
/// An owner without trouble for this long, after its last wait, is forgotten.
const FORGET: Duration = Duration::from_secs(10 * 60);

/// One kind of trouble with the pods of each owner.
#[derive(Debug)]
pub(crate) struct OwnerBackOffs {
    first: Duration,
    most: Duration,
    by_namespace: BTreeMap<Arc<str>, Owners>,
}

#[derive(Debug)]
enum Owners {
    /// By controller.
    Each(BTreeMap<String, OwnerBackOff>),
    /// Too many to tell them apart.
    Together(OwnerBackOff),
}

/// The back-off of the pods of an owner.
#[derive(Debug, Clone)]
struct OwnerBackOff {
    /// Troubles in a row, each with another pod than the one before.
    times: u32,
    last: PodName,
    until: Moment,
}

impl OwnerBackOff {
    fn is_shared(&self) -> bool {
        self.times >= 2
    }
}

impl OwnerBackOffs {
    /// With these waits.
    pub(crate) fn new(first: Duration, most: Duration) -> OwnerBackOffs {
        OwnerBackOffs { first, most, by_namespace: BTreeMap::new() }
    }

    /// How many owners back off.
    pub(crate) fn len(&self) -> usize {
        let count = |owners: &Owners| match owners {
            Owners::Each(owners) => owners.values().filter(|owner| owner.is_shared()).count(),
            Owners::Together(_) => 1,
        };
        self.by_namespace.values().map(count).sum()
    }

    /// If the owner of this pod backs off: until when, and the pod that was in trouble last. Afterwards one pod may be tried.
    pub(crate) fn of(&self, facts: &PodFacts) -> Option<(Moment, &PodName)> {
        let owner = match self.by_namespace.get(&facts.pod.namespace)? {
            Owners::Each(owners) => owners.get(facts.owner())?,
            Owners::Together(owner) => owner,
        };
        owner.is_shared().then_some((owner.until, &owner.last))
    }

    /// Until when the owner of this pod backs off. If what was tried last is not undone by then, none has to wait any more.
    pub(crate) fn wait(
        &mut self,
        now: Moment,
        facts: &PodFacts,
        is_undone: impl FnOnce(&PodName) -> bool,
    ) -> Option<Moment> {
        let (until, last) = self.of(facts)?;
        if until > now {
            return Some(until);
        }
        if !is_undone(last) {
            self.end(facts);
        }
        None
    }

    /// A pod was in trouble.
    pub(crate) fn record(&mut self, now: Moment, facts: &PodFacts) {
        let (first, most, pod) = (self.first, self.most, &facts.pod);
        let owners =
            self.by_namespace.entry(pod.namespace.clone()).or_insert_with(|| Owners::Each(BTreeMap::new()));
        let count = |back_off: &mut OwnerBackOff| {
            if back_off.last != *pod {
                back_off.times = back_off.times.saturating_add(1);
                back_off.last = pod.clone();
            }
            // The first time is that of one pod.
            back_off.until = now + doubled(first, back_off.times - 1, most);
        };
        match owners {
            Owners::Together(back_off) => count(back_off),
            Owners::Each(each) => {
                let fresh = || OwnerBackOff { times: 1, last: pod.clone(), until: now };
                count(each.entry(facts.owner().to_owned()).or_insert_with(fresh));
                if each.len() > OWNERS {
                    let times = each.values().map(|owner| owner.times).max().unwrap_or_default().max(2);
                    let until = now + doubled(first, times - 1, most);
                    *owners = Owners::Together(OwnerBackOff { times, last: pod.clone(), until });
                }
            }
        }
    }

    /// A pod is tried: those of the same owner wait as if it had failed already.
    pub(crate) fn try_one(&mut self, now: Moment, facts: &PodFacts) {
        let (first, most) = (self.first, self.most);
        let back_off = match self.by_namespace.get_mut(&facts.pod.namespace) {
            Some(Owners::Each(owners)) => owners.get_mut(facts.owner()),
            Some(Owners::Together(back_off)) => Some(back_off),
            None => None,
        };
        if let Some(back_off) = back_off.filter(|back_off| back_off.is_shared()) {
            back_off.until = now + doubled(first, back_off.times, most);
        }
    }

    /// There is no trouble any more with the pods of an owner; whether they had to wait for it.
    pub(crate) fn end(&mut self, facts: &PodFacts) -> bool {
        let waited = self.of(facts).is_some();
        let namespace = &facts.pod.namespace;
        let is_empty = match self.by_namespace.get_mut(namespace) {
            Some(Owners::Each(owners)) => {
                owners.remove(facts.owner());
                owners.is_empty()
            }
            Some(Owners::Together(_)) => true,
            None => return false,
        };
        if is_empty {
            self.by_namespace.remove(namespace);
        }
        waited
    }

    /// Forgets the owners that have been without trouble for long.
    pub(crate) fn forget(&mut self, now: Moment) {
        self.by_namespace.retain(|_, owners| match owners {
            Owners::Each(owners) => {
                owners.retain(|_, owner| owner.until + FORGET > now);
                !owners.is_empty()
            }
            Owners::Together(owner) => owner.until + FORGET > now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn back_offs() -> OwnerBackOffs {
        OwnerBackOffs::new(Duration::from_secs(1), Duration::from_secs(60))
    }

    fn pod(name: &str, controller: Option<&str>) -> PodFacts {
        PodFacts { controller: controller.map(str::to_owned), ..PodFacts::bare("shop", name, "uid") }
    }

    fn until(back_offs: &OwnerBackOffs, facts: &PodFacts) -> Option<Moment> {
        back_offs.of(facts).map(|(until, _)| until)
    }

    #[test]
    fn one_pod_says_nothing_of_the_others_and_two_in_a_row_do() {
        let mut back_offs = back_offs();
        let [a, b] = ["a", "b"].map(|name| pod(name, Some("StatefulSet/db")));
        for second in 0..5 {
            back_offs.record(at(second), &a);
        }
        assert_eq!(until(&back_offs, &b), None);
        back_offs.record(at(5), &b);
        assert_eq!(until(&back_offs, &a), Some(at(6)));
        back_offs.record(at(6), &a);
        assert_eq!(until(&back_offs, &a), Some(at(8)));
        assert_eq!(until(&back_offs, &pod("c", Some("StatefulSet/other"))), None);
        assert!(back_offs.end(&b));
        assert_eq!((until(&back_offs, &a), back_offs.len()), (None, 0));
    }

    #[test]
    fn while_one_pod_is_tried_the_others_wait() {
        let mut back_offs = back_offs();
        let [a, b] = ["a", "b"].map(|name| pod(name, None));
        back_offs.try_one(at(0), &a);
        back_offs.record(at(0), &a);
        back_offs.record(at(0), &b);
        back_offs.try_one(at(1), &a);
        assert_eq!(until(&back_offs, &b), Some(at(3)));
    }

    #[test]
    fn rollouts_and_runs_of_a_cron_job_have_one_owner() {
        let owners = [
            (Some("ReplicaSet/web-5d4f8c7b9"), "ReplicaSet/web"),
            (Some("Job/nightly-backup-29384756"), "Job/nightly-backup"),
            (Some("StatefulSet/my-db"), "StatefulSet/my-db"),
            (Some("ReplicaSet/web"), "ReplicaSet/web"),
            (None, ""),
        ];
        for (controller, expected) in owners {
            assert_eq!(pod("p", controller).owner(), expected);
        }
    }

    #[test]
    fn many_owners_in_trouble_are_their_namespace_and_forgotten_when_it_is_over() {
        let mut back_offs = back_offs();
        for n in 0..1000 {
            back_offs.record(at(0), &pod(&format!("p{n}"), Some(&format!("StatefulSet/s{n}"))));
        }
        let other = pod("q", Some("StatefulSet/never-tried"));
        assert_eq!((until(&back_offs, &other), back_offs.len()), (Some(at(60)), 1));
        back_offs.forget(at(60 + FORGET.as_secs() - 1));
        assert!(until(&back_offs, &other).is_some());
        back_offs.forget(at(60 + FORGET.as_secs()));
        assert!(back_offs.by_namespace.is_empty());
    }
}
