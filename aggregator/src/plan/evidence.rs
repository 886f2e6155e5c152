//! The numbers behind the bands, in one line for a person:
//! `cpu high at 10:00:05Z: 412m of limit 500m (app), bound by limit; memory low: 120Mi of limit 512Mi (app)`.

use jiff::Timestamp;
use plimsoll_contract::report::{BoundBy, UnknownReason};
use plimsoll_contract::{Band, Bytes, Cores, Resource};

use crate::marks::Marks;
use crate::view::{Load, Pod};

/// The line for what a pod is to carry.
pub(crate) fn text(pod: &Pod, marks: &Marks, at: Timestamp) -> String {
    let shown = Resource::ALL.into_iter().filter_map(|resource| Some((resource, marks.of(resource).band?)));
    let parts = shown.enumerate().map(|(i, (resource, band))| {
        let at = if i == 0 { format!(" at {}", at.strftime("%H:%M:%SZ")) } else { String::new() };
        format!("{resource} {band}{at}: {}", numbers(pod, resource, band))
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn numbers(pod: &Pod, resource: Resource, band: Band) -> String {
    let load = &pod.track(resource).load;
    match (load.usage, load.basis) {
        _ if band.is_known() && !load.band.is_known() => format!("last known, now {}", words(load.reason)),
        _ if !band.is_known() => words(load.reason),
        (Some(usage), Some(basis)) => {
            let of = load.of.map_or_else(String::new, |of| format!(" {}", amount(resource, of)));
            let container = pod.container_name(load.container.as_ref());
            format!("{} of {basis}{of} ({container}){}", amount(resource, usage), bound(load))
        }
        _ => "no numbers".into(),
    }
}

fn amount(resource: Resource, value: f64) -> String {
    match resource {
        Resource::Cpu => Cores(value).to_string(),
        Resource::Memory => Bytes(value as u64).to_string(),
    }
}

fn bound(load: &Load) -> String {
    match load.bound_by {
        Some(by @ (BoundBy::Limit | BoundBy::Node)) => format!(", bound by {}", by.as_str()),
        Some(BoundBy::None) | None => String::new(),
    }
}

fn words(reason: Option<UnknownReason>) -> String {
    reason.map_or_else(|| "no report".into(), |reason| reason.as_str().replace('_', " "))
}
