use super::*;

fn size(request: u64, limit: u64) -> Size {
    Size { request: Some(request), limit: Some(limit) }
}

fn sizes(cpu: Size, memory: Size) -> Sizes {
    Sizes { cpu, memory }
}

#[test]
fn the_class_is_that_of_all_containers() {
    let fixed = sizes(size(100, 100), size(64, 64));
    let only_limits = sizes(Size { request: None, limit: Some(100) }, size(64, 64));
    let nothing = Sizes::default();
    let zero = sizes(Size { request: Some(0), limit: None }, Size::default());
    for (containers, class) in [
        (vec![fixed, fixed], QosClass::Guaranteed),
        (vec![only_limits], QosClass::Guaranteed),
        (vec![fixed, nothing], QosClass::Burstable),
        (vec![sizes(size(100, 200), size(64, 64))], QosClass::Burstable),
        (vec![sizes(size(100, 100), Size::default())], QosClass::Burstable),
        (vec![nothing, zero], QosClass::BestEffort),
    ] {
        assert_eq!(qos(&containers), class, "{containers:?}");
    }
}

#[test]
fn burstable_does_not_become_guaranteed_vpa_scenario_7() {
    const MI: u64 = 1 << 20;
    let old = [sizes(size(200, 400), size(256 * MI, 256 * MI))];
    let mut new = [sizes(size(400, 400), size(256 * MI, 256 * MI))];
    assert!(qos_changes(&old, &new));
    keep_qos(&old, &mut new);
    assert!(!qos_changes(&old, &new));
    assert_eq!(new[0], sizes(size(390, 400), size(256 * MI, 256 * MI)));
}

#[test]
fn the_smallest_limit_and_other_classes_are_kept_too() {
    let old = [sizes(size(5, 10), size(64, 64))];
    let mut new = [sizes(size(10, 10), size(64, 64))];
    keep_qos(&old, &mut new);
    assert_eq!(new[0].cpu, size(5, 10));
    let fixed = [sizes(size(100, 100), size(64, 64))];
    let mut grown = [sizes(size(200, 200), size(64, 64))];
    keep_qos(&fixed, &mut grown);
    assert_eq!(grown, [sizes(size(200, 200), size(64, 64))]);
}
