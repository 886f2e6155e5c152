//! Which cgroups are read: the result of a walk, compared with the cgroups known so far.
//!
//! An inotify event causes single directories to be listed, a timer causes everything to be listed. A cgroup is gone when its
//! directory is missing or has been replaced by another of the same name (with another inode). Proof: `tests/discovery.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use plimsoll_contract::Moment;

use super::cgroup::Cgroup;
use super::layout::{KUBEPODS_PATHS, Layout, ORPHAN_FOLDERS};
use super::mounts::Mounts;
use super::reader::Failure;
use super::walk::{Folder, Found, Level, Walk, Walker};
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
        if due || hint == Hint::Everything || self.kubepods.is_none() {
            self.last_reconcile = Some(now);
            self.reconcile(&mut events);
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
        if self.kubepods.as_ref().is_none_or(|(path, _)| self.index.is_empty() || !self.exists(path)) {
            let found = self.find_kubepods().map(|path| {
                let layout = Layout::of(&path.to_string_lossy());
                (path, layout)
            });
            let before = std::mem::replace(&mut self.kubepods, found);
            match &self.kubepods {
                Some((path, _)) if before.as_ref().is_none_or(|(before, _)| before != path) => {
                    tracing::info!(path = %path.display(), host = %self.describe(), "kubepods directory found");
                }
                None if before.is_some() => {
                    tracing::warn!(
                        "the kubepods directory is gone: no pods until the kubelet creates it again"
                    );
                }
                _ => {}
            }
        }
        let Some((path, _)) = &self.kubepods else {
            self.remove_all(events);
            return;
        };
        let mut folders = vec![Folder { path: path.clone(), level: Level::Kubepods }];
        let orphans = ORPHAN_FOLDERS.map(|path| Folder { path: path.into(), level: Level::Orphans });
        folders.extend(orphans.into_iter().filter(|folder| self.exists(&folder.path)));
        self.list(&folders, true, events);
    }

    /// Lists `folders` and updates the cgroups below them. `everything`: they are all there is, and nothing is skipped.
    fn list(&mut self, folders: &[Folder], everything: bool, events: &mut Vec<CgroupEvent>) {
        let Some((_, layout)) = &self.kubepods else { return };
        let (index, cgroups) = (&self.index, &self.cgroups);
        let known = |target: &Target, inode| {
            let cgroup = || index.get(target).and_then(|index| cgroups.get(*index));
            !everything && cgroup().is_some_and(|cgroup| cgroup.inode.number == inode)
        };
        let mut walk = Walk::default();
        let mut walker = Walker {
            root: self.mounts.primary_path(),
            layout,
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
        let listed = |path: &Path| {
            let within = everything
                || folders.iter().any(|folder| path != folder.path && path.starts_with(&folder.path));
            within && !path.ancestors().skip(1).any(|ancestor| walk.skipped.contains(ancestor))
        };
        self.remove_missing(&walk, listed, events);
        for found in walk.found {
            self.add(found, events);
        }
    }

    /// Removes the cgroups whose directories were listed but not found, or found with another inode.
    fn remove_missing(&mut self, walk: &Walk, listed: impl Fn(&Path) -> bool, events: &mut Vec<CgroupEvent>) {
        let found: BTreeSet<(&PathBuf, u64)> =
            walk.found.iter().map(|found| (&found.path, found.inode)).collect();
        let root = self.mounts.primary_path();
        for cgroup in self.cgroups.iter_mut().filter(|cgroup| listed(&cgroup.path)) {
            if found.contains(&(&cgroup.path, cgroup.inode.number)) {
                continue;
            }
            // a truncated listing does not contain everything, and on some file systems it contains other inodes
            let same = fs::symlink_metadata(root.join(&cgroup.path))
                .is_ok_and(|data| data.ino() == cgroup.inode.number);
            if !same {
                cgroup.set_gone();
            }
        }
        events.append(&mut self.remove_gone());
    }

    fn add(&mut self, found: Found, events: &mut Vec<CgroupEvent>) {
        if self.index.contains_key(&found.target) {
            return;
        }
        let keep_open = self.descriptors + Cgroup::max_descriptors(&self.mounts) <= self.max_descriptors;
        let kind = usize::from(found.target.container.is_some());
        match Cgroup::open(found.target, &found.path, &self.mounts, &mut self.reader, keep_open) {
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
        self.descriptors = self.cgroups.iter().map(|cgroup| cgroup.descriptors(&self.mounts)).sum();
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
            }
            _ => {}
        }
    }

    /// The kubepods directory: of the possible paths the first that has pods, else the first that exists.
    fn find_kubepods(&mut self) -> Option<PathBuf> {
        let paths: Vec<PathBuf> = match &self.configured_kubepods {
            Some(path) => vec![path.clone()],
            None => KUBEPODS_PATHS.iter().map(PathBuf::from).collect(),
        };
        let existing: Vec<PathBuf> = paths.into_iter().filter(|path| self.exists(path)).collect();
        existing.iter().find(|path| self.has_pods(path)).or(existing.first()).cloned()
    }

    fn has_pods(&mut self, path: &Path) -> bool {
        let layout = Layout::of(&path.to_string_lossy());
        let mut walk = Walk::default();
        let mut walker = Walker {
            root: self.mounts.primary_path(),
            layout: &layout,
            watch: &mut self.watch,
            reader: &mut self.reader,
            max_entries: self.max_entries,
            known: &|_, _| true,
        };
        walker.walk(&Folder { path: path.to_owned(), level: Level::Kubepods }, &mut walk);
        !walk.found.is_empty()
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
