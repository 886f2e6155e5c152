//! Per-pod series for Prometheus, written from the state at scrape time.
//!
//! A series exists exactly as long as its pod, and only once the pod has a name: nothing to leak, nothing to delete.
//! The text follows the registry's; no family occurs in both. Values that are not known are left out, never zero.

use std::fmt::{Display, Write};

use plimsoll_contract::{Band, Bytes, Limit, Resource};

use crate::state::{Container, NodeState, PodState};

/// Per-container families.
const CONTAINER: [Family; 5] = [
    Family {
        name: "plimsoll_container_cpu_usage_cores",
        help: "CPU used over the last sweep, in cores.",
        value: |c| c.sample.map(|sample| sample.cores.0),
    },
    Family {
        name: "plimsoll_container_cpu_throttled_ratio",
        help: "Share of the quota's periods in which the container was throttled over the last sweep.",
        value: Container::throttled,
    },
    Family {
        name: "plimsoll_container_memory_working_set_bytes",
        help: "Memory in use less inactive page cache.",
        value: |c| c.working_set().map(Bytes::as_f64),
    },
    Family {
        name: "plimsoll_container_cpu_limit_cores",
        help: "CPU quota that the kernel enforces; absent where there is none.",
        value: |c| c.cpu_limit.value().and_then(Limit::bound).map(|cores| cores.0),
    },
    Family {
        name: "plimsoll_container_memory_limit_bytes",
        help: "Memory limit that the kernel enforces; absent where there is none.",
        value: |c| c.memory_limit.value().and_then(Limit::bound).map(Bytes::as_f64),
    },
];

struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&Container) -> Option<f64>,
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
    pub(crate) fn by_state(&self) -> [(&'static str, i64); 3] {
        [("classified", self.classified), ("warming_up", self.warming_up), ("unnamed", self.unnamed)]
    }

    fn add(&mut self, pod: &PodState) {
        let known = Resource::ALL.iter().any(|resource| pod.band(*resource) != Band::Unknown);
        match (pod.name(), known) {
            (None, _) => self.unnamed += 1,
            (Some(_), true) => self.classified += 1,
            (Some(_), false) => self.warming_up += 1,
        }
    }
}

/// Appends every per-pod series to `out`, and counts the pods.
pub fn write(out: &mut String, state: &NodeState) -> PodCounts {
    let mut counts = PodCounts::default();
    let mut named = Vec::new();
    for pod in state.pods() {
        counts.add(pod);
        if let Some(name) = pod.name() {
            let (namespace, name) = (escaped(&name.namespace), escaped(&name.name));
            named.push((pod, format!("namespace=\"{namespace}\",pod=\"{name}\"")));
        }
    }
    for Family { name: family, help, value } in CONTAINER {
        header(out, family, help);
        for (pod, labels) in &named {
            for (id, container) in pod.counting() {
                if let (Some(name), Some(value)) = (pod.container_name(id), value(container)) {
                    line(out, family, format_args!("{labels},container=\"{}\"", escaped(name)), value);
                }
            }
        }
    }
    let family = "plimsoll_pod_utilization_ratio";
    header(
        out,
        family,
        "Smoothed usage of the hottest container over each basis that is defined; may exceed 1.",
    );
    for (pod, labels) in &named {
        for resource in Resource::ALL {
            for (basis, utilization) in pod.utilizations(resource) {
                let labels = format_args!("{labels},resource=\"{resource}\",basis=\"{basis}\"");
                line(out, family, labels, utilization);
            }
        }
    }
    let family = "plimsoll_pod_band";
    header(out, family, "Band of the pod: 0 unknown, 1 low, 2 moderate, 3 high.");
    for (pod, labels) in &named {
        for resource in Resource::ALL {
            let band = f64::from(pod.band(resource).number());
            line(out, family, format_args!("{labels},resource=\"{resource}\""), band);
        }
    }
    counts
}

fn header(out: &mut String, family: &str, help: &str) {
    // writing to a String cannot fail
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} gauge");
}

fn line(out: &mut String, family: &str, labels: impl Display, value: f64) {
    // writing to a String cannot fail
    let _ = writeln!(out, "{family}{{{labels}}} {value}");
}

/// A label value in which the three reserved characters of the format are escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
