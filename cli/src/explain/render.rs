//! A pod's document as text. Pure; the time is an argument.

use jiff::Timestamp;
use plimsoll_contract::load::{Cause, Rule};
use plimsoll_contract::resize::{ContainerSizing, PodResources, ResizeDecision, ResizeStatus};
use plimsoll_contract::status::{PodStatus, ResourceStatus, why_unknown};
use plimsoll_contract::{Quantity, Resource, keys};

use super::cure::cure;
use crate::connect::escaped;
use crate::size::{self, Part, amount, shown};
use crate::table::{SILENT_ABOUT_RESIZING, age, aligned, left_alone};

/// The whole text.
pub(super) fn lines(pod: &PodStatus, now: Timestamp) -> Vec<String> {
    let mut lines = vec![head(pod)];
    lines.extend(Resource::ALL.map(|resource| load(pod, resource, now)));
    if let Some(why) = pod.left_alone {
        lines.push(format!("left alone: {}", left_alone(why)));
    }
    if pod.terminating {
        lines.push("it is being deleted: nothing is written to it any more".to_owned());
    }
    if !pod.conflicts.is_empty() {
        let conflicts: Vec<_> = pod.conflicts.iter().map(ToString::to_string).collect();
        lines.push(format!("owned by others: {}", escaped(&conflicts.join(", "))));
    }
    if let Some(last) = &pod.last {
        let text = format!(
            "last action: {} {} {} ago, {}",
            last.action,
            last.outcome,
            age(last.at, now),
            last.reason
        );
        lines.push(escaped(&text));
    }
    lines.push(String::new());
    match &pod.resize {
        Some(resize) => lines.extend(sizing(pod, resize, now)),
        None => lines.push(without_sizing(pod)),
    }
    lines
}

fn head(pod: &PodStatus) -> String {
    let PodStatus { namespace, name, .. } = pod;
    let node = pod.node.as_ref().map_or_else(|| "no node yet".to_owned(), |node| format!("node {node}"));
    let class = match (&pod.class, &pod.resize) {
        (Some(class), Some(resize)) if resize.mode.is_empty() => format!("class {class}, {}", resize.state),
        (Some(class), Some(resize)) => format!("class {class} ({}), {}", resize.mode, resize.state),
        (Some(class), None) => format!("class {class}"),
        (None, _) => "no class".to_owned(),
    };
    escaped(&format!("pod {namespace}/{name}, {node}, {class}"))
}

/// One band with the numbers and the cause behind it.
fn load(pod: &PodStatus, resource: Resource, now: Timestamp) -> String {
    let (status, label) = match resource {
        Resource::Cpu => (&pod.cpu, pod.labeled.cpu),
        Resource::Memory => (&pod.memory, pod.labeled.memory),
    };
    let mut text = format!("{:<7} {}", format!("{resource}:"), status.band);
    if !status.band.is_known() {
        text += &format!(": {}", why_unknown(status.reason));
    } else if let Some(since) = status.since {
        text += &format!(" for {}", age(since, now));
    }
    if let Some(cause) = &status.cause {
        text += &format!(", because of {}", caused(resource, cause));
    }
    if let Some(usage) = current(resource, status) {
        text += &format!("; now {usage}");
    }
    match label {
        Some(label) if label != status.band => text += &format!("; the label says {label}"),
        None if status.band.is_known() && pod.left_alone.is_none() => text += "; no label",
        _ => {}
    }
    escaped(&text)
}

/// `burst, 498m of limit 500m for 8 s (app), bound by limit`.
fn caused(resource: Resource, cause: &Cause<f64, String>) -> String {
    let of = format!("{} of {} {}", resource.quantity(cause.usage), cause.basis, resource.quantity(cause.of));
    let mut text = match cause.rule {
        Rule::Burst => format!("burst, {of} for {:.0} s", cause.seconds),
        Rule::Mean if cause.seconds < 60.0 => format!("mean of {:.0} s, {of}", cause.seconds),
        Rule::Mean => format!("1-minute mean, {of}"),
    };
    if let Some(container) = &cause.container {
        text += &format!(" ({container})");
    }
    if let Some(bound_by) = cause.bound_by {
        text += &format!(", bound by {}", bound_by.as_str());
    }
    text
}

/// `412m, 82% of limit 500m (app)`.
fn current(resource: Resource, status: &ResourceStatus) -> Option<String> {
    let usage = status.usage.filter(|usage| usage.is_finite() && *usage >= 0.0)?;
    let mut text = resource.quantity(usage);
    if let (Some(basis), Some(of), Some(share)) = (status.basis, status.of, status.utilization) {
        text += &format!(", {:.0}% of {basis} {}", share * 100.0, resource.quantity(of));
    }
    if let Some(container) = &status.container {
        text += &format!(" ({container})");
    }
    Some(text)
}

/// Why the aggregator says nothing about resizing.
fn without_sizing(pod: &PodStatus) -> String {
    match &pod.class {
        None => format!(
            "not resized: no SLA class applies. Set the label {}=gold (or silver, bronze, or a class of yours; `kubectl get slaclasses`) on \
             the pod, its template, or its namespace",
            keys::SLA
        ),
        Some(class) => format!(
            "not resized: class {} applies, but {SILENT_ABOUT_RESIZING}. manifests/components/resizing turns it on; `plimsoll top` says \
             whether it leads",
            escaped(class)
        ),
    }
}

fn sizing(pod: &PodStatus, resize: &ResizeStatus, now: Timestamp) -> Vec<String> {
    let mut lines = table(resize);
    lines.push(
        "ASKED: the spec. ALLOCATED: set aside by the kubelet. RUNTIME: enforced, says the container runtime. KERNEL: the limit in the \
         cgroup. -: not set, or not known. IN USE: cpu is the larger of the p95 of 30 s and the mean of 3 s; memory is what the kernel \
         cannot reclaim."
            .to_owned(),
    );
    lines.push(String::new());
    if let Some(refused) = &resize.refused {
        let word = resize.refusal.as_deref().map(|word| format!(" ({word})")).unwrap_or_default();
        lines.push(escaped(&format!("not resized: {refused}{word}")));
        lines.extend(resize.refusal.as_deref().and_then(cure).map(|cure| format!("  cure: {cure}")));
    }
    lines.push(wanted(resize));
    lines.extend(resize.why.iter().map(|why| format!("  why: {}", escaped(why))));
    // What a class applies is written, and not tried before.
    if resize.mode == "Recommend" && !resize.wanted.is_empty() {
        let verdict = resize.verdict.as_deref().map_or_else(|| "not asked yet".to_owned(), escaped);
        lines.push(format!("  the API server (dry run): {verdict}"));
    }
    lines.push(
        resize.last.as_ref().map_or_else(|| "last resize: none".to_owned(), |last| last_resize(last, now)),
    );
    if let Some(original) = &resize.original {
        let undo = escaped(&format!("plimsoll undo {} -n {}", pod.name, pod.namespace));
        lines.push(format!("before the first resize: {}; `{undo}` restores it", whole(original)));
    }
    lines
}

fn wanted(resize: &ResizeStatus) -> String {
    if resize.wanted.is_empty() {
        return match (&resize.refused, resize.state.as_str()) {
            (Some(_), _) => "wanted: nothing".to_owned(),
            (None, "idle" | "verified" | "failed") => {
                "wanted: nothing; the size fits, or it is too early to say".to_owned()
            }
            (None, state) => format!("wanted: nothing more; a resize is {state}"),
        };
    }
    let changes = size::differences(&spec(resize), &resize.wanted);
    let what = if changes.is_empty() { whole(&resize.wanted) } else { size::listed(&changes) };
    match resize.mode.as_str() {
        "Recommend" => format!("wanted: {what}; the class only recommends, so nothing is written"),
        _ => format!("wanted: {what}"),
    }
}

fn last_resize(last: &ResizeDecision, now: Timestamp) -> String {
    let changes = size::listed(&size::differences(&last.from, &last.to));
    let (reason, class, ago) = (escaped(&last.reason), escaped(&last.class), age(last.at, now));
    format!("last resize: {reason} {ago} ago as {class}: {changes}\n  why: {}", escaped(&last.why))
}

fn spec(resize: &ResizeStatus) -> PodResources {
    resize.containers.iter().map(|one| (one.name.clone(), one.spec.clone())).collect()
}

/// `app cpu request 250m, app cpu limit 500m`.
fn whole(sizes: &PodResources) -> String {
    let mut all = Vec::new();
    for (container, resources) in sizes {
        for (resource, part) in size::amounts() {
            if let Some(amount) = amount(resources, resource, part) {
                all.push(format!("{} {resource} {part} {}", escaped(container), shown(resource, amount)));
            }
        }
    }
    all.join(", ")
}

const HEADER: [&str; 8] = ["CONTAINER", "RESOURCE", "", "ASKED", "ALLOCATED", "RUNTIME", "KERNEL", "IN USE"];

/// One line per container, resource, request and limit.
fn table(resize: &ResizeStatus) -> Vec<String> {
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    for container in &resize.containers {
        rows.extend(size::amounts().map(|(resource, part)| row(container, resource, part)));
    }
    aligned(&rows)
}

fn row(container: &ContainerSizing, resource: Resource, part: Part) -> Vec<String> {
    let text = |amount: Option<&str>| amount.map_or_else(|| "-".to_owned(), |amount| shown(resource, amount));
    let asked = amount(&container.spec, resource, part);
    let of = |sizes: &Option<_>| text(sizes.as_ref().and_then(|sizes| amount(sizes, resource, part)));
    let kernel = match (resource, part) {
        (_, Part::Request) => None,
        (Resource::Cpu, Part::Limit) => container.kernel_cpu,
        (Resource::Memory, Part::Limit) => container.kernel_memory.map(|bytes| bytes as f64),
    };
    let kernel = kernel.filter(|kernel| kernel.is_finite());
    let used = match resource {
        Resource::Cpu => container.cpu_use.filter(|used| used.is_finite()),
        Resource::Memory => container.memory_use.map(|bytes| bytes as f64),
    };
    let amount_of = |text: &str| text.parse::<Quantity>().ok().map(Quantity::as_f64);
    // What the kernel holds is what the container feels; the spec may be ahead of it.
    let whole = kernel.or_else(|| asked.and_then(amount_of)).filter(|whole| *whole > 0.0);
    let in_use = match (used, whole) {
        (None, _) => "-".to_owned(),
        (Some(used), Some(whole)) => {
            format!("{}, {:.0}% of {part}", resource.quantity(used), used / whole * 100.0)
        }
        (Some(used), None) => resource.quantity(used),
    };
    vec![
        escaped(&container.name),
        resource.to_string(),
        part.to_string(),
        text(asked),
        of(&container.allocated),
        of(&container.actual),
        kernel.map_or_else(|| "-".to_owned(), |kernel| resource.quantity(kernel)),
        in_use,
    ]
}
