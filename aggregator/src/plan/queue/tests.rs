use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn pod(namespace: usize, pod: usize) -> PodName {
    PodName::new(&format!("ns{namespace}"), &format!("p{pod}"))
}

/// Sends everything.
fn drain(queue: &mut WriteQueue) -> Vec<PodName> {
    let sent = std::iter::from_fn(|| {
        let next = queue.next(true, false, |_, _| false)?;
        queue.sent(&next);
        Some(next)
    });
    sent.collect()
}

#[test]
fn orders_one_after_another_and_within_one_the_pod_that_waited_longest() {
    let mut queue = WriteQueue::default();
    for (second, name, order) in [
        (1, "retry", Order::Retry),
        (2, "repair", Order::Repair),
        (3, "withdrawal", Order::Withdrawal),
        (4, "first", Order::First),
        (5, "silence", Order::Silence),
        (6, "b", Order::Transition),
        (7, "a", Order::Transition),
        (8, "b", Order::Transition),
    ] {
        queue.push(at(second), &PodName::new("shop", name), order);
    }
    let mut order: Vec<_> = drain(&mut queue).iter().map(|pod| pod.name.to_string()).collect();
    // The fourth write goes to the second order in which something waits.
    assert_eq!(order.remove(3), "withdrawal");
    assert_eq!(order, ["b", "a", "first", "silence", "repair", "retry"]);
}

#[test]
fn a_thousand_pods_of_one_namespace_delay_a_pod_of_another_by_one_write() {
    let mut queue = WriteQueue::default();
    (0..1000).for_each(|n| queue.push(at(0), &pod(0, n), Order::Transition));
    queue.push(at(1), &pod(1, 0), Order::Transition);
    assert_eq!(drain(&mut queue)[1], pod(1, 0));
}

#[test]
fn three_of_four_writes_go_to_the_first_order_and_no_order_waits_for_ever() {
    let mut queue = WriteQueue::default();
    for order in Order::ALL.into_iter().filter(|order| *order != Order::Resize) {
        (0..100).for_each(|n| queue.push(at(0), &PodName::new(order.as_str(), &format!("{n:03}")), order));
    }
    let sent: Vec<_> = drain(&mut queue).into_iter().take(64).collect();
    let count = |order: Order| sent.iter().filter(|pod| &*pod.namespace == order.as_str()).count();
    assert_eq!(Order::ALL.map(count), [0, 48, 12, 3, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn the_second_half_of_a_resize_goes_before_all_others_and_takes_no_turn_of_theirs() {
    let mut queue = WriteQueue::default();
    (0..100).for_each(|n| queue.push(at(0), &pod(0, n), Order::Growth));
    (0..100).for_each(|n| queue.push(at(0), &pod(1, n), Order::First));
    let mut sent = Vec::new();
    for _ in 0..16 {
        let next = queue.next(true, false, |_, _| false).unwrap();
        queue.sent(&next);
        sent.push(next.namespace.to_string());
        // Of each, the record is followed by the resize.
        queue.push(at(1), &PodName::new("resized", "p"), Order::Resize);
        let next = queue.next(true, false, |_, _| false).unwrap();
        assert_eq!(&*next.namespace, "resized");
        queue.sent(&next);
    }
    assert_eq!(sent.iter().filter(|namespace| *namespace == "ns1").count(), 4);
}

#[test]
fn what_is_left_of_a_scarce_budget_is_kept_for_growth_but_after_three_of_growth_one_goes_to_the_others() {
    let mut queue = WriteQueue::default();
    let next = |queue: &mut WriteQueue| {
        let next = queue.next(true, true, |_, _| false);
        next.inspect(|pod| queue.sent(pod)).map(|pod| pod.namespace.to_string())
    };
    for order in [Order::First, Order::Probe] {
        (0..100).for_each(|n| queue.push(at(0), &PodName::new(order.as_str(), &format!("{n:03}")), order));
    }
    assert_eq!(next(&mut queue), None, "no growth waits: nothing is taken from what may come");
    (0..100).for_each(|n| queue.push(at(1), &PodName::new("growth", &format!("{n:03}")), Order::Growth));
    let sent: Vec<_> = (0..32).filter_map(|_| next(&mut queue)).collect();
    let count = |order: Order| sent.iter().filter(|namespace| *namespace == order.as_str()).count();
    assert_eq!([Order::Growth, Order::First, Order::Probe].map(count), [24, 6, 2]);
    assert_eq!(sent[..5], ["growth", "growth", "growth", "first", "growth"]);
}

#[test]
fn a_resize_that_its_node_has_no_room_for_is_withdrawn_among_growth() {
    let order = |reason| Order::of(reason, false);
    let urgent = [Reason::Grow, Reason::Birth, Reason::Undo, Reason::Revert].map(order);
    assert_eq!(urgent, [Order::Growth; 4]);
    assert_eq!(order(Reason::Shrink), Order::Shrink);
}

#[test]
fn slow_and_full_namespaces_are_passed_over_and_keep_their_turn() {
    let mut queue = WriteQueue::default();
    (0..3).for_each(|n| queue.push(at(0), &pod(n, 0), Order::First));
    assert!(queue.set_slow(&pod(0, 0).namespace, at(60)) && !queue.set_slow(&pod(0, 0).namespace, at(70)));
    assert_eq!(queue.next(true, false, |_, _| false), Some(pod(0, 0)));
    assert_eq!(queue.next(false, false, |_, _| false), Some(pod(1, 0)));
    assert_eq!(queue.next(false, false, |_, namespace| namespace == "ns1"), Some(pod(2, 0)));
    assert_eq!(queue.next(false, false, |_, namespace| namespace != "ns0"), None);
    assert_eq!(queue.next(true, false, |order, _| order == Order::First), None);
    assert_eq!(queue.forget_slow(at(69)), []);
    assert_eq!(queue.forget_slow(at(70)), [pod(0, 0).namespace]);
    assert_eq!(queue.next(false, false, |_, _| false), Some(pod(0, 0)));
    assert_eq!(drain(&mut queue).len(), 3);
    assert!(queue.turns.is_empty() && queue.waiting.is_empty() && queue.order_of.is_empty());
}

/// One thing that happens to a queue.
#[derive(Debug, Clone)]
enum Step {
    Push(usize, usize, usize),
    Remove(usize, usize),
    Slow(usize, bool),
    /// Whether the budget is scarce.
    Send(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..12_usize, 0..Order::ALL.len()).prop_map(|(n, p, order)| Step::Push(n, p, order)),
        1 => (0..4_usize, 0..12_usize).prop_map(|(n, p)| Step::Remove(n, p)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(n, slow)| Step::Slow(n, slow)),
        3 => prop::bool::weighted(0.3).prop_map(Step::Send),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever waits: within an order, between two writes of one namespace each other that waits all the time has one; every order in which
    /// something waits has a write in time; a pod waits once and is written once.
    #[test]
    fn namespaces_take_turns_and_nothing_waits_for_ever(steps in prop::collection::vec(step(), 1..400)) {
        let mut queue = WriteQueue::default();
        let mut model: BTreeMap<PodName, Order> = BTreeMap::new();
        // Writes in its order since a namespace began to wait there, or had its last turn.
        let mut passed: BTreeMap<(Order, Arc<str>), BTreeMap<Arc<str>, usize>> = BTreeMap::new();
        let mut unserved: BTreeMap<Order, u32> = BTreeMap::new();
        for (second, step) in (0..).zip(steps) {
            match step {
                Step::Push(n, p, order) => {
                    queue.push(at(second), &pod(n, p), Order::ALL[order]);
                    model.insert(pod(n, p), Order::ALL[order]);
                }
                Step::Remove(n, p) => {
                    queue.remove(&pod(n, p));
                    model.remove(&pod(n, p));
                }
                Step::Slow(n, true) => drop(queue.set_slow(&pod(n, 0).namespace, at(second + 5))),
                Step::Slow(..) => drop(queue.forget_slow(at(second))),
                Step::Send(is_scarce) => {
                    let next = queue.next(true, is_scarce, |_, _| false);
                    let is_kept = is_scarce && !model.values().any(|order| order.is_urgent());
                    prop_assert_eq!(next.is_none(), model.is_empty() || is_kept);
                    let Some(next) = next else { continue };
                    queue.sent(&next);
                    let order = model.remove(&next);
                    let Some(order) = order else { return Err(TestCaseError::fail("it did not wait")) };
                    passed.remove(&(order, next.namespace.clone()));
                    for ((_, other), by) in passed.iter_mut().filter(|((o, _), _)| *o == order) {
                        let count = by.entry(next.namespace.clone()).or_default();
                        *count += 1;
                        prop_assert!(*count <= 1, "{:?} went twice before {:?} in {:?}", next, other, order);
                    }
                    unserved.remove(&order);
                    for (waiting, count) in &mut unserved {
                        *count += u32::from(order != Order::Resize);
                        let index = Order::ALL.iter().position(|o| o == waiting);
                        let bound = 4_u32.pow(index.unwrap_or_default() as u32);
                        prop_assert!(*count <= bound, "{:?} had no write in {}", waiting, count);
                    }
                }
            }
            let waits: BTreeSet<_> = model.iter().map(|(pod, order)| (*order, pod.namespace.clone())).collect();
            passed.retain(|key, _| waits.contains(key));
            for key in &waits {
                passed.entry(key.clone()).or_default();
                unserved.entry(key.0).or_default();
            }
            unserved.retain(|order, _| waits.iter().any(|(o, _)| o == order));
            prop_assert_eq!(queue.waiting().values().sum::<u64>(), model.len() as u64);
        }
        prop_assert_eq!(drain(&mut queue).into_iter().collect::<BTreeSet<_>>(), model.into_keys().collect());
    }
}
