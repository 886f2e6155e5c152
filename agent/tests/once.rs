//! `--once` as a user runs it: the report is on stdout, and when there is nothing to report, stderr says where it was looked for.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A captured v2 tree without pods, with the capacity of the machine.
fn tree(kubepods: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cgroup = dir.path().join("sys/fs/cgroup");
    fs::create_dir_all(cgroup.join(kubepods.unwrap_or_default())).unwrap();
    fs::write(cgroup.join("cgroup.controllers"), "cpu memory\n").unwrap();
    dir
}

/// The number of pods in the report, and what is on stderr.
fn once(root: &Path, flags: &[&str]) -> (usize, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-agent"));
    command.args(["--once", "--node-name=n", "--period=100ms", "--host-root"]).arg(root).args(flags);
    let output = command.output().unwrap();
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
