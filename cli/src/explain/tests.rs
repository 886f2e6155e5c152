//! The text as a person reads it.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use plimsoll_contract::status::PodStatus;
use serde_json::{Value, json};

use super::*;
use crate::args::ClusterArgs;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn bare() -> Value {
    json!({
        "namespace": "shop", "name": "web-0", "uid": "u", "node": "n1",
        "cpu": {
            "band": "high", "basis": "limit", "utilization": 0.9, "usage": 0.45, "of": 0.5, "container": "app",
            "since": "2026-01-01T11:59:48Z",
            "cause": {"rule": "burst", "seconds": 8.0, "usage": 0.498, "basis": "limit", "of": 0.5, "container": "app", "boundBy": "limit"},
        },
        "memory": {"band": "unknown", "reason": "no_controller"},
        "labeled": {"cpu": "low"},
    })
}

fn resized() -> Value {
    let mut pod = bare();
    pod["class"] = json!("gold");
    pod["resize"] = json!({
        "mode": "Apply", "state": "planned",
        "containers": [{
            "name": "app",
            "spec": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m"}},
            "allocated": {"requests": {"cpu": "250m", "memory": "268435456"}},
            "actual": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}},
            "kernelCpu": 0.5, "cpuUse": 0.45, "memoryUse": 134_217_728_u64,
        }],
        "wanted": {"app": {"limits": {"cpu": "890m"}}},
        "why": ["app cpu: 0.356 / 0.40 = 890m"],
        "original": {"app": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}},
        "last": {
            "at": "2026-01-01T11:57:00Z", "reason": "grow", "class": "gold",
            "from": {"app": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}},
            "to": {"app": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}}},
            "why": "app +300m (200->500): U 0.45",
        },
    });
    pod
}

fn text(pod: Value) -> String {
    let pod: PodStatus = serde_json::from_value(pod).unwrap();
    render::lines(&pod, now()).join("\n")
}

#[test]
fn a_pod_is_explained_with_every_number_and_its_basis() {
    let expected = "\
pod shop/web-0, node n1, class gold (Apply), planned
cpu:    high for 12s, because of burst, 498m of limit 500m for 8 s (app), bound by limit; now 450m, 90% of limit 500m (app); the label says low
memory: unknown: the node does not account for it

CONTAINER  RESOURCE           ASKED  ALLOCATED  RUNTIME  KERNEL  IN USE
app        cpu       request  250m   250m       250m     -       450m, 180% of request
app        cpu       limit    500m   -          500m     500m    450m, 90% of limit
app        memory    request  256Mi  256Mi      -        -       128Mi, 50% of request
app        memory    limit    -      -          -        -       128Mi
ASKED: the spec. ALLOCATED: set aside by the kubelet. RUNTIME: enforced, says the container runtime. KERNEL: the limit in the cgroup. -: not set, or not known. IN USE: cpu is the larger of the p95 of 30 s and the mean of 3 s; memory is what the kernel cannot reclaim.

wanted: app cpu limit 500m -> 890m
  why: app cpu: 0.356 / 0.40 = 890m
last resize: grow 3m ago as gold: app cpu request 100m -> 250m, app cpu limit 200m -> 500m
  why: app +300m (200->500): U 0.45
before the first resize: app cpu request 100m, app cpu limit 200m; `plimsoll undo web-0 -n shop` restores it";
    assert_eq!(text(resized()), expected);
}

/// The sample in the documentation.
#[test]
fn the_documented_sample_is_what_is_printed() {
    let sample: String =
        text(resized()).lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
    let document = include_str!("../../../docs/resizing-commands.md");
    assert!(document.contains(&sample), "{sample}");
}

#[test]
fn what_keeps_a_pod_from_being_resized_is_said_with_the_cure() {
    let no_class = text(bare());
    assert!(
        no_class.contains("no class") && no_class.contains("Set the label plimsoll.dev/sla=gold"),
        "{no_class}"
    );
    let mut off = bare();
    off["class"] = json!("gold");
    let off = text(off);
    assert!(
        off.contains("class gold applies, but the aggregator says nothing") && off.contains("--resize"),
        "{off}"
    );
    let mut refused = resized();
    refused["resize"]["refused"] = json!("HorizontalPodAutoscaler web uses its request");
    refused["resize"]["refusal"] = json!("autoscaled");
    refused["resize"]["wanted"] = json!({});
    let refused = text(refused);
    let said = "not resized: HorizontalPodAutoscaler web uses its request (autoscaled)\n  cure: let the HorizontalPodAutoscaler use another metric";
    assert!(refused.contains(said) && refused.contains("\nwanted: nothing\n"), "{refused}");
    assert!(!refused.contains("dry run"), "nothing was asked: {refused}");
}

#[test]
fn a_recommendation_is_not_taken_for_a_write_and_an_open_question_not_for_consent() {
    let mut pod = resized();
    pod["resize"]["mode"] = json!("Recommend");
    let asked = text(pod.clone());
    assert!(asked.contains("the class only recommends, so nothing is written"), "{asked}");
    assert!(asked.contains("the API server (dry run): not asked yet"), "{asked}");
    pod["resize"]["verdict"] = json!("accepted");
    let answered = text(pod);
    assert!(answered.contains("the API server (dry run): accepted"), "{answered}");
}

#[test]
fn a_resize_that_is_under_way_is_shown_by_its_state_and_a_class_that_does_not_exist_without_a_mode() {
    let mut pod = resized();
    (pod["resize"]["state"], pod["resize"]["wanted"]) = (json!("deferred"), json!({}));
    let deferred = text(pod.clone());
    assert!(deferred.contains("\nwanted: nothing more; a resize is deferred\n"), "{deferred}");
    (pod["class"], pod["resize"]["mode"], pod["resize"]["state"]) = (json!("glod"), json!(""), json!("idle"));
    let unknown = text(pod);
    assert!(unknown.starts_with("pod shop/web-0, node n1, class glod, idle\n"), "{unknown}");
}

#[test]
fn what_is_not_known_is_never_zero_and_nothing_controls_the_terminal() {
    let mut pod = resized();
    pod["resize"]["containers"] =
        json!([{"name": "app\u{1b}[2J", "spec": {"limits": {"cpu": "0"}}, "cpuUse": 0.1}]);
    pod["resize"]["why"] = json!(["\u{1b}[31m"]);
    let text = text(pod);
    assert!(!text.contains('\u{1b}') && !text.contains("inf") && !text.contains("NaN"), "{text}");
    assert!(text.contains("app\\u{1b}[2J  cpu       limit    0"), "{text}");
}

/// An aggregator behind the service proxy that knows one pod.
fn client() -> Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let path = request.uri().path();
        let base = "/api/v1/namespaces/plimsoll-system/services/plimsoll-aggregator-http:9619/proxy/v1/pods/";
        let (code, body) = match path.strip_prefix(base) {
            Some("shop/web-0") => (200, resized()),
            Some("gone/web-0") => {
                (404, json!({"kind": "Status", "message": "services not found", "code": 404}))
            }
            Some(_) => (404, json!({"error": "there is no pod", "hint": "GET /v1/pods"})),
            None => panic!("{path}"),
        };
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))
    });
    Client::new(service, "shop")
}

async fn explained(words: &[&str]) -> Result<String, String> {
    let typed = ["plimsoll", "explain"].into_iter().chain(words.iter().copied());
    let crate::args::Command::Explain(args) =
        <crate::args::Args as clap::Parser>::try_parse_from(typed).unwrap().command
    else {
        panic!("another command")
    };
    let mut out = Vec::new();
    run(&Source::proxied(client()), &args, &mut out).await.map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn the_namespace_is_that_of_the_context_and_json_is_the_document() {
    assert!(explained(&["web-0"]).await.unwrap().starts_with("pod shop/web-0, node n1"));
    let json: Value = serde_json::from_str(&explained(&["pod/web-0", "-o", "json"]).await.unwrap()).unwrap();
    assert_eq!(json["resize"]["wanted"], resized()["resize"]["wanted"]);
}

#[tokio::test]
async fn an_unknown_pod_is_told_from_a_missing_aggregator() {
    let error = explained(&["web-1"]).await.unwrap_err();
    assert!(
        error.contains("knows no pod shop/web-1") && error.contains("kubectl get pod -n shop web-1"),
        "{error}"
    );
    let error = explained(&["web-0", "-n", "gone"]).await.unwrap_err();
    assert!(error.contains("is Plimsoll installed here?"), "{error}");
    let error = explained(&["deploy/web"]).await.unwrap_err();
    assert!(error.contains("plimsoll recommend deployment/web"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_cannot_be_found_is_named() {
    let cluster = ClusterArgs { kubeconfig: Some("no/such/file".into()), context: None };
    let error = Source::new(&cluster, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no/such/file"), "{error}");
}
