//! The system tests: what no single crate can show.
//!
//! | module | shows |
//! |---|---|
//! | `fixtures` | captured host trees give their expected reports |
//! | `images` | the container images are whole and reproducible |
//! | `cleanup` | the command line pauses, and takes our keys off the pods and nothing else |
//! | `labels` | the command line lists and watches over real HTTPS |
//! | `manifests` | the files people apply parse, hang together, and keep the hardening rules |
//! | `bands` | what is written on pods and when: the loop from cgroups to labels |
//! | `delivery` | reports reach whom they are for; nobody else learns our token |
//! | `metrics` | both programs export what the design promises and the pages list |
//! | `ports` | what the programs answer to whoever asks, and refuse of what is posted |
//! | `recording` | a recorded run decides the same again |
//! | `restarts` | a restart changes nothing |
//! | `trouble` | whatever an API server does to us, every label is right in the end |
//!
//! `world` is the stage that most of them stand on, `wire` the client they ask with, `documents` reads the tables of our pages.

// `cfg(test)` tells clippy that helpers beside the tests are tests too.
#[cfg(test)]
mod bands;
#[cfg(test)]
mod cleanup;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fixtures;
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
mod recording;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
