//! Accepting a report: which reports are rejected as a whole, and joining the others to the pods of their node. Single pods are
//! rejected if the API server does not know them, if they are bound to another node, or if their numbers are impossible.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use plimsoll_contract::report::PodReport;
use plimsoll_contract::{Moment, NodeName, PodName, Report};

use super::{Node, State};
use crate::labels::PodLabels;
use crate::rejection::Rejection;
use crate::settings::Settings;

impl State {
    /// Whether a report is accepted.
    pub(crate) fn admit(&self, now: Moment, report: &Report) -> Result<(), Rejection> {
        if !self.synced() {
            return Err(Rejection::NotSynced);
        }
        let node = self.nodes.get(&report.node).filter(|node| node.facts.is_some());
        let Some(node) = node else {
            return Err(Rejection::UnknownNode(report.node.clone()));
        };
        if node.quarantined > now {
            return Err(Rejection::Quarantined(report.node.clone()));
        }
        match node.seq {
            Some(have) if report.seq <= have => {
                Err(Rejection::OldSequence { node: report.node.clone(), got: report.seq, have })
            }
            _ => Ok(report.check_frame()?),
        }
    }

    /// Applies a report that was admitted. A pod that it names with impossible numbers, and one that a full report does not name,
    /// has no known load. The pods that were rejected are in [`Node::rejected`].
    pub(crate) fn ingest(&mut self, now: Moment, report: &Report, settings: &Settings) {
        let mut named = BTreeSet::new();
        let mut rejected = Vec::new();
        for pod in &report.pods {
            match self.join(report, pod) {
                Ok(name) => {
                    self.apply_load(now, &name, report.version, pod);
                    named.insert(name);
                }
                Err(reason) => rejected.push(RejectedPod { uid: pod.uid.clone(), reason }),
            }
        }
        for pod in rejected.iter().filter(|pod| pod.reason == PodRejection::BadValue) {
            if let Some(name) = self.by_cgroup.get(&pod.uid).cloned() {
                self.lose_load(now, now, &name, Some(UnknownReason::Malformed));
                named.insert(name);
            }
        }
        if report.full
            && let Some(node) = self.nodes.get(&report.node)
        {
            let absent: Vec<PodName> = node.pods.difference(&named).cloned().collect();
            for name in absent {
                self.lose_load(now, now, &name, Some(UnknownReason::Absent));
            }
        }
        if let Some(node) = self.nodes.get_mut(&report.node) {
            node.reported = Some(now);
            node.has_labels_to_lose = true;
            node.seq = Some(report.seq);
            node.boot = Some(report.boot.clone());
            node.capacity = Some(report.capacity);
            node.rejected = rejected;
            let next = now + settings.silent_after;
            node.check_at = if report.full { next } else { node.check_at.min(next) };
        }
    }

    /// The pod of this node that a part of its report is about.
    fn join(&self, report: &Report, pod: &PodReport) -> Result<PodName, PodRejection> {
        let name = self.by_cgroup.get(&pod.uid).ok_or(PodRejection::UnknownPod)?;
        let known = self.pods.get(name).ok_or(PodRejection::UnknownPod)?;
        if known.facts.node.as_ref() != Some(&report.node) {
            return Err(PodRejection::ForeignPod);
        }
        pod.check(&report.capacity).map_err(|_| PodRejection::BadValue)?;
        Ok(name.clone())
    }

    fn apply_load(&mut self, now: Moment, name: &PodName, version: u32, report: &PodReport) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        if pod.apply_report(now, version, report) {
            self.dirty.insert(name.clone());
        }
        self.revision += 1;
    }

    /// Forgets a pod's load; it counts as unknown since `since`.
    pub(super) fn lose_load(
        &mut self,
        now: Moment,
        since: Moment,
        name: &PodName,
        why: Option<UnknownReason>,
    ) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        if pod.lose_load(now, since, why) {
            self.dirty.insert(name.clone());
        }
        self.revision += 1;
    }

    /// Forgets loads of a node's pods that no report confirmed: all once the node is silent, otherwise those that its reports left
    /// out for longer still.
    pub(crate) fn forget_unconfirmed(
        &mut self,
        now: Moment,
        name: &NodeName,
        silent: bool,
        settings: &Settings,
    ) {
        let Some(node) = self.nodes.get(name) else { return };
        let forget_after = settings.silent_after + settings.late_after;
        let silent_at = node.silent_since() + settings.silent_after;
        let loses_labels = silent && !node.has_labels_to_lose && self.carries_bands(node);
        if silent {
            self.dirty.extend(node.pods.iter().cloned());
        }
        let pods = node.pods.iter().filter_map(|name| Some((name, self.pods.get(name)?)));
        let known = pods.filter(|(_, pod)| pod.any_known());
        let (stale, fresh): (Vec<_>, Vec<_>) = known
            .map(|(name, pod)| (name.clone(), pod.confirmed + forget_after))
            .partition(|(_, end)| silent || *end <= now);
        for (name, _) in stale {
            self.lose_load(now, now.earlier_by(settings.silent_after), &name, None);
        }
        let next = fresh.into_iter().map(|(_, end)| end.min(silent_at)).min();
        if let Some(node) = self.nodes.get_mut(name) {
            node.has_labels_to_lose |= loses_labels;
            node.check_at = next.map_or(Moment::NEVER, |next| next.max(now + Duration::from_secs(1)));
        }
    }

    fn carries_bands(&self, node: &Node) -> bool {
        let mut pods = node.pods.iter().filter_map(|name| self.pods.get(name));
        pods.any(|pod| PodLabels::of(&pod.facts, self.output).any_known())
    }
}
