//! From the plan to the kernel.

use std::time::Duration;

use plimsoll_contract::keys;

use super::world::{World, app, first, more, wanted};
use crate::resize::{NotPlanned, Purpose, Step, What, decision_on, original_on};

#[test]
fn a_resize_is_recorded_then_sent_with_that_version_and_done_when_the_kernel_holds_it() {
    let mut world = World::new();
    world.nothing_is_due();
    world.plan(Purpose::Grow, more());
    assert_eq!((world.state(), world.resize.busy()), ("planned", true));
    world.record();
    assert_eq!(world.state(), "recorded");
    assert_eq!(original_on(&world.facts), Ok(Some(app(first()))));
    let decision = decision_on(&world.facts).unwrap();
    assert_eq!((decision.reason.as_str(), decision.class.as_str()), ("grow", "gold"));
    assert_eq!(decision.from["app"].limits["cpu"], "500m");
    assert_eq!(decision.to["app"].limits["cpu"], "1");
    assert_eq!(decision.why, "app +500m (500->1000): U 0.45, gold");
    assert_eq!(world.send(), more());
    assert_eq!(world.state(), "sent");
    world.nothing_is_due();
    world.accept(more());
    assert_eq!(world.state(), "accepted");
    world.condition("PodResizeInProgress", None, "");
    assert_eq!(world.state(), "in_progress");
    world.wait(2);
    world.report();
    assert_eq!(world.happened(), [], "the kernel still holds the old size");
    world.kubelet_acts();
    assert_eq!(world.happened(), [], "a condition that vanished is no proof");
    world.report();
    let took = Some(Duration::from_secs(2));
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took }]);
    assert_eq!((world.state(), world.resize.busy()), ("verified", false));
    world.nothing_is_due();
    assert!(world.facts.annotations.contains_key(keys::ORIGINAL_RESOURCES));
}

#[test]
fn while_a_resize_is_under_way_no_other_is_planned_and_its_reservation_stands() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    world.write();
    let other = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Shrink, first()));
    assert_eq!(other, Err(NotPlanned::Busy));
    let reserved = |resource| world.resize.reserved("app", resource);
    assert_eq!(reserved(plimsoll_contract::Resource::Cpu), Some([first().cpu, more().cpu]));
    assert_eq!(world.resize.next(world.time(), &world.facts), Step::Nothing);
}
