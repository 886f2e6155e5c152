//! The documents of both programs, and how the aggregator handles invalid reports.

use std::time::Duration;

use plimsoll_contract::Band;
use plimsoll_contract::status::{AgentState, AggregatorStatus, Decision, NodeStatus, PodStatus};
use plimsoll_demo::cluster::NODE;
use plimsoll_sandbox::api::{Fault, Matching};
use serde_json::{Value, json};

use crate::harness::{HIGH, Harness, LOW, NAMESPACE, options};
use crate::wire;

const DOCUMENTS: [&str; 5] = ["/v1/status", "/v1/nodes", "/v1/pods", "/v1/pods/demo/web", "/v1/decisions"];

#[tokio::test]
async fn every_path_returns_the_document_of_the_contract_and_allows_only_get() {
    let harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    harness
        .until("the write to be confirmed", async || {
            harness.status("web").await.last.is_some_and(|last| last.outcome == "written")
        })
        .await;

    let web = harness.status("web").await;
    let pods: Vec<PodStatus> = harness.get("/v1/pods").await.json();
    assert!(
        pods.iter().any(|pod| pod.uid == web.uid)
            && pods.is_sorted_by_key(|pod| (pod.namespace.clone(), pod.name.clone()))
    );
    assert_eq!((web.cpu.band, web.uid.clone()), (Band::High, harness.uid("web")));
    assert!(matches!(web.cpu.container.as_deref(), Some("app" | "pod")), "{web:?}");
    assert!(web.cpu.utilization.is_some_and(|share| (0.7..1.1).contains(&share)), "{web:?}");
    let nodes: Vec<NodeStatus> = harness.get("/v1/nodes").await.json();
    assert_eq!((nodes.len(), nodes[0].node.as_str(), nodes[0].state), (1, NODE, AgentState::Reporting));
    let status: AggregatorStatus = harness.get("/v1/status").await.json();
    assert_eq!((status.leading, status.withheld, status.leader), (true, None, Some(status.replica)));
    assert_eq!((status.paused, status.nodes.reporting, status.nodes.total()), (Some(false), 1, 1));
    let decisions: Vec<Decision> = harness.get("/v1/decisions").await.json();
    let first = &decisions[0];
    assert_eq!(
        (first.action.as_str(), first.namespace.as_str(), first.pod.as_str()),
        ("label", NAMESPACE, "web")
    );
    assert_eq!(
        (first.reason.as_str(), first.outcome.as_str(), first.took_ms.is_some()),
        ("first", "written", true)
    );

    let (agent, aggregator) = (harness.cluster.agent_address(), harness.cluster.aggregator_address());
    for path in ["/metrics", "/livez", "/readyz"].iter().chain(&DOCUMENTS) {
        assert_eq!(harness.get(path).await.code, 200, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let reply = wire::plain(aggregator, method, path).await;
            assert_eq!((reply.code, reply.header("allow")), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    for address in harness.cluster.probe_addresses() {
        for (path, code) in [("/livez", 200), ("/readyz", 200), ("/metrics", 404), ("/", 404)] {
            assert_eq!(wire::plain(address, "GET", path).await.code, code, "{address}{path}");
            assert_eq!(wire::plain(address, "POST", path).await.code, 405, "{address}{path}");
        }
    }
    for path in ["/metrics", "/livez", "/readyz", "/v1/report"] {
        assert_eq!(wire::plain(agent, "GET", path).await.code, 200, "{path}");
        assert_eq!(wire::plain(agent, "POST", path).await.code, 405, "{path}");
    }
    for (address, path) in
        [(agent, "/v1/pods"), (aggregator, "/v1/report"), (aggregator, "/v1/pods/demo/none")]
    {
        assert_eq!(wire::plain(address, "GET", path).await.code, 404, "{path}");
    }
    harness.shutdown().await;
}

#[tokio::test]
async fn a_list_has_an_etag_that_changes_with_its_content() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    let aggregator = harness.cluster.aggregator_address();
    for path in ["/v1/status", "/v1/pods", "/v1/decisions"] {
        let first = harness.get(path).await;
        assert!(!first.header("etag").is_empty(), "{path}");
        // The document of a pod changes with its utilization, so an unchanged list may need more than one attempt.
        let unchanged = async || {
            let etag = harness.get(path).await.header("etag").to_owned();
            let reply = wire::get_if_changed(aggregator, path, &etag).await;
            reply.code == 304 && reply.text.is_empty()
        };
        harness.until("an unchanged list", unchanged).await;
    }
    let etag = harness.get("/v1/decisions").await.header("etag").to_owned();
    harness.set_load("web", HIGH);
    harness.labeled("web", "high").await;
    let changed = async || wire::get_if_changed(aggregator, "/v1/decisions", &etag).await.code == 200;
    harness.until("the list to change", changed).await;
    assert_eq!(wire::get_if_changed(aggregator, "/v1/pods", "\"another\"").await.code, 200);
    harness.shutdown().await;
}

#[tokio::test]
async fn an_aggregator_that_cannot_list_pods_reports_it_and_is_not_ready() {
    let mut options = options();
    options.prepare = |api| {
        api.faults().always(Matching::any().resource("pods"), Fault::Answer { code: 403, retry_after: None });
    };
    let harness = Harness::with(options).await;
    harness.create_pod("web", HIGH);
    let reported = async || {
        let reply = harness.get("/readyz").await;
        reply.code == 503 && reply.text.contains("pods: not yet (") && reply.text.contains("nodes: ready")
    };
    harness.until("the missing watch to be named", reported).await;
    assert!(harness.get("/readyz").await.text.contains("writes: withheld (not_synced)"));
    assert_eq!(harness.get("/livez").await.code, 200, "a restart would not help");
    let waiting =
        async || harness.agent_metric("plimsoll_agent_reports_total{result=\"throttled\"}").await >= 1.0;
    harness.until("the agent to be told to wait", waiting).await;
    assert!(harness.writes().is_empty());
    harness.cluster.api().faults().clear();
    harness.ready().await;
    harness.labeled("web", "high").await;
    harness.shutdown().await;
}

#[tokio::test]
async fn an_invalid_report_is_rejected_with_its_reason_and_causes_no_write() {
    let mut harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    let good = serde_json::to_value(harness.report().await).unwrap();
    harness.cluster.stop_agent().await.unwrap();
    let token = harness.token(Duration::from_secs(600));
    let seq = good["seq"].as_u64().unwrap() + 1_000_000;
    let with = |field: &str, value: Value| {
        let mut report = good.clone();
        report["seq"] = json!(seq);
        report[field] = value;
        report.to_string()
    };
    let invalid_number = with("boot", json!("PLACEHOLDER")).replace("\"PLACEHOLDER\"", "1e999");
    let table = [
        ("[".to_owned(), 400, "malformed"),
        (String::new(), 400, "malformed"),
        ("null".to_owned(), 400, "malformed"),
        ("[".repeat(200_000), 400, "malformed"),
        (invalid_number, 400, "malformed"),
        (with("version", json!(99)), 400, "version"),
        (with("version", json!(0)), 400, "version"),
        (with("node", json!("elsewhere")), 403, "other_node"),
        (with("boot", json!("b".repeat(65))), 422, "bad_report"),
        (with("capacity", json!({"cores": -1.0, "bytes": 1})), 422, "bad_report"),
        (with("pods", json!([])).replace("\"full\":true", "\"full\":\"yes\""), 400, "malformed"),
        (with("seq", json!(1)), 409, "old_sequence"),
        (with("seq", json!(u64::MAX)), 422, "bad_report"),
        ("x".repeat(3 << 20), 413, "too_large"),
    ];
    for (body, code, reason) in table {
        let start: String = body.chars().take(80).collect();
        let before = harness.metric(&rejections(reason)).await;
        let reply = harness.post(&token, body).await;
        assert_eq!(reply.rejection(), (code, reason.to_owned()), "{start}");
        assert_eq!(harness.metric(&rejections(reason)).await, before + 1.0, "{reason}");
    }
    assert_eq!(harness.post("not.a.token", &good).await.rejection(), (401, "bad_token".to_owned()));
    harness.quiet().await;
    assert_eq!(harness.writes().len(), 1);
    harness.shutdown().await;
}

fn rejections(reason: &str) -> String {
    format!("plimsoll_aggregator_refusals_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn in_an_accepted_report_only_the_invalid_pods_are_rejected() {
    let mut harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.create_pod("invalid", LOW);
    harness.labeled("web", "low").await;
    harness.labeled("invalid", "low").await;
    let report = serde_json::to_value(harness.report().await).unwrap();
    harness.cluster.stop_agent().await.unwrap();
    let pod = |name: &str| {
        let uid = harness.uid(name);
        report["pods"].as_array().unwrap().iter().find(|pod| pod["uid"] == uid).unwrap().clone()
    };
    let (mut web, mut invalid, mut unknown) = (pod("web"), pod("invalid"), pod("web"));
    web["cpu"]["band"] = json!("high");
    invalid["cpu"] =
        json!({"band": "high", "basis": "limit", "utilization": 400.0, "cores": 80.0, "of": 0.2});
    unknown["uid"] = json!("00000000-0000-4000-8000-000000000000");
    unknown["cpu"]["band"] = json!("high");
    let mut body = report.clone();
    body["seq"] = json!(report["seq"].as_u64().unwrap() + 1_000_000);
    body["pods"] = json!([web, invalid, unknown]);
    let reply = harness.post(&harness.token(Duration::from_secs(600)), body).await;
    assert_eq!(reply.code, 200, "{reply:?}");
    let answer: Value = reply.json();
    let reasons: Vec<_> =
        answer["refused"].as_array().unwrap().iter().map(|pod| (&pod["uid"], &pod["reason"])).collect();
    assert_eq!(
        reasons,
        [
            (&json!(harness.uid("invalid")), &json!("bad_value")),
            (&json!("00000000-0000-4000-8000-000000000000"), &json!("unknown_pod"))
        ]
    );
    harness.labeled("web", "high").await;
    harness.quiet().await;
    assert_eq!(
        harness.keys("invalid")[plimsoll_contract::keys::CPU_BAND],
        "low",
        "an invalid pod is ignored"
    );
    assert_eq!(harness.writes().len(), 3);
    harness.shutdown().await;
}
