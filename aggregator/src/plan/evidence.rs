//! The numbers behind the bands, in one line for people:
//! `cpu high at 10:00:05Z: 412m of limit 500m (app), bound by limit; memory low: 120Mi of limit 512Mi (app)`.

use jiff::Timestamp;
use plimsoll_contract::load::{BoundBy, UnknownReason};
use plimsoll_contract::{Band, Bytes, Cores, Resource};

use crate::labels::PodLabels;
use crate::state::Pod;

/// The line for the labels that a pod is to carry.
pub(crate) fn describe(pod: &Pod, labels: &PodLabels, at: Timestamp) -> String {
    let shown = Resource::ALL.into_iter().filter_map(|resource| Some((resource, labels.get(resource).band?)));
    let parts = shown.enumerate().map(|(i, (resource, band))| {
        let at = if i == 0 { format!(" at {}", at.strftime("%H:%M:%SZ")) } else { String::new() };
        format!("{resource} {band}{at}: {}", numbers(pod, resource, band))
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn numbers(pod: &Pod, resource: Resource, band: Band) -> String {
    let load = &pod.load(resource).load;
    let amount = |value: f64| match resource {
        Resource::Cpu => Cores(value).to_string(),
        Resource::Memory => Bytes(value as u64).to_string(),
    };
    match (load.usage, load.basis) {
        _ if !band.is_known() => words(load.reason),
        _ if !load.band.is_known() => format!("last known, now {}", words(load.reason)),
        (Some(usage), Some(basis)) => {
            let of = load.of.map_or_else(String::new, |of| format!(" {}", amount(of)));
            let container = pod.container_name(load.container.as_ref());
            let bound = match load.bound_by {
                Some(by @ (BoundBy::Limit | BoundBy::Node)) => format!(", bound by {}", by.as_str()),
                Some(BoundBy::None) | None => String::new(),
            };
            format!("{} of {basis}{of} ({container}){bound}", amount(usage))
        }
        _ => "no numbers".into(),
    }
}

fn words(reason: Option<UnknownReason>) -> String {
    reason.map_or_else(|| "no report".into(), |reason| reason.as_str().replace('_', " "))
}
