//! The states of a resize, with what each of them carries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_contract::{Moment, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::conditions::{Progress, is_transient, progress};
use super::sizes::{resizable, sizes_of, spec_is};
use super::undo::Harm;
use super::verify::{limits_are_set, requests_are_set};
use super::{Purpose, Wanted};
use crate::facts::{ConditionFacts, PodFacts};

/// How long the kubelet may take, from acceptance to the kernel.
pub(super) const VERIFIED_WITHIN: Duration = Duration::from_secs(120);
/// How long a resize may be deferred before it is withdrawn.
pub(super) const DEFERRED: Duration = Duration::from_secs(30);
/// How long the kubelet may fail at a resize.
pub(super) const ERRORS: Duration = Duration::from_secs(60);
/// A plan that could not be recorded or sent for so long is not newest any more.
pub(super) const PLAN_AGE: Duration = Duration::from_secs(60);

/// A resize that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resize {
    pub(super) wanted: Wanted,
    /// The sizes of the same containers in the spec when it was decided.
    pub(super) from: BTreeMap<String, Sizes>,
    /// Tries so far.
    pub(super) tries: u32,
    /// Nothing is sent before.
    pub(super) not_before: Moment,
    /// When it entered its state.
    pub(super) entered: Moment,
    /// The kubelet's conditions before it was sent.
    pub(super) conditions_before: Vec<ConditionFacts>,
    /// The harm that it did since it was sent, if it is a shrink.
    pub(super) harm: Option<Harm>,
    /// The resize that it takes back, until it is accepted itself: the kubelet may still do that one.
    pub(super) withdraws: Option<Box<Accepted>>,
}

/// The version of the pod that the write of a record returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordVersion {
    pub(super) resource_version: String,
    /// Absent where the cluster has no generations of pods.
    pub(super) generation: Option<i64>,
}

impl RecordVersion {
    /// Whether the watch does not show the spec of this version yet. The write of a record does not raise the generation: somebody else changed
    /// the spec, and the size that the resize is made for may be another.
    pub(super) fn is_ahead_of(&self, facts: &PodFacts) -> bool {
        self.generation.zip(facts.generation).is_some_and(|(recorded, shown)| recorded > shown)
    }
}

/// A resize that the API server accepted: the spec has the new size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Accepted {
    pub(super) resize: Resize,
    /// When; absent where another leader sent it.
    pub(super) at: Option<Moment>,
    /// It is to be verified until then.
    pub(super) until: Moment,
    /// The pod's generation with it.
    pub(super) generation: Option<i64>,
    /// When the kernel was first seen to hold the new limits.
    pub(super) in_kernel: Option<Moment>,
    /// Since when the kubelet says that it cannot do it, and its last words.
    pub(super) error: Option<(Moment, String)>,
    /// The kubelet has set it aside for containers that were down.
    pub(super) set_aside: bool,
    /// The containers that were read in the kernel when it was last seen to hold the new limits.
    pub(super) read: BTreeSet<String>,
    /// Until when it may be deferred, once it was.
    pub(super) deferred_until: Option<Moment>,
    /// What the kubelet last said of it.
    pub(super) last_progress: Progress,
}

/// Where a pod's resize stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// Decided; to be recorded on the pod.
    Planned(Box<Resize>),
    /// The record is on its way.
    Recording(Box<Resize>),
    /// The pod says what is about to be done, in this version of it; to be sent.
    Recorded(Box<Resize>, RecordVersion),
    /// On its way.
    Sent(Box<Resize>),
    /// Sent without a response: it may or may not have been done.
    Unanswered(Box<Resize>),
    /// The API server accepted it.
    Accepted(Box<Accepted>),
    /// The kubelet works on it.
    InProgress(Box<Accepted>),
    /// The kubelet waits for room. It is withdrawn at the moment named.
    Deferred(Box<Accepted>, Moment),
}

impl Resize {
    pub(super) fn new(now: Moment, wanted: Wanted, from: BTreeMap<String, Sizes>) -> Resize {
        Resize {
            wanted,
            from,
            tries: 0,
            not_before: now,
            entered: now,
            conditions_before: Vec::new(),
            harm: None,
            withdraws: None,
        }
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.wanted.purpose
    }

    /// When it is not newest any more, if nothing of it was sent until then. A way back is never: nobody plans it again.
    pub(super) fn outdated_at(&self) -> Moment {
        match self.purpose().is_way_back() {
            true => Moment::NEVER,
            false => self.entered.max(self.not_before) + PLAN_AGE,
        }
    }

    pub(super) fn lowers_memory_limit(&self) -> bool {
        let mut all = self.wanted.sizes.iter();
        all.any(|(name, to)| self.from.get(name).is_some_and(|from| to.memory.limit < from.memory.limit))
    }

    /// What it asks for, but with every memory limit that it lowers as it was. A request that was equal to its limit stays equal.
    pub(super) fn keeping_memory_limits(&self) -> BTreeMap<String, Sizes> {
        let mut kept = self.wanted.sizes.clone();
        for (name, to) in &mut kept {
            let Some(before) = self.from.get(name).map(|from| from.memory) else { continue };
            if to.memory.limit < before.limit {
                let request = if before.request == before.limit { before.request } else { to.memory.request };
                to.memory = Size { request, limit: before.limit };
            }
        }
        kept
    }

    /// Whether it is a [`Purpose::Revert`] of what the kubelet has granted meanwhile.
    pub(super) fn is_overtaken(&self, facts: &PodFacts) -> bool {
        let generation = self.withdraws.as_ref().map_or(facts.generation, |accepted| accepted.generation);
        let is_granted = match (facts.pending_resize(), &self.withdraws) {
            (None, _) => limits_are_set(facts, &self.from),
            // What was deferred is worked on once there is room.
            (Some(_), Some(accepted)) => {
                matches!(accepted.last_progress, Progress::Deferred(_))
                    && progress(facts, generation, &accepted.resize.conditions_before) == Progress::Working
            }
            (Some(_), None) => false,
        };
        self.purpose() == Purpose::Revert
            && is_granted
            && spec_is(facts, &self.from)
            && requests_are_set(facts, &self.from, generation)
    }

    /// Which resources it changes.
    pub(super) fn changes(&self) -> [bool; 2] {
        changes(&self.wanted, &self.from)
    }

    /// What it asks for of that which it changes: of the other resource of a container the node may enforce what it will.
    pub(super) fn changed(&self) -> BTreeMap<String, Sizes> {
        let only = |from: Size, to: Size| if from == to { Size::default() } else { to };
        let changed = self.wanted.sizes.iter().map(|(name, to)| {
            let from = self.from.get(name).copied().unwrap_or_default();
            let (cpu, memory) = (only(from.cpu, to.cpu), only(from.memory, to.memory));
            (name.clone(), Sizes { cpu, memory })
        });
        changed.collect()
    }

    /// Whether the spec says what it changes.
    pub(super) fn is_in_spec(&self, facts: &PodFacts) -> bool {
        self.changed().iter().all(|(name, to)| {
            let spec = resizable(facts).find(|container| container.name == *name).map(|c| sizes_of(&c.spec));
            let is_as = |resource| {
                let to = to[resource];
                to == Size::default() || spec.is_some_and(|spec| spec[resource] == to)
            };
            Resource::ALL.into_iter().all(is_as)
        })
    }

    /// Whether both change the same resource of the same container.
    pub(super) fn overlaps(&self, other: &Resize) -> bool {
        let theirs = other.changed();
        self.changed().iter().any(|(name, ours)| {
            let changes = |sizes: &Sizes, resource| sizes[resource] != Size::default();
            let theirs = theirs.get(name);
            Resource::ALL
                .into_iter()
                .any(|r| changes(ours, r) && theirs.is_some_and(|theirs| changes(theirs, r)))
        })
    }

    /// Leaves the containers that another one is for to that; whether any is left.
    pub(super) fn leave_to(&mut self, other: &Resize) -> bool {
        self.from.retain(|name, _| !other.wanted.sizes.contains_key(name));
        self.wanted.sizes.retain(|name, _| !other.wanted.sizes.contains_key(name));
        !self.wanted.sizes.is_empty()
    }

    /// In another state since now.
    pub(super) fn entering(mut self: Box<Self>, now: Moment) -> Box<Resize> {
        self.entered = now;
        self
    }
}

/// Which resources change from these sizes to those wanted.
pub(super) fn changes(wanted: &Wanted, from: &BTreeMap<String, Sizes>) -> [bool; 2] {
    Resource::ALL.map(|resource| {
        let of = |sizes: &Sizes| sizes[resource];
        wanted.sizes.iter().any(|(name, to)| from.get(name).map(of) != Some(of(to)))
    })
}

impl Accepted {
    pub(super) fn new(
        resize: Resize,
        at: Option<Moment>,
        until: Moment,
        generation: Option<i64>,
    ) -> Accepted {
        Accepted {
            resize,
            at,
            until,
            generation,
            in_kernel: None,
            error: None,
            set_aside: false,
            read: BTreeSet::new(),
            deferred_until: None,
            last_progress: Progress::Nothing,
        }
    }

    /// When it ends, if nothing changes until then. An error that says nothing of the resize gets all the time that there is.
    pub(super) fn ends_at(&self) -> Moment {
        match &self.error {
            Some((since, words)) if !is_transient(words) => self.until.min(*since + ERRORS),
            _ => self.until,
        }
    }

    /// From acceptance to when it was done.
    pub(super) fn took(&self, done: Moment) -> Option<Duration> {
        Some(done.since(self.at?))
    }
}

impl Phase {
    /// The resize under way.
    pub(super) fn resize(&self) -> Option<&Resize> {
        match self {
            Phase::Idle => None,
            Phase::Planned(resize)
            | Phase::Recording(resize)
            | Phase::Recorded(resize, _)
            | Phase::Sent(resize)
            | Phase::Unanswered(resize) => Some(resize),
            Phase::Accepted(_) | Phase::InProgress(_) | Phase::Deferred(..) => {
                self.accepted().map(|accepted| &accepted.resize)
            }
        }
    }

    /// The resize under way, if the API server has accepted it.
    pub(super) fn accepted(&self) -> Option<&Accepted> {
        match self {
            Phase::Accepted(accepted) | Phase::InProgress(accepted) | Phase::Deferred(accepted, _) => {
                Some(accepted)
            }
            _ => None,
        }
    }

    /// The word in statuses.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Planned(_) | Phase::Recording(_) => "planned",
            Phase::Recorded(..) => "recorded",
            Phase::Sent(_) | Phase::Unanswered(_) => "sent",
            Phase::Accepted(_) => "accepted",
            Phase::InProgress(_) => "in_progress",
            Phase::Deferred(..) => "deferred",
        }
    }
}
