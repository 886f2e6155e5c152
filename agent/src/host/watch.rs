//! Inotify on the directories of pods and containers: hints where to look, never the truth.
//!
//! Hints get lost (queue overflow) and may not be available at all (no watches left): the periodic listing of everything
//! compensates for both. Only the directories passed to [`Watch::add`] are watched. Proof: `tests/discovery.rs`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::walk::{Folder, Level};

/// Where something happened since the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hint {
    /// Directories were created or removed directly below these.
    Folders(Vec<Folder>),
    /// Events were lost.
    Everything,
}

/// The current watches; without `inotify` none are available.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<Inotify>,
    folders: BTreeMap<WatchDescriptor, Folder>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let mut watch = Watch { inotify: None, folders: BTreeMap::new() };
        match inotify {
            Ok(inotify) => watch.inotify = Some(inotify),
            Err(errno) => watch.disable(errno),
        }
        watch
    }

    /// Watches the directory at `path`; once more, if it was created again. One that is gone already is ignored.
    pub(super) fn add(&mut self, path: &Path, folder: &Folder) {
        let Some(inotify) = &self.inotify else { return };
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        match inotify.add_watch(path, events | AddWatchFlags::IN_ONLYDIR) {
            Ok(watch) => {
                self.folders.insert(watch, folder.clone());
            }
            Err(errno @ (Errno::ENOSPC | Errno::ENOMEM)) => self.disable(errno),
            Err(_) => {}
        }
    }

    /// What happened since the last call.
    pub(super) fn poll(&mut self) -> Hint {
        let mut folders: Vec<Folder> = Vec::new();
        while let Some(events) = self.inotify.as_ref().and_then(|inotify| inotify.read_events().ok()) {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return Hint::Everything;
                }
                let Some(folder) = self.folders.get(&event.wd) else {
                    continue;
                };
                let is_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
                // most of what happens in the system's slices is not about containers, whose names have colons there
                let name = event.name.as_ref().map_or(&b""[..], |name| name.as_bytes());
                let is_relevant = is_directory && (!folder.is_for_orphans() || name.contains(&b':'));
                if is_relevant && !folders.contains(folder) {
                    folders.push(folder.clone());
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    // the root of the hierarchy is watched for orphans only
                    let root = matches!(folder.level, Level::Kubepods(_));
                    self.folders.remove(&event.wd);
                    if root {
                        return Hint::Everything;
                    }
                }
            }
        }
        Hint::Folders(folders)
    }

    /// From now on only the periodic listing finds pods. With the watches there are, some pods would be found sooner than others;
    /// no watch at all is more predictable.
    fn disable(&mut self, errno: Errno) {
        tracing::warn!(
            error = %errno,
            "no inotify watch available: looking for pods every 10 s instead (raise fs.inotify.max_user_watches)"
        );
        self.inotify = None;
        self.folders.clear();
    }
}

#[cfg(test)]
impl Watch {
    /// As on a node without available watches.
    pub(super) fn exhausted() -> Watch {
        Watch { inotify: None, folders: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.folders.len()
    }
}
