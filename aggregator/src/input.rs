//! Everything that can reach the core, as values: a whole run can be recorded as its inputs and replayed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, NodeName, PodName, PodUid, Report};
use serde::{Deserialize, Serialize};

/// The time at which an input is taken in. Decisions use `elapsed` (monotonic); `wall` is only for people to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Time since this process started, on a clock that never steps.
    pub elapsed: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Time went on; about once a second.
    Tick,
    /// The first list of pods, or a new one after the watch was lost: pods that are not in it are gone.
    PodsListed(Vec<PodFacts>),
    /// A pod is new or changed.
    PodChanged(Box<PodFacts>),
    /// A pod is gone.
    PodGone {
        /// Its name.
        pod: PodName,
        /// The API's uid.
        uid: String,
    },
    /// The first list of nodes, or a new one: nodes that are not in it are gone.
    NodesListed(Vec<NodeName>),
    /// A node is new.
    NodeChanged(NodeName),
    /// A node is gone.
    NodeGone(NodeName),
    /// The first list of namespaces, or a new one.
    NamespacesListed(Vec<NamespaceFacts>),
    /// A namespace is new or changed.
    NamespaceChanged(NamespaceFacts),
    /// A namespace is gone.
    NamespaceGone(String),
    /// A report whose sender was verified to run on the node it speaks for.
    Reported(Box<Report>),
    /// What became of an action.
    Outcome(Outcome),
    /// The pause switch.
    Paused(bool),
    /// This replica may write, with this epoch; or may not.
    Leading(Option<u64>),
}

/// What we keep of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodFacts {
    /// Namespace and name.
    pub pod: PodName,
    /// The API's uid: it goes into every write.
    pub uid: String,
    /// The uid its cgroup carries; absent where the API's uid cannot be one.
    pub cgroup_uid: Option<PodUid>,
    /// The node it is bound to.
    pub node: Option<NodeName>,
    /// `Succeeded` or `Failed`.
    pub finished: bool,
    /// Being deleted.
    pub terminating: bool,
    /// The labels of our prefix.
    pub labels: BTreeMap<String, String>,
    /// The annotations of our prefix.
    pub annotations: BTreeMap<String, String>,
    /// Its containers of every kind.
    pub containers: Vec<ContainerFacts>,
    /// Controller, as `DaemonSet/plimsoll-agent`.
    pub controller: Option<String>,
    /// Its service account.
    pub service_account: String,
}

#[cfg(test)]
impl PodFacts {
    /// A pod of which nothing is known but its names, for tests.
    pub(crate) fn bare(namespace: &str, name: &str, uid: &str) -> PodFacts {
        PodFacts {
            pod: PodName::new(namespace, name),
            uid: uid.to_owned(),
            cgroup_uid: None,
            node: None,
            finished: false,
            terminating: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers: Vec::new(),
            controller: None,
            service_account: "default".to_owned(),
        }
    }
}

/// What we keep of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: ContainerKind,
    /// Id, once it runs.
    pub id: Option<ContainerId>,
    /// How often it restarted.
    pub restarts: u32,
    /// CPU request (allocated, else asked for).
    pub cpu_request: Option<Cores>,
    /// Memory request (allocated, else asked for).
    pub memory_request: Option<Bytes>,
}

/// What we keep of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceFacts {
    /// Name.
    pub name: String,
    /// `plimsoll.dev/ignore=true`.
    pub ignored: bool,
    /// `plimsoll.dev/sla`.
    pub class: Option<String>,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The action's number.
    pub action: u64,
    /// What the API server said.
    pub result: WriteResult,
    /// From sending to the answer.
    pub took: Duration,
}

/// What the API server said to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteResult {
    /// Done; the pod carries what we asked for.
    Written,
    /// Somebody else owns these keys (full label or annotation keys).
    Conflict(Vec<String>),
    /// No such pod, or another one of the same name.
    Gone,
    /// Asked to slow down; for how long, if it said so.
    Throttled(Option<Duration>),
    /// Refused or failed; status code (0 if there was none) and message.
    Failed(u16, String),
    /// No answer in time: it may or may not have been done.
    NoAnswer,
}

impl WriteResult {
    /// The word in logs, metrics and [`plimsoll_contract::status::Decision`].
    pub fn as_str(&self) -> &'static str {
        match self {
            WriteResult::Written => "written",
            WriteResult::Conflict(_) => "conflict",
            WriteResult::Gone => "gone",
            WriteResult::Throttled(_) => "throttled",
            WriteResult::Failed(..) => "failed",
            WriteResult::NoAnswer => "timeout",
        }
    }

    /// What a person has to know besides the word, if anything.
    pub fn problem(&self) -> Option<String> {
        match self {
            WriteResult::Written | WriteResult::Conflict(_) | WriteResult::Gone => None,
            WriteResult::Throttled(_) => Some("the API server asks to slow down".to_owned()),
            WriteResult::Failed(0, message) => Some(message.clone()),
            WriteResult::Failed(status, message) => Some(format!("{status}: {message}")),
            WriteResult::NoAnswer => Some("no answer in time, it may have been done".to_owned()),
        }
    }
}
