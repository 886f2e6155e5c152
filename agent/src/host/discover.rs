//! Which cgroups are read: the result of a walk, compared with the cgroups known so far.
//!
//! An inotify event causes single directories to be listed, a timer causes everything to be listed. A cgroup is gone when its
//! directory is missing or has been replaced by another of the same name (with another inode). Proof: `tests/discovery.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use plimsoll_contract::Moment;

use super::cgroup::Cgroup;
use super::folder::{Folder, Level};
use super::layout::{Driver, KUBEPODS_PATHS, Layout, ORPHAN_SLICES};
use super::mounts::Mounts;
use super::places::{self, Found, Place};
use super::reader::Failure;
use super::walk::{Walk, Walker};
use super::watch::Hint;
use super::{CgroupEvent, Host, RECONCILE_EVERY};
use crate::sample::Target;

impl Host {
    /// What appeared and what is gone since the last call: lists where inotify reported events, and every 10 s everything.
    /// Cheap when nothing happened.
    pub fn discover(&mut self, now: Moment) -> Vec<CgroupEvent> {
        let mut events = self.remove_gone();
        let hint = self.watch.poll();
        let due = self.last_reconcile.is_none_or(|last| now.since(last) >= RECONCILE_EVERY);
        if due || hint == Hint::Everything || self.kubepods.is_empty() {
            self.last_reconcile = Some(now);
            self.watch.retry(now);
            self.max_descriptors = self.bound.max();
            self.reconcile(&mut events);
            self.distribute_descriptors();
            self.log_bound();
        } else if let Hint::Folders(folders) = hint {
            // each by itself: a directory inside another one may be listed twice
            for folder in &folders {
                self.list(std::slice::from_ref(folder), false, &mut events);
            }
        }
        events
    }

    /// Lists everything.
    fn reconcile(&mut self, events: &mut Vec<CgroupEvent>) {
        self.refresh_mounts(events);
        for cgroup in &mut self.cgroups {
            cgroup.open_missing(&self.mounts);
        }
        self.find_kubepods();
        if self.kubepods.is_empty() {
            self.remove_all(events);
            return;
        }
        let primary = self.mounts.primary();
        let kubepods = self.kubepods.iter().map(|(path, layout)| Folder {
            hierarchy: primary,
            path: path.clone(),
            level: Level::Kubepods(layout.clone()),
        });
        let mut folders: Vec<Folder> = kubepods.collect();
        // a kubelet with the cgroupfs driver gives its runtime paths that mean the same to any
        if self.kubepods.iter().any(|(_, layout)| layout.driver() == Driver::Systemd) {
            let slices = |hierarchy| {
                ORPHAN_SLICES.map(|path| Folder { hierarchy, path: path.into(), level: Level::Slice })
            };
            folders.extend((0..self.mounts.paths.len()).flat_map(slices));
        }
        self.list(&folders, true, events);
    }

    /// Lists `folders` and updates the cgroups below them. `everything`: they are all there is, and nothing is skipped.
    fn list(&mut self, folders: &[Folder], everything: bool, events: &mut Vec<CgroupEvent>) {
        let layouts: Vec<Layout> = self.kubepods.iter().map(|(_, layout)| layout.clone()).collect();
        let (index, cgroups) = (&self.index, &self.cgroups);
        let cgroup = |target: &Target| index.get(target).and_then(|index| cgroups.get(*index));
        let known = |target: &Target, inode| {
            !everything && cgroup(target).is_some_and(|cgroup| cgroup.inode.number == inode)
        };
        let mut walk = Walk::default();
        let mut walker = Walker {
            mounts: &self.mounts,
            layouts: &layouts,
            watch: &mut self.watch,
            reader: &mut self.reader,
            max_entries: self.max_entries,
            known: &known,
        };
        for folder in folders {
            walker.walk(folder, &mut walk);
        }
        self.truncated_listings += walk.truncated;
        if everything {
            let before = std::mem::replace(&mut self.is_truncated, walk.truncated > 0);
            log_truncated(before, &walk);
        }
        let is_read =
            |found: &Found| cgroup(&found.target).is_some_and(|cgroup| cgroup.place.is_same(&found.place));
        let found = places::unite(walk.found, &self.mounts, is_read);
        let listed = |place: &Place| {
            let within = everything || folders.iter().any(|folder| folder.contains(place));
            within && !place.path.ancestors().skip(1).any(|ancestor| walk.skipped.contains(ancestor))
        };
        self.remove_missing(&found, listed, events);
        for found in found {
            self.add(found, events);
        }
    }

    /// Removes the cgroups whose directories were listed but not found, or found with another inode or at another place.
    fn remove_missing(
        &mut self,
        found: &[Found],
        listed: impl Fn(&Place) -> bool,
        events: &mut Vec<CgroupEvent>,
    ) {
        let found: BTreeMap<&Target, &Found> = found.iter().map(|found| (&found.target, found)).collect();
        for cgroup in self.cgroups.iter_mut().filter(|cgroup| listed(&cgroup.place)) {
            let found = found.get(&cgroup.target);
            let same = match found.map(|found| (found.place.is_same(&cgroup.place), found.inode)) {
                Some((false, _)) => false,
                Some((true, inode)) if inode == cgroup.inode.number => true,
                // a truncated listing does not contain everything, and on some file systems it contains other inodes
                _ => {
                    let directory = self.mounts.paths[cgroup.place.hierarchy].join(&cgroup.place.path);
                    fs::symlink_metadata(directory).is_ok_and(|data| data.ino() == cgroup.inode.number)
                }
            };
            if !same {
                cgroup.set_gone();
            }
        }
        events.append(&mut self.remove_gone());
    }

    fn add(&mut self, found: Found, events: &mut Vec<CgroupEvent>) {
        let known = self.index.get(&found.target).and_then(|index| self.cgroups.get_mut(*index));
        if let Some(cgroup) = known {
            if cgroup.place.learn(&found.place) {
                cgroup.open_missing(&self.mounts);
            }
            return;
        }
        let keep_open = self.descriptors + Cgroup::max_descriptors(&self.mounts) <= self.max_descriptors;
        let kind = usize::from(found.target.container.is_some());
        match Cgroup::open(found.target, found.place, &self.mounts, &mut self.reader, keep_open) {
            Ok(mut cgroup) => {
                self.sweep_offsets[kind] += 1;
                cgroup.sweep_offset = self.sweep_offsets[kind];
                cgroup.managed = self.managed.contains(&cgroup.target.pod);
                self.descriptors += cgroup.descriptors(&self.mounts);
                self.index.insert(cgroup.target.clone(), self.cgroups.len());
                events.push(CgroupEvent::Appeared(cgroup.target.clone()));
                self.cgroups.push(cgroup);
            }
            // removed since it was listed, or unreadable, which is counted; the next listing tries again
            Err(Failure::Gone | Failure::Unknown(_)) => {}
        }
    }

    /// Removes the cgroups that were found gone.
    fn remove_gone(&mut self) -> Vec<CgroupEvent> {
        let mut events = Vec::new();
        if !self.cgroups.iter().any(|cgroup| cgroup.gone) {
            return events;
        }
        self.cgroups.retain(|cgroup| {
            if cgroup.gone {
                events.push(CgroupEvent::Gone(cgroup.target.clone()));
            }
            !cgroup.gone
        });
        let indexed = self.cgroups.iter().enumerate();
        self.index = indexed.map(|(index, cgroup)| (cgroup.target.clone(), index)).collect();
        self.count_descriptors();
        events
    }

    /// Removes every cgroup; those that still exist are found again by the next listing.
    pub(super) fn remove_all(&mut self, events: &mut Vec<CgroupEvent>) {
        self.cgroups.iter_mut().for_each(Cgroup::set_gone);
        events.append(&mut self.remove_gone());
    }

    /// Hierarchies may be mounted or remounted after the agent's start: then everything is opened again.
    fn refresh_mounts(&mut self, events: &mut Vec<CgroupEvent>) {
        match Mounts::detect(&self.base) {
            Some(mounts) if mounts != self.mounts => {
                self.remove_all(events);
                self.reader.live = mounts.live;
                self.mounts = mounts;
                // the watches know hierarchies by their index
                self.watch.start();
            }
            _ => {}
        }
    }

    /// Looks for the kubepods directories, and logs when the result changes: also that there is none.
    fn find_kubepods(&mut self) {
        let paths = self.kubepods_paths().into_iter().filter(|path| self.exists(path));
        let found: Vec<(PathBuf, Layout)> =
            paths.map(|path| (path.clone(), Layout::of(&path.to_string_lossy()))).collect();
        let before = std::mem::replace(&mut self.kubepods, found);
        if !self.kubepods.is_empty() {
            if self.kubepods != before {
                tracing::info!(host = %self.describe(), "kubepods directory found");
            }
        } else if !before.is_empty() {
            tracing::warn!("the kubepods directory is gone: no pods until the kubelet creates it again");
        } else if !self.is_missing_logged {
            let tried =
                self.kubepods_paths().iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            tracing::warn!(
                tried = tried.join(", "),
                below = %self.mounts.primary_path().display(),
                "no kubepods directory found, so there are no pods to read: if this node has pods, name it with \
                 --kubepods PATH, relative to the cgroup root, or name the host's root with --host-root"
            );
        }
        self.is_missing_logged = self.kubepods.is_empty();
    }

    /// Where the kubepods directories may be.
    fn kubepods_paths(&self) -> Vec<PathBuf> {
        match &self.configured_kubepods {
            Some(path) => vec![path.clone()],
            None => KUBEPODS_PATHS.iter().map(PathBuf::from).collect(),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.mounts.primary_path().join(path).is_dir()
    }
}

fn log_truncated(before: bool, walk: &Walk) {
    match &walk.last_truncated {
        Some(path) if !before => tracing::warn!(
            path = %path.display(),
            directories = walk.truncated,
            "directories of pods cannot be listed completely, pods may be missed (allow the agent's user to read them; \
             a directory may have 4096 entries)"
        ),
        None if before => tracing::info!("directories of pods are listed completely again"),
        _ => {}
    }
}
