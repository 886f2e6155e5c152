//! A whole run as a file: what the state was fed with, and the reports that it made. Run again, it must make the same reports, byte for
//! byte.
//!
//! After the settings, each line of the recording is an input or a report. It is written under the lock of the state, and its buffer is written
//! out after each sweep.

mod replay;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;

use jiff::Timestamp;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Cores, Moment, PodUid, Report};
use plimsoll_process::recording::Recorder;
use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::sample::{Reading, Target};
use crate::state::{AcceptedEvents, NodeState, ReportedEvents, Transition, WithoutRoster};
pub use replay::{Replay, Step, replay};

/// The kind of these recordings.
pub const KIND: &str = "agent";

/// What a state is made from.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    profile: Profile,
    without_roster: WithoutRoster,
}

/// What the state is fed with, and what it is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Capacity {
        capacity: Capacity,
        cpus: Option<Cores>,
    },
    Appeared {
        target: Target,
        now: Moment,
    },
    Gone {
        target: Target,
        now: Moment,
    },
    Read {
        target: Target,
        reading: Box<Reading>,
    },
    Swept {
        now: Moment,
        wall: Timestamp,
    },
    Roster {
        answer: Answer,
        now: Moment,
    },
    Report {
        now: Moment,
        /// The report before pods were added.
        empty: Box<Report>,
        /// Absent in a full report.
        pods: Option<BTreeSet<PodUid>>,
        accepted: AcceptedEvents,
        report: Box<Report>,
    },
}

/// The state, and the recording of what it is fed with, if there is one. What only reads it is not recorded.
#[derive(Debug)]
pub(crate) struct RecordedState {
    state: NodeState,
    recorder: Option<Recorder>,
}

impl RecordedState {
    /// A node without pods. `record`: where to record; an older recording there is overwritten.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn new(
        profile: Profile,
        without_roster: WithoutRoster,
        record: Option<&Path>,
    ) -> anyhow::Result<RecordedState> {
        let settings = Settings { profile, without_roster };
        let recorder = record.map(|path| Recorder::start(path, KIND, &settings)).transpose()?;
        Ok(RecordedState { state: NodeState::new(settings.profile, without_roster), recorder })
    }

    fn record(&mut self, line: impl FnOnce() -> Line) {
        if let Some(recorder) = &mut self.recorder {
            recorder.line(&line());
        }
    }

    pub(crate) fn set_capacity(&mut self, capacity: Capacity, cpus: Option<Cores>) {
        self.record(|| Line::Capacity { capacity, cpus });
        self.state.set_capacity(capacity, cpus);
    }

    pub(crate) fn appeared(&mut self, target: &Target, now: Moment) {
        self.record(|| Line::Appeared { target: target.clone(), now });
        self.state.appeared(target, now);
    }

    pub(crate) fn gone(&mut self, target: &Target, now: Moment) {
        self.record(|| Line::Gone { target: target.clone(), now });
        self.state.gone(target, now);
    }

    pub(crate) fn observe(&mut self, target: &Target, reading: &Reading) {
        self.record(|| Line::Read { target: target.clone(), reading: Box::new(reading.clone()) });
        self.state.observe(target, reading);
    }

    /// After the readings of a sweep: the bands that changed, and the pods to report at once.
    pub(crate) fn end_sweep(&mut self, now: Moment, wall: Timestamp) -> (Vec<Transition>, BTreeSet<PodUid>) {
        self.record(|| Line::Swept { now, wall });
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
        (self.state.classify(now, wall), self.state.urgent_pods(now))
    }

    pub(crate) fn apply_roster(&mut self, answer: &Answer, now: Moment) -> BTreeSet<PodUid> {
        self.record(|| Line::Roster { answer: answer.clone(), now });
        self.state.apply_roster(answer, now)
    }

    pub(crate) fn report_to(
        &mut self,
        empty: Report,
        pods: Option<&BTreeSet<PodUid>>,
        accepted: &AcceptedEvents,
        now: Moment,
    ) -> (Report, Vec<ReportedEvents>) {
        let recorded = self.recorder.as_ref().map(|_| empty.clone());
        let (report, events) = self.state.report_to(empty, pods, accepted, now);
        if let Some(empty) = recorded {
            let (empty, report) = (Box::new(empty), Box::new(report.clone()));
            let (pods, accepted) = (pods.cloned(), accepted.clone());
            self.record(|| Line::Report { now, empty, pods, accepted, report });
        }
        (report, events)
    }
}

impl Deref for RecordedState {
    type Target = NodeState;

    fn deref(&self) -> &NodeState {
        &self.state
    }
}

#[cfg(test)]
mod tests;
