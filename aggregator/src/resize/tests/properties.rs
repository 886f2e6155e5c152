//! Random interleavings of everything that can happen to one pod.

use std::time::Duration;

use plimsoll_sizing::size::Sizes;
use proptest::prelude::*;

use super::world::{World, app, sizes, wanted};
use crate::resize::{PodResize, Purpose, ResizeRefusal, Step, sizes_of};

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    Plan(Purpose, u64),
    /// The write that is due goes out.
    Write,
    /// The response to it.
    Answer(Answer),
    Kubelet(Kubelet),
    Report {
        throttled: bool,
        kernel: Option<u64>,
    },
    /// Somebody else resizes the pod.
    Foreign(u64),
    Wait(u64),
    NodeFreed,
    TakeOver,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Done,
    /// It was not done, and why.
    Refused(u16, &'static str),
    /// No response: whether it was done.
    Lost(bool),
}

#[derive(Debug, Clone, Copy)]
enum Kubelet {
    Acts,
    InProgress,
    Defers,
    Rejects,
    Fails(&'static str),
}

/// The pod's size with this CPU limit.
fn with_limit(cpu: u64) -> Sizes {
    sizes((cpu / 2, cpu), (64, 128))
}

fn limit() -> impl Strategy<Value = u64> {
    (1_u64..12).prop_map(|step| step * 100)
}

fn event() -> impl Strategy<Value = Event> {
    let purpose = || proptest::sample::select(vec![Purpose::Grow, Purpose::Shrink, Purpose::Birth]);
    let answer = prop_oneof![
        6 => Just(Answer::Done),
        3 => proptest::sample::select(vec![
            Answer::Refused(409, "modified"),
            Answer::Refused(403, "didn't have enough allocatable resources"),
            Answer::Refused(403, "exceeded quota"),
            Answer::Refused(403, "policy"),
            Answer::Refused(422, "memory limits cannot be decreased"),
            Answer::Refused(422, "QOS"),
            Answer::Refused(503, ""),
        ]),
        1 => any::<bool>().prop_map(Answer::Lost),
    ];
    let kubelet = prop_oneof![
        3 => Just(Kubelet::Acts),
        1 => Just(Kubelet::InProgress),
        2 => Just(Kubelet::Defers),
        1 => Just(Kubelet::Rejects),
        1 => proptest::sample::select(vec!["missing container memory usage", "write cpu.max"]).prop_map(Kubelet::Fails),
    ];
    prop_oneof![
        6 => (purpose(), limit()).prop_map(|(purpose, limit)| Event::Plan(purpose, limit)),
        10 => Just(Event::Write),
        10 => answer.prop_map(Event::Answer),
        8 => kubelet.prop_map(Event::Kubelet),
        6 => (any::<bool>(), proptest::option::weighted(0.1, limit()))
            .prop_map(|(throttled, kernel)| Event::Report { throttled, kernel }),
        1 => limit().prop_map(Event::Foreign),
        6 => (1_u64..40).prop_map(Event::Wait),
        1 => Just(Event::NodeFreed),
        1 => Just(Event::TakeOver),
    ]
}

/// The pod, and what the test checks it by.
struct Run {
    world: World,
    /// What was sent, and when.
    in_flight: Option<(Duration, Step)>,
    /// The size that was deferred last, until something shrank.
    deferred: Option<Sizes>,
}

impl Run {
    fn spec(&self) -> Sizes {
        sizes_of(&self.world.facts.containers[0].spec)
    }

    /// A write without a response was not done, 30 s later.
    fn expire(&mut self) {
        let now = self.world.now;
        self.in_flight = self.in_flight.take().filter(|(sent, _)| now - *sent < Duration::from_secs(30));
    }

    fn write(&mut self) {
        self.expire();
        let world = &mut self.world;
        let step = world.resize.next(world.time(), &world.facts);
        let has_to_wait = matches!(step, Step::Nothing | Step::Wait(_));
        if self.in_flight.is_some() {
            assert!(has_to_wait, "a second write while one is in flight: {step:?}");
        }
        if has_to_wait {
            return;
        }
        if let Step::Send { sizes, .. } = &step {
            let decision = crate::resize::decision_on(&world.facts).expect("sent without a record");
            assert_eq!(
                decision.to,
                crate::resize::annotations::in_quantities(sizes),
                "another one is recorded"
            );
            assert!(crate::resize::original_on(&world.facts).unwrap().is_some(), "there is no way back");
            // The ways back are to sizes that the pod had.
            let is_planned = !["revert", "undo"].contains(&decision.reason.as_str());
            assert!(!is_planned || Some(sizes["app"]) != self.deferred, "a deferred value is sent again");
        }
        world.resize.sent(world.time(), &world.facts);
        self.in_flight = Some((world.now, step));
    }

    fn answer(&mut self, answer: Answer) {
        self.expire();
        let Some((_, step)) = self.in_flight.take() else { return };
        let world = &mut self.world;
        // The API server has the last word: a version that is not the newest is refused.
        let is_stale = matches!(&step, Step::Send { resource_version, .. } if *resource_version != world.version.to_string());
        let answer = if is_stale { Answer::Refused(409, "modified") } else { answer };
        let is_done = matches!(answer, Answer::Done | Answer::Lost(true));
        match &step {
            Step::Record(record) if is_done => {
                world.facts.annotations.extend(record.annotations.clone());
                world.version += 1;
            }
            Step::Send { sizes, .. } if is_done => world.write_spec(sizes["app"]),
            _ => {}
        }
        match (step, answer) {
            (Step::Send { .. }, Answer::Done) => world.resize.accepted(world.at(), world.facts.generation),
            (Step::Send { .. }, Answer::Refused(status, words)) => {
                world.refuse(ResizeRefusal::of(status, words));
            }
            (Step::Send { .. }, Answer::Lost(_)) => world.refuse(ResizeRefusal::NoAnswer),
            (_, Answer::Done) => world.resize.recorded(world.at(), world.pod_version()),
            (_, Answer::Refused(_, words)) => world.resize.record_failed(world.at(), words),
            (_, Answer::Lost(_)) => world.resize.record_failed(world.at(), "no response"),
        }
        world.watch();
    }

    fn kubelet(&mut self, kubelet: Kubelet) {
        let pending = self.world.facts.containers[0].allocated != Some(self.world.facts.containers[0].spec);
        // It found room.
        if matches!(kubelet, Kubelet::Acts | Kubelet::InProgress | Kubelet::Fails(_))
            && self.deferred == Some(self.spec())
        {
            self.deferred = None;
        }
        match kubelet {
            Kubelet::Acts => self.world.kubelet_acts(),
            _ if !pending => {}
            Kubelet::InProgress => self.world.condition("PodResizeInProgress", None, ""),
            Kubelet::Defers => {
                self.world.deferred();
                if self.world.state() == "deferred" {
                    self.deferred = Some(self.spec());
                }
            }
            Kubelet::Rejects => self.world.condition("PodResizePending", Some("Infeasible"), "too big"),
            Kubelet::Fails(words) => self.world.condition("PodResizeInProgress", Some("Error"), words),
        }
    }

    fn happens(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Plan(purpose, limit) => {
                let to = with_limit(limit);
                let before = world.resize.phase.clone();
                let planned = world.resize.plan(world.at(), &world.facts, wanted(purpose, to));
                assert!(planned.is_ok() || world.resize.phase == before, "a refused plan changes nothing");
            }
            Event::Write => self.write(),
            Event::Answer(answer) => self.answer(answer),
            Event::Kubelet(kubelet) => self.kubelet(kubelet),
            Event::Report { throttled, kernel } => {
                world.cpu.throttled3 = throttled.then_some(0.5);
                let held = world.kernel;
                world.kernel = kernel.map_or(held, with_limit);
                world.report();
                world.kernel = held;
            }
            Event::Foreign(limit) => {
                world.write_spec(with_limit(limit));
                world.watch();
                self.deferred = None;
            }
            Event::Wait(seconds) => world.wait(seconds),
            Event::NodeFreed => {
                world.resize.node_freed();
                self.deferred = None;
            }
            Event::TakeOver => {
                (self.in_flight, self.deferred) = (None, None);
                world.resize = PodResize::default();
                world.taken_over();
            }
        }
        let world = &mut self.world;
        world.happened();
        world.resize.tick(world.at(), &world.facts);
        assert!(world.resize.wake() > world.at(), "{} is woken for ever", world.state());
    }

    /// Nothing more happens than that writes succeed and time passes.
    fn comes_to_rest(&mut self) {
        for _ in 0..200 {
            self.write();
            self.answer(Answer::Done);
            self.world.wait(10);
        }
        assert!(!self.world.resize.busy(), "still {}", self.world.state());
        let due = self.world.resize.next(self.world.time(), &self.world.facts);
        assert_eq!(due, Step::Nothing);
        let spec = crate::resize::spec_of(&self.world.facts);
        assert_eq!(spec, app(self.spec()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_deferred_value_is_never_repeated_nothing_goes_unrecorded_one_is_in_flight_and_all_comes_to_rest(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut run = Run { world: World::new(), in_flight: None, deferred: None };
        for event in events {
            run.happens(event);
        }
        run.comes_to_rest();
    }
}
