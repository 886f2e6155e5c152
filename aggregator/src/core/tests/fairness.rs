//! No pod, owner or tenant keeps the others from their labels. The pods of `tenant` are the trouble, those of `shop` the others.

use super::*;
use cluster::{Cluster, Fate, seconds};

mod cluster;

/// Writes per second with up to ten nodes, without the burst.
const RATE: f64 = 5.0;

fn refuse_tenant(write: &Write) -> Fate {
    if &*write.pod.namespace == "tenant" { Fate::Refused } else { Fate::Done }
}

fn strip_tenant(write: &Write) -> Fate {
    if &*write.pod.namespace == "tenant" { Fate::Stripped } else { Fate::Done }
}

fn hang_all_but_shop(write: &Write) -> Fate {
    if &*write.pod.namespace == "shop" { Fate::Done } else { Fate::Hangs }
}

#[test]
fn sixty_pods_that_step_at_once_are_labeled_at_the_budgets_rate_and_delay_nobody() {
    let mut cluster = Cluster::new(&[("tenant", 60), ("shop", 30)], 3);
    for n in 0..60 {
        cluster.set(n, Band::High);
    }
    for n in 0..15 {
        cluster.set(60 + n, Band::High);
        cluster.add("shop", Band::Moderate);
        cluster.pass(1.0);
    }
    cluster.pass(30.0);
    assert_eq!(cluster.open_changes(), 0);
    let of_tenant = cluster.longest_delay(|pod| &*pod.namespace == "tenant");
    assert!(of_tenant <= seconds(90.0 / RATE), "60 pods and 30 of others: {of_tenant:?}");
    let of_others = cluster.longest_delay(|pod| &*pod.namespace == "shop");
    assert!(of_others <= seconds(5.0), "{of_others:?}");
}

#[test]
fn pods_of_one_tenant_that_flip_for_ever_delay_nobody_in_an_hour() {
    let mut cluster = Cluster::new(&[("tenant", 51), ("shop", 20)], 3);
    for second in 0..3600 {
        // Ten seconds of the budget.
        if second % 60 == 0 {
            let band = if second % 120 == 0 { Band::High } else { Band::Low };
            cluster.set_all(0..51, band);
        }
        if second % 60 == 5 {
            let band = if second % 120 == 5 { Band::High } else { Band::Moderate };
            cluster.set(51 + second / 120 % 20, band);
        }
        if second % 300 == 6 {
            cluster.add("shop", Band::Low);
        }
        cluster.pass(1.0);
    }
    let (count, longest) = cluster.delays(|pod| &*pod.namespace == "shop");
    assert!(count >= 71, "{count}");
    assert!(longest <= seconds(2.0), "{longest:?}");
}

#[test]
fn three_of_ten_dead_nodes_are_unknown_within_fifteen_minutes_and_the_seven_go_on_at_once() {
    let mut cluster = Cluster::new(&[("shop", 1000)], 10);
    let dead = |n: usize| n % 10 >= 7;
    (7..10).for_each(|n| cluster.kill(n));
    for second in 0..900 {
        if second % 5 == 0 {
            let n = second / 5;
            if !dead(n) {
                cluster.set(n, Band::High);
            }
        }
        cluster.pass(1.0);
        let unknown = (0..1000).filter(|n| dead(*n) && cluster.band(*n) == Some("unknown")).count();
        assert!(second > 600 || unknown == 0, "withheld for ten minutes");
    }
    for n in 0..1000 {
        let expected = if dead(n) {
            "unknown"
        } else if n < 180 {
            "high"
        } else {
            "low"
        };
        assert_eq!(cluster.band(n), Some(expected), "{n}");
    }
    let (count, longest) = cluster.delays(|_| true);
    assert!(count >= 120 && longest <= seconds(2.0), "{count} changes, {longest:?}");
}

#[test]
fn thousands_of_refused_writes_cost_little_and_delay_no_first_label() {
    type Controller = fn(usize) -> Option<String>;
    let controllers: [(usize, Controller); 3] = [
        (2700, |_| Some("ReplicaSet/web-5d4f8c7b9".into())),
        (300, |n| Some(format!("StatefulSet/db{n}"))),
        (300, |_| None),
    ];
    for (kind, (pods, controller)) in controllers.into_iter().enumerate() {
        let mut cluster = Cluster::new(&[("shop", 3)], 3);
        cluster.fate = refuse_tenant;
        cluster.add_many_of("tenant", pods, controller);
        cluster.pass(300.0);
        let new = cluster.add("shop", Band::Low);
        cluster.pass(1.0);
        assert_eq!(cluster.band(new), Some("low"), "kind {kind}: a second after its first report");
        let tried = cluster.writes_since(180.0);
        assert!((2..=6).contains(&tried), "kind {kind}: {tried} writes in three minutes");
    }
}

#[test]
fn a_refusal_that_ends_is_noticed_within_a_minute_for_all_pods_of_the_owner() {
    let mut cluster = Cluster::new(&[("shop", 3)], 3);
    cluster.fate = refuse_tenant;
    cluster.add_many("tenant", 100);
    cluster.pass(600.0);
    cluster.fate = |_| Fate::Done;
    cluster.pass(60.0 + 100.0 / RATE);
    assert_eq!(cluster.open_changes(), 0);
}

#[test]
fn one_refused_pod_delays_no_other_of_its_owner() {
    let mut cluster = Cluster::new(&[("tenant", 10)], 3);
    cluster.fate = |write| if &*write.pod.name == "p0" { Fate::Refused } else { Fate::Done };
    cluster.set(0, Band::High);
    cluster.pass(300.0);
    cluster.set(1, Band::High);
    cluster.pass(1.0);
    assert_eq!((cluster.band(0), cluster.band(1)), (Some("low"), Some("high")));
}

#[test]
fn an_owner_that_strips_350_pods_costs_little_and_delays_no_first_label() {
    let mut cluster = Cluster::new(&[("shop", 3)], 3);
    cluster.fate = strip_tenant;
    cluster.add_many("tenant", 350);
    cluster.pass(900.0);
    let new = cluster.add("shop", Band::Low);
    cluster.pass(1.0);
    assert_eq!(cluster.band(new), Some("low"));
    let tried = cluster.writes_since(600.0);
    assert!((2..=10).contains(&tried), "{tried} writes in ten minutes");

    cluster.fate = |_| Fate::Done;
    cluster.pass(600.0 + 350.0 / RATE);
    assert!(
        (3..353).all(|n| cluster.band(n) == Some("low")),
        "it stopped: all are repaired within ten minutes"
    );
}

#[test]
fn labels_removed_once_from_350_pods_are_back_after_a_minute_and_the_budgets_rate() {
    let mut cluster = Cluster::new(&[], 3);
    cluster.add_many("tenant", 350);
    cluster.pass(120.0);
    (0..350).for_each(|n| cluster.strip(n));
    cluster.pass(60.0 + 350.0 / RATE);
    assert!((0..350).all(|n| cluster.band(n) == Some("low")));
}

#[test]
fn changes_during_a_downtime_are_written_at_the_budgets_rate() {
    let mut cluster = Cluster::new(&[("shop", 1000)], 3);
    (0..60).for_each(|n| cluster.set(n * 7, Band::High));
    cluster.pass(60.0 / RATE);
    assert_eq!((cluster.open_changes(), cluster.harness.core.withheld()), (0, None));
}

#[test]
fn a_rollout_of_sixty_pods_that_start_hot_is_labeled_at_the_budgets_rate_and_delays_nobody() {
    let mut cluster = Cluster::new(&[("shop", 100)], 3);
    let hot: Vec<usize> = (0..60).map(|_| cluster.add("tenant", Band::High)).collect();
    for n in 0..90 {
        if n % 10 == 0 {
            cluster.set(n, Band::High);
        }
        cluster.pass(1.0);
    }
    hot.iter().for_each(|n| cluster.set(*n, Band::Low));
    for n in 0..15 {
        cluster.set(n + 1, Band::Moderate);
        cluster.pass(1.0);
    }
    assert_eq!(cluster.open_changes(), 0);
    assert!(cluster.longest_delay(|pod| &*pod.namespace == "tenant") <= seconds(60.0 / RATE));
    assert!(cluster.longest_delay(|pod| &*pod.namespace == "shop") <= seconds(2.0));
}

#[test]
fn namespaces_whose_writes_hang_or_are_slow_delay_nobody() {
    let fates: [fn(&Write) -> Fate; 2] = [hang_all_but_shop, |write| match hang_all_but_shop(write) {
        Fate::Hangs => Fate::Late,
        fate => fate,
    }];
    for (fate, tenants) in fates.into_iter().flat_map(|fate| [(fate, 1), (fate, 4)]) {
        let mut cluster = Cluster::new(&[("shop", 60)], 3);
        cluster.fate = fate;
        for tenant in 0..tenants {
            cluster.add_many(&format!("tenant{tenant}"), 100);
        }
        for n in 0..60 {
            cluster.set(n, Band::High);
            cluster.pass(2.0);
        }
        let (count, longest) = cluster.delays(|pod| &*pod.namespace == "shop");
        // Two or more of them can fill all four places once, until the first of their writes is given up.
        let most = if tenants == 1 { 1.0 } else { 3.5 };
        assert!(count >= 59 && longest <= seconds(most), "{tenants} tenants: {count} changes, {longest:?}");
        let (_, later) = cluster.delays_after(20.0, |pod| &*pod.namespace == "shop");
        assert!(later <= seconds(1.0), "{tenants} tenants, known to be slow: {later:?}");
    }
}

#[test]
fn a_transition_whose_write_failed_stands_behind_those_of_others() {
    let mut harness = Harness::new((0..3).map(|n| labeled(n, 0, "low", "low")).collect());
    let write = only(&harness.report(0, false, vec![load(0, Band::High, Band::Low)]));
    harness.step(Input::Paused(true));
    harness.outcome(&write, WriteResult::Failed(403, "no".into()));
    harness.wait(2);
    harness.report(0, false, vec![load(1, Band::High, Band::Low), load(2, Band::High, Band::Low)]);
    let order: Vec<_> =
        writes(&harness.step(Input::Paused(false))).into_iter().map(|w| (w.pod, w.reason)).collect();
    let transition = |n| (name(n), Reason::Transition);
    assert_eq!(order, [transition(1), transition(2), transition(0)]);
}
