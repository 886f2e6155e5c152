//! The agent's metrics about itself. Per-pod series are written by `series` at each scrape.

use std::time::Duration;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGaugeVec, Registry, exponential_buckets,
    register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_vec_with_registry,
};

use crate::host::Host;
use crate::series::PodCounts;

/// The result of a delivery. A closed list: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryResult {
    Accepted,
    /// The CA or the token is missing.
    NotReady,
    /// No connection, or it broke.
    Unreachable,
    /// The peer's certificate is not trusted.
    Untrusted,
    Timeout,
    /// The aggregator asked to wait.
    Throttled,
    Rejected,
    /// The answer is not a roster.
    BadAnswer,
}

impl DeliveryResult {
    const ALL: [DeliveryResult; 8] = [
        DeliveryResult::Accepted,
        DeliveryResult::NotReady,
        DeliveryResult::Unreachable,
        DeliveryResult::Untrusted,
        DeliveryResult::Timeout,
        DeliveryResult::Throttled,
        DeliveryResult::Rejected,
        DeliveryResult::BadAnswer,
    ];

    fn as_str(self) -> &'static str {
        match self {
            DeliveryResult::Accepted => "accepted",
            DeliveryResult::NotReady => "not_ready",
            DeliveryResult::Unreachable => "unreachable",
            DeliveryResult::Untrusted => "untrusted",
            DeliveryResult::Timeout => "timeout",
            DeliveryResult::Throttled => "throttled",
            DeliveryResult::Rejected => "refused",
            DeliveryResult::BadAnswer => "bad_answer",
        }
    }
}

/// Handles to the metrics; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    sweep_seconds: Histogram,
    sweeps_missed: IntCounter,
    read_errors: IntCounterVec,
    slow_reads: IntCounter,
    truncated_listings: IntCounter,
    cgroups: IntGaugeVec,
    pods: IntGaugeVec,
    reports: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        let metrics = Metrics {
            sweep_seconds: register_histogram_with_registry!(
                "plimsoll_agent_sweep_seconds",
                "Duration of one sweep over all cgroups.",
                exponential_buckets(0.0005, 2.0, 14)?,
                registry
            )?,
            sweeps_missed: register_int_counter_with_registry!(
                "plimsoll_agent_sweeps_missed_total",
                "Sweeps that did not happen in time: the agent got no CPU, a read hung, or the machine slept.",
                registry
            )?,
            read_errors: register_int_counter_vec_with_registry!(
                "plimsoll_agent_read_errors_total",
                "Cgroup files that did not yield a value, by file and reason.",
                &["file", "reason"],
                registry
            )?,
            slow_reads: register_int_counter_with_registry!(
                "plimsoll_agent_slow_reads_total",
                "Reads of memory.stat that took more than 50 ms; such a cgroup is read less often.",
                registry
            )?,
            truncated_listings: register_int_counter_with_registry!(
                "plimsoll_agent_truncated_listings_total",
                "Directory listings that were truncated, because of their size or an error.",
                registry
            )?,
            cgroups: register_int_gauge_vec_with_registry!(
                "plimsoll_agent_cgroups",
                "Cgroups that are read: their files are kept open, or opened for every read because of the memory limit.",
                &["files"],
                registry
            )?,
            pods: register_int_gauge_vec_with_registry!(
                "plimsoll_agent_pods",
                "Pods on the node: classified, warming up, or not in the roster.",
                &["state"],
                registry
            )?,
            reports: register_int_counter_vec_with_registry!(
                "plimsoll_agent_reports_total",
                "Reports, by the result of their delivery.",
                &["result"],
                registry
            )?,
        };
        for result in DeliveryResult::ALL {
            metrics.reports.with_label_values(&[result.as_str()]);
        }
        Ok(metrics)
    }

    /// Records a sweep of `host`, whose own counts are totals since the start.
    pub(crate) fn record_sweep(&self, took: Duration, host: &Host) {
        self.sweep_seconds.observe(took.as_secs_f64());
        for (file, reason, count) in host.read_errors().iter() {
            raise(&self.read_errors.with_label_values(&[file, reason.as_str()]), count);
        }
        raise(&self.slow_reads, host.slow_reads());
        raise(&self.truncated_listings, host.truncated_listings());
        let (kept_open, opened_per_read) = host.count_by_files();
        for (files, count) in [("kept_open", kept_open), ("opened_per_read", opened_per_read)] {
            self.cgroups.with_label_values(&[files]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn record_missed_sweeps(&self, sweeps: u64) {
        self.sweeps_missed.inc_by(sweeps);
    }

    pub(crate) fn record_delivery(&self, result: DeliveryResult) {
        self.reports.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn set_pod_counts(&self, counts: &PodCounts) {
        for (state, count) in counts.by_state() {
            self.pods.with_label_values(&[state]).set(count);
        }
    }
}

/// Raises a counter to a total.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use plimsoll_process::metrics::render;

    use super::*;
    use crate::host::HostConfig;

    #[test]
    fn counts_of_the_host_are_exported_from_the_first_sweep_and_never_counted_twice() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/damaged-files/tree");
        let mut host = Host::open(&HostConfig { root: root.into(), kubepods: None }).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        host.discover(crate::clock::now());
        host.sweep(crate::clock::now, |_, _| {});
        metrics.record_sweep(Duration::from_millis(1), &host);
        let once = render(&registry);
        for name in [
            "slow_reads_total 0",
            "truncated_listings_total 0",
            "read_errors_total{",
            "cgroups{files=\"opened_per_read\"} 0",
        ] {
            assert!(once.contains(&format!("plimsoll_agent_{name}")), "{name} in {once}");
        }
        metrics.record_sweep(Duration::from_millis(1), &host);
        let errors = |text: &str| {
            text.lines().filter(|l| l.contains("read_errors_total{")).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(errors(&once), errors(&render(&registry)));
    }
}
