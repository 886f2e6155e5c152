//! What a report costs where pods are resized, relative to a core that does not resize and to a smaller cluster, in the same run.

use super::*;
use crate::cpu_time::measured;

/// Pods on each node; every tenth has a class.
const PER_NODE: usize = 30;

/// A core of many nodes that report in turn. No write is answered.
pub(in crate::core::tests) struct Crowd {
    pub(in crate::core::tests) harness: Harness,
    nodes: usize,
}

impl Crowd {
    /// It knows nothing yet.
    pub(in crate::core::tests) fn new(nodes: usize, resizes: bool) -> Crowd {
        let mut settings = settings();
        settings.resize.enabled = resizes;
        // What the API server holds is asked for only of pods with a class.
        let managed = Crowd::pods(nodes).into_iter().step_by(10).collect();
        Crowd { harness: Harness::unsynced(settings, managed), nodes }
    }

    pub(in crate::core::tests) fn pods(nodes: usize) -> Vec<PodFacts> {
        let pod = |n: usize| {
            let mut pod = labeled(n, n / PER_NODE, "low", "low");
            if n.is_multiple_of(10) {
                let labels = std::mem::take(&mut pod.labels);
                pod = PodFacts { node: pod.node, ..sized(n) };
                pod.labels.extend(labels);
            }
            pod
        };
        (0..nodes * PER_NODE).map(pod).collect()
    }

    pub(in crate::core::tests) fn list(&mut self, pods: Vec<PodFacts>) -> Vec<Action> {
        self.harness.step(Input::Pods(WatchEvent::Listed(pods)))
    }

    /// Everything else is listed, and it leads.
    pub(in crate::core::tests) fn lead(&mut self) {
        let inputs = [
            Input::Nodes(WatchEvent::Listed((0..self.nodes).map(ready).collect())),
            Input::Namespaces(WatchEvent::Listed(vec![namespace("shop")])),
            Input::Paused(false),
            Input::Leading(Some(7)),
        ];
        let others = surroundings().into_iter().filter(|input| !matches!(input, Input::Nodes(_)));
        for input in inputs.into_iter().chain(others) {
            assert_eq!(self.harness.step(input), []);
        }
    }

    /// Each node reports once, within four seconds, with this use of its pods with a class; the CPU time of each step, and what all called for.
    pub(in crate::core::tests) fn report_all(
        &mut self,
        cores: f64,
        throttled: f64,
    ) -> (Vec<Duration>, Vec<Action>) {
        let (mut took, mut actions) = (Vec::new(), Vec::new());
        for on in 0..self.nodes {
            let see = |n: usize| match n.is_multiple_of(10) {
                true => self.harness.seen(n, cores, throttled),
                false => load(n, Band::Low, Band::Low),
            };
            let pods = (on * PER_NODE..(on + 1) * PER_NODE).map(see).collect();
            let input = reported(self.harness.next_report(on, true, pods));
            self.harness.at += Duration::from_secs(4) / self.nodes as u32;
            let (called_for, time) = measured(|| self.harness.step(input));
            actions.extend(called_for);
            took.push(time);
        }
        (took, actions)
    }

    fn listed(nodes: usize, resizes: bool) -> Crowd {
        let mut crowd = Crowd::new(nodes, resizes);
        crowd.list(Crowd::pods(nodes));
        crowd.lead();
        crowd
    }
}

#[test]
fn a_report_costs_a_few_times_as_much_with_resizing_and_no_more_in_a_larger_cluster() {
    let mut without = Crowd::listed(200, false);
    let mut with = Crowd::listed(200, true);
    let mut small = Crowd::listed(20, true);
    // Calm, then all pods with a class want more, and more and more of them wait for their turn.
    for (cores, throttled) in [(0.2, 0.0), (0.5, 0.8)] {
        let (mut steps, mut called_for) = ([const { Vec::new() }; 3], 0);
        for _ in 0..5 {
            for (index, crowd) in [&mut without, &mut with, &mut small].into_iter().enumerate() {
                let (took, actions) = crowd.report_all(cores, throttled);
                steps[index].extend(took);
                called_for += actions.len();
            }
        }
        // All steps are alike; what some take longer is not theirs: memory that other programs have driven out of the caches.
        let [without, with, small] = steps.map(|mut took: Vec<Duration>| {
            took.sort();
            took[0]
        });
        println!(
            "throttled {throttled}: {without:?} without, {with:?} with, {small:?} with a tenth of the nodes"
        );
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        assert!(ratio(with, without) < 10.0, "{with:?} with resizing, {without:?} without");
        assert!(ratio(with, small) < 3.0, "{with:?} with 200 nodes, {small:?} with 20");
        assert!(throttled == 0.0 || called_for > 0, "nobody wanted more");
    }
}

#[test]
fn a_second_in_which_nothing_is_to_be_done_costs_little_more_with_resizing() {
    let mut crowds = [false, true].map(|resizes| Crowd::listed(500, resizes));
    crowds.iter_mut().for_each(|crowd| drop(crowd.report_all(0.2, 0.0)));
    let mut least = [Duration::MAX; 2];
    for _ in 0..20 {
        for (crowd, least) in crowds.iter_mut().zip(&mut least) {
            *least = measured(|| crowd.harness.wait(1)).1.min(*least);
        }
    }
    let [without, with] = least;
    println!("{without:?} without, {with:?} with");
    assert!(with < 2 * without, "{with:?} with resizing, {without:?} without");
}
