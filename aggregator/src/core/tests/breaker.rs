//! Too much at once to be true.

use super::*;
use crate::core::{Note, Withheld};

/// Pod `i` on node `i % nodes`, all labeled low.
fn cluster(pods: usize, nodes: usize) -> Rig {
    let facts = (0..pods).map(|i| labeled(i, i % nodes, "low", "low")).collect();
    let mut rig = Rig::with(Settings::default(), facts, nodes);
    for i in 0..pods {
        rig.see(i % nodes, load(i, Band::Low, Band::Low));
    }
    assert_eq!(rig.live(20), []);
    rig
}

fn change(rig: &mut Rig, nodes: usize, which: std::ops::Range<usize>, band: Band) -> Vec<Action> {
    let mut actions = Vec::new();
    for i in which {
        rig.see(i % nodes, load(i, band, Band::Low));
        actions.extend(rig.report(i % nodes, false, vec![load(i, band, Band::Low)]));
    }
    actions
}

#[test]
fn many_silent_nodes_withhold_everything_and_it_is_said_once() {
    let mut rig = cluster(20, 10);
    for n in 7..10 {
        rig.loads.remove(&node(n));
    }
    let actions = rig.live(200);
    let said = announcements(&actions);
    assert_eq!((said.len(), actions.len()), (1, 1), "{actions:#?}");
    assert_eq!(
        (said[0].about.as_ref(), said[0].reason.as_str(), said[0].warning),
        (None, "BreakerOpened", true)
    );
    assert!(said[0].note.contains("3 of 10 nodes are silent"), "{said:?}");
    assert_eq!(rig.core.withheld(), Some(Withheld::BreakerOpen));
    assert_eq!(change(&mut rig, 10, 0..1, Band::High), [], "withheld as well");

    for i in (0..20).filter(|i| i % 10 >= 7) {
        rig.see(i % 10, load(i, Band::Low, Band::Low));
    }
    let actions = rig.live(120);
    assert_eq!(actions, []);
    let actions = rig.live(20);
    let said = announcements(&actions);
    assert_eq!((said.len(), said[0].reason.as_str()), (1, "BreakerClosed"));
    let wrote = writes(&actions);
    assert_eq!((wrote.len(), &wrote[0].pod), (1, &name(0)), "what is still so: {wrote:?}");
    assert_eq!(rig.live(100), []);
}

#[test]
fn nodes_that_fall_silent_one_by_one_are_counted_before_the_first_is_written() {
    let mut rig = cluster(30, 3);
    for n in 0..3 {
        rig.loads.remove(&node(n));
        rig.report(n, true, (0..30).filter(|i| i % 3 == n).map(|i| load(i, Band::Low, Band::Low)).collect());
        rig.wait(4);
    }
    let actions = rig.wait(300);
    assert_eq!((announcements(&actions).len(), actions.len()), (1, 1), "{actions:#?}");
}

#[test]
fn a_few_silent_nodes_open_nothing() {
    let mut rig = cluster(20, 10);
    for n in 8..10 {
        rig.loads.remove(&node(n));
    }
    let actions = rig.live(200);
    assert_eq!(writes(&actions).len(), 4);
    assert!(actions.iter().all(|a| matches!(a, Action::Label(w) if w.reason == Reason::Silence)));
}

#[test]
fn many_changes_within_a_minute_withhold_everything() {
    let mut rig = cluster(600, 3);
    rig.step(Input::Paused(true));
    assert_eq!(change(&mut rig, 3, 0..49, Band::High), []);
    assert!(!rig.core.gauges(rig.now()).breaker_open, "49 are too few");
    let said = change(&mut rig, 3, 49..50, Band::High);
    assert_eq!(said.len(), 1);
    assert!(announcements(&said)[0].note.contains("50 of 600 pods changed band"), "{said:?}");
    rig.step(Input::Paused(false));
    assert_eq!(rig.live(175), []);
    let actions = rig.live(20);
    assert_eq!(announcements(&actions).len(), 1);
    assert_eq!(writes(&actions).len(), 50);
}

#[test]
fn changes_in_a_large_cluster_first_bands_and_unknown_open_nothing() {
    let mut rig = cluster(2000, 3);
    change(&mut rig, 3, 0..100, Band::High);
    assert!(!rig.core.gauges(rig.now()).breaker_open, "100 of 2000 are 5 percent and not more");
    change(&mut rig, 3, 0..100, Band::Moderate);
    assert!(!rig.core.gauges(rig.now()).breaker_open, "the same pods again");

    let mut rig = Rig::new((0..200).map(|i| facts(i, 0)).collect());
    rig.report(0, true, (0..200).map(|i| load(i, Band::High, Band::Low)).collect());
    rig.report(0, true, vec![]);
    rig.report(0, true, (0..200).map(|i| load(i, Band::High, Band::Low)).collect());
    assert!(!rig.core.gauges(rig.now()).breaker_open);
    rig.report(0, true, (0..200).map(|i| load(i, Band::Low, Band::Low)).collect());
    assert!(rig.core.gauges(rig.now()).breaker_open);
}

#[test]
fn a_standby_says_nothing_and_the_new_leader_says_it_once() {
    let mut rig = cluster(200, 3);
    rig.step(Input::Leading(None));
    assert_eq!(change(&mut rig, 3, 0..60, Band::High), []);
    assert!(rig.core.take_notes().iter().all(|n| !matches!(n, Note::BreakerClosed)));
    let said = rig.step(Input::Leading(Some(9)));
    assert_eq!((said.len(), announcements(&said).len()), (1, 1));
    assert_eq!(rig.live(30), []);
}

#[test]
fn nodes_that_never_ran_an_agent_open_nothing() {
    let mut rig = Rig::with(Settings::default(), vec![labeled(1, 0, "low", "low"), facts(2, 1)], 10);
    rig.see(0, load(1, Band::Low, Band::Low));
    assert_eq!(rig.live(300), []);
    assert!(!rig.core.gauges(rig.now()).breaker_open);
}

#[test]
fn nodes_unheard_since_the_start_whose_pods_have_bands_open_it() {
    let pods = (0..3).map(|i| labeled(i, i, "low", "low")).collect();
    let mut rig = Rig::with(Settings::default(), pods, 10);
    let actions = rig.wait(300);
    assert_eq!((announcements(&actions).len(), actions.len()), (1, 1), "{actions:#?}");
}
