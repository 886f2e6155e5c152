//! The hollow kubelet: runs the pods that are bound to its node on a [`Host`], and writes their statuses to the API.
//!
//! ```text
//!   Store --- pods of the node ---> sync_loop ---> pod (cgroups, containers, resize) ---> Host
//!         <--- node, pod statuses ---   |
//!                                       +---> project (ConfigMap directories, token files)
//! ```
//!
//! It registers its Node, creates cgroups and workloads by the resources and the load annotation of each pod, enforces what
//! a real kubelet enforces, writes the status fields that Plimsoll reads, restarts containers that end, and completes
//! deletions. In-place resizes are applied as a scripted [`ResizeBehavior`] says, so that tests can have a kubelet that is
//! late or rejects them. It pulls no images, runs no probes and mounts no volumes; it writes projected files to given paths.
//!
//! One thread, owned by the handle; it synchronizes every 100 ms and on every change of a pod. Tests: `kubelet/tests.rs`.

mod node;
mod pod;
mod project;
mod resources;
mod status;
mod sync_loop;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::ContainerId;

use self::sync_loop::SyncLoop;
use crate::api::{ApiServer, Resource, Selector, Subscription};
use crate::host::Host;
use project::{ConfigMapFiles, ProjectedToken};

pub use project::TokenFile;

/// How often the thread checks for changes.
const POLL: Duration = Duration::from_millis(20);
/// How often it synchronizes without a change.
const RESYNC: Duration = Duration::from_millis(100);

/// How in-place resizes are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResizeBehavior {
    /// Immediately, if they fit.
    #[default]
    Immediate,
    /// Accepted immediately, enforced after this time; `PodResizeInProgress` meanwhile.
    Delayed(Duration),
    /// Accepted, but enforced half of the way; `PodResizeInProgress` with an error remains.
    Partial,
    /// `PodResizePending`, reason `Deferred`.
    Deferred,
    /// `PodResizePending`, reason `Infeasible`.
    Infeasible,
    /// Ignored: no condition, no new `observedGeneration`.
    Ignored,
}

/// Options of a kubelet.
#[derive(Debug, Clone)]
pub struct KubeletOptions {
    /// Name of its node.
    pub node: String,
    /// How resizes are applied, unless [`Kubelet::set_resize_behavior`] says otherwise for a pod.
    pub resize_behavior: ResizeBehavior,
    /// How often the status of the node is renewed.
    pub heartbeat: Duration,
}

impl KubeletOptions {
    /// A kubelet of this node that applies resizes immediately.
    pub fn new(node: &str) -> Self {
        let (node, heartbeat) = (node.to_owned(), Duration::from_secs(10));
        KubeletOptions { node, resize_behavior: ResizeBehavior::Immediate, heartbeat }
    }
}

/// A running kubelet. Dropping it stops it: its pods are removed from the host and remain in the API.
pub struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    sync_loop: Mutex<SyncLoop>,
    started: Instant,
    stopping: AtomicBool,
}

impl Kubelet {
    /// Registers the node, starts the pods that are bound to it already, and then runs in the background. Blocks for some
    /// milliseconds per pod on a simulated host, some tens on a real one.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(api: &ApiServer, host: Arc<dyn Host>, options: KubeletOptions) -> anyhow::Result<Kubelet> {
        let sync_loop = Mutex::new(SyncLoop::new(&options.node, host, api.clone(), options.resize_behavior));
        let shared = Shared { sync_loop, started: Instant::now(), stopping: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        shared.lock().report_node(Timestamp::now());
        shared.sync();
        let (worker, heartbeat) = (Arc::clone(&shared), options.heartbeat);
        let thread = thread::Builder::new().name("kubelet".into()).spawn(move || worker.run(heartbeat));
        Ok(Kubelet { thread: Some(thread.context("cannot start the thread of the kubelet")?), shared })
    }

    /// Changes how resizes of a pod are applied, those that are waiting included.
    pub fn set_resize_behavior(&self, namespace: &str, pod: &str, behavior: ResizeBehavior) {
        self.shared.lock().resize_behaviors.insert(format!("{namespace}/{pod}"), behavior);
    }

    /// Kills a container and starts it again immediately: with a new id, and `restartCount` one higher.
    ///
    /// # Errors
    /// When it does not run here, or cannot be started again.
    pub fn kill_container(&self, namespace: &str, pod: &str, container: &str) -> anyhow::Result<ContainerId> {
        self.shared.lock().kill(namespace, pod, container, Timestamp::now())
    }

    /// Keeps `directory` up to date with a ConfigMap, like an optional volume, from the return of this call on.
    ///
    /// # Errors
    /// When the files cannot be written now; later failures are logged and retried.
    pub fn project_config_map(&self, namespace: &str, name: &str, directory: &Path) -> anyhow::Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let mut files =
            ConfigMapFiles { namespace, name, directory: directory.to_owned(), content: Default::default() };
        let mut sync_loop = self.shared.lock();
        files
            .sync(sync_loop.api.store())
            .with_context(|| format!("cannot project a ConfigMap into {}", directory.display()))?;
        sync_loop.config_maps.push(files);
        Ok(())
    }

    /// Keeps a valid token of a pod in a file. It exists when this returns if the pod exists, else as soon as the pod does.
    ///
    /// # Errors
    /// When the file cannot be written now; later failures are logged and retried.
    pub fn project_token(&self, file: TokenFile) -> anyhow::Result<()> {
        let path = file.path.clone();
        let mut token = ProjectedToken { file, issued: None };
        let mut sync_loop = self.shared.lock();
        token
            .sync(&sync_loop.api, self.shared.started.elapsed())
            .with_context(|| format!("cannot project a token into {}", path.display()))?;
        sync_loop.tokens.push(token);
        Ok(())
    }

    /// Synchronizes immediately, for tests that do not want to wait.
    pub fn sync(&self) {
        self.shared.sync();
    }

    /// Stops the thread and removes the pods from the host; the API remains unchanged.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!("the thread of the kubelet panicked");
            }
            self.shared.lock().remove_all();
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SyncLoop> {
        // Each round starts from the current state: one that panicked is completed by the next.
        self.sync_loop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self) {
        self.lock().sync(self.started.elapsed(), Timestamp::now());
    }

    fn run(&self, heartbeat: Duration) {
        let store = self.lock().api.store().clone();
        let watch =
            || store.subscribe(&Resource::PODS, None, &Selector::default()).ok().map(|(_, changes)| changes);
        let mut changes = watch();
        let (mut next_sync, mut next_heartbeat) = (Instant::now(), Instant::now() + heartbeat);
        while !self.stopping.load(Ordering::Acquire) {
            let changed = changes.as_mut().map_or(Some(true), drain);
            if changed.is_none() {
                changes = watch();
            }
            let now = Instant::now();
            if changed != Some(false) || now >= next_sync {
                self.sync();
                next_sync = now + RESYNC;
            }
            if now >= next_heartbeat {
                self.lock().report_node(Timestamp::now());
                next_heartbeat = now + heartbeat;
            }
            thread::sleep(POLL);
        }
    }
}

/// Whether there were changes; absent when the log has been compacted and the watch must start again.
fn drain(changes: &mut Subscription) -> Option<bool> {
    let mut any = false;
    while changes.try_next().ok()?.is_some() {
        any = true;
    }
    Some(any)
}

#[cfg(test)]
mod tests;
