//! A recorded run replays to the same actions, and under another class to other sizes.

use std::path::{Path, PathBuf};

use clap::Parser;
use plimsoll_aggregator::record::replay;
use plimsoll_demo::args::{Args, Command};
use plimsoll_demo::replay::run_to;

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

/// What `plimsoll-demo replay FILE` prints.
fn shown(file: &Path, flags: &[&str]) -> anyhow::Result<String> {
    let words = ["plimsoll-demo", "replay", file.to_str().unwrap()];
    let args = Args::try_parse_from(words.iter().chain(flags)).unwrap();
    let Some(Command::Replay(args)) = args.command else { panic!("{args:?}") };
    let mut out = Vec::new();
    run_to(&args, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// The cells of the row of a table that begins with these.
fn row<'a>(text: &'a str, begins: &[&str]) -> Vec<&'a str> {
    let cells = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let rows: Vec<Vec<&str>> =
        text.lines().map(cells).filter(|row: &Vec<&str>| row.starts_with(begins)).collect();
    assert_eq!(rows.len(), 1, "{begins:?} in {text}");
    rows.into_iter().next().unwrap()
}

#[tokio::test]
async fn recordings_of_both_programs_show_bands_and_the_sizes_that_classes_give() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (agent, aggregator) = (file("agent.jsonl"), file("aggregator.jsonl"));
    let mut options = options();
    options.record = Some(aggregator.clone());
    options.agent_flags.extend(["--record".to_owned(), agent.to_str().unwrap().to_owned()]);
    let harness = Harness::with(options).await;
    // throttled: it wants more than its limit of 200m, which is its request too
    harness.create_pod("web", 0.3);
    harness.labeled("web", "high").await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    harness.shutdown().await;

    for (file, kind, what) in [(&agent, "an agent", "reports"), (&aggregator, "an aggregator", "steps")] {
        let text = shown(file, &[]).unwrap();
        assert!(text.starts_with(&format!("recording of {kind}, from ")), "{text}");
        assert!(text.contains(&format!(" {what} are as recorded.")), "{text}");
        assert!(
            text.contains("demo/web: cpu unknown -> high") || text.contains("demo/web: cpu high"),
            "{text}"
        );
        let recorded = row(&text, &["demo/web", "app", "as recorded"]);
        assert_eq!((recorded[3], recorded[6], recorded[7]), ("0.200", "0", "200m/200m"), "{text}");
        assert!(!text.contains("as gold"), "nobody chose a class: {text}");

        // at once twice as much, and half as much more; whether that is enough is not known
        for (class, size, change) in [
            ("gold", "200m/200m -> 400m/400m", "app +200m (200->400)"),
            ("bronze", "200m/200m -> 300m/300m", "app +100m (200->300)"),
        ] {
            let text = shown(file, &["--class", class]).unwrap();
            assert!(text.contains(&format!("demo/web: {change}: U ")), "{text}");
            let sized = row(&text, &["demo/web", "app", &format!("as {class}")]);
            assert_eq!((sized[6], sized[7]), ("1", size), "{text}");
        }

        // a killed process leaves a part of a line
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, &whole[..whole.len() - 9]).unwrap();
        let text = shown(file, &[]).unwrap();
        assert!(text.contains("is unfinished") && text.contains("are as recorded."), "{text}");
    }
}
