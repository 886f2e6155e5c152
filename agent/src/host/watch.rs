//! Inotify on the directories of pods and containers: hints where to look, never the truth.
//!
//! Hints get lost (queue overflow) and may not be available at all (no watches left): the periodic listing of everything
//! compensates for both. After an overflow the watches are made anew; where there are none, they are tried again later. Only the
//! directories passed to [`Watch::add`] are watched. Proof: `tests/discovery.rs`, `tests/watches.rs`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use plimsoll_contract::Moment;

use super::folder::{Folder, Level};

/// Delay before the watches are tried again, doubled after each failure; and the longest one.
const RETRY_DELAY: Duration = Duration::from_secs(10);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(600);

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
    /// When they are tried again, if that is decided.
    retry_at: Option<Moment>,
    /// Delay before the next retry.
    delay: Duration,
    /// Since when they work, as far as [`Watch::retry`] knows.
    working_since: Option<Moment>,
    /// Whether it was logged that there are none.
    is_missing_logged: bool,
    init: fn() -> Result<Inotify, Errno>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch::with(|| Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))
    }

    /// `init` makes an empty set of watches.
    pub(super) fn with(init: fn() -> Result<Inotify, Errno>) -> Watch {
        let mut watch = Watch {
            inotify: None,
            folders: BTreeMap::new(),
            retry_at: None,
            delay: RETRY_DELAY,
            working_since: None,
            is_missing_logged: false,
            init,
        };
        watch.start();
        watch
    }

    /// Starts over without a watched directory: everything is to be listed next.
    pub(super) fn start(&mut self) {
        // closed first, since their number is limited
        self.inotify = None;
        self.folders.clear();
        match (self.init)() {
            Ok(inotify) => self.inotify = Some(inotify),
            Err(errno) => self.disable(errno),
        }
    }

    /// Where there are no watches, tries again if that is due: to be called before everything is listed.
    pub(super) fn retry(&mut self, now: Moment) {
        if self.inotify.is_some() {
            let since = *self.working_since.get_or_insert(now);
            if std::mem::take(&mut self.is_missing_logged) {
                tracing::info!("inotify watches are available again: new pods are found at once");
            }
            // one that works for a moment only, because the limit is nearly reached, is not tried again and again
            if now.since(since) >= MAX_RETRY_DELAY {
                self.delay = RETRY_DELAY;
            }
            return;
        }
        self.working_since = None;
        match self.retry_at {
            Some(at) if now >= at => {
                self.retry_at = None;
                self.start();
            }
            Some(_) => {}
            None => {
                self.retry_at = Some(Moment(now.0 + self.delay));
                self.delay = (self.delay * 2).min(MAX_RETRY_DELAY);
            }
        }
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
        while let Some(inotify) = &self.inotify {
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(errno) => {
                    self.disable(errno);
                    return Hint::Everything;
                }
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // which watches ended is lost too
                    self.start();
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

    /// Until a retry, only the periodic listing finds pods. With the watches there are, some pods would be found sooner than others;
    /// no watch at all is more predictable.
    fn disable(&mut self, errno: Errno) {
        if !std::mem::replace(&mut self.is_missing_logged, true) {
            tracing::warn!(
                error = %errno,
                "no inotify watch available: looking for pods every 10 s instead, and trying again later (raise \
                 fs.inotify.max_user_watches or fs.inotify.max_user_instances)"
            );
        }
        self.inotify = None;
        self.folders.clear();
    }
}

#[cfg(test)]
impl Watch {
    /// As on a node without available watches.
    pub(super) fn exhausted() -> Watch {
        Watch::with(|| Err(Errno::EMFILE))
    }

    /// From now on there are watches to be had.
    pub(super) fn set_available(&mut self) {
        self.init = Watch::new().init;
    }

    /// What an error of the kernel does, such as `ENOSPC` for one watch too many.
    pub(super) fn fail(&mut self, errno: Errno) {
        self.disable(errno);
    }

    pub(super) fn len(&self) -> usize {
        self.folders.len()
    }
}
