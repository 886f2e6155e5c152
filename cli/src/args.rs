//! What was typed. The only place that reads the environment.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// See how loaded the pods of a cluster are, and of what; and take off again what Plimsoll wrote on them.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll", version, max_term_width = 110)]
pub struct Args {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClusterArgs {
    /// Kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the account of the pod this runs in]
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
    /// Stop Plimsoll from writing on pods, or let it write again
    Pause(PauseArgs),
    /// Pause Plimsoll and take its labels and annotations off the pods; what others own stays
    Cleanup(CleanupArgs),
}

/// Flags of `plimsoll labels`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LabelsArgs {
    /// Only this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Only pods with these labels, such as `plimsoll.dev/cpu-band=high,app!=web`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
    /// Keep running and print every change
    #[arg(short, long)]
    pub watch: bool,
}

/// How labels are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// One line a pod
    #[default]
    Table,
    /// One array; with --watch one object a line
    Json,
    /// One line a label: namespace, pod, label, value
    Csv,
}

/// Flags of `plimsoll pause`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PauseArgs {
    /// Let it write again
    #[arg(long)]
    pub off: bool,
    /// Where to ask whether it has paused: the aggregator's plain port, such as http://127.0.0.1:9619 after
    /// `kubectl port-forward` [default: every pod of the aggregator, through the API server's proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// Flags of `plimsoll cleanup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CleanupArgs {
    /// Only the pods of this namespace; Plimsoll is paused as a whole all the same [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Change nothing, say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; nothing is asked either when the input is not a terminal
    #[arg(short, long)]
    pub yes: bool,
    /// How to print what was done
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Account,
    /// Where to ask whether it has paused: the aggregator's plain port, such as http://127.0.0.1:9619 after
    /// `kubectl port-forward` [default: every pod of the aggregator, through the API server's proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
}

/// How it is printed what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Account {
    /// For a person; long lists are cut
    #[default]
    Text,
    /// One object with every pod
    Json,
}

/// Flags of `plimsoll top`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TopArgs {
    /// Where the aggregator's plain port is, such as http://127.0.0.1:9619 after `kubectl port-forward` [default: found
    /// through the API server's service proxy]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<http::Uri>,
    /// Only this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// What comes first; what is not known comes last
    #[arg(short, long, value_enum, default_value_t, value_name = "COLUMN")]
    pub sort: Sort,
    /// Print the table once as plain lines and end; so it is too when the output is not a terminal
    #[arg(long)]
    pub once: bool,
    /// Time between two looks, such as `1s` or `500ms`
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub every: Span,
}

/// Order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Sort {
    /// By namespace and name: rows stay where they are
    #[default]
    Name,
    /// The highest CPU utilization first
    Cpu,
    /// The highest memory utilization first
    Memory,
}

/// A length of time of 100 ms or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Default for Span {
    fn default() -> Self {
        Span(Duration::from_secs(1))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a length of time of 100ms or more; write it like 1s or 500ms");
        let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        let span = Duration::try_from(signed).map_err(|_| wrong())?;
        if span < Duration::from_millis(100) { Err(wrong()) } else { Ok(Span(span)) }
    }
}

fn url(text: &str) -> Result<http::Uri, String> {
    let wrong =
        || format!("`{text}` is not the URL of a plain HTTP port; write it like http://127.0.0.1:9619");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    if uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty()) {
        Ok(uri)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent_and_every_one_is_explained() {
        Args::command().debug_assert();
        for command in Args::command().get_subcommands() {
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{} of {} has no help", flag.get_id(), command.get_name());
            }
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_flag_and_what_would_be_right() {
        let table: [(&[&str], &str, &str); 8] = [
            (&["labels", "--output", "yaml"], "--output", "csv"),
            (&["top", "--sort", "age"], "--sort", "memory"),
            (&["top", "--every", "1ms"], "--every", "500ms"),
            (&["top", "--url", "127.0.0.1:9619"], "--url", "http://"),
            (&["top", "--url", "https://127.0.0.1:9619"], "--url", "http://"),
            (&["pause", "--url", "ftp://127.0.0.1"], "--url", "http://"),
            (&["cleanup", "--url", "aggregator"], "--url", "http://"),
            (&["cleanup", "--output", "csv"], "--output", "json"),
        ];
        for (typed, flag, cure) in table {
            let typed = std::iter::once("plimsoll").chain(typed.iter().copied());
            let refusal = Args::try_parse_from(typed).unwrap_err().to_string();
            assert!(refusal.contains(flag) && refusal.contains(cure), "{refusal}");
        }
    }

    #[test]
    fn cleanup_and_pause_do_the_whole_thing_unless_told_otherwise() {
        let typed = |words: &[&str]| {
            Args::try_parse_from(std::iter::once("plimsoll").chain(words.iter().copied())).unwrap().command
        };
        let Command::Cleanup(cleanup) = typed(&["cleanup"]) else { panic!("not a cleanup") };
        assert!(!cleanup.dry_run && !cleanup.yes && cleanup.namespace.is_none());
        let all = ["cleanup", "-n", "shop", "--dry-run", "-y", "-o", "json", "--url", "http://127.0.0.1:1"];
        let Command::Cleanup(cleanup) = typed(&all) else { panic!("not a cleanup") };
        assert!(cleanup.dry_run && cleanup.yes && cleanup.url.is_some());
        assert_eq!((cleanup.namespace.as_deref(), cleanup.output), (Some("shop"), Account::Json));
        let Command::Pause(pause) = typed(&["pause"]) else { panic!("not a pause") };
        assert!(!pause.off);
        let Command::Pause(pause) = typed(&["pause", "--off"]) else { panic!("not a pause") };
        assert!(pause.off);
    }
}
