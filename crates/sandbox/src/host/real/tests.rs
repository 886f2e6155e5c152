use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use plimsoll_contract::{PodName, Resource};

use super::*;
use crate::host::new_container_id;
use crate::load::Load;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const MIB: u64 = 1 << 20;

/// This test program as a workload: it runs only the test below.
pub(crate) fn workload_command() -> WorkloadCommand {
    let entry = "host::real::tests::workload_process_of_other_tests";
    let arguments =
        [entry, "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(String::from).into();
    WorkloadCommand { program: "/proc/self/exe".into(), arguments }
}

#[test]
#[ignore = "not a test: the workload process of the tests of this module"]
fn workload_process_of_other_tests() {
    // Started by hand, it gets no script.
    if std::io::stdin().is_terminal() {
        return;
    }
    println!();
    crate::workload::run().unwrap();
}

/// Whether a real host is available; if not, prints the name of the skipped test.
pub(crate) fn possible(test: &str) -> bool {
    match RealHost::available() {
        Ok(()) => true,
        Err(why) => {
            // Not `println`: the output of a passing test is not shown.
            let _ = writeln!(std::io::stderr(), "skipped: needs root: {test}: {why}");
            false
        }
    }
}

fn host(name: &str) -> RealHost {
    RealHost::new(name, workload_command()).unwrap()
}

fn start_pod(host: &RealHost, limits: Limits, load: &str) -> (PodUid, ContainerId) {
    let (uid, id) = (PodUid::new(UID).unwrap(), new_container_id());
    let cgroup = PodCgroup { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::Burstable };
    host.create_pod(&cgroup, &limits).unwrap();
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

/// A number of the container's cgroup: by its v2 or v1 file, key and unit.
fn read(host: &RealHost, id: &ContainerId, names: &[(&str, &str, f64)]) -> f64 {
    let path = format!("{}/burstable/pod{UID}/{id}", host.info().kubepods.unwrap());
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
    for cgroup in [CgroupId::pod(&uid), CgroupId::container(&uid, &id)] {
        let reads = host.limits(&cgroup).unwrap();
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

    let published: Vec<LoadChange> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
    assert_eq!(published.len(), 2, "one change of each resource: {published:?}");
    let cpu = published.iter().find(|change| change.resource == Resource::Cpu).unwrap();
    assert_eq!((cpu.pod.as_str(), cpu.value), ("web", 0.2), "the demand, not the usage");

    let raised = Limits { cpu: Limit::Of(Cores(0.4)), ..limits };
    host.set_limits(&CgroupId::pod(&uid), &raised).unwrap();
    host.set_limits(&CgroupId::container(&uid, &id), &raised).unwrap();
    sleep(Duration::from_millis(200));
    let (from, started) = (usage(&host, &id), Instant::now());
    sleep(Duration::from_millis(600));
    let cores = (usage(&host, &id) - from) / started.elapsed().as_secs_f64();
    assert!((0.15..0.25).contains(&cores), "{cores} cores with a demand of 0.2 and a limit of 0.4");
    host.stop();
    assert_eq!(directories_of("plimsoll-test-throttle"), Vec::<PathBuf>::new());
}

#[test]
fn a_restart_has_a_new_cgroup_and_a_killed_container_is_reported() {
    if !possible("a_restart_has_a_new_cgroup_and_a_killed_container_is_reported") {
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
    host.stop_container(&uid, &id).unwrap();
    host.start_container(&uid, &new).unwrap();
    assert!(!alive(old));
    assert_eq!(host.ended(), []);
    assert!(host.limits(&CgroupId::container(&uid, &id)).is_err());
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
fn nothing_remains_after_a_panic() {
    if !possible("nothing_remains_after_a_panic") {
        return;
    }
    let mut pid = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let host = host("plimsoll-test-panic");
        let (uid, id) = start_pod(&host, Limits::NONE, r#"{"cpu":{"constant":0.1}}"#);
        pid = host.pids(&uid)[&id];
        assert!(alive(pid) && !directories_of("plimsoll-test-panic").is_empty());
        panic!("intended: the host must clean up while unwinding");
    }));
    assert!(outcome.is_err());
    assert!(!alive(pid));
    assert_eq!(directories_of("plimsoll-test-panic"), Vec::<PathBuf>::new());
}

/// The killed parent is this test program, running only the test below.
#[test]
fn children_end_with_a_killed_parent_and_the_next_run_removes_its_cgroups() {
    let name = "children_end_with_a_killed_parent_and_the_next_run_removes_its_cgroups";
    if !possible(name) {
        return;
    }
    let entry = "host::real::tests::killed_parent_of_other_tests";
    let mut parent = Command::new("/proc/self/exe")
        .args([entry, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufRead::lines(std::io::BufReader::new(parent.stdout.take().unwrap()));
    let child = output
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("child ").and_then(|pid| pid.parse().ok()));
    let child: u32 = child.expect("the parent prints the pid of its child");
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
fn killed_parent_of_other_tests() {
    if !possible("killed_parent_of_other_tests") {
        return;
    }
    let host = host("plimsoll-test-killed");
    let (uid, id) = start_pod(&host, Limits::NONE, r#"{"cpu":{"constant":0.1}}"#);
    println!("\nchild {}", host.pids(&uid)[&id]);
    // Limited, in case it is started by hand.
    sleep(Duration::from_secs(10));
}

#[test]
fn an_idle_container_uses_next_to_no_cpu_and_two_cores_are_two_threads() {
    if !possible("an_idle_container_uses_next_to_no_cpu_and_two_cores_are_two_threads") {
        return;
    }
    let host = host("plimsoll-test-idle");
    let (uid, idle) = start_pod(&host, Limits::NONE, "{}");
    let busy = ContainerStart {
        id: new_container_id(),
        name: "busy".into(),
        limits: Limits::NONE,
        load: Load::parse(r#"{"cpu":{"trace":{"points":[[0,0.1],[60,1.2]]}}}"#).unwrap(),
    };
    host.start_container(&uid, &busy).unwrap();
    sleep(Duration::from_millis(300));
    let (from, started) = ([&idle, &busy.id].map(|id| usage(&host, id)), Instant::now());
    sleep(Duration::from_millis(600));
    let [idle_cores, cores] = [(&idle, 0), (&busy.id, 1)]
        .map(|(id, i)| (usage(&host, id) - from[i]) / started.elapsed().as_secs_f64());
    assert!(idle_cores < 0.01, "{idle_cores}");
    assert!((0.07..0.13).contains(&cores), "{cores} cores with a demand of 0.1");
    let threads = fs::read_dir(format!("/proc/{}/task", host.pids(&uid)[&busy.id])).unwrap();
    let burning = threads
        .flatten()
        .filter(|task| fs::read_to_string(task.path().join("comm")).unwrap().starts_with("burn-"));
    assert_eq!(burning.count(), 2);
}

#[test]
fn two_hosts_cannot_share_a_directory() {
    if !possible("two_hosts_cannot_share_a_directory") {
        return;
    }
    let _first = host("plimsoll-test-twice");
    let error = RealHost::new("plimsoll-test-twice", workload_command()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
}

/// Regression: on a machine that was compiling, the demo's `web` became `high` only 31 s after its load rose.
#[test]
fn a_busy_machine_does_not_starve_the_workloads() {
    if !possible("a_busy_machine_does_not_starve_the_workloads") {
        return;
    }
    let host = host("plimsoll-test-busy");
    let limits =
        Limits { cpu: Limit::Of(Cores(0.2)), memory: Limit::Unlimited, cpu_request: Some(Cores(0.05)) };
    let (_, id) = start_pod(&host, limits, r#"{"cpu": {"constant": 0.4}}"#);
    // Each in a session of its own: the kernel gives every session one share, whatever its number of threads.
    let spin = || Command::new("setsid").args(["sh", "-c", "while :; do :; done"]).spawn().unwrap();
    let mut spinners: Vec<_> = (0..16).map(|_| spin()).collect();
    sleep(Duration::from_millis(500));
    let (before, began) = (usage(&host, &id), Instant::now());
    sleep(Duration::from_secs(2));
    let cores = (usage(&host, &id) - before) / began.elapsed().as_secs_f64();
    for spinner in &mut spinners {
        spinner.kill().unwrap();
        spinner.wait().unwrap();
    }
    assert!(cores > 0.17, "{cores} of the 0.2 cores it may have");
}
