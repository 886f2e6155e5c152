//! In-place resizes, with every behavior.

use super::*;

#[tokio::test]
async fn an_immediate_resize_reaches_cgroups_and_status() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    cluster.run("web", &half_a_core());
    let generation = cluster.resize("web", "900m");
    let pod = cluster.until("web", |pod| pod["status"]["observedGeneration"] == generation);
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.9)); 2]);
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["resources"]["limits"], json!({"cpu": "900m", "memory": "64Mi"}));
    assert_eq!(status["allocatedResources"]["cpu"], "900m");
    assert_eq!(status["restartCount"], 0);
    assert_eq!(condition(&pod, "PodResizeInProgress"), None);
    cluster.resize("web", "200m");
    let pod = cluster
        .until("web", |pod| pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "200m");
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.2)); 2]);
}

#[tokio::test]
async fn a_late_resize_is_in_progress_until_it_is_enforced() {
    let late = Duration::from_secs(2);
    let cluster = Cluster::start(ResizeBehavior::Delayed(late)).await;
    cluster.run("web", &half_a_core());
    let requested = Instant::now();
    let generation = cluster.resize("web", "900m");
    let pod = cluster.until("web", |pod| condition(pod, "PodResizeInProgress").is_some());
    assert_eq!(condition(&pod, "PodResizeInProgress").unwrap()["observedGeneration"], generation);
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.5)); 2], "accepted, not enforced");
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        (&status["resources"]["limits"]["cpu"], &status["allocatedResources"]["cpu"]),
        (&json!("500m"), &json!("900m"))
    );
    let pod = cluster.until("web", |pod| condition(pod, "PodResizeInProgress").is_none());
    assert!(requested.elapsed() >= late);
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.9)); 2]);
    assert_eq!(pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"], "900m");
}

#[tokio::test]
async fn a_partial_resize_stays_in_progress_with_an_error() {
    let cluster = Cluster::start(ResizeBehavior::Partial).await;
    cluster.run("web", &half_a_core());
    cluster.resize("web", "900m");
    let pod = cluster.until("web", |pod| condition(pod, "PodResizeInProgress").is_some());
    assert_eq!(condition(&pod, "PodResizeInProgress").unwrap()["reason"], "Error");
    // Long enough for a complete resize.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.7)); 2]);
    assert_eq!(cluster.pod("web")["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"], "700m");
}

#[tokio::test]
async fn an_ignored_resize_changes_nothing_until_the_behavior_changes() {
    let cluster = Cluster::start(ResizeBehavior::Ignored).await;
    let before = cluster.run("web", &half_a_core());
    let generation = cluster.resize("web", "900m");
    thread::sleep(Duration::from_millis(400));
    let pod = cluster.pod("web");
    assert_eq!(pod["status"], before["status"]);
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.5)); 2]);
    cluster.kubelet.set_resize_behavior("default", "web", ResizeBehavior::Immediate);
    let pod = cluster.until("web", |pod| pod["status"]["observedGeneration"] == generation);
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.9)); 2]);
}

#[tokio::test]
async fn a_pending_resize_has_its_reason_and_ends_when_it_is_reverted() {
    for (behavior, reason) in
        [(ResizeBehavior::Deferred, "Deferred"), (ResizeBehavior::Infeasible, "Infeasible")]
    {
        let cluster = Cluster::start(behavior).await;
        cluster.run("web", &half_a_core());
        let generation = cluster.resize("web", "900m");
        let pod = cluster.until("web", |pod| condition(pod, "PodResizePending").is_some());
        let pending = condition(&pod, "PodResizePending").unwrap();
        assert_eq!(
            (&pending["reason"], &pending["observedGeneration"]),
            (&json!(reason), &json!(generation))
        );
        assert_eq!(pod["status"]["containerStatuses"][0]["allocatedResources"]["cpu"], "500m");
        assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(0.5)); 2]);
        let generation = cluster.resize("web", "500m");
        let pod = cluster.until("web", |pod| pod["status"]["observedGeneration"] == generation);
        assert_eq!(condition(&pod, "PodResizePending"), None);
    }
}

#[tokio::test]
async fn a_resize_that_does_not_fit_is_deferred_until_there_is_capacity() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    cluster.run("large", &json!({"requests": {"cpu": "3"}}));
    cluster.run("web", &half_a_core());
    cluster.resize("web", "1500m");
    let pod = cluster.until("web", |pod| condition(pod, "PodResizePending").is_some());
    assert_eq!(condition(&pod, "PodResizePending").unwrap()["reason"], "Deferred");
    cluster.store().delete(&Resource::PODS, "default", "large").unwrap();
    let pod = cluster.until("web", |pod| condition(pod, "PodResizePending").is_none());
    assert_eq!(cluster.cores(&pod), [Limit::Of(Cores(1.5)); 2]);
}
