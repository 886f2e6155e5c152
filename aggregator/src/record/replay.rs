//! Runs a recording again: a fresh core, fed with what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use plimsoll_contract::{Moment, PodName};
use plimsoll_process::recording::Recording;
use plimsoll_sizing::replay::recorded::Snapshot;

use super::{KIND, Read};
use crate::action::{Action, Change, Write};
use crate::core::Core;
use crate::input::{Input, Outcome, WriteResult};
use crate::settings::Settings;

/// What one line of a recording gave.
#[derive(Debug)]
pub struct Step {
    /// When, since the start of the process.
    pub at: Moment,
    /// The same for people.
    pub wall: Timestamp,
    /// Where the actions are not those that were recorded: the line, and both.
    pub differs: Option<String>,
    /// The pods of a report that was accepted, with what the API server said of them.
    pub snapshot: Option<Snapshot>,
    /// A resize that the API server accepted.
    pub resized: Option<Resized>,
}

/// A resize that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The pod.
    pub pod: PodName,
    /// Its size before.
    pub from: String,
    /// Its size after.
    pub to: String,
    /// Why: `grow`, `shrink`, `birth`, `undo`, `revert`.
    pub reason: &'static str,
}

/// A recording that is run again.
#[derive(Debug)]
pub struct Replay {
    recording: Recording,
    core: Core,
    /// Resizes without an outcome yet, by the number of their write.
    resizes: BTreeMap<u64, Write>,
}

impl Replay {
    /// From the start of a recording.
    ///
    /// # Errors
    /// If it is not one of an aggregator.
    pub fn of(recording: Recording) -> anyhow::Result<Replay> {
        let settings: Settings = recording.settings(KIND)?;
        Ok(Replay { recording, core: Core::new(settings), resizes: BTreeMap::new() })
    }

    /// Goes on by one line; none at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is not one of a recording; each names the line.
    pub fn step(&mut self) -> anyhow::Result<Option<Step>> {
        let Some(Read { now, input, actions: recorded }) = self.recording.read()? else { return Ok(None) };
        let resized = match &input {
            Input::Outcome(outcome) => self.resized(outcome),
            _ => None,
        };
        let reported = match &input {
            Input::Reported { report, .. } => {
                let named: BTreeSet<_> = report.pods.iter().map(|pod| pod.uid.clone()).collect();
                Some((report.node.clone(), report.full, named))
            }
            _ => None,
        };
        let effects = self.core.step(now, input);
        let (got, want) = (serde_json::to_string(&effects.actions)?, serde_json::to_string(&recorded)?);
        let differs =
            (got != want).then(|| format!("{}: recorded {want}, replayed {got}", self.recording.place()));
        let sent = recorded.into_iter().filter_map(|action| match action {
            Action::Write(write) if matches!(write.change, Change::Resize(_)) => Some((write.id, write)),
            Action::Write(_) | Action::Publish(_) => None,
        });
        self.resizes.extend(sent);
        let accepted = reported.filter(|_| matches!(effects.answer, Some(Ok(_))));
        let snapshot = accepted.map(|(node, full, named)| self.core.snapshot(&node, full, &named));
        Ok(Some(Step { at: now.at, wall: now.wall, differs, snapshot, resized }))
    }

    /// The resize that this is the outcome of, if it was made.
    fn resized(&mut self, outcome: &Outcome) -> Option<Resized> {
        let Write { pod, from, to, reason, .. } = self.resizes.remove(&outcome.write)?;
        let is_made = matches!(outcome.result, WriteResult::Written(_));
        is_made.then(|| Resized { pod, from, to, reason: reason.as_str() })
    }

    /// Whether the recording's last line is unfinished, once that was reached.
    pub fn truncated(&self) -> bool {
        self.recording.truncated()
    }
}

/// Runs a recording again, and compares every action. Returns the number of steps.
///
/// # Errors
/// If the file cannot be read, is no recording of an aggregator, or an action differs; each names the line.
pub fn replay(path: &Path) -> anyhow::Result<usize> {
    let mut replay = Replay::of(Recording::open(path)?)?;
    let mut steps = 0;
    while let Some(step) = replay.step()? {
        if let Some(differs) = step.differs {
            bail!("{differs}");
        }
        steps += 1;
    }
    Ok(steps)
}
