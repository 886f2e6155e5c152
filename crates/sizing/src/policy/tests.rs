use super::*;

fn size(request: u64, limit: u64) -> Size {
    Size { request: Some(request), limit: Some(limit) }
}

#[test]
fn the_classes_that_ship_have_the_numbers_of_the_table_and_answer_to_their_aliases() {
    let rows = ["gold", "silver", "bronze"].map(|name| {
        let p = Policy::builtin(name).unwrap();
        let (cpu, memory) = (&p.cpu, &p.memory);
        let targets = [cpu, memory].map(|r| (r.target_of_limit, r.target_of_request));
        (
            targets,
            cpu.max_step,
            p.up_cooldown.as_secs(),
            p.down_hold.as_secs() / 60,
            cpu.min_allowed,
            memory.max_allowed,
        )
    });
    let percent = Bound::OfOriginal;
    assert_eq!(rows[0], ([(0.4, 0.6), (0.7, 0.8)], 1.0, 10, 60, percent(100), Some(percent(400))));
    assert_eq!(rows[1], ([(0.5, 0.75), (0.8, 0.9)], 1.0, 20, 20, percent(50), Some(percent(300))));
    assert_eq!(rows[2], ([(0.6, 0.9), (0.85, 0.95)], 0.5, 60, 5, Bound::Amount(10), Some(percent(200))));
    assert_eq!(Policy::builtin("bronze").unwrap().memory.min_allowed, Bound::Amount(16 << 20));
    for (alias, name) in [("premium", "gold"), ("advanced", "silver"), ("besteffort", "bronze")] {
        assert_eq!(Policy::builtin(alias), Policy::builtin(name));
    }
    assert_eq!(Policy::builtin("platinum"), None);
}

#[test]
fn cpu_is_bounded_by_half_of_the_node_and_a_wrong_original_is_no_bound() {
    let gold = Policy::builtin("gold").unwrap();
    let bounds = gold.cpu.bounds(size(100, 200), size(100, 200), Some(8000));
    assert_eq!(
        (bounds.request, bounds.limit),
        (Bounds { min: 100, max: 4000 }, Bounds { min: 200, max: 4000 })
    );
}

#[test]
fn memory_is_bounded_by_its_class_and_by_half_of_the_node() {
    let gold = Policy::builtin("gold").unwrap();
    assert_eq!(
        gold.memory.bounds(size(100, 200), size(100, 200), Some(10_000)).limit,
        Bounds { min: 200, max: 800 }
    );
    assert_eq!(
        gold.memory.bounds(size(100, 200), size(100, 200), Some(1_000)).limit,
        Bounds { min: 200, max: 500 }
    );
}

#[test]
fn an_amount_as_maximum_replaces_the_share_of_the_node_and_wins_over_the_minimum() {
    let mut policy = Policy::builtin("gold").unwrap().cpu;
    policy.max_allowed = Some(Bound::Amount(6000));
    assert_eq!(policy.bounds(size(100, 200), size(100, 200), Some(8000)).limit.max, 6000);
    policy.max_allowed = Some(Bound::Amount(150));
    assert_eq!(
        policy.bounds(size(100, 200), size(100, 200), Some(8000)).limit,
        Bounds { min: 150, max: 150 }
    );
}

#[test]
fn the_original_is_within_the_bounds_also_on_a_small_node_and_where_the_node_is_not_known() {
    let gold = Policy::builtin("gold").unwrap();
    assert_eq!(
        gold.cpu.bounds(size(100, 3000), size(100, 2000), Some(4000)).limit,
        Bounds { min: 3000, max: 3000 }
    );
    // unknown is not unlimited
    assert_eq!(gold.cpu.bounds(size(100, 300), size(100, 300), None).limit, Bounds { min: 300, max: 300 });
}

#[test]
fn an_original_that_no_node_could_have_given_is_no_bound() {
    // Anybody who may change the pod may write the annotation that it is read from.
    let (claimed, now) = (size(900_000, 900_000), size(100, 200));
    for name in ["gold", "silver", "bronze"] {
        let class = Policy::builtin(name).unwrap();
        for resource in [&class.cpu, &class.memory] {
            let bounds = resource.bounds(claimed, now, Some(4000));
            assert!(bounds.request.max <= 4000 && bounds.limit.max <= 4000, "{name}: {bounds:?}");
            let unknown = resource.bounds(claimed, now, None);
            assert_eq!((unknown.request.max, unknown.limit.max), (100, 200), "{name}: nothing grows");
        }
    }
}

#[test]
fn sizes_may_be_decreased_only_within_the_windows_also_across_midnight_and_the_end_of_the_week() {
    let mut policy = Policy::builtin("gold").unwrap();
    assert!(policy.may_decrease_at(3, 600), "no schedule: always");
    policy.schedule = vec![Window { days: vec![7], from: 22 * 60, to: 4 * 60 }];
    let open = [(7, 22 * 60), (7, 1439), (1, 0), (1, 239)];
    let shut = [(7, 1319), (7, 0), (1, 240), (1, 1400), (2, 0)];
    assert!(open.iter().all(|(day, minute)| policy.may_decrease_at(*day, *minute)));
    assert!(!shut.iter().any(|(day, minute)| policy.may_decrease_at(*day, *minute)));
    policy.schedule = vec![Window { days: vec![], from: 60, to: 120 }];
    assert!(policy.may_decrease_at(4, 60) && !policy.may_decrease_at(4, 120));
    // a window that ends when it begins is a whole day
    policy.schedule = vec![Window { days: vec![2], from: 60, to: 60 }];
    assert!(policy.may_decrease_at(2, 60) && policy.may_decrease_at(3, 59) && !policy.may_decrease_at(3, 60));
}
