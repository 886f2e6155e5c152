//! The demo program as a user starts it, checked by its output.
//!
//! Each run takes real time; the tests run in parallel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests: a failure is a failed test"
)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use plimsoll_contract::{Band, Resource, keys};
use plimsoll_demo::cluster::choose_host;
use plimsoll_demo::timeline::{Event, HostKind, What};

/// The guarantees of a profile: seconds from a rise of load to `high`, and from its fall to `low`.
struct Guarantee {
    high: f64,
    low: f64,
}

const DEFAULT: Guarantee = Guarantee { high: 20.0, low: 75.0 };
const LAB: Guarantee = Guarantee { high: 9.0, low: 40.0 };

#[test]
fn the_lab_demo_meets_its_guarantees_on_real_cgroups() {
    match choose_host(false) {
        (HostKind::Real, _) => check(&run(&["--profile", "lab", "--seconds", "62"]), HostKind::Real, &LAB),
        (HostKind::Simulated, why) => {
            eprintln!(
                "skipped: the_lab_demo_meets_its_guarantees_on_real_cgroups needs root or a delegated subtree: {why}"
            );
        }
    }
}

#[test]
fn the_lab_demo_meets_its_guarantees_on_a_simulated_host() {
    check(&run(&["--profile", "lab", "--seconds", "62", "--simulated"]), HostKind::Simulated, &LAB);
}

#[test]
fn the_default_demo_meets_its_guarantees_on_a_simulated_host() {
    check(&run(&["--seconds", "118", "--simulated"]), HostKind::Simulated, &DEFAULT);
}

#[test]
fn an_interrupted_demo_succeeds_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"))
        .args(["--plain", "--profile", "lab"])
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(8));
    let pid = demo.id();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(demo.wait().unwrap().success());
    let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "files left behind: {left:?}");
    for hierarchy in ["cpu", "cpuacct", "memory", "unified", ""] {
        let group = format!("/sys/fs/cgroup/{hierarchy}/plimsoll-demo-{pid}");
        assert!(!std::path::Path::new(&group).exists(), "left behind: {group}");
    }
}

fn run(flags: &[&str]) -> Vec<Event> {
    let demo = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo")).arg("--json").args(flags).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
    assert!(demo.status.success(), "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn check(events: &[Event], host: HostKind, guarantee: &Guarantee) {
    let output = || {
        events.iter().map(|event| format!("{}\n", serde_json::to_string(event).unwrap())).collect::<String>()
    };
    let rise = load(events, |cores| cores > 0.2);
    let fall = load(events, |cores| cores < 0.1);
    let rise = rise.into_iter().next().unwrap_or_else(|| panic!("web's load never rose:\n{}", output()));
    let fall = fall
        .into_iter()
        .find(|t| *t > rise)
        .unwrap_or_else(|| panic!("web's load never fell:\n{}", output()));
    let high =
        first(events, "web", Band::High, rise).unwrap_or_else(|| panic!("web was never high:\n{}", output()));
    let low = first(events, "web", Band::Low, fall)
        .unwrap_or_else(|| panic!("web was not low again:\n{}", output()));
    println!("{host:?}: high after {:.2} s, low after {:.2} s", high - rise, low - fall);
    assert!(high - rise <= guarantee.high, "high only after {:.1} s:\n{}", high - rise, output());
    assert!(low - fall <= guarantee.low, "low only after {:.1} s:\n{}", low - fall, output());

    let bands = band_labels(events);
    for idle in ["idle-1", "idle-2"] {
        assert_eq!(bands[&(idle, Resource::Cpu)], [Band::Low], "{}", output());
        assert_eq!(bands[&(idle, Resource::Memory)], [Band::Low], "{}", output());
    }
    assert!(bands[&("flapper", Resource::Cpu)].len() <= 2, "{}", output());
    assert_eq!(bands[&("batch", Resource::Cpu)], [Band::High], "{}", output());
    for (pod, basis) in [("batch", "limit"), ("requests-only", "request"), ("bare", "node")] {
        assert_eq!(bases(events, pod), [basis], "{pod}:\n{}", output());
    }
    match events.last().map(|event| &event.what) {
        Some(What::End { host: reported, writes }) => {
            assert_eq!(*reported, host);
            assert!((8..=20).contains(writes), "{writes} writes:\n{}", output());
        }
        other => panic!("the last line is {other:?}"),
    }
}

/// The times at which the load of `web` changed to a value that matches.
fn load(events: &[Event], wanted: impl Fn(f64) -> bool) -> Vec<f64> {
    let changes = events.iter().filter_map(|event| match &event.what {
        What::Load { pod, cores: Some(cores), .. } if pod == "web" && wanted(*cores) => Some(event.t),
        _ => None,
    });
    changes.collect()
}

fn first(events: &[Event], name: &str, wanted: Band, after: f64) -> Option<f64> {
    events.iter().filter(|event| event.t > after).find_map(|event| match &event.what {
        What::Label { pod, key, band: Some(band), .. }
            if pod == name && key == keys::CPU_BAND && *band == wanted =>
        {
            Some(event.t)
        }
        _ => None,
    })
}

fn band_labels(events: &[Event]) -> BTreeMap<(&str, Resource), Vec<Band>> {
    let mut bands: BTreeMap<_, Vec<Band>> = BTreeMap::new();
    for event in events {
        if let What::Label { pod, resource: Some(resource), band: Some(band), .. } = &event.what {
            bands.entry((pod.as_str(), *resource)).or_default().push(*band);
        }
    }
    bands
}

fn bases<'a>(events: &'a [Event], name: &str) -> Vec<&'a str> {
    let labels = events.iter().filter_map(|event| match &event.what {
        What::Label { pod, key, value: Some(value), .. } if pod == name && key == keys::CPU_BASIS => {
            Some(value.as_str())
        }
        _ => None,
    });
    labels.collect()
}
