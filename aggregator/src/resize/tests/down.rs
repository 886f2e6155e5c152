//! A container that was killed for memory and waits to be started again: it has no cgroup, and gets what it needs all the same.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::report::PodCgroup;
use plimsoll_contract::{Bytes, ContainerId, Limit};
use plimsoll_sizing::size::Sizes;

use super::world::{World, first, sizes, wanted};
use crate::resize::{Blocked, NotPlanned, PodResize, Purpose, Seen, What};

/// More memory.
fn grown() -> Sizes {
    sizes((200, 500), (64, 256))
}

impl World {
    /// The kubelet says that the container was killed for memory, and waits before it starts it again.
    fn killed(&mut self) {
        let at: Timestamp = self.time().wall;
        let container = &mut self.facts.containers[0];
        (container.running, container.oom_killed_at) = (false, Some(at));
        self.watch();
    }

    /// It is started again, as another container.
    fn started(&mut self) {
        let container = &mut self.facts.containers[0];
        container.restarts += 1;
        container.running = true;
        container.id = Some(ContainerId::new(&format!("{:064x}", container.restarts)).unwrap());
        self.watch();
    }

    /// A report of a pod of which nothing runs.
    fn report_without_containers(&mut self) {
        self.resize.report(self.at(), &self.facts, &Seen { containers: &[], cgroup: self.cgroup });
    }

    /// Half a minute in which nothing of the pod runs.
    fn stays_down(&mut self) {
        for _ in 0..3 {
            self.wait(10);
            self.report_without_containers();
        }
    }

    /// The memory limit of the pod's own cgroup is so many Mi.
    fn pod_may_use(&mut self, mi: u64) {
        self.cgroup = PodCgroup { limit_cores: None, limit_bytes: Some(Limit::Of(Bytes(mi << 20))) };
    }

    fn recent_kills(&self) -> u64 {
        self.resize.recent_memory_events(self.at(), "app").oom_kill
    }

    /// Killed, grown, and the kubelet has set that aside.
    fn set_aside() -> World {
        let mut world = World::new();
        world.killed();
        world.plan(Purpose::Grow, grown());
        assert_eq!(world.write(), grown());
        world.wait(1);
        world.kubelet_acts();
        assert_eq!(world.happened(), [What::SetAside { containers: "app".to_owned() }]);
        world
    }
}

#[test]
fn a_growth_of_a_container_that_is_down_is_set_aside_and_verified_when_it_starts() {
    let mut world = World::new();
    world.killed();
    assert_eq!(world.recent_kills(), 1, "its status says it: there is no cgroup to be read");
    world.watch();
    assert_eq!(world.recent_kills(), 1, "once");
    let mut world = World::set_aside();
    assert_eq!((world.state(), world.resize.busy(), world.recent_kills()), ("accepted", false, 0));
    for _ in 0..30 {
        world.wait(10);
        world.report_without_containers();
    }
    assert_eq!(world.happened(), [], "it may be down for five minutes");
    world.nothing_is_due();
    world.started();
    assert_eq!((world.state(), world.happened()), ("accepted", vec![]), "its cgroup was not read yet");
    world.wait(2);
    // Its agent tells the kill now.
    world.events(0, 1);
    world.report();
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took: None }]);
    assert_eq!(world.resize.memory_events("app").oom_kill, 1, "one kill, told twice");
    assert_eq!(world.recent_kills(), 0, "it has grown for that kill");
}

#[test]
fn what_is_read_while_it_is_down_says_nothing_of_what_it_starts_with() {
    let mut world = World::new();
    world.killed();
    world.plan(Purpose::Grow, grown());
    world.write();
    world.report_without_containers();
    world.started();
    assert_eq!((world.state(), world.happened()), ("accepted", vec![]), "its cgroup was not read");
    world.report();
    assert_eq!(world.happened(), [], "it has the limit of before");
    world.kernel = grown();
    world.kubelet_acts();
    world.report();
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took: Some(Duration::ZERO) }]);
}

#[test]
fn a_kill_that_its_agent_never_told_hides_no_kill_ten_minutes_later() {
    let mut world = World::set_aside();
    world.kernel = grown();
    world.started();
    world.report();
    // On cgroup v1 nobody tells again what ended it.
    world.wait(700);
    world.report();
    world.happened();
    world.events(0, 1);
    world.report();
    assert_eq!(world.recent_kills(), 1);
}

#[test]
fn what_the_kubelet_has_not_set_aside_is_not_taken_for_done() {
    let mut world = World::new();
    world.killed();
    world.plan(Purpose::Grow, grown());
    world.write();
    // It has seen the resize, and says the limit of before.
    world.facts.observed_generation = world.facts.generation;
    world.watch();
    assert_eq!((world.state(), world.resize.busy(), world.happened()), ("accepted", true, vec![]));
    world.wait(120);
    assert_eq!(world.happened(), [What::Failed { message: "not verified within 120 s".to_owned() }]);
    let mut deferred = World::new();
    deferred.killed();
    deferred.plan(Purpose::Grow, grown());
    deferred.write();
    deferred.deferred();
    deferred.happened();
    deferred.wait(30);
    assert_eq!(deferred.write(), first(), "withdrawn as any other");
}

#[test]
fn a_container_that_is_killed_again_with_what_was_set_aside_calls_for_more() {
    let mut world = World::set_aside();
    world.wait(20);
    world.started();
    world.wait(1);
    world.killed();
    assert_eq!((world.recent_kills(), world.resize.busy(), world.happened()), (1, false, vec![]));
    let more = sizes((200, 500), (64, 400));
    world.plan(Purpose::Grow, more);
    assert_eq!(world.write(), more);
    world.kubelet_acts();
    world.started();
    world.wait(1);
    // Both kills at once.
    world.events(0, 2);
    world.report();
    let said = [
        What::SetAside { containers: "app".to_owned() },
        What::Verified { purpose: Purpose::Grow, took: None },
    ];
    assert_eq!((world.happened(), world.recent_kills()), (said.to_vec(), 0));
}

#[test]
fn a_crash_for_another_reason_and_a_kill_that_its_agent_told_before_are_no_kill_more() {
    let mut crashed = World::new();
    crashed.facts.containers[0].running = false;
    crashed.watch();
    assert_eq!(crashed.recent_kills(), 0);
    let mut told = World::new();
    told.events(0, 1);
    told.report();
    told.wait(2);
    told.killed();
    assert_eq!(told.recent_kills(), 1);
    // It was started again at once: its agent sees it.
    let mut running = World::new();
    running.facts.containers[0].oom_killed_at = Some(running.time().wall);
    running.watch();
    assert_eq!(running.recent_kills(), 0);
    running.events(0, 1);
    running.report();
    assert_eq!(running.recent_kills(), 1);
}

#[test]
fn a_new_leader_does_not_grow_it_again_for_the_kill_that_it_has_grown_for() {
    // It took over while the container is down, or once it runs; its agent told the kill before that, or tells it after.
    for (is_down, is_told_before) in [(true, false), (false, false), (false, true)] {
        let mut world = World::set_aside();
        world.wait(200);
        let tell = |world: &mut World, to: fn(&mut World)| {
            world.wait(1);
            world.events(0, 1);
            to(world);
            world.memory.events_delta = None;
        };
        if is_down {
            world.resize = PodResize::default();
            world.taken_over();
            world.watch();
            assert_eq!((world.recent_kills(), world.state()), (0, "idle"));
        }
        world.wait(20);
        world.started();
        if !is_down {
            world.resize = PodResize::default();
            if is_told_before {
                tell(&mut world, World::report_to_follower);
            }
            world.taken_over();
            world.watch();
        }
        if !is_told_before {
            tell(&mut world, World::report);
        }
        assert_eq!(world.recent_kills(), 0, "down: {is_down}, told before: {is_told_before}");
        world.wait(1);
        world.killed();
        assert_eq!(world.recent_kills(), 1, "the next one counts");
        world.started();
        tell(&mut world, World::report);
        assert_eq!(world.recent_kills(), 1, "once");
    }
}

#[test]
fn a_kill_that_its_status_told_is_not_counted_again_by_a_replica_that_leads_for_the_second_time() {
    let mut world = World::new();
    world.killed();
    world.taken_over();
    world.watch();
    assert_eq!(world.recent_kills(), 1);
    world.started();
    world.wait(1);
    world.events(0, 1);
    world.report();
    assert_eq!(world.recent_kills(), 1);
}

#[test]
fn a_kill_within_a_minute_after_a_shrink_of_memory_undoes_it_also_while_it_is_down() {
    let mut world = World::new();
    world.resized(Purpose::Shrink, sizes((200, 500), (50, 100)));
    world.wait(30);
    world.killed();
    assert_eq!(world.happened(), [What::Undone { seen: "app: killed for memory".to_owned() }]);
    assert_eq!(world.write(), first());
}

#[test]
fn another_writers_size_ends_the_wait_for_the_start() {
    let mut world = World::set_aside();
    world.write_spec(sizes((200, 500), (64, 300)));
    world.watch();
    world.kubelet_acts();
    world.started();
    world.report();
    assert_eq!((world.state(), world.happened()), ("idle", vec![]));
}

#[test]
fn a_pod_cgroup_that_stays_behind_through_a_restart_is_said_and_ends_the_growth() {
    // kubernetes/kubernetes#138760: the container is killed again at the pod's old limit, before anybody reads its own.
    let mut world = World::set_aside();
    world.pod_may_use(128);
    world.stays_down();
    assert_eq!(world.happened(), [], "it may be written when the container starts");
    world.started();
    world.wait(1);
    world.killed();
    world.report_without_containers();
    world.wait(15);
    world.report_without_containers();
    let text =
        "the pod's own memory limit is 128Mi, its containers were started with 256Mi together".to_owned();
    assert_eq!(world.happened(), [What::PodCgroupStale { text: text.clone() }]);
    let more = wanted(Purpose::Grow, sizes((200, 500), (64, 400)));
    let refused = world.resize.plan(world.at(), &world.facts, more.clone());
    assert_eq!(refused, Err(NotPlanned::Blocked(Blocked::PodCgroupStale { text })));
    world.cgroup.limit_bytes = Some(Limit::Of(Bytes(256 << 20)));
    world.report_without_containers();
    assert_eq!(world.resize.plan(world.at(), &world.facts, more), Ok(()));
}

#[test]
fn a_pod_cgroup_that_waits_for_the_next_start_is_not_behind() {
    let mut world = World::set_aside();
    world.started();
    world.wait(1);
    world.killed();
    // Twice as much was set aside while it was down again: the pod's cgroup has what its last start gave it.
    let more = sizes((200, 500), (64, 512));
    world.plan(Purpose::Grow, more);
    world.write();
    world.kubelet_acts();
    world.pod_may_use(256);
    world.happened();
    world.stays_down();
    assert_eq!(world.happened(), []);
    // It starts with that, and the cgroup does not follow.
    world.started();
    world.wait(1);
    world.killed();
    world.report_without_containers();
    world.wait(15);
    world.report_without_containers();
    let text = "the pod's own memory limit is 256Mi, its containers were started with 512Mi together";
    assert_eq!(world.happened(), [What::PodCgroupStale { text: text.to_owned() }]);
}

#[test]
fn a_size_that_another_writer_gave_it_while_it_was_down_waits_for_the_next_start_too() {
    let mut world = World::set_aside();
    world.started();
    world.wait(1);
    world.killed();
    world.write_spec(sizes((200, 500), (64, 1024)));
    world.kubelet_acts();
    world.pod_may_use(256);
    world.stays_down();
    assert_eq!(world.happened(), [], "its last start gave it 256Mi");
}

#[test]
fn what_is_set_aside_late_is_set_aside() {
    let mut world = World::new();
    world.killed();
    world.plan(Purpose::Grow, grown());
    world.write();
    world.wait(120);
    assert_eq!(world.happened(), [What::Failed { message: "not verified within 120 s".to_owned() }]);
    world.kubelet_acts();
    assert_eq!(world.happened(), [What::SetAside { containers: "app".to_owned() }]);
    // It is killed before anybody reads it, and needs more.
    world.started();
    world.wait(60);
    world.killed();
    world.plan(Purpose::Grow, sizes((200, 500), (64, 512)));
}

#[test]
fn what_is_set_aside_is_not_forgotten_because_of_a_resize_of_another_container() {
    let mut world = World::set_aside();
    let mut proxy = world.facts.containers[0].clone();
    proxy.name = "proxy".to_owned();
    (proxy.id, proxy.running) = (Some(ContainerId::new(&"c".repeat(64)).unwrap()), true);
    world.facts.containers.push(proxy);
    world.watch();
    let to = crate::facts::Resources {
        cpu_request: Some(plimsoll_contract::Cores(0.3)),
        ..world.facts.containers[1].spec
    };
    let proxy_to = crate::resize::sizes_of(&to);
    let mut other = wanted(Purpose::Grow, first());
    other.sizes = std::collections::BTreeMap::from([("proxy".to_owned(), proxy_to)]);
    assert_eq!(world.resize.plan(world.at(), &world.facts, other), Ok(()));
    world.record();
    world.resize.sent(world.time(), &world.facts);
    let container = &mut world.facts.containers[1];
    (container.spec, container.allocated, container.actual) = (to, Some(to), Some(to));
    world.facts.generation = Some(9);
    world.facts.observed_generation = Some(9);
    world.resize.accepted(world.at(), Some(9));
    world.watch();
    let took = Some(Duration::ZERO);
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took }], "that of the proxy");
    assert_eq!(world.state(), "accepted", "that of the one that is down");
    world.started();
    world.kernel = grown();
    world.report();
    assert_eq!(world.happened(), [What::Verified { purpose: Purpose::Grow, took: None }]);
    assert_eq!(world.resize.asked(), None);
}

#[test]
fn a_growth_of_the_request_alone_is_no_answer_to_a_kill() {
    let mut world = World::new();
    world.killed();
    let request = sizes((200, 500), (100, 128));
    world.plan(Purpose::Grow, request);
    assert_eq!(world.write(), request);
    world.kubelet_acts();
    assert_eq!(world.happened(), [What::SetAside { containers: "app".to_owned() }]);
    assert_eq!(world.recent_kills(), 1, "there was no room for its limit: there may be later");
}
