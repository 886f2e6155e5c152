//! A directory of cgroups that is listed and watched.

use std::path::PathBuf;

use plimsoll_contract::PodUid;

use super::layout::{Layout, QosClass};
use super::places::Place;

/// What a listed directory contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Level {
    /// QoS classes and Guaranteed pods.
    Kubepods(Layout),
    /// The pods of one QoS class.
    QosClass(Layout, QosClass),
    /// The containers of one pod.
    Pod(Layout, PodUid),
    /// Orphans, and services of runtimes; among much else.
    Slice,
    /// Orphans, in the service of a runtime.
    Service,
}

/// A directory that is listed and watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Index into [`Mounts::paths`].
    pub(super) hierarchy: usize,
    /// Below the root of the hierarchy.
    pub(super) path: PathBuf,
    pub(super) level: Level,
}

impl Folder {
    /// Whether it is outside kubepods.
    pub(super) fn is_for_orphans(&self) -> bool {
        matches!(self.level, Level::Slice | Level::Service)
    }

    /// Whether a cgroup at this place is found, if it still exists, when the folder and those below it are listed.
    pub(super) fn contains(&self, place: &Place) -> bool {
        let below = match self.is_for_orphans() {
            true => place.path.parent() == Some(&self.path),
            false => place.path != self.path && place.path.starts_with(&self.path),
        };
        self.hierarchy == place.hierarchy && below
    }
}
