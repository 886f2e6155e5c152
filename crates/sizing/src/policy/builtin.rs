//! The classes that ship, as their manifests say it; for tests, the demo and replay.

use std::time::Duration;

use super::{Bound, ControlledValues, Mode, Policy, ResourcePolicy};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl Policy {
    /// `gold`, `silver` or `bronze`, or by their aliases `premium`, `advanced` and `besteffort`; none for another name.
    pub fn builtin(name: &str) -> Option<Self> {
        match name {
            "gold" | "premium" => Some(gold()),
            "silver" | "advanced" => Some(silver()),
            "bronze" | "besteffort" => Some(bronze()),
            _ => None,
        }
    }
}

fn gold() -> Policy {
    Policy {
        class: "gold".into(),
        rank: 0,
        weight: 4.0,
        mode: Mode::Apply,
        cpu: cpu(0.40, 0.60, 1.0, Bound::OfOriginal(100)),
        memory: memory(0.70, 0.80, 1.0, Bound::OfOriginal(100), Bound::OfOriginal(400)),
        up_cooldown: Duration::from_secs(10),
        down_hold: Duration::from_secs(60 * MINUTE),
        memory_window: Duration::from_secs(24 * HOUR),
        allow_restart: false,
        schedule: Vec::new(),
    }
}

fn silver() -> Policy {
    Policy {
        class: "silver".into(),
        rank: 1,
        weight: 2.0,
        mode: Mode::Apply,
        cpu: cpu(0.50, 0.75, 1.0, Bound::OfOriginal(50)),
        memory: memory(0.80, 0.90, 1.0, Bound::OfOriginal(50), Bound::OfOriginal(300)),
        up_cooldown: Duration::from_secs(20),
        down_hold: Duration::from_secs(20 * MINUTE),
        memory_window: Duration::from_secs(6 * HOUR),
        allow_restart: false,
        schedule: Vec::new(),
    }
}

fn bronze() -> Policy {
    Policy {
        class: "bronze".into(),
        rank: 2,
        weight: 1.0,
        mode: Mode::Apply,
        cpu: cpu(0.60, 0.90, 0.5, Bound::Amount(10)),
        memory: memory(0.85, 0.95, 0.5, Bound::Amount(16 << 20), Bound::OfOriginal(200)),
        up_cooldown: Duration::from_secs(MINUTE),
        down_hold: Duration::from_secs(5 * MINUTE),
        memory_window: Duration::from_secs(6 * HOUR),
        allow_restart: false,
        schedule: Vec::new(),
    }
}

/// A percentage of a wrong original is no upper bound for CPU (100m declared, 500m used): the node is.
fn cpu(target_of_limit: f64, target_of_request: f64, max_step: f64, min_allowed: Bound) -> ResourcePolicy {
    ResourcePolicy {
        target_of_limit,
        target_of_request,
        max_step,
        min_allowed,
        max_allowed: None,
        controlled_values: ControlledValues::RequestsAndLimits,
        allow_increase: true,
        allow_decrease: true,
    }
}

/// Bounded, so that a leak stops; not decreased, because that can kill.
fn memory(
    target_of_limit: f64,
    target_of_request: f64,
    max_step: f64,
    min_allowed: Bound,
    max_allowed: Bound,
) -> ResourcePolicy {
    ResourcePolicy {
        max_allowed: Some(max_allowed),
        allow_decrease: false,
        ..cpu(target_of_limit, target_of_request, max_step, min_allowed)
    }
}
