//! The files of a simulated host outside of its cgroups: CPUs, memory, boot id.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::host::NodeSize;

/// A random boot id in the kernel's format.
pub(super) fn new_boot_id() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Writes the files that the agent reads below `root`.
pub(super) fn write(root: &Path, size: NodeSize, boot: &str) -> anyhow::Result<()> {
    let online =
        if size.cpus == 1 { "0\n".to_owned() } else { format!("0-{}\n", size.cpus.saturating_sub(1)) };
    let files = [
        ("proc/stat", stat(size.cpus)),
        ("proc/meminfo", meminfo(size.memory.0 / 1024)),
        ("proc/sys/kernel/random/boot_id", format!("{boot}\n")),
        ("sys/devices/system/cpu/online", online),
    ];
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn stat(cpus: u32) -> String {
    let mut text = format!("cpu  {0} 0 {0} {0} 0 0 0 0 0 0\n", 100 * u64::from(cpus));
    for cpu in 0..cpus {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "cpu{cpu} 100 0 100 100 0 0 0 0 0 0");
    }
    text + "intr 0\nctxt 1000\nbtime 1700000000\nprocesses 100\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n"
}

fn meminfo(total: u64) -> String {
    let free = total / 2;
    let known = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", free / 2),
    ];
    let zero = "SwapCached Active Inactive Active(anon) Inactive(anon) Active(file) Inactive(file) Unevictable Mlocked \
                SwapTotal SwapFree Dirty Writeback AnonPages Mapped Shmem Slab SReclaimable SUnreclaim KernelStack \
                PageTables NFS_Unstable Bounce WritebackTmp CommitLimit Committed_AS VmallocTotal VmallocUsed VmallocChunk";
    let all = known.into_iter().chain(zero.split_whitespace().map(|name| (name, 0)));
    all.fold(String::new(), |mut text, (name, kilobytes)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<16}{kilobytes:>8} kB", format!("{name}:"));
        text
    })
}
