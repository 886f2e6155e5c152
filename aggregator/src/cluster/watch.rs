//! One watch for every kind of object: lists, watches, and hands the facts of each object to the core.
//!
//! A new kind needs a type that implements [`Kind`] and a task in [`crate::run`]. An object that cannot be read is skipped and logged
//! once; its deletion is still noticed.
//!
//! Tests: `cluster/pods/tests.rs` (pods as real servers send them), `tests/edges/` (lists and watches over HTTP).

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;

use anyhow::Context;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Error, Event, watcher};
use kube::{Api, Resource};
use plimsoll_contract::{NodeName, PodName, keys};
use plimsoll_process::error::error_chain;
use plimsoll_process::shutdown::Shutdown;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::client::backoff;
use super::nodes::NodeObject;
use super::pods::PodObject;
use crate::engine::Engine;
use crate::facts::{Ignore, NamespaceFacts, NodeFacts, PodFacts};
use crate::input::{Input, PodKey, WatchEvent};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Seconds after which the server ends a watch. Load balancers that drop quiet connections do so after 240 s.
const WATCH_TIMEOUT: u32 = 200;
/// Unreadable objects that are logged by name; beyond these, no more are.
const MAX_LOGGED: usize = 100;

/// A kind of object that is watched.
pub(crate) trait Kind: Send + 'static {
    /// As the API server sends it.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;
    /// What is kept of it.
    type Facts: Send + 'static;
    /// What identifies it when it is deleted.
    type Key;
    /// Its part of readiness.
    const PART: Part;

    /// Reduces an object to its facts.
    ///
    /// # Errors
    /// If a field that is needed is missing or unreadable.
    fn facts(object: &Self::Object) -> anyhow::Result<Self::Facts>;
    /// The key of a deleted object; `None` if it cannot be told.
    fn key(object: &Self::Object) -> Option<Self::Key>;
    /// The input of the core.
    fn input(event: WatchEvent<Self::Facts, Self::Key>) -> Input;
}

#[derive(Debug)]
pub(crate) struct Pods;
#[derive(Debug)]
pub(crate) struct Nodes;
/// Namespaces, their metadata only.
#[derive(Debug)]
pub(crate) struct Namespaces;
/// The ConfigMap with the pause switch.
#[derive(Debug)]
pub(crate) struct PauseSwitch;

impl Kind for Pods {
    type Object = PodObject;
    type Facts = PodFacts;
    type Key = PodKey;
    const PART: Part = Part::Pods;

    fn facts(object: &PodObject) -> anyhow::Result<PodFacts> {
        object.facts()
    }
    fn key(object: &PodObject) -> Option<PodKey> {
        let meta = &object.metadata;
        let pod = PodName::new(meta.namespace.as_deref()?, meta.name.as_deref()?);
        Some(PodKey { pod, uid: meta.uid.clone()? })
    }
    fn input(event: WatchEvent<PodFacts, PodKey>) -> Input {
        Input::Pods(event)
    }
}

impl Kind for Nodes {
    type Object = NodeObject;
    type Facts = NodeFacts;
    type Key = NodeName;
    const PART: Part = Part::Nodes;

    fn facts(object: &NodeObject) -> anyhow::Result<NodeFacts> {
        object.facts()
    }
    fn key(object: &NodeObject) -> Option<NodeName> {
        NodeName::new(object.metadata.name.as_deref()?).ok()
    }
    fn input(event: WatchEvent<NodeFacts, NodeName>) -> Input {
        Input::Nodes(event)
    }
}

impl Kind for Namespaces {
    type Object = PartialObjectMeta<Namespace>;
    type Facts = NamespaceFacts;
    type Key = String;
    const PART: Part = Part::Namespaces;

    fn facts(object: &Self::Object) -> anyhow::Result<NamespaceFacts> {
        let label = |key: &str| object.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        Ok(NamespaceFacts {
            name: object.metadata.name.clone().context("it has no name")?,
            uid: object.metadata.uid.clone(),
            ignore: Ignore::of(label(keys::IGNORE).map(String::as_str)),
            class: label(keys::SLA).filter(|class| !class.is_empty()).cloned(),
        })
    }
    fn key(object: &Self::Object) -> Option<String> {
        object.metadata.name.clone()
    }
    fn input(event: WatchEvent<NamespaceFacts, String>) -> Input {
        Input::Namespaces(event)
    }
}

/// ConfigMap `plimsoll-control`, key `paused`. No ConfigMap, no key, an empty value or `false` mean that writes continue. Any other
/// value than `true` pauses too, and is logged: whoever mistypes wants to stop.
impl Kind for PauseSwitch {
    type Object = ConfigMap;
    type Facts = bool;
    type Key = ();
    const PART: Part = Part::Control;

    fn facts(object: &ConfigMap) -> anyhow::Result<bool> {
        let value = object.data.as_ref().and_then(|data| data.get(keys::CONTROL_PAUSED));
        Ok(match value.map_or("", |value| value.trim()) {
            "" | "false" => false,
            "true" => true,
            other => {
                tracing::warn!(value = other, "the pause switch is neither true nor false: taken for true");
                true
            }
        })
    }
    fn key(_object: &ConfigMap) -> Option<()> {
        Some(())
    }
    fn input(event: WatchEvent<bool, ()>) -> Input {
        Input::Paused(match event {
            WatchEvent::Listed(all) => all.contains(&true),
            WatchEvent::Changed(paused) => *paused,
            WatchEvent::Deleted(()) => false,
        })
    }
}

/// Lists and watches one kind until the shutdown. Failures are retried with backoff, for ever; `fields` is a field selector, or empty.
///
/// # Errors
/// Never before the shutdown.
pub(crate) async fn watch<K: Kind>(
    api: Api<K::Object>,
    fields: String,
    engine: Engine,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let config = watcher::Config::default().page_size(PAGE).timeout(WATCH_TIMEOUT).fields(&fields);
    let mut events = pin!(watcher(api, config).take_until(shutdown.triggered()));
    // Not kube's own backoff: it is reset by every try, since a try begins with an event.
    let mut backoff = backoff();
    let mut watch = Watch::<K>::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                match event {
                    Event::Init if watch.listed => metrics.watch_restarted(K::PART),
                    Event::Init => {}
                    _ => backoff.reset(),
                }
                if let Some(input) = watch.apply(event, &readiness) {
                    engine.submit(input);
                }
            }
            Err(error) => {
                watch.failing = true;
                metrics.watch_failed(K::PART);
                readiness.failed(K::PART, &explain(&error, K::PART));
                let _stopped = timeout(backoff.next_delay(), shutdown.triggered()).await;
            }
        }
    }
    Ok(())
}

/// What is remembered between two events.
struct Watch<K: Kind> {
    /// The list while it arrives.
    list: Vec<K::Facts>,
    /// Whether a complete list arrived.
    listed: bool,
    failing: bool,
    /// Objects that were logged as unreadable.
    logged: BTreeSet<String>,
}

impl<K: Kind> Default for Watch<K> {
    fn default() -> Self {
        Watch { list: Vec::new(), listed: false, failing: false, logged: BTreeSet::new() }
    }
}

impl<K: Kind> Watch<K> {
    fn apply(&mut self, event: Event<K::Object>, readiness: &Readiness) -> Option<Input> {
        // Each try begins with `Init`, whether it succeeds or not.
        if !matches!(event, Event::Init) && std::mem::take(&mut self.failing) {
            readiness.recovered(K::PART);
        }
        match event {
            Event::Init => {
                self.list.clear();
                None
            }
            Event::InitApply(object) => {
                let facts = self.facts(&object);
                self.list.extend(facts);
                None
            }
            Event::InitDone => {
                let all = std::mem::take(&mut self.list);
                if !std::mem::replace(&mut self.listed, true) {
                    tracing::info!(resource = K::PART.as_str(), count = all.len(), "listed");
                    readiness.done(K::PART);
                }
                Some(K::input(WatchEvent::Listed(all)))
            }
            Event::Apply(object) => {
                self.facts(&object).map(|facts| K::input(WatchEvent::Changed(Box::new(facts))))
            }
            Event::Delete(object) => K::key(&object).map(|key| K::input(WatchEvent::Deleted(key))),
        }
    }

    /// The facts of an object; one that is unreadable is logged once.
    fn facts(&mut self, object: &K::Object) -> Option<K::Facts> {
        let problem = match K::facts(object) {
            Ok(facts) => return Some(facts),
            Err(problem) => problem,
        };
        let meta = object.meta();
        let name = [&meta.namespace, &meta.name].map(|part| part.as_deref().unwrap_or_default()).join("/");
        if self.logged.len() < MAX_LOGGED && self.logged.insert(name.clone()) {
            let resource = K::PART.as_str();
            tracing::warn!(resource, name, problem = %format!("{problem:#}"), "an object is skipped");
        }
        None
    }
}

/// A failure of a watch, with what to do about the usual ones.
fn explain(error: &Error, part: Part) -> String {
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
        _ => error_chain(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_try_that_has_only_begun_is_not_a_recovery() {
        let readiness = Readiness::new();
        readiness.failed(Part::Pods, "nobody answers");
        let mut watch = Watch::<Pods> { failing: true, ..Watch::default() };
        watch.apply(Event::Init, &readiness);
        assert!(readiness.text().contains("pods: not yet (nobody answers)"), "{}", readiness.text());
        watch.apply(Event::InitDone, &readiness);
        assert!(readiness.text().contains("pods: ready\n"), "{}", readiness.text());
    }

    #[test]
    fn the_deletion_of_a_pod_is_noticed_also_when_the_rest_of_it_is_unreadable() {
        let pod = json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
            "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "much"}}}]},
        });
        let pod: PodObject = serde_json::from_value(pod).unwrap();
        let mut watch = Watch::<Pods> { listed: true, ..Watch::default() };
        assert_eq!(watch.apply(Event::Apply(pod.clone()), &Readiness::new()), None, "skipped");
        let key = PodKey { pod: PodName::new("shop", "web"), uid: "u".to_owned() };
        let deleted = Input::Pods(WatchEvent::Deleted(key));
        assert_eq!(watch.apply(Event::Delete(pod), &Readiness::new()), Some(deleted));
    }

    #[test]
    fn writes_continue_only_while_the_pause_switch_is_false_or_absent() {
        let table = [
            (None, false),
            (Some(""), false),
            (Some("false"), false),
            (Some(" true\n"), true),
            (Some("yes"), true),
        ];
        for (value, paused) in table {
            let data = value.map(|value| [(keys::CONTROL_PAUSED.to_owned(), value.to_owned())].into());
            assert_eq!(
                PauseSwitch::facts(&ConfigMap { data, ..ConfigMap::default() }).unwrap(),
                paused,
                "{value:?}"
            );
        }
        assert_eq!(PauseSwitch::input(WatchEvent::Listed(Vec::new())), Input::Paused(false));
        assert_eq!(PauseSwitch::input(WatchEvent::Deleted(())), Input::Paused(false));
    }
}
