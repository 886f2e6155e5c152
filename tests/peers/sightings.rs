//! When a watcher of all pods saw what somebody wrote on them: one watch for all, so that nobody is seen later than another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::findings::System;
use crate::history::watch_pods;
use crate::stacks::SIZED;
use crate::steps::STEPS;

/// What is noted of a pod beside labels: the CPU request of its container.
pub(crate) const REQUEST: &str = "request";

/// A value that a pod had not had before.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) at: Timestamp,
    pub(crate) pod: String,
    /// A label's key, or [`REQUEST`].
    pub(crate) key: &'static str,
    /// Empty once it is gone.
    pub(crate) value: String,
}

/// All that was seen, in order.
#[derive(Debug, Default)]
pub(crate) struct Sightings(Mutex<Vec<Sight>>);

impl Sightings {
    /// Watches until the end of the process.
    pub(crate) fn follow(client: Client) -> Arc<Sightings> {
        let sightings = Arc::new(Sightings::default());
        let writer = Arc::clone(&sightings);
        watch_pods(client, move |pod| writer.note(pod));
        sightings
    }

    fn note(&self, pod: &Pod) {
        let at = Timestamp::now();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match pod.metadata.namespace.as_deref() {
            Some(STEPS) => {
                for key in System::ALL.iter().filter_map(|system| system.label()) {
                    let value = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
                    self.see(at, name, key, value.map_or("", String::as_str));
                }
            }
            Some(SIZED) => {
                let spec = pod.spec.as_ref().and_then(|spec| spec.containers.first());
                let requests = spec.and_then(|container| container.resources.as_ref()?.requests.as_ref());
                let cpu = requests.and_then(|requests| requests.get("cpu"));
                self.see(at, name, REQUEST, cpu.map_or("", |cpu| &cpu.0));
            }
            _ => {}
        }
    }

    fn see(&self, at: Timestamp, pod: &str, key: &'static str, value: &str) {
        let mut sights = self.lock();
        let last = sights.iter().rfind(|sight| sight.pod == pod && sight.key == key);
        if last.map_or("", |last| &last.value) != value {
            sights.push(Sight { at, pod: pod.into(), key, value: value.into() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of one key of one pod, in order.
    pub(crate) fn of(&self, pod: &str, key: &str) -> Vec<Sight> {
        self.lock().iter().filter(|sight| sight.pod == pod && sight.key == key).cloned().collect()
    }

    /// The values of one key of all pods, in order.
    pub(crate) fn all(&self, key: &str) -> Vec<Sight> {
        self.lock().iter().filter(|sight| sight.key == key).cloned().collect()
    }
}
