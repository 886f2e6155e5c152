//! What the replicas need, amount by amount. Pure.
//!
//! A replica needs the size that is wanted for it, or else the one that it has, which fits or is the best that is known. Only amounts that the template sets are recommended, and
//! where its request equals its limit they stay equal, so that the QoS class stays the same.

use plimsoll_contract::resize::PodResources;
use plimsoll_contract::status::PodStatus;
use plimsoll_contract::{Quantity, Resource, keys};
use serde::Serialize;
use serde_json::{Value, json};

use crate::connect::escaped;
use crate::live::{Container, LiveSpec};
use crate::size::{self, Part, shown};
use crate::table::{SILENT_ABOUT_RESIZING, UNKNOWN_POD, left_alone};
use crate::workload::Live;

/// One pod of a workload.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) live: PodResources,
    /// Only what differs.
    pub(super) wanted: PodResources,
    /// Why what it needs is not known; its size is taken instead.
    pub(super) not_known: Option<String>,
}

impl Replica {
    /// `known`: what the aggregator says about it.
    pub(super) fn of(live: &Live, known: Option<&PodStatus>) -> Replica {
        let wanted = known.and_then(|pod| pod.resize.as_deref()).map(|resize| resize.wanted.clone());
        Replica {
            name: live.id.name.clone(),
            live: live.pod.sizes(),
            wanted: wanted.unwrap_or_default(),
            not_known: why_not_known(known),
        }
    }
}

/// Why what a pod needs is not known. Where something is wanted of it, that is known, whatever keeps it from being done.
pub(super) fn why_not_known(known: Option<&PodStatus>) -> Option<String> {
    let Some(known) = known else { return Some(UNKNOWN_POD.to_owned()) };
    if let Some(why) = known.left_alone {
        return Some(left_alone(why).to_owned());
    }
    match (&known.resize, &known.class) {
        (Some(resize), _) if !resize.wanted.is_empty() => None,
        (Some(resize), _) if resize.state == "reverting" => {
            Some("a resize of it is being taken back".to_owned())
        }
        (Some(resize), _) => resize.refused.clone(),
        (None, Some(_)) => Some(SILENT_ABOUT_RESIZING.to_owned()),
        (None, None) => Some(format!("no SLA class applies (label {})", keys::SLA)),
    }
}

/// One amount of the template, and what the replicas need of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Amount {
    pub(super) container: String,
    #[serde(serialize_with = "size::word")]
    pub(super) resource: Resource,
    #[serde(serialize_with = "size::word")]
    pub(super) part: Part,
    pub(super) template: String,
    /// The smallest and the largest that replicas have now.
    pub(super) live: Option<(String, String)>,
    /// Absent where no replica has this container.
    pub(super) needed: Option<Needed>,
}

/// What was taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Needed {
    pub(super) amount: String,
    /// The replica that needs most.
    pub(super) pod: String,
    /// Whether it is wanted for it, and not its size already.
    pub(super) wanted: bool,
}

impl Amount {
    pub(super) fn differs(&self) -> bool {
        self.needed.as_ref().is_some_and(|needed| !size::same(&needed.amount, &self.template))
    }

    /// `wanted for web-1`, `size of web-1`.
    pub(super) fn source(&self) -> String {
        match &self.needed {
            None => "no replica has it".to_owned(),
            Some(Needed { pod, wanted: true, .. }) => format!("wanted for {}", escaped(pod)),
            Some(Needed { pod, wanted: false, .. }) => format!("size of {}", escaped(pod)),
        }
    }

    /// `app cpu limit 500m -> 890m (wanted for web-1)`.
    pub(super) fn sentence(&self) -> String {
        let Amount { container, resource, part, template, needed, .. } = self;
        let needed =
            needed.as_ref().map_or_else(|| "-".to_owned(), |needed| shown(*resource, &needed.amount));
        let (container, template) = (escaped(container), shown(*resource, template));
        format!("{container} {resource} {part} {template} -> {needed} ({})", self.source())
    }
}

/// Every amount of the template. `original`: its size where the template is a pod that was resized.
pub(super) fn needs(
    template: &LiveSpec,
    original: Option<&PodResources>,
    replicas: &[Replica],
) -> Vec<Amount> {
    let mut amounts = Vec::new();
    for container in template.containers.iter().chain(&template.init_containers) {
        let set = original.and_then(|all| all.get(&container.name)).unwrap_or(&container.resources);
        for resource in Resource::ALL {
            let [request, limit] = Part::ALL.map(|part| size::amount(set, resource, part));
            let is_equal =
                matches!((request, limit), (Some(request), Some(limit)) if size::same(request, limit));
            let needed = Part::ALL.map(|part| largest(&container.name, resource, part, replicas));
            let largest_of_both =
                || needed.iter().flatten().max_by_key(|needed| quantity(&needed.amount)).cloned();
            for (part, text) in [(Part::Request, request), (Part::Limit, limit)] {
                let Some(text) = text else { continue };
                let own = match part {
                    Part::Request => needed[0].clone(),
                    // A limit below the request of another replica is none that the API server accepts.
                    Part::Limit if request.is_some() => largest_of_both(),
                    Part::Limit => needed[1].clone(),
                };
                amounts.push(Amount {
                    container: container.name.clone(),
                    resource,
                    part,
                    template: text.to_owned(),
                    live: range(&container.name, resource, part, replicas),
                    needed: if is_equal { largest_of_both() } else { own },
                });
            }
        }
    }
    amounts
}

/// The largest need of the replicas. What is no quantity is no need.
fn largest(container: &str, resource: Resource, part: Part, replicas: &[Replica]) -> Option<Needed> {
    let needs = replicas.iter().filter_map(|replica| {
        let of = |sizes: &PodResources| {
            sizes.get(container).and_then(|one| size::amount(one, resource, part)).map(str::to_owned)
        };
        let (amount, wanted) = match of(&replica.wanted) {
            Some(amount) => (amount, true),
            None => (of(&replica.live)?, false),
        };
        quantity(&amount)?;
        Some(Needed { amount, pod: replica.name.clone(), wanted })
    });
    // Of equal needs the first one, so that the same replicas have the same result.
    needs.reduce(|most, other| if quantity(&other.amount) > quantity(&most.amount) { other } else { most })
}

pub(super) fn range(
    container: &str,
    resource: Resource,
    part: Part,
    replicas: &[Replica],
) -> Option<(String, String)> {
    let sizes =
        replicas.iter().filter_map(|replica| size::amount(replica.live.get(container)?, resource, part));
    let mut sizes: Vec<_> = sizes.filter(|amount| quantity(amount).is_some()).collect();
    sizes.sort_by_key(|amount| quantity(amount));
    Some(((*sizes.first()?).to_owned(), (*sizes.last()?).to_owned()))
}

fn quantity(amount: &str) -> Option<Quantity> {
    amount.parse().ok()
}

/// The spec of a strategic-merge patch: only what differs; empty where nothing does.
pub(super) fn patch(template: &LiveSpec, amounts: &[Amount]) -> Value {
    let mut spec = json!({});
    for (list, containers) in
        [("containers", &template.containers), ("initContainers", &template.init_containers)]
    {
        let bodies: Vec<_> = containers.iter().filter_map(|container| body(container, amounts)).collect();
        if !bodies.is_empty() {
            spec[list] = Value::Array(bodies);
        }
    }
    spec
}

fn body(container: &Container, amounts: &[Amount]) -> Option<Value> {
    let mut resources = json!({});
    for amount in amounts.iter().filter(|amount| amount.container == container.name && amount.differs()) {
        let needed = amount.needed.as_ref()?;
        resources[amount.part.field()][amount.resource.as_str()] =
            json!(shown(amount.resource, &needed.amount));
    }
    let is_empty = resources.as_object().is_none_or(serde_json::Map::is_empty);
    (!is_empty).then(|| json!({"name": container.name, "resources": resources}))
}
