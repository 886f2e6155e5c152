//! What was decided about one resource of one container, and why.

use std::time::Duration;

use crate::size::Size;

mod words;
pub use words::time;

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Nothing changes.
    Keep(Keep),
    /// It grows.
    Grow(Change),
    /// It is to grow, or may have to, and grew too recently.
    Cooldown {
        /// The growth as it would be made now.
        growth: Change,
        /// Time until it may be made, if it is needed then.
        left: Duration,
    },
    /// It shrinks.
    Shrink(Change),
}

/// A change of size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The new size; what is not set stays unset.
    pub to: Size,
    /// What called for it.
    pub trigger: Trigger,
    /// The use that the new size is for, in millicores or bytes.
    pub usage: u64,
}

/// What called for a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trigger {
    /// Throttled in this share of the periods.
    Throttled(f64),
    /// Utilization of the basis over 3 s.
    Utilization(f64),
    /// CPU pressure without throttling: the node limits it; percent.
    NodePressure(f64),
    /// The request is less than what is used.
    RequestBelowUse,
    /// Hits of the memory limit.
    MemoryMax(u64),
    /// Processes killed for memory.
    OomKill(u64),
    /// Unreclaimable memory over the limit.
    NearLimit(f64),
    /// Seconds until the limit is reached, if memory grows on.
    Trend(f64),
    /// Memory pressure, percent.
    MemoryPressure(f64),
    /// It grew a moment ago, and whether that is enough is not measured yet.
    NotMeasuredYet,
    /// Nothing called for growth for the class's hold.
    Idle,
}

/// Why nothing changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// It fits.
    Fits,
    /// The node is too busy to give it more CPU, and its request, which equals its limit, is not raised alone.
    NodeBusy,
    /// The agent has no number yet that the decision needs.
    NoData,
    /// Something called for growth, or it grew or shrank, too recently for a shrink; the time that is left.
    Hold(Duration),
    /// It has not been watched for long enough for a shrink; the time that is left.
    Window(Duration),
    /// The change would be below 5 %.
    TooSmall,
    /// It needs more, and is at its maximum.
    AtMaximum,
    /// It could shrink, and is at its minimum.
    AtMinimum,
    /// The class does not allow this direction.
    NotAllowed,
    /// The request or limit to change is not set.
    NotSet,
}
