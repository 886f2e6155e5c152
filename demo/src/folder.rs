//! The directory of one run: only for its owner (there is an administrator's token in it), and removed with it. What
//! runs that were killed left behind is removed by the next one.
//!
//! Touches directories named `plimsoll-demo-<pid>-...` of our own user, in the directory for temporary files; never one
//! whose process lives.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

const PREFIX: &str = "plimsoll-demo-";

/// A new directory below `parent`.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn make(parent: &Path) -> anyhow::Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a temporary directory in {}", parent.display()))?;
    sweep(parent, dir.path());
    Ok(dir)
}

/// Removes what is there of runs that are over. What cannot be removed stays: it does no harm.
fn sweep(parent: &Path, ours: &Path) {
    let Ok(owner) = fs::symlink_metadata(ours).map(|ours| ours.uid()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of_a_dead_run =
            name.to_str().and_then(pid).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        let ours =
            fs::symlink_metadata(entry.path()).is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if of_a_dead_run && ours {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process id in a directory's name.
fn pid(name: &str) -> Option<&str> {
    let (pid, _random) = name.strip_prefix(PREFIX)?.split_once('-')?;
    (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_removes_what_dead_runs_left_and_nothing_else_and_lets_nobody_look() {
        let parent = tempfile::tempdir().unwrap();
        let place = |name: &str| parent.path().join(name);
        let living = format!("{PREFIX}{}-other", std::process::id());
        let kept = [living.as_str(), "plimsoll-demo-AbCdEf", "plimsoll-demo--x", "another-4194999-x"];
        let dead = "plimsoll-demo-4194999-AbCdEf";
        for name in kept.iter().chain([&dead]) {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("token"), "secret").unwrap();
        }
        let dir = make(parent.path()).unwrap();
        assert!(!place(dead).exists());
        for name in kept {
            assert!(place(name).join("token").exists(), "{name}");
        }
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
