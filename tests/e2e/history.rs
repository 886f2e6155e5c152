//! What a watcher of all pods saw of our keys: each change with its time. It is the witness of every test.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use plimsoll_contract::keys;
use tokio::time::sleep;

/// Namespace and name.
type Name = (String, String);
/// Labels and annotations of ours.
pub(crate) type Keys = BTreeMap<String, String>;

/// A pod as it was from one moment on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sight {
    /// When it was seen, by this machine's clock; the nodes have the same.
    pub(crate) at: Timestamp,
    /// Which pod of this name.
    pub(crate) uid: String,
    /// Its keys of ours.
    pub(crate) keys: Keys,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    seen: Mutex<BTreeMap<Name, Vec<Sight>>>,
}

impl Sight {
    /// The value of a key; empty where there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
}

/// Shows every pod, and again with each change, until the end of the process.
pub(crate) fn watch_pods(client: Client, note: impl Fn(&Pod) + Send + 'static) {
    tokio::spawn(async move {
        let pods = Api::<Pod>::all(client);
        let mut events = pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(event) = events.next().await {
            if let Ok(pod) = event {
                note(&pod);
            }
        }
    });
}

impl History {
    /// Watches until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<History> {
        let history = Arc::new(History::default());
        let writer = Arc::clone(&history);
        watch_pods(client, move |pod| writer.note(pod));
        history
    }

    fn note(&self, pod: &Pod) {
        let meta = &pod.metadata;
        let (Some(namespace), Some(name)) = (meta.namespace.clone(), meta.name.clone()) else { return };
        let maps = [&meta.labels, &meta.annotations].into_iter().flatten().flatten();
        let ours = maps.filter(|(key, _)| key.starts_with(keys::PREFIX));
        let keys = ours.map(|(key, value)| (key.clone(), value.clone())).collect();
        let sight = Sight { at: Timestamp::now(), uid: meta.uid.clone().unwrap_or_default(), keys };
        let mut seen = self.lock();
        let sights = seen.entry((namespace, name)).or_default();
        if sights.last().is_none_or(|last| (&last.uid, &last.keys) != (&sight.uid, &sight.keys)) {
            sights.push(sight);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<Sight>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sights of a pod, in order.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> Vec<Sight> {
        self.lock().get(&(namespace.into(), name.into())).cloned().unwrap_or_default()
    }

    /// The last sight of a pod.
    pub(crate) fn last(&self, namespace: &str, name: &str) -> Option<Sight> {
        self.of(namespace, name).pop()
    }

    /// The pods of a namespace, by name.
    pub(crate) fn within(&self, namespace: &str) -> BTreeMap<String, Vec<Sight>> {
        let seen = self.lock();
        let here = seen.iter().filter(|((space, _), _)| space == namespace);
        here.map(|((_, name), sights)| (name.clone(), sights.clone())).collect()
    }

    /// Waits for a sight not before `since` that is as wanted.
    pub(crate) async fn wait(
        &self,
        (namespace, name): (&str, &str),
        since: Timestamp,
        most: Duration,
        wanted: impl Fn(&Sight) -> bool,
    ) -> anyhow::Result<Sight> {
        let deadline = Timestamp::now() + most;
        loop {
            let sights = self.of(namespace, name);
            // What held already when it began counts as well.
            let begin = sights.iter().rposition(|sight| sight.at <= since).unwrap_or(0);
            if let Some(sight) = sights.iter().skip(begin).find(|sight| wanted(sight)) {
                return Ok(sight.clone());
            }
            if Timestamp::now() > deadline {
                let last = sights.last().map(|sight| sight.keys.clone());
                return None
                    .with_context(|| format!("waited {most:?} for {namespace}/{name}; it has {last:?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
