//! The annotations `original-resources` and `decision`: written for later leaders and for people, read with tolerance, because anybody who
//! may change the pod may write anything into them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_contract::resize::{ContainerResources, PodResources, ResizeDecision};
use plimsoll_contract::{Bytes, Quantity, keys};
use plimsoll_sizing::size::{Size, Sizes};

use super::phase::Resize;
use super::{Purpose, Record, spec_of};
use crate::facts::PodFacts;

/// The keys of the two.
pub(super) const KEYS: [&str; 2] = [keys::ORIGINAL_RESOURCES, keys::DECISION];
/// Most bytes of one annotation: of a longer one nothing is read back.
const MAX_TEXT: usize = 4096;
/// Least bytes that are left for the arithmetic.
const MIN_WHY: usize = 64;

/// A decision, read back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decided {
    pub(super) at: Timestamp,
    pub(super) purpose: Purpose,
    pub(super) class: String,
    pub(super) from: BTreeMap<String, Sizes>,
    pub(super) to: BTreeMap<String, Sizes>,
    pub(super) why: String,
}

/// As [`original_on`] reads it.
pub(crate) type Original = Result<Option<BTreeMap<String, Sizes>>, String>;

/// The resources before our first resize: absent where there was none; an error where the annotation is none of ours, or another wrote it.
pub(crate) fn original_on(facts: &PodFacts) -> Original {
    let Some(text) = facts.annotations.get(keys::ORIGINAL_RESOURCES) else { return Ok(None) };
    // Bounds and the way back are made from it.
    if let Some(writer) = &facts.original_by {
        let by = if writer.is_empty() { String::new() } else { format!(", but {writer}") };
        return Err(format!(
            "not Plimsoll{by} wrote the annotation {} of pod {}; remove it if its resources are as they should be",
            keys::ORIGINAL_RESOURCES,
            facts.pod
        ));
    }
    let read = serde_json::from_str::<PodResources>(text).ok().and_then(|resources| decode(&resources));
    let read = read.filter(|resources| !resources.is_empty());
    read.map(Some).ok_or_else(|| {
        format!(
            "the annotation {} of pod {} does not hold the resources of its containers; remove it if its resources are as they should be",
            keys::ORIGINAL_RESOURCES,
            facts.pod
        )
    })
}

/// The last resize, where the annotation can be read.
pub(crate) fn decision_on(facts: &PodFacts) -> Option<ResizeDecision> {
    serde_json::from_str(facts.annotations.get(keys::DECISION)?).ok()
}

/// The same, in numbers.
pub(super) fn decided_on(facts: &PodFacts) -> Option<Decided> {
    let decision = decision_on(facts)?;
    Some(Decided {
        at: decision.at,
        purpose: Purpose::of(&decision.reason)?,
        from: decode(&decision.from)?,
        to: decode(&decision.to)?,
        class: decision.class,
        why: decision.why,
    })
}

/// What is written before a resize. The original resources are those of all containers, and once they are there, their text is kept to the
/// byte. Where another wrote them, they are left to that: only a way back is still made.
///
/// # Errors
/// If the pod has too many containers for one annotation.
pub(super) fn record(
    at: Timestamp,
    resize: &Resize,
    original: Option<&str>,
    facts: &PodFacts,
) -> Result<Record, String> {
    let too_many = || format!("pod {} has too many containers for its resources to be recorded", facts.pod);
    let text = |value: serde_json::Result<String>| value.ok().filter(|text| text.len() <= MAX_TEXT);
    let on_pod = facts.annotations.get(keys::ORIGINAL_RESOURCES).map(String::as_str);
    let original = match (original.or(on_pod), &facts.original_by) {
        // Who applies what another wrote owns it, too, and would believe it from then on.
        (_, Some(_)) => None,
        (Some(original), None) => Some(original.to_owned()),
        (None, None) => {
            Some(text(serde_json::to_string(&in_quantities(&spec_of(facts)))).ok_or_else(too_many)?)
        }
    };
    let mut decision = ResizeDecision {
        at,
        reason: resize.wanted.purpose.as_str().to_owned(),
        class: resize.wanted.class.clone(),
        from: in_quantities(&resize.from),
        to: in_quantities(&resize.wanted.sizes),
        why: String::new(),
    };
    let frame = text(serde_json::to_string(&decision)).filter(|text| text.len() + MIN_WHY <= MAX_TEXT);
    let room = MAX_TEXT - frame.ok_or_else(too_many)?.len();
    decision.why = fitting(&resize.wanted.why.join("; "), room);
    let decision_text = text(serde_json::to_string(&decision)).ok_or_else(too_many)?;
    let original = original.map(|text| (keys::ORIGINAL_RESOURCES.to_owned(), text));
    let annotations = [(keys::DECISION.to_owned(), decision_text)].into_iter().chain(original).collect();
    Ok(Record { decision, annotations })
}

/// As much of the text as takes at most `room` bytes in a JSON string.
fn fitting(text: &str, room: usize) -> String {
    let mut left = room;
    let escaped = |c: char| match c {
        '"' | '\\' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    };
    let fits = text.chars().take_while(|c| {
        let taken = left.checked_sub(escaped(*c));
        left = taken.unwrap_or(0);
        taken.is_some()
    });
    fits.collect()
}

/// As Kubernetes writes them.
pub(crate) fn in_quantities(sizes: &BTreeMap<String, Sizes>) -> PodResources {
    let cpu = |amount: u64| ("cpu".to_owned(), Quantity::from_millicores(amount).to_string());
    let memory = |amount: u64| ("memory".to_owned(), Quantity::from_bytes(Bytes(amount)).to_string());
    let container = |sizes: &Sizes| ContainerResources {
        requests: sizes.cpu.request.map(cpu).into_iter().chain(sizes.memory.request.map(memory)).collect(),
        limits: sizes.cpu.limit.map(cpu).into_iter().chain(sizes.memory.limit.map(memory)).collect(),
    };
    sizes.iter().map(|(name, sizes)| (name.clone(), container(sizes))).collect()
}

/// In numbers; absent if any amount is none.
pub(super) fn decode(resources: &PodResources) -> Option<BTreeMap<String, Sizes>> {
    let amount = |amounts: &BTreeMap<String, String>, resource: &str| -> Option<Option<u64>> {
        let Some(text) = amounts.get(resource) else { return Some(None) };
        let quantity: Quantity = text.parse().ok()?;
        let amount = if resource == "cpu" { quantity.milli_value() } else { quantity.value() };
        u64::try_from(amount).ok().filter(|amount| *amount > 0).map(Some)
    };
    let container = |resources: &ContainerResources| {
        let size = |resource: &str| {
            Some(Size {
                request: amount(&resources.requests, resource)?,
                limit: amount(&resources.limits, resource)?,
            })
        };
        Some(Sizes { cpu: size("cpu")?, memory: size("memory")? })
    };
    resources.iter().map(|(name, resources)| Some((name.clone(), container(resources)?))).collect()
}
