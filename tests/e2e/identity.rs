//! The same pod with another container, another pod of the same name, the same container with another limit.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use plimsoll_contract::keys;
use serde_json::{Value, json};

use crate::Verdict;
use crate::history::Sight;
use crate::pods::{BURN, HOARD, NODES, SLEEP, START, STIR, pod, spec};
use crate::world::World;

const NAMESPACE: &str = "identity";
const REQUESTS: [&str; 2] = ["10m", "8Mi"];

fn high(sight: &Sight) -> bool {
    sight.get(keys::CPU_BAND) == "high"
}

/// The container's number changes, the pod's band does not.
pub(crate) async fn a_restarted_container_keeps_its_band(world: &World) -> Verdict {
    let name = "restarted";
    world.run(NAMESPACE, vec![pod(name, NODES[0], BURN, REQUESTS, ["40m", "16Mi"])]).await?;
    world.history.wait((NAMESPACE, name), Timestamp::now(), START, high).await?;
    let restarts = async || {
        let statuses = world.pod(NAMESPACE, name).await?.status.and_then(|status| status.container_statuses);
        Ok(statuses
            .unwrap_or_default()
            .first()
            .is_some_and(|one| one.restart_count == 1 && one.started == Some(true)))
    };
    let since = Timestamp::now();
    world.kill(&world.pod(NAMESPACE, name).await?).await?;
    let took = world.until("the container to run again", Duration::from_secs(60), restarts).await?;
    let same =
        async || Ok(world.history.of(NAMESPACE, name).iter().filter(|sight| sight.at > since).all(high));
    world.throughout("the band stays high", Duration::from_secs(60), same).await?;
    Ok(format!("the container came back after {:.1} s", took.as_secs_f64()))
}

/// Full of memory becomes empty under the same name: nothing of the old pod's band may be on the new one.
pub(crate) async fn a_new_pod_of_the_same_name_starts_afresh(world: &World) -> Verdict {
    world.namespace(NAMESPACE).await?;
    let set = |script: &str| {
        let mut spec = spec(None, script, REQUESTS, ["900m", "32Mi"]);
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": NODES[1]});
        json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": NAMESPACE},
            "spec": {
                "serviceName": "db",
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
            },
        })
    };
    let full = |sight: &Sight| sight.get(keys::MEMORY_BAND) == "high";
    world.create(set(HOARD)).await?;
    let old = world.history.wait((NAMESPACE, "db-0"), Timestamp::now(), START, full).await?;
    let change: Value = json!({"spec": {"template": set(SLEEP)["spec"]["template"]}});
    world
        .kubectl(&["patch", "statefulset", "db", "-n", NAMESPACE, "--type=merge", "-p", &change.to_string()])
        .await?;
    world.kubectl(&["delete", "pod", "db-0", "-n", NAMESPACE]).await?;
    let low = |sight: &Sight| sight.uid != old.uid && sight.get(keys::MEMORY_BAND) == "low";
    let new = world.history.wait((NAMESPACE, "db-0"), Timestamp::now(), START, low).await?;
    let sights = world.history.of(NAMESPACE, "db-0");
    let bands: Vec<_> =
        sights.iter().filter(|s| s.uid == new.uid).map(|s| s.get(keys::MEMORY_BAND)).collect();
    ensure!(bands.iter().all(|band| ["", "low"].contains(band)), "the new pod went through {bands:?}");
    Ok(String::new())
}

/// A limit twenty times as large: the share falls at once, the band follows its dwell.
pub(crate) async fn an_in_place_resize_moves_the_basis_and_not_the_band(world: &World) -> Verdict {
    let (name, node) = ("resized", NODES[2]);
    // The limit is less than it wants; what it wants is little of the limit that comes.
    let mut resized = pod(name, node, STIR, REQUESTS, ["30m", "16Mi"]);
    // Managed pods have their limits read with every sweep.
    resized["metadata"]["labels"] = json!({keys::SLA: "gold"});
    world.run(NAMESPACE, vec![resized]).await?;
    let before = world.history.wait((NAMESPACE, name), Timestamp::now(), START, high).await?;
    let uid = before.uid.clone();
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "600m"}}}]}});
    let since = Timestamp::now();
    world
        .kubectl(&["patch", "pod", name, "-n", NAMESPACE, "--subresource=resize", "-p", &patch.to_string()])
        .await?;
    let begun = Instant::now();
    let files = format!("/sys/fs/cgroup/kubepods/burstable/pod{uid}/*/cpu.max");
    let kernel = async || Ok(world.on(node, &format!("cat {files}")).await?.contains("60000 100000"));
    let agent = async || {
        let report: Value = serde_json::from_str(&world.ask_agent(node, "/v1/report").await?)?;
        let pods = report["pods"].as_array().context("no pods")?.iter();
        let of =
            pods.filter(|pod| pod["uid"] == uid.as_str()).filter_map(|pod| pod["cpu"]["of"].as_f64()).next();
        Ok(of.is_some_and(|of| (of - 0.6).abs() < 0.001))
    };
    let most = Duration::from_secs(60);
    let (kernel, agent) = tokio::join!(
        world.until("the kernel to have the new limit", most, kernel),
        world.until("the agent to have the new limit", most, agent)
    );
    let (kernel, agent) = (kernel?, agent?);
    // Two sweeps, and what looking costs: the kernel is asked through the node, the agent through the API server.
    let late = agent.saturating_sub(kernel);
    ensure!(late <= Duration::from_millis(2500), "the basis followed {late:?} after the kernel");
    let same = async || {
        let sights = world.history.of(NAMESPACE, name);
        Ok(sights.iter().filter(|sight| sight.at > since).all(high) && begun.elapsed() < most)
    };
    world.throughout("the band stays", Duration::from_secs(30), same).await?;
    let low = |sight: &Sight| sight.at > since && matches!(sight.get(keys::CPU_BAND), "low" | "moderate");
    let followed = world.history.wait((NAMESPACE, name), since, Duration::from_secs(90), low).await?;
    Ok(format!(
        "in the kernel after {:.1} s, the basis {:.1} s later; the band followed after {:.1} s",
        kernel.as_secs_f64(),
        late.as_secs_f64(),
        followed.at.duration_since(since).as_secs_f64()
    ))
}
