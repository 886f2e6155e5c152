//! Objects that somebody made odd, in the first list and in the watch: the others are served.

use plimsoll_contract::status::AggregatorStatus;
use plimsoll_sandbox::api::{ApiServer, Fault, Matching, Resource, Verb};
use serde_json::{Value, json};

use super::harness::{Harness, cluster, pod};

const UNREADABLE_PODS: &str = "plimsoll_aggregator_unreadable_objects{resource=\"pods\"}";
const PROBLEM: &str = "status.phase: invalid type: integer, expected a string";

/// A pod on `n1` that nobody could create like this, but a real server holds.
fn create(api: &ApiServer, name: &str, edit: impl FnOnce(&mut Value)) {
    api.store().create(&Resource::PODS, pod("shop", name, "n1")).unwrap();
    api.store().edit_unchecked(&Resource::PODS, "shop", name, edit).unwrap();
}

fn break_phase(pod: &mut Value) {
    pod["status"]["phase"] = json!(5);
}

impl Harness {
    /// The agent of `n1` says that each of these pods has this CPU band.
    async fn say_of(&self, pods: &[&str], band: &str) {
        let mut report = self.report("n1", band);
        let entry = report["pods"][0].clone();
        let entries = pods.iter().map(|name| {
            let mut entry = entry.clone();
            entry["uid"] = json!(self.uid("shop", name));
            entry
        });
        report["pods"] = entries.collect();
        let reply = self.post(&self.token("n1"), report).await;
        assert_eq!(reply.code, 200, "{reply:?}");
    }

    async fn labeled_on(&self, pod: &str, band: &str) {
        self.until(&format!("label {band} on {pod}"), async || {
            self.labels("shop", pod)["plimsoll.dev/cpu-band"] == band
        })
        .await;
    }

    /// The notes of the Events on a pod.
    fn notes(&self, pod: &str) -> Vec<String> {
        let events = self.api.journal().find(|entry| entry.resource == "events" && entry.succeeded());
        let about = events.into_iter().filter(|entry| entry.body["regarding"]["name"] == pod);
        about.map(|entry| entry.body["note"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[tokio::test]
async fn odd_pods_in_the_first_list_do_not_keep_the_aggregator_from_starting_nor_the_others_from_their_labels()
 {
    let api = cluster().await;
    create(&api, "year-10000", |pod| {
        pod["metadata"]["managedFields"][0]["time"] = json!("10000-01-01T23:58:59Z");
    });
    create(&api, "restarts", |pod| {
        pod["status"]["containerStatuses"] = json!([{"name": "app", "restartCount": -1}]);
    });
    create(&api, "broken", break_phase);
    create(&api, "large", |pod| {
        let long = "x".repeat(256 << 10);
        pod["metadata"]["annotations"] = json!({"plimsoll.dev/original-resources": long, "plimsoll.dev/decision": long, "plimsoll.dev/made-up": long});
    });
    let harness = Harness::around(api, |_| {}).await;
    harness.ready().await;
    assert_eq!(harness.metric(UNREADABLE_PODS).await, 1.0);
    harness.say_of(&["web", "year-10000", "restarts", "broken", "large"], "high").await;
    for name in ["web", "year-10000", "restarts", "large"] {
        harness.labeled_on(name, "high").await;
    }
    harness.until("an Event on the pod", async || harness.notes("broken").len() == 1).await;
    assert!(harness.notes("broken")[0].contains(PROBLEM), "{:?}", harness.notes("broken"));
    let status: AggregatorStatus = serde_json::from_str(&harness.get("/v1/status").await.text).unwrap();
    assert_eq!(status.unreadable, [format!("pod shop/broken: {PROBLEM}")]);
    assert!(
        harness.labels("shop", "broken").get("plimsoll.dev/cpu-band").is_none(),
        "nothing is known of it"
    );
    for write in harness.pod_writes() {
        assert!(write.body.to_string().len() < 8192, "a stranger's value is in our write");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_pod_that_becomes_odd_while_it_is_watched_stops_no_watch_and_is_served_again_once_it_is_corrected()
{
    let harness = Harness::start().await;
    create(&harness.api, "odd", |_| {});
    harness.until("the pod", async || harness.get("/v1/pods/shop/odd").await.code == 200).await;
    harness.say_of(&["web", "odd"], "low").await;
    harness.labeled_on("odd", "low").await;
    let edit = |edit: fn(&mut Value)| {
        harness.api.store().edit_unchecked(&Resource::PODS, "shop", "odd", edit).unwrap();
    };
    edit(break_phase);
    harness.until("the number", async || harness.metric(UNREADABLE_PODS).await == 1.0).await;
    assert_eq!(harness.get("/v1/pods/shop/odd").await.code, 404);
    harness.say_of(&["web", "odd"], "high").await;
    harness.labeled("high").await;
    assert_eq!(harness.labels("shop", "odd")["plimsoll.dev/cpu-band"], "low", "its labels do not change");
    edit(|pod| pod["status"]["phase"] = json!("Running"));
    harness.until("the number", async || harness.metric(UNREADABLE_PODS).await == 0.0).await;
    harness.say_of(&["web", "odd"], "high").await;
    harness.labeled_on("odd", "high").await;
    assert_eq!(harness.notes("odd").len(), 1, "{:?}", harness.notes("odd"));
    for series in ["watch_failures_total", "watch_restarts_total"] {
        let series = format!("plimsoll_aggregator_{series}{{resource=\"pods\"}}");
        assert_eq!(harness.metric(&series).await, 0.0, "{series}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn readyz_says_why_a_list_fails() {
    let api = cluster().await;
    let lists = Matching::any().verb(Verb::List).resource("pods");
    api.faults().always(lists, Fault::Answer { code: 500, retry_after: None });
    let harness = Harness::around(api, |_| {}).await;
    harness
        .until("the cause", async || {
            let text = harness.get("/readyz").await.text;
            text.contains("pods: not yet (cannot list pods: 500") && text.contains("it is tried again")
        })
        .await;
    harness.api.faults().clear();
    harness.ready().await;
    harness.stop().await;
}
