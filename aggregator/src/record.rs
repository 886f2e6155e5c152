//! A whole run as a file: the inputs of the core, and the actions it decided on. A replay must give the same actions, byte for byte.
//!
//! JSON lines. The first line holds the core's settings, every other one `{"now", "input", "actions"}`. The engine writes the file
//! under its lock, into a buffer: recording is for finding faults, not for production load.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::core::Core;
use crate::input::{Input, Now};
use crate::settings::Settings;

/// Records a run. After the first failure it records no more: a recording with a gap would not replay.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: BufWriter<File>,
    failed: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    now: Now,
    input: &'a Input,
    actions: &'a [Action],
}

#[derive(Deserialize)]
struct Read {
    now: Now,
    input: Input,
    actions: Vec<Action>,
}

impl Recorder {
    /// Starts a recording; an older one at that path is overwritten.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn start(path: &Path, settings: &Settings) -> anyhow::Result<Recorder> {
        let file = File::create(path).with_context(|| format!("cannot record to {}", path.display()))?;
        let mut recorder = Recorder { file: BufWriter::new(file), failed: false };
        recorder.line(settings).with_context(|| format!("cannot record to {}", path.display()))?;
        Ok(recorder)
    }

    /// One step of the core.
    pub(crate) fn step(&mut self, now: Now, input: &Input, actions: &[Action]) {
        let step = Written { now, input, actions };
        self.attempt(|recorder| recorder.line(&step));
    }

    /// Writes the buffer to the file.
    pub(crate) fn flush(&mut self) {
        self.attempt(|recorder| recorder.file.flush());
    }

    fn attempt(&mut self, write: impl FnOnce(&mut Recorder) -> io::Result<()>) {
        if self.failed {
            return;
        }
        if let Err(error) = write(self) {
            self.failed = true;
            tracing::error!(%error, "recording stopped");
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
}

/// Feeds a recording to a fresh core and compares every action. Returns the number of steps.
///
/// # Errors
/// If the file cannot be read, a line is not one of a recording, or an action differs; each names the line.
pub fn replay(path: &Path) -> anyhow::Result<usize> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the recording {shown}"))?;
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().with_context(|| format!("the recording {shown} is empty"))??;
    let settings: Settings =
        serde_json::from_str(&first).with_context(|| format!("{shown}:1: not settings"))?;
    let mut core = Core::new(settings);
    let mut steps = 0;
    for (number, line) in (2..).zip(lines) {
        let step: Read =
            serde_json::from_str(&line?).with_context(|| format!("{shown}:{number}: not a step"))?;
        let actions = core.step(step.now, step.input).actions;
        let (got, want) = (serde_json::to_string(&actions)?, serde_json::to_string(&step.actions)?);
        ensure!(got == want, "{shown}:{number}: recorded {want}, replayed {got}");
        steps += 1;
    }
    Ok(steps)
}
