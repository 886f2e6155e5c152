//! Our keys on all pods, as a watch observed them: each change with its time.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use plimsoll_contract::keys;
use plimsoll_objects::{Content, Object};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

/// Namespace and name.
type Name = (String, String);
/// Labels and annotations of ours.
pub(crate) type Keys = BTreeMap<String, String>;

/// A pod's keys from one point in time on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observation {
    /// When it was observed, by this machine's clock, which the nodes share.
    pub(crate) at: Timestamp,
    /// Tells pods of the same name apart.
    pub(crate) uid: String,
    pub(crate) keys: Keys,
}

/// All observations.
#[derive(Debug, Default)]
pub(crate) struct History {
    by_pod: Mutex<BTreeMap<Name, Vec<Observation>>>,
}

impl Observation {
    /// The value of a key, or an empty text.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
}

/// What is read of a pod: another field that somebody made odd must not end the observation of all.
#[derive(Debug, Clone, Deserialize)]
struct ObservedPod {
    metadata: ObservedMetadata,
}

#[derive(Debug, Clone, Deserialize)]
struct ObservedMetadata {
    labels: Option<Keys>,
    annotations: Option<Keys>,
}

impl Content for ObservedPod {
    type Kind = Pod;
    const METADATA_ONLY: bool = true;
}

/// Calls `observe` with every pod, and again after each change, until the end of the process.
pub(crate) fn watch_pods<K>(client: Client, observe: impl Fn(&K) + Send + 'static)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    tokio::spawn(async move {
        let pods = Api::<K>::all(client);
        let mut events = pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(event) = events.next().await {
            if let Ok(pod) = event {
                observe(&pod);
            }
        }
    });
}

impl History {
    /// Records until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<History> {
        let history = Arc::new(History::default());
        let writer = Arc::clone(&history);
        watch_pods(client, move |pod| writer.observe(pod));
        history
    }

    fn observe(&self, pod: &Object<ObservedPod>) {
        let names = pod.names();
        let (Some(namespace), Some(name)) = (names.namespace.clone(), names.name.clone()) else { return };
        let Ok(ObservedPod { metadata }) = &pod.content else { return };
        let maps = [&metadata.labels, &metadata.annotations].into_iter().flatten().flatten();
        let ours = maps.filter(|(key, _)| key.starts_with(keys::PREFIX));
        let keys = ours.map(|(key, value)| (key.clone(), value.clone())).collect();
        let observation =
            Observation { at: Timestamp::now(), uid: names.uid.clone().unwrap_or_default(), keys };
        let mut by_pod = self.lock();
        let observations = by_pod.entry((namespace, name)).or_default();
        if observations
            .last()
            .is_none_or(|last| (&last.uid, &last.keys) != (&observation.uid, &observation.keys))
        {
            observations.push(observation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<Observation>>> {
        self.by_pod.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All observations of a pod, in order.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> Vec<Observation> {
        self.lock().get(&(namespace.into(), name.into())).cloned().unwrap_or_default()
    }

    /// The last observation of a pod.
    pub(crate) fn last(&self, namespace: &str, name: &str) -> Option<Observation> {
        self.of(namespace, name).pop()
    }

    /// The pods of a namespace, by name.
    pub(crate) fn within(&self, namespace: &str) -> BTreeMap<String, Vec<Observation>> {
        let by_pod = self.lock();
        let here = by_pod.iter().filter(|((space, _), _)| space == namespace);
        here.map(|((_, name), observations)| (name.clone(), observations.clone())).collect()
    }

    /// Waits for an observation that satisfies `wanted`, at `since` or later.
    pub(crate) async fn wait(
        &self,
        (namespace, name): (&str, &str),
        since: Timestamp,
        timeout: Duration,
        wanted: impl Fn(&Observation) -> bool,
    ) -> anyhow::Result<Observation> {
        let deadline = Timestamp::now() + timeout;
        loop {
            let observations = self.of(namespace, name);
            // The one that was current at `since` counts as well.
            let first = observations.iter().rposition(|observation| observation.at <= since).unwrap_or(0);
            if let Some(observation) = observations.iter().skip(first).find(|observation| wanted(observation))
            {
                return Ok(observation.clone());
            }
            if Timestamp::now() > deadline {
                let last = observations.last().map(|observation| observation.keys.clone());
                return None
                    .with_context(|| format!("waited {timeout:?} for {namespace}/{name}; it has {last:?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
