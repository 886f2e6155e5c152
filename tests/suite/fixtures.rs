//! Captured host trees: each folder of `tests/fixtures` is a case, and adding one needs no Rust. See its README.md.
//!
//! With `PLIMSOLL_BLESS=1` in the environment the expected reports are written; review the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use plimsoll_agent::args::Args;
use plimsoll_agent::config::Config;
use plimsoll_agent::once::sweep_twice;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Moment, Report};

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

/// Copies a tree over another one, into the same files, which the agent has open.
fn copy_over(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_over(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[test]
fn every_captured_tree_produces_its_expected_report() {
    let cases = cases();
    assert!(cases.len() >= 10, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let report = report(&case);
        report.check().unwrap_or_else(|problem| panic!("{}: {problem}", case.display()));
        let found = serde_json::to_string_pretty(&report).unwrap() + "\n";
        let file = case.join("expected.json");
        if std::env::var_os("PLIMSOLL_BLESS").is_some() {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}: expected\n{expected}\nfound\n{found}", case.display()));
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
