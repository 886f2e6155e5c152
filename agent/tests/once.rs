//! `--once` as a user runs it: the report is on stdout, and when there is nothing to report, stderr says where it was looked for. What is
//! no regular file in a captured tree is not read, and named.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A captured v2 tree without pods, with the capacity of the machine.
fn tree(kubepods: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cgroup = dir.path().join("sys/fs/cgroup");
    fs::create_dir_all(cgroup.join(kubepods.unwrap_or_default())).unwrap();
    fs::write(cgroup.join("cgroup.controllers"), "cpu memory\n").unwrap();
    dir
}

fn run(root: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-agent"));
    command.args(["--once", "--node-name=n", "--period=100ms", "--host-root"]).arg(root).args(flags);
    command.output().unwrap()
}

/// The number of pods in the report, and what is on stderr.
fn once(root: &Path, flags: &[&str]) -> (usize, String) {
    let output = run(root, flags);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (report["pods"].as_array().unwrap().len(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_kubepods_directory_the_paths_that_were_tried_are_named_once() {
    let dir = tree(None);
    let (pods, errors) = once(dir.path(), &[]);
    let root = dir.path().join("sys/fs/cgroup");
    assert_eq!(pods, 0);
    assert_eq!(errors.matches("no kubepods directory found").count(), 1, "{errors}");
    for said in
        ["kubepods.slice", "kubelet/kubepods", root.to_str().unwrap(), "--kubepods PATH", "--host-root"]
    {
        assert!(errors.contains(said), "{said} is missing: {errors}");
    }
    let (_, errors) = once(dir.path(), &["--kubepods=elsewhere/kubepods"]);
    assert!(errors.contains("elsewhere/kubepods") && !errors.contains("kubelet/kubepods"), "{errors}");
}

#[test]
fn a_kubepods_directory_without_pods_is_named() {
    let dir = tree(Some("kubepods.slice"));
    let (pods, errors) = once(dir.path(), &[]);
    assert_eq!(pods, 0);
    assert_eq!(errors.matches("has no pods").count(), 1, "{errors}");
    assert!(errors.contains("kubepods.slice") && errors.contains("--kubepods PATH"), "{errors}");
}

#[test]
fn of_a_host_with_pods_nothing_is_missing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/docker/tree");
    let (pods, errors) = once(&root, &[]);
    assert_eq!(pods, 3);
    assert!(!errors.contains("WARN"), "{errors}");
}

/// Every file of a captured host with pods, in a copy of it.
fn files(copy: &Path) -> Vec<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kind/tree");
    let mut folders = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(copy.join(&folder)).unwrap();
        for entry in fs::read_dir(from.join(&folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                fs::copy(entry.path(), copy.join(&path)).unwrap();
                files.push(copy.join(&path));
            }
        }
    }
    files
}

#[test]
fn a_pipe_or_an_endless_device_in_place_of_any_file_is_named_and_not_waited_for() {
    let zero = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for plant in [&zero as &dyn Fn(&Path), &pipe] {
        // of a cgroup: the others are read, and the report is made
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let (pods, errors) = once(dir.path(), &[]);
        assert!(pods > 0 && !errors.contains("not read"), "{errors}");
        let planted = files.iter().find(|path| path.ends_with("cpu.stat")).unwrap();
        fs::remove_file(planted).unwrap();
        plant(planted);
        let began = Instant::now();
        let (same, errors) = once(dir.path(), &[]);
        assert_eq!(same, pods);
        let named = planted.parent().unwrap().canonicalize().unwrap().join("cpu.stat");
        assert!(
            errors.contains("pipes, devices, links") && errors.contains(named.to_str().unwrap()),
            "{errors}"
        );
        // what the report needs: an error that names it
        for file in ["proc/meminfo", "proc/stat", "sys/fs/cgroup/cgroup.controllers"] {
            let path = dir.path().join(file);
            fs::remove_file(&path).unwrap();
            plant(&path);
            let output = run(dir.path(), &[]);
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && errors.contains(path.to_str().unwrap()), "{file}: {errors}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
