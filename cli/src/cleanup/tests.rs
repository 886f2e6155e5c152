//! How many at once, when to try again and when to stop, what a person is asked and told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use plimsoll_contract::keys;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::removal::{AT_ONCE, Outcome, all};
use super::survey::{Claim, Found, KeyKind};
use super::*;
use crate::pause::standstill::Standstill;

fn found(name: &str, claims: &[(&str, bool, &[&str])]) -> Found {
    let claims = claims.iter().map(|(key, ours, others)| Claim {
        kind: KeyKind::Label,
        key: (*key).to_owned(),
        ours: *ours,
        others: others.iter().map(|other| (*other).to_owned()).collect(),
    });
    Found {
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid of {name}"),
        claims: claims.collect(),
    }
}

fn ours(name: &str) -> Found {
    found(name, &[(keys::CPU_BAND, true, &[])])
}

/// A server that takes its time; every request is answered by `answer`, which gets its number, or dropped.
fn server(
    answer: impl Fn(usize) -> Option<(u16, Value)> + Clone + Send + 'static,
) -> (Client, Arc<[AtomicUsize; 3]>) {
    let counts: Arc<[AtomicUsize; 3]> = Arc::default();
    let seen = Arc::clone(&counts);
    let service = tower::service_fn(move |_: Request<Body>| {
        let (seen, answer) = (Arc::clone(&seen), answer.clone());
        async move {
            let [asked, now, most] = &*seen;
            let number = asked.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let (code, body) = answer(number).ok_or_else(|| io::Error::other("connection reset"))?;
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
async fn pods_are_written_several_at_once_and_never_more() {
    let pods: Vec<_> = (0..100).map(|number| ours(&number.to_string())).collect();
    let (client, counts) = server(|_| Some(fine()));
    let outcomes = all(&client, &pods).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done)), "{outcomes:?}");
    let [asked, _, most] = &*counts;
    assert_eq!((asked.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (100, AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_not_written() {
    let (client, counts) = server(|_| Some(fine()));
    let outcomes = all(&client, &[found("theirs", &[(keys::CPU_BAND, false, &["helm"])])]).await;
    assert!(matches!(outcomes[..], [Outcome::Left]), "{outcomes:?}");
    assert_eq!(counts[0].load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_busy_is_given_the_time_it_asks_for() {
    let (client, counts) = server(|number| Some(if number < 2 { busy() } else { fine() }));
    let begun = Instant::now();
    let outcomes = all(&client, &[ours("web")]).await;
    assert!(matches!(outcomes[..], [Outcome::Done]), "{outcomes:?}");
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(counts[0].load(Ordering::SeqCst), 3);
    let (client, _) = server(|_| Some(busy()));
    let outcomes = all(&client, &[ours("web")]).await;
    assert!(matches!(outcomes[..], [Outcome::Failed(_)]), "not for ever: {outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_away_is_not_asked_for_each_of_ten_thousand_pods() {
    let pods: Vec<_> = (0..10_000).map(|number| ours(&number.to_string())).collect();
    let (client, counts) = server(|number| (number < 5).then(fine));
    let outcomes = all(&client, &pods).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done)).count();
    assert_eq!((done, outcomes.len()), (5, 10_000));
    let asked = counts[0].load(Ordering::SeqCst);
    assert!((5 + 4 * AT_ONCE..5 + 6 * AT_ONCE).contains(&asked), "{asked}");
}

#[test]
fn only_a_clear_yes_is_one_and_the_question_says_how_many() {
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
        assert_eq!(asked, "Pause Plimsoll in context mini\\u{1b}kube and take its keys off 812 pods? [y/N] ");
    }
}

fn printed(report: &Report, form: Account) -> String {
    let mut out = Vec::new();
    report.print(form, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_is_on_the_pods_afterwards_counts_and_not_the_answers() {
    let lost = || Outcome::Failed(crate::connect::Failure::Late("taking our keys off"));
    let shared = found("shared", &[(keys::CPU_BAND, true, &["helm\u{1b}[2J"]), (keys::CPU_BASIS, true, &[])]);
    let kept = found("shared", &[(keys::CPU_BAND, false, &["helm\u{1b}[2J"])]);
    let before = [ours("back"), ours("done"), ours("gone"), ours("late"), ours("lost"), shared];
    let outcomes = vec![Outcome::Done, Outcome::Done, Outcome::Gone, lost(), lost(), Outcome::Done];
    let report = Report::new(
        (true, &Standstill::Seen),
        &before,
        outcomes,
        &[ours("back"), ours("late"), ours("new"), kept],
    );
    let expected = "\
keys of ours were on 6 pods; removed from 3
1 pod went away meanwhile
kept, because somebody else owns it (`kubectl label` or `annotate pod NAME KEY-` takes one off):
  shop/shared  label plimsoll.dev/cpu-band  owner: helm\\u{1b}[2J
failed on 3 pods:
  shop/back  its keys are back: something still writes them
  shop/late  taking our keys off: no answer within 30 s; try again, or look at the load of the API server
  shop/new  it got keys of ours meanwhile: something still writes them
";
    assert_eq!(printed(&report, Account::Text), expected);
    assert!(report.verdict().unwrap_err().to_string().contains("stay on 3 pods"));
    let json: Value = serde_json::from_str(&printed(&report, Account::Json)).unwrap();
    assert_eq!(json["removed"][2], json!({"namespace": "shop", "name": "shared", "keys": [keys::CPU_BASIS]}));
    assert_eq!(json["kept"][0]["kind"], "label");
    let told = ["dryRun", "paused", "aggregator", "pods"].map(|field| json[field].clone());
    assert_eq!(told, [json!(false), json!(true), json!("paused"), json!(6)]);
}

#[test]
fn a_long_list_is_cut_for_a_person_and_whole_for_a_program() {
    let pods: Vec<_> = (0..30).map(|number| ours(&format!("p{number:02}"))).collect();
    let report = Report::of_dry_run(&pods);
    let text = printed(&report, Account::Text);
    assert!(text.starts_with("keys of ours were on 30 pods; would be removed from 30\n"), "{text}");
    assert!(
        text.contains("shop/p19") && !text.contains("shop/p20") && text.contains("and 10 more"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&printed(&report, Account::Json)).unwrap();
    assert_eq!(json["removed"].as_array().unwrap().len(), 30);
}
