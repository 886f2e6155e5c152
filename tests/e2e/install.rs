//! Installing as a user does, and what the installed may do.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::Verdict;
use crate::pods::{NODES, SHOP, START, shop};
use crate::world::World;

/// What is applied.
pub(crate) const OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/overlays/e2e");

/// One command after the pods run already; then the first report of each node, and every agent Ready.
pub(crate) async fn one_command_installs_it_and_the_first_report_comes_within_two_minutes(
    world: &World,
) -> Verdict {
    world.run(SHOP, shop()).await?;
    let all = async || {
        let pods = world.pods(SHOP, "").await?;
        let running = |pod: &&Pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
        Ok(pods.iter().filter(running).count() == shop().len())
    };
    world.until("the pods to run", START, all).await?;
    // What fills memory shall have done so.
    sleep(Duration::from_secs(10)).await;
    let begun = Instant::now();
    world.kubectl(&["apply", "-k", OVERLAY]).await?;
    let reports = async |count: usize| {
        let all = async || Ok(world.reporting().await?.len() >= count);
        world.until(&format!("reports of {count} nodes"), Duration::from_secs(180), all).await?;
        anyhow::Ok(begun.elapsed())
    };
    let first = reports(1).await?;
    let last = reports(NODES.len()).await?;
    ensure!(first <= Duration::from_secs(120), "the first report came {first:?} after `kubectl apply -k`");
    for workload in
        [[keys::AGENT_NAMESPACE, "ds/plimsoll-agent"], [keys::SYSTEM_NAMESPACE, "deploy/plimsoll-aggregator"]]
    {
        world.kubectl(&["-n", workload[0], "rollout", "status", workload[1], "--timeout=120s"]).await?;
    }
    Ok(format!(
        "first report after {:.1} s, of all nodes after {:.1} s, all Ready after {:.1} s",
        first.as_secs_f64(),
        last.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ))
}

/// Its processes are nobody, its account may do what everybody may, and it has no token to say so.
pub(crate) async fn an_agent_on_each_node_has_no_rights(world: &World) -> Verdict {
    for node in NODES {
        let agent = world.agent(node).await?;
        let spec = agent.spec.as_ref().context("no spec")?;
        ensure!(spec.automount_service_account_token == Some(false), "{node}: a token is mounted");
        ensure!(spec.host_network.is_none() && spec.host_pid.is_none(), "{node}: host namespaces");
        let uid = agent.metadata.uid.clone().unwrap_or_default();
        let files = format!("/sys/fs/cgroup/kubepods/burstable/pod{uid}/*/cgroup.procs");
        let shown = world
            .on(node, &format!("for p in $(cat {files}); do grep -hE '^(Name|Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$p/status; done"))
            .await?;
        let agent = shown.split("Name:").find(|part| part.contains("plimsoll")).context(shown.clone())?;
        for line in
            ["65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            ensure!(agent.contains(line), "{node}: not `{line}` in {agent}");
        }
    }
    let list = async |namespace: &str, account: &str| {
        let who = format!("--as=system:serviceaccount:{namespace}:{account}");
        let groups = ["--as-group=system:serviceaccounts", "--as-group=system:authenticated"];
        let text =
            world.kubectl(&["auth", "can-i", "--list", "-n", SHOP, &who, groups[0], groups[1]]).await?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        anyhow::Ok(lines)
    };
    let agent = list(keys::AGENT_NAMESPACE, keys::AGENT_ACCOUNT).await?;
    let anybody = list(SHOP, "default").await?;
    ensure!(agent == anybody, "the agent may {agent:#?}, anybody {anybody:#?}");
    Ok(format!("uid 65532, no capability, the {} rules of everybody", anybody.len() - 1))
}
