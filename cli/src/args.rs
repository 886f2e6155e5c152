//! The command line: flags and arguments. The only module that reads the environment.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::workload::{Target, object_name};

/// See how loaded the pods of a cluster are, relative to what, and how they are sized; pause Plimsoll, and undo what it did
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll", version, max_term_width = 110)]
pub struct Args {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and with which credentials.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClusterArgs {
    /// Kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the service account of the pod this runs in]
    #[arg(long, global = true, env = "PLIMSOLL_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Print all labels of all pods
    Labels(LabelsArgs),
    /// Show the load of the pods, live
    Top(TopArgs),
    /// Say what a pod asked for, has and uses, how it is or would be resized, and why
    Explain(ExplainArgs),
    /// List the pods that are resized, those that would be with a class, and why others are not
    Candidates(CandidatesArgs),
    /// Print the size that the replicas of a workload need, beside its template or as a patch of it
    Recommend(RecommendArgs),
    /// Give pods that Plimsoll resized their original resources back, in place
    Undo(UndoArgs),
    /// Stop Plimsoll from writing on pods, or let it write again
    Pause(PauseArgs),
    /// Pause Plimsoll and remove its labels and annotations from the pods; those that others own stay
    Cleanup(CleanupArgs),
}

/// Flags of `plimsoll labels`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LabelsArgs {
    /// Only this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Only pods with these labels, such as `plimsoll.dev/cpu-band=high,app!=web`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
    /// Keep running and print every change
    #[arg(short, long)]
    pub watch: bool,
}

/// Output format of `plimsoll labels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// One line per pod
    #[default]
    Table,
    /// One array; with --watch one object per line
    Json,
    /// One line per label: namespace, pod, label, value
    Csv,
}

/// Flags of `plimsoll explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// The pod
    #[arg(value_name = "POD")]
    pub pod: Target,
    /// Namespace [default: that of the context; with --url `default`]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Output format; json is the aggregator's document
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
    /// Plain port of the aggregator, such as http://127.0.0.1:9619 after `kubectl port-forward` [default: through the API
    /// server's service proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Flags of `plimsoll candidates`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CandidatesArgs {
    /// Only this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// All namespaces, as by default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
    /// Plain port of the aggregator, such as http://127.0.0.1:9619 after `kubectl port-forward` [default: through the API
    /// server's service proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Flags of `plimsoll recommend`.
#[derive(Debug, Clone, clap::Args)]
pub struct RecommendArgs {
    /// The workload, or a pod: deployment/web, statefulset/db, daemonset/log, replicaset/web, web-0
    #[arg(value_name = "WORKLOAD")]
    pub target: Target,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: RecommendFormat,
    /// Plain port of the aggregator, such as http://127.0.0.1:9619 after `kubectl port-forward` [default: through the API
    /// server's service proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Output format of `plimsoll recommend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RecommendFormat {
    /// The template beside its replicas
    #[default]
    Table,
    /// A strategic-merge patch of the template, as YAML
    Patch,
    /// All of it
    Json,
}

/// Flags of `plimsoll undo`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UndoArgs {
    /// A pod, or a workload: web-0, deployment/web, statefulset/db, daemonset/log, replicaset/web
    #[arg(value_name = "POD|WORKLOAD", required_unless_present = "all")]
    pub target: Option<Target>,
    /// All pods of the namespace
    #[arg(long, conflicts_with = "target")]
    pub all: bool,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Change nothing; the API server says whether it would accept it
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; nothing is asked either if the input is not a terminal
    #[arg(short, long)]
    pub yes: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
}

/// Flags of `plimsoll pause`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PauseArgs {
    /// Let Plimsoll write again
    #[arg(long)]
    pub off: bool,
    /// Plain port of the aggregator, which is asked whether it has paused, such as http://127.0.0.1:9619 after
    /// `kubectl port-forward` [default: every pod of the aggregator, through the API server's proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Flags of `plimsoll cleanup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CleanupArgs {
    /// Only the pods of this namespace; Plimsoll as a whole is paused nevertheless [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Change nothing, print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; nothing is asked either if the input is not a terminal
    #[arg(short, long)]
    pub yes: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
    /// Plain port of the aggregator, which is asked whether it has paused, such as http://127.0.0.1:9619 after
    /// `kubectl port-forward` [default: every pod of the aggregator, through the API server's proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Output format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people; long lists are shortened
    #[default]
    Text,
    /// All of it
    Json,
}

/// Flags of `plimsoll top`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TopArgs {
    /// Plain port of the aggregator, such as http://127.0.0.1:9619 after `kubectl port-forward` [default: through the API
    /// server's service proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
    /// Only this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub namespace: Option<String>,
    /// Order of the pods; unknown values come last
    #[arg(short, long, value_enum, default_value_t, value_name = "COLUMN")]
    pub sort: Sort,
    /// Print the table once as plain lines and exit, as is done if the output is not a terminal
    #[arg(long)]
    pub once: bool,
    /// Time between two requests, such as `1s` or `500ms`
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub every: Interval,
}

/// Order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Sort {
    /// By namespace and name: rows keep their place
    #[default]
    Name,
    /// The highest CPU utilization first
    Cpu,
    /// The highest memory utilization first
    Memory,
}

/// A duration of at least 100 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Default for Interval {
    fn default() -> Self {
        Interval(Duration::from_secs(1))
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed: Option<jiff::SignedDuration> = text.parse().ok();
        parsed
            .and_then(|signed| Duration::try_from(signed).ok())
            .filter(|interval| *interval >= Duration::from_millis(100))
            .map(Interval)
            .ok_or_else(|| format!("`{text}` is not a duration of at least 100ms; write it like 1s or 500ms"))
    }
}

fn url(text: &str) -> Result<http::Uri, String> {
    let parsed: Option<http::Uri> = text.parse().ok();
    parsed
        .filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| {
            format!("`{text}` is not the URL of a plain HTTP port; write it like http://127.0.0.1:9619")
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent_and_every_one_has_a_help_text() {
        Args::command().debug_assert();
        for command in Args::command().get_subcommands() {
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{} of {} has no help", flag.get_id(), command.get_name());
            }
        }
    }

    #[test]
    fn an_invalid_value_is_rejected_with_its_flag_and_a_valid_value() {
        let table: [(&[&str], &str, &str); 14] = [
            (&["labels", "--output", "yaml"], "--output", "csv"),
            (&["top", "--sort", "age"], "--sort", "memory"),
            (&["top", "--every", "1ms"], "--every", "500ms"),
            (&["top", "--url", "127.0.0.1:9619"], "--url", "http://"),
            (&["top", "--url", "https://127.0.0.1:9619"], "--url", "http://"),
            (&["pause", "--url", "ftp://127.0.0.1"], "--url", "http://"),
            (&["cleanup", "--url", "aggregator"], "--url", "http://"),
            (&["cleanup", "--output", "csv"], "--output", "json"),
            (&["explain", "shop/web-0"], "POD", "-n"),
            (&["explain", "web-0", "-n", "../x"], "--namespace", "lowercase"),
            (&["candidates", "-A", "-n", "shop"], "--namespace", "--all-namespaces"),
            (&["recommend", "job/x"], "WORKLOAD", "deployment/web"),
            (&["recommend", "deploy/web", "-o", "yaml"], "--output", "patch"),
            (&["undo", "-n", "shop"], "<POD|WORKLOAD>", "--help"),
        ];
        for (typed, flag, remedy) in table {
            let typed = std::iter::once("plimsoll").chain(typed.iter().copied());
            let error = Args::try_parse_from(typed).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn cleanup_and_pause_have_no_restriction_by_default() {
        let typed = |words: &[&str]| {
            Args::try_parse_from(std::iter::once("plimsoll").chain(words.iter().copied())).unwrap().command
        };
        let Command::Cleanup(cleanup) = typed(&["cleanup"]) else { panic!("not a cleanup") };
        assert!(!cleanup.dry_run && !cleanup.yes && cleanup.namespace.is_none());
        let all = ["cleanup", "-n", "shop", "--dry-run", "-y", "-o", "json", "--url", "http://127.0.0.1:1"];
        let Command::Cleanup(cleanup) = typed(&all) else { panic!("not a cleanup") };
        assert!(cleanup.dry_run && cleanup.yes && cleanup.url.is_some());
        assert_eq!((cleanup.namespace.as_deref(), cleanup.output), (Some("shop"), ReportFormat::Json));
        let Command::Pause(pause) = typed(&["pause"]) else { panic!("not a pause") };
        assert!(!pause.off);
        let Command::Pause(pause) = typed(&["pause", "--off"]) else { panic!("not a pause") };
        assert!(pause.off);
    }
}
