//! A run that was recorded decides the same again.

use plimsoll_aggregator::record::replay;

use crate::world::{HIGH, LOW, MODERATE, World, options};

#[tokio::test]
async fn a_recorded_run_replays_to_the_same_actions_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    let file = folder.path().join("run.jsonl");
    options.record = Some(file.clone());
    let world = World::with(options).await;
    world.run("web", LOW);
    world.run("other", HIGH);
    for (cores, band) in [(LOW, "low"), (HIGH, "high"), (MODERATE, "moderate")] {
        world.load("web", cores);
        world.labeled("web", band).await;
    }
    let writes = world.writes().len();
    world.end().await;

    let steps = replay(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let inputs = |kind: &str| text.matches(&format!("\"input\":{{\"{kind}\"")).count();
    assert!(steps >= 20 && text.lines().count() == steps + 1, "{steps}");
    let counts = ["Reported", "Outcome", "PodChanged"].map(inputs);
    assert!(
        counts[0] >= 4 && counts[1] == writes && counts[2] >= 4,
        "{counts:?} of {steps}, {writes} writes"
    );
    assert_eq!(text.matches("{\"Label\":").count(), writes, "every write is in it");

    let changed = text.replacen("cpu-band\":\"high\"", "cpu-band\":\"low\"", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    assert!(replay(&file).is_err(), "another decision is noticed");
}
