use std::io::{Read, Seek};

use plimsoll_contract::{Bytes, Cores, Limit, PodName};

use super::*;
use crate::host::layout::Driver;
use crate::host::new_container_id;
use crate::load::Load;

const UID: &str = "0b8c3d1e-5f2a-4c3b-9d8e-7f6a5b4c3d2e";
const MIB: u64 = 1 << 20;

struct Bench {
    directory: tempfile::TempDir,
    host: SimulatedHost,
    uid: PodUid,
    id: ContainerId,
    layout: Layout,
}

fn cpu(cores: f64) -> Limits {
    Limits { cpu: Limit::Of(Cores(cores)), ..Limits::NONE }
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

impl Bench {
    fn new(layout: Layout, pod: &Limits, container: &Limits, load: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let size = NodeSize { cpus: 2, memory: Bytes(4096 * MIB) };
        let host = SimulatedHost::new(directory.path(), layout, size).unwrap();
        let (uid, id) = (PodUid::new(UID).unwrap(), new_container_id());
        let slot = PodSlot { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::Burstable };
        host.create_pod(&slot, pod).unwrap();
        let bench = Bench { directory, host, uid, id, layout };
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

    fn pod_directory(&self, tree: &str) -> PathBuf {
        let slot = PodSlot { uid: self.uid.clone(), name: PodName::new("", ""), qos: Qos::Burstable };
        self.directory.path().join("sys/fs/cgroup").join(tree).join(self.layout.driver.pod(&slot))
    }

    fn directory(&self, tree: &str, id: &ContainerId) -> PathBuf {
        self.pod_directory(tree).join(self.layout.driver.container(id))
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        field(&fs::read_to_string(self.directory("", &self.id).join(file)).unwrap(), name)
    }

    fn current(&self) -> u64 {
        fs::read_to_string(self.directory("", &self.id).join("memory.current"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn usage_is_what_the_script_says_at_any_moment() {
    let square = r#"{"cpu":{"square":{"low":0.1,"high":0.5,"period":"3s","duty":0.4}}}"#;
    let bench = Bench::new(Layout::default(), &Limits::NONE, &Limits::NONE, square);
    let script = Load::parse(square).unwrap().cpu;
    for t in [0.037, 0.1, 1.9, 2.0, 7.77, 60.0] {
        bench.host.advance(seconds(t)).unwrap();
        let expected = script.cpu_time(Duration::ZERO, seconds(t)).as_micros() as u64;
        assert!(bench.field("cpu.stat", "usage_usec").abs_diff(expected) <= 2, "at {t}");
    }
    assert_eq!(bench.field("cpu.stat", "nr_periods"), 0, "without a quota there are no periods");
}

#[test]
fn a_quota_caps_usage_and_counts_throttled_periods() {
    let bench = Bench::new(Layout::default(), &Limits::NONE, &cpu(0.1), r#"{"cpu":{"constant":0.2}}"#);
    bench.host.advance(seconds(10.0)).unwrap();
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(1_000_000) <= 2);
    assert_eq!(bench.field("cpu.stat", "nr_periods"), 100);
    assert_eq!(bench.field("cpu.stat", "nr_throttled"), 100);
    assert!(bench.field("cpu.stat", "throttled_usec").abs_diff(5_000_000) < 10);
    let pressure = fs::read_to_string(bench.directory("", &bench.id).join("cpu.pressure")).unwrap();
    assert!(pressure.starts_with("some avg10=031."), "50 % for one window of 10 s: {pressure}");

    bench.host.set_limits(&Place::container(&bench.uid, &bench.id), &cpu(0.4)).unwrap();
    bench.host.advance(seconds(20.0)).unwrap();
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(3_000_000) <= 2);
    assert_eq!(bench.field("cpu.stat", "nr_throttled"), 100, "a raised limit throttles no more");
}

#[test]
fn how_often_the_host_moves_does_not_change_what_it_counts() {
    let load = r#"{"cpu":{"noise":{"mean":0.15,"sd":0.05,"hold":"70ms"}}}"#;
    let once = Bench::new(Layout::default(), &Limits::NONE, &cpu(0.15), load);
    once.host.advance(seconds(6.0)).unwrap();
    let often = Bench::new(Layout::default(), &Limits::NONE, &cpu(0.15), load);
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
fn a_pod_limit_binds_its_containers_together_and_a_node_binds_all_without_throttling() {
    let bench = Bench::new(Layout::default(), &cpu(0.3), &Limits::NONE, r#"{"cpu":{"constant":0.4}}"#);
    let other = new_container_id();
    let start = bench.start(&other, "side", &Limits::NONE, r#"{"cpu":{"constant":0.2}}"#);
    bench.host.start_container(&bench.uid, &start).unwrap();
    bench.host.advance(seconds(3.0)).unwrap();
    let pod = fs::read_to_string(bench.pod_directory("").join("cpu.stat")).unwrap();
    assert!(field(&pod, "usage_usec").abs_diff(900_000) <= 2, "{pod}");
    assert_eq!(field(&pod, "nr_throttled"), 30);
    assert!(bench.field("cpu.stat", "usage_usec").abs_diff(600_000) <= 2);

    let crowd = Bench::new(Layout::default(), &Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":8}}"#);
    crowd.host.advance(seconds(2.0)).unwrap();
    assert!(crowd.field("cpu.stat", "usage_usec").abs_diff(4_000_000) <= 2, "two CPUs for two seconds");
    assert_eq!(crowd.field("cpu.stat", "nr_throttled"), 0);
    let pressure = fs::read_to_string(crowd.directory("", &crowd.id).join("cpu.pressure")).unwrap();
    assert!(!pressure.starts_with("some avg10=000.00"), "{pressure}");
}

#[test]
fn memory_stops_at_its_limit_and_counts_events() {
    let limits = Limits { memory: Limit::Of(Bytes(64 * MIB)), ..Limits::NONE };
    let load = r#"{"memory":{"ramp":{"from":"16Mi","to":"128Mi","over":"10s"}}}"#;
    let bench = Bench::new(Layout::default(), &Limits::NONE, &limits, load);
    bench.host.advance(seconds(1.0)).unwrap();
    let (anon, cache) = (bench.field("memory.stat", "anon"), bench.field("memory.stat", "inactive_file"));
    assert_eq!(bench.current(), anon + cache, "the cache is counted, and a reader takes it off");
    assert!(anon.abs_diff(27 * MIB + MIB / 5) < MIB / 100 && cache == MIB, "{anon} {cache}");
    assert_eq!(bench.field("memory.events", "max"), 0);
    bench.host.advance(seconds(10.0)).unwrap();
    assert_eq!(bench.current(), 64 * MIB);
    assert!(bench.field("memory.events", "max") > 10);
}

#[test]
fn a_held_descriptor_follows_the_counters_and_ends_with_the_container() {
    let bench = Bench::new(Layout::default(), &Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":1}}"#);
    let mut held = fs::File::open(bench.directory("", &bench.id).join("cpu.stat")).unwrap();
    let mut read = || {
        let mut text = String::new();
        held.rewind().unwrap();
        held.read_to_string(&mut text).unwrap();
        text
    };
    let first = read();
    bench.host.advance(seconds(5.0)).unwrap();
    let second = read();
    assert_eq!(first.len(), second.len(), "a reader never sees a file cut short");
    assert_eq!(field(&second, "usage_usec"), 5_000_000);
    let new = bench.start(&new_container_id(), "app", &Limits::NONE, "{}");
    bench.host.restart_container(&bench.uid, &bench.id, &new).unwrap();
    assert_eq!(read(), "");
    assert!(!bench.directory("", &bench.id).exists() && bench.directory("", &new.id).exists());
    bench.host.remove_pod(&bench.uid).unwrap();
    assert!(!bench.pod_directory("").exists());
}

#[test]
fn version_one_and_systemd_lay_out_the_same_counters_under_their_own_names() {
    let layout = Layout { hierarchy: Hierarchy::V1, driver: Driver::Systemd };
    let bench = Bench::new(layout, &Limits::NONE, &cpu(0.1), r#"{"cpu":{"constant":0.2}}"#);
    bench.host.advance(seconds(10.0)).unwrap();
    let cpu = bench.directory("cpu,cpuacct", &bench.id);
    assert!(cpu.ends_with(format!("cri-containerd-{}.scope", bench.id)));
    let read = |name: &str| fs::read_to_string(cpu.join(name)).unwrap();
    assert!(read("cpuacct.usage").trim().parse::<u64>().unwrap().abs_diff(1_000_000_000) < 2000);
    assert_eq!(read("cpu.cfs_quota_us"), "10000\n");
    assert!(field(&read("cpu.stat"), "throttled_time").abs_diff(5_000_000_000) < 10_000);
    let memory = fs::read_to_string(bench.directory("memory", &bench.id).join("memory.stat")).unwrap();
    assert_eq!(field(&memory, "total_inactive_file"), MIB);
}

#[test]
fn changes_are_told_once_with_the_time_of_the_workload() {
    let load = r#"{"cpu":{"step":{"from":0.02,"to":0.5,"at":"2s","back":"4s"}}}"#;
    let directory = tempfile::tempdir().unwrap();
    let size = NodeSize { cpus: 2, memory: Bytes(MIB) };
    let host = SimulatedHost::new(directory.path(), Layout::default(), size).unwrap();
    let mut changes = host.changes();
    let uid = PodUid::new(UID).unwrap();
    let slot = PodSlot { uid: uid.clone(), name: PodName::new("shop", "web"), qos: Qos::BestEffort };
    host.create_pod(&slot, &Limits::NONE).unwrap();
    let load = Load::parse(load).unwrap();
    let start = ContainerStart { id: new_container_id(), name: "app".into(), limits: Limits::NONE, load };
    host.start_container(&uid, &start).unwrap();
    host.advance(seconds(60.0)).unwrap();
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        assert_eq!(
            (change.namespace.as_str(), change.pod.as_str(), change.container.as_str()),
            ("shop", "web", "app")
        );
        if change.resource == Resource::Cpu {
            told.push((change.at, change.value));
        }
    }
    assert_eq!(told, [(seconds(0.1), 0.02), (seconds(2.0), 0.5), (seconds(4.0), 0.02)]);
}

#[test]
fn a_host_that_follows_the_clock_moves_by_itself_and_stops_without_a_trace() {
    let bench = Bench::new(Layout::default(), &Limits::NONE, &Limits::NONE, r#"{"cpu":{"constant":1}}"#);
    let started = Instant::now();
    bench.host.follow_the_clock().unwrap();
    std::thread::sleep(seconds(0.5));
    let usage = bench.field("cpu.stat", "usage_usec") as f64 / 1e6;
    let elapsed = started.elapsed().as_secs_f64();
    assert!(usage > elapsed - 0.3 && usage <= elapsed + 0.01, "{usage} in {elapsed}");
    bench.host.stop();
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 0);
    assert!(matches!(bench.host.set_limits(&Place::pod(&bench.uid), &Limits::NONE), Err(HostError::Stopped)));
}

#[test]
fn what_is_not_there_or_there_twice_is_named() {
    let bench = Bench::new(Layout::default(), &Limits::NONE, &Limits::NONE, "{}");
    let slot = PodSlot { uid: bench.uid.clone(), name: PodName::new("a", "b"), qos: Qos::Burstable };
    assert!(matches!(bench.host.create_pod(&slot, &Limits::NONE), Err(HostError::Taken { what: "pod", .. })));
    let missing = Place::container(&bench.uid, &new_container_id());
    assert!(matches!(bench.host.limits(&missing), Err(HostError::Absent { what: "container", .. })));
    bench.host.remove_pod(&bench.uid).unwrap();
    bench.host.remove_pod(&bench.uid).unwrap();
    assert!(matches!(bench.host.limits(&Place::pod(&bench.uid)), Err(HostError::Absent { what: "pod", .. })));
}
