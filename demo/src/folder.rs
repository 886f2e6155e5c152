//! The temporary directory of one run: readable only by its owner (it contains an administrator's token), and removed at the end.
//! Directories of killed runs are removed by the next run.
//!
//! Removes only directories of our own user named `plimsoll-demo-<pid>-...` whose process no longer exists.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

const PREFIX: &str = "plimsoll-demo-";

/// Creates a directory below `parent`.
pub(crate) fn create(parent: &Path) -> anyhow::Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a temporary directory in {}", parent.display()))?;
    remove_leftovers(parent, dir.path());
    Ok(dir)
}

/// Removes directories of runs that have ended. Errors are ignored: the directories do no harm.
fn remove_leftovers(parent: &Path, ours: &Path) {
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

/// The process id in the name of a directory.
fn pid(name: &str) -> Option<&str> {
    let (pid, _random) = name.strip_prefix(PREFIX)?.split_once('-')?;
    (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_removes_only_directories_of_dead_runs_and_its_own_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        let living = format!("{PREFIX}{}-other", std::process::id());
        let others = [living.as_str(), "plimsoll-demo-AbCdEf", "plimsoll-demo--x", "another-4194999-x"];
        let dead = "plimsoll-demo-4194999-AbCdEf";
        for name in others.iter().chain([&dead]) {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("token"), "secret").unwrap();
        }
        let dir = create(parent.path()).unwrap();
        assert!(!path(dead).exists());
        for name in others {
            assert!(path(name).join("token").exists(), "{name}");
        }
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
