//! `--once`: two sweeps one period apart, then the report. The tool to debug a node, or a captured tree, with.

use std::io::{self, Write};

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::report::{Capacity, Report};
use plimsoll_contract::roster::Answer;

use crate::book::{Book, ReportHead};
use crate::clock;
use crate::config::Config;
use crate::host::{Change, Host};
use crate::sample::Moment;

/// Looks twice and prints the report on stdout as JSON.
///
/// # Errors
/// If there are no cgroups under the root, or stdout is closed.
pub fn print(config: &Config) -> anyhow::Result<()> {
    let first = clock::now();
    let report = look_twice(config, None, Timestamp::now(), || {
        std::thread::sleep(config.profile.period);
        (first, clock::now())
    })?;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report).context("cannot print the report")?;
    writeln!(out).context("cannot print the report")
}

/// Sweeps, waits by calling `between` (which says when the two sweeps are taken to happen), sweeps again, reports.
/// `wall` is the time of day of the first sweep.
///
/// # Errors
/// If there are no cgroups under the root.
pub fn look_twice(
    config: &Config,
    roster: Option<&Answer>,
    wall: Timestamp,
    between: impl FnOnce() -> (Moment, Moment),
) -> anyhow::Result<Report> {
    let mut host = Host::open(&config.host)?;
    let facts = host.node()?;
    let without_roster = match roster {
        Some(_) => crate::book::WithoutRoster::Unknown,
        None => config.without_roster(),
    };
    let mut book = Book::new(config.profile.clone(), without_roster);
    book.set_node(&facts.capacity());
    let mut readings = Vec::new();
    discover(&mut host, &mut book, Moment::default());
    host.sweep(Moment::default, |target, reading| readings.push((target.clone(), reading.clone())));
    let (first, second) = between();
    for (target, mut reading) in readings {
        reading.at = first;
        book.observe(&target, &reading);
    }
    if let Some(roster) = roster {
        book.apply_roster(roster, first, wall);
    }
    book.settle(first, wall);
    discover(&mut host, &mut book, second);
    host.sweep(|| second, |target, reading| book.observe(target, reading));
    book.settle(second, wall.saturating_add(second.since(first))?);
    let capacity = Capacity { cores: facts.cpus, bytes: facts.memory };
    let head =
        ReportHead { node: config.node.clone(), boot: facts.boot, seq: 1, roster_version: 0, capacity };
    Ok(book.full_report(&head, second))
}

fn discover(host: &mut Host, book: &mut Book, now: Moment) {
    for change in host.discover(now) {
        match change {
            Change::Appeared(target) => book.appeared(&target, now),
            Change::Gone(target) => book.gone(&target, now),
        }
    }
}
