//! Whose reports are believed: each forged identity is refused with its own reason, and none reaches the core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::Full;
use plimsoll_sandbox::api::{Fault, Matching, Resource};
use serde_json::json;
use tokio::time::sleep;

use super::harness::{AGENTS, AUDIENCE, Harness, SERVICE, agent_pod, cluster, pod};
use super::wire::Reply;

const HOUR: Duration = Duration::from_secs(3600);
const JWKS: &str = "/openid/v1/jwks";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The token with another key in its header.
fn with_key(token: &str, key: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": key}).to_string());
    format!("{header}.{}", token.split_once('.').unwrap().1)
}

#[track_caller]
fn assert_rejected(reply: &Reply, code: u16, reason: &str) {
    assert_eq!(reply.code, code, "{reply:?}");
    assert_eq!(reply.json()["reason"], reason, "{reply:?}");
    assert!(reply.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{reply:?}");
}

#[tokio::test]
async fn every_forged_identity_has_its_own_refusal_and_nothing_is_written() {
    let harness = Harness::start().await;
    let store = harness.api.store();
    let body = harness.report("n1", "high").to_string();

    let token = harness.token_of(AGENTS, "plimsoll-agent", "agent-n1", "n1", &[], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 401, "audience");

    store.create(&Resource::PODS, pod(AGENTS, "stranger", "n1")).unwrap();
    let token = harness.token_of(AGENTS, "default", "stranger", "n1", &[AUDIENCE], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 403, "account");

    let token = harness.token_of("shop", "plimsoll-agent", "web", "n1", &[AUDIENCE], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 403, "account");

    let token = harness.token_of(AGENTS, "plimsoll-agent", "stranger", "n1", &[AUDIENCE], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 403, "not_an_agent");

    let token = harness.token_of(AGENTS, "plimsoll-agent", "agent-n1", "n2", &[AUDIENCE], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 403, "elsewhere");

    let token = harness.api.token_for(AGENTS, "plimsoll-agent", None, &[AUDIENCE], HOUR);
    assert_rejected(&harness.post(&token, &body).await, 403, "not_bound");

    // The claims are right, but the API server did not sign them.
    let token = harness.token("n1");
    let (claims, _) = token.rsplit_once('.').unwrap();
    assert_rejected(&harness.post(&format!("{claims}.c2ln"), &body).await, 401, "bad_signature");
    assert_rejected(&harness.post(&with_key(&token, "unknown"), &body).await, 503, "unknown_signing_key");

    assert_rejected(&harness.post("not-a-token", &body).await, 401, "bad_token");
    assert_rejected(&harness.post(&harness.token("n2"), &body).await, 403, "other_node");

    assert_eq!(harness.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await, 0.0);
    assert_eq!(harness.metric("plimsoll_aggregator_refusals_total{reason=\"account\"}").await, 2.0);
    assert_eq!(harness.metric("plimsoll_aggregator_refusals_total{reason=\"elsewhere\"}").await, 1.0);
    harness.assert_silent().await;
    harness.stop().await;
}

#[tokio::test]
async fn the_token_of_a_pod_that_is_gone_is_refused() {
    let harness = Harness::start().await;
    let token = harness.token("n1");
    harness.api.store().delete(&Resource::PODS, AGENTS, "agent-n1").unwrap();
    harness.api.store().create(&Resource::PODS, agent_pod("agent-n1", "n1")).unwrap();
    let new = harness.token("n1");
    harness
        .until("the new agent", async || harness.post(&new, harness.report("n1", "high")).await.code == 200)
        .await;
    assert_rejected(&harness.post(&token, harness.report("n1", "high")).await, 503, "unknown_pod");
    harness.stop().await;
}

#[tokio::test]
async fn the_token_of_an_evicted_agent_is_refused() {
    let harness = Harness::start().await;
    let token = harness.token("n1");
    assert_eq!(harness.post(&token, harness.report("n1", "low")).await.code, 200);
    harness.change_status(AGENTS, "agent-n1", &json!({"phase": "Failed", "reason": "Evicted"}));
    harness
        .until("the eviction", async || harness.post(&token, harness.report("n1", "low")).await.code != 200)
        .await;
    assert_rejected(&harness.post(&token, harness.report("n1", "low")).await, 403, "finished_pod");
    harness.stop().await;
}

#[tokio::test]
async fn a_clock_of_ours_that_is_wrong_by_less_than_the_leeway_refuses_nobody() {
    let harness = Harness::start().await;
    let ten_minutes = Duration::from_secs(600);
    for (ahead, code, reason) in [
        (-600 - 290, 200, None),
        (-600 - 310, 401, Some("expired")),
        (290, 200, None),
        (310, 401, Some("not_yet_valid")),
    ] {
        harness.api.set_token_clock_ahead(ahead);
        let token = harness.token_of(AGENTS, "plimsoll-agent", "agent-n1", "n1", &[AUDIENCE], ten_minutes);
        let reply = harness.post(&token, harness.report("n1", "high")).await;
        assert_eq!((reply.code, reply.json()["reason"].as_str()), (code, reason), "{ahead}: {reply:?}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn an_agent_whose_pod_the_watch_has_not_shown_is_told_to_come_back_soon_and_nobody_is_asked() {
    let harness = Harness::start().await;
    harness.api.faults().always(Matching::any().resource("pods"), Fault::Silence);
    harness.api.store().create(&Resource::PODS, agent_pod("agent-n1b", "n1")).unwrap();
    let token = harness.token_of(AGENTS, "plimsoll-agent", "agent-n1b", "n1", &[AUDIENCE], HOUR);
    let asked = harness.api.journal().len();
    let reply = harness.post(&token, harness.report("n1", "high")).await;
    assert_rejected(&reply, 503, "unknown_pod");
    assert_eq!(reply.header("retry-after"), "2");
    let asked = harness.api.journal().since(asked);
    assert!(asked.iter().all(|entry| entry.resource == "leases"), "{asked:?}");
    harness.api.faults().clear();
    harness.stop().await;
}

/// Keys and reviews fail for longer than a node may be silent, and every report has a new token.
#[tokio::test]
async fn an_outage_of_keys_and_reviews_makes_no_reporting_node_silent() {
    let harness = Harness::around(cluster().await, |config| {
        config.settings.late_after = Duration::from_millis(1500);
        config.settings.silent_after = Duration::from_secs(3);
    })
    .await;
    harness.ready().await;
    harness.say("high").await;
    harness.labeled("high").await;
    for path in [JWKS, DISCOVERY] {
        let fault = Fault::Answer { code: 503, retry_after: None };
        harness.api.faults().always(Matching::any().path(path), fault);
    }
    harness.api.faults().always(Matching::any().resource("tokenreviews"), Fault::Drop);
    let (start, writes) = (Instant::now(), harness.pod_writes().len());
    // A key that nobody has makes the aggregator read the keys, and see that it cannot.
    harness.post(&with_key(&harness.token("n2"), "unknown"), json!({})).await;
    while start.elapsed() < Duration::from_secs(5) {
        harness.say("high").await;
        sleep(Duration::from_millis(200)).await;
    }
    harness.api.faults().clear();
    harness.say("high").await;
    assert_eq!(harness.cpu_band(), "high");
    assert_eq!(harness.pod_writes().len(), writes, "{:?}", harness.pod_writes());
    assert_eq!(harness.tokens("refused").await, 1.0);
    assert!(harness.metric("plimsoll_aggregator_signing_key_reads_total{result=\"failed\"}").await >= 1.0);
    harness.stop().await;
}

/// Connections with forged tokens.
const CONNECTIONS: usize = 8;

#[tokio::test]
async fn forged_tokens_do_not_reach_the_api_server_and_honest_agents_are_heard_meanwhile() {
    let harness = Harness::start().await;
    let (token, asked) = (harness.token("n1"), harness.api.journal().len());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let zeros = format!("{signed}.{}", "A".repeat(signature.len()));
    let forged = [zeros, with_key(&token, "unknown"), with_key(&token, "other"), "a.b.c".to_owned()];
    let done = AtomicBool::new(false);
    let flood = forged.iter().cycle().take(CONNECTIONS).map(async |token| {
        let mut connection = harness.connect().await;
        while !done.load(Ordering::Relaxed) {
            let reply = connection.post(token, "{}").await;
            assert!([401, 503].contains(&reply.code), "{reply:?}");
        }
    });
    let honest = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let start = Instant::now();
            harness.say("low").await;
            slowest = slowest.max(start.elapsed());
            sleep(Duration::from_millis(200)).await;
        }
        done.store(true, Ordering::Relaxed);
        slowest
    };
    let (_, slowest) = tokio::join!(join_all(flood), honest);
    assert!(slowest < Duration::from_secs(1), "{slowest:?} for a report");
    let refused = harness.tokens("refused").await;
    assert!(refused >= 3.0 * CONNECTIONS as f64, "{refused} forged tokens are no flood");
    let asked = harness.api.journal().since(asked);
    let about_tokens: Vec<_> = asked
        .iter()
        .filter(|entry| entry.resource == "tokenreviews" || entry.resource.is_empty())
        .map(|entry| entry.path.as_str())
        .collect();
    // One read in 10 s, because of the unknown keys.
    assert_eq!(about_tokens, [DISCOVERY, JWKS]);
    harness.stop().await;
}

#[tokio::test]
async fn a_server_that_serves_no_keys_is_asked_and_a_flood_that_names_one_pod_stops_no_other() {
    let api = cluster().await;
    api.faults().always(Matching::any().path(DISCOVERY), Fault::Answer { code: 404, retry_after: None });
    let harness = Harness::around(api, |_| {}).await;
    harness.ready().await;
    assert!(harness.get("/readyz").await.text.contains("signing_keys: not yet ("));
    let (claims, _) =
        harness.token("n2").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let harness_ref = &harness;
    let flood = (0..100_u64).map(|number| {
        let token = format!("{claims}.{}", URL_SAFE_NO_PAD.encode(number.to_le_bytes()));
        async move { harness_ref.post(&token, "{}").await }
    });
    let honest = async {
        let token = harness_ref.token("n1");
        for _ in 0..5 {
            assert_eq!(harness_ref.post(&token, harness_ref.report("n1", "low")).await.code, 200);
        }
    };
    let (replies, ()) = tokio::join!(join_all(flood), honest);
    for reply in replies {
        // On a busy machine the one review may take longer than its deadline.
        assert!([401, 429].contains(&reply.code) || reply.text.contains("reviews_down"), "{reply:?}");
    }
    let reviews = harness.api.journal().find(|entry| entry.resource == "tokenreviews").len();
    // One of the pod of `n1`; of `n2`, one in 5 s.
    assert!((2..=6).contains(&reviews), "{reviews}");
    assert_eq!(harness.tokens("reviewed").await, 5.0);
    harness.stop().await;
}

#[tokio::test]
async fn a_rotated_key_is_read_when_its_first_token_arrives() {
    let harness = Harness::start().await;
    harness.api.rotate_token_keys(true).unwrap();
    let token = harness.token("n1");
    let reply = harness.post(&token, harness.report("n1", "high")).await;
    assert_rejected(&reply, 503, "unknown_signing_key");
    assert_eq!(reply.header("retry-after"), "2");
    harness
        .until("the new key", async || harness.post(&token, harness.report("n1", "high")).await.code == 200)
        .await;
    assert_eq!(
        harness.metric("plimsoll_aggregator_signing_key_reads_total{result=\"succeeded\"}").await,
        2.0
    );
    harness.stop().await;
}

#[tokio::test]
async fn without_a_token_nothing_is_looked_at() {
    let harness = Harness::start().await;
    let bare = |content_type: &str| {
        let request =
            Request::post("/v1/reports").header("host", SERVICE).header("content-type", content_type);
        request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
    };
    assert_rejected(&harness.send(bare("application/json")).await, 401, "no_token");
    assert_rejected(&harness.send(bare("text/plain")).await, 415, "content_type");
    let get = Request::get("/v1/reports").header("host", SERVICE).body(Full::default()).unwrap();
    let reply = harness.send(get).await;
    assert_eq!((reply.code, reply.header("allow")), (405, "POST"));
    let other = Request::post("/v1/pods").header("host", SERVICE).body(Full::default()).unwrap();
    assert_eq!(harness.send(other).await.code, 404);
    harness.stop().await;
}
