//! The sampler: one dedicated thread that reads every cgroup once a period and updates the shared state.
//!
//! File reads are synchronous and short, so they have a thread of their own and no task waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use plimsoll_contract::{Basis, Moment};
use plimsoll_process::shutdown::Shutdown;
use tokio::sync::oneshot;

use crate::clock::{self, Ticks};
use crate::host::{CgroupEvent, Host};
use crate::metrics::Metrics;
use crate::profile::Profile;
use crate::shared::Shared;
use crate::state::Transition;
use crate::timing::{SweepTiming, TimingChange};

/// Sweeps between two readings of the node's CPUs, memory and boot id: CPUs may be added or taken offline.
const NODE_INFO_EVERY: u64 = 10;

/// Reads the host and updates [`Shared`].
#[derive(Debug)]
pub(crate) struct Sampler {
    host: Host,
    shared: Arc<Shared>,
    metrics: Metrics,
    warm_up: Duration,
    started: Moment,
    timing: SweepTiming,
    sweeps: u64,
    /// Whether the node's capacity could be read last time; logged when it changes.
    info_readable: bool,
}

impl Sampler {
    pub(crate) fn new(host: Host, shared: Arc<Shared>, metrics: Metrics, profile: &Profile) -> Sampler {
        Sampler {
            host,
            shared,
            metrics,
            warm_up: profile.warm_up,
            started: clock::now(),
            timing: SweepTiming::new(profile),
            sweeps: 0,
            info_readable: true,
        }
    }

    /// One sweep: discovers pods that came or went, reads every cgroup, updates the bands.
    pub(crate) fn sweep(&mut self, now: Moment, wall: Timestamp) {
        let began = Instant::now();
        self.record_timing(now);
        let new_interest = self.shared.lock().new_interest.take();
        if let Some(interest) = new_interest {
            self.host.set_interest(interest);
        }
        if self.sweeps.is_multiple_of(NODE_INFO_EVERY) {
            self.read_node_info();
        } else if self.host.has_managed() {
            // a pod may be given more of it a moment later
            let capacity = self.shared.lock().info.capacity.bytes;
            let available = self.host.available_memory(capacity);
            self.shared.lock().info.capacity.available_bytes = available;
        }
        self.discover(now);
        let shared = &self.shared;
        self.host.sweep(clock::now, |target, reading| shared.lock().state.observe(target, reading));
        self.classify(wall);
        self.sweeps += 1;
        self.metrics.record_sweep(began.elapsed(), &self.host);
        self.shared.heartbeat.record(Instant::now());
        if now.since(self.started) >= self.warm_up && self.shared.ready.set() {
            tracing::info!(sweeps = self.sweeps, "first classification done");
        }
    }

    fn record_timing(&mut self, now: Moment) {
        let (missed, change) = self.timing.record(now);
        self.metrics.record_missed_sweeps(missed);
        match change {
            Some(TimingChange::Late(gap)) => tracing::warn!(
                gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX),
                "sweeps are late: the agent gets too little CPU (raise its CPU request), or the node slept"
            ),
            Some(TimingChange::OnTime { missed }) => tracing::info!(missed, "sweeps are on time again"),
            None => {}
        }
    }

    fn read_node_info(&mut self) {
        let info = self.host.node_info();
        let before = std::mem::replace(&mut self.info_readable, info.is_ok());
        match info {
            Ok(info) => {
                let mut data = self.shared.lock();
                data.state.set_capacity(info.capacity, info.cpus);
                data.info = info;
                drop(data);
                if !before {
                    tracing::info!("the node's capacity can be read again");
                }
            }
            Err(error) if before => {
                tracing::warn!(%error, "cannot read the node's capacity; the last one remains in use");
            }
            Err(_) => {}
        }
    }

    fn discover(&mut self, now: Moment) {
        let events = self.host.discover(now);
        let mut new_pods = BTreeSet::new();
        let mut data = self.shared.lock();
        for event in &events {
            match event {
                CgroupEvent::Appeared(target) => {
                    data.state.appeared(target, now);
                    new_pods.insert(target.pod.clone());
                }
                CgroupEvent::Gone(target) => data.state.gone(target, now),
            }
        }
        self.shared.mark_urgent(&mut data, new_pods, now);
    }

    fn classify(&self, wall: Timestamp) {
        let now = clock::now();
        let mut data = self.shared.lock();
        let (transitions, urgent) = data.state.end_sweep(now, wall);
        data.last_sweep = now;
        self.shared.mark_urgent(&mut data, urgent, now);
        drop(data);
        transitions.iter().for_each(log);
    }
}

/// Sweeps on a thread of its own until the shutdown, and then does not wait for the thread: it sleeps until its next deadline, or
/// hangs in a read that cannot be interrupted, and has nothing to clean up.
///
/// # Errors
/// If the thread cannot be started, or panics.
pub(crate) async fn run(mut sampler: Sampler, period: Duration, shutdown: Shutdown) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel::<()>();
    let stop = shutdown.clone();
    thread::Builder::new()
        .name("sampler".into())
        .spawn(move || {
            let mut ticks = Ticks::every(period);
            while !stop.is_triggered() {
                sampler.sweep(clock::now(), Timestamp::now());
                ticks.wait();
            }
            // a panic drops the sender without sending, which the receiver sees as an error
            let _ = ended.send(());
        })
        .context("cannot start the sampler thread")?;
    tokio::select! {
        biased;
        () = shutdown.triggered() => Ok(()),
        ended = end => ended.context("the sampler thread panicked; see its message in the log"),
    }
}

fn log(transition: &Transition) {
    let Transition { pod, name, resource, from, to, basis, utilization } = transition;
    let uid = pod;
    let pod = name.as_ref().map(tracing::field::display);
    let basis = basis.map(Basis::as_str);
    tracing::info!(pod, %uid, %resource, %from, %to, basis, utilization, "band changed");
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;
    use prometheus::Registry;

    use super::*;
    use crate::args::Args;
    use crate::config::Config;

    pub(crate) fn sampler_of_a_captured_tree() -> (Sampler, Arc<Shared>, Metrics) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/docker/tree");
        let args = Args::try_parse_from(["agent", "--node-name=n", "--host-root", root]).unwrap();
        let config = Config::from_args(&args).unwrap();
        let host = Host::open(&config.host).unwrap();
        let shared = Arc::new(Shared::new(&config, host.node_info().unwrap(), Timestamp::now()).unwrap());
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let profile = Profile { warm_up: Duration::ZERO, ..config.profile };
        (Sampler::new(host, shared.clone(), metrics.clone(), &profile), shared, metrics)
    }

    #[tokio::test]
    async fn a_long_period_does_not_delay_the_shutdown() {
        let (sampler, shared, _) = sampler_of_a_captured_tree();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(sampler, Duration::from_secs(15), shutdown.clone()));
        while !shared.ready.is_set() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.trigger();
        let ended = tokio::time::timeout(Duration::from_secs(5), task).await;
        assert!(ended.expect("it does not wait for the next sweep").unwrap().is_ok());
    }
}
