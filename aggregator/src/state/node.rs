//! One node: its facts, when its agent last reported, and the pods bound to it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use plimsoll_contract::report::Capacity;
use plimsoll_contract::status::AgentState;
use plimsoll_contract::{Moment, PodName, PodUid};

use super::last_plan::LastPlan;
use super::memory_shrinks::MemoryShrinks;
use super::sequence::Sequence;
use super::static_pods::Claim;
use crate::facts::NodeFacts;
use crate::settings::Settings;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// As the API server lists it; absent while it is known only from pods bound to it.
    pub(crate) facts: Option<NodeFacts>,
    /// When this replica first saw it.
    pub(crate) first_seen: Moment,
    /// When its last report was accepted.
    pub(crate) reported: Option<Moment>,
    /// When its pods are next checked for loads that no report confirmed.
    pub(crate) check_at: Moment,
    /// Which report is the next one.
    pub(crate) sequence: Sequence,
    pub(crate) capacity: Option<Capacity>,
    /// What became of it when memory of its pods was decreased.
    pub(crate) memory_shrinks: MemoryShrinks,
    pub(crate) last_plan: LastPlan,
    /// The pods bound to it.
    pub(crate) pods: BTreeSet<PodName>,
    /// The mirror pods among them, by the config hash in the name of their cgroup.
    pub(crate) static_pods: BTreeMap<PodUid, Claim>,
    /// Whether its agent reports, as last logged.
    pub(crate) agent: AgentState,
    /// Whether an Event said that its agent is silent, and none since that it reports again.
    pub(crate) announced_silent: bool,
    /// Whether its silence would change any label: it reported, or its pods carried bands when it fell silent. A node that never ran
    /// an agent does not count among the silent ones.
    pub(crate) has_labels_to_lose: bool,
    /// Pods of the last report that were rejected.
    pub(crate) rejected: Vec<RejectedPod>,
    /// How many pods of the last full report were rejected, by reason.
    logged_rejections: [usize; PodRejection::ALL.len()],
    /// When it reported other nodes' pods.
    foreign: Vec<Moment>,
    /// Its reports are rejected until then.
    pub(crate) quarantined: Moment,
    /// The newest roster version of its pods.
    pub(crate) roster_newest: u64,
}

impl Node {
    pub(crate) fn new(now: Moment) -> Node {
        Node {
            facts: None,
            first_seen: now,
            reported: None,
            check_at: Moment::NEVER,
            sequence: Sequence::default(),
            capacity: None,
            memory_shrinks: MemoryShrinks::default(),
            last_plan: LastPlan::default(),
            pods: BTreeSet::new(),
            static_pods: BTreeMap::new(),
            agent: AgentState::Reporting,
            announced_silent: false,
            has_labels_to_lose: false,
            rejected: Vec::new(),
            logged_rejections: [0; PodRejection::ALL.len()],
            foreign: Vec::new(),
            quarantined: Moment::default(),
            roster_newest: 0,
        }
    }

    /// Keeps what the API server says, and what was planned from it, and forgets what an agent said: it is seen for the first time.
    pub(super) fn forget_agent(&mut self, now: Moment) {
        let Node { facts, pods, static_pods, roster_newest, check_at, last_plan, .. } =
            std::mem::replace(self, Node::new(now));
        *self = Node { facts, pods, static_pods, roster_newest, check_at, last_plan, ..Node::new(now) };
    }

    /// From when its silence is counted: its last report, or when it was first seen.
    pub(crate) fn silent_since(&self) -> Moment {
        self.reported.unwrap_or_default().max(self.first_seen)
    }

    /// Whether its agent reports at `now`.
    pub(crate) fn agent_at(&self, now: Moment, settings: &Settings) -> AgentState {
        match now.since(self.silent_since()) {
            silence if silence >= settings.silent_after => AgentState::Silent,
            silence if silence >= settings.late_after => AgentState::Late,
            _ => AgentState::Reporting,
        }
    }

    /// How many pods of the last report were rejected for this reason.
    pub(crate) fn rejected_for(&self, reason: PodRejection) -> usize {
        self.rejected.iter().filter(|pod| pod.reason == reason).count()
    }

    /// The reasons for which a full report had another number of rejected pods than the one before, where there are any now.
    pub(crate) fn newly_rejected(&mut self) -> Vec<(PodRejection, usize)> {
        let counts = PodRejection::ALL.map(|reason| self.rejected_for(reason));
        let before = std::mem::replace(&mut self.logged_rejections, counts);
        let all = PodRejection::ALL.into_iter().zip(counts).zip(before);
        all.filter(|((_, count), before)| count != before && *count > 0).map(|(news, _)| news).collect()
    }

    /// Counts a report that named other nodes' pods; whether it was one too many.
    pub(crate) fn count_foreign_report(&mut self, now: Moment, settings: &Settings) -> bool {
        self.foreign.retain(|at| *at + settings.foreign_within > now);
        self.foreign.push(now);
        let too_many = self.foreign.len() >= settings.foreign_reports;
        if too_many {
            self.foreign.clear();
            self.quarantined = now + settings.quarantine;
        }
        too_many
    }
}
