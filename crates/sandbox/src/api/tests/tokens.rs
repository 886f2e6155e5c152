//! Tokens over HTTPS: requests, reviews with audiences, bound pods, rejections, keys.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::{pod, server};
use crate::api::{ApiServer, BoundPod, Fault, Matching, Resource};

const OURS: &str = "plimsoll-aggregator";

async fn review(client: &Client, token: &str, audiences: &Value) -> Reply {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    client.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &body).await
}

fn bound(server: &ApiServer) -> BoundPod {
    server.store().create(&Resource::NODES, json!({"metadata": {"name": "n1"}})).unwrap();
    let pod = server.store().create(&Resource::PODS, pod("agent-1", &json!({}))).unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    BoundPod { name: "agent-1".to_owned(), uid, node: "n1".to_owned() }
}

#[tokio::test]
async fn a_review_echoes_our_audience_and_names_account_pod_and_node() {
    let server = server().await;
    let (client, pod) = (Client::admin(&server), bound(&server));
    let token = server.token_for("default", "agent", Some(pod.clone()), &[OURS], Duration::from_secs(600));
    let reply = review(&client, &token, &json!([OURS, "else"])).await;
    assert_eq!(reply.code, 201);
    let status = &reply.body["status"];
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([OURS])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:agent");
    let extra = |key: &str| status["user"]["extra"][format!("authentication.kubernetes.io/{key}")].clone();
    let node = server.store().get(&Resource::NODES, "", "n1").unwrap();
    assert_eq!(extra("pod-name"), json!(["agent-1"]));
    assert_eq!(extra("pod-uid"), json!([pod.uid]));
    assert_eq!(extra("node-name"), json!(["n1"]));
    assert_eq!(extra("node-uid"), json!([node["metadata"]["uid"]]));
    assert!(extra("credential-id")[0].as_str().unwrap().starts_with("JTI="));
}

#[tokio::test]
async fn another_audience_an_unknown_token_an_expired_one_and_a_deleted_pod_are_not_authenticated() {
    let server = server().await;
    let (client, pod) = (Client::admin(&server), bound(&server));
    let token = server.token_for("default", "agent", Some(pod), &[OURS], Duration::from_secs(600));
    let expired = server.token_for("default", "agent", None, &[OURS], Duration::ZERO);
    for (token, audience) in [(token.as_str(), "else"), ("made-up", OURS), (expired.as_str(), OURS)] {
        let reply = review(&client, token, &json!([audience])).await;
        assert_eq!(reply.body["status"].get("authenticated"), None, "{token} for {audience}");
        assert!(!reply.body["status"]["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(review(&client, &token, &json!([OURS])).await.body["status"]["authenticated"], true);
    server.store().delete(&Resource::PODS, "default", "agent-1").unwrap();
    assert_eq!(review(&client, &token, &json!([OURS])).await.body["status"].get("authenticated"), None);
}

#[tokio::test]
async fn only_tokens_for_the_api_server_are_accepted_and_the_journal_names_their_user() {
    let server = server().await;
    let own = server.token_for("kube-system", "controller", None, &[], Duration::from_secs(600));
    let foreign = server.token_for("kube-system", "controller", None, &[OURS], Duration::from_secs(600));
    for (token, code) in [(own.as_str(), 200), (foreign.as_str(), 401), ("made-up", 401)] {
        assert_eq!(Client::with_token(&server, token).get("/api/v1/pods").await.code, code);
    }
    let users: Vec<String> = server.journal().entries().into_iter().map(|entry| entry.user).collect();
    assert_eq!(users, ["system:serviceaccount:kube-system:controller", "", ""]);
}

#[tokio::test]
async fn a_token_request_answers_a_token_that_is_bound_to_the_pod() {
    let server = server().await;
    let (client, pod) = (Client::admin(&server), bound(&server));
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let reference = |uid: &str| json!({"kind": "Pod", "apiVersion": "v1", "name": "agent-1", "uid": uid});
    let body = |uid: &str| json!({"spec": {"audiences": [OURS], "expirationSeconds": 600, "boundObjectRef": reference(uid)}});
    assert_eq!(client.send("POST", path, &body("bbb")).await.code, 409);
    let reply = client.send("POST", path, &body(&pod.uid)).await;
    assert_eq!(reply.code, 201);
    let token = reply.body["status"]["token"].as_str().unwrap();
    let reviewed = review(&client, token, &json!([OURS])).await;
    assert_eq!(reviewed.body["status"]["user"]["username"], "system:serviceaccount:default:default");
    let missing = "/api/v1/namespaces/default/serviceaccounts/nobody/token";
    assert_eq!(client.send("POST", missing, &body(&pod.uid)).await.code, 404);
}

#[tokio::test]
async fn a_token_is_signed_with_a_served_key_also_after_a_rotation_and_the_paths_can_fail() {
    let server = server().await;
    let client = Client::admin(&server);
    let keys = async || {
        let reply = client.get("/openid/v1/jwks").await;
        assert_eq!(reply.code, 200);
        reply.body["keys"].as_array().unwrap().clone()
    };
    let check = async |count: usize| {
        let token = server.token_for("default", "agent", None, &[OURS], Duration::from_secs(600));
        let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let header: Value = serde_json::from_slice(&parts[0]).unwrap();
        let served = keys().await;
        assert_eq!(served.len(), count);
        let key = served.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let verified =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &parts[2]);
        assert_eq!((&header["alg"], verified), (&json!("ES256"), Ok(())));
        let claims: Value = serde_json::from_slice(&parts[1]).unwrap();
        let discovery = client.get("/.well-known/openid-configuration").await.body;
        assert_eq!(discovery["issuer"], claims["iss"]);
    };
    check(1).await;
    server.rotate_token_keys(true).unwrap();
    check(2).await;
    server.rotate_token_keys(false).unwrap();
    check(1).await;
    let fault = Fault::Answer { code: 404, retry_after: None };
    server.faults().next(1, Matching::any().path("/openid/v1/jwks"), fault);
    assert_eq!(client.get("/api/v1/pods").await.code, 200);
    assert_eq!(client.get("/openid/v1/jwks").await.code, 404);
    check(1).await;
}
