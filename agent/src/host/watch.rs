//! Inotify on the directories that hold pods and containers: a hint where to look, never the truth.
//!
//! Hints get lost (queue overflow) and may not be had at all (no watches left): the periodic listing of everything
//! makes up for both. Watches the directories it is told to and nothing else. Proof: `tests/discovery.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::folder::{Folder, Level};

/// Where something happened since the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hint {
    /// Directories came or went directly below these.
    Folders(Vec<Folder>),
    /// Events were lost.
    Everything,
}

/// The watches in force; without `inotify` there are none to be had.
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
            Err(errno) => watch.give_up(errno),
        }
        watch
    }

    /// Watches the directory at `path`, again if it was made anew. One that is gone already is none to watch.
    pub(super) fn add(&mut self, path: &Path, folder: &Folder) {
        let Some(inotify) = &self.inotify else { return };
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        match inotify.add_watch(path, events | AddWatchFlags::IN_ONLYDIR) {
            Ok(watch) => {
                self.folders.insert(watch, folder.clone());
            }
            Err(errno @ (Errno::ENOSPC | Errno::ENOMEM)) => self.give_up(errno),
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
                let about_a_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
                if about_a_directory && !folders.contains(folder) {
                    folders.push(folder.clone());
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    // Nobody watches above the kubepods directory.
                    let root = folder.level == Level::Kubepods;
                    self.folders.remove(&event.wd);
                    if root {
                        return Hint::Everything;
                    }
                }
            }
        }
        Hint::Folders(folders)
    }

    /// From now on only the periodic listing finds pods. The watches so far would find some of them sooner than
    /// others; none is the honester behavior.
    fn give_up(&mut self, errno: Errno) {
        tracing::warn!(
            error = %errno,
            "no inotify watch to be had, looking for pods every 10 s instead (cure: raise fs.inotify.max_user_watches)"
        );
        self.inotify = None;
        self.folders.clear();
    }
}

#[cfg(test)]
impl Watch {
    /// As on a node that has no watches left.
    pub(super) fn exhausted() -> Watch {
        Watch { inotify: None, folders: BTreeMap::new() }
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.folders.len()
    }
}
