//! Lists the kubepods directory: which pods and containers there are now.
//!
//! Descends exactly as far as the naming scheme says (kubepods, QoS class, pod), never recursively, and reads at most
//! [`MAX_ENTRIES`] of one directory: a tenant's 100,000 children cost a count, not the agent. Each directory is watched
//! before it is listed, so that no change in between is missed. Proof: `tests/discovery.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use plimsoll_contract::PodUid;

use super::layout::{Layout, QosClass, RootChild};
use super::reader::{File, Reader};
use super::watch::Watch;
use crate::sample::Target;

/// Most entries read of one directory, files included. A node runs a few hundred pods; a cgroup has about 70 files.
pub(super) const MAX_ENTRIES: usize = 4096;

/// What a listed directory contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// QoS classes and Guaranteed pods.
    Kubepods,
    /// The pods of one QoS class.
    QosClass(QosClass),
    /// The containers of one pod.
    Pod(PodUid),
    /// A runtime's own service, which contains containers when its driver is not the kubelet's.
    Orphans,
}

/// A directory that is listed and watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder {
    /// Below each hierarchy's root.
    pub(super) path: PathBuf,
    pub(super) level: Level,
}

/// A pod's or container's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) target: Target,
    /// Below each hierarchy's root.
    pub(super) path: PathBuf,
    /// As in the listing.
    pub(super) inode: u64,
}

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
    pub(super) root: &'a Path,
    pub(super) layout: &'a Layout,
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
        for (name, inode) in self.list(folder, walk) {
            let path = folder.path.join(&name);
            let container = match &folder.level {
                Level::Kubepods => {
                    match self.layout.root_child(&name) {
                        Some(RootChild::QosClass(class)) => {
                            self.walk(&Folder { path, level: Level::QosClass(class) }, walk);
                        }
                        Some(RootChild::Pod(pod)) => self.walk_pod(pod, path, inode, walk),
                        None => {}
                    }
                    continue;
                }
                Level::QosClass(class) => {
                    if let Some(pod) = self.layout.pod(Some(*class), &name) {
                        self.walk_pod(pod, path, inode, walk);
                    }
                    continue;
                }
                Level::Pod(pod) => self.layout.container(&name).map(|container| (pod.clone(), container)),
                Level::Orphans => self.layout.orphan(&name),
            };
            if let Some((pod, container)) = container {
                walk.found.push(Found { target: Target { pod, container: Some(container) }, path, inode });
            }
        }
    }

    fn walk_pod(&mut self, pod: PodUid, path: PathBuf, inode: u64, walk: &mut Walk) {
        let target = Target { pod: pod.clone(), container: None };
        let known = (self.known)(&target, inode);
        walk.found.push(Found { target, path: path.clone(), inode });
        if known {
            walk.skipped.insert(path);
        } else {
            self.walk(&Folder { path, level: Level::Pod(pod) }, walk);
        }
    }

    /// The directories in `folder` whose names are UTF-8, with their inodes.
    fn list(&mut self, folder: &Folder, walk: &mut Walk) -> Vec<(String, u64)> {
        let path = self.root.join(&folder.path);
        self.watch.add(&path, folder);
        let mut directories = Vec::new();
        let mut truncate = |errno: Option<Errno>| {
            if let Some(errno) = errno {
                self.reader.failure(File::Directory, errno);
            }
            walk.truncated += 1;
            walk.last_truncated = Some(folder.path.clone());
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = match Dir::open(&path, flags, Mode::empty()) {
            Ok(dir) => dir,
            // removed since its parent was listed, or a service that this node does not run
            Err(Errno::ENOENT | Errno::ENOTDIR) => return directories,
            Err(errno) => {
                truncate(Some(errno));
                return directories;
            }
        };
        for (count, entry) in dir.iter().enumerate() {
            if count >= self.max_entries {
                truncate(None);
                break;
            }
            let entry = match entry {
                Ok(entry) => entry,
                // removed while it was listed
                Err(Errno::ENOENT | Errno::ENODEV) => break,
                Err(errno) => {
                    truncate(Some(errno));
                    break;
                }
            };
            let is_directory = matches!(entry.file_type(), Some(Type::Directory) | None);
            if let (true, Ok(name)) = (is_directory, entry.file_name().to_str()) {
                directories.push((name.to_owned(), entry.ino()));
            }
        }
        directories
    }
}
