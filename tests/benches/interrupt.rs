//! Ctrl-C and SIGTERM: nothing of ours is left behind.
//!
//! The signals are blocked in every thread and waited for in one. What runs beside us (the agent, the C loop) is told
//! apart by its process id, kept here from its start to its end.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::ground;

/// Processes to end with us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Brood(Arc<Mutex<Vec<u32>>>);

impl Brood {
    /// From now on an interrupt ends these processes, removes our cgroups and exits. Call it before there are threads.
    pub(crate) fn guarded() -> anyhow::Result<Brood> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let brood = Brood::default();
        let ours = brood.clone();
        thread::Builder::new().name("interrupt".into()).spawn(move || {
            if signals.wait().is_ok() {
                ours.end();
                ground::remove_of(process::id());
                process::exit(130);
            }
        })?;
        Ok(brood)
    }

    pub(crate) fn add(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
    }

    pub(crate) fn remove(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != pid);
    }

    fn end(&self) {
        for pid in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Ok(pid) = i32::try_from(pid) {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
