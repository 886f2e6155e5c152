//! Conformance: a script of requests, the recorded answers of a real Kubernetes, and the comparison of other answers with them.
//!
//! ```text
//!   script/*.yaml ──> session ──> any API server ──> normal (the relevant parts of an answer)
//!                                                      │
//!   answers.json (of a real Kubernetes) ───────────> recorded: equal, except the listed `differences` of the sandbox
//! ```
//!
//! The sandbox replaces Kubernetes in nearly all of our tests. These tests verify it, and `make e2e` verifies the recorded answers
//! with its cluster. A new case is a step in a file of `script/` and needs no Rust; see README.md.
//!
//! A run creates a namespace for each part of the script, and the objects that the parts name, and removes them. A failed request
//! is an answer like any other. Tests: `main.rs`; of the comparison itself `recorded.rs`.

pub mod differences;
pub mod normal;
pub mod recorded;
pub mod script;
pub mod session;

use anyhow::ensure;

use recorded::Answers;
use script::Script;

/// Sends the script to a real cluster and compares the answers with the recorded ones. Returns the number of requests sent, and of
/// all requests: those to a kubelet need a node.
///
/// # Errors
/// When the script cannot be sent, or with all answers that differ.
pub async fn check_cluster(config: kube::Config) -> anyhow::Result<(usize, usize)> {
    let (script, recorded) = (Script::load()?, Answers::load()?);
    let answers = session::play(config, &script).await?;
    let problems = recorded::compare(&recorded, &answers, &[]);
    ensure!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
    Ok((answers.count(), script.count()))
}
