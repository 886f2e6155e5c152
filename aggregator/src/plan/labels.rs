//! Which labels a pod is to carry, and whether that is written now, later or not at all.
//!
//! A known band is wanted at once. `unknown` is wanted only after the load has been unknown for a while, and only over a band of
//! ours. An apply removes the keys that it omits, so [`keys_for`] is the only place that builds a set of keys.

use std::collections::BTreeMap;

use plimsoll_contract::status::LeftAlone;
use plimsoll_contract::{Band, Basis, Moment, Resource, keys};

use crate::action::{Change, Reason};
use crate::labels::{BandLabel, PodLabels};
use crate::resize::spec_of;
use crate::settings::{Output, Settings};
use crate::state::Pod;

/// What to do about the labels of one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelPlan {
    /// Nothing, until something changes.
    Idle,
    /// Nothing before then.
    Wait(Moment),
    /// Write them.
    Write {
        reason: Reason,
        /// What the pod carries.
        from: PodLabels,
        /// What it is to carry.
        to: PodLabels,
    },
}

/// What matters about a pod's namespace and node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodContext {
    /// Its namespace was seen. Until then it may have to be ignored: nothing is written, and nothing withdrawn.
    pub(crate) namespace_known: bool,
    /// Why it gets no labels, if it gets none.
    pub(crate) left_alone: Option<LeftAlone>,
    /// Its node has not reported to this replica yet, and is not silent.
    pub(crate) not_yet_reported: bool,
    /// Its node is one of many silent ones: `unknown` is withheld until then.
    pub(crate) unknown_withheld: Option<Moment>,
    /// Writes to the pods of its owner are refused: none is tried until then.
    pub(crate) refused_until: Option<Moment>,
    /// Repairs of the pods of its owner are undone: none is tried until then.
    pub(crate) undone_until: Option<Moment>,
    /// Keys that another field manager gave back are left out until then.
    pub(crate) given_back_at: Option<Moment>,
}

/// Plans the labels of one pod.
pub(crate) fn plan_labels(pod: &Pod, context: PodContext, now: Moment, settings: &Settings) -> LabelPlan {
    let nowhere = !context.namespace_known || settings.output == Output::Metrics;
    if nowhere || pod.facts.terminating || pod.writes.state.in_flight() {
        return LabelPlan::Idle;
    }
    let plan = match context.left_alone {
        Some(LeftAlone::SystemNamespace) => LabelPlan::Idle,
        Some(_) => plan_withdrawal(pod, now, settings),
        None => plan_bands(pod, context, now, settings),
    };
    let not_before = [pod.writes.state.not_before(now), context.refused_until].into_iter().flatten().max();
    match (plan, not_before) {
        (LabelPlan::Write { .. }, Some(until)) => LabelPlan::Wait(until),
        (plan, _) => plan,
    }
}

/// Withdraws our keys, once. What resizes did to a pod that lives on stays on it: there is no way back without.
fn plan_withdrawal(pod: &Pod, now: Moment, settings: &Settings) -> LabelPlan {
    let kept = kept_on_withdrawal(pod);
    let is_ours = |key: &&&str| pod.facts.carries(key) && !kept.contains_key(**key);
    let mut ours = keys::WRITTEN_LABELS.iter().chain(&keys::WRITTEN_ANNOTATIONS);
    if pod.writes.withdrawn || ours.find(is_ours).is_none() {
        return LabelPlan::Idle;
    }
    let from = present(pod, now, settings.output);
    LabelPlan::Write { reason: Reason::Withdrawn, from, to: PodLabels::default() }
}

/// Makes the labels say what is known.
fn plan_bands(pod: &Pod, context: PodContext, now: Moment, settings: &Settings) -> LabelPlan {
    if context.not_yet_reported && !pod.any_known() {
        return LabelPlan::Idle;
    }
    let from = present(pod, now, settings.output);
    let target = target(pod, &from, now, settings);
    let to = target.labels;
    let believed_until = pod.writes.state.believed(now).map(|confirmation| confirmation.until);
    let replan_at = [target.replan_at, believed_until, context.given_back_at].into_iter().flatten().min();
    // What was written last with the same labels says whose the others are.
    let outdated = pod.writes.outdated && pod.writes.last.is_none_or(|(labels, _)| labels != to);
    if target.incomplete || (from.satisfies(&to) && !outdated) {
        return replan_at.map_or(LabelPlan::Idle, LabelPlan::Wait);
    }
    let to = with_newest_bases(to, pod);
    // The same labels again: another client removed them.
    let repair = pod.writes.last.is_some_and(|(labels, _)| labels == to);
    let reason = if repair {
        Reason::Repair
    } else if !from.any() && pod.writes.last.is_none() {
        Reason::First
    } else if from.only_become_unknown(&to) && !from.satisfies(&to) {
        Reason::Silence
    } else {
        Reason::Transition
    };
    let waits = match reason {
        Reason::Repair => [pod.writes.repair_at(settings), context.undone_until],
        Reason::Silence => [context.unknown_withheld, None],
        _ => [None, None],
    };
    match waits.into_iter().flatten().filter(|at| *at > now).max() {
        Some(at) => LabelPlan::Wait(replan_at.map_or(at, |replan| replan.min(at))),
        None => LabelPlan::Write { reason, from, to },
    }
}

/// The labels that a pod carries as far as we know: an own write that the watch has not shown yet counts, keys that another
/// manager owns do not.
fn present(pod: &Pod, now: Moment, output: Output) -> PodLabels {
    let believed = pod.writes.state.believed(now).map(|confirmation| confirmation.labels);
    believed.unwrap_or_else(|| PodLabels::of(&pod.facts, output)).without(&pod.writes.conflicts)
}

/// A basis that has not lasted yet causes no write, but goes with one that is sent anyway: the evidence names it. That of a band whose cause
/// is not known stays.
fn with_newest_bases(labels: PodLabels, pod: &Pod) -> PodLabels {
    let newest = |resource| {
        let (label, history) = (labels.get(resource), pod.load(resource));
        let known = label.band.is_some() && label.band == history.band() && !pod.is_taken_over(resource);
        if known { BandLabel { basis: history.basis(), ..label } } else { label }
    };
    PodLabels { cpu: newest(Resource::Cpu), memory: newest(Resource::Memory) }.without(&pod.writes.conflicts)
}

/// What one resource, or a pod, is to be labeled.
#[derive(Debug, Clone, Copy, Default)]
struct Target<L> {
    labels: L,
    /// The pod has no labels yet, and those of the other resource may still come: nothing is written.
    incomplete: bool,
    /// When time alone may change this.
    replan_at: Option<Moment>,
}

fn target(pod: &Pod, present: &PodLabels, now: Moment, settings: &Settings) -> Target<PodLabels> {
    let cpu = resource_target(present.cpu, pod, Resource::Cpu, now, settings);
    let memory = resource_target(present.memory, pod, Resource::Memory, now, settings);
    let ours = |resource| !pod.writes.conflicts.contains_key(keys::band_label(resource));
    let incomplete = (cpu.incomplete && ours(Resource::Cpu)) || (memory.incomplete && ours(Resource::Memory));
    let labels = PodLabels { cpu: cpu.labels, memory: memory.labels }.without(&pod.writes.conflicts);
    let replan_at = [cpu.replan_at, memory.replan_at].into_iter().flatten().min();
    Target { labels, incomplete: incomplete && !present.any(), replan_at }
}

fn resource_target(
    present: BandLabel,
    pod: &Pod,
    resource: Resource,
    now: Moment,
    settings: &Settings,
) -> Target<BandLabel> {
    let (own, other) = match resource {
        Resource::Cpu => (&pod.cpu, &pod.memory),
        Resource::Memory => (&pod.memory, &pod.cpu),
    };
    let stay = |labels, until| Target { labels, incomplete: false, replan_at: Some(until) };
    let become_unknown = Target { labels: BandLabel::UNKNOWN, ..Target::default() };
    match (own.band(), own.basis()) {
        // A restarted agent knows the band from the label, and the basis of the load now: that of the label made the band.
        (Some(band), _)
            if pod.is_taken_over(resource) && present.band == Some(band) && present.basis.is_some() =>
        {
            Target { labels: present, ..Target::default() }
        }
        // A known band at once; another basis under the same band once it lasted.
        (Some(band), Some(basis)) => {
            let other_basis = present.band == Some(band) && present.basis.is_some_and(|b| b != basis);
            let lasted_at = own.basis_changed + settings.basis_after;
            match other_basis && now < lasted_at {
                true => stay(present, lasted_at),
                false => {
                    let labels = BandLabel { band: Some(band), basis: Some(basis), unparsable: false };
                    Target { labels, ..Target::default() }
                }
            }
        }
        // Unknown for a while: a band of ours is outdated.
        _ if present.band.is_some_and(Band::is_known) => {
            let outdated_at = own.known_changed + settings.silent_after;
            if now >= outdated_at { become_unknown } else { stay(present, outdated_at) }
        }
        _ if present.band.is_some() => become_unknown,
        // A resource that never had a band, beside one that has: it may still come.
        _ if other.known() => {
            let passing = own.known_changed.max(other.known_changed) + settings.silent_after;
            let expected_until = match own.lasting_unknown() {
                true => passing.min(other.known_changed.max(own.reason_changed) + settings.settle_after),
                false => passing,
            };
            match now >= expected_until {
                true => become_unknown,
                false => Target { incomplete: true, ..stay(BandLabel::default(), expected_until) },
            }
        }
        _ => Target::default(),
    }
}

/// The labels that a pod is to carry whatever is written now: those that are due, else those that it carries.
pub(crate) fn carried(plan: &LabelPlan, pod: &Pod, now: Moment, output: Output) -> PodLabels {
    match (plan, output) {
        (_, Output::Metrics) => PodLabels::default(),
        (LabelPlan::Write { to, .. }, _) => *to,
        (LabelPlan::Idle | LabelPlan::Wait(_), _) => present(pod, now, output),
    }
}

/// Every key of ours that a pod is to carry, without those that another manager owns. `record` is that of its resizes.
pub(crate) fn keys_for(
    labels: &PodLabels,
    pod: &Pod,
    evidence: &str,
    record: BTreeMap<String, String>,
    epoch: u64,
    output: Output,
) -> Change {
    let conflicts = &pod.writes.conflicts;
    let ours = labels.without(conflicts);
    let mut bands = BTreeMap::new();
    for resource in Resource::ALL {
        let label = ours.get(resource);
        let words = [
            (keys::band_label(resource), label.band.map(Band::as_str)),
            (keys::basis_label(resource), label.basis.map(Basis::as_str)),
        ];
        bands.extend(words.into_iter().filter_map(|(key, word)| Some((key.to_owned(), word?.to_owned()))));
    }
    let mut annotations = record;
    if output != Output::Metrics {
        annotations.insert(keys::EVIDENCE.to_owned(), evidence.to_owned());
    }
    if !annotations.is_empty() {
        annotations.insert(keys::EPOCH.to_owned(), epoch.to_string());
    }
    annotations.retain(|key, _| !conflicts.contains_key(key));
    match output {
        Output::Annotations => {
            annotations.extend(bands);
            Change::Labels { labels: BTreeMap::new(), annotations }
        }
        Output::Labels | Output::Metrics => Change::Labels { labels: bands, annotations },
    }
}

/// Whether a conflict makes wrong what a pod carries of ours beside its bands: a basis whose band is another manager's, or evidence
/// that does not say whose a label is.
pub(crate) fn is_outdated(pod: &Pod) -> bool {
    let foreign = |key: &str| pod.writes.conflicts.contains_key(key);
    let ours = |key: &str| pod.facts.carries(key) && !foreign(key);
    let said = pod.facts.annotations.get(keys::EVIDENCE);
    let unsaid =
        |key: &str| foreign(key) && ours(keys::EVIDENCE) && !said.is_some_and(|text| text.contains(key));
    Resource::ALL.into_iter().any(|resource| {
        let (band, basis) = (keys::band_label(resource), keys::basis_label(resource));
        (foreign(band) && ours(basis)) || unsaid(band) || unsaid(basis)
    })
}

/// Whether no resize is under way, and a pod has its original resources again.
fn is_back(pod: &Pod) -> bool {
    !pod.resize.busy()
        && pod.original.as_ref().ok().and_then(Option::as_ref).is_some_and(|original| {
            let spec = spec_of(&pod.facts);
            original.iter().all(|(name, sizes)| spec.get(name) == Some(sizes))
        })
}

/// The record of resizes on a pod, as a write that is no resize leaves it: gone where the pod has its original resources again, once no later
/// leader learns from it what is not to be done again. The age of that is as of the last report of the pod.
pub(crate) fn record_on(pod: &Pod) -> BTreeMap<String, String> {
    let is_over = is_back(pod) && !pod.resize.needs_record(pod.confirmed);
    let mut record = if is_over { BTreeMap::new() } else { pod.resize.annotations(&pod.facts) };
    // An empty value is none that we wrote; a stranger's long one counts as empty.
    record.retain(|_, value| !value.is_empty());
    record
}

/// What stays on a pod from which our keys are withdrawn: the record of its resizes, with the epoch of whoever wrote it. Nothing where the pod has
/// its original resources again.
pub(crate) fn kept_on_withdrawal(pod: &Pod) -> BTreeMap<String, String> {
    let is_over = pod.facts.finished || is_back(pod);
    let mut kept = if is_over { BTreeMap::new() } else { record_on(pod) };
    if !kept.is_empty()
        && let Some(epoch) = pod.facts.annotations.get(keys::EPOCH)
    {
        kept.insert(keys::EPOCH.to_owned(), epoch.clone());
    }
    kept
}
