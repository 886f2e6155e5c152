//! Missing data makes a band unknown or holds it; it never makes one low.

use plimsoll_contract::Band::{High, Low, Unknown};
use plimsoll_contract::Resource;
use plimsoll_contract::load::UnknownReason;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::{collection, sample};

use super::sim::{Cgroup, GIB, Seen, Sim, at, came_to, container, head, listed, own, pod};
use crate::profile::Profile;
use crate::sample::{Read, Reading};
use crate::state::WithoutRoster;

/// The files a reading comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Cpu,
    CpuLimit,
    Memory,
    MemoryDetail,
    MemoryLimit,
    Rest,
}

const FILES: [File; 6] =
    [File::Cpu, File::CpuLimit, File::Memory, File::MemoryDetail, File::MemoryLimit, File::Rest];

fn lose(reading: &mut Reading, file: File, reason: UnknownReason) {
    match file {
        File::Cpu => reading.cpu = Read::Unknown(reason),
        File::CpuLimit => reading.cpu_limit = Read::Unknown(reason),
        File::Memory => reading.memory = Read::Unknown(reason),
        File::MemoryDetail => reading.memory_detail = Read::Unknown(reason),
        File::MemoryLimit => reading.memory_limit = Read::Unknown(reason),
        File::Rest => {
            reading.cpu_pressure = Read::Unknown(reason);
            reading.memory_pressure = Read::Unknown(reason);
            reading.memory_events = Read::Unknown(reason);
        }
    }
}

fn hot() -> Cgroup {
    Cgroup { cpu: Box::new(|_| 0.9), ..Cgroup::holding(|_| (GIB * 9 / 10, 0)) }
}

#[test]
fn an_unreadable_file_makes_its_resource_unknown_with_the_reason_and_not_the_other() {
    let table = [
        (File::Cpu, Resource::Cpu),
        (File::CpuLimit, Resource::Cpu),
        (File::Memory, Resource::Memory),
        (File::MemoryDetail, Resource::Memory),
        (File::MemoryLimit, Resource::Memory),
    ];
    for (file, resource) in table {
        let mut sim = Sim::one(Profile::standard(), hot());
        sim.fault = Box::new(move |_, _, reading| lose(reading, file, UnknownReason::Denied));
        sim.run(120.0);
        for other in Resource::ALL {
            let pod = sim.state.pod(&pod()).unwrap();
            let (band, reason) =
                if other == resource { (Unknown, Some(UnknownReason::Denied)) } else { (High, None) };
            assert_eq!(
                (pod.band(other), pod.resource(other).classifier.reason()),
                (band, reason),
                "{file:?}, {other}"
            );
        }
    }
}

#[test]
fn without_data_the_band_becomes_unknown_and_resumes_within_a_minute() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    sim.fault = Box::new(|_, t, reading| {
        if (30.0..60.0).contains(&t) {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    let seen = sim.run_cpu(100.0);
    let summary: Vec<_> = seen.iter().map(|seen| (seen.at, seen.to)).collect();
    // without data a band becomes unknown after 5 s; the first reading after 30 s gives no rate over the time between
    assert_eq!(summary, [(36.0, Unknown), (61.0, High)]);
}

#[test]
fn a_short_loss_of_data_changes_nothing() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    sim.fault = Box::new(|_, t, reading| {
        if t % 30.0 < 4.0 {
            lose(reading, File::Cpu, UnknownReason::Failed);
            lose(reading, File::MemoryDetail, UnknownReason::Failed);
        }
    });
    assert_eq!(sim.run(600.0), []);
}

#[test]
fn after_more_than_a_minute_without_data_a_pod_is_new_again() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    sim.fault = Box::new(|_, t, reading| {
        if (30.0..120.0).contains(&t) {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    let seen = sim.run_cpu(200.0);
    let summary: Vec<_> = seen.iter().map(|seen| (seen.at, seen.to)).collect();
    assert_eq!(summary, [(36.0, Unknown), (130.0, High)]);
}

#[test]
fn after_a_machine_slept_for_hours_there_is_no_rate_over_the_sleep() {
    let mut sim =
        Sim::one(Profile::standard(), Cgroup::using(|t| if t > 31.0 && t < 7000.0 { 4.0 } else { 0.1 }));
    sim.run(29.0);
    assert_eq!(sim.cpu(), Low);
    sim.sleep(4.0 * 3600.0);
    let woke = sim.now;
    let seen = sim.run_cpu(woke);
    assert_eq!(seen, [Seen { at: woke, resource: Resource::Cpu, from: Low, to: Unknown }]);
    let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
    assert_eq!(report.containers[0].cpu.cores, None, "no rate over the sleep");
    assert_eq!(report.cpu.reason, Some(UnknownReason::Gap));
    let seen = sim.run_cpu(woke + 60.0);
    assert_eq!(seen, [Seen { at: woke + 10.0, resource: Resource::Cpu, from: Unknown, to: Low }]);
    assert_eq!(
        sim.state.full_report(head(), at(sim.now)).pods[0].containers[0].window.map(f64::round),
        Some(61.0)
    );
}

#[test]
fn a_pause_of_the_agent_alone_does_not_count_as_load() {
    // above the threshold for 5 s, then not read for 20 s, then above it again
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 30.0 { 0.1 } else { 1.0 }));
    sim.run(35.0);
    assert_ne!(sim.cpu(), High);
    sim.sleep(20.0);
    let woke = sim.now;
    let seen = sim.run_cpu(woke + 30.0);
    assert!(came_to(&seen, High) - woke >= 2.0, "5 of the 7 s were read before: {seen:?}");
    assert!(seen.iter().all(|seen| seen.to != Unknown), "{seen:?}");
}

#[test]
fn an_agent_that_gets_to_read_every_tenth_second_still_classifies() {
    let begin = 60.0;
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(move |t| if t < begin { 0.1 } else { 0.9 }));
    sim.run(30.0);
    let mut seen = Vec::new();
    while sim.now < 150.0 {
        sim.sleep(9.0);
        seen.extend(sim.run_cpu(sim.now));
    }
    let bands: Vec<_> = seen.iter().map(|seen| seen.to).collect();
    assert!(!bands.contains(&Unknown), "{seen:?}");
    assert_eq!(bands.last(), Some(&High), "{seen:?}");
    assert!(came_to(&seen, High) - begin <= 40.0, "{seen:?}");
}

#[test]
fn a_machine_that_is_suspended_now_and_then_lowers_no_band() {
    // suspended for 14 s, three times a minute
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    assert_eq!(sim.cpu(), High);
    for _ in 0..10 {
        sim.suspend(14.0);
        assert_eq!(sim.run_cpu(sim.now + 20.0), []);
    }
}

#[test]
fn a_counter_reset_costs_one_sample_and_no_band() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    let cgroup = sim.cgroups.remove(&container(1)).unwrap();
    sim.cgroups.insert(container(1), Cgroup { inode: cgroup.inode, ..hot() });
    let transitions = sim.sweep();
    assert_eq!(transitions, []);
    let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
    assert_eq!((report.cpu.band, report.cpu.utilization), (High, None));
    assert_eq!(
        (report.cpu.reason, report.containers[0].cpu.cores),
        (Some(UnknownReason::CounterReset), None)
    );
    sim.sleep(1.0);
    assert_eq!(sim.run(100.0), []);
    assert!((sim.utilization() - 0.9).abs() < 1e-6);
}

#[test]
fn another_directory_under_the_same_name_is_not_the_same_counter() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    sim.get(&container(1)).inode = 2;
    sim.sweep();
    assert_eq!(sim.state.full_report(head(), at(sim.now)).pods[0].containers[0].cpu.cores, None);
}

#[test]
fn the_first_successful_reading_of_another_directory_is_a_counter_reset() {
    let mut sim = Sim::one(Profile::standard(), hot());
    sim.run(29.0);
    sim.get(&container(1)).inode = 2;
    sim.fault = Box::new(|_, t, reading| {
        if t < 30.5 {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    for reason in [UnknownReason::Failed, UnknownReason::CounterReset] {
        sim.sweep();
        assert_eq!(sim.state.full_report(head(), at(sim.now)).pods[0].cpu.reason, Some(reason));
        sim.sleep(1.0);
    }
    sim.sweep();
    assert_eq!(sim.state.full_report(head(), at(sim.now)).pods[0].cpu.reason, None);
}

#[test]
fn memory_detail_remains_valid_until_it_is_read_again() {
    // read every fifth sweep; in between, memory falls below what was inactive
    let cgroup = Cgroup::holding(|t| if t % 5.0 < 0.5 { (GIB, GIB / 10) } else { (GIB / 20, 0) });
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.fault = Box::new(|_, t, reading| {
        if t % 5.0 >= 0.5 {
            reading.memory_detail = Read::NotDue;
        }
    });
    sim.run(21.0);
    let memory = &sim.state.full_report(head(), at(sim.now)).pods[0].containers[0].memory;
    assert_eq!(memory.working_set.map(|bytes| bytes.0), Some(GIB / 20), "at most what is in use");
}

#[test]
fn without_data_of_the_hot_container_the_band_is_held_then_unknown_unless_another_one_is_hot() {
    for (other, end) in [(0.05, Unknown), (0.9, High)] {
        let mut sim = Sim::one(Profile::standard(), hot());
        sim.add(container(2), Cgroup::using(move |_| other));
        sim.roster(&[listed(1, "app"), listed(2, "other")]);
        sim.run(29.0);
        sim.fault = Box::new(|target, _, reading| {
            if *target == container(1) {
                lose(reading, File::Cpu, UnknownReason::Failed);
            }
        });
        let seen = sim.run_cpu(300.0);
        assert!(seen.iter().all(|seen| seen.to == Unknown), "{seen:?}");
        assert_eq!(sim.cpu(), end, "beside {other}");
    }
}

#[test]
fn without_data_of_one_container_the_band_still_rises() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 40.0 { 0.4 } else { 0.9 }));
    sim.add(container(2), Cgroup::using(|_| 0.4));
    sim.roster(&[listed(1, "app"), listed(2, "other")]);
    sim.run(29.0);
    sim.fault = Box::new(|target, _, reading| {
        if *target == container(2) {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    let seen = sim.run_cpu(100.0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(came_to(&seen, High) <= 40.0 + 18.8, "{seen:?}");
}

#[test]
fn time_without_data_of_the_hot_container_does_not_count_for_a_fall() {
    // hot until 40; no data from 60 to 90; cold afterwards
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 40.0 { 0.9 } else { 0.1 }));
    sim.run(59.0);
    sim.fault = Box::new(|_, t, reading| {
        if (60.0..90.0).contains(&t) {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    let seen = sim.run_cpu(200.0);
    // nine tenths of the minute must have data
    assert!((144.0..=151.0).contains(&came_to(&seen, Low)), "{seen:?}");
}

#[test]
fn a_pod_limit_that_cannot_be_read_makes_the_band_unknown() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.1));
    sim.add(own(), hot());
    sim.fault = Box::new(|target, _, reading| {
        if *target == own() {
            lose(reading, File::CpuLimit, UnknownReason::Malformed);
        }
    });
    sim.run(60.0);
    assert_eq!(sim.cpu(), Unknown);
}

fn any_reason() -> impl Strategy<Value = UnknownReason> {
    sample::select(UnknownReason::ALL.to_vec())
}

#[derive(Debug, Clone)]
struct Loss {
    target: u32,
    file: File,
    reason: UnknownReason,
    from: f64,
    length: f64,
}

fn any_loss() -> impl Strategy<Value = Loss> {
    let length = prop_oneof![Just(f64::INFINITY), 0.0..120.0_f64];
    (0_u32..3, sample::select(FILES.to_vec()), any_reason(), 0.0..200.0_f64, length)
        .prop_map(|(target, file, reason, from, length)| Loss { target, file, reason, from, length })
}

/// Two containers and the pod's own cgroup; `hottest` of them is hot, the others idle.
fn three(mode: WithoutRoster, hottest: u32) -> Sim {
    let mut sim = Sim::new(Profile::standard(), mode);
    for number in 0..3 {
        let target = if number == 0 { own() } else { container(number) };
        let idle = Cgroup { cpu: Box::new(|_| 0.01), ..Cgroup::holding(|_| (GIB / 50, 0)) };
        sim.add(target, if number == hottest { hot() } else { idle });
    }
    sim.roster(&[listed(1, "app"), listed(2, "other")]);
    sim
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn unreadable_files_never_make_a_loaded_pod_low(
        losses in collection::vec(any_loss(), 1..6), hottest in 0_u32..3, alone in any::<bool>(),
    ) {
        let mode = if alone { WithoutRoster::NodeBasis } else { WithoutRoster::Unknown };
        let mut sim = three(mode, hottest);
        sim.fault = Box::new(move |target, t, reading| {
            for loss in &losses {
                let hit = if loss.target == 0 { own() } else { container(loss.target) };
                if hit == *target && (loss.from..loss.from + loss.length).contains(&t) {
                    lose(reading, loss.file, loss.reason);
                }
            }
        });
        let seen = sim.run(300.0);
        prop_assert!(seen.iter().all(|seen| seen.to != Low), "{seen:?}");
    }

    #[test]
    fn a_file_that_is_always_missing_leaves_each_band_as_it_is_or_unknown(
        load in 0.0..1.2_f64, file in sample::select(FILES.to_vec()), reason in any_reason(), period in 20.0..200.0_f64,
    ) {
        let wave = move |t: f64| if t % period < period / 2.0 { load } else { load / 4.0 };
        let (mut complete, mut damaged) = (Sim::one(Profile::standard(), Cgroup::using(wave)), Sim::one(Profile::standard(), Cgroup::using(wave)));
        damaged.fault = Box::new(move |_, _, reading| lose(reading, file, reason));
        for _ in 0..300 {
            for sim in [&mut complete, &mut damaged] {
                sim.sweep();
                sim.sleep(1.0);
            }
            for resource in Resource::ALL {
                let (expected, band) = (complete.band(resource), damaged.band(resource));
                prop_assert!(band == expected || band == Unknown, "{resource}: {band} for {expected}");
            }
        }
    }
}

#[test]
fn a_low_pod_becomes_unknown_without_data_of_one_container() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.05));
    sim.add(container(2), Cgroup::using(|_| 0.05));
    sim.roster(&[listed(1, "app"), listed(2, "other")]);
    sim.run(29.0);
    assert_eq!(sim.cpu(), Low);
    sim.fault = Box::new(|target, _, reading| {
        if *target == container(2) {
            lose(reading, File::Cpu, UnknownReason::Failed);
        }
    });
    sim.run(50.0);
    assert_eq!(sim.cpu(), Unknown);
}
