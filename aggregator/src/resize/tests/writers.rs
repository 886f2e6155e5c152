//! Other writers of the spec, other hands in the kernel, and other pods of the same name.

use std::time::Duration;

use super::world::{World, first, less, more, sizes, wanted};
use crate::facts::PodFacts;
use crate::input::WatchEvent;
use crate::resize::{Blocked, NotPlanned, Purpose, What};
use crate::settings::Settings;
use crate::state::State;

const HOUR: Duration = Duration::from_secs(3600);

/// Our resize, and the operator that writes its own size back.
fn round(world: &mut World) {
    world.resized(Purpose::Grow, more());
    world.wait(5);
    world.facts.resized_by = Some("cnpg-operator".to_owned());
    world.write_spec(first());
    world.watch();
    world.kubelet_acts();
}

#[test]
fn an_operator_that_writes_its_own_size_back_gets_two_rounds_then_we_yield_for_an_hour_and_name_it() {
    let mut world = World::new();
    round(&mut world);
    assert_eq!((world.happened(), world.resize.yielding_until(world.at())), (vec![], None));
    round(&mut world);
    let (owner, until) = ("cnpg-operator".to_owned(), world.at() + HOUR);
    assert_eq!(world.happened(), [What::Yielded { owner: owner.clone(), until }]);
    assert_eq!(world.resize.yielding_until(world.at()), Some(until));
    let refused = Err(NotPlanned::Blocked(Blocked::Yielding { owner, until }));
    for purpose in [Purpose::Grow, Purpose::Shrink, Purpose::Birth] {
        let to = if purpose == Purpose::Shrink { less() } else { more() };
        assert_eq!(world.resize.plan(world.at(), &world.facts, wanted(purpose, to)), refused);
    }
    world.wait(3600);
    assert_eq!(world.resize.yielding_until(world.at()), None);
    world.resized(Purpose::Grow, more());
}

#[test]
fn another_writer_without_a_name_is_called_another_writer() {
    let mut world = World::new();
    for _ in 0..2 {
        world.resized(Purpose::Grow, more());
        world.write_spec(first());
        world.watch();
        world.kubelet_acts();
    }
    assert!(matches!(&world.happened()[..], [What::Yielded { owner, .. }] if owner == "another writer"));
}

#[test]
fn changes_that_are_further_apart_than_an_hour_are_no_quarrel() {
    let mut world = World::new();
    round(&mut world);
    world.wait(3600);
    round(&mut world);
    assert_eq!(world.happened(), []);
}

#[test]
fn an_older_state_of_the_pod_is_no_other_writers() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    world.record();
    world.send();
    // The response arrives before the watch.
    world.resize.accepted(world.at(), Some(2));
    for _ in 0..3 {
        world.watch();
    }
    assert_eq!((world.state(), world.happened()), ("accepted", vec![]));
    world.write_spec(more());
    world.watch();
    assert_eq!(world.state(), "accepted");
}

#[test]
fn a_resize_that_another_writer_overwrites_while_it_is_under_way_ends() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    world.write();
    world.deferred();
    world.write_spec(less());
    world.watch();
    assert!(!world.resize.busy(), "nothing is put back over what somebody else wrote");
    world.wait(60);
    world.nothing_is_due();
}

#[test]
fn a_kernel_that_differs_from_the_spec_for_a_minute_is_drift_said_once_and_nothing_is_sent() {
    let mut world = World::new();
    world.report();
    world.kernel = sizes((200, 600), (64, 128));
    world.report();
    world.wait(59);
    world.report();
    assert_eq!(world.happened(), []);
    world.wait(1);
    world.report();
    let text = "app: the kernel's CPU limit is 600m, the spec's 500m".to_owned();
    assert_eq!(world.happened(), [What::Drift { text: text.clone() }]);
    world.wait(60);
    world.report();
    assert_eq!(world.happened(), []);
    world.nothing_is_due();
    let refused = Err(NotPlanned::Blocked(Blocked::Drift { text }));
    assert_eq!(world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more())), refused);
    world.kernel = first();
    world.report();
    world.plan(Purpose::Grow, more());
}

#[test]
fn drift_of_cpu_does_not_keep_memory_from_growing_nor_is_it_said_again_because_of_that() {
    let mut world = World::new();
    world.kernel = sizes((200, 600), (64, 128));
    world.report();
    world.wait(60);
    world.report();
    assert!(matches!(world.happened()[..], [What::Drift { .. }]));
    let to = sizes((200, 500), (64, 256));
    world.plan(Purpose::Grow, to);
    assert_eq!(world.write(), to);
    world.kubelet_acts();
    // The kernel keeps the foreign quota.
    world.kernel = sizes((200, 600), (64, 256));
    world.report();
    let said = world.happened();
    assert!(matches!(said[..], [What::Verified { purpose: Purpose::Grow, .. }]), "{said:?}");
    for _ in 0..20 {
        world.wait(10);
        world.report();
    }
    assert_eq!(world.happened(), []);
    let cpu = wanted(Purpose::Grow, sizes((400, 1000), (64, 256)));
    let refused = world.resize.plan(world.at(), &world.facts, cpu);
    assert!(matches!(refused, Err(NotPlanned::Blocked(Blocked::Drift { .. }))), "{refused:?}");
}

#[test]
fn a_kernel_that_follows_another_writers_resize_within_a_minute_is_no_drift() {
    let mut world = World::new();
    world.kernel = less();
    world.report();
    world.wait(50);
    world.write_spec(more());
    world.facts.observed_generation = world.facts.generation;
    world.watch();
    world.report();
    world.wait(30);
    world.report();
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), []);
}

#[test]
fn another_pod_of_the_same_name_starts_without_a_past() {
    let world = World::new();
    let mut state = State::new(&Settings::default());
    let mut show = |facts: PodFacts| {
        let name = facts.pod.clone();
        state.observe_pods(world.at(), WatchEvent::Changed(Box::new(facts)));
        let pod = state.pods.get_mut(&name).unwrap();
        let was_busy = pod.resize.busy();
        let planned = pod.resize.plan(world.at(), &pod.facts, wanted(Purpose::Grow, more()));
        (was_busy, planned.is_ok())
    };
    assert_eq!(show(world.facts.clone()), (false, true));
    let labels = std::collections::BTreeMap::from([("plimsoll.dev/sla".to_owned(), "gold".to_owned())]);
    assert!(show(PodFacts { labels, ..world.facts.clone() }).0, "it is the same pod");
    let replaced = PodFacts { uid: "uid-2".to_owned(), ..world.facts.clone() };
    assert!(!show(replaced).0, "the uid is another");
}
