//! A whole run as a file: the inputs of the core, and the actions it decided on. Run again, it must give the same actions, byte for byte.
//!
//! After the settings, each line of the recording is `{"now", "input", "actions"}`. The engine writes it under its lock.

mod replay;

use std::path::Path;

use plimsoll_process::recording;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::input::{Input, Now};
use crate::settings::Settings;
pub use replay::{Replay, Resized, Step, replay};

/// The kind of these recordings.
pub const KIND: &str = "aggregator";

/// Records a run.
#[derive(Debug)]
pub(crate) struct Recorder(recording::Recorder);

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
        Ok(Recorder(recording::Recorder::start(path, KIND, settings)?))
    }

    /// One step of the core.
    pub(crate) fn step(&mut self, now: Now, input: &Input, actions: &[Action]) {
        self.0.line(&Written { now, input, actions });
    }

    /// Writes the buffer to the file.
    pub(crate) fn flush(&mut self) {
        self.0.flush();
    }
}
