//! Edge cases of the command line: invalid flags, a closed pipe, a closed terminal window.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn demo(flags: &[&str], temp: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"))
        .args(["--simulated", "--profile", "lab"])
        .args(flags)
        .env("TMPDIR", temp)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn errors_are_printed_on_stderr_also_when_logs_are_off() {
    let temp = tempfile::tempdir().unwrap();
    for (flags, expected) in [
        (["--json", "--log-filter", "loud"], "--log-filter"),
        (["--json", "--log-filter", "off"], "no-such-place"),
    ] {
        let out = demo(&flags, &temp.path().join("no-such-place")).wait_with_output().unwrap();
        let output = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && output.contains(expected), "{output}");
        assert!(out.stdout.is_empty(), "stdout is for events");
    }
}

#[test]
fn the_first_lines_introduce_the_demo_and_a_closed_pipe_is_not_a_failure() {
    let temp = tempfile::tempdir().unwrap();
    let mut demo = demo(&["--seconds", "30"], temp.path());
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let first: Vec<_> = lines.by_ref().take(4).map(Result::unwrap).collect();
    for (line, word) in
        [(0, "agent"), (0, "labels"), (1, "simulated"), (2, "kubectl --kubeconfig="), (3, "top")]
    {
        assert!(first[line].contains(word), "{word}: {first:?}");
    }
    drop(lines);
    let status = demo.wait().unwrap();
    let mut output = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(status.success() && output.is_empty(), "{status}: {output}");
    assert!(is_empty(temp.path()), "files left behind");
}

#[test]
fn a_closed_window_ends_the_demo_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let mut demo = demo(&["--plain"], temp.path());
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    kill(Pid::from_raw(i32::try_from(demo.id()).unwrap()), Signal::SIGHUP).unwrap();
    out.read_to_end(&mut Vec::new()).unwrap();
    assert!(demo.wait().unwrap().success());
    assert!(is_empty(temp.path()), "files left behind");
}
