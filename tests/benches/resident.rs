//! The cost of the agent as a process: 110 pods, one sweep a second, compared with a minimal loop over `cgroups-rs`.
//!
//! Both run at the same time over the same cgroups, so that other load affects both. The agent is the release binary, started
//! as a DaemonSet starts it, without an aggregator.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use plimsoll_agent::clock::Ticks;
use plimsoll_demo::reserved::ReservedAddress;
use procfs::process::Process;

use crate::cgroups::{CgroupTree, Kind};
use crate::interrupt::ChildProcesses;
use crate::readers::Library;
use crate::table::{Row, print_rows, print_target};

const PODS: usize = 110;
const PERIOD: Duration = Duration::from_secs(1);
/// Longer than the agent's own warm-up of 10 s.
const WARM_UP: Duration = Duration::from_secs(12);
const MAX_MILLICORES: f64 = 5.0;
const MAX_MIB: f64 = 15.0;
const MIB: f64 = 1024.0 * 1024.0;

/// A child process, killed when this is dropped.
struct Resident {
    name: &'static str,
    child: Child,
    memory_cgroup: Option<PathBuf>,
    children: ChildProcesses,
}

/// The CPU time of a process at some point.
struct Snapshot {
    at: Instant,
    /// Nanoseconds, from the scheduler's statistics.
    cpu: u64,
    /// In ticks: coarse, but the only numbers that tell user from system time.
    user: u64,
    system: u64,
}

/// Measures for `window`, once without and once with scrapes.
pub(crate) fn run(this: &Path, window: Duration, children: &ChildProcesses) -> anyhow::Result<()> {
    let agent = this.parent().and_then(Path::parent).map(|target| target.join("plimsoll-agent"));
    let Some(agent) = agent.filter(|agent| agent.exists()) else {
        println!(
            "\n2. The agent as a process: skipped, build it first (cargo build --release --package plimsoll-agent)"
        );
        return Ok(());
    };
    let tree = CgroupTree::create(PODS)?;
    println!("\n2. The agent as a process, {PODS} pods, {} s period: {}", PERIOD.as_secs(), tree.describe());
    println!(
        "   both processes at the same time, {} s each after {} s of warm-up\n",
        window.as_secs(),
        WARM_UP.as_secs()
    );
    let reserved = ReservedAddress::any().context("no free port for the agent")?;
    let listen = reserved.address();
    let residents = [start_agent(&agent, &tree, listen, children)?, start_library(this, &tree, children)?];
    thread::sleep(WARM_UP);
    let mut rows =
        vec![Row::from(["", "mcores", "user", "system", "RSS MiB", "peak", "descriptors", "charged MiB"])];
    let wait = || {
        thread::sleep(window);
        Ok(())
    };
    let quiet = measure(&residents, &mut rows, "", wait)?;
    let scraped = measure(&residents[..1], &mut rows, ", scraped every 15 s", || scrape_for(window, listen))?;
    print_rows(&rows);
    println!("   (charged: to its memory cgroup, including page cache and kernel memory of open files)\n");
    let target = format!("at most {MAX_MILLICORES}");
    print_target("agent, mcores", &format!("{:.2}", quiet.0), quiet.0 <= MAX_MILLICORES, &target);
    print_target(
        "agent, mcores, scraped",
        &format!("{:.2}", scraped.0),
        scraped.0 <= MAX_MILLICORES,
        &target,
    );
    print_target(
        "agent, RSS MiB (peak)",
        &format!("{:.1}", scraped.1),
        scraped.1 <= MAX_MIB,
        &format!("at most {MAX_MIB}"),
    );
    if tree.kind == Kind::Simulated {
        println!("   (with plain files: the targets are for real cgroups)");
    }
    Ok(())
}

/// Adds a row for each; returns millicores and peak MiB of the first.
fn measure(
    residents: &[Resident],
    rows: &mut Vec<Row>,
    suffix: &str,
    meanwhile: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(f64, f64)> {
    let before: Vec<Snapshot> = residents.iter().map(Resident::snapshot).collect::<Result<_, _>>()?;
    meanwhile()?;
    let mut first = None;
    for (resident, before) in residents.iter().zip(before) {
        let after = resident.snapshot()?;
        let status = resident.process()?.status()?;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let millicores = (after.cpu - before.cpu) as f64 / 1e6 / seconds;
        let per_tick = 1e3 / procfs::ticks_per_second() as f64 / seconds;
        let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
        let peak = mib(status.vmhwm);
        first.get_or_insert((millicores, peak));
        rows.push(Row::from([
            format!("{}{suffix}", resident.name),
            format!("{millicores:.2}"),
            format!("{:.2}", (after.user - before.user) as f64 * per_tick),
            format!("{:.2}", (after.system - before.system) as f64 * per_tick),
            format!("{:.1}", mib(status.vmrss)),
            format!("{peak:.1}"),
            resident.process()?.fd_count()?.to_string(),
            resident.charged().map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / MIB)),
        ]));
    }
    first.context("there is nothing to measure")
}

impl Resident {
    fn start(
        name: &'static str,
        command: &mut Command,
        memory_cgroup: Option<PathBuf>,
        children: &ChildProcesses,
    ) -> anyhow::Result<Resident> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        children.add(child.id());
        let resident = Resident { name, child, memory_cgroup, children: children.clone() };
        if let Some(cgroup) = &resident.memory_cgroup {
            fs::write(cgroup.join("cgroup.procs"), resident.child.id().to_string())?;
        }
        Ok(resident)
    }

    fn process(&self) -> anyhow::Result<Process> {
        let process = i32::try_from(self.child.id()).map(Process::new)?;
        process.with_context(|| format!("{} ended early", self.name))
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let process = self.process()?;
        let stat = process.stat()?;
        ensure!(stat.state != 'Z', "{} ended early", self.name);
        let mut cpu = 0;
        for task in process.tasks()? {
            cpu += task?.schedstat()?.sum_exec_runtime;
        }
        Ok(Snapshot { at: Instant::now(), cpu, user: stat.utime, system: stat.stime })
    }

    fn charged(&self) -> Option<u64> {
        let cgroup = self.memory_cgroup.as_ref()?;
        let text = ["memory.usage_in_bytes", "memory.current"]
            .iter()
            .find_map(|name| fs::read_to_string(cgroup.join(name)).ok());
        text?.trim().parse().ok()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // It has exited already if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.children.remove(self.child.id());
    }
}

fn start_agent(
    binary: &Path,
    tree: &CgroupTree,
    listen: SocketAddr,
    children: &ChildProcesses,
) -> anyhow::Result<Resident> {
    let mut command = Command::new(binary);
    command.arg("--host-root").arg(&tree.host_root).args([
        "--kubepods",
        &tree.kubepods,
        "--node-name",
        "bench",
    ]);
    command
        .args(["--listen", &listen.to_string(), "--period", "1s", "--log-filter", "warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Resident::start("plimsoll-agent", &mut command, tree.memory_cgroup("agent"), children)
}

fn start_library(this: &Path, tree: &CgroupTree, children: &ChildProcesses) -> anyhow::Result<Resident> {
    let mut command = Command::new(this);
    command.arg("--library-loop").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut resident =
        Resident::start("cgroups-rs loop", &mut command, tree.memory_cgroup("library"), children)?;
    // It exits at the end of its input, which the child's handle keeps open.
    let input = resident.child.stdin.as_mut().context("no pipe to the loop")?;
    writeln!(input, "{}", serde_json::to_string(tree)?)?;
    Ok(resident)
}

/// The other process: reads everything once a second and computes rates; no discovery, no bands, no server.
pub(crate) fn library_loop() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let library = Library::load(&serde_json::from_str(&line)?);
    thread::spawn(|| {
        let _ = io::stdin().lock().read_line(&mut String::new());
        process::exit(0);
    });
    let mut ticks = Ticks::every(PERIOD);
    let mut known: BTreeMap<usize, ([u64; 4], Instant, f64)> = BTreeMap::new();
    for sweep in 0.. {
        library.sweep(sweep, |index, values| {
            let now = Instant::now();
            let rate = known.get(&index).map_or(0.0, |(before, at, _)| {
                values[0].saturating_sub(before[0]) as f64 / now.duration_since(*at).as_secs_f64()
            });
            known.insert(index, (values, now, rate));
        });
        ticks.wait();
    }
    Ok(())
}

fn scrape_for(window: Duration, address: SocketAddr) -> anyhow::Result<()> {
    let end = Instant::now() + window;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut connection = TcpStream::connect(address).context("the agent does not listen")?;
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        connection.read_to_string(&mut response)?;
        ensure!(response.starts_with("HTTP/1.1 200"), "the agent answers {:?}", response.lines().next());
        thread::sleep(left.min(Duration::from_secs(15)));
    }
}
