//! The processes in real containers: started blocked, put into their cgroup, then given their script.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::host::{HostError, LoadChange};
use crate::load::Load;
use crate::workload::{self, Told};

/// How to start a workload: a program whose `main` calls [`workload::main_if_requested`].
#[derive(Debug, Clone)]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Worker {
    /// This program, started again.
    pub fn this_program() -> Worker {
        Worker { program: "/proc/self/exe".into(), arguments: vec![workload::ARGUMENT.into()] }
    }
}

/// Starts processes on one thread that lives as long as the host: the kernel's death signal for children follows the
/// *thread* that started them, and a thread of a pool may end early.
#[derive(Debug)]
pub(super) struct Nursery {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

type Order = (Worker, mpsc::Sender<std::io::Result<Child>>);

/// A running workload.
#[derive(Debug)]
pub(super) struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

/// Who the changes are of.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

impl Nursery {
    pub(super) fn open() -> std::io::Result<Nursery> {
        let (orders, received) = mpsc::channel::<Order>();
        let serve = move || {
            for (worker, answer) in received {
                // The one who asked may have given up.
                let _ = answer.send(spawn(&worker));
            }
        };
        let thread = thread::Builder::new().name("workload-nursery".into()).spawn(serve)?;
        Ok(Nursery { orders: Some(orders), thread: Some(thread) })
    }

    /// Starts a process that does nothing until [`Workload::play`].
    pub(super) fn start(&self, worker: &Worker, container: &str) -> Result<Workload, HostError> {
        let failed = |source| HostError::Workload { container: container.to_owned(), source };
        let (answer, result) = mpsc::channel();
        let orders = self.orders.as_ref().ok_or(HostError::Stopped)?;
        orders.send((worker.clone(), answer)).map_err(|_| HostError::Stopped)?;
        let mut child = result.recv().map_err(|_| HostError::Stopped)?.map_err(failed)?;
        let input = child.stdin.take();
        Ok(Workload { child, input, reader: None })
    }

    /// Ends the thread; the children must have been ended before.
    pub(super) fn close(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to clean up.
            let _ = thread.join();
        }
    }
}

fn spawn(worker: &Worker) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new(&worker.program)
        .arg0(workload::ARGUMENT)
        .args(&worker.arguments)
        // A Ctrl-C in the terminal is for the parent: it ends its children itself, in order.
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

    /// Hands over the script and reports what the process says of itself. `offset` is the host's age now.
    pub(super) fn play(
        &mut self,
        load: &Load,
        identity: Identity,
        started: Instant,
        changes: broadcast::Sender<LoadChange>,
    ) -> std::io::Result<()> {
        let line = load.to_notation() + "\n";
        let offset = started.elapsed();
        if let Some(input) = &mut self.input {
            input.write_all(line.as_bytes())?;
            input.flush()?;
        }
        if let Some(output) = self.child.stdout.take() {
            let listen = move || listen(output, &identity, offset, &changes);
            self.reader = Some(thread::Builder::new().name("workload-reader".into()).spawn(listen)?);
        }
        Ok(())
    }

    /// Whether the process ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Workload {
    /// Kills the process and waits until it is gone.
    fn drop(&mut self) {
        self.input = None;
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            // The pipe has ended with the process.
            let _ = reader.join();
        }
    }
}

fn listen(
    output: ChildStdout,
    identity: &Identity,
    offset: Duration,
    changes: &broadcast::Sender<LoadChange>,
) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        // Whatever else the program prints before it becomes a workload is not ours to judge.
        let Ok(told) = serde_json::from_str::<Told>(&line) else {
            continue;
        };
        let Some((resource, value)) = told.change() else {
            continue;
        };
        // Nobody may listen.
        let _ = changes.send(LoadChange {
            namespace: identity.namespace.clone(),
            pod: identity.pod.clone(),
            container: identity.container.clone(),
            resource,
            value,
            at: offset + Duration::try_from_secs_f64(told.t).unwrap_or_default(),
        });
    }
}
