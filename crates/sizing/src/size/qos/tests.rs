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
fn a_change_that_makes_every_request_its_limit_changes_the_class() {
    let memory = size(64, 64);
    let changes = |from: Size, to: Size| qos_changes(&[sizes(from, memory)], &[sizes(to, memory)]);
    assert!(changes(size(200, 400), size(400, 400)));
    assert!(!changes(size(200, 400), size(390, 400)));
    assert!(!changes(size(100, 100), size(200, 200)));
}
