//! The leader is killed in each state: the next one has only the pod as the API server shows it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plimsoll_contract::resize::ResizeDecision;
use plimsoll_contract::{Resource, keys};
use plimsoll_sizing::size::{Size, Sizes};

use super::world::{World, app, first, less, more, sizes, wanted};
use crate::resize::annotations::in_quantities;
use crate::resize::{NotPlanned, PodResize, Purpose, What};

impl World {
    /// The leader is gone, and another one has just begun to watch.
    fn take_over(&mut self) {
        self.resize = PodResize::default();
        self.watch();
        self.taken_over();
    }
}

fn planned(purpose: Purpose) -> World {
    let mut world = World::new();
    world.plan(purpose, if purpose == Purpose::Shrink { less() } else { more() });
    world
}

#[test]
fn killed_when_idle_or_planned_nothing_is_known_and_nothing_is_done() {
    for mut world in [World::new(), planned(Purpose::Grow)] {
        world.take_over();
        assert_eq!(world.state(), "idle");
        world.nothing_is_due();
    }
}

#[test]
fn killed_when_recorded_the_plan_is_made_anew_and_the_original_stays() {
    let mut world = planned(Purpose::Grow);
    world.record();
    let original = world.facts.annotations[keys::ORIGINAL_RESOURCES].clone();
    world.wait(5);
    world.take_over();
    assert_eq!(world.state(), "idle");
    world.plan(Purpose::Grow, more());
    world.write();
    assert_eq!(world.facts.annotations[keys::ORIGINAL_RESOURCES], original);
}

#[test]
fn killed_when_sent_the_spec_says_whether_it_arrived() {
    let mut lost = planned(Purpose::Grow);
    lost.record();
    lost.send();
    lost.take_over();
    assert_eq!(lost.state(), "idle");
    let mut arrived = planned(Purpose::Grow);
    arrived.record();
    arrived.send();
    arrived.write_spec(more());
    arrived.take_over();
    assert_eq!(arrived.state(), "accepted");
    arrived.nothing_is_due();
}

#[test]
fn killed_when_accepted_or_in_progress_it_is_verified_by_the_next_leader_without_a_time() {
    for in_progress in [false, true] {
        let mut world = planned(Purpose::Grow);
        world.write();
        if in_progress {
            world.condition("PodResizeInProgress", None, "");
        }
        world.wait(10);
        world.take_over();
        assert_eq!(world.state(), if in_progress { "in_progress" } else { "accepted" });
        assert_eq!(
            world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more())),
            Err(NotPlanned::Busy)
        );
        world.kubelet_acts();
        world.report();
        assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took: None }]);
    }
}

#[test]
fn killed_when_deferred_the_remaining_time_runs_and_the_value_is_not_sent_again() {
    let mut world = planned(Purpose::Grow);
    world.write();
    world.deferred();
    world.wait(20);
    world.take_over();
    assert_eq!(world.state(), "deferred");
    world.wait(9);
    world.nothing_is_due();
    world.wait(1);
    assert_eq!(world.write(), first());
    world.kubelet_acts();
    world.report();
    // The next leader knows it from the record.
    world.take_over();
    world.report();
    world.wait(200);
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more()));
    assert!(matches!(again, Err(NotPlanned::Rejected { .. })), "{again:?}");
}

#[test]
fn a_record_is_needed_for_as_long_as_a_new_leader_reads_it() {
    let needs = |world: &World| world.resize.needs_record(world.at());
    let mut reverted = planned(Purpose::Grow);
    reverted.write();
    reverted.deferred();
    reverted.wait(30);
    assert!(!needs(&reverted), "a growth can be planned anew");
    reverted.write();
    reverted.kubelet_acts();
    reverted.report();
    let mut undone = World::new();
    undone.resized(Purpose::Shrink, less());
    undone.cpu.throttled3 = Some(0.5);
    undone.report();
    undone.write();
    undone.cpu.throttled3 = None;
    undone.kubelet_acts();
    undone.report();
    for (mut world, seconds) in [(reverted, 600), (undone, 24 * 3600)] {
        world.now += Duration::from_secs(seconds / 2);
        world.take_over();
        world.now += Duration::from_secs(seconds / 2 - 1);
        assert!(needs(&world), "{seconds} s, also after a takeover");
        world.now += Duration::from_secs(1);
        assert!(!needs(&world), "{seconds} s");
    }
}

#[test]
fn killed_when_infeasible_or_failing_it_is_put_back() {
    let mut world = planned(Purpose::Grow);
    world.write();
    world.condition("PodResizePending", Some("Infeasible"), "too big");
    world.take_over();
    assert_eq!(world.write(), first());

    let mut failing = planned(Purpose::Grow);
    failing.write();
    failing.condition("PodResizeInProgress", Some("Error"), "write cpu.max: invalid argument");
    failing.take_over();
    failing.wait(60);
    assert_eq!(failing.write(), first());
}

/// A growth was deferred for as long as is waited, and that it is put back is recorded.
fn putting_back() -> World {
    let mut world = planned(Purpose::Grow);
    world.write();
    world.deferred();
    world.wait(30);
    world.record();
    world
}

#[test]
fn killed_when_reverting_the_way_back_is_taken_up() {
    let mut world = putting_back();
    world.take_over();
    assert_eq!(world.state(), "reverting");
    assert_eq!(world.write(), first());
}

#[test]
fn killed_when_reverting_what_the_kubelet_granted_meanwhile_stays() {
    let mut world = putting_back();
    world.kubelet_acts();
    world.take_over();
    assert_eq!((world.state(), world.resize.busy()), ("idle", false));
    world.nothing_is_due();

    // It is granted after the takeover.
    let mut world = putting_back();
    world.take_over();
    assert_eq!(world.state(), "reverting");
    world.kubelet_acts();
    assert!(!world.resize.busy());
    world.nothing_is_due();
}

#[test]
fn killed_when_verified_nothing_is_sent_and_a_shrink_is_still_watched() {
    let mut old = planned(Purpose::Grow);
    old.write();
    old.kubelet_acts();
    old.report();
    old.wait(130);
    old.take_over();
    old.report();
    assert_eq!((old.state(), old.happened()), ("idle", vec![]), "it was told long ago");

    let mut shrunk = World::new();
    shrunk.resized(Purpose::Shrink, less());
    shrunk.wait(20);
    shrunk.take_over();
    shrunk.report();
    shrunk.happened();
    shrunk.cpu.throttled3 = Some(0.5);
    shrunk.report();
    assert!(matches!(shrunk.happened()[..], [What::Undone { .. }]));
    assert_eq!(shrunk.write(), first());
}

#[test]
fn killed_between_a_shrink_and_its_undo_the_recorded_undo_is_taken_up() {
    let mut world = World::new();
    world.resized(Purpose::Shrink, less());
    world.cpu.throttled3 = Some(0.5);
    world.report();
    world.record();
    world.take_over();
    assert_eq!(world.write(), first());
}

#[test]
fn killed_while_yielding_to_another_writer_our_old_decision_is_not_taken_for_its() {
    let mut world = World::new();
    world.resized(Purpose::Grow, more());
    world.write_spec(less());
    world.take_over();
    assert_eq!(world.state(), "idle");
    world.plan(Purpose::Grow, more());
}

#[test]
fn after_a_takeover_growth_is_free_and_shrinks_wait_for_their_hold() {
    let mut world = planned(Purpose::Grow);
    world.take_over();
    world.wait(7);
    let (now, resize) = (world.at(), &world.resize);
    for resource in Resource::ALL {
        assert_eq!(resize.since_growth(now, "app", resource), None);
        assert_eq!(resize.since_pressure(now, "app", resource), Some(Duration::from_secs(7)));
    }
}

/// A pod that carries this record, whoever wrote it.
fn recorded(at: Timestamp, reason: &str, from: Sizes, to: Sizes, original: Sizes) -> World {
    let mut world = World::new();
    let decision = ResizeDecision {
        at,
        reason: reason.to_owned(),
        class: "bronze".to_owned(),
        from: in_quantities(&app(from)),
        to: in_quantities(&app(to)),
        why: String::new(),
    };
    let original = serde_json::to_string(&in_quantities(&app(original))).unwrap();
    let annotations =
        [(keys::DECISION, serde_json::to_string(&decision).unwrap()), (keys::ORIGINAL_RESOURCES, original)];
    world.facts.annotations.extend(annotations.map(|(key, value)| (key.to_owned(), value)));
    world
}

fn seconds_ago(seconds: i64) -> Timestamp {
    World::new().time().wall - SignedDuration::from_secs(seconds)
}

#[test]
fn a_recorded_way_back_is_taken_up_within_what_the_class_may_give_and_only_there() {
    let huge = sizes((2500, 2500), (64, 128));
    let no_limit = Sizes { cpu: Size { request: Some(200), limit: None }, ..first() };
    let cases = [
        ("ours", more(), first(), true),
        ("what the class may give", sizes((400, 2000), (64, 128)), first(), true),
        ("more CPU than half of the node", huge, first(), false),
        ("that is no original either", huge, huge, false),
        ("more memory than the class may give", sizes((200, 500), (64, 600)), first(), false),
        ("less than the class may take", sizes((5, 5), (64, 128)), first(), false),
        ("a limit is removed", no_limit, first(), false),
    ];
    for reason in ["undo", "revert"] {
        for (name, to, original, is_taken_up) in cases {
            let mut world = recorded(seconds_ago(1), reason, first(), to, original);
            world.deferred();
            world.taken_over();
            assert_eq!(world.resize.busy(), is_taken_up, "{reason} {name}");
        }
    }
}

#[test]
fn a_record_of_the_future_or_of_long_ago_is_not_taken_up_and_clocks_may_differ_a_little() {
    for (age, is_taken_up) in [(-70_000_000, false), (-11, false), (-9, true), (299, true), (300, false)] {
        let mut world = recorded(seconds_ago(age), "undo", first(), more(), first());
        world.taken_over();
        assert_eq!(world.resize.busy(), is_taken_up, "decided {age} s ago");
    }
}

#[test]
fn without_a_class_that_changes_pods_or_a_readable_original_no_record_is_followed() {
    let mut unmanaged = recorded(seconds_ago(1), "undo", first(), more(), first());
    unmanaged.resize.restored(unmanaged.time(), &unmanaged.facts, None);
    let mut no_original = recorded(seconds_ago(1), "undo", first(), more(), first());
    no_original.facts.annotations.remove(keys::ORIGINAL_RESOURCES);
    no_original.taken_over();
    let mut other = recorded(seconds_ago(1), "undo", first(), more(), first());
    other.facts.containers[0].name = "db".to_owned();
    other.taken_over();
    for world in [unmanaged, no_original, other] {
        assert!(!world.resize.busy());
    }
}

#[test]
fn a_shrink_that_a_stranger_recorded_is_not_undone_to_a_size_beyond_the_class() {
    for (from, is_undone) in [(more(), true), (sizes((3000, 3000), (64, 128)), false)] {
        let mut world = recorded(seconds_ago(1), "shrink", from, first(), first());
        world.taken_over();
        world.report();
        world.cpu.throttled3 = Some(0.5);
        world.report();
        assert_eq!(world.happened().iter().any(|what| matches!(what, What::Undone { .. })), is_undone);
    }
}

#[test]
fn a_way_back_that_cannot_be_sent_asks_to_be_woken_for_nothing() {
    let mut world = recorded(seconds_ago(1), "revert", first(), more(), first());
    world.deferred();
    world.taken_over();
    world.wait(1000);
    assert!(world.resize.busy() && world.resize.wake() > world.at());
    world.record();
    world.wait(1000);
    assert!(world.resize.busy() && world.resize.wake() > world.at());
}
