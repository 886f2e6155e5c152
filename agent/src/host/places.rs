//! Where a cgroup is, and which place counts when a walk found it in several.
//!
//! A cgroup that the kubelet made has the same path in every hierarchy. A container outside kubepods may be somewhere else in each. In
//! one hierarchy a pod may have two directories, after its node changed the cgroup driver: an old one that nobody removed, and the one
//! in use. Proof: `tests/places.rs`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::mounts::Mounts;
use super::parse;
use crate::regular;
use crate::sample::Target;

/// Where a cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into [`Mounts::paths`]: the hierarchy in which it was found. Its directory there identifies it.
    pub(super) hierarchy: usize,
    /// Below the root of that hierarchy, and of every other one that is not in `elsewhere`.
    pub(super) path: PathBuf,
    /// Its other paths, by hierarchy.
    pub(super) elsewhere: BTreeMap<usize, PathBuf>,
}

impl Place {
    pub(super) fn new(hierarchy: usize, path: PathBuf) -> Place {
        Place { hierarchy, path, elsewhere: BTreeMap::new() }
    }

    /// The path below the root of this hierarchy.
    pub(super) fn within(&self, hierarchy: usize) -> &Path {
        self.elsewhere.get(&hierarchy).unwrap_or(&self.path)
    }

    /// Whether both are found by the same path in the same hierarchy.
    pub(super) fn is_same(&self, other: &Place) -> bool {
        (self.hierarchy, &self.path) == (other.hierarchy, &other.path)
    }

    /// Adds the paths of another finding of the same cgroup. Returns whether there were new ones.
    pub(super) fn learn(&mut self, other: &Place) -> bool {
        let before = self.elsewhere.clone();
        self.elsewhere.extend(other.elsewhere.iter().map(|(hierarchy, path)| (*hierarchy, path.clone())));
        if other.hierarchy != self.hierarchy && other.path != self.path {
            self.elsewhere.insert(other.hierarchy, other.path.clone());
        }
        self.elsewhere.remove(&self.hierarchy);
        self.elsewhere != before
    }
}

/// A pod's or container's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) target: Target,
    pub(super) place: Place,
    /// As in the listing.
    pub(super) inode: u64,
}

/// One finding of each target, with all its paths. `is_known`: whether it is read there now.
pub(super) fn unite(mut found: Vec<Found>, mounts: &Mounts, is_known: impl Fn(&Found) -> bool) -> Vec<Found> {
    // stable: the order of the walk decides where nothing else does
    found.sort_by(|a, b| (&a.target, a.place.hierarchy).cmp(&(&b.target, b.place.hierarchy)));
    let findings = found.chunk_by(|a, b| a.target == b.target);
    findings.filter_map(|findings| one(findings, &found, mounts, &is_known)).collect()
}

/// The finding that identifies a target: where it is read already, else in the primary hierarchy, else anywhere.
fn one(
    findings: &[Found],
    all: &[Found],
    mounts: &Mounts,
    is_known: impl Fn(&Found) -> bool,
) -> Option<Found> {
    let in_each = findings.chunk_by(|a, b| a.place.hierarchy == b.place.hierarchy);
    let in_each: Vec<&Found> = in_each.filter_map(|places| current(places, all, mounts)).collect();
    let primary = mounts.primary();
    let home =
        in_each.iter().min_by_key(|found| Reverse((is_known(found), found.place.hierarchy == primary)))?;
    let mut found = Found::clone(home);
    for other in in_each {
        found.place.learn(&other.place);
    }
    Some(found)
}

/// Of the places in one hierarchy the one in use: with containers below it, then with processes, then the first.
fn current<'a>(places: &'a [Found], all: &[Found], mounts: &Mounts) -> Option<&'a Found> {
    let [_, _, ..] = places else {
        return places.first();
    };
    places.iter().min_by_key(|found| {
        let is_below = |other: &&Found| {
            let Place { hierarchy, path, .. } = &other.place;
            *hierarchy == found.place.hierarchy && path.parent() == Some(&found.place.path)
        };
        let below = || all.iter().filter(is_below);
        let populated = is_populated(found, mounts) || below().any(|found| is_populated(found, mounts));
        Reverse((below().next().is_some(), populated))
    })
}

/// Whether a process is in the cgroup, or on v2 in one below it.
fn is_populated(found: &Found, mounts: &Mounts) -> bool {
    let directory = mounts.paths[found.place.hierarchy].join(&found.place.path);
    match parse::populated(&beginning(&directory.join("cgroup.events"))) {
        Some(populated) => populated,
        None => !beginning(&directory.join("cgroup.procs")).is_empty(),
    }
}

/// The first bytes of a file; none where it cannot be read.
fn beginning(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(file) = regular::open(path) {
        let _ = file.take(256).read_to_end(&mut text);
    }
    text
}
