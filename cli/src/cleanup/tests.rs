//! Concurrency, retries, giving up, the question, the report, and the last words of a run that left Plimsoll paused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use plimsoll_contract::keys;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::removal::{PodResult, RemovalResult, remove_all};
use super::scan::{KeyKind, OwnedKey, PodKeys};
use super::*;
use crate::connect::Failure;
use crate::pause::confirm::PauseState;
use crate::pods::UnreadablePod;
use crate::requests::CONCURRENCY;
use crate::size::{Change, Part};

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
    assert!(results.iter().all(|result| matches!(result.removal, RemovalResult::Removed)), "{results:?}");
    let [asked, _, max] = &*counts;
    assert_eq!((asked.load(Ordering::SeqCst), max.load(Ordering::SeqCst)), (100, CONCURRENCY));
}

#[tokio::test(start_paused = true)]
async fn pods_whose_keys_are_not_ours_are_not_written() {
    let (client, counts) = server(|_| Some(fine()));
    let results = remove_all(&client, &[pod("theirs", &[(keys::CPU_BAND, false, &["helm"])])]).await;
    assert!(matches!(results[..], [PodResult { removal: RemovalResult::Skipped, .. }]), "{results:?}");
    assert_eq!(counts[0].load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_gets_the_time_it_asks_for() {
    let (client, counts) = server(|number| Some(if number < 2 { busy() } else { fine() }));
    let start = Instant::now();
    let results = remove_all(&client, &[ours("web")]).await;
    assert!(matches!(results[..], [PodResult { removal: RemovalResult::Removed, .. }]), "{results:?}");
    assert!(start.elapsed() >= Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(counts[0].load(Ordering::SeqCst), 3);
    let (client, _) = server(|_| Some(busy()));
    let results = remove_all(&client, &[ours("web")]).await;
    assert!(
        matches!(results[..], [PodResult { removal: RemovalResult::Failed(_), .. }]),
        "retries are bounded: {results:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_down_is_not_asked_for_each_of_ten_thousand_pods() {
    let pods: Vec<_> = (0..10_000).map(|number| ours(&number.to_string())).collect();
    let (client, counts) = server(|number| (number < 5).then(fine));
    let results = remove_all(&client, &pods).await;
    let done = results.iter().filter(|result| matches!(result.removal, RemovalResult::Removed)).count();
    assert_eq!((done, results.len()), (5, 10_000));
    let asked = counts[0].load(Ordering::SeqCst);
    assert!((5 + 4 * CONCURRENCY..5 + 6 * CONCURRENCY).contains(&asked), "{asked}");
}

#[test]
fn the_question_says_how_many_pods_and_of_how_many_the_size_changes() {
    assert_eq!(
        question(812, 0, Some("mini\u{1b}kube")),
        "Pause Plimsoll in context mini\\u{1b}kube and remove its keys from 812 pods?"
    );
    assert_eq!(
        question(2, 1, None),
        "Pause Plimsoll, restore the original resources of 1 pod and remove its keys from 2 pods?"
    );
}

fn printed(report: &Report, format: ReportFormat) -> String {
    let mut out = Vec::new();
    report.print(format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_keys_after_the_run_count_and_not_the_outcomes() {
    let lost = || RemovalResult::Failed(Failure::other("removing Plimsoll's keys", "no answer")).into();
    let shared = pod("shared", &[(keys::CPU_BAND, true, &["helm\u{1b}[2J"]), (keys::CPU_BASIS, true, &[])]);
    let theirs = pod("shared", &[(keys::CPU_BAND, false, &["helm\u{1b}[2J"])]);
    let before = [ours("back"), ours("done"), ours("gone"), ours("late"), ours("lost"), shared];
    let removed = || RemovalResult::Removed.into();
    let results = vec![removed(), removed(), RemovalResult::Gone.into(), lost(), lost(), removed()];
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
    let fields = ["dryRun", "paused", "resume", "aggregator", "pods"].map(|field| json[field].clone());
    assert_eq!(fields, [json!(false), json!(true), json!("plimsoll pause --off"), json!("paused"), json!(6)]);
}

#[test]
fn a_size_that_could_not_be_restored_is_a_failure_that_says_what_stays() {
    let resized =
        |name: &str| pod(name, &[(keys::ORIGINAL_RESOURCES, true, &[]), (keys::CPU_BAND, true, &[])]);
    let kept = pod("kept", &[(keys::ORIGINAL_RESOURCES, true, &[])]);
    let change = Change {
        container: "app".into(),
        resource: plimsoll_contract::Resource::Cpu,
        part: Part::Limit,
        from: Some("890m".into()),
        to: "500m".into(),
    };
    let restored = PodResult { removal: RemovalResult::Removed, restored: vec![change], not_restored: None };
    let failed = PodResult {
        removal: RemovalResult::Removed,
        restored: Vec::new(),
        not_restored: Some("there is no room for it".into()),
    };
    let before = [resized("done"), resized("kept")];
    let report = Report::new((true, &PauseState::Paused), &before, vec![restored, failed], &[kept]);
    let expected = "\
Plimsoll keys were on 2 pods; removed from 1
original resources restored on 1 pod:
  shop/done  app cpu limit 890m -> 500m
failed on 1 pod:
  shop/kept  there is no room for it; it keeps its size and its annotation plimsoll.dev/original-resources
";
    assert_eq!(printed(&report, ReportFormat::Text), expected);
    assert!(report.result().unwrap_err().to_string().contains("remain on 1 pod"));
    let dry = printed(&Report::of_dry_run(&before), ReportFormat::Text);
    assert!(
        dry.contains("original resources would be restored on 2 pods:\n  shop/done\n  shop/kept\n"),
        "{dry}"
    );
}

#[test]
fn a_size_that_could_not_be_restored_is_a_failure_also_where_another_manager_owns_its_record_too() {
    let before = [pod("web", &[(keys::ORIGINAL_RESOURCES, true, &["kubectl"]), (keys::CPU_BAND, true, &[])])];
    let after = [pod("web", &[(keys::ORIGINAL_RESOURCES, true, &["kubectl"])])];
    let failed = PodResult {
        removal: RemovalResult::Removed,
        restored: Vec::new(),
        not_restored: Some("you lack the right".into()),
    };
    let report = Report::new((true, &PauseState::Paused), &before, vec![failed], &after);
    let text = printed(&report, ReportFormat::Text);
    assert!(text.contains("failed on 1 pod:\n  shop/web  you lack the right; it keeps its size"), "{text}");
    assert!(report.result().is_err());
}

#[test]
fn a_pod_that_cannot_be_read_is_named_and_the_run_is_a_failure() {
    let odd = |name: &str| UnreadablePod {
        namespace: "shop".into(),
        name: name.into(),
        problem: "metadata.labels: invalid type: sequence, expected a map".into(),
    };
    let (before, results) = ([ours("web")], vec![RemovalResult::Removed.into()]);
    let report = Report::new((true, &PauseState::Paused), &before, results, &[])
        .with_unreadable(vec![odd("od\u{1b}d")]);
    let expected = "\
Plimsoll keys were on 1 pod; removed from 1
could not look at 1 pod, which may have keys of Plimsoll:
  shop/od\\u{1b}d  it cannot be read: metadata.labels: invalid type: sequence, expected a map
";
    assert_eq!(printed(&report, ReportFormat::Text), expected);
    assert!(report.result().unwrap_err().to_string().contains("keys may remain on 1 pod"));
    let json: Value = serde_json::from_str(&printed(&report, ReportFormat::Json)).unwrap();
    assert_eq!(json["unreadable"][0]["name"], "od\u{1b}d");
    let dry = Report::of_dry_run(&[]).with_unreadable(vec![odd("odd")]);
    assert!(printed(&dry, ReportFormat::Text).starts_with("no pod that can be read has a key"));
    assert!(dry.result().is_err());
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

/// What an API server answers to a request, by `METHOD path` and the number of earlier requests of that method and path.
type Answer = fn(&str, usize) -> Option<(u16, Value)>;

/// A server on which one pod has a key of ours, and a list of the requests that it got.
fn cluster(answer: Answer) -> (Client, Arc<Mutex<Vec<String>>>) {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&requests);
    let service = tower::service_fn(move |request: Request<Body>| {
        let line = format!("{} {}", request.method(), request.uri().path());
        let mut seen = seen.lock().unwrap();
        let number = seen.iter().filter(|earlier| **earlier == line).count();
        seen.push(line.clone());
        async move {
            // a request that is never answered is one whose time is not up yet
            match answer(&line, number) {
                Some((code, body)) => {
                    Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))
                }
                None => std::future::pending().await,
            }
        }
    });
    (Client::new(service, "default"), requests)
}

const LIST: &str = "GET /api/v1/pods";
const SWITCH: &str = "PATCH /api/v1/namespaces/plimsoll-system/configmaps/plimsoll-control";
const APPLY: &str = "PATCH /api/v1/namespaces/shop/pods/web";

/// Everything works; the aggregator is not installed.
fn works(line: &str, number: usize) -> Option<(u16, Value)> {
    let list = |items: Value| json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items});
    let manager = json!({"manager": "plimsoll", "operation": "Apply", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:plimsoll.dev/cpu-band": {}}}}});
    let pod = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
        "namespace": "shop", "name": "web", "uid": "u", "labels": {keys::CPU_BAND: "high"}, "managedFields": [manager]}});
    Some(match line {
        LIST if number < 2 => (200, list(json!([pod]))),
        LIST | "GET /api/v1/namespaces/plimsoll-system/pods" => (200, list(json!([]))),
        SWITCH => {
            (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {}}))
        }
        APPLY => fine(),
        other => panic!("{other} was not expected"),
    })
}

/// A run that is interrupted when `stop` says so: the output, and the error.
async fn run_with(answer: Answer, output: ReportFormat, stop: &Shutdown) -> (String, Option<String>) {
    let (client, _) = cluster(answer);
    let api = pods::api(&client, None);
    let survey = scan(&api).await.unwrap();
    let cleanup =
        Cleanup { client: &client, api, aggregator: Aggregator::new(&client, None).unwrap(), output };
    let mut out = Vec::new();
    let error = cleanup.run(&survey.picked, stop, &mut out).await.err().map(|error| format!("{error:#}"));
    (String::from_utf8(out).unwrap(), error)
}

const STILL_PAUSED: &str = "Plimsoll is still paused: `plimsoll pause --off` lets it write the labels again";
const MAY_BE_PAUSED: &str = "Plimsoll may be paused: `plimsoll pause --off` lets it write the labels again";

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_after_the_pause_says_last_that_plimsoll_is_still_paused() {
    fn list_fails(at: usize, line: &str, number: usize) -> Option<(u16, Value)> {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "etcd is down", "code": 500});
        if (line, number) == (LIST, at) { Some((500, status)) } else { works(line, number) }
    }
    let second: Answer = |line, number| list_fails(1, line, number);
    let third: Answer = |line, number| list_fails(2, line, number);
    let remains: Answer = |line, number| works(line, if line == LIST { 0 } else { number });
    for (answer, why, is_whole) in
        [(second, "etcd is down", false), (third, "etcd is down", false), (remains, "remain on 1 pod", true)]
    {
        let (_, error) = run_with(answer, ReportFormat::Text, &Shutdown::new()).await;
        let error = error.unwrap();
        assert!(error.contains(why) && error.ends_with(&format!("\n{STILL_PAUSED}")), "{error}");
        let (text, error) = run_with(answer, ReportFormat::Json, &Shutdown::new()).await;
        assert!(error.unwrap().ends_with(STILL_PAUSED));
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&json["paused"], &json["resume"]),
            (&json!(true), &json!("plimsoll pause --off")),
            "{text}"
        );
        assert!(json["error"].as_str().is_none_or(|error| error.contains(why)), "{text}");
        assert_eq!(json["error"].is_null(), is_whole, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_says_last_that_plimsoll_is_still_paused_or_may_be() {
    let in_removal: Answer = |line, number| if line == APPLY { None } else { works(line, number) };
    let in_pause: Answer = |line, number| if line == SWITCH { None } else { works(line, number) };
    for (answer, expected, paused) in
        [(in_removal, STILL_PAUSED, json!(true)), (in_pause, MAY_BE_PAUSED, Value::Null)]
    {
        let stop = Shutdown::new();
        let interrupt = async {
            sleep(Duration::from_secs(5)).await;
            stop.trigger();
        };
        let ((text, error), ()) = tokio::join!(run_with(answer, ReportFormat::Json, &stop), interrupt);
        let error = error.unwrap();
        assert!(error.starts_with("interrupted; ") && error.ends_with(&format!("\n{expected}")), "{error}");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["paused"], &json["resume"]), (&paused, &json!("plimsoll pause --off")), "{text}");
        assert!(json["error"].as_str().unwrap().starts_with("interrupted; "), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_refused_leaves_nothing_paused_and_one_without_an_answer_perhaps() {
    let refused: Answer = |line, number| match line {
        SWITCH => Some((
            403,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": 403, "reason": "Forbidden"}),
        )),
        _ => works(line, number),
    };
    let (text, error) = run_with(refused, ReportFormat::Json, &Shutdown::new()).await;
    assert!(!error.unwrap().contains("paused:"));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["paused"], &json["resume"]), (&json!(false), &Value::Null), "{text}");
    let unanswered: Answer = |line, number| if line == SWITCH { None } else { works(line, number) };
    let (text, error) = run_with(unanswered, ReportFormat::Text, &Shutdown::new()).await;
    assert!(error.unwrap().ends_with(&format!("\n{MAY_BE_PAUSED}")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_well_says_last_that_plimsoll_stays_paused() {
    let (text, error) = run_with(works, ReportFormat::Text, &Shutdown::new()).await;
    assert_eq!(error, None);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("Plimsoll stays paused.") && last.contains("`plimsoll pause --off`"), "{text}");
}

/// As `plimsoll cleanup | head -0`: the error is not that nobody reads the output.
#[tokio::test(start_paused = true)]
async fn that_plimsoll_is_still_paused_is_said_although_the_reader_of_the_output_left() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (client, _) = cluster(works);
    let api = pods::api(&client, None);
    let survey = scan(&api).await.unwrap();
    let aggregator = Aggregator::new(&client, None).unwrap();
    let cleanup = Cleanup { client: &client, api, aggregator, output: ReportFormat::Text };
    let error = cleanup.run(&survey.picked, &Shutdown::new(), &mut Closed).await.unwrap_err();
    assert!(!crate::reader_left(&error) && format!("{error:#}").ends_with(STILL_PAUSED), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn with_nothing_to_do_only_reads_are_sent_and_the_switch_is_said_as_it_is() {
    fn clean(switch: (u16, Value), line: &str) -> Option<(u16, Value)> {
        match line {
            LIST => works(LIST, 2),
            "GET /api/v1/namespaces/plimsoll-system/configmaps/plimsoll-control" => Some(switch),
            other => panic!("{other} was not expected"),
        }
    }
    fn map(value: &str) -> (u16, Value) {
        (200, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"paused": value}}))
    }
    fn status(code: u16) -> (u16, Value) {
        (
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code}),
        )
    }
    let cases: [(Answer, Value, &str); 5] = [
        (|line, _| clean(map("false"), line), json!(false), "Plimsoll is not paused"),
        (|line, _| clean(status(404), line), json!(false), "Plimsoll is not paused"),
        (|line, _| clean(map("true"), line), json!(true), STILL_PAUSED),
        (|line, _| clean(map("yes"), line), json!(true), STILL_PAUSED),
        (|line, _| clean(status(403), line), Value::Null, "is not known: reading the pause switch"),
    ];
    for (answer, paused, said) in cases {
        let (client, requests) = cluster(answer);
        let mut out = Vec::new();
        let args = CleanupArgs { yes: true, ..CleanupArgs::default() };
        run(&client, None, &args, || panic!("nothing to interrupt"), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("nothing to do") && text.lines().last().unwrap().contains(said), "{text}");
        let args = CleanupArgs { output: ReportFormat::Json, ..args };
        let mut out = Vec::new();
        run(&client, None, &args, || panic!("nothing to interrupt"), &mut out).await.unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&json["paused"], json["resume"].is_null()), (&paused, paused != json!(true)), "{json}");
        assert!(requests.lock().unwrap().iter().all(|line| line.starts_with("GET ")));
    }
}
