//! New replicas.

use plimsoll_sizing::policy::ControlledValues;

use super::*;

/// A sibling that has come to this size.
fn sibling(name: &str, millicores: u64) -> PodFacts {
    TestPod::new(name, Some("gold"))
        .container("app", size(millicores, 2 * millicores), size(64 * MI, 64 * MI))
        .facts
}

fn newborn(siblings: &[u64]) -> TestPod {
    let mut pod =
        TestPod::new("web-new", Some("gold")).container("app", size(500, 1000), size(64 * MI, 64 * MI));
    pod.newborn = true;
    pod.reports.clear();
    pod.siblings = siblings.iter().enumerate().map(|(n, size)| sibling(&format!("web-{n}"), *size)).collect();
    pod
}

fn node(pod: TestPod) -> TestNode {
    TestNode::new(8000, 16 * GI).with([pod])
}

#[test]
fn a_new_replica_starts_at_the_median_of_its_siblings_before_it_has_numbers_of_its_own() {
    let wanted = node(newborn(&[600, 900, 800])).wanted("web-new");
    assert_eq!(wanted.purpose, Purpose::Birth);
    assert_eq!(wanted.sizes["app"], Sizes { cpu: size(800, 1600), memory: size(64 * MI, 64 * MI) });
    assert_eq!(
        wanted.why,
        [
            "app limit +600m (1000->1600), request +300m (500->800): a new replica, the median of 3 siblings, gold, headroom 7100m"
        ]
    );
}

#[test]
fn it_grows_at_most_to_twice_its_template_and_never_shrinks_at_birth() {
    assert_eq!(node(newborn(&[1700])).wanted("web-new").sizes["app"].cpu, size(1000, 2000));
    for smaller in [[300].as_slice(), &[500], &[]] {
        assert_eq!(
            node(newborn(smaller)).outcome("web-new"),
            Outcome::Waiting(Refusal::NoReport),
            "{smaller:?}"
        );
    }
}

#[test]
fn what_the_class_does_not_control_stays_at_birth() {
    let outcome = |cpu: Size, of_sibling: Size, controlled: ControlledValues| {
        let container =
            |name, cpu| TestPod::new(name, Some("gold")).container("app", cpu, size(64 * MI, 64 * MI));
        let mut pod = container("web-new", cpu);
        pod.newborn = true;
        pod.reports.clear();
        pod.siblings = vec![container("web-0", of_sibling).facts];
        let Some(Ok(policy)) = &mut pod.class else { panic!("it has a class") };
        policy.cpu.controlled_values = controlled;
        node(pod).outcome("web-new")
    };
    let cpu = |controlled| wanted(outcome(size(500, 1000), size(800, 1600), controlled)).sizes["app"].cpu;
    assert_eq!(cpu(ControlledValues::RequestsOnly), size(800, 1000));
    assert_eq!(cpu(ControlledValues::LimitsOnly), size(500, 1600));
    for controlled in [ControlledValues::RequestsOnly, ControlledValues::LimitsOnly] {
        let equal = outcome(size(500, 500), size(800, 800), controlled);
        assert_eq!(equal, Outcome::Waiting(Refusal::NoReport), "both or none: {controlled:?}");
    }
}

#[test]
fn what_is_not_worth_a_resize_is_not_worth_one_at_birth() {
    assert_eq!(node(newborn(&[515])).outcome("web-new"), Outcome::Waiting(Refusal::NoReport), "3 %");
    assert_eq!(node(newborn(&[525])).wanted("web-new").sizes["app"].cpu, size(525, 1050), "5 %");
    let mut limit_alone = newborn(&[515]);
    limit_alone.siblings[0].containers[0].spec.cpu_limit = Some(cores(1200));
    assert_eq!(node(limit_alone).wanted("web-new").sizes["app"].cpu, size(500, 1200));
}

#[test]
fn numbers_of_its_own_count_more_than_its_siblings() {
    let mut pod = newborn(&[800]);
    pod = TestPod { newborn: true, siblings: pod.siblings.clone(), ..TestPod::new("web-new", Some("gold")) }
        .container("app", size(500, 1000), size(64 * MI, 64 * MI))
        .uses(300, 16 * MI);
    pod.reports[0].window = Some(29.0);
    assert_eq!(node(pod.clone()).wanted("web-new").purpose, Purpose::Birth);
    pod.reports[0].window = Some(30.0);
    assert_eq!(node(pod.clone()).outcome("web-new"), Outcome::Fits);
    pod.reports[0].window = Some(5.0);
    pod.newborn = false;
    assert_eq!(node(pod).outcome("web-new"), Outcome::Fits, "a restarted agent makes no pod new");
}

#[test]
fn a_birth_needs_headroom_and_comes_after_those_that_are_throttled() {
    let node =
        TestNode::new(8000, 16 * GI).with_headroom(550, [newborn(&[1000]), burner("z-old", "gold", 500)]);
    let plan = node.plan(Division::Tiered);
    assert_eq!(granted(&plan["z-old"], &burner("z-old", "gold", 500)), 500);
    assert_eq!(granted(&plan["web-new"], &newborn(&[])), 50, "the rest");
}

#[test]
fn siblings_that_do_not_run_and_other_containers_do_not_count() {
    let mut pod = newborn(&[600, 900]);
    pod.siblings[1].containers[0].running = false;
    assert_eq!(node(pod.clone()).wanted("web-new").sizes["app"].cpu, size(600, 1200));
    pod.siblings[0].containers[0].name = "other".into();
    assert_eq!(node(pod).outcome("web-new"), Outcome::Waiting(Refusal::NoReport));
}
