//! Sizes the modeled container by its class, second by second.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::time::Duration;

use super::Container;
use crate::cpu::{self, CpuInput};
use crate::policy::Policy;
use crate::size::SizeBounds;
use crate::verdict::{Change, Trigger, Verdict};

/// How long it is remembered what a growth was for: as long as the peak.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Decides, and remembers when it did what.
#[derive(Debug, Clone)]
pub struct Controller<P> {
    class: P,
    bounds: SizeBounds,
    last_growth: Option<Duration>,
    last_shrink: Option<Duration>,
    last_pressure: Option<Duration>,
    /// The growths of the last 24 h.
    growths: VecDeque<(Duration, Change)>,
}

impl<P: Borrow<Policy>> Controller<P> {
    /// Of a class, for a container that is kept within these bounds.
    pub fn new(class: P, bounds: SizeBounds) -> Self {
        Self {
            class,
            bounds,
            last_growth: None,
            last_shrink: None,
            last_pressure: None,
            growths: VecDeque::new(),
        }
    }

    /// The class that it decides by.
    pub fn class(&self) -> &Policy {
        self.class.borrow()
    }

    /// Decides for the container as it is now; call it once a second. Applying the change is up to the caller.
    pub fn decide(&mut self, container: &Container) -> Verdict {
        let now = container.window();
        let usage = container.usage();
        self.growths.retain(|(then, _)| now.saturating_sub(*then) <= REMEMBERED);
        let since = |then: Option<Duration>| then.map(|then| now.saturating_sub(then));
        let is_throttled = |growth: &&(Duration, Change)| matches!(growth.1.trigger, Trigger::Throttled(_));
        let throttled = self.growths.iter().filter(is_throttled);
        let class = self.class.borrow();
        let input = CpuInput {
            policy: &class.cpu,
            up_cooldown: class.up_cooldown,
            down_hold: class.down_hold,
            size: container.size(),
            bounds: self.bounds,
            request_kept: false,
            usage: &usage,
            window: Some(now),
            since_growth: since(self.last_growth),
            since_shrink: since(self.last_shrink),
            grown_for: self.growths.iter().map(|(_, growth)| growth.usage).max(),
            throttled_to: throttled.filter_map(|(_, growth)| growth.to.limit).max(),
            since_pressure: since(self.last_pressure),
        };
        let verdict = cpu::decide(&input);
        if cpu::calls_for_growth(&input).is_some() {
            self.last_pressure = Some(now);
        }
        match verdict {
            Verdict::Grow(change) => {
                self.last_growth = Some(now);
                self.growths.push_back((now, change));
            }
            Verdict::Shrink(_) => self.last_shrink = Some(now),
            Verdict::Keep(_) | Verdict::Cooldown { .. } => {}
        }
        verdict
    }
}
