//! Runs a recording again: a fresh state, fed with what was recorded.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use plimsoll_contract::roster::RosterPod;
use plimsoll_contract::{Moment, PodUid, Report};
use plimsoll_process::recording::Recording;

use super::{KIND, Line, Settings};
use crate::state::{NodeState, WithoutRoster};

/// What one line of a recording gave.
#[derive(Debug)]
pub enum Step {
    /// A sweep ended. The report is of all pods, as it could have been made then; none before the recording names the node.
    Swept {
        /// When, since boot.
        at: Moment,
        /// The same for people.
        wall: Timestamp,
        /// All pods, whether or not they were reported.
        report: Option<Box<Report>>,
    },
    /// The report that was recorded, made again.
    Reported {
        /// Where it is not the same: the line, and both.
        differs: Option<String>,
    },
    /// Something else that the state was fed with.
    Fed,
}

/// A recording that is run again.
#[derive(Debug)]
pub struct Replay {
    recording: Recording,
    state: NodeState,
    expects_roster: bool,
    /// The last report before pods were added.
    frame: Option<Report>,
    roster: BTreeMap<PodUid, RosterPod>,
}

impl Replay {
    /// From the start of a recording.
    ///
    /// # Errors
    /// If it is not one of an agent.
    pub fn of(recording: Recording) -> anyhow::Result<Replay> {
        let Settings { profile, without_roster } = recording.settings(KIND)?;
        let state = NodeState::new(profile, without_roster);
        let expects_roster = without_roster == WithoutRoster::Unknown;
        Ok(Replay { recording, state, expects_roster, frame: None, roster: BTreeMap::new() })
    }

    /// Goes on by one line; none at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is not one of a recording; each names the line.
    pub fn step(&mut self) -> anyhow::Result<Option<Step>> {
        let Some(line) = self.recording.read()? else { return Ok(None) };
        let state = &mut self.state;
        match line {
            Line::Capacity { capacity, cpus } => state.set_capacity(capacity, cpus),
            Line::Appeared { target, now } => state.appeared(&target, now),
            Line::Gone { target, now } => state.gone(&target, now),
            Line::Read { target, reading } => state.observe(&target, &reading),
            Line::Swept { now, wall } => {
                state.classify(now, wall);
                state.urgent_pods(now);
                let report = self.frame.clone().map(|frame| Box::new(state.full_report(frame, now)));
                return Ok(Some(Step::Swept { at: now, wall, report }));
            }
            Line::Roster { answer, now } => {
                state.apply_roster(&answer, now);
                self.roster.extend(answer.roster.into_iter().map(|pod| (pod.uid.clone(), pod)));
            }
            Line::Report { now, empty, pods, accepted, report } => {
                self.frame = Some((*empty).clone());
                let (again, _) = state.report_to(*empty, pods.as_ref(), &accepted, now);
                let (got, want) = (serde_json::to_string(&again)?, serde_json::to_string(&report)?);
                let place = self.recording.place();
                let differs = (got != want).then(|| format!("{place}: recorded {want}, replayed {got}"));
                return Ok(Some(Step::Reported { differs }));
            }
        }
        Ok(Some(Step::Fed))
    }

    /// Whether the agent had an aggregator, which says names and requests.
    pub fn expects_roster(&self) -> bool {
        self.expects_roster
    }

    /// A pod, as a roster listed it last.
    pub fn listed(&self, pod: &PodUid) -> Option<&RosterPod> {
        self.roster.get(pod)
    }

    /// Whether the recording's last line is unfinished, once that was reached.
    pub fn truncated(&self) -> bool {
        self.recording.truncated()
    }
}

/// Runs a recording again, and compares every report. Returns the number of reports.
///
/// # Errors
/// If the file cannot be read, is no recording of an agent, or a report differs; each names the line.
pub fn replay(path: &Path) -> anyhow::Result<usize> {
    let mut replay = Replay::of(Recording::open(path)?)?;
    let mut reports = 0;
    while let Some(step) = replay.step()? {
        match step {
            Step::Reported { differs: Some(differs) } => bail!("{differs}"),
            Step::Reported { differs: None } => reports += 1,
            Step::Swept { .. } | Step::Fed => {}
        }
    }
    Ok(reports)
}
