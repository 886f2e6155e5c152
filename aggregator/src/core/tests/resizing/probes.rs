//! How often the API server is asked about sizes that are only recommended.

use super::*;

fn recommends() -> Input {
    classes([Policy { mode: Mode::Recommend, ..gold() }])
}

fn probes(actions: &[Action]) -> Vec<Write> {
    let of_probe = |write: &Write| matches!(write.change, Change::Probe(_));
    writes(actions).into_iter().filter(of_probe).collect()
}

#[test]
fn a_size_that_moves_a_little_with_each_report_is_asked_about_once_and_keeps_its_answer() {
    let mut harness = Harness::resizing(vec![sized(1)]);
    harness.step(recommends());
    let (mut asked, mut sizes) = (0, std::collections::BTreeSet::new());
    let mut live = |harness: &mut Harness, cores: f64| {
        let mut actions = harness.wait(5);
        let pod = harness.seen(1, cores, 0.1);
        actions.extend(harness.report(0, false, vec![pod]));
        let count = probes(&harness.land_all(actions)).len();
        let status = harness.core.pod(&name(1)).unwrap().resize.unwrap();
        sizes.insert(format!("{:?}", status.wanted));
        (count, status.verdict)
    };
    for round in 0..120 {
        let (count, verdict) = live(&mut harness, [0.4, 0.405, 0.395][round % 3]);
        asked += count;
        assert_eq!(verdict.as_deref(), Some("accepted"), "round {round}");
    }
    assert_eq!(asked, 1);
    let moved = (0..24).map(|_| live(&mut harness, 0.35).0).sum::<usize>();
    assert_eq!(moved, 1, "another size");
    assert!(sizes.len() >= 3, "{sizes:?}");
}

#[test]
fn many_pods_that_are_to_be_asked_about_have_a_tenth_of_the_writes_and_delay_none() {
    let mut harness = Harness::resizing((0..60).map(sized).collect());
    harness.step(recommends());
    let mut asked = 0;
    for second in 0..60 {
        let mut actions = harness.wait(1);
        if second % 5 == 0 {
            let pods = (0..60).map(|n| harness.seen(n, 0.5, 0.8)).collect();
            actions.extend(harness.report(0, true, pods));
        }
        asked += probes(&harness.land_all(actions)).len();
    }
    assert!((28..=30).contains(&asked), "one in two seconds: {asked}");
    assert_eq!(harness.pods.values().filter(|pod| pod.labels.contains_key(keys::CPU_BAND)).count(), 60);
}
