//! What the two programs answer to whoever asks, and what the aggregator makes of whatever is posted to it.

use std::time::Duration;

use http_body_util::BodyExt;
use plimsoll_contract::Band;
use plimsoll_contract::status::{Decision, NodeState, NodeStatus, PodStatus};
use plimsoll_demo::stage::NODE;
use plimsoll_sandbox::api::{Fault, Matching};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::wire;
use crate::world::{HIGH, LOW, PATIENCE, SHOP, World, options};

const DOCUMENTS: [&str; 4] = ["/v1/nodes", "/v1/pods", "/v1/pods/demo/web", "/v1/decisions"];

#[tokio::test]
async fn every_path_answers_with_the_document_of_the_contract_and_to_nothing_but_get() {
    let world = World::start().await;
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    world
        .until("the write to be settled", async || {
            world.status("web").await.last.is_some_and(|last| last.outcome == "written")
        })
        .await;

    let web = world.status("web").await;
    let pods: Vec<PodStatus> = world.get("/v1/pods").await.json();
    assert!(
        pods.iter().any(|pod| pod.uid == web.uid)
            && pods.is_sorted_by_key(|pod| (pod.namespace.clone(), pod.name.clone()))
    );
    assert_eq!((web.cpu.band, web.uid.clone()), (Band::High, world.uid("web")));
    assert!(matches!(web.cpu.container.as_deref(), Some("app" | "pod")), "{web:?}");
    assert!(web.cpu.utilization.is_some_and(|share| (0.7..1.1).contains(&share)), "{web:?}");
    let nodes: Vec<NodeStatus> = world.get("/v1/nodes").await.json();
    assert_eq!((nodes.len(), nodes[0].node.as_str(), nodes[0].state), (1, NODE, NodeState::Reporting));
    let decisions: Vec<Decision> = world.get("/v1/decisions").await.json();
    let first = &decisions[0];
    assert_eq!((first.action.as_str(), first.namespace.as_str(), first.pod.as_str()), ("label", SHOP, "web"));
    assert_eq!(
        (first.reason.as_str(), first.outcome.as_str(), first.took_ms.is_some()),
        ("first", "written", true)
    );

    let (agent, aggregator) = (world.stage.agent_address(), world.stage.aggregator_address());
    for path in ["/metrics", "/livez", "/readyz"].iter().chain(&DOCUMENTS) {
        assert_eq!(world.get(path).await.code, 200, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let reply = wire::plain(aggregator, method, path).await;
            assert_eq!((reply.code, reply.header("allow")), (405, "GET, HEAD"), "{method} {path}");
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
    world.end().await;
}

#[tokio::test]
async fn the_stream_tells_of_a_pod_when_its_band_changes() {
    let world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    let response = wire::open(world.stage.aggregator_address(), "/v1/stream").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut body = response.into_body();
    world.load("web", HIGH);
    let mut text = String::new();
    let told = async {
        loop {
            let frame = body.frame().await.expect("the stream goes on").unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            if events(&text)
                .iter()
                .any(|(kind, data)| kind == "pod" && data["name"] == "web" && data["cpu"]["band"] == "high")
            {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no event of web that says high"));
    for (kind, data) in events(&text) {
        match kind.as_str() {
            "pod" => drop(serde_json::from_value::<PodStatus>(data).unwrap()),
            "decision" => drop(serde_json::from_value::<Decision>(data).unwrap()),
            other => panic!("an event of the kind {other}"),
        }
    }
    world.end().await;
}

/// Kind and document of each whole event.
fn events(text: &str) -> Vec<(String, Value)> {
    let whole = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let event =
        |event: &str| Some((field(event, "event:")?, serde_json::from_str(&field(event, "data:")?).unwrap()));
    whole.filter_map(event).collect()
}

#[tokio::test]
async fn an_aggregator_that_cannot_list_pods_says_so_and_is_not_ready_until_it_can() {
    let mut options = options();
    options.prepare = |api| {
        api.faults().always(Matching::any().resource("pods"), Fault::Answer { code: 403, retry_after: None });
    };
    let world = World::with(options).await;
    world.run("web", HIGH);
    let told = async || {
        let reply = world.get("/readyz").await;
        reply.code == 503 && reply.text.contains("pods: not yet (") && reply.text.contains("nodes: ready")
    };
    world.until("the missing part to be named", told).await;
    assert!(world.get("/readyz").await.text.contains("writes: withheld (not_synced)"));
    assert_eq!(world.get("/livez").await.code, 200, "a restart would not help");
    let waiting =
        async || world.counted_by_agent("plimsoll_agent_reports_total{result=\"throttled\"}").await >= 1.0;
    world.until("the agent to be told to wait", waiting).await;
    assert!(world.writes().is_empty());
    world.stage.api().faults().clear();
    world.ready().await;
    world.labeled("web", "high").await;
    world.end().await;
}

#[tokio::test]
async fn whatever_a_broken_agent_posts_is_refused_by_its_reason_and_writes_nothing() {
    let mut world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    let good = serde_json::to_value(world.report().await).unwrap();
    world.stage.stop_agent().await.unwrap();
    let token = world.token(Duration::from_secs(600));
    let seq = good["seq"].as_u64().unwrap() + 1_000_000;
    let with = |field: &str, value: Value| {
        let mut report = good.clone();
        report["seq"] = json!(seq);
        report[field] = value;
        report.to_string()
    };
    let odd_number = with("boot", json!("MARK")).replace("\"MARK\"", "1e999");
    let table = [
        ("[".to_owned(), 400, "malformed"),
        (String::new(), 400, "malformed"),
        ("null".to_owned(), 400, "malformed"),
        ("[".repeat(200_000), 400, "malformed"),
        (odd_number, 400, "malformed"),
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
        let before = world.counted(&refusals(reason)).await;
        let reply = world.post(&token, body).await;
        assert_eq!(reply.refusal(), (code, reason.to_owned()), "{start}");
        assert_eq!(world.counted(&refusals(reason)).await, before + 1.0, "{reason}");
    }
    assert_eq!(world.post("not.a.token", &good).await.refusal(), (401, "bad_token".to_owned()));
    world.quiet().await;
    assert_eq!(world.writes().len(), 1);
    world.end().await;
}

fn refusals(reason: &str) -> String {
    format!("plimsoll_aggregator_refusals_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn in_a_report_that_is_believed_each_pod_that_cannot_be_is_refused_alone() {
    let mut world = World::start().await;
    world.run("web", LOW);
    world.run("liar", LOW);
    world.labeled("web", "low").await;
    world.labeled("liar", "low").await;
    let report = serde_json::to_value(world.report().await).unwrap();
    world.stage.stop_agent().await.unwrap();
    let pod = |name: &str| {
        let uid = world.uid(name);
        report["pods"].as_array().unwrap().iter().find(|pod| pod["uid"] == uid).unwrap().clone()
    };
    let (mut web, mut liar, mut ghost) = (pod("web"), pod("liar"), pod("web"));
    web["cpu"]["band"] = json!("high");
    liar["cpu"] = json!({"band": "high", "basis": "limit", "utilization": 400.0, "cores": 80.0, "of": 0.2});
    ghost["uid"] = json!("00000000-0000-4000-8000-000000000000");
    ghost["cpu"]["band"] = json!("high");
    let mut body = report.clone();
    body["seq"] = json!(report["seq"].as_u64().unwrap() + 1_000_000);
    body["pods"] = json!([web, liar, ghost]);
    let reply = world.post(&world.token(Duration::from_secs(600)), body).await;
    assert_eq!(reply.code, 200, "{reply:?}");
    let refused: Value = reply.json();
    let reasons: Vec<_> =
        refused["refused"].as_array().unwrap().iter().map(|pod| (&pod["uid"], &pod["reason"])).collect();
    assert_eq!(
        reasons,
        [
            (&json!(world.uid("liar")), &json!("bad_value")),
            (&json!("00000000-0000-4000-8000-000000000000"), &json!("unknown_pod"))
        ]
    );
    world.labeled("web", "high").await;
    world.quiet().await;
    assert_eq!(
        world.keys("liar")[plimsoll_contract::keys::CPU_BAND],
        "low",
        "what cannot be is not believed"
    );
    assert_eq!(world.writes().len(), 3);
    world.end().await;
}
