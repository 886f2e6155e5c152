//! Joining a report to the pods of its node. Refuses, pod by pod, what the API server does not know, what is bound to
//! another node, and numbers that cannot be; the rest is taken.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_contract::report::{PodReport, UnknownReason};
use plimsoll_contract::roster::{Refused, RefusedReason};
use plimsoll_contract::{NodeName, PodName, Report};

use super::pod::Load;
use super::{Node, View};
use crate::core::Refusal;
use crate::marks::carried;
use crate::settings::Settings;

/// What a report did.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Pods in which one known band followed another.
    pub(crate) changed: Vec<PodName>,
    /// Pods that were not taken in.
    pub(crate) refused: Vec<Refused>,
}

impl View {
    /// Whether a report would be taken in now.
    pub(crate) fn admit(&self, now: Duration, report: &Report) -> Result<(), Refusal> {
        if !self.synced() {
            return Err(Refusal::NotSynced);
        }
        let node = self.nodes.get(&report.node).filter(|node| node.listed);
        let Some(node) = node else {
            return Err(Refusal::UnknownNode(report.node.clone()));
        };
        if node.quarantined > now {
            return Err(Refusal::Quarantined(report.node.clone()));
        }
        match node.seq {
            Some(have) if report.seq <= have => Err(Refusal::OldSequence { got: report.seq, have }),
            _ => Ok(report.check_frame()?),
        }
    }

    /// Takes in a report that was admitted.
    pub(crate) fn take_report(&mut self, now: Duration, report: &Report, settings: &Settings) -> Intake {
        let mut intake = Intake::default();
        let mut named = BTreeSet::new();
        for load in &report.pods {
            match self.join(report, load) {
                Ok(name) => {
                    self.take_load(now, &name, load, &mut intake);
                    named.insert(name);
                }
                Err(reason) => intake.refused.push(Refused { uid: load.uid.clone(), reason }),
            }
        }
        self.lose_refused(now, &report.node, &mut named, &intake.refused);
        if report.full {
            self.lose_absent(now, &report.node, &named);
        }
        self.heard(now, report, settings);
        intake
    }

    fn join(&self, report: &Report, load: &PodReport) -> Result<PodName, RefusedReason> {
        let name = self.by_cgroup.get(&load.uid).ok_or(RefusedReason::UnknownPod)?;
        let pod = self.pods.get(name).ok_or(RefusedReason::UnknownPod)?;
        if pod.facts.node.as_ref() != Some(&report.node) {
            return Err(RefusedReason::ForeignPod);
        }
        load.check(&report.capacity).map_err(|_| RefusedReason::BadValue)?;
        Ok(name.clone())
    }

    fn take_load(&mut self, now: Duration, name: &PodName, load: &PodReport, intake: &mut Intake) {
        let output = self.output;
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        let (cpu, memory) = Load::of(load);
        let announced = carried(&pod.facts, output);
        let turn = pod.take(now, cpu, memory, &announced);
        pod.confirmed = now;
        if turn.changed_band {
            intake.changed.push(name.clone());
        }
        if turn.decides {
            self.dirty.insert(name.clone());
        }
        self.touch(name);
    }

    /// A pod whose numbers cannot be is there, but nothing is known of it.
    fn lose_refused(
        &mut self,
        now: Duration,
        node: &NodeName,
        named: &mut BTreeSet<PodName>,
        refused: &[Refused],
    ) {
        for refused in refused.iter().filter(|r| r.reason == RefusedReason::BadValue) {
            let Some(name) = self.by_cgroup.get(&refused.uid).cloned() else {
                continue;
            };
            debug_assert!(self.nodes.get(node).is_some_and(|n| n.pods.contains(&name)));
            self.lose(now, now, &name, Some(UnknownReason::Malformed));
            named.insert(name);
        }
    }

    fn lose_absent(&mut self, now: Duration, node: &NodeName, named: &BTreeSet<PodName>) {
        let Some(node) = self.nodes.get(node) else { return };
        let absent: Vec<PodName> = node.pods.difference(named).cloned().collect();
        for name in absent {
            self.lose(now, now, &name, Some(UnknownReason::Absent));
        }
    }

    fn heard(&mut self, now: Duration, report: &Report, settings: &Settings) {
        let Some(node) = self.nodes.get_mut(&report.node) else {
            return;
        };
        node.heard = Some(now);
        node.at_stake = true;
        node.seq = Some(report.seq);
        node.boot = Some(report.boot.clone());
        node.capacity = Some(report.capacity);
        let next = now + settings.silent_after;
        node.sweep_at = if report.full { next } else { node.sweep_at.min(next) };
    }

    /// Forgets a pod's load; it counts as unknown since `since`.
    pub(super) fn lose(
        &mut self,
        now: Duration,
        since: Duration,
        name: &PodName,
        why: Option<UnknownReason>,
    ) {
        let Some(pod) = self.pods.get_mut(name) else {
            return;
        };
        if pod.lose(now, since, why) {
            self.dirty.insert(name.clone());
            self.touch(name);
        }
    }

    /// Looks through a node's pods for loads that nobody confirmed: all once the node is silent, otherwise those that
    /// its reports left out for longer still.
    pub(crate) fn sweep(&mut self, now: Duration, node: &NodeName, silent: bool, settings: &Settings) {
        let Some(entry) = self.nodes.get(node) else { return };
        let patience = settings.silent_after + settings.late_after;
        let heard = entry.heard.unwrap_or_default().max(entry.first_seen);
        let known = entry.pods.iter().filter_map(|name| Some((name, self.pods.get(name)?)));
        let known: Vec<_> = known
            .filter(|(_, p)| p.any_known())
            .map(|(name, p)| (name.clone(), p.confirmed + patience))
            .collect();
        let stake = silent && !entry.at_stake && self.carries_bands(entry);
        if silent {
            self.dirty.extend(entry.pods.iter().cloned());
        }
        let (stale, fresh): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, end)| silent || *end <= now);
        for (name, _) in stale {
            self.lose(now, now.saturating_sub(settings.silent_after), &name, None);
        }
        let next = fresh.into_iter().map(|(_, end)| end.min(heard + settings.silent_after)).min();
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.at_stake |= stake;
            entry.sweep_at = next.map_or(Duration::MAX, |next| next.max(now + Duration::from_secs(1)));
        }
    }

    fn carries_bands(&self, node: &Node) -> bool {
        let mut pods = node.pods.iter().filter_map(|name| self.pods.get(name));
        pods.any(|pod| carried(&pod.facts, self.output).known())
    }
}
