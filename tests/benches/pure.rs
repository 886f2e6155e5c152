//! The cost of the pure core: adding a reading, updating the bands, writing the metrics.

use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_agent::profile::Profile;
use plimsoll_agent::sample::{CpuCounters, Inode, MemoryDetail, Read, Reading, Target, Throttling};
use plimsoll_agent::series;
use plimsoll_agent::state::{NodeState, WithoutRoster};
use plimsoll_contract::report::{Capacity, MemoryEvents};
use plimsoll_contract::roster::{Answer, Bands, ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, Moment, PodUid};

use crate::summary::Summary;

const PODS: u64 = 110;
const CONTAINERS: usize = 220;
const SWEEPS: u64 = 200;

/// Measures and prints.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let targets = targets()?;
    let mut state = NodeState::new(Profile::standard(), WithoutRoster::Unknown);
    state.set_capacity(
        Capacity { cores: Cores(4.0), bytes: Bytes(16 << 30), cpus: None, available_bytes: None },
        None,
    );
    state.apply_roster(&roster(&targets), Moment::default());
    let (mut observing, mut classifying, mut writing, mut length) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut sweep = 0;
    for _ in 0..=rounds {
        let (mut observe, mut classify) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..SWEEPS {
            sweep += 1;
            let start = Instant::now();
            for (index, target) in targets.iter().enumerate() {
                state.observe(target, &reading(sweep, index));
            }
            observe += start.elapsed();
            let start = Instant::now();
            let now = Moment(Duration::from_secs(sweep));
            black_box(state.classify(now, Timestamp::UNIX_EPOCH));
            black_box(state.urgent_pods(now));
            classify += start.elapsed();
        }
        let start = Instant::now();
        let mut text = String::new();
        series::write(&mut text, &state);
        writing.push(start.elapsed().as_secs_f64() * 1e6);
        length = black_box(text).len();
        let each = |time: Duration| time.as_secs_f64() * 1e9 / (SWEEPS as f64 * CONTAINERS as f64);
        observing.push(each(observe));
        classifying.push(each(classify));
    }
    println!(
        "\n3. The pure core: {CONTAINERS} containers in {PODS} pods, {rounds} rounds of {SWEEPS} sweeps, no file read\n"
    );
    // The first round is the warm-up.
    let text = |times: &[f64], digits| {
        Summary::of(times[1..].iter().copied()).map_or("-".into(), |summary| summary.text(digits))
    };
    println!("   NodeState::observe, ns per container and sweep       {}", text(&observing, 0));
    println!("   classify and urgent_pods, ns per container and sweep {}", text(&classifying, 0));
    println!("   /metrics of all pods ({} KiB), us per scrape        {}", length >> 10, text(&writing, 0));
    Ok(())
}

fn targets() -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for number in 0..PODS {
        let pod = PodUid::new(&format!("00000000-5f2a-4c3b-9d8e-{number:012x}"))?;
        for container in 0..CONTAINERS as u64 / PODS {
            let id = ContainerId::new(&format!("{:064x}", number * 2 + container))?;
            targets.push(Target { pod: pod.clone(), container: Some(id) });
        }
    }
    Ok(targets)
}

/// The first container of each pod is the application, the other one the pause container, which is in no roster.
fn roster(targets: &[Target]) -> Answer {
    let pod = |(number, target): (usize, &Target)| RosterPod {
        uid: target.pod.clone(),
        namespace: "bench".into(),
        name: format!("web-{number}"),
        managed: false,
        bands: Bands::default(),
        containers: target.container.iter().map(roster_container).collect(),
    };
    Answer {
        roster_version: 1,
        roster: targets.iter().step_by(2).enumerate().map(pod).collect(),
        ..Answer::default()
    }
}

fn roster_container(id: &ContainerId) -> RosterContainer {
    let (cpu_request, memory_request) = (Some(Cores(0.1)), Some(Bytes(64 << 20)));
    RosterContainer {
        id: id.clone(),
        name: "app".into(),
        kind: ContainerKind::App,
        running: true,
        generation: 0,
        cpu_request,
        memory_request,
    }
}

/// A constant load of a third of a core; each value is due as often as the agent reads it.
fn reading(sweep: u64, index: usize) -> Reading {
    let phase = sweep + index as u64;
    fn due<T>(due: bool, value: T) -> Read<T> {
        if due { Read::Value(value) } else { Read::NotDue }
    }
    let (detail, limits) = (phase.is_multiple_of(5), phase % 10 == 2);
    let throttling = Some(Throttling { periods: sweep * 10, throttled: sweep });
    Reading {
        at: Moment(Duration::from_secs(sweep)),
        inode: Inode { device: 1, number: index as u64 },
        cpu: Read::Value(CpuCounters { usage: Duration::from_millis(sweep * 333), throttling }),
        cpu_limit: due(limits, Limit::Of(Cores(0.5))),
        cpu_pressure: due(detail, 1.5),
        memory: Read::Value(Bytes(100 << 20)),
        memory_detail: due(
            detail,
            MemoryDetail {
                anon: Some(Bytes(50 << 20)),
                shmem: Some(Bytes(0)),
                file: Some(Bytes(50 << 20)),
                active_file: Some(Bytes(40 << 20)),
                inactive_file: Some(Bytes(10 << 20)),
                ..MemoryDetail::default()
            },
        ),
        memory_limit: due(limits, Limit::Of(Bytes(256 << 20))),
        memory_pressure: due(detail, 0.0),
        populated: due(detail, true),
        memory_events: due(detail, MemoryEvents { high: Some(0), max: Some(0), oom_kill: Some(0) }),
    }
}
