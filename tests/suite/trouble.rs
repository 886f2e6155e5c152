//! What an API server may do to us. In the end every label is right, and none was ever wrong.

use std::time::Duration;

use plimsoll_contract::keys;
use plimsoll_sandbox::api::{Entry, Fault, Matching, Resource, Verb, Write};
use serde_json::json;
use tokio::time::sleep;

use crate::world::{HIGH, LOW, MODERATE, SHOP, World, aggregator, pod, says};

fn our_writes() -> Matching {
    Matching::writes().resource("pods").user(&aggregator())
}

fn answer(code: u16, retry_after: Option<u64>) -> Fault {
    Fault::Answer { code, retry_after }
}

fn codes(writes: &[Entry]) -> Vec<Option<u16>> {
    writes.iter().map(|write| write.code).collect()
}

#[tokio::test]
async fn an_internal_error_is_tried_again_with_growing_pauses_until_it_works() {
    let world = World::start().await;
    world.stage.api().faults().next(2, our_writes(), answer(500, None));
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    world.quiet().await;
    let writes = world.writes();
    assert_eq!(codes(&writes), [Some(500), Some(500), Some(200)]);
    let pauses = [writes[1].at - writes[0].at, writes[2].at - writes[1].at];
    assert!(
        pauses[0] >= Duration::from_millis(900) && pauses[1] >= Duration::from_millis(1800),
        "{pauses:?}"
    );
    assert_eq!(world.counted("plimsoll_aggregator_writes_total{outcome=\"failed\"}").await, 2.0);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_too_busy_is_given_the_time_it_asks_for() {
    let world = World::start().await;
    world.stage.api().faults().next(1, our_writes(), answer(429, Some(3)));
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let writes = world.writes();
    assert_eq!(codes(&writes), [Some(429), Some(200)]);
    let pause = writes[1].at - writes[0].at;
    assert!(pause >= Duration::from_millis(2900), "{pause:?}");
    assert_eq!(world.counted("plimsoll_aggregator_writes_total{outcome=\"throttled\"}").await, 1.0);
    world.end().await;
}

#[tokio::test]
async fn a_key_that_a_user_owns_stays_the_users_and_the_others_are_written() {
    let world = World::start().await;
    let mut web = pod("web", HIGH);
    web["metadata"]["labels"] = json!({keys::CPU_BAND: "mine"});
    world.stage.api().store().create_as(&Resource::PODS, web, &Write::by("kubectl-create")).unwrap();
    world.until("the memory band", async || world.keys("web").contains_key(keys::MEMORY_BAND)).await;
    world.load("web", LOW);
    world.quiet().await;

    let keys = world.keys("web");
    assert_eq!(keys[keys::CPU_BAND], "mine");
    assert_eq!((keys[keys::MEMORY_BAND].as_str(), keys[keys::MEMORY_BASIS].as_str()), ("low", "limit"));
    assert!(keys.contains_key(keys::EVIDENCE) && keys.contains_key(keys::EPOCH), "{keys:?}");
    assert!(!keys.contains_key(keys::CPU_BASIS), "a basis without its band says nothing: {keys:?}");
    assert_eq!(codes(&world.writes()), [Some(409), Some(200)]);
    assert_eq!(world.status("web").await.conflicts, [keys::CPU_BAND]);
    assert_eq!(world.counted("plimsoll_aggregator_conflicts").await, 1.0);
    let told = async || {
        let events = world.stage.api().store().list(&Resource::EVENTS, Some(SHOP), &Default::default());
        events.unwrap().iter().any(|event| {
            let conflict = event["involvedObject"]["name"] == "web" && event["reason"] == "LabelConflict";
            conflict && event["message"].as_str().unwrap().contains(keys::CPU_BAND)
        })
    };
    world.until("an Event that names the key", told).await;
    world.end().await;
}

#[tokio::test]
async fn a_write_that_nobody_answers_is_tried_again() {
    let world = World::start().await;
    world.stage.api().faults().next(1, our_writes(), Fault::Hang(Duration::from_secs(30)));
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    world.quiet().await;
    assert_eq!(codes(&world.writes()), [None, Some(200)]);
    assert_eq!(world.counted("plimsoll_aggregator_writes_total{outcome=\"timeout\"}").await, 1.0);
    world.end().await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_has_no_second_effect() {
    let world = World::start().await;
    world.stage.api().faults().next(1, our_writes(), Fault::LoseAnswer);
    world.run("web", HIGH);
    world.labeled("web", "high").await;
    let version = world.version("web");
    sleep(Duration::from_secs(2)).await;
    world.quiet().await;
    let writes = world.writes();
    assert!(!writes[0].answered && writes[0].succeeded(), "{:?}", writes[0]);
    assert_eq!(world.version("web"), version, "whether tried again or not, the pod did not change");
    world.load("web", MODERATE);
    world.labeled("web", "moderate").await;
    world.end().await;
}

#[tokio::test]
async fn a_watch_that_expires_or_falls_silent_costs_no_write_and_no_label() {
    let world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    let watch = || Matching::any().verb(Verb::Watch).resource("pods").user(&aggregator());
    world.stage.api().faults().next(1, watch(), Fault::Expire);
    let restarts = "plimsoll_aggregator_watch_restarts_total{resource=\"pods\"}";
    world.until("a new list", async || world.counted(restarts).await >= 1.0).await;
    world.quiet().await;
    assert_eq!(world.writes().len(), 1, "a list alone writes nothing");

    world.stage.api().faults().always(watch(), Fault::Silence);
    world.load("web", MODERATE);
    world.labeled("web", "moderate").await;
    world.quiet().await;
    assert_eq!(world.writes().len(), 2, "an own write is believed although no watch shows it");
    world.end().await;
}

#[tokio::test]
async fn ten_seconds_without_an_api_server_end_with_every_label_right() {
    let world = World::start().await;
    world.run("falls", HIGH);
    world.run("rises", LOW);
    world.run("stays", MODERATE);
    for (name, band) in [("falls", "high"), ("rises", "low"), ("stays", "moderate")] {
        world.labeled(name, band).await;
    }
    let ours = || Matching::any().user(&aggregator());
    let faults = world.stage.api().faults();
    faults.always(ours(), Fault::Drop);
    faults.always(ours().verb(Verb::Watch), Fault::Close);
    world.load("falls", LOW);
    world.load("rises", HIGH);
    sleep(Duration::from_secs(10)).await;
    assert!(world.writes().iter().skip(3).all(|write| !write.succeeded()));
    faults.clear();
    world.labeled("falls", "low").await;
    world.labeled("rises", "high").await;
    world.quiet().await;

    let wrote = |name: &str, band: &str| {
        let writes = world.writes_on(name);
        writes.iter().filter(|write| write.succeeded() && says(write, band)).count()
    };
    assert_eq!((wrote("falls", "high"), wrote("falls", "low")), (1, 1));
    assert_eq!((wrote("rises", "low"), wrote("rises", "high")), (1, 1));
    assert_eq!(world.writes_on("stays").len(), 1);
    let done = world.writes().iter().filter(|write| write.succeeded()).count();
    assert_eq!(done, 5, "nothing else was ever written");
    assert!(world.writes().len() <= 5 + 2 * 5, "tried with growing pauses: {}", world.writes().len());
    world.end().await;
}
