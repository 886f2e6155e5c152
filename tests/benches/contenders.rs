//! Who is measured: each reads the same cgroups, in its own way, as many sweeps as it is told.

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

use crate::figures::{Cost, Meter};
use crate::ground::{Cgroup, Ground, Kind};
use crate::plan::{self, Due};

/// One who sweeps.
pub(crate) trait Contender {
    /// Makes `sweeps` sweeps, of which the first has this number in the rota.
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost>;
}

/// Plimsoll itself.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) host: Host,
    meter: Meter,
    expected: usize,
}

impl Ours {
    pub(crate) fn open(ground: &Ground) -> anyhow::Result<Ours> {
        let kubepods = Some(ground.kubepods.clone());
        let mut host = Host::open(&HostConfig { root: ground.host_root.clone(), kubepods })?;
        let found = host.discover(clock::now()).len();
        ensure!(found == ground.cgroups.len(), "discovered {found} cgroups of {}", ground.cgroups.len());
        let expected = ground.cgroups.iter().filter(|cgroup| cgroup.container || cgroup.limited).count();
        // The first sweep opens descriptors and reads everything.
        host.sweep(clock::now, |_, _| {});
        Ok(Ours { host, meter: Meter::new(), expected })
    }
}

impl Contender for Ours {
    fn sweep(&mut self, _first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        let (host, expected) = (&mut self.host, self.expected);
        let cost = self.meter.measure(|| {
            for _ in 0..sweeps {
                let mut readings = 0;
                host.sweep(clock::now, |target, reading| {
                    black_box((target, reading));
                    readings += 1;
                });
                ensure!(readings == expected, "{readings} readings instead of {expected}");
            }
            Ok(())
        })?;
        let unknown = host.read_errors().iter().filter(|(file, ..)| !file.as_str().ends_with("pressure"));
        ensure!(unknown.count() == 0, "some files could not be read: {:?}", host.read_errors());
        Ok(cost)
    }
}

/// `loop.c`, compiled here and now.
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
        ensure!(built.success(), "the C compiler refuses loop.c");
        Ok(())
    }

    /// Starts what was compiled into `directory`; `how` is `held` or `same`.
    pub(crate) fn start(directory: &Path, plan: &[Due], how: &str) -> anyhow::Result<Native> {
        let file = directory.join("plan");
        fs::write(&file, plan::as_text(plan))?;
        let mut command = Command::new(directory.join("loop"));
        let mut child = command.arg(&file).arg(how).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no pipe to the C loop")?;
        let output = BufReader::new(child.stdout.take().context("no pipe from the C loop")?);
        Ok(Native { child, input, output })
    }
}

impl Contender for Native {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        writeln!(self.input, "{first} {sweeps}").context("the C loop is gone")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let numbers: Vec<i64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [cpu, wall, _, calls] = numbers[..] else { bail!("the C loop answered {line:?}") };
        let time = |nanoseconds| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
        Ok(Cost { cpu: time(cpu), wall: time(wall), reads: u64::try_from(calls).ok() })
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // Gone already, if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cgroups-rs` as one would use it: the controllers loaded once, asked for what they know in each sweep.
///
/// It has no way to ask for memory usage alone: `memory_stat()` is its only answer, so that is due in each sweep.
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
    pub(crate) fn load(ground: &Ground) -> Library {
        let read = |cgroup: &&Cgroup| cgroup.container || cgroup.limited;
        let load = |cgroup| Controllers::load(ground, cgroup);
        Library { cgroups: ground.cgroups.iter().filter(read).map(load).collect(), meter: Meter::new() }
    }

    /// One sweep: what it learned goes to `sink`, as CPU time, throttled periods, memory in use and inactive files.
    pub(crate) fn sweep(&self, sweep: u32, mut sink: impl FnMut(usize, [u64; 4])) {
        for (place, controllers) in self.cgroups.iter().enumerate() {
            sink(place, controllers.read());
            if sweep.is_multiple_of(plan::ROTA) {
                black_box((controllers.cpu.cfs_quota().ok(), controllers.cpu.cfs_period().ok()));
            }
        }
    }
}

impl Controllers {
    fn load(ground: &Ground, cgroup: &Cgroup) -> Controllers {
        let v2 = ground.kind != Kind::V1;
        let place = |controller| (ground.directory(cgroup, controller), ground.hierarchy(controller));
        let ((cpu, cpu_root), (acct, acct_root), (memory, memory_root)) =
            (place("cpu"), place("cpuacct"), place("memory"));
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

impl Contender for Library {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        self.meter.measure(|| {
            for sweep in first..first + sweeps {
                Library::sweep(self, sweep, |place, values| {
                    black_box((place, values));
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

/// `std::fs::read_to_string` of the same files in the same rhythm, parsing nothing.
#[derive(Debug)]
pub(crate) struct Standard {
    plan: Vec<(Due, std::path::PathBuf)>,
    meter: Meter,
}

impl Standard {
    pub(crate) fn new(plan: Vec<Due>) -> Standard {
        let plan = plan.into_iter().map(|due| (due.path(), due)).map(|(path, due)| (due, path)).collect();
        Standard { plan, meter: Meter::new() }
    }
}

impl Contender for Standard {
    fn sweep(&mut self, first: u32, sweeps: u32) -> anyhow::Result<Cost> {
        self.meter.measure(|| {
            for sweep in first..first + sweeps {
                for (_, path) in self.plan.iter().filter(|(due, _)| due.is_due(sweep)) {
                    black_box(fs::read_to_string(path).with_context(|| path.display().to_string())?);
                }
            }
            Ok(())
        })
    }
}
