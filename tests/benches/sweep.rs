//! What one sweep costs, per container: ours beside the floor (C), the library and the standard way.
//!
//! Contenders take turns within each round, so that whatever else the machine does befalls all of them; what counts is
//! the ratio within a round. A round is a whole rota of ten sweeps, in which every file had its turn.

use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;

use crate::contenders::{Contender, Library, Native, Ours, Standard};
use crate::figures::Cost;
use crate::ground::{self, Ground, Kind};
use crate::plan;
use crate::print::{Row, table, verdict};
use crate::spread::Spread;

/// 500 containers.
const PODS: usize = 250;

const OURS: &str = "plimsoll: Host::sweep";
const HELD: &str = "C, the same preads, all descriptors held";
const SAME: &str = "C, the same system calls";
const LIBRARY: &str = "cgroups-rs: cpu(), cpuacct(), memory_stat()";
const STANDARD: &str = "std::fs::read_to_string, same files";

struct Lane {
    name: &'static str,
    contender: Box<dyn Contender>,
    costs: Vec<Cost>,
}

/// Measures and prints.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let ground = Ground::make(PODS)?;
    if let Some(because) = &ground.because {
        println!("real cgroups: skipped, {because} (root may make them)");
    }
    let (mut lanes, _directory) = line_up(&ground)?;
    for lane in &mut lanes {
        lane.contender.sweep(0, plan::ROTA).with_context(|| format!("warming up: {}", lane.name))?;
    }
    for _ in 0..rounds {
        for lane in &mut lanes {
            let cost = lane.contender.sweep(0, plan::ROTA).with_context(|| lane.name.to_owned())?;
            lane.costs.push(cost);
        }
    }
    println!("\n1. One sweep: {}", ground.describe());
    println!("   {rounds} rounds, {} sweeps each, taking turns; median (min to max)\n", plan::ROTA);
    report(&lanes, ground.containers());
    judge(&lanes, ground.kind);
    discovery(&ground)
}

/// Sweeps, and prints nothing.
pub(crate) fn alone(rounds: usize) -> anyhow::Result<()> {
    let ground = Ground::make(PODS)?;
    let mut ours = Ours::open(&ground)?;
    (0..rounds).try_for_each(|_| ours.sweep(0, plan::ROTA).map(drop))
}

fn line_up(ground: &Ground) -> anyhow::Result<(Vec<Lane>, TempDir)> {
    let directory = ground::scratch(false)?;
    let lane = |name, contender| Lane { name, contender, costs: Vec::new() };
    let mut lanes = vec![lane(OURS, Box::new(Ours::open(ground)?) as Box<dyn Contender>)];
    match Native::compile(directory.path()) {
        Ok(()) => {
            for (name, how) in [(HELD, "held"), (SAME, "same")] {
                lanes.push(lane(name, Box::new(Native::start(directory.path(), &plan::of(ground), how)?)));
            }
        }
        Err(error) => println!("C loop: skipped, {error:#}"),
    }
    lanes.push(lane(LIBRARY, Box::new(Library::load(ground))));
    lanes.push(lane(STANDARD, Box::new(Standard::new(plan::of(ground)))));
    Ok((lanes, directory))
}

fn report(lanes: &[Lane], containers: usize) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / (f64::from(plan::ROTA) * containers as f64);
    let mut rows =
        vec![Row::from(["", "CPU, us per container", "wall, us", "of ours, CPU", "read calls per sweep"])];
    for lane in lanes {
        let text = |spread: Option<Spread>, digits| spread.map_or("-".into(), |spread| spread.text(digits));
        let reads = lane.costs.iter().filter_map(|cost| cost.reads).min();
        rows.push(Row::from([
            lane.name.to_owned(),
            text(Spread::of(lane.costs.iter().map(|cost| micros(cost.cpu))), 2),
            text(Spread::of(lane.costs.iter().map(|cost| micros(cost.wall))), 2),
            text(Spread::of(ratios(&lane.costs, &lanes[0].costs)), 2),
            reads.map_or("-".into(), |reads| format!("{:.1}", reads as f64 / f64::from(plan::ROTA))),
        ]));
    }
    table(&rows);
}

fn judge(lanes: &[Lane], kind: Kind) {
    let costs = |name| lanes.iter().find(|lane| lane.name == name).map(|lane| lane.costs.as_slice());
    let Some(ours) = costs(OURS) else { return };
    println!();
    for (name, most) in [(HELD, 1.5), (SAME, 1.5)] {
        if let Some(spread) = costs(name).and_then(|floor| Spread::of(ratios(ours, floor))) {
            verdict(
                &format!("ours / {name}"),
                &spread.text(2),
                spread.median <= most,
                &format!("at most {most}"),
            );
        }
    }
    if let Some(spread) = costs(LIBRARY).and_then(|library| Spread::of(ratios(library, ours))) {
        verdict("cgroups-rs / ours", &spread.text(1), spread.median >= 20.0, "at least 20");
    }
    if let Some(spread) = costs(STANDARD).and_then(|standard| Spread::of(ratios(standard, ours))) {
        println!("   {:<52} {}", "std::fs::read_to_string / ours", spread.text(1));
    }
    if kind == Kind::Simulated {
        println!("   (of plain files: the targets are set for real cgroups)");
    }
}

/// CPU time of one over that of the other, round by round.
fn ratios<'a>(one: &'a [Cost], other: &'a [Cost]) -> impl Iterator<Item = f64> + 'a {
    one.iter().zip(other).map(|(one, other)| one.cpu.as_secs_f64() / other.cpu.as_secs_f64())
}

/// Beside the reading there is the looking for pods: next to nothing in most sweeps, a listing of everything in every tenth.
fn discovery(ground: &Ground) -> anyhow::Result<()> {
    let mut ours = Ours::open(ground)?;
    let mut now = plimsoll_agent::clock::now();
    let (mut quiet, mut full) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        for seconds in 1..=10 {
            now.0 += Duration::from_secs(1);
            let began = Instant::now();
            ours.host.discover(now);
            let took = began.elapsed().as_secs_f64() * 1e6;
            if seconds == 10 { full.push(took) } else { quiet.push(took) }
        }
    }
    let text = |times| Spread::of(times).map_or("-".into(), |spread| spread.text(0));
    println!(
        "   discovery beside it, us in total: {} in a quiet sweep, {} when everything is listed",
        text(quiet),
        text(full)
    );
    Ok(())
}
