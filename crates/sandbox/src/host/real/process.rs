//! The processes in real containers: started blocked, moved into their cgroup, then given their script.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::broadcast;

use crate::host::LoadChange;
use crate::load::Load;
use crate::workload::{self, DemandChange};

/// How to start a workload: a program whose `main` calls [`workload::main_if_requested`].
#[derive(Debug, Clone)]
pub struct WorkloadCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl WorkloadCommand {
    /// This program, started again.
    pub fn this_program() -> WorkloadCommand {
        WorkloadCommand { program: "/proc/self/exe".into(), arguments: vec![workload::ARGUMENT.into()] }
    }
}

/// Starts processes on one thread that lives as long as the host: the kernel sends a child its parent-death signal when the
/// *thread* that started it ends, and a thread of a pool may end early. Dropping it ends the thread; the children must have
/// ended before.
#[derive(Debug)]
pub(super) struct Spawner {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

type Request = (WorkloadCommand, mpsc::Sender<std::io::Result<Child>>);

/// A running workload. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub(super) struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

/// The container that load changes are of.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

impl Spawner {
    pub(super) fn start() -> anyhow::Result<Spawner> {
        let (requests, received) = mpsc::channel::<Request>();
        let serve = move || {
            for (command, reply) in received {
                // The receiver may have been dropped.
                let _ = reply.send(spawn(&command));
            }
        };
        let thread = thread::Builder::new().name("workload-spawner".into()).spawn(serve);
        let thread = thread.context("cannot start the thread of the workloads")?;
        Ok(Spawner { requests: Some(requests), thread: Some(thread) })
    }

    /// Starts a process that waits until [`Workload::play`].
    pub(super) fn spawn(&self, command: &WorkloadCommand) -> anyhow::Result<Workload> {
        let (reply, result) = mpsc::channel();
        let requests = self.requests.as_ref().context("the host has been stopped")?;
        requests.send((command.clone(), reply)).context("the host has been stopped")?;
        let mut child = result.recv().context("the host has been stopped")??;
        let input = child.stdin.take();
        Ok(Workload { child, input, reader: None })
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to clean up.
            let _ = thread.join();
        }
    }
}

fn spawn(command: &WorkloadCommand) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new(&command.program)
        .arg0(workload::ARGUMENT)
        .args(&command.arguments)
        // Ctrl-C in the terminal must reach the parent only, which stops its children in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

impl Workload {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the script to the process and publishes the changes it reports; `started` is the start of the host.
    pub(super) fn play(
        &mut self,
        load: &Load,
        source: Source,
        started: Instant,
        changes: broadcast::Sender<LoadChange>,
    ) -> anyhow::Result<()> {
        let line = load.to_notation() + "\n";
        let offset = started.elapsed();
        if let Some(input) = &mut self.input {
            input.write_all(line.as_bytes())?;
            input.flush()?;
        }
        if let Some(output) = self.child.stdout.take() {
            let read = move || publish_changes(output, &source, offset, &changes);
            self.reader = Some(thread::Builder::new().name("workload-reader".into()).spawn(read)?);
        }
        Ok(())
    }

    /// Whether the process ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.input = None;
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            // The pipe was closed with the process, so the thread ends.
            let _ = reader.join();
        }
    }
}

fn publish_changes(
    output: ChildStdout,
    source: &Source,
    offset: Duration,
    changes: &broadcast::Sender<LoadChange>,
) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        // A test program prints other lines before it becomes a workload.
        let Ok(change) = serde_json::from_str::<DemandChange>(&line) else {
            continue;
        };
        let Some((resource, value)) = change.demand() else {
            continue;
        };
        // There may be no receiver.
        let _ = changes.send(LoadChange {
            namespace: source.namespace.clone(),
            pod: source.pod.clone(),
            container: source.container.clone(),
            resource,
            value,
            at: offset + Duration::try_from_secs_f64(change.t).unwrap_or_default(),
        });
    }
}
