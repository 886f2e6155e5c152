//! The flags as typed, and the environment variables they default to. [`crate::config`] says what they mean.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use plimsoll_contract::keys;
use plimsoll_contract::names::{DnsName, Namespace};
use plimsoll_process::telemetry::TelemetryArgs;
use plimsoll_sizing::urgency::Weights;

use crate::settings::{Division, Output};

/// Receives the reports of Plimsoll's agents, decides, and writes the load bands on the pods.
///
/// It verifies who reports, and is the only part of Plimsoll that writes to the API server.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-aggregator", version)]
pub struct Args {
    /// Address of the plain port: GET only, for people and Prometheus
    #[arg(long, env = "PLIMSOLL_LISTEN", default_value = "0.0.0.0:9619", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: SocketAddr,

    /// Address of the agents' port: TLS 1.3, reports only
    #[arg(long, env = "PLIMSOLL_LISTEN_AGENTS", default_value = "0.0.0.0:9618", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen_agents: SocketAddr,

    /// Address of the port for the kubelet's probes: /livez and /readyz, answered also while the other ports are flooded
    #[arg(long, env = "PLIMSOLL_LISTEN_PROBES", default_value = "0.0.0.0:9616", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen_probes: SocketAddr,

    /// Namespace of the aggregator: its Lease, its Secret and the ConfigMap `plimsoll-control`
    #[arg(long, env = "POD_NAMESPACE", default_value = keys::SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    pub namespace: Namespace,

    /// Namespace of the agents, and of the ConfigMap `plimsoll-ca` that they mount
    #[arg(long, env = "PLIMSOLL_AGENT_NAMESPACE", default_value = keys::AGENT_NAMESPACE, value_name = "NAMESPACE")]
    pub agent_namespace: Namespace,

    /// Service account whose tokens are accepted on the agents' port
    #[arg(long, env = "PLIMSOLL_AGENT_ACCOUNT", default_value = keys::AGENT_ACCOUNT, value_name = "NAME")]
    pub agent_account: DnsName,

    /// DaemonSet that must control the pod a report comes from
    #[arg(long, env = "PLIMSOLL_AGENT_DAEMON_SET", default_value = keys::AGENT_DAEMON_SET, value_name = "NAME")]
    pub agent_daemon_set: DnsName,

    /// Name that the TLS certificate is valid for; may be given several times [default: the Service's names]
    #[arg(long = "dns-name", env = "PLIMSOLL_DNS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub dns_names: Vec<DnsName>,

    /// Kubeconfig to reach the API server with [default: in-cluster, else KUBECONFIG, else ~/.kube/config]
    #[arg(long, env = "PLIMSOLL_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Where the bands are written
    #[arg(long, env = "PLIMSOLL_OUTPUT", value_enum, default_value_t)]
    pub output: Output,

    /// Resize pods whose owners chose an SLA class; needs the CustomResourceDefinition and the rights of components/resizing
    #[arg(long, env = "PLIMSOLL_RESIZE", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set, value_name = "true|false")]
    pub resize: bool,

    /// Who gets what when pods want more than their node has
    #[arg(long, env = "PLIMSOLL_DIVISION", value_enum, default_value_t)]
    pub division: Division,

    /// How much the criteria of urgency (throttle, util, psi, high) matter, in pairs: A/B=N where A matters N times as much as B, 1 to 9 [default:
    /// throttle/util=2,throttle/psi=2,throttle/high=3,util/psi=1,util/high=2,psi/high=2]
    #[arg(long, env = "PLIMSOLL_CRITERIA", value_name = "A/B=N,...")]
    pub criteria: Option<Weights>,

    /// Record every input of the core and its actions to this file, as JSON lines, to replay them later
    #[arg(long, env = "PLIMSOLL_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Name of this replica, in the Lease and in Events
    #[arg(long, env = "POD_NAME", default_value = keys::AGGREGATOR, value_name = "NAME")]
    pub identity: DnsName,

    /// Namespace whose pods are left alone; may be given several times [default: kube-system and our own two]
    #[arg(
        long = "leave-alone",
        env = "PLIMSOLL_LEAVE_ALONE",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    pub leave_alone: Vec<Namespace>,

    /// Logs
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Where kube logs each failed request as an error. We log failures once, with what to do.
const KUBE_REQUEST_LOG: &str = "kube_client::client::builder";

impl Args {
    /// How to log: as typed, without kube's log of each failed request unless the filter names `kube_client`.
    pub fn telemetry(&self) -> TelemetryArgs {
        let TelemetryArgs { log_format, log_filter } = self.telemetry.clone();
        let quiet = !log_filter.contains("kube_client");
        let log_filter = if quiet { format!("{log_filter},{KUBE_REQUEST_LOG}=off") } else { log_filter };
        TelemetryArgs { log_format, log_filter }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write ADDRESS:PORT, such as 0.0.0.0:9619 or [::]:9619".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn refusal(args: &[&str]) -> String {
        Args::try_parse_from([&["plimsoll-aggregator"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn the_flags_are_consistent_and_every_one_is_explained() {
        let command = Args::command();
        command.clone().debug_assert();
        for flag in command.get_arguments() {
            assert!(flag.get_help().is_some(), "{} has no help", flag.get_id());
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let args = Args::try_parse_from(["plimsoll-aggregator"]).unwrap();
        assert_eq!(args.listen.port(), 9619);
        assert_eq!(args.listen_agents.port(), 9618);
        assert_eq!(args.listen_probes.port(), 9616);
        assert_eq!(args.agent_namespace.as_str(), "plimsoll-agents");
        assert_eq!(args.output, Output::Labels);
    }

    #[test]
    fn resizing_is_off_unless_it_is_asked_for() {
        let resize =
            |typed: &[&str]| Args::try_parse_from([&["plimsoll-aggregator"], typed].concat()).unwrap().resize;
        assert!(!resize(&[]) && !resize(&["--resize=false"]));
        assert!(resize(&["--resize"]) && resize(&["--resize=true", "--output", "labels"]));
        assert!(refusal(&["--resize=yes"]).contains("--resize"));
    }

    #[test]
    fn headroom_is_divided_by_class_and_criteria_are_weighed_as_documented_unless_told_otherwise() {
        let typed = |typed: &[&str]| {
            let args = Args::try_parse_from([&["plimsoll-aggregator"], typed].concat()).unwrap();
            (args.division, args.criteria.unwrap_or_default())
        };
        assert_eq!(typed(&[]), (Division::Tiered, Weights::default()));
        let (division, weights) =
            typed(&["--division", "weighted", "--criteria", "psi/throttle=2,psi/util=3"]);
        assert_eq!(division, Division::Weighted);
        assert!(weights.values()[2] > weights.values()[0]);
        // The help names the default.
        let help = Args::command().render_long_help().to_string();
        let (_, default) = help.split_once("1 to 9 [default: ").unwrap();
        let (default, _) = default.split_once(']').unwrap();
        assert_eq!(default.split_whitespace().collect::<String>().parse(), Ok(Weights::default()));
    }

    #[test]
    fn criteria_that_contradict_each_other_are_refused_and_the_comparison_to_revisit_is_named() {
        let refusal = refusal(&["--criteria", "throttle/util=5,util/psi=5,psi/throttle=7"]);
        assert!(refusal.contains("--criteria"), "{refusal}");
        assert!(refusal.contains("consistency ratio") && refusal.contains("at most 0.10"), "{refusal}");
        assert!(refusal.contains("revisit throttle compared with psi"), "{refusal}");
    }

    #[test]
    fn kube_logs_each_failed_request_only_if_the_filter_names_it() {
        let filter = |typed: &[&str]| {
            let typed = [&["plimsoll-aggregator"], typed].concat();
            Args::try_parse_from(typed).unwrap().telemetry().log_filter
        };
        assert_eq!(filter(&[]), "info,kube_client::client::builder=off");
        assert_eq!(filter(&["--log-filter", "warn,kube_client=debug"]), "warn,kube_client=debug");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_flag_and_what_would_be_right() {
        let table = [
            (["--listen", "9619"], "--listen", "ADDRESS:PORT"),
            (["--namespace", "Plimsoll"], "--namespace", "a-z"),
            (["--dns-name", "a..b"], "--dns-name", "such as"),
            (["--output", "label"], "--output", "annotations"),
            (["--leave-alone", "a.b"], "--leave-alone", "63"),
            (["--division", "equal"], "--division", "weighted"),
            (["--criteria", "cpu/util=2"], "--criteria", "throttle, util, psi, high"),
        ];
        for (args, flag, hint) in table {
            let refusal = refusal(&args);
            assert!(refusal.contains(flag) && refusal.contains(hint), "{refusal}");
        }
    }
}
