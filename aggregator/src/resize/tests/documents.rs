//! The two annotations.

use std::collections::BTreeMap;

use plimsoll_contract::keys;
use plimsoll_contract::roster::ContainerKind;
use plimsoll_sizing::size::{Size, Sizes};
use proptest::prelude::*;

use super::world::{World, app, first, less, more, wanted};
use crate::resize::annotations::{decode, in_quantities};
use crate::resize::{Blocked, NotPlanned, Purpose, Step, Wanted, original_on};

#[test]
fn the_original_is_written_once_and_kept_to_the_byte() {
    let mut world = World::new();
    world.resized(Purpose::Grow, more());
    let text = world.facts.annotations[keys::ORIGINAL_RESOURCES].clone();
    let pods =
        r#"{"app":{"requests":{"cpu":"200m","memory":"64Mi"},"limits":{"cpu":"500m","memory":"128Mi"}}}"#;
    assert_eq!(text, pods);
    world.resized(Purpose::Shrink, less());
    assert_eq!(world.facts.annotations[keys::ORIGINAL_RESOURCES], text);
}

#[test]
fn both_belong_to_the_complete_set_of_keys_before_the_watch_shows_them_too() {
    let mut world = World::new();
    assert_eq!(world.resize.annotations(&world.facts), BTreeMap::new());
    world.plan(Purpose::Grow, more());
    let Step::Record(record) = world.resize.next(world.time(), &world.facts) else { panic!() };
    world.resize.sent(world.time(), &world.facts);
    world.resize.recorded(world.at(), world.pod_version());
    assert_eq!(world.resize.annotations(&world.facts), record.annotations);
    world.facts.annotations.extend(record.annotations.clone());
    world.watch();
    assert_eq!(world.resize.annotations(&world.facts), record.annotations);
}

#[test]
fn a_strangers_value_is_no_original_and_without_one_nothing_is_resized() {
    let strangers = [
        "",
        "{}",
        "null",
        "[]",
        "x",
        r#"{"app":{"limits":{"cpu":"-1"}}}"#,
        r#"{"app":{"limits":{"cpu":"abc"}}}"#,
        r#"{"app":1}"#,
    ];
    for text in strangers {
        let mut world = World::new();
        world.facts.annotations.insert(keys::ORIGINAL_RESOURCES.to_owned(), text.to_owned());
        let message = original_on(&world.facts).unwrap_err();
        assert!(message.contains("shop/web-0"), "{message}");
        let refused = Err(NotPlanned::Blocked(Blocked::Original { message }));
        assert_eq!(world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more())), refused);
    }
}

#[test]
fn a_strangers_decision_is_ignored() {
    for text in [
        "",
        "{}",
        "x",
        r#"{"at":"2026-11-28T00:00:00Z","reason":"whim","class":"","from":{},"to":{},"why":""}"#,
    ] {
        let mut world = World::new();
        world.facts.annotations.insert(keys::DECISION.to_owned(), text.to_owned());
        world.taken_over();
        assert_eq!(world.state(), "idle");
        world.resized(Purpose::Grow, more());
    }
}

#[test]
fn what_is_not_set_is_never_set_and_what_is_set_is_never_removed() {
    let unlimited = |sizes: Sizes| Sizes { cpu: Size { limit: None, ..sizes.cpu }, ..sizes };
    let mut world = World::new();
    let refused = Err(NotPlanned::Shape { container: "app".to_owned() });
    assert_eq!(
        world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, unlimited(more()))),
        refused
    );
    let stranger =
        Wanted { sizes: BTreeMap::from([("db".to_owned(), more())]), ..wanted(Purpose::Grow, more()) };
    let refused = Err(NotPlanned::Shape { container: "db".to_owned() });
    assert_eq!(world.resize.plan(world.at(), &world.facts, stranger), refused);
    let same = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, first()));
    assert_eq!(same, Err(NotPlanned::Unchanged));
}

#[test]
fn long_arithmetic_is_cut_and_too_many_containers_are_not_resized() {
    let mut world = World::new();
    let why = vec!["\"é\u{1}".repeat(2000)];
    world.resize.plan(world.at(), &world.facts, Wanted { why, ..wanted(Purpose::Grow, more()) }).unwrap();
    let Step::Record(record) = world.resize.next(world.time(), &world.facts) else { panic!() };
    let length = record.annotations[keys::DECISION].len();
    assert!((4000..=4096).contains(&length), "{length}");
    assert!(!record.decision.why.is_empty());

    let mut crowd = World::new();
    let container = crowd.facts.containers[0].clone();
    for index in 0..60 {
        let name = format!("container-{index}");
        crowd.facts.containers.push(crate::facts::ContainerFacts { name, id: None, ..container.clone() });
    }
    let result = crowd.resize.plan(crowd.at(), &crowd.facts, wanted(Purpose::Grow, more()));
    assert!(
        matches!(&result, Err(NotPlanned::Blocked(Blocked::Original { message })) if message.contains("too many")),
        "{result:?}"
    );
}

#[test]
fn init_containers_are_neither_recorded_nor_resized() {
    let mut world = World::new();
    let mut init = world.facts.containers[0].clone();
    (init.name, init.kind) = ("setup".to_owned(), ContainerKind::Init);
    world.facts.containers.push(init);
    world.resized(Purpose::Grow, more());
    assert_eq!(original_on(&world.facts), Ok(Some(app(first()))));
}

fn size() -> impl Strategy<Value = Size> {
    let amount = || proptest::option::of(prop_oneof![1_u64..100_000, 1_u64..1 << 50]);
    (amount(), amount()).prop_map(|(request, limit)| Size { request, limit })
}

proptest! {
    #[test]
    fn sizes_read_back_as_they_were_written(
        sizes in proptest::collection::btree_map("[a-z]{1,8}", (size(), size()).prop_map(|(cpu, memory)| Sizes { cpu, memory }), 0..5),
    ) {
        prop_assert_eq!(decode(&in_quantities(&sizes)), Some(sizes));
    }

    #[test]
    fn no_text_in_the_annotations_stops_a_leader(original in "\\PC{0,100}", decision in "\\PC{0,100}") {
        let mut world = World::new();
        world.facts.annotations.insert(keys::ORIGINAL_RESOURCES.to_owned(), original);
        world.facts.annotations.insert(keys::DECISION.to_owned(), decision);
        world.taken_over();
        world.report();
        world.watch();
        world.wait(3);
        world.nothing_is_due();
    }
}
