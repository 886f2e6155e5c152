//! What the sampling thread shares with the tasks that serve and deliver: one lock around one struct.
//!
//! The sampler locks once per cgroup and never while it reads a file, so a slow `memory.stat` delays no request and no
//! delivery. Whoever else locks reads or updates the state and is done: nothing under the lock waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_contract::report::{MAX_SEQ, Report};
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Moment, NodeName, PodUid};
use plimsoll_process::probe::{Heartbeat, Latch};
use tokio::sync::watch;

use crate::clock;
use crate::config::Config;
use crate::host::NodeInfo;
use crate::record::RecordedState;
use crate::report;
use crate::sample::Interest;
use crate::state::{AcceptedEvents, ReportedEvents};

/// What an agent has of one replica's roster. Versions of different processes are not comparable.
#[derive(Debug, Clone, Default)]
pub(crate) struct RosterPosition {
    version: u64,
    process: Option<String>,
}

impl RosterPosition {
    /// After this answer.
    pub(crate) fn after(answer: &Answer) -> RosterPosition {
        RosterPosition { version: answer.roster_version, process: answer.roster_process.clone() }
    }
}

/// How long a pod stays urgent: by then a full report has included it.
const URGENT_FOR: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Shared {
    node: NodeName,
    data: Mutex<Data>,
    /// The newest `urgency_seq`, for tasks that wait for it; see [`Shared::urgent_since`].
    pub(crate) urgency: watch::Sender<u64>,
    /// Touched by each sweep.
    pub(crate) heartbeat: Heartbeat,
    /// Set after the warm-up: every pod that was there at the start is classified, if it can be.
    pub(crate) ready: Latch,
}

/// The data behind the lock.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) state: RecordedState,
    /// Capacity and boot id, as last read.
    pub(crate) info: NodeInfo,
    /// What to read how often, when a roster has arrived since the last sweep.
    pub(crate) new_interest: Option<Interest>,
    /// When the last sweep ended.
    pub(crate) last_sweep: Moment,
    /// The memory events that any replica has accepted: where a client of another replica begins.
    accepted_events: AcceptedEvents,
    /// Sequence number of the last report.
    seq: u64,
    /// Pods to report at once, with the `urgency_seq` and the time at which they last became urgent.
    urgent: BTreeMap<PodUid, (u64, Moment)>,
    /// Rises whenever a pod becomes urgent.
    urgency_seq: u64,
}

impl Shared {
    /// Before the first sweep. Sequence numbers begin at `started`, so that they rise across restarts.
    ///
    /// # Errors
    /// If the recording that the configuration asks for cannot be written.
    pub(crate) fn new(config: &Config, info: NodeInfo, started: Timestamp) -> anyhow::Result<Shared> {
        let (profile, record) = (config.profile.clone(), config.record.as_deref());
        let mut state = RecordedState::new(profile, config.without_roster(), record)?;
        state.set_capacity(info.capacity, info.cpus);
        let data = Data {
            state,
            info,
            new_interest: None,
            last_sweep: clock::now(),
            accepted_events: AcceptedEvents::default(),
            seq: u64::try_from(started.as_millisecond()).unwrap_or(0),
            urgent: BTreeMap::new(),
            urgency_seq: 0,
        };
        Ok(Shared {
            node: config.node.clone(),
            data: Mutex::new(data),
            urgency: watch::Sender::new(0),
            heartbeat: Heartbeat::new(Instant::now()),
            ready: Latch::new(),
        })
    }

    /// Locks the data. The guard must not be held longer than it takes to read or update the data. A panic in another thread
    /// cannot have left a field half written, so a poisoned lock is used nevertheless.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn apply_roster(&self, answer: &Answer) {
        let mut data = self.lock();
        let now = clock::now();
        let managed = data.state.apply_roster(answer, now);
        data.new_interest = Some(Interest { managed, unlisted: data.state.unlisted_containers(now) });
    }

    /// Makes the sequence number of the next report higher than `newest`.
    pub(crate) fn raise_seq_above(&self, newest: u64) {
        let mut data = self.lock();
        data.seq = data.seq.max(newest.min(MAX_SEQ));
    }

    /// Makes the sequence number of the next report not higher than the one after `from`: the clock that it started at was wrong.
    pub(crate) fn lower_seq_to(&self, from: u64) {
        let mut data = self.lock();
        data.seq = data.seq.min(from);
    }

    /// A report to a replica, with the next sequence number: of these pods, or of every pod, and the memory events in it that the replica
    /// has not `accepted` yet.
    pub(crate) fn report(
        &self,
        pods: Option<&BTreeSet<PodUid>>,
        roster: &RosterPosition,
        accepted: &AcceptedEvents,
    ) -> (Report, Vec<ReportedEvents>) {
        let mut data = self.lock();
        let empty = self.next_report(&mut data, roster);
        data.state.report_to(empty, pods, accepted, clock::now())
    }

    /// The memory events that any replica has accepted.
    pub(crate) fn accepted_events(&self) -> AcceptedEvents {
        self.lock().accepted_events.clone()
    }

    /// As [`AcceptedEvents::accept`], of any replica.
    pub(crate) fn accept_events(
        &self,
        report: &Report,
        reported: &[ReportedEvents],
        rejected: &BTreeSet<&PodUid>,
    ) {
        self.lock().accepted_events.accept(report, reported, rejected);
    }

    fn next_report(&self, data: &mut Data, roster: &RosterPosition) -> Report {
        data.seq += 1;
        Report {
            roster_process: roster.process.clone(),
            ..report::empty(&self.node, &data.info, data.seq, roster.version)
        }
    }

    /// A report of every pod that is only shown: it has the last report's sequence number, and its ages are those at the last
    /// sweep, so that it does not change until there is something new.
    pub(crate) fn peek_report(&self) -> Report {
        let data = self.lock();
        let empty = report::empty(&self.node, &data.info, data.seq, 0);
        data.state.full_report(empty, data.last_sweep)
    }

    /// The pods that have an SLA class.
    pub(crate) fn managed_pods(&self) -> BTreeSet<PodUid> {
        let data = self.lock();
        data.state.pods().filter(|pod| pod.is_managed()).map(|pod| pod.uid().clone()).collect()
    }

    /// The current `urgency_seq`, and the pods that became urgent after `seq`.
    pub(crate) fn urgent_since(&self, seq: u64) -> (u64, BTreeSet<PodUid>) {
        let data = self.lock();
        let newer = data.urgent.iter().filter(|(_, (since, _))| *since > seq);
        (data.urgency_seq, newer.map(|(pod, _)| pod.clone()).collect())
    }

    /// Marks pods as urgent. The data are locked by the caller, so that what made them urgent is reported together with them.
    pub(crate) fn mark_urgent(&self, data: &mut Data, pods: BTreeSet<PodUid>, now: Moment) {
        if pods.is_empty() {
            return;
        }
        data.urgency_seq += 1;
        let seq = data.urgency_seq;
        data.urgent.retain(|_, (_, at)| now.since(*at) < URGENT_FOR);
        data.urgent.extend(pods.into_iter().map(|pod| (pod, (seq, now))));
        self.urgency.send_replace(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::tests::sampler_of_a_captured_tree;

    fn report(shared: &Shared, pods: Option<&BTreeSet<PodUid>>, roster: &RosterPosition) -> Report {
        shared.report(pods, roster, &AcceptedEvents::default()).0
    }

    #[test]
    fn a_report_repeats_the_roster_version_with_the_process_that_it_is_of() {
        let (_, shared, _) = sampler_of_a_captured_tree();
        let echoed = |report: Report| (report.roster_version, report.roster_process);
        assert_eq!(echoed(report(&shared, None, &RosterPosition::default())), (0, None));
        let process = Some("5f1d".to_owned());
        let answer = Answer { roster_version: 7, roster_process: process.clone(), ..Answer::default() };
        let position = RosterPosition::after(&answer);
        assert_eq!(echoed(report(&shared, None, &position)), (7, process.clone()));
        assert_eq!(echoed(report(&shared, Some(&BTreeSet::new()), &position)), (7, process));
        let older = RosterPosition::after(&Answer { roster_version: 9, ..Answer::default() });
        assert_eq!(echoed(report(&shared, None, &older)), (9, None), "an aggregator of an earlier version");
    }

    #[test]
    fn sequence_numbers_continue_above_the_newest_and_from_where_a_replica_says_after_a_wrong_clock() {
        let (_, shared, _) = sampler_of_a_captured_tree();
        let next = || report(&shared, None, &RosterPosition::default()).seq;
        let first = next();
        shared.raise_seq_above(first + 1000);
        assert_eq!(next(), first + 1001);
        shared.raise_seq_above(first);
        assert_eq!(next(), first + 1002, "never lower because of an older report");
        shared.lower_seq_to(first + 5);
        assert_eq!(next(), first + 6);
        shared.lower_seq_to(first + 5000);
        assert_eq!(next(), first + 7, "another replica has lowered it already");
    }
}
