//! Edge cases of the command line: invalid flags, a closed pipe, a closed terminal window; and `replay`.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

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
    let first: Vec<_> = lines.by_ref().take(5).map(Result::unwrap).collect();
    for (line, word) in [
        (0, "agent"),
        (0, "labels"),
        (1, "simulated"),
        (2, "gold-burner"),
        (3, "kubectl --kubeconfig="),
        (4, "top"),
    ] {
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

/// `plimsoll-demo replay --usage` on a file with this text.
fn replay(text: &str, flags: &[&str]) -> Output {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("trace.csv");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"));
    command.args(["replay", "--usage"]).arg(file).args(flags).output().unwrap()
}

#[test]
fn replay_prints_a_line_for_each_rule_or_json() {
    // half an hour of 0.2 cores, then of 1.5
    let trace: String =
        (0..60).map(|minute| format!("{},{}\n", minute * 60, if minute < 30 { 0.2 } else { 1.5 })).collect();
    let out = replay(&trace, &["--class", "silver", "--request", "200", "--limit", "300"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{text}");
    let starts: Vec<&str> = text.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let expected = ["RULE", "Plimsoll, silver", "static at peak", "VPA", "usage / target"];
    assert_eq!(starts[1..6], expected, "{text}");
    assert!(text.starts_with("0.0 days, peak 1.50 cores; template: request 200m, limit 300m\n"), "{text}");

    let out = replay(&trace, &["--json", "--excess", "lost"]);
    let text = String::from_utf8(out.stdout).unwrap();
    let rules: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rules.len(), 4);
    assert_eq!(rules[1]["rule"], "static at peak");
    assert_eq!(rules[1]["reservedCoreHours"], 1.5);
    assert_eq!(rules[1]["withheldCoreSeconds"], 0.0);
    assert!(rules[0]["withheldCoreSeconds"].as_f64().unwrap() > 0.0, "{text}");
}

#[test]
fn replay_names_the_file_the_line_and_the_cure() {
    for (text, flags, expected) in [
        ("", &[] as &[&str], "no values"),
        ("1\nNaN\n", &[], "line 2: `NaN` is no usage; write cores"),
        ("0,1\n60,-1\n", &[], "line 2: `-1`"),
        ("60,1\n0,1\n", &[], "line 2: the time 0 is not after"),
        ("1\n1e300\n", &[], "from 0 to 100000"),
        ("1\n", &["--request", "500", "--limit", "200"], "--limit 200 is less than --request 500"),
    ] {
        let out = replay(text, flags);
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && error.contains(expected), "{text:?}: {error}");
        assert!(!flags.is_empty() || error.contains("trace.csv"), "{error}");
        assert!(out.stdout.is_empty());
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"))
        .args(["replay", "--usage", "no-such-trace.csv"])
        .output()
        .unwrap();
    assert!(String::from_utf8(missing.stderr).unwrap().contains("no-such-trace.csv"));
}
