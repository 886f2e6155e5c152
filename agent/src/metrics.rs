//! The agent's metrics about itself. Per-pod series are not here: `series` writes them from the book at each scrape.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::host::Host;
use crate::series::PodCounts;

/// How a delivery ended. A closed list: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// Taken in, with a roster.
    Accepted,
    /// The CA or the token is not there yet.
    NotReady,
    /// No connection, or it broke.
    Unreachable,
    /// The peer's certificate is not one we trust.
    Untrusted,
    /// No answer in time.
    Timeout,
    /// Asked to wait.
    Throttled,
    /// Refused.
    Refused,
    /// The answer cannot be read.
    BadAnswer,
}

impl Delivered {
    const ALL: [Delivered; 8] = [
        Delivered::Accepted,
        Delivered::NotReady,
        Delivered::Unreachable,
        Delivered::Untrusted,
        Delivered::Timeout,
        Delivered::Throttled,
        Delivered::Refused,
        Delivered::BadAnswer,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Delivered::Accepted => "accepted",
            Delivered::NotReady => "not_ready",
            Delivered::Unreachable => "unreachable",
            Delivered::Untrusted => "untrusted",
            Delivered::Timeout => "timeout",
            Delivered::Throttled => "throttled",
            Delivered::Refused => "refused",
            Delivered::BadAnswer => "bad_answer",
        }
    }
}

/// Handles to the metrics; cheap clones.
#[derive(Debug, Clone)]
pub struct Metrics {
    sweep_seconds: Histogram,
    sweeps_missed: IntCounter,
    read_errors: IntCounterVec,
    slow_reads: IntCounter,
    truncated_listings: IntCounter,
    pods: IntGaugeVec,
    reports: IntCounterVec,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// If the registry has one of the names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let buckets = prometheus::exponential_buckets(0.0005, 2.0, 14)?;
        let sweep =
            HistogramOpts::new("plimsoll_agent_sweep_seconds", "Duration of one sweep over all cgroups.");
        let metrics = Metrics {
            sweep_seconds: Histogram::with_opts(sweep.buckets(buckets))?,
            sweeps_missed: IntCounter::new(
                "plimsoll_agent_sweeps_missed_total",
                "Sweeps that did not happen in time: the agent got no CPU, a read hung, or the machine slept.",
            )?,
            read_errors: IntCounterVec::new(
                Opts::new(
                    "plimsoll_agent_read_errors_total",
                    "Cgroup files that did not yield a value, by file and reason.",
                ),
                &["file", "reason"],
            )?,
            slow_reads: IntCounter::new(
                "plimsoll_agent_slow_reads_total",
                "Reads of memory.stat that took more than 50 ms; each makes that cgroup's next one rarer.",
            )?,
            truncated_listings: IntCounter::new(
                "plimsoll_agent_truncated_listings_total",
                "Directories of pods that could not be listed to their end.",
            )?,
            pods: IntGaugeVec::new(
                Opts::new(
                    "plimsoll_agent_pods",
                    "Pods on the node: classified, warming up, or not in the roster.",
                ),
                &["state"],
            )?,
            reports: IntCounterVec::new(
                Opts::new("plimsoll_agent_reports_total", "Reports, by how their delivery ended."),
                &["result"],
            )?,
        };
        registry.register(Box::new(metrics.sweep_seconds.clone()))?;
        registry.register(Box::new(metrics.sweeps_missed.clone()))?;
        registry.register(Box::new(metrics.read_errors.clone()))?;
        registry.register(Box::new(metrics.slow_reads.clone()))?;
        registry.register(Box::new(metrics.truncated_listings.clone()))?;
        registry.register(Box::new(metrics.pods.clone()))?;
        registry.register(Box::new(metrics.reports.clone()))?;
        for delivered in Delivered::ALL {
            metrics.reports.with_label_values(&[delivered.as_str()]);
        }
        Ok(metrics)
    }

    /// A sweep of `host` ended; its counts are since the start.
    pub fn swept(&self, took: Duration, host: &Host) {
        self.sweep_seconds.observe(took.as_secs_f64());
        for (file, reason, count) in host.read_errors().iter() {
            raise(&self.read_errors.with_label_values(&[file.as_str(), reason.as_str()]), count);
        }
        raise(&self.slow_reads, host.slow_reads());
        raise(&self.truncated_listings, host.truncated_listings());
    }

    /// So many sweeps should have been since the last one.
    pub fn missed(&self, sweeps: u64) {
        self.sweeps_missed.inc_by(sweeps);
    }

    /// A delivery ended.
    pub fn delivered(&self, result: Delivered) {
        self.reports.with_label_values(&[result.as_str()]).inc();
    }

    /// How many pods there are in each state.
    pub fn count(&self, counts: &PodCounts) {
        for (state, count) in counts.by_state() {
            self.pods.with_label_values(&[state]).set(count);
        }
    }
}

/// Counters of the registry only rise.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use plimsoll_process::metrics::render;

    use super::*;
    use crate::host::HostConfig;

    #[test]
    fn what_the_host_counts_is_there_from_the_first_sweep_and_never_counted_twice() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/damaged-files/tree");
        let mut host = Host::open(&HostConfig { root: root.into(), kubepods: None }).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        host.discover(crate::clock::now());
        host.sweep(crate::clock::now, |_, _| {});
        metrics.swept(Duration::from_millis(1), &host);
        let once = render(&registry);
        for name in ["slow_reads_total 0", "truncated_listings_total 0", "read_errors_total{"] {
            assert!(once.contains(&format!("plimsoll_agent_{name}")), "{name} in {once}");
        }
        metrics.swept(Duration::from_millis(1), &host);
        let errors = |text: &str| {
            text.lines().filter(|l| l.contains("read_errors_total{")).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(errors(&once), errors(&render(&registry)));
    }
}
