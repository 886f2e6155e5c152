//! One container: as it was recorded, and as a class would have sized it.

use plimsoll_contract::Resource;

use super::super::ACTUATION;
use super::sizing::Sizing;
use super::{ContainerSnapshot, Event, HELD};
use crate::model::{Container, Controller, Excess};
use crate::policy::Policy;
use crate::size::Size;
use crate::urgency::{Criteria, Terms, Weights, score};
use crate::verdict::{Change, Verdict};

/// What was measured in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    used: f64,
    throttled: f64,
    /// The mean of so many values.
    values: u32,
}

/// A container while it is followed.
#[derive(Debug)]
pub(super) struct ContainerRun {
    /// Of the second that is being collected.
    collected: Second,
    /// The last second of which something is known, and what.
    held: Option<(u64, Second)>,
    pressure: Option<f64>,
    high: Option<f64>,
    recorded: Sizing,
    as_class: Option<AsClass>,
}

/// The same under a class.
#[derive(Debug)]
struct AsClass {
    container: Container,
    controller: Controller<Policy>,
    original: Size,
    allocatable: Option<u64>,
    under_way: Option<(u64, Size)>,
    /// Whether the pod has the class now.
    is_current: bool,
    came_of_it: Sizing,
}

impl ContainerRun {
    pub(super) fn new(pod: &str, seen: &ContainerSnapshot) -> Self {
        Self {
            collected: Second::default(),
            held: None,
            pressure: None,
            high: None,
            recorded: Sizing::new(pod, &seen.name, None, seen.size),
            as_class: None,
        }
    }

    /// It is seen, in the second that is being collected. `high`: for how many seconds the pod has been in the high band because of it.
    pub(super) fn see(
        &mut self,
        seen: &ContainerSnapshot,
        class: Option<&Policy>,
        allocatable: Option<u64>,
        high: Option<f64>,
    ) {
        self.recorded.change(seen.size);
        (self.pressure, self.high) = (seen.usage.pressure, high);
        // what cannot be sized has no class here
        let class = class.filter(|_| seen.size != Size::default());
        let is_same = self.as_class.as_ref().map(|run| run.controller.class()) == class;
        if let Some(class) = class.filter(|_| !is_same) {
            let begin = || AsClass::new(&self.recorded.pod, seen, class, allocatable);
            let before = self.as_class.take();
            self.as_class = Some(before.map_or_else(begin, |run| run.with_class(class)));
        }
        if let Some(run) = &mut self.as_class {
            run.is_current = class.is_some();
        }
        // a value that is not known is none: the one before holds
        let Some(used) = seen.usage.cores.filter(|cores| cores.0.is_finite() && cores.0 >= 0.0) else {
            return;
        };
        let throttled = seen.usage.throttled.filter(|share| share.is_finite()).unwrap_or(0.0);
        let Second { used: u, throttled: t, values } = &mut self.collected;
        let mean = |mean: f64, value: f64| mean + (value - mean) / f64::from(*values + 1);
        (*u, *t) = (mean(*u, used.0), mean(*t, throttled));
        *values += 1;
    }

    /// The second that was collected ends. What a class decides in it.
    pub(super) fn step(&mut self, second: u64) -> Option<Growth> {
        let collected = std::mem::take(&mut self.collected);
        if collected.values > 0 {
            self.held = Some((second, collected));
        }
        let known =
            self.held.filter(|(since, _)| second.saturating_sub(*since) < HELD).map(|(_, known)| known);
        let Some(Second { used, throttled, .. }) = known else {
            if let Some(run) = self.as_class.as_mut().filter(|run| !run.container.window().is_zero()) {
                run.forget();
            }
            return None;
        };
        self.recorded.count(self.recorded.last, used, throttled);
        let run = self.as_class.as_mut().filter(|run| run.is_current)?;
        let (from, verdict) = run.step(used, throttled, self.recorded.last)?;
        let (change, grows) = match verdict {
            Verdict::Grow(change) => (change, true),
            Verdict::Shrink(change) => (change, false),
            Verdict::Keep(_) | Verdict::Cooldown { .. } => return None,
        };
        let usage = run.container.usage();
        let class = run.controller.class();
        Some(Growth {
            pod: self.recorded.pod.clone(),
            container: self.recorded.container.clone(),
            class: class.class.clone(),
            rank: grows.then_some(class.rank),
            from,
            change,
            criteria: Criteria::cpu(usage.throttled3, usage.utilization3, self.pressure, self.high),
        })
    }

    /// It is gone; one of its name may come.
    pub(super) fn end(&mut self) {
        self.held = None;
        if let Some(run) = &mut self.as_class {
            run.under_way = None;
        }
    }

    /// As it was recorded, and as a class.
    pub(super) fn sizings(self) -> impl Iterator<Item = Sizing> {
        let as_class = self.as_class.map(|mut run| {
            run.came_of_it.backlog_core_seconds += run.container.backlog();
            run.came_of_it
        });
        std::iter::once(self.recorded).chain(as_class)
    }
}

impl AsClass {
    fn new(pod: &str, seen: &ContainerSnapshot, class: &Policy, allocatable: Option<u64>) -> Self {
        Self {
            container: container(seen.size),
            controller: controller(class, seen.original, seen.size, allocatable),
            original: seen.original,
            allocatable,
            under_way: None,
            is_current: true,
            came_of_it: Sizing::new(pod, &seen.name, Some(&class.class), seen.size),
        }
    }

    /// The pod has another class now: it remembers nothing.
    fn with_class(self, class: &Policy) -> Self {
        let size = self.container.size();
        let controller = controller(class, self.original, size, self.allocatable);
        let came_of_it = Sizing { class: Some(class.class.clone()), ..self.came_of_it };
        Self { controller, came_of_it, ..self }
    }

    /// Nothing is known for too long. The size remains.
    fn forget(&mut self) {
        let size = self.under_way.take().map_or(self.container.size(), |(_, to)| to);
        self.came_of_it.backlog_core_seconds += self.container.backlog();
        self.container = container(size);
        self.controller = controller(&self.controller.class().clone(), self.original, size, self.allocatable);
        self.came_of_it.change(size);
    }

    /// One second. What is decided in it, and for which size; nothing while a change is under way.
    fn step(&mut self, used: f64, throttled: f64, recorded: Size) -> Option<(Size, Verdict)> {
        let (before, throttled_before) = (self.container.used(), self.container.throttled_seconds());
        let size = self.container.size();
        // under a larger limit than the recorded one nobody knows
        let is_censored = size.limit.zip(recorded.limit).is_some_and(|(limit, recorded)| limit <= recorded);
        self.container.step_censored(used, if is_censored { throttled } else { 0.0 });
        self.came_of_it.count(
            size,
            self.container.used() - before,
            self.container.throttled_seconds() - throttled_before,
        );
        let now = self.container.window().as_secs();
        if let Some((at, to)) = self.under_way {
            if now < at {
                return None;
            }
            self.under_way = None;
            self.container.resize(to);
            self.came_of_it.change(to);
        }
        let from = self.container.size();
        let verdict = self.controller.decide(&self.container);
        if let Verdict::Grow(change) | Verdict::Shrink(change) = verdict {
            self.under_way = Some((now + ACTUATION, change.to));
        }
        Some((from, verdict))
    }
}

/// What was used was there: the node bounds nothing.
fn container(size: Size) -> Container {
    Container::new(size, f64::INFINITY, Excess::Queued)
}

fn controller(class: &Policy, original: Size, size: Size, allocatable: Option<u64>) -> Controller<Policy> {
    Controller::new(class.clone(), class.cpu.bounds(original, size, allocatable))
}

/// A change that a class decided, most often a growth.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    pub(super) pod: String,
    pub(super) container: String,
    class: String,
    rank: Option<u32>,
    from: Size,
    change: Change,
    pub(super) criteria: Criteria,
}

impl Growth {
    /// Of its class, where it is a growth: lower is served first.
    pub(super) fn rank(&self) -> Option<u32> {
        self.rank
    }

    pub(super) fn event(&self, at: u64, weights: &Weights) -> Event {
        let Change { to, trigger, .. } = self.change;
        let words = self.change.words(self.from, Resource::Cpu);
        let urgency = match self.rank {
            Some(_) => {
                format!(
                    "U {:.2} {}, {trigger}",
                    score(&self.criteria, weights),
                    Terms(&self.criteria, weights)
                )
            }
            None => trigger.to_string(),
        };
        let why = format!("{} {words}: {urgency}, {}", self.container, self.class);
        let (pod, container) = (self.pod.clone(), self.container.clone());
        Event::Decision { at, pod, container, from: self.from, to, why }
    }
}
