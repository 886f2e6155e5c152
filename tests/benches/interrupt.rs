//! Cleanup after Ctrl-C and SIGTERM.
//!
//! The signals are blocked in every thread, and one thread waits for them. Child processes (the agent, the C loop) are known by
//! their process ids, which are recorded here while they run.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::cgroups;

/// Child processes to kill on an interrupt.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChildProcesses(Arc<Mutex<Vec<u32>>>);

impl ChildProcesses {
    /// From now on an interrupt kills these processes, removes our cgroups and exits. Must be called before any thread starts.
    pub(crate) fn guarded() -> anyhow::Result<ChildProcesses> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let children = ChildProcesses::default();
        let ours = children.clone();
        thread::Builder::new().name("interrupt".into()).spawn(move || {
            if signals.wait().is_ok() {
                ours.kill_all();
                cgroups::remove_of(process::id());
                process::exit(130);
            }
        })?;
        Ok(children)
    }

    pub(crate) fn add(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
    }

    pub(crate) fn remove(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != pid);
    }

    fn kill_all(&self) {
        for pid in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Ok(pid) = i32::try_from(pid) {
                // It may have exited.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
