//! Decisions as people read them.

use std::fmt;
use std::time::Duration;

use plimsoll_contract::Bytes;
use plimsoll_contract::band::Resource;

use super::{Change, Keep, Trigger};
use crate::size::Size;

#[cfg(test)]
mod tests;

impl Change {
    /// What changes, for a container of the size `from`: `+390m (500->890)`; where request and limit change by different amounts,
    /// `limit +390m (500->890), request +100m (250->350)`.
    pub fn words(&self, from: Size, resource: Resource) -> impl fmt::Display + use<> {
        let value = |from: Option<u64>, to: Option<u64>| {
            from.zip(to).filter(|(from, to)| from != to).map(|(from, to)| ValueChange { resource, from, to })
        };
        SizeChange {
            from,
            limit: value(from.limit, self.to.limit),
            request: value(from.request, self.to.request),
        }
    }
}

struct SizeChange {
    from: Size,
    limit: Option<ValueChange>,
    request: Option<ValueChange>,
}

impl fmt::Display for SizeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.limit, self.request) {
            (Some(limit), Some(request)) if limit == request => limit.fmt(f),
            (Some(limit), Some(request)) => write!(f, "limit {limit}, request {request}"),
            (Some(limit), None) if self.from.request.is_some() => write!(f, "limit {limit}"),
            (None, Some(request)) if self.from.limit.is_some() => write!(f, "request {request}"),
            (Some(one), None) | (None, Some(one)) => one.fmt(f),
            (None, None) => f.write_str("no change"),
        }
    }
}

/// A change of one value: `+390m (500->890)`, `-128Mi (640Mi->512Mi)`.
#[derive(Clone, Copy, PartialEq)]
struct ValueChange {
    resource: Resource,
    from: u64,
    to: u64,
}

impl fmt::Display for ValueChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValueChange { resource, from, to } = *self;
        let (sign, by) = (if to < from { '-' } else { '+' }, from.abs_diff(to));
        match resource {
            Resource::Cpu => write!(f, "{sign}{by}m ({from}->{to})"),
            Resource::Memory => write!(f, "{sign}{} ({}->{})", Bytes(by), Bytes(from), Bytes(to)),
        }
    }
}

/// As what people look for in a decision: `throttled in 40 % of the periods`.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Throttled(share) => write!(f, "throttled in {:.0} % of the periods", share * 100.0),
            Trigger::Utilization(of) => write!(f, "utilization {:.0} % over 3 s", of * 100.0),
            Trigger::NodePressure(percent) => {
                write!(f, "CPU pressure {percent:.0} % without throttling: the node is busy")
            }
            Trigger::RequestBelowUse => f.write_str("the request is less than what is used"),
            Trigger::MemoryMax(hits) => write!(f, "reached the memory limit {hits} times"),
            Trigger::OomKill(kills) => write!(f, "{kills} processes killed for memory"),
            Trigger::NearLimit(of) => write!(f, "memory at {:.0} % of the limit for 2 s", of * 100.0),
            Trigger::Trend(seconds) => write!(f, "memory reaches the limit in {seconds:.0} s"),
            Trigger::MemoryPressure(percent) => write!(f, "memory pressure {percent:.0} %"),
            Trigger::NotMeasuredYet => f.write_str("it grew, and is not measured yet since"),
            Trigger::Idle => f.write_str("nothing called for growth for the hold of the class"),
        }
    }
}

/// As the answer to "why does nothing change?"; times that are left rounded up.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Fits => f.write_str("the size fits the load"),
            Keep::NodeBusy => f.write_str(
                "the node is busy: a higher limit would give nothing, and a request that equals its limit is not raised alone",
            ),
            Keep::NoData => f.write_str("the agent has no number yet that the decision needs"),
            Keep::Hold(left) => {
                write!(
                    f,
                    "could shrink, but needed more or changed too recently: may shrink in {}",
                    time(*left)
                )
            }
            Keep::Window(left) => {
                write!(f, "could shrink, but is not known for long enough: may shrink in {}", time(*left))
            }
            Keep::TooSmall => f.write_str("the change would be less than 5 %"),
            Keep::AtMaximum => f.write_str("needs more, but is at its maximum"),
            Keep::AtMinimum => f.write_str("could shrink, but is at its minimum"),
            Keep::NotAllowed => f.write_str("the class does not allow this change"),
            Keep::NotSet => {
                f.write_str("neither request nor limit is set, and a resize must not set them (QoS class)")
            }
        }
    }
}

/// Time that is left, rounded up: `5 s`, `59 min`, `24 h`.
pub fn time(left: Duration) -> String {
    let seconds = left.as_millis().div_ceil(1000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
