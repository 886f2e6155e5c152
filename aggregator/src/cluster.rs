//! What the API server says of pods, nodes and namespaces, as inputs of the core.
//!
//! Only lists and watches. Each object is reduced to the few facts we keep as soon as it is read, and nothing else
//! stays in memory. An object that cannot be understood is skipped, and said once.
//!
//! Proof: `cluster/pod/tests.rs` (pods as real servers send them), `tests/edges/` (lists and watches).

pub mod pod;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;

use anyhow::Context;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Error, Event};
use kube::{Api, Resource};
use plimsoll_contract::{NodeName, PodName, keys};
use plimsoll_process::shutdown::Shutdown;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use self::pod::PodLite;
use crate::calls::{Pauses, causes};
use crate::engine::Engine;
use crate::input::{Input, NamespaceFacts, PodFacts};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Seconds after which the server ends a watch. Load balancers that drop quiet connections do so after 240 s.
pub(crate) const WATCH_TIMEOUT: u32 = 200;
/// Objects that are remembered as not understood; beyond these, no more are named.
const NAMED: usize = 100;

/// A kind of object that the core hears of.
pub trait Mirror: Send + 'static {
    /// As the API server sends it.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;
    /// What we keep of it.
    type Facts: Send + 'static;
    /// Its part of being ready.
    const PART: Part;

    /// What we keep of an object.
    ///
    /// # Errors
    /// If it is not what it should be.
    fn facts(object: &Self::Object) -> anyhow::Result<Self::Facts>;
    /// A complete list.
    fn listed(all: Vec<Self::Facts>) -> Input;
    /// One is new or changed.
    fn changed(facts: Self::Facts) -> Input;
    /// One is gone; `None` if it cannot be told which. What else it says does not matter any more.
    fn gone(object: &Self::Object) -> Option<Input>;
}

/// Pods.
#[derive(Debug)]
pub struct Pods;
/// Nodes, their metadata only.
#[derive(Debug)]
pub struct Nodes;
/// Namespaces, their metadata only.
#[derive(Debug)]
pub struct Namespaces;

impl Mirror for Pods {
    type Object = PodLite;
    type Facts = PodFacts;
    const PART: Part = Part::Pods;

    fn facts(object: &PodLite) -> anyhow::Result<PodFacts> {
        object.facts()
    }
    fn listed(all: Vec<PodFacts>) -> Input {
        Input::PodsListed(all)
    }
    fn changed(facts: PodFacts) -> Input {
        Input::PodChanged(Box::new(facts))
    }
    fn gone(object: &PodLite) -> Option<Input> {
        let meta = &object.metadata;
        let pod = PodName::new(meta.namespace.as_deref()?, meta.name.as_deref()?);
        Some(Input::PodGone { pod, uid: meta.uid.clone()? })
    }
}

impl Mirror for Nodes {
    type Object = PartialObjectMeta<Node>;
    type Facts = NodeName;
    const PART: Part = Part::Nodes;

    fn facts(object: &PartialObjectMeta<Node>) -> anyhow::Result<NodeName> {
        Ok(NodeName::new(object.metadata.name.as_deref().context("it has no name")?)?)
    }
    fn listed(all: Vec<NodeName>) -> Input {
        Input::NodesListed(all)
    }
    fn changed(node: NodeName) -> Input {
        Input::NodeChanged(node)
    }
    fn gone(object: &PartialObjectMeta<Node>) -> Option<Input> {
        Some(Input::NodeGone(NodeName::new(object.metadata.name.as_deref()?).ok()?))
    }
}

impl Mirror for Namespaces {
    type Object = PartialObjectMeta<Namespace>;
    type Facts = NamespaceFacts;
    const PART: Part = Part::Namespaces;

    fn facts(object: &PartialObjectMeta<Namespace>) -> anyhow::Result<NamespaceFacts> {
        let label = |key: &str| object.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        Ok(NamespaceFacts {
            name: object.metadata.name.clone().context("it has no name")?,
            ignored: label(keys::IGNORE).is_some_and(|value| value == "true"),
            class: label(keys::SLA).filter(|class| !class.is_empty()).cloned(),
        })
    }
    fn listed(all: Vec<NamespaceFacts>) -> Input {
        Input::NamespacesListed(all)
    }
    fn changed(facts: NamespaceFacts) -> Input {
        Input::NamespaceChanged(facts)
    }
    fn gone(object: &PartialObjectMeta<Namespace>) -> Option<Input> {
        object.metadata.name.clone().map(Input::NamespaceGone)
    }
}

/// Lists and watches one kind until the shutdown, with back-off, for ever.
///
/// # Errors
/// Never before the shutdown.
pub async fn follow<M: Mirror>(
    api: Api<M::Object>,
    engine: Engine,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let config = Config::default().page_size(PAGE).timeout(WATCH_TIMEOUT);
    let mut events = pin!(watcher(api, config).take_until(shutdown.triggered()));
    // Not kube's own back-off: that one begins anew with every try, since a try begins with an event.
    let mut pauses = Pauses::new();
    let mut state =
        Following::<M> { list: Vec::new(), listed: false, failing: false, named: BTreeSet::new() };
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                match event {
                    Event::Init if state.listed => metrics.watch_restarted(M::PART),
                    Event::Init => {}
                    _ => pauses.reset(),
                }
                if let Some(input) = state.take(event, &readiness) {
                    engine.submit(input);
                }
            }
            Err(error) => {
                state.failing = true;
                metrics.watch_failed(M::PART);
                readiness.failed(M::PART, &explain(&error, M::PART));
                let _stopped = timeout(pauses.after_failure(), shutdown.triggered()).await;
            }
        }
    }
    Ok(())
}

/// What is between two events.
struct Following<M: Mirror> {
    list: Vec<M::Facts>,
    listed: bool,
    failing: bool,
    named: BTreeSet<String>,
}

impl<M: Mirror> Following<M> {
    fn take(&mut self, event: Event<M::Object>, readiness: &Readiness) -> Option<Input> {
        // A try begins with this, whatever becomes of it.
        if !matches!(event, Event::Init) && std::mem::take(&mut self.failing) {
            readiness.fine(M::PART);
        }
        match event {
            Event::Init => {
                self.list.clear();
                None
            }
            Event::InitApply(object) => {
                let facts = self.understand(&object);
                self.list.extend(facts);
                None
            }
            Event::InitDone => {
                let all = std::mem::take(&mut self.list);
                if !std::mem::replace(&mut self.listed, true) {
                    tracing::info!(resource = M::PART.as_str(), count = all.len(), "listed");
                    readiness.done(M::PART);
                }
                Some(M::listed(all))
            }
            Event::Apply(object) => self.understand(&object).map(M::changed),
            Event::Delete(object) => M::gone(&object),
        }
    }

    fn understand(&mut self, object: &M::Object) -> Option<M::Facts> {
        match M::facts(object) {
            Ok(facts) => Some(facts),
            Err(problem) => {
                let meta = object.meta();
                let name = [meta.namespace.as_deref(), meta.name.as_deref()]
                    .map(Option::unwrap_or_default)
                    .join("/");
                if self.named.len() < NAMED && self.named.insert(name.clone()) {
                    let resource = M::PART.as_str();
                    tracing::warn!(resource, name, problem = %format!("{problem:#}"), "an object is skipped");
                }
                None
            }
        }
    }
}

/// A watch's failure, with what to do about the usual one.
pub(crate) fn explain(error: &Error, part: Part) -> String {
    let code = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        _ => 0,
    };
    match code {
        401 => format!("{error}: the API server does not accept our credentials"),
        403 => format!(
            "{error}: our account may not list and watch {}: apply the manifests' RBAC",
            part.as_str()
        ),
        _ => causes(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_try_that_has_only_begun_does_not_work_again() {
        let readiness = Readiness::new();
        readiness.failed(Part::Pods, "nobody answers");
        let mut following =
            Following::<Pods> { list: Vec::new(), listed: false, failing: true, named: BTreeSet::new() };
        following.take(Event::Init, &readiness);
        assert!(readiness.text().contains("pods: not yet (nobody answers)"), "{}", readiness.text());
        following.take(Event::InitDone, &readiness);
        assert!(readiness.text().contains("pods: ready\n"), "{}", readiness.text());
    }

    #[test]
    fn a_pod_that_is_deleted_is_gone_also_when_the_rest_of_it_is_not_understood() {
        let pod = json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
            "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "much"}}}]},
        });
        let pod: PodLite = serde_json::from_value(pod).unwrap();
        let mut following =
            Following::<Pods> { list: Vec::new(), listed: true, failing: false, named: BTreeSet::new() };
        assert_eq!(following.take(Event::Apply(pod.clone()), &Readiness::new()), None, "skipped");
        let gone = Input::PodGone { pod: PodName::new("shop", "web"), uid: "u".to_owned() };
        assert_eq!(following.take(Event::Delete(pod), &Readiness::new()), Some(gone));
    }
}
