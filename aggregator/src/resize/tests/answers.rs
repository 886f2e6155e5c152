//! What the API server answers to the record and to the resize.

use std::time::Duration;

use plimsoll_contract::{Resource, keys};

use super::world::{World, app, first, less, more, resources, sizes, wanted};
use crate::input::PodVersion;
use crate::resize::{Blocked, NotPlanned, Purpose, ResizeRefusal, Step, What};

fn sent(purpose: Purpose) -> World {
    let mut world = World::new();
    world.plan(purpose, more());
    world.record();
    world.send();
    world
}

#[test]
fn without_a_record_nothing_is_resized_and_it_is_given_up_after_five_tries() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    for _ in 0..5 {
        let due = |world: &World| world.resize.next(world.time(), &world.facts);
        while let Step::Wait(_) = due(&world) {
            world.wait(1);
        }
        assert!(matches!(due(&world), Step::Record(_)));
        world.resize.sent(world.time(), &world.facts);
        world.resize.record_failed(world.at(), "500: webhook");
    }
    let message = "its decision could not be recorded: 500: webhook".to_owned();
    assert_eq!(world.happened(), [What::Failed { message }]);
    assert_eq!(world.state(), "failed");
    world.nothing_is_due();
    assert!(matches!(world.resize.blocked(world.at(), None), Some(Blocked::Failed { .. })));
}

#[test]
fn a_stale_version_is_recorded_and_sent_anew_at_once_and_not_for_ever() {
    let mut world = sent(Purpose::Grow);
    for _ in 0..4 {
        world.refuse(ResizeRefusal::Conflict);
        world.record();
        assert_eq!(world.send(), more());
    }
    world.refuse(ResizeRefusal::Conflict);
    assert!(matches!(world.happened()[..], [What::Failed { .. }]));
    world.nothing_is_due();
}

#[test]
fn a_stale_version_after_another_writers_resize_leaves_it_to_the_plan() {
    let mut world = sent(Purpose::Grow);
    world.write_spec(less());
    world.watch();
    world.refuse(ResizeRefusal::Conflict);
    assert_eq!((world.resize.busy(), world.happened()), (false, vec![]));
}

#[test]
fn a_size_that_somebody_else_wrote_in_between_is_not_overwritten() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    world.record();
    world.facts.containers[0].spec = resources(less());
    world.nothing_is_due();
    world.watch();
    assert!(!world.resize.busy());
}

#[test]
fn a_size_that_the_watch_has_not_shown_when_the_record_is_written_is_not_overwritten() {
    // The first time, and again after a stale version.
    for is_retried in [false, true] {
        for (theirs, is_sent) in [(less(), false), (first(), true)] {
            let mut world = World::new();
            world.plan(Purpose::Grow, more());
            if is_retried {
                world.record();
                world.send();
                world.refuse(ResizeRefusal::Conflict);
            }
            let step = world.resize.next(world.time(), &world.facts);
            assert!(matches!(step, Step::Record(_)), "{step:?}");
            world.resize.sent(world.time(), &world.facts);
            // Another writer is faster, and the watch late.
            let shown = world.facts.clone();
            world.write_spec(theirs);
            world.version += 1;
            let actual = std::mem::replace(&mut world.facts, shown);
            let version = PodVersion { generation: actual.generation, ..world.pod_version() };
            world.resize.recorded(world.at(), version);
            world.watch();
            world.wait(5);
            world.nothing_is_due();
            world.facts = actual;
            world.watch();
            assert_eq!(world.resize.busy(), is_sent, "only where the size is still that of the plan");
            if is_sent {
                assert_eq!(world.send(), more());
            }
        }
    }
}

#[test]
fn a_resize_without_a_response_is_looked_for_and_sent_again_only_if_it_was_not_done() {
    let mut done = sent(Purpose::Grow);
    done.refuse(ResizeRefusal::NoAnswer);
    done.nothing_is_due();
    done.write_spec(more());
    done.watch();
    assert_eq!(done.state(), "accepted");

    let mut lost = sent(Purpose::Grow);
    lost.wait(30);
    lost.wait(9);
    lost.nothing_is_due();
    lost.wait(1);
    lost.record();
    assert_eq!(lost.send(), more());
}

#[test]
fn a_resize_whose_response_is_lost_is_ours_when_it_shows_and_no_other_writers() {
    for (status, message) in
        [(0, "connection reset by peer"), (500, "etcdserver: leader changed"), (504, "Timeout")]
    {
        let mut world = World::new();
        world.resized(Purpose::Grow, sizes((300, 750), (64, 128)));
        for (purpose, to) in [(Purpose::Grow, more()), (Purpose::Grow, sizes((800, 2000), (64, 128)))] {
            world.plan(purpose, to);
            world.record();
            world.send();
            world.refuse(ResizeRefusal::of(status, message));
            world.write_spec(to);
            world.watch();
            assert_eq!(world.state(), "accepted", "{status}");
            world.kubelet_acts();
            world.report();
            assert!(matches!(world.happened()[..], [What::Verified { .. }]), "{status}");
        }
    }
}

#[test]
fn a_record_without_the_version_of_the_pod_is_written_again_and_nothing_is_sent() {
    let mut world = World::new();
    world.plan(Purpose::Grow, more());
    world.resize.sent(world.time(), &world.facts);
    world.resize.recorded(world.at(), PodVersion::default());
    assert!(matches!(world.resize.next(world.time(), &world.facts), Step::Wait(_)));
    world.wait(2);
    world.record();
    assert_eq!(world.send(), more());
}

#[test]
fn infeasible_at_admission_leaves_the_spec_and_is_not_repeated() {
    let mut world = sent(Purpose::Grow);
    let words = "node didn't have enough allocatable resources: cpu, requested: 5000, allocatable: 1000";
    world.refuse(ResizeRefusal::of(403, words));
    assert_eq!(world.happened(), [What::Infeasible { message: words.to_owned() }]);
    world.nothing_is_due();
    assert_eq!(world.resize.infeasible_size(), Some(&app(more())));
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more()));
    assert_eq!(again, Err(NotPlanned::Rejected { message: words.to_owned() }));
    world.plan(Purpose::Shrink, less());
}

#[test]
fn memory_limits_that_cannot_shrink_are_reported_as_a_property_of_the_cluster() {
    let mut world = World::new();
    let to = sizes((200, 500), (64, 100));
    world.plan(Purpose::Shrink, to);
    world.record();
    world.send();
    let words = "spec.containers[0].resources.limits: Forbidden: memory limits cannot be decreased";
    world.refuse(ResizeRefusal::of(422, words));
    assert_eq!(world.happened(), [What::MemoryLimitsFixed { message: words.to_owned() }]);
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Shrink, to));
    assert!(matches!(again, Err(NotPlanned::Rejected { .. })));
    // The request alone may shrink, at once.
    world.plan(Purpose::Shrink, sizes((200, 500), (50, 128)));
}

#[test]
fn a_plan_that_waits_is_renewed_without_waiting_less_and_dropped_when_nothing_is_wanted() {
    let mut world = sent(Purpose::Grow);
    let busy = || ResizeRefusal::Overloaded("busy".to_owned(), Some(Duration::from_secs(20)));
    world.refuse(busy());
    assert!(world.resize.takes_plans() && world.resize.busy());
    let newer = sizes((300, 750), (64, 128));
    world.plan(Purpose::Grow, newer);
    let due = world.at() + Duration::from_secs(20);
    assert_eq!(world.resize.next(world.time(), &world.facts), Step::Wait(due));
    world.wait(20);
    world.record();
    assert_eq!(world.send(), newer);
    for _ in 0..3 {
        world.refuse(busy());
        world.wait(20);
        world.plan(Purpose::Grow, newer);
        world.record();
        world.send();
    }
    world.refuse(busy());
    assert!(matches!(world.happened()[..], [What::Failed { .. }]), "it is not tried more often either");
    world.wait(30);
    world.plan(Purpose::Grow, newer);
    world.resize.unplan();
    assert!(!world.resize.busy());
    world.nothing_is_due();
}

#[test]
fn a_shrink_that_is_not_sent_yet_is_dropped_when_something_calls_for_growth() {
    for is_recorded in [false, true] {
        let mut world = World::new();
        world.plan(Purpose::Shrink, less());
        if is_recorded {
            world.record();
        }
        world.memory.unreclaimable = Some(plimsoll_contract::Bytes(120 << 20));
        world.report();
        assert!(world.resize.busy(), "it takes no memory");
        world.cpu.throttled2 = Some(0.3);
        world.report();
        assert!(!world.resize.busy());
        world.plan(Purpose::Grow, more());
    }
}

#[test]
fn a_record_that_another_wrote_is_not_made_ours_and_nothing_is_resized_by_it() {
    let mut world = World::new();
    world.resized(Purpose::Grow, more());
    assert_eq!(world.resize.annotations(&world.facts).len(), 2);
    world.facts.original_by = Some("kubectl-annotate".to_owned());
    assert!(world.resize.annotations(&world.facts).is_empty());
    let again =
        world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, sizes((800, 2000), (64, 128))));
    let Err(NotPlanned::Blocked(Blocked::Original { message })) = again else { panic!("{again:?}") };
    assert!(message.contains("kubectl-annotate"), "{message}");
}

#[test]
fn a_resize_whose_response_was_lost_is_ours_however_late_the_watch_shows_it() {
    let mut world = sent(Purpose::Grow);
    world.refuse(ResizeRefusal::NoAnswer);
    world.wait(15);
    assert_eq!(world.state(), "planned", "it was not seen, and is tried again");
    world.write_spec(more());
    world.watch();
    assert_eq!(world.state(), "accepted");
    world.kubelet_acts();
    world.report();
    assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Grow, .. }]));
    assert_eq!(world.resize.yielding_until(world.at()), None, "it is nobody else's");
}

#[test]
fn a_lost_resize_that_shows_while_it_is_recorded_again_is_no_round_of_another_writer() {
    let mut world = World::new();
    for _ in 0..3 {
        world.resized(Purpose::Grow, more());
        world.plan(Purpose::Shrink, first());
        world.record();
        world.send();
        world.refuse(ResizeRefusal::NoAnswer);
        world.wait(15);
        let step = world.resize.next(world.time(), &world.facts);
        assert!(matches!(step, Step::Record(_)), "{step:?}");
        world.resize.sent(world.time(), &world.facts);
        world.write_spec(first());
        world.watch();
        world.resize.recorded(world.at(), world.pod_version());
        world.watch();
        assert_eq!(world.state(), "accepted");
        world.kubelet_acts();
        world.report();
        assert_eq!(world.resize.yielding_until(world.at()), None);
        world.happened();
        world.wait(120);
    }
}

#[test]
fn a_way_back_does_not_make_a_record_ours_that_another_wrote() {
    let mut world = World::new();
    world.resized(Purpose::Shrink, less());
    let forged = r#"{"app":{"requests":{"cpu":"1000"}}}"#.to_owned();
    world.facts.annotations.insert(keys::ORIGINAL_RESOURCES.to_owned(), forged);
    world.facts.original_by = Some("kubectl-annotate".to_owned());
    world.watch();
    world.cpu.throttled3 = Some(0.06);
    world.report();
    assert!(matches!(world.happened()[..], [What::Undone { .. }]));
    let step = world.resize.next(world.time(), &world.facts);
    let Step::Record(record) = step else { panic!("{step:?}") };
    let written: Vec<_> = record.annotations.keys().map(String::as_str).collect();
    assert_eq!(written, [keys::DECISION]);
    assert_eq!(world.write(), first(), "the way back is made all the same");
}

#[test]
fn a_quota_holds_the_pod_back_for_longer_each_time() {
    let mut world = sent(Purpose::Grow);
    world.refuse(ResizeRefusal::of(403, "exceeded quota: team, requested: requests.cpu=200m"));
    assert!(matches!(world.happened()[..], [What::OverQuota { .. }]));
    for held in [60, 120] {
        let memory = wanted(Purpose::Grow, sizes((200, 500), (64, 256)));
        assert_eq!(world.resize.plan(world.at(), &world.facts, memory), Ok(()), "memory was not refused");
        world.resize.unplan();
        world.wait(held - 1);
        let early = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more()));
        assert!(matches!(early, Err(NotPlanned::Blocked(Blocked::Failed { .. }))));
        world.wait(1);
        world.plan(Purpose::Grow, more());
        world.record();
        world.send();
        world.refuse(ResizeRefusal::of(403, "exceeded quota: team, requested: requests.cpu=200m"));
    }
}

#[test]
fn failures_are_not_in_a_row_any_more_after_a_success_although_an_earlier_hold_ran_out() {
    let quota = || ResizeRefusal::of(403, "exceeded quota: team, requested: requests.memory=64Mi");
    let mut world = World::new();
    world.plan(Purpose::Grow, sizes((200, 500), (64, 256)));
    world.record();
    world.send();
    world.refuse(quota());
    world.wait(60);
    world.happened();
    world.resized(Purpose::Grow, more());
    world.plan(Purpose::Grow, sizes((800, 2000), (64, 128)));
    world.record();
    world.send();
    world.refuse(quota());
    let until = world.resize.held(world.at(), Resource::Cpu).map(|(_, until)| until);
    assert_eq!(until, Some(world.at() + Duration::from_secs(60)), "as after the first failure");
}

#[test]
fn an_overloaded_server_is_given_the_time_that_it_asks_for() {
    let mut world = sent(Purpose::Grow);
    let wait = Some(Duration::from_secs(7));
    world.refuse(ResizeRefusal::Overloaded("429".to_owned(), wait));
    let due = world.resize.next(world.time(), &world.facts);
    assert_eq!(due, Step::Wait(world.at() + Duration::from_secs(7)));
    world.wait(7);
    world.record();
    assert_eq!(world.send(), more());
}

#[test]
fn a_pod_that_cannot_be_resized_is_not_asked_again() {
    let mut world = sent(Purpose::Grow);
    world.refuse(ResizeRefusal::of(422, "spec: Forbidden: node without support for resize"));
    world.wait(3600);
    let again = world.resize.plan(world.at(), &world.facts, wanted(Purpose::Grow, more()));
    assert!(matches!(again, Err(NotPlanned::Blocked(Blocked::Unsupported { .. }))));
}

#[test]
fn a_way_back_to_what_the_node_has_is_tried_again_where_a_plan_would_be_held() {
    let mut world = sent(Purpose::Grow);
    world.accept(more());
    world.deferred();
    world.wait(30);
    world.record();
    world.send();
    world.refuse(ResizeRefusal::Forbidden("no".to_owned()));
    assert_eq!(world.state(), "reverting");
    world.wait(30);
    assert_eq!(world.write(), first());
}

#[test]
fn where_memory_limits_are_never_lowered_everything_else_is_put_back() {
    let words = "spec.containers[0].resources.limits: Forbidden: memory limits cannot be decreased";
    // A limit above the request, and one that is to stay equal to it.
    for (memory, grown, back) in [((64, 128), (100, 256), (64, 256)), ((128, 128), (256, 256), (256, 256))] {
        let mut world = World::new();
        world.facts.containers[0].spec = resources(sizes((200, 500), memory));
        world.kubelet_acts();
        world.plan(Purpose::Grow, sizes((400, 1000), grown));
        world.write();
        world.deferred();
        world.wait(30);
        world.happened();
        world.record();
        assert_eq!(world.send(), sizes((200, 500), memory));
        world.refuse(ResizeRefusal::of(422, words));
        assert_eq!(world.happened(), [What::MemoryLimitsFixed { message: words.to_owned() }]);
        assert_eq!(world.write(), sizes((200, 500), back));
        world.kubelet_acts();
        world.report();
        assert!(matches!(world.happened()[..], [What::Verified { purpose: Purpose::Revert, .. }]));
        world.wait(60);
        world.resized(Purpose::Grow, sizes((300, 750), back));
    }
}

#[test]
fn a_memory_limit_that_is_never_lowered_leaves_a_way_back_of_memory_alone_nothing_to_do() {
    let mut world = World::new();
    world.plan(Purpose::Grow, sizes((200, 500), (64, 256)));
    world.write();
    world.deferred();
    world.wait(30);
    world.record();
    world.send();
    world.refuse(ResizeRefusal::of(422, "memory limits cannot be decreased"));
    assert_eq!(world.state(), "failed");
    world.nothing_is_due();
}

#[test]
fn a_way_back_is_tried_for_as_long_as_the_spec_is_what_it_leads_away_from() {
    let overloaded = || ResizeRefusal::Overloaded("401".to_owned(), None);
    let refusals: [fn() -> ResizeRefusal; 6] = [
        || ResizeRefusal::Overloaded("401".to_owned(), None),
        || ResizeRefusal::Conflict,
        || ResizeRefusal::Forbidden("no".to_owned()),
        || ResizeRefusal::OverQuota("no".to_owned()),
        || ResizeRefusal::Infeasible("no".to_owned()),
        || ResizeRefusal::Invalid("no".to_owned()),
    ];
    for refusal in refusals {
        let mut world = sent(Purpose::Grow);
        world.accept(more());
        world.deferred();
        world.wait(30);
        world.happened();
        let mut waits = Vec::new();
        for _ in 0..20 {
            let before = world.now;
            while let Step::Wait(_) = world.resize.next(world.time(), &world.facts) {
                world.wait(1);
            }
            waits.push((world.now - before).as_secs());
            world.record();
            world.send();
            world.refuse(refusal());
        }
        assert_eq!(world.happened().len(), 1, "said once: {:?}", refusal());
        assert!(waits[10..].iter().all(|wait| *wait == 30), "{:?}: {waits:?}", refusal());
        world.wait(30);
        assert_eq!(world.write(), first(), "{:?}", refusal());
    }
    let mut unrecorded = sent(Purpose::Grow);
    unrecorded.accept(more());
    unrecorded.deferred();
    unrecorded.wait(30);
    for _ in 0..10 {
        unrecorded.wait(30);
        unrecorded.resize.sent(unrecorded.time(), &unrecorded.facts);
        unrecorded.resize.record_failed(unrecorded.at(), "500: webhook");
    }
    unrecorded.wait(30);
    unrecorded.record();
    unrecorded.send();
    unrecorded.refuse(overloaded());
    unrecorded.write_spec(less());
    unrecorded.watch();
    assert!(!unrecorded.resize.busy(), "the spec is another's");
}

#[test]
fn refusals_are_told_apart_by_what_the_api_server_says() {
    use ResizeRefusal as R;
    let text = str::to_owned;
    let table = [
        (409, "the object has been modified; please apply your changes to the latest version", R::Conflict),
        (409, "uid mismatch: the provided object specified uid a, and no existing object was found", R::Gone),
        (422, "metadata.uid: Invalid value: \"x\": field is immutable", R::Gone),
        (404, "pods \"web-0\" not found", R::Gone),
        (
            403,
            "cannot patch resource \"pods/resize\"",
            R::Forbidden(text("cannot patch resource \"pods/resize\"")),
        ),
        (
            403,
            "minimum memory usage per Container is 99Mi",
            R::OverQuota(text("minimum memory usage per Container is 99Mi")),
        ),
        (403, "node \"n1\" not found", R::Overloaded(text("node \"n1\" not found"), None)),
        (422, "Pod QOS Class may not change", R::Invalid(text("Pod QOS Class may not change"))),
        (401, "Unauthorized", R::Overloaded(text("Unauthorized"), None)),
        (0, "connection reset by peer", R::NoAnswer),
        (500, "etcdserver: request timed out", R::NoAnswer),
        (503, "", R::NoAnswer),
        (504, "Timeout: request did not complete within the requested timeout", R::NoAnswer),
    ];
    for (status, message, expected) in table {
        assert_eq!(R::of(status, message), expected, "{status} {message}");
    }
}

#[test]
fn what_is_told_names_the_purpose_of_the_resize_that_it_happened_to() {
    let told = |world: &mut World| {
        let happened = world.resize.take_happened().into_iter();
        happened.map(|happened| happened.purpose).collect::<Vec<_>>()
    };
    for (purpose, words) in [(Purpose::Grow, "exceeded quota"), (Purpose::Shrink, "no such verb")] {
        let mut refused = sent(purpose);
        refused.refuse(ResizeRefusal::of(403, words));
        assert_eq!(told(&mut refused), [Some(purpose)], "{words}");
    }
    let mut infeasible = sent(Purpose::Grow);
    infeasible.accept(more());
    infeasible.condition("PodResizePending", Some("Infeasible"), "too big");
    assert_eq!(told(&mut infeasible), [Some(Purpose::Grow); 2], "infeasible, and put back");
    infeasible.write();
    infeasible.kubelet_acts();
    infeasible.report();
    assert_eq!(told(&mut infeasible), [Some(Purpose::Revert)]);
    let mut idle = World::new();
    idle.resize.at_maximum(idle.at(), "app", Resource::Memory, String::new());
    assert_eq!(told(&mut idle), [None]);
}
