//! What was typed: flags and their environment fallbacks. The only place that reads the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use plimsoll_contract::NodeName;
use plimsoll_process::telemetry::TelemetryArgs;

/// Reads the CPU and memory of every pod on this node from its cgroups, and says how loaded each one is, and of what.
///
/// It needs no rights: only the cgroup files, read-only. With --aggregator it delivers its reports; without, it serves
/// them on --listen for anyone to read.
#[derive(Debug, Clone, Parser)]
#[command(name = "plimsoll-agent", version, max_term_width = 110)]
pub struct Args {
    /// Directory under which the host's `sys/fs/cgroup` (and, where it has one, `proc`) is found
    #[arg(long, env = "HOST_ROOT", value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Path of the kubelet's pods below each cgroup hierarchy, such as `kubepods.slice`; probed by default
    #[arg(long, env = "KUBEPODS", value_name = "PATH")]
    pub kubepods: Option<String>,

    /// Name of this node as the API server knows it; needed with --aggregator, else the host's own name
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<NodeName>,

    /// Address of the plain HTTP port: /metrics, /v1/report, /livez, /readyz
    #[arg(long, env = "LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9617")]
    pub listen: SocketAddr,

    /// The aggregator's HOST:PORT; HOST is the name its certificate must carry, and each of its addresses gets reports
    #[arg(long, env = "AGGREGATOR", value_name = "HOST:PORT")]
    pub aggregator: Option<HostPort>,

    /// File, or directory with `ca.crt`, of the certificates that may have issued the aggregator's; read again every 2 s
    #[arg(long, env = "CA_FILE", value_name = "PATH", default_value = "/var/run/plimsoll/ca")]
    pub ca_file: PathBuf,

    /// File with this pod's token for the aggregator; read again for every report
    #[arg(long, env = "TOKEN_FILE", value_name = "PATH", default_value = "/var/run/secrets/plimsoll/token")]
    pub token_file: PathBuf,

    /// How the bands react: `default`, or `lab` for demonstrations (fast, and less steady)
    #[arg(long, env = "PROFILE", value_enum, default_value_t = ProfileName::Default, value_name = "NAME")]
    pub profile: ProfileName,

    /// Time between sweeps, such as `1s` or `250ms`; 1 s, with the lab profile 250 ms
    #[arg(long, env = "PERIOD", value_name = "TIME")]
    pub period: Option<Span>,

    /// Half-life of the smoothing; 5 s, with the lab profile 2 s
    #[arg(long, env = "HALF_LIFE", value_name = "TIME")]
    pub half_life: Option<Span>,

    /// How long a load must stay above a threshold before its band rises; 10 s, with the lab profile 5 s
    #[arg(long, env = "DWELL_ON", value_name = "TIME")]
    pub dwell_on: Option<Span>,

    /// How long a load must stay below a threshold before its band falls; 60 s, with the lab profile 30 s
    #[arg(long, env = "DWELL_OFF", value_name = "TIME")]
    pub dwell_off: Option<Span>,

    /// Make two sweeps one period apart, print the report as JSON on stdout, and end
    #[arg(long)]
    pub once: bool,

    /// Where the logs go and how
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

/// A positive length of time, such as `1s`, `250ms`, `2m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let signed: jiff::SignedDuration = text
            .parse()
            .map_err(|_| format!("`{text}` is not a length of time; write it like 1s or 250ms"))?;
        match Duration::try_from(signed) {
            Ok(span) if !span.is_zero() => Ok(Span(span)),
            _ => Err(format!("`{text}` is not a positive length of time; write it like 1s or 250ms")),
        }
    }
}

/// A host name or address with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name to resolve, and to find in the certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not HOST:PORT; write it like plimsoll-aggregator.plimsoll-system.svc:9618")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port) if !host.is_empty() && !host.contains('/') && port != 0 => {
                Ok(HostPort { host: host.into(), port })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let typed = std::iter::once("plimsoll-agent").chain(arguments.iter().copied());
        Args::try_parse_from(typed).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_flag_is_named_with_the_valid_values() {
        let text = refusal(&["--profile", "fast"]);
        assert!(text.contains("--profile") && text.contains("default") && text.contains("lab"), "{text}");
        for (flag, value, cure) in [
            ("--period", "1", "250ms"),
            ("--period", "0s", "250ms"),
            ("--aggregator", "https://x", "HOST:PORT"),
            ("--node-name", "Node_1", "node name"),
            ("--log-filter", "inof", "level"),
        ] {
            let text = refusal(&[flag, value]);
            assert!(text.contains(flag) && text.contains(value) && text.contains(cure), "{text}");
        }
    }

    #[test]
    fn host_and_port_read_names_and_addresses() {
        let read = |text: &str| text.parse::<HostPort>().map(|h| (h.host, h.port));
        assert_eq!(read("a.svc:9618"), Ok(("a.svc".into(), 9618)));
        assert_eq!(read("[::1]:9618"), Ok(("::1".into(), 9618)));
        for bad in ["a", ":1", "a:0", "a:x", "a/b:1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
