//! The files of simulated cgroups: their content, and how they are written while readers have them open.
//!
//! A reader keeps its file descriptors open as long as the cgroup exists, as on a real host. So a file is written in place,
//! by one `pwrite` of a content whose length does not change with the counters (numbers are padded with zeros), and is
//! truncated before it is removed.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use plimsoll_contract::Limit;

use super::account::{Meter, Pressure};
use crate::host::{Limits, PERIOD};

/// Name and content of each file of a cgroup.
pub(super) fn files(limits: &Limits, meter: &Meter) -> Vec<(&'static str, String)> {
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
    let memory_max = limits.memory.bound().map_or_else(|| "max".to_owned(), |bytes| bytes.0.to_string());
    let events = [
        ("low", 0),
        ("high", 0),
        ("max", meter.limit_events),
        ("oom", 0),
        ("oom_kill", 0),
        ("oom_group_kill", 0),
    ];
    vec![
        ("cpu.stat", cpu_stat),
        ("cpu.max", format!("{quota} {}\n", PERIOD.as_micros())),
        ("cpu.weight", format!("{}\n", limits.weight())),
        ("cpu.pressure", pressure(&meter.cpu_pressure)),
        ("memory.current", number(meter.current())),
        ("memory.stat", memory_stat),
        ("memory.max", format!("{memory_max}\n")),
        ("memory.events", lines(&events)),
        ("memory.pressure", pressure(&meter.memory_pressure)),
        ("cgroup.events", "populated 1\nfrozen 0\n".to_owned()),
    ]
}

/// Replaces the content of a file; a reader never sees a shorter file than either content.
pub(super) fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(content, 0)?;
    if file.metadata()?.len() > content.len() as u64 {
        file.set_len(content.len() as u64)?;
    }
    Ok(())
}

/// Removes the directory of a cgroup. Its files are truncated first, so that an open file descriptor reads the end.
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
