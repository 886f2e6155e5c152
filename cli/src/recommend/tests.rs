//! What replicas need, the table, and the patch.

use std::sync::Arc;

use serde_json::{Value, from_value, json};

use super::need::why_not_known;
use super::*;
use crate::live::LiveSpec;
use crate::table::{SILENT_ABOUT_RESIZING, UNKNOWN_POD};

fn template(containers: Value) -> LiveSpec {
    let mut spec = json!({});
    spec["containers"] = containers;
    from_value(spec).unwrap()
}

fn replica(name: &str, live: Value, wanted: Value) -> Replica {
    let (live, wanted) = (from_value(live).unwrap(), from_value(wanted).unwrap());
    Replica { name: name.into(), live, wanted, not_known: None }
}

fn not_known(replica: Replica, why: &str) -> Replica {
    Replica { not_known: Some(why.into()), ..replica }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn web() -> (LiveSpec, Vec<Replica>) {
    let template = template(json!([
        {"name": "app", "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi", "nvidia.com/gpu": "1"},
            "limits": {"cpu": "500m", "memory": "256Mi", "nvidia.com/gpu": "1"}}},
        {"name": "proxy", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "bare"},
    ]));
    let size = |request: &str, limit: &str, memory: &str| {
        json!({
            "app": {
                "requests": {"cpu": request, "memory": memory, "nvidia.com/gpu": "1"},
                "limits": {"cpu": limit, "memory": memory, "nvidia.com/gpu": "1"}},
            "proxy": {"requests": {"cpu": "0.05"}},
            "bare": {"limits": {"cpu": "1"}},
        })
    };
    let replicas = vec![
        replica("web-a", size("300m", "890m", "268435456"), json!({})),
        replica("web-b", size("250m", "500m", "256Mi"), json!({"app": {"limits": {"memory": "384Mi"}}})),
        replica("web-c", size("400m", "900m", "256Mi"), json!({"app": {"limits": {"cpu": "600m"}}})),
    ];
    (template, replicas)
}

fn recommendation<'a>(
    target: &'a Target,
    template: &'a LiveSpec,
    replicas: &'a [Replica],
) -> Recommendation<'a> {
    let amounts = needs(template, None, replicas);
    Recommendation { namespace: "shop", target, template, made_by: None, amounts, replicas }
}

#[test]
fn the_largest_need_counts_and_what_is_wanted_replaces_what_is_there() {
    let (template, replicas) = web();
    let target = target("deployment/web");
    let expected = "\
CONTAINER  RESOURCE           TEMPLATE  LIVE          NEEDED  TAKEN FROM
app        cpu       request  250m      250m to 400m  400m    size of web-c
app        cpu       limit    500m      500m to 900m  890m    size of web-a
app        memory    request  256Mi     256Mi         384Mi   wanted for web-b
app        memory    limit    256Mi     256Mi         384Mi   wanted for web-b
proxy      cpu       request  50m       50m           50m     size of web-a
the template differs in 4 of 5; `-o patch` prints what changes it";
    assert_eq!(recommendation(&target, &template, &replicas).table().join("\n"), expected);
}

#[test]
fn the_patch_has_only_cpu_and_memory_that_differ_and_keeps_request_and_limit_equal() {
    let (template, replicas) = web();
    let target = target("deployment/web");
    let expected = "\
# what deployment/web in namespace shop needs; the largest of 3 replicas
#   app cpu request 250m -> 400m (size of web-c)
#   app cpu limit 500m -> 890m (size of web-a)
#   app memory request 256Mi -> 384Mi (wanted for web-b)
#   app memory limit 256Mi -> 384Mi (wanted for web-b)
# kubectl patch deployment/web -n shop --type strategic --patch-file FILE
spec:
  template:
    spec:
      containers:
        - name: \"app\"
          resources:
            requests:
              cpu: \"400m\"
              memory: \"384Mi\"
            limits:
              cpu: \"890m\"
              memory: \"384Mi\"
";
    assert_eq!(recommendation(&target, &template, &replicas).yaml(), expected);
    let document = include_str!("../../../docs/resizing-commands.md");
    let sample: String = expected.lines().map(|line| format!("    {line}\n")).collect();
    assert!(document.contains(&sample), "{sample}");
}

#[test]
fn a_template_that_fits_gets_a_patch_that_changes_nothing() {
    let template = template(json!([{"name": "app", "resources": {"limits": {"cpu": "1"}}}]));
    let replicas = [replica("db-0", json!({"app": {"limits": {"cpu": "1000m"}}}), json!({}))];
    let target = target("sts/db");
    let found = recommendation(&target, &template, &replicas);
    let expected =
        "# what statefulset/db in namespace shop needs; nothing to change in the template (1 replica)\n{}\n";
    assert_eq!(found.yaml(), expected);
    assert_eq!(found.table().last().unwrap(), "nothing to change in the template (1 replica)");
}

#[test]
fn a_container_that_no_replica_has_is_unknown_and_not_patched() {
    let template = template(json!([{"name": "new", "resources": {"requests": {"cpu": "1"}}}]));
    let target = target("deploy/web");
    let replicas = [replica("web-a", json!({"app": {"requests": {"cpu": "2"}}}), json!({}))];
    let found = recommendation(&target, &template, &replicas);
    let table = found.table();
    assert!(table[1].ends_with("1         -     -       no replica has it"), "{table:?}");
    assert_eq!(table[2], "what is needed of 1 of 1 is not known, and not changed");
    assert_eq!(found.patch(), json!({}));
}

#[test]
fn a_limit_is_never_below_a_request_that_another_replica_needs() {
    let template =
        template(json!([{"name": "app", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]));
    let size =
        |request: &str, limit: &str| json!({"app": {"requests": {"cpu": request}, "limits": {"cpu": limit}}});
    let replicas = [
        replica("a", size("3", "4"), json!({"app": {"limits": {"cpu": "2500m"}}})),
        replica("b", size("1", "2"), json!({})),
    ];
    let needs = needs(&template, None, &replicas);
    let amounts: Vec<_> = needs.iter().map(|amount| amount.needed.clone().unwrap().amount).collect();
    assert_eq!(amounts, ["3", "3"]);
}

#[test]
fn a_bare_pod_is_compared_with_the_size_that_it_was_created_with() {
    let live = json!({"app": {"requests": {"cpu": "890m"}}});
    let template = template(json!([{"name": "app", "resources": live["app"]}]));
    let original = from_value(json!({"app": {"requests": {"cpu": "250m"}}})).unwrap();
    let replicas = [replica("solo", live, json!({}))];
    let target = target("solo");
    let amounts = needs(&template, Some(&original), &replicas);
    let found = Recommendation { amounts, ..recommendation(&target, &template, &replicas) };
    let yaml = found.yaml();
    assert!(yaml.contains("app cpu request 250m -> 890m (size of solo)"), "{yaml}");
    assert!(yaml.contains("kubectl patch pod solo -n shop --subresource resize --type strategic"), "{yaml}");
    assert_eq!(found.patch()["spec"]["containers"][0]["resources"], json!({"requests": {"cpu": "890m"}}));
}

#[test]
fn a_need_that_is_not_known_is_said_and_claims_no_fit() {
    let template = template(json!([{"name": "app", "resources": {"limits": {"cpu": "1"}}}]));
    let size = json!({"app": {"limits": {"cpu": "1"}}});
    let replicas: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| not_known(replica(name, size.clone(), json!({})), "the node has no room"))
        .into_iter()
        .chain([
            replica("e", size.clone(), json!({"app": {"limits": {"cpu": "2"}}})),
            not_known(replica("f", size.clone(), json!({})), "it is not running yet"),
        ])
        .collect();
    let target = target("deploy/web");
    let found = recommendation(&target, &template, &replicas);
    let lines = [
        "not known, so its size is taken: f: it is not running yet",
        "not known, so its size is taken: a, b, c and 1 more: the node has no room",
    ];
    assert_eq!(found.table()[2..4], lines);
    let yaml = found.yaml();
    assert!(yaml.contains(&format!("# {}\n# {}\n# kubectl patch", lines[0], lines[1])), "{yaml}");
    assert_eq!(found.json()["notKnown"][0], json!({"pod": "a", "why": "the node has no room"}));
}

#[test]
fn what_is_not_known_of_a_pod_is_why() {
    let pod = |fields: Value| {
        let mut pod = json!({
            "namespace": "shop", "name": "web", "uid": "u", "cpu": {"band": "low"}, "memory": {"band": "low"}, "labeled": {},
        });
        pod.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        why_not_known(Some(&from_value(pod).unwrap())).unwrap_or_default()
    };
    let resize = |fields: Value| {
        let mut resize = json!({"mode": "Apply", "state": "idle", "containers": []});
        resize.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        pod(json!({"class": "gold", "resize": resize}))
    };
    assert_eq!(resize(json!({})), "", "it fits");
    let wanted = json!({"app": {"limits": {"cpu": "1"}}});
    assert_eq!(resize(json!({"refused": "its quota has no room", "wanted": wanted})), "");
    assert_eq!(resize(json!({"refused": "its node is silent"})), "its node is silent");
    assert_eq!(resize(json!({"state": "reverting"})), "a resize of it is being taken back");
    assert_eq!(pod(json!({"class": "gold"})), SILENT_ABOUT_RESIZING);
    assert_eq!(pod(json!({})), "no SLA class applies (label plimsoll.dev/sla)");
    assert_eq!(pod(json!({"leftAlone": "pod_ignored"})), "ignored by its label");
    assert_eq!(why_not_known(None).as_deref(), Some(UNKNOWN_POD));
}

#[test]
fn a_limit_that_only_replicas_have_may_be_below_the_new_request() {
    let template = template(json!([{"name": "app", "resources": {"requests": {"cpu": "250m"}}}]));
    let live = json!({"app": {"requests": {"cpu": "600m"}, "limits": {"cpu": "1"}}});
    let replicas = [replica("a", live, json!({}))];
    let target = target("deploy/web");
    let yaml = recommendation(&target, &template, &replicas).yaml();
    assert!(
        yaml.contains("# app cpu: the template sets no limit and replicas have one, up to 1: a LimitRange"),
        "{yaml}"
    );
    let both = template_with_limit();
    let yaml = recommendation(&target, &both, &replicas).yaml();
    assert!(!yaml.contains("LimitRange"), "{yaml}");
}

fn template_with_limit() -> LiveSpec {
    template(json!([{"name": "app", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}}}]))
}

#[test]
fn a_workload_that_another_one_makes_is_not_to_be_patched() {
    let template = template_with_limit();
    let replicas =
        [replica("a", json!({"app": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}), json!({}))];
    let target = target("sts/pg");
    let found =
        Recommendation { made_by: Some("cluster/pg"), ..recommendation(&target, &template, &replicas) };
    let yaml = found.yaml();
    assert!(
        yaml.contains("# made by cluster/pg, which undoes a change of this template")
            && !yaml.contains("kubectl"),
        "{yaml}"
    );
}

/// An API server with a StatefulSet and a Deployment, and its aggregator.
fn client(pods: Vec<Value>) -> Client {
    let pods = Arc::new(pods);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let pods = Arc::clone(&pods);
        async move {
            let list =
                |items: Value| json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
            let path = request.uri().path();
            let (code, answer) = match path {
                "/apis/apps/v1/namespaces/shop/statefulsets/db" => (
                    200,
                    json!({"metadata": {"uid": "db"}, "spec": {
                        "selector": {"matchLabels": {"app": "db"}},
                        "template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1"}}}]}}}}),
                ),
                "/apis/apps/v1/namespaces/shop/deployments/web" => (
                    200,
                    json!({"metadata": {"uid": "web", "annotations": {"deployment.kubernetes.io/revision": "2"}}, "spec": {
                        "selector": {"matchLabels": {"app": "web"}},
                        "template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1"}}}]}}}}),
                ),
                "/apis/apps/v1/namespaces/shop/replicasets/web-old" => (
                    200,
                    json!({"metadata": {"uid": "web-1", "ownerReferences": [owner("Deployment", "web", "web")]}, "spec": {
                        "selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": []}}}}),
                ),
                "/apis/apps/v1/namespaces/shop/replicasets" => {
                    let set = |revision: &str| {
                        json!({"metadata": {
                        "name": format!("web-{revision}"), "uid": format!("web-{revision}"),
                        "annotations": {"deployment.kubernetes.io/revision": revision},
                        "ownerReferences": [owner("Deployment", "web", "web")]}})
                    };
                    (200, list(json!([set("1"), set("2")])))
                }
                "/api/v1/namespaces/shop/pods" => (200, list(json!(*pods))),
                path if path.ends_with("/proxy/v1/pods") => (
                    200,
                    json!([{
                        "namespace": "shop", "name": "db-0", "uid": "uid of db-0", "cpu": {"band": "high"}, "memory": {"band": "low"},
                        "labeled": {}, "class": "gold",
                        "resize": {"mode": "Apply", "state": "idle", "containers": [], "wanted": {"app": {"limits": {"cpu": "1500m"}}}},
                    }]),
                ),
                _ => (404, json!({"kind": "Status", "status": "Failure", "message": "no", "code": 404})),
            };
            http::Response::builder()
                .status(code)
                .body(kube::client::Body::from(answer.to_string().into_bytes()))
        }
    });
    Client::new(service, "shop")
}

async fn recommended(pods: Vec<Value>, target: &str) -> Result<Value, String> {
    let client = client(pods);
    let args = RecommendArgs {
        target: target.parse().unwrap(),
        namespace: None,
        output: RecommendFormat::Json,
        url: None,
    };
    let mut out = Vec::new();
    let source = Source::proxied(client.clone());
    run(&client, &source, &args, &mut out).await.map_err(|error| format!("{error:#}"))?;
    Ok(serde_json::from_slice(&out).unwrap())
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
}

fn pod_of(name: &str, controller: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid of {name}"),
            "ownerReferences": [owner("StatefulSet", "db", controller)]},
        "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1200m"}}}]},
    })
}

#[tokio::test]
async fn the_replicas_are_those_of_the_controller_and_the_aggregator_says_what_is_wanted() {
    let json = recommended(vec![pod_of("db-0", "db"), pod_of("foreign", "another")], "statefulset/db")
        .await
        .unwrap();
    assert_eq!((&json["replicas"], &json["workload"]), (&json!(1), &json!("statefulset/db")));
    let needed = json!({"amount": "1500m", "pod": "db-0", "wanted": true});
    assert_eq!(json["amounts"][0]["needed"], needed);
    let containers = &json["patch"]["spec"]["template"]["spec"]["containers"];
    assert_eq!(*containers, json!([{"name": "app", "resources": {"limits": {"cpu": "1500m"}}}]));
}

#[tokio::test]
async fn without_a_replica_nothing_is_recommended() {
    let error = recommended(vec![pod_of("foreign", "another")], "statefulset/db").await.unwrap_err();
    assert!(error.contains("statefulset/db in namespace shop has no running replica"), "{error}");
    let error = recommended(vec![], "daemonset/web").await.unwrap_err();
    assert!(error.contains("there is no daemonset/web in namespace shop"), "{error}");
}

#[tokio::test]
async fn replicas_of_an_older_template_do_not_count() {
    let json =
        recommended(vec![pod_of("old", "web-1"), pod_of("new", "web-2")], "deployment/web").await.unwrap();
    assert_eq!((&json["replicas"], &json["amounts"][0]["needed"]["pod"]), (&json!(1), &json!("new")));
    let error = recommended(vec![pod_of("old", "web-1")], "deployment/web").await.unwrap_err();
    assert!(error.contains("no replica of its current template, only 1 of older ones"), "{error}");
}

#[tokio::test]
async fn the_replica_set_of_a_deployment_is_not_to_be_patched() {
    let error = recommended(vec![], "rs/web-old").await.unwrap_err();
    assert!(
        error.contains("made by deployment/web")
            && error.contains("`plimsoll recommend deployment/web -n shop`"),
        "{error}"
    );
}

#[tokio::test]
async fn where_nothing_is_known_and_nothing_differs_that_is_an_error() {
    let mut pod = pod_of("db-1", "db");
    pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("1000m");
    let error = recommended(vec![pod], "statefulset/db").await.unwrap_err();
    let expected = "what statefulset/db in namespace shop needs is not known:\nnot known, so its size is taken: db-1: the aggregator does not know it";
    assert!(error.contains(expected), "{error}");
}
