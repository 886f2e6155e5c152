//! A pod with one container as the watch and the reports show it, and the leader that resizes it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_contract::report::{ContainerCpu, ContainerMemory, ContainerReport, MemoryEvents, PodCgroup};
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, Moment};
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::size::{Size, Sizes};

use crate::cluster::apply::response::classify_resize;
use crate::facts::{ConditionFacts, ContainerFacts, PodFacts, Resources};
use crate::input::{Now, PodVersion};
use crate::resize::rejected::RejectionKind;
use crate::resize::{Believed, PodResize, Purpose, ResizeRefusal, Seen, Step, Wanted, What};

/// CPU request and limit in millicores, memory request and limit in Mi.
pub(super) fn sizes(cpu: (u64, u64), memory: (u64, u64)) -> Sizes {
    let size = |(request, limit), unit| Size { request: Some(request * unit), limit: Some(limit * unit) };
    Sizes { cpu: size(cpu, 1), memory: size(memory, 1 << 20) }
}

/// The size that every pod here starts with.
pub(super) fn first() -> Sizes {
    sizes((200, 500), (64, 128))
}

/// Twice the CPU.
pub(super) fn more() -> Sizes {
    sizes((400, 1000), (64, 128))
}

/// Less CPU.
pub(super) fn less() -> Sizes {
    sizes((160, 400), (64, 128))
}

pub(super) fn resources(sizes: Sizes) -> Resources {
    let cores = |amount: Option<u64>| amount.map(|amount| Cores(amount as f64 / 1000.0));
    Resources {
        cpu_request: cores(sizes.cpu.request),
        cpu_limit: cores(sizes.cpu.limit),
        memory_request: sizes.memory.request.map(Bytes),
        memory_limit: sizes.memory.limit.map(Bytes),
    }
}

pub(super) fn app(sizes: Sizes) -> BTreeMap<String, Sizes> {
    BTreeMap::from([("app".to_owned(), sizes)])
}

pub(super) fn wanted(purpose: Purpose, to: Sizes) -> Wanted {
    let why = vec!["app +500m (500->1000): U 0.45, gold".to_owned()];
    Wanted { sizes: app(to), purpose, class: "gold".to_owned(), why, growths: BTreeMap::new() }
}

/// The pod, its node and its leader.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) facts: PodFacts,
    pub(super) resize: PodResize,
    /// What the kernel holds.
    pub(super) kernel: Sizes,
    /// The node sets no quotas of CPU.
    pub(super) without_quotas: bool,
    /// What the agent measures beside the limits.
    pub(super) cpu: ContainerCpu,
    pub(super) memory: ContainerMemory,
    /// The pod's own cgroup.
    pub(super) cgroup: PodCgroup,
    pub(super) limits_age: f64,
    /// The container that the report names, where it is another than the facts'.
    pub(super) reported_id: Option<ContainerId>,
    /// The version of the pod in the API server.
    pub(super) version: u64,
}

impl World {
    pub(super) fn new() -> World {
        let mut facts = PodFacts::bare("shop", "web-0", "uid-1");
        facts.generation = Some(1);
        facts.observed_generation = Some(1);
        facts.containers = vec![ContainerFacts {
            name: "app".to_owned(),
            kind: ContainerKind::App,
            id: Some(ContainerId::new(&"a".repeat(64)).unwrap()),
            running: true,
            terminated: false,
            restarts: 0,
            spec: resources(first()),
            allocated: Some(resources(first())),
            actual: Some(resources(first())),
            cpu_resize_policy: None,
            memory_resize_policy: None,
            extended: false,
            oom_killed_at: None,
        }];
        World {
            now: Duration::from_secs(1000),
            facts,
            resize: PodResize::default(),
            kernel: first(),
            without_quotas: false,
            cpu: ContainerCpu::default(),
            memory: ContainerMemory::default(),
            cgroup: PodCgroup::default(),
            limits_age: 0.0,
            reported_id: None,
            version: 1,
        }
    }

    pub(super) fn at(&self) -> Moment {
        Moment(self.now)
    }

    pub(super) fn time(&self) -> Now {
        let seconds = i64::try_from(self.now.as_secs()).unwrap();
        Now { at: self.at(), wall: Timestamp::from_second(1_790_000_000 + seconds).unwrap() }
    }

    /// Time passes, second by second.
    pub(super) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.resize.tick(self.at(), &self.facts);
        }
    }

    pub(super) fn plan(&mut self, purpose: Purpose, to: Sizes) {
        self.resize.plan(self.at(), &self.facts, wanted(purpose, to)).unwrap();
    }

    /// The record is written and the watch shows it.
    pub(super) fn record(&mut self) {
        let step = self.resize.next(self.time(), &self.facts);
        let Step::Record(record) = step else { panic!("not a record: {step:?}") };
        self.resize.sent(self.time(), &self.facts);
        self.facts.annotations.extend(record.annotations);
        self.version += 1;
        self.resize.recorded(self.at(), self.pod_version());
        self.watch();
    }

    /// What the API server returns with a write.
    pub(super) fn pod_version(&self) -> PodVersion {
        let resource_version = Some(self.version.to_string());
        PodVersion { resource_version, generation: self.facts.generation }
    }

    /// The resize goes out.
    pub(super) fn send(&mut self) -> Sizes {
        let step = self.resize.next(self.time(), &self.facts);
        let Step::Send { sizes, resource_version } = step else { panic!("not a resize: {step:?}") };
        assert_eq!(resource_version, self.version.to_string(), "the version that the record returned");
        self.resize.sent(self.time(), &self.facts);
        sizes["app"]
    }

    /// The API server accepts a resize, and the watch shows it.
    pub(super) fn accept(&mut self, to: Sizes) {
        self.write_spec(to);
        self.resize.accepted(self.at(), self.facts.generation);
        self.watch();
    }

    /// Recorded, sent, accepted.
    pub(super) fn write(&mut self) -> Sizes {
        self.record();
        let to = self.send();
        self.accept(to);
        to
    }

    pub(super) fn refuse(&mut self, refusal: ResizeRefusal) {
        self.resize.refused(self.at(), &self.facts, refusal);
    }

    /// This replica leads from now on. The pod is of a class that may give much and take almost all, on a node with 4 cores and 1 GiB.
    pub(super) fn taken_over(&mut self) {
        let policy = Policy::builtin("bronze").unwrap();
        let believed = Believed { policy: &policy, allocatable: [Some(4000), Some(1 << 30)] };
        self.resize.restored(self.time(), &self.facts, Some(believed));
    }

    /// Somebody writes the spec.
    pub(super) fn write_spec(&mut self, to: Sizes) {
        self.facts.containers[0].spec = resources(to);
        self.facts.generation = self.facts.generation.map(|generation| generation + 1);
        self.version += 1;
    }

    pub(super) fn watch(&mut self) {
        self.resize.observe(self.at(), &self.facts);
    }

    /// The kubelet sets aside and applies what the spec says, and the watch shows it.
    pub(super) fn kubelet_acts(&mut self) {
        self.facts.conditions.clear();
        let container = &mut self.facts.containers[0];
        (container.allocated, container.actual) = (Some(container.spec), Some(container.spec));
        self.kernel = crate::resize::sizes_of(&container.spec);
        self.facts.observed_generation = self.facts.generation;
        self.watch();
    }

    /// The kubelet sets a condition of the newest generation, and the watch shows it.
    pub(super) fn condition(&mut self, kind: &str, reason: Option<&str>, message: &str) {
        self.facts.observed_generation = self.facts.generation;
        self.facts.conditions = vec![ConditionFacts {
            kind: kind.to_owned(),
            status: "True".to_owned(),
            reason: reason.map(str::to_owned),
            message: Some(message.to_owned()),
            observed_generation: self.facts.generation,
        }];
        self.watch();
    }

    pub(super) fn deferred(&mut self) {
        self.condition("PodResizePending", Some("Deferred"), "Node didn't have enough resource: cpu");
    }

    /// A report of what the kernel holds, read now.
    pub(super) fn report(&mut self) {
        let id = self.reported_id.clone().or(self.facts.containers[0].id.clone()).unwrap();
        let quota = self.kernel.cpu.limit.filter(|_| !self.without_quotas);
        let quota = quota.map(|limit| Limit::Of(Cores(limit as f64 / 1000.0)));
        let limit = self.kernel.memory.limit.map(|limit| Limit::Of(Bytes(limit)));
        let containers = [ContainerReport {
            id,
            cpu: ContainerCpu { limit_cores: quota.or(Some(Limit::Unlimited)), ..self.cpu.clone() },
            memory: ContainerMemory { limit: limit.or(Some(Limit::Unlimited)), ..self.memory.clone() },
            limits_age: Some(self.limits_age),
            window: None,
        }];
        let seen = Seen { containers: &containers, cgroup: self.cgroup };
        self.resize.report(self.at(), &self.facts, &seen);
    }

    /// The same report, to a replica that does not lead.
    pub(super) fn report_to_follower(&mut self) {
        let id = self.facts.containers[0].id.clone().unwrap();
        let memory = self.memory.clone();
        let containers =
            [ContainerReport { id, cpu: self.cpu.clone(), memory, limits_age: None, window: None }];
        self.resize.witness(self.time(), &self.facts, &Seen { containers: &containers, cgroup: self.cgroup });
    }

    pub(super) fn events(&mut self, max: u64, oom_kill: u64) {
        self.memory.events_delta =
            Some(MemoryEvents { high: None, max: Some(max), oom_kill: Some(oom_kill) });
    }

    /// A resize from the plan to the kernel.
    pub(super) fn resized(&mut self, purpose: Purpose, to: Sizes) {
        self.plan(purpose, to);
        assert_eq!(self.write(), to);
        self.wait(1);
        self.kubelet_acts();
        self.report();
        assert!(matches!(self.happened()[..], [What::Verified { purpose: done, .. }] if done == purpose));
    }

    /// It is resized once more.
    pub(super) fn resized_further(&mut self) {
        self.happened();
        self.resized(Purpose::Grow, sizes((800, 2000), (64, 128)));
    }

    pub(super) fn state(&self) -> &'static str {
        self.resize.state()
    }

    pub(super) fn happened(&mut self) -> Vec<What> {
        self.resize.take_happened().into_iter().map(|happened| happened.what).collect()
    }

    pub(super) fn nothing_is_due(&self) {
        assert_eq!(self.resize.next(self.time(), &self.facts), Step::Nothing);
    }
}

impl PodResize {
    /// Until when we yield, if we do.
    pub(super) fn yielding_until(&self, now: Moment) -> Option<Moment> {
        self.yielding.until(now).map(|(until, _)| until)
    }

    /// The size that was infeasible last.
    pub(super) fn infeasible_size(&self) -> Option<&BTreeMap<String, Sizes>> {
        self.rejected.last(RejectionKind::Infeasible)
    }
}

impl ResizeRefusal {
    /// Of a response with this status code and message.
    pub(crate) fn of(status: u16, message: &str) -> ResizeRefusal {
        ResizeRefusal::from(&classify_resize(status, None, message.as_bytes()))
    }
}
