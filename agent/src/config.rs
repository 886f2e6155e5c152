//! What the flags mean. Built once; every problem is reported at once.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::utsname::uname;
use plimsoll_contract::NodeName;
use rustls::pki_types::ServerName;

use crate::args::{Args, ProfileName, Span};
use crate::host::HostConfig;
use crate::profile::Profile;
use crate::state::WithoutRoster;

/// The agent's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the cgroups are.
    pub host: HostConfig,
    /// The node's name.
    pub node: NodeName,
    /// Time constants of the bands and of the sweeps.
    pub profile: Profile,
    /// Where reports are delivered; absent without an aggregator.
    pub delivery: Option<Delivery>,
    /// Where what is read and the reports are recorded, if anywhere.
    pub record: Option<PathBuf>,
}

/// Where reports are delivered, and how both sides authenticate.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Name to resolve; each of its addresses is one replica.
    pub host: String,
    /// Port of each replica.
    pub port: u16,
    /// Name that the certificate must be valid for.
    pub server: ServerName<'static>,
    /// CA certificates: a file, or a directory with `ca.crt`.
    pub ca: PathBuf,
    /// File with the agent's token.
    pub token: PathBuf,
}

/// Invalid or contradictory flags: every problem found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidConfig(Vec<String>);

impl Config {
    /// # Errors
    /// All problems, each naming its flag.
    pub fn from_args(args: &Args) -> Result<Config, InvalidConfig> {
        let mut problems = Vec::new();
        let profile = profile(args);
        if let Err(wrong) = profile.check() {
            problems.extend(wrong);
        }
        // port 0 is any free port
        if args.listen.port() == args.listen_probes.port() && args.listen.port() != 0 {
            let port = args.listen.port();
            problems.push(format!("--listen and --listen-probes both use port {port}: give each its own"));
        }
        let delivery = delivery(args, &mut problems);
        if delivery.is_some() && args.node_name.is_none() && !args.once {
            problems.push("--node-name (or NODE_NAME) is required with --aggregator: the aggregator compares it with the node in the token".into());
        }
        if let Some(file) = args.record.as_ref().filter(|_| args.once) {
            problems
                .push(format!("--record {}: --once makes one report and records nothing", file.display()));
        }
        let node = node_name(args);
        if node.is_none() {
            let problem = "--node-name is required: this host's name is not a valid Kubernetes node name";
            problems.push(problem.into());
        }
        let host = HostConfig { root: args.host_root.clone(), kubepods: args.kubepods.clone() };
        match node {
            Some(node) if problems.is_empty() => {
                Ok(Config { host, node, profile, delivery, record: args.record.clone() })
            }
            _ => Err(InvalidConfig(problems)),
        }
    }

    /// What the CPU utilization of a container without a quota is relative to while no roster contains its request.
    pub(crate) fn without_roster(&self) -> WithoutRoster {
        match self.delivery {
            Some(_) => WithoutRoster::Unknown,
            None => WithoutRoster::NodeBasis,
        }
    }
}

fn profile(args: &Args) -> Profile {
    let mut profile = match args.profile {
        ProfileName::Default => Profile::standard(),
        ProfileName::Lab => Profile::lab(),
    };
    let set = |field: &mut Duration, typed: Option<Span>| {
        if let Some(span) = typed {
            *field = span.0;
        }
    };
    set(&mut profile.period, args.period);
    set(&mut profile.half_life, args.half_life);
    set(&mut profile.window, args.window);
    profile.burst = args.burst.unwrap_or(profile.burst);
    // nothing is known after less than one period, whatever the profile says
    profile.warm_up = profile.warm_up.max(profile.period);
    profile
}

fn delivery(args: &Args, problems: &mut Vec<String>) -> Option<Delivery> {
    let target = args.aggregator.as_ref()?;
    match ServerName::try_from(target.host.clone()) {
        Ok(server) => Some(Delivery {
            host: target.host.clone(),
            port: target.port,
            server,
            ca: args.ca_file.clone(),
            token: args.token_file.clone(),
        }),
        Err(_) => {
            problems.push(format!("--aggregator: `{}` is neither a DNS name nor an address", target.host));
            None
        }
    }
}

fn node_name(args: &Args) -> Option<NodeName> {
    let own = || uname().ok()?.nodename().to_str()?.to_lowercase().parse().ok();
    args.node_name.clone().or_else(own)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, InvalidConfig> {
        let typed = std::iter::once("plimsoll-agent").chain(arguments.iter().copied());
        Config::from_args(&Args::try_parse_from(typed).unwrap())
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let flags = ["--aggregator", "bad name:1", "--period", "30s", "--half-life", "1ms"];
        let ports = ["--listen", "127.0.0.1:9616"];
        let text = config(&[&flags[..], &ports].concat()).unwrap_err().to_string();
        for flag in ["--aggregator", "--period", "--half-life", "--listen and --listen-probes"] {
            assert!(text.contains(flag), "{flag} in {text}");
        }
        assert!(!text.contains("warm-up"), "no flag sets it, so it cannot be the problem: {text}");
    }

    #[test]
    fn a_recording_of_one_report_is_refused() {
        let text = config(&["--once", "--record", "run.jsonl"]).unwrap_err().to_string();
        assert!(text.contains("--record run.jsonl"), "{text}");
    }

    #[test]
    fn two_ports_may_both_be_any_free_port() {
        assert!(config(&["--listen", "127.0.0.1:0", "--listen-probes", "127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn the_longest_period_is_accepted_with_matching_flags() {
        let slow = ["--period", "15s", "--half-life", "15s"];
        assert_eq!(config(&slow).map(|config| config.profile.warm_up), Ok(Duration::from_secs(15)));
        assert!(config(&["--period", "16s", "--half-life", "16s", "--window", "90s"]).is_err());
    }

    #[test]
    fn delivery_requires_the_node_name() {
        let text = config(&["--aggregator", "a.svc:1"]).unwrap_err().to_string();
        assert!(text.contains("--node-name"), "{text}");
        assert!(config(&["--aggregator", "a.svc:1", "--node-name", "n1"]).is_ok());
    }

    #[test]
    fn flags_override_the_profile() {
        let config = config(&["--profile", "lab", "--window", "20s", "--burst", "0.7"]).unwrap();
        assert_eq!((config.profile.window, config.profile.burst), (Duration::from_secs(20), 0.7));
        assert_eq!(config.profile.half_life, Profile::lab().half_life);
    }
}
