use std::fs;

use plimsoll_contract::report::MemoryEvents;
use plimsoll_contract::roster::RosterPod;
use plimsoll_contract::{Bytes, Limit};

use super::*;
use crate::state::tests::sim::{Cgroup, GIB, Sim, at, container, entry, head, listed, own, pod, wall};

/// Records 40 s of a managed pod whose container is throttled, killed and restarted, beside reports of both kinds.
fn record(path: &Path) {
    let mut sim = Sim::new(Profile::standard(), WithoutRoster::Unknown);
    let mut recorded = RecordedState::new(Profile::standard(), WithoutRoster::Unknown, Some(path)).unwrap();
    recorded.set_capacity(head().capacity, Some(Cores(4.0)));
    let busy = |t: f64| 0.3 + 0.2 * (t / 7.0).sin();
    let app = || Cgroup { throttled: 3, ..Cgroup::using(busy).cpu_limit(1.0 / 3.0) };
    for (target, cgroup) in [(own(), Cgroup::using(busy).unlimited()), (container(1), app())] {
        recorded.appeared(&target, at(0.0));
        sim.add(target, cgroup);
    }
    let roster = |number| Answer {
        roster_version: 1,
        roster: vec![RosterPod { managed: true, ..entry(&[listed(number, "app")]) }],
        ..Answer::default()
    };
    recorded.apply_roster(&roster(1), at(0.0));
    let accepted = AcceptedEvents::default();
    for second in 0..40 {
        if second == 20 {
            sim.get(&own()).events = MemoryEvents { high: Some(0), max: Some(9), oom_kill: Some(1) };
            sim.remove(&container(1));
            recorded.gone(&container(1), at(sim.now));
            sim.add(container(2), Cgroup { memory_limit: Limit::Of(Bytes(GIB / 3)), ..app() });
            recorded.appeared(&container(2), at(sim.now));
            recorded.apply_roster(&roster(2), at(sim.now));
        }
        for (target, reading) in sim.readings() {
            recorded.observe(&target, &reading);
        }
        recorded.end_sweep(at(sim.now), wall(sim.now));
        let only = BTreeSet::from([pod()]);
        let pods = (second % 10 != 0).then_some(&only);
        recorded.report_to(head(), pods, &accepted, at(sim.now + 0.123_456));
        sim.sleep(0.999_1);
    }
}

#[test]
fn a_recorded_run_makes_the_same_reports_again_and_a_changed_one_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    assert_eq!(replay(&path).unwrap(), 40);

    let text = fs::read_to_string(&path).unwrap();
    for number in ["\"throttled3\":", "\"oomKill\":1", "\"utilization3\":", "\"growth\":"] {
        assert!(text.contains(number), "the run has no {number}");
    }
    // one reading of many
    let usage = text.rfind("\"usage\":{\"secs\":").unwrap() + "\"usage\":{\"secs\":".len();
    let changed = format!("{}9{}", &text[..usage], &text[usage..]);
    fs::write(&path, changed).unwrap();
    let error = replay(&path).unwrap_err().to_string();
    assert!(error.contains("run.jsonl:") && error.contains("replayed"), "{error}");
}

#[test]
fn a_replay_gives_a_report_of_all_pods_for_each_sweep_up_to_an_unfinished_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    let run = || {
        let mut replay = Replay::of(plimsoll_process::recording::Recording::open(&path).unwrap()).unwrap();
        let mut swept = Vec::new();
        while let Some(step) = replay.step().unwrap() {
            if let Step::Swept { report, wall, .. } = step {
                swept.push((wall, report));
            }
        }
        assert!(replay.expects_roster());
        assert_eq!(replay.listed(&pod()).unwrap().name, "web-0");
        (swept, replay.truncated())
    };
    let (swept, truncated) = run();
    assert_eq!((swept.len(), truncated), (40, false));
    // the first report is made after the first sweep, and only then the node is known
    assert!(swept[0].1.is_none() && swept[1..].iter().all(|(_, report)| report.as_ref().unwrap().full));
    let pods = |report: &Option<Box<Report>>| report.as_ref().unwrap().pods.len();
    assert_eq!(pods(&swept[39].1), 1);
    assert_eq!(swept[39].0, wall(39.0 * 0.999_1));

    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let (swept, truncated) = run();
    assert_eq!((swept.len(), truncated), (40, true), "the last line is the report after the last sweep");
    assert_eq!(replay(&path).unwrap(), 39);
}

#[test]
fn what_is_no_recording_is_refused_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    assert!(replay(&path).unwrap_err().to_string().contains("cannot read"));
    let no_settings = "{\"recording\":\"agent\",\"format\":1,\"settings\":{}}\n";
    for (text, expected) in [("", "is empty"), (no_settings, ":1: not settings")] {
        fs::write(&path, text).unwrap();
        let error = replay(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs::write(&path, no_settings.replace("\"agent\"", "\"aggregator\"")).unwrap();
    let error = replay(&path).unwrap_err().to_string();
    assert!(error.ends_with(":1: a recording of kind `aggregator`, not `agent`"), "{error}");
    record(&path);
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&path, format!("{first}\n{{\"weather\":1}}\n")).unwrap();
    let error = replay(&path).unwrap_err().to_string();
    assert!(error.contains(":2: not a line of this recording"), "{error}");
    let missing = folder.path().join("no/run.jsonl");
    let error = RecordedState::new(Profile::standard(), WithoutRoster::Unknown, Some(&missing)).unwrap_err();
    assert!(error.to_string().contains("--record"), "{error}");
}
