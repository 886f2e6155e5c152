//! Installation as a user does it, and the rights of what was installed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use plimsoll_contract::keys;
use tokio::time::sleep;

use crate::TestResult;
use crate::harness::{DEFINITION, Harness, OVERLAY};
use crate::pods::{NODES, SHOP, START, shop};

/// The pods run before the installation; then the first report of each node, and every agent Ready.
pub(crate) async fn one_command_installs_it_and_the_first_report_comes_within_two_minutes(
    harness: &Harness,
) -> TestResult {
    harness.run(SHOP, shop()).await?;
    let all = async || harness.are_running(SHOP, shop().len()).await;
    harness.until("the pods to run", START, all).await?;
    // Let the pods that fill memory do so.
    sleep(Duration::from_secs(10)).await;
    // The overlay brings classes: their kind must be known first.
    harness.kubectl(&["apply", "-f", DEFINITION]).await?;
    harness
        .kubectl(&["wait", "--for=condition=Established", "crd/slaclasses.plimsoll.dev", "--timeout=30s"])
        .await?;
    let start = Instant::now();
    harness.kubectl(&["apply", "-k", OVERLAY]).await?;
    let reports = async |count: usize| {
        let all = async || Ok(harness.reporting().await?.len() >= count);
        harness.until(&format!("reports of {count} nodes"), Duration::from_secs(180), all).await?;
        anyhow::Ok(start.elapsed())
    };
    let first = reports(1).await?;
    let last = reports(NODES.len()).await?;
    ensure!(first <= Duration::from_secs(120), "the first report came {first:?} after `kubectl apply -k`");
    for workload in
        [[keys::AGENT_NAMESPACE, "ds/plimsoll-agent"], [keys::SYSTEM_NAMESPACE, "deploy/plimsoll-aggregator"]]
    {
        harness.kubectl(&["-n", workload[0], "rollout", "status", workload[1], "--timeout=120s"]).await?;
    }
    Ok(format!(
        "first report after {:.1} s, of all nodes after {:.1} s, all Ready after {:.1} s",
        first.as_secs_f64(),
        last.as_secs_f64(),
        start.elapsed().as_secs_f64()
    ))
}

/// It runs as an unprivileged user, its account has only the rights of every account, and no token is mounted.
pub(crate) async fn an_agent_on_each_node_has_no_rights(harness: &Harness) -> TestResult {
    for node in NODES {
        let agent = harness.agent(node).await?;
        let spec = agent.spec.as_ref().context("no spec")?;
        ensure!(spec.automount_service_account_token == Some(false), "{node}: a token is mounted");
        ensure!(spec.host_network.is_none() && spec.host_pid.is_none(), "{node}: host namespaces");
        let uid = agent.metadata.uid.clone().unwrap_or_default();
        let files = format!("/sys/fs/cgroup/kubepods/burstable/pod{uid}/*/cgroup.procs");
        let status = harness
            .on(node, &format!("for p in $(cat {files}); do grep -hE '^(Name|Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$p/status; done"))
            .await?;
        let agent = status.split("Name:").find(|part| part.contains("plimsoll")).context(status.clone())?;
        for line in
            ["65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            ensure!(agent.contains(line), "{node}: no `{line}` in {agent}");
        }
    }
    let list = async |namespace: &str, account: &str| {
        let account = format!("--as=system:serviceaccount:{namespace}:{account}");
        let groups = ["--as-group=system:serviceaccounts", "--as-group=system:authenticated"];
        let text =
            harness.kubectl(&["auth", "can-i", "--list", "-n", SHOP, &account, groups[0], groups[1]]).await?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        anyhow::Ok(lines)
    };
    let agent = list(keys::AGENT_NAMESPACE, keys::AGENT_ACCOUNT).await?;
    let any_account = list(SHOP, "default").await?;
    ensure!(agent == any_account, "the agent may {agent:#?}, any account {any_account:#?}");
    Ok(format!("uid 65532, no capability, the {} rules of any account", any_account.len() - 1))
}
