//! What was typed.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use plimsoll_process::telemetry::LogFormat;

/// The whole of Plimsoll on this machine: load, bands, labels, live.
///
/// Starts a sandbox (an API server and a kubelet on loopback, a handful of pods), the agent and the aggregator, exactly
/// as they run in a cluster, and shows what happens. Pods are processes of our own in real cgroups where those can be
/// made (root, or a delegated subtree), else simulated; it says which. Ctrl-C ends it and leaves nothing behind.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-demo", version, max_term_width = 110)]
pub struct Args {
    /// End after so many seconds; by default it goes on until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,

    /// How the bands react: `default`, or `lab` (fast, and less steady)
    #[arg(long, value_enum, default_value_t = ProfileName::Default, value_name = "NAME")]
    pub profile: ProfileName,

    /// Simulate the host even where real cgroups can be made
    #[arg(long)]
    pub simulated: bool,

    /// Print what happens as JSON, one object a line, instead of the table
    #[arg(long)]
    pub json: bool,

    /// Print plain lines even on a terminal
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// Which log lines of the agent and the aggregator are written to stderr; nothing while the table is shown
    #[arg(long, env = "LOG_FILTER", default_value = "warn", value_name = "FILTER")]
    pub log_filter: String,

    /// How those log lines are written
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Named sets of time constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// As in a cluster.
    Default,
    /// Fast.
    Lab,
}

impl ProfileName {
    /// As the agent's `--profile` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProfileName::Default => "default",
            ProfileName::Lab => "lab",
        }
    }
}

impl Args {
    /// How long it goes on, if that is limited.
    pub fn length(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }
}
