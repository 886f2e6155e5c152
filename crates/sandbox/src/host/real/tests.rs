use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread::sleep;

use plimsoll_contract::{PodName, Resource};

use super::*;
use crate::host::new_container_id;
use crate::load::Load;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const MIB: u64 = 1 << 20;

/// This test program as a workload: the test below, which only then does anything.
pub(crate) fn worker() -> Worker {
    let entry = "host::real::tests::the_child_that_other_tests_start";
    let arguments =
        [entry, "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(String::from).into();
    Worker { program: "/proc/self/exe".into(), arguments }
}

#[test]
#[ignore = "not a test: the workload process of the tests of this module"]
fn the_child_that_other_tests_start() {
    // By hand there is no script to come.
    if std::io::stdin().is_terminal() {
        return;
    }
    println!();
    crate::workload::run().unwrap();
}

/// Whether a real host can be had; says by name which test is skipped if not.
pub(crate) fn possible(test: &str) -> bool {
    match RealHost::available() {
        Ok(()) => true,
        Err(why) => {
            // Not `println`: the test passes, and what a passing test prints is not shown.
            let _ = writeln!(std::io::stderr(), "skipped: needs root: {test}: {why}");
            false
        }
    }
}

fn host(name: &str) -> RealHost {
    RealHost::new(name, worker()).unwrap()
}

fn start_pod(host: &RealHost, limits: Limits, load: &str) -> (PodUid, ContainerId) {
    let (uid, id) = (PodUid::new(UID).unwrap(), new_container_id());
    let slot = PodSlot { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::Burstable };
    host.create_pod(&slot, &limits).unwrap();
    let start =
        ContainerStart { id: id.clone(), name: "app".into(), limits, load: Load::parse(load).unwrap() };
    host.start_container(&uid, &start).unwrap();
    (uid, id)
}

fn mounts() -> Vec<PathBuf> {
    ["cpu", "cpuacct", "cpu,cpuacct", "memory", ""].map(|name| Path::new("/sys/fs/cgroup").join(name)).into()
}

pub(crate) fn directories_of(name: &str) -> Vec<PathBuf> {
    let entries = mounts().into_iter().flat_map(|mount| fs::read_dir(mount).into_iter().flatten().flatten());
    entries
        .map(|entry| entry.path())
        .filter(|path| path.display().to_string().contains(&format!("/{name}-")))
        .collect()
}

/// A number of the container's cgroup, wherever the controllers are mounted: v2 and v1 names, the unit of the first.
fn read(host: &RealHost, id: &ContainerId, names: &[(&str, &str, f64)]) -> f64 {
    let path = format!("{}/burstable/pod{UID}/{id}", host.facts().kubepods.unwrap());
    for mount in mounts() {
        for (file, key, unit) in names {
            let Ok(text) = fs::read_to_string(mount.join(&path).join(file)) else {
                continue;
            };
            let found =
                text.lines().find_map(|line| line.strip_prefix(key).map(str::trim)?.parse::<f64>().ok());
            if let Some(value) = found {
                return value * unit;
            }
        }
    }
    panic!("none of {names:?} in {path}");
}

fn usage(host: &RealHost, id: &ContainerId) -> f64 {
    read(host, id, &[("cpu.stat", "usage_usec", 1e-6), ("cpuacct.usage", "", 1e-9)])
}

fn alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|text| !text.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[test]
fn a_demand_above_the_limit_uses_the_limit_and_is_throttled() {
    if !possible("a_demand_above_the_limit_uses_the_limit_and_is_throttled") {
        return;
    }
    let host = host("plimsoll-test-throttle");
    let limits = Limits {
        cpu: Limit::Of(Cores(0.1)),
        memory: Limit::Of(Bytes(64 * MIB)),
        cpu_request: Some(Cores(0.05)),
    };
    let mut changes = host.changes();
    let (uid, id) = start_pod(&host, limits, r#"{"cpu":{"constant":0.2},"memory":{"constant":"16Mi"}}"#);
    for place in [Place::pod(&uid), Place::container(&uid, &id)] {
        let reads = host.limits(&place).unwrap();
        assert_eq!((reads.cpu, reads.memory), (limits.cpu, limits.memory));
        let request = reads.cpu_request.unwrap().0;
        assert!((request - 0.05).abs() < 0.01, "{request}");
    }
    sleep(Duration::from_millis(500));
    let (from, started) = (usage(&host, &id), Instant::now());
    sleep(Duration::from_millis(1500));
    let cores = (usage(&host, &id) - from) / started.elapsed().as_secs_f64();
    assert!((0.07..0.13).contains(&cores), "{cores} cores under a limit of 0.1");
    assert!(read(&host, &id, &[("cpu.stat", "nr_throttled", 1.0)]) >= 5.0);
    let memory = read(&host, &id, &[("memory.current", "", 1.0), ("memory.usage_in_bytes", "", 1.0)]);
    assert!((16.0..24.0).contains(&(memory / MIB as f64)), "{memory} bytes");

    let told: Vec<LoadChange> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
    assert_eq!(told.len(), 2, "one change of each resource, and silence after: {told:?}");
    let cpu = told.iter().find(|change| change.resource == Resource::Cpu).unwrap();
    assert_eq!((cpu.pod.as_str(), cpu.value), ("web", 0.2), "the demand, not what the quota leaves of it");

    let raised = Limits { cpu: Limit::Of(Cores(0.4)), ..limits };
    host.set_limits(&Place::pod(&uid), &raised).unwrap();
    host.set_limits(&Place::container(&uid, &id), &raised).unwrap();
    sleep(Duration::from_millis(200));
    let (from, started) = (usage(&host, &id), Instant::now());
    sleep(Duration::from_millis(600));
    let cores = (usage(&host, &id) - from) / started.elapsed().as_secs_f64();
    assert!((0.15..0.25).contains(&cores), "{cores} cores wanted 0.2 under a limit of 0.4");
    host.stop();
    assert_eq!(directories_of("plimsoll-test-throttle"), Vec::<PathBuf>::new());
}

#[test]
fn a_restart_has_a_new_cgroup_and_a_killed_container_is_noticed() {
    if !possible("a_restart_has_a_new_cgroup_and_a_killed_container_is_noticed") {
        return;
    }
    let host = host("plimsoll-test-restart");
    let (uid, id) = start_pod(&host, Limits::NONE, r#"{"cpu":{"constant":0.05}}"#);
    let old = host.pids(&uid)[&id];
    let new = ContainerStart {
        id: new_container_id(),
        name: "app".into(),
        limits: Limits::NONE,
        load: Load::default(),
    };
    host.restart_container(&uid, &id, &new).unwrap();
    assert!(!alive(old));
    assert_eq!(host.ended(), []);
    assert!(matches!(host.limits(&Place::container(&uid, &id)), Err(HostError::Absent { .. })));
    let pid = i32::try_from(host.pids(&uid)[&new.id]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    while host.ended().is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(10));
    }
    assert_eq!(host.ended(), [(uid.clone(), new.id.clone())]);
    host.remove_pod(&uid).unwrap();
    assert!(host.pids(&uid).is_empty());
}

#[test]
fn nothing_is_left_after_a_panic() {
    if !possible("nothing_is_left_after_a_panic") {
        return;
    }
    let mut pid = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let host = host("plimsoll-test-panic");
        let (uid, id) = start_pod(&host, Limits::NONE, r#"{"cpu":{"constant":0.1}}"#);
        pid = host.pids(&uid)[&id];
        assert!(alive(pid) && !directories_of("plimsoll-test-panic").is_empty());
        panic!("on purpose: the host must clean up while unwinding");
    }));
    assert!(outcome.is_err());
    assert!(!alive(pid));
    assert_eq!(directories_of("plimsoll-test-panic"), Vec::<PathBuf>::new());
}

/// A parent that is killed: this test program again, running only the test below.
#[test]
fn children_die_with_a_killed_parent_and_the_next_run_removes_its_cgroups() {
    let name = "children_die_with_a_killed_parent_and_the_next_run_removes_its_cgroups";
    if !possible(name) {
        return;
    }
    let entry = "host::real::tests::the_parent_that_gets_killed";
    let mut parent = Command::new("/proc/self/exe")
        .args([entry, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufRead::lines(std::io::BufReader::new(parent.stdout.take().unwrap()));
    let child = said
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child ").and_then(|pid| pid.parse().ok()));
    let child: u32 = child.expect("the parent says its child's pid");
    assert!(alive(child));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    while alive(child) && Instant::now() < deadline {
        sleep(Duration::from_millis(10));
    }
    assert!(!alive(child), "the child outlived its parent");
    assert!(!directories_of("plimsoll-test-killed").is_empty(), "a killed parent cannot clean up");
    drop(host("plimsoll-test-killed"));
    assert_eq!(directories_of("plimsoll-test-killed"), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "not a test: the parent process that a test of this module kills"]
fn the_parent_that_gets_killed() {
    if !possible("the_parent_that_gets_killed") {
        return;
    }
    let host = host("plimsoll-test-killed");
    let (uid, id) = start_pod(&host, Limits::NONE, r#"{"cpu":{"constant":0.1}}"#);
    println!("\nchild {}", host.pids(&uid)[&id]);
    // Bounded, should somebody run it by hand.
    sleep(Duration::from_secs(10));
}

#[test]
fn an_idle_container_costs_next_to_nothing_and_two_cores_are_two_threads() {
    if !possible("an_idle_container_costs_next_to_nothing_and_two_cores_are_two_threads") {
        return;
    }
    let host = host("plimsoll-test-idle");
    let (uid, idle) = start_pod(&host, Limits::NONE, "{}");
    let busy = ContainerStart {
        id: new_container_id(),
        name: "busy".into(),
        limits: Limits::NONE,
        load: Load::parse(r#"{"cpu":{"step":{"from":0.1,"to":1.2,"at":"60s"}}}"#).unwrap(),
    };
    host.start_container(&uid, &busy).unwrap();
    sleep(Duration::from_millis(300));
    let (from, started) = ([&idle, &busy.id].map(|id| usage(&host, id)), Instant::now());
    sleep(Duration::from_millis(600));
    let [idle_cores, cores] = [(&idle, 0), (&busy.id, 1)]
        .map(|(id, i)| (usage(&host, id) - from[i]) / started.elapsed().as_secs_f64());
    assert!(idle_cores < 0.01, "{idle_cores}");
    assert!((0.07..0.13).contains(&cores), "{cores} cores wanted 0.1");
    let threads = fs::read_dir(format!("/proc/{}/task", host.pids(&uid)[&busy.id])).unwrap();
    let burning = threads
        .flatten()
        .filter(|task| fs::read_to_string(task.path().join("comm")).unwrap().starts_with("burn-"));
    assert_eq!(burning.count(), 2);
}

#[test]
fn a_directory_of_ours_is_not_shared() {
    if !possible("a_directory_of_ours_is_not_shared") {
        return;
    }
    let _first = host("plimsoll-test-twice");
    let refusal = RealHost::new("plimsoll-test-twice", worker()).unwrap_err().to_string();
    assert!(refusal.contains("exists already"), "{refusal}");
}

/// The demo's `web` was called high 31 s after its load rose, on a machine that compiled at the same time.
#[test]
fn a_busy_machine_does_not_starve_the_workloads() {
    if !possible("a_busy_machine_does_not_starve_the_workloads") {
        return;
    }
    let host = host("plimsoll-test-busy");
    let limits =
        Limits { cpu: Limit::Of(Cores(0.2)), memory: Limit::Unlimited, cpu_request: Some(Cores(0.05)) };
    let (_, id) = start_pod(&host, limits, r#"{"cpu": {"constant": 0.4}}"#);
    // In sessions of their own: the kernel gives each session one share, however many threads it has.
    let spin = || Command::new("setsid").args(["sh", "-c", "while :; do :; done"]).spawn().unwrap();
    let mut crowd: Vec<_> = (0..16).map(|_| spin()).collect();
    sleep(Duration::from_millis(500));
    let (before, began) = (usage(&host, &id), Instant::now());
    sleep(Duration::from_secs(2));
    let cores = (usage(&host, &id) - before) / began.elapsed().as_secs_f64();
    for spinner in &mut crowd {
        spinner.kill().unwrap();
        spinner.wait().unwrap();
    }
    assert!(cores > 0.17, "{cores} of the 0.2 cores it may have");
}
