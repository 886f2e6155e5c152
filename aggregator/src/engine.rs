//! The core with a lock and a clock: the one place where inputs become steps, and actions go to the tasks that perform them.
//!
//! Nobody waits here: the lock is held for one step, and the queues never block. The core's budget bounds the queue of writes.

mod log;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Moment, PodName, Report};
use plimsoll_process::probe::Heartbeat;
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::action::{Action, KubeEvent, Write};
use crate::core::{Core, Counts, Effects, Standing};
use crate::input::{Input, Now};
use crate::ledger::ClassRow;
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::rejection::Rejection;

/// Events that may wait to be published; beyond these they are dropped: the log and the metrics say the same.
const MAX_EVENTS: usize = 256;
/// How often the core learns that time passed.
const TICK: Duration = Duration::from_secs(1);
/// Objects that one question looks at, so that the core is locked for less than a millisecond.
pub(crate) const PAGE: usize = 100;

/// A cheap clone of the shared core.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    core: Mutex<Core>,
    recorder: Option<Mutex<Recorder>>,
    started: Instant,
    writes: mpsc::UnboundedSender<Write>,
    events: mpsc::Sender<KubeEvent>,
    heartbeat: Heartbeat,
    /// Set once, where there are metrics.
    metrics: OnceLock<Metrics>,
    /// What the probes say since the last step: they must not wait for the core.
    standing: watch::Sender<Standing>,
}

/// The receiving ends of the engine's queues.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// For [`crate::cluster::apply::run`].
    pub(crate) writes: mpsc::UnboundedReceiver<Write>,
    /// For [`crate::cluster::events::run`].
    pub(crate) events: mpsc::Receiver<KubeEvent>,
}

impl Engine {
    /// Wraps a fresh core. Its clock starts now.
    pub(crate) fn new(core: Core, recorder: Option<Recorder>) -> (Engine, Outputs) {
        let (writes, write_receiver) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::channel(MAX_EVENTS);
        let started = Instant::now();
        let standing = watch::Sender::new(core.standing());
        let shared = Shared {
            core: Mutex::new(core),
            recorder: recorder.map(Mutex::new),
            started,
            writes,
            events,
            heartbeat: Heartbeat::new(started.into_std()),
            metrics: OnceLock::new(),
            standing,
        };
        (Engine(Arc::new(shared)), Outputs { writes: write_receiver, events: event_receiver })
    }

    /// From now on what steps say is counted there.
    pub(crate) fn count_in(&self, metrics: Metrics) {
        // A second one would be another registry's: there is one.
        drop(self.0.metrics.set(metrics));
    }

    /// Recorded at every tick.
    pub(crate) fn heartbeat(&self) -> &Heartbeat {
        &self.0.heartbeat
    }

    /// What the probes say, as of the last step. Does not wait for the core.
    pub(crate) fn standing(&self) -> Standing {
        *self.0.standing.borrow()
    }

    /// One step of the core; its actions go into the queues.
    pub(crate) fn submit(&self, input: Input) {
        self.step(input);
    }

    /// One step for a report of this agent's pod: whether it was accepted, and the answer.
    ///
    /// # Errors
    /// Why the core rejected it.
    pub(crate) fn report(&self, agent: String, report: Report) -> Result<Answer, Rejection> {
        let answer = self.step(Input::Reported { agent, report: Box::new(report) });
        // A step for a report always answers it.
        answer.unwrap_or(Err(Rejection::NotSynced))
    }

    /// Asks the core something. The core is locked meanwhile: a question must not look at more than [`PAGE`] pods or so.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Core, Now) -> T) -> T {
        let core = self.lock();
        question(&core, self.now())
    }

    /// Counts all pods, page by page. A pod that is created or deleted meanwhile may be counted or not.
    pub(crate) async fn count(&self) -> Counts {
        let mut counts = self.ask(Core::counts);
        self.page_by_page(|core, after| core.count_pods(after, PAGE, &mut counts)).await;
        counts
    }

    /// What became of the pods of each class; they are counted as by [`Engine::count`].
    pub(crate) async fn ledger(&self) -> Vec<ClassRow> {
        let mut pods = BTreeMap::new();
        self.page_by_page(|core, after| core.count_classes(after, PAGE, &mut pods)).await;
        self.ask(|core, _| core.ledger(&pods))
    }

    /// Asks about the pods after the first, until there is none.
    async fn page_by_page(&self, mut question: impl FnMut(&Core, Option<&PodName>) -> Option<PodName>) {
        let mut last = self.ask(|core, _| question(core, None));
        while let Some(after) = last {
            // Reports that arrived are handled in between, also where the runtime has one thread.
            yield_now().await;
            last = self.ask(|core, _| question(core, Some(&after)));
        }
    }

    /// Submits a tick about once a second, until the shutdown.
    ///
    /// # Errors
    /// If a step panicked, in whatever task: a core that may be half changed must not decide any more.
    pub(crate) async fn tick(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => break,
                _ = ticks.tick() => {}
            }
            ensure!(!self.0.core.is_poisoned(), "a step of the core panicked");
            self.submit(Input::Tick);
            self.0.heartbeat.record(Instant::now().into_std());
            self.flush();
        }
        self.flush();
        Ok(())
    }

    /// The step, its record and its actions in one critical section: all are in the same order.
    fn step(&self, input: Input) -> Option<Result<Answer, Rejection>> {
        let mut core = self.lock();
        let now = self.now();
        let recorded = self.0.recorder.as_ref().map(|recorder| (recorder, input.clone()));
        let Effects { actions, answer } = core.step(now, input);
        let standing = core.standing();
        self.0.standing.send_if_modified(|before| std::mem::replace(before, standing) != standing);
        for note in core.take_notes() {
            log::note(&note);
            self.0.metrics.get().inspect(|metrics| metrics.note(&note));
        }
        if let Some((recorder, input)) = recorded {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).step(now, &input, &actions);
        }
        for action in actions {
            match action {
                // Without a receiver the process is stopping.
                Action::Write(write) => drop(self.0.writes.send(write)),
                Action::Publish(event) => {
                    if self.0.events.try_send(event).is_err() {
                        tracing::debug!("an Event was dropped: too many at once");
                    }
                }
            }
        }
        answer
    }

    fn now(&self) -> Now {
        Now { at: Moment(self.0.started.elapsed()), wall: Timestamp::now() }
    }

    fn flush(&self) {
        if let Some(recorder) = &self.0.recorder {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }

    /// A panic in a step leaves a core that may be half changed; [`tick`](Self::tick) notices it and ends the process.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
