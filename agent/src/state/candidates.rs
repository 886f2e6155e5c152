//! The candidates for the hottest cgroup of a pod: what a sweep says of the usage of each.

use std::time::Duration;

use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::{ContainerId, Moment, Resource};

use super::classification::SweepContext;
use crate::classify::Signal;
use crate::load::{Burst, Denominator, Mean, Smoothed, Window};
use crate::profile::Profile;

/// A pod's own cgroup includes its pause container: with a limit that is the sum of its containers' it is slightly hotter than
/// its only container. It is named the hottest only where its utilization is higher by more than this.
const OWN_CGROUP_MARGIN: f64 = 0.02;

/// Usage of one resource by one cgroup.
#[derive(Debug, Clone)]
pub(super) struct ResourceUsage {
    /// However long ago it was known.
    pub(super) smoothed: Option<Smoothed>,
    /// Why the usage is not known now, if it is not.
    pub(super) unknown: Option<UnknownReason>,
    window: Window,
    /// By threshold.
    bursts: [Burst; 2],
    /// The sample that was added since the last classification: when it ended, its seconds, its usage.
    latest: Option<(Moment, f64, f64)>,
    /// What it was last divided by.
    amount: Option<f64>,
    /// How much of the past is kept.
    keep: Duration,
}

impl Default for ResourceUsage {
    fn default() -> Self {
        ResourceUsage {
            smoothed: None,
            unknown: Some(UnknownReason::WarmingUp),
            window: Window::default(),
            bursts: [Burst::default(); 2],
            latest: None,
            amount: None,
            keep: Duration::ZERO,
        }
    }
}

impl ResourceUsage {
    pub(super) fn add(&mut self, start: Moment, end: Moment, usage: f64, profile: &Profile) {
        match &mut self.smoothed {
            Some(smoothed) => smoothed.add(start, end, usage, profile),
            None => self.smoothed = Some(Smoothed::new(start, end, usage)),
        }
        self.window.add(start, end, usage);
        // a cgroup that is no candidate is not asked for its mean, and must not grow either
        self.window.trim(self.keep.max(profile.window * 2));
        self.latest = Some((end, end.since(start).as_secs_f64(), usage));
        self.unknown = None;
    }

    /// The smoothed usage, while it is known.
    pub(super) fn value(&self) -> Option<f64> {
        self.smoothed.as_ref().filter(|_| self.unknown.is_none()).map(Smoothed::value)
    }

    /// Forgets the past, but not that it is known.
    pub(super) fn restart(&mut self) {
        self.window = Window::default();
        self.bursts = [Burst::default(); 2];
    }

    pub(super) fn continue_from(&mut self, earlier: &ResourceUsage) {
        match (&mut self.smoothed, &earlier.smoothed) {
            (Some(now), Some(before)) => now.continue_from(before),
            (None, before) => self.smoothed = *before,
            (Some(_), None) => {}
        }
        let mut window = earlier.window.clone();
        if let (Some(now), Some(before)) = (self.amount, earlier.amount) {
            window.scale(now / before);
        }
        self.window.continue_from(&window);
        for (burst, earlier) in self.bursts.iter_mut().zip(&earlier.bursts) {
            burst.continue_from(earlier);
        }
        self.amount = self.amount.or(earlier.amount);
    }

    /// What the sweep says of this usage relative to `of`.
    pub(super) fn candidate(
        &mut self,
        of: Result<Denominator, UnknownReason>,
        cgroup: CgroupKind,
        sweep: &ResourceSweep<'_>,
    ) -> Result<Candidate, UnknownReason> {
        if let Some(reason) = self.unknown {
            return Err(reason);
        }
        let of = of?;
        let smoothed = self.smoothed.as_ref().ok_or(UnknownReason::WarmingUp)?;
        if let Some(before) = self.amount.replace(of.amount).filter(|before| *before != of.amount) {
            self.window.scale(of.amount / before);
        }
        self.keep = sweep.window * 2;
        // the first reading of memory covers no time
        let now = Mean { usage: smoothed.value(), seconds: 0.0, complete: false };
        let mean = self.window.mean(sweep.window).unwrap_or(now);
        let latest = self.latest.take();
        let mut bursts = [None; 2];
        for (k, burst) in self.bursts.iter_mut().enumerate() {
            let threshold = sweep.context.profile.thresholds[k];
            bursts[k] = latest.and_then(|(end, seconds, usage)| {
                burst.add(end, seconds, usage / of.amount, threshold, sweep.burst)
            });
        }
        Ok(Candidate {
            container: None,
            usage: smoothed.value(),
            of,
            since: smoothed.since(),
            latest: latest.map_or(0.0, |(_, _, usage)| usage / of.amount),
            signal: Signal {
                mean: mean.usage / of.amount,
                seconds: mean.seconds,
                complete: mean.complete,
                bursts,
                last_bursts: self.bursts.map(|burst| burst.last()),
                settled: cgroup.settled,
                margin: if cgroup.own { OWN_CGROUP_MARGIN } else { 0.0 },
            },
        })
    }
}

#[cfg(test)]
impl ResourceUsage {
    pub(super) fn samples(&self) -> usize {
        self.window.len()
    }
}

/// Of which cgroup a candidate is.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupKind {
    /// The pod's own.
    pub(super) own: bool,
    /// It has run for long enough to support a band.
    pub(super) settled: bool,
}

/// A sweep, for one resource of one pod.
pub(super) struct ResourceSweep<'a> {
    pub(super) context: &'a SweepContext<'a>,
    pub(super) resource: Resource,
    /// Utilization-seconds of a burst, and the window, as long as they are for this pod now.
    pub(super) burst: f64,
    pub(super) window: Duration,
    pub(super) restarting: bool,
}

/// One candidate for the hottest cgroup of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Filled in for the hottest only; absent for the pod's own cgroup.
    pub(crate) container: Option<ContainerId>,
    /// Smoothed usage: cores or bytes.
    pub(crate) usage: f64,
    pub(crate) of: Denominator,
    /// Since when there is data.
    since: Moment,
    /// Utilization of the last sample, not smoothed.
    latest: f64,
    signal: Signal,
}

impl Candidate {
    /// Smoothed usage relative to the basis.
    pub(crate) fn utilization(&self) -> f64 {
        self.usage / self.of.amount
    }
}

/// The candidates for one resource of one pod. One value serves all pods, so that its memory is reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    pub(super) signals: Vec<Signal>,
    /// Which cgroup each signal is of, by its index among the pod's containers (absent for the pod's own), and its basis.
    pub(super) cgroups: Vec<(Option<usize>, Denominator)>,
    /// What the containers that run are relative to, those included that have no cgroup.
    pub(super) bases: Vec<Result<Denominator, UnknownReason>>,
    pub(super) since: Option<Moment>,
    pub(super) hottest: Option<Candidate>,
    hottest_rank: f64,
    pub(super) highest_latest: f64,
    /// Why one of them is unknown, if any is.
    pub(super) missing: Option<UnknownReason>,
}

impl Candidates {
    pub(super) fn clear(&mut self) {
        let Candidates { mut signals, mut cgroups, mut bases, .. } = std::mem::take(self);
        signals.clear();
        cgroups.clear();
        bases.clear();
        *self = Candidates { signals, cgroups, bases, ..Candidates::default() };
    }

    pub(super) fn missing(&mut self, reason: UnknownReason) {
        self.missing = self.missing.or(Some(reason));
    }

    /// Adds a container, with its index, or, without, the pod's own cgroup.
    pub(super) fn add(
        &mut self,
        container: Option<(usize, &ContainerId)>,
        candidate: Result<Candidate, UnknownReason>,
    ) {
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(reason) => return self.missing(reason),
        };
        self.signals.push(candidate.signal);
        self.cgroups.push((container.map(|(index, _)| index), candidate.of));
        // the pod's own cgroup, the last to be added, is older than a container that just started
        let earlier = |since: Moment| if container.is_some() { since.min(candidate.since) } else { since };
        self.since = Some(self.since.map_or(candidate.since, earlier));
        self.highest_latest = self.highest_latest.max(candidate.latest);
        let rank = candidate.utilization() - candidate.signal.margin;
        if self.hottest.is_none() || rank > self.hottest_rank {
            let container = container.map(|(_, id)| id.clone());
            self.hottest = Some(Candidate { container, ..candidate });
            self.hottest_rank = rank;
        }
    }
}
