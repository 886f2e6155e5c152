//! A recorded run replays to the same actions.

use plimsoll_aggregator::record::replay;

use crate::harness::{HIGH, Harness, LOW, MODERATE, options};

#[tokio::test]
async fn a_recorded_run_replays_to_the_same_actions_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    let file = folder.path().join("run.jsonl");
    options.record = Some(file.clone());
    let harness = Harness::with(options).await;
    harness.create_pod("web", LOW);
    harness.create_pod("other", HIGH);
    for (cores, band) in [(LOW, "low"), (HIGH, "high"), (MODERATE, "moderate")] {
        harness.set_load("web", cores);
        harness.labeled("web", band).await;
    }
    let writes = harness.writes().len();
    harness.shutdown().await;

    let steps = replay(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let inputs = |kind: &str| text.matches(&format!("\"input\":{{\"{kind}\"")).count();
    assert!(steps >= 20 && text.lines().count() == steps + 1, "{steps}");
    let counts = ["Reported", "Outcome", "Pods"].map(inputs);
    assert!(
        counts[0] >= 4 && counts[1] == writes && counts[2] >= 4,
        "{counts:?} of {steps}, {writes} writes"
    );
    assert_eq!(text.matches("{\"Write\":").count(), writes, "every write is recorded");

    let changed = text.replacen("cpu-band\":\"high\"", "cpu-band\":\"low\"", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    assert!(replay(&file).is_err(), "another decision is an error");
}
