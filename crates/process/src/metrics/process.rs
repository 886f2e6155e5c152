//! The `process_*` metrics that Prometheus expects of every process, read from procfs at every scrape.
//!
//! The crate `prometheus` has such a collector, but for an older procfs than the one in our tree. A value that cannot be
//! read is absent, never zero.

use std::collections::HashMap;

use procfs::process::{LimitValue, Process};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

const CPU: (&str, &str) = ("process_cpu_seconds_total", "User and system CPU time spent, in seconds.");
const MEMORY: (&str, &str) = ("process_resident_memory_bytes", "Resident memory, in bytes.");
const FDS: (&str, &str) = ("process_open_fds", "Open file descriptors.");
const MAX_FDS: (&str, &str) = ("process_max_fds", "How many file descriptors may be open.");
const START: (&str, &str) =
    ("process_start_time_seconds", "When the process started, in seconds since the epoch.");
const THREADS: (&str, &str) = ("process_threads", "Threads of the process.");

pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())
                .expect("the names are constants")
        };
        Self { descriptions: [CPU, MEMORY, FDS, MAX_FDS, START, THREADS].map(describe).into() }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        let Ok(process) = Process::myself() else {
            return families;
        };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            families.extend(counter(CPU, (stat.utime + stat.stime) as f64 / ticks));
            families.extend(gauge(MEMORY, (stat.rss * procfs::page_size()) as f64));
            families.extend(gauge(THREADS, stat.num_threads as f64));
            if let Ok(boot) = procfs::boot_time_secs() {
                families.extend(gauge(START, boot as f64 + stat.starttime as f64 / ticks));
            }
        }
        if let Ok(open) = process.fd_count() {
            families.extend(gauge(FDS, open as f64));
        }
        if let Ok(limits) = process.limits() {
            let soft = match limits.max_open_files.soft_limit {
                LimitValue::Value(count) => count as f64,
                LimitValue::Unlimited => f64::INFINITY,
            };
            families.extend(gauge(MAX_FDS, soft));
        }
        families
    }
}

fn gauge((name, help): (&str, &str), value: f64) -> Vec<MetricFamily> {
    let gauge = Gauge::new(name, help).expect("the names are constants");
    gauge.set(value);
    gauge.collect()
}

fn counter((name, help): (&str, &str), value: f64) -> Vec<MetricFamily> {
    let counter = Counter::new(name, help).expect("the names are constants");
    counter.inc_by(value);
    counter.collect()
}
