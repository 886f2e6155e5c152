//! The objects that `kubectl apply -k manifests/...` creates in a cluster, as far as the programs use them: objects that are empty
//! at first, the DaemonSet, and the agent's pod, which its token is bound to.

use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_contract::keys;
use plimsoll_sandbox::api::{ApiServer, Resource};
use serde_json::{Value, json};

use crate::pods;

/// Name of the agent's pod.
pub(super) const AGENT_POD: &str = "plimsoll-agent-0";
const DAEMON_SET_UID: &str = "5f0c2a7e-3f0b-4c39-9a55-6d2f0f4f7a11";

/// All objects, in an order in which they can be created.
pub(super) fn installed(node: &str) -> Vec<(Resource, Value)> {
    let named = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
    let namespaces = [keys::SYSTEM_NAMESPACE, keys::AGENT_NAMESPACE, pods::NAMESPACE];
    let mut objects: Vec<_> =
        namespaces.iter().map(|name| (Resource::NAMESPACES, json!({"metadata": {"name": name}}))).collect();
    objects.extend([
        (Resource::SERVICE_ACCOUNTS, named(keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)),
        (Resource::SERVICE_ACCOUNTS, named(keys::AGENT_NAMESPACE, keys::AGENT_ACCOUNT)),
        (Resource::SECRETS, named(keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)),
        (Resource::LEASES, named(keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)),
        (Resource::CONFIG_MAPS, named(keys::SYSTEM_NAMESPACE, keys::CONTROL_CONFIG_MAP)),
        (Resource::CONFIG_MAPS, named(keys::AGENT_NAMESPACE, keys::CA_CONFIG_MAP)),
        (Resource::DAEMON_SETS, daemon_set()),
        (Resource::PODS, agent_pod(node)),
    ]);
    objects
}

/// The user of the aggregator's token.
pub(super) fn aggregator_user() -> String {
    format!("system:serviceaccount:{}:{}", keys::SYSTEM_NAMESPACE, keys::AGGREGATOR)
}

/// A client configuration for an API server, with a token.
pub(super) async fn kube_config(api: &ApiServer, token: &str) -> anyhow::Result<kube::Config> {
    let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig())?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.token = Some(token.to_owned().into());
    Ok(config)
}

fn daemon_set() -> Value {
    json!({
        "metadata": {"namespace": keys::AGENT_NAMESPACE, "name": keys::AGENT_DAEMON_SET, "uid": DAEMON_SET_UID},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": keys::AGENT_DAEMON_SET}},
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": keys::AGENT_DAEMON_SET}},
                "spec": {"containers": [{"name": "agent", "image": "sandbox"}]},
            },
        },
    })
}

fn agent_pod(node: &str) -> Value {
    json!({
        "metadata": {
            "namespace": keys::AGENT_NAMESPACE,
            "name": AGENT_POD,
            "labels": {"app.kubernetes.io/name": keys::AGENT_DAEMON_SET},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": keys::AGENT_DAEMON_SET,
                "uid": DAEMON_SET_UID, "controller": true,
            }],
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": keys::AGENT_ACCOUNT,
            "containers": [{"name": "agent", "image": "sandbox", "resources": {}}],
        },
    })
}
