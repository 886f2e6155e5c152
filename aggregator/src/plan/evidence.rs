//! What made the bands, in one line for people:
//! `cpu high at 10:00:05Z: burst, 498m of limit 500m for 8 s (app), bound by limit; memory low: 1-minute mean 50Mi of limit 64Mi (app)`.
//!
//! The numbers are those of the cause, which the agent recorded when the band changed, so that they never contradict the band. The
//! first band has a time: since when it holds or, where that is not known, when it was written. A second one has it where it differs,
//! also one that is unknown.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_contract::load::{BoundBy, Cause, ResourceLoad, Rule};
use plimsoll_contract::status::why_unknown;
use plimsoll_contract::{Band, Basis, Resource, keys};

use crate::labels::{FOREIGN, PodLabels};
use crate::settings::Output;
use crate::state::Pod;

/// The line for the labels that a pod is to carry.
pub(crate) fn describe(pod: &Pod, labels: &PodLabels, output: Output, now: Timestamp) -> String {
    let mut parts = Vec::new();
    let mut shown = None;
    for resource in Resource::ALL {
        let Some(band) = labels.get(resource).band else { continue };
        let since = since(pod, resource, band).map(|since| time(since, now));
        let at = since
            .or_else(|| (parts.is_empty() || !band.is_known()).then(|| time(now, now)))
            .filter(|at| shown.as_ref() != Some(at));
        let text = at.as_ref().map_or_else(String::new, |at| format!(" at {at}"));
        shown = shown.or(at);
        parts.push(format!("{resource} {band}{text}: {}", made_by(pod, resource, band)));
    }
    let kind = if output == Output::Annotations { "annotation" } else { "label" };
    let foreign = keys::WRITTEN_LABELS.iter().filter(|key| pod.writes.conflicts.contains_key(**key));
    parts.extend(foreign.map(|key| format!("the {kind} {key} {FOREIGN}")));
    parts.join("; ")
}

/// Since when a band holds. While it is unknown, the agent's `since` is another time.
fn since(pod: &Pod, resource: Resource, band: Band) -> Option<Timestamp> {
    let load = &pod.load(resource).load;
    load.since.filter(|_| band.is_known() && load.band == band)
}

/// `10:00:05Z`, with its date on another day.
fn time(at: Timestamp, now: Timestamp) -> String {
    let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    let format = if date(at) == date(now) { "%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    at.strftime(format).to_string()
}

fn made_by(pod: &Pod, resource: Resource, band: Band) -> String {
    let load = &pod.load(resource).load;
    if !band.is_known() {
        return why_unknown(load.reason).to_owned();
    }
    if !load.band.is_known() {
        return format!("last known, now {}", why_unknown(load.reason));
    }
    match &load.cause {
        Some(cause) => because(pod, resource, cause),
        None => {
            let current = current(pod, resource, load);
            let now = current.map_or_else(String::new, |current| format!(", now {current}"));
            format!("since before the agent restarted{now}")
        }
    }
}

/// `498m of limit 500m (app)`, as last reported.
fn current(pod: &Pod, resource: Resource, load: &ResourceLoad<f64>) -> Option<String> {
    let (usage, basis) = (load.usage?, load.basis?);
    let of = load.of.map_or_else(|| basis.to_string(), |of| basis_of(resource, basis, of, load.request));
    let container = pod.container_name(load.container.as_ref());
    Some(format!("{} of {of} ({container})", resource.quantity(usage)))
}

/// `limit 500m`, or `request 10m, counted as 50m`: the pod's own request, where the band counts more.
fn basis_of(resource: Resource, basis: Basis, of: f64, request: Option<f64>) -> String {
    let amount = |value| resource.quantity(value);
    match request.filter(|_| basis == Basis::Request) {
        Some(request) => format!("request {}, counted as {}", amount(request), amount(of)),
        None => format!("{basis} {}", amount(of)),
    }
}

fn because(pod: &Pod, resource: Resource, cause: &Cause<f64>) -> String {
    let amount = |value| resource.quantity(value);
    let of = basis_of(resource, cause.basis, cause.of, cause.request);
    let usage = amount(cause.usage);
    let seconds = cause.seconds.round();
    let rule = match cause.rule {
        Rule::Burst => {
            // ends what the basis counts as
            let comma = if of.contains(',') { "," } else { "" };
            format!("burst, {usage} of {of}{comma} for {seconds:.0} s")
        }
        // The first reading of memory covers no time.
        Rule::Mean if seconds == 0.0 => format!("{usage} of {of}"),
        Rule::Mean if seconds >= 60.0 && seconds % 60.0 == 0.0 => {
            format!("{:.0}-minute mean {usage} of {of}", seconds / 60.0)
        }
        Rule::Mean => format!("{seconds:.0} s mean {usage} of {of}"),
    };
    let working_set = cause.working_set.map(|bytes| format!(", working set {}", amount(bytes)));
    let bound = bound_by(cause.bound_by);
    format!(
        "{rule} ({}){bound}{}",
        pod.cause_container(pod.load(resource), cause),
        working_set.unwrap_or_default()
    )
}

fn bound_by(by: Option<BoundBy>) -> String {
    match by {
        Some(by @ (BoundBy::Limit | BoundBy::Node)) => format!(", bound by {}", by.as_str()),
        Some(BoundBy::None) | None => String::new(),
    }
}

#[cfg(test)]
mod tests;
