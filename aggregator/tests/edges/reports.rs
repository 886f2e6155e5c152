//! What an agent that is believed may say.

use plimsoll_sandbox::api::Resource;
use serde_json::json;

use super::harness::{Harness, pod};

#[tokio::test]
async fn what_is_no_report_is_refused_by_what_is_wrong_with_it() {
    let harness = Harness::start().await;
    let token = harness.token("n1");
    let good = harness.report("n1", "high");
    let with = |field: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let mut foreign_type = good.clone();
    foreign_type["pods"][0]["cpu"]["band"] = json!("HIGH");
    let huge = format!("{{\"version\":2,\"x\":\"{}\"}}", "x".repeat(3 << 20));
    let table = [
        ("[".to_owned(), 400, "malformed"),
        ("{\"version\":2}".to_owned(), 400, "malformed"),
        (foreign_type.to_string(), 400, "malformed"),
        ("[".repeat(100_000), 400, "malformed"),
        (with("version", json!(4)), 400, "version"),
        (with("version", json!(1)), 400, "version"),
        (with("version", json!(0)), 400, "version"),
        (with("node", json!("n2")), 403, "other_node"),
        (with("boot", json!("b".repeat(100))), 422, "bad_report"),
        (with("capacity", json!({"cores": -1.0, "bytes": 1})), 422, "bad_report"),
        (huge, 413, "too_large"),
    ];
    for (body, code, reason) in table {
        let start: String = body.chars().take(60).collect();
        let reply = harness.post(&token, body).await;
        assert_eq!((reply.code, reply.json()["reason"].as_str()), (code, Some(reason)), "{start}: {reply:?}");
    }
    harness.assert_silent().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_sequence_that_does_not_rise_is_refused() {
    let harness = Harness::start().await;
    let (old, new) = (harness.report("n1", "low"), harness.report("n1", "low"));
    let token = harness.token("n1");
    assert_eq!(harness.post(&token, &new).await.code, 200);
    for repeated in [&old, &new] {
        let reply = harness.post(&token, repeated).await;
        assert_eq!((reply.code, reply.json()["reason"].as_str()), (409, Some("old_sequence")));
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_sequence_far_ahead_of_the_clock_is_refused_with_the_number_to_continue_from() {
    let harness = Harness::start().await;
    let token = harness.token("n1");
    let mut report = harness.report("n1", "low");
    report["seq"] = json!(1_u64 << 52);
    let reply = harness.post(&token, &report).await;
    assert_eq!((reply.code, reply.json()["reason"].as_str()), (409, Some("sequence_ahead")));
    report["seq"] = json!(reply.json()["continueFrom"].as_u64().unwrap() + 1);
    assert_eq!(harness.post(&token, &report).await.code, 200);
    harness.stop().await;
}

#[tokio::test]
async fn the_answer_holds_the_roster_of_the_node_and_the_pods_that_were_not_taken() {
    let harness = Harness::start().await;
    harness.api.store().create(&Resource::PODS, pod("shop", "other", "n2")).unwrap();
    harness.until("the pod", async || harness.get("/v1/pods/shop/other").await.code == 200).await;
    let mut report = harness.report("n1", "low");
    let entry = report["pods"][0].clone();
    for uid in [harness.uid("shop", "other"), "00000000-0000-4000-8000-000000000000".to_owned()] {
        let mut more = entry.clone();
        more["uid"] = json!(uid);
        report["pods"].as_array_mut().unwrap().push(more);
    }
    let token = harness.token("n1");
    let answer = harness.post(&token, report).await.json();
    let names: Vec<_> =
        answer["roster"].as_array().unwrap().iter().map(|pod| pod["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"web") && !names.contains(&"other"), "{answer}");
    let reasons: Vec<_> =
        answer["refused"].as_array().unwrap().iter().map(|pod| pod["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["foreign_pod", "unknown_pod"], "{answer}");

    let mut next = harness.report("n1", "low");
    next["rosterVersion"] = answer["rosterVersion"].clone();
    next["rosterProcess"] = answer["rosterProcess"].clone();
    let again = harness.post(&token, next).await.json();
    assert!(again["rosterVersion"].as_u64() >= answer["rosterVersion"].as_u64());
    assert!(again["roster"].as_array().unwrap().len() <= names.len());

    let mut of_another = harness.report("n1", "low");
    of_another["rosterVersion"] = again["rosterVersion"].clone();
    of_another["rosterProcess"] = json!("of the process before");
    let all = harness.post(&token, of_another).await.json();
    assert_eq!(all["roster"].as_array().unwrap().len(), names.len(), "{all}");
    harness.stop().await;
}
