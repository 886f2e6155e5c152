//! Captured host trees: each folder of `tests/fixtures` is a case, and adding one needs no Rust. See its README.md.
//!
//! With `PLIMSOLL_BLESS=1` in the environment the expected reports (not the checks) are written; review the difference before you
//! commit it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use plimsoll_agent::args::Args;
use plimsoll_agent::config::Config;
use plimsoll_agent::once::sweep_twice;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Moment, Report};
use serde::Deserialize;
use serde_json::Value;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut cases: Vec<_> =
        fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    cases
}

/// The report of a case: two sweeps of its tree one second apart, with the files of `later/` copied over it in between.
fn report(case: &Path) -> Report {
    let copy = tempfile::tempdir().unwrap();
    copy_over(&case.join("tree"), copy.path());
    let flags = ["plimsoll-agent", "--once", "--node-name=captured", "--host-root"];
    let root = copy.path().to_str().unwrap();
    let config = Config::from_args(&Args::try_parse_from(flags.into_iter().chain([root])).unwrap()).unwrap();
    let roster =
        fs::read(case.join("roster.json")).ok().map(|json| serde_json::from_slice::<Answer>(&json).unwrap());
    let second = Duration::from_secs(1);
    let wall = "2026-01-01T00:00:00Z".parse().unwrap();
    sweep_twice(&config, roster.as_ref(), wall, || {
        copy_over(&case.join("later"), copy.path());
        (Moment(second * 100), Moment(second * 101))
    })
    .unwrap()
}

/// Copies a tree over another one, into the same files, which the agent has open. Symbolic links are kept.
fn copy_over(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_symlink() {
            let _ = symlink(fs::read_link(entry.path()).unwrap(), target);
        } else if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_over(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// What is right in the report of a case, and why.
#[derive(Debug, Deserialize)]
struct Checks {
    /// What is odd about the host, where it was reported, what is right.
    about: String,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    what: String,
    /// Of the value: `capacity.cores`, `<pod>.cpu.utilization`, `<pod>.containers.<id>.cpu.cores`.
    path: String,
    op: Op,
    #[serde(default)]
    value: Value,
    /// Relative.
    #[serde(default)]
    tolerance: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Op {
    Eq,
    Near,
    AtMost,
    /// Unknown is right, too.
    NotBelow,
    Absent,
}

impl Check {
    /// What is wrong, if anything is.
    fn problem(&self, report: &Report) -> Option<String> {
        let found = value_at(&serde_json::to_value(report).unwrap(), &self.path);
        let (number, expected) = (found.as_f64(), self.value.as_f64().unwrap_or_default());
        let right = match self.op {
            Op::Eq => found == self.value,
            Op::Near => number.is_some_and(|n| (n - expected).abs() <= self.tolerance * expected.abs()),
            Op::AtMost => number.is_some_and(|n| n <= expected),
            Op::NotBelow => number.is_none_or(|n| n >= expected),
            Op::Absent => found.is_null(),
        };
        let Check { what, path, op, value, .. } = self;
        (!right).then(|| format!("{what}: {path} is {found}, expected {op:?} {value}"))
    }
}

/// Pods are found by uid, containers by id; null if there is no such value.
fn value_at(report: &Value, path: &str) -> Value {
    let find = |list: &Value, key: &str, name: &str| {
        list.as_array().and_then(|all| all.iter().find(|one| one[key] == name)).cloned().unwrap_or_default()
    };
    let mut words = path.split('.').peekable();
    let mut value = match words.peek() {
        Some(word) if report.get(word).is_some() => report.clone(),
        _ => find(&report["pods"], "uid", words.next().unwrap_or_default()),
    };
    while let Some(word) = words.next() {
        value = match word {
            "containers" => find(&value["containers"], "id", words.next().unwrap_or_default()),
            word => value[word].clone(),
        };
    }
    value
}

#[test]
fn every_captured_tree_produces_its_expected_report() {
    let cases = cases();
    assert!(cases.len() >= 50, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap_or_default().display().to_string();
        let report = report(&case);
        report.check().unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let checks = fs::read(case.join("checks.json")).ok();
        if let Some(checks) = checks.map(|json| serde_json::from_slice::<Checks>(&json).unwrap()) {
            assert!(!checks.about.is_empty() && !checks.checks.is_empty(), "{name} checks nothing");
            wrong.extend(
                checks.checks.iter().filter_map(|c| Some(format!("{name}: {}", c.problem(&report)?))),
            );
            continue;
        }
        let found = serde_json::to_string_pretty(&report).unwrap() + "\n";
        let file = case.join("expected.json");
        if std::env::var_os("PLIMSOLL_BLESS").is_some() {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_band_is_known_without_a_utilization() {
    for case in cases() {
        for pod in report(&case).pods {
            let bands = [(pod.cpu.band, pod.cpu.utilization), (pod.memory.band, pod.memory.utilization)];
            for (band, utilization) in bands {
                assert!(
                    !band.is_known() || utilization.is_some(),
                    "{}: {} is {band}",
                    case.display(),
                    pod.uid
                );
            }
        }
    }
}
