//! The files of simulated cgroups: their content, and how they are written under the eyes of readers.
//!
//! A reader holds its descriptor for the life of a cgroup, as on a real host. So a file is written in place, by one `pwrite`
//! of a content whose length does not change while the counters do (numbers are padded with zeros), and is emptied before
//! it is unlinked.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use plimsoll_contract::Limit;

use super::account::{Meter, Pressure};
use crate::host::layout::Hierarchy;
use crate::host::{Limits, PERIOD};

/// Name and content of each file of one cgroup, in one of the trees.
pub(super) type Files = Vec<(&'static str, String)>;

/// What cgroup v1 says where nothing is limited.
const V1_UNLIMITED: u64 = 9_223_372_036_854_771_712;

/// The trees of a hierarchy: their directory below `sys/fs/cgroup`.
pub(super) fn trees(hierarchy: Hierarchy) -> &'static [&'static str] {
    match hierarchy {
        Hierarchy::V2 => &[""],
        Hierarchy::V1 => &["cpu,cpuacct", "memory"],
    }
}

/// The files of a cgroup in a tree.
pub(super) fn files(tree: &str, limits: &Limits, meter: &Meter) -> Files {
    match tree {
        "" => v2(limits, meter),
        "memory" => v1_memory(limits, meter),
        _ => v1_cpu(limits, meter),
    }
}

fn v2(limits: &Limits, meter: &Meter) -> Files {
    let usage = micros(meter.usage);
    let (user, system) = (usage - usage / 5, usage / 5);
    let cpu_stat = lines(&[
        ("usage_usec", usage),
        ("user_usec", user),
        ("system_usec", system),
        ("nr_periods", meter.periods),
        ("nr_throttled", meter.throttled_periods),
        ("throttled_usec", micros(meter.throttled)),
        ("nr_bursts", 0),
        ("burst_usec", 0),
    ]);
    let memory_stat = lines(&[
        ("anon", meter.anon),
        ("file", meter.inactive_file),
        ("kernel", 0),
        ("kernel_stack", 0),
        ("pagetables", 0),
        ("sock", 0),
        ("shmem", 0),
        ("file_mapped", 0),
        ("file_dirty", 0),
        ("file_writeback", 0),
        ("inactive_anon", 0),
        ("active_anon", meter.anon),
        ("inactive_file", meter.inactive_file),
        ("active_file", 0),
        ("unevictable", 0),
        ("slab_reclaimable", 0),
        ("slab_unreclaimable", 0),
        ("slab", 0),
    ]);
    let quota = match limits.quota() {
        Limit::Unlimited => "max".to_owned(),
        Limit::Of(micros) => micros.to_string(),
    };
    let most = limits.memory.bound().map_or_else(|| "max".to_owned(), |bytes| bytes.0.to_string());
    let events =
        [("low", 0), ("high", 0), ("max", meter.hits), ("oom", 0), ("oom_kill", 0), ("oom_group_kill", 0)];
    vec![
        ("cpu.stat", cpu_stat),
        ("cpu.max", format!("{quota} {}\n", PERIOD.as_micros())),
        ("cpu.weight", format!("{}\n", limits.weight())),
        ("cpu.pressure", pressure(&meter.cpu_pressure)),
        ("memory.current", number(meter.current())),
        ("memory.stat", memory_stat),
        ("memory.max", format!("{most}\n")),
        ("memory.events", lines(&events)),
        ("memory.pressure", pressure(&meter.memory_pressure)),
        ("cgroup.events", "populated 1\nfrozen 0\n".to_owned()),
    ]
}

fn v1_cpu(limits: &Limits, meter: &Meter) -> Files {
    let cpu_stat = lines(&[
        ("nr_periods", meter.periods),
        ("nr_throttled", meter.throttled_periods),
        ("throttled_time", nanos(meter.throttled)),
    ]);
    let quota = limits.quota().bound().map_or_else(|| "-1".to_owned(), |micros| micros.to_string());
    vec![
        ("cpu.stat", cpu_stat),
        ("cpuacct.usage", number(nanos(meter.usage))),
        ("cpu.cfs_quota_us", format!("{quota}\n")),
        ("cpu.cfs_period_us", format!("{}\n", PERIOD.as_micros())),
        ("cpu.shares", format!("{}\n", limits.shares())),
    ]
}

fn v1_memory(limits: &Limits, meter: &Meter) -> Files {
    let most = limits.memory.bound().map_or(V1_UNLIMITED, |bytes| bytes.0);
    let own = [("cache", meter.inactive_file), ("rss", meter.anon), ("inactive_file", meter.inactive_file)];
    let total = [
        ("hierarchical_memory_limit", most),
        ("total_cache", meter.inactive_file),
        ("total_rss", meter.anon),
        ("total_shmem", 0),
        ("total_inactive_anon", 0),
        ("total_active_anon", meter.anon),
        ("total_inactive_file", meter.inactive_file),
        ("total_active_file", 0),
        ("total_unevictable", 0),
    ];
    vec![
        ("memory.usage_in_bytes", number(meter.current())),
        ("memory.limit_in_bytes", format!("{most}\n")),
        ("memory.stat", lines(&own) + &lines(&total)),
        ("memory.failcnt", number(meter.hits)),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n".to_owned()),
    ]
}

/// Writes `content` over what is there, without a moment at which a reader could see less than a whole file.
pub(super) fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(content, 0)?;
    if file.metadata()?.len() > content.len() as u64 {
        file.set_len(content.len() as u64)?;
    }
    Ok(())
}

/// Removes a cgroup's directory: its files are emptied, so that a held descriptor sees the end, then unlinked.
pub(super) fn remove_directory(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_directory(&path)?;
        } else {
            File::options().write(true).truncate(true).open(&path)?;
            fs::remove_file(&path)?;
        }
    }
    fs::remove_dir(directory)
}

fn lines(fields: &[(&str, u64)]) -> String {
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} {value:016}");
        text
    })
}

fn number(value: u64) -> String {
    format!("{value:020}\n")
}

fn pressure(pressure: &Pressure) -> String {
    let [ten, sixty, three_hundred] = pressure.averages;
    let total = micros(pressure.total);
    ["some", "full"]
        .map(|kind| {
            format!(
                "{kind} avg10={ten:06.2} avg60={sixty:06.2} avg300={three_hundred:06.2} total={total:016}\n"
            )
        })
        .concat()
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
