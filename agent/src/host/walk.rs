//! Listing the kubepods directory: which pods and containers are there now.
//!
//! Goes exactly as deep as the naming scheme says (kubepods, class, pod), never by recursion, and reads at most
//! [`MOST_ENTRIES`] of one directory: a tenant's 100,000 children cost a count, not the agent. Watches each directory
//! before it lists it, so that nothing can come in between unseen. Proof: `tests/discovery.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use plimsoll_contract::PodUid;

use super::files::{File, Reader};
use super::folder::{Folder, Level};
use super::layout::{Layout, RootChild};
use super::watch::Watch;
use crate::sample::Target;

/// Most entries read of one directory, files included. A node runs some hundred pods; a cgroup has some 70 files.
pub(super) const MOST_ENTRIES: usize = 4096;

/// A pod's or container's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Whose.
    pub(super) target: Target,
    /// Below each hierarchy's root.
    pub(super) path: PathBuf,
    /// As the listing said it.
    pub(super) inode: u64,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The pods and containers.
    pub(super) found: Vec<Found>,
    /// Directories that were passed over, as their contents are known.
    pub(super) passed: BTreeSet<PathBuf>,
    /// Directories of which not all was read.
    pub(super) truncated: u64,
    /// The last of them.
    pub(super) cut: Option<PathBuf>,
}

impl Walk {
    fn cut(&mut self, folder: &Folder) {
        self.truncated += 1;
        self.cut = Some(folder.path.clone());
    }
}

/// What walking needs.
pub(super) struct Walker<'a> {
    pub(super) root: &'a Path,
    pub(super) layout: &'a Layout,
    pub(super) watch: &'a mut Watch,
    pub(super) reader: &'a mut Reader,
    /// Most entries read of one directory.
    pub(super) most: usize,
    /// Whether a pod's containers are known already and watched, so that its directory need not be listed again.
    pub(super) known: &'a dyn Fn(&Target, u64) -> bool,
}

struct Entry {
    name: String,
    inode: u64,
}

impl Walker<'_> {
    /// Lists `folder` and what belongs below it. One that is not there holds nothing.
    pub(super) fn walk(&mut self, folder: &Folder, walk: &mut Walk) {
        for Entry { name, inode } in self.list(folder, walk) {
            let path = folder.path.join(&name);
            match &folder.level {
                Level::Kubepods => match self.layout.root_child(&name) {
                    Some(RootChild::Class(class)) => {
                        self.walk(&Folder { path, level: Level::Class(class) }, walk);
                    }
                    Some(RootChild::Pod(pod)) => self.pod(pod, path, inode, walk),
                    None => {}
                },
                Level::Class(class) => {
                    if let Some(pod) = self.layout.pod(Some(*class), &name) {
                        self.pod(pod, path, inode, walk);
                    }
                }
                Level::Pod(pod) => {
                    if let Some(container) = self.layout.container(&name) {
                        let target = Target { pod: pod.clone(), container: Some(container) };
                        walk.found.push(Found { target, path, inode });
                    }
                }
                Level::Strays => {
                    if let Some((pod, container)) = self.layout.stray(&name) {
                        let target = Target { pod, container: Some(container) };
                        walk.found.push(Found { target, path, inode });
                    }
                }
            }
        }
    }

    fn pod(&mut self, pod: PodUid, path: PathBuf, inode: u64, walk: &mut Walk) {
        let target = Target { pod: pod.clone(), container: None };
        let known = (self.known)(&target, inode);
        walk.found.push(Found { target, path: path.clone(), inode });
        if known {
            walk.passed.insert(path);
        } else {
            self.walk(&Folder { path, level: Level::Pod(pod) }, walk);
        }
    }

    /// The directories in `folder`, as far as their names are text.
    fn list(&mut self, folder: &Folder, walk: &mut Walk) -> Vec<Entry> {
        let path = self.root.join(&folder.path);
        self.watch.add(&path, folder);
        let mut entries = Vec::new();
        let mut dir =
            match Dir::open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
                Ok(dir) => dir,
                // Gone between the listing above and now, or a service that this node does not run.
                Err(Errno::ENOENT | Errno::ENOTDIR) => return entries,
                Err(errno) => {
                    self.reader.failure(File::Directory, errno);
                    walk.cut(folder);
                    return entries;
                }
            };
        for (count, entry) in dir.iter().enumerate() {
            if count >= self.most {
                walk.cut(folder);
                break;
            }
            let entry = match entry {
                Ok(entry) => entry,
                // Removed while it was listed.
                Err(Errno::ENOENT | Errno::ENODEV) => break,
                Err(errno) => {
                    self.reader.failure(File::Directory, errno);
                    walk.cut(folder);
                    break;
                }
            };
            if !matches!(entry.file_type(), Some(Type::Directory) | None) {
                continue;
            }
            if let Ok(name) = entry.file_name().to_str() {
                entries.push(Entry { name: name.to_owned(), inode: entry.ino() });
            }
        }
        entries
    }
}
