//! One watch for every kind of object: lists, watches, and hands the facts of each object to the core.
//!
//! A new kind needs a type that implements [`Kind`] and a task in [`crate::run`]. An object that cannot be read stops nobody: the core
//! forgets what it knew of it, and it is named in the log, in an Event and, as a number, in the metrics. Its deletion is still noticed.
//!
//! Tests: `watch/tests.rs`, `cluster/pods/tests.rs` (pods as real servers send them), `core/tests/unreadable.rs` (one odd object among others),
//! `tests/edges/` (lists and watches over HTTP).

mod kinds;
mod problem;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Api;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{Config, Event};
use plimsoll_objects::{Content, Object};
use plimsoll_process::rate_limit::RateLimiter;
use plimsoll_process::shutdown::Shutdown;
use tokio::time::{Instant, timeout};

use super::client::backoff;
use crate::engine::Engine;
use crate::input::{Input, WatchEvent};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};
pub(crate) use kinds::{Autoscalers, Classes, LimitRanges, Namespaces, Nodes, PauseSwitch, Pods, Quotas};

/// Objects in one page of a list: 50 pods of the largest size that is usual, some 100 KiB, are 5 MiB. Pages of larger ones are smaller
/// ([`plimsoll_objects::watch`]).
const PAGE: u32 = 50;
/// Seconds after which the server ends a watch. Load balancers that drop quiet connections do so after 240 s.
const WATCH_TIMEOUT: u32 = 200;
/// Unreadable objects that are logged by name at once, and then within every [`LOG_WINDOW`]: whoever changes objects must not fill the log.
const MAX_LOGGED: u32 = 100;
const LOG_WINDOW: Duration = Duration::from_secs(600);

/// A kind of object that is watched.
pub(crate) trait Kind: Send + 'static {
    /// What is read of it.
    type Object: Content;
    /// What is kept of it.
    type Facts: Send + 'static;
    /// What identifies it when it is deleted, or cannot be read.
    type Key: Clone + PartialEq + Send;
    /// Its part of readiness.
    const PART: Part;

    /// Reduces an object to its facts.
    ///
    /// # Errors
    /// If a field that is needed is missing or unreadable; the error starts with the field.
    fn facts(object: &Self::Object) -> anyhow::Result<Self::Facts>;
    /// The key of an object with these names; `None` if it cannot be told.
    fn key(names: &ObjectMeta) -> Option<Self::Key>;
    /// The input of the core.
    fn input(event: WatchEvent<Self::Facts, Self::Key>) -> Input;
}

/// Lists and watches one kind until the shutdown. Failures are retried with backoff, for ever; `fields` is a field selector, or empty.
///
/// # Errors
/// Never before the shutdown.
pub(crate) async fn watch<K: Kind>(
    api: Api<Object<K::Object>>,
    fields: String,
    engine: Engine,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let config = Config::default().page_size(PAGE).timeout(WATCH_TIMEOUT).fields(&fields);
    let mut events = pin!(plimsoll_objects::watch(api, config).take_until(shutdown.triggered()));
    // Not kube's own backoff: it is reset by every try, since a try begins with an event.
    let mut backoff = backoff();
    let mut watch = Watch::<K>::new(metrics.clone());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                match event {
                    Event::Init if watch.listed => metrics.watch_restarted(K::PART),
                    Event::Init => {}
                    _ => backoff.reset(),
                }
                for input in watch.apply(event, &readiness) {
                    engine.submit(input);
                }
            }
            Err(error) => {
                watch.failing = true;
                metrics.watch_failed(K::PART);
                readiness.failed(K::PART, &problem::explain(&error, K::PART));
                let _stopped = timeout(backoff.next_delay(), shutdown.triggered()).await;
            }
        }
    }
    Ok(())
}

/// An object that cannot be read, and why. Another problem is another one, and so is another object of its name.
type Problem<K> = (Option<<K as Kind>::Key>, String);

/// What is remembered between two events.
struct Watch<K: Kind> {
    /// The list while it arrives: what can be read, and what cannot.
    list: Vec<K::Facts>,
    unreadable_in_list: BTreeMap<String, Problem<K>>,
    /// What can be read in that list and could not before.
    readable_again: BTreeSet<String>,
    /// Whether a complete list arrived.
    listed: bool,
    failing: bool,
    /// The objects that cannot be read now, by namespace and name.
    unreadable: BTreeMap<String, Problem<K>>,
    log: RateLimiter,
    metrics: Metrics,
}

impl<K: Kind> Watch<K> {
    fn new(metrics: Metrics) -> Self {
        Watch {
            list: Vec::new(),
            unreadable_in_list: BTreeMap::new(),
            readable_again: BTreeSet::new(),
            listed: false,
            failing: false,
            unreadable: BTreeMap::new(),
            log: RateLimiter::new(MAX_LOGGED, LOG_WINDOW, Instant::now().into_std()),
            metrics,
        }
    }

    /// The inputs that follow from an event.
    fn apply(&mut self, event: Event<Object<K::Object>>, readiness: &Readiness) -> Vec<Input> {
        // Each try begins with `Init`, whether it succeeds or not.
        if !matches!(event, Event::Init) && std::mem::take(&mut self.failing) {
            readiness.recovered(K::PART);
        }
        let inputs = match event {
            Event::Init => {
                self.list.clear();
                self.unreadable_in_list.clear();
                self.readable_again.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                match facts::<K>(&object) {
                    Ok(facts) => {
                        let name = name(object.names());
                        if self.unreadable.contains_key(&name) {
                            self.readable_again.insert(name);
                        }
                        self.list.push(facts);
                    }
                    Err(problem) => {
                        let problem = (K::key(object.names()), problem);
                        self.unreadable_in_list.insert(name(object.names()), problem);
                    }
                }
                Vec::new()
            }
            Event::InitDone => self.list_is_complete(readiness),
            Event::Apply(object) => match facts::<K>(&object) {
                Ok(facts) => {
                    self.unreadable.remove(&name(object.names()));
                    vec![K::input(WatchEvent::Changed(Box::new(facts)))]
                }
                Err(problem) => self.cannot_read(name(object.names()), (K::key(object.names()), problem)),
            },
            Event::Delete(object) => {
                self.unreadable.remove(&name(object.names()));
                K::key(object.names()).map(|key| K::input(WatchEvent::Deleted(key))).into_iter().collect()
            }
        };
        self.metrics.unreadable(K::PART, self.unreadable.len());
        inputs
    }

    fn list_is_complete(&mut self, readiness: &Readiness) -> Vec<Input> {
        let (all, unreadable) =
            (std::mem::take(&mut self.list), std::mem::take(&mut self.unreadable_in_list));
        if !std::mem::replace(&mut self.listed, true) {
            tracing::info!(
                resource = K::PART.as_str(),
                count = all.len(),
                unreadable = unreadable.len(),
                "listed"
            );
            readiness.done(K::PART);
        }
        let mut inputs = vec![K::input(WatchEvent::Listed(all))];
        for name in std::mem::take(&mut self.readable_again) {
            self.unreadable.remove(&name);
        }
        let gone: Vec<String> =
            self.unreadable.keys().filter(|name| !unreadable.contains_key(*name)).cloned().collect();
        for (key, _) in gone.iter().filter_map(|name| self.unreadable.remove(name)) {
            inputs.extend(key.map(|key| K::input(WatchEvent::Deleted(key))));
        }
        for (name, problem) in unreadable {
            inputs.extend(self.cannot_read(name, problem));
        }
        inputs
    }

    /// An object that cannot be read is logged and handed over once, and again when the problem is another.
    fn cannot_read(&mut self, name: String, problem: Problem<K>) -> Vec<Input> {
        if self.unreadable.get(&name) == Some(&problem) {
            return Vec::new();
        }
        if self.log.try_acquire(Instant::now().into_std()) {
            let resource = K::PART.as_str();
            tracing::warn!(
                resource,
                name,
                problem = problem.1,
                "an object cannot be read: nothing is known of it until somebody corrects that field"
            );
        }
        let input = problem.0.clone().map(|key| K::input(WatchEvent::Unreadable(key, problem.1.clone())));
        self.unreadable.insert(name, problem);
        input.into_iter().collect()
    }
}

/// The facts of an object, or the field and the reason why there are none.
fn facts<K: Kind>(object: &Object<K::Object>) -> Result<K::Facts, String> {
    let content = object.content.as_ref().map_err(ToString::to_string)?;
    K::facts(content).map_err(|problem| format!("{problem:#}"))
}

/// `shop/web`, `n1`.
fn name(names: &ObjectMeta) -> String {
    let name = names.name.as_deref().unwrap_or("(without a name)");
    match &names.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
