//! The system tests: behavior that involves several crates.
//!
//! | module | shows |
//! |---|---|
//! | `fixtures` | captured host trees produce their expected reports |
//! | `images` | the container images are complete and reproducible |
//! | `cleanup` | the command line pauses, and removes our keys from the pods and nothing else |
//! | `undo` | the command line restores the original resources of pods, and does nothing else to them |
//! | `recommend` | the command line's patch gives a template the size of its replicas; `explain` and `candidates` |
//! | `labels` | the command line lists and watches labels over HTTPS |
//! | `manifests` | the manifests are valid, consistent, and hardened |
//! | `bands` | the writes to pods: the loop from cgroups to labels |
//! | `delivery` | reports reach the aggregator, and no one else sees the token |
//! | `metrics` | both programs export exactly the documented metrics |
//! | `ports` | the documents of both programs, and rejected reports |
//! | `recording` | a recorded run replays to the same actions |
//! | `restarts` | a restart changes nothing |
//! | `faults` | after any fault of the API server all labels are correct |
//!
//! `harness` runs the sandbox cluster of most of them, `wire` is an HTTP client, `documents` reads the tables in `docs/`.

// With `cfg(test)` clippy treats the helpers of the tests as tests too.
#[cfg(test)]
mod bands;
#[cfg(test)]
mod cleanup;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod images;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod recommend;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod undo;
#[cfg(test)]
mod wire;
