//! What happened and when: the demo's only output besides the table, and what its tests assert on.

use std::time::Duration;

use plimsoll_contract::{Band, Basis, Resource, keys};
use serde::{Deserialize, Serialize};

/// One thing that happened. As JSON: one object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the start.
    pub t: f64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Kinds of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// The ground truth: a workload itself changed what it does.
    Load {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Which resource.
        resource: Resource,
        /// What it wants from now on, of CPU.
        #[serde(skip_serializing_if = "Option::is_none")]
        cores: Option<f64>,
        /// What it wants from now on, of memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// The agent announced a band.
    Band {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Which resource.
        resource: Resource,
        /// The band.
        band: Band,
        /// What it is of.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
        /// Smoothed usage over basis.
        #[serde(skip_serializing_if = "Option::is_none")]
        utilization: Option<f64>,
    },
    /// A watch on the API server saw a label of ours change.
    Label {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// The label.
        key: String,
        /// Its value; absent when it was removed.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// Which resource the label is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<Resource>,
        /// The band it says, on a band label.
        #[serde(skip_serializing_if = "Option::is_none")]
        band: Option<Band>,
        /// The basis it says, on a basis label.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
    },
    /// The end.
    End {
        /// What the pods were: `real` or `simulated`.
        host: HostKind,
        /// Writes to pods that the aggregator made.
        writes: usize,
    },
}

/// What the pods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    /// Processes of our own in real cgroups.
    Real,
    /// A directory tree whose counters follow the load scripts.
    Simulated,
}

impl Event {
    /// Something that happened `after` the start.
    pub fn new(after: Duration, what: What) -> Event {
        Event { t: (after.as_secs_f64() * 1000.0).round() / 1000.0, what }
    }

    /// For a person, on one line.
    pub fn sentence(&self) -> String {
        let said = match &self.what {
            What::Load { pod, resource, cores, bytes, .. } => {
                let amount = match (cores, bytes) {
                    (Some(cores), _) => plimsoll_contract::Cores(*cores).to_string(),
                    (None, Some(bytes)) => plimsoll_contract::Bytes(*bytes).to_string(),
                    (None, None) => "-".into(),
                };
                format!("{pod}: the workload now wants {amount} of {resource}")
            }
            What::Band { pod, resource, band, basis, utilization, .. } => {
                let share = utilization.map(|u| format!(" ({:.0}%", u * 100.0));
                let of = basis.map(|basis| format!(" of {basis})"));
                format!(
                    "{pod}: the agent says {resource} is {band}{}{}",
                    share.unwrap_or_default(),
                    of.unwrap_or_default()
                )
            }
            What::Label { pod, key, value: Some(value), .. } => format!("{pod}: label {key}={value}"),
            What::Label { pod, key, value: None, .. } => format!("{pod}: label {key} is gone"),
            What::End { writes, .. } => format!("the end, after {writes} writes"),
        };
        format!("{:7.1}s  {said}", self.t)
    }
}

impl What {
    /// A label of ours with its new value; absent if the key is not one of ours.
    pub fn label(namespace: &str, pod: &str, key: &str, value: Option<&str>) -> Option<What> {
        let resource = Resource::ALL
            .into_iter()
            .find(|r| [keys::band_label(*r), keys::basis_label(*r)].contains(&key))?;
        let is_band = key == keys::band_label(resource);
        Some(What::Label {
            namespace: namespace.into(),
            pod: pod.into(),
            key: key.into(),
            value: value.map(Into::into),
            resource: Some(resource),
            band: value.filter(|_| is_band).and_then(|value| value.parse().ok()),
            basis: value.filter(|_| !is_band).and_then(|value| value.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object() {
        let what = What::label("demo", "web", keys::CPU_BAND, Some("high")).unwrap();
        let text = serde_json::to_string(&Event::new(Duration::from_millis(1234), what)).unwrap();
        let expected = r#"{"t":1.234,"kind":"label","namespace":"demo","pod":"web","key":"plimsoll.dev/cpu-band","value":"high","resource":"cpu","band":"high"}"#;
        assert_eq!(text, expected);
        assert!(What::label("demo", "web", "app", Some("web")).is_none());
    }
}
