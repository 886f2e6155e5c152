//! The events of a demo: its output besides the table, and what its tests assert on.

use std::time::Duration;

use plimsoll_contract::{Band, Basis, Resource, keys};
use serde::{Deserialize, Serialize};

/// One event; in JSON output one object per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the start.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// Kinds of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// The ground truth: a workload changed its demand.
    Load {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Which resource.
        resource: Resource,
        /// The new CPU demand.
        #[serde(skip_serializing_if = "Option::is_none")]
        cores: Option<f64>,
        /// The new memory demand.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// The agent reported another band.
    Band {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Which resource.
        resource: Resource,
        /// The band.
        band: Band,
        /// The basis of the utilization.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
        /// Usage divided by the basis.
        #[serde(skip_serializing_if = "Option::is_none")]
        utilization: Option<f64>,
    },
    /// A watch on the API server showed a change of one of our labels.
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
        /// The resource of the label.
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<Resource>,
        /// The band in a band label.
        #[serde(skip_serializing_if = "Option::is_none")]
        band: Option<Band>,
        /// The basis in a basis label.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
    },
    /// The end.
    End {
        /// `real` or `simulated`.
        host: HostKind,
        /// Number of writes of the aggregator to pods.
        writes: usize,
    },
}

/// Kind of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    /// Processes in real cgroups.
    Real,
    /// A directory tree whose counters follow the load scripts.
    Simulated,
}

impl Event {
    /// An event at a time `after` the start.
    pub fn new(after: Duration, what: What) -> Event {
        Event { t: (after.as_secs_f64() * 1000.0).round() / 1000.0, what }
    }

    /// The event as one line of text.
    pub fn sentence(&self) -> String {
        let text = match &self.what {
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
            What::Label { pod, key, value: None, .. } => format!("{pod}: label {key} was removed"),
            What::End { writes, .. } => format!("stopped after {writes} writes"),
        };
        format!("{:7.1}s  {text}", self.t)
    }
}

impl What {
    /// A new value of one of our labels; absent if the key is not one of ours.
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
