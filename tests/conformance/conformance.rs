//! Conformance: one script of requests, the answers of a real Kubernetes to them, and whoever has to answer the same.
//!
//! ```text
//!   script/*.yaml ──> session ──> any API server ──> normal (what of an answer counts)
//!                                                      │
//!   answers.json (a real Kubernetes said so) ──────> recorded: equal, but for what `differences` lists for the sandbox
//! ```
//!
//! The sandbox stands in for Kubernetes in nearly all tests of ours: here it is held to it, and `make e2e` asks its cluster
//! the same. A new case is a step in a file of `script/` and needs no Rust; README.md beside this file says how.
//!
//! A run makes one namespace for each part of the script, and what the parts name, and removes them. It refuses nothing: a
//! failing request is an answer. Proof: `main.rs` beside this file; of the comparison itself, `recorded.rs`.

pub mod differences;
pub mod normal;
pub mod recorded;
pub mod script;
pub mod session;

use anyhow::ensure;

use recorded::Answers;
use script::Script;

/// Asks a real cluster everything and compares with what is recorded; how many requests of how many were made: without a
/// node those of the kubelet's part are not.
///
/// # Errors
/// When the script cannot be played, or with every answer that is another one.
pub async fn ask_cluster(config: kube::Config) -> anyhow::Result<(usize, usize)> {
    let (script, recorded) = (Script::load()?, Answers::load()?);
    let answers = session::play(config, &script).await?;
    let problems = recorded::compare(&recorded, &answers, &[]);
    ensure!(problems.is_empty(), "{} answers differ:\n{}", problems.len(), problems.join("\n"));
    Ok((answers.count(), script.count()))
}
