//! Pages, formats and changes, against a small API server that records its requests.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::runtime::watcher::Event;
use plimsoll_objects::Object;
use serde_json::{Value, json};

use super::render::all;
use super::watch::Printer;
use super::*;
use crate::args::Output;

/// A list of `count` pods in pages; the token of page n is `n`. Request number `expire` is answered 410.
fn server(count: usize, expire: Option<usize>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&journal);
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let accept = request.headers()["accept"].to_str().unwrap().to_owned();
        assert!(accept.contains("PartialObjectMetadataList"), "specs must not cross the wire: {accept}");
        let mut seen = seen.lock().unwrap();
        seen.push(format!("{} {}?{query}", request.method(), request.uri().path()));
        let gone = expire == Some(seen.len());
        let page: usize =
            query.split('&').find_map(|p| p.strip_prefix("continue=")).map_or(0, |t| t.parse().unwrap());
        async move {
            let (status, body) =
                if gone { (StatusCode::GONE, expired()) } else { (StatusCode::OK, list(count, page)) };
            Response::builder().status(status).body(Body::from(body.to_string().into_bytes()))
        }
    });
    (Client::new(service, "default"), journal)
}

fn expired() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "message": "too old", "code": 410})
}

fn list(count: usize, page: usize) -> Value {
    let here = (page * 500)..((page + 1) * 500).min(count);
    let items: Vec<_> =
        here.clone().map(|n| meta(&format!("p{n:05}"), &json!({"n": n.to_string()}))).collect();
    let token = if here.end < count { (page + 1).to_string() } else { String::new() };
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1", "continue": token}, "items": items,
    })
}

fn meta(name: &str, labels: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"namespace": "shop", "name": name, "labels": labels},
    })
}

async fn printed(client: &Client, args: &LabelsArgs) -> anyhow::Result<String> {
    let mut out = Vec::new();
    run(client, args, &mut out).await?;
    Ok(String::from_utf8(out)?)
}

fn pod_object(meta: &Value) -> Object<LabeledPod> {
    serde_json::from_str(&meta.to_string()).unwrap()
}

/// A pod whose labels are none.
fn unreadable(name: &str) -> Value {
    meta(name, &json!({"band": ["s3cr3t"]}))
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_named_on_stderr_and_the_others_are_shown() {
    let mut odd = meta("year-10000", &json!({"band": "high"}));
    odd["metadata"]["managedFields"] = json!([{"manager": "m", "time": "10000-01-01T23:58:59Z"}]);
    let items = [meta("web", &json!({"band": "low"})), odd, unreadable("odd\u{1b}[2J"), json!(5)];
    let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items});
    let service = tower::service_fn(move |_: Request<Body>| {
        let body = Body::from(list.to_string().into_bytes());
        async move { Ok::<_, io::Error>(Response::new(body)) }
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    print(&Client::new(service, "default"), &LabelsArgs::default(), &mut out, &mut err).await.unwrap();
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert!(out.contains("web         band=low") && out.contains("year-10000  band=high"), "{out}");
    let expected = "\
plimsoll: pod shop/odd\\u{1b}[2J cannot be read (metadata.labels.band: invalid type: sequence, expected a string); it is left out
plimsoll: pod / cannot be read (.: invalid type: integer, expected struct LabeledPod); it is left out
";
    assert_eq!(err, expected);
}

#[tokio::test]
async fn every_pod_is_listed_with_one_request_per_page_and_none_per_pod() {
    let (client, journal) = server(1201, None);
    let text = printed(&client, &LabelsArgs::default()).await.unwrap();
    assert_eq!(text.lines().count(), 1202);
    assert!(text.lines().skip(1).is_sorted());
    let requests = journal.lock().unwrap().clone();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(
        requests.iter().all(|r| r.starts_with("GET /api/v1/pods?") && r.contains("limit=500")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_list_whose_token_expired_is_restarted() {
    let (client, journal) = server(700, Some(2));
    assert_eq!(printed(&client, &LabelsArgs::default()).await.unwrap().lines().count(), 701);
    assert_eq!(journal.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn namespace_and_selector_are_sent_to_the_server() {
    let (client, journal) = server(1, None);
    let args =
        LabelsArgs { namespace: Some("shop".into()), selector: Some("a=b".into()), ..LabelsArgs::default() };
    printed(&client, &args).await.unwrap();
    let request = journal.lock().unwrap()[0].clone();
    assert!(
        request.starts_with("GET /api/v1/namespaces/shop/pods?") && request.contains("labelSelector=a%3Db"),
        "{request}"
    );
}

#[tokio::test]
async fn without_the_right_to_list_both_modes_fail_with_the_remedy() {
    let forbidden = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "pods is forbidden: User \"u\" cannot list resource \"pods\"",
    });
    let service = tower::service_fn(move |_: Request<Body>| {
        let body = Body::from(forbidden.to_string().into_bytes());
        async move { Response::builder().status(StatusCode::FORBIDDEN).body(body) }
    });
    let client = Client::new(service, "default");
    for watch in [false, true] {
        let failure =
            printed(&client, &LabelsArgs { watch, ..LabelsArgs::default() }).await.unwrap_err().to_string();
        assert!(failure.contains("cannot list") && failure.contains("`list pods`"), "{failure}");
    }
}

fn pods() -> PodLabels {
    let labels =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    PodLabels::from([
        (("shop".into(), "web".into()), labels(&[("app", "web"), ("plimsoll.dev/cpu-band", "high")])),
        (("lab".into(), "bare".into()), labels(&[])),
        (("lab".into(), "odd\u{1b}[2J".into()), labels(&[("a,\"b\"", "x\ny")])),
    ])
}

fn rendered(output: Output) -> String {
    let mut out = Vec::new();
    all(&pods(), output, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_is_sorted_aligned_and_escaped() {
    let expected = "\
NAMESPACE  POD           LABELS
lab        bare          <none>
lab        odd\\u{1b}[2J  a,\"b\"=x\\ny
shop       web           app=web,plimsoll.dev/cpu-band=high
";
    assert_eq!(rendered(Output::Table), expected);
}

#[test]
fn csv_is_quoted_and_includes_pods_without_labels() {
    let expected = "\
namespace,pod,label,value\r
lab,bare,,\r
lab,odd\\u{1b}[2J,\"a,\"\"b\"\"\",x\\ny\r
shop,web,app,web\r
shop,web,plimsoll.dev/cpu-band,high\r
";
    assert_eq!(rendered(Output::Csv), expected);
}

#[test]
fn json_is_one_array_that_can_be_parsed() {
    let read: Value = serde_json::from_str(&rendered(Output::Json)).unwrap();
    assert_eq!(read.as_array().unwrap().len(), 3);
    assert_eq!(read[1]["name"], "odd\u{1b}[2J");
    assert_eq!(
        read[2],
        json!({"namespace": "shop", "name": "web", "labels": {"app": "web", "plimsoll.dev/cpu-band": "high"}})
    );
}

#[test]
fn a_watch_prints_changes_and_is_silent_when_nothing_changed() {
    let pod = |name: &str, value: &str| pod_object(&meta(name, &json!({"band": value})));
    let mut printer = Printer::new(Output::Table);
    let mut named = Vec::new();
    let mut handle = |event| {
        let mut out = Vec::new();
        printer.handle(event, &mut out, &mut named).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert!(handle(Event::Init).is_empty());
    assert!(handle(Event::InitApply(pod("web", "low"))).is_empty());
    assert!(handle(Event::InitApply(pod("old", "low"))).is_empty());
    assert_eq!(
        handle(Event::InitDone),
        ["EVENT NAMESPACE POD LABELS", "added shop old band=low", "added shop web band=low"]
    );
    assert!(handle(Event::Apply(pod("web", "low"))).is_empty());
    assert_eq!(handle(Event::Apply(pod("web", "high"))), ["changed shop web band=high"]);
    assert_eq!(handle(Event::Apply(pod("new", "low"))), ["added shop new band=low"]);
    assert_eq!(handle(Event::Delete(pod("new", "low"))), ["deleted shop new band=low"]);
    // The watch restarts: only the differences are printed.
    assert!(handle(Event::Init).is_empty());
    assert!(handle(Event::InitApply(pod("web", "moderate"))).is_empty());
    assert_eq!(handle(Event::InitDone), ["deleted shop old band=low", "changed shop web band=moderate"]);
    // A pod that cannot be read is not deleted, and is named once.
    for _ in 0..2 {
        assert!(handle(Event::Apply(pod_object(&unreadable("web")))).is_empty());
        assert!(handle(Event::Init).is_empty());
        assert!(handle(Event::InitApply(pod_object(&unreadable("web")))).is_empty());
        assert!(handle(Event::InitDone).is_empty());
    }
    assert_eq!(handle(Event::Apply(pod("web", "low"))), ["changed shop web band=low"]);
    assert_eq!(handle(Event::Apply(pod_object(&unreadable("web")))), Vec::<String>::new());
    assert_eq!(handle(Event::Delete(pod_object(&unreadable("web")))), ["deleted shop web band=low"]);
    let line = "plimsoll: pod shop/web cannot be read (metadata.labels.band: invalid type: sequence, expected a string); its changes \
                are not shown\n";
    assert_eq!(String::from_utf8(named).unwrap(), line.repeat(2));
}
