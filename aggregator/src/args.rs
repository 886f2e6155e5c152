//! What was typed. The only place that reads the environment; [`crate::config`] says what it means.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use plimsoll_contract::keys;
use plimsoll_process::telemetry::TelemetryArgs;

use crate::settings::Output;

/// Takes in the reports of Plimsoll's agents, decides, and writes the load bands on the pods.
///
/// It verifies who reports, and is the only part of Plimsoll that writes to the API server.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-aggregator", version)]
pub struct Args {
    /// Address of the plain port: GET only, for people, Prometheus and probes
    #[arg(long, env = "PLIMSOLL_LISTEN", default_value = "0.0.0.0:9619", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: SocketAddr,

    /// Address of the agents' port: TLS 1.3, reports only
    #[arg(long, env = "PLIMSOLL_LISTEN_AGENTS", default_value = "0.0.0.0:9618", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen_agents: SocketAddr,

    /// Namespace of the aggregator: its Lease, its Secret and the ConfigMap `plimsoll-control`
    #[arg(long, env = "POD_NAMESPACE", default_value = keys::SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    pub namespace: DnsLabel,

    /// Namespace of the agents, and of the ConfigMap `plimsoll-ca` that they mount
    #[arg(long, env = "PLIMSOLL_AGENT_NAMESPACE", default_value = keys::AGENT_NAMESPACE, value_name = "NAMESPACE")]
    pub agent_namespace: DnsLabel,

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

    /// Where the bands are written: as labels; as annotations, for systems that are keyed by label sets (Cilium, VPA);
    /// or nowhere, so that only metrics and the plain port tell
    #[arg(
        long,
        env = "PLIMSOLL_OUTPUT",
        default_value = "labels",
        value_name = "labels|annotations|metrics"
    )]
    pub output: Output,

    /// Write every input of the core and what it decided to this file, as JSON lines, to replay it later
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
    pub leave_alone: Vec<DnsLabel>,

    /// Logs
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Where kube logs each request that failed, as an error. We say so once, with what to do.
const KUBES_FAILURES: &str = "kube_client::client::builder";

impl Args {
    /// How to log: as typed, without what kube says at each try, unless that was asked for.
    pub fn telemetry(&self) -> TelemetryArgs {
        let TelemetryArgs { log_format, log_filter } = self.telemetry.clone();
        let quiet = !log_filter.contains("kube_client");
        let log_filter = if quiet { format!("{log_filter},{KUBES_FAILURES}=off") } else { log_filter };
        TelemetryArgs { log_format, log_filter }
    }
}

macro_rules! dns {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal, $dots:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                if is_dns(text, $most, $dots) {
                    return Ok(Self(text.to_owned()));
                }
                Err(format!(concat!("{:?} is not ", $what), text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

dns!(
    /// A namespace, or another name without dots.
    DnsLabel,
    "a namespace: 1 to 63 of a-z, 0-9 and '-', such as plimsoll-system",
    63,
    false
);
dns!(
    /// A DNS name, or the name of an object.
    DnsName,
    "a DNS name: 1 to 253 of a-z, 0-9, '-' and '.', such as plimsoll-aggregator.plimsoll-system.svc",
    253,
    true
);

fn is_dns(text: &str, most: usize, dots: bool) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        bytes.len() <= 63
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && ends(bytes.first())
            && ends(bytes.last())
    };
    text.len() <= most && if dots { text.split('.').all(part) } else { part(text) }
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
    fn without_flags_everything_has_the_designs_value() {
        let args = Args::try_parse_from(["plimsoll-aggregator"]).unwrap();
        assert_eq!(args.listen.port(), 9619);
        assert_eq!(args.listen_agents.port(), 9618);
        assert_eq!(args.agent_namespace.as_str(), "plimsoll-agents");
        assert_eq!(args.output, Output::Labels);
    }

    #[test]
    fn what_kube_says_at_each_try_is_logged_only_if_it_was_asked_for() {
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
        ];
        for (args, flag, hint) in table {
            let refusal = refusal(&args);
            assert!(refusal.contains(flag) && refusal.contains(hint), "{refusal}");
        }
    }
}
