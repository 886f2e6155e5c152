//! Plans for whole nodes. Nodes and pods are built here; each file below shows one idea.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_contract::load::BoundBy;
use plimsoll_contract::report::{Capacity, ContainerCpu, ContainerMemory, ContainerReport, MemoryEvents};
use plimsoll_contract::roster::ContainerKind;
use plimsoll_contract::status::LeftAlone;
use plimsoll_contract::{Bytes, ContainerId, Cores, Moment, NodeName, PodName, Resource};
use plimsoll_sizing::policy::Policy;
use plimsoll_sizing::size::{Size, Sizes};

use super::view::{ContainerView, Machine, NodeView, PodQuotas, PodView, Reserved, ResourceView};
use super::{Outcome, PlanSettings, PodVerdict, Refusal, plan_node};
use crate::facts::{ConditionFacts, ContainerFacts, NodeFacts, PodFacts, Resources, UserBounds};
use crate::resize::{Blocked, Purpose, Wanted, sizes_of};
use crate::settings::Division;
use crate::state::{LimitRanges, PolicyProblem};

mod birth;
mod division;
mod down;
mod headroom;
mod kept;
mod of_state;
mod properties;
mod recommended;
mod refusals;
mod rules;
mod speed;

const NOW: Moment = Moment(Duration::from_secs(100_000));
const MI: u64 = 1 << 20;
const GI: u64 = 1 << 30;

/// A node and its pods, owned.
#[derive(Debug, Clone)]
struct TestNode {
    facts: Option<NodeFacts>,
    report_age: Option<Duration>,
    capacity: Option<Capacity>,
    machine: Option<Machine>,
    memory_shrinks_stopped: bool,
    decreases_paused: Option<Moment>,
    week_time: (u8, u16),
    bounds_known: bool,
    limit_ranges: LimitRanges,
    pods: Vec<TestPod>,
}

/// A pod of one or more containers, owned.
#[derive(Debug, Clone)]
struct TestPod {
    facts: PodFacts,
    left_alone: Option<LeftAlone>,
    class: Option<Result<Policy, PolicyProblem<'static>>>,
    quotas: PodQuotas<'static>,
    report_age: Option<Duration>,
    reserved: Vec<(String, Resource, [Size; 2])>,
    in_flight: bool,
    blocked: Option<Blocked>,
    deferred: Option<BTreeMap<String, Sizes>>,
    newborn: bool,
    siblings: Vec<PodFacts>,
    reports: Vec<ContainerReport>,
    seen: BTreeMap<String, Seen>,
}

/// What is known of a container beside its facts and its report.
#[derive(Debug, Clone, Default)]
struct Seen {
    original: Option<Sizes>,
    cpu: ResourceView<'static>,
    memory: ResourceView<'static>,
    events: MemoryEvents,
}

impl TestNode {
    /// A ready node that reports, with this much to request and three quarters of its memory free.
    fn new(millicores: u64, bytes: u64) -> TestNode {
        let ready = ConditionFacts {
            kind: "Ready".into(),
            status: "True".into(),
            reason: None,
            message: None,
            observed_generation: None,
        };
        TestNode {
            facts: Some(NodeFacts {
                name: NodeName::new("n1").unwrap(),
                uid: None,
                allocatable_cpu: Some(cores(millicores)),
                allocatable_memory: Some(Bytes(bytes)),
                conditions: vec![ready],
            }),
            report_age: Some(Duration::from_secs(1)),
            capacity: Some(Capacity {
                cores: cores(millicores),
                bytes: Bytes(bytes),
                cpus: None,
                available_bytes: Some(Bytes(bytes / 4 * 3)),
            }),
            machine: None,
            memory_shrinks_stopped: false,
            decreases_paused: None,
            week_time: (3, 720),
            bounds_known: true,
            limit_ranges: LimitRanges::default(),
            pods: Vec::new(),
        }
    }

    fn with(mut self, pods: impl IntoIterator<Item = TestPod>) -> TestNode {
        self.pods.extend(pods);
        self.pods.sort_by(|a, b| a.facts.pod.cmp(&b.facts.pod));
        self
    }

    /// As [`TestNode::with`], and a pod without a class that leaves just this headroom of CPU.
    fn with_headroom(self, millicores: u64, pods: impl IntoIterator<Item = TestPod>) -> TestNode {
        let node = self.with(pods);
        let left = super::headroom::headroom(&node.view(), [0, 0]).cpu.unwrap();
        let mut filler =
            TestPod::new("filler", None).container("app", size(left - millicores, None), Size::default());
        filler.facts.qos = Some("Burstable".into());
        node.with([filler])
    }

    fn view(&self) -> NodeView<'_> {
        let namespaces = self.pods.iter().map(|pod| (&*pod.facts.pod.namespace, self.limit_ranges));
        NodeView {
            facts: self.facts.as_ref(),
            report_age: self.report_age,
            capacity: self.capacity,
            machine: self.machine,
            memory_shrinks_stopped: self.memory_shrinks_stopped,
            decreases_paused: self.decreases_paused,
            week_time: self.week_time,
            bounds_known: self.bounds_known,
            limit_ranges: namespaces.collect(),
            pods: self.pods.iter().map(TestPod::view).collect(),
        }
    }

    fn plan(&self, division: Division) -> BTreeMap<String, PodVerdict> {
        let settings = PlanSettings { division, ..PlanSettings::default() };
        let verdicts = plan_node(&self.view(), NOW, &settings);
        verdicts.into_iter().map(|(pod, verdict)| (pod.name.to_string(), verdict)).collect()
    }

    /// The verdict on one pod.
    fn verdict(&self, pod: &str) -> PodVerdict {
        self.plan(Division::Tiered).remove(pod).unwrap()
    }

    fn outcome(&self, pod: &str) -> Outcome {
        self.verdict(pod).outcome
    }

    /// What one pod is to get.
    fn wanted(&self, pod: &str) -> Wanted {
        wanted(self.outcome(pod))
    }
}

fn resources(Sizes { cpu, memory }: Sizes) -> Resources {
    Resources {
        cpu_request: cpu.request.map(cores),
        cpu_limit: cpu.limit.map(cores),
        memory_request: memory.request.map(Bytes),
        memory_limit: memory.limit.map(Bytes),
    }
}

/// What the kubelet says that it has allocated: requests alone.
fn requests(spec: Resources) -> Resources {
    Resources { cpu_limit: None, memory_limit: None, ..spec }
}

impl TestPod {
    /// A running pod of the class; without containers yet.
    fn new(name: &str, class: Option<&str>) -> TestPod {
        let mut facts = PodFacts::bare("shop", name, name);
        facts.node = Some(NodeName::new("n1").unwrap());
        TestPod {
            facts,
            left_alone: None,
            class: class.map(|class| Ok(Policy::builtin(class).unwrap())),
            quotas: PodQuotas::default(),
            report_age: Some(Duration::ZERO),
            reserved: Vec::new(),
            in_flight: false,
            blocked: None,
            deferred: None,
            newborn: false,
            siblings: Vec::new(),
            reports: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// One more container, which is idle and has been watched for two days.
    fn container(mut self, name: &str, cpu: Size, memory: Size) -> TestPod {
        let number = self.facts.containers.len() + 1;
        let id = ContainerId::new(&format!("{number:064x}")).unwrap();
        let spec = resources(Sizes { cpu, memory });
        self.facts.containers.push(ContainerFacts {
            name: name.into(),
            kind: ContainerKind::App,
            id: Some(id.clone()),
            running: true,
            terminated: false,
            restarts: 0,
            spec,
            allocated: Some(requests(spec)),
            actual: Some(spec),
            cpu_resize_policy: None,
            memory_resize_policy: None,
            extended: false,
            oom_killed_at: None,
        });
        self.reports.push(ContainerReport {
            id,
            cpu: ContainerCpu::default(),
            memory: ContainerMemory::default(),
            limits_age: Some(0.0),
            window: Some(48.0 * 3600.0),
        });
        self.uses(0, 16 * MI)
    }

    /// The last container uses this much, steadily.
    fn uses(mut self, millicores: u64, bytes: u64) -> TestPod {
        let (facts, report) = (self.facts.containers.last().unwrap(), self.reports.last_mut().unwrap());
        let size = sizes_of(&facts.spec).cpu;
        let basis = size.limit.or(size.request);
        let used = Some(cores(millicores));
        report.cpu = ContainerCpu {
            cores: used,
            throttled: size.limit.map(|_| 0.0),
            throttled2: size.limit.map(|_| 0.0),
            throttled3: size.limit.map(|_| 0.0),
            mean3: used,
            utilization3: basis.map(|basis| millicores as f64 / basis as f64),
            pressure: Some(0.0),
            p95: used,
            peak: used,
            bound_by: Some(BoundBy::None),
            ..ContainerCpu::default()
        };
        let bytes = Some(Bytes(bytes));
        report.memory = ContainerMemory {
            working_set: bytes,
            unreclaimable: bytes,
            unreclaimable2: bytes,
            growth: Some(0.0),
            pressure: Some(0.0),
            events: Some(MemoryEvents::default()),
            peak: bytes,
            ..ContainerMemory::default()
        };
        self
    }

    /// The last container needs CPU: throttled in this share of the periods, using this part of its basis, under this pressure, and high for
    /// so many seconds.
    fn burning(mut self, throttled: f64, utilization: f64, pressure: f64, high: u64) -> TestPod {
        let facts = self.facts.containers.last().unwrap();
        let (name, size) = (facts.name.clone(), sizes_of(&facts.spec).cpu);
        let basis = size.limit.or(size.request).unwrap();
        let mut pod = self.clone().uses((basis as f64 * utilization).round() as u64, 16 * MI);
        let cpu = &mut pod.reports.last_mut().unwrap().cpu;
        cpu.utilization3 = Some(utilization);
        cpu.throttled2 = size.limit.map(|_| throttled);
        cpu.throttled3 = size.limit.map(|_| throttled);
        cpu.pressure = Some(pressure);
        pod.seen_mut(&name).cpu.high = Duration::from_secs(high);
        self = pod;
        self
    }

    /// The last container has used up its memory.
    fn uses_up_memory(mut self) -> TestPod {
        let limit = self.facts.containers.last().unwrap().spec.memory_limit;
        let memory = &mut self.reports.last_mut().unwrap().memory;
        (memory.working_set, memory.unreclaimable, memory.unreclaimable2) = (limit, limit, limit);
        self
    }

    /// A resize of the first container is under way.
    fn in_flight(&mut self, resource: Resource, from: Size, to: Size) {
        self.reserved.push((self.facts.containers[0].name.clone(), resource, [from, to]));
    }

    fn seen_mut(&mut self, container: &str) -> &mut Seen {
        self.seen.entry(container.to_owned()).or_default()
    }

    fn view(&self) -> PodView<'_> {
        let managed = matches!(self.class, Some(Ok(_)));
        let containers = self.facts.containers.iter().filter(|c| managed && c.kind.counts()).map(|facts| {
            let seen = self.seen.get(&facts.name).cloned().unwrap_or_default();
            ContainerView {
                facts,
                report: self.reports.iter().find(|report| Some(&report.id) == facts.id.as_ref()),
                original: seen.original.unwrap_or_else(|| sizes_of(&facts.spec)),
                memory_events: seen.events,
                cpu_growth: None,
                cpu: seen.cpu,
                memory: seen.memory,
            }
        });
        let reserved = self.reserved.iter();
        PodView {
            facts: &self.facts,
            report_age: self.report_age,
            left_alone: self.left_alone,
            class: self.class.as_ref().map(|class| class.as_ref().map_err(|problem| *problem)),
            quotas: self.quotas,
            reserved: reserved
                .map(|(name, resource, sizes)| ((name.as_str(), *resource), *sizes))
                .collect::<Reserved<'_>>(),
            in_flight: self.in_flight,
            blocked: self.blocked.clone(),
            deferred: self.deferred.as_ref(),
            newborn: self.newborn,
            siblings: self.siblings.iter().collect(),
            containers: containers.collect(),
        }
    }
}

fn cores(millicores: u64) -> Cores {
    Cores(millicores as f64 / 1000.0)
}

fn size(request: impl Into<Option<u64>>, limit: impl Into<Option<u64>>) -> Size {
    Size { request: request.into(), limit: limit.into() }
}

/// A throttled pod whose request is its limit: it can use twice as much.
fn burner(name: &str, class: &str, millicores: u64) -> TestPod {
    let pod = TestPod::new(name, Some(class));
    pod.container(name, size(millicores, millicores), size(64 * MI, 64 * MI)).burning(0.5, 1.0, 50.0, 300)
}

fn wanted(outcome: Outcome) -> Wanted {
    match outcome {
        Outcome::Wanted(wanted) => wanted,
        other => panic!("it should be resized: {other:?}"),
    }
}

/// What a pod grows by in CPU requests, all containers together.
fn granted(verdict: &PodVerdict, pod: &TestPod) -> u64 {
    let Outcome::Wanted(wanted) = &verdict.outcome else { return 0 };
    let before =
        |name: &str| pod.facts.containers.iter().find(|c| c.name == name).map(|c| sizes_of(&c.spec).cpu);
    let grown = wanted.sizes.iter().map(|(name, sizes)| {
        let from = before(name).and_then(|size| size.request).unwrap_or(0);
        sizes.cpu.request.unwrap_or(0).saturating_sub(from)
    });
    grown.sum()
}

#[test]
fn a_throttled_pod_grows_in_place_and_says_why() {
    let node = TestNode::new(8000, 16 * GI).with([burner("web", "gold", 500)]);
    let wanted = node.wanted("web");
    assert_eq!((wanted.purpose, wanted.class.as_str()), (Purpose::Grow, "gold"));
    assert_eq!(wanted.sizes["web"], Sizes { cpu: size(1000, 1000), memory: size(64 * MI, 64 * MI) });
    let said = "web +500m (500->1000): U 1.00 [throttle 1.00x.42, util 1.00x.23, psi 1.00x.23, high 1.00x.12], gold, headroom 7100m";
    assert_eq!(wanted.why, [said]);
}

#[test]
fn what_fits_stays_and_what_is_idle_for_long_enough_shrinks() {
    let fits = TestPod::new("fits", Some("bronze"))
        .container("app", size(500, 750), size(64 * MI, 64 * MI))
        .uses(450, 32 * MI);
    let idle = TestPod::new("idle", Some("bronze"))
        .container("app", size(500, 1000), size(64 * MI, 64 * MI))
        .uses(20, 32 * MI);
    let node = TestNode::new(8000, 16 * GI).with([fits, idle]);
    assert_eq!(node.outcome("fits"), Outcome::Fits);
    let wanted = node.wanted("idle");
    assert_eq!(wanted.purpose, Purpose::Shrink);
    assert_eq!(wanted.sizes["app"].cpu, size(400, 800), "at most a fifth at once");
    assert_eq!(wanted.sizes["app"].memory, size(64 * MI, 64 * MI), "memory is not decreased by default");
}
