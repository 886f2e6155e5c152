//! The fast undo, and what is remembered of pressure and memory events.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::{Bytes, Moment, Resource};
use plimsoll_sizing::size::Sizes;

use super::world::{World, first, less, more, sizes, wanted};
use crate::resize::history::{History, MemoryEventCounts};
use crate::resize::{CpuGrowth, NotPlanned, Purpose, Wanted, What};

/// A pod that was shrunk a moment ago.
fn shrunk() -> World {
    let mut world = World::new();
    world.resized(Purpose::Shrink, less());
    world
}

#[test]
fn throttling_within_a_minute_after_a_shrink_undoes_it_at_once_limits_included() {
    let mut world = shrunk();
    world.wait(30);
    world.cpu.throttled3 = Some(0.06);
    world.report();
    let seen = "app: throttled in 6 % of the periods".to_owned();
    assert_eq!(world.happened(), [What::Undone { seen }]);
    assert_eq!(world.write(), first());
    world.kubelet_acts();
    world.report();
    assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Undo, .. }]));
    world.report();
    assert_eq!((world.happened(), world.resize.busy()), (vec![], false), "once");
    let since = world.resize.since_growth(world.at(), "app", Resource::Cpu);
    assert_eq!(since, Some(Duration::ZERO), "the way back is a growth: the hold begins anew");
}

#[test]
fn pressure_undoes_a_shrink_of_cpu_too_and_a_little_of_either_does_not() {
    let mut calm = shrunk();
    (calm.cpu.throttled3, calm.cpu.throttled2, calm.cpu.pressure) = (Some(0.05), Some(0.25), Some(10.0));
    calm.report();
    assert_eq!(calm.happened(), []);
    let mut pressed = shrunk();
    pressed.cpu.pressure = Some(10.1);
    pressed.report();
    assert!(matches!(pressed.happened()[..], [What::Undone { .. }]));
}

#[test]
fn after_a_minute_and_on_what_was_not_shrunk_pressure_undoes_nothing() {
    let mut late = shrunk();
    late.wait(60);
    late.cpu.throttled3 = Some(0.9);
    late.report();
    let mut other = shrunk();
    other.events(3, 0);
    other.report();
    assert_eq!((late.happened(), other.happened()), (vec![], vec![]));
}

#[test]
fn a_memory_event_after_a_shrink_of_memory_undoes_it() {
    for (max, oom_kill) in [(1, 0), (0, 1)] {
        let mut world = World::new();
        world.resized(Purpose::Shrink, sizes((200, 500), (50, 100)));
        world.events(max, oom_kill);
        world.report();
        assert!(matches!(world.happened()[..], [What::Undone { .. }]));
        assert_eq!(world.write(), first());
    }
}

#[test]
fn harm_that_is_seen_before_a_shrink_is_verified_undoes_it_then() {
    // The report that verifies it tells the harm, or one before that does, or the watch shows its response late.
    for (waits, is_answered) in [(0, true), (5, true), (0, false)] {
        let to = sizes((200, 500), (64, 100));
        let mut world = World::new();
        world.plan(Purpose::Shrink, to);
        world.record();
        world.send();
        if is_answered {
            world.accept(to);
        }
        world.kernel = to;
        world.events(0, 1);
        if waits > 0 || !is_answered {
            world.kernel = if is_answered { first() } else { to };
            world.report();
            assert_eq!(world.happened(), []);
            world.memory.events_delta = None;
        }
        if !is_answered {
            world.accept(to);
        }
        world.wait(waits);
        world.kubelet_acts();
        world.report();
        let seen = "app: 1 processes killed for memory".to_owned();
        let happened = world.happened();
        assert!(matches!(happened[0], What::Verified { purpose: Purpose::Shrink, .. }), "{happened:?}");
        assert_eq!(happened[1..], [What::Undone { seen }]);
        world.memory.events_delta = None;
        assert_eq!(world.write(), first());
    }
}

#[test]
fn harm_of_a_shrink_that_ends_without_verification_is_undone_or_remembered() {
    let to = sizes((100, 250), (64, 128));
    let throttled = || {
        let mut world = World::new();
        world.plan(Purpose::Shrink, to);
        world.write();
        world.cpu.throttled3 = Some(0.5);
        world.report();
        world.cpu.throttled3 = Some(0.0);
        world.happened();
        world
    };
    let mut unverified = throttled();
    unverified.wait(121);
    unverified.report();
    assert_eq!(unverified.write(), first());

    let mut failed = throttled();
    failed.condition("PodResizeInProgress", Some("Error"), "write cpu.max");
    failed.wait(61);
    failed.report();
    assert_eq!(failed.write(), first(), "put back");
    failed.kubelet_acts();
    failed.report();
    failed.wait(600);
    failed.report();
    let again = failed.resize.plan(failed.at(), &failed.facts, wanted(Purpose::Shrink, to));
    assert!(matches!(again, Err(NotPlanned::Harmful { .. })), "{again:?}");
}

#[test]
fn a_kill_between_the_new_limit_and_its_verification_calls_for_more() {
    let mut world = World::new();
    world.plan(Purpose::Grow, sizes((200, 500), (128, 256)));
    let to = world.write();
    // The kernel holds the limit; the status does not show the request yet.
    world.kernel = to;
    world.report();
    world.events(0, 1);
    world.report();
    world.events(0, 0);
    world.kubelet_acts();
    world.report();
    assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Grow, .. }]));
    assert_eq!(world.resize.recent_memory_events(world.at(), "app").oom_kill, 1);
}

#[test]
fn a_kill_that_is_told_with_the_verification_of_a_growth_is_counted_and_calls_for_more() {
    let mut world = World::new();
    world.events(4, 1);
    world.report();
    world.events(0, 0);
    world.plan(Purpose::Grow, sizes((200, 500), (64, 256)));
    world.write();
    world.wait(1);
    world.kubelet_acts();
    world.events(7, 1);
    world.report();
    assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Grow, .. }]));
    let recent = world.resize.recent_memory_events(world.at(), "app");
    assert_eq!(recent, MemoryEventCounts { max: 0, oom_kill: 1 }, "hits were of the limit before");
    assert_eq!(world.resize.memory_events("app").oom_kill, 2, "both are counted");
}

#[test]
fn an_undo_replaces_a_plan_that_was_not_sent_and_waits_for_one_that_was() {
    let mut world = shrunk();
    world.plan(Purpose::Grow, more());
    world.record();
    world.cpu.throttled3 = Some(0.5);
    world.report();
    assert_eq!(world.write(), first());

    let mut busy = shrunk();
    busy.plan(Purpose::Grow, more());
    busy.record();
    busy.send();
    busy.cpu.throttled3 = Some(0.5);
    busy.report();
    busy.accept(more());
    busy.kubelet_acts();
    busy.report();
    assert!(matches!(busy.happened()[..], [What::Verified { purpose: Purpose::Grow, .. }]));
    busy.nothing_is_due();
}

#[test]
fn a_shrink_that_somebody_changed_since_is_not_undone() {
    let mut world = shrunk();
    world.write_spec(sizes((100, 300), (64, 128)));
    world.watch();
    world.cpu.throttled3 = Some(0.5);
    world.report();
    assert_eq!((world.happened(), world.resize.busy()), (vec![], false));
}

#[test]
fn a_plan_does_not_replace_an_undo() {
    let mut world = shrunk();
    world.cpu.throttled3 = Some(0.5);
    world.report();
    assert!(
        world
            .resize
            .plan(world.at(), &world.facts, wanted(Purpose::Shrink, sizes((100, 300), (64, 128))))
            .is_err()
    );
    assert_eq!(world.write(), first());
}

#[test]
fn an_oom_kill_counts_after_a_restart_and_until_memory_has_grown() {
    let mut world = World::new();
    world.events(0, 1);
    world.report();
    (world.facts.containers[0].restarts, world.memory.events_delta) = (1, None);
    world.watch();
    world.report();
    let killed = MemoryEventCounts { max: 0, oom_kill: 1 };
    assert_eq!(world.resize.memory_events("app"), killed);
    world.resized(Purpose::Grow, more());
    assert_eq!(world.resize.memory_events("app"), killed, "CPU grew");
    let recent = |world: &World| world.resize.recent_memory_events(world.at(), "app");
    assert_eq!(recent(&world), killed);
    world.resized(Purpose::Grow, sizes((400, 1000), (64, 256)));
    assert_eq!(recent(&world), MemoryEventCounts::default());
}

#[test]
fn hits_of_the_limit_call_for_growth_for_a_minute_and_kills_for_ten() {
    let mut world = World::new();
    world.events(3, 1);
    world.report();
    world.events(0, 0);
    let recent = |world: &World| world.resize.recent_memory_events(world.at(), "app");
    world.wait(60);
    assert_eq!(recent(&world), MemoryEventCounts { max: 3, oom_kill: 1 });
    world.wait(1);
    assert_eq!(recent(&world), MemoryEventCounts { max: 0, oom_kill: 1 });
    world.wait(540);
    assert_eq!(recent(&world), MemoryEventCounts::default());
    world.events(1, 1);
    world.report();
    world.events(0, 0);
    world.resized(Purpose::Grow, sizes((200, 500), (64, 256)));
    assert_eq!(recent(&world), MemoryEventCounts::default(), "memory has grown for them");
}

#[test]
fn that_a_resource_is_at_its_maximum_is_said_once_an_hour_until_it_grew() {
    let mut world = World::new();
    let said = |world: &mut World, resource| {
        world.resize.at_maximum(world.at(), "app", resource, "at its maximum".to_owned());
        world.happened().len()
    };
    assert_eq!((said(&mut world, Resource::Memory), said(&mut world, Resource::Memory)), (1, 0));
    assert_eq!(said(&mut world, Resource::Cpu), 1);
    world.wait(3599);
    assert_eq!(said(&mut world, Resource::Memory), 0);
    world.wait(1);
    assert_eq!(said(&mut world, Resource::Memory), 1);
    world.wait(1);
    world.resized(Purpose::Grow, sizes((200, 500), (64, 256)));
    assert_eq!((said(&mut world, Resource::Memory), said(&mut world, Resource::Memory)), (1, 0));
}

#[test]
fn the_time_since_pressure_counts_from_the_last_call_for_growth_of_that_resource() {
    let mut world = World::new();
    let since = |world: &World, resource| world.resize.since_pressure(world.at(), "app", resource);
    world.report();
    assert_eq!((since(&world, Resource::Cpu), since(&world, Resource::Memory)), (None, None));
    world.cpu.throttled2 = Some(0.3);
    world.report();
    world.cpu.throttled2 = None;
    world.wait(10);
    world.report();
    assert_eq!(since(&world, Resource::Cpu), Some(Duration::from_secs(10)));
    assert_eq!(since(&world, Resource::Memory), None);
    world.memory.unreclaimable = Some(Bytes(120 << 20));
    world.report();
    assert_eq!(since(&world, Resource::Memory), Some(Duration::ZERO));
    world.wait(5);
    world.resize.pressed(world.at(), "app", Resource::Cpu);
    assert_eq!(since(&world, Resource::Cpu), Some(Duration::ZERO));
    assert_eq!(world.resize.since_growth(world.at(), "app", Resource::Cpu), None);
}

#[test]
fn what_cpu_grew_for_is_remembered_for_a_day() {
    let mut history = History::default();
    let hours = |hours: u64| Moment(Duration::from_secs(hours * 3600));
    let grew = |used, throttled_to| Wanted {
        growths: BTreeMap::from([("app".to_owned(), CpuGrowth { used, throttled_to })]),
        ..wanted(Purpose::Grow, Sizes::default())
    };
    history.accepted(hours(1), &BTreeMap::new(), &grew(900, None));
    history.accepted(hours(1), &BTreeMap::new(), &grew(300, Some(800)));
    history.accepted(hours(20), &BTreeMap::new(), &grew(500, None));
    assert_eq!(history.cpu_growth(hours(21), "app"), Some(CpuGrowth { used: 900, throttled_to: Some(800) }));
    assert_eq!(history.cpu_growth(hours(26), "app"), Some(CpuGrowth { used: 500, throttled_to: None }));
    assert_eq!((history.cpu_growth(hours(45), "app"), history.cpu_growth(hours(21), "proxy")), (None, None));
}

/// A growth of memory from `less`.
fn less_with_more_memory() -> Sizes {
    Sizes { memory: sizes((0, 0), (64, 256)).memory, ..less() }
}

#[test]
fn a_resize_of_another_resource_does_not_end_the_watch_of_a_shrink() {
    let mut world = shrunk();
    world.wait(10);
    world.resized(Purpose::Grow, less_with_more_memory());
    world.wait(10);
    world.cpu.throttled3 = Some(0.06);
    world.report();
    assert!(matches!(world.happened()[..], [What::Undone { .. }]));
    assert_eq!(world.write(), Sizes { cpu: first().cpu, ..less_with_more_memory() }, "its memory stays");
    // One of the same resource does.
    let mut grown = shrunk();
    grown.resized(Purpose::Grow, more());
    grown.cpu.throttled3 = Some(0.9);
    grown.report();
    assert_eq!(grown.happened(), []);
}

#[test]
fn harm_that_is_seen_while_something_else_is_under_way_is_undone_after_it() {
    let mut world = shrunk();
    world.wait(50);
    world.plan(Purpose::Grow, less_with_more_memory());
    world.write();
    world.cpu.throttled3 = Some(0.06);
    world.report();
    world.cpu.throttled3 = None;
    world.wait(20);
    assert_eq!(world.happened(), [], "the growth of memory is not in the kernel yet");
    world.kubelet_acts();
    world.report();
    let happened = world.happened();
    assert!(matches!(happened[0], What::Verified { purpose: Purpose::Grow, .. }), "{happened:?}");
    let seen = "app: throttled in 6 % of the periods".to_owned();
    assert_eq!(happened[1..], [What::Undone { seen }]);
    assert_eq!(world.write(), Sizes { cpu: first().cpu, ..less_with_more_memory() });
}

/// Down to `less`, throttled there, and back.
fn undone() -> World {
    let mut world = shrunk();
    world.cpu.throttled3 = Some(0.06);
    world.report();
    assert_eq!(world.write(), first());
    world.cpu.throttled3 = None;
    world.kubelet_acts();
    world.report();
    world.happened();
    world
}

#[test]
fn what_a_shrink_did_harm_to_does_not_shrink_below_the_size_before_for_a_day() {
    let mut world = undone();
    let shrink =
        |world: &mut World| world.resize.plan(world.at(), &world.facts, wanted(Purpose::Shrink, less()));
    world.wait(600);
    assert!(matches!(shrink(&mut world), Err(NotPlanned::Harmful { .. })));
    // Another resource shrinks all the same, and what grew since shrinks down to that size.
    world.plan(Purpose::Shrink, sizes((160, 400), (50, 100)));
    assert_eq!(world.write(), sizes((200, 500), (50, 100)));
    world.kubelet_acts();
    world.report();
    world.happened();
    world.resized(Purpose::Grow, sizes((400, 1000), (50, 100)));
    world.plan(Purpose::Shrink, sizes((160, 400), (50, 100)));
    assert_eq!(world.write(), sizes((200, 500), (50, 100)));
    let mut later = undone();
    later.now += Duration::from_secs(24 * 3600);
    assert_eq!(shrink(&mut later), Ok(()));
}

#[test]
fn a_shrink_of_memory_that_did_harm_is_not_made_again_either() {
    let mut world = World::new();
    let to = sizes((200, 500), (50, 100));
    world.resized(Purpose::Shrink, to);
    world.events(1, 0);
    world.report();
    world.memory.events_delta = None;
    world.write();
    world.kubelet_acts();
    world.report();
    world.wait(600);
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Shrink, to));
    assert!(matches!(again, Err(NotPlanned::Harmful { .. })), "{again:?}");
}

#[test]
fn the_next_leader_knows_from_the_record_what_did_harm() {
    let mut world = undone();
    world.wait(600);
    world.taken_over();
    world.report();
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Shrink, less()));
    assert!(matches!(again, Err(NotPlanned::Harmful { .. })), "{again:?}");
}

#[test]
fn an_oom_kill_that_was_reported_before_a_takeover_counts_after_it_unless_memory_grew_meanwhile() {
    for is_leading in [true, false] {
        let mut world = World::new();
        world.events(2, 1);
        if is_leading {
            world.report();
        } else {
            world.report_to_follower();
        }
        world.memory.events_delta = None;
        world.taken_over();
        let recent = |world: &World| world.resize.recent_memory_events(world.at(), "app");
        assert_eq!(recent(&world), MemoryEventCounts { max: 2, oom_kill: 1 });
        // Another leader had memory grow meanwhile.
        world.write_spec(sizes((200, 500), (64, 256)));
        world.taken_over();
        assert_eq!(recent(&world), MemoryEventCounts::default());
    }
}

#[test]
fn a_follower_counts_memory_events_since_memory_grew_last() {
    let mut world = World::new();
    world.events(2, 1);
    world.report_to_follower();
    world.write_spec(sizes((200, 500), (64, 256)));
    world.events(1, 0);
    world.report_to_follower();
    let recent = world.resize.recent_memory_events(world.at(), "app");
    assert_eq!(recent, MemoryEventCounts { max: 1, oom_kill: 0 });
}
