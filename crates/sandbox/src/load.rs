//! Load scripts: the demand of a workload at each moment, as a pure function of the time since it started.
//!
//! A `Script` has a value (`at`) and its exact integral (`integral`), so that counters do not depend on how often they
//! are advanced.
//!
//! The notation is JSON, short enough for the annotation [`ANNOTATION`] of a pod:
//!
//! | script | notation, value in cores or bytes |
//! |---|---|
//! | constant | `{"constant": 0.2}` |
//! | square wave | `{"square": {"low": 0.1, "high": 0.2, "period": "5s", "duty": 0.5}}`: low first, then high for `duty` of the period |
//! | trace | `{"trace": {"points": [["0s", 0.1], ["5s", "300m"]], "repeat": "10s"}}`: each value lasts until the next |
//! | ramp | `{"ramp": {"from": "16Mi", "to": "200Mi", "start": "0s", "over": "60s"}}` |
//!
//! A value is a number or a Kubernetes quantity; a time is a number of seconds or a text such as `500ms` or `1m 30s`.
//!
//! Pure: no clock, no randomness. Tests: `load/tests.rs`.

mod script;

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub(crate) use script::{Amount, Script};

/// Annotation of a pod with the [`Load`] of its first container, as JSON; `<this>.<container>` for any other container.
pub const ANNOTATION: &str = "sandbox.plimsoll.dev/load";

/// The demand of a container: cores of CPU, and bytes of memory that cannot be reclaimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// In cores.
    #[serde(default = "no_cpu")]
    pub(crate) cpu: Script,
    /// In bytes.
    #[serde(default = "little_memory")]
    pub(crate) memory: Script,
}

impl Default for Load {
    /// Idle: no CPU, 4 MiB.
    fn default() -> Self {
        Load { cpu: no_cpu(), memory: little_memory() }
    }
}

impl Load {
    /// Parses the notation.
    ///
    /// # Errors
    /// When it is not JSON of this shape, or a number is out of range; the error names the field.
    pub fn parse(text: &str) -> anyhow::Result<Load> {
        let load: Load = serde_json::from_str(text)
            .context("invalid notation of a load script; see the module `load` of the sandbox")?;
        load.cpu.check().context("invalid cpu load")?;
        load.memory.check().context("invalid memory load")?;
        Ok(load)
    }

    /// The notation, as [`Load::parse`] accepts it.
    pub fn to_notation(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts always have a JSON form")
    }
}

fn no_cpu() -> Script {
    Script::Constant(Amount(0.0))
}

fn little_memory() -> Script {
    Script::Constant(Amount(f64::from(4 << 20)))
}

/// Selects the values of a script that are published as changes: the first one, and each that differs by more than 5 % from
/// the last published one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeFilter {
    last: Option<f64>,
}

impl ChangeFilter {
    /// Smallest published change, as a share of the larger of the two values.
    const SMALLEST: f64 = 0.05;

    /// Whether `value` is to be published.
    pub(crate) fn accepts(&mut self, value: f64) -> bool {
        let accepts = self.last.is_none_or(|last| (value - last).abs() > Self::SMALLEST * value.max(last));
        if accepts {
            self.last = Some(value);
        }
        accepts
    }
}

#[cfg(test)]
mod tests;
