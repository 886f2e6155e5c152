//! Growth and what else is written share the budget: neither keeps the other waiting for ever. And what is kept of each pod and node.

use super::*;
use crate::input::RefusalKind;
use crate::plan::queue::Order;

const SECOND: Duration = Duration::from_secs(1);

/// Pods 0 to 99 are throttled; of all others the loads are low. To be repeated within 3 s, as agents do: growth is planned from nothing older.
fn flood(harness: &mut Harness) -> Vec<Action> {
    let numbers: Vec<usize> =
        harness.pods.keys().filter_map(|pod| pod.name.strip_prefix('p')?.parse().ok()).collect();
    let see = |n: usize| match n {
        0..100 => harness.seen(n, 0.5, 0.8),
        _ => load(n, Band::Low, Band::Low),
    };
    let pods = numbers.into_iter().map(see).collect();
    harness.report(0, false, pods)
}

fn growth_waits(harness: &Harness) -> u64 {
    harness.core.counts(harness.now()).pending.get(&Order::Growth).copied().unwrap_or(0)
}

#[test]
fn growth_that_comes_faster_than_it_is_written_leaves_every_fourth_write_to_labels() {
    let mut harness = Harness::resizing((0..100).map(sized).chain((100..110).map(|n| facts(n, 0))).collect());
    let mut actions = flood(&mut harness);
    let labeled = |harness: &Harness| {
        (100..110).filter(|n| harness.pods[&name(*n)].labels.contains_key(keys::CPU_BAND)).count()
    };
    let mut first = None;
    for second in 0..18 {
        harness.land_all(actions);
        assert!(growth_waits(&harness) > 0, "{second}");
        first = first.or((labeled(&harness) > 0).then_some(second));
        actions = harness.wait(1);
        if second % 2 == 1 {
            actions.extend(flood(&mut harness));
        }
    }
    assert_eq!(first, Some(0));
    assert_eq!(labeled(&harness), 10, "of seven writes three record growth, three resize and one labels");
}

#[test]
fn growth_whose_writes_fill_the_places_in_flight_leaves_some_to_labels_of_every_namespace() {
    let bank = PodFacts { pod: PodName::new("bank", "p101"), ..facts(101, 0) };
    let bank_name = bank.pod.clone();
    let mut harness = Harness::resizing((0..100).map(sized).chain([facts(100, 0), bank]).collect());
    harness.show_namespace("bank");
    let mut open: std::collections::VecDeque<_> = writes(&flood(&mut harness)).into();
    // The answers come slower than the budget allows writes.
    for answered in 0..40 {
        assert!(open.len() <= 4 && growth_waits(&harness) > 0, "{answered}: {open:?}");
        harness.at += SECOND;
        let write = open.pop_front().unwrap();
        open.extend(writes(&harness.land(&write)));
        if answered % 2 == 1 {
            open.extend(writes(&flood(&mut harness)));
        }
    }
    for pod in [name(100), bank_name] {
        assert!(harness.pods[&pod].labels.contains_key(keys::CPU_BAND), "{pod}");
    }
}

#[test]
fn labels_whose_writes_hang_never_fill_the_places_in_flight_of_growth() {
    let mut pods: Vec<PodFacts> = (0..100).map(sized).collect();
    for n in 100..140 {
        pods.push(PodFacts {
            pod: PodName::new(&format!("tenant{}", n % 4), &format!("p{n}")),
            ..facts(n, 0)
        });
    }
    let mut harness = Harness::resizing(pods);
    (0..4).for_each(|tenant| harness.show_namespace(&format!("tenant{tenant}")));
    let mut open: std::collections::VecDeque<_> = writes(&flood(&mut harness)).into();
    let mut resized = 0;
    for second in 0..20 {
        harness.at += SECOND;
        let is_hanging = |write: &Write| write.pod.namespace.starts_with("tenant");
        assert!(open.iter().filter(|write| is_hanging(write)).count() <= 3, "{second}: {open:?}");
        let answered: Vec<_> = open.iter().filter(|write| !is_hanging(write)).cloned().collect();
        open.retain(is_hanging);
        for write in answered {
            resized += usize::from(write.is_resize());
            open.extend(writes(&harness.land(&write)));
        }
        if second % 2 == 1 {
            open.extend(writes(&flood(&mut harness)));
        }
    }
    assert!(resized >= 8, "one write each second: {resized}");
}

#[test]
fn a_resize_that_has_no_room_is_withdrawn_in_time_while_growth_of_others_waits() {
    let bank = PodFacts { pod: PodName::new("bank", "app"), ..sized(200) };
    let bank_name = bank.pod.clone();
    let mut harness = Harness::resizing((0..100).map(sized).chain([bank]).collect());
    harness.show_namespace("bank");
    let mut throttled = harness.seen(0, 0.5, 0.8);
    throttled.uid = uid(200);
    throttled.containers[0].id = container(200);
    let actions = harness.report(0, false, vec![throttled.clone()]);
    assert_eq!(resizes(&harness.land_all(actions)).len(), 1);
    let pod = harness.pods.get_mut(&bank_name).unwrap();
    pod.observed_generation = pod.generation;
    pod.conditions = vec![ConditionFacts {
        kind: "PodResizePending".into(),
        status: "True".into(),
        reason: Some("Deferred".into()),
        message: Some("Node didn't have enough resource: cpu".into()),
        observed_generation: pod.generation,
    }];
    harness.show(&bank_name);
    let mut withdrawn = None;
    for second in 0..36 {
        let mut actions = harness.wait(1);
        if second % 2 == 0 {
            actions.extend(harness.report(0, false, vec![throttled.clone()]));
        }
        if second >= 20 && second % 2 == 0 {
            actions.extend(flood(&mut harness));
        }
        let all = harness.land_all(actions);
        let is_withdrawal = |write: &Write| write.pod == bank_name && write.reason == Reason::Revert;
        withdrawn = withdrawn.or(resizes(&all).iter().any(is_withdrawal).then_some(second));
        assert!(second < 20 || growth_waits(&harness) > 0, "{second}");
    }
    assert!(withdrawn.is_some_and(|second| (28..34).contains(&second)), "{withdrawn:?}");
}

#[test]
fn shrinks_that_wait_for_the_budget_and_are_not_sent_are_none_of_too_many() {
    let bronze = |n| {
        let mut pod = sized(n);
        pod.labels.insert(keys::SLA.into(), "bronze".into());
        pod
    };
    let mut harness = Harness::resizing((0..12).map(bronze).collect());
    let idle = |harness: &mut Harness| {
        let pods = (0..12).map(|n| harness.seen(n, 0.02, 0.0)).collect();
        harness.report(0, true, pods)
    };
    let first = loop {
        assert!(harness.at < Duration::from_secs(1000));
        let mut actions = harness.wait(5);
        actions.extend(idle(&mut harness));
        let (shrinks, others): (Vec<_>, _) =
            writes(&actions).into_iter().partition(|w| w.reason == Reason::Shrink);
        harness.land_all(others.into_iter().map(Action::Write).collect());
        if !shrinks.is_empty() {
            break shrinks;
        }
    };
    for write in &first {
        harness.outcome(write, WriteResult::Throttled(Some(Duration::from_secs(20))));
    }
    // Whichever stands first in the queue now, in the order of names, loses its class before anything may be sent.
    for n in [10, 11, 2, 3, 4, 5, 6, 7, 8] {
        assert_eq!(harness.wait(1), []);
        assert_eq!(harness.edit(n, |pod| drop(pod.labels.remove(keys::SLA))), []);
    }
    let mut shrunk = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let mut actions = harness.wait(1);
        actions.extend(idle(&mut harness));
        let all = harness.land_all(actions);
        shrunk.extend(resizes(&all).into_iter().map(|write| write.pod));
    }
    assert_eq!(shrunk.into_iter().collect::<Vec<_>>(), [name(0), name(1), name(9)]);
}

#[test]
fn a_status_that_lacks_a_resource_makes_no_room_for_a_size_that_was_not_given() {
    let mut harness = Harness::resizing(vec![sized(1), sized(2)]);
    let live = |harness: &mut Harness| {
        let mut actions = harness.wait(5);
        actions.extend(harness.throttled(1));
        let mut sent = 0;
        let mut open: std::collections::VecDeque<_> = writes(&actions).into();
        while let Some(write) = open.pop_front() {
            sent += usize::from(write.is_resize());
            let next = match write.is_resize() {
                true => harness.outcome(
                    &write,
                    WriteResult::Refused(RefusalKind::NodeCapacity, "no node has that".into()),
                ),
                false => harness.land(&write),
            };
            open.extend(writes(&next));
        }
        sent
    };
    assert_eq!(live(&mut harness), 1);
    let lack = |lacking: fn(&mut Resources)| {
        move |pod: &mut PodFacts| {
            let app = &mut pod.containers[0];
            app.allocated.iter_mut().chain(&mut app.actual).for_each(lacking);
        }
    };
    // kubernetes/kubernetes#141814
    for lacking in [|r: &mut Resources| r.cpu_request = None, |r: &mut Resources| r.memory_request = None] {
        harness.edit(2, lack(lacking));
        assert_eq!((0..24).map(|_| live(&mut harness)).sum::<usize>(), 0, "nothing shrank");
        harness.kubelet(2);
        assert_eq!((0..24).map(|_| live(&mut harness)).sum::<usize>(), 0);
    }
    harness.edit(2, lack(|resources| resources.cpu_request = Some(Cores(0.1))));
    assert!((0..24).map(|_| live(&mut harness)).sum::<usize>() >= 1, "it shrank: asked again");
}

#[test]
fn pods_that_went_while_another_replica_led_are_forgotten() {
    let mut harness = Harness::resizing((0..4).map(sized).collect());
    let pods = (0..4).map(|n| harness.seen(n, 0.1, 0.0)).collect();
    let actions = harness.report(0, true, pods);
    harness.land_all(actions);
    let kept = |harness: &Harness| harness.core.resizing.pods.keys().cloned().collect::<Vec<_>>();
    assert_eq!(kept(&harness).len(), 4);
    harness.step(Input::Leading(None));
    for n in [0, 1] {
        let key = PodKey { pod: name(n), uid: uid(n).as_str().to_owned() };
        harness.step(Input::Pods(WatchEvent::Deleted(key)));
    }
    harness.step(Input::Leading(Some(9)));
    assert_eq!(kept(&harness), [name(2), name(3)]);
    // Also those that a new list does not have.
    harness.step(Input::Leading(None));
    harness.step(Input::Pods(WatchEvent::Listed(vec![harness.pods[&name(3)].clone()])));
    harness.step(Input::Leading(Some(10)));
    assert_eq!(kept(&harness), [name(3)]);
}
