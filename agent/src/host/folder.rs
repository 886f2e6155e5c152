//! The directories that are listed and watched.

use std::path::PathBuf;

use plimsoll_contract::PodUid;

use super::layout::Class;

/// What a directory that is listed holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Classes and Guaranteed pods.
    Kubepods,
    /// The pods of one class.
    Class(Class),
    /// The containers of one pod.
    Pod(PodUid),
    /// A runtime's own service, where containers end up when its driver is not the kubelet's.
    Strays,
}

/// A directory that is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder {
    /// Below each hierarchy's root.
    pub(super) path: PathBuf,
    /// What it holds.
    pub(super) level: Level,
}
