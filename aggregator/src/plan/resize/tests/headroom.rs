//! What a node has left.

use super::*;
use crate::plan::resize::headroom::{Booked, Headroom, headroom};

fn pod(name: &str, millicores: u64) -> TestPod {
    TestPod::new(name, None).container("app", size(millicores, None), size(GI, 2 * GI))
}

/// Of a node with 10 cores and 100 GiB.
fn left(pods: impl IntoIterator<Item = TestPod>) -> Headroom {
    headroom(&TestNode::new(10_000, 100 * GI).with(pods).view(), [0, 0])
}

const RESERVE: u64 = 500;

#[test]
fn every_pod_that_is_bound_to_the_node_counts_unless_it_has_finished() {
    let (mut pending, mut finished, mut terminating) =
        (pod("pending", 1000), pod("finished", 1000), pod("terminating", 1000));
    pending.facts.containers[0].running = false;
    pending.facts.containers[0].allocated = None;
    pending.facts.containers[0].actual = None;
    finished.facts.finished = true;
    terminating.facts.terminating = true;
    let left = left([pod("running", 1000), pending, finished, terminating]);
    assert_eq!(left.cpu, Some(10_000 - RESERVE - 3000));
    assert_eq!(left.memory, Some(100 * GI - 100 * GI / 100 * 5 - 3 * GI));
}

#[test]
fn what_is_booked_is_the_largest_of_spec_allocated_actual_and_in_flight() {
    let with = |change: fn(&mut TestPod)| {
        let mut pod = pod("web", 1000);
        change(&mut pod);
        left([pod]).cpu
    };
    let expected = |booked: u64| Some(10_000 - RESERVE - booked);
    assert_eq!(with(|_| ()), expected(1000));
    assert_eq!(with(|pod| pod.facts.containers[0].spec.cpu_request = Some(cores(1500))), expected(1500));
    assert_eq!(
        with(|pod| pod.facts.containers[0].allocated.as_mut().unwrap().cpu_request = Some(cores(1200))),
        expected(1200)
    );
    assert_eq!(
        with(|pod| pod.facts.containers[0].actual.as_mut().unwrap().cpu_request = Some(cores(1300))),
        expected(1300)
    );
    assert_eq!(with(|pod| pod.in_flight(Resource::Cpu, size(1000, None), size(1900, None))), expected(1900));
    assert_eq!(with(|pod| pod.in_flight(Resource::Cpu, size(1900, None), size(10, None))), expected(1900));
    assert_eq!(with(|pod| pod.in_flight(Resource::Cpu, size(10, None), size(20, None))), expected(1000));
    assert_eq!(with(|pod| pod.facts.overhead.0 = Some(cores(250))), expected(1250), "as a Kata pod has it");
}

#[test]
fn a_status_that_loses_its_cpu_keys_changes_no_headroom() {
    // kubernetes/kubernetes#141814
    let mut lost = pod("web", 1000);
    lost.facts.containers[0].actual.as_mut().unwrap().cpu_request = None;
    assert_eq!(left([lost.clone()]), left([pod("web", 1000)]));
    lost.facts.containers[0].allocated = None;
    assert_eq!(left([lost]), left([pod("web", 1000)]));
}

#[test]
fn what_a_node_does_not_say_is_not_known_and_not_zero() {
    let mut node = TestNode::new(10_000, 100 * GI).with([pod("web", 1000)]);
    node.facts.as_mut().unwrap().allocatable_cpu = None;
    node.capacity = None;
    let known = headroom(&node.view(), [0, 0]);
    assert_eq!((known.cpu, known.free_memory), (None, None));
    assert!(known.memory.is_some());
    let node = node.with([burner("gold", "gold", 100)]);
    assert_eq!(node.outcome("gold"), Outcome::Waiting(Refusal::RoomUnknown));
}

#[test]
fn sidecars_count_with_containers_and_init_containers_beside_the_sidecars_before_them() {
    let with = |kinds: &[(ContainerKind, u64)]| {
        let mut pod = TestPod::new("web", None);
        for (n, (kind, millicores)) in kinds.iter().enumerate() {
            pod = pod.container(&format!("c{n}"), size(*millicores, None), size(MI, None));
            pod.facts.containers.last_mut().unwrap().kind = *kind;
        }
        10_000 - RESERVE - left([pod]).cpu.unwrap()
    };
    use ContainerKind::{App, Ephemeral, Init, Sidecar};
    assert_eq!(with(&[(App, 300), (Sidecar, 200)]), 500);
    assert_eq!(with(&[(App, 300), (Sidecar, 200), (Init, 400)]), 600, "it runs beside the sidecar");
    assert_eq!(with(&[(App, 300), (Init, 400), (Sidecar, 200)]), 500, "it has ended when the sidecar starts");
    assert_eq!(with(&[(App, 300), (Init, 900), (Ephemeral, 999)]), 900);
}

#[test]
fn a_twentieth_or_the_least_of_a_class_stays_free() {
    let node = TestNode::new(100, GI).with([]);
    assert_eq!(headroom(&node.view(), [0, 0]).cpu, Some(95));
    assert_eq!(headroom(&node.view(), [10, 16 * MI]).cpu, Some(90));
    assert_eq!(headroom(&node.view(), [10, GI]).memory, Some(0));
}

#[test]
fn nodes_of_one_machine_share_what_it_has() {
    // Each of three nodes says that it has the whole machine: minikube, kind.
    let mut node = TestNode::new(10_000, 100 * GI).with([pod("web", 1000)]);
    let others = Booked { cpu: 6000, memory: 80 * GI, memory_limits_growing: GI, growth_unknown: false };
    node.machine = Some(Machine { cpu: 10_000, memory: Some(100 * GI), others });
    let shared = headroom(&node.view(), [0, 0]);
    assert_eq!(shared.cpu, Some(10_000 - RESERVE - 7000));
    assert_eq!(shared.memory, Some(100 * GI - 100 * GI / 100 * 5 - 81 * GI));
    assert_eq!(shared.free_memory, Some(75 * GI - 100 * GI / 100 * 5 - GI));
    node.machine = Some(Machine { cpu: 100_000, memory: None, others });
    let alone = TestNode::new(10_000, 100 * GI).with([pod("web", 1000)]);
    let own = headroom(&alone.view(), [0, 0]);
    assert_eq!(
        (headroom(&node.view(), [0, 0]).cpu, headroom(&node.view(), [0, 0]).memory),
        (own.cpu, own.memory)
    );
}

#[test]
fn growth_of_memory_limits_that_the_kernel_does_not_have_yet_is_not_free_any_more() {
    let mut growing = pod("web", 1000);
    growing.facts.containers[0].spec.memory_limit = Some(Bytes(5 * GI));
    let (before, after) = (left([pod("web", 1000)]), left([growing]));
    assert_eq!(before.free_memory.unwrap() - after.free_memory.unwrap(), 3 * GI);
}

#[test]
fn a_growth_of_memory_that_is_on_its_way_is_not_free_any_more() {
    // Recorded or sent: the spec does not say it yet.
    let mut on_its_way = pod("web", 1000);
    on_its_way.in_flight(Resource::Memory, size(GI, 2 * GI), size(GI, 6 * GI));
    let booked = |pod: TestPod| {
        let (before, after) = (left([self::pod("web", 1000)]), left([pod]));
        before.free_memory.unwrap() - after.free_memory.unwrap()
    };
    assert_eq!(booked(on_its_way.clone()), 4 * GI);
    // Accepted: it counts once.
    on_its_way.facts.containers[0].spec.memory_limit = Some(Bytes(6 * GI));
    assert_eq!(booked(on_its_way.clone()), 4 * GI);
    // The status does not say what the kernel has: what it had before.
    on_its_way.facts.containers[0].actual = None;
    assert_eq!(booked(on_its_way), 4 * GI);
}

#[test]
fn where_nobody_says_what_the_kernel_has_of_a_pending_resize_free_memory_is_not_known() {
    let mut silent = pod("web", 1000);
    silent.facts.containers[0].actual = None;
    assert_eq!(left([silent.clone()]), left([pod("web", 1000)]), "nothing changes there");
    let mut unseen = silent.clone();
    (unseen.facts.generation, unseen.facts.observed_generation) = (Some(2), Some(1));
    assert_eq!(left([unseen]).free_memory, None);
    silent.facts.conditions.push(ConditionFacts {
        kind: "PodResizeInProgress".into(),
        status: "True".into(),
        reason: None,
        message: None,
        observed_generation: None,
    });
    assert_eq!(left([silent.clone()]).free_memory, None);
    silent.facts.containers[0].running = false;
    assert!(left([silent]).free_memory.is_some(), "what does not run holds no memory");
}

#[test]
fn what_a_node_refuses_to_another_writer_takes_no_room_from_the_others() {
    let pending = |reason: &str| {
        let mut pod = pod("web", 1000);
        pod.facts.containers[0].spec.cpu_request = Some(cores(1_000_000));
        pod.facts.containers[0].spec.memory_limit = Some(Bytes(1000 * GI));
        pod.facts.conditions.push(ConditionFacts {
            kind: "PodResizePending".into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: None,
            observed_generation: None,
        });
        left([pod])
    };
    assert_eq!(pending("Infeasible"), left([pod("web", 1000)]));
    let deferred = pending("Deferred");
    assert_eq!(deferred.cpu, Some(0), "the scheduler counts it, and the kubelet may give it at any moment");
    assert_eq!(
        deferred.free_memory,
        left([pod("web", 1000)]).free_memory,
        "no limit is set that is not allocated"
    );
}
