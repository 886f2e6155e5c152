//! The roster's content and when it arrives, and restarts of containers.

use plimsoll_contract::Band::{High, Low, Moderate, Unknown};
use plimsoll_contract::load::UnknownReason;
use plimsoll_contract::roster::{Answer, Bands, RosterContainer};
use plimsoll_contract::{Band, Cores, PodName, Resource};

use super::sim::{Cgroup, Seen, Sim, at, came_to, container, entry, head, listed, own, pod};
use crate::profile::Profile;
use crate::state::WithoutRoster;

fn without_roster(cgroup: Cgroup) -> Sim {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(container(1), cgroup);
    sim
}

fn reason(sim: &Sim, resource: Resource) -> Option<UnknownReason> {
    sim.state.pod(&pod()).unwrap().resource(resource).classifier.reason()
}

#[test]
fn before_the_first_roster_nothing_has_a_band() {
    let mut sim = without_roster(Cgroup::using(|_| 0.0).unlimited());
    sim.add(own(), Cgroup::using(|_| 0.0).unlimited());
    sim.run(60.0);
    assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (Unknown, Unknown));
    assert_eq!(reason(&sim, Resource::Cpu), Some(UnknownReason::RequestUnknown));
    assert_eq!(reason(&sim, Resource::Memory), Some(UnknownReason::NotInRoster));
    let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
    assert_eq!(report.containers.len(), 1, "all containers are reported while the roster has named none");
}

#[test]
fn a_pod_that_the_roster_does_not_list_has_that_reason() {
    let mut sim = without_roster(Cgroup::using(|_| 0.9));
    sim.state.apply_roster(&Answer::default(), at(0.0));
    sim.run(60.0);
    assert_eq!((sim.cpu(), reason(&sim, Resource::Cpu)), (Unknown, Some(UnknownReason::NotInRoster)));
    sim.roster(&[]);
    sim.run(80.0);
    assert_eq!((sim.cpu(), reason(&sim, Resource::Cpu)), (Unknown, Some(UnknownReason::NotInRoster)));
}

#[test]
fn data_from_before_the_first_roster_counts_once_it_arrives() {
    let mut sim = without_roster(Cgroup::using(|_| 0.9));
    sim.run(20.0);
    sim.roster(&[listed(1, "app")]);
    let seen = sim.run_cpu(40.0);
    assert_eq!(seen, [Seen { at: 21.0, resource: Resource::Cpu, from: Unknown, to: High }]);
}

#[test]
fn a_roster_entry_that_arrives_before_its_pod_is_kept_for_it() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.roster(&[listed(1, "app")]);
    sim.add(container(1), Cgroup::using(|_| 0.9));
    sim.run(20.0);
    assert_eq!(sim.cpu(), High);
    assert_eq!(sim.state.pod(&pod()).unwrap().name(), Some(&PodName::new("shop", "web-0")));
}

#[test]
fn a_roster_entry_whose_pod_never_appears_expires() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    let managed = |sim: &mut Sim, now: f64| sim.state.apply_roster(&Answer::default(), at(now)).len();
    sim.roster_pod(plimsoll_contract::roster::RosterPod { managed: true, ..entry(&[listed(1, "app")]) });
    assert_eq!(managed(&mut sim, 599.0), 1);
    assert_eq!(managed(&mut sim, 601.0), 0);
}

#[test]
fn a_restarted_agent_starts_from_the_announced_band_and_writes_no_transition() {
    for (band, load) in [(High, 0.9), (Moderate, 0.5), (Low, 0.1), (High, 0.64), (Low, 0.31)] {
        let mut sim = without_roster(Cgroup::using(move |_| load));
        sim.run(1.0);
        let bands = Bands { cpu: Some(band), memory: Some(Low) };
        sim.roster_pod(plimsoll_contract::roster::RosterPod { bands, ..entry(&[listed(1, "app")]) });
        let cpu = sim.state.full_report(head(), at(sim.now)).pods.remove(0).cpu;
        assert_eq!((cpu.band, cpu.since), (band, None), "at once, and not since now");
        assert_eq!(sim.run(300.0), [], "{band} at {load}");
    }
}

#[test]
fn an_announced_band_that_is_no_longer_true_changes_after_a_minute() {
    let mut sim = without_roster(Cgroup::using(|_| 0.1));
    let bands = Bands { cpu: Some(High), memory: None };
    sim.roster_pod(plimsoll_contract::roster::RosterPod { bands, ..entry(&[listed(1, "app")]) });
    let seen = sim.run_cpu(100.0);
    assert!((60.0..63.0).contains(&came_to(&seen, Low)), "{seen:?}");
}

#[test]
fn an_announced_band_does_not_replace_our_own() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.run(20.0);
    let bands = Bands { cpu: Some(Low), memory: Some(High) };
    sim.roster_pod(plimsoll_contract::roster::RosterPod { bands, ..entry(&[listed(1, "app")]) });
    assert_eq!((sim.cpu(), sim.band(Resource::Memory)), (High, Low));
}

#[test]
fn an_announced_band_without_any_data_becomes_unknown() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.state.appeared(&own(), at(0.0));
    let bands = Bands { cpu: Some(High), memory: None };
    sim.roster_pod(plimsoll_contract::roster::RosterPod { bands, ..entry(&[]) });
    let seen = sim.run_cpu(30.0);
    assert_eq!(seen, [Seen { at: 6.0, resource: Resource::Cpu, from: High, to: Unknown }]);
}

#[test]
fn of_two_containers_of_one_name_the_newer_generation_counts() {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    sim.add(container(3), Cgroup::using(|_| 0.9));
    sim.add(container(4), Cgroup::using(|_| 0.1));
    for order in [[3, 4], [4, 3]] {
        sim.roster(&order.map(|number| listed(number, "app")));
        let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
        let ids: Vec<_> = report.containers.into_iter().map(|container| container.id).collect();
        assert_eq!(ids, [super::sim::id(4)]);
    }
    sim.run(20.0);
    assert_eq!(sim.cpu(), Low, "the lingering one is not summed and not looked at");
}

/// The container is replaced every 25 s by one that runs for 20 s; the roster follows three seconds later.
fn crash_loop(load: f64, sim: &mut Sim, rounds: u32) -> Vec<Seen> {
    let mut seen = Vec::new();
    for round in 0..rounds {
        sim.remove(&container(round + 1));
        seen.extend(sim.run_cpu(sim.now + 4.0));
        sim.add(container(round + 2), Cgroup::using(move |_| load));
        seen.extend(sim.run_cpu(sim.now + 2.0));
        sim.roster(&[listed(round + 2, "app")]);
        seen.extend(sim.run_cpu(sim.now + 17.0));
    }
    seen
}

#[test]
fn a_crash_loop_keeps_its_band_and_its_history() {
    for (load, band) in [(0.9, High), (0.5, Moderate), (0.1, Low)] {
        let mut sim = Sim::one(Profile::standard(), Cgroup::using(move |_| load));
        sim.run(29.0);
        let seen = crash_loop(load, &mut sim, 10);
        assert_eq!(seen, [], "load {load}");
        assert_eq!(sim.cpu(), band);
        let report = sim.state.full_report(head(), at(sim.now)).pods.remove(0);
        assert_eq!(report.containers.len(), 1, "one row for one name");
        assert!(report.containers[0].window.is_some_and(|window| window > 200.0), "{report:?}");
        assert!(report.containers[0].cpu.peak.is_some());
    }
}

#[test]
fn the_band_of_a_container_stopped_for_a_minute_becomes_unknown() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.run(29.0);
    sim.remove(&container(1));
    sim.state.appeared(&own(), at(sim.now));
    let gone = sim.now;
    let seen = sim.run_cpu(gone + 120.0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].to, Unknown);
    assert!((59.0..=62.0).contains(&(seen[0].at - gone)), "{seen:?}");
    sim.add(container(2), Cgroup::using(|_| 0.1));
    sim.roster(&[listed(2, "app")]);
    let seen = sim.run_cpu(sim.now + 20.0);
    assert_eq!(seen.iter().map(|seen| seen.to).collect::<Vec<Band>>(), [Low]);
}

#[test]
fn after_a_container_completed_the_others_determine_the_band() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.add(container(2), Cgroup::using(|_| 0.1));
    sim.roster(&[listed(1, "job"), listed(2, "logs")]);
    sim.run(29.0);
    sim.remove(&container(1));
    sim.roster(&[RosterContainer { running: false, ..listed(1, "job") }, listed(2, "logs")]);
    let seen = sim.run_cpu(200.0);
    assert_eq!(sim.cpu(), Low, "{seen:?}");
    assert!(seen.iter().all(|seen| seen.to != Unknown), "{seen:?}");
}

#[test]
fn a_pod_that_is_gone_is_in_no_report() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.add(own(), Cgroup::using(|_| 0.9));
    sim.run(20.0);
    sim.remove(&own());
    sim.remove(&container(1));
    sim.sweep();
    assert_eq!(sim.state.full_report(head(), at(sim.now)).pods, []);
}

#[test]
fn a_changed_request_rescales_the_utilization() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.2).unlimited());
    let request = |cores: f64| RosterContainer { cpu_request: Some(Cores(cores)), ..listed(1, "app") };
    sim.roster(&[request(0.4)]);
    sim.run(20.0);
    assert_eq!(sim.cpu(), Moderate);
    sim.roster(&[request(0.2)]);
    assert_eq!(sim.run_cpu(27.0), []);
    sim.run(40.0);
    assert_eq!(sim.cpu(), High);
}

#[test]
fn a_container_that_is_unlisted_and_listed_again_does_not_continue_from_itself() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 20.0 { 0.9 } else { 0.5 }));
    let mut unchanged = Sim::one(Profile::standard(), Cgroup::using(|t| if t < 20.0 { 0.9 } else { 0.5 }));
    sim.run(22.0);
    unchanged.run(22.0);
    sim.roster(&[]);
    sim.roster(&[listed(1, "app")]);
    assert_eq!(sim.run(24.0), unchanged.run(24.0));
    assert!((sim.utilization() - unchanged.utilization()).abs() < 1e-12);
}

#[test]
fn while_the_hot_container_restarts_the_band_does_not_fall() {
    let mut sim = Sim::one(Profile::lab(), Cgroup::using(|_| 0.9));
    sim.add(container(2), Cgroup::using(|_| 0.05));
    sim.roster(&[listed(1, "app"), listed(2, "logs")]);
    sim.run(20.0);
    sim.remove(&container(1));
    // longer than the window, 30 s; shorter than its state is kept, 60 s
    assert_eq!(sim.run_cpu(sim.now + 45.0), []);
    sim.add(container(3), Cgroup::using(|_| 0.9));
    sim.roster(&[listed(3, "app"), listed(2, "logs")]);
    assert_eq!(sim.run_cpu(sim.now + 60.0), []);
    assert_eq!(sim.cpu(), High);
}

#[test]
fn the_smoothed_load_continues_across_a_restart() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.run(29.0);
    sim.remove(&container(1));
    sim.add(container(2), Cgroup::using(|_| 0.1));
    sim.roster(&[listed(2, "app")]);
    sim.run(sim.now + 1.0);
    let one_step = 0.1 + 0.8 * (-1.0_f64 / 5.0).exp2();
    assert!(sim.utilization() >= one_step - 1e-6, "{} of {one_step}", sim.utilization());
}

#[test]
fn a_container_that_outlives_its_pods_cgroup_leaves_nothing_behind() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.add(own(), Cgroup::using(|_| 0.9).unlimited());
    sim.run(20.0);
    sim.remove(&own());
    sim.run(22.0);
    assert!(sim.state.pod(&pod()).is_some(), "it still runs");
    sim.remove(&container(1));
    sim.run(24.0);
    assert_eq!(sim.state.pods().count(), 0);
}

#[test]
fn a_roster_entry_outlives_its_pod_by_ten_minutes_however_old_it_is() {
    let mut sim = Sim::one(Profile::standard(), Cgroup::using(|_| 0.9));
    sim.add(own(), Cgroup::using(|_| 0.9).unlimited());
    sim.run(1200.0);
    for target in [container(1), own()] {
        sim.remove(&target);
    }
    sim.sleep(5.0);
    sim.state.apply_roster(&Answer::default(), at(sim.now));
    sim.add(container(1), Cgroup::using(|_| 0.9));
    let name = |sim: &Sim| sim.state.pod(&pod()).and_then(|pod| pod.name().cloned());
    assert_eq!(name(&sim), Some(PodName::new("shop", "web-0")), "the aggregator does not send it again");
    sim.add(own(), Cgroup::using(|_| 0.9).unlimited());
    for target in [container(1), own()] {
        sim.remove(&target);
    }
    sim.sleep(601.0);
    sim.state.apply_roster(&Answer::default(), at(sim.now));
    sim.add(container(1), Cgroup::using(|_| 0.9));
    assert_eq!(name(&sim), None);
}
