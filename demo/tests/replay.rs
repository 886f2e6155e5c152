//! `plimsoll-demo replay FILE` as a user calls it. What a recording of real programs shows is in `tests/suite/recording.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plimsoll_process::recording::Recorder;
use serde_json::{Value, json};

fn replay(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll-demo")).arg("replay").args(flags).output().unwrap()
}

fn error(flags: &[&str]) -> String {
    let out = replay(flags);
    assert!(!out.status.success() && out.stdout.is_empty(), "{flags:?}");
    String::from_utf8(out.stderr).unwrap()
}

/// A run of an aggregator: three pods without limits, of a node that says nothing about what it can allocate.
fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aggregator/tests/recordings/labels-of-two-pods.jsonl")
}

#[test]
fn a_recording_is_shown_as_lines_and_tables_or_as_json() {
    let file = recording();
    let file = file.to_str().unwrap();
    let out = replay(&[file, "--class", "gold"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.starts_with("recording of an aggregator, from 2026-11-28T10:46:18Z\n"), "{text}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // by the reports of seconds 1, 2 and 3 of the process; the first step is of second 0
    for line in [
        "1s  demo/rises: cpu unknown -> low",
        "2s  demo/rises: cpu low -> moderate",
        "3s  demo/rises: cpu moderate -> high",
        "55 steps are as recorded.",
    ] {
        assert!(lines.contains(&line), "{line} in {text}");
    }
    let cells = |line: &&str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(cells).collect();
    let rises = |sizes: &str| {
        rows.iter().filter(|row| row.starts_with(&["demo/rises".into(), "app".into(), sizes.into()])).count()
    };
    assert_eq!((rises("as recorded"), rises("as gold")), (1, 1), "{text}");

    let out = replay(&[file, "--class", "gold", "--json"]);
    let text = String::from_utf8(out.stdout).unwrap();
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bands = objects.iter().find(|object| {
        object["event"] == "bands" && object["pod"] == "demo/rises" && object["resource"] == "cpu"
    });
    // low from second 1 to 2, moderate to 3, then high to the end at 22
    assert_eq!(bands.unwrap()["seconds"], json!({"low": 1, "moderate": 1, "high": 19, "unknown": 0}));
    let sizes = objects.iter().find(|object| {
        object["event"] == "sizes" && object["pod"] == "demo/rises" && object["class"] == "gold"
    });
    let sizes = sizes.unwrap();
    // 22 s of 200m: what its node has for pods is not known, so it does not grow
    assert_eq!((&sizes["seconds"], &sizes["resizes"]), (&json!(22), &json!(0)));
    assert!((sizes["reservedCoreSeconds"].as_f64().unwrap() - 22.0 * 0.2).abs() < 1e-9, "{sizes}");
    assert_eq!(objects[0]["event"], "start");
    let end = objects.last().unwrap();
    assert_eq!(
        (&end["event"], &end["compared"], &end["truncated"]),
        (&json!("end"), &json!(55), &json!(false))
    );
}

#[test]
fn a_recording_that_is_not_done_again_is_an_error_and_counted_where_another_class_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let text = std::fs::read_to_string(recording()).unwrap();
    let changed = text.replacen("cpu-band\": \"high\"", "cpu-band\": \"low\"", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    let file = file.to_str().unwrap();
    let out = replay(&[file]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success());
    assert!(said.contains("run.jsonl:") && said.contains("recorded") && said.contains("--class"), "{said}");
    let out = replay(&[file, "--class", "bronze"]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && said.contains("1 of 55 steps are not as recorded"), "{said}");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_file_and_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = path("file");
    for (text, expected) in [
        ("", "is empty"),
        ("seconds,cores\n0,1\n", "which --record wrote"),
        ("{\"output\":\"labels\"}\n", "record anew with --record"),
        ("{\"recording\":\"aggregator\",\"format\":2,\"settings\":{}}\n", "this program reads format 1"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = error(&[&file]);
        assert!(said.contains(expected) && said.contains(&file), "{said}");
    }
    Recorder::start(Path::new(&file), "scheduler", &json!({})).unwrap().flush();
    let said = error(&[&file]);
    assert!(
        said.contains("a recording of `scheduler`, and only those of an agent or an aggregator"),
        "{said}"
    );
    let said = error(&[&path("none")]);
    assert!(said.contains("cannot read the recording"), "{said}");
}

#[test]
fn flags_that_say_nothing_about_a_recording_or_a_trace_are_refused() {
    for (flags, expected) in [
        (&[] as &[&str], "<FILE|--usage <FILE>>"),
        (&["run.jsonl", "--usage", "trace.csv"], "cannot be used with"),
        (&["run.jsonl", "--interval", "10"], "cannot be used with"),
        (&["run.jsonl", "--request", "10"], "cannot be used with"),
        (&["run.jsonl", "--limit", "10"], "cannot be used with"),
        (&["run.jsonl", "--excess", "lost"], "cannot be used with"),
        (&["--usage", "trace.csv", "--ranker", "promethee"], "cannot be used with"),
        (&["run.jsonl", "--ranker", "fuzzy"], "topsis, promethee"),
        (&["run.jsonl", "--class", "platinum"], "gold, silver, bronze"),
    ] {
        let said = error(flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}
