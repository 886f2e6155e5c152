use std::io::{Read, Seek};

use plimsoll_contract::{Bytes, Cores, Limit, PodName};

use super::*;
use crate::host::new_container_id;
use crate::load::Load;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const MIB: u64 = 1 << 20;

struct Bench {
    directory: tempfile::TempDir,
    host: SimulatedHost,
    uid: PodUid,
    id: ContainerId,
}

fn cpu(cores: f64) -> Limits {
    Limits { cpu: Limit::Of(Cores(cores)), ..Limits::NONE }
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

impl Bench {
    fn new(pod: &Limits, container: &Limits, load: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let size = NodeSize { cpus: 2, memory: Bytes(4096 * MIB) };
        let host = SimulatedHost::new(directory.path(), size).unwrap();
        let (uid, id) = (PodUid::new(UID).unwrap(), new_container_id());
        let cgroup = PodCgroup { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::Burstable };
        host.create_pod(&cgroup, pod).unwrap();
        let bench = Bench { directory, host, uid, id };
        bench.host.start_container(&bench.uid, &bench.start(&bench.id, "app", container, load)).unwrap();
        bench
    }

    fn start(&self, id: &ContainerId, name: &str, limits: &Limits, load: &str) -> ContainerStart {
        ContainerStart {
            id: id.clone(),
            name: name.into(),
            limits: *limits,
            load: Load::parse(load).unwrap(),
        }
    }

    fn pod_directory(&self) -> PathBuf {
        self.directory.path().join(format!("sys/fs/cgroup/kubepods/burstable/pod{}", self.uid))
    }

    fn directory(&self, id: &ContainerId) -> PathBuf {
        self.pod_directory().join(id.as_str())
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        field(&fs::read_to_string(self.directory(&self.id).join(file)).unwrap(), name)
    }

    fn current(&self) -> u64 {
        fs::read_to_string(self.directory(&self.id).join("memory.current")).unwrap().trim().parse().unwrap()
    }
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn usage_is_that_of_the_script_at_any_time() {
    let square = r#"{"cpu":{"square":{"low":0.1,"high":0.5,"period":"3s","duty":0.4}}}"#;
    let bench = Bench::new(&Limits::NONE, &Limits::NONE, square);
    let script = Load::parse(square).unwrap().cpu;
    for t in [0.037, 0.1, 1.9, 2.0, 7.77, 60.0] {
        bench.host.advance(seconds(t)).unwrap();
        let expected = (script.integral(Duration::ZERO, seconds(t)) * 1e6) as u64;
        assert!(bench.field("cpu.stat", "usage_usec").abs_diff(expected) <= 2, "at {t}");
    }
    assert_eq!(bench.field("cpu.stat", "nr_periods"), 0, "without a quota there are no periods");
}

#[test]
fn a_quota_caps_usage_and_counts_throttled_periods() {
    let bench = Bench::new(&Limits::NONE, &cpu(0.1), r#"{"cpu":{"constant":0.2}}"#);
    bench.host.advance(seconds(10.0)).unwrap();
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(1_000_000) <= 2);
    assert_eq!(bench.field("cpu.stat", "nr_periods"), 100);
    assert_eq!(bench.field("cpu.stat", "nr_throttled"), 100);
    assert!(bench.field("cpu.stat", "throttled_usec").abs_diff(5_000_000) < 10);
    let pressure = fs::read_to_string(bench.directory(&bench.id).join("cpu.pressure")).unwrap();
    assert!(pressure.starts_with("some avg10=031."), "50 % for one window of 10 s: {pressure}");

    bench.host.set_limits(&CgroupId::container(&bench.uid, &bench.id), &cpu(0.4)).unwrap();
    bench.host.advance(seconds(20.0)).unwrap();
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(3_000_000) <= 2);
    assert_eq!(bench.field("cpu.stat", "nr_throttled"), 100, "a raised limit throttles no more");
}

#[test]
fn the_counters_do_not_depend_on_how_often_the_host_advances() {
    let load = r#"{"cpu":{"square":{"low":0.1,"high":0.2,"period":"140ms"}}}"#;
    let once = Bench::new(&Limits::NONE, &cpu(0.15), load);
    once.host.advance(seconds(6.0)).unwrap();
    let often = Bench::new(&Limits::NONE, &cpu(0.15), load);
    for tick in 1..=200 {
        often.host.advance(seconds(f64::from(tick) * 0.03)).unwrap();
    }
    for name in ["nr_periods", "nr_throttled"] {
        assert_eq!(once.field("cpu.stat", name), often.field("cpu.stat", name), "{name}");
    }
    let usage = |bench: &Bench| bench.field("cpu.stat", "usage_usec");
    assert!(usage(&once).abs_diff(usage(&often)) < 30_000, "{} {}", usage(&once), usage(&often));
    assert!(once.field("cpu.stat", "nr_throttled") > 10);
}

#[test]
fn a_pod_limit_applies_to_all_containers_and_the_node_limits_all_without_throttling() {
    let bench = Bench::new(&cpu(0.3), &Limits::NONE, r#"{"cpu":{"constant":0.4}}"#);
    let other = new_container_id();
    let start = bench.start(&other, "side", &Limits::NONE, r#"{"cpu":{"constant":0.2}}"#);
    bench.host.start_container(&bench.uid, &start).unwrap();
    bench.host.advance(seconds(3.0)).unwrap();
    let pod = fs::read_to_string(bench.pod_directory().join("cpu.stat")).unwrap();
    assert!(field(&pod, "usage_usec").abs_diff(900_000) <= 2, "{pod}");
    assert_eq!(field(&pod, "nr_throttled"), 30);
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(600_000) <= 2);

    let crowd = Bench::new(&Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":8}}"#);
    crowd.host.advance(seconds(2.0)).unwrap();
    assert!(crowd.field("cpu.stat", "usage_usec").abs_diff(4_000_000) <= 2, "two CPUs for two seconds");
    assert_eq!(crowd.field("cpu.stat", "nr_throttled"), 0);
    let pressure = fs::read_to_string(crowd.directory(&crowd.id).join("cpu.pressure")).unwrap();
    assert!(!pressure.starts_with("some avg10=000.00"), "{pressure}");
}

#[test]
fn memory_stops_at_its_limit_and_counts_events() {
    let limits = Limits { memory: Limit::Of(Bytes(64 * MIB)), ..Limits::NONE };
    let load = r#"{"memory":{"ramp":{"from":"16Mi","to":"128Mi","over":"10s"}}}"#;
    let bench = Bench::new(&Limits::NONE, &limits, load);
    bench.host.advance(seconds(1.0)).unwrap();
    let (anon, cache) = (bench.field("memory.stat", "anon"), bench.field("memory.stat", "inactive_file"));
    assert_eq!(bench.current(), anon + cache, "the cache is included, and a reader subtracts it");
    assert!(anon.abs_diff(27 * MIB + MIB / 5) < MIB / 100 && cache == MIB, "{anon} {cache}");
    assert_eq!(bench.field("memory.events", "max"), 0);
    bench.host.advance(seconds(10.0)).unwrap();
    assert_eq!(bench.current(), 64 * MIB);
    assert!(bench.field("memory.events", "max") > 10);
}

#[test]
fn an_open_file_follows_the_counters_and_is_empty_after_the_container() {
    let bench = Bench::new(&Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":1}}"#);
    let mut held = fs::File::open(bench.directory(&bench.id).join("cpu.stat")).unwrap();
    let mut read = || {
        let mut text = String::new();
        held.rewind().unwrap();
        held.read_to_string(&mut text).unwrap();
        text
    };
    let first = read();
    bench.host.advance(seconds(5.0)).unwrap();
    let second = read();
    assert_eq!(first.len(), second.len(), "a reader never sees a truncated file");
    assert_eq!(field(&second, "usage_usec"), 5_000_000);
    let new = bench.start(&new_container_id(), "app", &Limits::NONE, "{}");
    bench.host.stop_container(&bench.uid, &bench.id).unwrap();
    bench.host.start_container(&bench.uid, &new).unwrap();
    assert_eq!(read(), "");
    assert!(!bench.directory(&bench.id).exists() && bench.directory(&new.id).exists());
    bench.host.remove_pod(&bench.uid).unwrap();
    assert!(!bench.pod_directory().exists());
}

#[test]
fn changes_are_published_once_with_the_time_of_the_workload() {
    let load = r#"{"cpu":{"trace":{"points":[[0,0.02],[2,0.5],[4,0.02]]}}}"#;
    let directory = tempfile::tempdir().unwrap();
    let size = NodeSize { cpus: 2, memory: Bytes(MIB) };
    let host = SimulatedHost::new(directory.path(), size).unwrap();
    let mut changes = host.changes();
    let uid = PodUid::new(UID).unwrap();
    let cgroup = PodCgroup { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::BestEffort };
    host.create_pod(&cgroup, &Limits::NONE).unwrap();
    let load = Load::parse(load).unwrap();
    let start = ContainerStart { id: new_container_id(), name: "app".into(), limits: Limits::NONE, load };
    host.start_container(&uid, &start).unwrap();
    host.advance(seconds(60.0)).unwrap();
    let mut published = Vec::new();
    while let Ok(change) = changes.try_recv() {
        assert_eq!(
            (change.namespace.as_str(), change.pod.as_str(), change.container.as_str()),
            ("shop", "web", "app")
        );
        if change.resource == Resource::Cpu {
            published.push((change.at, change.value));
        }
    }
    assert_eq!(published, [(seconds(0.1), 0.02), (seconds(2.0), 0.5), (seconds(4.0), 0.02)]);
}

#[test]
fn a_host_that_follows_the_clock_advances_by_itself_and_removes_its_files() {
    let bench = Bench::new(&Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":1}}"#);
    let started = Instant::now();
    bench.host.follow_the_clock().unwrap();
    std::thread::sleep(seconds(0.5));
    let usage = bench.field("cpu.stat", "usage_usec") as f64 / 1e6;
    let elapsed = started.elapsed().as_secs_f64();
    assert!(usage > elapsed - 0.3 && usage <= elapsed + 0.01, "{usage} in {elapsed}");
    bench.host.stop();
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 0);
    let error = bench.host.set_limits(&CgroupId::pod(&bench.uid), &Limits::NONE).unwrap_err().to_string();
    assert!(error.contains("stopped"), "{error}");
}

#[test]
fn a_missing_or_duplicate_pod_or_container_is_named() {
    let bench = Bench::new(&Limits::NONE, &Limits::NONE, "{}");
    let cgroup = PodCgroup { uid: bench.uid.clone(), name: PodName::new("a", "b"), qos: Qos::Burstable };
    let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
    let limits = |cgroup: &CgroupId| error(bench.host.limits(cgroup).map(drop));
    let duplicate = error(bench.host.create_pod(&cgroup, &Limits::NONE));
    assert!(duplicate.contains(UID) && duplicate.contains("exists already"), "{duplicate}");
    let id = new_container_id();
    let missing = limits(&CgroupId::container(&bench.uid, &id));
    assert!(missing.contains(id.as_str()) && missing.contains("there is no container"), "{missing}");
    bench.host.remove_pod(&bench.uid).unwrap();
    bench.host.remove_pod(&bench.uid).unwrap();
    let missing = limits(&CgroupId::pod(&bench.uid));
    assert!(missing.contains(UID) && missing.contains("there is no pod"), "{missing}");
}
