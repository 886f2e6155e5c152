//! Points in time that decisions are made from.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time on a clock that never steps, as the time since that clock's start: since boot in the agent, since the start of the
/// process in the aggregator. Moments of different processes have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub Duration);

impl Moment {
    /// A time that never comes.
    pub const NEVER: Moment = Moment(Duration::MAX);

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// As much earlier; not before the clock's start.
    #[must_use]
    pub fn earlier_by(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(time))
    }
}

/// Saturates at [`Moment::NEVER`].
impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}
