//! What the core wants done, as values; [`crate::cluster`] is the only code that does it.

use std::collections::BTreeMap;

use plimsoll_contract::{NodeName, PodName};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Change a pod; the outcome comes back as an input.
    Write(Write),
    /// Publish a Kubernetes Event.
    Publish(KubeEvent),
}

/// One change to one pod. Queue, budget, gate, log and record do not look inside `change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    /// Identifies the write; the outcome names it.
    pub(crate) id: u64,
    pub(crate) pod: PodName,
    /// The API's uid: another pod of the same name is never changed.
    pub(crate) uid: String,
    pub(crate) node: Option<NodeName>,
    /// The epoch of the leader that decided it; it is not sent in another epoch.
    pub(crate) epoch: u64,
    pub(crate) reason: Reason,
    /// The state before, for people: `cpu=low memory=low`.
    pub(crate) from: String,
    /// The state after, for people.
    pub(crate) to: String,
    pub(crate) change: Change,
}

/// What a write changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A server-side apply of the complete set of our keys.
    Labels {
        /// Every label of ours that the pod is to carry.
        labels: BTreeMap<String, String>,
        /// Every annotation of ours that the pod is to carry.
        annotations: BTreeMap<String, String>,
    },
}

impl Change {
    /// The word in decisions and logs.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Change::Labels { .. } => "label",
        }
    }
}

/// Why a pod is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// A band changed.
    Transition,
    /// The pod had no band yet.
    First,
    /// Its node is silent, or nothing has been known of the pod for as long.
    Silence,
    /// It must not carry our keys any more: it finished, or it is ignored.
    Withdrawn,
    /// Another client removed the labels that were written last.
    Repair,
}

impl Reason {
    /// The word in decisions and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::Transition => "transition",
            Reason::First => "first",
            Reason::Silence => "silence",
            Reason::Withdrawn => "withdrawn",
            Reason::Repair => "repair",
        }
    }
}

/// The object that an Event is about, with the API's uid where it is known: `kubectl describe` finds Events by it, `kubectl get events` also
/// those without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    Pod {
        pod: PodName,
        uid: String,
    },
    Node {
        node: NodeName,
        uid: Option<String>,
    },
    Namespace {
        name: String,
        uid: Option<String>,
    },
    /// The aggregator's Deployment: what is not about one object. Its uid is not known here.
    Aggregator,
}

/// A Kubernetes Event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KubeEvent {
    pub(crate) about: Subject,
    /// Machine-readable reason in CamelCase.
    pub(crate) reason: String,
    pub(crate) note: String,
    /// Whether something needs attention.
    pub(crate) warning: bool,
}

impl KubeEvent {
    /// Something that needs attention.
    pub(crate) fn warning(about: Subject, reason: &str, note: String) -> KubeEvent {
        KubeEvent { about, reason: reason.to_owned(), note, warning: true }
    }

    /// Something to know.
    pub(crate) fn normal(about: Subject, reason: &str, note: String) -> KubeEvent {
        KubeEvent { about, reason: reason.to_owned(), note, warning: false }
    }
}
