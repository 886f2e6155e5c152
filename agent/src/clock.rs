//! The machine's boot-time and monotonic clocks, and sleeping until a deadline.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use plimsoll_contract::Moment;

/// The time on the boot-time clock, which continues while the machine sleeps and never steps.
pub fn now() -> Moment {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Deadlines one period apart. Missed ones are skipped: after a stall there is one sweep, not a burst of them.
#[derive(Debug)]
pub struct Ticks {
    period: Duration,
    next: Duration,
}

impl Ticks {
    /// The first deadline is now.
    pub fn every(period: Duration) -> Ticks {
        Ticks { period, next: read(ClockId::CLOCK_MONOTONIC).0 }
    }

    /// Sleeps until the next deadline. It is an absolute time, so that the work between two deadlines does not make them drift.
    pub fn wait(&mut self) {
        self.next = next_deadline(self.next, self.period, read(ClockId::CLOCK_MONOTONIC).0);
        let until = TimeSpec::from_duration(self.next);
        while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until)
            == Err(Errno::EINTR)
        {}
    }
}

fn next_deadline(last: Duration, period: Duration, now: Duration) -> Duration {
    let next = last + period;
    if next > now { next } else { now + period }
}

fn read(clock: ClockId) -> Moment {
    // both clocks exist on every supported kernel; without them every age would be unknown
    Moment(clock_gettime(clock).map(Duration::from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn missed_deadlines_are_skipped_and_not_caught_up() {
        assert_eq!(next_deadline(s(10), s(1), s(10)), s(11));
        assert_eq!(next_deadline(s(10), s(1), s(500)), s(501));
    }
}
