//! The core with a lock, a clock and a way out: the one place where inputs become steps and steps become actions.
//!
//! Nobody waits here: the lock is held for one step, and actions go into bounded queues by `try_send`. A write that
//! finds its queue full is reported to the core as a failed one, so that nothing is in flight that nobody does.

mod notes;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_process::probe::Beat;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::action::{Action, Announcement, LabelWrite};
use crate::core::Core;
use crate::input::{Input, Now, Outcome, WriteResult};
use crate::record::Recorder;

/// Far more than the four writes in flight that the budget allows.
const WRITES: usize = 64;
/// Announcements may come in a bunch; beyond this they are dropped: the log and the metrics say the same.
const ANNOUNCEMENTS: usize = 256;
/// How often the core hears that time goes on.
const TICK: Duration = Duration::from_secs(1);

/// A cheap clone of the shared core.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    core: Mutex<Core>,
    recorder: Option<Mutex<Recorder>>,
    started: Instant,
    writes: mpsc::Sender<LabelWrite>,
    announcements: mpsc::Sender<Announcement>,
    changed: watch::Sender<u64>,
    beat: Beat,
}

/// The other ends of the engine's queues.
#[derive(Debug)]
pub struct Outlets {
    /// For [`crate::apply::write`].
    pub writes: mpsc::Receiver<LabelWrite>,
    /// For [`crate::apply::announce`].
    pub announcements: mpsc::Receiver<Announcement>,
}

impl Engine {
    /// Around a fresh core. Its clock starts now.
    pub fn new(core: Core, recorder: Option<Recorder>) -> (Engine, Outlets) {
        let (writes, write_outlet) = mpsc::channel(WRITES);
        let (announcements, announcement_outlet) = mpsc::channel(ANNOUNCEMENTS);
        let started = Instant::now();
        let shared = Shared {
            core: Mutex::new(core),
            recorder: recorder.map(Mutex::new),
            started,
            writes,
            announcements,
            changed: watch::Sender::new(0),
            beat: Beat::new(started.into_std()),
        };
        let outlets = Outlets { writes: write_outlet, announcements: announcement_outlet };
        (Engine(Arc::new(shared)), outlets)
    }

    /// The time, as the core counts it.
    pub fn now(&self) -> Now {
        Now { elapsed: self.0.started.elapsed(), wall: Timestamp::now() }
    }

    /// One step of the core, and what it wants done into the queues.
    pub fn submit(&self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            inputs.extend(self.step(input));
        }
        self.0.changed.send_modify(|generation| *generation += 1);
    }

    /// Asks the core something. The answer must not take long: everybody waits.
    pub fn ask<T>(&self, question: impl FnOnce(&Core, Now) -> T) -> T {
        let core = self.lock();
        question(&core, self.now())
    }

    /// Wakes whenever the core took a step; steps in between are not told apart.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Touched at every tick.
    pub fn beat(&self) -> &Beat {
        &self.0.beat
    }

    /// Tells the core about once a second that time goes on, until the shutdown.
    ///
    /// # Errors
    /// If a step panicked, in whatever task: a core that may be half changed must not go on deciding.
    pub async fn tick(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => break,
                _ = ticks.tick() => {}
            }
            ensure!(!self.0.core.is_poisoned(), "a step of the core panicked");
            self.submit(Input::Tick);
            self.0.beat.touch(Instant::now().into_std());
            self.flush();
        }
        self.flush();
        Ok(())
    }

    /// The step, its record and its actions, in one critical section: their order is the core's.
    fn step(&self, input: Input) -> Vec<Input> {
        let mut core = self.lock();
        let now = self.now();
        let recorded = self.0.recorder.as_ref().map(|recorder| (recorder, input.clone()));
        let actions = core.step(now, input);
        core.take_notes().iter().for_each(notes::log);
        if let Some((recorder, input)) = recorded {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).step(now, &input, &actions);
        }
        actions.into_iter().filter_map(|action| self.send(action)).collect()
    }

    fn send(&self, action: Action) -> Option<Input> {
        match action {
            Action::Label(write) => {
                let number = write.action;
                self.0.writes.try_send(write).err().map(|_| Input::Outcome(unsent(number)))
            }
            Action::Announce(announcement) => {
                if self.0.announcements.try_send(announcement).is_err() {
                    tracing::debug!("an announcement was dropped: too many at once");
                }
                None
            }
        }
    }

    fn flush(&self) {
        if let Some(recorder) = &self.0.recorder {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// A panic in a step leaves a core that may be half changed; [`tick`](Self::tick) notices and ends the process.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unsent(action: u64) -> Outcome {
    let result = WriteResult::Failed(0, "the queue of writes is full".to_owned());
    Outcome { action, result, took: Duration::ZERO }
}

#[cfg(test)]
mod tests;
