//! A whole run as a file: what the state was fed with, and the reports that it made. A replay must make the same reports, byte for byte.
//!
//! JSON lines. The first line holds the settings, every other one an input or a report. The file is written under the lock of the state,
//! into a buffer that is written out after each sweep, and it grows without bound: recording is for finding faults, not for production
//! load.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Deref;
use std::path::Path;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::report::Capacity;
use plimsoll_contract::roster::Answer;
use plimsoll_contract::{Cores, Moment, PodUid, Report};
use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::sample::{Reading, Target};
use crate::state::{AcceptedEvents, NodeState, ReportedEvents, Transition, WithoutRoster};

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

/// Records a run. After the first failure it records no more: a recording with a gap would not replay.
#[derive(Debug)]
struct Recorder {
    file: BufWriter<File>,
    failed: bool,
}

impl Recorder {
    fn start(path: &Path, settings: &Settings) -> anyhow::Result<Recorder> {
        let file =
            File::create(path).with_context(|| format!("--record: cannot write {}", path.display()))?;
        let mut recorder = Recorder { file: BufWriter::new(file), failed: false };
        recorder.write(settings).with_context(|| format!("--record: cannot write {}", path.display()))?;
        Ok(recorder)
    }

    fn line(&mut self, line: &Line) {
        self.attempt(|recorder| recorder.write(line));
    }

    fn flush(&mut self) {
        self.attempt(|recorder| recorder.file.flush());
    }

    fn attempt(&mut self, write: impl FnOnce(&mut Recorder) -> io::Result<()>) {
        if !self.failed
            && let Err(error) = write(self)
        {
            self.failed = true;
            tracing::error!(%error, "recording stopped");
        }
    }

    fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
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
        let recorder = record.map(|path| Recorder::start(path, &settings)).transpose()?;
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

/// Feeds a recording to a fresh state and compares every report. Returns the number of reports.
///
/// # Errors
/// If the file cannot be read, a line is not one of a recording, or a report differs; each names the line.
pub fn replay(path: &Path) -> anyhow::Result<usize> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the recording {shown}"))?;
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().with_context(|| format!("the recording {shown} is empty"))??;
    let settings: Settings =
        serde_json::from_str(&first).with_context(|| format!("{shown}:1: not settings"))?;
    let mut state = NodeState::new(settings.profile, settings.without_roster);
    let mut reports = 0;
    for (number, line) in (2..).zip(lines) {
        let line =
            serde_json::from_str(&line?).with_context(|| format!("{shown}:{number}: not of a recording"))?;
        match line {
            Line::Capacity { capacity, cpus } => state.set_capacity(capacity, cpus),
            Line::Appeared { target, now } => state.appeared(&target, now),
            Line::Gone { target, now } => state.gone(&target, now),
            Line::Read { target, reading } => state.observe(&target, &reading),
            Line::Swept { now, wall } => {
                state.classify(now, wall);
                state.urgent_pods(now);
            }
            Line::Roster { answer, now } => {
                state.apply_roster(&answer, now);
            }
            Line::Report { now, empty, pods, accepted, report } => {
                let (again, _) = state.report_to(*empty, pods.as_ref(), &accepted, now);
                let (got, want) = (serde_json::to_string(&again)?, serde_json::to_string(&report)?);
                ensure!(got == want, "{shown}:{number}: recorded {want}, replayed {got}");
                reports += 1;
            }
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests;
