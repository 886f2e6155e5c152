//! Load scripts: what a workload wants at each moment, as a pure function of the time since it started.
//!
//! A [`Script`] gives a value (`at`) and its exact integral (`integral`), so that counters advance by what the script says
//! and not by how often somebody looked. Noise is a function of its seed and the time: two readers see the same noise.
//!
//! The notation is JSON, short enough for a pod's annotation [`ANNOTATION`]:
//!
//! | script | notation, value in cores or bytes |
//! |---|---|
//! | constant | `{"constant": 0.2}` |
//! | step | `{"step": {"from": 0.02, "to": 0.5, "at": "20s", "back": "80s"}}` (`back` is optional) |
//! | square wave | `{"square": {"low": 0.1, "high": 0.2, "period": "5s", "duty": 0.5}}`: low first, then high for `duty` of the period |
//! | duty cycle | `{"duty": {"value": 1, "share": 0.5, "period": "1s"}}`: `value` for `share` of the period, then nothing |
//! | noise | `{"noise": {"mean": 0.2, "sd": 0.05, "seed": 7, "hold": "1s"}}`: a normal draw each `hold`, never below 0 |
//! | trace | `{"trace": {"points": [["0s", 0.1], ["5s", "300m"]], "repeat": "10s"}}`: each value holds until the next |
//! | ramp | `{"ramp": {"from": "16Mi", "to": "200Mi", "start": "0s", "over": "60s"}}` |
//!
//! A value is a number or a Kubernetes quantity; a time is a number of seconds or a text such as `500ms` or `1m 30s`.
//!
//! Touches nothing: no clock, no global randomness. Its proof is `load/tests.rs`.

mod change;
mod notation;
mod script;

use serde::{Deserialize, Serialize};

pub use change::Changes;
pub use script::{Duty, Noise, Point, Ramp, Script, Square, Step, Trace};

/// Annotation of a pod with the [`Load`] of its first container, as JSON; `<this>.<container>` for any other container.
pub const ANNOTATION: &str = "sandbox.plimsoll.dev/load";

/// What a container wants: cores of CPU and bytes of memory that it does not give back under pressure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// In cores.
    #[serde(default = "no_cpu")]
    pub cpu: Script,
    /// In bytes.
    #[serde(default = "little_memory")]
    pub memory: Script,
}

/// A load that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum BadLoad {
    /// It is not the notation of [`Load`].
    #[error("the load is not in the notation of load scripts: {0}; see the module `load` of the sandbox")]
    Notation(#[from] serde_json::Error),
    /// A number makes no sense.
    #[error("the {resource} load has {field} = {value}: {rule}")]
    Value {
        /// `cpu` or `memory`.
        resource: &'static str,
        /// The field of the script.
        field: &'static str,
        /// As given.
        value: f64,
        /// What it must be.
        rule: &'static str,
    },
}

impl Default for Load {
    /// Idle: no CPU, 4 MiB.
    fn default() -> Self {
        Load { cpu: no_cpu(), memory: little_memory() }
    }
}

impl Load {
    /// Reads the notation.
    ///
    /// # Errors
    /// When it is not JSON of this shape, or a number makes no sense; the error names the field.
    pub fn parse(text: &str) -> Result<Load, BadLoad> {
        let load: Load = serde_json::from_str(text)?;
        for (resource, script) in [("cpu", &load.cpu), ("memory", &load.memory)] {
            script.check().map_err(|(field, value, rule)| BadLoad::Value { resource, field, value, rule })?;
        }
        Ok(load)
    }

    /// The notation, as [`Load::parse`] reads it.
    pub fn to_notation(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts always have a JSON form")
    }
}

fn no_cpu() -> Script {
    Script::Constant(0.0)
}

fn little_memory() -> Script {
    Script::Constant(f64::from(4 << 20))
}

#[cfg(test)]
mod tests;
