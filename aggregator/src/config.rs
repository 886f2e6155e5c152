//! What the flags mean: built once, reporting every problem at once.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_contract::keys;

use crate::args::Args;
use crate::settings::{ResizeSettings, Settings};

/// Everything [`crate::run`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the API server. All clients are made from it.
    pub kube: kube::Config,
    /// Our own namespace.
    pub namespace: String,
    /// Whose reports are accepted.
    pub agents: Agents,
    /// What the certificate is valid for; at least one name.
    pub dns_names: Vec<String>,
    /// Name of this replica.
    pub identity: String,
    /// Where inputs and decisions are recorded, if anywhere.
    pub record: Option<PathBuf>,
    /// What the core decides with.
    pub settings: Settings,
}

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// Namespace of their pods and of the ConfigMap with our CA.
    pub namespace: String,
    /// Their service account.
    pub account: String,
    /// The DaemonSet that controls them.
    pub daemon_set: String,
}

impl Agents {
    /// Their user name in a token: `system:serviceaccount:plimsoll-agents:plimsoll-agent`.
    pub fn user_name(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account)
    }

    /// Their controller, as a pod names it: `DaemonSet/plimsoll-agent`.
    pub fn controller(&self) -> String {
        format!("DaemonSet/{}", self.daemon_set)
    }
}

impl Default for Agents {
    fn default() -> Self {
        Agents {
            namespace: keys::AGENT_NAMESPACE.into(),
            account: keys::AGENT_ACCOUNT.into(),
            daemon_set: keys::AGENT_DAEMON_SET.into(),
        }
    }
}

/// Everything that is wrong with the flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Config {
    /// The names and namespaces of the manifests.
    pub fn new(kube: kube::Config) -> Config {
        let namespace = keys::SYSTEM_NAMESPACE.to_owned();
        Config {
            kube,
            agents: Agents::default(),
            dns_names: service_names(&namespace),
            identity: keys::AGGREGATOR.into(),
            record: None,
            settings: Settings::default(),
            namespace,
        }
    }

    /// What the flags mean.
    ///
    /// # Errors
    /// All problems together, each with its flag and what to do.
    pub async fn from_args(args: &Args) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        check_ports(args, &mut problems);
        check_record(args.record.as_deref(), &mut problems);
        let kube = kube_config(args.kubeconfig.as_deref()).await.map_err(|problem| problems.push(problem));
        match kube {
            Ok(kube) if problems.is_empty() => Ok(Self::from_valid_args(args, kube)),
            _ => Err(Problems(problems)),
        }
    }

    fn from_valid_args(args: &Args, kube: kube::Config) -> Config {
        let namespace = args.namespace.to_string();
        let agents = Agents {
            namespace: args.agent_namespace.to_string(),
            account: args.agent_account.to_string(),
            daemon_set: args.agent_daemon_set.to_string(),
        };
        let mut left_alone: BTreeSet<_> = args.leave_alone.iter().map(ToString::to_string).collect();
        if left_alone.is_empty() {
            left_alone.insert("kube-system".to_owned());
        }
        // Ours are left alone in any case: a label on our own pods would change what the policies guard.
        left_alone.extend([namespace.clone(), agents.namespace.clone()]);
        let settings = Settings {
            output: args.output,
            left_alone,
            agent_namespace: agents.namespace.clone(),
            resize: ResizeSettings {
                enabled: args.resize,
                division: args.division,
                weights: args.criteria.unwrap_or_default(),
            },
            ..Settings::default()
        };
        let mut dns_names: Vec<_> = args.dns_names.iter().map(ToString::to_string).collect();
        if dns_names.is_empty() {
            dns_names = service_names(&namespace);
        }
        Config {
            kube,
            agents,
            dns_names,
            identity: args.identity.to_string(),
            record: args.record.clone(),
            settings,
            namespace,
        }
    }
}

fn service_names(namespace: &str) -> Vec<String> {
    let name = format!("{}.{namespace}.svc", keys::AGGREGATOR);
    vec![name.clone(), format!("{name}.cluster.local")]
}

async fn kube_config(kubeconfig: Option<&Path>) -> Result<kube::Config, String> {
    let Some(path) = kubeconfig else {
        return kube::Config::infer().await.map_err(|error| {
            format!("cannot find out how to reach the API server: {error}; use --kubeconfig FILE")
        });
    };
    let shown = path.display();
    let read = Kubeconfig::read_from(path).map_err(|error| format!("--kubeconfig {shown}: {error}"))?;
    kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(|error| format!("--kubeconfig {shown}: {error}"))
}

fn check_ports(args: &Args, problems: &mut Vec<String>) {
    let ports = [
        ("--listen", args.listen.port()),
        ("--listen-agents", args.listen_agents.port()),
        ("--listen-probes", args.listen_probes.port()),
    ];
    for (index, (flag, port)) in ports.iter().enumerate() {
        // Port 0 is any free port.
        for (other, _) in ports[..index].iter().filter(|(_, other)| other == port && *port != 0) {
            problems.push(format!("{other} and {flag} both use port {port}: give each its own"));
        }
    }
}

fn check_record(file: Option<&Path>, problems: &mut Vec<String>) {
    let Some(file) = file else { return };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        problems.push(format!("--record {}: there is no folder {}", file.display(), folder.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const KUBECONFIG: &str = r#"{"apiVersion":"v1","kind":"Config","current-context":"c",
        "clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],
        "users":[{"name":"u","user":{}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}"#;

    fn args(given: &[&str]) -> Args {
        Args::try_parse_from([&["plimsoll-aggregator"], given].concat()).unwrap()
    }

    #[tokio::test]
    async fn all_problems_are_reported_at_once() {
        let same = ["--listen", "127.0.0.1:1", "--listen-agents", "127.0.0.1:1"];
        let missing = ["--kubeconfig", "no/such/config", "--record", "no/such/record"];
        let problems = Config::from_args(&args(&[same, missing].concat())).await.unwrap_err();
        assert_eq!(problems.0.len(), 3, "{problems}");
        let problems = problems.to_string();
        for flag in ["--listen and --listen-agents", "--kubeconfig no/such", "--record no/such"] {
            assert!(problems.contains(flag), "{problems}");
        }
    }

    #[test]
    fn each_port_needs_a_number_of_its_own() {
        let problems = |given: &[&str]| {
            let mut problems = Vec::new();
            check_ports(&args(given), &mut problems);
            problems.len()
        };
        let any = "127.0.0.1:0";
        assert_eq!(problems(&[]), 0);
        assert_eq!(problems(&["--listen", any, "--listen-agents", any, "--listen-probes", any]), 0);
        assert_eq!(problems(&["--listen-probes", "0.0.0.0:9618"]), 1);
        assert_eq!(problems(&["--listen", "0.0.0.0:9616", "--listen-agents", "0.0.0.0:9616"]), 3);
    }

    #[tokio::test]
    async fn names_follow_the_namespace_and_our_own_namespaces_are_always_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, KUBECONFIG).unwrap();
        let given = ["--kubeconfig", file.to_str().unwrap(), "--namespace", "load", "--leave-alone", "ci"];
        let config = Config::from_args(&args(&given)).await.unwrap();
        assert_eq!(
            config.dns_names,
            ["plimsoll-aggregator.load.svc", "plimsoll-aggregator.load.svc.cluster.local"]
        );
        assert_eq!(config.settings.left_alone, ["ci", "load", "plimsoll-agents"].map(str::to_owned).into());
        assert_eq!(config.agents.user_name(), "system:serviceaccount:plimsoll-agents:plimsoll-agent");
        let elsewhere =
            Config::from_args(&args(&[&given[..2], &["--agent-namespace", "nodes"]].concat())).await.unwrap();
        assert_eq!(elsewhere.settings.agent_namespace, "nodes", "Events say where the agents are");
    }
}
