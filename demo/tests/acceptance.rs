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
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll_contract::{Band, Quantity, Resource, keys};
use plimsoll_demo::cluster::choose_host;
use plimsoll_demo::timeline::{Event, HostKind, Size, What};

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

/// Longest wait for the story of the sizes; it takes a minute.
const STORY: Duration = Duration::from_secs(150);

#[test]
fn the_demo_shows_growth_to_moderate_gold_before_bronze_giving_back_and_memory_that_grows_before_the_kill() {
    let events = run_until(&["--profile", "lab", "--simulated"], told);
    let output = || {
        events.iter().map(|event| format!("{}\n", serde_json::to_string(event).unwrap())).collect::<String>()
    };
    // The step, the band, the resize with its arithmetic, the kernel, the band.
    let step = position(
        &events,
        0,
        |what| matches!(what, What::Load { pod, cores: Some(cores), .. } if pod == "gold-burner" && *cores > 0.1),
    );
    let step = step.unwrap_or_else(|| panic!("no step of load:\n{}", output()));
    let is_band = |what: &What, wanted: Band| {
        matches!(what, What::Label { pod, key, band: Some(band), .. }
            if pod == "gold-burner" && key == keys::CPU_BAND && *band == wanted)
    };
    let high = position(&events, step, |what| is_band(what, Band::High));
    let high = high.unwrap_or_else(|| panic!("gold was never high:\n{}", output()));
    let resize =
        position(&events, high, |what| matches!(what, What::Resize { pod, .. } if pod == "gold-burner"));
    let resize = resize.unwrap_or_else(|| panic!("gold was not resized after that:\n{}", output()));
    let What::Resize { to: asked, .. } = &events[resize].what else { unreachable!() };
    let kernel = position(&events, resize, |what| {
        matches!(what, What::Kernel { pod, to, since_resize: Some(_), since_load: Some(_), .. }
            if pod == "gold-burner" && Some(to) == asked.limit.as_ref())
    });
    let kernel = kernel.unwrap_or_else(|| panic!("the kernel does not enforce it:\n{}", output()));
    let moderate = position(&events, kernel, |what| is_band(what, Band::Moderate));
    assert!(moderate.is_some(), "gold was not moderate after that:\n{}", output());

    // There is room for one, 260m: gold is first and gets what it needs, and bronze at most what is left.
    let first =
        |name: &str| position(&events, 0, |what| matches!(what, What::Resize { pod, .. } if pod == name));
    let given_back = first("generous").unwrap_or_else(|| panic!("nothing was given back:\n{}", output()));
    let gold = grown(&events, "gold-burner");
    assert!(gold >= 210, "gold grew by {gold}m:\n{}", output());
    let [gold, bronze] = ["gold-burner", "bronze-burner"].map(|name| grown(&events[..given_back], name));
    assert!((0..=260 - gold).contains(&bronze), "gold grew by {gold}m, bronze by {bronze}m:\n{}", output());
    assert!(first("bronze-burner") > first("gold-burner"), "{}", output());
    // A fifth at once would be 100m: the floor of its class is 450m.
    assert_eq!(grown(&events, "generous"), -50, "{}", output());
    for event in &events {
        if let What::Resize { pod, why, .. } = &event.what {
            let class = match pod.as_str() {
                "gold-burner" | "grower" => "gold",
                "bronze-burner" => "bronze",
                _ => "demo",
            };
            let why = why.as_deref().unwrap_or_default();
            assert!(why.contains("->") && why.contains(class), "{pod}: {why}");
        }
    }

    // Memory never reaches the limit that the kernel enforces, and ends beyond the first one: without growth it would be killed.
    let (mut limit, mut demand) = (64 << 20, 0);
    for event in &events {
        match &event.what {
            What::Load { pod, bytes: Some(bytes), .. } if pod == "grower" => {
                assert!(*bytes >= demand, "it was started again:\n{}", output());
                demand = *bytes;
            }
            What::Kernel { pod, resource: Resource::Memory, to, .. } if pod == "grower" => {
                let grown = u64::try_from(to.parse::<Quantity>().unwrap().value()).unwrap();
                assert!(grown > limit, "{}", output());
                limit = grown;
            }
            _ => continue,
        }
        assert!(demand < limit, "{demand} bytes reached the limit {limit}:\n{}", output());
    }
    assert!(demand > 128 << 20, "{demand}:\n{}", output());
}

/// Whether the story has been told: gold is moderate after it was resized and high, something was given back, and the memory of `grower` has grown to
/// its end.
fn told(events: &[Event]) -> bool {
    let band = |from, wanted| {
        position(events, from, |what| {
            matches!(what, What::Label { pod, key, band: Some(band), .. }
                if pod == "gold-burner" && key == keys::CPU_BAND && *band == wanted)
        })
    };
    let moderate = band(0, Band::High).and_then(|high| band(high, Band::Moderate));
    let given_back =
        position(events, 0, |what| matches!(what, What::Kernel { pod, .. } if pod == "generous"));
    let has_grown = position(
        events,
        0,
        |what| matches!(what, What::Load { pod, bytes: Some(bytes), .. } if pod == "grower" && *bytes > 150 << 20),
    );
    moderate.is_some() && given_back.is_some() && has_grown.is_some()
}

/// The first event from this one on.
fn position(events: &[Event], from: usize, is_it: impl Fn(&What) -> bool) -> Option<usize> {
    let found = events.iter().skip(from).position(|event| is_it(&event.what))?;
    Some(from + found)
}

/// What all resizes together have added to the CPU request of a pod, in millicores.
fn grown(events: &[Event], name: &str) -> i128 {
    let milli = |size: &Size| size.request.as_ref().unwrap().parse::<Quantity>().unwrap().milli_value();
    let changes = events.iter().filter_map(|event| match &event.what {
        What::Resize { pod, resource: Resource::Cpu, from, to, .. } if pod == name => {
            Some(milli(to) - milli(from))
        }
        _ => None,
    });
    changes.sum()
}

/// The events of a demo that is stopped as soon as they suffice.
fn run_until(flags: &[&str], is_enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"))
        .args(["--json", "--seconds", &STORY.as_secs().to_string()])
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = Vec::new();
    let mut is_stopped = false;
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        events.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")));
        if !is_stopped && is_enough(&events) {
            is_stopped = true;
            interrupt(&demo);
        }
    }
    assert!(demo.wait().unwrap().success());
    events
}

fn interrupt(demo: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
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
    std::thread::sleep(Duration::from_secs(8));
    let pid = demo.id();
    interrupt(&demo);
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
            assert!((20..=50).contains(writes), "{writes} writes:\n{}", output());
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
