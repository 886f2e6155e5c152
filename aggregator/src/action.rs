//! What the core wants done, as values; [`crate::cluster`] is the only code that does it.

use std::collections::BTreeMap;

use plimsoll_contract::{NodeName, PodName};
use plimsoll_sizing::size::Sizes;
use serde::{Deserialize, Serialize};

use crate::resize::Purpose;

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
    /// A patch of the subresource `resize`.
    Resize(ResizePatch),
    /// The same as a dry run: what the API server says about it.
    Probe(ResizePatch),
}

/// What a resize asks for: of each container only the amounts that change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResizePatch {
    /// By name.
    pub(crate) containers: BTreeMap<String, Sizes>,
    /// Sidecars, which the API lists among the init containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) init_containers: BTreeMap<String, Sizes>,
    /// The resize is refused if the pod changed since this version; absent: whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_version: Option<String>,
}

impl Write {
    /// The word in decisions and logs.
    pub(crate) fn action(&self) -> &'static str {
        use Reason::{Birth, Grow, Revert, Shrink, Undo};
        match (&self.change, self.reason) {
            (Change::Labels { .. }, Grow | Birth | Undo | Revert | Shrink) => "record",
            (Change::Labels { .. }, _) => "label",
            (Change::Resize(_), _) => "resize",
            (Change::Probe(_), _) => "probe",
        }
    }
}

impl Change {
    /// Whether it sets this label or annotation.
    pub(crate) fn writes(&self, key: &str) -> bool {
        match self {
            Change::Labels { labels, annotations } => {
                labels.contains_key(key) || annotations.contains_key(key)
            }
            Change::Resize(_) | Change::Probe(_) => false,
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
    /// A recommended size is checked with the API server.
    Recommend,
    /// Of a resize, and of the record of it: see [`Purpose`].
    Grow,
    Birth,
    Undo,
    Revert,
    Shrink,
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
            Reason::Recommend => "recommend",
            Reason::Grow => "grow",
            Reason::Birth => "birth",
            Reason::Undo => "undo",
            Reason::Revert => "revert",
            Reason::Shrink => "shrink",
        }
    }
}

impl Reason {
    /// Whether it is that of a resize, or of the record of one.
    pub(crate) fn is_of_resize(self) -> bool {
        use Reason::{Birth, Grow, Revert, Shrink, Undo};
        matches!(self, Grow | Birth | Undo | Revert | Shrink)
    }
}

impl From<Purpose> for Reason {
    fn from(purpose: Purpose) -> Reason {
        match purpose {
            Purpose::Grow => Reason::Grow,
            Purpose::Birth => Reason::Birth,
            Purpose::Undo => Reason::Undo,
            Purpose::Revert => Reason::Revert,
            Purpose::Shrink => Reason::Shrink,
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
    Class {
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
