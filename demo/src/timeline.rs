//! The events of a demo: its output besides the table, and what its tests assert on. For users: `docs/demo.md`.

use std::fmt;
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
    /// A watch on the API server showed that a container was resized.
    Resize {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// Which resource.
        resource: Resource,
        /// Its request and limit before.
        from: Size,
        /// Its request and limit now.
        to: Size,
        /// The arithmetic behind it; absent if it was not resized by the aggregator.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The host enforces another limit.
    Kernel {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// Which resource.
        resource: Resource,
        /// The limit before: a quantity, or `max`.
        from: String,
        /// The limit now.
        to: String,
        /// Seconds since the `resize` event of this resource; absent if there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        since_resize: Option<f64>,
        /// Seconds since the CPU demand changed last; absent for memory, whose demand grows all the time.
        #[serde(skip_serializing_if = "Option::is_none")]
        since_load: Option<f64>,
    },
    /// The end.
    End {
        /// `real` or `simulated`.
        host: HostKind,
        /// Number of writes of the aggregator to pods.
        writes: usize,
    },
}

/// Request and limit of one resource of a container, as its pod's spec says it: Kubernetes quantities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// What is reserved; absent: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What is enforced; absent: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl fmt::Display for Size {
    /// `50m/100m`, as in the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |amount: &Option<String>| amount.clone().unwrap_or_else(|| "-".into());
        write!(f, "{}/{}", text(&self.request), text(&self.limit))
    }
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
        Event { t: seconds(after), what }
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
            What::Resize { pod, why: Some(why), .. } => format!("{pod}: resized: {why}"),
            What::Resize { pod, container, resource, from, to, why: None, .. } => {
                format!("{pod}: another client resized {resource} of {container} from {from} to {to}")
            }
            What::Kernel { pod, resource, from, to, since_resize, since_load, .. } => {
                let times = [(since_resize, "the resize"), (since_load, "the load changed")];
                let after = times
                    .into_iter()
                    .filter_map(|(since, what)| since.map(|since| format!(", {since:.1} s after {what}")));
                format!(
                    "{pod}: the kernel's limit of {resource} is {to} now, was {from}{}",
                    after.collect::<String>()
                )
            }
            What::End { writes, .. } => format!("stopped after {writes} writes"),
        };
        format!("{:7.1}s  {text}", self.t)
    }
}

/// Seconds with three digits.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
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

    #[test]
    fn the_examples_of_the_documentation_are_events_one_of_each_kind() {
        let page = include_str!("../../docs/demo.md");
        let examples: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    {")).collect();
        let mut kinds = Vec::new();
        for example in examples {
            let text = format!("{{{example}");
            let event: Event = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(serde_json::to_string(&event).unwrap(), text);
            kinds.push(serde_json::to_value(&event).unwrap()["kind"].as_str().unwrap().to_owned());
        }
        assert_eq!(kinds, ["load", "band", "label", "resize", "kernel", "end"]);
    }

    #[test]
    fn a_resize_and_what_the_kernel_enforces_are_told_with_the_arithmetic_and_the_times() {
        let size = |amount: &str| Size { request: Some("50m".into()), limit: Some(amount.into()) };
        let mut resize = What::Resize {
            namespace: "demo".into(),
            pod: "api".into(),
            container: "app".into(),
            resource: Resource::Cpu,
            from: size("100m"),
            to: size("200m"),
            why: Some("app limit +100m (100->200): U 0.45 [...], gold".into()),
        };
        let text = |what: &What| Event::new(Duration::from_millis(11_200), what.clone()).sentence();
        assert_eq!(text(&resize), "   11.2s  api: resized: app limit +100m (100->200): U 0.45 [...], gold");
        let json = serde_json::to_value(&resize).unwrap();
        assert_eq!(json["kind"], "resize");
        assert_eq!(json["from"], serde_json::json!({"request": "50m", "limit": "100m"}));
        let What::Resize { why, .. } = &mut resize else { unreachable!() };
        *why = None;
        let expected = "   11.2s  api: another client resized cpu of app from 50m/100m to 50m/200m";
        assert_eq!(text(&resize), expected);

        let kernel = What::Kernel {
            namespace: "demo".into(),
            pod: "api".into(),
            container: "app".into(),
            resource: Resource::Cpu,
            from: "100m".into(),
            to: "200m".into(),
            since_resize: Some(0.1),
            since_load: Some(3.2),
        };
        let expected = "   11.2s  api: the kernel's limit of cpu is 200m now, was 100m, 0.1 s after the resize, 3.2 s after the load changed";
        assert_eq!(text(&kernel), expected);
        assert_eq!(serde_json::to_value(&kernel).unwrap()["kind"], "kernel");
    }
}
