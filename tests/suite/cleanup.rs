//! `plimsoll cleanup` and `plimsoll pause` over HTTPS: their requests to an API server, the keys on the pods afterwards, and a
//! running aggregator that does not restore them.

pub(crate) mod cluster;

use std::time::Duration;

use plimsoll::args::ClusterArgs;
use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Entry, Fault, Matching, Resource, Verb};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::cluster::{Cluster, plimsoll};
use crate::harness::{HIGH, Harness, LOW, aggregator, eventually, options};

fn apply_to(name: &str) -> Matching {
    Matching::any().verb(Verb::Apply).resource("pods").name(name)
}

#[tokio::test]
async fn it_pauses_before_it_removes_a_key_and_removes_only_our_keys() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a", "b"]);
    cluster.create_pod("plain");
    let plain = cluster.pod("plain");
    let uids = ["a", "b"].map(|name| cluster.pod(name)["metadata"]["uid"].clone());
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None);
    assert!(
        result.text.starts_with("paused: no aggregator runs\nPlimsoll keys were on 2 pods; removed from 2\n"),
        "{}",
        result.text
    );
    assert!(
        result.text.contains("kubectl delete -k") && result.text.contains("plimsoll pause --off"),
        "{}",
        result.text
    );
    assert!(["a", "b"].iter().all(|name| cluster.is_clean(name)), "{:?}", cluster.keys("a"));
    assert_eq!(cluster.pod("plain"), plain);

    let journal = cluster.api.journal();
    let writes: Vec<_> =
        journal.writes().iter().map(|entry| (entry.resource.clone(), entry.manager.clone())).collect();
    let pod = || ("pods".to_owned(), Some("plimsoll".to_owned()));
    assert_eq!(
        writes,
        [("configmaps".to_owned(), Some("plimsoll-cli".to_owned())), pod(), pod()],
        "the switch comes first"
    );
    assert_eq!(cluster.paused(), "true");
    let mut named: Vec<_> =
        cluster.applies().iter().map(|apply| apply.body["metadata"]["uid"].clone()).collect();
    named.sort_by_key(ToString::to_string);
    let mut uids = uids.to_vec();
    uids.sort_by_key(ToString::to_string);
    assert_eq!(named, uids, "every apply names its pod's uid");
    cluster.api.stop().await;
}

#[tokio::test]
async fn the_displayed_context_is_the_current_one_of_the_kubeconfig() {
    let cluster = Cluster::bare().await;
    let kubeconfig = Some(cluster.folder.path().join("kubeconfig"));
    let args = ClusterArgs { kubeconfig, context: None };
    assert_eq!(plimsoll::connect::context(&args).as_deref(), Some("plimsoll-sandbox"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn odd_pods_are_cleaned_too_and_one_that_cannot_be_read_is_named_and_fails_the_run() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["later", "web"]);
    cluster.create_pod("odd");
    let edit = |name: &str, edit: fn(&mut Value)| {
        cluster.api.store().edit_unchecked(&Resource::PODS, "default", name, edit).unwrap();
    };
    edit("later", |pod| {
        for manager in pod["metadata"]["managedFields"].as_array_mut().unwrap() {
            manager["time"] = json!("10000-01-01T23:58:59Z");
        }
    });
    edit("odd", |pod| pod["metadata"]["labels"] = json!("none"));
    let result = cluster.cleanup().await;
    assert!(result.text.contains("were on 2 pods; removed from 2\n"), "{}", result.text);
    assert!(["later", "web"].iter().all(|name| cluster.is_clean(name)), "{:?}", cluster.keys("later"));
    let named = "could not look at 1 pod, which may have keys of Plimsoll:\n  default/odd  it cannot be read: metadata.labels: ";
    assert!(result.text.contains(named), "{}", result.text);
    assert!(result.failure().contains("keys may remain on 1 pod"), "{}", result.failure());
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_second_run_writes_to_no_pod() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    cluster.cleanup().await;
    let before = cluster.applies().len();
    let writes = cluster.api.journal().writes().len();
    let result = cluster.cleanup().await;
    assert!(result.failure.is_none() && result.text.contains("nothing to do"), "{}", result.text);
    assert!(
        result.text.ends_with("paused: `plimsoll pause --off` lets it write the labels again\n"),
        "{}",
        result.text
    );
    assert_eq!((cluster.applies().len(), cluster.api.journal().writes().len()), (before, writes));
    cluster.api.stop().await;
}

#[tokio::test]
async fn where_no_pod_has_a_key_of_ours_plimsoll_is_not_paused() {
    let cluster = Cluster::installed().await;
    cluster.create_pod("plain");
    cluster.create_pod("theirs");
    cluster.apply("theirs", &json!({keys::CPU_BAND: "mine"}), &json!({}), "helm");
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None);
    assert!(
        result.text.starts_with("nothing to do") && result.text.contains("owner: helm"),
        "{}",
        result.text
    );
    assert!(result.text.ends_with("Plimsoll is not paused, and was not changed\n"), "{}", result.text);
    assert!(cluster.api.journal().writes().is_empty());
    assert_eq!(cluster.paused(), json!(null));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_key_with_another_owner_remains_and_is_listed() {
    let cluster = Cluster::installed().await;
    cluster.create_pod("web");
    cluster.apply("web", &json!({keys::MEMORY_BAND: "mine"}), &json!({}), "helm");
    cluster.label("web");
    cluster.apply("web", &json!({keys::CPU_BAND: "high", keys::MEMORY_BAND: "mine"}), &json!({}), "helm");
    let result = cluster.plimsoll(&["cleanup", "--yes", "-o", "json"]).await;
    assert_eq!(result.failure, None, "a key with another owner is not a failure");
    assert_eq!(cluster.keys("web"), [keys::SLA, keys::MEMORY_BAND, keys::CPU_BAND, keys::BOUNDS]);
    let report = result.json();
    let kept: Vec<_> = report["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["key"].clone(), one["owners"].clone()))
        .collect();
    assert_eq!(kept, [(json!(keys::CPU_BAND), json!(["helm"])), (json!(keys::MEMORY_BAND), json!(["helm"]))]);
    assert_eq!(report["removed"][0]["keys"], json!([keys::CPU_BASIS, keys::EPOCH, keys::EVIDENCE]));
    let again = cluster.cleanup().await;
    assert!(again.text.contains("nothing to do") && again.text.contains("owner: helm"), "{}", again.text);
    assert_eq!(cluster.applies().len(), 1, "our ownership of a key is released once");
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_pod_recreated_meanwhile_is_not_changed_and_a_deleted_one_is_not_created() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["again", "gone", "stays"]);
    let faults = cluster.api.faults();
    let delayed =
        ["again", "gone"].map(|name| faults.next(1, apply_to(name), Fault::Delay(Duration::from_secs(2))));
    let meanwhile = async {
        assert!(eventually(async || delayed.iter().all(|id| faults.fired(*id) == 1)).await);
        for name in ["again", "gone"] {
            cluster.api.store().delete(&Resource::PODS, "default", name).unwrap();
        }
        cluster.create_pod("again");
        cluster.apply("again", &json!({keys::CPU_BAND: "restored"}), &json!({}), "velero");
        cluster.pod("again")
    };
    let (result, again) = tokio::join!(cluster.cleanup(), meanwhile);
    assert_eq!(result.failure, None);
    assert!(result.text.contains("removed from 1\n2 pods were deleted meanwhile\n"), "{}", result.text);
    assert!(
        result.text.contains("default/again  label plimsoll.dev/cpu-band  owner: velero"),
        "{}",
        result.text
    );
    assert_eq!(cluster.pod("again"), again);
    assert!(cluster.api.store().get(&Resource::PODS, "default", "gone").is_err());
    assert!(cluster.is_clean("stays"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn resized_pods_get_their_original_resources_back_before_their_keys_are_removed() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    cluster.resized("web");
    let dry = cluster.plimsoll(&["cleanup", "--dry-run"]).await;
    let would = "original resources would be restored on 1 pod:\n  default/web\n";
    assert!(dry.text.contains(would) && cluster.api.journal().writes().is_empty(), "{}", dry.text);
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None, "{}", result.text);
    let restored = "original resources restored on 1 pod:\n  default/web  app cpu request 600m -> 250m, app cpu limit 890m -> 500m\n";
    assert!(result.text.contains(restored), "{}", result.text);
    assert_eq!(cluster.cpu("web"), ["250m", "500m"]);
    assert!(cluster.is_clean("web") && cluster.is_clean("a"), "{:?}", cluster.keys("web"));
    let writes = cluster.api.journal().writes();
    let of_web: Vec<_> = writes.iter().filter(|entry| entry.name.as_deref() == Some("web")).collect();
    let verbs: Vec<_> = of_web.iter().map(|entry| (entry.verb, entry.subresource.as_deref())).collect();
    assert_eq!(verbs, [(Verb::Patch, Some("resize")), (Verb::Apply, None)]);
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_pod_whose_size_cannot_be_restored_keeps_the_record_of_its_original_resources() {
    let cluster = Cluster::installed().await;
    cluster.resized("full");
    cluster.resized("web");
    let original = cluster.pod("full")["metadata"]["annotations"][keys::ORIGINAL_RESOURCES].clone();
    let resize = Matching::any().verb(Verb::Patch).resource("pods").name("full");
    let refused = cluster.api.faults().always(resize, Fault::Answer { code: 403, retry_after: None });
    let result = cluster.cleanup().await;
    assert!(result.failure().contains("Plimsoll keys remain on 1 pod;"), "{}", result.failure());
    let said = "it keeps its size and its annotation plimsoll.dev/original-resources";
    assert!(
        result.text.contains("failed on 1 pod:\n  default/full  ") && result.text.contains(said),
        "{}",
        result.text
    );
    assert!(result.text.contains("`patch pods/resize`"), "{}", result.text);
    assert_eq!(
        (cluster.cpu("full"), cluster.cpu("web")),
        (["600m", "890m"].map(Into::into), ["250m", "500m"].map(Into::into))
    );
    assert_eq!(cluster.keys("full"), [keys::SLA, keys::BOUNDS, keys::ORIGINAL_RESOURCES]);
    assert_eq!(cluster.pod("full")["metadata"]["annotations"][keys::ORIGINAL_RESOURCES], original);
    assert!(cluster.is_clean("web"));

    assert_eq!(cluster.api.faults().fired(refused), 1);
    cluster.api.faults().clear();
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None, "{}", result.text);
    assert_eq!(cluster.cpu("full"), ["250m", "500m"]);
    assert!(cluster.is_clean("full"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_record_that_somebody_else_wrote_changes_no_size() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    let foreign = json!({"app": {"limits": {"cpu": "9"}}}).to_string();
    cluster.apply("a", &json!({}), &json!({keys::ORIGINAL_RESOURCES: foreign}), "velero");
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None, "{}", result.text);
    assert!(
        result.text.contains("annotation plimsoll.dev/original-resources  owner: velero"),
        "{}",
        result.text
    );
    assert!(cluster.resizes().is_empty());
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_rejection_for_one_pod_names_the_missing_permission_and_does_not_stop_the_others() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a", "b", "c"]);
    cluster.api.faults().always(apply_to("b"), Fault::Answer { code: 403, retry_after: None });
    let result = cluster.cleanup().await;
    assert!(result.failure().contains("Plimsoll keys remain on 1 pod;"), "{}", result.failure());
    assert!(
        result.text.contains("removed from 2\nfailed on 1 pod:\n  default/b  ")
            && result.text.contains("`patch pods`"),
        "{}",
        result.text
    );
    assert!(cluster.is_clean("a") && cluster.is_clean("c") && !cluster.is_clean("b"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn after_faults_only_remaining_keys_are_failures_and_the_next_run_removes_them() {
    let cluster = Cluster::installed().await;
    let names: Vec<_> = (0..40).map(|number| format!("p{number:02}")).collect();
    cluster.labeled(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let faults = cluster.api.faults();
    faults.next(1, apply_to("p03"), Fault::Answer { code: 500, retry_after: None });
    faults.next(1, apply_to("p17"), Fault::Drop);
    faults.next(1, apply_to("p21"), Fault::LoseAnswer);
    faults.next(1, apply_to("p30"), Fault::Answer { code: 429, retry_after: Some(1) });
    let result = cluster.cleanup().await;
    assert!(
        result.failure().contains("remain on 2 pods") && result.failure().contains("run it again"),
        "{}",
        result.failure()
    );
    assert!(result.text.contains("Plimsoll keys were on 40 pods; removed from 38\n"), "{}", result.text);
    let dirty: Vec<_> = names.iter().filter(|name| !cluster.is_clean(name)).collect();
    assert_eq!(
        dirty,
        ["p03", "p17"],
        "a lost answer is not a failure, and a request to a busy server is retried"
    );
    let result = cluster.cleanup().await;
    assert!(
        result.failure.is_none() && result.text.contains("Plimsoll keys were on 2 pods; removed from 2\n"),
        "{}",
        result.text
    );
    cluster.api.stop().await;
}

#[tokio::test]
async fn without_our_namespace_the_keys_are_removed_too() {
    let cluster = Cluster::bare().await;
    cluster.labeled(&["a"]);
    let result = cluster.cleanup().await;
    assert_eq!(result.failure, None);
    assert!(
        result
            .text
            .starts_with("nothing to pause, there is no namespace plimsoll-system: no aggregator runs\n"),
        "{}",
        result.text
    );
    assert!(cluster.is_clean("a"));
    let pause = cluster.plimsoll(&["pause"]).await;
    assert!(pause.failure().contains("is Plimsoll installed here?"), "{}", pause.failure());
    cluster.api.stop().await;
}

#[tokio::test]
async fn without_the_permission_to_pause_or_in_a_dry_run_nothing_changes() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    let dry = cluster.plimsoll(&["cleanup", "--dry-run"]).await;
    assert!(dry.text.contains("would be removed from 1\n  default/a  plimsoll.dev/cpu-band"), "{}", dry.text);
    assert!(cluster.api.journal().writes().is_empty());
    let switch = Matching::writes().resource("configmaps");
    cluster.api.faults().always(switch, Fault::Answer { code: 403, retry_after: None });
    let result = cluster.cleanup().await;
    assert!(
        result.failure().contains("patch configmaps/plimsoll-control in namespace plimsoll-system"),
        "{}",
        result.failure()
    );
    assert!(cluster.applies().is_empty() && !cluster.is_clean("a"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_single_namespace_and_a_thousand_pods_in_pages() {
    let cluster = Cluster::installed().await;
    cluster.api.store().create(&Resource::NAMESPACES, json!({"metadata": {"name": "other"}})).unwrap();
    cluster.labeled(&["a"]);
    for number in 0..1001 {
        cluster.create_pod(&format!("p{number:04}"));
    }
    let other = cluster.plimsoll(&["cleanup", "--yes", "-n", "other"]).await;
    assert!(other.text.contains("nothing to do") && !cluster.is_clean("a"), "{}", other.text);
    let from = cluster.api.journal().len();
    cluster.cleanup().await;
    let lists = |entry: &&Entry| entry.verb == Verb::List && entry.namespace.is_none();
    let asked = cluster.api.journal().since(from);
    assert_eq!(
        asked.iter().filter(lists).count(),
        3 * 3,
        "three pages in the survey, when paused, and after"
    );
    assert_eq!(asked.iter().filter(|entry| entry.verb == Verb::Apply).count(), 1, "one pod, one write");
    assert!(cluster.is_clean("a"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_running_aggregator_pauses_and_restores_nothing_until_it_is_resumed() {
    let mut options = options();
    // Removed keys would be restored immediately.
    options.tune_aggregator = |config| config.settings.repair_every = Duration::from_millis(100);
    let harness = Harness::with(options).await;
    harness.create_pod("busy", HIGH);
    harness.create_pod("idle", LOW);
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "low").await;
    let kubeconfig = harness.cluster.kubeconfig().display().to_string();
    let url = format!("http://{}", harness.cluster.aggregator_address());
    let result = plimsoll(&kubeconfig, &["cleanup", "--yes", "--url", &url]).await;
    assert_eq!(result.failure, None);
    assert!(result.text.starts_with("paused: the aggregator confirmed it"), "{}", result.text);
    harness.set_load("idle", HIGH);
    harness.quiet().await;
    assert!(["busy", "idle"].iter().all(|name| harness.keys(name).is_empty()), "{:?}", harness.keys("idle"));
    let top = async || plimsoll(&kubeconfig, &["top", "--once", "--url", &url]).await.text;
    let shown = top().await;
    assert!(shown.starts_with("paused by ConfigMap plimsoll-control: "), "{shown}");
    let busy = shown.lines().find(|line| line.starts_with("demo/busy")).unwrap();
    assert!(busy.contains("high!") && busy.contains("no label"), "{shown}");

    let result = plimsoll(&kubeconfig, &["pause", "--off"]).await;
    assert!(result.text.starts_with("no longer paused"), "{}", result.text);
    harness.labeled("busy", "high").await;
    harness.labeled("idle", "high").await;
    let restored = async || {
        let shown = top().await;
        shown.starts_with("POD ") && !shown.contains("no label")
    };
    harness.until("a table without a banner, where no label is missing", restored).await;
    harness.shutdown().await;
}

#[tokio::test]
async fn an_aggregator_that_starts_while_paused_writes_nothing() {
    let mut harness = Harness::start().await;
    harness.create_pod("web", HIGH);
    harness.labeled("web", "high").await;
    let kubeconfig = harness.cluster.kubeconfig().display().to_string();
    let url = format!("http://{}", harness.cluster.aggregator_address());
    plimsoll(&kubeconfig, &["cleanup", "--yes", "--url", &url]).await;
    let slow = Matching::any().verb(Verb::List).resource("configmaps").user(&aggregator());
    harness.cluster.api().faults().next(1, slow, Fault::Delay(Duration::from_secs(20)));
    let before = harness.writes().len();
    harness.cluster.restart_aggregator().await.unwrap();
    let reported =
        async || harness.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await >= 1.0;
    harness.until("a report", reported).await;
    let paused = async || harness.metric("plimsoll_aggregator_withheld{reason=\"paused\"}").await == 1.0;
    assert!(!paused().await, "the switch is not read yet");
    harness.until("the switch to be read", paused).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.writes().len(), before);
    assert!(harness.keys("web").is_empty());
    harness.shutdown().await;
}
