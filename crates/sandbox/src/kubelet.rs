//! The hollow kubelet: runs the pods that are bound to its node on a [`Host`], and says in the API what became of them.
//!
//! ```text
//!   Store --- pods of the node ---> core (one round) ---> pod (cgroups, containers, resize) ---> Host
//!         <--- node, pod statuses ---       |
//!                                           +---> project (ConfigMap directories, token files)
//! ```
//!
//! It registers its Node, creates cgroups and workloads by the resources and the load annotation of each pod, enforces what
//! a real kubelet enforces, writes the status fields that Plimsoll reads, restarts what ends, and finishes deletions. In-place
//! resizes are applied in a scripted [`Manner`], which is how tests meet a kubelet that is late or refuses. It pulls no
//! image, runs no probe and mounts no volume; files are projected where it is told.
//!
//! One thread, owned by the handle; a round every 100 ms and on every change of a pod. Proof: `kubelet/tests.rs`.

mod core;
mod node;
mod pod;
mod project;
mod resources;
mod status;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_contract::ContainerId;

use self::core::Core;
use crate::api::{ApiServer, Resource, Selector, Subscription};
use crate::host::{Host, HostError};
use project::{ConfigMapFiles, KeptToken};

pub use project::TokenFile;

/// How often the thread looks for changes.
const LOOK: Duration = Duration::from_millis(20);
/// How often a round is made without any.
const ROUND: Duration = Duration::from_millis(100);

/// How in-place resizes are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Manner {
    /// As soon as they are seen, if they fit.
    #[default]
    AtOnce,
    /// Accepted at once, enforced after this time; `PodResizeInProgress` meanwhile.
    Late(Duration),
    /// Accepted, but enforced half of the way; `PodResizeInProgress` with an error stays.
    Partially,
    /// `PodResizePending`, reason `Deferred`.
    Deferred,
    /// `PodResizePending`, reason `Infeasible`.
    Infeasible,
    /// Not even seen: no condition, no new `observedGeneration`.
    Never,
}

/// How a kubelet is started.
#[derive(Debug, Clone)]
pub struct KubeletOptions {
    /// Name of its node.
    pub node: String,
    /// How resizes are applied where nothing else is said.
    pub manner: Manner,
    /// How often the node's status is renewed.
    pub heartbeat: Duration,
}

impl KubeletOptions {
    /// A kubelet of this node that applies resizes at once.
    pub fn of(node: &str) -> Self {
        KubeletOptions { node: node.to_owned(), manner: Manner::AtOnce, heartbeat: Duration::from_secs(10) }
    }
}

/// What a kubelet could not do when asked directly.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// Nothing of that name runs here.
    #[error("no container {container} of pod {pod} runs on this node")]
    Absent {
        /// Namespace and name.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file.
    #[error("cannot project into {path}: {source}")]
    Project {
        /// The directory or file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The thread.
    #[error("cannot start the kubelet's thread: {0}")]
    Thread(std::io::Error),
}

/// A running kubelet. Dropping it stops it; its pods leave the host, and stay in the API.
pub struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    core: Mutex<Core>,
    started: Instant,
    stopping: AtomicBool,
}

impl Kubelet {
    /// Registers the node, starts what is bound to it already, and goes on by itself. Blocks for as long as that takes:
    /// milliseconds for each pod on a simulated host, some tens on a real one.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(
        api: &ApiServer,
        host: Arc<dyn Host>,
        options: KubeletOptions,
    ) -> Result<Kubelet, KubeletError> {
        let core = Core::new(&options.node, host, api.clone(), options.manner);
        let shared =
            Shared { core: Mutex::new(core), started: Instant::now(), stopping: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        shared.core().report_node(Timestamp::now());
        shared.round();
        let (worker, heartbeat) = (Arc::clone(&shared), options.heartbeat);
        let thread = thread::Builder::new().name("kubelet".into()).spawn(move || worker.run(heartbeat));
        Ok(Kubelet { thread: Some(thread.map_err(KubeletError::Thread)?), shared })
    }

    /// How resizes of this pod are applied from now on, those that wait included.
    pub fn set_manner(&self, namespace: &str, pod: &str, manner: Manner) {
        self.shared.core().manners.insert(format!("{namespace}/{pod}"), manner);
    }

    /// Kills a container, which starts again at once: a new id, `restartCount` one higher.
    ///
    /// # Errors
    /// When it does not run here, or cannot be started again.
    pub fn kill_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<ContainerId, KubeletError> {
        self.shared.core().kill(namespace, pod, container, Timestamp::now())
    }

    /// Keeps `directory` as the files of a ConfigMap, as for an optional volume; it is up to date when this returns.
    ///
    /// # Errors
    /// When the files cannot be written now; later failures are logged and tried again.
    pub fn project_config_map(
        &self,
        namespace: &str,
        name: &str,
        directory: &Path,
    ) -> Result<(), KubeletError> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let mut files =
            ConfigMapFiles { namespace, name, directory: directory.to_owned(), held: Default::default() };
        let mut core = self.shared.core();
        files.sync(core.api.store()).map_err(project_error(directory))?;
        core.config_maps.push(files);
        Ok(())
    }

    /// Keeps a valid token of a pod in a file. It is there when this returns if the pod exists, else as soon as it does.
    ///
    /// # Errors
    /// When the file cannot be written now; later failures are logged and tried again.
    pub fn project_token(&self, file: TokenFile) -> Result<(), KubeletError> {
        let path = file.path.clone();
        let mut token = KeptToken { file, held: None };
        let mut core = self.shared.core();
        token.sync(&core.api, self.shared.started.elapsed()).map_err(project_error(&path))?;
        core.tokens.push(token);
        Ok(())
    }

    /// Makes a round now, for tests that do not want to wait for one.
    pub fn sync(&self) {
        self.shared.round();
    }

    /// Ends the thread and removes the pods from the host; the API is left as it is.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!("the kubelet's thread had panicked");
            }
            self.shared.core().remove_all();
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A round starts from what is there: one that was cut short is made up for by the next.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self) {
        self.core().sync(self.started.elapsed(), Timestamp::now());
    }

    fn run(&self, heartbeat: Duration) {
        let store = self.core().api.store().clone();
        let watch =
            || store.subscribe(&Resource::PODS, None, &Selector::default()).ok().map(|(_, changes)| changes);
        let mut changes = watch();
        let (mut next_round, mut next_heartbeat) = (Instant::now(), Instant::now() + heartbeat);
        while !self.stopping.load(Ordering::Acquire) {
            let changed = changes.as_mut().map_or(Some(true), drain);
            if changed.is_none() {
                changes = watch();
            }
            let now = Instant::now();
            if changed != Some(false) || now >= next_round {
                self.round();
                next_round = now + ROUND;
            }
            if now >= next_heartbeat {
                self.core().report_node(Timestamp::now());
                next_heartbeat = now + heartbeat;
            }
            thread::sleep(LOOK);
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

fn project_error(path: &Path) -> impl FnOnce(std::io::Error) -> KubeletError {
    let path = path.display().to_string();
    move |source| KubeletError::Project { path, source }
}

#[cfg(test)]
mod tests;
