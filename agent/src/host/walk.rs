//! Lists the kubepods directories, and where orphans may be: which pods and containers there are now.
//!
//! Descends exactly as far as the naming scheme says (kubepods, QoS class, pod; slice, service), never recursively, and reads at most
//! [`MAX_ENTRIES`] of one directory: a tenant's 100,000 children cost a count, not the agent. Each directory is watched
//! before it is listed, so that no change in between is missed. Proof: `tests/discovery.rs`, `tests/places.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use plimsoll_contract::PodUid;

use super::folder::{Folder, Level};
use super::layout::{self, Layout, RootChild};
use super::mounts::Mounts;
use super::places::{Found, Place};
use super::reader::{File, Reader};
use super::watch::Watch;
use crate::sample::Target;

/// Most entries read of one directory, files included. A node runs a few hundred pods; a cgroup has about 70 files.
pub(super) const MAX_ENTRIES: usize = 4096;

/// The result of a walk.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Found>,
    /// Directories that were not listed again, since their content is known.
    pub(super) skipped: BTreeSet<PathBuf>,
    /// Number of directories that were not listed completely, and the last of them.
    pub(super) truncated: u64,
    pub(super) last_truncated: Option<PathBuf>,
}

/// What walking needs.
pub(super) struct Walker<'a> {
    pub(super) mounts: &'a Mounts,
    /// Those of the kubepods directories, for the names of orphans.
    pub(super) layouts: &'a [Layout],
    pub(super) watch: &'a mut Watch,
    pub(super) reader: &'a mut Reader,
    /// Most entries read of one directory.
    pub(super) max_entries: usize,
    /// Whether a pod's containers are known already and watched, so that its directory need not be listed again.
    pub(super) known: &'a dyn Fn(&Target, u64) -> bool,
}

impl Walker<'_> {
    /// Lists `folder` and what belongs below it. One that does not exist is empty.
    pub(super) fn walk(&mut self, folder: &Folder, walk: &mut Walk) {
        let found_before = walk.found.len();
        let mut entries = Vec::new();
        let is_complete = self.list(folder, &mut entries);
        for (name, inode) in entries {
            let path = folder.path.join(&name);
            let container = match &folder.level {
                Level::Kubepods(layout) => {
                    match layout.root_child(&name) {
                        Some(RootChild::QosClass(class)) => {
                            self.descend(folder, path, Level::QosClass(layout.clone(), class), walk);
                        }
                        Some(RootChild::Pod(pod)) => self.walk_pod(folder, layout, pod, path, inode, walk),
                        None => {}
                    }
                    continue;
                }
                Level::QosClass(layout, class) => {
                    if let Some(pod) = layout.pod(Some(*class), &name) {
                        self.walk_pod(folder, layout, pod, path, inode, walk);
                    }
                    continue;
                }
                Level::Slice if layout::may_have_orphans(&name) => {
                    self.descend(folder, path, Level::Service, walk);
                    continue;
                }
                Level::Pod(layout, pod) => layout.container(&name).map(|container| (pod.clone(), container)),
                Level::Slice | Level::Service => self.layouts.iter().find_map(|layout| layout.orphan(&name)),
            };
            if let Some((pod, container)) = container {
                let target = Target { pod, container: Some(container) };
                walk.found.push(Found { target, place: Place::new(folder.hierarchy, path), inode });
            }
        }
        // most nodes have no orphans: that the rest of their system.slice was not listed is of no interest
        if !is_complete && (!folder.is_for_orphans() || walk.found.len() > found_before) {
            walk.truncated += 1;
            walk.last_truncated = Some(folder.path.clone());
        }
    }

    fn descend(&mut self, folder: &Folder, path: PathBuf, level: Level, walk: &mut Walk) {
        self.walk(&Folder { hierarchy: folder.hierarchy, path, level }, walk);
    }

    fn walk_pod(
        &mut self,
        folder: &Folder,
        layout: &Layout,
        pod: PodUid,
        path: PathBuf,
        inode: u64,
        walk: &mut Walk,
    ) {
        let target = Target { pod: pod.clone(), container: None };
        let known = (self.known)(&target, inode);
        walk.found.push(Found { target, place: Place::new(folder.hierarchy, path.clone()), inode });
        if known {
            walk.skipped.insert(path);
        } else {
            self.descend(folder, path, Level::Pod(layout.clone(), pod), walk);
        }
    }

    /// Adds the directories in `folder` whose names are UTF-8, with their inodes. Returns whether they are all.
    fn list(&mut self, folder: &Folder, directories: &mut Vec<(String, u64)>) -> bool {
        let path = self.mounts.paths[folder.hierarchy].join(&folder.path);
        self.watch.add(&path, folder);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = match Dir::open(&path, flags, Mode::empty()) {
            Ok(dir) => dir,
            // removed since its parent was listed, or a slice that this node does not have
            Err(Errno::ENOENT | Errno::ENOTDIR) => return true,
            Err(errno) => {
                self.reader.failure(File::Directory, errno);
                return false;
            }
        };
        for (count, entry) in dir.iter().enumerate() {
            if count >= self.max_entries {
                return false;
            }
            let entry = match entry {
                Ok(entry) => entry,
                // removed while it was listed
                Err(Errno::ENOENT | Errno::ENODEV) => break,
                Err(errno) => {
                    self.reader.failure(File::Directory, errno);
                    return false;
                }
            };
            let is_directory = matches!(entry.file_type(), Some(Type::Directory) | None);
            if let (true, Ok(name)) = (is_directory, entry.file_name().to_str()) {
                directories.push((name.to_owned(), entry.ino()));
            }
        }
        true
    }
}
