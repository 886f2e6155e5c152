//! Parsers of the kernel's cgroup files.
//!
//! Pure, without allocation and without panic on any input. `None` means that the text is not valid content of the
//! file: a number is too large, a line is truncated, a key is missing. Nothing is ever treated as zero. Every line must end in a
//! newline, as all of the kernel's do: a truncated line would otherwise be a smaller number.
//! Proof: `parse/tests.rs` (round trips, arbitrary bytes, every cut).

use std::time::Duration;

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::{Bytes, Cores, Limit};

use crate::sample::{CpuCounters, MemoryDetail, Throttling};

/// A v1 memory limit of this or more means "unlimited": the kernel writes the largest page-aligned `long`, which depends on
/// the page size. No machine has 4 EiB.
const V1_UNLIMITED: u64 = 1 << 62;

/// `cpu.stat` of v2: usage, and the quota's counters where the controller is enabled. Without a valid pair of counters only they
/// are absent.
pub fn cpu_stat(text: &[u8]) -> Option<CpuCounters> {
    let (mut usage, mut periods, mut throttled) = (None, None, None);
    for (key, value) in pairs(text) {
        match key {
            b"usage_usec" => usage = Some(number(value)?),
            b"nr_periods" => periods = number(value),
            b"nr_throttled" => {
                throttled = number(value);
                break;
            }
            _ => {}
        }
    }
    let throttling = periods.zip(throttled).map(|(periods, throttled)| Throttling { periods, throttled });
    Some(CpuCounters { usage: Duration::from_micros(usage?), throttling })
}

/// `cpu.stat` of v1: the quota's counters only.
pub fn throttling(text: &[u8]) -> Option<Throttling> {
    let [periods, throttled] = fields(text, [b"nr_periods", b"nr_throttled"])?;
    Some(Throttling { periods: periods?, throttled: throttled? })
}

/// `cpuacct.usage`, in nanoseconds.
pub fn nanoseconds(text: &[u8]) -> Option<Duration> {
    line_number(text).map(Duration::from_nanos)
}

/// `cpu.max`: quota and period in microseconds, or `max` and the period.
pub fn cpu_max(text: &[u8]) -> Option<Limit<Cores>> {
    let line = only_line(text)?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let period = number(&line[space + 1..])?;
    match &line[..space] {
        b"max" if period > 0 => Some(Limit::Unlimited),
        quota => cores(number(quota)?, period),
    }
}

/// `cpu.cfs_quota_us` of v1, in microseconds; `-1` is unlimited.
pub fn cfs_quota(text: &[u8]) -> Option<Limit<u64>> {
    match only_line(text)? {
        b"-1" => Some(Limit::Unlimited),
        line => number(line).map(Limit::Of),
    }
}

/// The limit that a quota and its period make; neither may be zero.
pub fn cores(quota: u64, period: u64) -> Option<Limit<Cores>> {
    (quota > 0 && period > 0).then(|| Limit::Of(Cores(quota as f64 / period as f64)))
}

/// A file with one number of bytes.
pub fn bytes(text: &[u8]) -> Option<Bytes> {
    line_number(text).map(Bytes)
}

/// `memory.max`: a number of bytes, or `max`.
pub fn memory_max(text: &[u8]) -> Option<Limit<Bytes>> {
    match only_line(text)? {
        b"max" => Some(Limit::Unlimited),
        line => number(line).map(|limit| Limit::Of(Bytes(limit))),
    }
}

/// `memory.limit_in_bytes` of v1, which has no word for unlimited.
pub fn memory_limit(text: &[u8]) -> Option<Limit<Bytes>> {
    let limit = line_number(text)?;
    Some(if limit >= V1_UNLIMITED { Limit::Unlimited } else { Limit::Of(Bytes(limit)) })
}

/// `memory.stat` of v2.
pub fn memory_stat(text: &[u8]) -> Option<MemoryDetail> {
    let [anon, shmem, file, active_file, inactive_file, slab_reclaimable, slab_unreclaimable] = fields(
        text,
        [
            b"anon",
            b"shmem",
            b"file",
            b"active_file",
            b"inactive_file",
            b"slab_reclaimable",
            b"slab_unreclaimable",
        ],
    )?
    .map(|field| field.map(Bytes));
    Some(MemoryDetail { anon, shmem, file, active_file, inactive_file, slab_reclaimable, slab_unreclaimable })
}

/// `memory.stat` of v1: the `total_` lines, which include children. It does not list kernel memory.
pub fn memory_stat_v1(text: &[u8]) -> Option<MemoryDetail> {
    let [anon, shmem, file, active_file, inactive_file] = fields(
        text,
        [b"total_rss", b"total_shmem", b"total_cache", b"total_active_file", b"total_inactive_file"],
    )?
    .map(|field| field.map(Bytes));
    Some(MemoryDetail { anon, shmem, file, active_file, inactive_file, ..MemoryDetail::default() })
}

/// `memory.events`.
pub fn memory_events(text: &[u8]) -> Option<MemoryEvents> {
    let [high, max, oom_kill] = fields(text, [b"high", b"max", b"oom_kill"])?;
    Some(MemoryEvents { high, max, oom_kill })
}

/// `memory.oom_control` of v1: number of processes that were OOM killed, which Linux counts from 4.13 on.
pub fn oom_kills(text: &[u8]) -> Option<Option<u64>> {
    let [kills, _] = fields(text, [b"oom_kill", b"under_oom"])?;
    Some(kills)
}

/// `cgroup.events`: whether a process is in the cgroup, or in one below it.
pub fn populated(text: &[u8]) -> Option<bool> {
    match fields(text, [b"populated"])? {
        [Some(0)] => Some(false),
        [Some(1)] => Some(true),
        _ => None,
    }
}

/// `cgroup.controllers`: whether the cpu controller is enabled. The kernel writes nothing at all where none is.
pub fn has_cpu_controller(text: &[u8]) -> Option<bool> {
    if text.is_empty() {
        return Some(false);
    }
    let line = only_line(text)?;
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    let mut names = line.split(|byte| *byte == b' ');
    names.clone().all(is_name).then(|| names.any(|name| name == b"cpu"))
}

/// A list of CPUs, as `0-3,8`: how many they are.
pub fn cpu_count(text: &[u8]) -> Option<u64> {
    let (mut count, mut next) = (0_u64, 0);
    for range in only_line(text)?.split(|byte| *byte == b',') {
        let dash = range.iter().position(|byte| *byte == b'-');
        let (first, last) = dash.map_or((range, range), |dash| (&range[..dash], &range[dash + 1..]));
        let (first, last) = (number(first)?, number(last)?);
        if first < next || last < first {
            return None;
        }
        next = last.checked_add(1)?;
        count += next - first;
    }
    Some(count)
}

/// A pressure file: the `some avg10` in percent. Kernels before 5.13 have no `full` line for the CPU.
pub fn pressure(text: &[u8]) -> Option<f64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"some avg10="))?;
    let value = &line[..line.iter().position(|byte| *byte == b' ')?];
    let dot = value.iter().position(|byte| *byte == b'.')?;
    let (whole, hundredths) = (number(&value[..dot])?, number(&value[dot + 1..])?);
    let two_digits = value.len() - dot == 3;
    let percent = whole as f64 + hundredths as f64 / 100.0;
    (two_digits && percent <= 100.0).then_some(percent)
}

/// A file with one number.
pub fn line_number(text: &[u8]) -> Option<u64> {
    number(only_line(text)?)
}

/// The values of `keys`, each absent where there is no such line. `None` if there is none at all, or one is no number.
fn fields<const N: usize>(text: &[u8], keys: [&[u8]; N]) -> Option<[Option<u64>; N]> {
    let mut values = [None; N];
    for (key, value) in pairs(text) {
        let Some(index) = keys.iter().position(|wanted| *wanted == key) else {
            continue;
        };
        if values[index].is_none() {
            values[index] = Some(number(value)?);
        }
        if values.iter().all(Option::is_some) {
            break;
        }
    }
    values.iter().any(Option::is_some).then_some(values)
}

/// The lines `key value`; others are skipped.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(text).filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        Some((&line[..space], &line[space + 1..]))
    })
}

/// The complete lines, without their newlines.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// The line of a file that has exactly one.
fn only_line(text: &[u8]) -> Option<&[u8]> {
    let line = text.strip_suffix(b"\n")?;
    (!line.contains(&b'\n')).then_some(line)
}

/// A number of decimal digits only; `None` above `u64::MAX`.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
