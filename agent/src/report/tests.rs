use plimsoll_contract::report::Capacity;
use plimsoll_contract::roster::{ContainerKind, RosterContainer};
use plimsoll_contract::{Band, Basis, Limit};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::{collection, option, sample};

use super::*;
use crate::profile::Profile;
use crate::sample::{CpuCounters, Inode, MemoryDetail, Read, Reading, Target, Throttling};
use crate::state::WithoutRoster;
use crate::state::tests::sim::{Cgroup, GIB, Sim, at, container, head, id, listed, own, pod, uid, wall};

#[test]
fn a_report_has_the_hottest_container_its_basis_and_the_numbers_of_every_container() {
    let busy = Cgroup { throttled: 3, pressure: 4.5, ..Cgroup::using(|_| 0.45).cpu_limit(0.5) };
    let mut sim = Sim::one(Profile::standard(), busy);
    sim.run(120.0);
    let report = sim.state.full_report(head(), at(120.0));
    assert_eq!(report.check(), Ok(()));
    assert!(report.full);
    let pod = &report.pods[0];
    let cpu = &pod.cpu;
    assert_eq!((cpu.band, cpu.basis, cpu.of), (Band::High, Some(Basis::Limit), Some(Cores(0.5))));
    assert_eq!((cpu.container.clone(), cpu.since, cpu.reason), (Some(id(1)), Some(wall(10.0)), None));
    let cores = |cores: Option<Cores>| cores.map(|cores| (cores.0 * 1000.0).round());
    assert_eq!((cores(cpu.usage), cpu.utilization.map(|u| (u * 1000.0).round())), (Some(450.0), Some(900.0)));
    let container = &pod.containers[0];
    assert_eq!(
        (cores(container.cpu.cores), cores(container.cpu.p95), cores(container.cpu.peak)),
        (Some(450.0), Some(450.0), Some(450.0))
    );
    assert_eq!((container.cpu.throttled, container.cpu.pressure), (Some(0.3), Some(4.5)));
    assert_eq!(container.cpu.limit_cores, Some(Limit::Of(Cores(0.5))));
    assert_eq!(container.memory.working_set, Some(Bytes(GIB / 10)));
    assert_eq!(container.memory.limit, Some(Limit::Of(Bytes(GIB))));
    assert_eq!((container.limits_age, container.window), (Some(0.0), Some(120.0)));
}

/// A managed pod of one container that requests 0.25 cores.
fn managed(cgroup: Cgroup) -> Sim {
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.roster_pod(managed_entry());
    sim
}

fn managed_entry() -> plimsoll_contract::roster::RosterPod {
    let app = RosterContainer { cpu_request: Some(Cores(0.25)), ..listed(1, "app") };
    plimsoll_contract::roster::RosterPod { managed: true, ..crate::state::tests::sim::entry(&[app]) }
}

fn only_container(sim: &Sim) -> ContainerReport {
    let report = sim.state.full_report(head(), at(sim.now - 1.0));
    assert_eq!(report.check(), Ok(()));
    report.pods[0].containers[0].clone()
}

#[test]
fn a_managed_container_has_the_numbers_of_its_last_seconds() {
    let growing = Cgroup::holding(|t| (GIB / 10 + 1000 * t as u64, 0)).cpu_limit(0.5);
    let mut sim = managed(Cgroup { throttled: 2, ..growing });
    sim.run(20.0);
    let ContainerReport { cpu, memory, .. } = only_container(&sim);
    assert_eq!((cpu.throttled2, cpu.throttled3), (Some(0.2), Some(0.2)));
    assert_eq!((cpu.mean3, cpu.utilization3), (Some(Cores(0.1)), Some(0.2)), "of the limit of 500m");
    assert_eq!(memory.unreclaimable2, Some(Bytes(GIB / 10 + 18_000)));
    assert_eq!(memory.growth, Some(1000.0));
    sim.get(&container(1)).cpu_limit = Limit::Unlimited;
    sim.run(24.0);
    let ContainerReport { cpu, .. } = only_container(&sim);
    assert_eq!((cpu.throttled2, cpu.throttled3), (None, None), "no quota, no periods");
    assert_eq!((cpu.mean3, cpu.utilization3), (Some(Cores(0.1)), Some(0.4)), "of the request of 250m");
    sim.roster(&[listed(1, "app")]);
    sim.run(28.0);
    let ContainerReport { cpu, memory, .. } = only_container(&sim);
    assert_eq!((cpu.mean3, cpu.utilization3), (None, None), "nobody resizes it");
    assert_eq!((memory.unreclaimable2, memory.growth, memory.events_delta), (None, None, None));
}

#[test]
fn the_numbers_of_the_last_seconds_are_absent_at_first_after_a_gap_and_after_a_restart() {
    let known = |sim: &Sim| {
        let ContainerReport { cpu, memory, .. } = only_container(sim);
        (cpu.throttled2.is_some(), cpu.mean3.is_some(), memory.unreclaimable2.is_some())
    };
    let mut sim = managed(Cgroup::using(|_| 0.1));
    for (second, expected) in
        [(1.0, (false, false, false)), (2.0, (true, false, true)), (3.0, (true, true, true))]
    {
        sim.run(second);
        assert_eq!(known(&sim), expected, "{second}");
    }
    sim.fault = Box::new(|_, now, reading| {
        if (now - 10.0).abs() < 0.5 {
            reading.cpu = Read::Unknown(UnknownReason::Failed);
            reading.memory = Read::Unknown(UnknownReason::Failed);
        }
    });
    for (second, expected) in [
        (9.0, (true, true, true)),
        (10.0, (false, false, false)),
        (11.0, (true, true, false)),
        (12.0, (true, true, false)),
        (13.0, (true, true, true)),
    ] {
        sim.run(second);
        assert_eq!(known(&sim), expected, "{second}");
    }
    // the counters of another cgroup
    sim.get(&container(1)).inode = 2;
    sim.get(&container(1)).used = 0.0;
    for (second, expected) in
        [(14.0, (false, false, false)), (16.0, (true, false, true)), (17.0, (true, true, true))]
    {
        sim.run(second);
        assert_eq!(known(&sim), expected, "{second}");
    }
    sim.remove(&container(1));
    sim.add(container(1), Cgroup::using(|_| 0.1));
    sim.run(19.0);
    assert_eq!(known(&sim), (false, false, false), "nothing of a container that ended");
}

#[test]
fn memory_that_changed_since_its_details_were_read_is_not_known() {
    let mut sim = managed(Cgroup::holding(|t| (if t < 10.0 { GIB / 10 } else { GIB / 5 }, 0)));
    sim.fault = Box::new(|_, now, reading| {
        if now > 5.0 {
            reading.memory_detail = Read::NotDue;
        }
    });
    sim.run(9.0);
    let ContainerReport { memory, .. } = only_container(&sim);
    assert_eq!(memory.unreclaimable2, Some(Bytes(GIB / 10)), "it did not change");
    sim.run(25.0);
    let ContainerReport { memory, .. } = only_container(&sim);
    assert_eq!((memory.unreclaimable2, memory.growth), (None, None));
}

#[test]
fn memory_whose_details_are_read_seldom_is_not_known_between_two_readings() {
    // The page cache holds the sum where it is: what cannot be reclaimed may grow into it.
    let mut sim = managed(Cgroup::holding(|_| (GIB / 2, 0)));
    sim.fault = Box::new(|_, now, reading| {
        if now > 5.0 {
            reading.memory_detail = Read::NotDue;
        }
    });
    let known = |sim: &Sim| {
        let ContainerReport { memory, .. } = only_container(sim);
        (memory.unreclaimable, memory.unreclaimable2)
    };
    sim.run(10.0);
    assert_eq!(
        known(&sim),
        (Some(Bytes(GIB / 2)), Some(Bytes(GIB / 2))),
        "as old as it ever is where it is fast"
    );
    sim.run(13.0);
    assert_eq!(known(&sim), (None, None));
}

#[test]
fn a_container_without_processes_says_nothing_that_sizes_are_decided_from() {
    let mut sim = managed(Cgroup { pressure: 0.0, ..Cgroup::holding(|_| (0, 0)) });
    sim.get(&container(1)).cpu = Box::new(|_| 0.0);
    sim.fault = Box::new(|_, _, reading| reading.populated = Read::Value(false));
    sim.run(10.0);
    let ContainerReport { cpu, memory, .. } = only_container(&sim);
    assert_eq!((memory.working_set, memory.unreclaimable, memory.unreclaimable2), (None, None, None));
    assert_eq!((cpu.cores, cpu.bound_by), (None, None));
}

#[test]
fn a_partial_report_has_the_requested_pods_and_is_not_marked_full() {
    let sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.1));
    let requested = BTreeSet::from([pod(), uid(77)]);
    let report = sim.state.partial_report(head(), &requested, at(0.0));
    assert_eq!((report.full, report.pods.len()), (false, 1));
    assert_eq!(sim.state.partial_report(head(), &BTreeSet::new(), at(0.0)).pods, []);
}

#[test]
fn a_report_of_too_many_pods_is_truncated_and_not_marked_full() {
    let mut state = NodeState::new(Profile::standard(), WithoutRoster::NodeBasis);
    for number in 0..1001 {
        state.appeared(&Target { pod: uid(number), container: None }, at(0.0));
    }
    let report = state.full_report(head(), at(0.0));
    assert_eq!((report.check(), report.full, report.pods.len()), (Ok(()), false, MAX_PODS));
}

#[test]
fn a_report_that_would_be_too_large_omits_containers_and_those_of_managed_pods_last() {
    let mut state = NodeState::new(Profile::standard(), WithoutRoster::Unknown);
    for number in 0..40 {
        for id in [id(2 * number + 1), id(2 * number + 2)] {
            state.appeared(&Target { pod: uid(number), container: Some(id) }, at(0.0));
        }
    }
    let report = state.full_report(head(), at(0.0));
    let whole = serde_json::to_vec(&report).unwrap().len();
    let sent = |max_bytes: usize| {
        let encoded = encode(report.clone(), || BTreeSet::from([uid(7)]), max_bytes).unwrap();
        let read: Report = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!((read.pods.len(), read.full), (40, true), "every pod, with its bands");
        let managed = read.pods.iter().find(|pod| pod.uid == uid(7)).unwrap().containers.len();
        (encoded.left_out, managed, encoded.body.len() <= max_bytes)
    };
    assert_eq!(sent(whole), (0, 2, true));
    assert_eq!(sent(whole - 1), (78, 2, true), "no band of the others is determined by a container");
    assert_eq!(sent(whole / 3), (80, 0, false), "every pod, even if it does not fit");
}

#[test]
fn the_largest_report_fits_what_the_aggregator_accepts_once_it_is_shortened() {
    use plimsoll_contract::report::MAX_BODY;
    let mut sim =
        Sim::one(Profile::standard(), Cgroup { throttled: 3, pressure: 4.5, ..Cgroup::using(|_| 0.45) });
    sim.run(120.0);
    let mut report = sim.state.full_report(head(), at(120.0));
    let (mut pod, container) = (report.pods[0].clone(), report.pods[0].containers[0].clone());
    pod.containers = vec![container; 6];
    report.pods = (0..MAX_PODS).map(|number| PodReport { uid: uid(number as u32), ..pod.clone() }).collect();
    assert!(serde_json::to_vec(&report).unwrap().len() > MAX_BODY);
    let encoded = encode(report, BTreeSet::new, MAX_BODY).unwrap();
    assert!(encoded.body.len() <= MAX_BODY && encoded.left_out > 0, "{} bytes", encoded.body.len());
}

#[test]
fn throttling_that_was_not_counted_is_absent_and_not_zero() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.1).cpu_limit(0.5));
    sim.run(5.0);
    let throttled =
        |sim: &Sim| sim.state.full_report(head(), at(sim.now)).pods[0].containers[0].cpu.throttled;
    assert_eq!(throttled(&sim), Some(0.0));
    // as on v1, when the quota's cpu.stat could not be read in the sweep before
    sim.fault = Box::new(|_, now, reading| {
        if let (true, Read::Value(counters)) = ((now - 6.0).abs() < 0.5, &mut reading.cpu) {
            counters.throttling = None;
        }
    });
    sim.run(6.0);
    assert_eq!(throttled(&sim), None);
    sim.run(7.0);
    assert_eq!(throttled(&sim), None, "a rate requires two readings");
    sim.run(8.0);
    assert_eq!(throttled(&sim), Some(0.0));
}

#[test]
fn bound_by_distinguishes_limit_node_none_and_unknown() {
    use plimsoll_contract::load::BoundBy;
    let table = [
        (1.0, Some(1), Some(50.0), Some(BoundBy::Limit)),
        (1.0, Some(0), Some(50.0), Some(BoundBy::Node)),
        (1.0, Some(0), Some(9.0), Some(BoundBy::None)),
        (1.0, Some(0), None, None),
        (1.0, Some(1), None, Some(BoundBy::Limit)),
        (0.0, Some(1), Some(50.0), Some(BoundBy::Node)),
        (0.0, None, Some(9.0), Some(BoundBy::None)),
        (0.0, None, None, None),
    ];
    for (limit, throttled, pressure, expected) in table {
        let cgroup = Cgroup { throttled: throttled.unwrap_or(0), ..Cgroup::using(|_| 0.1) };
        let cgroup = if limit > 0.0 { cgroup } else { cgroup.unlimited() };
        let mut sim = Sim::one(Profile::standard(), cgroup);
        sim.fault = Box::new(move |_, _, reading| {
            reading.cpu_pressure = pressure.map_or(Read::Unknown(UnknownReason::Absent), Read::Value);
        });
        sim.run(5.0);
        let bound_by = sim.state.full_report(head(), at(5.0)).pods[0].containers[0].cpu.bound_by;
        assert_eq!(bound_by, expected, "limit {limit}, throttled {throttled:?}, pressure {pressure:?}");
    }
}

/// `avg10` tells of throttling for a while after it ended, in the container as in the pod around it.
#[test]
fn pressure_right_after_throttling_says_nothing_of_the_node() {
    use plimsoll_contract::load::BoundBy;
    for throttled in [container(1), own()] {
        let pressed = || Cgroup { pressure: 50.0, ..Cgroup::using(|_| 0.9) };
        let mut sim = Sim::one(Profile::standard(), pressed());
        sim.add(own(), pressed());
        let bound_by = |sim: &mut Sim, end: f64| {
            sim.run(end);
            sim.state.full_report(head(), at(end)).pods[0].containers[0].cpu.bound_by
        };
        assert_eq!(bound_by(&mut sim, 5.0), Some(BoundBy::Node), "{throttled:?} was never throttled");
        sim.get(&throttled).throttled = 5;
        assert_eq!(bound_by(&mut sim, 10.0), Some(BoundBy::Limit), "{throttled:?}");
        sim.get(&throttled).throttled = 0;
        assert_eq!(bound_by(&mut sim, 12.0), None, "{throttled:?}");
        assert_eq!(bound_by(&mut sim, 33.0), None, "{throttled:?}");
        assert_eq!(bound_by(&mut sim, 36.0), Some(BoundBy::Node), "{throttled:?}");
    }
}

#[test]
fn pressure_that_was_read_a_moment_ago_is_as_old_as_that() {
    use plimsoll_contract::load::BoundBy;
    let cgroup = Cgroup { pressure: 50.0, throttled: 5, ..Cgroup::using(|_| 0.9) };
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.fault = Box::new(|_, now, reading| {
        if (now as u64) % 5 != 2 {
            reading.cpu_pressure = Read::NotDue;
        }
    });
    sim.run(10.0);
    sim.get(&container(1)).throttled = 0;
    for (end, expected) in [(32.0, None), (36.0, None), (38.0, Some(BoundBy::Node))] {
        sim.run(end);
        let bound_by = sim.state.full_report(head(), at(end)).pods[0].containers[0].cpu.bound_by;
        assert_eq!(bound_by, expected, "{end}");
    }
}

#[test]
fn throttling_requires_a_quota_and_is_zero_without_a_period() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.0));
    sim.fault = Box::new(|_, _, reading| {
        if let Read::Value(counters) = &mut reading.cpu {
            counters.throttling = Some(Throttling { periods: 7, throttled: 7 });
        }
    });
    sim.run(5.0);
    assert_eq!(sim.state.full_report(head(), at(5.0)).pods[0].containers[0].cpu.throttled, Some(0.0));
    sim.get(&container(1)).cpu_limit = Limit::Unlimited;
    sim.run(10.0);
    assert_eq!(sim.state.full_report(head(), at(10.0)).pods[0].containers[0].cpu.throttled, None);
}

fn read<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Read<T>> {
    prop_oneof![
        4 => value.prop_map(Read::Value),
        1 => Just(Read::NotDue),
        1 => sample::select(UnknownReason::ALL.to_vec()).prop_map(Read::Unknown),
    ]
}

fn limit<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Limit<T>> {
    prop_oneof![Just(Limit::Unlimited), value.prop_map(Limit::Of)]
}

fn counters() -> impl Strategy<Value = CpuCounters> {
    let usage = prop_oneof![0_u64..10_000_000_000, any::<u64>()];
    let throttling = prop_oneof![Just(None), any::<(u8, u8)>().prop_map(Some)];
    (usage, throttling).prop_map(|(nanos, throttling)| CpuCounters {
        usage: std::time::Duration::from_nanos(nanos),
        throttling: throttling
            .map(|(periods, throttled)| Throttling { periods: periods.into(), throttled: throttled.into() }),
    })
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let amount = || prop_oneof![0_u64..10 * GIB, any::<u64>()];
    let part = || option::of(amount().prop_map(Bytes));
    let detail = (part(), part(), part(), part(), part()).prop_map(
        |(anon, shmem, file, active_file, inactive_file)| MemoryDetail {
            anon,
            shmem,
            file,
            active_file,
            inactive_file,
            ..MemoryDetail::default()
        },
    );
    let cpu = (read(counters()), read(limit(any::<f64>().prop_map(Cores))), read(any::<f64>()));
    let memory = (
        read(amount().prop_map(Bytes)),
        read(detail),
        read(limit(amount().prop_map(Bytes))),
        read(any::<f64>()),
    );
    (cpu, memory, read(any::<bool>()), 0_u64..2).prop_map(
        |(
            (cpu, cpu_limit, cpu_pressure),
            (memory, memory_detail, memory_limit, memory_pressure),
            populated,
            number,
        )| {
            Reading {
                populated,
                at: at(0.0),
                inode: Inode { device: 1, number },
                cpu,
                cpu_limit,
                cpu_pressure,
                memory,
                memory_detail,
                memory_limit,
                memory_pressure,
                memory_events: Read::NotDue,
            }
        },
    )
}

/// An input of the state.
#[derive(Debug, Clone)]
enum Event {
    Reading(u32, Box<Reading>),
    Gone(u32),
    Roster(u32, f64),
    Classify(f64),
    Node(f64, u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u32..4, any_reading()).prop_map(|(number, reading)| Event::Reading(number, Box::new(reading))),
        1 => (0_u32..4).prop_map(Event::Gone),
        1 => (1_u32..4, any::<f64>()).prop_map(|(number, request)| Event::Roster(number, request)),
        3 => prop_oneof![Just(1.0), 0.0..100.0_f64].prop_map(Event::Classify),
        1 => (0.0..64.0_f64, 0..16 * GIB).prop_map(|(cpus, memory)| Event::Node(cpus, memory)),
    ]
}

fn target(number: u32) -> Target {
    Target { pod: pod(), container: (number > 0).then(|| id(number)) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_events_the_report_passes_the_receivers_check_and_deserializes(
        events in collection::vec(any_event(), 1..80), alone in any::<bool>(),
    ) {
        let mode = if alone { WithoutRoster::NodeBasis } else { WithoutRoster::Unknown };
        let mut state = NodeState::new(Profile::standard(), mode);
        let (mut now, mut head) = (0.0, head());
        for event in events {
            match event {
                Event::Reading(number, reading) => state.observe(&target(number), &Reading { at: at(now), ..*reading }),
                Event::Gone(number) => state.gone(&target(number), at(now)),
                Event::Roster(number, request) => {
                    let kind = ContainerKind::App;
                    let cpu_request = Some(Cores(request));
                    let listed = RosterContainer { kind, cpu_request, ..listed(number, "app") };
                    let roster = vec![crate::state::tests::sim::entry(&[listed])];
                    let answer = plimsoll_contract::roster::Answer { roster, ..Default::default() };
                    state.apply_roster(&answer, at(now));
                }
                Event::Node(cpus, memory) => {
                    head.capacity = Capacity { cores: Cores(cpus), bytes: Bytes(memory), cpus: None, available_bytes: None };
                    state.set_capacity(head.capacity, None);
                }
                Event::Classify(seconds) => {
                    state.classify(at(now), wall(now));
                    now += seconds;
                }
            }
            let report = state.full_report(head.clone(), at(now));
            prop_assert_eq!(report.check(), Ok(()));
            for pod in &report.pods {
                prop_assert!(pod.cpu.band.is_known() || pod.cpu.reason.is_some());
                prop_assert!(pod.memory.band.is_known() || pod.memory.reason.is_some());
                prop_assert!(pod.cpu.utilization.is_some() || pod.cpu.reason.is_some());
            }
        }
        let report = state.full_report(head.clone(), at(now));
        let text = serde_json::to_string(&report).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(again.pods.len(), report.pods.len());
    }
}
