//! Projected files.

use std::fs;

use super::*;

#[tokio::test]
async fn the_files_of_a_config_map_follow_its_changes() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let directory = cluster.directory.path().join("ca");
    cluster.kubelet.project_config_map("default", "plimsoll-ca", &directory).unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "empty before the ConfigMap exists");
    let object =
        |data: Value| json!({"metadata": {"namespace": "default", "name": "plimsoll-ca"}, "data": data});
    let until = |name: &str, content: Option<&str>| {
        wait_for(|| fs::read_to_string(directory.join(name)).ok(), |now| now.as_deref() == content);
    };
    cluster.store().create(&Resource::CONFIG_MAPS, object(json!({"ca.crt": "one", "../out": "x"}))).unwrap();
    until("ca.crt", Some("one"));
    assert!(!cluster.directory.path().join("out").exists(), "a key is a name, not a path");
    cluster
        .store()
        .update(
            &Resource::CONFIG_MAPS,
            object(json!({"ca.crt": "two", "next.crt": "three"})),
            &Write::default(),
        )
        .unwrap();
    until("ca.crt", Some("two"));
    until("next.crt", Some("three"));
    cluster
        .store()
        .update(&Resource::CONFIG_MAPS, object(json!({"ca.crt": "two"})), &Write::default())
        .unwrap();
    until("next.crt", None);
}

#[tokio::test]
async fn a_token_is_bound_to_its_pod_and_renewed() {
    let cluster = Cluster::start(ResizeBehavior::Immediate).await;
    let path = cluster.directory.path().join("token/token");
    let file = TokenFile {
        namespace: "default".into(),
        account: "agent".into(),
        pod: "agent".into(),
        audience: "plimsoll-aggregator".into(),
        ttl: Duration::from_secs(10),
        path: path.clone(),
    };
    cluster.kubelet.project_token(file).unwrap();
    assert!(!path.exists(), "no token without the pod");
    let pod = cluster.run("agent", &json!({}));
    let token = || fs::read_to_string(&path).ok();
    let first = wait_for(token, Option::is_some);
    let claims = claims_of(&first);
    assert_eq!(claims["kubernetes.io"]["pod"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(claims["aud"], json!(["plimsoll-aggregator"]));
    let second = wait_for(token, |now| *now != first);
    assert!(claims_of(&second)["iat"].as_i64() < claims["exp"].as_i64(), "renewed before it expires");
}

fn claims_of(token: &Option<String>) -> Value {
    let claims = token.as_ref().unwrap().split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    serde_json::from_slice(&claims).unwrap()
}
