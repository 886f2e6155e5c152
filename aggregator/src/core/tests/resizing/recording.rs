//! A recording of a run with resizes, as a replay looks at it.

use plimsoll_process::recording::{Recorder, Recording};
use plimsoll_sizing::size::Size;

use super::*;
use crate::record::{KIND, Replay, Resized};

#[test]
fn a_replay_gives_the_pods_of_each_report_with_class_sizes_and_bands_and_the_resizes_that_were_made() {
    let mut harness = Harness::unsynced(settings(), vec![sized(1), facts(2, 0)]);
    harness.recorded = Some(Vec::new());
    for input in beginning(harness.pods.values().cloned().collect()) {
        assert_eq!(harness.step(input), []);
    }
    let record = only(&harness.throttled(1));
    let resize = only(&harness.land(&record));
    harness.land(&resize);
    harness.kubelet(1);
    harness.at += Duration::from_secs(1);
    harness.calm(1, 0.68);
    // not accepted: it repeats a sequence number
    harness.seq -= 1;
    harness.calm(1, 0.1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let mut recorder = Recorder::start(&path, KIND, &settings()).unwrap();
    for (line, actions) in harness.recorded.take().unwrap() {
        let (now, input): (serde_json::Value, serde_json::Value) = serde_json::from_str(&line).unwrap();
        let actions: serde_json::Value = serde_json::from_str(&actions).unwrap();
        recorder.line(&serde_json::json!({"now": now, "input": input, "actions": actions}));
    }
    recorder.flush();

    let mut replay = Replay::of(Recording::open(&path).unwrap()).unwrap();
    let (mut snapshots, mut resized) = (Vec::new(), Vec::new());
    while let Some(step) = replay.step().unwrap() {
        assert_eq!(step.differs, None);
        snapshots.extend(step.snapshot);
        resized.extend(step.resized);
    }
    let made = Resized {
        pod: name(1),
        from: "app cpu=250m/500m".into(),
        to: "app cpu=500m/1".into(),
        reason: "grow",
    };
    assert_eq!(resized, [made]);
    let size = |request, limit| Size { request: Some(request), limit: Some(limit) };
    let seen: Vec<_> = snapshots
        .iter()
        .map(|snapshot| {
            let [pod] = snapshot.pods.as_slice() else { panic!("only pod 1 was reported: {snapshot:?}") };
            let app = &pod.containers[0];
            assert_eq!((snapshot.allocatable, pod.name.as_str()), (Some(64_000), "shop/p1"));
            assert_eq!((pod.cpu, pod.memory), (Band::High, Band::Low));
            assert_eq!(pod.class.as_ref().map(|class| class.class.as_str()), Some("gold"));
            (snapshot.at.as_secs(), app.size, app.original, app.usage.cores)
        })
        .collect();
    let original = size(250, 500);
    assert_eq!(
        seen,
        [(5, original, original, Some(Cores(0.5))), (6, size(500, 1000), original, Some(Cores(0.68)))]
    );
}
