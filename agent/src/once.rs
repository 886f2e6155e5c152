//! `--once`: two sweeps one period apart, then the report. For debugging a node, or a captured tree. The report is on stdout; that there
//! is nothing to report, and where it was looked for, is in the log on stderr.

use std::io::{self, Write};

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Moment, Report};

use crate::clock;
use crate::config::Config;
use crate::host::{CgroupEvent, Host};
use crate::report;
use crate::state::{NodeState, WithoutRoster};

/// Sweeps twice and prints the report on stdout as JSON.
///
/// # Errors
/// If there are no cgroups under the root, or stdout is closed.
pub(crate) fn print(config: &Config) -> anyhow::Result<()> {
    let first = clock::now();
    let report = sweep_twice(config, None, Timestamp::now(), || {
        std::thread::sleep(config.profile.period);
        (first, clock::now())
    })?;
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report).context("cannot print the report")?;
    writeln!(out).context("cannot print the report")
}

/// Sweeps, waits by calling `between` (which returns the times of the two sweeps), sweeps again, and returns the report.
/// `wall` is the wall-clock time of the first sweep.
///
/// # Errors
/// If there are no cgroups under the root.
pub fn sweep_twice(
    config: &Config,
    roster: Option<&Answer>,
    wall: Timestamp,
    between: impl FnOnce() -> (Moment, Moment),
) -> anyhow::Result<Report> {
    let mut host = Host::open(&config.host)?;
    let info = host.node_info()?;
    let without_roster = match roster {
        Some(_) => WithoutRoster::Unknown,
        None => config.without_roster(),
    };
    let mut state = NodeState::new(config.profile.clone(), without_roster);
    state.set_capacity(info.capacity, info.cpus);
    let mut readings = Vec::new();
    discover(&mut host, &mut state, Moment::default());
    host.sweep(Moment::default, |target, reading| readings.push((target.clone(), reading.clone())));
    let (first, second) = between();
    for (target, mut reading) in readings {
        reading.at = first;
        state.observe(&target, &reading);
    }
    if let Some(roster) = roster {
        state.apply_roster(roster, first);
    }
    state.classify(first, wall);
    discover(&mut host, &mut state, second);
    host.sweep(|| second, |target, reading| state.observe(target, reading));
    state.classify(second, wall.saturating_add(second.since(first))?);
    let kubepods = host.describe().kubepods;
    // that there is no such directory has been logged
    if !kubepods.is_empty() && state.pods().next().is_none() {
        tracing::warn!(
            kubepods = kubepods.join(", "),
            "the kubepods directory has no pods: if this node has pods, name theirs with --kubepods PATH, or the host's root with \
             --host-root"
        );
    }
    Ok(state.full_report(report::empty(&config.node, &info, 1, 0), second))
}

fn discover(host: &mut Host, state: &mut NodeState, now: Moment) {
    for event in host.discover(now) {
        match event {
            CgroupEvent::Appeared(target) => state.appeared(&target, now),
            CgroupEvent::Gone(target) => state.gone(&target, now),
        }
    }
}
