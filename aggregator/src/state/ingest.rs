//! Accepting a report: which reports are rejected as a whole, and joining the others to the pods of their node. Single pods are
//! rejected if the API server does not know them, if they are bound to another node, or if their numbers are impossible.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::rejection::{PodRejection, RejectedPod};
use plimsoll_contract::report::PodReport;
use plimsoll_contract::{Moment, NodeName, PodName, Report};

use super::sequence::OutOfOrder;
use super::{Node, Sender, State};
use crate::input::Now;
use crate::labels::PodLabels;
use crate::rejection::Rejection;
use crate::settings::Settings;

impl State {
    /// Whether a report is accepted from this agent's pod.
    pub(crate) fn admit(
        &self,
        now: Now,
        agent: &str,
        report: &Report,
        settings: &Settings,
    ) -> Result<(), Rejection> {
        if !self.synced() {
            return Err(Rejection::NotSynced);
        }
        let node = self.nodes.get(&report.node).filter(|node| node.facts.is_some());
        let Some(node) = node else {
            return Err(Rejection::UnknownNode(report.node.clone()));
        };
        if node.quarantined > now.at {
            return Err(Rejection::Quarantined(report.node.clone()));
        }
        report.check_frame()?;
        let (clock, ahead) = (milliseconds(now.wall), settings.ahead_at_most);
        let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        let in_order = node.sequence.check(&sender(agent, report), report.seq, clock, ahead_ms);
        in_order.map_err(|problem| match problem {
            OutOfOrder::Old { newest } => {
                Rejection::OldSequence { node: report.node.clone(), got: report.seq, have: newest }
            }
            OutOfOrder::Ahead { continue_from } => Rejection::SequenceAhead {
                node: report.node.clone(),
                got: report.seq,
                hours: ahead.as_secs() / 3600,
                continue_from,
            },
        })
    }

    /// Applies a report that was admitted. A pod that it names with impossible numbers, and one that a full report does not name,
    /// has no known load. The pods that were rejected are in [`Node::rejected`].
    pub(crate) fn ingest(&mut self, now: Moment, agent: &str, report: &Report, settings: &Settings) {
        let mut named = BTreeSet::new();
        let mut malformed = Vec::new();
        let mut rejected = Vec::new();
        for pod in &report.pods {
            let mut reject = |reason| rejected.push(RejectedPod { uid: pod.uid.clone(), reason });
            match self.find(&report.node, pod) {
                Err(reason) => reject(reason),
                Ok(name) => {
                    if pod.check(&report.capacity).is_ok() {
                        self.apply_load(now, &name, pod);
                    } else {
                        reject(PodRejection::BadValue);
                        malformed.push(name.clone());
                    }
                    named.insert(name);
                }
            }
        }
        for name in malformed {
            self.lose_load(now, now, &name, Some(UnknownReason::Malformed));
        }
        if report.full
            && let Some(node) = self.nodes.get(&report.node)
        {
            let absent: Vec<PodName> = node.pods.difference(&named).cloned().collect();
            for name in absent {
                self.lose_load(now, now, &name, Some(UnknownReason::Absent));
            }
        }
        self.machines.observe(&report.node, &report.boot);
        if let Some(node) = self.nodes.get_mut(&report.node) {
            node.reported = Some(now);
            node.has_labels_to_lose = true;
            node.sequence.advance(sender(agent, report), report.seq);
            node.capacity = Some(report.capacity);
            node.rejected = rejected;
            let next = now + settings.silent_after;
            node.check_at = if report.full { next } else { node.check_at.min(next) };
        }
    }

    /// The pod of this node that a part of its report is about. Only an API uid that is bound to another node is held against the node: it
    /// is unique, and nobody chooses it.
    fn find(&mut self, node: &NodeName, report: &PodReport) -> Result<PodName, PodRejection> {
        let Some(name) = self.by_uid.get(&report.uid) else {
            return self.find_static_pod(node, report);
        };
        let known = self.pods.get(name).ok_or(PodRejection::UnknownPod)?;
        match &known.facts.node {
            Some(bound_to) if bound_to == node => Ok(name.clone()),
            Some(_) => Err(PodRejection::ForeignPod),
            // The watch is behind: it has not shown yet where the pod runs.
            None => Err(PodRejection::UnknownPod),
        }
    }

    fn apply_load(&mut self, now: Moment, name: &PodName, report: &PodReport) {
        let Some(pod) = self.pods.get_mut(name) else { return };
        if pod.apply_report(now, report) {
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

fn sender(agent: &str, report: &Report) -> Sender {
    Sender { pod: agent.to_owned(), boot: report.boot.clone() }
}

/// Since the epoch, as the agents' sequence numbers start.
fn milliseconds(wall: Timestamp) -> u64 {
    u64::try_from(wall.as_millisecond()).unwrap_or(0)
}
