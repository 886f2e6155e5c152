//! The sweep: one dedicated thread that reads every cgroup once a period and tells the book.
//!
//! File reads are synchronous and short, so they have a thread of their own and no task waits for them. The book is
//! locked per cgroup, never while a file is read: a slow `memory.stat` delays nobody who serves or delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::report::{Capacity, MAX_SEQ, Report};
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Basis, NodeName, PodUid};
use plimsoll_process::probe::{Beat, Latch};
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::{oneshot, watch};

use crate::book::{Book, ReportHead, Transition};
use crate::clock::{self, Ticks};
use crate::config::Config;
use crate::host::{Change, Host, NodeFacts};
use crate::metrics::Metrics;
use crate::pace::{Pace, Step, Turn};
use crate::profile::Profile;
use crate::sample::Moment;

/// The node's CPUs, memory and boot id are read again after so many sweeps: CPUs come and go.
const NODE_EVERY: u64 = 10;
/// How long a pod stays urgent: by then a full report has named it.
const URGENT_FOR: Duration = Duration::from_secs(15);

/// What the sweep shares with the tasks that serve and deliver.
#[derive(Debug)]
pub struct Shared {
    node: NodeName,
    book: Mutex<Book>,
    facts: Mutex<NodeFacts>,
    /// Pods that the next sweep reads more closely; set by the roster.
    managed: Mutex<Option<BTreeSet<PodUid>>>,
    urgent: Mutex<Urgent>,
    /// Rises whenever a pod becomes urgent.
    pub urgency: watch::Sender<u64>,
    /// Touched by each sweep.
    pub beat: Beat,
    /// Set after the warm-up: whatever was there at the start and can be classified has been.
    pub ready: Latch,
    sequence: AtomicU64,
    sweeps: AtomicU64,
    /// When the last sweep ended.
    settled: Mutex<Moment>,
}

/// Pods to report at once, with the generation in which they became urgent. Newest wins; nothing queues.
#[derive(Debug, Default)]
struct Urgent {
    generation: u64,
    pods: BTreeMap<PodUid, (u64, Moment)>,
}

impl Shared {
    /// Nothing read yet. `started` is where sequence numbers begin.
    pub fn new(config: &Config, facts: NodeFacts, started: Timestamp) -> Shared {
        let mut book = Book::new(config.profile.clone(), config.without_roster());
        book.set_node(&facts.capacity());
        Shared {
            node: config.node.clone(),
            book: Mutex::new(book),
            facts: Mutex::new(facts),
            managed: Mutex::new(None),
            urgent: Mutex::new(Urgent::default()),
            urgency: watch::Sender::new(0),
            beat: Beat::new(Instant::now()),
            ready: Latch::new(),
            sequence: AtomicU64::new(u64::try_from(started.as_millisecond()).unwrap_or(0)),
            sweeps: AtomicU64::new(0),
            settled: Mutex::new(clock::now()),
        }
    }

    /// The book, for as long as the guard lives: keep it short.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Takes in what the aggregator said of our pods.
    pub fn apply_roster(&self, answer: &Answer) {
        let managed = self.book().apply_roster(answer, clock::now(), Timestamp::now());
        *lock(&self.managed) = Some(managed);
    }

    /// The next report is above `newest`.
    pub fn go_on_from(&self, newest: u64) {
        self.sequence.fetch_max(newest.min(MAX_SEQ), Ordering::Relaxed);
    }

    /// A report of every pod, with the next sequence number.
    pub fn full_report(&self, roster_version: u64) -> Report {
        let head = self.head(self.next_sequence(), roster_version);
        self.book().full_report(&head, clock::now())
    }

    /// A report of every pod for somebody to look at: it takes no sequence number of its own, and its ages are those of
    /// the last sweep, so that it stays the same until something is new.
    pub fn peek_report(&self) -> Report {
        let head = self.head(self.sequence.load(Ordering::Relaxed), 0);
        let at = *lock(&self.settled);
        self.book().full_report(&head, at)
    }

    fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::Relaxed)
    }

    /// A report of these pods, with the next sequence number.
    pub fn partial_report(&self, pods: &BTreeSet<PodUid>, roster_version: u64) -> Report {
        let head = self.head(self.next_sequence(), roster_version);
        self.book().partial_report(&head, pods, clock::now())
    }

    /// The pods that have an SLA class.
    pub fn managed_pods(&self) -> BTreeSet<PodUid> {
        self.book().pods().filter(|pod| pod.managed()).map(|pod| pod.uid().clone()).collect()
    }

    /// The pods that became urgent after `generation`, and the generation now.
    pub fn urgent_since(&self, generation: u64) -> (u64, BTreeSet<PodUid>) {
        let urgent = lock(&self.urgent);
        let newer = urgent.pods.iter().filter(|(_, (since, _))| *since > generation);
        (urgent.generation, newer.map(|(pod, _)| pod.clone()).collect())
    }

    fn facts(&self) -> NodeFacts {
        lock(&self.facts).clone()
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn head(&self, seq: u64, roster_version: u64) -> ReportHead {
        let facts = self.facts();
        ReportHead {
            node: self.node.clone(),
            boot: facts.boot,
            seq,
            roster_version,
            capacity: Capacity { cores: facts.cpus, bytes: facts.memory },
        }
    }

    fn press(&self, pods: BTreeSet<PodUid>, now: Moment) {
        if pods.is_empty() {
            return;
        }
        let mut urgent = lock(&self.urgent);
        urgent.generation += 1;
        let generation = urgent.generation;
        urgent.pods.retain(|_, (_, at)| now.since(*at) < URGENT_FOR);
        urgent.pods.extend(pods.into_iter().map(|pod| (pod, (generation, now))));
        self.urgency.send_replace(generation);
    }
}

/// One who sweeps.
#[derive(Debug)]
pub struct Sweeper {
    host: Host,
    shared: Arc<Shared>,
    metrics: Metrics,
    warm_up: Duration,
    started: Moment,
    pace: Pace,
    /// Whether the node's facts could be read last time; logged when it changes.
    node_read: bool,
}

impl Sweeper {
    /// Ready for the first sweep.
    pub fn new(host: Host, shared: Arc<Shared>, metrics: Metrics, profile: &Profile) -> Sweeper {
        let pace = Pace::new(profile);
        let (warm_up, started) = (profile.warm_up, clock::now());
        Sweeper { host, shared, metrics, warm_up, started, pace, node_read: true }
    }

    /// One sweep: what came and went, every cgroup read, the bands brought up to date.
    pub fn sweep(&mut self, now: Moment, wall: Timestamp) {
        let began = Instant::now();
        self.keep_pace(now);
        if let Some(managed) = lock(&self.shared.managed).take() {
            self.host.set_managed(managed);
        }
        if self.shared.sweeps().is_multiple_of(NODE_EVERY) {
            self.read_node();
        }
        self.discover(now);
        let shared = &self.shared;
        self.host.sweep(clock::now, |target, reading| shared.book().observe(target, reading));
        self.settle(wall);
        let sweeps = self.shared.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.swept(began.elapsed(), &self.host);
        self.shared.beat.touch(Instant::now());
        if now.since(self.started) >= self.warm_up && self.shared.ready.set() {
            tracing::info!(sweeps, "first classification done");
        }
    }

    fn keep_pace(&mut self, now: Moment) {
        let Step { missed, turn } = self.pace.step(now);
        self.metrics.missed(missed);
        match turn {
            Some(Turn::Late(gap)) => tracing::warn!(
                gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX),
                "sweeps come late: the node leaves the agent too little CPU, or it slept (cure: a larger CPU request)"
            ),
            Some(Turn::InTime(missed)) => tracing::info!(missed, "sweeps come in time again"),
            None => {}
        }
    }

    fn read_node(&mut self) {
        let facts = self.host.node();
        let before = std::mem::replace(&mut self.node_read, facts.is_ok());
        match facts {
            Ok(facts) => {
                self.shared.book().set_node(&facts.capacity());
                *lock(&self.shared.facts) = facts;
                if !before {
                    tracing::info!("node facts are read again");
                }
            }
            Err(error) if before => tracing::warn!(%error, "node facts not read; the last ones stand"),
            Err(_) => {}
        }
    }

    fn discover(&mut self, now: Moment) {
        let changes = self.host.discover(now);
        let mut born = BTreeSet::new();
        let mut book = self.shared.book();
        for change in &changes {
            match change {
                Change::Appeared(target) => {
                    book.appeared(target, now);
                    born.insert(target.pod.clone());
                }
                Change::Gone(target) => book.gone(target, now),
            }
        }
        drop(book);
        self.shared.press(born, now);
    }

    fn settle(&self, wall: Timestamp) {
        let now = clock::now();
        let mut book = self.shared.book();
        let transitions = book.settle(now, wall);
        let urgent = book.urgent(now);
        drop(book);
        *lock(&self.shared.settled) = now;
        transitions.iter().for_each(log);
        self.shared.press(urgent, now);
    }
}

/// Sweeps on a thread of its own until the shutdown. Does not wait for the thread then: it sleeps until its next deadline,
/// or hangs in a read that nothing can interrupt, and has nothing to put in order.
///
/// # Errors
/// If the thread cannot be started, or ends by a panic.
pub async fn run(mut sweeper: Sweeper, period: Duration, shutdown: Shutdown) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel::<()>();
    let stop = shutdown.clone();
    thread::Builder::new()
        .name("sweep".into())
        .spawn(move || {
            let mut ticks = Ticks::every(period);
            while !stop.is_triggered() {
                sweeper.sweep(clock::now(), Timestamp::now());
                ticks.wait();
            }
            // Dropped without a word if the thread panics: then the receiver sees an error.
            let _ = ended.send(());
        })
        .context("cannot start the sweep thread")?;
    tokio::select! {
        biased;
        () = shutdown.triggered() => Ok(()),
        ended = end => ended.context("the sweep thread panicked; the log has its message"),
    }
}

fn log(transition: &Transition) {
    let Transition { pod, name, resource, from, to, basis, utilization } = transition;
    let uid = pod;
    let pod = name.as_ref().map(tracing::field::display);
    let basis = basis.map(Basis::as_str);
    tracing::info!(pod, %uid, %resource, %from, %to, basis, utilization, "band changed");
}

/// Locks; a panic elsewhere does not make the data wrong: every field is written whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;
    use prometheus::Registry;

    use super::*;
    use crate::args::Args;

    pub(crate) fn sweeper_of_a_captured_tree() -> (Sweeper, Arc<Shared>, Metrics) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/docker/tree");
        let args = Args::try_parse_from(["agent", "--node-name=n", "--host-root", root]).unwrap();
        let config = Config::from_args(&args).unwrap();
        let host = Host::open(&config.host).unwrap();
        let shared = Arc::new(Shared::new(&config, host.node().unwrap(), Timestamp::now()));
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let profile = Profile { warm_up: Duration::ZERO, ..config.profile };
        (Sweeper::new(host, shared.clone(), metrics.clone(), &profile), shared, metrics)
    }

    #[tokio::test]
    async fn a_long_period_does_not_delay_the_end() {
        let (sweeper, shared, _) = sweeper_of_a_captured_tree();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(sweeper, Duration::from_secs(15), shutdown.clone()));
        while shared.sweeps() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.trigger();
        let ended = tokio::time::timeout(Duration::from_secs(5), task).await;
        assert!(ended.expect("it does not wait for the next sweep").unwrap().is_ok());
    }
}
