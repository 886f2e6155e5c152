//! What the pure core costs: a reading taken in, the bands brought up to date, the metrics written.

use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_agent::book::{Book, WithoutRoster};
use plimsoll_agent::profile::Profile;
use plimsoll_agent::sample::{
    CpuCounters, Inode, MemoryDetail, Moment, NodeCapacity, Read, Reading, Target, Throttling,
};
use plimsoll_agent::series;
use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::{Answer, Bands, ContainerKind, RosterContainer, RosterPod};
use plimsoll_contract::{Bytes, ContainerId, Cores, Limit, PodUid};

use crate::spread::Spread;

const PODS: u64 = 110;
const CONTAINERS: usize = 220;
const SWEEPS: u64 = 200;

/// Measures and prints.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let targets = targets()?;
    let mut book = Book::new(Profile::standard(), WithoutRoster::Unknown);
    book.set_node(&NodeCapacity { cpus: Cores(4.0), memory: Bytes(16 << 30) });
    book.apply_roster(&roster(&targets), Moment::default(), Timestamp::UNIX_EPOCH);
    let (mut observing, mut settling, mut writing, mut length) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut sweep = 0;
    for _ in 0..=rounds {
        let (mut observe, mut settle) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..SWEEPS {
            sweep += 1;
            let began = Instant::now();
            for (place, target) in targets.iter().enumerate() {
                book.observe(target, &reading(sweep, place));
            }
            observe += began.elapsed();
            let began = Instant::now();
            let now = Moment(Duration::from_secs(sweep));
            black_box(book.settle(now, Timestamp::UNIX_EPOCH));
            black_box(book.urgent(now));
            settle += began.elapsed();
        }
        let began = Instant::now();
        let mut text = String::new();
        series::write(&mut text, &book);
        writing.push(began.elapsed().as_secs_f64() * 1e6);
        length = black_box(text).len();
        let each = |time: Duration| time.as_secs_f64() * 1e9 / (SWEEPS as f64 * CONTAINERS as f64);
        observing.push(each(observe));
        settling.push(each(settle));
    }
    println!(
        "\n3. The pure core: {CONTAINERS} containers in {PODS} pods, {rounds} rounds of {SWEEPS} sweeps, no file read\n"
    );
    // The first round warms up.
    let text = |times: &[f64], digits| {
        Spread::of(times[1..].iter().copied()).map_or("-".into(), |spread| spread.text(digits))
    };
    println!("   Book::observe, ns per container and sweep            {}", text(&observing, 0));
    println!("   Book::settle and urgent, ns per container and sweep  {}", text(&settling, 0));
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

/// The first container of each pod is the application's, the other the pause container, which is in no roster.
fn roster(targets: &[Target]) -> Answer {
    let pod = |(number, target): (usize, &Target)| RosterPod {
        uid: target.pod.clone(),
        namespace: "bench".into(),
        name: format!("web-{number}"),
        managed: false,
        bands: Bands::default(),
        containers: target.container.iter().map(listed).collect(),
    };
    Answer {
        roster_version: 1,
        roster: targets.iter().step_by(2).enumerate().map(pod).collect(),
        refused: Vec::new(),
    }
}

fn listed(id: &ContainerId) -> RosterContainer {
    let (cpu_request, memory_request) = (Some(Cores(0.1)), Some(Bytes(64 << 20)));
    RosterContainer {
        id: id.clone(),
        name: "app".into(),
        kind: ContainerKind::App,
        generation: 0,
        cpu_request,
        memory_request,
    }
}

/// A steady load of a third of a core, in the agent's own rhythm of reading.
fn reading(sweep: u64, place: usize) -> Reading {
    let turn = sweep + place as u64;
    fn due<T>(due: bool, value: T) -> Read<T> {
        if due { Read::Value(value) } else { Read::NotDue }
    }
    let (detail, limits) = (turn.is_multiple_of(5), turn % 10 == 2);
    let throttling = Some(Throttling { periods: sweep * 10, throttled: sweep });
    Reading {
        at: Moment(Duration::from_secs(sweep)),
        inode: Inode { device: 1, number: place as u64 },
        cpu: Read::Value(CpuCounters { usage: Duration::from_millis(sweep * 333), throttling }),
        cpu_limit: due(limits, Limit::Of(Cores(0.5))),
        cpu_pressure: due(detail, 1.5),
        memory: Read::Value(Bytes(100 << 20)),
        memory_detail: due(
            detail,
            MemoryDetail { inactive_file: Bytes(10 << 20), unreclaimable: Bytes(50 << 20) },
        ),
        memory_limit: due(limits, Limit::Of(Bytes(256 << 20))),
        memory_pressure: due(detail, 0.0),
        memory_events: due(detail, MemoryEvents { high: 0, max: 0, oom_kill: 0 }),
    }
}
