//! Per-pod series for Prometheus, written from the book at scrape time.
//!
//! A series exists exactly as long as its pod, and only once the pod has a name: nothing to leak, nothing to delete.
//! The text comes after the registry's; no family occurs in both. Values that are not known are left out, never zero.

use std::fmt::{Display, Write};

use plimsoll_contract::{Band, Bytes, Limit, Resource};

use crate::book::{Book, ContainerNumbers, PodEntry};

/// Per-container families: name, help, and where the value comes from.
const CONTAINER: [Family; 5] = [
    Family {
        name: "plimsoll_container_cpu_usage_cores",
        help: "CPU used over the last sweep, in cores.",
        value: |c| c.cores.map(|cores| cores.0),
    },
    Family {
        name: "plimsoll_container_cpu_throttled_ratio",
        help: "Share of the quota's periods in which the container was throttled over the last sweep.",
        value: |c| c.throttled,
    },
    Family {
        name: "plimsoll_container_memory_working_set_bytes",
        help: "Memory in use less inactive page cache.",
        value: |c| c.working_set.map(Bytes::as_f64),
    },
    Family {
        name: "plimsoll_container_cpu_limit_cores",
        help: "CPU quota that the kernel enforces; absent where there is none.",
        value: |c| c.cpu_limit.and_then(Limit::bound).map(|cores| cores.0),
    },
    Family {
        name: "plimsoll_container_memory_limit_bytes",
        help: "Memory limit that the kernel enforces; absent where there is none.",
        value: |c| c.memory_limit.and_then(Limit::bound).map(Bytes::as_f64),
    },
];

const UTILIZATION: &str = "plimsoll_pod_utilization_ratio";
const BAND: &str = "plimsoll_pod_band";

/// Names and helps of every family written here, for the docs' check.
pub fn families() -> impl Iterator<Item = (&'static str, &'static str)> {
    let pods = [
        (
            UTILIZATION,
            "Smoothed usage of the hottest container over each basis that is defined; may exceed 1.",
        ),
        (BAND, "Band of the pod: 0 unknown, 1 low, 2 moderate, 3 high."),
    ];
    CONTAINER.iter().map(|family| (family.name, family.help)).chain(pods)
}

struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&ContainerNumbers<'_>) -> Option<f64>,
}

/// How many pods there are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodCounts {
    classified: i64,
    warming_up: i64,
    unnamed: i64,
}

impl PodCounts {
    /// As label values of `plimsoll_agent_pods`.
    pub fn by_state(&self) -> [(&'static str, i64); 3] {
        [("classified", self.classified), ("warming_up", self.warming_up), ("unnamed", self.unnamed)]
    }

    fn add(&mut self, pod: &PodEntry) {
        let known = Resource::ALL.iter().any(|resource| pod.band(*resource) != Band::Unknown);
        match (pod.name(), known) {
            (None, _) => self.unnamed += 1,
            (Some(_), true) => self.classified += 1,
            (Some(_), false) => self.warming_up += 1,
        }
    }
}

/// Appends every per-pod series to `out`, and counts the pods.
pub fn write(out: &mut String, book: &Book) -> PodCounts {
    let mut counts = PodCounts::default();
    let mut named = Vec::new();
    for pod in book.pods() {
        counts.add(pod);
        if let Some(name) = pod.name() {
            let labels =
                format!("namespace=\"{}\",pod=\"{}\"", escaped(&name.namespace), escaped(&name.name));
            named.push((pod, labels));
        }
    }
    for (name, help) in families() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (pod, labels) in &named {
            write_pod(out, name, pod, labels);
        }
    }
    counts
}

fn write_pod(out: &mut String, family: &str, pod: &PodEntry, labels: &str) {
    match family {
        UTILIZATION => {
            for resource in Resource::ALL {
                for (basis, utilization) in pod.utilizations(resource) {
                    line(
                        out,
                        family,
                        format_args!("{labels},resource=\"{resource}\",basis=\"{basis}\""),
                        utilization,
                    );
                }
            }
        }
        BAND => {
            for resource in Resource::ALL {
                let number = pod.band(resource).number();
                line(out, family, format_args!("{labels},resource=\"{resource}\""), f64::from(number));
            }
        }
        _ => write_containers(out, family, pod, labels),
    }
}

fn write_containers(out: &mut String, family: &str, pod: &PodEntry, labels: &str) {
    let Some(family) = CONTAINER.iter().find(|f| f.name == family) else { return };
    for container in pod.containers() {
        if let (Some(name), Some(value)) = (container.name, (family.value)(&container)) {
            line(out, family.name, format_args!("{labels},container=\"{}\"", escaped(name)), value);
        }
    }
}

fn line(out: &mut String, family: &str, labels: impl Display, value: f64) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{family}{{{labels}}} {value}");
}

/// A label value with the three characters escaped that the format reserves.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
