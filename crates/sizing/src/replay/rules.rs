//! Ours, static at peak, and usage / target.

use super::{Rule, Setup, Trace, whole_steps};
use crate::model::{Container, Controller};
use crate::policy::Policy;
use crate::size::Size;
use crate::verdict::Verdict;

/// A class of ours: the functions that the aggregator calls, once a second.
#[derive(Debug)]
pub struct Ours<'a> {
    class: &'a str,
    original: Size,
    controller: Controller<&'a Policy>,
}

impl<'a> Ours<'a> {
    /// By this class.
    pub fn new(class: &'a Policy, setup: &Setup) -> Self {
        let node = (setup.node_cpus * 1000.0) as u64;
        let bounds = class.cpu.bounds(setup.original, setup.original, Some(node));
        Self { class: &class.class, original: setup.original, controller: Controller::new(class, bounds) }
    }
}

impl Rule for Ours<'_> {
    fn name(&self) -> String {
        format!("Plimsoll, {}", self.class)
    }

    fn first_size(&self) -> Size {
        self.original
    }

    fn decide(&mut self, container: &Container) -> Option<Size> {
        match self.controller.decide(container) {
            Verdict::Grow(change) | Verdict::Shrink(change) => Some(change.to),
            Verdict::Keep(_) | Verdict::Cooldown { .. } => None,
        }
    }
}

/// Request and limit at the peak of the whole trace, which nobody knows beforehand: the least that is never throttled and never changes.
#[derive(Debug)]
pub struct StaticAtPeak(Size);

impl StaticAtPeak {
    /// For this trace.
    pub fn new(trace: &Trace) -> Self {
        let peak = Some(whole_steps(trace.peak()));
        Self(Size { request: peak, limit: peak })
    }
}

impl Rule for StaticAtPeak {
    fn name(&self) -> String {
        "static at peak".into()
    }

    fn first_size(&self) -> Size {
        self.0
    }

    fn decide(&mut self, _: &Container) -> Option<Size> {
        None
    }
}

/// The mean of the last minute over the targets of a class, every minute. What a horizontal autoscaler does with replicas.
#[derive(Debug)]
pub struct UsageOverTarget<'a> {
    class: &'a Policy,
    headroom: f64,
    original: Size,
    minute: Minute,
}

impl<'a> UsageOverTarget<'a> {
    /// With the targets of this class.
    pub fn new(class: &'a Policy, setup: &Setup) -> Self {
        Self { class, headroom: 1.0, original: setup.original, minute: Minute::default() }
    }

    /// The same with sizes so many times as large.
    pub fn with_headroom(self, headroom: f64) -> Self {
        Self { headroom, ..self }
    }
}

impl Rule for UsageOverTarget<'_> {
    fn name(&self) -> String {
        "usage / target".into()
    }

    fn first_size(&self) -> Size {
        self.original
    }

    fn decide(&mut self, container: &Container) -> Option<Size> {
        let mean = self.minute.mean(container)?;
        let size = |target: f64| Some(whole_steps(mean * self.headroom / target));
        Some(Size {
            request: size(self.class.cpu.target_of_request),
            limit: size(self.class.cpu.target_of_limit),
        })
    }
}

/// The mean usage of each whole minute.
#[derive(Debug, Default)]
pub(super) struct Minute {
    used: f64,
}

impl Minute {
    /// In cores; at the end of a minute.
    pub(super) fn mean(&mut self, container: &Container) -> Option<f64> {
        if !container.window().as_secs().is_multiple_of(60) {
            return None;
        }
        let mean = (container.used() - self.used) / 60.0;
        self.used = container.used();
        Some(mean)
    }
}
