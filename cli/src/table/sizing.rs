//! A pod's size, and what is done about it, in a row.

use jiff::Timestamp;
use plimsoll_contract::resize::{ContainerSizing, ResizeStatus};
use plimsoll_contract::{Quantity, Resource};

use super::{age, shortened, unknown};
use crate::size::{self, Part};

/// The size of one resource of a pod: `250m/500m`, `250m/500m -> 250m/890m`; a limit or request that a container lacks is `-`.
pub(super) fn sized(resize: &ResizeStatus, resource: Resource) -> String {
    let total = |part, wanted: bool| {
        let of = |container: &ContainerSizing| {
            let wanted = resize.wanted.get(&container.name).filter(|_| wanted);
            let amount = wanted.and_then(|sizes| size::amount(sizes, resource, part));
            amount.or(size::amount(&container.spec, resource, part))?.parse::<Quantity>().ok()
        };
        // Without a limit of one container the pod has none.
        let amounts: Option<Vec<_>> = resize.containers.iter().map(of).collect();
        let amounts = amounts.filter(|amounts| !amounts.is_empty())?;
        Some(resource.quantity(amounts.into_iter().map(Quantity::as_f64).sum()))
    };
    let both = |wanted| Part::ALL.map(|part| total(part, wanted).unwrap_or_else(unknown)).join("/");
    match (both(false), both(true)) {
        (now, _) if now == "-/-" => unknown(),
        (now, wanted) if now == wanted => now,
        (now, wanted) => format!("{now} -> {wanted}"),
    }
}

/// The last resize, or what is being done or keeps it from being done.
pub(super) fn resized(resize: &ResizeStatus, now: Timestamp) -> Option<String> {
    if let Some(refused) = &resize.refused {
        return Some(shortened(&format!("not resized: {refused}")));
    }
    let last = resize.last.as_ref().map(|last| format!("{} {} ago", last.reason, age(last.at, now)));
    let text = match (resize.state.as_str(), last) {
        ("idle" | "verified", last) => last?,
        (state, Some(last)) => format!("resize {state}, {last}"),
        (state, None) => format!("resize {state}"),
    };
    Some(shortened(&text))
}
