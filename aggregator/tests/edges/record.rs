//! A recorded run decides the same again.

use plimsoll_aggregator::record::replay;

use super::world::{World, cluster};

#[tokio::test]
async fn a_recorded_run_replays_to_the_same_decisions_and_a_changed_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    let world = World::around(cluster().await, |config| config.record = Some(file.clone())).await;
    world.ready().await;
    world.say("high").await;
    world.labeled("high").await;
    world.say("low").await;
    world.labeled("low").await;
    world.stop().await;
    let steps = replay(&file).unwrap();
    assert!(steps >= 8, "{steps}");

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"to\":\""), "the run must hold decisions");
    std::fs::write(&file, text.replacen("\"to\":\"", "\"to\":\"x", 1)).unwrap();
    let difference = replay(&file).unwrap_err().to_string();
    assert!(difference.contains("recorded") && difference.contains("replayed"), "{difference}");
}
