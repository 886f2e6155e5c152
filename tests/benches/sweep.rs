//! The cost of one sweep, per container: ours compared with the minimum (C), a library and the standard library.
//!
//! Readers take turns within each round, so that other load on the machine affects all of them; what counts is the ratio
//! within a round. A round has ten sweeps, in which every file was due.

use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;

use crate::cgroups::{self, CgroupTree, Kind};
use crate::cost::Cost;
use crate::plan;
use crate::readers::{Library, Native, Ours, Reader, Standard};
use crate::summary::Summary;
use crate::table::{Row, print_rows, print_target};

/// 500 containers.
const PODS: usize = 250;

const OURS: &str = "plimsoll: Host::sweep";
const LISTED: &str = "the same with a roster, as beside an aggregator";
const HELD: &str = "C, the same preads, all descriptors held";
const SAME: &str = "C, the same system calls";
const LIBRARY: &str = "cgroups-rs: cpu(), cpuacct(), memory_stat()";
const STANDARD: &str = "std::fs::read_to_string, same files";

struct Measured {
    name: &'static str,
    reader: Box<dyn Reader>,
    costs: Vec<Cost>,
}

/// Measures and prints.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let tree = CgroupTree::create(PODS)?;
    if let Some(because) = &tree.because {
        println!("real cgroups: skipped, {because} (root may create them)");
    }
    let (mut readers, _directory) = start_readers(&tree)?;
    for measured in &mut readers {
        measured.reader.sweep(0, plan::CYCLE).with_context(|| format!("warming up: {}", measured.name))?;
    }
    for _ in 0..rounds {
        for measured in &mut readers {
            let cost = measured.reader.sweep(0, plan::CYCLE).with_context(|| measured.name.to_owned())?;
            measured.costs.push(cost);
        }
    }
    println!("\n1. One sweep: {}", tree.describe());
    println!("   {rounds} rounds, {} sweeps each, taking turns; median (min to max)\n", plan::CYCLE);
    report(&readers, tree.containers());
    print_targets(&readers, tree.kind);
    discovery(&tree)
}

/// Sweeps without printing anything.
pub(crate) fn alone(rounds: usize) -> anyhow::Result<()> {
    let tree = CgroupTree::create(PODS)?;
    let mut ours = Ours::open(&tree)?;
    (0..rounds).try_for_each(|_| ours.sweep(0, plan::CYCLE).map(drop))
}

fn start_readers(tree: &CgroupTree) -> anyhow::Result<(Vec<Measured>, TempDir)> {
    let directory = cgroups::temporary_directory(false)?;
    let measured = |name, reader| Measured { name, reader, costs: Vec::new() };
    let mut readers = vec![
        measured(OURS, Box::new(Ours::open(tree)?) as Box<dyn Reader>),
        measured(LISTED, Box::new(Ours::with_roster(tree)?)),
    ];
    match Native::compile(directory.path()) {
        Ok(()) => {
            for (name, mode) in [(HELD, "held"), (SAME, "same")] {
                readers
                    .push(measured(name, Box::new(Native::start(directory.path(), &plan::of(tree), mode)?)));
            }
        }
        Err(error) => println!("C loop: skipped, {error:#}"),
    }
    readers.push(measured(LIBRARY, Box::new(Library::load(tree))));
    readers.push(measured(STANDARD, Box::new(Standard::new(plan::of(tree)))));
    Ok((readers, directory))
}

fn report(readers: &[Measured], containers: usize) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / (f64::from(plan::CYCLE) * containers as f64);
    let mut rows =
        vec![Row::from(["", "CPU, us per container", "wall, us", "of ours, CPU", "read calls per sweep"])];
    for measured in readers {
        let text =
            |summary: Option<Summary>, digits| summary.map_or("-".into(), |summary| summary.text(digits));
        let reads = measured.costs.iter().filter_map(|cost| cost.reads).min();
        rows.push(Row::from([
            measured.name.to_owned(),
            text(Summary::of(measured.costs.iter().map(|cost| micros(cost.cpu))), 2),
            text(Summary::of(measured.costs.iter().map(|cost| micros(cost.wall))), 2),
            text(Summary::of(ratios(&measured.costs, &readers[0].costs)), 2),
            reads.map_or("-".into(), |reads| format!("{:.1}", reads as f64 / f64::from(plan::CYCLE))),
        ]));
    }
    print_rows(&rows);
}

fn print_targets(readers: &[Measured], kind: Kind) {
    let costs = |name| {
        readers.iter().find(|measured| measured.name == name).map(|measured| measured.costs.as_slice())
    };
    let Some(ours) = costs(OURS) else { return };
    println!();
    for (name, maximum) in [(HELD, 1.5), (SAME, 1.5)] {
        if let Some(summary) = costs(name).and_then(|minimum| Summary::of(ratios(ours, minimum))) {
            print_target(
                &format!("ours / {name}"),
                &summary.text(2),
                summary.median <= maximum,
                &format!("at most {maximum}"),
            );
        }
    }
    if let Some(summary) = costs(LIBRARY).and_then(|library| Summary::of(ratios(library, ours))) {
        print_target("cgroups-rs / ours", &summary.text(1), summary.median >= 20.0, "at least 20");
    }
    if let Some(summary) = costs(LISTED).and_then(|listed| Summary::of(ratios(costs(LIBRARY)?, listed))) {
        println!("   {:<52} {}", "cgroups-rs / ours with a roster", summary.text(1));
    }
    if let Some(summary) = costs(STANDARD).and_then(|standard| Summary::of(ratios(standard, ours))) {
        println!("   {:<52} {}", "std::fs::read_to_string / ours", summary.text(1));
    }
    if kind == Kind::Simulated {
        println!("   (with plain files: the targets are for real cgroups)");
    }
}

/// CPU time of one over that of the other, by round.
fn ratios<'a>(one: &'a [Cost], other: &'a [Cost]) -> impl Iterator<Item = f64> + 'a {
    one.iter().zip(other).map(|(one, other)| one.cpu.as_secs_f64() / other.cpu.as_secs_f64())
}

/// Besides reading, the agent discovers pods: almost free in most sweeps, a listing of all directories in every tenth.
fn discovery(tree: &CgroupTree) -> anyhow::Result<()> {
    let mut ours = Ours::open(tree)?;
    let mut now = plimsoll_agent::clock::now();
    let (mut quiet, mut full) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        for seconds in 1..=10 {
            now.0 += Duration::from_secs(1);
            let start = Instant::now();
            ours.host.discover(now);
            let took = start.elapsed().as_secs_f64() * 1e6;
            if seconds == 10 { full.push(took) } else { quiet.push(took) }
        }
    }
    let text = |times| Summary::of(times).map_or("-".into(), |summary| summary.text(0));
    println!(
        "   discovery, us in total: {} in most sweeps, {} when all directories are listed",
        text(quiet),
        text(full)
    );
    Ok(())
}
