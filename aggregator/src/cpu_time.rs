//! How long some work of a test takes, in CPU time of its thread: the clock on the wall also counts the time of other programs, and longer work
//! is interrupted more often.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What the work returns, and the CPU time that it took.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let start = now();
    let result = work();
    (result, now() - start)
}

/// The least CPU time of 20 runs, of which each must succeed.
pub(crate) fn least(work: impl Fn()) -> Duration {
    (0..20).map(|_| measured(&work).1).min().unwrap()
}
