//! The command line: flags and their environment fallbacks. The only code that reads the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use plimsoll_contract::NodeName;
use plimsoll_process::telemetry::TelemetryArgs;

/// Reads the CPU and memory usage of every pod on this node from its cgroups and classifies the load of each pod.
///
/// The agent needs no rights other than to read the cgroup files. With --aggregator it delivers its reports; without, it only
/// serves them on --listen.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-agent", version, max_term_width = 110)]
pub struct Args {
    /// Directory that contains the host's `sys/fs/cgroup` (and `proc`, where it has one)
    #[arg(long, env = "HOST_ROOT", value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Path of the kubelet's pods below each cgroup hierarchy, such as `kubepods.slice`; detected by default
    #[arg(long, env = "KUBEPODS", value_name = "PATH")]
    pub kubepods: Option<String>,

    /// Name of this node in the API server; required with --aggregator, otherwise the host name is the default
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<NodeName>,

    /// Address of the plain HTTP port: /metrics, /v1/report, /livez, /readyz
    #[arg(long, env = "LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9617")]
    pub listen: SocketAddr,

    /// Address of the port for the kubelet's probes: /livez and /readyz, answered also while the other port is flooded
    #[arg(long, env = "LISTEN_PROBES", value_name = "ADDRESS", default_value = "0.0.0.0:9616")]
    pub listen_probes: SocketAddr,

    /// HOST:PORT of the aggregator; its certificate must be valid for HOST, and each address of HOST gets the reports
    #[arg(long, env = "AGGREGATOR", value_name = "HOST:PORT")]
    pub aggregator: Option<HostPort>,

    /// CA certificates that the aggregator's certificate is verified against: a file, or a directory with `ca.crt`; read again
    /// with a report, at most every 2 s
    #[arg(long, env = "CA_FILE", value_name = "PATH", default_value = "/var/run/plimsoll/ca")]
    pub ca_file: PathBuf,

    /// File with the service account token for the aggregator; read again for every report
    #[arg(long, env = "TOKEN_FILE", value_name = "PATH", default_value = "/var/run/secrets/plimsoll/token")]
    pub token_file: PathBuf,

    /// Time constants of the bands: `default`, or `lab` for demonstrations (faster, but less steady)
    #[arg(long, env = "PROFILE", value_enum, default_value_t = ProfileName::Default, value_name = "NAME")]
    pub profile: ProfileName,

    /// Time between sweeps, such as `1s` or `250ms`; 1 s, with the lab profile 250 ms
    #[arg(long, env = "PERIOD", value_name = "TIME")]
    pub period: Option<Span>,

    /// Half-life of the smoothed utilization in metrics; 5 s, with the lab profile 2.5 s
    #[arg(long, env = "HALF_LIFE", value_name = "TIME")]
    pub half_life: Option<Span>,

    /// Utilization-seconds above a threshold that raise a band at once; 2.4, which full load takes 7 s for; with the lab profile 1.2
    #[arg(long, env = "BURST", value_name = "NUMBER")]
    pub burst: Option<f64>,

    /// Time whose mean raises or lowers a band, and for which a band holds after a burst; 60 s, with the lab profile 30 s
    #[arg(long, env = "WINDOW", value_name = "TIME")]
    pub window: Option<Span>,

    /// Sweep twice, one period apart, print the report as JSON on stdout, and exit
    #[arg(long)]
    pub once: bool,

    /// Record what is read of the cgroups, the rosters and the reports in this file, one JSON document a line, overwriting it. For finding
    /// faults, not for production load: it grows by some 100 KiB a second on a full node, without bound
    #[arg(long, env = "RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Flags for the log
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Named sets of time constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// For clusters.
    Default,
    /// For demonstrations.
    Lab,
}

/// A positive duration, such as `1s`, `250ms`, `2m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let signed: jiff::SignedDuration =
            text.parse().map_err(|_| format!("`{text}` is not a duration; write it like 1s or 250ms"))?;
        match Duration::try_from(signed) {
            Ok(span) if !span.is_zero() => Ok(Span(span)),
            _ => Err(format!("`{text}` is not a positive duration; write it like 1s or 250ms")),
        }
    }
}

/// A host name or address with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name to resolve and to verify the certificate for.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!("`{text}` is not HOST:PORT; write it like plimsoll-aggregator.plimsoll-system.svc:9618")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port) if !host.is_empty() && !host.contains('/') && port != 0 => {
                Ok(HostPort { host: host.into(), port })
            }
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: &[&str]) -> String {
        let typed = std::iter::once("plimsoll-agent").chain(arguments.iter().copied());
        Args::try_parse_from(typed).unwrap_err().to_string()
    }

    #[test]
    fn an_invalid_flag_is_named_with_the_valid_values() {
        let text = error(&["--profile", "fast"]);
        assert!(text.contains("--profile") && text.contains("default") && text.contains("lab"), "{text}");
        for (flag, value, remedy) in [
            ("--period", "1", "250ms"),
            ("--period", "0s", "250ms"),
            ("--aggregator", "https://x", "HOST:PORT"),
            ("--node-name", "Node_1", "node name"),
            ("--log-filter", "inof", "level"),
        ] {
            let text = error(&[flag, value]);
            assert!(text.contains(flag) && text.contains(value) && text.contains(remedy), "{text}");
        }
    }

    #[test]
    fn host_and_port_accept_names_and_addresses() {
        let parse = |text: &str| text.parse::<HostPort>().map(|h| (h.host, h.port));
        assert_eq!(parse("a.svc:9618"), Ok(("a.svc".into(), 9618)));
        assert_eq!(parse("[::1]:9618"), Ok(("::1".into(), 9618)));
        for bad in ["a", ":1", "a:0", "a:x", "a/b:1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
