//! The command line's `cleanup` and `pause` over real HTTPS: what they ask of an API server, what is on the pods afterwards,
//! and that a running aggregator does not put it back.

mod cluster;

use std::time::Duration;

use plimsoll::args::ClusterArgs;
use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Entry, Fault, Matching, Resource, Verb};
use serde_json::json;
use tokio::time::sleep;

use self::cluster::{Cluster, plimsoll};
use crate::world::{HIGH, LOW, World, aggregator, eventually, options};

fn apply_to(name: &str) -> Matching {
    Matching::any().verb(Verb::Apply).resource("pods").name(name)
}

#[tokio::test]
async fn it_is_paused_before_the_first_key_goes_and_only_what_is_ours_goes() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a", "b"]);
    cluster.run("plain");
    let plain = cluster.pod("plain");
    let uids = ["a", "b"].map(|name| cluster.pod(name)["metadata"]["uid"].clone());
    let said = cluster.cleanup().await;
    assert_eq!(said.failure, None);
    assert!(
        said.text.starts_with("paused: no aggregator runs\nkeys of ours were on 2 pods; removed from 2\n"),
        "{}",
        said.text
    );
    assert!(
        said.text.contains("kubectl delete -k") && said.text.contains("plimsoll pause --off"),
        "{}",
        said.text
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
async fn the_context_that_a_person_is_told_is_the_current_one_of_the_kubeconfig() {
    let cluster = Cluster::bare().await;
    let kubeconfig = Some(cluster.folder.path().join("kubeconfig"));
    let args = ClusterArgs { kubeconfig, context: None };
    assert_eq!(plimsoll::connect::context(&args).as_deref(), Some("plimsoll-sandbox"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_second_run_has_nothing_to_do_and_writes_on_no_pod() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    cluster.cleanup().await;
    let before = cluster.applies().len();
    let said = cluster.cleanup().await;
    assert!(said.failure.is_none() && said.text.contains("nothing to do"), "{}", said.text);
    assert_eq!(cluster.applies().len(), before);
    cluster.api.stop().await;
}

#[tokio::test]
async fn what_a_user_owns_stays_and_is_named_whether_we_own_it_too_or_not() {
    let cluster = Cluster::installed().await;
    cluster.run("web");
    cluster.apply("web", &json!({keys::MEMORY_BAND: "mine"}), &json!({}), "helm");
    cluster.label("web");
    cluster.apply("web", &json!({keys::CPU_BAND: "high", keys::MEMORY_BAND: "mine"}), &json!({}), "helm");
    let said = cluster.plimsoll(&["cleanup", "--yes", "-o", "json"]).await;
    assert_eq!(said.failure, None, "what others own is no failure");
    assert_eq!(cluster.keys("web"), [keys::SLA, keys::MEMORY_BAND, keys::CPU_BAND, keys::BOUNDS]);
    let report = said.json();
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
    assert_eq!(cluster.applies().len(), 1, "our share in a key is given up once");
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_pod_made_again_meanwhile_is_not_touched_and_one_that_went_is_not_made() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["again", "gone", "stays"]);
    let faults = cluster.api.faults();
    let held =
        ["again", "gone"].map(|name| faults.next(1, apply_to(name), Fault::Delay(Duration::from_secs(2))));
    let meanwhile = async {
        assert!(eventually(async || held.iter().all(|id| faults.fired(*id) == 1)).await);
        for name in ["again", "gone"] {
            cluster.api.store().delete(&Resource::PODS, "default", name).unwrap();
        }
        cluster.run("again");
        cluster.apply("again", &json!({keys::CPU_BAND: "restored"}), &json!({}), "velero");
        cluster.pod("again")
    };
    let (said, again) = tokio::join!(cluster.cleanup(), meanwhile);
    assert_eq!(said.failure, None);
    assert!(said.text.contains("removed from 1\n2 pods went away meanwhile\n"), "{}", said.text);
    assert!(said.text.contains("default/again  label plimsoll.dev/cpu-band  owner: velero"), "{}", said.text);
    assert_eq!(cluster.pod("again"), again);
    assert!(cluster.api.store().get(&Resource::PODS, "default", "gone").is_err());
    assert!(cluster.is_clean("stays"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_refusal_on_one_pod_names_the_right_and_does_not_end_it() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a", "b", "c"]);
    cluster.api.faults().always(apply_to("b"), Fault::Answer { code: 403, retry_after: None });
    let said = cluster.cleanup().await;
    assert!(said.failure().contains("keys of ours stay on 1 pod;"), "{}", said.failure());
    assert!(
        said.text.contains("removed from 2\nfailed on 1 pod:\n  default/b  ")
            && said.text.contains("`patch pods`"),
        "{}",
        said.text
    );
    assert!(cluster.is_clean("a") && cluster.is_clean("c") && !cluster.is_clean("b"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn faults_in_the_middle_fail_only_where_a_key_stays_and_the_next_run_ends_it() {
    let cluster = Cluster::installed().await;
    let names: Vec<_> = (0..40).map(|number| format!("p{number:02}")).collect();
    cluster.labeled(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let faults = cluster.api.faults();
    faults.next(1, apply_to("p03"), Fault::Answer { code: 500, retry_after: None });
    faults.next(1, apply_to("p17"), Fault::Drop);
    faults.next(1, apply_to("p21"), Fault::LoseAnswer);
    faults.next(1, apply_to("p30"), Fault::Answer { code: 429, retry_after: Some(1) });
    let said = cluster.cleanup().await;
    assert!(
        said.failure().contains("stay on 2 pods") && said.failure().contains("run it again"),
        "{}",
        said.failure()
    );
    assert!(said.text.contains("keys of ours were on 40 pods; removed from 38\n"), "{}", said.text);
    let dirty: Vec<_> = names.iter().filter(|name| !cluster.is_clean(name)).collect();
    assert_eq!(dirty, ["p03", "p17"], "a lost answer is no failure, a busy server is asked again");
    let said = cluster.cleanup().await;
    assert!(
        said.failure.is_none() && said.text.contains("keys of ours were on 2 pods; removed from 2\n"),
        "{}",
        said.text
    );
    cluster.api.stop().await;
}

#[tokio::test]
async fn without_our_namespace_it_says_so_and_removes_all_the_same() {
    let cluster = Cluster::bare().await;
    cluster.labeled(&["a"]);
    let said = cluster.cleanup().await;
    assert_eq!(said.failure, None);
    assert!(
        said.text
            .starts_with("nothing to pause, there is no namespace plimsoll-system: no aggregator runs\n"),
        "{}",
        said.text
    );
    assert!(cluster.is_clean("a"));
    let pause = cluster.plimsoll(&["pause"]).await;
    assert!(pause.failure().contains("is Plimsoll installed here?"), "{}", pause.failure());
    cluster.api.stop().await;
}

#[tokio::test]
async fn who_may_not_pause_changes_nothing_and_neither_does_a_dry_run() {
    let cluster = Cluster::installed().await;
    cluster.labeled(&["a"]);
    let dry = cluster.plimsoll(&["cleanup", "--dry-run"]).await;
    assert!(dry.text.contains("would be removed from 1\n  default/a  plimsoll.dev/cpu-band"), "{}", dry.text);
    assert!(cluster.api.journal().writes().is_empty());
    let switch = Matching::writes().resource("configmaps");
    cluster.api.faults().always(switch, Fault::Answer { code: 403, retry_after: None });
    let said = cluster.cleanup().await;
    assert!(
        said.failure().contains("patch configmaps/plimsoll-control in namespace plimsoll-system"),
        "{}",
        said.failure()
    );
    assert!(cluster.applies().is_empty() && !cluster.is_clean("a"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn one_namespace_alone_and_a_thousand_pods_are_read_in_pages() {
    let cluster = Cluster::installed().await;
    cluster.api.store().create(&Resource::NAMESPACES, json!({"metadata": {"name": "other"}})).unwrap();
    cluster.labeled(&["a"]);
    for number in 0..1001 {
        cluster.run(&format!("p{number:04}"));
    }
    let other = cluster.plimsoll(&["cleanup", "--yes", "-n", "other"]).await;
    assert!(other.text.contains("nothing to do") && !cluster.is_clean("a"), "{}", other.text);
    let from = cluster.api.journal().len();
    cluster.cleanup().await;
    let lists = |entry: &&Entry| entry.verb == Verb::List && entry.namespace.is_none();
    let asked = cluster.api.journal().since(from);
    assert_eq!(asked.iter().filter(lists).count(), 2 * 3, "three pages before, three after");
    assert_eq!(asked.iter().filter(|entry| entry.verb == Verb::Apply).count(), 1, "one pod, one write");
    assert!(cluster.is_clean("a"));
    cluster.api.stop().await;
}

#[tokio::test]
async fn a_running_aggregator_is_seen_to_pause_and_puts_nothing_back_until_it_is_let() {
    let mut options = options();
    // What was written a moment ago is put back as soon as what was written long ago.
    options.tune_aggregator = |config| config.settings.repair_every = Duration::from_millis(100);
    let world = World::with(options).await;
    world.run("busy", HIGH);
    world.run("idle", LOW);
    world.labeled("busy", "high").await;
    world.labeled("idle", "low").await;
    let kubeconfig = world.stage.kubeconfig().display().to_string();
    let url = format!("http://{}", world.stage.aggregator_address());
    let said = plimsoll(&kubeconfig, &["cleanup", "--yes", "--url", &url]).await;
    assert_eq!(said.failure, None);
    assert!(said.text.starts_with("paused: the aggregator says so"), "{}", said.text);
    world.load("idle", HIGH);
    world.quiet().await;
    assert!(["busy", "idle"].iter().all(|name| world.keys(name).is_empty()), "{:?}", world.keys("idle"));

    let said = plimsoll(&kubeconfig, &["pause", "--off"]).await;
    assert!(said.text.starts_with("no longer paused"), "{}", said.text);
    world.labeled("busy", "high").await;
    world.labeled("idle", "high").await;
    world.end().await;
}

#[tokio::test]
async fn an_aggregator_that_starts_while_paused_writes_nothing_before_it_has_read_the_switch() {
    let mut world = World::start().await;
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let kubeconfig = world.stage.kubeconfig().display().to_string();
    let url = format!("http://{}", world.stage.aggregator_address());
    plimsoll(&kubeconfig, &["cleanup", "--yes", "--url", &url]).await;
    let slow = Matching::any().verb(Verb::List).resource("configmaps").user(&aggregator());
    world.stage.api().faults().next(1, slow, Fault::Delay(Duration::from_secs(20)));
    let before = world.writes().len();
    world.stage.restart_aggregator().await.unwrap();
    let reported =
        async || world.counted("plimsoll_aggregator_reports_total{result=\"accepted\"}").await >= 1.0;
    world.until("a report", reported).await;
    let paused = async || world.counted("plimsoll_aggregator_withheld{reason=\"paused\"}").await == 1.0;
    assert!(!paused().await, "the switch is not read yet");
    world.until("the switch to be read", paused).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.writes().len(), before);
    assert!(world.keys("web").is_empty());
    world.end().await;
}
