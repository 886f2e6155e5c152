//! Concurrency, retries, giving up, the question, and the report.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use plimsoll_contract::keys;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::removal::{CONCURRENCY, RemovalResult, remove_all};
use super::scan::{KeyKind, OwnedKey, PodKeys};
use super::*;
use crate::connect::Failure;
use crate::pause::confirm::PauseState;

fn pod(name: &str, keys: &[(&str, bool, &[&str])]) -> PodKeys {
    let keys = keys.iter().map(|(key, ours, others)| OwnedKey {
        kind: KeyKind::Label,
        key: (*key).to_owned(),
        ours: *ours,
        others: others.iter().map(|other| (*other).to_owned()).collect(),
    });
    PodKeys {
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid of {name}"),
        keys: keys.collect(),
    }
}

fn ours(name: &str) -> PodKeys {
    pod(name, &[(keys::CPU_BAND, true, &[])])
}

/// A slow server. `respond` gets the number of each request; without a response the connection is dropped.
fn server(
    respond: impl Fn(usize) -> Option<(u16, Value)> + Clone + Send + 'static,
) -> (Client, Arc<[AtomicUsize; 3]>) {
    let counts: Arc<[AtomicUsize; 3]> = Arc::default();
    let seen = Arc::clone(&counts);
    let service = tower::service_fn(move |_: Request<Body>| {
        let (seen, respond) = (Arc::clone(&seen), respond.clone());
        async move {
            let [asked, now, max] = &*seen;
            let number = asked.fetch_add(1, Ordering::SeqCst);
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let (code, body) = respond(number).ok_or_else(|| io::Error::other("connection reset"))?;
            Ok::<_, io::Error>(
                Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap(),
            )
        }
    });
    (Client::new(service, "default"), counts)
}

fn fine() -> (u16, Value) {
    (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {}}))
}

fn busy() -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too many requests", "code": 429,
        "reason": "TooManyRequests", "details": {"retryAfterSeconds": 3}});
    (429, status)
}

#[tokio::test(start_paused = true)]
async fn pods_are_written_concurrently_up_to_the_limit() {
    let pods: Vec<_> = (0..100).map(|number| ours(&number.to_string())).collect();
    let (client, counts) = server(|_| Some(fine()));
    let results = remove_all(&client, &pods).await;
    assert!(results.iter().all(|result| matches!(result, RemovalResult::Removed)), "{results:?}");
    let [asked, _, max] = &*counts;
    assert_eq!((asked.load(Ordering::SeqCst), max.load(Ordering::SeqCst)), (100, CONCURRENCY));
}

#[tokio::test(start_paused = true)]
async fn pods_whose_keys_are_not_ours_are_not_written() {
    let (client, counts) = server(|_| Some(fine()));
    let results = remove_all(&client, &[pod("theirs", &[(keys::CPU_BAND, false, &["helm"])])]).await;
    assert!(matches!(results[..], [RemovalResult::Skipped]), "{results:?}");
    assert_eq!(counts[0].load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_gets_the_time_it_asks_for() {
    let (client, counts) = server(|number| Some(if number < 2 { busy() } else { fine() }));
    let start = Instant::now();
    let results = remove_all(&client, &[ours("web")]).await;
    assert!(matches!(results[..], [RemovalResult::Removed]), "{results:?}");
    assert!(start.elapsed() >= Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(counts[0].load(Ordering::SeqCst), 3);
    let (client, _) = server(|_| Some(busy()));
    let results = remove_all(&client, &[ours("web")]).await;
    assert!(matches!(results[..], [RemovalResult::Failed(_)]), "retries are bounded: {results:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_down_is_not_asked_for_each_of_ten_thousand_pods() {
    let pods: Vec<_> = (0..10_000).map(|number| ours(&number.to_string())).collect();
    let (client, counts) = server(|number| (number < 5).then(fine));
    let results = remove_all(&client, &pods).await;
    let done = results.iter().filter(|result| matches!(result, RemovalResult::Removed)).count();
    assert_eq!((done, results.len()), (5, 10_000));
    let asked = counts[0].load(Ordering::SeqCst);
    assert!((5 + 4 * CONCURRENCY..5 + 6 * CONCURRENCY).contains(&asked), "{asked}");
}

#[test]
fn only_y_or_yes_is_a_yes_and_the_question_says_how_many_pods() {
    for (typed, yes) in
        [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("yeah\n", false), ("n\n", false)]
    {
        let mut asked = Vec::new();
        assert_eq!(
            confirmed(812, Some("mini\u{1b}kube"), &mut typed.as_bytes(), &mut asked).unwrap(),
            yes,
            "{typed:?}"
        );
        let asked = String::from_utf8(asked).unwrap();
        assert_eq!(
            asked,
            "Pause Plimsoll in context mini\\u{1b}kube and remove its keys from 812 pods? [y/N] "
        );
    }
}

fn printed(report: &Report, format: ReportFormat) -> String {
    let mut out = Vec::new();
    report.print(format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_keys_after_the_run_count_and_not_the_outcomes() {
    let lost = || RemovalResult::Failed(Failure::other("removing Plimsoll's keys", "no answer"));
    let shared = pod("shared", &[(keys::CPU_BAND, true, &["helm\u{1b}[2J"]), (keys::CPU_BASIS, true, &[])]);
    let theirs = pod("shared", &[(keys::CPU_BAND, false, &["helm\u{1b}[2J"])]);
    let before = [ours("back"), ours("done"), ours("gone"), ours("late"), ours("lost"), shared];
    let removed = || RemovalResult::Removed;
    let results = vec![removed(), removed(), RemovalResult::Gone, lost(), lost(), removed()];
    let report = Report::new(
        (true, &PauseState::Paused),
        &before,
        results,
        &[ours("back"), ours("late"), ours("new"), theirs],
    );
    let expected = "\
Plimsoll keys were on 6 pods; removed from 3
1 pod was deleted meanwhile
not removed, because others own them (`kubectl label` or `annotate pod NAME KEY-` removes one):
  shop/shared  label plimsoll.dev/cpu-band  owner: helm\\u{1b}[2J
failed on 3 pods:
  shop/back  its keys are back: something still writes them
  shop/late  removing Plimsoll's keys: no answer
  shop/new  it got keys during the run: something still writes them
";
    assert_eq!(printed(&report, ReportFormat::Text), expected);
    assert!(report.result().unwrap_err().to_string().contains("remain on 3 pods"));
    let json: Value = serde_json::from_str(&printed(&report, ReportFormat::Json)).unwrap();
    assert_eq!(json["removed"][2], json!({"namespace": "shop", "name": "shared", "keys": [keys::CPU_BASIS]}));
    assert_eq!(json["kept"][0]["kind"], "label");
    let fields = ["dryRun", "paused", "aggregator", "pods"].map(|field| json[field].clone());
    assert_eq!(fields, [json!(false), json!(true), json!("paused"), json!(6)]);
}

#[test]
fn a_long_list_is_shortened_in_text_and_complete_in_json() {
    let pods: Vec<_> = (0..30).map(|number| ours(&format!("p{number:02}"))).collect();
    let report = Report::of_dry_run(&pods);
    let text = printed(&report, ReportFormat::Text);
    assert!(text.starts_with("Plimsoll keys were on 30 pods; would be removed from 30\n"), "{text}");
    assert!(
        text.contains("shop/p19") && !text.contains("shop/p20") && text.contains("and 10 more"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&printed(&report, ReportFormat::Json)).unwrap();
    assert_eq!(json["removed"].as_array().unwrap().len(), 30);
}
