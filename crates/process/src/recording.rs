//! A run as a file, so that it can be run again: the settings of a program, and what it was fed with and did.
//!
//! JSON lines. The first one names the kind of the recording, the version of its format and the settings; every other one is the
//! program's. The file is written into a buffer and grows without bound: recording is for finding faults, not for production load.
//!
//! A process that is killed leaves its last line unfinished. Everything before it counts, and [`Recording::truncated`] says so.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;
/// Longest first line. A file with a longer one is no recording, and is not read into memory.
const LONGEST_FIRST_LINE: u64 = 1 << 20;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header<K, S> {
    recording: K,
    format: u32,
    settings: S,
}

/// Writes a recording. After the first failure it records no more: a recording with a gap cannot be run again.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
    failed: bool,
}

impl Recorder {
    /// Starts a recording of this kind; an older file at that path is overwritten.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn start(path: &Path, kind: &str, settings: &impl Serialize) -> anyhow::Result<Recorder> {
        let writing = || format!("--record: cannot write {}", path.display());
        let mut recorder =
            Recorder { file: BufWriter::new(File::create(path).with_context(writing)?), failed: false };
        recorder.write(&Header { recording: kind, format: FORMAT, settings }).with_context(writing)?;
        Ok(recorder)
    }

    /// Adds a line.
    pub fn line(&mut self, line: &impl Serialize) {
        self.attempt(|recorder| recorder.write(line));
    }

    /// Writes the buffer to the file.
    pub fn flush(&mut self) {
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

/// A recording that is read, line by line.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: BufReader<File>,
    kind: String,
    settings: Value,
    /// Of the line that was read last; the first one is 1.
    number: u64,
    truncated: bool,
}

impl Recording {
    /// Opens a recording of any kind.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or is one of another version.
    pub fn open(path: &Path) -> anyhow::Result<Recording> {
        let shown = path.display();
        let reading = || format!("cannot read the recording {shown}");
        let mut file = BufReader::new(File::open(path).with_context(reading)?);
        let mut first = Vec::new();
        file.by_ref().take(LONGEST_FIRST_LINE).read_until(b'\n', &mut first).with_context(reading)?;
        ensure!(!first.is_empty(), "the recording {shown} is empty");
        ensure!(
            first.ends_with(b"\n") || (first.len() as u64) < LONGEST_FIRST_LINE,
            "{shown}:1: longer than {} KiB: this is no recording",
            LONGEST_FIRST_LINE >> 10
        );
        match serde_json::from_slice::<Header<String, Value>>(&first) {
            Ok(Header { recording, format: FORMAT, settings }) => Ok(Recording {
                path: path.to_owned(),
                file,
                kind: recording,
                settings,
                number: 1,
                truncated: false,
            }),
            Ok(Header { format, .. }) => bail!(
                "{shown}:1: a recording of format {format}, and this program reads format {FORMAT}: use the version that recorded it, or record \
                 anew"
            ),
            Err(error) => Err(not_a_header(&first, error).context(format!("{shown}:1: no recording"))),
        }
    }

    /// What was recorded: the word that [`Recorder::start`] was given.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The settings that the program ran with.
    ///
    /// # Errors
    /// If this is a recording of another kind, or its settings cannot be read.
    pub fn settings<S: DeserializeOwned>(&self, kind: &str) -> anyhow::Result<S> {
        let shown = self.path.display();
        ensure!(self.kind == kind, "{shown}:1: a recording of kind `{}`, not `{kind}`", self.kind);
        S::deserialize(&self.settings).with_context(|| format!("{shown}:1: not settings"))
    }

    /// The next line; none at the end, and where the last line is unfinished.
    ///
    /// # Errors
    /// If the file cannot be read, or the line is not one of this kind; each names the line.
    pub fn read<L: DeserializeOwned>(&mut self) -> anyhow::Result<Option<L>> {
        let mut line = Vec::new();
        self.number += 1;
        self.file.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", self.place()))?;
        if line.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&line) {
            Ok(line) => Ok(Some(line)),
            // a part of a document is never a document
            Err(_) if !line.ends_with(b"\n") => {
                self.truncated = true;
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("{}: not a line of this recording", self.place()))
            }
        }
    }

    /// The line that was read last, as `FILE:LINE`, for errors about it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }

    /// Whether its last line is unfinished, once that was reached.
    pub fn truncated(&self) -> bool {
        self.truncated
    }
}

/// Why a first line is not that of a recording.
fn not_a_header(line: &[u8], error: serde_json::Error) -> anyhow::Error {
    if !line.ends_with(b"\n") && error.is_eof() {
        return anyhow::anyhow!("the line is unfinished: the process was killed before it recorded anything");
    }
    match serde_json::from_slice::<serde_json::Map<String, Value>>(line) {
        Ok(fields) if !fields.contains_key("recording") => anyhow::anyhow!(
            "the line has no field `recording`: it may be of an earlier version; docs/adr/0022 says how its first line is converted, or record anew with --record"
        ),
        _ => anyhow::Error::from(error)
            .context("the first line is not that of a file which --record wrote: pass such a file"),
    }
}

#[cfg(test)]
mod tests;
