//! When a change may be made: cooldowns, holds and the time that a container has been watched.

use std::time::Duration;

use crate::verdict::{Change, Keep, Verdict};

/// What is left of `needed`; absent: enough time has passed, or what it is counted from never happened.
pub(crate) fn remaining(needed: Duration, since: Option<Duration>) -> Option<Duration> {
    needed.checked_sub(since?).filter(|left| !left.is_zero())
}

/// A growth, which may have to wait for its cooldown.
pub(crate) fn growth_after(cooldown: Duration, since_growth: Option<Duration>, growth: Change) -> Verdict {
    match remaining(cooldown, since_growth) {
        Some(left) => Verdict::Cooldown { growth, left },
        None => Verdict::Grow(growth),
    }
}

/// The times that must have passed before a shrink, each with the time needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) window: (Duration, Duration),
    pub(crate) pressure: (Option<Duration>, Duration),
    pub(crate) growth: (Option<Duration>, Duration),
    pub(crate) shrink: (Option<Duration>, Duration),
}

impl Quiet {
    /// # Errors
    /// What must pass yet.
    pub(crate) fn check(self) -> Result<(), Keep> {
        let Quiet { window: (window, needed), .. } = self;
        if let Some(left) = remaining(needed, Some(window)) {
            return Err(Keep::Window(left));
        }
        let holds = [self.pressure, self.growth, self.shrink];
        match holds.into_iter().filter_map(|(since, needed)| remaining(needed, since)).max() {
            Some(left) => Err(Keep::Hold(left)),
            None => Ok(()),
        }
    }
}
