//! The life of one resize, from the plan to the kernel. Pure: the watch, the reports, the outcomes and the time are arguments.
//!
//! ```text
//!                                                     condition gone, kernel holds it
//!   Idle -> Planned -> Recorded -> Sent -> Accepted -> InProgress ---------------> Idle (verified)
//!    ^         ^                     |        |            | Error
//!    |         +---------------------+        v            v
//!    |            409, no answer           Deferred ---> Planned (a resize with the purpose Revert) -> ... -> Idle (failed)
//!    +--- refused                        30 s, Infeasible
//! ```
//!
//! Left out: `Recording`, before Recorded, and `Unanswered`, after Sent; both may return to Planned. A resize that is not verified within 120 s
//! ends in Idle (failed), and is put back only if the kubelet tells an error. One of containers that are down waits in Idle for their start.
//! What the kubelet grants before it is put back returns to Accepted.
//!
//! | module | idea |
//! |---|---|
//! | [`phase`] | the states, with what each carries |
//! | [`machine`], [`refusal`], [`rejected`] | plans, records and the API server's answers; what is not asked for again |
//! | [`follow`] | what the watch and the reports say of a resize that was accepted |
//! | [`down`] | resizes of containers that are down, until these start |
//! | [`next`] | the write that is due, and the timeouts |
//! | [`queries`] | what the rest of the aggregator asks, and takes |
//! | [`conditions`], [`verify`] | what the kubelet says of a resize, and what the kernel says |
//! | [`annotations`] | the two annotations: written, and read with tolerance |
//! | [`restored`], [`believed`] | where a resize stands after a takeover, and which recorded sizes are taken for ours |
//! | [`undo`], [`yielding`], [`drift`], [`history`] | harmful shrinks, other writers, other hands in the kernel, what containers went through |

mod annotations;
mod believed;
mod conditions;
mod down;
mod drift;
mod follow;
mod history;
mod machine;
mod next;
mod phase;
mod queries;
mod refusal;
mod rejected;
mod restored;
mod sizes;
#[cfg(test)]
mod tests;
mod undo;
mod verify;
mod yielding;

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::Moment;
use plimsoll_contract::resize::ResizeDecision;
use plimsoll_sizing::size::Sizes;

pub(crate) use annotations::{Original, decision_on, in_quantities, original_on};
pub(crate) use believed::Believed;
pub(crate) use machine::{NotPlanned, PodResize};
pub(crate) use queries::Blocked;
pub(crate) use refusal::ResizeRefusal;
pub(crate) use sizes::{sizes_of, spec_of};
pub(crate) use verify::Seen;

/// A size that is wanted for a pod: by container, only those that change, with all that they are to have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) sizes: BTreeMap<String, Sizes>,
    pub(crate) purpose: Purpose,
    /// Name of the class.
    pub(crate) class: String,
    /// The arithmetic, one line per container and resource.
    pub(crate) why: Vec<String>,
    /// What CPU grows for, by container: until a day later it does not shrink below what that needs.
    pub(crate) growths: BTreeMap<String, CpuGrowth>,
}

/// What the CPU of a container grew for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuGrowth {
    /// The use that the new size is for, in millicores.
    pub(crate) used: u64,
    /// The limit that it grew to because it was throttled, in millicores.
    pub(crate) throttled_to: Option<u64>,
}

impl CpuGrowth {
    /// The larger of each.
    fn larger(self, other: CpuGrowth) -> CpuGrowth {
        CpuGrowth { used: self.used.max(other.used), throttled_to: self.throttled_to.max(other.throttled_to) }
    }
}

/// What a resize is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Purpose {
    /// More is needed.
    Grow,
    /// A new replica starts at the size of its siblings.
    Birth,
    /// A shrink did harm: back to the size before.
    Undo,
    /// The kubelet cannot do what was asked for: back to what it has, or after an error to the size before.
    Revert,
    /// Less is needed.
    Shrink,
}

impl Purpose {
    pub(crate) const ALL: [Purpose; 5] =
        [Purpose::Grow, Purpose::Birth, Purpose::Undo, Purpose::Revert, Purpose::Shrink];

    /// The word in annotations, decisions and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Purpose::Grow => "grow",
            Purpose::Birth => "birth",
            Purpose::Undo => "undo",
            Purpose::Revert => "revert",
            Purpose::Shrink => "shrink",
        }
    }

    fn of(word: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }

    /// Whether it follows from what happened to an earlier resize, and not from a plan: no newer plan replaces it, and no hold keeps it back.
    pub(crate) fn is_way_back(self) -> bool {
        matches!(self, Purpose::Undo | Purpose::Revert)
    }
}

/// What the state machine wants written next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Nothing, until something happens.
    Nothing,
    /// Nothing before then.
    Wait(Moment),
    /// The metadata: the decision, and the original resources where there are none yet.
    Record(Box<Record>),
    /// The resize.
    Send {
        /// By container, the complete sizes to be asked for.
        sizes: BTreeMap<String, Sizes>,
        /// The version that the metadata write returned: the resize is refused if the pod changed since.
        resource_version: String,
    },
}

/// What is written on a pod before it is resized.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) decision: ResizeDecision,
    /// The two annotations, by key: they belong in the complete set of our keys.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Something that happened, and the resize that it happened to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Happened {
    /// That of the resize; absent where it happened to none.
    pub(crate) purpose: Option<Purpose>,
    /// The arithmetic of the resize, where it is told; else empty.
    pub(crate) why: String,
    pub(crate) what: What,
}

/// What happened to a resize.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// The kernel holds the new size, this long after the API server accepted it; absent where another leader sent it.
    Verified { purpose: Purpose, took: Option<Duration> },
    /// The kubelet has set the new size aside for containers that are down: they start with it. Their names.
    SetAside { containers: String },
    /// It does not fit now, says the kubelet.
    Deferred { message: String },
    /// It never fits, says the API server or the kubelet.
    Infeasible { message: String },
    /// It did not come about: what was tried, and the words of who refused it.
    Failed { message: String },
    /// The spec goes back, for this reason.
    PutBack { why: String },
    /// A shrink did harm and is undone: what was seen.
    Undone { seen: String },
    /// Another writer changed the size back: nothing is resized until then.
    Yielded { owner: String, until: Moment },
    /// The kernel's size is not the spec's, and nobody asked for that.
    Drift { text: String },
    /// The pod's own cgroup has a lower limit than its containers together: more for a container changes nothing.
    PodCgroupStale { text: String },
    /// Memory limits cannot be lowered in this cluster (Kubernetes 1.33); the API server's words.
    MemoryLimitsFixed { message: String },
    /// A container needs more than it may ever have; in words.
    AtMaximum { text: String },
    /// A quota or LimitRange of the namespace does not allow it; the API server's words.
    OverQuota { message: String },
}
