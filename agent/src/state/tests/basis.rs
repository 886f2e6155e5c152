//! What a pod's load is relative to, and which of its cgroups count.

use plimsoll_contract::Band::{High, Low, Moderate};
use plimsoll_contract::roster::{ContainerKind, RosterContainer};
use plimsoll_contract::{Band, Basis, Bytes, Cores, Limit, Resource};

use super::sim::{Cgroup, GIB, Sim, at, container, head, id, listed, own, pod};
use crate::profile::Profile;
use crate::state::WithoutRoster;

fn loaded(cgroup: Cgroup, request: Option<f64>) -> (Band, Option<Basis>, f64) {
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.roster(&[RosterContainer { cpu_request: request.map(Cores), ..listed(1, "app") }]);
    sim.run(20.0);
    let cpu = sim.state.full_report(head(), at(sim.now)).pods.remove(0).cpu;
    (cpu.band, cpu.basis, (cpu.utilization.unwrap() * 1000.0).round() / 1000.0)
}

#[test]
fn the_same_load_is_relative_to_its_limit_its_request_or_the_node() {
    let burner = || Cgroup::using(|_| 0.5);
    let table = [
        (burner().cpu_limit(1.0), Some(0.25), (Moderate, Some(Basis::Limit), 0.5)),
        (burner().unlimited(), Some(0.25), (High, Some(Basis::Request), 2.0)),
        (burner().unlimited(), None, (Low, Some(Basis::Node), 0.125)),
        (burner().cpu_limit(8.0), None, (Low, Some(Basis::Limit), 0.125)),
    ];
    for (cgroup, request, expected) in table {
        let limit = cgroup.cpu_limit;
        assert_eq!(loaded(cgroup, request), expected, "limit {limit:?}, request {request:?}");
    }
}

#[test]
fn a_tiny_request_is_floored_for_the_band_and_not_for_the_metrics() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.012).unlimited());
    sim.roster(&[RosterContainer { cpu_request: Some(Cores(0.01)), ..listed(1, "app") }]);
    sim.run(20.0);
    assert_eq!(sim.cpu(), Low);
    let ratios = sim.state.pod(&pod()).unwrap().utilizations(Resource::Cpu);
    let request = ratios.get(&Basis::Request);
    assert!(request.is_some_and(|ratio| (ratio - 1.2).abs() < 1e-6), "{ratios:?}");
}

#[test]
fn every_defined_basis_has_its_ratio() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.5));
    sim.roster(&[RosterContainer { cpu_request: Some(Cores(0.25)), ..listed(1, "app") }]);
    sim.run(20.0);
    let ratios = sim.state.pod(&pod()).unwrap().utilizations(Resource::Cpu);
    let rounded: Vec<_> =
        ratios.iter().map(|(basis, ratio)| (*basis, (ratio * 1000.0).round() as u32)).collect();
    assert_eq!(rounded, [(Basis::Limit, 500), (Basis::Request, 2000), (Basis::Node, 125)]);
}

#[test]
fn the_load_of_a_pod_is_its_hottest_container_not_the_mean() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.02));
    sim.add(container(2), Cgroup::using(|_| 0.9));
    sim.roster(&[listed(1, "app"), RosterContainer { kind: ContainerKind::Sidecar, ..listed(2, "proxy") }]);
    sim.run(20.0);
    assert_eq!(sim.cpu(), High);
    let cpu = sim.state.full_report(head(), at(sim.now)).pods.remove(0).cpu;
    assert_eq!(cpu.container, Some(id(2)));
}

#[test]
fn sidecars_count_and_init_ephemeral_and_pause_do_not() {
    for (kind, band) in [
        (Some(ContainerKind::App), High),
        (Some(ContainerKind::Sidecar), High),
        (Some(ContainerKind::Init), Low),
        (Some(ContainerKind::Ephemeral), Low),
        (None, Low),
    ] {
        let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.02));
        sim.add(container(2), Cgroup::using(|_| 0.9));
        let other = kind.map(|kind| RosterContainer { kind, ..listed(2, "other") });
        sim.roster(&[Some(listed(1, "app")), other].into_iter().flatten().collect::<Vec<_>>());
        sim.run(20.0);
        assert_eq!(sim.cpu(), band, "{kind:?}");
        let containers = sim.state.full_report(head(), at(sim.now)).pods.remove(0).containers;
        assert_eq!(containers.len(), if band == High { 2 } else { 1 }, "{kind:?}");
    }
}

#[test]
fn the_cgroup_of_a_pod_with_its_own_limit_is_one_more_candidate() {
    for mode in [WithoutRoster::Unknown, WithoutRoster::NodeBasis] {
        let mut sim = Sim::new(Profile::standard(), mode);
        sim.add(container(1), Cgroup::using(|_| 0.4).unlimited());
        sim.add(container(2), Cgroup::using(|_| 0.4).unlimited());
        let pod = Cgroup::holding(|_| (GIB * 9 / 10, GIB / 10)).cpu_limit(1.0);
        sim.add(own(), Cgroup { cpu: Box::new(|_| 0.8), ..pod });
        if mode == WithoutRoster::Unknown {
            sim.roster(&[listed(1, "app"), listed(2, "other")]);
        }
        sim.run(20.0);
        let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
        assert_eq!(
            (report.cpu.band, report.cpu.basis, report.cpu.container),
            (High, Some(Basis::Limit), None),
            "{mode:?}"
        );
        assert_eq!((report.memory.band, report.memory.container), (High, None), "{mode:?}");
    }
}

/// Evidence named the pod where there was one container: with the pause container the pod was slightly hotter.
#[test]
fn the_only_container_of_a_pod_is_the_hottest_and_not_the_pods_own_cgroup() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.8));
    sim.add(own(), Cgroup::using(|_| 0.805));
    sim.run(20.0);
    let cpu = sim.state.full_report(head(), at(sim.now)).pods.remove(0).cpu;
    assert_eq!((cpu.band, cpu.container), (High, Some(id(1))));
}

#[test]
fn the_cgroup_of_a_pod_without_its_own_limit_is_relative_to_the_sum_of_its_containers() {
    let request =
        |number, cores| RosterContainer { cpu_request: Some(Cores(cores)), ..listed(number, "app") };
    let other = RosterContainer { name: "other".into(), ..request(2, 0.3) };
    let loaded = |own_cores: f64| {
        let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.04).unlimited());
        sim.add(container(2), Cgroup::using(|_| 0.03).unlimited());
        sim.add(own(), Cgroup::using(move |_| own_cores).unlimited());
        sim.roster(&[request(1, 0.2), other.clone()]);
        sim.run(20.0);
        let cpu = sim.state.full_report(head(), at(sim.now)).pods.remove(0).cpu;
        (cpu.band, cpu.basis, cpu.of, cpu.container)
    };
    // they account for what the pod uses: it adds nothing
    assert_eq!(loaded(0.07), (Low, Some(Basis::Request), Some(Cores(0.2)), Some(id(1))));
    // the sandbox of a virtual machine, or a process that was moved, uses the rest
    assert_eq!(loaded(0.45), (High, Some(Basis::Request), Some(Cores(0.5)), None));
}

#[test]
fn without_an_aggregator_every_container_counts_relative_to_its_quota_or_the_node() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::NodeBasis);
    sim.add(container(1), Cgroup::using(|_| 2.0).unlimited());
    sim.add(container(2), Cgroup::using(|_| 0.0).unlimited());
    sim.run(20.0);
    let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
    assert_eq!((report.cpu.band, report.cpu.basis), (Moderate, Some(Basis::Node)));
    assert_eq!((report.memory.band, report.memory.basis), (Low, Some(Basis::Node)));
    assert_eq!(report.containers.len(), 2);
    sim.get(&container(2)).cpu_limit = Limit::Of(Cores(0.5));
    sim.get(&container(2)).cpu = Box::new(|_| 0.49);
    sim.run(60.0);
    assert_eq!(sim.cpu(), High);
}

#[test]
fn memory_is_what_is_left_without_page_cache() {
    let load = |memory: u64, inactive: u64| {
        let mut sim = Sim::one(Profile::standard(), Cgroup::holding(move |_| (memory, inactive)));
        sim.run(20.0);
        sim.band(Resource::Memory)
    };
    assert_eq!(load(GIB, GIB * 9 / 10), Low);
    assert_eq!(load(GIB, GIB / 10), High);
    assert_eq!(load(GIB / 2, GIB), Low, "more cache than memory is a load of nothing");
}

#[test]
fn a_memory_limit_above_the_node_is_clipped_to_it() {
    let cgroup = Cgroup { memory_limit: Limit::Of(Bytes(64 * GIB)), ..Cgroup::holding(|_| (6 * GIB, 0)) };
    let mut sim = Sim::one(Profile::standard(), cgroup);
    sim.run(20.0);
    assert_eq!(sim.band(Resource::Memory), High);
}

#[test]
fn a_change_of_the_nodes_cpus_rescales_the_utilization() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 1.5).unlimited());
    sim.run(20.0);
    assert_eq!(sim.cpu(), Moderate);
    sim.state.set_capacity(
        plimsoll_contract::report::Capacity {
            cores: Cores(2.0),
            bytes: Bytes(8 * GIB),
            cpus: None,
            available_bytes: None,
        },
        None,
    );
    assert_eq!(sim.run_cpu(29.0), []);
    let seen = sim.run_cpu(60.0);
    // 0.75 of two CPUs is 0.09 above the threshold
    assert!(
        seen.len() == 1 && seen[0].to == High && (20.0 + 26.0..=20.0 + 28.0).contains(&seen[0].at),
        "{seen:?}"
    );
}
