//! Which cgroups are watched: what a walk finds, held against the slots there are.
//!
//! The hint from inotify has single directories listed, the clock has everything listed. A slot ends when its
//! directory is no more or is another one under the old name (its inode tells). Proof: `tests/discovery.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::Failure;
use super::folder::{Folder, Level};
use super::layout::{CANDIDATES, Layout, STRAYS};
use super::mounts::Mounts;
use super::slot::Slot;
use super::walk::{Found, Walk, Walker};
use super::watch::Hint;
use super::{Change, Host, RECONCILE_EVERY};
use crate::sample::{Moment, Target};

impl Host {
    /// What came and went since the last call: looks where inotify points, and every 10 s everywhere. Cheap when
    /// nothing happened.
    pub fn discover(&mut self, now: Moment) -> Vec<Change> {
        let mut changes = self.purge();
        let hint = self.watch.poll();
        let due = self.listed.is_none_or(|last| now.since(last) >= RECONCILE_EVERY);
        if due || hint == Hint::Everything || self.kubepods.is_none() {
            self.listed = Some(now);
            self.reconcile(&mut changes);
        } else if let Hint::Folders(folders) = hint {
            // The outer ones first: what they bring is not looked at twice.
            for folder in &folders {
                self.look(std::slice::from_ref(folder), false, &mut changes);
            }
        }
        changes
    }

    /// Lists everything.
    fn reconcile(&mut self, changes: &mut Vec<Change>) {
        self.refresh_mounts(changes);
        for slot in self.slots.iter_mut().filter(|slot| slot.is_partial()) {
            slot.complete(&self.mounts);
        }
        if self.kubepods.as_ref().is_none_or(|(path, _)| self.index.is_empty() || !self.is_there(path)) {
            let found = self.find_kubepods().map(|path| {
                let layout = Layout::of(&path.to_string_lossy());
                (path, layout)
            });
            let before = std::mem::replace(&mut self.kubepods, found);
            self.note_kubepods(before.as_ref().map(|(path, _)| path.as_path()));
        }
        let Some((path, _)) = &self.kubepods else {
            self.drop_all(changes);
            return;
        };
        let mut folders = vec![Folder { path: path.clone(), level: Level::Kubepods }];
        let strays = STRAYS.map(|path| Folder { path: path.into(), level: Level::Strays });
        folders.extend(strays.into_iter().filter(|folder| self.is_there(&folder.path)));
        self.look(&folders, true, changes);
    }

    fn note_kubepods(&self, before: Option<&Path>) {
        match &self.kubepods {
            Some((path, _)) if before != Some(path) => {
                tracing::info!(path = %path.display(), host = %self.describe(), "kubepods directory found");
            }
            None if before.is_some() => {
                tracing::warn!("the kubepods directory is gone: no pods until the kubelet makes it again");
            }
            _ => {}
        }
    }

    /// Lists `folders` and brings the slots below them up to date.
    fn look(&mut self, folders: &[Folder], thoroughly: bool, changes: &mut Vec<Change>) {
        let Some((_, layout)) = &self.kubepods else { return };
        let root = &self.mounts.paths[self.mounts.primary()];
        let (index, slots) = (&self.index, &self.slots);
        let slot = |target: &Target| index.get(target).and_then(|place| slots.get(*place));
        let known = |target: &Target, inode| {
            !thoroughly && slot(target).is_some_and(|slot| slot.inode.number == inode)
        };
        let mut walk = Walk::default();
        let mut walker = Walker {
            root,
            layout,
            watch: &mut self.watch,
            reader: &mut self.reader,
            most: self.most_entries,
            known: &known,
        };
        for folder in folders {
            walker.walk(folder, &mut walk);
        }
        self.truncated += walk.truncated;
        if thoroughly {
            let before = std::mem::replace(&mut self.cut_short, walk.truncated > 0);
            note_cut_short(before, &walk);
        }
        let scope = |path: &Path| {
            let within = thoroughly
                || folders.iter().any(|folder| path != folder.path && path.starts_with(&folder.path));
            within && !path.ancestors().skip(1).any(|ancestor| walk.passed.contains(ancestor))
        };
        self.retire_missing(&walk, scope, changes);
        for found in walk.found {
            self.take_in(found, changes);
        }
    }

    /// Retires the slots in `scope` that were not found, or found with another inode.
    fn retire_missing(&mut self, walk: &Walk, scope: impl Fn(&Path) -> bool, changes: &mut Vec<Change>) {
        let found: BTreeSet<(&PathBuf, u64)> =
            walk.found.iter().map(|found| (&found.path, found.inode)).collect();
        let root = self.mounts.paths[self.mounts.primary()].clone();
        let mut any = false;
        for slot in self.slots.iter_mut().filter(|slot| scope(&slot.path)) {
            if found.contains(&(&slot.path, slot.inode.number)) {
                continue;
            }
            // A listing cut short does not show everything, and on some file systems it shows other inodes.
            let same =
                fs::symlink_metadata(root.join(&slot.path)).is_ok_and(|data| data.ino() == slot.inode.number);
            if !same {
                slot.retire();
                any = true;
            }
        }
        if any {
            changes.append(&mut self.purge());
        }
    }

    fn take_in(&mut self, found: Found, changes: &mut Vec<Change>) {
        if self.index.contains_key(&found.target) {
            return;
        }
        let hold = self.held + Slot::cost(&self.mounts) <= self.budget;
        let kind = usize::from(found.target.container.is_some());
        match Slot::open(found.target, &found.path, &self.mounts, &mut self.reader, hold) {
            Ok(slot) => {
                self.phases[kind] += 1;
                let managed = self.managed.contains(&slot.target.pod);
                let slot = slot.in_phase(self.phases[kind], managed);
                self.held += slot.held(&self.mounts);
                self.index.insert(slot.target.clone(), self.slots.len());
                changes.push(Change::Appeared(slot.target.clone()));
                self.slots.push(slot);
            }
            // Vanished between the listing and now, or refused, which is counted; the next listing tries again.
            Err(Failure::Gone | Failure::Unknown(_)) => {}
        }
    }

    /// Forgets the slots that were found gone.
    fn purge(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.slots.iter().any(|slot| slot.gone) {
            return changes;
        }
        self.slots.retain(|slot| {
            if slot.gone {
                changes.push(Change::Gone(slot.target.clone()));
            }
            !slot.gone
        });
        self.index =
            self.slots.iter().enumerate().map(|(place, slot)| (slot.target.clone(), place)).collect();
        self.held = self.slots.iter().map(|slot| slot.held(&self.mounts)).sum();
        changes
    }

    /// Forgets every slot; what still stands is found again by the next listing.
    pub(super) fn drop_all(&mut self, changes: &mut Vec<Change>) {
        self.slots.iter_mut().for_each(Slot::retire);
        changes.append(&mut self.purge());
    }

    /// Hierarchies may be mounted after our start, or differently: then everything is opened anew.
    fn refresh_mounts(&mut self, changes: &mut Vec<Change>) {
        match Mounts::detect(&self.base) {
            Some(mounts) if mounts != self.mounts => {
                self.drop_all(changes);
                self.reader.real = mounts.real;
                self.mounts = mounts;
            }
            _ => {}
        }
    }

    /// The kubepods directory: the first candidate that has pods, else the first that is there.
    fn find_kubepods(&mut self) -> Option<PathBuf> {
        let candidates: Vec<PathBuf> = match &self.wanted {
            Some(wanted) => vec![wanted.clone()],
            None => CANDIDATES.iter().map(PathBuf::from).collect(),
        };
        let there: Vec<PathBuf> = candidates.into_iter().filter(|path| self.is_there(path)).collect();
        there.iter().find(|path| self.has_pods(path)).or(there.first()).cloned()
    }

    fn has_pods(&mut self, path: &Path) -> bool {
        let layout = Layout::of(&path.to_string_lossy());
        let root = &self.mounts.paths[self.mounts.primary()];
        let mut walk = Walk::default();
        let mut walker = Walker {
            root,
            layout: &layout,
            watch: &mut self.watch,
            reader: &mut self.reader,
            most: self.most_entries,
            known: &|_, _| true,
        };
        walker.walk(&Folder { path: path.to_owned(), level: Level::Kubepods }, &mut walk);
        !walk.found.is_empty()
    }

    fn is_there(&self, path: &Path) -> bool {
        self.mounts.paths[self.mounts.primary()].join(path).is_dir()
    }
}

fn note_cut_short(before: bool, walk: &Walk) {
    match &walk.cut {
        Some(path) if !before => tracing::warn!(
            path = %path.display(),
            directories = walk.truncated,
            "directories of pods cannot be listed to their end, pods may be missed (cure: let the agent's user read them; \
             a directory may hold 4096 entries)"
        ),
        None if before => tracing::info!("directories of pods are listed to their end again"),
        _ => {}
    }
}
