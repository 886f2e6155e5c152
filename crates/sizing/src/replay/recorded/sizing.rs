//! What came of one way of sizing a container.

use serde::Serialize;

use crate::size::Size;

/// What came of one way of sizing a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizing {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The class; absent: as it was recorded.
    pub class: Option<String>,
    /// Seconds that are known of.
    pub seconds: u64,
    /// The requests over time; absent where there was none, or it is not known.
    pub reserved_core_seconds: Option<f64>,
    /// What was used over time.
    pub used_core_seconds: f64,
    /// Seconds in which it was throttled, by the share of their periods.
    pub throttled_seconds: f64,
    /// Changes of its size.
    pub resizes: u64,
    /// Its first size, millicores.
    pub first: Size,
    /// Its last size, millicores.
    pub last: Size,
    /// Used when recorded, and not under this size: it still waited at the end, or when nothing more was known.
    pub backlog_core_seconds: f64,
}

impl Sizing {
    pub(super) fn new(pod: &str, container: &str, class: Option<&str>, size: Size) -> Self {
        Self {
            pod: pod.to_owned(),
            container: container.to_owned(),
            class: class.map(str::to_owned),
            seconds: 0,
            reserved_core_seconds: Some(0.0),
            used_core_seconds: 0.0,
            throttled_seconds: 0.0,
            resizes: 0,
            first: size,
            last: size,
            backlog_core_seconds: 0.0,
        }
    }

    /// Mean of what was reserved less what was used, cores; less than 0 where more was used.
    pub fn slack(&self) -> Option<f64> {
        let seconds = (self.seconds > 0).then_some(self.seconds as f64)?;
        Some((self.reserved_core_seconds? - self.used_core_seconds) / seconds)
    }

    pub(super) fn count(&mut self, size: Size, used: f64, throttled: f64) {
        self.seconds += 1;
        let reserved = size.request.map(|millicores| millicores as f64 / 1000.0);
        self.reserved_core_seconds = self.reserved_core_seconds.zip(reserved).map(|(sum, now)| sum + now);
        self.used_core_seconds += used;
        self.throttled_seconds += throttled;
    }

    pub(super) fn change(&mut self, to: Size) {
        self.resizes += u64::from(self.last != to);
        self.last = to;
    }
}
