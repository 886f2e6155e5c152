//! Command line arguments.

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use plimsoll_process::telemetry::LogFormat;

use crate::replay::ReplayArgs;

/// Plimsoll on this machine: load, bands, labels and sizes, live.
///
/// Starts a sandbox (an API server and a kubelet on loopback, and a few pods), the agent and the aggregator, exactly
/// as they run in a cluster, and shows what happens. Pods are processes in real cgroups where those can be created
/// (as root, or with a delegated subtree), else simulated; the output says which. Ctrl-C stops it and removes everything.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-demo", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do instead of running the demo
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Stop after this many seconds; by default run until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,

    /// Profile of the agent: `default`, or `lab` (faster, less steady)
    #[arg(long, value_enum, default_value_t = ProfileName::Default, value_name = "NAME")]
    pub profile: ProfileName,

    /// Simulate the host even where real cgroups are available
    #[arg(long)]
    pub simulated: bool,

    /// Print the events as JSON, one object per line, instead of the table
    #[arg(long)]
    pub json: bool,

    /// Print plain lines even on a terminal
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// Filter of the log lines of the agent and the aggregator on stderr; the table disables logs
    #[arg(long, env = "LOG_FILTER", default_value = "warn", value_name = "FILTER")]
    pub log_filter: String,

    /// Format of the log lines
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// What to do instead of running the demo.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Runs a recording again, or compares rules that size a container's CPU on a trace of its usage
    ///
    /// A recording is what the agent or the aggregator wrote with --record. It is run through the same code, which must say the same again; printed
    /// are bands, decisions, slack, throttled time and resizes, as they were recorded and as the class of each pod sizes it. --class gives
    /// every pod that has CPU requests or limits another one. What was used is demanded again, whatever the size, and memory is not sized
    /// (docs/replay.md).
    ///
    /// A trace has lines `seconds,cores`, or one value a line. Each value is held until the next. The rules are a class of Plimsoll, static
    /// at the peak of the trace, the Vertical Pod Autoscaler's published algorithm, and usage / target with the targets of the class. All
    /// start with the same request and limit, except static.
    Replay(ReplayArgs),
}

/// Profiles of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// The default of a cluster.
    Default,
    /// Faster, for demonstrations and tests.
    Lab,
}

impl ProfileName {
    /// The value of the agent's flag `--profile`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProfileName::Default => "default",
            ProfileName::Lab => "lab",
        }
    }
}

impl Args {
    /// Duration of the demo, if limited.
    pub fn length(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }
}
