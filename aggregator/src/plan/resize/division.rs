//! Who gets what when growth is wanted for more than there is: first what a namespace's quota leaves, then what the node has.
//!
//! Requests share the node's headroom. Limits need none, but growth of memory limits shares the memory that is really free. Where request
//! and limit are the same, both pools bound both. Pods that are only recommended for take nothing from the others.
//!
//! A growth that waits for its cooldown takes part as all others do, and what it would get is kept for it: else a lower class could take what a
//! higher one is about to ask for.
//!
//! What is left of a growth is held against the LimitRanges again: a request that gets less may be too far below its limit.

use std::collections::BTreeMap;

use plimsoll_contract::Resource;
use plimsoll_sizing::policy::{Mode, Policy};
use plimsoll_sizing::share::{Claim, KEPT_FOR_LOWER, tiered, weighted};
use plimsoll_sizing::size::Size;
use plimsoll_sizing::{cpu, memory};

use super::draft::{Draft, Share};
use super::headroom::{self, Headroom};
use super::limit_ranges;
use super::refusal::Refusal;
use super::view::NodeView;
use crate::facts::Range;
use crate::resize::Purpose;
use crate::settings::Division;
use crate::state::QuotaRoom;

/// Something that is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    /// The node's headroom.
    Requests(Resource),
    /// Memory that is really free: for limits.
    FreeMemory,
}

/// Equal requests and limits need both. Free memory comes first: what it trims is not asked of the headroom any more.
const POOLS: [Pool; 3] = [Pool::Requests(Resource::Cpu), Pool::FreeMemory, Pool::Requests(Resource::Memory)];

/// What quotas leave after those that were served: by namespace, quota, resource, and whether it counts limits.
type QuotasLeft<'a> = BTreeMap<(&'a str, &'a str, Resource, bool), QuotaLeft>;

/// What one quota leaves, in millicores or bytes.
#[derive(Debug, Clone, Copy)]
struct QuotaLeft {
    amount: u64,
    /// What is kept beside that for growths that wait.
    kept: u64,
}

/// Trims every growth to its share. Those that wait change nothing.
pub(super) fn divide(drafts: &mut [Draft], node: &NodeView<'_>, headroom: Headroom, division: Division) {
    let (applied, recommended) = in_order(drafts, node);
    let mut quotas = BTreeMap::new();
    keep_quotas(drafts, &applied, node, &mut quotas);
    // A recommendation is for longer than a cooldown.
    quotas.values_mut().for_each(|left| left.amount += std::mem::take(&mut left.kept));
    let rest = share_all(drafts, &applied, node, headroom, division);
    for of_pod in recommended.values() {
        keep_quotas(drafts, of_pod, node, &mut quotas.clone());
        share_all(drafts, of_pod, node, rest, division);
    }
    drafts.iter_mut().for_each(Draft::end_wait);
    for of_pod in drafts.chunk_by_mut(|a, b| a.pod == b.pod) {
        let pod = &node.pods[of_pod[0].pod];
        let ranges = node.limit_ranges_of(pod);
        limit_ranges::trim_to_pod_range(of_pod, &ranges.pod, &[Purpose::Grow, Purpose::Birth]);
        limit_ranges::keep_within(of_pod, pod, &ranges);
    }
}

/// The growths that are applied, the most urgent first; and those that are only recommended, by pod.
fn in_order(drafts: &[Draft], node: &NodeView<'_>) -> (Vec<usize>, BTreeMap<usize, Vec<usize>>) {
    let (mut applied, mut recommended) = (Vec::new(), BTreeMap::<usize, Vec<usize>>::new());
    for (number, draft) in drafts.iter().enumerate().filter(|(_, draft)| draft.grows()) {
        match policy(node, draft).map(|policy| policy.mode) {
            Some(Mode::Apply) => applied.push(number),
            Some(Mode::Recommend) => recommended.entry(draft.pod).or_default().push(number),
            None => {}
        }
    }
    // Where they are equal, in the order of the drafts: pods by name, containers as in the spec.
    applied.sort_by(|a, b| {
        let rank = |i: &usize| policy(node, &drafts[*i]).map_or(u32::MAX, |policy| policy.rank);
        let waits = |i: &usize| drafts[*i].waits.is_some();
        let urgency = |i: &usize| drafts[*i].urgency.score;
        let by_class = rank(a).cmp(&rank(b)).then(waits(a).cmp(&waits(b)));
        by_class.then(urgency(b).total_cmp(&urgency(a))).then(a.cmp(b))
    });
    (applied, recommended)
}

fn policy<'a>(node: &NodeView<'a>, draft: &Draft) -> Option<&'a Policy> {
    node.pods[draft.pod].policy()
}

/// Each takes what its quota leaves, in this order.
fn keep_quotas<'a>(drafts: &mut [Draft], order: &[usize], node: &NodeView<'a>, left: &mut QuotasLeft<'a>) {
    for number in order {
        let draft = &mut drafts[*number];
        let pod = &node.pods[draft.pod];
        let quotas = match draft.resource {
            Resource::Cpu => pod.quotas.cpu,
            Resource::Memory => pod.quotas.memory,
        };
        let resource = draft.resource;
        let key =
            |quota: QuotaRoom<'a>, of_limits| (&*pod.facts.pod.namespace, quota.quota, resource, of_limits);
        let room = |quota: Option<QuotaRoom<'a>>, of_limits| {
            let quota = quota?;
            // Not counted yet: there may be none.
            let unshared = || QuotaLeft { amount: quota.left.unwrap_or(0), kept: 0 };
            Some(left.get(&key(quota, of_limits)).copied().unwrap_or_else(unshared))
        };
        let (requests, limits) = (room(quotas.requests, false), room(quotas.limits, true));
        let most = |from: Option<u64>, room: Option<QuotaLeft>| {
            room.map_or(u64::MAX, |room| from.unwrap_or(0).saturating_add(room.amount))
        };
        let keys =
            [quotas.requests.map(|quota| key(quota, false)), quotas.limits.map(|quota| key(quota, true))];
        let (from, rooms) = (draft.from, [requests, limits]);
        let grown = |to: Size| {
            let grown =
                |from: Option<u64>, to: Option<u64>| to.unwrap_or(0).saturating_sub(from.unwrap_or(0));
            [grown(from.request, to.request), grown(from.limit, to.limit)]
        };
        let least = draft.least(from.request.max(from.limit));
        let is_kept = |(room, wanted): (Option<QuotaLeft>, u64)| {
            let room = room.filter(|room| wanted > room.amount)?;
            Some(room.kept > 0 && room.amount.saturating_add(room.kept) >= least.min(wanted))
        };
        // Of those that bind.
        let mut kept = rooms.into_iter().zip(grown(draft.to)).filter_map(is_kept).peekable();
        let reason = match kept.peek().is_some() && kept.all(|some| some) {
            true => Refusal::RoomKept,
            false => Refusal::Quota,
        };
        draft.cap(most(from.request, requests), most(from.limit, limits), reason);
        for ((key, room), grown) in keys.into_iter().zip(rooms).zip(grown(draft.to)) {
            let Some((key, mut room)) = key.zip(room) else { continue };
            room.amount = room.amount.saturating_sub(grown);
            room.kept += if draft.waits.is_some() { grown } else { 0 };
            left.insert(key, room);
        }
    }
}

/// Divides each pool, and says what is left of them beside growths that are made now.
fn share_all(
    drafts: &mut [Draft],
    chosen: &[usize],
    node: &NodeView<'_>,
    headroom: Headroom,
    division: Division,
) -> Headroom {
    let mut left = headroom;
    for pool in POOLS {
        let room = match pool {
            Pool::Requests(Resource::Cpu) => &mut left.cpu,
            Pool::Requests(Resource::Memory) => &mut left.memory,
            Pool::FreeMemory => &mut left.free_memory,
        };
        *room = share_pool(drafts, chosen, node, pool, *room, division);
    }
    left
}

/// Divides one pool, and says what is left of it beside growths that are made now.
fn share_pool(
    drafts: &mut [Draft],
    chosen: &[usize],
    node: &NodeView<'_>,
    pool: Pool,
    room: Option<u64>,
    division: Division,
) -> Option<u64> {
    let claimants: Vec<(usize, u64)> = chosen
        .iter()
        .filter(|number| is_within_range(&drafts[**number], node))
        .map(|number| (*number, demand(&drafts[*number], node, pool)))
        .filter(|(_, amount)| *amount > 0)
        .collect();
    let Some(room) = room else {
        for (number, _) in claimants {
            trim(&mut drafts[number], node, pool, 0, Refusal::RoomUnknown);
        }
        return None;
    };
    let claims: Vec<Claim> = claimants
        .iter()
        .filter_map(|(number, amount)| {
            let (draft, policy) = (&drafts[*number], policy(node, &drafts[*number])?);
            let value = match pool {
                Pool::Requests(_) => draft.from.request,
                Pool::FreeMemory => draft.from.limit,
            };
            Some(Claim {
                waits: draft.waits.is_some(),
                place: *number,
                rank: policy.rank,
                weight: policy.weight,
                urgency: draft.urgency.score,
                amount: *amount,
                least: draft.least(value).max(least_to_be_within(drafts, draft, node, value, *amount)),
            })
        })
        .collect();
    let step = match pool {
        Pool::Requests(Resource::Cpu) => cpu::STEP,
        Pool::Requests(Resource::Memory) | Pool::FreeMemory => memory::STEP,
    };
    let grants = match division {
        Division::Tiered => tiered(room, step, KEPT_FOR_LOWER, &claims),
        Division::Weighted => weighted(room, step, &claims),
    };
    let others = claims.len().saturating_sub(1);
    let kept: Vec<(u32, u64)> = claims
        .iter()
        .zip(&grants)
        .filter(|(claim, _)| claim.waits)
        .map(|(claim, kept)| (claim.rank, *kept))
        .collect();
    let mut left = room;
    for ((number, amount), (grant, claim)) in claimants.into_iter().zip(grants.into_iter().zip(&claims)) {
        let draft = &mut drafts[number];
        let share = Share { headroom: room, others };
        draft.share = Some(draft.share.filter(|before| before.headroom <= room).unwrap_or(share));
        if grant < amount {
            let from_it =
                kept.iter().filter(|(rank, _)| division == Division::Weighted || *rank < claim.rank);
            let kept: u64 = from_it.map(|(_, kept)| kept).sum();
            let is_kept = kept > 0 && grant + kept >= claim.least.min(amount);
            trim(draft, node, pool, grant, if is_kept { Refusal::RoomKept } else { Refusal::NoRoom });
        }
        if drafts[number].waits.is_none() {
            left = left.saturating_sub(demand(&drafts[number], node, pool));
        }
    }
    Some(left)
}

/// Whether a growth ends within the LimitRange of containers. Where a quota took the rest of the way, it is not made.
fn is_within_range(draft: &Draft, node: &NodeView<'_>) -> bool {
    let ranges = node.limit_ranges_of(&node.pods[draft.pod]);
    ranges.container.of(draft.resource).admits(draft.to)
}

/// The part of a growth that a LimitRange demands of a pod that is outside of it: it comes within at once, or not at all.
fn least_to_be_within(
    drafts: &[Draft],
    draft: &Draft,
    node: &NodeView<'_>,
    value: Option<u64>,
    amount: u64,
) -> u64 {
    let pod = &node.pods[draft.pod];
    let (ranges, from) = (node.limit_ranges_of(pod), |draft: &Draft| draft.from);
    let start = drafts.partition_point(|other| other.pod < draft.pod);
    let count = drafts[start..].partition_point(|other| other.pod == draft.pod);
    let of_pod = &drafts[start..start + count];
    if limit_ranges::is_admitted(of_pod, pod, &ranges, from) {
        return 0;
    }
    let range = ranges.container.of(draft.resource);
    let is_only_small = Range { min: None, ..range }.admits(draft.from)
        && limit_ranges::sums_fit(of_pod, pod, &ranges.pod, draft.resource, from);
    match is_only_small {
        true => range.min.map_or(0, |min| min.saturating_sub(value.unwrap_or(min))),
        false => amount,
    }
}

/// What of a pool a growth takes: what is booked already is not booked again.
fn demand(draft: &Draft, node: &NodeView<'_>, pool: Pool) -> u64 {
    match pool {
        Pool::Requests(resource) if resource == draft.resource => {
            draft.to.request.map_or(0, |to| to.saturating_sub(booked(draft, node)))
        }
        Pool::FreeMemory if draft.resource == Resource::Memory => {
            draft.to.limit.unwrap_or(0).saturating_sub(booked_limit(draft, node))
        }
        Pool::Requests(_) | Pool::FreeMemory => 0,
    }
}

fn trim(draft: &mut Draft, node: &NodeView<'_>, pool: Pool, grant: u64, reason: Refusal) {
    match pool {
        Pool::Requests(_) => draft.cap(booked(draft, node).saturating_add(grant), u64::MAX, reason),
        Pool::FreeMemory => draft.cap(u64::MAX, booked_limit(draft, node).saturating_add(grant), reason),
    }
}

fn booked(draft: &Draft, node: &NodeView<'_>) -> u64 {
    let pod = &node.pods[draft.pod];
    headroom::request(pod.facts, pod.containers[draft.container].facts, &pod.reserved, draft.resource)
}

/// The limit that the headroom counts already: of a resize in flight, the larger one.
fn booked_limit(draft: &Draft, node: &NodeView<'_>) -> u64 {
    let pod = &node.pods[draft.pod];
    let name = pod.containers[draft.container].facts.name.as_str();
    let in_flight = pod.reserved.get(&(name, draft.resource)).into_iter().flatten();
    in_flight.filter_map(|size| size.limit).chain(draft.from.limit).max().unwrap_or(0)
}
