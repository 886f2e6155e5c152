//! One node: when its agent was heard, and which pods are bound to it.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::PodName;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::roster::{Refused, RefusedReason};
use plimsoll_contract::status::NodeState;

use crate::settings::Settings;

const REASONS: [RefusedReason; 3] =
    [RefusedReason::UnknownPod, RefusedReason::ForeignPod, RefusedReason::BadValue];

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Whether the API server knows it; a node may also be known only because pods are bound to it.
    pub(crate) listed: bool,
    /// When it was first seen by this replica.
    pub(crate) first_seen: Duration,
    /// When the last report was taken in.
    pub(crate) heard: Option<Duration>,
    /// When its pods are next looked through for loads that nobody confirmed.
    pub(crate) sweep_at: Duration,
    /// Sequence number of the last report.
    pub(crate) seq: Option<u64>,
    /// Its boot id.
    pub(crate) boot: Option<String>,
    /// What it has.
    pub(crate) capacity: Option<Capacity>,
    /// The pods bound to it.
    pub(crate) pods: BTreeSet<PodName>,
    /// How it stands, as last said.
    pub(crate) state: NodeState,
    /// Whether its silence would change anything: it was heard, or its pods carried bands when it fell silent. A node that
    /// never ran an agent has nothing to lose, and must not open the breaker.
    pub(crate) at_stake: bool,
    /// Pods of the last report that were not taken in.
    pub(crate) refused: Vec<Refused>,
    /// How many pods of the last full report were not taken in, by reason.
    pub(crate) told: [usize; REASONS.len()],
    /// When it reported other nodes' pods.
    pub(crate) foreign: Vec<Duration>,
    /// Until when its reports are refused.
    pub(crate) quarantined: Duration,
    /// The newest roster version of its pods.
    pub(crate) roster_newest: u64,
}

impl Node {
    /// A node first seen now.
    pub(crate) fn new(now: Duration, listed: bool) -> Node {
        Node {
            listed,
            first_seen: now,
            heard: None,
            sweep_at: Duration::MAX,
            seq: None,
            boot: None,
            capacity: None,
            pods: BTreeSet::new(),
            state: NodeState::Reporting,
            at_stake: false,
            refused: Vec::new(),
            told: [0; REASONS.len()],
            foreign: Vec::new(),
            quarantined: Duration::ZERO,
            roster_newest: 0,
        }
    }

    /// How it stands now: counted from the later of its last report and when it was first seen.
    pub(crate) fn state_at(&self, now: Duration, settings: &Settings) -> NodeState {
        let quiet = now.saturating_sub(self.heard.unwrap_or_default().max(self.first_seen));
        match quiet {
            q if q >= settings.silent_after => NodeState::Silent,
            q if q >= settings.late_after => NodeState::Late,
            _ => NodeState::Reporting,
        }
    }

    /// How many pods of the last report were not taken in for this reason.
    pub(crate) fn refused_for(&self, reason: RefusedReason) -> usize {
        self.refused.iter().filter(|r| r.reason == reason).count()
    }

    /// The reasons for which a full report was refused another number of pods than the last one, none aside.
    pub(crate) fn newly_refused(&mut self) -> Vec<(RefusedReason, usize)> {
        let counts = REASONS.map(|reason| self.refused_for(reason));
        let before = std::mem::replace(&mut self.told, counts);
        let all = REASONS.into_iter().zip(counts).zip(before);
        all.filter(|((_, count), before)| count != before && *count > 0).map(|(news, _)| news).collect()
    }

    /// Counts a report that named other nodes' pods; whether that was one too many.
    pub(crate) fn blame(&mut self, now: Duration, settings: &Settings) -> bool {
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
