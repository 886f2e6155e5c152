//! What the kubelet makes of a resize: verified, deferred, infeasible, failed.

use std::time::Duration;

use plimsoll_contract::report::PodCgroup;
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, Resource};
use plimsoll_sizing::size::{Size, Sizes};

use super::world::{World, app, first, less, more, resources, sizes, wanted};
use crate::resize::{Blocked, NotPlanned, Purpose, ResizeRefusal, Step, What};

const NO_ROOM: &str = "Node didn't have enough resource: cpu";

fn verified(purpose: Purpose, seconds: u64) -> What {
    What::Verified { purpose, took: Some(Duration::from_secs(seconds)) }
}

/// A resize that the API server accepted.
fn accepted(purpose: Purpose, to: Sizes) -> World {
    let mut world = World::new();
    world.plan(purpose, to);
    assert_eq!(world.write(), to);
    world
}

#[test]
fn quotas_that_systemd_rounds_and_the_least_quota_are_done() {
    for (asked, kernel) in [(417, 420), (4, 10), (1000, 1000)] {
        let mut world = accepted(Purpose::Shrink, sizes((4, asked), (64, 128)));
        world.kubelet_acts();
        world.kernel = sizes((4, kernel), (64, 128));
        world.report();
        assert_eq!(world.state(), "verified", "{asked}m asked, {kernel}m in the kernel");
    }
    for (asked, kernel) in [(417, 410), (417, 430), (490, 500), (1000, 500)] {
        let mut world = accepted(Purpose::Grow, sizes((200, asked), (64, 128)));
        world.kubelet_acts();
        world.kernel = sizes((200, kernel), (64, 128));
        world.report();
        assert_eq!(world.state(), "accepted", "{asked}m asked, {kernel}m in the kernel");
    }
}

#[test]
fn a_memory_limit_is_done_within_a_page() {
    let mut world = accepted(Purpose::Grow, sizes((200, 500), (64, 256)));
    world.kubelet_acts();
    world.kernel.memory.limit = Some((256 << 20) - (1 << 20));
    world.report();
    assert_eq!(world.state(), "accepted");
    world.kernel.memory.limit = Some((256 << 20) - 4096);
    world.report();
    assert_eq!(world.state(), "verified");
}

#[test]
fn limits_that_were_read_before_the_resize_prove_nothing() {
    let mut world = World::new();
    world.resized(Purpose::Grow, more());
    world.plan(Purpose::Shrink, less());
    world.write();
    world.kernel = less();
    world.limits_age = 5.0;
    world.report();
    assert_eq!(world.state(), "accepted");
    world.limits_age = 0.0;
    world.facts.observed_generation = world.facts.generation;
    world.facts.containers[0].allocated = Some(resources(less()));
    world.report();
    assert_eq!(world.state(), "verified");
}

#[test]
fn requests_only_are_done_when_the_status_says_so_at_our_generation_or_a_later_one() {
    let to = sizes((400, 500), (64, 128));
    let mut world = accepted(Purpose::Grow, to);
    world.report();
    assert_eq!(world.state(), "accepted", "the limits are as they were, which says nothing");
    // The status shows the requests, at an older generation.
    world.facts.containers[0].allocated = Some(resources(to));
    world.watch();
    assert_eq!(world.state(), "accepted");
    world.wait(3);
    world.facts.observed_generation = world.facts.generation;
    world.watch();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 3)]);
}

#[test]
fn a_container_without_limits_is_resized_and_done_without_any() {
    let none = |request| Size { request: Some(request), limit: None };
    let of = |cpu| Sizes { cpu: none(cpu), memory: none(64 << 20) };
    let mut world = World::new();
    world.facts.containers[0].spec = resources(of(200));
    world.kernel = of(200);
    world.plan(Purpose::Grow, of(300));
    assert_eq!(world.write(), of(300), "no limit is added");
    world.kubelet_acts();
    assert_eq!(world.state(), "verified");
}

#[test]
fn a_status_that_lost_its_cpu_keys_is_made_up_for_by_what_is_allocated() {
    let to = sizes((400, 500), (64, 128));
    let mut world = accepted(Purpose::Grow, to);
    world.facts.observed_generation = world.facts.generation;
    let container = &mut world.facts.containers[0];
    container.allocated = Some(resources(to));
    container.actual = Some(crate::facts::Resources { cpu_request: None, cpu_limit: None, ..resources(to) });
    world.watch();
    assert_eq!(world.state(), "verified");
}

#[test]
fn a_condition_of_an_earlier_resize_says_nothing_of_ours() {
    let mut world = World::new();
    world.deferred();
    world.plan(Purpose::Grow, more());
    world.write();
    assert_eq!(world.state(), "accepted", "generation 1 was deferred, ours is 2");
    world.facts.generation = None;
    world.facts.observed_generation = None;
    world.facts.conditions[0].observed_generation = None;
    let mut older = World::new();
    older.facts = world.facts.clone();
    older.facts.containers[0].spec = resources(first());
    older.plan(Purpose::Grow, more());
    older.write();
    older.watch();
    assert_eq!(older.state(), "accepted", "without generations: it was there before");
    older.facts.conditions[0].message = Some("another".to_owned());
    older.watch();
    assert_eq!(older.state(), "deferred");
}

#[test]
fn a_deferred_resize_is_withdrawn_after_30_s_and_the_same_value_never_sent_again_until_something_shrank() {
    let mut world = accepted(Purpose::Grow, more());
    world.deferred();
    assert_eq!(world.happened(), [What::Deferred { message: NO_ROOM.to_owned() }]);
    world.wait(29);
    world.watch();
    assert_eq!((world.state(), world.happened()), ("deferred", vec![]), "said once");
    world.nothing_is_due();
    world.wait(1);
    assert_eq!(world.happened(), [What::PutBack { why: format!("deferred: {NO_ROOM}") }]);
    assert_eq!((world.state(), world.resize.deferred_size()), ("reverting", Some(&app(more()))));
    assert_eq!(world.write(), first(), "what is allocated");
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Revert, 0)]);
    for as_much in [more(), sizes((450, 1200), (64, 128))] {
        let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, as_much));
        assert_eq!(again, Err(NotPlanned::Rejected { message: NO_ROOM.to_owned() }));
    }
    let early =
        world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, sizes((300, 750), (64, 128))));
    assert!(matches!(early, Err(NotPlanned::Blocked(Blocked::Failed { .. }))), "nor less of it at once");
    world.wait(10);
    // The largest step that fits.
    world.plan(Purpose::Grow, sizes((300, 750), (64, 128)));
    world.write();
    world.kubelet_acts();
    world.report();
    assert_eq!(world.state(), "verified");
    world.resize.node_freed();
    world.plan(Purpose::Grow, more());
    assert_eq!(world.write(), more());
}

#[test]
fn from_one_deferral_to_the_next_the_wait_doubles_and_room_ends_it() {
    let mut world = World::new();
    for (waits, to) in [(10, more()), (20, sizes((300, 750), (64, 128))), (40, sizes((250, 600), (64, 128)))]
    {
        world.plan(Purpose::Grow, to);
        world.write();
        world.deferred();
        world.wait(30);
        world.write();
        world.kubelet_acts();
        world.report();
        let until = world.resize.held(world.at(), Resource::Cpu).map(|(_, until)| until);
        assert_eq!(until, Some(world.at() + Duration::from_secs(waits)));
        assert_eq!(world.resize.held(world.at(), Resource::Memory), None);
        if waits < 40 {
            world.wait(waits);
        }
    }
    world.resize.node_freed();
    world.plan(Purpose::Grow, more());
}

#[test]
fn a_deferred_resize_that_finds_room_in_time_is_a_success() {
    let mut world = accepted(Purpose::Grow, more());
    world.deferred();
    world.happened();
    world.wait(20);
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 20)]);
    world.wait(200);
    world.nothing_is_due();
}

/// A growth that was deferred for 30 s: it is about to be put back.
fn about_to_be_put_back() -> World {
    let mut world = accepted(Purpose::Grow, more());
    world.deferred();
    world.wait(30);
    assert_eq!(world.state(), "reverting");
    world.happened();
    world
}

#[test]
fn what_the_kubelet_grants_before_it_is_put_back_stays_and_is_verified() {
    let (planned, mut recorded) = (about_to_be_put_back(), about_to_be_put_back());
    recorded.record();
    for mut world in [planned, recorded] {
        world.kubelet_acts();
        assert_eq!(world.state(), "accepted");
        world.nothing_is_due();
        world.report();
        assert_eq!(world.happened(), [verified(Purpose::Grow, 30)]);
        assert_eq!((world.state(), world.resize.deferred_size()), ("verified", None));
        world.wait(200);
        world.nothing_is_due();
        world.resized_further();
    }
}

#[test]
fn what_the_kubelet_begins_with_before_it_is_put_back_is_followed() {
    let mut world = about_to_be_put_back();
    world.facts.containers[0].allocated = Some(resources(more()));
    world.condition("PodResizeInProgress", None, "");
    assert_eq!(world.state(), "in_progress");
    world.nothing_is_due();
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 30)]);
    // It is deferred once more: all deferrals together get one time.
    let mut again = about_to_be_put_back();
    again.facts.containers[0].allocated = Some(resources(more()));
    again.condition("PodResizeInProgress", None, "");
    again.facts.containers[0].allocated = Some(resources(first()));
    again.deferred();
    again.wait(1);
    assert_eq!(again.state(), "reverting");
    assert_eq!(again.write(), first());
}

#[test]
fn what_the_kubelet_grants_while_the_way_back_is_recorded_shows_with_the_record_at_the_latest() {
    let mut world = about_to_be_put_back();
    let Step::Record(record) = world.resize.next(world.time(), &world.facts) else { panic!() };
    world.resize.sent(world.time(), &world.facts);
    world.resize.recorded(world.at(), world.pod_version());
    // The watch is late.
    let until = world.at() + Duration::from_secs(10);
    assert_eq!(world.resize.next(world.time(), &world.facts), Step::Wait(until));
    world.facts.annotations.extend(record.annotations);
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 30)]);
    world.nothing_is_due();
}

#[test]
fn what_is_granted_without_its_limits_or_with_an_error_is_put_back() {
    let mut pending = about_to_be_put_back();
    pending.facts.containers[0].allocated = Some(resources(more()));
    pending.watch();
    assert_eq!(pending.write(), first(), "the kubelet still says that it is deferred");
    let mut failing = about_to_be_put_back();
    (failing.facts.containers[0].allocated, failing.facts.containers[0].actual) =
        (Some(resources(more())), Some(resources(more())));
    failing.condition("PodResizeInProgress", Some("Error"), "write cpu.max: invalid argument");
    assert_eq!(failing.write(), first());
    let mut old_limits = about_to_be_put_back();
    old_limits.facts.containers[0].allocated = Some(resources(more()));
    old_limits.facts.conditions.clear();
    old_limits.watch();
    assert_eq!(old_limits.write(), first());
}

#[test]
fn a_way_back_that_cannot_lower_a_memory_limit_raises_it_again() {
    let mut world = accepted(Purpose::Grow, sizes((400, 1000), (100, 256)));
    world.condition("PodResizeInProgress", Some("Error"), "write cpu.max: invalid argument");
    world.wait(60);
    assert_eq!(world.write(), first());
    world.happened();
    let words = "memory usage is above the new limit";
    world.condition("PodResizeInProgress", Some("Error"), words);
    let (message, why) = (words.to_owned(), words.to_owned());
    assert_eq!(world.happened(), [What::Failed { message }, What::PutBack { why }]);
    let kept = sizes((200, 500), (64, 256));
    assert_eq!(world.write(), kept);
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Revert, 0)]);
    world.nothing_is_due();
}

#[test]
fn a_resize_that_is_deferred_again_and_again_has_one_time_for_all() {
    let mut world = accepted(Purpose::Grow, more());
    for _ in 0..3 {
        world.deferred();
        world.wait(9);
        world.facts.conditions.clear();
        world.watch();
        world.wait(1);
    }
    world.deferred();
    world.wait(1);
    let said = [
        What::Deferred { message: NO_ROOM.to_owned() },
        What::PutBack { why: format!("deferred: {NO_ROOM}") },
    ];
    assert_eq!(world.happened(), said);
}

#[test]
fn a_resize_on_which_the_kubelet_works_for_ever_fails_once() {
    let mut world = accepted(Purpose::Grow, more());
    world.condition("PodResizeInProgress", None, "");
    for _ in 0..10 {
        world.wait(60);
        world.watch();
    }
    assert_eq!(world.happened(), [What::Failed { message: "not verified within 120 s".to_owned() }]);
    // It ends after all.
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took: None }]);
}

#[test]
fn an_infeasible_resize_is_put_back_and_not_repeated_until_something_shrank() {
    let mut world = accepted(Purpose::Grow, more());
    world.condition("PodResizePending", Some("Infeasible"), "too big");
    let why = "infeasible: too big".to_owned();
    let message = "too big".to_owned();
    assert_eq!(world.happened(), [What::Infeasible { message: message.clone() }, What::PutBack { why }]);
    assert_eq!(world.write(), first());
    world.kubelet_acts();
    world.report();
    assert_eq!((world.state(), world.resize.infeasible_size()), ("failed", Some(&app(more()))));
    let again =
        |world: &mut World| world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more()));
    assert_eq!(again(&mut world), Err(NotPlanned::Rejected { message }));
    world.resize.node_freed();
    assert_eq!(again(&mut world), Ok(()));
}

#[test]
fn a_transient_error_of_the_kubelet_is_waited_for_and_never_taken_for_infeasible() {
    let mut world = accepted(Purpose::Grow, more());
    world.condition("PodResizeInProgress", Some("Error"), "missing container memory usage");
    world.wait(100);
    assert_eq!((world.state(), world.happened()), ("in_progress", vec![]));
    world.kubelet_acts();
    world.report();
    assert_eq!((world.state(), world.resize.infeasible_size()), ("verified", None));
    world.resized_further();
}

#[test]
fn a_refused_burst_quota_is_tried_for_a_minute_then_put_back_with_the_kernels_words() {
    let mut world = World::new();
    world.resized(Purpose::Grow, more());
    world.plan(Purpose::Shrink, less());
    world.write();
    let words = "write cpu.max: invalid argument";
    world.condition("PodResizeInProgress", Some("Error"), words);
    world.wait(59);
    assert_eq!(world.happened(), []);
    world.wait(1);
    let (message, why) = (words.to_owned(), words.to_owned());
    assert_eq!(world.happened(), [What::Failed { message: message.clone() }, What::PutBack { why }]);
    assert_eq!(world.write(), more(), "the size before, though the kubelet has set the new requests aside");
    world.kubelet_acts();
    world.report();
    let held = |world: &World| world.resize.held(world.at(), Resource::Cpu).map(|(said, _)| said.to_owned());
    assert_eq!(held(&world), Some(message));
    assert_eq!(world.resize.held(world.at(), Resource::Memory), None);
    world.wait(60);
    assert_eq!(held(&world), None);
}

#[test]
fn a_memory_limit_that_cannot_be_lowered_is_put_back_at_once() {
    let mut world = accepted(Purpose::Shrink, sizes((200, 500), (64, 100)));
    world.condition("PodResizeInProgress", Some("Error"), "memory usage is above the new limit");
    assert_eq!(world.state(), "reverting");
    assert_eq!(world.write(), first());
}

#[test]
fn what_is_not_verified_in_time_is_said_and_nothing_is_sent_against_it() {
    let mut world = accepted(Purpose::Grow, more());
    world.wait(119);
    assert_eq!(world.happened(), []);
    world.wait(1);
    assert_eq!(world.happened(), [What::Failed { message: "not verified within 120 s".to_owned() }]);
    assert_eq!((world.state(), world.resize.busy()), ("failed", false));
    world.nothing_is_due();
}

/// A growth that the node did not apply within two minutes.
fn unverified() -> World {
    let mut world = accepted(Purpose::Grow, more());
    world.wait(120);
    world.happened();
    world
}

#[test]
fn what_was_not_verified_is_held_for_a_minute_and_nothing_is_planned_until_the_node_has_it() {
    let bigger = || wanted(Purpose::Grow, sizes((800, 2000), (64, 128)));
    let mut world = unverified();
    let refused = |world: &mut World| world.resize.plan(world.at(), &world.facts, bigger());
    assert!(matches!(refused(&mut world), Err(NotPlanned::Blocked(Blocked::Failed { .. }))));
    for _ in 0..10 {
        world.wait(60);
        world.report();
        assert!(matches!(refused(&mut world), Err(NotPlanned::Blocked(Blocked::Drift { .. }))));
    }
    world.kubelet_acts();
    assert!(refused(&mut world).is_err(), "the kernel was not read since");
    world.report();
    let late = What::Verified { purpose: Purpose::Grow, took: None };
    assert_eq!((world.state(), world.happened()), ("verified", vec![late]));
    assert_eq!(refused(&mut world), Ok(()));

    let mut taken_over = unverified();
    taken_over.taken_over();
    assert!(matches!(refused(&mut taken_over), Err(NotPlanned::Blocked(Blocked::Drift { .. }))));

    let mut resized_by_others = unverified();
    resized_by_others.wait(60);
    resized_by_others.write_spec(less());
    resized_by_others.watch();
    assert_eq!(refused(&mut resized_by_others), Ok(()));
}

#[test]
fn a_shrink_that_is_verified_late_is_watched_for_harm() {
    let mut world = accepted(Purpose::Shrink, less());
    world.wait(130);
    world.kubelet_acts();
    world.report();
    world.happened();
    world.wait(30);
    world.cpu.throttled3 = Some(0.06);
    world.report();
    assert!(matches!(world.happened()[..], [What::Undone { .. }]));
    assert_eq!(world.write(), first());
}

#[test]
fn harm_in_the_report_that_verifies_a_shrink_late_undoes_it() {
    let mut world = accepted(Purpose::Shrink, less());
    world.wait(130);
    world.kubelet_acts();
    world.happened();
    world.cpu.throttled3 = Some(0.5);
    world.report();
    assert!(matches!(world.happened()[..], [What::Verified { .. }, What::Undone { .. }]));
    assert_eq!(world.write(), first());
}

#[test]
fn a_growth_of_cpu_that_was_not_verified_does_not_keep_memory_from_growing() {
    let mut world = unverified();
    world.kernel = first();
    let (cpu, memory) = (more().cpu, sizes((0, 0), (64, 256)).memory);
    let to = Sizes { cpu, memory };
    world.plan(Purpose::Grow, to);
    assert_eq!(world.write(), to);
    // The growth of memory is verified, and still nobody saw that of CPU.
    world.kernel.memory = to.memory;
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 0)]);
    world.wait(61);
    let cpu = Sizes { cpu: sizes((400, 2000), (64, 128)).cpu, ..to };
    let planned = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, cpu));
    assert!(matches!(planned, Err(NotPlanned::Blocked(Blocked::Drift { .. }))), "{planned:?}");
}

#[test]
fn a_resize_that_the_kubelet_begins_with_after_two_minutes_is_followed_again() {
    let mut world = unverified();
    world.deferred();
    assert_eq!(world.state(), "deferred");
    world.wait(30);
    assert_eq!(world.write(), first(), "withdrawn like any other");
}

#[test]
fn a_limit_is_verified_only_once_the_watch_shows_it_in_the_spec() {
    let to = sizes((200, 1000), (64, 128));
    let mut world = World::new();
    world.plan(Purpose::Grow, to);
    world.record();
    world.send();
    // The response and a report arrive before the watch.
    world.resize.accepted(world.at(), Some(2));
    world.kernel = to;
    world.report();
    assert_eq!((world.state(), world.happened()), ("accepted", vec![]));
    world.write_spec(to);
    world.watch();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 0)]);
}

#[test]
fn where_the_node_sets_no_quota_there_is_no_drift_of_cpu_and_the_kubelets_word_is_enough() {
    let mut world = World::new();
    world.without_quotas = true;
    for _ in 0..100 {
        world.wait(1);
        world.report();
    }
    assert_eq!(world.happened(), []);
    let to = sizes((200, 1000), (64, 256));
    world.plan(Purpose::Grow, to);
    world.write();
    world.kernel = to;
    world.report();
    assert_eq!(world.state(), "accepted", "the kubelet has not said anything yet");
    world.wait(1);
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [verified(Purpose::Grow, 1)]);
    // Memory that the kernel does not hold is not made up for.
    world.plan(Purpose::Grow, sizes((200, 1000), (64, 512)));
    world.write();
    world.kubelet_acts();
    world.kernel.memory.limit = Some(256 << 20);
    world.report();
    assert_eq!(world.state(), "accepted");
}

#[test]
fn a_decrease_of_a_memory_limit_is_told_once_however_its_acceptance_becomes_known() {
    let to = sizes((200, 500), (64, 100));
    let sent = || {
        let mut world = World::new();
        world.plan(Purpose::Shrink, to);
        world.record();
        world.send();
        world.write_spec(to);
        world
    };
    // The watch shows the new spec before the response arrives, after it, or instead of it.
    let mut before = sent();
    before.watch();
    before.resize.accepted(before.at(), before.facts.generation);
    let mut after = sent();
    after.resize.accepted(after.at(), after.facts.generation);
    after.watch();
    let mut instead = sent();
    instead.refuse(ResizeRefusal::NoAnswer);
    instead.watch();
    for mut world in [before, after, instead] {
        assert!(world.resize.take_memory_decrease());
        assert!(!world.resize.take_memory_decrease(), "once");
    }
    let mut cpu_only = accepted(Purpose::Shrink, less());
    assert!(!cpu_only.resize.take_memory_decrease());
}

#[test]
fn an_oom_killed_container_whose_pod_cgroup_kept_its_old_limit_is_said_and_grows_no_more() {
    let to = sizes((200, 500), (64, 512));
    let mut world = accepted(Purpose::Grow, to);
    // The container was restarted in the middle of it: another id, not reported yet.
    world.facts.containers[0].restarts = 1;
    world.reported_id = world.facts.containers[0].id.replace(ContainerId::new(&"b".repeat(64)).unwrap());
    world.kubelet_acts();
    world.report();
    assert_eq!(world.state(), "accepted", "the report is of the container before");
    world.reported_id = None;
    let limit_bytes = Some(Limit::Of(Bytes(128 << 20)));
    world.cgroup = PodCgroup { limit_cores: Some(Limit::Of(Cores(0.5))), limit_bytes };
    world.report();
    world.wait(14);
    world.report();
    assert_eq!((world.state(), world.happened()), ("accepted", vec![]), "the two are not read at once");
    world.wait(1);
    world.report();
    let text = "the pod's own memory limit is 128Mi, its containers have 512Mi together".to_owned();
    let said = [What::Failed { message: text.clone() }, What::PodCgroupStale { text: text.clone() }];
    assert_eq!(world.happened(), said);
    let bigger = wanted(Purpose::Grow, sizes((200, 500), (64, 1024)));
    let refused = Err(NotPlanned::Blocked(Blocked::PodCgroupStale { text }));
    assert_eq!(world.resize.plan(world.at(), &world.facts, bigger.clone()), refused);
    world.report();
    assert_eq!(world.happened(), [], "said once");
    world.cgroup.limit_bytes = Some(Limit::Of(Bytes(512 << 20)));
    world.report();
    assert_eq!(world.resize.plan(world.at(), &world.facts, bigger), Ok(()));
}

#[test]
fn a_pod_with_limits_of_its_own_may_have_less_than_its_containers_together() {
    let mut world = accepted(Purpose::Grow, sizes((200, 500), (64, 512)));
    world.facts.pod_resources = Some(resources(first()));
    world.kubelet_acts();
    world.cgroup.limit_bytes = Some(Limit::Of(Bytes(128 << 20)));
    for _ in 0..10 {
        world.wait(10);
        world.report();
    }
    assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Grow, .. }]));
}
