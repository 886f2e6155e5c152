//! CPU and memory of every container and kubelet, from the nodes' cgroups and processes.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;

use crate::harness::Harness;
use crate::pods::NODES;

/// All containers in one `grep`, because a process is expensive on these nodes. Guaranteed pods are one folder higher than
/// others.
const CONTAINERS: &str = "cd /sys/fs/cgroup/kubepods && grep -sHE '^(usage_usec |inactive_file |[0-9]+$)' \
    pod*/*/cpu.stat pod*/*/memory.current pod*/*/memory.stat pod*/*/cgroup.procs \
    */pod*/*/cpu.stat */pod*/*/memory.current */pod*/*/memory.stat */pod*/*/cgroup.procs; true";
/// Resident memory of every process.
const RESIDENT: &str = "grep -sH '^VmRSS' /proc/[0-9]*/status; true";
/// User and system ticks of the only kubelet.
const KUBELET: &str =
    "for p in $(grep -lsazE '^kubelet$' /proc/[0-9]*/cmdline); do cat ${p%cmdline}stat; done; true";
/// Ticks per second, in user-mode-linux as in every Linux.
const TICKS: f64 = 100.0;

/// The CPU time and memory of a container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU seconds since its start.
    pub(crate) cpu: f64,
    current: u64,
    inactive_file: u64,
    /// Resident bytes of all its processes, the program itself included: on these nodes, whose images are in memory, no cgroup
    /// is charged for it.
    pub(crate) resident: u64,
}

impl Usage {
    /// Bytes, as the kubelet counts a working set.
    pub(crate) fn working_set(&self) -> u64 {
        self.current.saturating_sub(self.inactive_file)
    }
}

/// One reading of all nodes.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) at: Timestamp,
    /// By container id.
    pub(crate) containers: BTreeMap<String, Usage>,
    /// CPU seconds of all kubelets since their start.
    kubelets: f64,
}

impl Reading {
    /// CPU seconds of a container between two readings, if both contain it.
    pub(crate) fn cpu_since(&self, before: &Reading, id: &str) -> Option<f64> {
        Some(self.containers.get(id)?.cpu - before.containers.get(id)?.cpu)
    }

    /// Seconds between two readings.
    pub(crate) fn seconds_since(&self, before: &Reading) -> f64 {
        self.at.duration_since(before.at).as_secs_f64()
    }

    /// Cores that the kubelets used.
    pub(crate) fn kubelets_since(&self, before: &Reading) -> f64 {
        (self.kubelets - before.kubelets) / self.seconds_since(before)
    }
}

/// Reads all nodes.
pub(crate) async fn read(harness: &Harness) -> anyhow::Result<Reading> {
    let mut reading = Reading { at: Timestamp::now(), containers: BTreeMap::new(), kubelets: 0.0 };
    for node in NODES {
        let resident = resident(&harness.on(node, RESIDENT).await?);
        add_containers(&mut reading.containers, &resident, &harness.on(node, CONTAINERS).await?);
        reading.kubelets +=
            kubelet(&harness.on(node, KUBELET).await?).with_context(|| format!("{node}'s kubelet"))?;
    }
    Ok(reading)
}

/// Bytes by process, from lines such as `/proc/123/status:VmRSS:     2344 kB`.
fn resident(text: &str) -> BTreeMap<u64, u64> {
    let process = |line: &str| {
        let mut words =
            line.strip_prefix("/proc/")?.split(['/', ':', ' ', '\t']).filter(|word| !word.is_empty());
        Some((words.next()?.parse().ok()?, words.nth(2)?.parse::<u64>().ok()? * 1024))
    };
    text.lines().filter_map(process).collect()
}

/// Adds containers from lines such as `burstable/pod<uid>/<id>/cpu.stat:usage_usec 1234`.
fn add_containers(containers: &mut BTreeMap<String, Usage>, resident: &BTreeMap<u64, u64>, text: &str) {
    for line in text.lines() {
        let Some((path, value)) = line.split_once(':') else { continue };
        let mut parts = path.rsplit('/');
        let (Some(file), Some(id)) = (parts.next(), parts.next()) else { continue };
        let number =
            value.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
        let used = containers.entry(id.to_owned()).or_default();
        match (file, value.split(' ').next()) {
            ("cpu.stat", Some("usage_usec")) => used.cpu = number as f64 / 1e6,
            ("memory.stat", Some("inactive_file")) => used.inactive_file = number,
            ("memory.current", _) => used.current = number,
            ("cgroup.procs", _) => used.resident += resident.get(&number).copied().unwrap_or_default(),
            _ => {}
        }
    }
}

/// CPU seconds from `/proc/<pid>/stat`; the name before the numbers may contain spaces.
fn kubelet(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.lines().next()?.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS)
}
