//! The readers that are measured: each reads the same cgroups, in its own way.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuacct::CpuAcctController;
use cgroups_rs::fs::memory::MemController;
use plimsoll_agent::clock;
use plimsoll_agent::host::{Host, HostConfig};
use plimsoll_agent::sample::Interest;

use crate::cgroups::{Cgroup, CgroupTree, Kind};
use crate::cost::{Cost, Meter};
use crate::plan::{self, PlannedFile};

/// Something that sweeps.
pub(crate) trait Reader {
    /// Performs `sweeps` sweeps, numbered from `first`.
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost>;
}

/// Plimsoll itself.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) host: Host,
    meter: Meter,
    /// Readings of [`plan::CYCLE`] sweeps.
    expected: usize,
}

impl Ours {
    pub(crate) fn open(tree: &CgroupTree) -> anyhow::Result<Ours> {
        let kubepods = Some(tree.kubepods.clone());
        let mut host = Host::open(&HostConfig { root: tree.host_root.clone(), kubepods })?;
        let found = host.discover(clock::now()).len();
        ensure!(found == tree.cgroups.len(), "discovered {found} cgroups of {}", tree.cgroups.len());
        // The first sweep opens descriptors and reads everything.
        host.sweep(clock::now, |_, _| {});
        Ok(Ours { host, meter: Meter::new(), expected: tree.cgroups.len() * plan::CYCLE as usize })
    }

    /// As it runs beside an aggregator: the roster lists one container of each pod, the other is its pause container.
    pub(crate) fn with_roster(tree: &CgroupTree) -> anyhow::Result<Ours> {
        let mut ours = Ours::open(tree)?;
        let mut unlisted = BTreeMap::new();
        // New cgroups are read in every sweep for a while.
        for _ in 0..2 * plan::CYCLE {
            ours.host.sweep(clock::now, |target, _| {
                unlisted.extend(target.container.clone().map(|container| (target.pod.clone(), container)));
            });
        }
        let pause = unlisted.len();
        ours.host
            .set_interest(Interest { unlisted: unlisted.into_values().collect(), ..Interest::default() });
        ours.expected -= pause * (plan::CYCLE as usize - 1);
        Ok(ours)
    }
}

impl Reader for Ours {
    fn sweep(&mut self, _first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        let (host, expected) = (&mut self.host, self.expected);
        ensure!(sweeps == plan::CYCLE, "{sweeps} sweeps are not a cycle of {}", plan::CYCLE);
        let cost = self.meter.measure(|| {
            let mut readings = 0;
            for _ in 0..sweeps {
                host.sweep(clock::now, |target, reading| {
                    black_box((target, reading));
                    readings += 1;
                });
            }
            ensure!(readings == expected, "{readings} readings instead of {expected}");
            Ok(())
        })?;
        let unknown = host.read_errors().iter().filter(|(file, ..)| !file.ends_with("pressure"));
        ensure!(unknown.count() == 0, "some files could not be read: {:?}", host.read_errors());
        Ok(cost)
    }
}

/// `loop.c`, compiled at run time.
#[derive(Debug)]
pub(crate) struct Native {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Native {
    /// Compiles the source into `directory`.
    pub(crate) fn compile(directory: &Path) -> anyhow::Result<()> {
        let source = directory.join("loop.c");
        fs::write(&source, include_str!("loop.c"))?;
        let built = Command::new("cc").arg("-O2").arg("-o").arg(directory.join("loop")).arg(&source).status();
        let built = built.context("there is no C compiler (cc)")?;
        ensure!(built.success(), "the C compiler rejects loop.c");
        Ok(())
    }

    /// Starts the program in `directory`; `mode` is `held` or `same`.
    pub(crate) fn start(directory: &Path, plan: &[PlannedFile], mode: &str) -> anyhow::Result<Native> {
        // A file of its own: the program of the other mode may still read its plan.
        let file = directory.join(format!("plan-{mode}"));
        fs::write(&file, plan::as_text(plan))?;
        let mut command = Command::new(directory.join("loop"));
        let mut child = command.arg(&file).arg(mode).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no pipe to the C loop")?;
        let output = BufReader::new(child.stdout.take().context("no pipe from the C loop")?);
        Ok(Native { child, input, output })
    }
}

impl Reader for Native {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        writeln!(self.input, "{first} {sweeps}").context("the C loop has exited")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let numbers: Vec<i64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [cpu, wall, _, calls] = numbers[..] else { bail!("unexpected output of the C loop: {line:?}") };
        let time = |nanoseconds| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
        Ok(Cost { cpu: time(cpu), wall: time(wall), reads: u64::try_from(calls).ok() })
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // It has exited already if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cgroups-rs` as a program would use it: the controllers loaded once and queried in each sweep.
///
/// It cannot query the memory usage alone, only `memory_stat()`, so each sweep reads that.
pub(crate) struct Library {
    cgroups: Vec<Controllers>,
    meter: Meter,
}

struct Controllers {
    cpu: CpuController,
    accounting: Option<CpuAcctController>,
    memory: MemController,
}

impl Library {
    pub(crate) fn load(tree: &CgroupTree) -> Library {
        let read = |cgroup: &&Cgroup| cgroup.container || cgroup.limited;
        let load = |cgroup| Controllers::load(tree, cgroup);
        Library { cgroups: tree.cgroups.iter().filter(read).map(load).collect(), meter: Meter::new() }
    }

    /// One sweep: passes CPU time, throttled periods, memory usage and inactive file memory to `sink`.
    pub(crate) fn sweep(&self, sweep: u32, mut sink: impl FnMut(usize, [u64; 4])) {
        for (index, controllers) in self.cgroups.iter().enumerate() {
            sink(index, controllers.read());
            if sweep.is_multiple_of(plan::CYCLE) {
                black_box((controllers.cpu.cfs_quota().ok(), controllers.cpu.cfs_period().ok()));
            }
        }
    }
}

impl Controllers {
    fn load(tree: &CgroupTree, cgroup: &Cgroup) -> Controllers {
        let v2 = tree.kind != Kind::V1;
        let paths = |controller| (tree.directory(cgroup, controller), tree.hierarchy(controller));
        let ((cpu, cpu_root), (acct, acct_root), (memory, memory_root)) =
            (paths("cpu"), paths("cpuacct"), paths("memory"));
        Controllers {
            cpu: CpuController::new(cpu, cpu_root, v2),
            accounting: (!v2).then(|| CpuAcctController::new(acct, acct_root)),
            memory: MemController::new(memory, memory_root, v2),
        }
    }

    fn read(&self) -> [u64; 4] {
        let text = self.cpu.cpu().stat;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        let usage = match &self.accounting {
            Some(accounting) => accounting.cpuacct().usage,
            None => field("usage_usec "),
        };
        let memory = self.memory.memory_stat();
        let inactive = memory.stat.total_inactive_file.max(memory.stat.inactive_file);
        [usage, field("nr_throttled "), memory.usage_in_bytes, inactive]
    }
}

impl Reader for Library {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        self.meter.measure(|| {
            for sweep in first..first + sweeps {
                Library::sweep(self, sweep, |index, values| {
                    black_box((index, values));
                });
            }
            Ok(())
        })
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("cgroups", &self.cgroups.len()).finish_non_exhaustive()
    }
}

/// `std::fs::read_to_string` of the same files when they are due, without parsing.
#[derive(Debug)]
pub(crate) struct Standard {
    plan: Vec<(PlannedFile, std::path::PathBuf)>,
    meter: Meter,
}

impl Standard {
    pub(crate) fn new(plan: Vec<PlannedFile>) -> Standard {
        let plan =
            plan.into_iter().map(|file| (file.path(), file)).map(|(path, file)| (file, path)).collect();
        Standard { plan, meter: Meter::new() }
    }
}

impl Reader for Standard {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        self.meter.measure(|| {
            for sweep in first..first + sweeps {
                for (_, path) in self.plan.iter().filter(|(file, _)| file.is_due(sweep)) {
                    black_box(fs::read_to_string(path).with_context(|| path.display().to_string())?);
                }
            }
            Ok(())
        })
    }
}
