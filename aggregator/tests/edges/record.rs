//! A run recorded by an earlier version decides the same again.

use std::path::Path;

use plimsoll_aggregator::record::replay;

/// Recorded at 931fcc1, before the write pipeline was rebuilt, and converted to today's format: its reports were of version 1 and have got
/// causes since.
#[test]
fn a_run_recorded_before_the_rebuild_replays_to_the_same_actions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let steps = replay(&folder.join("labels-of-two-pods.jsonl")).unwrap();
    assert_eq!(steps, 55);
}
