//! Projected files.

use std::fs;

use super::*;

#[tokio::test]
async fn a_config_map_becomes_files_that_follow_it() {
    let cluster = Cluster::start(Manner::AtOnce).await;
    let directory = cluster.directory.path().join("ca");
    cluster.kubelet.project_config_map("default", "plimsoll-ca", &directory).unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "optional: empty before it exists");
    let object =
        |data: Value| json!({"metadata": {"namespace": "default", "name": "plimsoll-ca"}, "data": data});
    let until = |name: &str, content: Option<&str>| {
        let is = || fs::read_to_string(directory.join(name)).ok().as_deref() == content;
        assert!(eventually(is), "{name} is not {content:?}");
    };
    cluster.store().create(&Resource::CONFIG_MAPS, object(json!({"ca.crt": "one", "../out": "x"}))).unwrap();
    until("ca.crt", Some("one"));
    assert!(!cluster.directory.path().join("out").exists(), "a key is a name, not a path");
    cluster
        .store()
        .update(&Resource::CONFIG_MAPS, object(json!({"ca.crt": "two", "next.crt": "three"})))
        .unwrap();
    until("ca.crt", Some("two"));
    until("next.crt", Some("three"));
    cluster.store().update(&Resource::CONFIG_MAPS, object(json!({"ca.crt": "two"}))).unwrap();
    until("next.crt", None);
}

#[tokio::test]
async fn a_token_is_bound_to_its_pod_and_renewed() {
    let cluster = Cluster::start(Manner::AtOnce).await;
    let path = cluster.directory.path().join("token/token");
    let file = TokenFile {
        namespace: "default".into(),
        account: "agent".into(),
        pod: "agent".into(),
        audience: "plimsoll-aggregator".into(),
        ttl: Duration::from_millis(500),
        path: path.clone(),
    };
    cluster.kubelet.project_token(file).unwrap();
    assert!(!path.exists(), "no pod, no token");
    let pod = cluster.run("agent", &json!({}));
    assert!(eventually(|| path.exists()), "a pod, a token");
    let first = fs::read_to_string(&path).unwrap();
    let claims = first.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["kubernetes.io"]["pod"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(claims["aud"], json!(["plimsoll-aggregator"]));
    assert!(eventually(|| fs::read_to_string(&path).unwrap() != first), "it is renewed");
}
